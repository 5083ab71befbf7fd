-- What follows from what users have: policies and parameters of matching and deleting, and what is refused.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE ROLE regress_crmsync_writer;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id serial PRIMARY KEY, first_name text, last_name text);
CREATE TABLE crm.audience (record integer, mailbox text);
GRANT USAGE ON SCHEMA crm TO regress_crmsync_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO regress_crmsync_writer;
GRANT INSERT, UPDATE ON crm.person TO regress_crmsync_writer;
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.pause_target('exchange');
\set link '\'people\', \'exchange\', \'contact\', \'crm.person\', audience => \'crm.audience\''

-- on_target_delete: a link that only writes deletes nothing in the CRM, and reads only for some of them.
SELECT crmsync.create_link(:link, on_target_delete => 'disable');
SELECT crmsync.create_link(:link, on_target_delete => 'delete');
SELECT crmsync.create_link(:link, inbound_interval => '10 s');
SELECT crmsync.create_link(:link, on_target_delete => 'recreate', inbound_interval => '10 s', owner => 'regress_crmsync_writer');
SELECT crmsync.alter_link('people', on_target_delete => 'ignore');
SELECT crmsync.alter_link('people', on_target_delete => 'ignore', reset => '{inbound_interval}');
SELECT crmsync.alter_link('people', on_target_delete => 'delete', direction => 'both');
SELECT on_target_delete, direction, inbound_interval FROM crmsync.links;
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.enable_link('people');
GRANT DELETE ON crm.person TO regress_crmsync_writer;
SELECT relation, how FROM crmsync.enable_link('people');

DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner, regress_crmsync_writer;
