-- What goes on: what is still to be done, what has failed, how each link is doing. The head of 80-view.sql says who
-- sees what.

CREATE VIEW crmsync.served AS
SELECT l.id AS link FROM crmsync.link l WHERE l.enabled OR l.retired
UNION
SELECT m.link FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox
UNION
SELECT r.link FROM crmsync.request r WHERE r.action = 'withdraw';
COMMENT ON VIEW crmsync.served IS 'links that the worker does something for: enabled ones, and those whose items are withdrawn';
COMMENT ON COLUMN crmsync.served.link IS 'the link';

-- Users who are missing in a directory are nobody's work until their time is over, nor is what is in
-- mailboxes that are left alone.
CREATE VIEW crmsync.leaving AS
SELECT i.link, CASE WHEN a.mailbox IS NOT NULL THEN 'left alone'
                    WHEN i.confirmed OR s.held IS NULL THEN 'delete' ELSE 'delete held' END AS kind,
       pg_catalog.count(*) AS items, pg_catalog.min(i.since) AS oldest, a.mailbox IS NOT NULL AS rests
FROM crmsync.to_delete i
JOIN crmsync.link l ON l.id = i.link
JOIN crmsync.target t ON t.name = l.target AND t.kind <> 'ldap'
LEFT JOIN crmsync.link_state s ON s.link = i.link
LEFT JOIN crmsync.left_alone a ON a.mailbox = i.mailbox
GROUP BY 1, 2, 5
UNION ALL
SELECT i.link, 'withdraw', pg_catalog.count(*), pg_catalog.min(p.since), false
FROM crmsync.repair p
JOIN crmsync.item i ON i.mailbox = p.mailbox AND i.state = 'linked'
WHERE p.mode = 'withdraw'
GROUP BY i.link
UNION ALL
SELECT m.link, 'repair', pg_catalog.count(*), pg_catalog.min(p.since), false
FROM crmsync.repair p
JOIN crmsync.mailbox m ON m.id = p.mailbox
WHERE p.mode NOT IN ('withdraw', 'late')
GROUP BY m.link
UNION ALL
SELECT h.link, 'delete held', pg_catalog.sum(h.items)::bigint, pg_catalog.min(h.since), false
FROM crmsync.held h
GROUP BY h.link
UNION ALL
SELECT i.link, 'grace', pg_catalog.count(*) - coalesce(pg_catalog.max(h.items), 0), pg_catalog.min(i.since), true
FROM crmsync.item i
JOIN crmsync.link l ON l.id = i.link
JOIN crmsync.target t ON t.name = l.target AND t.kind = 'ldap'
LEFT JOIN crmsync.held h ON h.link = i.link AND h.kind = 'vanished'
WHERE i.state = 'leaving'
GROUP BY i.link
HAVING pg_catalog.count(*) > coalesce(pg_catalog.max(h.items), 0);
COMMENT ON VIEW crmsync.leaving IS 'what is to be deleted, disabled or removed';
COMMENT ON COLUMN crmsync.leaving.link IS 'the link';
COMMENT ON COLUMN crmsync.leaving.kind IS 'delete; delete held: waits for confirm_deletes; left alone: waits until its mailbox takes part again, or is withdrawn; withdraw: to be unlinked by withdraw, or not looked at yet; repair: mailboxes under resync; grace: users who are missing in the directory';
COMMENT ON COLUMN crmsync.leaving.items IS 'how many';
COMMENT ON COLUMN crmsync.leaving.oldest IS 'since when the oldest waits';
COMMENT ON COLUMN crmsync.leaving.rests IS 'nobody is at it: it is not pending';

-- A record that waits and is being looked at once more is one record.
CREATE VIEW crmsync.unsettled AS
SELECT p.link, CASE p.tier WHEN 0 THEN 'changed' ELSE 'compared' END AS kind,
       pg_catalog.count(*) AS records, pg_catalog.min(p.since) AS oldest
FROM crmsync.pending p
GROUP BY p.link, p.tier
UNION ALL
SELECT w.link, 'unread', pg_catalog.count(*), pg_catalog.min(w.since)
FROM crmsync.waiting w
WHERE NOT EXISTS (SELECT FROM crmsync.pending p WHERE p.link = w.link AND p.record = w.record)
  AND EXISTS (SELECT FROM crmsync.unread n WHERE n.link = w.link)
GROUP BY w.link
UNION ALL
SELECT m.link, 'arrived', pg_catalog.count(*), pg_catalog.min(a.since)
FROM crmsync.arrival a
JOIN crmsync.mailbox m ON m.id = a.mailbox
JOIN crmsync.link l ON l.id = m.link
WHERE a.code IS NULL AND m.took_part IS NOT FALSE AND crmsync.reads_mailboxes(l)
GROUP BY m.link;
COMMENT ON VIEW crmsync.unsettled IS 'records that are not yet in all mailboxes as they should be, and items that have yet to come in';
COMMENT ON COLUMN crmsync.unsettled.link IS 'the link';
COMMENT ON COLUMN crmsync.unsettled.kind IS 'changed: records changed in the CRM; compared: found by a comparison; unread: to be created in mailboxes that have yet to be read; arrived: items that somebody has made, changed or deleted in mailboxes';
COMMENT ON COLUMN crmsync.unsettled.records IS 'how many';
COMMENT ON COLUMN crmsync.unsettled.oldest IS 'since when the oldest waits';

CREATE VIEW crmsync.backlog WITH (security_barrier) AS
SELECT l.name AS link, b.kind, b.records, b.oldest
FROM crmsync.link l
JOIN (SELECT n.link, n.kind, n.records, n.oldest FROM crmsync.unsettled n
      UNION ALL
      SELECT d.link, d.kind, d.items, d.oldest FROM crmsync.leaving d
      UNION ALL
      SELECT u.link, 'undo', pg_catalog.count(*), pg_catalog.min(u.since) FROM crmsync.undoing u GROUP BY u.link
     ) b ON b.link = l.id
JOIN crmsync.visible_link v ON v.link = l.id;
COMMENT ON VIEW crmsync.backlog IS 'what is still to be done';
COMMENT ON COLUMN crmsync.backlog.link IS 'name of the link';
COMMENT ON COLUMN crmsync.backlog.kind IS 'changed: records changed in the CRM; compared: found by a comparison; unread: to be created in mailboxes that have yet to be read (match_on); arrived: items that users have made, changed or deleted in mailboxes, and that have yet to come in; delete: items to be deleted, and records whose items their users have deleted; delete held: waiting for confirm_deletes; left alone: likewise to be deleted, once the mailbox takes part again or is withdrawn, and not pending until then; withdraw: items of mailboxes under withdraw that are to be unlinked, or that nobody has looked at yet; repair: mailboxes that resync reads; undo: items and rows whose old values undo brings back; grace: missing in the directory, and left alone for the time of the option grace';
COMMENT ON COLUMN crmsync.backlog.records IS 'how many records, or items';
COMMENT ON COLUMN crmsync.backlog.oldest IS 'since when the oldest waits';

CREATE VIEW crmsync.failures WITH (security_barrier) AS
SELECT l.name AS link, m.address AS mailbox, f.record, f.attempts, f.next_attempt, f.parked,
       f.code, CASE WHEN v.shows_values THEN f.message END AS message, f.since
FROM crmsync.failing f
JOIN crmsync.link l ON l.id = f.link
JOIN crmsync.visible_link v ON v.link = l.id
LEFT JOIN crmsync.mailbox m ON m.id = f.mailbox;
COMMENT ON VIEW crmsync.failures IS 'what could not be done, and why; crmsync.retry tries again';
COMMENT ON COLUMN crmsync.failures.link IS 'name of the link';
COMMENT ON COLUMN crmsync.failures.mailbox IS 'mailbox; NULL: in which the record belongs cannot be read; ldap: empty';
COMMENT ON COLUMN crmsync.failures.record IS 'key of the record; NULL: of an item of a mailbox that has none yet; ldap: or the DN of an entry without one';
COMMENT ON COLUMN crmsync.failures.attempts IS 'failures in a row';
COMMENT ON COLUMN crmsync.failures.next_attempt IS 'when it is tried again';
COMMENT ON COLUMN crmsync.failures.parked IS 'not tried again until the record changes, or retry';
COMMENT ON COLUMN crmsync.failures.code IS 'the server''s response code, or an SQLSTATE';
COMMENT ON COLUMN crmsync.failures.message IS 'the reason, in the words of whoever refused; operators only, since it may quote values';
COMMENT ON COLUMN crmsync.failures.since IS 'when the failures began';

-- Whoever reads a view calls its functions himself: this one must not say more than the view.
CREATE FUNCTION crmsync.worker_progress()
RETURNS TABLE (link integer, pid integer, phase text, done bigint, total bigint, started timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT p.link, p.pid, p.phase, p.done, p.total, p.started FROM crmsync.worker_passes() p
    WHERE p.link IN (SELECT crmsync.allowed_links('reader'));
END;
COMMENT ON FUNCTION crmsync.worker_progress() IS 'long passes of workers at links that the caller may read, for the view crmsync.progress';

CREATE VIEW crmsync.progress WITH (security_barrier) AS
SELECT l.name AS link, p.phase, p.done, p.total, r.rate,
       CASE WHEN p.total > p.done THEN pg_catalog.make_interval(secs => (p.total - p.done) / r.rate) END AS time_left,
       p.started, p.pid
FROM crmsync.worker_progress() p
JOIN crmsync.link l ON l.id = p.link
JOIN crmsync.visible_link v ON v.link = l.id
CROSS JOIN LATERAL (SELECT nullif(p.done, 0) / nullif(extract(epoch FROM pg_catalog.clock_timestamp() - p.started), 0)::double precision) AS r (rate);
COMMENT ON VIEW crmsync.progress IS 'long passes under way';
COMMENT ON COLUMN crmsync.progress.link IS 'name of the link';
COMMENT ON COLUMN crmsync.progress.phase IS 'what the worker is doing';
COMMENT ON COLUMN crmsync.progress.done IS 'how much of it is done';
COMMENT ON COLUMN crmsync.progress.total IS 'how much there is; 0: not known yet';
COMMENT ON COLUMN crmsync.progress.rate IS 'how much a second';
COMMENT ON COLUMN crmsync.progress.time_left IS 'how long it will take at this rate';
COMMENT ON COLUMN crmsync.progress.started IS 'when it began';
COMMENT ON COLUMN crmsync.progress.pid IS 'the worker''s process';

CREATE VIEW crmsync.is_confirmed AS
SELECT EXISTS (SELECT FROM crmsync.identity i JOIN crmsync.current_identity() c
               USING (system_identifier, database, environment)) AS confirmed;
COMMENT ON VIEW crmsync.is_confirmed IS 'whether this database, on this machine, may write to targets';
COMMENT ON COLUMN crmsync.is_confirmed.confirmed IS 'false: links are held until confirm_identity';

CREATE VIEW crmsync.status WITH (security_barrier) AS
SELECT l.name AS link, l.target, l.object, l.direction, l.enabled,
       CASE WHEN served.link IS NULL THEN 'disabled'
            WHEN l.enabled AND s.broken IS NOT NULL AND c.link IS NULL THEN 'broken'
            WHEN t.paused OR o.paused OR NOT coalesce(nullif(pg_catalog.current_setting('crmsync.enabled', true), '')::boolean, true) THEN 'paused'
            WHEN s.held IS NOT NULL OR NOT (SELECT i.confirmed FROM crmsync.is_confirmed i) THEN 'held'
            WHEN coalesce(ts.code, o.code) IS NOT NULL OR greatest(s.next_attempt, s.comparison_next_attempt) > pg_catalog.now()
                 OR (SELECT crmsync.worker_state()) <> 'running' THEN 'waiting'
            WHEN NOT l.enabled OR b.records > 0 OR s.link IS NULL OR s.comparison IS NOT NULL OR c.link IS NOT NULL
                 OR EXISTS (SELECT FROM crmsync.mailbox m WHERE m.link = l.id AND (m.code = 'MOVING' OR m.moved IS NOT NULL))
                 OR s.last_started > greatest(s.last_success, s.last_error_at, '-infinity') THEN 'working'
            ELSE 'idle' END AS state,
       coalesce(b.records, 0)::bigint AS pending,
       b.oldest AS oldest_pending,
       (SELECT pg_catalog.count(*) FROM crmsync.failing f WHERE f.link = l.id) AS failed,
       (SELECT pg_catalog.count(*) FROM crmsync.open_conflict c WHERE c.link = l.id) AS conflicts,
       coalesce(greatest(pg_catalog.clock_timestamp() - b.oldest, '0'), '0'::interval) AS lag,
       s.last_success,
       coalesce(p.problem, CASE WHEN v.shows_values THEN coalesce(s.broken, s.last_error) END) AS last_error,
       CASE WHEN p.problem IS NULL THEN s.last_error_at END AS last_error_at,
       CASE WHEN p.problem IS NULL THEN s.code ELSE coalesce(ts.code, o.code) END AS code,
       coalesce(s.without_mailbox, 0) AS without_mailbox
FROM crmsync.link l
JOIN crmsync.visible_link v ON v.link = l.id
JOIN crmsync.target t ON t.name = l.target
LEFT JOIN crmsync.served ON served.link = l.id
LEFT JOIN crmsync.link_state s ON s.link = l.id
-- Of its own target, or of all that its mailboxes are at.
LEFT JOIN crmsync.target_state ts ON ts.target = l.target AND NOT EXISTS (SELECT FROM crmsync.link_target a WHERE a.link = l.id)
CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.bool_or(x.paused), false) AS paused, pg_catalog.min(y.code) AS code,
                           pg_catalog.min(pg_catalog.concat_ws(': ', x.name, y.code, y.message)) FILTER (WHERE y.code IS NOT NULL) AS problem
                    FROM crmsync.link_target a JOIN crmsync.target x ON x.name = a.target
                    LEFT JOIN crmsync.target_state y ON y.target = x.name WHERE a.link = l.id) AS o
CROSS JOIN LATERAL (SELECT
       CASE WHEN l.enabled AND s.broken IS NOT NULL THEN NULL
            WHEN s.held IS NOT NULL THEN s.held
            WHEN served.link IS NOT NULL AND NOT (SELECT i.confirmed FROM crmsync.is_confirmed i)
            THEN 'this database is not the one that was confirmed; see crmsync.confirm_identity'
            WHEN ts.code IS NOT NULL THEN pg_catalog.concat_ws(': ', ts.code, ts.message)
            WHEN o.problem IS NOT NULL THEN o.problem
            WHEN served.link IS NOT NULL AND (SELECT crmsync.worker_state()) <> 'running' THEN 'worker: ' || (SELECT crmsync.worker_state())
            END) AS p (problem)
LEFT JOIN (SELECT DISTINCT r.link FROM crmsync.request r WHERE r.action = 'compare') c ON c.link = l.id
LEFT JOIN (SELECT w.link, pg_catalog.sum(w.records) AS records, pg_catalog.min(w.oldest) AS oldest
           FROM (SELECT n.link, n.records, n.oldest FROM crmsync.unsettled n
                 UNION ALL
                 SELECT d.link, d.items, d.oldest FROM crmsync.leaving d WHERE NOT d.rests) w
           GROUP BY w.link) b ON b.link = l.id;
COMMENT ON VIEW crmsync.status IS 'one line a link: how it is doing';
COMMENT ON COLUMN crmsync.status.link IS 'name of the link';
COMMENT ON COLUMN crmsync.status.target IS 'its target';
COMMENT ON COLUMN crmsync.status.object IS 'kind of object';
COMMENT ON COLUMN crmsync.status.direction IS 'outbound, inbound or both';
COMMENT ON COLUMN crmsync.status.enabled IS 'whether the link is served';
COMMENT ON COLUMN crmsync.status.state IS 'disabled, idle, working, waiting (back-off, or the worker does not run), paused (pause_target, or crmsync.enabled is off), held (deletes or identity to confirm), broken (trigger, column, relation gone)';
COMMENT ON COLUMN crmsync.status.pending IS 'records to look at, or to be created in mailboxes that have yet to be read, items to delete, and items that have yet to come in';
COMMENT ON COLUMN crmsync.status.oldest_pending IS 'since when the oldest of them waits';
COMMENT ON COLUMN crmsync.status.failed IS 'rows in the view failures';
COMMENT ON COLUMN crmsync.status.conflicts IS 'rows in the view conflicts that somebody has to decide';
COMMENT ON COLUMN crmsync.status.lag IS 'age of the oldest pending record';
COMMENT ON COLUMN crmsync.status.last_success IS 'when the last pass or import ended well';
COMMENT ON COLUMN crmsync.status.last_error IS 'what is wrong, or went wrong last; in words that may quote values for operators only';
COMMENT ON COLUMN crmsync.status.last_error_at IS 'when the link last met an error of its own; NULL: never, or last_error says what is wrong now';
COMMENT ON COLUMN crmsync.status.code IS 'what kind of failure that is: an SQLSTATE, or a code of the target; NULL: none';
COMMENT ON COLUMN crmsync.status.without_mailbox IS 'records that the audience names without a mailbox, or with what cannot be one, as the last comparison has counted them';

-- Grouped after the join, so that who asks for one mailbox reads its items only.
CREATE VIEW crmsync.mailboxes WITH (security_barrier) AS
SELECT l.name AS link, i.address AS mailbox,
       CASE WHEN m.code IS NULL THEN 'working' WHEN m.next_attempt IS NULL THEN 'stopped' ELSE 'waiting' END AS state,
       i.items, i.leaving, coalesce(f.failed, 0) AS failed,
       m.code, CASE WHEN v.shows_values THEN m.message END AS message, m.since, m.next_attempt, coalesce(m.target, l.target) AS target
FROM (SELECT b.id, b.address, pg_catalog.count(*) FILTER (WHERE x.state = 'linked') AS items,
             pg_catalog.count(*) FILTER (WHERE x.state = 'leaving') AS leaving
      FROM crmsync.mailbox b LEFT JOIN crmsync.item x ON x.mailbox = b.id GROUP BY b.id) i
JOIN crmsync.mailbox m ON m.id = i.id
JOIN crmsync.link l ON l.id = m.link
JOIN crmsync.visible_link v ON v.link = l.id
LEFT JOIN (SELECT x.mailbox, pg_catalog.count(*) AS failed FROM crmsync.failing x GROUP BY x.mailbox) f ON f.mailbox = m.id
WHERE i.address <> '';
COMMENT ON VIEW crmsync.mailboxes IS 'mailboxes that links write to or read';
COMMENT ON COLUMN crmsync.mailboxes.link IS 'name of the link';
COMMENT ON COLUMN crmsync.mailboxes.mailbox IS 'SMTP address';
COMMENT ON COLUMN crmsync.mailboxes.state IS 'working; waiting: tried again at next_attempt; stopped: until retry';
COMMENT ON COLUMN crmsync.mailboxes.items IS 'items in it';
COMMENT ON COLUMN crmsync.mailboxes.leaving IS 'items to be deleted from it';
COMMENT ON COLUMN crmsync.mailboxes.failed IS 'rows in the view failures';
COMMENT ON COLUMN crmsync.mailboxes.code IS 'what kind of failure';
COMMENT ON COLUMN crmsync.mailboxes.message IS 'what the server said; operators only, since it may quote values';
COMMENT ON COLUMN crmsync.mailboxes.since IS 'when the failures began';
COMMENT ON COLUMN crmsync.mailboxes.next_attempt IS 'when it is tried again';
COMMENT ON COLUMN crmsync.mailboxes.target IS 'the target that it is at';

CREATE VIEW crmsync.items WITH (security_barrier) AS
SELECT l.name AS link, i.record, m.address AS mailbox, i.remote_id, i.origin, i.state, i.confirmed, i.since,
       CASE WHEN v.shows_values THEN i.shadow END AS values
FROM crmsync.item i
JOIN crmsync.link l ON l.id = i.link
JOIN crmsync.visible_link v ON v.link = l.id
JOIN crmsync.mailbox m ON m.id = i.mailbox;
COMMENT ON VIEW crmsync.items IS 'copies of records in mailboxes, and directory entries';
COMMENT ON COLUMN crmsync.items.link IS 'name of the link';
COMMENT ON COLUMN crmsync.items.record IS 'key of the record';
COMMENT ON COLUMN crmsync.items.mailbox IS 'the mailbox that it is in; ldap: empty';
COMMENT ON COLUMN crmsync.items.remote_id IS 'its id at the target';
COMMENT ON COLUMN crmsync.items.origin IS 'crm: we created it; adopted: matched by key, or made again by undo; mailbox: made on the other side';
COMMENT ON COLUMN crmsync.items.state IS 'linked; leaving: to be deleted, or missing in the directory; gone: vanished on the other side; absent: deleted by its user, and not made again yet; removed: likewise, and the record is to be deleted; unlinked: left to its user';
COMMENT ON COLUMN crmsync.items.confirmed IS 'leaving, removed: confirm_deletes has let it pass the guard';
COMMENT ON COLUMN crmsync.items.since IS 'when it came to this state';
COMMENT ON COLUMN crmsync.items.values IS 'values as both sides last agreed on them; operators only';

CREATE VIEW crmsync.history WITH (security_barrier) AS
SELECT h.at, coalesce(l.name, h.link::text) AS link, h.mailbox, h.record, h.action, h.result, h.code,
       CASE WHEN v.shows_values THEN h.message END AS message,
       CASE WHEN v.shows_values THEN h.old END AS old, CASE WHEN v.shows_values THEN h.new END AS new
FROM (SELECT x.* FROM crmsync.history_0 x
      UNION ALL
      SELECT x.* FROM crmsync.history_1 x
      UNION ALL
      SELECT x.* FROM crmsync.history_2 x) h
LEFT JOIN crmsync.link l ON l.id = h.link
JOIN crmsync.visible_link v ON v.link = coalesce(l.id, 0);
COMMENT ON VIEW crmsync.history IS 'what was done, in no order; kept for 30 days or a little longer, less when it is larger than crmsync.max_history_size';
COMMENT ON COLUMN crmsync.history.at IS 'when';
COMMENT ON COLUMN crmsync.history.link IS 'name of the link; its number when it was dropped';
COMMENT ON COLUMN crmsync.history.mailbox IS 'the address that the mailbox had then';
COMMENT ON COLUMN crmsync.history.record IS 'key of the record';
COMMENT ON COLUMN crmsync.history.action IS 'create, update, delete, unlink, bring in, delete record (in the CRM), vanished, undo, undo bring in; ldap: import';
COMMENT ON COLUMN crmsync.history.result IS 'done or failed';
COMMENT ON COLUMN crmsync.history.code IS 'failed: the response code or SQLSTATE';
COMMENT ON COLUMN crmsync.history.message IS 'failed: the reason; operators only, since it may quote values';
COMMENT ON COLUMN crmsync.history.old IS 'values before, by property; operators only';
COMMENT ON COLUMN crmsync.history.new IS 'values after, by property; operators only';

CREATE VIEW crmsync.conflicts WITH (security_barrier) AS
SELECT c.id, l.name AS link, m.address AS mailbox, c.record, c.kind, c.property,
       CASE WHEN v.shows_values THEN c.crm_value END AS crm_value,
       CASE WHEN v.shows_values THEN c.target_value END AS target_value,
       c.winner, c.at, c.records, c.choice, n.choices,
       CASE WHEN v.shows_values THEN c.problem END AS problem
FROM crmsync.conflict c
JOIN crmsync.conflict_choice n ON n.id = c.id
LEFT JOIN crmsync.open_conflict o ON o.id = c.id
JOIN crmsync.link l ON l.id = c.link
JOIN crmsync.visible_link v ON v.link = l.id
JOIN crmsync.mailbox m ON m.id = c.mailbox
WHERE c.kind = 'field' OR c.choice IS NOT NULL OR o.id IS NOT NULL;
COMMENT ON VIEW crmsync.conflicts IS 'where both sides changed the same, with both values, and what else somebody has to decide; what is decided is forgotten with the history';
COMMENT ON COLUMN crmsync.conflicts.id IS 'number of the conflict';
COMMENT ON COLUMN crmsync.conflicts.link IS 'name of the link';
COMMENT ON COLUMN crmsync.conflicts.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.conflicts.record IS 'key of the record; NULL: of an item that may be of several';
COMMENT ON COLUMN crmsync.conflicts.kind IS 'field: both sides changed the property; ambiguous: an item may be of several records, or several items of one; unlinked: an item that a user had made was left to him; delete: a user has deleted the item of a record that others have, too';
COMMENT ON COLUMN crmsync.conflicts.property IS 'the property';
COMMENT ON COLUMN crmsync.conflicts.crm_value IS 'what the CRM has; operators only';
COMMENT ON COLUMN crmsync.conflicts.target_value IS 'what the mailbox had; operators only';
COMMENT ON COLUMN crmsync.conflicts.winner IS 'crm or target, as the policy says or resolve has settled';
COMMENT ON COLUMN crmsync.conflicts.at IS 'when it was found';
COMMENT ON COLUMN crmsync.conflicts.records IS 'ambiguous: keys of the records that the item may be of';
COMMENT ON COLUMN crmsync.conflicts.choice IS 'what somebody has chosen; NULL without a winner: nobody has yet';
COMMENT ON COLUMN crmsync.conflicts.choices IS 'what crmsync.resolve takes; empty: there is nothing to decide';
COMMENT ON COLUMN crmsync.conflicts.problem IS 'why what was chosen could not be done; operators only';

-- What is not asked any more never turns out to be well again, and concerns nobody.
CREATE VIEW crmsync.needed_mailbox AS
SELECT m.id AS mailbox
FROM crmsync.mailbox m
JOIN crmsync.link l ON l.id = m.link
WHERE EXISTS (SELECT FROM crmsync.repair p WHERE p.mailbox = m.id)
   OR m.took_part IS NOT FALSE
      AND (crmsync.reads_mailboxes(l)
           OR EXISTS (SELECT FROM crmsync.item i WHERE i.mailbox = m.id AND i.state IN ('linked', 'leaving', 'removed'))
           OR EXISTS (SELECT FROM crmsync.failure f WHERE f.mailbox = m.id));
COMMENT ON VIEW crmsync.needed_mailbox IS 'mailboxes that hold something, are to hold something or are read, and take part; and those under withdraw or resync';
COMMENT ON COLUMN crmsync.needed_mailbox.mailbox IS 'the mailbox';

CREATE VIEW crmsync.alerts WITH (security_barrier) AS
SELECT a.kind, a.name, pg_catalog.concat_ws(': ', a.problem, CASE WHEN v.shows_values THEN a.message END) AS message,
       a.since, a.hint
FROM (
    SELECT 0 AS link, 'server' AS kind, NULL AS name, 'worker: ' || w.state AS problem, NULL AS message, NULL::timestamptz AS since,
           CASE w.state WHEN 'not preloaded' THEN 'Add crmsync to shared_preload_libraries and restart the server.'
                        WHEN 'waiting for a worker slot' THEN 'Raise max_worker_processes and restart the server.'
                        WHEN 'waiting for ALTER EXTENSION UPDATE' THEN 'ALTER EXTENSION crmsync UPDATE;'
                        WHEN 'disabled' THEN 'Set crmsync.enabled and reload the configuration.'
                        ELSE 'See the server''s log.' END AS hint
    FROM (SELECT crmsync.worker_state() AS state) w
    WHERE w.state NOT IN ('running', 'starting') AND EXISTS (SELECT FROM crmsync.served)
    UNION ALL
    SELECT 0, 'server', NULL, 'this database is not the one that was confirmed: nothing is written', NULL, NULL,
           'If no other copy of it is at work: SELECT crmsync.confirm_identity();'
    WHERE EXISTS (SELECT FROM crmsync.served) AND NOT (SELECT i.confirmed FROM crmsync.is_confirmed i)
    UNION ALL
    SELECT l.id, 'target', t.name, pg_catalog.concat_ws(': ', s.code, s.message), NULL, s.since,
           CASE WHEN s.next_attempt IS NULL
                THEN pg_catalog.format('SELECT * FROM crmsync.check_target(%L); then SELECT crmsync.resume_target(%1$L);', t.name)
                ELSE pg_catalog.format('It is tried again by itself at %s; at once: SELECT crmsync.resume_target(%L);', s.next_attempt::timestamptz(0), t.name) END
    FROM crmsync.target t
    JOIN crmsync.target_state s ON s.target = t.name
    JOIN crmsync.link l ON l.target = t.name OR EXISTS (SELECT FROM crmsync.link_target o WHERE o.link = l.id AND o.target = t.name)
    JOIN crmsync.served v ON v.link = l.id
    WHERE s.code IS NOT NULL AND (s.next_attempt IS NULL OR s.since < pg_catalog.now() - interval '5 minutes')
    UNION ALL
    SELECT l.id, 'link', l.name, pg_catalog.concat_ws(' ', 'broken', s.code), s.broken, s.last_error_at,
           pg_catalog.format('Mend it, then SELECT * FROM crmsync.enable_link(%L);', l.name)
    FROM crmsync.link l JOIN crmsync.link_state s ON s.link = l.id
    WHERE l.enabled AND s.broken IS NOT NULL
    UNION ALL
    SELECT l.id, 'link', l.name, pg_catalog.concat_ws(' ', 'cannot be compared', s.code), s.last_error, s.last_error_at,
           'Deletes and first loads wait for that. It is tried again by itself.'
    FROM crmsync.link l JOIN crmsync.link_state s ON s.link = l.id
    WHERE l.enabled AND s.comparison_attempts > 2 AND s.broken IS NULL
    UNION ALL
    SELECT l.id, 'link', l.name, pg_catalog.concat_ws(' ', 'failing', s.code), s.last_error, s.last_error_at, 'It is tried again by itself.'
    FROM crmsync.link l
    JOIN crmsync.link_state s ON s.link = l.id
    JOIN crmsync.target k ON k.name = l.target AND k.kind = 'ldap'
    LEFT JOIN crmsync.target_state t ON t.target = l.target
    WHERE l.enabled AND s.attempts > 2 AND s.broken IS NULL AND t.code IS NULL
    UNION ALL
    SELECT l.id, 'link', l.name, 'GROUPS', s.last_error, s.last_error_at,
           pg_catalog.format('Memberships that are not brought in stay as they are. See crmsync.group_mappings and crmsync.failures; then SELECT crmsync.unmap_group(%L, ...) or mend the directory.', l.name)
    FROM crmsync.link l
    JOIN crmsync.link_state s ON s.link = l.id
    WHERE l.enabled AND s.code = 'GROUPS' AND s.attempts = 0 AND s.last_error_at >= s.last_success
    UNION ALL
    SELECT l.id, 'link', l.name, s.held, NULL,
           -- Each state has an index of its own.
           coalesce(h.since, least((SELECT pg_catalog.min(i.since) FROM crmsync.item i WHERE i.link = l.id AND i.state = 'leaving'),
                                   (SELECT pg_catalog.min(i.since) FROM crmsync.item i WHERE i.link = l.id AND i.state = 'removed'))),
           CASE WHEN h.link IS NULL THEN pg_catalog.format('If they are meant: SELECT crmsync.confirm_deletes(%L);', l.name)
                WHEN h.waiting IS NULL THEN 'They are confirmed, and pass in the next complete import.'
                ELSE pg_catalog.format('If they are meant: SELECT crmsync.confirm_deletes(%L, expected => %s);', l.name, h.waiting) END
    FROM crmsync.link l
    JOIN crmsync.link_state s ON s.link = l.id
    LEFT JOIN (SELECT w.link, pg_catalog.min(w.since) AS since,
                      pg_catalog.sum(w.items) FILTER (WHERE w.confirmed IS NULL) AS waiting
               FROM crmsync.held w GROUP BY w.link) h ON h.link = l.id
    WHERE s.held IS NOT NULL AND l.id IN (SELECT v.link FROM crmsync.served v)
    UNION ALL
    SELECT l.id, 'mailbox', m.address, m.code, m.message, m.since,
           pg_catalog.format('Mend it, then SELECT crmsync.retry(%L, mailbox => %L);', l.name, m.address)
           || CASE WHEN m.disabled THEN pg_catalog.format(' It is tried again by itself at %s.', m.next_attempt::timestamptz(0)) ELSE '' END
           || CASE WHEN l.retired THEN pg_catalog.format(' To let go of its items: SELECT crmsync.drop_link(%L);', l.name) ELSE '' END
    FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link
    JOIN crmsync.served v ON v.link = l.id
    JOIN crmsync.needed_mailbox n ON n.mailbox = m.id
    WHERE m.code IS NOT NULL AND (m.next_attempt IS NULL OR m.disabled AND m.next_attempt < 'infinity')
    UNION ALL
    SELECT l.id, 'mailbox', m.address, m.code, m.message, m.since, 'It is tried again by itself.'
    FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link
    JOIN crmsync.served v ON v.link = l.id
    JOIN crmsync.needed_mailbox n ON n.mailbox = m.id
    WHERE m.code IS NOT NULL AND m.next_attempt IS NOT NULL AND NOT m.disabled AND m.since < pg_catalog.now() - interval '1 hour'
    UNION ALL
    SELECT l.id, 'link', l.name, pg_catalog.format('%s records are parked', pg_catalog.count(*)), NULL, pg_catalog.min(f.since),
           pg_catalog.format('See crmsync.failures; then SELECT crmsync.retry(%L);', l.name)
    FROM crmsync.failing f JOIN crmsync.link l ON l.id = f.link
    JOIN crmsync.served v ON v.link = l.id
    WHERE f.parked
    GROUP BY l.id, l.name
    UNION ALL
    SELECT l.id, 'link', l.name, pg_catalog.format('%s entries are not brought in', pg_catalog.count(*)), NULL, pg_catalog.min(f.since),
           'See crmsync.failures; each import tries them again.'
    FROM crmsync.failing f JOIN crmsync.link l ON l.id = f.link
    JOIN crmsync.served v ON v.link = l.id
    JOIN crmsync.target k ON k.name = l.target AND k.kind = 'ldap'
    GROUP BY l.id, l.name
    UNION ALL
    SELECT l.id, 'link', l.name, pg_catalog.format('%s conflicts wait for a decision', pg_catalog.count(*)), NULL, pg_catalog.min(c.at),
           'See crmsync.conflicts; then SELECT crmsync.resolve(...);'
    FROM crmsync.open_conflict o JOIN crmsync.conflict c ON c.id = o.id
    JOIN crmsync.link l ON l.id = c.link
    JOIN crmsync.served v ON v.link = l.id
    WHERE c.kind <> 'unlinked'  -- which may stay as it is
    GROUP BY l.id, l.name
    UNION ALL
    SELECT l.id, 'link', l.name, pg_catalog.format('%s records are left out: their keys are much longer than 200 bytes', s.long_keys), NULL, s.compared,
           pg_catalog.format('Give the records of %s shorter keys, or name another column as the key.', l.source)
    FROM crmsync.link l JOIN crmsync.link_state s ON s.link = l.id
    WHERE l.enabled AND s.long_keys > 0
) a
JOIN crmsync.visible_link v ON v.link = a.link
GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW crmsync.alerts IS 'what needs a human';
COMMENT ON COLUMN crmsync.alerts.kind IS 'server, target, link or mailbox';
COMMENT ON COLUMN crmsync.alerts.name IS 'which of them';
COMMENT ON COLUMN crmsync.alerts.message IS 'what is wrong; in words that may quote values for operators only';
COMMENT ON COLUMN crmsync.alerts.since IS 'since when';
COMMENT ON COLUMN crmsync.alerts.hint IS 'what to do';
