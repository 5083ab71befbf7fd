-- enable_link: what it refuses, what it finds, and the triggers that it puts up and takes away.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE ROLE regress_crmsync_other;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, name text, company integer, boss integer, born date, photo bytea, tags text[], note text);
CREATE TABLE crm.company (id integer PRIMARY KEY, name text, unused text);
CREATE TABLE crm.phone (id integer PRIMARY KEY, person integer, number text, unused text);
CREATE TABLE crm.team (person integer, usr integer);
CREATE TABLE crm.usr (id integer PRIMARY KEY, mail text, active boolean, unused text);
CREATE VIEW crm.active_user AS SELECT u.id, u.mail FROM crm.usr u WHERE u.active;
CREATE VIEW crm.audience AS SELECT t.person AS record, u.mail AS mailbox FROM crm.team t JOIN crm.active_user u ON u.id = t.usr;
CREATE TABLE crm.audience_table (record integer, mailbox text, unused text);
RESET ROLE;
CREATE VIEW trigger_state AS
SELECT t.tgrelid::regclass AS relation, t.tgname, t.tgenabled AS enabled, t.tgtype::integer::bit(8) AS type,
       (SELECT count(*) FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'x') AS extension
FROM pg_trigger t WHERE t.tgname LIKE 'crmsync%' ORDER BY 1, 2;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.pause_target('exchange');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');

SELECT * FROM crmsync.enable_link('nowhere');
SELECT * FROM crmsync.enable_link('people');
SELECT crmsync.map('people', 'name', 'display_name');
SELECT crmsync.map('people', '(SELECT c.name FROM crm.company c WHERE c.id = r.company)', 'company');
SELECT crmsync.map('people', '(SELECT min(p.number) FROM crm.phone p WHERE p.person = r.id)', 'mobile_phone');
SELECT crmsync.watch('people', 'crm.phone', 'person');
SELECT * FROM crmsync.enable_link('people');
SELECT * FROM trigger_state;
SELECT relation, column_name, c.columns, lookup, comparison FROM crmsync.capture c JOIN crmsync.capture_link l ON l.capture = c.id ORDER BY 1, 2;
SELECT enabled, (SELECT count(*) FROM crmsync.identity) FROM crmsync.links;
SELECT crmsync.capture_problem(1);
-- Again: nothing changes.
CREATE TEMPORARY TABLE before AS SELECT oid, xmin::text AS version FROM pg_trigger WHERE tgname LIKE 'crmsync%';
SELECT relation, columns FROM crmsync.enable_link('people');
SELECT count(*) FROM pg_trigger t WHERE tgname LIKE 'crmsync%' AND (t.oid, t.xmin::text) NOT IN (SELECT oid, version FROM before);

-- A change of the mapping takes effect at the next enable_link, and says so.
SELECT crmsync.map('people', 'born', 'birthday');
SELECT property, in_force FROM crmsync.mappings ORDER BY property;
SELECT crmsync.layout(1);
SELECT relation, columns FROM crmsync.enable_link('people') WHERE relation = 'crm.person';
SELECT crmsync.layout(1);
SELECT crmsync.alter_link('people', audience => 'crm.audience_table');
-- What is in force no longer has what is mapped now, and the view shows both.
SELECT crmsync.map('people', 'born', 'birthday', options => '{"write": "all"}');
SELECT count(*) FROM crmsync.enable_link('people');
SELECT crmsync.map('people', 'born', 'birthday');
SELECT crmsync.unmap('people', 'mobile_phone');
SELECT property, options, in_force, mapped FROM crmsync.mappings ORDER BY property COLLATE "C", mapped;
SELECT crmsync.map('people', 'born', 'birthday', options => '{"write": "all"}');
SELECT property, options, in_force, mapped FROM crmsync.mappings WHERE property = 'birthday';
SELECT crmsync.map('people', 'born', 'birthday');
SELECT crmsync.map('people', '(SELECT min(p.number) FROM crm.phone p WHERE p.person = r.id)', 'mobile_phone');
SELECT count(*) FROM crmsync.enable_link('people');
SELECT bool_and(in_force AND mapped) FROM crmsync.mappings;

-- A second link shares triggers; columns are those of both, until one is gone.
SELECT crmsync.create_link('notes', 'exchange', 'contact', 'crm.person', audience => 'crm.audience_table', folder => 'Notes');
SELECT crmsync.map('notes', 'note', 'notes');
SELECT * FROM crmsync.enable_link('notes');
SELECT relation, column_name, columns FROM crmsync.capture ORDER BY 1, 2;
SELECT crmsync.disable_link('people');
SELECT relation, column_name, columns FROM crmsync.capture ORDER BY 1, 2;
SELECT * FROM trigger_state;
SELECT crmsync.drop_link('notes');
SELECT count(*) FROM trigger_state;
SELECT count(*) FROM crmsync.capture;

-- A whole row means all columns; a source's key with a lookup means both.
SELECT crmsync.unmap('people', 'company');
SELECT crmsync.map('people', '(to_jsonb(r) ->> ''note'')', 'notes');
SELECT crmsync.map('people', '(SELECT b.name FROM crm.person b WHERE b.id = r.boss)', 'manager');
SELECT relation, column_name, columns, how FROM crmsync.enable_link('people');
SELECT crmsync.watch('people', 'crm.person', 'id', 'SELECT p.id FROM crm.person p WHERE p.boss = $1::integer');
SELECT relation, column_name, columns, how FROM crmsync.enable_link('people');
SELECT lookup FROM crmsync.capture_link l JOIN crmsync.capture c ON c.id = l.capture WHERE c.relation = 'crm.person';

-- Nor does an audience that goes by other records than its own, whether it says so itself or through a view.
SET ROLE regress_crmsync_owner;
CREATE VIEW crm.boss AS SELECT b.id, b.company FROM crm.person b;
CREATE VIEW crm.own_audience AS SELECT p.id AS record, u.mail AS mailbox FROM crm.person p JOIN crm.usr u ON u.id = p.company;
CREATE VIEW crm.boss_audience AS SELECT p.id AS record, u.mail AS mailbox FROM crm.person p JOIN crm.person b ON b.id = p.boss JOIN crm.usr u ON u.id = b.company;
CREATE VIEW crm.boss_audience_2 AS SELECT p.id AS record, u.mail AS mailbox FROM crm.person p JOIN crm.boss b ON b.id = p.boss JOIN crm.usr u ON u.id = b.company;
RESET ROLE;
SELECT crmsync.create_link('bosses', 'exchange', 'contact', 'crm.person', audience => 'crm.own_audience', folder => 'Bosses');
SELECT crmsync.map('bosses', 'name', 'display_name');
SELECT relation, column_name, how FROM crmsync.enable_link('bosses');
SELECT crmsync.disable_link('bosses'), crmsync.alter_link('bosses', audience => 'crm.boss_audience');
SELECT relation, column_name, how FROM crmsync.enable_link('bosses');
SELECT crmsync.disable_link('bosses'), crmsync.alter_link('bosses', audience => 'crm.boss_audience_2');
SELECT count(*) FROM crmsync.enable_link('bosses');
SELECT crmsync.watch('bosses', 'crm.person', 'id', 'SELECT p.id FROM crm.person p WHERE p.boss = $1::integer');
SELECT count(*) FROM crmsync.enable_link('bosses');
SELECT crmsync.drop_link('bosses');

-- What is missing is named.
ALTER TABLE crm.phone DROP COLUMN number;
SELECT crmsync.enable_link('people');
SELECT crmsync.unmap('people', 'mobile_phone');
DROP TABLE crm.phone;
SELECT crmsync.capture_problem(1);
SELECT crmsync.enable_link('people');
SELECT w.relation FROM crmsync.watches w WHERE w.relation = 'crm.phone';
SELECT crmsync.unwatch('people', 'crm.phone');
SELECT count(*) FROM crmsync.enable_link('people');
SELECT crmsync.capture_problem(1);

-- Rights of the owner, and rows hidden from it.
SELECT crmsync.disable_link('people');
SELECT crmsync.alter_link('people', owner => 'regress_crmsync_other');
SELECT crmsync.enable_link('people');
GRANT USAGE ON SCHEMA crm TO regress_crmsync_other;
SELECT crmsync.enable_link('people');
GRANT SELECT ON crm.audience, crm.person TO regress_crmsync_other;
ALTER TABLE crm.person ENABLE ROW LEVEL SECURITY;
SELECT crmsync.enable_link('people');
ALTER ROLE regress_crmsync_other BYPASSRLS;
SELECT count(*) FROM crmsync.enable_link('people');
ALTER TABLE crm.person DISABLE ROW LEVEL SECURITY;
-- Behind views, too: their functions, and what they read with the rights of whoever asks.
CREATE FUNCTION crm.shout(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN upper($1);
REVOKE EXECUTE ON FUNCTION crm.shout FROM PUBLIC;
CREATE VIEW crm.label WITH (security_invoker) AS SELECT c.id, c.unused FROM crm.company c;
CREATE VIEW crm.loud AS SELECT l.id, crm.shout(l.unused) AS label FROM crm.label l;
GRANT SELECT ON crm.loud TO regress_crmsync_other;
SELECT crmsync.map('people', '(SELECT l.label FROM crm.loud l WHERE l.id = r.company)', 'department');
SELECT crmsync.enable_link('people');
GRANT EXECUTE ON FUNCTION crm.shout TO regress_crmsync_other;
SELECT crmsync.enable_link('people');
SET ROLE regress_crmsync_other;
SELECT count(label) FROM crm.loud;
RESET ROLE;
GRANT SELECT (id, name, unused) ON crm.company TO regress_crmsync_other;
SELECT count(*) FROM crmsync.enable_link('people');
SET ROLE regress_crmsync_other;
SELECT count(label) FROM crm.loud;
RESET ROLE;
SELECT crmsync.unmap('people', 'department');
DROP VIEW crm.loud, crm.label;
SELECT count(*) FROM crmsync.enable_link('people');

-- What no trigger sees is said.
CREATE FUNCTION crm.greeting(integer) RETURNS text LANGUAGE sql STABLE AS $$ SELECT name FROM crm.company WHERE id = $1 $$;
CREATE MATERIALIZED VIEW crm.summary AS SELECT 1 AS id;
GRANT SELECT ON crm.summary TO regress_crmsync_other;
SELECT crmsync.map('people', '(crm.greeting(r.company) || (SELECT s.id FROM crm.summary s))', 'nickname');
SELECT relation FROM crmsync.enable_link('people');

-- Triggers taken away or disabled are found, and enable_link puts them back.
ALTER TABLE crm.person DISABLE TRIGGER ALL;
DO $$ BEGIN EXECUTE (SELECT format('DROP TRIGGER %I ON crm.team', tgname) FROM pg_trigger WHERE tgrelid = 'crm.team'::regclass AND tgname LIKE '%truncate'); END $$;
SELECT regexp_replace(crmsync.capture_problem(1), '[0-9]+', 'N', 'g');
SELECT count(*) FROM crmsync.enable_link('people');
SELECT crmsync.capture_problem(1);

-- A crash would empty it.
ALTER TABLE crm.team SET UNLOGGED;
SELECT count(*) FROM crmsync.enable_link('people');

-- The CRM's tables are locked last, when all is forgotten.
SELECT crmsync.create_link('before', 'exchange', 'contact', 'crm.company', audience => 'crm.audience_table', folder => 'Companies');
SELECT crmsync.map('before', 'name', 'company');
SELECT relation FROM crmsync.enable_link('before');
CREATE FUNCTION public.locked_relations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% relations of the CRM are locked while % items go', (
        SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
        WHERE l.pid = pg_backend_pid() AND l.mode = 'AccessExclusiveLock' AND c.relnamespace = 'crm'::regnamespace), (SELECT count(*) FROM gone);
    RETURN NULL;
END;
$$;
CREATE TRIGGER watcher AFTER DELETE ON crmsync.item REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.locked_relations();
BEGIN;
INSERT INTO crmsync.mailbox (id, link, address) SELECT 1000, id, 'a@example.com' FROM crmsync.link WHERE name = 'people';
INSERT INTO crmsync.item (link, record, mailbox) SELECT id, '1', 1000 FROM crmsync.link WHERE name = 'people';
SELECT crmsync.drop_target('exchange', cascade => true);
COMMIT;
SELECT count(*) FROM trigger_state;
DROP EXTENSION crmsync;
DROP FUNCTION public.locked_relations;
SET client_min_messages = warning;
DROP SCHEMA crm CASCADE;
DROP VIEW trigger_state;
DROP ROLE regress_crmsync_owner, regress_crmsync_other;
