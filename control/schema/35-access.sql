-- Who may do what. Every public function is SECURITY DEFINER, begins by asking require() about the
-- role that called it, and can be executed by nobody whom grant_role has not named.

CREATE FUNCTION crmsync.levels() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY['reader', 'operator', 'admin'];
COMMENT ON FUNCTION crmsync.levels() IS 'the levels of grant_role, each including those before it';

CREATE FUNCTION crmsync.is_owner(role regrole) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT FROM pg_roles r, pg_extension e
    WHERE r.oid = role AND e.extname = 'crmsync'
      AND (r.rolsuper OR pg_has_role(r.oid, e.extowner, 'USAGE')));
COMMENT ON FUNCTION crmsync.is_owner(regrole) IS 'whether a role is a superuser or owns the extension, and so needs no grant';

-- Grants name roles, which survives a restore. The privilege goes with a role that is dropped, and so
-- tells whether the role of this name is the one that was meant.
CREATE FUNCTION crmsync.has_entry(role regrole) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'crmsync' AND a.grantee = role AND a.privilege_type = 'USAGE');
COMMENT ON FUNCTION crmsync.has_entry(regrole) IS 'whether grant_role has given this role, rather than one of its name that was dropped, what it gives';

CREATE FUNCTION crmsync.allowed_links(level text) RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH mine AS MATERIALIZED (
        SELECT g.link FROM crmsync.role_grant g
        WHERE array_position(crmsync.levels(), g.level)
              >= array_position(crmsync.levels(), allowed_links.level)
          AND pg_has_role(crmsync.caller(), to_regrole(g.role), 'USAGE') AND crmsync.has_entry(to_regrole(g.role))
        UNION
        SELECT NULL WHERE crmsync.is_owner(crmsync.caller()))
    SELECT l.id FROM (SELECT id FROM crmsync.link UNION ALL SELECT 0) l
    WHERE EXISTS (SELECT FROM mine WHERE mine.link IS NULL OR mine.link = l.id);
END;
COMMENT ON FUNCTION crmsync.allowed_links(text) IS 'links at which the caller has this level, and 0 when at all of them';

CREATE FUNCTION crmsync.require(level text, link integer DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(link, 0) NOT IN (SELECT crmsync.allowed_links(level)) THEN
        RAISE EXCEPTION 'permission denied: this needs the level % of crmsync', level
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('An administrator can call crmsync.grant_role(%L, %L%s).',
                                crmsync.caller(), level,
                                (SELECT format(', %L', l.name) FROM crmsync.link l
                                 WHERE l.id = require.link));
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.require(text, integer) IS 'refuses a caller who has not this level, for a link or (NULL) for all';

-- Whoever changes the configuration has it to himself, and decides by what others have left. Targets are locked
-- before links, links before crmsync.role_grant, crmsync.capture and the CRM's relations, in this order; workers lock no
-- row of theirs as strongly.
CREATE FUNCTION crmsync.find_link(name text, level text, retired boolean DEFAULT false) RETURNS crmsync.link
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named integer := (SELECT l.id FROM crmsync.link l WHERE l.name = find_link.name);
    found crmsync.link;
BEGIN
    PERFORM crmsync.require(level, named);
    IF level = 'admin' THEN
        SELECT l.* INTO found FROM crmsync.link l WHERE l.id = named FOR NO KEY UPDATE;
    ELSE
        SELECT l.* INTO found FROM crmsync.link l WHERE l.id = named;
    END IF;
    IF found.id IS NULL THEN
        RAISE EXCEPTION 'link "%" does not exist', name
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce((SELECT 'Links: ' || string_agg(l.name, ', ' ORDER BY l.name) || '.'
                                   FROM crmsync.link l), 'There is no link yet; see crmsync.create_link.');
    END IF;
    IF found.retired AND NOT find_link.retired THEN
        RAISE EXCEPTION 'link "%" is being dropped', name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'It goes with the last of its items; see crmsync.status and crmsync.backlog.',
                  HINT = format('To let go of the items that are still there: SELECT crmsync.drop_link(%L);', name);
    END IF;
    RETURN found;
END;
$$;
COMMENT ON FUNCTION crmsync.find_link(text, text, boolean) IS 'the link of this name, at which the caller must have this level; an admin''s is locked; retired: also one that is being dropped';

CREATE FUNCTION crmsync.find_target(name text, level text) RETURNS crmsync.target
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found crmsync.target;
BEGIN
    PERFORM crmsync.require(level);
    IF level = 'admin' THEN
        SELECT t.* INTO found FROM crmsync.target t WHERE t.name = find_target.name FOR NO KEY UPDATE;
    ELSE
        SELECT t.* INTO found FROM crmsync.target t WHERE t.name = find_target.name;
    END IF;
    IF found.name IS NULL THEN
        RAISE EXCEPTION 'target "%" does not exist', name
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce((SELECT 'Targets: ' || string_agg(t.name, ', ' ORDER BY t.name) || '.'
                                   FROM crmsync.target t), 'There is no target yet; see crmsync.create_target.');
    END IF;
    RETURN found;
END;
$$;
COMMENT ON FUNCTION crmsync.find_target(text, text) IS 'the target of this name, for a caller who has this level at all links; an admin''s is locked';

-- Links of direction inbound are of two kinds: mailboxes are read by the resident worker, directories in runs.
CREATE FUNCTION crmsync.is_import(this crmsync.link) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM crmsync.target t WHERE t.name = (this).target AND t.kind = 'ldap');
END;
COMMENT ON FUNCTION crmsync.is_import(crmsync.link) IS 'whether a link imports a directory';

CREATE FUNCTION crmsync.not_supported(what text, hint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF hint IS NULL THEN
        RAISE EXCEPTION '% is not supported yet', what USING ERRCODE = 'feature_not_supported';
    END IF;
    RAISE EXCEPTION '% is not supported yet', what USING ERRCODE = 'feature_not_supported', HINT = hint;
END;
$$;
COMMENT ON FUNCTION crmsync.not_supported(text, text) IS 'refuses what the interface names and this version does not do';

-- What a level adds to the levels before it. The views show a reader only the links granted.
CREATE VIEW crmsync.level_object AS
    SELECT v.level, 'FUNCTION' AS kind, p.oid::pg_catalog.regprocedure::text AS object
    FROM (VALUES
            ('reader', '{allowed_links,caller,preloaded,worker_progress,worker_state,property_list,current_identity,mapping_direction,not_supported,reads_mailboxes}'::text[]),
            ('operator', '{sync,plan,why,resync,retry,confirm_deletes,resolve,undo,withdraw,forget,pause_target,resume_target,check_target}'),
            ('admin', '{create_target,alter_target,drop_target,create_link,alter_link,enable_link,disable_link,drop_link,map,unmap,map_child,unmap_child,map_group,unmap_group,map_preset,watch,unwatch,confirm_identity,grant_role,revoke_role}')
         ) AS v (level, names)
    JOIN pg_catalog.pg_proc p ON p.proname = ANY (v.names)
    WHERE p.pronamespace = 'crmsync'::pg_catalog.regnamespace
    UNION ALL
    SELECT 'reader', 'TABLE', c.oid::pg_catalog.regclass::text
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'crmsync'::pg_catalog.regnamespace AND c.relkind = 'v'
      AND c.relname = ANY ('{targets,links,mappings,properties,presets,policy,options,status,progress,backlog,failures,conflicts,alerts,history,mailboxes,items,watches,child_mappings,group_mappings}')
    UNION ALL
    SELECT 'reader', 'SCHEMA', 'crmsync';
COMMENT ON VIEW crmsync.level_object IS 'which functions and views each level of grant_role may use';
COMMENT ON COLUMN crmsync.level_object.level IS 'the lowest level that may use the object';
COMMENT ON COLUMN crmsync.level_object.kind IS 'FUNCTION, TABLE or SCHEMA';
COMMENT ON COLUMN crmsync.level_object.object IS 'its name, with arguments';

-- The privileges on one function are one row of the catalog, whomever they are given to.
CREATE FUNCTION crmsync.lock_grants() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOCK TABLE crmsync.role_grant IN SHARE ROW EXCLUSIVE MODE;
END;
$$;
COMMENT ON FUNCTION crmsync.lock_grants() IS 'one after the other: to be called before role_grant is changed, and set_privileges follows';

CREATE FUNCTION crmsync.set_privileges(role regrole) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    highest integer := (SELECT max(array_position(crmsync.levels(), g.level))
                        FROM crmsync.role_grant g WHERE g.role = set_privileges.role::text);
    statement text;
BEGIN
    FOR statement IN
        SELECT CASE WHEN array_position(crmsync.levels(), o.level) <= highest
                    THEN format('GRANT %s ON %s %s TO %s', a.privilege, o.kind, o.object, role)
                    ELSE format('REVOKE %s ON %s %s FROM %s', a.privilege, o.kind, o.object, role) END
        FROM crmsync.level_object o
        JOIN (VALUES ('FUNCTION', 'EXECUTE'), ('TABLE', 'SELECT'), ('SCHEMA', 'USAGE'))
             AS a (kind, privilege) USING (kind)
    LOOP
        EXECUTE statement;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.set_privileges(regrole) IS 'makes a role''s privileges on functions and views what role_grant says';

CREATE FUNCTION crmsync.forget_earlier_role(role regrole) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM crmsync.role_grant g WHERE g.role = forget_earlier_role.role::text AND NOT crmsync.has_entry(forget_earlier_role.role);
    IF FOUND THEN
        RAISE NOTICE 'what was granted to an earlier role % is taken back', role;
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.forget_earlier_role(regrole) IS 'what a dropped role of this name had is not this one''s: to be called before set_privileges';

CREATE FUNCTION crmsync.check_level(level text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF level = ANY (crmsync.levels()) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'unknown level %', coalesce(quote_literal(level), 'NULL')
        USING ERRCODE = 'invalid_parameter_value',
              HINT = format('Levels: %s.', array_to_string(crmsync.levels(), ', '));
END;
$$;
COMMENT ON FUNCTION crmsync.check_level(text) IS 'refuses an unknown level';

CREATE FUNCTION crmsync.grant_role(role regrole, level text, link text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link_id integer;
BEGIN
    IF link IS NULL THEN
        PERFORM crmsync.require('admin');
    ELSE
        link_id := (crmsync.find_link(link, 'admin', retired => true)).id;
    END IF;
    PERFORM crmsync.check_level(level);
    IF role IS NULL OR to_regrole(role::text) IS NULL THEN
        RAISE EXCEPTION 'role % does not exist', coalesce(role::text, 'NULL')
            USING ERRCODE = 'undefined_object';
    END IF;
    PERFORM crmsync.lock_grants();
    PERFORM crmsync.forget_earlier_role(role);
    INSERT INTO crmsync.role_grant AS g (role, level, link)
    VALUES (grant_role.role::text, grant_role.level, link_id)
    ON CONFLICT ON CONSTRAINT role_grant_role_link_key DO UPDATE SET level = excluded.level;
    PERFORM crmsync.set_privileges(role);
END;
$$;
COMMENT ON FUNCTION crmsync.grant_role(regrole, text, text) IS 'lets a role see (reader), operate (operator) or administer (admin) one link, or all links and targets; a role has one level at a link';

CREATE FUNCTION crmsync.revoke_role(role regrole, level text DEFAULT NULL, link text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link_id integer;
BEGIN
    IF link IS NULL THEN
        PERFORM crmsync.require('admin');
    ELSE
        link_id := (crmsync.find_link(link, 'admin', retired => true)).id;
    END IF;
    IF level IS NOT NULL THEN
        PERFORM crmsync.check_level(level);
    END IF;
    PERFORM crmsync.lock_grants();
    DELETE FROM crmsync.role_grant g
    WHERE g.role = revoke_role.role::text AND g.link IS NOT DISTINCT FROM link_id
      AND g.level = coalesce(revoke_role.level, g.level);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role % has not been granted %', role, coalesce(level, 'anything')
            USING ERRCODE = 'undefined_object',
                  DETAIL = coalesce((SELECT 'It has ' || string_agg(
                               g.level || coalesce(format(' at link "%s"', l.name), ' at all links'),
                               ', ' ORDER BY l.name) || '.'
                           FROM crmsync.role_grant g LEFT JOIN crmsync.link l ON l.id = g.link
                           WHERE g.role = revoke_role.role::text), 'It has been granted nothing.');
    END IF;
    PERFORM crmsync.forget_earlier_role(role);
    PERFORM crmsync.set_privileges(role);
END;
$$;
COMMENT ON FUNCTION crmsync.revoke_role(regrole, text, text) IS 'takes back what grant_role gave; level NULL: whichever it was';
