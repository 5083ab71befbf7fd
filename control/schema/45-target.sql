-- Targets: where to log on, and how.

CREATE FUNCTION crmsync.auth_methods(kind text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE kind WHEN 'ldap' THEN ARRAY['simple', 'external', 'none']
                 ELSE ARRAY['basic', 'ntlm', 'negotiate', 'oauth2'] END;
COMMENT ON FUNCTION crmsync.auth_methods(text) IS 'ways to log on to a target of this kind';

CREATE FUNCTION crmsync.token_url(options jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce(options ->> 'token_url',
                'https://login.microsoftonline.com/' || (options ->> 'tenant') || '/oauth2/v2.0/token');
COMMENT ON FUNCTION crmsync.token_url(jsonb) IS 'the token server of a target with these options; NULL: none';

CREATE FUNCTION crmsync.check_target_row(target crmsync.target, secret text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT target.auth = ANY (crmsync.auth_methods(target.kind)) THEN
        IF target.kind = 'ldap' AND target.auth = 'gssapi' THEN
            PERFORM crmsync.not_supported('auth gssapi');
        END IF;
        RAISE EXCEPTION 'unknown auth "%" for a target of kind %', target.auth, target.kind
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Allowed: %s.', array_to_string(crmsync.auth_methods(target.kind), ', '));
    END IF;
    PERFORM crmsync.check_options('target', target.kind, target.options);
    IF target.url ~ '^[^/]*//[^/]*@' OR target.options ->> 'proxy' ~ '@' THEN
        RAISE EXCEPTION 'a URL must not contain a user name or password'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Use the parameters username and secret; a proxy with a password is not supported.';
    END IF;
    PERFORM crmsync.check_url(target.kind, target.url, target.options
        || jsonb_build_object('auth', target.auth, 'username', coalesce(target.username, '')));
    PERFORM crmsync.check_url(target.kind, crmsync.token_url(target.options), target.options || '{"auth": "oauth2"}');
    -- A proxy is spoken to in the clear, but not what it passes on.
    PERFORM crmsync.check_url(target.kind, target.options ->> 'proxy', target.options || '{"allow_plaintext": true}');
    IF target.auth IN ('basic', 'ntlm', 'simple') AND coalesce(target.username, '') = '' THEN
        RAISE EXCEPTION 'auth % needs a username', target.auth
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = CASE target.auth WHEN 'simple' THEN 'The DN to bind as.' ELSE E'The service account, as user@domain or DOMAIN\\user.' END;
    END IF;
    IF target.auth IN ('basic', 'ntlm', 'simple', 'oauth2') AND coalesce(secret, '') = '' THEN
        RAISE EXCEPTION 'auth % needs a secret', target.auth
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give secret => ''file:NAME'', a file in crmsync.secret_directory.';
    END IF;
    IF secret LIKE 'file:%' AND NOT crmsync.is_file_name(secret) THEN
        RAISE EXCEPTION 'invalid file name for the secret'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'file:NAME is the name of a file directly in crmsync.secret_directory, without "/" and "..".';
    END IF;
    IF target.auth = 'oauth2' AND NOT target.options ? 'client_id' THEN
        RAISE EXCEPTION 'auth oauth2 needs the option client_id'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'For example options => ''{"tenant": "contoso.com", "client_id": "..."}''.';
    END IF;
    IF target.auth = 'oauth2' AND NOT target.options ?| '{tenant,token_url}' THEN
        RAISE EXCEPTION 'auth oauth2 needs the option tenant or token_url'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF target.auth = 'external' AND NOT target.options ?& '{cert_file,key_file}' AND target.url NOT LIKE 'ldapi:%' THEN
        RAISE EXCEPTION 'auth external needs the options cert_file and key_file'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_target_row(crmsync.target, text) IS 'refuses a target that cannot work as it is described';

-- Files of crmsync.secret_directory: a superuser has put them there, and whoever names one need not
-- know what is in it. So they go only where a superuser has said that they may.
CREATE FUNCTION crmsync.secret_files(target crmsync.target, secret text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(SELECT DISTINCT regexp_replace(f, '^file:', '')
             FROM unnest(ARRAY[CASE WHEN secret LIKE 'file:%' THEN secret END, target.options ->> 'cert_file',
                               target.options ->> 'key_file', target.options ->> 'keytab']) f
             WHERE f IS NOT NULL ORDER BY 1);
COMMENT ON FUNCTION crmsync.secret_files(crmsync.target, text) IS 'files that a target logs on with; a certificate''s may hold its key, too, and those of ca_file hold no secret';

CREATE FUNCTION crmsync.secret_hosts(target crmsync.target) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(SELECT DISTINCT h
             FROM unnest(ARRAY[target.url, target.options ->> 'proxy', crmsync.token_url(target.options)]) u,
                  crmsync.hosts(u) h ORDER BY 1);
COMMENT ON FUNCTION crmsync.secret_hosts(crmsync.target) IS 'hosts that what a target logs on with is shown to';

CREATE FUNCTION crmsync.check_secret_files(target crmsync.target, secret text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    files text[] := crmsync.secret_files(target, secret);
    taken record;
BEGIN
    IF files = '{}' OR (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = crmsync.caller()) THEN
        RETURN;
    ELSIF coalesce(current_setting('crmsync.allowed_hosts', true), '') !~ E'[^, \t\r\n]' THEN
        RAISE EXCEPTION 'permission denied to use the secret file "%"', files[1]
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'The setting crmsync.allowed_hosts is empty: the file could be sent to any server.',
                  HINT = 'A superuser can set crmsync.allowed_hosts, or define the target.';
    ELSIF target.options @> '{"tls_verify": false}' OR target.options @> '{"allow_plaintext": true}' THEN
        RAISE EXCEPTION 'permission denied to use the secret file "%" with tls_verify false or allow_plaintext', files[1]
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'Whoever answers in the place of an allowed host would get it.',
                  HINT = 'The option ca_file names certificates to trust; or a superuser can define the target.';
    END IF;
    SELECT f AS file, t.name AS target INTO taken
    FROM crmsync.target t
    LEFT JOIN crmsync.target_secret s ON s.target = t.name,
    unnest(crmsync.secret_files(t, s.secret)) f
    WHERE t.name <> check_secret_files.target.name AND f = ANY (files)
      AND NOT crmsync.secret_hosts(check_secret_files.target) <@ crmsync.secret_hosts(t)
    ORDER BY t.name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the secret file "%" belongs to target "%", which is at another host', taken.file, taken.target
            USING ERRCODE = 'insufficient_privilege', HINT = 'Use another file; or a superuser can define the target.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_secret_files(crmsync.target, text) IS 'refuses a caller who is no superuser and would have a secret file sent where no superuser allows it';

CREATE FUNCTION crmsync.create_target(
    name text, kind text, url text, auth text DEFAULT NULL, username text DEFAULT NULL,
    secret text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target crmsync.target;
BEGIN
    PERFORM crmsync.require('admin');
    IF kind = 'graph' THEN
        PERFORM crmsync.not_supported('a target of kind graph');
    ELSIF kind IS NULL OR kind NOT IN ('ews', 'ldap') THEN
        RAISE EXCEPTION 'unknown kind of target %', coalesce(quote_literal(kind), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Allowed: ews, ldap.';
    END IF;
    PERFORM crmsync.check_name('target', name);
    IF EXISTS (SELECT FROM crmsync.target t WHERE t.name = create_target.name) THEN
        RAISE EXCEPTION 'target "%" already exists', name
            USING ERRCODE = 'duplicate_object', HINT = 'Use crmsync.alter_target to change it.';
    END IF;
    IF url IS NULL THEN
        RAISE EXCEPTION 'a target needs a url' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    target := (name, kind, url,
               coalesce(auth, CASE WHEN kind = 'ews' THEN 'basic' WHEN username IS NULL THEN 'none' ELSE 'simple' END),
               username, options, false);
    PERFORM crmsync.check_target_row(target, secret);
    PERFORM crmsync.check_secret_files(target, secret);
    INSERT INTO crmsync.target SELECT target.*;
    IF secret IS NOT NULL THEN
        INSERT INTO crmsync.target_secret VALUES (name, secret);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.create_target(text, text, text, text, text, text, jsonb) IS 'names an external server; kind: ews or ldap; auth: ews: basic (default), ntlm, negotiate, oauth2; ldap: simple (default with a username), none, external; secret: better file:NAME than the value, which needs a superuser, or crmsync.allowed_hosts; options: see the view crmsync.options';

CREATE FUNCTION crmsync.check_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name IS NULL OR name !~ '^[[:alnum:]_. -]{1,63}$' OR name ~ '^ | $' THEN
        RAISE EXCEPTION 'invalid name for a %: %', what, coalesce(quote_literal(name), 'NULL')
            USING ERRCODE = 'invalid_name',
                  HINT = 'Up to 63 letters, digits, spaces, and the characters _ . -';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_name(text, text) IS 'refuses names that would be hard to read in messages and stamps';

CREATE FUNCTION crmsync.check_reset(reset text[], allowed text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unknown text := (SELECT min(r) FROM unnest(reset) r WHERE NOT r = ANY (allowed));
BEGIN
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'cannot reset "%"', unknown
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Allowed: %s.', array_to_string(allowed, ', '));
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_reset(text[], text[]) IS 'refuses names that reset cannot unset';

-- What a secret is sent to and how well that is protected. Whoever could change it and keep the
-- secret could have it sent to a server of their own.
CREATE FUNCTION crmsync.secret_depends_on(target crmsync.target) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN jsonb_build_array(target.url, target.username, target.options -> 'token_url', target.options -> 'ca_file',
                         target.options -> 'tls_verify', target.options -> 'allow_plaintext',
                         target.options -> 'start_tls', target.options -> 'proxy', target.options -> 'tenant');
COMMENT ON FUNCTION crmsync.secret_depends_on(crmsync.target) IS 'changing any of this asks for the secret again';

CREATE FUNCTION crmsync.alter_target(
    name text, url text DEFAULT NULL, auth text DEFAULT NULL, username text DEFAULT NULL,
    secret text DEFAULT NULL, options jsonb DEFAULT NULL, reset text[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old crmsync.target := crmsync.find_target(name, 'admin');
    new crmsync.target := old;
    old_secret text := (SELECT s.secret FROM crmsync.target_secret s WHERE s.target = name);
    new_secret text;
BEGIN
    IF options IS NOT NULL THEN
        PERFORM crmsync.check_options('target', old.kind, options);
    END IF;
    PERFORM crmsync.check_reset(reset, '{username,secret,options}'
        || ARRAY(SELECT o.name FROM crmsync.options o WHERE o.scope = 'target' AND o.kind = old.kind ORDER BY o.name));
    new.options := CASE WHEN 'options' = ANY (reset) THEN '{}' ELSE old.options - coalesce(reset, '{}') END
                   || coalesce(options, '{}');
    new.url := coalesce(url, old.url);
    new.auth := coalesce(auth, old.auth);
    new.username := coalesce(username, CASE WHEN 'username' = ANY (reset) THEN NULL ELSE old.username END);
    IF secret IS NULL AND old_secret IS NOT NULL AND NOT 'secret' = ANY (coalesce(reset, '{}'))
       AND crmsync.secret_depends_on(new) <> crmsync.secret_depends_on(old) THEN
        RAISE EXCEPTION 'changing where or how target "%" logs on asks for its secret again', name
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Give the parameter secret in the same call.';
    END IF;
    new_secret := coalesce(secret, CASE WHEN 'secret' = ANY (reset) THEN NULL ELSE old_secret END);
    PERFORM crmsync.check_target_row(new, new_secret);
    -- Whoever knows a secret can give it again; whoever names a file shows nothing.
    IF secret LIKE 'file:%' OR options ?| '{cert_file,key_file,keytab}' OR new.auth <> old.auth
       OR crmsync.secret_depends_on(new) <> crmsync.secret_depends_on(old) THEN
        PERFORM crmsync.check_secret_files(new, new_secret);
    END IF;
    UPDATE crmsync.target t SET url = new.url, auth = new.auth, username = new.username, options = new.options
    WHERE t.name = old.name;
    DELETE FROM crmsync.target_secret s WHERE s.target = old.name AND s.secret IS DISTINCT FROM new_secret;
    IF new_secret IS DISTINCT FROM old_secret AND new_secret IS NOT NULL THEN
        INSERT INTO crmsync.target_secret VALUES (old.name, new_secret);
    END IF;
    PERFORM crmsync.try_target_again(
        old.name, secret IS NOT NULL OR new_secret IS DISTINCT FROM old_secret OR new.auth IS DISTINCT FROM old.auth
                  OR crmsync.secret_depends_on(new) <> crmsync.secret_depends_on(old));
END;
$$;
COMMENT ON FUNCTION crmsync.alter_target(text, text, text, text, text, jsonb, text[]) IS 'changes a target; NULL keeps, reset unsets username, secret, options or single options; options merge key by key';

CREATE FUNCTION crmsync.try_target_again(name text, renewed boolean DEFAULT false) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crmsync.request (action, target) VALUES (CASE WHEN renewed THEN 'renew' ELSE 'resume' END, name);
    SELECT crmsync.wake();
END;
COMMENT ON FUNCTION crmsync.try_target_again(text, boolean) IS 'forgets a target''s failures, so that it is tried at once; renewed: and that it has accepted its credentials, which are others now';

CREATE FUNCTION crmsync.pause_target(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target crmsync.target := crmsync.find_target(name, 'operator');
BEGIN
    UPDATE crmsync.target t SET paused = true WHERE t.name = target.name AND NOT t.paused;
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.pause_target(text) IS 'stops all links of a target after what is under way; changes are kept for later';

CREATE FUNCTION crmsync.resume_target(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target crmsync.target := crmsync.find_target(name, 'operator');
BEGIN
    UPDATE crmsync.target t SET paused = false WHERE t.name = target.name AND t.paused;
    PERFORM crmsync.try_target_again(target.name);
END;
$$;
COMMENT ON FUNCTION crmsync.resume_target(text) IS 'goes on after pause_target, or after failures that stopped the target';

CREATE FUNCTION crmsync.drop_target(name text, cascade boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target crmsync.target := crmsync.find_target(name, 'admin');
    links text[] := ARRAY(SELECT l.name FROM crmsync.link l WHERE l.target = target.name ORDER BY l.name FOR NO KEY UPDATE);
    others text[] := ARRAY(SELECT l.name FROM crmsync.link_target t JOIN crmsync.link l ON l.id = t.link
                           WHERE t.target = target.name AND l.target <> target.name ORDER BY l.name);
BEGIN
    IF others <> '{}' THEN
        RAISE EXCEPTION 'mailboxes of links are at target "%"', name
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = format('Links: %s.', array_to_string(others, ', ')),
                  HINT = 'Their relations of mailboxes say so, in the column target: let them name another, or drop the links.';
    END IF;
    IF links <> '{}' AND cascade IS NOT TRUE THEN
        RAISE EXCEPTION 'target "%" still has links', name
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = format('Links: %s.', array_to_string(links, ', ')),
                  HINT = 'Drop them first, or use cascade => true.';
    END IF;
    PERFORM crmsync.forget_links(ARRAY(SELECT l.id FROM crmsync.link l WHERE l.target = target.name ORDER BY l.id));
    DELETE FROM crmsync.target t WHERE t.name = target.name;
END;
$$;
COMMENT ON FUNCTION crmsync.drop_target(text, boolean) IS 'forgets a target; cascade: also its links; items stay where they are';
