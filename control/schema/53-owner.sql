-- Whom a link runs as, and who may have it run something.

-- Since release 16 a membership can be granted that gives neither the role's rights nor the role itself.
CREATE FUNCTION crmsync.may_become(member regrole, role regrole) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN pg_has_role(member, role, CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END);
COMMENT ON FUNCTION crmsync.may_become(regrole, regrole) IS 'whether a role could say SET ROLE to the other';

CREATE FUNCTION crmsync.find_owner(owner regrole, source oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    caller regrole := crmsync.caller();
BEGIN
    IF owner IS NOT NULL THEN
        IF to_regrole(owner::text) IS NULL THEN
            RAISE EXCEPTION 'role % does not exist', owner USING ERRCODE = 'undefined_object';
        ELSIF NOT crmsync.may_become(caller, owner) THEN
            RAISE EXCEPTION 'must be a member of role % to let a link run as it', owner
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN owner::text;
    ELSIF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = caller) THEN
        RETURN caller::text;
    END IF;
    owner := (SELECT c.relowner FROM pg_class c WHERE c.oid = source);
    IF (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = owner) THEN
        RAISE WARNING 'the link runs as %, a superuser', owner
            USING HINT = 'Name a role that may only read the source and the audience with the parameter owner.';
    END IF;
    RETURN owner::text;
END;
$$;
COMMENT ON FUNCTION crmsync.find_owner(regrole, oid) IS 'whom a link runs as: the role named, of which the caller must be a member; else the caller, or for a superuser the source''s owner';

CREATE FUNCTION crmsync.check_is_member(this crmsync.link, purpose text, detail text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT coalesce(crmsync.may_become(crmsync.caller(), to_regrole(this.owner)), crmsync.is_owner(crmsync.caller())) THEN
        RAISE EXCEPTION 'must be a member of role % to %', this.owner, purpose
            USING ERRCODE = 'insufficient_privilege', DETAIL = detail;
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_is_member(crmsync.link, text, text) IS 'refuses a caller who may not become the role that the link runs as';

-- Who gives a link something to run has it run as the link's owner.
CREATE FUNCTION crmsync.check_may_run_as_owner(this crmsync.link) RETURNS void
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN crmsync.check_is_member(this, format('give link "%s" an expression, a query or a relation', (this).name),
                               'They run with the rights of the link''s owner. Plain columns can be mapped.');
COMMENT ON FUNCTION crmsync.check_may_run_as_owner(crmsync.link) IS 'refuses a caller who is no member of the role that the link runs as, when they give it something to run';

-- So does who lets it write what users of mailboxes write, or delete what they delete.
CREATE FUNCTION crmsync.check_may_write_as_owner(old crmsync.link, new crmsync.link) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF old.on_target_delete <> 'delete' AND new.on_target_delete = 'delete'
       OR new.options @> '{"exclusive": true}' AND NOT old.options @> '{"exclusive": true}' THEN
        PERFORM crmsync.check_is_member(new, format('let link "%s" delete in the CRM', new.name), 'It does so with the rights of the link''s owner.');
    ELSIF old.direction = 'outbound' AND new.direction <> 'outbound' THEN
        PERFORM crmsync.check_is_member(new, format('let link "%s" write to the CRM', new.name), 'It does so with the rights of the link''s owner.');
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_may_write_as_owner(crmsync.link, crmsync.link) IS 'refuses a caller who is no member of the role that the link runs as, when the change makes it write or delete';
