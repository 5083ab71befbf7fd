-- Targets: what is refused, with what is allowed in the hint; what is changed, and what that asks for.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;
\pset null '(null)'

SELECT crmsync.create_target('t', 'imap', 'https://exchange.invalid');
SELECT crmsync.create_target('t', NULL, 'https://exchange.invalid');
SELECT crmsync.create_target('t', 'graph', 'https://graph.microsoft.com');
SELECT crmsync.create_target('t/1', 'ews', 'https://exchange.invalid');
SELECT crmsync.create_target('t', 'ews', NULL);
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'digest', 'svc', 'file:x');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'basic', NULL, 'file:x');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'basic', 'svc');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'basic', 'svc', 'file:../etc/passwd');
SELECT crmsync.create_target('t', 'ews', 'https://svc:topsecret@exchange.invalid', 'basic', 'svc', 'file:x');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'oauth2', NULL, 'file:x');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'oauth2', NULL, 'file:x', '{"client_id": "1"}');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'oauth2', NULL, 'file:x', '{"client_id": "1", "tenant": "a b"}');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'basic', 'svc', 'file:x', '{"proxy": "proxy.invalid:3128"}');
SELECT crmsync.create_target('t', 'ews', 'https://exchange.invalid', 'basic', 'svc', 'file:x', '{"proxy": "socks5://proxy.invalid"}');
SELECT crmsync.create_target('t', 'ldap', 'ldaps://ldap.invalid', 'gssapi');
SELECT crmsync.create_target('t', 'ldap', 'ldaps://ldap.invalid', 'basic', 'cn=reader', 'file:x');
SELECT crmsync.create_target('t', 'ldap', 'ldaps://ldap.invalid', 'external');
-- An empty password with a DN would be an anonymous bind that looks like a successful one.
SELECT crmsync.create_target('t', 'ldap', 'ldaps://ldap.invalid', 'simple', 'cn=reader', '');
SELECT count(*) FROM crmsync.targets;

SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', NULL, 'svc', 'file:exchange', '{"timeout": 30}');
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', NULL, 'svc', 'file:exchange');
SELECT crmsync.create_target('directory', 'ldap', 'ldaps://ldap.invalid', NULL, 'cn=reader', 'file:ldap');
SELECT crmsync.create_target('open', 'ldap', 'ldap://ldap.invalid');
-- Both at once, TLS within TLS, no server speaks.
SELECT crmsync.create_target('t', 'ldap', 'ldap://one.invalid ldaps://two.invalid', 'simple', 'cn=reader', 'file:x', '{"start_tls": true}');
SELECT crmsync.alter_target('directory', options => '{"start_tls": true}', secret => 'file:ldap');
SELECT name, kind, auth, username, options, paused FROM crmsync.targets ORDER BY name;

-- What a secret is sent to cannot be changed without the secret.
SELECT crmsync.alter_target('exchange', url => 'https://attacker.invalid');
SELECT crmsync.alter_target('exchange', username => 'other');
SELECT crmsync.alter_target('exchange', options => '{"tls_verify": false}');
SELECT crmsync.alter_target('exchange', options => '{"ca_file": "mine.pem"}');
SELECT crmsync.alter_target('exchange', options => '{"allow_plaintext": true}');
SELECT crmsync.alter_target('exchange', options => '{"token_url": "https://attacker.invalid"}');
SELECT crmsync.alter_target('exchange', options => '{"proxy": "http://attacker.invalid"}');
SELECT crmsync.alter_target('exchange', url => 'https://attacker.invalid', reset => '{secret}');
SELECT crmsync.alter_target('exchange', url => 'https://new.invalid/EWS/Exchange.asmx', secret => 'file:new');
SELECT s.secret FROM crmsync.target_secret s WHERE s.target = 'exchange';

-- Options merge key by key; NULL keeps, reset unsets.
SELECT crmsync.alter_target('exchange', options => '{"max_connections": 4}');
SELECT options FROM crmsync.targets WHERE name = 'exchange';
SELECT crmsync.alter_target('exchange', reset => '{timeout}');
SELECT options, url FROM crmsync.targets WHERE name = 'exchange';
SELECT crmsync.alter_target('exchange', reset => '{options}');
SELECT options FROM crmsync.targets WHERE name = 'exchange';
SELECT crmsync.alter_target('open', reset => '{url}');
SELECT crmsync.alter_target('nowhere', url => 'https://x.invalid');

-- What does not apply is not left out without a word.
SELECT * FROM crmsync.check_target('directory', 'a@example.com');
SELECT * FROM crmsync.check_target('directory', write => true);
SELECT * FROM crmsync.check_target('exchange', write => true);

SELECT crmsync.pause_target('exchange');
SELECT crmsync.pause_target('exchange');
SELECT paused FROM crmsync.targets WHERE name = 'exchange';
-- resume_target also goes on after failures that stopped the target.
INSERT INTO crmsync.target_state (target, attempts, code, message, since) VALUES ('exchange', 9, 'HTTP_401', 'unauthorized', now());
SELECT crmsync.resume_target('exchange');
SELECT crmsync.carry_out_requests();
SELECT paused, code FROM crmsync.targets WHERE name = 'exchange';

SELECT crmsync.drop_target('nowhere');
SELECT crmsync.drop_target('exchange');
SELECT crmsync.drop_target('exchange');
SELECT count(*) FROM crmsync.target_secret WHERE target = 'exchange';
DROP EXTENSION crmsync;
