-- Links: each parameter refused with what is allowed; defaults; what alter_link keeps to.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TYPE crm.code AS ENUM ('a', 'b');
CREATE DOMAIN crm.short AS varchar(20);
CREATE TABLE crm.person (id bigint PRIMARY KEY, code crm.code UNIQUE, short crm.short UNIQUE, fixed char(8) UNIQUE,
    guid uuid UNIQUE, amount numeric UNIQUE, name text, at timestamptz UNIQUE, "Odd Name" text UNIQUE);
CREATE TABLE crm.pair (a integer, b integer, PRIMARY KEY (a, b));
CREATE TABLE crm.audience (record bigint, mailbox text);
CREATE TABLE crm.not_audience (id bigint, mailbox text);
CREATE TABLE crm.strange_audience (record numeric, mailbox text);
CREATE TABLE crm.mailboxes (mailbox text, enabled boolean);
CREATE TABLE crm.small_audience (record smallint, mailbox varchar(100));
CREATE TABLE crm.text_audience (record text, mailbox text);
CREATE TABLE crm.name_audience (record name, mailbox text);
CREATE TABLE crm.guid_audience (record uuid, mailbox text);
CREATE TABLE crm.code_audience (record crm.code, mailbox text);
CREATE TYPE crm.other_code AS ENUM ('a', 'b');
CREATE VIEW crm.other_code_audience AS SELECT record::text::crm.other_code AS record, mailbox FROM crm.code_audience;
CREATE VIEW crm.code_as_text AS SELECT record::text, mailbox FROM crm.code_audience;
CREATE TABLE crm.numbered_audience (record bigint, mailbox integer);
CREATE TABLE crm.strange_mailboxes (mailbox text, enabled text);
CREATE TABLE crm.numbered_mailboxes (mailbox integer);
CREATE TABLE crm.placed_mailboxes (mailbox text, target integer);
CREATE TABLE crm.named_mailboxes (mailbox crm.short, enabled boolean, target name, remark numeric);
CREATE TABLE crm.mailboxes_with_id (id integer PRIMARY KEY, mailbox text);
CREATE VIEW crm.mailboxes_in_zone AS SELECT mailbox, 'Europe/Zurich'::text AS time_zone, true AS automatic FROM crm.mailboxes_with_id;
CREATE VIEW crm.person_view AS SELECT * FROM crm.person;
CREATE MATERIALIZED VIEW crm.person_copy AS SELECT * FROM crm.person;
CREATE TEMPORARY TABLE person_temporary (id integer PRIMARY KEY);
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.create_target('directory', 'ldap', 'ldaps://ldap.invalid', 'simple', 'cn=reader', 'file:ldap');
SELECT crmsync.pause_target(t) FROM unnest('{exchange,directory}'::text[]) t;

SELECT crmsync.create_link('people', 'nowhere', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.create_link('', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'person', 'crm.person', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'event', 'crm.person', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'directory', 'group', 'crm.person');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person_copy', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'person_temporary', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'pg_class', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.not_audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.strange_audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', mailboxes => 'crm.pair');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', mailboxes => 'crm.strange_mailboxes');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', mailboxes => 'crm.numbered_mailboxes');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', mailboxes => 'crm.placed_mailboxes');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.numbered_audience');
-- Records are keys of the source: of its type, or one that every key has a place in.
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.text_audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'Odd Name', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'short', audience => 'crm.guid_audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person_view', 'guid', audience => 'crm.text_audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'code', audience => 'crm.other_code_audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'code', audience => 'crm.code_as_text');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.pair', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person_view', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'nothing', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'name', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'amount', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', 'at', audience => 'crm.audience');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', direction => 'sideways');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', direction => 'inbound');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', conflict => 'target_wins');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', conflict => 'newest_wins');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', write_fields => 'some');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', on_crm_delete => 'ignore');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', on_target_delete => 'disable');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', on_audience_loss => 'keep');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', folder => 'a/b');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', inbound_interval => '1 hour');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', preset => 'salesforce');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', preset => 'nexj', direction => 'inbound');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', options => '{"base": "x"}');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', audience => 'crm.audience', options => '{"base": "dc=x"}');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', direction => 'outbound', options => '{"base": "dc=x"}');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', daily_at => '04:00+00', inbound_interval => '1 hour', options => '{"base": "dc=x"}');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', inbound_interval => '0', options => '{"base": "dc=x"}');
SELECT count(*) FROM crmsync.links;

-- Every type of key, and the defaults.
SELECT crmsync.create_link('by ' || coalesce(k, 'primary key'), 'exchange', 'contact', 'crm.person', k, audience => a)
FROM (VALUES (NULL, 'crm.audience'::regclass), ('code', 'crm.code_audience'), ('short', 'crm.text_audience'), ('fixed', 'crm.name_audience'),
             ('guid', 'crm.guid_audience'), ('Odd Name', 'crm.text_audience')) AS v (k, a);
SELECT crmsync.create_link('view', 'exchange', 'contact', 'crm.person_view', 'id', audience => 'crm.audience');
SELECT crmsync.create_link('narrow', 'exchange', 'contact', 'crm.person', audience => 'crm.small_audience', mailboxes => 'crm.named_mailboxes');
SELECT name, source, key, crmsync.key_type(id), crmsync.record_type(id) FROM crmsync.links ORDER BY name;
-- A key that the audience's type cannot hold is not in the audience, and no error.
INSERT INTO crm.small_audience VALUES (1, 'a@example.com');
SELECT crmsync.query_as_owner(id, crmsync.audience_query(id), '{1,100000}') FROM crmsync.links WHERE name = 'narrow';
ALTER TABLE crm.small_audience ALTER COLUMN record TYPE text;
SELECT crmsync.enable_link('narrow');
SELECT crmsync.drop_link('narrow');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', options => '{"base": "dc=x"}');
\x on
SELECT * FROM crmsync.links WHERE name IN ('by primary key', 'users') ORDER BY name;
\x off
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', options => '{"base": "dc=x"}');

-- alter_link: NULL keeps, reset brings back the default, options merge.
SELECT crmsync.alter_link('view', on_crm_delete => 'keep', folder => 'CRM', options => '{"max_deletes": 7, "min_deletes": 1}');
SELECT crmsync.alter_link('view', options => '{"max_deletes": 8}');
SELECT on_crm_delete, folder, options FROM crmsync.links WHERE name = 'view';
SELECT crmsync.alter_link('view', reset => '{on_crm_delete,folder,max_deletes}');
SELECT on_crm_delete, folder, options FROM crmsync.links WHERE name = 'view';
SELECT crmsync.alter_link('view', reset => '{source}');
SELECT crmsync.alter_link('view', object => 'event');
SELECT crmsync.alter_link('view', target => 'directory');
SELECT crmsync.alter_link('view', key => 'nothing');
SELECT crmsync.alter_link('view', key => 'code');
SELECT crmsync.alter_link('view', audience => 'crm.text_audience');
SELECT crmsync.alter_link('view', key => 'short', audience => 'crm.text_audience');
SELECT crmsync.alter_link('view', key => 'id', audience => 'crm.audience', mailboxes => 'crm.mailboxes_with_id');
SELECT crmsync.alter_link('view', key => 'id', audience => 'crm.audience', mailboxes => 'crm.mailboxes');
SELECT crmsync.alter_link('view', preset => 'nexj');
SELECT crmsync.alter_link('view', direction => 'both');
SELECT crmsync.alter_link('view', write_fields => 'all');
SELECT preset, direction, write_fields FROM crmsync.links WHERE name = 'view';
SELECT crmsync.alter_link('users', daily_at => '04:00+00');
SELECT inbound_interval, daily_at FROM crmsync.links WHERE name = 'users';
SELECT crmsync.alter_link('users', inbound_interval => '30 min');
SELECT inbound_interval, daily_at FROM crmsync.links WHERE name = 'users';
SELECT crmsync.alter_link('nowhere', folder => 'x');

-- Once items exist, a link keeps what their stamps and places depend on.
INSERT INTO crmsync.mailbox (id, link, address) SELECT 1000, id, 'a@example.com' FROM crmsync.link WHERE name = 'view';
INSERT INTO crmsync.item (link, record, mailbox) SELECT id, '1', 1000 FROM crmsync.link WHERE name = 'view';
SELECT crmsync.alter_link('view', folder => 'Other');
SELECT crmsync.alter_link('view', audience => 'crm.mailboxes', folder => 'Other');
SELECT crmsync.alter_link('view', key => 'guid', audience => 'crm.guid_audience');
-- Not on what was left to their users, where the link only writes: it is known no more then.
BEGIN;
UPDATE crmsync.item SET state = 'unlinked', stamped = false;
SELECT crmsync.alter_link('view', folder => 'Other');
SELECT count(*) FROM crmsync.item;
ROLLBACK;
BEGIN;
UPDATE crmsync.item SET state = 'unlinked', stamped = false;
UPDATE crmsync.link SET direction = 'both', preset = NULL WHERE name = 'view';
SELECT crmsync.alter_link('view', folder => 'Other');
ROLLBACK;
-- A directory has no mailboxes that could move.
SELECT crmsync.create_target('elsewhere', 'ldap', 'ldaps://elsewhere.invalid', 'simple', 'cn=reader', 'file:ldap');
INSERT INTO crmsync.mailbox (id, link, address) SELECT 1001, id, '' FROM crmsync.link WHERE name = 'users';
INSERT INTO crmsync.item (link, record, mailbox) SELECT id, '1', 1001 FROM crmsync.link WHERE name = 'users';
SELECT crmsync.alter_link('users', target => 'elsewhere');
SELECT crmsync.alter_target('directory', url => 'ldaps://elsewhere.invalid', secret => 'file:ldap');
SELECT crmsync.drop_target('elsewhere');
DELETE FROM crmsync.mailbox WHERE id = 1001;
-- What only bears another name now keeps them. Whether it is the same is seen by its records.
ALTER VIEW crm.person_view RENAME TO people_view;
SELECT crmsync.alter_link('view', source => 'crm.people_view');
INSERT INTO crm.person (id) VALUES (1);
SELECT crmsync.alter_link('view', source => 'crm.people_view');
SELECT source, key, (SELECT count(*) FROM crmsync.item i WHERE i.link = l.id) AS items FROM crmsync.links l WHERE name = 'view';
SELECT crmsync.alter_link('view', source => 'crm.person');
ALTER VIEW crm.people_view RENAME id TO number;
SELECT crmsync.alter_link('view', key => 'guid', audience => 'crm.guid_audience');
SELECT crmsync.alter_link('view', folder => 'Other', key => 'number');
SELECT crmsync.alter_link('view', key => 'number');
SELECT source, key, (SELECT count(*) FROM crmsync.item i WHERE i.link = l.id) AS items FROM crmsync.links l WHERE name = 'view';

SELECT crmsync.drop_target('directory');
SELECT crmsync.drop_link('view', 'burn');
SELECT crmsync.drop_link('users', 'delete');
-- With its items: it is there until the worker has taken them back, and good for nothing else.
SELECT crmsync.pause_target('exchange');
SELECT crmsync.drop_link('view', 'delete');
SELECT name, enabled, retired FROM crmsync.links WHERE name = 'view';
SELECT state FROM crmsync.status WHERE link = 'view';
SELECT crmsync.enable_link('view');
SELECT crmsync.create_link('view', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.drop_link('view', 'delete');
SELECT crmsync.drop_link('view');
SELECT count(*) FROM crmsync.item;
SELECT crmsync.drop_link('view');
SELECT crmsync.drop_target('exchange', cascade => true);
SELECT name FROM crmsync.links;

-- A superuser's link runs as the owner of the source, and says so when that is one, too.
CREATE ROLE regress_crmsync_superuser SUPERUSER;
CREATE TABLE crm.superuser_person (id integer PRIMARY KEY);
ALTER TABLE crm.superuser_person OWNER TO regress_crmsync_superuser;
\set VERBOSITY terse
SELECT crmsync.create_link('risky', 'directory', 'user', 'crm.superuser_person', options => '{"base": "dc=x"}') \g /dev/null
SELECT crmsync.create_link('other', 'directory', 'user', 'crm.superuser_person', owner => 'regress_crmsync_owner', options => '{"base": "dc=x"}');
SELECT owner FROM crmsync.links WHERE name = 'other';
DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP TABLE person_temporary;
DROP ROLE regress_crmsync_owner, regress_crmsync_superuser;
