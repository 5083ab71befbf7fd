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
SELECT crmsync.alter_link('people', on_target_delete => 'ignore');
REVOKE DELETE ON crm.person FROM regress_crmsync_writer;
SELECT crmsync.alter_link('people', on_target_delete => 'delete');
GRANT DELETE ON crm.person TO regress_crmsync_writer;
SELECT crmsync.alter_link('people', on_target_delete => 'delete');

-- on_ambiguous, and what resolve refuses.
SELECT crmsync.alter_link('people', on_ambiguous => 'newest');
SELECT crmsync.alter_link('people', on_ambiguous => 'oldest');
SELECT crmsync.alter_link('people', on_ambiguous => 'oldest', match_on => '{surname}');
SELECT crmsync.alter_link('people', on_ambiguous => 'park', reset => '{match_on}');
SELECT crmsync.alter_link('people', reset => '{match_on}');
SELECT on_ambiguous, match_on FROM crmsync.links;
SELECT crmsync.resolve(1, 'crm');
SELECT crmsync.resolve(NULL, NULL);
INSERT INTO crmsync.mailbox (id, link, address) SELECT 1, id, 'anna@example.com' FROM crmsync.link;
INSERT INTO crmsync.conflict (id, link, mailbox, record, kind, property, crm_value, target_value, winner, item, records)
SELECT v.id, l.id, 1, v.record, v.kind, v.property, v.crm, v.target, v.winner, v.item, v.records FROM crmsync.link l, (VALUES
    (1, '1', 'field', 'surname', 'Lee', 'Li', 'crm', NULL, NULL::text[]), (2, '1', 'field', 'nickname', 'A', 'B', 'crm', NULL, NULL),
    (3, NULL, 'ambiguous', NULL, NULL, NULL, NULL, 'item', '{1,2}'), (4, '1', 'unlinked', NULL, NULL, NULL, NULL, 'item', NULL))
    AS v (id, record, kind, property, crm, target, winner, item, records);
SELECT id, kind, record, property, crm_value, target_value, winner, choices FROM crmsync.conflicts ORDER BY id;
SELECT conflicts FROM crmsync.status;
SELECT crmsync.resolve(1, 'both');
SELECT crmsync.resolve(2, 'crm');
SELECT crmsync.resolve(3, 'leave');
SELECT crmsync.resolve(1, 'target');

-- The preset orocrm: its policies depend on the direction.
SELECT crmsync.create_link('both', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', preset => 'orocrm');
SELECT crmsync.create_link('out', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', preset => 'orocrm', direction => 'outbound', outbound_interval => '1 s');
SELECT crmsync.create_link('slow', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', preset => 'orocrm', outbound_interval => '1 day');
SELECT crmsync.alter_link('both', inbound_interval => '0.5 s');
\x on
SELECT name, direction, conflict, write_fields, on_crm_delete, on_target_delete, on_ambiguous, match_on, outbound_interval, inbound_interval
FROM crmsync.links WHERE preset = 'orocrm' ORDER BY name;
\x off
-- A link that gets the preset later gets from it what is not set.
SELECT crmsync.create_link('later', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', options => '{"max_deletes": 7}');
SELECT crmsync.alter_link('later', preset => 'orocrm', direction => 'both', reset => '{write_fields,on_target_delete}');
SELECT preset, direction, write_fields, on_crm_delete, on_target_delete, on_ambiguous, match_on, outbound_interval, inbound_interval, options
FROM crmsync.links WHERE name = 'later';
SELECT crmsync.alter_link('later', options => '{"key_property": null}', match_on => '{surname}');
SELECT crmsync.alter_link('later', preset => 'orocrm');  -- it has it already
SELECT match_on, options FROM crmsync.links WHERE name = 'later';
SELECT crmsync.alter_link('later', reset => '{key_property}');
SELECT options FROM crmsync.links WHERE name = 'later';
SELECT crmsync.alter_link('later', options => '{"key_property": null}');
SELECT crmsync.alter_link('later', reset => '{options}');
SELECT options FROM crmsync.links WHERE name = 'later';
SELECT crmsync.alter_link('later', reset => '{key_property}', options => '{"key_property": "ours"}');
SELECT options FROM crmsync.links WHERE name = 'later';
-- Where no mailbox is read, its interval has no meaning.
SELECT crmsync.alter_link('later', direction => 'outbound', on_target_delete => 'ignore', match_on => '{}', options => '{"key_property": null}', reset => '{inbound_interval}');
SELECT direction, inbound_interval, outbound_interval FROM crmsync.links WHERE name = 'later';
SELECT crmsync.create_link('only out', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', preset => 'orocrm', direction => 'outbound',
    on_target_delete => 'ignore', match_on => '{}', options => '{"key_property": null}');
SELECT inbound_interval, outbound_interval FROM crmsync.links WHERE name = 'only out';
SELECT crmsync.alter_link('only out', on_target_delete => 'recreate');
SELECT inbound_interval FROM crmsync.links WHERE name = 'only out';
SELECT crmsync.drop_link('only out');
SELECT crmsync.alter_link('later', reset => '{preset,options,match_on,inbound_interval,outbound_interval}');
SELECT crmsync.alter_link('later', preset => 'orocrm', match_on => '{email_1}', options => '{"key_property": null, "max_deletes": 5}', inbound_interval => '7 s');
SELECT match_on, options, outbound_interval, inbound_interval FROM crmsync.links WHERE name = 'later';
SELECT crmsync.alter_link('later', reset => '{preset,options,match_on,inbound_interval,outbound_interval}');
SELECT crmsync.alter_link('later', preset => 'orocrm', match_on => '{}', options => '{"key_property": null}');
SELECT match_on, options FROM crmsync.links WHERE name = 'later';
SELECT crmsync.alter_link('later', preset => 'salesforce');
SELECT crmsync.drop_link('later');
SELECT crmsync.map_preset('both', '{"last_name": "last_name"}');
SELECT property, crm, fallback FROM crmsync.mappings WHERE link = 'both' ORDER BY property;
SELECT crmsync.map_preset('out', '{"first_name": "(upper(r.first_name))"}');
SELECT property, crm, fallback FROM crmsync.mappings WHERE link = 'out' ORDER BY property;

DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner, regress_crmsync_writer;
