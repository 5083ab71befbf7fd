-- sync, retry, confirm_deletes, confirm_identity, forget, and what the views make of it. The target
-- is paused, so that what is shown here is only what these functions do.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;
CREATE ROLE regress_crmsync_owner;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, name text);
CREATE TABLE crm.audience (record integer, mailbox text);
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:x');
SELECT crmsync.pause_target('exchange');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.map('people', 'name', 'given_name');

-- covers: everything visible in the second is visible in the first.
SELECT crmsync.covers(a::pg_snapshot, b::pg_snapshot), a, b
FROM (VALUES ('10:10:', '10:10:'), ('10:12:10', '10:11:'), ('10:12:10', '10:12:10'), ('10:12:11', '10:11:10'),
             ('10:10:', '10:11:'), ('12:12:', '10:12:10'), ('10:12:10,11', '12:12:')) AS v (a, b);

SELECT * FROM crmsync.sync('people');
SELECT * FROM crmsync.sync('nowhere');
SELECT count(*) FROM crmsync.enable_link('people');
SELECT * FROM crmsync.sync('people', mailbox => 'nobody@example.com');
-- A user without records is known to the relation of mailboxes alone.
BEGIN;
CREATE TABLE crm.mailboxes AS SELECT ' Fresh@example.com' AS mailbox, false AS automatic;
ALTER TABLE crm.mailboxes OWNER TO regress_crmsync_owner;
UPDATE crmsync.link SET mailboxes = 'crm.mailboxes';
SELECT crmsync.check_address(l, 'fresh@example.com') FROM crmsync.link l;
SELECT crmsync.check_address(l, 'nobody@example.com') FROM crmsync.link l;
ROLLBACK;
BEGIN;
INSERT INTO crm.person VALUES (1, 'Ada');
SELECT * FROM crmsync.sync('people', '1 s');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM crmsync.sync('people', '1 s');
ROLLBACK;

-- The state that a worker would leave behind, in a transaction that no worker sees.
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO crmsync.mailbox (id, link, address) VALUES (1001, 1, 'a@example.com'), (1002, 1, 'b@example.com');
UPDATE crmsync.mailbox SET code = 'ErrorNonExistentMailbox', message = 'no such mailbox', attempts = 1, since = now() WHERE id = 1002;
INSERT INTO crmsync.item (link, record, mailbox, remote_id, state, shadow) VALUES
    (1, '1', 1001, 'AAA', 'linked', '{"given_name": "Ada"}'), (1, '2', 1001, 'BBB', 'leaving', NULL), (1, '3', 1002, 'CCC', 'leaving', NULL);
INSERT INTO crmsync.failure (link, mailbox, record, code, message, next_attempt) VALUES
    (1, 1001, '7', 'ErrorInvalidValue', 'too long', NULL), (1, 1001, '8', 'ErrorServerBusy', 'busy', now() + interval '1 hour');
-- sync: of the link, of a mailbox however it is written, of one that only the audience names. Record 2 is pending where its copy is.
INSERT INTO crmsync.pending (link, tier, record) VALUES (1, 0, '1'), (1, 1, '2'), (1, 1, '9');
INSERT INTO crm.audience VALUES (1, 'A@example.com'), (9, ' New@example.com');
SELECT w.what, s.* FROM (VALUES (NULL), ('a@example.com'), (' A@Example.com '), ('B@example.com'), ('new@example.com')) w (what), crmsync.sync('people', mailbox => w.what) s;
ALTER TABLE crm.audience RENAME TO elsewhere;
SELECT * FROM crmsync.sync('people', mailbox => 'b@example.com');
SELECT * FROM crmsync.sync('people', mailbox => 'new@example.com');
ALTER TABLE crm.elsewhere RENAME TO audience;
DELETE FROM crmsync.pending;
SELECT link, mailbox, record, parked, code, message FROM crmsync.failures ORDER BY record;
SELECT link, mailbox, state, items, leaving, failed, code FROM crmsync.mailboxes ORDER BY mailbox;
SELECT link, record, mailbox, remote_id, origin, state, confirmed FROM crmsync.items ORDER BY record;
SELECT kind, name, message, hint FROM crmsync.alerts WHERE kind <> 'server' ORDER BY 1, 2, 3;
SELECT link, target, object, direction, enabled, state, failed, conflicts FROM crmsync.status;

-- What is asked for is carried out by the worker, after the commit; here by hand.
SELECT crmsync.confirm_deletes('people', expected => 3);
SELECT count(*) FROM crmsync.items WHERE confirmed;
SELECT crmsync.confirm_deletes('people', 'A@example.com', 1);
SELECT crmsync.carry_out_requests();
SELECT record, confirmed FROM crmsync.items WHERE state = 'leaving' ORDER BY record;
SELECT crmsync.confirm_deletes('people', 'nobody@example.com');
SELECT crmsync.confirm_deletes('people');
SELECT crmsync.carry_out_requests();
SELECT crmsync.retry('people', '7');
SELECT count(*) FROM crmsync.failures WHERE record = '7';
SELECT crmsync.carry_out_requests();
SELECT crmsync.retry('people', '7');
SELECT code FROM crmsync.mailboxes WHERE mailbox = 'b@example.com';
SELECT crmsync.retry('people', mailbox => 'b@example.com');
SELECT crmsync.carry_out_requests();
SELECT code FROM crmsync.mailboxes WHERE mailbox = 'b@example.com';
SELECT crmsync.retry('people');
SELECT crmsync.carry_out_requests();
SELECT count(*) FROM crmsync.failures;

-- forget: not while copies are there; then without a trace, in the history, too.
INSERT INTO crmsync.history_1 (at, link, mailbox, record, action, result, new) VALUES ('2026-01-01', 1, 'a@example.com', '1', 'create', 'done', '{"given_name": "Ada"}');
INSERT INTO crmsync.undoing (link, step, mailbox, record, old) VALUES (1, 'create', 1001, '1', '{"given_name": "Ada"}');
INSERT INTO crmsync.bounce (mailbox, record, properties, held) VALUES (1001, '1', 'Ada', 'Ada');
INSERT INTO crmsync.request (action, link, record) VALUES ('retry', 1, '1');
INSERT INTO crmsync.conflict (link, mailbox, kind, item, records) VALUES (1, 1001, 'ambiguous', 'XXX', '{1,2}');
SELECT crmsync.forget('people', '1');
DELETE FROM crmsync.item WHERE record = '1';
SELECT crmsync.forget('people', '1');
SELECT link, mailbox, record, action, new FROM crmsync.history;
SELECT records FROM crmsync.conflict;
DELETE FROM crmsync.conflict;
DO $$
DECLARE
    this regclass;
    hits bigint;
BEGIN
    FOR this IN SELECT oid FROM pg_class WHERE relnamespace = 'crmsync'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('SELECT count(*) FROM %s t WHERE t::text LIKE ''%%Ada%%'' OR to_jsonb(t) ->> ''record'' = ''1''', this) INTO hits;
        IF hits > 0 THEN
            RAISE WARNING '% keeps something', this;
        END IF;
    END LOOP;
END;
$$;

-- resync: of an enabled link, in mailboxes that take part. A copy counts as a delete like an item.
SAVEPOINT before_resync;
SELECT crmsync.resync('people', mode => 'burn');
SELECT crmsync.resync('people', 'nobody@example.com');
SELECT crmsync.resync('people', 'A@example.com', 'replace');
SELECT crmsync.resync('people');
SELECT crmsync.carry_out_requests();
SELECT m.address, p.mode, p.step FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox ORDER BY 1;
SELECT link, kind, records FROM crmsync.backlog WHERE kind = 'repair';
INSERT INTO crmsync.sighting (mailbox, remote_id, change_key, record, kind) VALUES (1001, 'ZZZ', 'Z', '1', 'surplus');
SELECT crmsync.confirm_deletes('people', 'a@example.com');
SELECT crmsync.carry_out_requests();
SELECT kind, confirmed FROM crmsync.sighting;
UPDATE crmsync.link SET enabled = false;
SELECT crmsync.resync('people');
ROLLBACK TO before_resync;

-- withdraw: of an enabled link only what it would not fill again, so that it needs a relation of mailboxes.
SAVEPOINT before_withdraw;
SELECT crmsync.withdraw('people');
UPDATE crmsync.link SET enabled = false;
SELECT crmsync.withdraw('people', 'nobody@example.com');
INSERT INTO crmsync.item (link, record, mailbox, origin, state) VALUES
    (1, '4', 1001, 'mailbox', 'linked'), (1, '5', 1001, 'crm', 'gone'), (1, '6', 1002, 'adopted', 'linked');
SELECT crmsync.withdraw('people', ' A@Example.com'), crmsync.withdraw('people');
SELECT state FROM crmsync.status;
-- A listing for another purpose that has begun after withdraw was called, and before this, does not count.
INSERT INTO crmsync.repair (mailbox, mode, since, began) VALUES (1001, 'repair', now(), clock_timestamp() + interval '1 hour');
SELECT crmsync.carry_out_requests();
SELECT m.address, p.mode, p.step, p.began FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox ORDER BY 1;
SELECT link, kind, records FROM crmsync.backlog WHERE kind = 'withdraw';
ROLLBACK TO before_withdraw;

-- Another identity: held until it is confirmed; then everything is compared.
UPDATE crmsync.identity SET system_identifier = 1;
SELECT kind, message, hint FROM crmsync.alerts WHERE message LIKE '%confirmed%';
UPDATE crmsync.target SET paused = false;
SELECT state FROM crmsync.status WHERE state IN ('held', 'paused');
SELECT crmsync.confirm_identity();
SELECT crmsync.confirm_identity();
SELECT crmsync.confirm_identity('standby');
SELECT count(*), count(DISTINCT instance) FROM crmsync.identity;
SELECT count(*) FROM crmsync.alerts WHERE message LIKE '%confirmed%';

-- Broken and held are said.
SELECT crmsync.carry_out_requests();
UPDATE crmsync.link_state SET broken = 'column "name" is gone';
SELECT state, last_error FROM crmsync.status;
UPDATE crmsync.link_state SET broken = NULL, held = '3 deletes in 1 mailboxes wait for confirm_deletes';
SELECT state, last_error FROM crmsync.status;
ROLLBACK;
SELECT crmsync.disable_link('people');
SELECT state FROM crmsync.status;

-- What is not done yet says so.
SELECT crmsync.resolve(1, 'crm');
-- The alert about deletes that wait reads their items only.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || query; END $$;
SELECT DISTINCT substring(p FROM 'using (item_(leaving|removed)) on item') FROM plan_of('SELECT * FROM crmsync.alerts') p WHERE p ~ 'item_(leaving|removed)' ORDER BY 1;
DROP FUNCTION plan_of;
DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner;
