-- A link's own function for what comes in: what create_link, alter_link and enable_link refuse.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE ROLE regress_crmsync_reader;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id serial PRIMARY KEY, first_name text, last_name text);
CREATE TABLE crm.audience (record integer, mailbox text);
CREATE VIEW crm.everybody AS SELECT p.id, upper(p.first_name) AS first_name FROM crm.person p GROUP BY p.id;
CREATE FUNCTION crm."Bring in"(link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) RETURNS text LANGUAGE sql RETURN record;
CREATE FUNCTION crm.too_few(link text, action text, record text) RETURNS text LANGUAGE sql RETURN record;
CREATE FUNCTION crm.returns_more(link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT record';
CREATE FUNCTION crm.returns_number(link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) RETURNS integer LANGUAGE sql RETURN 1;
CREATE PROCEDURE crm.returns_nothing(link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA crm FROM PUBLIC;
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.create_target('directory', 'ldap', 'ldap://127.0.0.1', 'none');
SELECT crmsync.pause_target('exchange');
\set link '\'people\', \'exchange\', \'contact\', \'crm.everybody\', \'id\', audience => \'crm.audience\', owner => \'regress_crmsync_owner\''
SELECT crmsync.create_link(:link, apply => 'crm."Bring in"');
SELECT crmsync.create_link(:link, direction => 'both', apply => 'crm.too_few');
SELECT crmsync.create_link(:link, direction => 'both', apply => 'crm.returns_more');
SELECT crmsync.create_link(:link, direction => 'both', apply => 'crm.returns_number');
SELECT crmsync.create_link(:link, direction => 'both', apply => 'crm.returns_nothing');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', apply => 'crm."Bring in"', options => '{"base": "dc=example"}');
SELECT crmsync.create_link(:link, direction => 'both', apply => 'crm."Bring in"');
SELECT apply FROM crmsync.links;

-- The view has no INSTEAD OF trigger, and the owner need not write it.
SELECT crmsync.map('people', 'first_name', 'given_name', value_map => '{"ANN": "Ann"}', fallback => '''ANN''');
SELECT crmsync.map('people', '(lower(r.first_name))', 'nickname');
SELECT crmsync.map('people', '(r.id::text)', 'x:id', direction => 'outbound');
SELECT property, direction FROM crmsync.mappings ORDER BY 1;
SELECT crmsync.map('people', '(lower(r.first_name))', 'nickname', direction => 'both', options => '{"conflict": "target_wins"}');
SELECT crmsync.map('people', '(upper(r.first_name))', 'x:upper', direction => 'inbound');
SELECT property, direction FROM crmsync.mappings ORDER BY 1;
SELECT relation, how FROM crmsync.enable_link('people');
SELECT property, child_number, column_name FROM crmsync.links l, crmsync.inbound_columns(l.id);

-- Changes: of a link that is not enabled, by members of its owner.
SELECT crmsync.alter_link('people', apply => 'crm.returns_number');
SELECT crmsync.alter_link('people', reset => '{apply}');
SELECT crmsync.disable_link('people');
SELECT crmsync.alter_link('people', reset => '{apply}');
SELECT crmsync.enable_link('people');
SELECT crmsync.unmap('people', 'x:upper');
SELECT crmsync.map('people', '(lower(r.first_name))', 'nickname');
SELECT crmsync.enable_link('people');
CREATE ROLE regress_crmsync_admin;
SELECT crmsync.grant_role('regress_crmsync_admin', 'admin');
GRANT USAGE ON SCHEMA crm TO regress_crmsync_admin;
SET ROLE regress_crmsync_admin;
SELECT crmsync.alter_link('people', apply => 'crm."Bring in"');
RESET ROLE;
SELECT crmsync.alter_link('people', apply => 'crm."Bring in"');

-- What it takes the place of, and who may call it.
SELECT crmsync.map('people', 'id', '@mailbox');
SELECT crmsync.enable_link('people');
SELECT crmsync.unmap('people', '@mailbox');
SELECT crmsync.map('people', 'first_name', 'given_name', inbound => 'upper($1)');
SELECT crmsync.enable_link('people');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.alter_link('people', owner => 'regress_crmsync_reader');
GRANT USAGE ON SCHEMA crm TO regress_crmsync_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO regress_crmsync_reader;
SELECT crmsync.enable_link('people');
GRANT EXECUTE ON FUNCTION crm."Bring in" TO regress_crmsync_reader;
SELECT count(*) FROM crmsync.enable_link('people');
ALTER FUNCTION crm."Bring in" RENAME TO bring_in;
SELECT crmsync.enable_link('people');
-- A link that only reads has it, too.
SELECT crmsync.create_link('reading', 'exchange', 'contact', 'crm.everybody', 'id', mailboxes => 'crm.audience', direction => 'inbound', apply => 'crm.bring_in', owner => 'regress_crmsync_reader');
SELECT crmsync.map('reading', '(lower(r.first_name))', 'nickname');
SELECT count(*) FROM crmsync.enable_link('reading');
SELECT property, child_number, column_name FROM crmsync.links l, crmsync.inbound_columns(l.id) WHERE l.name = 'reading';
-- When a row was changed is read by crmsync, not by the function.
CREATE TABLE crm.dated (id integer PRIMARY KEY, name text, changed timestamptz);
GRANT SELECT (id, name) ON crm.dated TO regress_crmsync_reader;
SELECT crmsync.create_link('dated', 'exchange', 'contact', 'crm.dated', audience => 'crm.audience', direction => 'both', apply => 'crm.bring_in', options => '{"modified_column": "changed"}', owner => 'regress_crmsync_reader');
SELECT crmsync.map('dated', 'name', 'surname');
SELECT count(*) FROM crmsync.enable_link('dated');
GRANT SELECT (changed) ON crm.dated TO regress_crmsync_reader;
SELECT count(*) FROM crmsync.enable_link('dated');
SELECT crmsync.revoke_role('regress_crmsync_admin');
DROP OWNED BY regress_crmsync_admin;
DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner, regress_crmsync_reader, regress_crmsync_admin;
