-- CREATE EXTENSION, DROP EXTENSION without CASCADE, and again; nothing is left on the CRM's tables.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA crmsync;
CREATE EXTENSION crmsync;           -- a schema that somebody prepared is not trusted
DROP SCHEMA crmsync;
CREATE EXTENSION crmsync;
SELECT extversion, extrelocatable FROM pg_extension WHERE extname = 'crmsync';

CREATE ROLE regress_crmsync_owner;
CREATE SCHEMA crm AUTHORIZATION regress_crmsync_owner;
SET ROLE regress_crmsync_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);
CREATE TABLE crm.person_low PARTITION OF crm.person FOR VALUES FROM (0) TO (1000);
CREATE TABLE crm.audience (record integer, mailbox text);
RESET ROLE;

SELECT crmsync.create_target('exchange', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange');
SELECT crmsync.pause_target('exchange');
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.map('people', 'name', 'given_name');
SELECT relation, column_name, columns, how FROM crmsync.enable_link('people');
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%';

-- DROP EXTENSION takes triggers, also those of partitions, and the schema away.
DROP EXTENSION crmsync;
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%';
SELECT count(*) FROM pg_namespace WHERE nspname = 'crmsync';
INSERT INTO crm.person VALUES (1, 'Ada');
TRUNCATE crm.person;

-- What everything that is made is given to some role, by default, is not given here.
CREATE ROLE regress_crmsync_reporting;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_crmsync_reporting;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_crmsync_reporting;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_crmsync_reporting;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_crmsync_reporting;
CREATE EXTENSION crmsync;
SELECT a.grantee::regrole, count(*)
FROM (SELECT nspacl FROM pg_namespace WHERE nspname = 'crmsync'
      UNION ALL SELECT relacl FROM pg_class WHERE relnamespace = 'crmsync'::regnamespace
      UNION ALL SELECT proacl FROM pg_proc WHERE pronamespace = 'crmsync'::regnamespace) AS o (acl)
CROSS JOIN LATERAL aclexplode(o.acl) a WHERE a.grantee = 'regress_crmsync_reporting'::regrole GROUP BY 1;
DROP EXTENSION crmsync;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_crmsync_reporting;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM regress_crmsync_reporting;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM regress_crmsync_reporting;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM regress_crmsync_reporting;
DROP ROLE regress_crmsync_reporting;

CREATE EXTENSION crmsync;
SELECT count(*) FROM crmsync.links;
SELECT count(*) FROM crmsync.identity;  -- a restore must not confirm itself
DROP EXTENSION crmsync;
DROP SCHEMA crm CASCADE;
DROP ROLE regress_crmsync_owner;
