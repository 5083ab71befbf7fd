-- Nobody may execute anything that grant_role has not given, and what pg_dump keeps.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA crmsync FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA crmsync FROM PUBLIC;

DO $$
DECLARE
    kept regclass;
BEGIN
    FOREACH kept IN ARRAY '{
        crmsync.target, crmsync.link, crmsync.link_id_seq, crmsync.mapping, crmsync.group_mapping,
        crmsync.watched, crmsync.capture, crmsync.capture_id_seq, crmsync.capture_link,
        crmsync.identity, crmsync.role_grant, crmsync.role_grant_id_seq, crmsync.mailbox,
        crmsync.mailbox_id_seq, crmsync.item}'::regclass[]
    LOOP
        PERFORM pg_extension_config_dump(kept, '');
    END LOOP;
END;
$$;
