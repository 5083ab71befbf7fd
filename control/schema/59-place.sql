-- At which target each mailbox of a link is. One that is to be at another leaves the old one only when nothing of
-- it is under way there any more: an answer that came later would give its items the ids that they had there. Until
-- then it is marked (the code MOVING), which keeps everything new from it. Both are the worker's.

CREATE FUNCTION crmsync.note_link_targets(link integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH place AS (
        SELECT DISTINCT coalesce(m.target, l.target) AS target, m.target IS NOT NULL AS is_other
        FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link WHERE m.link = note_link_targets.link
    ), named AS (
        SELECT p.target FROM place p WHERE EXISTS (SELECT FROM place o WHERE o.is_other)
    ), forgotten AS (
        DELETE FROM crmsync.link_target t
        WHERE t.link = note_link_targets.link AND NOT EXISTS (SELECT FROM named n WHERE n.target = t.target))
    INSERT INTO crmsync.link_target (link, target) SELECT note_link_targets.link, n.target FROM named n
    ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION crmsync.note_link_targets(integer) IS 'notes at which targets mailboxes of a link are';

-- A new mailbox is where it is from the start.
CREATE FUNCTION crmsync.add_mailboxes(link integer, addresses text[], targets text[])
RETURNS TABLE (id integer, address text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY INSERT INTO crmsync.mailbox AS m (link, address, target)
        SELECT l.id, u.address, nullif(u.target, l.target)
        FROM unnest(addresses, targets) u (address, target) JOIN crmsync.link l ON l.id = add_mailboxes.link
        RETURNING m.id, m.address;
    IF EXISTS (SELECT FROM crmsync.link l WHERE l.id = add_mailboxes.link AND l.target <> ANY (targets))
       OR EXISTS (SELECT FROM crmsync.link_target t WHERE t.link = add_mailboxes.link) THEN
        PERFORM crmsync.note_link_targets(add_mailboxes.link);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.add_mailboxes(integer, text[], text[]) IS 'makes mailboxes known, each at its target; by the worker';

-- What was left undecided meanwhile is looked at.
CREATE FUNCTION crmsync.forget_moves(link integer, except_for integer[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE crmsync.mailbox m SET took_part = false, code = NULL, message = NULL, since = NULL, attempts = 0, next_attempt = NULL
    WHERE m.link = forget_moves.link AND m.code = 'MOVING' AND m.id <> ALL (except_for);
    IF FOUND THEN
        PERFORM crmsync.request_comparison(forget_moves.link, 'mailboxes');
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.forget_moves(integer, integer[]) IS 'marked mailboxes stay where they are; by the worker';

-- One whose items are being taken out of it stays until that is done. One of which a repair was left off when it
-- took no part is looked for again where it is.
CREATE FUNCTION crmsync.note_moves(link integer, addresses text[], targets text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own text := (SELECT l.target FROM crmsync.link l WHERE l.id = note_moves.link);
    leaving integer[] := ARRAY(
        SELECT m.id FROM unnest(addresses, targets) u (address, target)
        JOIN crmsync.mailbox m ON m.link = note_moves.link AND m.address = u.address
        LEFT JOIN crmsync.repair p ON p.mailbox = m.id
        WHERE CASE WHEN coalesce(m.target, own) <> u.target THEN p.mode IS DISTINCT FROM 'withdraw'
                   ELSE m.moved IS NOT NULL AND p.mailbox IS NULL END);
BEGIN
    UPDATE crmsync.mailbox m
    SET code = 'MOVING', message = format('it leaves target "%s" as soon as nothing of it is under way there', coalesce(m.target, own)),
        since = clock_timestamp(), attempts = 0, next_attempt = 'infinity', disabled = false
    WHERE m.id = ANY (leaving) AND m.code IS DISTINCT FROM 'MOVING';
    PERFORM crmsync.forget_moves(link, leaving);
END;
$$;
COMMENT ON FUNCTION crmsync.note_moves(integer, text[], text[]) IS 'marks the mailboxes that are to be at another target, and no others; by the worker';

-- At another target nothing has the id that it had, and nothing was agreed on: a copy may be older than what
-- was written last. All is read, and what bears our stamp is known by it; until then nothing is written.
CREATE FUNCTION crmsync.move_mailboxes(link integer, mailboxes integer[], addresses text[], targets text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own text := (SELECT l.target FROM crmsync.link l WHERE l.id = move_mailboxes.link);
    leaving integer[] := ARRAY(SELECT m.id FROM crmsync.mailbox m
                               WHERE m.link = move_mailboxes.link AND m.id = ANY (mailboxes) AND m.code = 'MOVING');
    filled integer[];
BEGIN
    WITH away AS (
        UPDATE crmsync.item i
        SET remote_id = NULL, shadow = '{}', state = CASE WHEN i.state IN ('linked', 'leaving') THEN 'absent' ELSE i.state END,
            confirmed = false, renew = false, doubtful = false, since = now()
        WHERE i.mailbox = ANY (leaving) RETURNING i.mailbox)
    SELECT coalesce(array_agg(DISTINCT away.mailbox), '{}') INTO filled FROM away;
    UPDATE crmsync.mailbox m
    SET target = nullif(u.target, own), moved = CASE WHEN m.id = ANY (filled) THEN clock_timestamp() END, took_part = false,
        folder_id = NULL, sync_state = NULL, listing = NULL, met = NULL,
        code = NULL, message = NULL, since = NULL, attempts = 0, next_attempt = NULL
    FROM unnest(addresses, targets) u (address, target) WHERE m.id = ANY (leaving) AND m.address = u.address;
    PERFORM crmsync.note_link_targets(link);
    DELETE FROM crmsync.arrival a WHERE a.mailbox = ANY (leaving);
    DELETE FROM crmsync.sighting s WHERE s.mailbox = ANY (leaving);
    DELETE FROM crmsync.failure f WHERE f.link = move_mailboxes.link AND f.mailbox = ANY (leaving);
    INSERT INTO crmsync.repair AS p (mailbox, mode, since) SELECT f, 'repair', clock_timestamp() FROM unnest(filled) f
    ON CONFLICT ON CONSTRAINT repair_pkey DO UPDATE SET mode = excluded.mode, step = excluded.step, since = excluded.since;
    -- Those that had nothing are filled now, the others when they have been read.
    IF cardinality(filled) < cardinality(leaving) THEN
        PERFORM crmsync.request_comparison(move_mailboxes.link, 'mailboxes');
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.move_mailboxes(integer, integer[], text[], text[]) IS 'marked mailboxes are at their new targets, and are looked for there; by the worker';
