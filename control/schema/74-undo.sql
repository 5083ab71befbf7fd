-- Bringing back what crmsync has overwritten: in mailboxes as their users would, in the CRM as one of its
-- own users would. What follows from that is decided by the link, as ever.

CREATE FUNCTION crmsync.undo(link text, since timestamptz, mailbox text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator');
    only_mailbox integer := crmsync.check_mailbox(this, mailbox);
    first timestamptz;
BEGIN
    IF since IS NULL OR since > clock_timestamp() THEN
        RAISE EXCEPTION 'undo needs a time in the past' USING ERRCODE = 'invalid_parameter_value';
    ELSIF crmsync.is_import(this) THEN
        PERFORM crmsync.not_supported('undo of an import');
    ELSIF NOT this.enabled THEN
        RAISE EXCEPTION 'link "%" is not enabled', link
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Call crmsync.enable_link(%L) first.', link);
    END IF;
    SELECT min(h.at) INTO first
    FROM (SELECT at FROM crmsync.history_0 UNION ALL SELECT at FROM crmsync.history_1 UNION ALL SELECT at FROM crmsync.history_2) h;
    IF first IS NULL OR first > since THEN
        RAISE NOTICE 'the history begins at %: what was done before stays', coalesce(first::text, 'now');
    END IF;
    INSERT INTO crmsync.request (action, link, mailbox, since) VALUES ('undo', this.id, only_mailbox, undo.since);
    PERFORM crmsync.request_sync(this.id);
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.undo(text, timestamptz, text) IS 'writes back what crmsync has overwritten since then, in all mailboxes of a link or in one, and, where mailboxes are read, what came from there in the CRM; items that were deleted are created again, as their users'' own. What was changed again meanwhile stays, and the history says so';

-- By field the value before the first change and the one after the last: what lies between is nobody's matter.
CREATE FUNCTION crmsync.carry_out_undos(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH done AS MATERIALIZED (
        SELECT m.link, m.id AS mailbox, h.record, h.at, h.old, h.new, h.action,
               CASE WHEN h.action LIKE '%bring in' THEN 'row' WHEN h.action = 'delete' THEN 'create' ELSE 'item' END AS step
        FROM (SELECT * FROM crmsync.history_0 UNION ALL SELECT * FROM crmsync.history_1 UNION ALL SELECT * FROM crmsync.history_2) h
        JOIN unnest(requests) r ON r.link = h.link AND h.at >= r.since AND h.at <= r.at
        JOIN crmsync.mailbox m ON m.link = h.link AND m.id = h.mailbox_id AND m.id = coalesce(r.mailbox, m.id)
        WHERE h.result = 'done' AND h.record IS NOT NULL AND h.old IS NOT NULL
    ), field AS (
        SELECT d.link, d.record, d.step, (array_agg(d.mailbox ORDER BY d.at DESC))[1] AS mailbox, f.key,
               (array_agg(d.old -> f.key ORDER BY d.at))[1] AS old, (array_agg(f.value ORDER BY d.at DESC))[1] AS new
        FROM done d CROSS JOIN jsonb_each(d.new) f
        WHERE d.step <> 'create' AND d.old ? f.key
        GROUP BY d.link, d.record, d.step, CASE d.step WHEN 'item' THEN d.mailbox END, f.key
    ), deleted AS (
        SELECT DISTINCT ON (d.link, d.record, d.mailbox) d.link, d.record, d.mailbox, d.old
        FROM done d WHERE d.step = 'create' ORDER BY d.link, d.record, d.mailbox, d.at DESC
    )
    INSERT INTO crmsync.undoing (link, step, mailbox, record, old, new, since)
    SELECT n.*, (SELECT min(r.at) FROM unnest(requests) r WHERE r.link = n.link)  -- who waits has asked then
    FROM (SELECT f.link, f.step, f.mailbox, f.record, jsonb_object_agg(f.key, f.old), jsonb_object_agg(f.key, f.new)
          FROM field f WHERE f.old IS DISTINCT FROM f.new
          GROUP BY f.link, f.step, f.mailbox, f.record
          UNION ALL
          SELECT d.link, 'create', d.mailbox, d.record, d.old, NULL FROM deleted d) n
    ON CONFLICT ON CONSTRAINT undoing_pkey DO UPDATE SET old = excluded.old, new = excluded.new;
END;
COMMENT ON FUNCTION crmsync.carry_out_undos(crmsync.request[]) IS 'what has to be brought back is noted, from the history; by the worker';
