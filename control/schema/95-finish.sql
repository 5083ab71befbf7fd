-- Nobody may execute anything that grant_role has not given; what pg_dump keeps; what belongs to this
-- database alone, whatever is published; and what the planner is to know from the start.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA crmsync FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA crmsync FROM PUBLIC;

-- Nor what the default privileges of whoever installs it give to others.
DO $$
DECLARE
    other text;
BEGIN
    FOR other IN
        SELECT DISTINCT a.grantee::regrole::text
        FROM (SELECT n.nspacl, n.nspowner FROM pg_namespace n WHERE n.nspname = 'crmsync'
              UNION ALL
              SELECT c.relacl, c.relowner FROM pg_class c WHERE c.relnamespace = 'crmsync'::regnamespace
              UNION ALL
              SELECT p.proacl, p.proowner FROM pg_proc p WHERE p.pronamespace = 'crmsync'::regnamespace) AS o (acl, owner)
        CROSS JOIN LATERAL aclexplode(o.acl) a
        WHERE a.grantee NOT IN (0, o.owner)
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA crmsync FROM %s', other);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA crmsync FROM %s', other);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA crmsync FROM %s', other);
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA crmsync FROM %s', other);
    END LOOP;
END;
$$;

DO $$
DECLARE
    kept regclass;
BEGIN
    FOREACH kept IN ARRAY '{
        crmsync.target, crmsync.link, crmsync.link_id_seq, crmsync.mapping, crmsync.group_mapping,
        crmsync.watched, crmsync.capture, crmsync.capture_id_seq, crmsync.capture_link,
        crmsync.identity, crmsync.role_grant, crmsync.role_grant_id_seq, crmsync.mailbox,
        crmsync.mailbox_id_seq, crmsync.link_target, crmsync.item, crmsync.repair}'::regclass[]
    LOOP
        PERFORM pg_extension_config_dump(kept, '');
    END LOOP;
END;
$$;

-- Only where replication applies rows does the trigger fire at all.
DO $$
DECLARE
    ours regclass;
BEGIN
    FOR ours IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relkind = 'r' ORDER BY c.oid
    LOOP
        EXECUTE format('CREATE TRIGGER ignore_replicated BEFORE INSERT OR UPDATE OR DELETE ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION crmsync.ignore_replicated()', ours);
        EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER ignore_replicated', ours);
    END LOOP;
END;
$$;

-- A configuration is a few rows, which never make autovacuum look at them. Of a table that nobody has analyzed the
-- planner thinks that it has ten full pages, and of a view that joins several, that it is worth compiling (jit):
-- a third of a second, each time that somebody looks at crmsync.status.
ANALYZE crmsync.target, crmsync.target_state, crmsync.link, crmsync.link_state, crmsync.mapping;
