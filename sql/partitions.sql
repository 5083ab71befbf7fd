-- Partitions that come and go, children of plain inheritance, renamed and dropped relations.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, name text, other text) PARTITION BY RANGE (id);
CREATE TABLE crm.low PARTITION OF crm.person FOR VALUES FROM (0) TO (100);
CREATE TABLE crm.high PARTITION OF crm.person FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
CREATE TABLE crm.high_1 PARTITION OF crm.high FOR VALUES FROM (100) TO (150);
CREATE TABLE crm.audience (record integer, mailbox text);
CREATE TABLE crm.late_audience () INHERITS (crm.audience);
RESET ROLE;
CREATE VIEW trigger_state AS
SELECT t.tgrelid::regclass AS relation, regexp_replace(t.tgname, '[0-9]+', 'N') AS trigger, t.tgenabled AS enabled, t.tgparentid <> 0 AS clone
FROM pg_trigger t WHERE t.tgname LIKE 'crmsync%' ORDER BY t.tgrelid::regclass::text, 2;
CREATE FUNCTION problem() RETURNS text LANGUAGE sql RETURN regexp_replace(crmsync.capture_problem(1), '_[0-9]+', '_N', 'g');

SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:x');
SELECT crmsync.pause_target('exchange');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.map('people', 'name', 'given_name');
SELECT * FROM crmsync.enable_link('people');
SELECT * FROM trigger_state;
SELECT problem();

-- More columns: the triggers are replaced, also those of partitions.
SELECT crmsync.map('people', 'other', 'surname');
SELECT columns FROM crmsync.enable_link('people') WHERE relation = 'crm.person';
SELECT tgrelid::regclass AS relation, tgname ~ 'truncate' AS truncate, tgenabled, encode(tgargs, 'escape') ~ 'other' AS has_column
FROM pg_trigger WHERE tgname LIKE 'crmsync%' AND tgfoid = 'crmsync.capture'::regproc AND tgrelid::regclass::text ~ 'person|low|high' ORDER BY 1;

CREATE TABLE crm.high_2 PARTITION OF crm.high FOR VALUES FROM (150) TO (200);
SELECT problem();
SELECT count(*) FROM crmsync.enable_link('people');
SELECT problem();
ALTER TABLE crm.person DETACH PARTITION crm.low;
SELECT problem();
SELECT count(*) FROM crmsync.enable_link('people');
SELECT problem();
SELECT * FROM trigger_state WHERE relation = 'crm.low'::regclass;
DROP TABLE crm.high_1;
SELECT problem();
SELECT count(*) FROM crmsync.enable_link('people');
SELECT problem();
ALTER TABLE crm.person RENAME TO people;
SELECT problem();
SELECT crmsync.enable_link('people');
ALTER TABLE crm.people RENAME TO person;
SELECT problem();

-- So do tables that inherit. They may be watched with their parent.
CREATE TABLE crm.later_audience () INHERITS (crm.late_audience);
CREATE TEMPORARY TABLE passing () INHERITS (crm.audience);
SELECT problem();
SELECT relation, columns FROM crmsync.enable_link('people') WHERE relation ~ 'audience';
SELECT problem();
SELECT crmsync.watch('people', 'crm.audience', 'record'), crmsync.watch('people', 'crm.late_audience', 'record', 'SELECT $1::integer + 1', '{mailbox}');
SELECT relation, column_name, columns, how FROM crmsync.enable_link('people') WHERE relation ~ 'audience';
SELECT c.relation, l.lookup FROM crmsync.capture c JOIN crmsync.capture_link l ON l.capture = c.id WHERE c.relation ~ 'audience' ORDER BY 1;
SELECT crmsync.unwatch('people', r) FROM unnest('{crm.audience,crm.late_audience}'::text[]) r;
DROP TABLE crm.later_audience;
SELECT problem();
SELECT count(*) FROM crmsync.enable_link('people');
SELECT problem();

-- ALTER TABLE on what is watched stays possible.
ALTER TABLE crm.person ALTER COLUMN name TYPE varchar(50);
ALTER TABLE crm.person DROP COLUMN other;
UPDATE crm.person SET name = 'x';
SELECT problem();

SELECT crmsync.disable_link('people');
SELECT count(*) FROM trigger_state;

-- What the queries return: one form for every type, whatever the session's settings.
SET DateStyle = 'German';
CREATE TABLE crm.value (id uuid PRIMARY KEY, name text, born date, tags text[], photo bytea, number numeric, at timestamptz, yes boolean);
ALTER TABLE crm.value OWNER TO regress_crmsync_owner;
INSERT INTO crm.value VALUES ('11111111-2222-3333-4444-555555555555', 'Ada', '1815-12-10', '{a,"b c"}', '\xdeadbeef', 1.50, '2026-01-02 03:04:05+00', true);
CREATE TABLE crm.value_audience (record uuid, mailbox text);
ALTER TABLE crm.value_audience OWNER TO regress_crmsync_owner;
INSERT INTO crm.value_audience VALUES ('11111111-2222-3333-4444-555555555555', ' A@Example.com '), ('11111111-2222-3333-4444-555555555555', 'a@example.com'),
    ('11111111-2222-3333-4444-555555555555', NULL), (NULL, 'a@example.com'), ('99999999-2222-3333-4444-555555555555', ''), ('99999999-2222-3333-4444-555555555555', 'b@example.com');
SELECT crmsync.create_link('values', 'exchange', 'contact', 'crm.value', audience => 'crm.value_audience');
SELECT crmsync.map('values', c, 'x:' || c) FROM unnest('{name,born,tags,photo,number,at,yes}'::text[]) c;
SELECT crmsync.map('values', '(upper(r.name) -- shouting)
)', 'x:expression');
SELECT crmsync.map('values', '(''constant'')', 'x:constant');
SELECT * FROM crmsync.layout(2);
SET timezone = 'UTC';
SELECT format('PREPARE source(text[]) AS %s; PREPARE audience(text[]) AS %s; PREPARE everybody AS %s; PREPARE keys AS %s;',
              crmsync.source_query(2), crmsync.audience_query(2), crmsync.audience_all_query(2), crmsync.key_query(2)) \gexec
SET search_path = pg_catalog, pg_temp;
\x on
EXECUTE source('{11111111-2222-3333-4444-555555555555}');
\x off
EXECUTE source('{99999999-2222-3333-4444-555555555555}');
EXECUTE audience('{11111111-2222-3333-4444-555555555555}');
EXECUTE everybody;
EXECUTE keys;
RESET search_path;
-- A partition elsewhere has no trigger for TRUNCATE, and is named: its changes are seen from here only.
CREATE FOREIGN DATA WRAPPER regress_crmsync_elsewhere;
CREATE SERVER regress_crmsync_archive FOREIGN DATA WRAPPER regress_crmsync_elsewhere;
GRANT USAGE ON FOREIGN SERVER regress_crmsync_archive TO regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.old (id integer, name text) PARTITION BY RANGE (id);
CREATE TABLE crm.old_here PARTITION OF crm.old FOR VALUES FROM (0) TO (10);
CREATE FOREIGN TABLE crm.old_archive PARTITION OF crm.old FOR VALUES FROM (10) TO (20) SERVER regress_crmsync_archive;
CREATE TABLE crm.old_audience (record integer, mailbox text);
RESET ROLE;
SELECT crmsync.create_link('old', 'exchange', 'contact', 'crm.old', key => 'id', audience => 'crm.old_audience');
SELECT crmsync.map('old', 'name', 'given_name');
SELECT count(*) FROM crmsync.enable_link('old');
SELECT tgrelid::regclass, regexp_replace(tgname, '[0-9]+', 'N') FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'crm.old%' ORDER BY 1, 2;
SELECT crmsync.capture_problem(id) FROM crmsync.link WHERE name = 'old';
SELECT crmsync.drop_link('old');
DROP FOREIGN TABLE crm.old_archive;
DROP FOREIGN DATA WRAPPER regress_crmsync_elsewhere CASCADE;
DROP FUNCTION problem;
DROP EXTENSION crmsync;
DROP VIEW trigger_state;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner;
