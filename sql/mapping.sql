-- map, unmap, map_preset, map_group, watch: each refusal, and what is stored.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, first_name text, last_name text, mail text, sex text, company integer, born date);
CREATE TABLE crm.company (id integer PRIMARY KEY, name text);
CREATE TABLE crm.member (person integer, team text);
CREATE TABLE crm.audience (record integer, mailbox text);
CREATE VIEW crm.company_view AS SELECT * FROM crm.company;
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.create_target('directory', 'ldap', 'ldaps://ldap.invalid', 'simple', 'cn=reader', 'file:ldap');
SELECT crmsync.pause_target(t) FROM unnest('{exchange,directory}'::text[]) t;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', options => '{"base": "dc=x"}');

-- The list of all properties is long: not its words, but that there is one.
\set VERBOSITY terse
SELECT crmsync.map('people', 'first_name', 'vorname');
SELECT crmsync.map('people', 'first_name', NULL);
\set VERBOSITY default
SELECT crmsync.map('people', 'vorname', 'given_name');
SELECT crmsync.map('people', '', 'given_name');
SELECT crmsync.map('people', NULL, 'given_name');
SELECT crmsync.map('people', '(first_name', 'given_name');
SELECT crmsync.map('people', '(r.first_nam)', 'given_name');
SELECT crmsync.map('people', '(nothing(r.first_name))', 'given_name');
SELECT crmsync.map('people', '(1), (2)', 'given_name');
SELECT crmsync.map('people', '(1) FROM crm.company r UNION SELECT (2)', 'given_name');
SELECT crmsync.map('people', '(1)); DROP TABLE crm.person; SELECT ((2)', 'given_name');
SELECT crmsync.map('people', '(SELECT name FROM crm.company c WHERE c.id = r.company)', 'company');
SELECT crmsync.map('people', '(SELECT c.name FROM crm.company c WHERE c.id = company)', 'company');
SELECT crmsync.map('people', '(SELECT c.name FROM company c WHERE c.id = r.company)', 'company');
SELECT crmsync.map('people', '(sum(r.id))', 'notes');
SELECT crmsync.map('people', '(generate_series(1, r.id))', 'notes');
SELECT crmsync.map('people', '(row_number() OVER ())', 'notes');
SELECT crmsync.map('people', 'first_name', '@mailbox');
SELECT crmsync.map('people', 'first_name', 'x:');
SELECT crmsync.map('people', 'first_name', 'given_name', direction => 'inbound');
SELECT crmsync.map('people', 'first_name', 'given_name', direction => 'backwards');
SELECT crmsync.map('people', 'first_name', 'given_name', fallback => 'surname');
SELECT crmsync.map('people', 'first_name', 'given_name', inbound => 'upper($1)');
SELECT crmsync.map('people', 'first_name', 'given_name', value_map => '[1]');
SELECT crmsync.map('people', 'first_name', 'given_name', value_map => '{"a": 1}');
SELECT crmsync.map('people', 'first_name', 'given_name', value_map => '{"a": []}');
SELECT crmsync.map('people', 'sex', 'gender', value_map => '{"m": "male", "f": "femail"}');
SELECT crmsync.map('people', 'first_name', 'given_name', options => '{"write": "sometimes"}');
SELECT count(*) FROM crmsync.mappings;

SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'given_name');
SELECT crmsync.map('people', '(SELECT c.name FROM crm.company c WHERE c.id = r.company)', 'company', options => '{"write": "if_empty"}');
SELECT crmsync.map('people', 'sex', 'gender', value_map => '{"m": "male", "f": ["female", "unspecified"]}');
SELECT crmsync.map('people', '(r.id::text)', 'x:crm-id');
SELECT property, crm, direction, value_map, options, in_force FROM crmsync.mappings ORDER BY property;
SELECT crmsync.unmap('people', 'surname');
SELECT crmsync.unmap('people', 'given_name', 'last_name');
SELECT crmsync.unmap('people', 'x:crm-id');

-- LDAP: attributes into columns.
SELECT crmsync.map('users', '(r.mail)', 'mail');
SELECT crmsync.map('users', 'mail', 'e mail');
SELECT crmsync.map('users', 'mail', 'mail', direction => 'outbound');
SELECT crmsync.map('users', 'company', '@none');
SELECT crmsync.map('users', 'mail', 'mail');
SELECT crmsync.map('users', 'mail', 'otherMailbox');
SELECT crmsync.map('users', 'last_name', 'sn;lang-en', fallback => 'cn');
SELECT crmsync.map('users', 'company', '@none', inbound => '1');
SELECT property, crm, direction, fallback, inbound FROM crmsync.mappings WHERE link = 'users' ORDER BY property;
-- The key is what new rows get; other columns that make their values are never written.
ALTER TABLE crm.person ADD number integer GENERATED ALWAYS AS IDENTITY, ADD label text GENERATED ALWAYS AS (first_name || last_name) STORED;
SELECT crmsync.map('users', 'id', 'employeeNumber');
SELECT crmsync.map('users', 'number', 'uidNumber');
SELECT crmsync.map('users', 'label', 'cn');
SELECT crmsync.map('users', 'label', '@none', inbound => '''new''');
SELECT crmsync.unmap('users', 'employeeNumber');
ALTER TABLE crm.person DROP number, DROP label;
-- What makes a value of a property: an expression over $1 that fits the column.
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => 'nothing($1)');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => 'upper($1');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => '$1), (2');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => '');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => 'upper($2)');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => 'r.last_name');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => 'max($1)');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => 'unnest(ARRAY[$1])');
SELECT crmsync.map('users', 'first_name', 'givenName', inbound => '(SELECT name FROM crm.company c WHERE c.id = $1::integer)');
SELECT crmsync.map('users', 'born', 'dateOfBirth', inbound => 'ARRAY[$1]');
SELECT crmsync.map('users', 'born', '@none', inbound => '$1::date');
SELECT crmsync.map('users', 'born', '@none', inbound => '''soon''');
SELECT crmsync.map('users', 'born', 'dateOfBirth', fallback => '''soon''');
SELECT crmsync.map('users', 'born', 'dateOfBirth', value_map => '{"2000-01-01": "long ago", "soon": "tomorrow"}');
SELECT crmsync.map('users', 'born', 'dateOfBirth', fallback => '''2000-01-01');
SELECT crmsync.map('users', 'born', 'dateOfBirth', fallback => 'year of birth');
SELECT crmsync.map('users', 'born', 'dateOfBirth', fallback => '@none');
SELECT crmsync.map('users', 'born', 'dateOfBirth', fallback => '''soon''', inbound => 'CASE $1 WHEN ''soon'' THEN now()::date ELSE $1::date END -- $1 is a day');
SELECT crmsync.map('users', 'first_name', 'givenName', fallback => '''it''''s nobody''', inbound => '(SELECT c.name FROM crm.company c WHERE c.id = length($1))');
SELECT property, crm, fallback, inbound FROM crmsync.mappings WHERE link = 'users' AND crm IN ('born', 'first_name') ORDER BY property;
SELECT crmsync.map_group('users', 'cn=sales,dc=x', 'sales');
SELECT crmsync.map_group('people', 'cn=sales,dc=x', 'sales');
SELECT crmsync.alter_link('users', options => '{"memberships": {"table": "member", "user": "person", "group": "team"}}');
SELECT crmsync.alter_link('users', options => '{"memberships": {"table": "crm.member", "user": "person", "group": "team"}}');
SELECT crmsync.map_group('users', 'cn=sales,dc=x', '(nothing())');
SELECT crmsync.map_group('users', 'cn=sales,dc=x', '(Sales) East');
SELECT crmsync.map_group('users', 'cn=sales,dc=x', '(''(Sales) East'')');
SELECT crmsync.unmap_group('users', 'cn=sales,dc=x');
SELECT crmsync.map_group('users', 'cn=sales,dc=x', 'sales');
SELECT crmsync.map_group('users', 'cn=sales,dc=x', 'sales');
SELECT crmsync.map_group('users', 'cn=sales,dc=x', '(upper(''all''))');
SELECT * FROM crmsync.group_mappings ORDER BY 3;
SELECT crmsync.unmap_group('users', 'cn=nobody');
SELECT crmsync.unmap_group('users', 'cn=sales,dc=x');
SELECT count(*) FROM crmsync.group_mappings;

-- A preset maps what has a column of its name, and what it is told.
SELECT crmsync.map_preset('people');
SELECT crmsync.alter_link('people', preset => 'nexj');
SELECT crmsync.map_preset('people', '["x"]');
SELECT crmsync.map_preset('people', '{"vorname": "first_name"}');
SELECT crmsync.map_preset('people', '{"email": "nothing"}');
-- Nor does it miss a column for what is mapped otherwise.
SELECT crmsync.map('people', '(left(r.first_name, 1))', 'middle_name');
SELECT crmsync.map_preset('people', '{"email": "mail", "birthday": "born", "full_name": "(concat_ws('' '', r.first_name, r.last_name))", "position": null}');
SELECT property, crm FROM crmsync.mappings WHERE link = 'people' ORDER BY property;

SELECT crmsync.watch('users', 'crm.company', 'id');
SELECT crmsync.watch('people', 'crm.company_view', 'id');
SELECT crmsync.watch('people', 'crm.company', 'nr');
SELECT crmsync.watch('people', 'crm.company', 'name');
SELECT crmsync.watch('people', 'crm.company', 'id', columns => '{nr}');
CREATE TABLE crm.remark (person integer);
SELECT crmsync.watch('people', 'crm.remark', 'person');
ALTER TABLE crm.remark ALTER person TYPE text;
SELECT crmsync.enable_link('people');
SELECT crmsync.unwatch('people', 'crm.remark');
DROP TABLE crm.remark;
SELECT crmsync.watch('people', 'crm.company', 'id', 'SELECT p.id FROM crm.person p');
SELECT crmsync.watch('people', 'crm.company', 'id', 'SELECT p.id, 2 FROM crm.person p WHERE p.company = $1::integer');
SELECT crmsync.watch('people', 'crm.company', 'id', 'DELETE FROM crm.person WHERE id = $1::integer RETURNING id');
SELECT crmsync.watch('people', 'crm.company', 'id', 'SELECT p.id FROM crm.person p WHERE p.company = $1::integer; DROP TABLE crm.person');
SELECT crmsync.watch('people', 'crm.company', 'id', 'SELECT p.id FROM crm.person p WHERE p.company = $1::integer');
SELECT crmsync.watch('people', 'crm.company', 'id', 'SELECT p.id FROM crm.person p WHERE p.company = $1::integer', '{name}');
SELECT * FROM crmsync.watches;
SELECT crmsync.unwatch('people', 'crm.person');
SELECT crmsync.unwatch('people', 'crm.company', 'name');
SELECT crmsync.unwatch('people', 'crm.company');
SELECT count(*) FROM crmsync.watches;
SELECT count(*) FROM crm.person;  -- still there

-- ---- a day that is another one in another time zone
ALTER TABLE crm.person ADD married timestamptz;
CREATE TABLE crm.day (id integer PRIMARY KEY, person integer, "When" timestamptz);
SELECT crmsync.map('people', 'married', 'anniversary');
SELECT crmsync.map_child('people', 'crm.day', 'person', '{"When": "anniversary"}');
SELECT crmsync.map('people', '((r.married AT TIME ZONE ''Europe/Berlin'')::date)', 'anniversary');
SELECT crmsync.map('people', '(coalesce(r.married, now()))', 'anniversary');
SELECT crmsync.map('people', 'married', 'x:Married');

-- ---- a value_map whose CRM values there cannot be
CREATE TYPE crm.mood AS ENUM ('good', 'bad');
CREATE DOMAIN crm.known_mood AS crm.mood CHECK (VALUE IS NOT NULL);
ALTER TABLE crm.person ADD active boolean, ADD mood crm.mood, ADD known crm.known_mood, ADD tags text[];
ALTER TABLE crm.day ADD active boolean;
SELECT crmsync.map('people', 'active', 'x:active', value_map => '{"x": "no"}');
SELECT crmsync.map('people', 'active', 'x:active', value_map => '{"true": "yes", "f": "no"}');
SELECT crmsync.map('people', 'active', 'x:active', value_map => '{"true": "yes", "false": "no"}');
SELECT crmsync.map('people', 'mood', 'x:mood', value_map => '{"good": "+", "x": "-"}');
SELECT crmsync.map('people', 'mood', 'x:mood', value_map => '{"good": "+", "bad": "-"}');
SELECT crmsync.map('people', 'known', 'x:known', value_map => '{"good": "+", "worse": "-"}');
SELECT crmsync.map('people', 'known', 'x:known', value_map => '{"good": "+"}');
SELECT crmsync.map('people', 'company', 'x:company', value_map => '{"01": "one"}');
SELECT crmsync.map('people', '(r.id > 3)', 'x:late', value_map => '{"late": "yes"}');
SELECT crmsync.map('people', '(r.id > 3)', 'x:late', value_map => '{"true": "yes", "false": "no"}');
SELECT crmsync.map('people', 'tags', 'x:tags', value_map => '{"[\"a\"]": "A"}');
SELECT crmsync.map_child('people', 'crm.day', 'person', '{"active": {"property": "x:day", "value_map": {"on": "yes"}}}');
SELECT crmsync.map('users', 'known', 'mood', value_map => '{"good": "+", "worse": "-"}');
SELECT crmsync.map('users', 'known', 'mood', value_map => '{"good": "+"}');
DROP EXTENSION crmsync;
SET client_min_messages = warning;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner;
