-- What the worker knows, here and in 22-mailbox.sql and 24-outcome.sql. Dumped and restored: mailbox, item, repair.
-- Not: the logs, pending, waiting, failure, states, history: a restored database compares everything anew.

-- Appended to by the trigger in C++ at PRE_COMMIT, and by nobody else. Two logs, so that one can be
-- truncated while writers append to the other. No index and no TOAST, or the writers refuse.
CREATE TABLE crmsync.change_log_0 (
    transaction xid8 NOT NULL,
    capture     integer NOT NULL
) USING heap WITH (autovacuum_enabled = false);
-- In one statement, or the table would get a TOAST table in between.
ALTER TABLE crmsync.change_log_0 ADD COLUMN value text, ALTER COLUMN value SET STORAGE PLAIN;
CREATE TABLE crmsync.change_log_1 (LIKE crmsync.change_log_0 INCLUDING STORAGE) USING heap WITH (autovacuum_enabled = false);
COMMENT ON TABLE crmsync.change_log_0 IS 'change log: which value of which captured column changed in which transaction; NULL: everything';
COMMENT ON TABLE crmsync.change_log_1 IS 'change log, the other half';
COMMENT ON COLUMN crmsync.change_log_0.transaction IS 'top-level transaction that made the change';
COMMENT ON COLUMN crmsync.change_log_0.capture IS 'the trigger that saw it';
COMMENT ON COLUMN crmsync.change_log_0.value IS 'the captured column as text; NULL: everything';
COMMENT ON COLUMN crmsync.change_log_1.transaction IS 'top-level transaction that made the change';
COMMENT ON COLUMN crmsync.change_log_1.capture IS 'the trigger that saw it';
COMMENT ON COLUMN crmsync.change_log_1.value IS 'the captured column as text; NULL: everything';

-- Up to where the log has been consumed: everything visible in this snapshot.
CREATE TABLE crmsync.log_position (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    snapshot    pg_snapshot NOT NULL,
    missed      integer[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 10);
COMMENT ON TABLE crmsync.log_position IS 'the snapshot up to which the change log has been consumed';
COMMENT ON COLUMN crmsync.log_position.only_row IS 'there is one row';
COMMENT ON COLUMN crmsync.log_position.snapshot IS 'what was visible in it has been consumed';
COMMENT ON COLUMN crmsync.log_position.missed IS 'links that somebody was removing when something of theirs was consumed: where it came to nothing they are compared';

-- Records to look at. Tier 0: changed just now; tier 1: from a comparison.
CREATE TABLE crmsync.pending (
    link        integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    tier        smallint NOT NULL,
    record      text NOT NULL COLLATE "C",
    version     bigint NOT NULL DEFAULT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint,
    since       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (link, tier, record)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE crmsync.pending IS 'records to look at; version tells whether a record was named again meanwhile';
COMMENT ON COLUMN crmsync.pending.link IS 'the link to look with';
COMMENT ON COLUMN crmsync.pending.tier IS '0: changed just now; 1: from a comparison, after all of tier 0';
COMMENT ON COLUMN crmsync.pending.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.pending.version IS 'another one whenever the record is named again; begins with the time, so that a row which went and came back is told from the one before';
COMMENT ON COLUMN crmsync.pending.since IS 'when it was first named';

-- Not pending: there is nothing to look at before the mailbox has been read, and every comparison names
-- them anew.
CREATE TABLE crmsync.waiting (
    link        integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    record      text NOT NULL COLLATE "C",
    since       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (link, record)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE crmsync.waiting IS 'records that are to be created in a mailbox once it has been read (match_on)';
COMMENT ON COLUMN crmsync.waiting.link IS 'the link';
COMMENT ON COLUMN crmsync.waiting.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.waiting.since IS 'since when it waits';

CREATE TABLE crmsync.link_state (
    link            integer PRIMARY KEY REFERENCES crmsync.link ON DELETE CASCADE,
    comparison      text,
    comparison_asked bigint NOT NULL DEFAULT 0,
    compared        timestamptz,
    definition      text,
    last_started    timestamptz,
    last_success    timestamptz,
    code            text,
    last_error      text,
    last_error_at   timestamptz,
    broken          text,
    held            text,
    recount         timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt    timestamptz,
    comparison_attempts integer NOT NULL DEFAULT 0,
    comparison_next_attempt timestamptz,
    without_mailbox bigint NOT NULL DEFAULT 0,
    long_keys       bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE crmsync.link_state IS 'how a link is doing; no row (after a restore): nothing was compared yet';
COMMENT ON COLUMN crmsync.link_state.link IS 'the link';
COMMENT ON COLUMN crmsync.link_state.comparison IS 'NULL: none is due; mailboxes: what belongs into those that take part anew; audience: also who should have what; everything: also the values; of an import only everything: the next one overwrites what the CRM has changed';
COMMENT ON COLUMN crmsync.link_state.comparison_asked IS 'how often one was asked for: what is asked for while one is under way begins after it';
COMMENT ON COLUMN crmsync.link_state.compared IS 'when the last comparison was done; NULL: none was, or it is an import';
COMMENT ON COLUMN crmsync.link_state.definition IS 'hash of how what it reads was defined when the worker last looked: another one asks for a comparison';
COMMENT ON COLUMN crmsync.link_state.last_started IS 'when the last pass or import began';
COMMENT ON COLUMN crmsync.link_state.last_success IS 'when the last pass or import ended well';
COMMENT ON COLUMN crmsync.link_state.code IS 'what kind of failure the last one was: an SQLSTATE, or a code of the target';
COMMENT ON COLUMN crmsync.link_state.last_error IS 'what went wrong last';
COMMENT ON COLUMN crmsync.link_state.last_error_at IS 'when that was';
COMMENT ON COLUMN crmsync.link_state.broken IS 'why the link cannot work until somebody acts';
COMMENT ON COLUMN crmsync.link_state.held IS 'which deletes wait for confirm_deletes; NULL: none do';
COMMENT ON COLUMN crmsync.link_state.recount IS 'where all deletes wait, and they are many: when they are counted again, unless somebody asks for something before';
COMMENT ON COLUMN crmsync.link_state.attempts IS 'failures in a row';
COMMENT ON COLUMN crmsync.link_state.next_attempt IS 'when it is tried again';
COMMENT ON COLUMN crmsync.link_state.comparison_attempts IS 'failures of comparisons in a row; the link does what else there is meanwhile';
COMMENT ON COLUMN crmsync.link_state.comparison_next_attempt IS 'when the comparison is tried again';
COMMENT ON COLUMN crmsync.link_state.without_mailbox IS 'records that the audience named without a mailbox, or with what cannot be one, at the last comparison';
COMMENT ON COLUMN crmsync.link_state.long_keys IS 'records left out because their keys are too long to be kept, at the last comparison or met since';

-- What operators ask for. They only insert, and the worker carries it out: it alone writes the states
-- below and above, so nobody's open transaction stands in its way.
CREATE TABLE crmsync.request (
    id          bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    action      text NOT NULL CHECK (action IN ('retry', 'confirm_deletes', 'compare', 'clear', 'resume', 'renew', 'repair', 'replace', 'withdraw', 'undo', 'start', 'resolve', 'readdress')),
    link        integer REFERENCES crmsync.link ON DELETE CASCADE,
    target      text REFERENCES crmsync.target ON UPDATE CASCADE ON DELETE CASCADE,
    mailbox     integer,
    record      text,
    items       bigint,
    since       timestamptz,
    address     text,
    conflict    bigint,
    choice      text,
    at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CHECK ((action IN ('resume', 'renew')) = (target IS NOT NULL) AND (action NOT IN ('resume', 'renew')) = (link IS NOT NULL))
);
COMMENT ON TABLE crmsync.request IS 'what operators have asked for, or the worker is to hear of, and has not carried out yet';
COMMENT ON COLUMN crmsync.request.id IS 'in this order';
COMMENT ON COLUMN crmsync.request.action IS 'retry, confirm_deletes, repair, replace, withdraw, undo, start, resolve: of a link; compare, clear: it was enabled, disabled; resume: a target is tried again; renew: with other credentials; readdress: the mailbox has another address';
COMMENT ON COLUMN crmsync.request.link IS 'the link';
COMMENT ON COLUMN crmsync.request.target IS 'the target';
COMMENT ON COLUMN crmsync.request.mailbox IS 'only in this mailbox';
COMMENT ON COLUMN crmsync.request.record IS 'only this record';
COMMENT ON COLUMN crmsync.request.items IS 'confirm_deletes: how many waited when it was called';
COMMENT ON COLUMN crmsync.request.since IS 'undo: what was done from then on';
COMMENT ON COLUMN crmsync.request.address IS 'start: the mailbox, which need not be known yet';
COMMENT ON COLUMN crmsync.request.conflict IS 'resolve: which conflict';
COMMENT ON COLUMN crmsync.request.choice IS 'resolve: what was chosen';
COMMENT ON COLUMN crmsync.request.at IS 'when it was called';

CREATE TABLE crmsync.target_state (
    target          text PRIMARY KEY REFERENCES crmsync.target ON UPDATE CASCADE ON DELETE CASCADE,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt    timestamptz,
    code            text,
    message         text,
    since           timestamptz,
    last_success    timestamptz,
    accepted        timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE crmsync.target_state IS 'how a target is doing; next_attempt NULL with a code: stopped until resume_target';
COMMENT ON COLUMN crmsync.target_state.target IS 'the target';
COMMENT ON COLUMN crmsync.target_state.attempts IS 'failures in a row';
COMMENT ON COLUMN crmsync.target_state.next_attempt IS 'when it is tried again';
COMMENT ON COLUMN crmsync.target_state.code IS 'what kind of failure; NULL: it works';
COMMENT ON COLUMN crmsync.target_state.message IS 'what the server or the network said';
COMMENT ON COLUMN crmsync.target_state.since IS 'when the failures began';
COMMENT ON COLUMN crmsync.target_state.last_success IS 'when it last answered well, or up to an hour before';
COMMENT ON COLUMN crmsync.target_state.accepted IS 'when it last accepted the credentials that it has now; NULL: not yet';
