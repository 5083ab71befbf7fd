-- What is still to be done for a link, and waiting until it is done.

-- Whether everything that the caller could see has been consumed: no transaction is visible in the
-- goal that is not visible in the position.
CREATE FUNCTION crmsync.covers("position" pg_snapshot, goal pg_snapshot) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN pg_snapshot_xmax("position") >= pg_snapshot_xmax(goal)
   AND NOT EXISTS (SELECT FROM pg_snapshot_xip("position") x WHERE pg_visible_in_snapshot(x, goal));
COMMENT ON FUNCTION crmsync.covers(pg_snapshot, pg_snapshot) IS 'whether whatever is visible in the second snapshot is visible in the first, too';

CREATE FUNCTION crmsync.is_consumed(goal pg_snapshot) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM crmsync.log_position p WHERE crmsync.covers(p.snapshot, goal))
        OR NOT EXISTS (
            SELECT FROM (SELECT transaction FROM crmsync.change_log_0
                         UNION ALL
                         SELECT transaction FROM crmsync.change_log_1) c
            LEFT JOIN crmsync.log_position p ON true
            WHERE pg_visible_in_snapshot(c.transaction, goal)
              AND pg_visible_in_snapshot(c.transaction, p.snapshot) IS NOT TRUE);
END;
COMMENT ON FUNCTION crmsync.is_consumed(pg_snapshot) IS 'whether every marker visible in a snapshot has been taken from the change log';

CREATE VIEW crmsync.to_delete AS
SELECT i.link, i.mailbox, i.record, i.remote_id, i.change_key, i.confirmed, i.since, 'item' AS kind, i.shadow IS NULL OR i.change_key IS NULL AS unknown
FROM crmsync.item i WHERE i.state = 'leaving'
UNION ALL
SELECT i.link, i.mailbox, i.record, i.remote_id, i.change_key, i.confirmed, i.since, 'record', false
FROM crmsync.item i WHERE i.state = 'removed'
UNION ALL
SELECT m.link, s.mailbox, s.record, s.remote_id, s.change_key, s.confirmed, s.since, 'copy', false
FROM crmsync.sighting s JOIN crmsync.mailbox m ON m.id = s.mailbox WHERE s.kind = 'surplus';
COMMENT ON VIEW crmsync.to_delete IS 'what is to be deleted, once the guard lets it: items of mailboxes, and copies of them; records whose items their users have deleted; of imports those who are missing';
COMMENT ON COLUMN crmsync.to_delete.link IS 'the link';
COMMENT ON COLUMN crmsync.to_delete.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.to_delete.record IS 'key of the record';
COMMENT ON COLUMN crmsync.to_delete.remote_id IS 'the item''s id at the target';
COMMENT ON COLUMN crmsync.to_delete.change_key IS 'its version at the target';
COMMENT ON COLUMN crmsync.to_delete.confirmed IS 'whether confirm_deletes has let it pass the guard';
COMMENT ON COLUMN crmsync.to_delete.since IS 'since when it is to be deleted';
COMMENT ON COLUMN crmsync.to_delete.kind IS 'item; copy of an item; record: in the CRM';
COMMENT ON COLUMN crmsync.to_delete.unknown IS 'what the item holds nobody knows: it is read first';

-- Until it takes part again, or somebody withdraws, nobody does anything about it.
CREATE VIEW crmsync.left_alone AS
SELECT m.link, m.id AS mailbox
FROM crmsync.mailbox m
JOIN crmsync.link l ON l.id = m.link
WHERE (m.opted_out OR NOT l.enabled) AND NOT l.retired
  AND NOT EXISTS (SELECT FROM crmsync.repair p WHERE p.mailbox = m.id AND p.mode = 'withdraw');
COMMENT ON VIEW crmsync.left_alone IS 'mailboxes in which nothing is deleted, nor any record because of them';
COMMENT ON COLUMN crmsync.left_alone.link IS 'the link';
COMMENT ON COLUMN crmsync.left_alone.mailbox IS 'the mailbox';

CREATE VIEW crmsync.being_deleted AS
SELECT d.link, d.mailbox, d.record, d.confirmed, d.since FROM crmsync.to_delete d
WHERE NOT EXISTS (SELECT FROM crmsync.left_alone a WHERE a.mailbox = d.mailbox);
COMMENT ON VIEW crmsync.being_deleted IS 'of what is to be deleted what is not in a mailbox that is left alone';
COMMENT ON COLUMN crmsync.being_deleted.link IS 'the link';
COMMENT ON COLUMN crmsync.being_deleted.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.being_deleted.record IS 'key of the record';
COMMENT ON COLUMN crmsync.being_deleted.confirmed IS 'whether confirm_deletes has let it pass the guard';
COMMENT ON COLUMN crmsync.being_deleted.since IS 'since when it is to be deleted';

CREATE VIEW crmsync.open_conflict AS
SELECT c.id, c.link, c.mailbox
FROM crmsync.conflict c
WHERE c.winner IS NULL AND c.choice IS NULL
  AND CASE c.kind WHEN 'field' THEN true
                  WHEN 'ambiguous' THEN EXISTS (SELECT FROM crmsync.arrival a
                                                WHERE a.mailbox = c.mailbox AND a.remote_id = c.item AND a.code = 'AMBIGUOUS')
                  ELSE EXISTS (SELECT FROM crmsync.item i
                               WHERE i.link = c.link AND i.record = c.record AND i.mailbox = c.mailbox AND i.remote_id = c.item
                                 AND i.state = CASE c.kind WHEN 'unlinked' THEN 'unlinked' ELSE 'absent' END) END;
COMMENT ON VIEW crmsync.open_conflict IS 'what somebody still has to decide';
COMMENT ON COLUMN crmsync.open_conflict.id IS 'number of the conflict';
COMMENT ON COLUMN crmsync.open_conflict.link IS 'the link';
COMMENT ON COLUMN crmsync.open_conflict.mailbox IS 'the mailbox';

-- What waits for its mailbox or its target goes on with them, and an import tries everything again.
CREATE VIEW crmsync.failing AS
SELECT f.link, f.mailbox, f.record, f.attempts, f.next_attempt, f.code, f.message, f.since,
       f.next_attempt IS NULL AND f.code <> 'POSTPONED'
       AND NOT EXISTS (SELECT FROM crmsync.link l JOIN crmsync.target t ON t.name = l.target WHERE l.id = f.link AND t.kind = 'ldap') AS parked
FROM crmsync.failure f
UNION ALL
SELECT m.link, a.mailbox, i.record, a.attempts, a.next_attempt, a.code, a.message, a.since, a.next_attempt IS NULL
FROM crmsync.arrival a
JOIN crmsync.mailbox m ON m.id = a.mailbox
LEFT JOIN crmsync.item i ON i.mailbox = a.mailbox AND i.remote_id = a.remote_id
                        AND pg_catalog.hashtext(i.remote_id) = pg_catalog.hashtext(a.remote_id)
WHERE a.code IS NOT NULL;
COMMENT ON VIEW crmsync.failing IS 'what could not go out, and what could not come in';
COMMENT ON COLUMN crmsync.failing.link IS 'the link';
COMMENT ON COLUMN crmsync.failing.mailbox IS 'the mailbox; 0: none';
COMMENT ON COLUMN crmsync.failing.record IS 'the record; NULL: of an item that has none yet';
COMMENT ON COLUMN crmsync.failing.attempts IS 'failures in a row';
COMMENT ON COLUMN crmsync.failing.next_attempt IS 'when it is tried again';
COMMENT ON COLUMN crmsync.failing.parked IS 'not tried again until the record changes, or retry';
COMMENT ON COLUMN crmsync.failing.code IS 'the server''s response code, or an SQLSTATE';
COMMENT ON COLUMN crmsync.failing.message IS 'the reason';
COMMENT ON COLUMN crmsync.failing.since IS 'when it began';

-- One that cannot be read, or takes no part, nobody waits for.
CREATE VIEW crmsync.unread AS
SELECT m.link, m.address
FROM crmsync.link l
JOIN crmsync.mailbox m ON m.link = l.id
WHERE l.enabled AND l.direction <> 'inbound' AND l.match_on <> '{}'
  AND m.met IS NULL AND m.took_part IS NOT FALSE AND m.code IS NULL;
COMMENT ON VIEW crmsync.unread IS 'mailboxes that are to be read before anything is created there (match_on)';
COMMENT ON COLUMN crmsync.unread.link IS 'the link';
COMMENT ON COLUMN crmsync.unread.address IS 'the mailbox';

-- Of the records that were pending at a time, those of a mailbox: the audience gives them to it, or it
-- has a copy. Where the audience cannot be read it may be any of them. What waits for a mailbox to be read
-- is not of one that has been.
CREATE FUNCTION crmsync.pending_in(this crmsync.link, address text, since timestamptz) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    records text[] := ARRAY(SELECT p.record FROM crmsync.pending p
                            WHERE p.link = this.id AND p.since <= pending_in.since
                            UNION
                            SELECT w.record FROM crmsync.waiting w
                            WHERE w.link = this.id AND w.since <= pending_in.since
                              AND EXISTS (SELECT FROM crmsync.unread n WHERE n.link = this.id AND n.address = pending_in.address));
    audience_query text := crmsync.audience_query(this.id);
BEGIN
    IF records = '{}' OR audience_query IS NULL THEN
        RETURN records;
    END IF;
    RETURN ARRAY(
        SELECT q.q[1] FROM crmsync.query_as_owner(this.id, audience_query, records) AS q (q)
        WHERE q.q[2] = address
        UNION
        SELECT i.record FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox
        WHERE i.link = this.id AND i.record = ANY (records) AND m.address = pending_in.address);
EXCEPTION WHEN OTHERS THEN
    RETURN records;
END;
$$;
COMMENT ON FUNCTION crmsync.pending_in(crmsync.link, text, timestamptz) IS 'pending records that belong in a mailbox, and those that are to be created there once it has been read';

CREATE FUNCTION crmsync.is_under_repair(link integer, since timestamptz, address text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM crmsync.repair r
                   JOIN crmsync.mailbox m ON m.id = r.mailbox
                   LEFT JOIN crmsync.link_state s ON s.link = m.link
                   WHERE m.link = is_under_repair.link AND r.since <= is_under_repair.since AND r.mode <> 'late'
                     AND m.address = coalesce(is_under_repair.address, m.address)
                     AND s.held IS NULL AND m.code IS NULL
                     AND NOT EXISTS (SELECT FROM crmsync.failure f WHERE f.link = m.link AND f.mailbox = m.id));
END;
COMMENT ON FUNCTION crmsync.is_under_repair(integer, timestamptz, text) IS 'whether resync or withdraw, asked for by that time, still goes on in a mailbox of the link, or in this one';

-- Deletes that the guard holds are not waited for, nor those in mailboxes that are left alone, nor what has
-- failed and pauses.
CREATE FUNCTION crmsync.is_settled(link integer, named timestamptz, since timestamptz, address text, records text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT NOT EXISTS (SELECT FROM crmsync.pending p
                       WHERE p.link = is_settled.link AND p.since <= is_settled.named
                         AND (address IS NULL OR p.record = ANY (records)))
       AND NOT EXISTS (SELECT FROM crmsync.mailbox m
                       WHERE m.link = is_settled.link AND m.address = is_settled.address AND m.started <= is_settled.since AND m.code IS NULL)
       AND NOT EXISTS (SELECT FROM crmsync.undoing u JOIN crmsync.mailbox m ON m.id = u.mailbox
                       WHERE u.link = is_settled.link AND u.since <= is_settled.since
                         AND m.address = coalesce(is_settled.address, m.address) AND m.code IS NULL)
       AND NOT EXISTS (SELECT FROM crmsync.conflict c JOIN crmsync.mailbox m ON m.id = c.mailbox
                       WHERE c.link = is_settled.link AND c.kind = 'field' AND c.choice <> c.winner AND c.at <= is_settled.since
                         AND m.address = coalesce(is_settled.address, m.address) AND m.code IS NULL)
       AND NOT EXISTS (SELECT FROM crmsync.request r LEFT JOIN crmsync.mailbox m ON m.id = r.mailbox
                       WHERE r.link = is_settled.link AND r.at <= is_settled.since
                         AND coalesce(m.address = is_settled.address, true))
       AND NOT EXISTS (
            SELECT FROM crmsync.being_deleted i
            JOIN crmsync.mailbox m ON m.id = i.mailbox
            LEFT JOIN crmsync.link_state s ON s.link = i.link
            WHERE i.link = is_settled.link AND i.since <= is_settled.since
              AND m.address = coalesce(is_settled.address, m.address)
              AND (i.confirmed OR s.held IS NULL) AND m.code IS NULL
              AND NOT EXISTS (SELECT FROM crmsync.failure f
                              WHERE f.link = i.link AND f.mailbox = i.mailbox AND f.record = i.record))
       AND NOT crmsync.is_under_repair(is_settled.link, is_settled.since, is_settled.address);
END;
COMMENT ON FUNCTION crmsync.is_settled(integer, timestamptz, timestamptz, text, text[]) IS 'whether nothing remains of the records that had been named by the first time, nor of what was to be done by the second; address: in this mailbox, of these records';

-- All that is there is compared when it has moved.
CREATE FUNCTION crmsync.is_moving(link integer, address text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM crmsync.mailbox m
                   LEFT JOIN crmsync.link_state s ON s.link = m.link
                   WHERE m.link = is_moving.link AND m.address = coalesce(is_moving.address, m.address)
                     AND (m.code = 'MOVING'
                          OR m.moved IS NOT NULL AND m.code IS NULL AND s.held IS NULL
                             AND EXISTS (SELECT FROM crmsync.repair r WHERE r.mailbox = m.id)));
END;
COMMENT ON FUNCTION crmsync.is_moving(integer, text) IS 'whether a mailbox of the link, or this one, is on its way to another target';

-- Records that belong there wait without being pending; a comparison finds them when it has been read.
CREATE FUNCTION crmsync.is_unread(this crmsync.link, address text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM crmsync.unread n WHERE n.link = this.id AND n.address = coalesce(is_unread.address, n.address));
END;
COMMENT ON FUNCTION crmsync.is_unread(crmsync.link, text) IS 'whether a mailbox of the link, or this one, is to be read before anything is created there (match_on)';

CREATE FUNCTION crmsync.is_imported(link integer, since timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT coalesce(s.last_started >= since AND greatest(s.last_success, s.last_error_at) >= s.last_started, false)
    FROM crmsync.link_state s WHERE s.link = is_imported.link;
END;
COMMENT ON FUNCTION crmsync.is_imported(integer, timestamptz) IS 'whether an import that began since then has ended, well or not';

CREATE FUNCTION crmsync.import_trouble(link integer, since timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT concat_ws(': ', s.code, s.last_error) FROM crmsync.link_state s
    WHERE s.link = import_trouble.link AND s.last_started >= since AND s.last_error_at >= s.last_started;
END;
COMMENT ON FUNCTION crmsync.import_trouble(integer, timestamptz) IS 'what went wrong in the last import, if it began since then';

-- A target that pauses is tried when somebody asks for it; one that is stopped waits for somebody to
-- mend it: every attempt with a wrong password brings its account nearer to being locked.
CREATE FUNCTION crmsync.import_obstacle(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE WHEN NOT l.enabled THEN 'it is not enabled'
                WHEN t.paused THEN format('target "%s" is paused', t.name)
                WHEN s.code IS NOT NULL AND s.next_attempt IS NULL
                     AND NOT EXISTS (SELECT FROM crmsync.request r
                                     WHERE r.target = t.name OR (r.action = 'retry' AND r.link = l.id))
                THEN format('target "%s" is stopped: %s', t.name, concat_ws(': ', s.code, s.message)) END
    FROM crmsync.link l
    JOIN crmsync.target t ON t.name = l.target
    LEFT JOIN crmsync.target_state s ON s.target = t.name
    WHERE l.id = import_obstacle.link;
END;
COMMENT ON FUNCTION crmsync.import_obstacle(integer) IS 'why no import begins even when it is asked for; NULL: one does';

CREATE FUNCTION crmsync.check_may_wait() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION 'sync cannot wait in a transaction that has written something'
            USING ERRCODE = 'active_sql_transaction',
                  HINT = 'What it has written goes out after its commit: commit first, then call sync.';
    ELSIF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'sync cannot wait in a transaction of isolation level %', current_setting('transaction_isolation')
            USING ERRCODE = 'active_sql_transaction',
                  HINT = 'It would never see the worker''s progress; call it in a transaction of its own.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_may_wait() IS 'refuses to wait where waiting would be in vain';

CREATE FUNCTION crmsync.wait_for(this crmsync.link, address text, goal pg_snapshot, called timestamptz, deadline timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    looked_at timestamptz;
    decided_at timestamptz;
    records text[];
    pause double precision := 0.005;
    done boolean;
    unread boolean;
    -- What is deleted may be to be made anew, and is named for that only when it has gone.
    deletes boolean := crmsync.is_under_repair(this.id, called, address)
                       OR EXISTS (SELECT FROM crmsync.request r WHERE r.link = this.id AND r.action IN ('repair', 'replace'))
                       OR EXISTS (SELECT FROM crmsync.being_deleted i WHERE i.link = this.id);
BEGIN
    LOOP
        IF crmsync.is_import(this) THEN
            done := crmsync.is_imported(this.id, called) OR crmsync.import_obstacle(this.id) IS NOT NULL;
        ELSE
            IF looked_at IS NULL AND crmsync.is_consumed(goal)
               AND (NOT this.enabled OR EXISTS (SELECT FROM crmsync.link_state s WHERE s.link = this.id AND s.comparison IS NULL))
               AND NOT EXISTS (SELECT FROM crmsync.log_position p WHERE this.id = ANY (p.missed))
               AND NOT EXISTS (SELECT FROM crmsync.request r WHERE r.link = this.id AND r.action IN ('compare', 'repair', 'replace'))
               -- What it finds becomes pending only then.
               AND NOT crmsync.is_under_repair(this.id, called, address)
               AND NOT crmsync.is_moving(this.id, address) AND NOT crmsync.is_unread(this, address) THEN
                looked_at := clock_timestamp();
                records := CASE WHEN address IS NOT NULL THEN crmsync.pending_in(this, address, looked_at) END;
            END IF;
            -- Of one moment: what is no longer pending may wait for a mailbox that is new.
            SELECT looked_at IS NOT NULL AND crmsync.is_settled(this.id, looked_at, coalesce(decided_at, looked_at), address, records),
                   crmsync.is_unread(this, address) INTO done, unread;
            IF unread THEN
                done := false;
                looked_at := NULL;
                decided_at := NULL;
            END IF;
            -- What was decided of these records, deletes among it, is to be done only since then.
            IF done AND decided_at IS NULL THEN
                decided_at := clock_timestamp();
                done := crmsync.is_settled(this.id, looked_at, decided_at, address, records);
            END IF;
            IF done AND deletes THEN
                done := false;
                deletes := false;
                looked_at := NULL;
                decided_at := NULL;
                CONTINUE;
            END IF;
        END IF;
        EXIT WHEN done OR clock_timestamp() >= deadline;
        PERFORM pg_sleep(least(pause, extract(epoch FROM deadline - clock_timestamp())));
        pause := least(pause * 1.5, 0.1);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.wait_for(crmsync.link, text, pg_snapshot, timestamptz, timestamptz) IS 'waits until what is visible in a snapshot has been carried out for a link, or in one mailbox, of an import until one that began after the call has ended, or until the deadline';
