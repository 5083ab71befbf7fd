-- What the libraries do. crmsync.so is preloaded and names itself; the rest is in crmsync_engine.so,
-- which only workers and administrative functions load.

CREATE FUNCTION crmsync.capture() RETURNS trigger
    AS '$libdir/crmsync', 'crmsync_capture' LANGUAGE c;
COMMENT ON FUNCTION crmsync.capture() IS 'row trigger that remembers which records changed; arguments: capture id, column that names the record, relevant columns';

CREATE FUNCTION crmsync.capture_all() RETURNS trigger
    AS '$libdir/crmsync', 'crmsync_capture_all' LANGUAGE c;
COMMENT ON FUNCTION crmsync.capture_all() IS 'statement trigger for TRUNCATE: anything may have changed; argument: capture id';

CREATE FUNCTION crmsync.ignore_replicated() RETURNS trigger
    AS '$libdir/crmsync', 'crmsync_ignore_replicated' LANGUAGE c;
COMMENT ON FUNCTION crmsync.ignore_replicated() IS 'row trigger on the tables of crmsync: rows that logical replication brings are not applied';

CREATE FUNCTION crmsync.caller() RETURNS regrole
    AS '$libdir/crmsync', 'crmsync_caller' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION crmsync.caller() IS 'the role that called the outermost function, also inside SECURITY DEFINER functions';

CREATE FUNCTION crmsync.preloaded() RETURNS boolean
    AS '$libdir/crmsync', 'crmsync_preloaded' LANGUAGE c STABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.preloaded() IS 'whether shared_preload_libraries contains crmsync, without which nothing is captured';

CREATE FUNCTION crmsync.wake() RETURNS boolean
    AS '$libdir/crmsync', 'crmsync_wake' LANGUAGE c STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.wake() IS 'wakes this database''s worker; false when there is none';

CREATE FUNCTION crmsync.request_sync(link integer) RETURNS void
    AS '$libdir/crmsync', 'crmsync_request_sync' LANGUAGE c STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.request_sync(integer) IS 'asks the worker to look at a link at once, whatever its intervals and pauses say';

CREATE FUNCTION crmsync.worker_passes(
        OUT link integer, OUT pid integer, OUT phase text, OUT done bigint, OUT total bigint,
        OUT started timestamptz)
    RETURNS SETOF record
    AS '$libdir/crmsync', 'crmsync_worker_progress' LANGUAGE c STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.worker_passes() IS 'long passes of this database''s workers, for worker_progress';

CREATE FUNCTION crmsync.worker_state() RETURNS text
    AS '$libdir/crmsync', 'crmsync_worker_state' LANGUAGE c
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.worker_state() IS 'this database''s worker: running, starting, waiting for ALTER EXTENSION UPDATE, waiting for a worker slot, waiting after a failure, disabled, stopped, not preloaded';

CREATE FUNCTION crmsync.property_list(
        OUT name text, OUT objects text[], OUT type text, OUT max_length integer, OUT access text,
        OUT choices text[], OUT ews text, OUT graph text, OUT description text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'crmsync_property_list' LANGUAGE c IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.property_list() IS 'the vocabulary of Exchange objects, for the view crmsync.properties';

CREATE FUNCTION crmsync.binary_limit(property text) RETURNS integer
    AS 'MODULE_PATHNAME', 'crmsync_binary_limit' LANGUAGE c IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.binary_limit(text) IS 'bytes that a property may have whose values only describe them; NULL: its values are the values';

CREATE FUNCTION crmsync.column_type(relation oid, column_name text) RETURNS oid
    AS 'MODULE_PATHNAME', 'crmsync_column_type' LANGUAGE c STABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.column_type(oid, text) IS 'type of a column; NULL: there is no such column';

CREATE FUNCTION crmsync.base_type(type oid) RETURNS oid
    AS 'MODULE_PATHNAME', 'crmsync_base_type' LANGUAGE c STABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.base_type(oid) IS 'what a domain is made of; other types are themselves; NULL: there is no such type';

CREATE FUNCTION crmsync.current_identity(
        OUT system_identifier bigint, OUT database oid, OUT environment text)
    RETURNS record
    AS 'MODULE_PATHNAME', 'crmsync_current_identity' LANGUAGE c STABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.current_identity() IS 'what tells this database from its copies';

CREATE FUNCTION crmsync.check_url(kind text, url text, options jsonb) RETURNS void
    AS 'MODULE_PATHNAME', 'crmsync_check_url' LANGUAGE c STABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.check_url(text, text, jsonb) IS 'refuses a URL that does not fit the kind of target, would send a password in the clear, or leaves crmsync.allowed_hosts; options also has auth and username';

CREATE FUNCTION crmsync.hosts(url text) RETURNS SETOF text
    AS 'MODULE_PATHNAME', 'crmsync_hosts' LANGUAGE c IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.hosts(text) IS 'the hosts of a target''s URL, as crmsync.allowed_hosts compares them; a socket is on localhost';

CREATE FUNCTION crmsync.query_as_owner(link integer, query text, records text[])
    RETURNS SETOF text[]
    AS 'MODULE_PATHNAME', 'crmsync_query_as_owner' LANGUAGE c
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.query_as_owner(integer, text, text[]) IS 'the rows of a link''s generated query for these records, read as the link''s owner';

CREATE FUNCTION crmsync.goes_with_extension(relation regclass, trigger text) RETURNS void
    AS 'MODULE_PATHNAME', 'crmsync_goes_with_extension' LANGUAGE c STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.goes_with_extension(regclass, text) IS 'makes a trigger depend on the extension, so that DROP EXTENSION drops it, without waiting for anybody who uses the extension';

CREATE FUNCTION crmsync.turn_history() RETURNS void
    AS 'MODULE_PATHNAME', 'crmsync_turn_history' LANGUAGE c
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.turn_history() IS 'goes on to the next table of the history, which it empties, when the time or the size says so; called by the worker';

CREATE FUNCTION crmsync.check_expression(expression text) RETURNS void
    AS 'MODULE_PATHNAME', 'crmsync_check_expression' LANGUAGE c IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.check_expression(text) IS 'refuses what is not one SQL expression, and sub-queries with unqualified columns';

CREATE FUNCTION crmsync.check_order_by(order_by text) RETURNS void
    AS 'MODULE_PATHNAME', 'crmsync_check_order_by' LANGUAGE c IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.check_order_by(text) IS 'refuses what cannot follow ORDER BY, and sub-queries with unqualified columns';

CREATE FUNCTION crmsync.compile(query text) RETURNS void
    AS 'MODULE_PATHNAME', 'crmsync_compile' LANGUAGE c STRICT
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.compile(text) IS 'makes the temporary view crmsync_compiled of a query without letting anything of it run';

CREATE FUNCTION crmsync.check_target(
        name text, mailbox text DEFAULT NULL, write boolean DEFAULT false,
        OUT step text, OUT ok boolean, OUT detail text, OUT hint text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'crmsync_check_target' LANGUAGE c SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crmsync.check_target(text, text, boolean) IS 'connects now: DNS, TCP, TLS, authentication, impersonation, folder; with write also every property, in a scratch folder "crmsync check" of that mailbox, which is removed';

CREATE FUNCTION crmsync.plan(
        link text, mailbox text DEFAULT NULL,
        OUT mailbox text, OUT record text, OUT action text, OUT property text,
        OUT old_value text, OUT new_value text, OUT reason text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'crmsync_plan' LANGUAGE c SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres'  -- values as the worker reads them
    SET extra_float_digits = '1' SET bytea_output = 'hex' SET standard_conforming_strings = on
    SET jit = off;  -- to compile what it asks would take ten times as long
COMMENT ON FUNCTION crmsync.plan(text, text) IS 'what would be done, property by property, and why, and which deletes wait for confirm_deletes; changes nothing. Actions: create, update, delete, unlink, delete record (in the CRM), bring in, wait, none';
