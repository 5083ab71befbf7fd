-- Columns of child rows: what map_child and enable_link refuse, what they put up, and the query.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE ROLE regress_crmsync_reader;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TYPE crm.address_type AS ENUM ('billing', 'shipping');
CREATE TABLE crm.contact (id integer PRIMARY KEY, first_name text, email text);
CREATE TABLE crm.contact_email (id serial PRIMARY KEY, contact_id bigint REFERENCES crm.contact, email text, is_primary boolean DEFAULT false);
CREATE INDEX ON crm.contact_email (contact_id);
CREATE TABLE crm.contact_address (id serial PRIMARY KEY, contact_id integer, type crm.address_type, street text, city text, checked date);
CREATE TABLE crm.note (contact_id integer, body text);
CREATE TABLE crm.audience (record integer, mailbox text);
CREATE VIEW crm.emails AS SELECT * FROM crm.contact_email;
RESET ROLE;
CREATE TEMPORARY TABLE passing (contact_id integer, email text);
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.create_target('directory', 'ldap', 'ldap://127.0.0.1', 'none');
SELECT crmsync.pause_target('exchange');
SELECT crmsync.create_link('contacts', 'exchange', 'contact', 'crm.contact', audience => 'crm.audience');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.contact', options => '{"base": "dc=example"}');
SELECT crmsync.map('contacts', 'first_name', 'given_name');

-- The rows: which, and in which order.
SELECT crmsync.map_child('users', 'crm.contact_email', 'contact_id', '{"email": "mail"}');
SELECT crmsync.map_child('contacts', NULL, 'contact_id', '{"email": "email_1"}');
SELECT crmsync.map_child('contacts', 'crm.emails', 'contact_id', '{"email": "email_1"}');
SELECT crmsync.map_child('contacts', 'pg_temp.passing', 'contact_id', '{"email": "email_1"}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'owner_id', '{"email": "email_1"}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'email', '{"is_primary": "email_1"}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', "position" => 0);
SELECT crmsync.map_child('contacts', 'crm.note', 'contact_id', '{"body": "notes"}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => 'is_primary DESC LIMIT 1');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => 'id FOR UPDATE');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => 'id) x, (SELECT 1');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => '');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => 'main DESC');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => 'r.first_name');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => '(SELECT body FROM crm.note n)');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', fixed => '["billing"]');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', fixed => '{"is_primary": {"yes": true}}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', fixed => '{"main": true}');
SELECT crmsync.map_child('contacts', 'crm.contact_address', 'contact_id', '{"city": "home_city"}', fixed => '{"type": "private"}');

-- The columns.
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '["email"]');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": null}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"mail": "email_1"}');
\set VERBOSITY terse
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "electronic_mail"}');
\set VERBOSITY default
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "@mailbox"}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "given_name"}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"contact_id": "email_1"}');
SELECT crmsync.map_child('contacts', 'crm.contact_address', 'contact_id', '{"city": "home_city", "street": "home_city"}');
SELECT crmsync.map_child('contacts', 'crm.contact_address', 'contact_id', '{"type": "home_city"}', fixed => '{"type": "billing"}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": ["email_1"]}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": {"value_map": {}}}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": {"property": "email_1", "fallback": "''x''"}}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": {"property": "email_1", "value_map": {"a": 1}}}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": {"property": "gender", "value_map": {"f": "woman"}}}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": {"property": "email_1", "inbound": "lower($1)"}}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": {"property": "email_1", "options": {"write": "never"}}}');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": {"property": "email_1", "options": {"conflict": "target_wins"}}}');

SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => 'is_primary DESC');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_2"}', "position" => 2, order_by => 'is_primary DESC');
SELECT crmsync.map_child('contacts', 'crm.contact_address', 'contact_id', '{"street": "business_street", "city": "business_city", "checked": "anniversary"}', fixed => '{"type": "billing"}');
SELECT crmsync.map_child('contacts', 'crm.contact_address', 'contact_id', '{"city": "other_city"}', fixed => '{"type": null}');
SELECT crmsync.map('contacts', 'email', 'email_1');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', fixed => '{"is_primary": true}');
SELECT crmsync.map_child('contacts', 'crm.contact_address', 'contact_id', '{"street": "business_street", "city": "business_city"}', fixed => '{"type": "billing"}');  -- again: replaces
SELECT crmsync.unmap('contacts', 'email_2');
SELECT relation, column_name, columns, fixed, "position", order_by, direction, in_force FROM crmsync.child_mappings ORDER BY 1, 4, 5;
SELECT property, crm, child_table FROM crmsync.mappings ORDER BY 1;

-- It is watched by itself, with what mapping, fixed and order read.
SELECT relation, column_name, columns, how FROM crmsync.enable_link('contacts');
SELECT bool_and(in_force AND mapped) FROM crmsync.child_mappings;
-- But not by what else reads it.
SELECT crmsync.map('contacts', '(SELECT min(e.email) FROM crm.contact_email e WHERE e.contact_id = r.id + 1)', 'notes');
SELECT relation, column_name, how FROM crmsync.enable_link('contacts') WHERE relation = 'crm.contact_email';
SELECT crmsync.watch('contacts', 'crm.contact_email', 'contact_id', 'SELECT $1::bigint - 1');
SELECT relation, column_name, how FROM crmsync.enable_link('contacts') WHERE relation = 'crm.contact_email';
SELECT crmsync.unwatch('contacts', 'crm.contact_email'), crmsync.unmap('contacts', 'notes');
SELECT count(*) FROM crmsync.enable_link('contacts');
CREATE INDEX ON crm.contact_address (contact_id);
SELECT count(*) FROM crmsync.enable_link('contacts');

-- The rows that it finds.
INSERT INTO crm.contact VALUES (1, 'Ann'), (2, 'Bob');
INSERT INTO crm.contact_email (contact_id, email, is_primary) VALUES (1, 'first@x', false), (1, 'second@x', true), (1, 'third@x', false);
INSERT INTO crm.contact_address (contact_id, type, street, city) VALUES (1, 'billing', 'A 1', 'Aachen'), (1, 'shipping', 'B 1', 'Bonn'), (1, NULL, 'C 1', 'Chur'), (2, 'billing', NULL, 'Berne');
SELECT crmsync.layout(l.id) FROM crmsync.links l WHERE name = 'contacts';
SELECT q.q FROM crmsync.links l, crmsync.query_as_owner(l.id, crmsync.source_query(l.id), '{1,2}') AS q (q) WHERE name = 'contacts' ORDER BY 1;

-- What is gone, and undone.
DROP TABLE passing;
ALTER TABLE crm.contact_address RENAME TO address;
SELECT crmsync.enable_link('contacts');
SELECT crmsync.capture_problem(id) FROM crmsync.links WHERE name = 'contacts';
SELECT crmsync.source_query(id) IS NULL FROM crmsync.links WHERE name = 'contacts';
SELECT crmsync.unmap_child('contacts', 'crm.contact_address', fixed => '{"type": "shipping"}');
SELECT crmsync.unmap_child('contacts', 'crm.contact_address', fixed => '{"type": null}');
SELECT crmsync.unmap_child('contacts', 'crm.contact_address', "position" => 1);
SELECT crmsync.unmap_child('contacts', 'crm.contact_email', 'contact_id', "position" => 2);
ALTER TABLE crm.contact_email RENAME contact_id TO owner_id;
SELECT crmsync.enable_link('contacts');
SELECT crmsync.unmap_child('contacts', 'crm.contact_email');
SELECT crmsync.unmap_child('contacts', 'crm.contact_email');
SELECT relation, column_name, columns, fixed, in_force, mapped FROM crmsync.child_mappings ORDER BY 1, 3, 4;
SELECT relation, column_name, how FROM crmsync.enable_link('contacts');
SELECT count(*) FROM crmsync.child_mappings;

-- Both directions: rows that can be told apart, and an owner who may write them.
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.number (owner_id integer, number text, main boolean);
RESET ROLE;
SELECT crmsync.alter_link('contacts', direction => 'both');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": "business_phone"}', order_by => 'number');
SELECT crmsync.enable_link('contacts');
ALTER TABLE crm.number ADD id serial PRIMARY KEY, ADD kind text;
CREATE INDEX ON crm.number (owner_id);
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": "home_phone"}', "position" => 2);
SELECT crmsync.enable_link('contacts');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": "home_phone", "kind": "company"}', "position" => 2, order_by => 'number');
SELECT crmsync.enable_link('contacts');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": "home_phone"}', "position" => 2, order_by => 'number');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": {"property": "home_phone", "inbound": "trim($1)"}}', "position" => 2, order_by => 'number');
SELECT crmsync.enable_link('contacts');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"main": {"property": "home_phone", "inbound": "current_date"}}', "position" => 2, order_by => 'number');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": {"property": "home_phone", "inbound": "trim("}}', "position" => 2, order_by => 'number');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": {"property": "home_phone", "value_map": {"0": "none"}, "inbound": null, "options": {"conflict": "target_wins"}}}', "position" => 2, order_by => 'number');
SELECT crm, property, value_map, inbound, options FROM crmsync.mappings WHERE child_table = 'crm.number' ORDER BY 2;
SELECT columns FROM crmsync.child_mappings WHERE relation = 'crm.number' ORDER BY 1;
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": "home_phone"}', "position" => 2, order_by => 'number');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": "mobile_phone"}', fixed => '{"main": true}');
SELECT crmsync.enable_link('contacts');
SELECT crmsync.unmap_child('contacts', 'crm.number', fixed => '{}');
SELECT crmsync.map_child('contacts', 'crm.number', 'owner_id', '{"number": "home_phone"}', fixed => '{"main": null, "kind": "home"}');
SELECT relation, column_name, how FROM crmsync.enable_link('contacts');
GRANT ALL ON crm.contact, crm.audience, crm.number TO regress_crmsync_reader;
GRANT USAGE ON SCHEMA crm TO regress_crmsync_reader;
REVOKE DELETE, UPDATE, INSERT ON crm.number FROM regress_crmsync_reader;
GRANT INSERT (owner_id, number, main) ON crm.number TO regress_crmsync_reader;
SELECT crmsync.disable_link('contacts');
SELECT crmsync.alter_link('contacts', owner => 'regress_crmsync_reader');
SELECT crmsync.enable_link('contacts');
GRANT DELETE ON crm.number TO regress_crmsync_reader;
SELECT crmsync.enable_link('contacts');
GRANT INSERT ON crm.number TO regress_crmsync_reader;
SELECT crmsync.enable_link('contacts');
GRANT UPDATE (number) ON crm.number TO regress_crmsync_reader;
SELECT count(*) FROM crmsync.enable_link('contacts');
SELECT property, child_number, column_name, expression FROM crmsync.links l, crmsync.inbound_columns(l.id) WHERE name = 'contacts';

-- Who may name them.
CREATE ROLE regress_crmsync_admin;
SELECT crmsync.grant_role('regress_crmsync_admin', 'admin');
GRANT USAGE ON SCHEMA crm TO regress_crmsync_admin;
SET ROLE regress_crmsync_admin;
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'owner_id', '{"email": "email_1"}');
RESET ROLE;
SELECT crmsync.revoke_role('regress_crmsync_admin');
DROP OWNED BY regress_crmsync_admin;
DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner, regress_crmsync_reader, regress_crmsync_admin;
