# Least privilege: a link works for an owner without any right beyond the CRM's tables; whatever the
# owner writes into expressions, audience and lookups can do no more than the owner; writers of the
# CRM's tables need no right on ours.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('owner');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
$stage->make_target;
$stage->sql(<<"SQL");
CREATE TABLE public.treasure (id integer);
CREATE ROLE mallory LOGIN;
CREATE ROLE clerk LOGIN;
CREATE SCHEMA crm AUTHORIZATION mallory;
SELECT crmsync.grant_role('mallory', 'admin');
SQL

# Runs every attempt, and notes who it ran as and which attempts succeeded.
my @attempts = (
	'SET ROLE postgres', 'RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', 'ALTER ROLE mallory SUPERUSER',
	'INSERT INTO public.treasure VALUES (1)', 'SELECT secret FROM crmsync.target_secret', q{UPDATE crmsync.link SET owner = 'postgres'},
	'DELETE FROM crmsync.item', 'INSERT INTO crmsync.change_log_0 SELECT 1::text::xid8, 1, NULL', 'CREATE TEMPORARY TABLE bait (id integer)',
	q{SELECT pg_read_file('/etc/passwd')}, q{COPY (SELECT 1) TO PROGRAM 'true'}, 'INSERT INTO crm.deferred VALUES (1)', 'SET CONSTRAINTS ALL DEFERRED; INSERT INTO crm.deferred VALUES (2)', 'SET row_security = on', 'SET search_path = crm, pg_catalog');
my $list = join ', ', map { "\$q\$$_\$q\$" } @attempts;
$stage->sql(<<"SQL");
SET ROLE mallory;
CREATE TABLE crm.person (id integer PRIMARY KEY, first_name text, last_name text, phone text, email text);
CREATE TABLE crm.team (id integer PRIMARY KEY, note text);
CREATE TABLE crm.deeds (place text, role text, attempt text);
CREATE TABLE crm.deferred (id integer);
CREATE FUNCTION crm.take() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 1 THEN ALTER ROLE mallory SUPERUSER; END IF; RETURN NULL; END';
CREATE CONSTRAINT TRIGGER take AFTER INSERT ON crm.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION crm.take();
CREATE FUNCTION crm.attack(place text) RETURNS boolean LANGUAGE plpgsql AS \$\$
DECLARE
    attempt text;
BEGIN
    INSERT INTO crm.deeds VALUES (place, current_user, 'ran');
    FOREACH attempt IN ARRAY ARRAY[$list] LOOP
        BEGIN
            EXECUTE attempt;
            INSERT INTO crm.deeds VALUES (place, current_user, attempt);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    RETURN true;
END \$\$;
CREATE FUNCTION crm.harmless(place text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN crm.attack(place); END';
CREATE FUNCTION crm.unnest(list text[]) RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN PERFORM crm.attack(''search path''); RETURN QUERY SELECT pg_catalog.unnest(list); END';
CREATE VIEW crm.audience AS SELECT id AS record, '$one' AS mailbox FROM crm.person WHERE crm.attack('audience');
CREATE VIEW crm.mailboxes AS SELECT '$one' AS mailbox, crm.attack('mailboxes') AS enabled;
GRANT USAGE ON SCHEMA crm TO clerk;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON crm.person TO clerk;
SQL

# ---- the owner makes the link
like($stage->error("SET ROLE mallory; SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', owner => 'postgres')"),
	qr/owner|permission|privilege/, 'nobody can make a link for a role that is not theirs');
$stage->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE mallory;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', mailboxes => 'crm.mailboxes');
SELECT crmsync.map('people', '(CASE WHEN crm.attack(''expression'') AND crm.harmless(''constant'') THEN r.first_name END)', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.watch('people', 'crm.team', 'id', lookup => 'SELECT $1::integer WHERE crm.attack(''lookup'')');
SELECT crmsync.enable_link('people');
SELECT * FROM crmsync.plan('people');
SQL
is($stage->sql("SELECT owner FROM crmsync.links"), 'mallory', 'whoever makes a link owns it');
$stage->sql("INSERT INTO crm.person VALUES (1, 'One', 'First'); INSERT INTO crm.team VALUES (1)");
$stage->settles('it works');
is($exchange->show($one), '1:One', 'for an owner without rights');
$stage->sql("SET ROLE mallory; SELECT * FROM crmsync.why('people', '1', '$one')");
$stage->change("UPDATE crm.team SET note = 'changed'");
$stage->change("UPDATE crm.person SET first_name = 'Uno'");
is($exchange->show($one), '1:Uno', 'whatever it tries');

# ---- what it could do
is($stage->sql("SELECT string_agg(DISTINCT place, ' ' ORDER BY place) FROM crm.deeds"), 'audience constant expression lookup mailboxes', 'all of its code has run, and none by a search path');
is($stage->sql("SELECT string_agg(DISTINCT role, ' ') FROM crm.deeds"), 'mallory', 'as the owner, and nobody else');
is($stage->sql("SELECT coalesce(string_agg(DISTINCT place || ': ' || attempt, ', '), 'nothing') FROM crm.deeds WHERE attempt NOT IN ('ran', 'SET row_security = on', 'SET search_path = crm, pg_catalog')"), 'nothing', 'and could do nothing that the owner cannot');
is($stage->sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), 'f', 'it is no superuser now');
is($stage->sql("SELECT (SELECT count(*) FROM public.treasure) + (SELECT count(*) FROM pg_class WHERE relname = 'bait')"), '0', 'and has left nothing where it must not');

# ---- text that tries to be more than an expression
for my $expression (q{(r.first_name); DROP TABLE public.treasure; --)}, q{(r.first_name) FROM crm.person r; DROP TABLE public.treasure; SELECT (1)}, q{(r.first_name), (1)}, q{((SELECT secret FROM crmsync.target_secret))})
{
	my $said = $stage->error("SET ROLE mallory; SELECT crmsync.map('people', \$q\$$expression\$q\$, 'nickname'); SELECT crmsync.enable_link('people')");
	isnt($said, 'no error', "refused: $expression");
	$stage->error("SET ROLE mallory; SELECT crmsync.unmap('people', 'nickname')");
}
is($stage->sql("SELECT to_regclass('public.treasure') IS NOT NULL"), 't', 'the treasure is still there');

# ---- who writes needs no right on our tables
$stage->change("SET ROLE clerk; INSERT INTO crm.person VALUES (2, 'Two'); UPDATE crm.person SET first_name = 'Due' WHERE id = 2");
is($exchange->show($one), '1:Uno 2:Due', 'a writer without any right on ours');
like($stage->error('SET ROLE clerk; SELECT * FROM crmsync.change_log_0'), qr/permission denied/, 'who cannot even read the log');
like($stage->error('SET ROLE clerk; SELECT * FROM crmsync.status'), qr/permission denied/, 'nor the views');
like($stage->error("SET ROLE clerk; SELECT crmsync.sync('people')"), qr/permission denied/, 'nor call anything');

# ---- levels
$stage->sql("CREATE ROLE looker; SELECT crmsync.grant_role('looker', 'reader')");
is($stage->sql("SET ROLE looker; SELECT pending FROM crmsync.status"), '0', 'a reader sees states');
is($stage->sql("SET ROLE looker; SELECT count(*) FROM crmsync.items WHERE values IS NOT NULL") . $stage->sql("SET ROLE looker; SELECT count(*) FROM crmsync.history WHERE old IS NOT NULL OR new IS NOT NULL"), '00', 'but no values');
like($stage->error("SET ROLE looker; SELECT crmsync.sync('people')"), qr/permission denied/, 'and operates nothing');
like($stage->error("SET ROLE looker; SELECT * FROM crmsync.plan('people')"), qr/permission denied/, 'nor sees the plan');

# ---- rows that the owner may not see would look like deletes
$stage->sql("ALTER TABLE crm.person OWNER TO postgres; GRANT SELECT ON crm.person TO mallory; ALTER TABLE crm.person ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON crm.person USING (id > 1)");
$stage->sql("UPDATE crm.person SET first_name = 'Ein' WHERE id = 1");
$stage->until_true(sub { $stage->status('state') eq 'broken' }, 'row security: the link is broken');
is($stage->sql('SET ROLE looker; SELECT code, last_error IS NULL FROM crmsync.status'), '42501|t', 'a reader learns the code, and no words that may quote values');
is($exchange->show($one), '1:Uno 2:Due', 'and nothing is deleted');
$stage->sql('ALTER TABLE crm.person DISABLE ROW LEVEL SECURITY; REVOKE SELECT ON crm.person FROM mallory');
$stage->until_true(sub { $stage->status('last_error') =~ /permission denied/ }, 'a right that is taken away: the link says so', 30);
$stage->sql('GRANT SELECT ON crm.person TO mallory');
$stage->until_true(sub { $exchange->show($one) eq '1:Ein 2:Due' }, 'given back, it goes on by itself', 40);

$stage->done;
