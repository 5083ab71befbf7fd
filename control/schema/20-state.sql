-- What the worker knows. Dumped and restored: mailbox, item, repair. Not: the logs, pending, waiting, failure, states,
-- history: a restored database compares everything anew.

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
    snapshot    pg_snapshot NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE crmsync.log_position IS 'the snapshot up to which the change log has been consumed';
COMMENT ON COLUMN crmsync.log_position.only_row IS 'there is one row';
COMMENT ON COLUMN crmsync.log_position.snapshot IS 'what was visible in it has been consumed';

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
    last_started    timestamptz,
    last_success    timestamptz,
    code            text,
    last_error      text,
    last_error_at   timestamptz,
    broken          text,
    held            text,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt    timestamptz,
    without_mailbox bigint NOT NULL DEFAULT 0,
    long_keys       bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE crmsync.link_state IS 'how a link is doing; no row (after a restore): nothing was compared yet';
COMMENT ON COLUMN crmsync.link_state.link IS 'the link';
COMMENT ON COLUMN crmsync.link_state.comparison IS 'NULL: none is due; mailboxes: what belongs into those that take part anew; audience: also who should have what; everything: also the values; of an import only everything: the next one overwrites what the CRM has changed';
COMMENT ON COLUMN crmsync.link_state.comparison_asked IS 'how often one was asked for: what is asked for while one is under way begins after it';
COMMENT ON COLUMN crmsync.link_state.compared IS 'when the last comparison was done; NULL: none was, or it is an import';
COMMENT ON COLUMN crmsync.link_state.last_started IS 'when the last pass or import began';
COMMENT ON COLUMN crmsync.link_state.last_success IS 'when the last pass or import ended well';
COMMENT ON COLUMN crmsync.link_state.code IS 'what kind of failure the last one was: an SQLSTATE, or a code of the target';
COMMENT ON COLUMN crmsync.link_state.last_error IS 'what went wrong last';
COMMENT ON COLUMN crmsync.link_state.last_error_at IS 'when that was';
COMMENT ON COLUMN crmsync.link_state.broken IS 'why the link cannot work until somebody acts';
COMMENT ON COLUMN crmsync.link_state.held IS 'which deletes wait for confirm_deletes; NULL: none do';
COMMENT ON COLUMN crmsync.link_state.attempts IS 'failures in a row';
COMMENT ON COLUMN crmsync.link_state.next_attempt IS 'when it is tried again';
COMMENT ON COLUMN crmsync.link_state.without_mailbox IS 'records that the audience named without a mailbox, or with what cannot be one, at the last comparison';
COMMENT ON COLUMN crmsync.link_state.long_keys IS 'records left out because their keys are too long to be kept, at the last comparison or met since';

-- What operators ask for. They only insert, and the worker carries it out: it alone writes the states
-- below and above, so nobody's open transaction stands in its way.
CREATE TABLE crmsync.request (
    id          bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    action      text NOT NULL CHECK (action IN ('retry', 'confirm_deletes', 'compare', 'clear', 'resume', 'renew', 'repair', 'replace', 'withdraw', 'undo', 'start', 'resolve')),
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
COMMENT ON TABLE crmsync.request IS 'what operators have asked for and the worker has not carried out yet';
COMMENT ON COLUMN crmsync.request.id IS 'in this order';
COMMENT ON COLUMN crmsync.request.action IS 'retry, confirm_deletes, repair, replace, withdraw, undo, start, resolve: of a link; compare, clear: it was enabled, disabled; resume: a target is tried again; renew: with other credentials';
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

CREATE TABLE crmsync.mailbox (
    id              integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    link            integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    address         text NOT NULL COLLATE "C",
    folder_id       text COLLATE "C",
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt    timestamptz,
    code            text,
    message         text,
    since           timestamptz,
    disabled        boolean NOT NULL DEFAULT false,
    deleted_folder  text COLLATE "C",
    sync_state      text COLLATE "C",
    listing         timestamptz,
    met             timestamptz,
    took_part       boolean,
    opted_out       boolean NOT NULL DEFAULT false,
    user_id         text COLLATE "C",
    started         timestamptz,
    started_read    boolean NOT NULL DEFAULT false,
    look_again      timestamptz,
    unnamed_since   timestamptz,
    target          text REFERENCES crmsync.target ON UPDATE CASCADE,
    moved           timestamptz,
    UNIQUE (link, address)
);
CREATE INDEX mailbox_started ON crmsync.mailbox (link) WHERE started IS NOT NULL;
CREATE INDEX mailbox_moving ON crmsync.mailbox (link) WHERE code = 'MOVING' OR moved IS NOT NULL;
CREATE INDEX mailbox_look_again ON crmsync.mailbox (look_again) WHERE look_again IS NOT NULL;
COMMENT ON TABLE crmsync.mailbox IS 'mailboxes that a link writes; an LDAP link has one with an empty address';
COMMENT ON COLUMN crmsync.mailbox.id IS 'what items and failures call the mailbox';
COMMENT ON COLUMN crmsync.mailbox.link IS 'the link that writes it';
COMMENT ON COLUMN crmsync.mailbox.address IS 'SMTP address in lower case';
COMMENT ON COLUMN crmsync.mailbox.folder_id IS 'the folders id at the target; NULL: not known yet';
COMMENT ON COLUMN crmsync.mailbox.attempts IS 'failures in a row';
COMMENT ON COLUMN crmsync.mailbox.next_attempt IS 'with a code: when it is tried again; infinity: when it has moved';
COMMENT ON COLUMN crmsync.mailbox.code IS 'what kind of failure; MOVING: it is to be at another target; NULL: it works';
COMMENT ON COLUMN crmsync.mailbox.deleted_folder IS 'id of a folder that its user has deleted: what is in it is gone; NULL: he has not';
COMMENT ON COLUMN crmsync.mailbox.message IS 'what the server said';
COMMENT ON COLUMN crmsync.mailbox.disabled IS 'with a code: somebody may have to mend it; it is tried again, but seldom';
COMMENT ON COLUMN crmsync.mailbox.since IS 'when the failures began';
COMMENT ON COLUMN crmsync.mailbox.sync_state IS 'up to where the folder has been read, as the server puts it; NULL: it is read from the start';
COMMENT ON COLUMN crmsync.mailbox.listing IS 'since when the folder is read from the start, to the end of which an item that was not named is looked at';
COMMENT ON COLUMN crmsync.mailbox.took_part IS 'false: it took no part when somebody last looked, and changes may have been missed; true: a comparison has looked at all since; NULL: nobody has looked yet, or one is about to';
COMMENT ON COLUMN crmsync.mailbox.opted_out IS 'it was not, or not enabled, in the relation of mailboxes when something was last to be deleted there; false: it was, or a comparison has begun since';
COMMENT ON COLUMN crmsync.mailbox.user_id IS 'lasting id of its user, as the relation of mailboxes has it: under another address it is the same mailbox';
COMMENT ON COLUMN crmsync.mailbox.started IS 'since when a mailbox that is not automatic is being synchronised, because somebody asked for it';
COMMENT ON COLUMN crmsync.mailbox.started_read IS 'its folder has been read since then';
COMMENT ON COLUMN crmsync.mailbox.look_again IS 'when its stamps are listed once more, since a create that nobody waits for any more may be carried out before';
COMMENT ON COLUMN crmsync.mailbox.unnamed_since IS 'since when items have been made there that no reading of the folder had to name yet; NULL: none';
COMMENT ON COLUMN crmsync.mailbox.target IS 'where it is, as the relation of mailboxes says; NULL: at the link''s own target';
COMMENT ON COLUMN crmsync.mailbox.moved IS 'since when its items are looked for at another target: until that is done nothing is written there';
COMMENT ON COLUMN crmsync.mailbox.met IS 'when all that its user had before was known; NULL: not yet, and where match_on is set nothing is created there';

-- So that nobody has to look through all mailboxes for them. None: all are at the link's own.
CREATE TABLE crmsync.link_target (
    link        integer REFERENCES crmsync.link ON DELETE CASCADE,
    target      text REFERENCES crmsync.target ON UPDATE CASCADE,
    PRIMARY KEY (link, target)
);
COMMENT ON TABLE crmsync.link_target IS 'targets that mailboxes of a link are at, once some are not at its own';
COMMENT ON COLUMN crmsync.link_target.link IS 'the link';
COMMENT ON COLUMN crmsync.link_target.target IS 'the target';

-- Items come by the million, and a foreign key is checked row by row. Who inserts some locks their
-- mailboxes (FOR KEY SHARE) instead, once for all of them; an item of a mailbox that goes, goes too.
CREATE TABLE crmsync.item (
    link        integer NOT NULL,
    record      text NOT NULL COLLATE "C",
    mailbox     integer NOT NULL,
    remote_id   text COLLATE "C",
    change_key  text COLLATE "C",
    shadow      jsonb,
    origin      text NOT NULL DEFAULT 'crm' CHECK (origin IN ('crm', 'adopted', 'mailbox')),
    state       text NOT NULL DEFAULT 'linked' CHECK (state IN ('linked', 'leaving', 'gone', 'absent', 'removed', 'unlinked')),
    confirmed   boolean NOT NULL DEFAULT false,
    stamped     boolean NOT NULL DEFAULT true,
    renew       boolean NOT NULL DEFAULT false,
    remade      boolean NOT NULL DEFAULT false,
    doubtful    boolean NOT NULL DEFAULT false,
    since       timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (link, record, mailbox)
);
-- Values are long, and nothing is looked up by them: to sort a sample of them would only cost time.
ALTER TABLE crmsync.item ALTER shadow SET STATISTICS 0;
CREATE INDEX item_mailbox ON crmsync.item (mailbox, pg_catalog.hashtext(remote_id));
CREATE INDEX item_leaving ON crmsync.item (link, mailbox) WHERE state = 'leaving';
CREATE INDEX item_removed ON crmsync.item (link, mailbox) WHERE state = 'removed';
CREATE INDEX item_gone ON crmsync.item (link, mailbox) WHERE state = 'gone' AND confirmed;
COMMENT ON TABLE crmsync.item IS 'copies of records in mailboxes or directory entries; also the tombstones until a delete is confirmed';
COMMENT ON COLUMN crmsync.item.link IS 'the link that wrote it';
COMMENT ON COLUMN crmsync.item.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.item.mailbox IS 'the mailbox that it is in';
COMMENT ON COLUMN crmsync.item.remote_id IS 'its id at the target; ldap: the entrys lasting id';
COMMENT ON COLUMN crmsync.item.change_key IS 'its version at the target';
COMMENT ON COLUMN crmsync.item.shadow IS 'the values as both sides last agreed on them, by property; for LDAP the values last merged';
COMMENT ON COLUMN crmsync.item.origin IS 'crm: we created it; adopted: matched by key, or made again by undo; mailbox: made by the user';
COMMENT ON COLUMN crmsync.item.state IS 'linked; leaving: to be deleted, counted by the guard; ldap: missing, within the grace time or held; gone: vanished on the other side, or disabled because it vanished there; absent: deleted there, and created again when the CRM changes, or soon (on_target_delete); removed: deleted there, and the record is to be deleted in the CRM, counted by the guard, too; unlinked: left to its user, and not to come in as a new one';
COMMENT ON COLUMN crmsync.item.confirmed IS 'leaving, removed: confirm_deletes has let it pass the guard; not of imports, see the table held; their gone: memberships have passed the guard with it, and have yet to go';
COMMENT ON COLUMN crmsync.item.stamped IS 'false: our stamp has yet to be written, since its user made it, or may be gone; unlinked: true: it may be there, and has yet to go';
COMMENT ON COLUMN crmsync.item.renew IS 'leaving: by resync, to be made anew when it is deleted';
COMMENT ON COLUMN crmsync.item.remade IS 'when it was written the record had another item there before: that one may come back';
COMMENT ON COLUMN crmsync.item.doubtful IS 'the server was asked to delete it, and may have done so: known again when it is written, or is not there';
COMMENT ON COLUMN crmsync.item.since IS 'when it came to this state';

CREATE FUNCTION crmsync.forget_items() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM crmsync.item i USING gone WHERE i.mailbox = gone.id;
    DELETE FROM crmsync.arrival a USING gone WHERE a.mailbox = gone.id;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION crmsync.forget_items() IS 'trigger of crmsync.mailbox: the items of a mailbox go with it, and what has arrived there';
CREATE TRIGGER forget_items AFTER DELETE ON crmsync.mailbox
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION crmsync.forget_items();

-- What somebody wants done with all that a mailbox holds. Level-triggered like all else: a row says how
-- far it has come and goes when it is done, so that it does not matter how often it is begun.
CREATE TABLE crmsync.repair (
    mailbox     integer PRIMARY KEY REFERENCES crmsync.mailbox ON DELETE CASCADE,
    mode        text NOT NULL CHECK (mode IN ('repair', 'replace', 'withdraw', 'late')),
    step        text NOT NULL DEFAULT 'list' CHECK (step IN ('list', 'compare', 'fetch', 'mark', 'unlink', 'delete')),
    since       timestamptz NOT NULL,
    began       timestamptz
);
COMMENT ON TABLE crmsync.repair IS 'mailboxes with whose items, all of them, something is to be done';
COMMENT ON COLUMN crmsync.repair.mailbox IS 'the mailbox, of one link';
COMMENT ON COLUMN crmsync.repair.mode IS 'repair: they are made what they should be; replace: made anew; withdraw: removed, and those that a user made only unlinked; late: nothing, but what a create of ours has made that came late goes';
COMMENT ON COLUMN crmsync.repair.step IS 'list: the folder''s items of the link are listed; compare: they are to be compared with what is known; fetch: what differs is read; only of withdraw, before and after that, mark: it is being noted which are to be deleted; then unlink: the others are being unlinked; delete: only deletes are left';
COMMENT ON COLUMN crmsync.repair.since IS 'when it was asked for last';
COMMENT ON COLUMN crmsync.repair.began IS 'when the folder began to be listed: one that was asked for later is listed again';

CREATE TABLE crmsync.sighting (
    mailbox     integer NOT NULL REFERENCES crmsync.mailbox ON DELETE CASCADE,
    remote_id   text NOT NULL COLLATE "C",
    change_key  text COLLATE "C",
    record      text NOT NULL COLLATE "C",
    attempt     bigint,
    kind        text NOT NULL CHECK (kind IN ('listed', 'changed', 'missing', 'copy', 'late', 'surplus', 'stray')),
    confirmed   boolean NOT NULL DEFAULT false,
    since       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (mailbox, remote_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX sighting_fetch ON crmsync.sighting (mailbox) WHERE kind IN ('changed', 'missing', 'copy', 'late');
CREATE INDEX sighting_surplus ON crmsync.sighting (mailbox) WHERE kind IN ('surplus', 'stray');
COMMENT ON TABLE crmsync.sighting IS 'items with the stamp of a link that were met in a mailbox under repair, until nothing more is to be done about them';
COMMENT ON COLUMN crmsync.sighting.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.sighting.remote_id IS 'the item';
COMMENT ON COLUMN crmsync.sighting.change_key IS 'its version when it was listed';
COMMENT ON COLUMN crmsync.sighting.record IS 'the record that its stamp names';
COMMENT ON COLUMN crmsync.sighting.attempt IS 'which request of ours made it: when, in microseconds; NULL: none did, its user made it';
COMMENT ON COLUMN crmsync.sighting.kind IS 'listed: not compared yet; to be fetched are changed: another version than we wrote, missing: known and not listed, copy: of a record that has its item, late: likewise, made by another request of ours than the item; surplus: one of the last two, to be deleted; stray: a copy that its user has made something of, and that is to lose the stamp';
COMMENT ON COLUMN crmsync.sighting.confirmed IS 'surplus: it passes the guard, since confirm_deletes says so or we made it ourselves';
COMMENT ON COLUMN crmsync.sighting.since IS 'when it was met';

-- Level-triggered, too: an arrival says that an item is to be looked at, not what happened to it.
CREATE TABLE crmsync.arrival (
    mailbox         integer NOT NULL,
    remote_id       text NOT NULL COLLATE "C",
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt    timestamptz,
    code            text,
    message         text,
    records         text[],
    created         text COLLATE "C",
    original        text COLLATE "C",
    original_attempt bigint,
    since           timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (mailbox, remote_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX arrival_failed ON crmsync.arrival (mailbox) WHERE code IS NOT NULL;
CREATE INDEX arrival_records ON crmsync.arrival (mailbox) WHERE records IS NOT NULL;
CREATE INDEX arrival_original ON crmsync.arrival (mailbox, original) WHERE original IS NOT NULL;
COMMENT ON TABLE crmsync.arrival IS 'items that somebody else changed in the mailboxes of inbound links, and that have not come in yet';
COMMENT ON COLUMN crmsync.arrival.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.arrival.remote_id IS 'the item';
COMMENT ON COLUMN crmsync.arrival.attempts IS 'how often it could not come in';
COMMENT ON COLUMN crmsync.arrival.next_attempt IS 'when it is tried again; NULL with a code: parked until it changes again or retry; infinity: it may be of a record, and waits until all items of the mailbox are known';
COMMENT ON COLUMN crmsync.arrival.code IS 'why it could not come in: SQLSTATE, or the server''s code; NULL: it has not been tried';
COMMENT ON COLUMN crmsync.arrival.message IS 'the same in words';
COMMENT ON COLUMN crmsync.arrival.records IS 'records that it may be of, or the one that it is to be: meanwhile none of them is created in the mailbox';
COMMENT ON COLUMN crmsync.arrival.created IS 'with records: when its user made it, empty if the server does not say; NULL: not looked at since all items of the mailbox are known';
COMMENT ON COLUMN crmsync.arrival.original IS 'another item whose stamp it bears, and which is asked for: it is a copy, or the same after it was moved';
COMMENT ON COLUMN crmsync.arrival.original_attempt IS 'which request of ours made that one; 0: it does not say, NULL: it has not been read yet';
COMMENT ON COLUMN crmsync.arrival.since IS 'when it was noticed';

CREATE TABLE crmsync.undoing (
    link            integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    step            text NOT NULL CHECK (step IN ('row', 'item', 'create', 'unlink', 'decide')),
    mailbox         integer NOT NULL REFERENCES crmsync.mailbox ON DELETE CASCADE,
    record          text NOT NULL COLLATE "C",
    old             jsonb NOT NULL,
    new             jsonb,
    since           timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (link, step, mailbox, record)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE crmsync.undoing ALTER old SET STATISTICS 0, ALTER new SET STATISTICS 0;
COMMENT ON TABLE crmsync.undoing IS 'what undo, or resolve, has yet to bring back';
COMMENT ON COLUMN crmsync.undoing.link IS 'the link';
COMMENT ON COLUMN crmsync.undoing.step IS 'row: values of the CRM that a mailbox overwrote; item: values of an item that the CRM overwrote; create: an item that was deleted; unlink: it is there again, and has yet to lose our stamp; decide: somebody has chosen a value of the item, see crmsync.conflict';
COMMENT ON COLUMN crmsync.undoing.mailbox IS 'the mailbox; row: whose value it was';
COMMENT ON COLUMN crmsync.undoing.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.undoing.old IS 'the values to write back, by property';
COMMENT ON COLUMN crmsync.undoing.new IS 'the values that we wrote: what is another one by now stays';
COMMENT ON COLUMN crmsync.undoing.since IS 'when it was noted';

-- Bounded: a row goes ten minutes after the item has come to rest.
CREATE TABLE crmsync.bounce (
    mailbox         integer NOT NULL REFERENCES crmsync.mailbox ON DELETE CASCADE,
    record          text NOT NULL COLLATE "C",
    properties      text NOT NULL,
    held            text NOT NULL,
    came_in         boolean NOT NULL DEFAULT true,
    times           integer NOT NULL DEFAULT 0,
    last            timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (mailbox, record)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE crmsync.bounce IS 'items of which something came in lately: whether the same comes in again whenever the CRM writes it';
COMMENT ON COLUMN crmsync.bounce.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.bounce.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.bounce.properties IS 'what came in last: names, with commas';
COMMENT ON COLUMN crmsync.bounce.held IS 'a hash of the values that came in last';
COMMENT ON COLUMN crmsync.bounce.came_in IS 'false: the CRM has overwritten it since';
COMMENT ON COLUMN crmsync.bounce.times IS 'how often the CRM has overwritten these values';
COMMENT ON COLUMN crmsync.bounce.last IS 'when something happened last';

CREATE TABLE crmsync.listed (
    mailbox         integer NOT NULL REFERENCES crmsync.mailbox ON DELETE CASCADE,
    remote_id       text NOT NULL COLLATE "C",
    PRIMARY KEY (mailbox, remote_id)
);
COMMENT ON TABLE crmsync.listed IS 'while a folder is read from the start: the items named so far';
COMMENT ON COLUMN crmsync.listed.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.listed.remote_id IS 'the item';

CREATE TABLE crmsync.failure (
    link            integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    mailbox         integer NOT NULL REFERENCES crmsync.mailbox ON DELETE CASCADE,
    record          text NOT NULL COLLATE "C",
    attempts        integer NOT NULL DEFAULT 1,
    next_attempt    timestamptz,
    code            text NOT NULL,
    message         text NOT NULL,
    since           timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (link, mailbox, record)
);
CREATE INDEX failure_record ON crmsync.failure (link, record);
COMMENT ON TABLE crmsync.failure IS 'what could not be done for a record in a mailbox; next_attempt NULL: parked until the record changes or retry; code postponed: the mailbox itself cannot be reached';
COMMENT ON COLUMN crmsync.failure.link IS 'the link';
COMMENT ON COLUMN crmsync.failure.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.failure.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.failure.attempts IS 'failures in a row';
COMMENT ON COLUMN crmsync.failure.next_attempt IS 'when it is tried again; NULL: parked';
COMMENT ON COLUMN crmsync.failure.code IS 'the response code or SQLSTATE';
COMMENT ON COLUMN crmsync.failure.message IS 'the reason, in the words of whoever refused';
COMMENT ON COLUMN crmsync.failure.since IS 'when the failures began';

-- What somebody has to decide, or a policy has decided where both sides changed the same. The rows of an
-- item say only what was asked when: whether it still has to be decided the view open_conflict finds out.
CREATE TABLE crmsync.conflict (
    id              bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    link            integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    mailbox         integer NOT NULL REFERENCES crmsync.mailbox ON DELETE CASCADE,
    record          text COLLATE "C",
    kind            text NOT NULL CHECK (kind IN ('field', 'ambiguous', 'unlinked', 'delete')),
    item            text COLLATE "C",
    records         text[],
    property        text,
    crm_value       text,
    target_value    text,
    winner          text CHECK (winner IN ('crm', 'target')),
    choice          text,
    problem         text,
    at              timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX conflict_record ON crmsync.conflict (link, record);
CREATE UNIQUE INDEX conflict_item ON crmsync.conflict (mailbox, item, kind) WHERE item IS NOT NULL;
COMMENT ON TABLE crmsync.conflict IS 'where both sides changed the same, with both values, and what else somebody has to decide';
COMMENT ON COLUMN crmsync.conflict.id IS 'what resolve calls it';
COMMENT ON COLUMN crmsync.conflict.link IS 'the link';
COMMENT ON COLUMN crmsync.conflict.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.conflict.record IS 'key of the record as text; NULL: ambiguous';
COMMENT ON COLUMN crmsync.conflict.kind IS 'field: both sides changed the property; ambiguous: an item may be of several records, or several items of one; unlinked: an item was left to its user; delete: a user has deleted the item of a record that others have, too';
COMMENT ON COLUMN crmsync.conflict.item IS 'the item''s id at the target; NULL: of a field';
COMMENT ON COLUMN crmsync.conflict.records IS 'ambiguous: the records that it may be of';
COMMENT ON COLUMN crmsync.conflict.property IS 'the property';
COMMENT ON COLUMN crmsync.conflict.crm_value IS 'what the CRM has; NULL: nothing';
COMMENT ON COLUMN crmsync.conflict.target_value IS 'what the mailbox had; NULL: nothing';
COMMENT ON COLUMN crmsync.conflict.winner IS 'crm or target, as the policy says or somebody chose; NULL: nobody yet, or there is nothing of the kind to win';
COMMENT ON COLUMN crmsync.conflict.choice IS 'by resolve; of a field that is written when it is the winner, too';
COMMENT ON COLUMN crmsync.conflict.problem IS 'why what was chosen last could not be done';
COMMENT ON COLUMN crmsync.conflict.at IS 'when it was found';

-- What the guard holds back of an import is known to a whole run only. There is no row for each, since
-- the next run finds them again; so what was confirmed is a number, and lets no more than that pass.
CREATE TABLE crmsync.held (
    link        integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('vanished', 'disabled', 'memberships')),
    items       bigint NOT NULL,
    since       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    noted       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    confirmed   bigint,
    PRIMARY KEY (link, kind)
);
COMMENT ON TABLE crmsync.held IS 'what the guard held back in the last complete import of a link';
COMMENT ON COLUMN crmsync.held.link IS 'the link';
COMMENT ON COLUMN crmsync.held.kind IS 'vanished: users who are gone from the directory; disabled: users who are disabled there; memberships: to be removed';
COMMENT ON COLUMN crmsync.held.items IS 'how many users, or memberships';
COMMENT ON COLUMN crmsync.held.since IS 'since when any of this kind wait';
COMMENT ON COLUMN crmsync.held.noted IS 'when this number was found first: a confirmation from before is of another number';
COMMENT ON COLUMN crmsync.held.confirmed IS 'by confirm_deletes: so many pass in the next complete run, and not one more; NULL: they wait';

-- Deletes done, by minute: what the guard's sliding hour is counted from.
CREATE TABLE crmsync.deletion (
    link        integer NOT NULL REFERENCES crmsync.link ON DELETE CASCADE,
    mailbox     integer NOT NULL,
    minute      timestamptz NOT NULL,
    count       integer NOT NULL,
    PRIMARY KEY (link, mailbox, minute)
);
COMMENT ON TABLE crmsync.deletion IS 'deletes carried out in the last hour';
COMMENT ON COLUMN crmsync.deletion.link IS 'the link';
COMMENT ON COLUMN crmsync.deletion.mailbox IS 'the mailbox';
COMMENT ON COLUMN crmsync.deletion.minute IS 'start of the minute';
COMMENT ON COLUMN crmsync.deletion.count IS 'deletes in that minute';

-- A ring of three: the oldest is emptied when its turn comes again, so nothing is ever deleted.
CREATE TABLE crmsync.history_turn (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    turn        bigint NOT NULL DEFAULT 0,
    since       timestamptz NOT NULL DEFAULT pg_catalog.now()
);
INSERT INTO crmsync.history_turn DEFAULT VALUES;
COMMENT ON TABLE crmsync.history_turn IS 'which table of the history is written to: the one numbered turn modulo 3';
COMMENT ON COLUMN crmsync.history_turn.only_row IS 'there is one row';
COMMENT ON COLUMN crmsync.history_turn.turn IS 'how often another table had its turn';
COMMENT ON COLUMN crmsync.history_turn.since IS 'when this turn began';

CREATE TABLE crmsync.history_0 (
    at          timestamptz NOT NULL,
    link        integer NOT NULL,
    mailbox_id  integer,
    mailbox     text,
    record      text,
    action      text NOT NULL,
    result      text NOT NULL CHECK (result IN ('done', 'failed')),
    code        text,
    message     text,
    old         jsonb,
    new         jsonb
);
CREATE TABLE crmsync.history_1 (LIKE crmsync.history_0 INCLUDING CONSTRAINTS);
CREATE TABLE crmsync.history_2 (LIKE crmsync.history_0 INCLUDING CONSTRAINTS);
ALTER TABLE crmsync.history_0 ALTER old SET STATISTICS 0, ALTER new SET STATISTICS 0;
ALTER TABLE crmsync.history_1 ALTER old SET STATISTICS 0, ALTER new SET STATISTICS 0;
ALTER TABLE crmsync.history_2 ALTER old SET STATISTICS 0, ALTER new SET STATISTICS 0;
-- forget() updates them, also where a publication FOR ALL TABLES asks how rows are known.
ALTER TABLE crmsync.history_0 REPLICA IDENTITY FULL;
ALTER TABLE crmsync.history_1 REPLICA IDENTITY FULL;
ALTER TABLE crmsync.history_2 REPLICA IDENTITY FULL;
COMMENT ON TABLE crmsync.history_0 IS 'what was done: first third of the ring behind the view history';
COMMENT ON TABLE crmsync.history_1 IS 'what was done: second third of the ring behind the view history';
COMMENT ON TABLE crmsync.history_2 IS 'what was done: last third of the ring behind the view history';
COMMENT ON COLUMN crmsync.history_0.at IS 'when';
COMMENT ON COLUMN crmsync.history_0.link IS 'the link';
COMMENT ON COLUMN crmsync.history_0.mailbox_id IS 'the mailbox; NULL: of an import';
COMMENT ON COLUMN crmsync.history_0.mailbox IS 'the address that it had then';
COMMENT ON COLUMN crmsync.history_0.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.history_0.action IS 'as in the view history';
COMMENT ON COLUMN crmsync.history_0.result IS 'done or failed';
COMMENT ON COLUMN crmsync.history_0.code IS 'failed: the response code or SQLSTATE';
COMMENT ON COLUMN crmsync.history_0.message IS 'failed: the reason, in the words of whoever refused';
COMMENT ON COLUMN crmsync.history_0.old IS 'values before, by property';
COMMENT ON COLUMN crmsync.history_0.new IS 'values after, by property';
COMMENT ON COLUMN crmsync.history_1.at IS 'when';
COMMENT ON COLUMN crmsync.history_1.link IS 'the link';
COMMENT ON COLUMN crmsync.history_1.mailbox_id IS 'the mailbox; NULL: of an import';
COMMENT ON COLUMN crmsync.history_1.mailbox IS 'the address that it had then';
COMMENT ON COLUMN crmsync.history_1.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.history_1.action IS 'as in the view history';
COMMENT ON COLUMN crmsync.history_1.result IS 'done or failed';
COMMENT ON COLUMN crmsync.history_1.code IS 'failed: the response code or SQLSTATE';
COMMENT ON COLUMN crmsync.history_1.message IS 'failed: the reason, in the words of whoever refused';
COMMENT ON COLUMN crmsync.history_1.old IS 'values before, by property';
COMMENT ON COLUMN crmsync.history_1.new IS 'values after, by property';
COMMENT ON COLUMN crmsync.history_2.at IS 'when';
COMMENT ON COLUMN crmsync.history_2.link IS 'the link';
COMMENT ON COLUMN crmsync.history_2.mailbox_id IS 'the mailbox; NULL: of an import';
COMMENT ON COLUMN crmsync.history_2.mailbox IS 'the address that it had then';
COMMENT ON COLUMN crmsync.history_2.record IS 'key of the record as text';
COMMENT ON COLUMN crmsync.history_2.action IS 'as in the view history';
COMMENT ON COLUMN crmsync.history_2.result IS 'done or failed';
COMMENT ON COLUMN crmsync.history_2.code IS 'failed: the response code or SQLSTATE';
COMMENT ON COLUMN crmsync.history_2.message IS 'failed: the reason, in the words of whoever refused';
COMMENT ON COLUMN crmsync.history_2.old IS 'values before, by property';
COMMENT ON COLUMN crmsync.history_2.new IS 'values after, by property';
