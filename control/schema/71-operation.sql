-- Operating links: having something done now, again, or in spite of the guard.

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

-- Everything is looked at, what has changed since the last time being known to nobody. Who asks twice means once.
CREATE FUNCTION crmsync.carry_out_starts(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crmsync.mailbox AS m (link, address, started)
    SELECT r.link, r.address, clock_timestamp() FROM unnest(requests) r JOIN crmsync.link l ON l.id = r.link AND l.enabled
    GROUP BY r.link, r.address
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
      AND l.id IN (SELECT h.id FROM crmsync.link h FOR KEY SHARE SKIP LOCKED)
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
    FROM crmsync.failing f LEFT JOIN crmsync.mailbox m ON m.id = f.mailbox
    WHERE f.link = this.id AND (only_in IS NULL OR m.address = only_in);
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
    IF wanted IS NOT NULL
       AND NOT EXISTS (SELECT FROM crmsync.mailbox m WHERE m.link = this.id AND m.address = wanted)
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
    UPDATE crmsync.link_state s SET attempts = 0, next_attempt = NULL, comparison_attempts = 0, comparison_next_attempt = NULL
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

CREATE FUNCTION crmsync.carry_out_requests() RETURNS integer[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    requests crmsync.request[];
BEGIN
    -- Not where the link is being removed: links_at_hand.h.
    WITH taken AS (DELETE FROM crmsync.request r
                   WHERE r.link IS NULL OR r.link IN (SELECT l.id FROM crmsync.link l FOR KEY SHARE SKIP LOCKED) RETURNING r)
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
    UPDATE crmsync.link_state s SET recount = NULL FROM unnest(requests) r WHERE s.link = r.link AND s.recount IS NOT NULL;
    PERFORM crmsync.request_sync(r.link) FROM unnest(requests) r WHERE r.link IS NOT NULL AND r.action <> 'readdress';
    RETURN ARRAY(SELECT r.mailbox FROM unnest(requests) r WHERE r.action = 'readdress');
END;
$$;
COMMENT ON FUNCTION crmsync.carry_out_requests() IS 'what operators have asked for is done; by the worker, which gets the mailboxes that have other addresses';

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
    -- What the worker does for other links must not wait for our commit: links_at_hand.h.
    PERFORM FROM crmsync.link l WHERE l.id = this.id FOR UPDATE;
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
