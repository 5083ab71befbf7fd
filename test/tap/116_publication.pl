# Logical replication of everything (FOR ALL TABLES) between two databases that both have the extension:
# what belongs to crmsync stays where it is, and what arrives in the CRM's tables is captured there.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('publication', init => { allows_streaming => 'logical' }, conf => <<'CONF');
max_worker_processes = 24
max_wal_senders = 16
max_replication_slots = 32
max_logical_replication_workers = 12
max_sync_workers_per_subscription = 4
CONF
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm;

# The same tables upstream, and a link of the same number that writes to another mailbox and maps one
# column more: what changes only there is carried out only there.
$node->safe_psql('postgres', 'CREATE DATABASE upstream');
sub up { return $node->safe_psql('upstream', $_[0]) }
my $url = $exchange->url;
up(<<"SQL");
CREATE EXTENSION crmsync;
CREATE SCHEMA crm AUTHORIZATION crm_owner;
SET ROLE crm_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, first_name text, last_name text, phone text, email text, remark text);
CREATE TABLE crm.audience (record integer, mailbox text, PRIMARY KEY (record, mailbox));
CREATE VIEW crm.here AS SELECT record, '$two' AS mailbox FROM crm.audience;
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.create_target('upstream', 'ews', '$url', auth => 'basic', username => 'service\@example.test', secret => 'file:exchange');
SELECT crmsync.create_link('upstream', 'upstream', 'contact', 'crm.person', audience => 'crm.here');
SELECT crmsync.map('upstream', 'first_name', 'given_name');
SELECT crmsync.map('upstream', 'email', 'email_1');
SELECT crmsync.map('upstream', 'remark', 'notes');
SELECT crmsync.watch('upstream', 'crm.audience', 'record');
SELECT crmsync.enable_link('upstream');
CREATE PUBLICATION everything FOR ALL TABLES;
SELECT pg_create_logical_replication_slot('downstream', 'pgoutput');
INSERT INTO crm.person (id, first_name) SELECT i, 'First' || i FROM generate_series(1, 3) i;
INSERT INTO crm.audience SELECT i, '$one' FROM generate_series(1, 3) i;
SQL

sub up_settles
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(up("SELECT pending || ' ' || failed FROM crmsync.sync('upstream', wait => '60 s')"), '0 0', $name);
	return;
}

# Everything of ours that replication could have changed, as one text. Not what the worker does by itself.
my $configuration = "SELECT string_agg(t, E'\\n' ORDER BY t) FROM (" . join(' UNION ALL ',
	map { "SELECT '$_ ' || x::text AS t FROM crmsync.$_ x" } qw(target target_secret link mapping group_mapping watched capture capture_link identity role_grant))
  . ') y';

sub catches_up { $node->wait_for_catchup($_[0] // 'downstream'); return }

up_settles('upstream is carried out upstream');
is($exchange->show($two), '1:First1 2:First2 3:First3', 'in its own mailbox');
my $ours = $stage->sql($configuration);
my $connection = $node->connstr('upstream') =~ s/'//gr;
$stage->sql("CREATE SUBSCRIPTION downstream CONNECTION '$connection' PUBLICATION everything WITH (create_slot = false, slot_name = 'downstream')");
my $synced = "SELECT count(*) > 20 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel";
ok($node->poll_query_until('postgres', $synced), 'all tables are copied');
is($stage->sql($configuration), $ours, 'the first copy leaves the configuration as it is');
is($stage->sql('SELECT count(*) FROM crmsync.log_position'), '1', 'and the position');
$stage->settles('what was copied into the tables of the CRM');
is($exchange->show($one), '1:First1 2:First2 3:First3', 'is captured and carried out');
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE link = 1"), '3', 'with items of our own');

# ---- everything that crmsync does upstream
up("UPDATE crm.person SET first_name = 'Second' || id; INSERT INTO crm.person (id, first_name, email) VALUES (4, 'Fourth', repeat('a', 290) || '\@example.com'), (5, 'Fifth', NULL); INSERT INTO crm.audience VALUES (4, '$one'), (5, '$one')");
is(up("SELECT pending || ' ' || failed FROM crmsync.sync('upstream', wait => '60 s')"), '0 1', 'one record is parked upstream');
up("SELECT crmsync.retry('upstream'); SELECT crmsync.alter_link('upstream', options => '{\"max_deletes\": 7}')");
up("DELETE FROM crm.person WHERE id = 4; DELETE FROM crm.audience WHERE record IN (4, 5)");
up("SELECT pending FROM crmsync.sync('upstream', wait => '60 s')");
is(up("SELECT crmsync.forget('upstream', '5'); SELECT count(*) FROM crmsync.history WHERE record = '5'"), "\n0", 'forget() works in a publication');
up("SELECT crmsync.pause_target('upstream'); SELECT crmsync.resume_target('upstream'); SELECT crmsync.confirm_identity('elsewhere'); SELECT crmsync.grant_role('crm_owner', 'reader')");
up("SELECT crmsync.unmap('upstream', 'notes'); SELECT crmsync.map('upstream', 'last_name', 'surname'); SELECT crmsync.map('upstream', 'remark', 'notes'); SELECT crmsync.enable_link('upstream')");
up_settles('upstream goes on');
catches_up();
is($stage->sql($configuration), $ours, 'changes of the configuration upstream do not arrive');
$stage->settles('changes in the CRM do');
is($exchange->show($one), '1:Second1 2:Second2 3:Second3', 'and are carried out');
is($stage->failures, 'none', 'failures do not arrive');
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE link = 1"), '3', 'nor items');
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE record IN ('4', '5') AND mailbox = '$two'"), '0', 'nor history');

# ---- the change log is emptied upstream
my $files = "SELECT pg_relation_filepath('crmsync.change_log_0') || ' ' || pg_relation_filepath('crmsync.change_log_1')";
my $rows = 'SELECT (SELECT count(*) FROM crmsync.change_log_0) + (SELECT count(*) FROM crmsync.change_log_1)';
up("INSERT INTO crm.person (id) SELECT i FROM generate_series(1000, 1999) i");
my $up_files = up($files);
catches_up();
$stage->settles('people in nobody\'s audience');
my $before = $stage->sql("$files; $rows");
cmp_ok($stage->sql($rows), '>', 1000, 'there is something in our log');
for my $round (1 .. 8)
{
	up("DO \$\$ BEGIN FOR i IN 1 .. 5 LOOP UPDATE crm.person SET remark = '$round ' || i WHERE id >= 1000; COMMIT; END LOOP; END \$\$");
	up("SELECT pending FROM crmsync.sync('upstream', wait => '60 s')");
}
$stage->until_true(sub { up($files) ne $up_files }, 'the log is emptied upstream', 60);
catches_up();
is($stage->sql("$files; $rows"), $before, 'and ours stays as it is');

# ---- back, too: all of ours at once
$stage->sql("SELECT pg_create_logical_replication_slot('back', 'pgoutput'); CREATE PUBLICATION ours FOR TABLES IN SCHEMA crmsync");
my $upstreams = up($configuration);
$connection = $node->connstr('postgres') =~ s/'//gr;
up("CREATE SUBSCRIPTION back CONNECTION '$connection' PUBLICATION ours WITH (create_slot = false, slot_name = 'back')");
ok($node->poll_query_until('upstream', $synced), 'both ways');
$stage->change("UPDATE crm.person SET last_name = 'Here' WHERE id = 1");
catches_up('back');
up("UPDATE crm.person SET first_name = 'Last' WHERE id = 1");
up_settles('upstream still works');
catches_up();
catches_up('back');
$stage->settles('and so do we');
is($exchange->show($one) . ' / ' . $exchange->show($two), '1:Last 2:Second2 3:Second3 / 1:Last 2:Second2 3:Second3', 'all arrives once');
is(up($configuration), $upstreams, 'and nothing of ours crossed over');
is($stage->sql("SELECT sum(apply_error_count), sum(sync_error_count) FROM pg_stat_subscription_stats"), '0|0', 'no subscription stopped')
  or diag(join "\n", grep { /ERROR|CONTEXT/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile));

# ---- every table of ours is protected, and the protection goes with the extension
is($stage->sql("SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgfoid = 'crmsync.ignore_replicated'::regproc AND t.tgenabled = 'R')"), '', 'no table of ours is without protection');
up('ALTER SUBSCRIPTION back DISABLE; ALTER SUBSCRIPTION back SET (slot_name = NONE); DROP SUBSCRIPTION back');
up('DROP EXTENSION crmsync');
is(up("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%'"), '0', 'DROP EXTENSION leaves nothing behind');
$stage->sql('ALTER SUBSCRIPTION downstream DISABLE; ALTER SUBSCRIPTION downstream SET (slot_name = NONE); DROP SUBSCRIPTION downstream');

$stage->done;
