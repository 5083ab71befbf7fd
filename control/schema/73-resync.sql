-- Reading whole mailboxes, and mending what is not as it should be.

CREATE FUNCTION crmsync.resync(link text, mailbox text DEFAULT NULL, mode text DEFAULT 'repair') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator');
    only_mailbox integer := crmsync.check_mailbox(this, mailbox);
    mailboxes integer[];
BEGIN
    IF mode IS NULL OR mode NOT IN ('repair', 'replace') THEN
        RAISE EXCEPTION 'invalid mode %', coalesce(quote_literal(mode), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Modes: repair, replace.';
    ELSIF crmsync.is_import(this) AND mode <> 'repair' THEN
        PERFORM crmsync.not_supported('the mode replace of an import', format('SELECT crmsync.resync(%L) makes all users what the directory says.', link));
    ELSIF NOT this.enabled THEN
        RAISE EXCEPTION 'link "%" is not enabled', link
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Call crmsync.enable_link(%L) first.', link);
    END IF;
    mailboxes := ARRAY(SELECT m.id FROM crmsync.mailbox m
                       WHERE m.link = this.id AND m.id = coalesce(only_mailbox, m.id)
                         AND (this.mailboxes IS NULL OR m.id NOT IN (SELECT crmsync.unfilled_mailboxes(this))));
    IF only_mailbox IS NOT NULL AND mailboxes = '{}' THEN
        RAISE EXCEPTION 'mailbox "%" takes no part in link "%"', mailbox, link
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('SELECT crmsync.withdraw(%L, %L) takes the items out of it.', link, mailbox);
    END IF;
    -- What the CRM wants is compared, too: of what was never written nothing is missing in a mailbox.
    INSERT INTO crmsync.request (action, link) VALUES ('compare', this.id);
    INSERT INTO crmsync.request (action, link, mailbox) SELECT resync.mode, this.id, u FROM unnest(mailboxes) u;
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.resync(text, text, text) IS 'reads the items of a link in a mailbox, or in all, and mends them. repair: what is gone is created again, what was changed is as the CRM has it, copies and what no record is known of are deleted, once the guard lets them; replace: all that crmsync has made is deleted and made anew. Of an import: the next run writes all that is mapped, also where the CRM has changed it since';

CREATE FUNCTION crmsync.carry_out_repairs(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crmsync.repair AS p (mailbox, mode, step, since)
    SELECT DISTINCT ON (m.id) m.id, r.action, CASE r.action WHEN 'withdraw' THEN 'mark' ELSE 'list' END, r.at
    FROM unnest(requests) r JOIN crmsync.link l ON l.id = r.link AND NOT crmsync.is_import(l)
    JOIN crmsync.mailbox m ON m.link = r.link AND m.id = coalesce(r.mailbox, m.id)
    ORDER BY m.id, r.id DESC
    ON CONFLICT ON CONSTRAINT repair_pkey DO UPDATE SET mode = excluded.mode, step = excluded.step, since = excluded.since, began = NULL;
END;
COMMENT ON FUNCTION crmsync.carry_out_repairs(crmsync.request[]) IS 'the mailboxes are noted with what is to be done in them, which begins anew where it was under way';

-- What a create that nobody waits for any more was to make is there by now, and what a delete was to remove is gone.
CREATE FUNCTION crmsync.look_again() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH due AS (
        INSERT INTO crmsync.repair (mailbox, mode, since)
        SELECT m.id, 'late', now() FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link AND l.enabled
        WHERE m.look_again <= now() AND (m.code IS NULL OR m.next_attempt <= now())
          AND l.id IN (SELECT h.id FROM crmsync.link h FOR KEY SHARE SKIP LOCKED)
        ON CONFLICT ON CONSTRAINT repair_pkey DO NOTHING RETURNING mailbox)
    UPDATE crmsync.mailbox m SET look_again = NULL FROM due d WHERE m.id = d.mailbox;
END;
COMMENT ON FUNCTION crmsync.look_again() IS 'mailboxes whose time has come are listed once more; by the worker';

-- See late_creates.h. A copy that a user makes of it says the same: of several only one is ours. What the
-- record had there before it was made anew is older than that.
CREATE FUNCTION crmsync.find_late(mailbox integer, link integer, max_delay bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off
BEGIN ATOMIC
    WITH late AS (
        SELECT DISTINCT ON (s.record, s.attempt) s.remote_id
        FROM crmsync.sighting s
        JOIN crmsync.item i ON i.link = find_late.link AND i.record = s.record AND i.mailbox = s.mailbox AND i.remote_id <> s.remote_id
        JOIN crmsync.sighting o ON o.mailbox = i.mailbox AND o.remote_id = i.remote_id AND o.kind = 'listed'
        WHERE s.mailbox = find_late.mailbox AND s.kind = 'listed' AND o.mailbox = find_late.mailbox
          AND s.attempt <> o.attempt AND abs(s.attempt - o.attempt) <= max_delay AND (s.attempt | o.attempt) & 1 = 1
          AND (NOT i.remade OR s.attempt > extract(epoch FROM i.since) * 1000000)
        ORDER BY s.record, s.attempt, s.remote_id)
    UPDATE crmsync.sighting s SET kind = 'late' FROM late l WHERE s.mailbox = find_late.mailbox AND s.remote_id = l.remote_id;
END;
COMMENT ON FUNCTION crmsync.find_late(integer, integer, bigint) IS 'which of the items that were listed were made by another request of ours than the item of their record, the one so few microseconds after the other; by the worker';

-- See late_creates.h. Of what we asked the server to delete, and want again, what is not there was not deleted by its user.
CREATE FUNCTION crmsync.find_deleted_late(mailbox integer, link integer, listed timestamptz) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS (
        SELECT i.record, EXISTS (SELECT FROM crmsync.sighting s WHERE s.mailbox = i.mailbox AND s.record = i.record AND s.kind = 'listed') AS there
        FROM crmsync.item i
        WHERE i.mailbox = find_deleted_late.mailbox AND i.doubtful AND i.state = 'linked' AND i.stamped AND i.since < listed
    ), known AS (
        UPDATE crmsync.item i SET doubtful = false FROM asked a
        WHERE i.link = find_deleted_late.link AND i.record = a.record AND i.mailbox = find_deleted_late.mailbox AND a.there
    ), gone AS (
        DELETE FROM crmsync.item i USING asked a
        WHERE i.link = find_deleted_late.link AND i.record = a.record AND i.mailbox = find_deleted_late.mailbox AND NOT a.there
        RETURNING i.record)
    INSERT INTO crmsync.pending AS p (link, tier, record) SELECT find_deleted_late.link, 1, g.record FROM gone g ORDER BY g.record
    ON CONFLICT ON CONSTRAINT pending_pkey DO UPDATE SET version = p.version + 1;
END;
COMMENT ON FUNCTION crmsync.find_deleted_late(integer, integer, timestamptz) IS 'which of the items that are wanted again were deleted because we had asked for it; by the worker';

-- The listing is complete. It only says what to look at: nothing is believed to be gone, or to have
-- been changed, that is not asked for by its id. The table has just been filled, and the planner, which
-- does not know yet how full it is, must not go through it row by row.
CREATE FUNCTION crmsync.compare_listing(mailbox integer, max_delay bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off
AS $$
DECLARE
    this crmsync.repair;
    of_link crmsync.link;
BEGIN
    -- Items are added, which have no foreign keys.
    PERFORM FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link WHERE m.id = compare_listing.mailbox FOR KEY SHARE;
    SELECT p.* INTO this FROM crmsync.repair p WHERE p.mailbox = compare_listing.mailbox;
    IF this.mailbox IS NULL THEN
        RETURN;
    END IF;
    SELECT l.* INTO of_link FROM crmsync.link l JOIN crmsync.mailbox m ON m.link = l.id WHERE m.id = this.mailbox;
    IF this.mode <> 'withdraw' THEN
        PERFORM crmsync.find_late(this.mailbox, of_link.id, max_delay);
        PERFORM crmsync.find_deleted_late(this.mailbox, of_link.id, this.began);
    END IF;
    IF this.mode = 'late' THEN
        DELETE FROM crmsync.sighting s USING crmsync.item i
        WHERE s.mailbox = this.mailbox AND s.kind = 'listed' AND i.link = of_link.id AND i.record = s.record AND i.mailbox = s.mailbox
          AND i.state <> 'unlinked';
    ELSIF this.mode <> 'withdraw' THEN
        INSERT INTO crmsync.sighting (mailbox, remote_id, change_key, record, kind)
        SELECT i.mailbox, i.remote_id, i.change_key, i.record, 'missing'
        FROM crmsync.item i
        WHERE i.mailbox = this.mailbox AND i.state = 'linked' AND i.since < this.began AND i.remote_id IS NOT NULL
        ON CONFLICT ON CONSTRAINT sighting_pkey DO NOTHING;
    END IF;

    -- An item that was away and has come back has another id, and may hold something else: it is not written before it
    -- is read. What was left to its user bears no stamp, save where the mailbox was moved with a copy that is older: it
    -- loses it there, too.
    WITH moved AS (
        SELECT DISTINCT ON (s.record) s.record, s.remote_id, i.remote_id AS before, i.state
        FROM crmsync.sighting s
        JOIN crmsync.item i ON i.link = of_link.id AND i.record = s.record AND i.mailbox = this.mailbox
        WHERE s.mailbox = this.mailbox AND s.kind = 'listed' AND i.since < this.began AND i.remote_id IS DISTINCT FROM s.remote_id
          AND (i.state <> 'unlinked' OR i.remote_id IS NULL)
          AND NOT EXISTS (SELECT FROM crmsync.sighting k
                          WHERE k.mailbox = this.mailbox AND k.kind = 'listed' AND k.remote_id = i.remote_id)
        ORDER BY s.record, s.remote_id
    ), known AS (
        UPDATE crmsync.item i
        SET remote_id = m.remote_id, change_key = NULL,
            state = CASE WHEN i.state IN ('gone', 'absent', 'removed') THEN 'linked' ELSE i.state END,
            confirmed = i.confirmed AND i.state <> 'removed'
        FROM moved m WHERE i.link = of_link.id AND i.record = m.record AND i.mailbox = this.mailbox
    ), looked_at AS (
        INSERT INTO crmsync.pending AS p (link, tier, record)
        SELECT of_link.id, 1, m.record FROM moved m WHERE m.state = 'removed' AND of_link.enabled ORDER BY m.record
        ON CONFLICT ON CONSTRAINT pending_pkey DO UPDATE SET version = p.version + 1
    ), gone AS (
        DELETE FROM crmsync.sighting s USING moved m
        WHERE s.mailbox = this.mailbox AND s.kind = 'missing' AND s.remote_id = m.before
    )
    UPDATE crmsync.sighting s SET kind = CASE WHEN m.state = 'unlinked' THEN 'stray' ELSE 'changed' END
    FROM moved m WHERE s.mailbox = this.mailbox AND s.remote_id = m.remote_id;

    -- Nothing is to be done about what is as we wrote it, or is to go anyway.
    DELETE FROM crmsync.sighting s USING crmsync.item i
    WHERE s.mailbox = this.mailbox AND s.kind IN ('listed', 'changed')
      AND i.link = of_link.id AND i.record = s.record AND i.mailbox = s.mailbox AND i.remote_id = s.remote_id
      AND (s.kind = 'listed' AND i.change_key = s.change_key OR i.state = 'leaving' OR this.mode = 'withdraw');

    -- Items of ours that nobody knew of: the CRM may want them there, or not. A stamp that does not say which
    -- request made its item was written on one that its user had made (see exchange/operation.h).
    WITH unknown AS (
        INSERT INTO crmsync.item (link, record, mailbox, remote_id, change_key, origin)
        SELECT DISTINCT ON (s.record) of_link.id, s.record, s.mailbox, s.remote_id, s.change_key,
               CASE WHEN s.attempt IS NULL THEN 'adopted' ELSE 'crm' END
        FROM crmsync.sighting s WHERE s.mailbox = this.mailbox AND s.kind = 'listed'
        ORDER BY s.record, s.remote_id
        ON CONFLICT ON CONSTRAINT item_pkey DO NOTHING RETURNING record, remote_id
    ), looked_at AS (
        INSERT INTO crmsync.pending AS p (link, tier, record)
        SELECT of_link.id, 1, u.record FROM unknown u WHERE of_link.enabled ORDER BY u.record
        ON CONFLICT ON CONSTRAINT pending_pkey DO UPDATE SET version = p.version + 1
    )
    DELETE FROM crmsync.sighting s USING unknown u WHERE s.mailbox = this.mailbox AND s.remote_id = u.remote_id;

    -- Of a mailbox that is read a copy is its user's new item, as soon as it has lost the stamp. Of what was left
    -- to him, and of what he had made, everything is his.
    UPDATE crmsync.sighting s SET kind = CASE WHEN i.state = 'unlinked' THEN 'stray'
                                              WHEN i.remote_id = s.remote_id THEN 'changed'
                                              WHEN s.attempt IS NULL THEN 'stray'
                                              WHEN of_link.direction = 'both' AND this.mode <> 'withdraw' THEN 'stray'
                                              ELSE 'copy' END
    FROM crmsync.item i
    WHERE s.mailbox = this.mailbox AND s.kind = 'listed'
      AND i.link = of_link.id AND i.record = s.record AND i.mailbox = s.mailbox;

    IF this.mode = 'replace' THEN
        UPDATE crmsync.item i SET state = 'leaving', renew = true, confirmed = false, since = now()
        WHERE i.mailbox = this.mailbox AND i.state = 'linked' AND i.origin = 'crm' AND i.since < this.began;
        DELETE FROM crmsync.sighting s USING crmsync.item i
        WHERE s.mailbox = this.mailbox AND s.kind IN ('changed', 'missing')
          AND i.link = of_link.id AND i.record = s.record AND i.mailbox = s.mailbox AND i.state = 'leaving';
    ELSIF this.mode = 'repair' THEN
        -- What was to be made anew, and has not gone yet, is mended instead.
        WITH kept AS (
            UPDATE crmsync.item i SET renew = false WHERE i.mailbox = this.mailbox AND i.renew RETURNING i.record)
        INSERT INTO crmsync.pending AS p (link, tier, record) SELECT of_link.id, 1, k.record FROM kept k ORDER BY k.record
        ON CONFLICT ON CONSTRAINT pending_pkey DO UPDATE SET version = p.version + 1;
    END IF;

    -- A mailbox that is read brings in what its user has changed, as ever.
    IF of_link.direction <> 'outbound' THEN
        WITH seen AS (
            DELETE FROM crmsync.sighting s WHERE s.mailbox = this.mailbox AND s.kind IN ('changed', 'missing') RETURNING s.remote_id)
        INSERT INTO crmsync.arrival AS a (mailbox, remote_id) SELECT m.id, s.remote_id
        FROM seen s JOIN crmsync.mailbox m ON m.id = this.mailbox FOR KEY SHARE OF m
        ON CONFLICT ON CONSTRAINT arrival_pkey
        DO UPDATE SET version = a.version + 1, code = NULL, message = NULL, attempts = 0, next_attempt = NULL;
    END IF;
    UPDATE crmsync.repair p SET step = 'fetch' WHERE p.mailbox = this.mailbox;
END;
$$;
COMMENT ON FUNCTION crmsync.compare_listing(integer, bigint) IS 'what was listed in a mailbox is compared with its items: which of them have to be fetched, and which are new to us; by the worker';

-- A mailbox of which all has been looked at is done with, or its withdrawal goes on.
CREATE FUNCTION crmsync.finish_repairs(link integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done integer[] := ARRAY(
        SELECT p.mailbox FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox
        WHERE m.link = finish_repairs.link AND p.step = 'fetch'
          AND NOT EXISTS (SELECT FROM crmsync.sighting s WHERE s.mailbox = p.mailbox AND s.kind IN ('changed', 'missing', 'copy', 'late'))
          AND (p.mode IN ('withdraw', 'late') OR NOT EXISTS (SELECT FROM crmsync.arrival a WHERE a.mailbox = p.mailbox AND a.code IS NULL)));
BEGIN
    IF done = '{}' THEN
        RETURN;
    END IF;
    UPDATE crmsync.repair p SET step = 'mark' WHERE p.mailbox = ANY (done) AND p.mode = 'withdraw';
    -- What was to be written to a mailbox that has moved was left until now.
    UPDATE crmsync.mailbox m SET moved = NULL, took_part = false
    FROM crmsync.repair p WHERE p.mailbox = m.id AND m.id = ANY (done) AND p.mode <> 'withdraw' AND m.moved IS NOT NULL;
    IF FOUND THEN
        PERFORM crmsync.request_comparison(finish_repairs.link, 'mailboxes');
    END IF;
    -- What its user has deleted is made again, since somebody wants the mailbox whole. Whose item it was
    -- stays known, should he bring it back.
    WITH ended AS (
        DELETE FROM crmsync.repair p WHERE p.mailbox = ANY (done) AND p.mode <> 'withdraw' RETURNING p.mailbox, p.mode
    ), absent AS (
        DELETE FROM crmsync.item i USING ended e
        WHERE i.mailbox = e.mailbox AND e.mode <> 'late' AND i.origin = 'crm'
          AND (i.state = 'absent' OR i.state = 'unlinked' AND i.remote_id IS NULL) RETURNING i.link, i.record
    ), his AS (
        UPDATE crmsync.item i SET shadow = '{}', state = 'absent' FROM ended e
        WHERE i.mailbox = e.mailbox AND e.mode <> 'late' AND i.origin <> 'crm'
          AND (i.state = 'absent' OR i.state = 'unlinked' AND i.remote_id IS NULL) RETURNING i.link, i.record)
    INSERT INTO crmsync.pending AS p (link, tier, record)
    SELECT a.link, 1, a.record FROM absent a UNION SELECT h.link, 1, h.record FROM his h
    ON CONFLICT ON CONSTRAINT pending_pkey DO UPDATE SET version = p.version + 1;
END;
$$;
COMMENT ON FUNCTION crmsync.finish_repairs(integer) IS 'repairs of which all has been looked at end, or withdraw; by the worker';
