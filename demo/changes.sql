-- What the demo changes: every step is committed, then waited for, and its time noted.
CREATE TEMP TABLE step (id integer GENERATED ALWAYS AS IDENTITY, what text, people bigint, mailboxes bigint, "arrived after" text);
\o /dev/null
\set note 'INSERT INTO step (what, people, mailboxes, "arrived after") SELECT :''what'', :people, :mailboxes, round(1000 * extract(epoch FROM clock_timestamp() - :''committed''::timestamptz)) || '' ms'';'

\set what 'one telephone number'
SELECT id AS one FROM crm.person p JOIN crm.contact_audience a ON a.record = p.id WHERE p.view_security = 'public' ORDER BY id LIMIT 1 \gset
SELECT 1 AS people, count(DISTINCT mailbox) AS mailboxes FROM crm.contact_audience WHERE record = :one \gset
UPDATE crm.telecom SET value = '+49 30 555 01' WHERE person_id = :one AND kind = 'business' AND is_default;
SELECT clock_timestamp() AS committed \gset
SELECT * FROM crmsync.sync('contacts', wait => '30 s');
:note

\set what 'the last name of several'
SELECT array_agg(DISTINCT record) AS some FROM (SELECT record FROM crm.contact_audience ORDER BY record LIMIT 100) a \gset
SELECT count(DISTINCT record) AS people, count(DISTINCT mailbox) AS mailboxes FROM crm.contact_audience WHERE record = ANY (:'some') \gset
UPDATE crm.person SET last_name = last_name || '-Meyer' WHERE id = ANY (:'some');
SELECT clock_timestamp() AS committed \gset
SELECT * FROM crmsync.sync('contacts', wait => '30 s');
:note

\set what 'several made private'
SELECT array_agg(DISTINCT record) AS some FROM (SELECT record FROM crm.contact_audience JOIN crm.person ON id = record WHERE view_security = 'public' ORDER BY record DESC LIMIT 10) a \gset
SELECT count(DISTINCT record) AS people, count(DISTINCT mailbox) AS mailboxes FROM crm.contact_audience WHERE record = ANY (:'some') \gset
UPDATE crm.person SET view_security = 'private' WHERE id = ANY (:'some');
SELECT clock_timestamp() AS committed \gset
SELECT * FROM crmsync.sync('contacts', wait => '30 s');
:note

\set what 'several deleted'
SELECT array_agg(DISTINCT record) AS some FROM (SELECT record FROM crm.contact_audience JOIN crm.person ON id = record WHERE view_security = 'public' ORDER BY record DESC LIMIT 10) a \gset
SELECT count(DISTINCT record) AS people, count(DISTINCT mailbox) AS mailboxes FROM crm.contact_audience WHERE record = ANY (:'some') \gset
DELETE FROM crm.person WHERE id = ANY (:'some');
SELECT clock_timestamp() AS committed \gset
SELECT * FROM crmsync.sync('contacts', wait => '30 s');
:note

\set what 'put on a personal list'
SELECT u.id AS "user", p.id AS one FROM crm.app_user u, crm.person p
WHERE u.uses_outlook AND p.class = 'Person' AND p.view_security = 'public'
  AND NOT EXISTS (SELECT FROM crm.contact_audience a WHERE a.record = p.id AND a.mailbox = u.email)
ORDER BY p.id DESC, u.id LIMIT 1 \gset
SELECT 1 AS people, 1 AS mailboxes \gset
INSERT INTO crm.personal_list (user_id, person_id) VALUES (:user, :one);
SELECT clock_timestamp() AS committed \gset
SELECT * FROM crmsync.sync('contacts', wait => '30 s');
:note

\o
SELECT what, people, mailboxes AS "in mailboxes", "arrived after" FROM step ORDER BY id;
