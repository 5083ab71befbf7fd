-- Operating links: having something done now, again, or in spite of the guard.

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
SELECT d.* FROM crmsync.to_delete d
WHERE NOT EXISTS (SELECT FROM crmsync.left_alone a WHERE a.mailbox = d.mailbox);
COMMENT ON VIEW crmsync.being_deleted IS 'of what is to be deleted what is not in a mailbox that is left alone';
COMMENT ON COLUMN crmsync.being_deleted.link IS 'the link';
COMMENT ON COLUMN crmsync.being_deleted.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.being_deleted.record IS 'key of the record';
COMMENT ON COLUMN crmsync.being_deleted.remote_id IS 'the item''s id at the target';
COMMENT ON COLUMN crmsync.being_deleted.change_key IS 'its version at the target';
COMMENT ON COLUMN crmsync.being_deleted.confirmed IS 'whether confirm_deletes has let it pass the guard';
COMMENT ON COLUMN crmsync.being_deleted.since IS 'since when it is to be deleted';
COMMENT ON COLUMN crmsync.being_deleted.kind IS 'item; copy of an item; record: in the CRM';
COMMENT ON COLUMN crmsync.being_deleted.unknown IS 'what the item holds nobody knows: it is read first';

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
       AND NOT EXISTS (
            SELECT FROM crmsync.repair r
            JOIN crmsync.mailbox m ON m.id = r.mailbox
            LEFT JOIN crmsync.link_state s ON s.link = m.link
            WHERE m.link = is_settled.link AND r.since <= is_settled.since AND r.mode <> 'late'
              AND m.address = coalesce(is_settled.address, m.address)
              AND s.held IS NULL AND m.code IS NULL
              AND NOT EXISTS (SELECT FROM crmsync.failure f WHERE f.link = m.link AND f.mailbox = m.id));
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
BEGIN
    LOOP
        IF crmsync.is_import(this) THEN
            done := crmsync.is_imported(this.id, called) OR crmsync.import_obstacle(this.id) IS NOT NULL;
        ELSE
            IF looked_at IS NULL AND crmsync.is_consumed(goal)
               AND (NOT this.enabled OR EXISTS (SELECT FROM crmsync.link_state s WHERE s.link = this.id AND s.comparison IS NULL))
               AND NOT EXISTS (SELECT FROM crmsync.request r WHERE r.link = this.id AND r.action = 'compare')
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
        END IF;
        EXIT WHEN done OR clock_timestamp() >= deadline;
        PERFORM pg_sleep(least(pause, extract(epoch FROM deadline - clock_timestamp())));
        pause := least(pause * 1.5, 0.1);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.wait_for(crmsync.link, text, pg_snapshot, timestamptz, timestamptz) IS 'waits until what is visible in a snapshot has been carried out for a link, or in one mailbox, of an import until one that began after the call has ended, or until the deadline';

-- Whoever waits has asked before: what he writes now is seen by nobody while he waits.
CREATE FUNCTION crmsync.start_mailbox(this crmsync.link, address text, waits boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF this.mailboxes IS NULL OR NOT EXISTS (
           SELECT FROM crmsync.query_as_owner(this.id, crmsync.mailboxes_query(this.id), NULL) AS q (q)
           WHERE q.q[1] = start_mailbox.address AND q.q[2]::boolean AND NOT q.q[3]::boolean) THEN
        RETURN;
    ELSIF NOT waits THEN
        INSERT INTO crmsync.request (action, link, address) VALUES ('start', this.id, start_mailbox.address);
    ELSIF NOT EXISTS (SELECT FROM crmsync.request r WHERE r.action = 'start' AND r.link = this.id AND r.address = start_mailbox.address)
          AND NOT EXISTS (SELECT FROM crmsync.mailbox m WHERE m.link = this.id AND m.address = start_mailbox.address AND m.started IS NOT NULL) THEN
        RAISE NOTICE 'nothing goes on in mailbox "%"', address
            USING DETAIL = 'It is not automatic, and nobody has started it, or all is done there.',
                  HINT = format('SELECT * FROM crmsync.sync(%L, mailbox => %L) starts it; wait in a transaction after that.', this.name, address);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.start_mailbox(crmsync.link, text, boolean) IS 'asks for a mailbox that is not automatic to be synchronised once';

-- Everything is looked at, what has changed since the last time being known to nobody.
CREATE FUNCTION crmsync.carry_out_starts(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crmsync.mailbox AS m (link, address, started)
    SELECT DISTINCT r.link, r.address, clock_timestamp() FROM unnest(requests) r JOIN crmsync.link l ON l.id = r.link AND l.enabled
    ON CONFLICT (link, address) DO UPDATE SET started = excluded.started, started_read = false;
    SELECT crmsync.request_comparison(r.link, 'everything') FROM (SELECT DISTINCT r.link FROM unnest(requests) r) r;
END;
COMMENT ON FUNCTION crmsync.carry_out_starts(crmsync.request[]) IS 'mailboxes that are not automatic take part until all is done there; by the worker';

CREATE FUNCTION crmsync.finish_starts() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    UPDATE crmsync.mailbox m SET started = NULL, started_read = false
    FROM crmsync.link l LEFT JOIN crmsync.link_state s ON s.link = l.id
    WHERE m.started IS NOT NULL AND l.id = m.link
      AND (NOT l.enabled
           OR s.comparison IS NULL AND s.compared >= m.started AND m.moved IS NULL AND m.code IS DISTINCT FROM 'MOVING'
              AND (l.direction = 'outbound' OR m.started_read)
              AND (l.match_on = '{}' OR l.direction = 'inbound' OR s.compared >= m.met)
              AND NOT EXISTS (SELECT FROM crmsync.pending p WHERE p.link = m.link AND p.since <= s.compared)
              AND NOT EXISTS (SELECT FROM crmsync.arrival a WHERE a.mailbox = m.id AND a.code IS NULL)
              AND (s.held IS NOT NULL OR NOT EXISTS (SELECT FROM crmsync.item i WHERE i.link = m.link AND i.mailbox = m.id AND i.state = 'leaving')));
END;
COMMENT ON FUNCTION crmsync.finish_starts() IS 'mailboxes that are not automatic and in which all is done take no part any more; by the worker';

CREATE FUNCTION crmsync.sync(
    link text, wait interval DEFAULT NULL, mailbox text DEFAULT NULL,
    OUT pending bigint, OUT failed bigint, OUT conflicts bigint)
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator', retired => true);
    goal pg_snapshot := pg_current_snapshot();
    called timestamptz := clock_timestamp();
    obstacle text;
    only_in text;
BEGIN
    IF NOT (this.enabled OR this.retired OR EXISTS (SELECT FROM crmsync.served s WHERE s.link = this.id)) THEN
        RAISE EXCEPTION 'link "%" is not enabled', link
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Call crmsync.enable_link(%L) first.', link);
    ELSIF wait IS NOT NULL THEN
        PERFORM crmsync.check_may_wait();
    END IF;
    only_in := crmsync.check_address(this, mailbox);
    PERFORM crmsync.start_mailbox(this, only_in, wait IS NOT NULL);
    PERFORM crmsync.request_sync(this.id);
    IF NOT crmsync.wake() AND wait IS NOT NULL THEN
        RAISE WARNING 'no worker runs in this database: %', crmsync.worker_state();
    END IF;
    IF wait IS NOT NULL THEN
        PERFORM crmsync.wait_for(this, only_in, goal, called, called + wait);
        IF crmsync.is_unread(this, only_in) THEN
            RAISE WARNING 'not all mailboxes of link "%" have been read yet', link
                USING DETAIL = 'Nothing is created there before (match_on).';
        END IF;
    END IF;
    obstacle := crmsync.import_obstacle(this.id);
    IF crmsync.is_import(this) AND obstacle IS NOT NULL THEN
        RAISE WARNING 'link "%" imports nothing: %', link, obstacle
            USING HINT = CASE WHEN obstacle LIKE 'target %' THEN format('Mend it, then SELECT crmsync.resume_target(%L);', this.target)
                              ELSE format('Call crmsync.enable_link(%L).', link) END;
    ELSIF crmsync.is_import(this) AND wait IS NOT NULL THEN
        obstacle := crmsync.import_trouble(this.id, called);
        IF obstacle IS NOT NULL THEN
            RAISE WARNING 'the import of link "%" is not complete: %', link, obstacle;
        END IF;
    END IF;
    IF only_in IS NULL THEN
        pending := (SELECT coalesce(sum(n.records), 0) FROM crmsync.unsettled n WHERE n.link = this.id)
                 + (SELECT coalesce(sum(d.items), 0) FROM crmsync.leaving d WHERE d.link = this.id AND NOT d.rests);
    ELSE
        pending := cardinality(crmsync.pending_in(this, only_in, 'infinity'))
                 + (SELECT count(*) FROM crmsync.being_deleted i JOIN crmsync.mailbox m ON m.id = i.mailbox
                    WHERE i.link = this.id AND m.address = only_in);
    END IF;
    SELECT count(*) INTO failed
    FROM crmsync.failing f JOIN crmsync.mailbox m ON m.id = f.mailbox
    WHERE f.link = this.id AND m.address = coalesce(only_in, m.address);
    conflicts := (SELECT count(*) FROM crmsync.open_conflict c JOIN crmsync.mailbox m ON m.id = c.mailbox
                  WHERE c.link = this.id AND m.address = coalesce(only_in, m.address));
END;
$$;
COMMENT ON FUNCTION crmsync.sync(text, interval, text) IS 'has the worker look at a link, and read its mailboxes, at once; wait: until what the caller could see has been carried out, or so long; returns what is left; mailbox: starts one that is not automatic, waits for and counts only the records that belong there, whatever other mailboxes they are in';

CREATE FUNCTION crmsync.check_mailbox(this crmsync.link, mailbox text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id integer := (SELECT m.id FROM crmsync.mailbox m WHERE m.link = this.id AND m.address = crmsync.address(check_mailbox.mailbox));
BEGIN
    IF mailbox IS NOT NULL AND id IS NULL THEN
        RAISE EXCEPTION 'link "%" has no mailbox "%"', this.name, mailbox
            USING ERRCODE = 'undefined_object', HINT = 'See the view crmsync.mailboxes.';
    END IF;
    RETURN id;
END;
$$;
COMMENT ON FUNCTION crmsync.check_mailbox(crmsync.link, text) IS 'id of a mailbox of the link, which must exist unless NULL is asked for';

-- A mailbox that nothing was written to yet is known to the audience only, or to the relation of mailboxes.
CREATE FUNCTION crmsync.check_address(this crmsync.link, mailbox text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted text := crmsync.address(mailbox);
BEGIN
    IF NOT EXISTS (SELECT FROM crmsync.mailbox m WHERE m.link = this.id AND m.address = wanted)
       AND NOT EXISTS (SELECT FROM (VALUES (crmsync.audience_all_query(this.id)), (crmsync.mailboxes_query(this.id))) AS q (query),
                              crmsync.query_as_owner(this.id, format('SELECT 1 FROM (%s) AS a WHERE a.mailbox = %L LIMIT 1', q.query, wanted), NULL)
                       WHERE q.query IS NOT NULL) THEN
        PERFORM crmsync.check_mailbox(this, mailbox);
    END IF;
    RETURN wanted;
END;
$$;
COMMENT ON FUNCTION crmsync.check_address(crmsync.link, text) IS 'a mailbox as the audience has it; refuses one that neither the audience names nor anything was written to; NULL: NULL';

CREATE FUNCTION crmsync.retry(link text, record text DEFAULT NULL, mailbox text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator', retired => true);
    only_mailbox integer := crmsync.check_mailbox(this, mailbox);
    retried bigint := (SELECT count(*) FROM crmsync.failing f
                       WHERE f.link = this.id AND f.mailbox = coalesce(only_mailbox, f.mailbox)
                         AND (retry.record IS NULL OR f.record = retry.record));
BEGIN
    INSERT INTO crmsync.request (action, link, mailbox, record) VALUES ('retry', this.id, only_mailbox, retry.record);
    PERFORM crmsync.request_sync(this.id);
    PERFORM crmsync.wake();
    RETURN retried;
END;
$$;
COMMENT ON FUNCTION crmsync.retry(text, text, text) IS 'tries again what has failed or is parked: all, one record, or one mailbox; returns how many failures are tried again';

CREATE FUNCTION crmsync.confirm_deletes(link text, mailbox text DEFAULT NULL, expected integer DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator', retired => true);
    only_mailbox integer := crmsync.check_mailbox(this, mailbox);
    waiting bigint := CASE crmsync.is_import(this)
        WHEN true THEN (SELECT coalesce(sum(h.items), 0) FROM crmsync.held h WHERE h.link = this.id AND h.confirmed IS NULL)
        ELSE (SELECT count(*) FROM crmsync.being_deleted i
              WHERE i.link = this.id AND i.mailbox = coalesce(only_mailbox, i.mailbox) AND NOT i.confirmed) END;
BEGIN
    IF waiting <> expected THEN
        RAISE EXCEPTION '% deletes wait, not %', waiting, expected
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Something has changed since you looked; see the views crmsync.alerts and crmsync.items.';
    END IF;
    INSERT INTO crmsync.request (action, link, mailbox, items) VALUES ('confirm_deletes', this.id, only_mailbox, waiting);
    PERFORM crmsync.request_sync(this.id);
    PERFORM crmsync.wake();
    RETURN waiting;
END;
$$;
COMMENT ON FUNCTION crmsync.confirm_deletes(text, text, integer) IS 'lets the deletes that wait now pass the guard, of a link or one mailbox; of an import, so many of each kind in its next complete run; expected: only if there are just so many; returns how many';

-- What the worker does of all this. Set-based, since the requests are many only when they are the same.

CREATE FUNCTION crmsync.carry_out_retries(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    UPDATE crmsync.link_state s SET attempts = 0, next_attempt = NULL
    FROM unnest(requests) r WHERE s.link = r.link;

    UPDATE crmsync.mailbox m SET attempts = 0, next_attempt = NULL, code = NULL, message = NULL, since = NULL, disabled = false
    FROM unnest(requests) r
    WHERE r.record IS NULL AND m.link = r.link AND m.id = coalesce(r.mailbox, m.id) AND m.code <> 'MOVING';

    UPDATE crmsync.target_state t SET attempts = 0, next_attempt = NULL, code = NULL, message = NULL, since = NULL
    FROM unnest(requests) r, crmsync.link l
    WHERE r.record IS NULL AND l.id = r.link AND crmsync.is_import(l) AND t.target = l.target AND t.code IS NOT NULL;

    UPDATE crmsync.arrival a SET attempts = 0, next_attempt = NULL, code = NULL, message = NULL
    FROM unnest(requests) r, crmsync.mailbox m
    WHERE m.link = r.link AND m.id = coalesce(r.mailbox, m.id) AND a.mailbox = m.id AND a.code IS NOT NULL
      AND (r.record IS NULL OR EXISTS (SELECT FROM crmsync.item i
                                       WHERE i.mailbox = a.mailbox AND i.remote_id = a.remote_id AND i.record = r.record
                                         AND hashtext(i.remote_id) = hashtext(a.remote_id))
           OR r.record = ANY (a.records));

    DELETE FROM crmsync.bounce b USING unnest(requests) r, crmsync.mailbox m
    WHERE m.link = r.link AND m.id = coalesce(r.mailbox, m.id) AND b.mailbox = m.id AND b.record = coalesce(r.record, b.record);

    -- What could not be imported is noted until an import has met it again.
    WITH removed AS (
        DELETE FROM crmsync.failure f USING unnest(requests) r, crmsync.link l
        WHERE l.id = r.link AND NOT crmsync.is_import(l)
          AND f.link = r.link AND f.mailbox = coalesce(r.mailbox, f.mailbox) AND f.record = coalesce(r.record, f.record)
        RETURNING f.link, f.record)
    INSERT INTO crmsync.pending AS p (link, tier, record)
    SELECT DISTINCT d.link, 1, d.record FROM removed d JOIN crmsync.link l ON l.id = d.link AND l.enabled
    ON CONFLICT ON CONSTRAINT pending_pkey DO UPDATE SET version = p.version + 1;
END;
COMMENT ON FUNCTION crmsync.carry_out_retries(crmsync.request[]) IS 'what has failed is pending again';

-- A delete that nobody could see when it was confirmed has since <= at when its transaction was under
-- way then: more than were counted means that there are such, and then none passes.
CREATE FUNCTION crmsync.carry_out_confirmations(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH meant AS MATERIALIZED (
        SELECT r.* FROM unnest(requests) r JOIN crmsync.link l ON l.id = r.link AND NOT crmsync.is_import(l)
        WHERE r.items >= (SELECT count(*) FROM crmsync.being_deleted o
                          WHERE o.link = r.link AND o.mailbox = coalesce(r.mailbox, o.mailbox) AND NOT o.confirmed AND o.since <= r.at)
    ), surplus AS (
        UPDATE crmsync.sighting s SET confirmed = true
        FROM meant r JOIN crmsync.mailbox m ON m.link = r.link
        WHERE s.mailbox = m.id AND m.id = coalesce(r.mailbox, m.id) AND s.kind = 'surplus' AND NOT s.confirmed AND s.since <= r.at
          AND NOT EXISTS (SELECT FROM crmsync.left_alone a WHERE a.mailbox = m.id)
    )
    UPDATE crmsync.item i SET confirmed = true
    FROM meant r
    WHERE i.link = r.link AND i.mailbox = coalesce(r.mailbox, i.mailbox)
      AND i.state IN ('leaving', 'removed') AND NOT i.confirmed AND i.since <= r.at
      AND NOT EXISTS (SELECT FROM crmsync.left_alone a WHERE a.mailbox = i.mailbox);

    -- Of an import, what waits is a number, and another one by now was not meant.
    UPDATE crmsync.held h SET confirmed = h.items
    FROM unnest(requests) r
    WHERE h.link = r.link AND h.confirmed IS NULL AND h.noted <= r.at
      AND r.items >= (SELECT sum(o.items) FROM crmsync.held o WHERE o.link = r.link AND o.confirmed IS NULL);
END;
COMMENT ON FUNCTION crmsync.carry_out_confirmations(crmsync.request[]) IS 'the deletes that waited then pass the guard';

CREATE FUNCTION crmsync.carry_out_requests() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    requests crmsync.request[];
BEGIN
    WITH taken AS (DELETE FROM crmsync.request r RETURNING r)
    SELECT array_agg(t.r ORDER BY (t.r).id) INTO requests FROM taken t;
    PERFORM crmsync.carry_out_retries(array_agg(r)) FROM unnest(requests) r WHERE r.action = 'retry' HAVING count(*) > 0;
    PERFORM crmsync.carry_out_confirmations(array_agg(r)) FROM unnest(requests) r WHERE r.action = 'confirm_deletes' HAVING count(*) > 0;
    PERFORM crmsync.carry_out_repairs(array_agg(r)) FROM unnest(requests) r WHERE r.action IN ('repair', 'replace', 'withdraw') HAVING count(*) > 0;
    PERFORM crmsync.carry_out_resolutions(array_agg(r)) FROM unnest(requests) r WHERE r.action = 'resolve' HAVING count(*) > 0;
    PERFORM crmsync.carry_out_starts(array_agg(r)) FROM unnest(requests) r WHERE r.action = 'start' HAVING count(*) > 0;
    PERFORM crmsync.carry_out_undos(array_agg(r)) FROM unnest(requests) r WHERE r.action = 'undo' HAVING count(*) > 0;
    PERFORM CASE WHEN crmsync.is_import(l) THEN crmsync.import_anew(l.id, 'repair' = ANY (r.actions)) ELSE crmsync.compare_everything(l.id) END
    FROM (SELECT r.link, array_agg(r.action) AS actions FROM unnest(requests) r WHERE r.link IS NOT NULL GROUP BY r.link) r
    JOIN crmsync.link l ON l.id = r.link
    WHERE 'compare' = ANY (r.actions);
    DELETE FROM crmsync.pending p USING unnest(requests) r, crmsync.link l
    WHERE r.action = 'clear' AND l.id = r.link AND NOT l.enabled AND p.link = l.id;
    DELETE FROM crmsync.waiting w USING unnest(requests) r, crmsync.link l
    WHERE r.action = 'clear' AND l.id = r.link AND NOT l.enabled AND w.link = l.id;
    PERFORM crmsync.forget_moves(l.id) FROM unnest(requests) r JOIN crmsync.link l ON l.id = r.link AND NOT l.enabled WHERE r.action = 'clear';
    UPDATE crmsync.target_state s SET attempts = 0, next_attempt = NULL, code = NULL, message = NULL, since = NULL,
        accepted = CASE WHEN EXISTS (SELECT FROM unnest(requests) n WHERE n.action = 'renew' AND n.target = s.target) THEN NULL ELSE s.accepted END
    FROM unnest(requests) r WHERE r.action IN ('resume', 'renew') AND s.target = r.target;
    -- An import that has failed is tried at once; others have their time.
    UPDATE crmsync.link_state s SET next_attempt = NULL
    FROM unnest(requests) r, crmsync.link l
    WHERE r.action IN ('resume', 'renew') AND l.target = r.target AND crmsync.is_import(l) AND s.link = l.id AND s.attempts > 0;
    PERFORM crmsync.request_sync(r.link) FROM unnest(requests) r WHERE r.link IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION crmsync.carry_out_requests() IS 'what operators have asked for is done; by the worker';

-- A link that brought in, and does so no more, deletes no records: what users have deleted is judged as where
-- it was only written. One that does not even read does nothing about what has arrived.
CREATE FUNCTION crmsync.forget_arrivals(link integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link;
    kept bigint;
BEGIN
    SELECT l.* INTO this FROM crmsync.link l WHERE l.id = forget_arrivals.link;
    IF this.direction <> 'outbound' OR crmsync.is_import(this) THEN
        RETURN;
    ELSIF NOT crmsync.reads_mailboxes(this) THEN
        DELETE FROM crmsync.arrival a USING crmsync.mailbox m WHERE m.link = this.id AND a.mailbox = m.id;
    END IF;
    WITH kept AS (
        UPDATE crmsync.item i SET state = 'absent', confirmed = false, since = now()
        WHERE i.link = this.id AND i.state = 'removed' RETURNING i.mailbox, i.record
    ), well AS (
        DELETE FROM crmsync.failure f USING kept k WHERE f.link = this.id AND f.mailbox = k.mailbox AND f.record = k.record)
    SELECT count(*) INTO kept FROM kept;
    IF kept > 0 THEN
        PERFORM crmsync.request_comparison(this.id, 'everything');
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.forget_arrivals(integer) IS 'nothing waits any more of what a link that is outbound now has read in mailboxes; by the worker';

CREATE FUNCTION crmsync.confirm_identity(environment text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here record;
BEGIN
    PERFORM crmsync.require('admin');
    SELECT i.* INTO here FROM crmsync.current_identity() i;
    INSERT INTO crmsync.identity AS i (system_identifier, database, environment, instance)
    VALUES (here.system_identifier, here.database, coalesce(confirm_identity.environment, here.environment),
            coalesce((SELECT o.instance FROM crmsync.identity o ORDER BY o.confirmed LIMIT 1), gen_random_uuid()))
    ON CONFLICT ON CONSTRAINT identity_pkey DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    ELSIF coalesce(environment, here.environment) = here.environment THEN
        INSERT INTO crmsync.request (action, link) SELECT 'compare', l.id FROM crmsync.link l WHERE l.enabled;
        -- What had been listed was not restored.
        UPDATE crmsync.repair p SET step = 'list', since = clock_timestamp() WHERE p.step IN ('compare', 'fetch');
        PERFORM crmsync.wake();
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.confirm_identity(text) IS 'this database may write to the targets, on this machine, or in this environment (crmsync.environment of a standby''s host, confirmed beforehand); after a restore: everything is compared first';

CREATE FUNCTION crmsync.forget(link text, record text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator');
    present integer := (SELECT count(*) FROM crmsync.item i
                        WHERE i.link = this.id AND i.record = forget.record AND i.state NOT IN ('gone', 'absent', 'removed')
                          AND NOT crmsync.may_be_forgotten(i, this));
BEGIN
    IF present > 0 AND NOT crmsync.is_import(this) THEN
        RAISE EXCEPTION 'record % of link "%" still is in % mailboxes', quote_literal(record), link, present
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Delete it in the CRM, or take it out of the audience, and wait until it is gone.';
    END IF;
    DELETE FROM crmsync.item i WHERE i.link = this.id AND i.record = forget.record;
    DELETE FROM crmsync.failure f WHERE f.link = this.id AND f.record = forget.record;
    DELETE FROM crmsync.conflict c WHERE c.link = this.id AND c.record = forget.record;
    UPDATE crmsync.conflict c SET records = array_remove(c.records, forget.record) WHERE c.link = this.id AND forget.record = ANY (c.records);
    DELETE FROM crmsync.undoing u WHERE u.link = this.id AND u.record = forget.record;
    DELETE FROM crmsync.bounce b USING crmsync.mailbox m WHERE m.link = this.id AND b.mailbox = m.id AND b.record = forget.record;
    DELETE FROM crmsync.request r WHERE r.link = this.id AND r.record = forget.record;
    DELETE FROM crmsync.pending p WHERE p.link = this.id AND p.record = forget.record;
    DELETE FROM crmsync.waiting w WHERE w.link = this.id AND w.record = forget.record;
    UPDATE crmsync.history_0 h SET record = NULL, message = NULL, old = NULL, new = NULL WHERE h.link = this.id AND h.record = forget.record;
    UPDATE crmsync.history_1 h SET record = NULL, message = NULL, old = NULL, new = NULL WHERE h.link = this.id AND h.record = forget.record;
    UPDATE crmsync.history_2 h SET record = NULL, message = NULL, old = NULL, new = NULL WHERE h.link = this.id AND h.record = forget.record;
END;
$$;
COMMENT ON FUNCTION crmsync.forget(text, text) IS 'erases what is kept about a record, its values in the history, too; refused while copies of it are in mailboxes';
