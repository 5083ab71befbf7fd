-- Options, declared once: the view is the documentation and what check_options goes by.

CREATE VIEW crmsync.options AS
SELECT v.scope, v.kind, v.name, v.type, v.default_value, v.allowed, v.supported, v.description, p.planned
FROM (VALUES
    ('target', 'ews',  'ca_file',          'file',     NULL, NULL::text[], true, 'certificates to trust, PEM, below crmsync.secret_directory'),
    ('target', 'ews',  'cert_file',        'file',     NULL, NULL, true, 'client certificate, PEM, below crmsync.secret_directory'),
    ('target', 'ews',  'key_file',         'file',     NULL, NULL, true, 'key of the client certificate, PEM, below crmsync.secret_directory'),
    ('target', 'ews',  'tls_verify',       'boolean',  'true', NULL, true, 'verify the server''s certificate'),
    ('target', 'ews',  'timeout',          'seconds',  '120', NULL, true, 'longest time that one request may take'),
    ('target', 'ews',  'max_connections',  'count',    '8', NULL, true, 'connections at the same time'),
    ('target', 'ews',  'proxy',            'text',     NULL, NULL, true, 'URL of the proxy to go through; the environment''s settings are not used'),
    ('target', 'ews',  'allow_plaintext',  'boolean',  'false', NULL, true, 'allow http to a host that is not a loopback address'),
    ('target', 'ews',  'impersonation',    'boolean',  'true', NULL, true, 'act as the mailbox''s owner (ApplicationImpersonation); false: use delegated rights'),
    ('target', 'ews',  'server_version',   'choice',   'Exchange2013_SP1', '{Exchange2010_SP2,Exchange2013,Exchange2013_SP1,Exchange2016}', true, 'version of the protocol to ask for'),
    ('target', 'ews',  'tenant',           'text',     NULL, NULL, true, 'oauth2: tenant whose token server is asked'),
    ('target', 'ews',  'client_id',        'text',     NULL, NULL, true, 'oauth2: application that logs on'),
    ('target', 'ews',  'token_url',        'text',     NULL, NULL, true, 'oauth2: token server, instead of the tenant''s'),
    ('target', 'ews',  'keytab',           'file',     NULL, NULL, true, 'negotiate: keytab below crmsync.secret_directory'),
    ('target', 'ldap', 'ca_file',          'file',     NULL, NULL, true, 'certificates to trust, PEM, below crmsync.secret_directory'),
    ('target', 'ldap', 'cert_file',        'file',     NULL, NULL, true, 'external: client certificate, PEM, below crmsync.secret_directory'),
    ('target', 'ldap', 'key_file',         'file',     NULL, NULL, true, 'external: key of the client certificate, PEM, below crmsync.secret_directory'),
    ('target', 'ldap', 'tls_verify',       'boolean',  'true', NULL, true, 'verify the server''s certificate'),
    ('target', 'ldap', 'timeout',          'seconds',  '30', NULL, true, 'longest time for logging on, and longest silence after that'),
    ('target', 'ldap', 'allow_plaintext',  'boolean',  'false', NULL, true, 'allow ldap with a password to a host that is not a loopback address'),
    ('target', 'ldap', 'start_tls',        'boolean',  'false', NULL, true, 'start TLS on an ldap:// connection, or fail'),
    ('target', 'ldap', 'page_size',        'count',    NULL, NULL, true, 'entries a page; default: 1000 with Active Directory, 100000 with OpenLDAP, 500 with others'),
    ('target', 'ldap', 'method',           'choice',   'full', '{full}', true, 'how changes are found: full reads everything and compares'),
    ('target', 'ldap', 'keytab',           'file',     NULL, NULL, false, 'gssapi: keytab below crmsync.secret_directory'),
    ('target', 'ldap', 'proxy',            'text',     NULL, NULL, false, 'proxy to go through'),
    ('target', 'ldap', 'max_connections',  'count',    '1', NULL, false, 'connections at the same time'),

    ('link',   'ews',  'max_deletes',      'number',   '500', NULL, true, 'guard: deletes an hour, in a mailbox and in the link, beyond which they wait for confirm_deletes'),
    ('link',   'ews',  'max_delete_percent', 'number', '25', NULL, true, 'guard: the same as a share of the items there, once more than min_deletes are meant'),
    ('link',   'ews',  'min_deletes',      'number',   '20', NULL, true, 'guard: so few deletes are never a matter of percent'),
    ('link',   'ews',  'hard_delete',      'boolean',  'false', NULL, true, 'deletes go past the mailbox''s folder of deleted items'),
    ('link',   'ews',  'compare_interval', 'interval', '1 day', NULL, true, 'how often everything is compared, changes or not; 0: only when something asks for it'),
    ('link',   'ews',  'modified_column',  'text',     NULL, NULL, true, 'conflict newest_wins: column of the source with the time of a row''s last change, a timestamp with time zone'),
    ('link',   'ews',  'inbound_categories', 'object', NULL, NULL, true, '{"only": [...], "none": [...]}: new items come in only with one of these categories, and not with any of those; either may be left out'),
    ('link',   'ews',  'key_property',     'text',     NULL, NULL, true, 'user-defined field in which items bear the key of their record, as another program has left it: they are known by it before match_on'),
    ('link',   'ews',  'inbound_private',  'choice',   'skip', '{skip,all}', true, 'direction both or inbound: whether new items that their users keep private come in'),
    ('link',   'ews',  'items_per_minute', 'count',    NULL, NULL, false, 'bound on what is written'),
    ('link',   'ews',  'quiet_hours',      'text',     NULL, NULL, false, 'when nothing is written'),
    ('link',   'ews',  'history_keep',     'interval', NULL, NULL, false, 'how long the history is kept'),
    ('link',   'ews',  'activity_cube',    'boolean',  'false', NULL, false, 'count what was done for the view activity_cube'),
    ('link',   'ews',  'window_past',      'interval', NULL, NULL, false, 'events: how far back'),
    ('link',   'ews',  'window_future',    'interval', NULL, NULL, false, 'events: how far ahead'),
    ('link',   'ldap', 'base',             'text',     NULL, NULL, true, 'DN to search below; required'),
    ('link',   'ldap', 'scope',            'choice',   'sub', '{base,one,sub}', true, 'how deep to search'),
    ('link',   'ldap', 'filter',           'text',     NULL, NULL, true, 'which entries; default: (objectClass=person), and (&(objectCategory=person)(objectClass=user)) in Active Directory'),
    ('link',   'ldap', 'memberships',      'object',   NULL, NULL, true, '{"table": relation, "user": column, "group": column, "fixed": {}}: where memberships of mapped groups are kept'),
    ('link',   'ldap', 'max_deletes',      'number',   '500', NULL, true, 'guard: deactivations and removed memberships an hour beyond which they wait for confirm_deletes'),
    ('link',   'ldap', 'max_delete_percent', 'number', '25', NULL, true, 'guard: the same as a share of the users there, once more than min_deletes are meant'),
    ('link',   'ldap', 'min_deletes',      'number',   '20', NULL, true, 'guard: so few are never a matter of percent'),
    ('link',   'ldap', 'grace',            'interval', '0', NULL, true, 'how long a user may be missing'),
    ('link',   'ldap', 'nested',           'boolean',  'false', NULL, true, 'members of groups in groups count'),
    ('link',   'ldap', 'members_only',     'boolean',  'false', NULL, false, 'only members of mapped groups are imported'),
    ('link',   'ldap', 'exclusive',        'boolean',  'false', NULL, true, 'memberships that the directory does not name are removed, unless an entry has failed'),
    ('link',   'ldap', 'priority',         'number',   NULL, NULL, false, 'which link wins when several import the same user'),
    ('link',   'ldap', 'history_keep',     'interval', NULL, NULL, false, 'how long the history is kept'),
    ('link',   'ldap', 'quiet_hours',      'text',     NULL, NULL, false, 'when nothing is read'),
    ('link',   'ldap', 'activity_cube',    'boolean',  'false', NULL, false, 'count what was done for the view activity_cube'),

    ('mapping', 'ews', 'conflict',         'choice',   NULL, '{crm_wins,target_wins,newest_wins}', true, 'direction both: who wins when both sides changed this field; default: conflict of the link'),
    ('mapping', 'ews', 'write',            'choice',   NULL, '{changed,all,if_empty}', true, 'when this field is written: changed, all or if_empty; default: write_fields of the link'),
    ('mapping', 'ldap', 'write',           'choice',   NULL, '{changed,all,if_empty}', false, 'when this field is written')
) AS v (scope, kind, name, type, default_value, allowed, supported, description)
LEFT JOIN (VALUES
    ('link',   'ews',  'inbound_private',  '{busy}'::text[])
) AS p (scope, kind, name, planned) USING (scope, kind, name);
COMMENT ON VIEW crmsync.options IS 'options of targets, links and mappings';
COMMENT ON COLUMN crmsync.options.scope IS 'what the option belongs to: target, link or mapping';
COMMENT ON COLUMN crmsync.options.kind IS 'kind of target';
COMMENT ON COLUMN crmsync.options.name IS 'key in options';
COMMENT ON COLUMN crmsync.options.type IS 'text, boolean, number (0 or more), count (1 or more), seconds (1 to 3600), interval (0 to 100 years), file, choice, object';
COMMENT ON COLUMN crmsync.options.default_value IS 'what holds without it';
COMMENT ON COLUMN crmsync.options.allowed IS 'the values of a choice';
COMMENT ON COLUMN crmsync.options.supported IS 'false: refused as not supported yet';
COMMENT ON COLUMN crmsync.options.description IS 'what it does';
COMMENT ON COLUMN crmsync.options.planned IS 'values of a choice that are refused as not supported yet';

CREATE FUNCTION crmsync.is_option_value(type text, allowed text[], value jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    form text := jsonb_typeof(value);
    content text := value #>> '{}';
BEGIN
    CASE type
        WHEN 'text' THEN RETURN form = 'string' AND content <> '';
        WHEN 'boolean' THEN RETURN form = 'boolean';
        WHEN 'number' THEN RETURN form = 'number' AND content::numeric BETWEEN 0 AND 2147483647
                                  AND content::numeric = trunc(content::numeric);
        WHEN 'count' THEN RETURN form = 'number' AND content::numeric BETWEEN 1 AND 100000
                                 AND content::numeric = trunc(content::numeric);
        WHEN 'seconds' THEN RETURN form = 'number' AND content::numeric BETWEEN 1 AND 3600
                                   AND content::numeric = trunc(content::numeric);
        -- What is added to a time must still be one.
        WHEN 'interval' THEN RETURN form IN ('string', 'number') AND content::interval BETWEEN '0' AND '100 years';
        WHEN 'file' THEN RETURN form = 'string' AND crmsync.is_file_name(content);
        WHEN 'choice' THEN RETURN form = 'string' AND content = ANY (allowed);
        WHEN 'object' THEN RETURN form = 'object';
    END CASE;
EXCEPTION WHEN data_exception THEN
    RETURN false;
END;
$$;
COMMENT ON FUNCTION crmsync.is_option_value(text, text[], jsonb) IS 'whether a value fits the type of an option';

CREATE FUNCTION crmsync.is_file_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN regexp_replace(name, '^file:', '') ~ E'^[^/\\\\]+$' AND position('..' in name) = 0;
COMMENT ON FUNCTION crmsync.is_file_name(text) IS 'whether NAME or file:NAME stays within crmsync.secret_directory';

CREATE FUNCTION crmsync.check_options(scope text, kind text, options jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given record;
BEGIN
    IF jsonb_typeof(options) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'options must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"timeout": 60}.';
    END IF;
    FOR given IN
        SELECT e.key, e.value, o.type, o.allowed, o.supported, o.planned
        FROM jsonb_each(options) e
        LEFT JOIN crmsync.options o
            ON o.scope = check_options.scope AND o.kind = check_options.kind AND o.name = e.key
        ORDER BY o.name IS NOT NULL, e.key
    LOOP
        IF given.type IS NULL THEN
            RAISE EXCEPTION 'unknown option "%" for a % of kind %', given.key, scope, kind
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = (SELECT 'Options: ' || string_agg(o.name, ', ' ORDER BY o.name) || '.'
                              FROM crmsync.options o
                              WHERE o.scope = check_options.scope AND o.kind = check_options.kind
                                AND o.supported);
        END IF;
        IF NOT given.supported THEN
            PERFORM crmsync.not_supported(format('the option "%s"', given.key));
        END IF;
        IF given.value #>> '{}' = ANY (given.planned) THEN
            PERFORM crmsync.not_supported(format('%s of the option "%s"', given.value, given.key));
        END IF;
        IF NOT crmsync.is_option_value(given.type, given.allowed, given.value) THEN
            RAISE EXCEPTION 'invalid value for option "%": %', given.key, given.value
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = CASE given.type
                          WHEN 'choice' THEN format('Allowed: %s.', array_to_string(given.allowed, ', '))
                          WHEN 'boolean' THEN 'Allowed: true, false.'
                          WHEN 'number' THEN 'A whole number, 0 or more.'
                          WHEN 'count' THEN 'A whole number from 1 to 100000.'
                          WHEN 'seconds' THEN 'A whole number of seconds from 1 to 3600.'
                          WHEN 'interval' THEN 'An interval such as "1 day", not negative, and 100 years at most.'
                          WHEN 'file' THEN 'The name of a file directly in crmsync.secret_directory.'
                          WHEN 'object' THEN 'A JSON object.'
                          ELSE 'A string that is not empty.' END;
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.check_options(text, text, jsonb) IS 'refuses unknown options and values that do not fit';

CREATE FUNCTION crmsync.default_option(scope text, kind text, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT o.default_value FROM crmsync.options o
    WHERE o.scope = default_option.scope AND o.kind = default_option.kind AND o.name = default_option.name;
END;
COMMENT ON FUNCTION crmsync.default_option(text, text, text) IS 'what holds when the option is not given';

-- A preset's option is switched off with null.
CREATE FUNCTION crmsync.without_nulls(options jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE jsonb_typeof(options) WHEN 'object' THEN
    coalesce((SELECT jsonb_object_agg(o.key, o.value) FROM jsonb_each(options) o WHERE o.value <> 'null'), '{}') ELSE options END;
COMMENT ON FUNCTION crmsync.without_nulls(jsonb) IS 'the options that have a value; what is inside of one is left alone';
