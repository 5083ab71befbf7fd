-- The triggers on the CRM's relations: which are needed, making and removing them, and whether they
-- are still there. A capture is a pair of triggers, crmsync_ID for rows and crmsync_ID_truncate; the
-- server copies the first to partitions by itself, the second must be put on each but foreign ones,
-- which cannot be locked.

-- Whoever waits behind us waits as long as we do, and for what we hold as long as we hold it: all the
-- locks are taken together within a short time, or all are given back before the next try.
-- deadlock_timeout: an autovacuum gives way to who waits so long.
CREATE FUNCTION crmsync.lock_relations(relations regclass[], modes text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET deadlock_timeout = '100ms'
AS $$
DECLARE
    place record;
    until timestamptz;
BEGIN
    FOR attempt IN 1..20 LOOP
        BEGIN
            until := clock_timestamp() + interval '200 ms';
            FOR place IN
                -- Of two modes, the one that comes first is the stronger.
                SELECT u.relation, min(u.mode) AS mode
                FROM unnest(relations, modes) u (relation, mode) GROUP BY u.relation ORDER BY u.relation
            LOOP
                PERFORM set_config('lock_timeout', greatest(1, round(extract(epoch FROM until - clock_timestamp()) * 1000))::text, true);
                EXECUTE format('LOCK TABLE %s IN %s MODE', place.relation, place.mode);
            END LOOP;
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            NULL;
        END;
        PERFORM pg_sleep(0.05 + 0.2 * random());
    END LOOP;
    RAISE EXCEPTION 'could not lock % in a quiet moment', crmsync.relation_name(place.relation)
        USING ERRCODE = 'lock_not_available',
              HINT = 'A transaction has it open for long; see pg_stat_activity and pg_locks, and try again.';
END;
$$;
COMMENT ON FUNCTION crmsync.lock_relations(regclass[], text[]) IS 'locks relations, all or none, with short waits and pauses in between';

-- From the catalog: pg_partition_tree waits for whoever has locked a partition, and the worker asks
-- this for all links.
CREATE FUNCTION crmsync.partitions(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE tree (relid) AS (
        SELECT partitions.relation WHERE partitions.relation IS NOT NULL
        UNION
        SELECT i.inhrelid FROM tree t
        JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'p'
        JOIN pg_inherits i ON i.inhparent = t.relid AND NOT i.inhdetachpending)
    SELECT t.relid FROM tree t;
END;
COMMENT ON FUNCTION crmsync.partitions(oid) IS 'a relation and its partitions on all levels';

-- Children of plain inheritance are read with their parent, but do not fire its triggers. Temporary ones are read by
-- nobody but their session.
CREATE FUNCTION crmsync.with_children(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE family (relid) AS (
        SELECT with_children.relation
        UNION
        SELECT i.inhrelid FROM family f
        JOIN pg_inherits i ON i.inhparent = f.relid
        JOIN pg_class c ON c.oid = f.relid AND c.relkind = 'r'
        JOIN pg_class h ON h.oid = i.inhrelid AND h.relpersistence <> 't' AND h.relkind <> 'f')
    SELECT f.relid FROM family f;
END;
COMMENT ON FUNCTION crmsync.with_children(oid) IS 'a relation and the tables that inherit from it; not partitions, nor foreign tables';

CREATE FUNCTION crmsync.part_names(relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(SELECT crmsync.relation_name(p)
             FROM (SELECT crmsync.partitions(relation) UNION SELECT crmsync.with_children(relation)) AS parts (p) ORDER BY 1);
COMMENT ON FUNCTION crmsync.part_names(oid) IS 'names of a relation and of its partitions, or the tables that inherit from it, on all levels';

CREATE FUNCTION crmsync.merge_columns(columns text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN '*' = ANY (columns) THEN '{*}'
            ELSE ARRAY(SELECT DISTINCT c FROM unnest(columns) c WHERE c IS NOT NULL ORDER BY c) END;
COMMENT ON FUNCTION crmsync.merge_columns(text[]) IS 'each column once, in order; * takes in all';

CREATE AGGREGATE crmsync.all_columns (anycompatiblearray) (
    SFUNC = pg_catalog.array_cat, STYPE = anycompatiblearray, INITCOND = '{}');
COMMENT ON AGGREGATE crmsync.all_columns (anycompatiblearray) IS 'one array of many';

-- Each takes in those before it.
CREATE FUNCTION crmsync.largest_comparison(comparisons text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN (SELECT o.comparison FROM unnest('{mailboxes,audience,everything}'::text[]) WITH ORDINALITY AS o (comparison, place)
        WHERE o.comparison = ANY (comparisons) ORDER BY o.place DESC LIMIT 1);
COMMENT ON FUNCTION crmsync.largest_comparison(text[]) IS 'of kinds of comparisons the one that does what all of them do';

-- What the queries of a link read: relations that triggers can be put on, and others, whose changes
-- nobody sees.
CREATE TYPE crmsync.reading AS (object oid, class text, column_name text, direct boolean, as_caller boolean, times integer, purpose text);
COMMENT ON TYPE crmsync.reading IS 'a relation with a column, or a function, that a query of a link needs, and for what';

CREATE FUNCTION crmsync.link_reads(this crmsync.link) RETURNS SETOF crmsync.reading
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF crmsync.is_import(this) THEN
        RETURN QUERY
            SELECT d.*, 'values'
            FROM crmsync.mapping m,
                 crmsync.check_query(format('the expression %s', m.inbound),
                                     crmsync.inbound_query(to_regclass(this.source), m.crm, m.property, m.inbound)) d
            WHERE m.link = this.id AND m.inbound IS NOT NULL
            UNION ALL
            SELECT d.*, 'memberships' FROM crmsync.group_mapping g, crmsync.read_group(this, g.crm_group) d WHERE g.link = this.id;
        RETURN;
    END IF;
    RETURN QUERY
        SELECT d.*, 'values' FROM crmsync.check_query('the mapping', crmsync.build_source_query(this.id, 'NULL::text[]')) d
        UNION ALL
        SELECT d.*, 'audience' FROM crmsync.check_query('the audience', crmsync.build_audience_query(this.id, 'NULL::text[]')) d
        WHERE this.audience IS NOT NULL
        UNION ALL
        SELECT d.*, 'mailboxes' FROM crmsync.check_query('the relation of mailboxes', crmsync.mailboxes_query(this.id)) d
        WHERE this.mailboxes IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION crmsync.link_reads(crmsync.link) IS 'relations with columns, and functions, that the queries of a link need';

-- The captures that a link needs:
--   by key        the source, and the audience where it is a table: the row itself names the record
--   child         the row names the record in a column
--   watch         what the administrator told
--   unwatched     everything else that is read: any change asks for a comparison
--   mailboxes     who takes part, watched or not: a mailbox that comes back has missed changes, and
--                 nothing leads from its row to the records that it has no longer
CREATE FUNCTION crmsync.needed_captures(this crmsync.link, reads crmsync.reading[])
RETURNS TABLE (relation oid, column_name text, lookup text, columns text[], comparison text, how text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH read_columns AS (
        SELECT r.object, crmsync.merge_columns(array_agg(r.column_name)) AS columns,
               crmsync.merge_columns(array_agg(r.column_name) FILTER (WHERE r.purpose = 'mailboxes')) AS mailbox_columns,
               crmsync.largest_comparison(array_agg(CASE r.purpose WHEN 'values' THEN 'everything' ELSE r.purpose END)) AS comparison
        FROM unnest(reads) r JOIN pg_class c ON c.oid = r.object AND c.relkind IN ('r', 'p')
        WHERE r.class = 'relation' AND c.relnamespace <> 'pg_catalog'::regnamespace
        GROUP BY r.object
    ), named AS (
        SELECT to_regclass(w.relation)::oid AS relation, w.column_name, w.lookup,
               w.columns, 'watch' AS how
        FROM crmsync.watched w WHERE w.link = this.id
        UNION ALL
        SELECT DISTINCT crmsync.child_relation(c.child)::oid, c.child ->> 'column', NULL, NULL::text[], 'child'
        FROM crmsync.children(this.id) c
        UNION ALL
        SELECT c.oid, k.column_name, NULL, NULL, k.how
        FROM (VALUES (to_regclass(this.source)::oid, this.key, 'source'),
                     (to_regclass(this.audience)::oid, 'record', 'audience')) AS k (relation, column_name, how)
        JOIN pg_class c ON c.oid = k.relation AND c.relkind IN ('r', 'p')
    ), wanted AS (
        SELECT f.relid, n.column_name, n.lookup,
               CASE WHEN r.object IS NULL AND n.columns IS NULL THEN '{*}' ELSE n.columns || n.column_name || r.columns END AS columns,
               'everything' AS comparison, n.how || CASE WHEN n.lookup IS NULL THEN '' ELSE ' with lookup' END AS how
        FROM named n
        LEFT JOIN read_columns r ON r.object = n.relation
        CROSS JOIN crmsync.with_children(n.relation) f (relid)
        UNION ALL
        SELECT f.relid, NULL, NULL, r.columns, r.comparison, 'not watched: compares'
        FROM read_columns r
        CROSS JOIN crmsync.with_children(r.object) f (relid)
        WHERE r.object NOT IN (SELECT n.relation FROM named n WHERE n.relation IS NOT NULL)
        UNION ALL
        SELECT f.relid, NULL, NULL, r.mailbox_columns, 'mailboxes', 'mailboxes: compares those that take part anew'
        FROM read_columns r
        CROSS JOIN crmsync.with_children(r.object) f (relid)
        WHERE r.mailbox_columns <> '{}' AND r.object IN (SELECT n.relation FROM named n)
    )
    -- The key of source, audience or child rows may be watched with a lookup, too, and a table with its parent: then all count.
    SELECT w.relid, w.column_name,
           CASE WHEN count(DISTINCT w.lookup) + max((w.lookup IS NULL)::integer) = 1 THEN max(w.lookup)
                ELSE string_agg(DISTINCT coalesce('SELECT k::text FROM (' || w.lookup || E'\n) AS q (k)', 'SELECT $1'), ' UNION ALL ') END,
           crmsync.merge_columns(crmsync.all_columns(w.columns)), crmsync.largest_comparison(array_agg(w.comparison)),
           string_agg(DISTINCT w.how, ', ')
    FROM wanted w GROUP BY w.relid, w.column_name;
END;
$$;
COMMENT ON FUNCTION crmsync.needed_captures(crmsync.link, crmsync.reading[]) IS 'triggers that a link needs, with the relevant columns';

CREATE FUNCTION crmsync.wanted_triggers(captures integer[])
RETURNS TABLE (relation oid, name text, timing text, call text, arguments text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH needed AS MATERIALIZED (
        SELECT c.id, c.column_name, c.columns, to_regclass(c.relation)::oid AS place FROM crmsync.capture c
        WHERE c.id = ANY (captures) AND EXISTS (SELECT FROM crmsync.capture_link cl WHERE cl.capture = c.id)
    )
    SELECT n.place, format('crmsync_%s', n.id), 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', 'capture',
           ARRAY[n.id::text, coalesce(n.column_name, '')] || n.columns
    FROM needed n WHERE n.place IS NOT NULL
    UNION ALL
    SELECT p.relid, format('crmsync_%s_truncate', n.id), 'AFTER TRUNCATE ON %s FOR EACH STATEMENT', 'capture_all',
           ARRAY[n.id::text]
    FROM needed n CROSS JOIN crmsync.partitions(n.place) p (relid) JOIN pg_class c ON c.oid = p.relid
    WHERE c.relkind <> 'f';
END;
COMMENT ON FUNCTION crmsync.wanted_triggers(integer[]) IS 'the triggers of captures, as the links need them';

-- Whatever is there as wanted is left alone: it needs no lock.
CREATE FUNCTION crmsync.trigger_changes(captures integer[])
RETURNS TABLE (relation regclass, mode text, statements text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH wanted AS MATERIALIZED (
        SELECT w.*, (SELECT string_agg(convert_to(a, getdatabaseencoding()), E'\\x00' ORDER BY n) || E'\\x00'
                     FROM unnest(w.arguments) WITH ORDINALITY AS x (a, n)) AS stored
        FROM crmsync.wanted_triggers(captures) w
    ), present AS MATERIALIZED (
        SELECT t.tgrelid AS relation, t.tgname::text AS name, t.tgargs, t.tgenabled, t.tgparentid
        FROM pg_trigger t
        WHERE t.tgfoid IN ('crmsync.capture'::regproc, 'crmsync.capture_all'::regproc)
          AND t.tgname IN (SELECT format('crmsync_%s%s', c, s) FROM unnest(captures) c, unnest('{"",_truncate}'::text[]) s)
    )
    -- The server copies a row trigger to partitions by itself.
    SELECT p.relation::regclass, 'ACCESS EXCLUSIVE', ARRAY[format('DROP TRIGGER %I ON %s', p.name, p.relation::regclass)]
    FROM present p
    WHERE p.tgparentid = 0 AND NOT EXISTS (SELECT FROM wanted w WHERE w.relation = p.relation AND w.name = p.name)
    UNION ALL
    SELECT w.relation::regclass, 'SHARE ROW EXCLUSIVE', ARRAY[
           format('CREATE OR REPLACE TRIGGER %I %s EXECUTE FUNCTION crmsync.%s(%s)', w.name,
                  format(w.timing, w.relation::regclass), w.call,
                  (SELECT string_agg(quote_literal(a), ', ' ORDER BY n) FROM unnest(w.arguments) WITH ORDINALITY AS x (a, n))),
           format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', w.relation::regclass, w.name),
           format('SELECT crmsync.goes_with_extension(%L, %L)', w.relation::regclass, w.name)]
    FROM wanted w
    WHERE NOT EXISTS (SELECT FROM present p
                      WHERE p.relation = w.relation AND p.name = w.name AND p.tgargs = w.stored AND p.tgenabled = 'A')
       OR EXISTS (SELECT FROM present p
                  WHERE p.relation IN (SELECT crmsync.partitions(w.relation)) AND p.name = w.name AND p.tgenabled <> 'A');
END;
COMMENT ON FUNCTION crmsync.trigger_changes(integer[]) IS 'what makes the triggers of captures what is wanted, with the lock that it needs: they fire always, and go with the extension';

-- After capture_link has changed: the triggers follow.
CREATE FUNCTION crmsync.arm_captures(captures integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
AS $$
DECLARE
    changes jsonb;
    statement text;
BEGIN
    UPDATE crmsync.capture c SET columns = u.columns
    FROM (SELECT cl.capture, crmsync.merge_columns(crmsync.all_columns(cl.columns)) AS columns
          FROM crmsync.capture_link cl GROUP BY cl.capture) u
    WHERE u.capture = c.id AND c.id = ANY (captures) AND c.columns <> u.columns;

    changes := (SELECT jsonb_agg(to_jsonb(t)) FROM crmsync.trigger_changes(captures) t);
    PERFORM crmsync.lock_relations(array_agg(t.relation), array_agg(t.mode))
    FROM jsonb_to_recordset(changes) AS t (relation regclass, mode text) HAVING count(*) > 0;
    FOR statement IN
        SELECT s.statement
        FROM ROWS FROM (jsonb_to_recordset(changes) AS (mode text, statements text[])) WITH ORDINALITY AS t (mode, statements, change),
             unnest(t.statements) WITH ORDINALITY AS s (statement, step)
        ORDER BY t.mode, t.change, s.step
    LOOP
        EXECUTE statement;
    END LOOP;

    DELETE FROM crmsync.capture c
    WHERE c.id = ANY (captures) AND NOT EXISTS (SELECT FROM crmsync.capture_link cl WHERE cl.capture = c.id);
    UPDATE crmsync.capture c SET partitions = crmsync.part_names(to_regclass(c.relation))
    WHERE c.id = ANY (captures) AND to_regclass(c.relation) IS NOT NULL
      AND c.partitions IS DISTINCT FROM crmsync.part_names(to_regclass(c.relation));
END;
$$;
COMMENT ON FUNCTION crmsync.arm_captures(integer[]) IS 'makes triggers what the links need, and removes those that no link needs';

CREATE FUNCTION crmsync.arm_link(this crmsync.link, reads crmsync.reading[])
RETURNS TABLE (relation text, column_name text, columns text[], how text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    needed jsonb := (SELECT coalesce(jsonb_agg(to_jsonb(n) || jsonb_build_object('relation', crmsync.relation_name(n.relation))), '[]')
                     FROM crmsync.needed_captures(this, reads) n);
    affected integer[];
BEGIN
    LOCK TABLE crmsync.capture IN SHARE ROW EXCLUSIVE MODE;
    affected := ARRAY(SELECT cl.capture FROM crmsync.capture_link cl WHERE cl.link = this.id);
    INSERT INTO crmsync.capture AS c (relation, column_name, columns)
    SELECT n.relation, n.column_name, n.columns
    FROM jsonb_to_recordset(needed) AS n (relation text, column_name text, columns text[])
    WHERE NOT EXISTS (SELECT FROM crmsync.capture o
                      WHERE o.relation = n.relation AND o.column_name IS NOT DISTINCT FROM n.column_name)
    ORDER BY n.relation COLLATE "C", n.column_name COLLATE "C";

    DELETE FROM crmsync.capture_link cl WHERE cl.link = this.id;
    INSERT INTO crmsync.capture_link (capture, link, lookup, columns, comparison)
    SELECT c.id, this.id, n.lookup, n.columns, n.comparison
    FROM jsonb_to_recordset(needed) AS n (relation text, column_name text, lookup text, columns text[], comparison text)
    JOIN crmsync.capture c ON c.relation = n.relation AND c.column_name IS NOT DISTINCT FROM n.column_name;

    PERFORM crmsync.arm_captures(affected || ARRAY(
        SELECT cl.capture FROM crmsync.capture_link cl WHERE cl.link = this.id));
    RETURN QUERY
        SELECT n.* FROM jsonb_to_recordset(needed) AS n (relation text, column_name text, columns text[], how text)
        ORDER BY n.relation, n.column_name;
END;
$$;
COMMENT ON FUNCTION crmsync.arm_link(crmsync.link, crmsync.reading[]) IS 'puts up the triggers that a link needs and says which';

-- What a trigger that serves no link records is not used: a link that is to stop does not wait for who has a table open.
CREATE FUNCTION crmsync.disarm_captures(captures integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOCK TABLE crmsync.capture IN SHARE ROW EXCLUSIVE MODE;
    BEGIN
        PERFORM crmsync.arm_captures(captures);
    EXCEPTION WHEN lock_not_available THEN
        RAISE NOTICE 'triggers stay until nobody has their tables open' USING DETAIL = sqlerrm || '.', HINT = 'The worker removes them.';
    END;
END;
$$;
COMMENT ON FUNCTION crmsync.disarm_captures(integer[]) IS 'removes those of these triggers that no link needs any more, since one has gone';

CREATE FUNCTION crmsync.left_captures() RETURNS SETOF integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.id FROM crmsync.capture c WHERE NOT EXISTS (SELECT FROM crmsync.capture_link cl WHERE cl.capture = c.id);
END;
COMMENT ON FUNCTION crmsync.left_captures() IS 'captures that serve no link any more, whose triggers could not be removed';

-- Nobody waits for this: neither the worker, nor who would stand behind it in a queue. Nor does it fail: an event
-- trigger may forbid it, and the worker has other things to do.
CREATE FUNCTION crmsync.remove_left_triggers() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    capture integer;
    place regclass;
BEGIN
    LOCK TABLE crmsync.capture IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    FOR capture IN SELECT crmsync.left_captures() LOOP
        -- A lock that is got goes to standbys, too, where somebody may be in its way: it is not tried in vain.
        CONTINUE WHEN EXISTS (SELECT FROM crmsync.trigger_changes(ARRAY[capture]) t CROSS JOIN LATERAL crmsync.partitions(t.relation) p
                              JOIN pg_locks k ON k.relation = p AND k.pid <> pg_backend_pid()
                                AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));
        BEGIN
            FOR place IN SELECT t.relation FROM crmsync.trigger_changes(ARRAY[capture]) t LOOP
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', place);
            END LOOP;
            PERFORM crmsync.arm_captures(ARRAY[capture]);
        EXCEPTION WHEN OTHERS THEN
            CONTINUE;
        END;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    RETURN;
END;
$$;
COMMENT ON FUNCTION crmsync.remove_left_triggers() IS 'removes triggers that serve no link any more where their tables are free; by the worker';

CREATE FUNCTION crmsync.disarm_link(link integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    affected integer[];
BEGIN
    LOCK TABLE crmsync.capture IN SHARE ROW EXCLUSIVE MODE;
    WITH removed AS (DELETE FROM crmsync.capture_link cl WHERE cl.link = disarm_link.link RETURNING cl.capture)
    SELECT array_agg(r.capture) INTO affected FROM removed r;
    PERFORM crmsync.disarm_captures(affected);
END;
$$;
COMMENT ON FUNCTION crmsync.disarm_link(integer) IS 'removes the triggers that only this link needed';

CREATE FUNCTION crmsync.capture_problem(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH captured AS MATERIALIZED (
        SELECT c.id, c.relation, c.partitions, to_regclass(c.relation) AS relid
        FROM crmsync.capture_link cl JOIN crmsync.capture c ON c.id = cl.capture
        WHERE cl.link = capture_problem.link
    ), expected AS (
        SELECT c.id, p.relid, format('crmsync_%s', c.id) || s.suffix AS name
        FROM captured c
        CROSS JOIN crmsync.partitions(c.relid) p (relid)
        JOIN pg_class r ON r.oid = p.relid
        CROSS JOIN (VALUES (''), ('_truncate')) s (suffix)
        WHERE s.suffix = '' OR r.relkind <> 'f'
    ), present AS (
        SELECT t.tgrelid AS relid, t.tgname::text AS name, t.tgenabled
        FROM pg_trigger t
        WHERE t.tgfoid IN ('crmsync.capture'::regproc, 'crmsync.capture_all'::regproc)
          AND t.tgname IN (SELECT format('crmsync_%s%s', c.id, s.suffix)
                           FROM captured c CROSS JOIN (VALUES (''), ('_truncate')) s (suffix))
    )
    SELECT string_agg(DISTINCT problem, '; ' ORDER BY problem)
    FROM (
        SELECT format('relation %s is gone', c.relation) AS problem FROM captured c WHERE c.relid IS NULL
        UNION ALL
        SELECT format('%s has other partitions, or inheriting tables, than before', c.relation)
        FROM captured c WHERE c.relid IS NOT NULL AND c.partitions <> crmsync.part_names(c.relid)
        UNION ALL
        SELECT CASE WHEN p.relid IS NULL THEN format('trigger %s of %s is gone', e.name, crmsync.relation_name(e.relid))
                    WHEN e.relid IS NULL THEN format('%s is no longer a part of what was captured', crmsync.relation_name(p.relid))
                    ELSE format('trigger %s of %s does not fire always', e.name, crmsync.relation_name(e.relid)) END
        FROM expected e FULL JOIN present p ON p.relid = e.relid AND p.name = e.name
        WHERE p.relid IS NULL OR e.relid IS NULL OR p.tgenabled <> 'A'
        UNION ALL
        SELECT 'it has no triggers'
        FROM crmsync.link l JOIN crmsync.target t ON t.name = l.target
        WHERE l.id = capture_problem.link AND l.enabled AND t.kind <> 'ldap'
          AND NOT EXISTS (SELECT FROM captured)
    ) problems;
END;
COMMENT ON FUNCTION crmsync.capture_problem(integer) IS 'what keeps changes from being captured: triggers gone or disabled, other partitions or inheriting tables; NULL: nothing; enable_link puts it right';
