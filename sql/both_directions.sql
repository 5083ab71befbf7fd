-- Links of direction both: what map and enable_link refuse, and what is stored.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE ROLE regress_crmsync_reader;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id serial PRIMARY KEY, first_name text, last_name text, full_name text, mail text, sex text, born date, made_in text, source text);
CREATE TABLE crm.audience (record integer, mailbox text);
CREATE VIEW crm.everybody AS SELECT min(p.id) AS id, p.first_name FROM crm.person p GROUP BY p.first_name;
GRANT USAGE ON SCHEMA crm TO regress_crmsync_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO regress_crmsync_reader;
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.pause_target('exchange');
\set link '\'people\', \'exchange\', \'contact\', \'crm.person\', audience => \'crm.audience\', direction => \'both\''
SELECT crmsync.create_link(:link, conflict => 'newest_wins');
SELECT crmsync.create_link(:link, options => '{"inbound_private": "busy"}');
SELECT crmsync.create_link(:link, options => '{"inbound_categories": ["CRM"]}');
\set VERBOSITY terse
SELECT crmsync.create_link(:link, match_on => '{firstname}');
\set VERBOSITY default
SELECT crmsync.create_link(:link, inbound_interval => '10 s', conflict => 'target_wins', match_on => '{given_name,surname}', owner => 'regress_crmsync_reader');
SELECT name, direction, conflict, inbound_interval, match_on FROM crmsync.links;

-- Mappings that come in, and what only rows made of new items get.
SELECT crmsync.map('people', 'first_name', 'given_name', inbound => 'initcap($1)', fallback => 'nickname');
SELECT crmsync.map('people', 'born', 'birthday', fallback => '''soon''');
SELECT crmsync.map('people', 'born', 'birthday');
SELECT crmsync.map('people', 'mail', 'email_1', fallback => 'electronic_mail');
SELECT crmsync.map('people', 'mail', 'email_1', inbound => 'nothing($1)');
SELECT crmsync.map('people', 'mail', 'email_1', direction => 'inbound');
SELECT crmsync.map('people', 'mail', 'email_1', direction => 'outbound', inbound => 'lower($1)');
SELECT crmsync.map('people', 'mail', 'email_1', direction => 'outbound');
SELECT crmsync.map('people', '(r.first_name || r.last_name)', 'nickname', fallback => '''none''');
SELECT crmsync.map('people', '(r.first_name || r.last_name)', 'nickname', direction => 'both');
SELECT crmsync.map('people', '(concat_ws('' '', r.first_name, r.last_name))', 'display_name');
SELECT crmsync.map('people', 'full_name', 'home_address');
SELECT crmsync.map('people', 'full_name', 'home_address', direction => 'both');
SELECT crmsync.map('people', 'full_name', 'display_name', direction => 'both');
SELECT crmsync.map('people', 'source', '@none');
SELECT crmsync.map('people', 'source', '@none', inbound => '''Outlook''');
SELECT crmsync.map('people', 'made_in', '@mailbox', fallback => '''nobody''');
SELECT crmsync.map('people', 'made_in', '@mailbox', direction => 'outbound');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SELECT crmsync.map('people', '(r.made_in)', '@mailbox');
SELECT property, crm, direction, fallback, inbound FROM crmsync.mappings ORDER BY property;

-- enable_link: what is not mapped, what the owner may not write, what cannot be written.
SELECT crmsync.enable_link('people');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.enable_link('people');
SELECT crmsync.map('people', 'sex', 'nickname');
SELECT crmsync.enable_link('people');
SELECT crmsync.map('people', 'sex', 'business_address');
SELECT crmsync.map('people', 'sex', 'profession');
SELECT crmsync.enable_link('people');
SELECT crmsync.map('people', 'sex', 'profession', direction => 'outbound');
GRANT INSERT, UPDATE ON crm.person TO regress_crmsync_reader;
REVOKE UPDATE ON crm.person FROM regress_crmsync_reader;
SELECT crmsync.enable_link('people');
GRANT UPDATE (first_name, last_name, full_name, sex, born) ON crm.person TO regress_crmsync_reader;
SELECT crmsync.unmap('people', p) FROM unnest('{business_address,profession}'::text[]) p;
SELECT relation, how FROM crmsync.enable_link('people');
SELECT crmsync.create_link('view', 'exchange', 'contact', 'crm.everybody', 'id', audience => 'crm.audience', direction => 'both', owner => 'regress_crmsync_owner');
SELECT crmsync.map('view', 'first_name', 'given_name');
SELECT crmsync.enable_link('view');
SELECT crmsync.alter_link('view', direction => 'outbound');
SELECT relation, how FROM crmsync.enable_link('view');
-- Nor does it turn around while it is enabled, or match on what it does not map, or is yet to map.
SELECT crmsync.alter_link('view', direction => 'both');
SELECT crmsync.map('view', 'id', 'custom_1');
SELECT crmsync.alter_link('view', match_on => '{custom_1}');
SELECT direction, match_on FROM crmsync.links WHERE name = 'view';

-- What nothing can be written to is only sent: columns that make their values.
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.member (id integer PRIMARY KEY, number integer GENERATED ALWAYS AS IDENTITY, given text, family text,
                         name text GENERATED ALWAYS AS (given || ' ' || family) STORED, made_in text);
CREATE TABLE crm.member_phone (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, member integer, phone text, digits text GENERATED ALWAYS AS (translate(phone, '- /', '')) STORED);
CREATE INDEX ON crm.member_phone (member);
RESET ROLE;
SELECT crmsync.create_link('members', 'exchange', 'contact', 'crm.member', audience => 'crm.audience', direction => 'both');
SELECT crmsync.map('members', 'given', 'given_name');
SELECT crmsync.map('members', 'name', 'custom_1', direction => 'both');
SELECT crmsync.map('members', 'name', 'custom_1', direction => 'inbound');
SELECT crmsync.map('members', 'name', 'custom_1', fallback => 'surname');
SELECT crmsync.map('members', 'name', 'custom_1', inbound => 'upper($1)');
SELECT crmsync.map('members', 'name', 'custom_1', options => '{"conflict": "target_wins"}');
SELECT crmsync.map('members', 'name', 'custom_1');
SELECT crmsync.map('members', 'number', 'custom_2', direction => 'both');
SELECT crmsync.map('members', 'number', 'custom_2');
SELECT crmsync.map('members', 'number', '@none', inbound => '1');
SELECT crmsync.map('members', 'id', 'custom_3', direction => 'both');  -- what new rows are made with
SELECT crmsync.map_child('members', 'crm.member_phone', 'member', '{"phone": "home_phone", "digits": {"property": "custom_4", "inbound": "upper($1)"}}');
SELECT crmsync.map_child('members', 'crm.member_phone', 'member', '{"phone": "home_phone", "digits": {"property": "custom_4", "options": {"conflict": "target_wins"}}}');
SELECT crmsync.map_child('members', 'crm.member_phone', 'member', '{"phone": "home_phone", "digits": "custom_4", "id": "custom_5"}');
SELECT property, crm, direction FROM crmsync.mappings WHERE link = 'members' ORDER BY property;
SELECT count(*) FROM crmsync.enable_link('members');
SELECT i.property, i.column_name FROM crmsync.links l, crmsync.inbound_columns(l.id) i WHERE l.name = 'members';
-- One who may see the mappings need not know the CRM.
REVOKE USAGE ON SCHEMA crm FROM regress_crmsync_reader;
SELECT crmsync.grant_role('regress_crmsync_reader', 'reader');
SET ROLE regress_crmsync_reader;
SELECT property, direction FROM crmsync.mappings WHERE link = 'members' AND property LIKE 'custom%' ORDER BY property;
RESET ROLE;
-- A link that only reads has no use for them; what was mapped before its direction is met by enable_link.
SELECT crmsync.disable_link('members');
SELECT crmsync.alter_link('members', direction => 'outbound');
SELECT crmsync.alter_link('members', direction => 'inbound', mailboxes => 'crm.audience', reset => '{audience}');
SELECT crmsync.map('members', 'name', 'custom_1');
SELECT crmsync.map_child('members', 'crm.member_phone', 'member', '{"digits": "custom_6"}', "position" => 2);
SELECT crmsync.enable_link('members');
DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner, regress_crmsync_reader;
