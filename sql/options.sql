-- Options are declared once; each wrong name, type and value is refused with what is allowed.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;
SELECT scope, kind, name, type, default_value, allowed, supported FROM crmsync.options ORDER BY scope, kind, name;
-- Each default is a value that would be accepted.
SELECT scope, kind, name FROM crmsync.options o
WHERE default_value IS NOT NULL AND NOT crmsync.is_option_value(type, allowed,
    CASE WHEN type IN ('boolean', 'number', 'count', 'seconds') THEN default_value::jsonb ELSE to_jsonb(default_value) END);
SELECT crmsync.check_options('target', 'ews', '{"timout": 3}');
SELECT crmsync.check_options('target', 'ews', '{"start_tls": true}');
SELECT crmsync.check_options('target', 'ews', '[]');
SELECT crmsync.check_options('target', 'ews', NULL);
SELECT crmsync.check_options('target', 'ews', '{"tls_verify": "no"}');
SELECT crmsync.check_options('target', 'ews', '{"timeout": 0.5}');
SELECT crmsync.check_options('target', 'ews', '{"max_connections": 1.5}');
SELECT crmsync.check_options('target', 'ews', '{"ca_file": "/etc/ssl/ca.pem"}');
SELECT crmsync.check_options('target', 'ews', '{"ca_file": ".."}');
SELECT crmsync.check_options('target', 'ews', '{"server_version": "Exchange2007"}');
SELECT crmsync.check_options('target', 'ews', '{"tenant": ""}');
SELECT crmsync.check_options('link', 'ews', '{"max_deletes": -1}');
SELECT crmsync.check_options('link', 'ews', '{"compare_interval": "yesterday"}');
SELECT crmsync.check_options('link', 'ews', '{"compare_interval": "-1 day"}');
SELECT crmsync.check_options('link', 'ews', '{"compare_interval": "1000000 years"}');
SELECT crmsync.check_options('link', 'ldap', '{"grace": 1e12}');
SELECT crmsync.check_options('link', 'ews', '{"compare_interval": "100 years"}');
SELECT crmsync.check_options('link', 'ews', '{"quiet_hours": "22-6"}');
SELECT crmsync.check_options('link', 'ews', '{"inbound_private": "busy"}');
SELECT crmsync.check_options('link', 'ews', '{"inbound_private": "some"}');
SELECT crmsync.check_options('link', 'ldap', '{"memberships": []}');
SELECT crmsync.check_options('link', 'ldap', '{"members_only": true}');
SELECT crmsync.check_options('mapping', 'ews', '{"write": "never"}');
SELECT crmsync.check_options('mapping', 'ews', '{"conflict": "crm_wins"}');
SELECT crmsync.check_options('target', 'ews', '{"timeout": 2, "tls_verify": false, "ca_file": "file:ca.pem", "server_version": "Exchange2013"}');
DROP EXTENSION crmsync;
