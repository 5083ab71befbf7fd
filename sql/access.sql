-- Roles: who may see and do what; secrets: nobody but superusers reads them.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE ROLE regress_crmsync_reader;
CREATE ROLE regress_crmsync_member IN ROLE regress_crmsync_reader;
CREATE ROLE regress_crmsync_operator;
CREATE ROLE regress_crmsync_admin;
CREATE ROLE regress_crmsync_nobody;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, name text);
CREATE TABLE crm.audience (record integer, mailbox text);
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'top secret');
SELECT crmsync.pause_target('exchange');
SELECT crmsync.create_link(n, 'exchange', 'contact', 'crm.person', audience => 'crm.audience') FROM unnest('{one,two}'::text[]) n;
INSERT INTO crmsync.mailbox (id, link, address) SELECT 1000 + id, id, name || '@example.com' FROM crmsync.link;
INSERT INTO crmsync.item (link, record, mailbox, shadow) SELECT id, '1', 1000 + id, '{"given_name": "Ada"}' FROM crmsync.link;
INSERT INTO crmsync.history_0 (at, link, mailbox, record, action, result, new) SELECT '2026-01-01', id, name || '@example.com', '1', 'create', 'done', '{"given_name": "Ada"}' FROM crmsync.link;
-- Messages that quote the value, wherever there are some.
UPDATE crmsync.link SET enabled = true;
UPDATE crmsync.mailbox SET code = 'ErrorX', message = 'Ada in a mailbox';
UPDATE crmsync.link_state SET code = '42703', broken = 'Ada breaks it', last_error = 'Ada was last';
INSERT INTO crmsync.failure (link, mailbox, record, code, message) SELECT id, 1000 + id, '1', '22P02', 'Ada fails' FROM crmsync.link;
INSERT INTO crmsync.history_1 (at, link, mailbox, record, action, result, code, message) SELECT '2026-01-02', id, name || '@example.com', '1', 'update', 'failed', '22P02', 'Ada failed' FROM crmsync.link;
INSERT INTO crmsync.conflict (link, mailbox, record, kind, property, crm_value, target_value, winner)
SELECT id, 1000 + id, '1', 'field', 'given_name', 'Ada', 'Not Ada', 'crm' FROM crmsync.link;
INSERT INTO crmsync.target_state (target, code, message, since) VALUES ('exchange', 'TLS', 'certificate expired', '2026-01-01');
-- Rows that show the value to the current role, of whichever view, and whether they are of link two.
CREATE FUNCTION public.show_values() RETURNS TABLE (view text, of_two boolean, shown bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR view IN SELECT c.relname FROM pg_class c
                WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relkind = 'v' AND has_table_privilege(c.oid, 'SELECT')
                ORDER BY c.relname COLLATE "C"
    LOOP
        RETURN QUERY EXECUTE format('SELECT %L, v::text LIKE ''%%two%%'', count(*) FROM crmsync.%1$I v
                                     WHERE v::text LIKE ''%%Ada%%'' GROUP BY 2 ORDER BY 2', view);
    END LOOP;
END;
$$;

SELECT crmsync.grant_role('regress_crmsync_reader', 'owner');
SELECT crmsync.grant_role('regress_crmsync_reader', 'reader', 'three');
SELECT crmsync.grant_role('regress_crmsync_reader', 'reader', 'one');
SELECT crmsync.grant_role('regress_crmsync_operator', 'reader');
SELECT crmsync.grant_role('regress_crmsync_operator', 'operator', 'two');
SELECT crmsync.grant_role('regress_crmsync_admin', 'admin');
SELECT role, level, l.name AS link FROM crmsync.role_grant g LEFT JOIN crmsync.link l ON l.id = g.link ORDER BY 1, 3;

-- The effective privileges, level by level.
SELECT r.role, p.oid::regprocedure AS function
FROM (VALUES ('regress_crmsync_reader', NULL), ('regress_crmsync_operator', 'regress_crmsync_reader'), ('regress_crmsync_admin', 'regress_crmsync_operator')) AS r (role, beyond),
     pg_proc p
WHERE p.pronamespace = 'crmsync'::regnamespace AND has_function_privilege(r.role, p.oid, 'EXECUTE')
  AND NOT coalesce(has_function_privilege(r.beyond, p.oid, 'EXECUTE'), false)
ORDER BY array_position('{regress_crmsync_reader,regress_crmsync_operator,regress_crmsync_admin}', r.role), p.oid::regprocedure::text COLLATE "C";
SELECT c.relname, c.relkind FROM pg_class c
WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relkind IN ('r', 'v', 'S')
  AND has_table_privilege('regress_crmsync_admin', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') ORDER BY 1;
SELECT count(*) FROM pg_class c
WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relkind IN ('r', 'v')
  AND has_table_privilege('regress_crmsync_nobody', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');

SET ROLE regress_crmsync_nobody;
SELECT * FROM crmsync.status;
SET ROLE regress_crmsync_member;     -- through membership
SELECT link, state, last_error, code FROM crmsync.status;
SELECT link, record, values FROM crmsync.items;
SELECT link, code, message, old, new FROM crmsync.history ORDER BY at;
SELECT link, record, code, message FROM crmsync.failures;
SELECT link, mailbox, state, code, message FROM crmsync.mailboxes;
SELECT kind, name, message FROM crmsync.alerts ORDER BY 1, 2, 3;
SELECT name, code, message FROM crmsync.targets;
SELECT * FROM public.show_values();
SELECT crmsync.sync('one');
SELECT * FROM crmsync.target_secret;
SET ROLE regress_crmsync_operator;   -- reader of all, operator of one
SELECT link, values FROM crmsync.items ORDER BY link;
SELECT link, message, new FROM crmsync.history ORDER BY link, at;
SELECT link, last_error, code FROM crmsync.status ORDER BY link;
SELECT kind, name, message FROM crmsync.alerts ORDER BY 1, 2, 3;
SELECT * FROM public.show_values();
RESET ROLE;
SELECT * FROM public.show_values();
UPDATE crmsync.link SET enabled = false;
DROP FUNCTION public.show_values();
SET ROLE regress_crmsync_operator;
SELECT crmsync.retry('one');
SELECT crmsync.retry('two');
SELECT crmsync.resume_target('exchange');
SELECT crmsync.map('two', 'name', 'given_name');
SET ROLE regress_crmsync_admin;
SELECT crmsync.map('two', 'name', 'given_name');
SELECT crmsync.enable_link('nowhere');
-- An administrator's link runs as the administrator, not as whom it likes.
SELECT crmsync.create_link('three', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
RESET ROLE;
GRANT USAGE ON SCHEMA crm TO regress_crmsync_admin;
SET ROLE regress_crmsync_admin;
SELECT crmsync.create_link('three', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', owner => 'regress_crmsync_owner');
SELECT crmsync.create_link('three', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT owner FROM crmsync.links WHERE name = 'three';
SELECT crmsync.alter_link('three', owner => 'regress_crmsync_owner');
SELECT crmsync.map('three', 'name', 'given_name');
SELECT crmsync.enable_link('three');
SELECT crmsync.alter_target('exchange', url => 'https://attacker.invalid');
-- Internal functions are out of reach.
SELECT crmsync.query_as_owner(1, 'SELECT 1', NULL);
SELECT crmsync.read_by('SELECT 1');
RESET ROLE;

-- Who may read and write all data does not read secrets, or write them.
CREATE ROLE regress_crmsync_all_data IN ROLE pg_read_all_data, pg_write_all_data;
SET ROLE regress_crmsync_all_data;
SELECT count(*) FROM crmsync.target_secret;
UPDATE crmsync.target_secret SET secret = 'mine' RETURNING secret;
INSERT INTO crmsync.target_secret SELECT name, 'mine' FROM crmsync.target;
RESET ROLE;
DROP ROLE regress_crmsync_all_data;
SELECT secret FROM crmsync.target_secret;

-- What is given can be taken back.
SELECT crmsync.revoke_role('regress_crmsync_reader', 'operator', 'one');
SELECT crmsync.revoke_role('regress_crmsync_reader', 'reader');
SELECT crmsync.revoke_role('regress_crmsync_operator', 'operator', 'two');
SELECT has_function_privilege('regress_crmsync_operator', 'crmsync.retry(text,text,text)', 'EXECUTE'),
       has_table_privilege('regress_crmsync_operator', 'crmsync.status', 'SELECT');
SELECT crmsync.revoke_role('regress_crmsync_operator', 'reader');
SELECT crmsync.revoke_role('regress_crmsync_admin', 'admin');
SELECT crmsync.drop_link('three');
SELECT crmsync.drop_link('one');     -- takes the grant at it along

-- Nor does it come back with another role of the same name, or to the members of one.
SELECT crmsync.grant_role('regress_crmsync_operator', 'admin');
DROP OWNED BY regress_crmsync_operator;
DROP ROLE regress_crmsync_operator;
CREATE ROLE regress_crmsync_operator;
GRANT regress_crmsync_operator TO regress_crmsync_member;
SELECT crmsync.grant_role('regress_crmsync_member', 'reader');
SET ROLE regress_crmsync_member;
SELECT * FROM crmsync.allowed_links('admin');
RESET ROLE;
SELECT crmsync.grant_role('regress_crmsync_operator', 'reader', 'two');
SET ROLE regress_crmsync_operator;
SELECT name FROM crmsync.links;
SELECT * FROM crmsync.allowed_links('operator');
RESET ROLE;
SELECT role, level FROM crmsync.role_grant ORDER BY role;
SELECT crmsync.revoke_role('regress_crmsync_operator', link => 'two');
SELECT crmsync.revoke_role('regress_crmsync_member');
-- Nor when something of the earlier one is taken back, or goes.
CREATE FUNCTION another_operator() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM crmsync.create_link(n, 'exchange', 'contact', 'crm.person', audience => 'crm.audience', folder => n) FROM unnest('{four,five,six}'::text[]) n;
    PERFORM crmsync.grant_role('regress_crmsync_operator', 'operator', n) FROM unnest('{four,five,six}'::text[]) n;
    DROP OWNED BY regress_crmsync_operator;
    DROP ROLE regress_crmsync_operator;
    CREATE ROLE regress_crmsync_operator;
END $$;
SELECT another_operator();
SELECT crmsync.drop_link('four');
SELECT crmsync.has_entry('regress_crmsync_operator'), (SELECT count(*) FROM crmsync.role_grant);
SELECT crmsync.drop_link(n) FROM unnest('{five,six}'::text[]) n;
SELECT another_operator();
SELECT crmsync.revoke_role('regress_crmsync_operator', link => 'five');
SELECT crmsync.has_entry('regress_crmsync_operator'), (SELECT count(*) FROM crmsync.role_grant);
DROP ROLE regress_crmsync_operator, regress_crmsync_member, regress_crmsync_reader;

-- No view shows the secret.
DO $$
DECLARE
    view regclass;
    hits bigint;
BEGIN
    FOR view IN SELECT oid FROM pg_class WHERE relnamespace = 'crmsync'::regnamespace AND relkind = 'v' LOOP
        EXECUTE format('SELECT count(*) FROM %s v WHERE v::text LIKE ''%%top secret%%''', view) INTO hits;
        IF hits > 0 THEN
            RAISE WARNING '% shows the secret', view;
        END IF;
    END LOOP;
END;
$$;
DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner, regress_crmsync_admin, regress_crmsync_nobody;
