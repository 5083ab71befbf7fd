-- The rules of a link: what newest_wins needs, and what is refused.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE ROLE regress_crmsync_reader;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id serial PRIMARY KEY, first_name text, last_name text, mail text, mailbox text, changed_at timestamptz, changed_on timestamp);
CREATE TABLE crm.audience (record integer, mailbox text);
GRANT USAGE ON SCHEMA crm TO regress_crmsync_reader;
GRANT SELECT (id, first_name, last_name), INSERT, UPDATE ON crm.person TO regress_crmsync_reader;
GRANT SELECT ON crm.audience TO regress_crmsync_reader;
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.pause_target('exchange');
\set link '\'people\', \'exchange\', \'contact\', \'crm.person\', audience => \'crm.audience\', direction => \'both\', owner => \'regress_crmsync_reader\''

-- newest_wins and its column
SELECT crmsync.create_link(:link, conflict => 'newest_wins');
SELECT crmsync.create_link(:link, conflict => 'newest_wins', options => '{"modified_column": "changed"}');
SELECT crmsync.create_link(:link, conflict => 'newest_wins', options => '{"modified_column": "changed_on"}');
SELECT crmsync.create_link(:link, conflict => 'newest_wins', options => '{"modified_column": "changed_at"}');
SELECT conflict, options FROM crmsync.links;
SELECT crmsync.alter_link('people', reset => '{modified_column}');
SELECT crmsync.map('people', 'first_name', 'given_name', options => '{"conflict": "newest_wins"}');
SELECT crmsync.map('people', '(upper(r.last_name))', 'nickname', options => '{"conflict": "crm_wins"}');
SELECT crmsync.map('people', 'last_name', 'surname', options => '{"conflict": "oldest_wins"}');
SELECT crmsync.map('people', 'last_name', 'surname', direction => 'outbound', options => '{"conflict": "crm_wins"}');
SELECT crmsync.enable_link('people');
GRANT SELECT (changed_at) ON crm.person TO regress_crmsync_reader;
SELECT relation, how FROM crmsync.enable_link('people');
SELECT crmsync.alter_link('people', reset => '{conflict,modified_column}');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.alter_link('people', reset => '{conflict,modified_column}');
SELECT crmsync.map('people', 'first_name', 'given_name', options => '{"conflict": "newest_wins"}');
SELECT conflict, options FROM crmsync.links;
SELECT crmsync.drop_link('people');

-- direction inbound
CREATE TABLE crm.mailboxes (mailbox text, enabled boolean);
GRANT SELECT ON crm.mailboxes TO regress_crmsync_reader;
\set link '\'people\', \'exchange\', \'contact\', \'crm.person\', direction => \'inbound\', owner => \'regress_crmsync_reader\''
SELECT crmsync.create_link(:link, audience => 'crm.audience', mailboxes => 'crm.mailboxes');
SELECT crmsync.create_link(:link);
SELECT crmsync.create_link(:link, mailboxes => 'crm.mailboxes', conflict => 'target_wins');
SELECT crmsync.create_link(:link, mailboxes => 'crm.mailboxes', write_fields => 'all');
SELECT crmsync.create_link(:link, mailboxes => 'crm.mailboxes', on_audience_loss => 'delete');
SELECT crmsync.create_link(:link, mailboxes => 'crm.mailboxes', on_ambiguous => 'oldest');
SELECT crmsync.create_link(:link, mailboxes => 'crm.mailboxes', match_on => '{surname}', on_ambiguous => 'oldest', inbound_interval => '30 s');
SELECT crmsync.alter_link('people', write_fields => 'changed');
SELECT crmsync.alter_link('people', on_target_delete => 'recreate');
SELECT crmsync.map('people', '(upper(r.last_name))', 'surname');
SELECT crmsync.map('people', 'last_name', 'surname', direction => 'both');
SELECT crmsync.map('people', 'last_name', 'surname', options => '{"conflict": "target_wins"}');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT relation, how FROM crmsync.enable_link('people');
SELECT link, state, direction FROM crmsync.status;
SELECT * FROM crmsync.plan('people');
SELECT crmsync.alter_link('people', direction => 'both');
SELECT crmsync.drop_link('people');
-- What was made for both directions and is altered.
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', direction => 'both', on_audience_loss => 'unlink', owner => 'regress_crmsync_reader');
SELECT crmsync.map('people', 'first_name', 'given_name', direction => 'inbound');
SELECT crmsync.map('people', 'last_name', 'surname', direction => 'outbound');
SELECT crmsync.alter_link('people', direction => 'inbound', mailboxes => 'crm.mailboxes', reset => '{audience}');
SELECT direction, on_audience_loss FROM crmsync.links;
SELECT crmsync.alter_link('people', preset => 'orocrm');
SELECT crmsync.alter_link('people', reset => '{preset,match_on,options}');
SELECT crmsync.alter_link('people', on_ambiguous => 'park');
SELECT crmsync.alter_link('people', on_audience_loss => 'unlink');
SELECT crmsync.enable_link('people');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT property, direction FROM crmsync.mappings ORDER BY property;
SELECT crmsync.undo('people', '2026-01-01');
SELECT relation, how FROM crmsync.enable_link('people');
SELECT crmsync.undo('people', NULL);
SELECT crmsync.undo('people', 'infinity');
SELECT crmsync.undo('people', '2026-01-01', 'nobody@example.com');
SELECT crmsync.undo('people', '2026-01-01');
SELECT crmsync.drop_link('people');

-- inbound_categories
\set link '\'people\', \'exchange\', \'contact\', \'crm.person\', audience => \'crm.audience\', owner => \'regress_crmsync_reader\''
SELECT crmsync.create_link(:link, direction => 'both', options => '{"inbound_categories": ["CRM"]}');
SELECT crmsync.create_link(:link, direction => 'both', options => '{"inbound_categories": {}}');
SELECT crmsync.create_link(:link, direction => 'both', options => '{"inbound_categories": {"all": ["CRM"]}}');
SELECT crmsync.create_link(:link, direction => 'both', options => '{"inbound_categories": {"only": "CRM"}}');
SELECT crmsync.create_link(:link, direction => 'both', options => '{"inbound_categories": {"only": [1]}}');
SELECT crmsync.create_link(:link, options => '{"inbound_categories": {"only": ["CRM"]}}');
SELECT crmsync.create_link(:link, direction => 'both', options => '{"inbound_categories": {"only": ["CRM"], "none": ["Private"]}}');
SELECT options FROM crmsync.links;
SELECT crmsync.drop_link('people');

-- columns of the relation of mailboxes
CREATE TABLE crm.odd_automatic (mailbox text, automatic text);
CREATE TABLE crm.odd_id (mailbox text, id date);
CREATE TABLE crm.odd_zone (mailbox text, time_zone interval);
CREATE TABLE crm.whole (mailbox text, enabled boolean, automatic boolean, target text, id uuid, time_zone text);
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO regress_crmsync_reader;
SELECT crmsync.create_link(:link, mailboxes => 'crm.odd_automatic');
SELECT crmsync.create_link(:link, mailboxes => 'crm.odd_id');
SELECT crmsync.create_link(:link, mailboxes => 'crm.odd_zone');
SELECT crmsync.create_link(:link, mailboxes => 'crm.whole');
INSERT INTO crmsync.mailbox (link, address, user_id) SELECT l.id, u.address, u.id FROM crmsync.link l, (VALUES ('a', '1'), ('b', '2'), ('c', NULL)) AS u (address, id);
SELECT crmsync.know_mailboxes(id, '{b,a,c}', '{1,2,3}') FROM crmsync.link;
SELECT address, user_id FROM crmsync.mailbox ORDER BY 1;
-- The worker hears of those that have another address than before.
BEGIN;
SELECT crmsync.know_mailboxes(id, '{d,a}', '{1,4}') FROM crmsync.link;
SELECT address, user_id FROM crmsync.mailbox ORDER BY 1;
SELECT r.action, m.address FROM crmsync.request r JOIN crmsync.mailbox m ON m.id = r.mailbox WHERE r.xmin = pg_current_xact_id()::xid ORDER BY 2;
COMMIT;
SELECT crmsync.drop_link('people');

-- A property that came to be mapped twice has no place of its own: nothing is sent.
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', owner => 'regress_crmsync_reader');
SELECT crmsync.map('people', 'last_name', 'surname', value_map => '{"Ann": "Anna"}');
INSERT INTO crmsync.mapping (link, property, crm) SELECT id, 'surname', 'first_name' FROM crmsync.link;
SELECT * FROM crmsync.plan('people');
SELECT crmsync.drop_link('people');

DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner;
DROP ROLE regress_crmsync_reader;
