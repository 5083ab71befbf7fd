# Standbys do nothing. One that is promoted goes on where the primary was stopped: what was committed is
# carried out once, creates whose answers were lost included, if its environment was confirmed
# beforehand. Without that it is held and writes nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('primary', conf => "crmsync.environment = 'primary host'");
my ($primary, $exchange) = ($stage->node, $stage->exchange);
my @mailboxes = map { "user$_\@example.test" } 1 .. 4;
$stage->make_crm(more => "options => '{\"max_deletes\": 1000, \"max_delete_percent\": 100}'");
$stage->add_people(1, 40, @mailboxes);
$stage->settles('forty people');

# What the CRM wants and what the mailboxes hold, as one text each.
sub wanted
{
	return $stage->sql("SELECT string_agg(format('%s %s %s %s', a.mailbox, p.id, p.first_name, p.last_name), E'\\n' ORDER BY a.mailbox, p.id) FROM crm.audience a JOIN crm.person p ON p.id = a.record");
}

sub held
{
	my @lines;
	for my $mailbox (@mailboxes)
	{
		my $records = $exchange->records($mailbox);    # dies of a duplicate
		push @lines, map { join ' ', $mailbox, $_, $records->{$_}{'contacts:GivenName'}, $records->{$_}{'contacts:Surname'} } sort { $a <=> $b } keys %$records;
	}
	return join "\n", @lines;
}

sub processes { my ($node) = @_; return $node->safe_psql('postgres', "SELECT coalesce(string_agg(backend_type, ', '), 'none') FROM pg_stat_activity WHERE backend_type LIKE 'crmsync%'") }

# ---- two standbys, of which one is known
$stage->sql("SELECT crmsync.confirm_identity('standby host')");
$primary->backup('copy');
my ($standby, $stranger) = map {
	my $node = PostgreSQL::Test::Cluster->new($_);
	$node->init_from_backup($primary, 'copy', has_streaming => 1);
	$node->append_conf('postgresql.conf', "crmsync.environment = '$_ host'");
	$node->start;
	$node
} qw(standby stranger);
$stage->sql("ALTER SYSTEM SET synchronous_standby_names = '2 (standby, stranger)'; SELECT pg_reload_conf()");
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") eq '2' }, 'whatever is committed is on both standbys', 30);

# ---- they do nothing
$stage->add_people(41, 60, @mailboxes);
$stage->settles('the primary works');
$primary->wait_for_catchup($_, 'replay') for $standby, $stranger;
is(processes($standby) . ', ' . processes($stranger), 'none, none', 'no process of crmsync runs on a standby');
is($standby->safe_psql('postgres', 'SELECT pending, failed FROM crmsync.status'), '0|0', 'but how things are can be looked up there');
my (undef, undef, $said) = $standby->psql('postgres', "SELECT crmsync.retry('people')");
like($said, qr/read-only/, 'and not changed');

# ---- the primary is lost in the middle of its work
$exchange->post('server', item_ms => 25);
$exchange->inject('lost', operation => 'CreateItem', count => 3);
$stage->add_people(61, 120, @mailboxes);
$stage->sql(<<"SQL");
UPDATE crm.person SET first_name = 'Changed' WHERE id % 7 = 0;
DELETE FROM crm.audience WHERE record % 11 = 0 AND mailbox = '$mailboxes[1]';
DELETE FROM crm.person WHERE id % 13 = 0;
BEGIN; UPDATE crm.person SET first_name = 'rolled back'; ROLLBACK;
BEGIN; UPDATE crm.person SET last_name = 'Prepared' WHERE id = 5; PREPARE TRANSACTION 'later';
SQL
$stage->until_true(sub { $exchange->hits >= 2 }, 'answers to creates are lost', 20);
my $wanted = wanted();
$primary->stop('immediate');
$exchange->calm;
$exchange->post('server', item_ms => 0);
# What the server has been asked for, it still does: then only this test has a connection.
$stage->until_true(sub { $exchange->get('counters')->{connections}{open} <= 1 }, 'the server is through with what the primary asked for', 60);
my $now = held();
isnt($now, $wanted, 'the primary is stopped before all is done');

# ---- the unknown one is promoted
$exchange->forget_journal;
$stage->{node} = $stranger;
$stranger->promote;
$stage->until_true(sub { slurp_file($stranger->logfile) =~ /not the one that was confirmed: nothing is written until/ }, 'a promoted standby that nobody has confirmed says so', 30);
$stage->sql("UPDATE crm.person SET first_name = 'Stranger' WHERE id = 1");
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.pending WHERE record = '1'") eq '1' }, 'it captures changes', 20);
is($stage->status('state'), 'held', 'it is held');
like($stage->sql('SELECT hint FROM crmsync.alerts'), qr/confirm_identity/, 'and says what to do');
is($stage->sql('SELECT count(*) FROM crmsync.link_state WHERE comparison IS NOT NULL'), '0', 'without comparing');
sleep 1;
is(join(' ', map { $_->{operation} } $exchange->journal), '', 'nothing was asked or written');
$stranger->stop('fast');

# ---- the known one
$stage->{node} = $standby;
$standby->promote;
$stage->until_true(sub { $stage->sql('SELECT crmsync.worker_state()') eq 'running' }, 'the standby that was confirmed is promoted, and works', 30);
$stage->until_true(sub { join(' ', $stage->sync('people', '30 s')) eq '0 0' }, 'all is carried out', 120);
is(wanted(), $wanted, 'nothing that was committed is missing in the CRM');
ok(held() eq $wanted, 'every mailbox holds what it should, once');
$stage->sql("COMMIT PREPARED 'later'; UPDATE crm.person SET first_name = 'After' WHERE id = 2");
$stage->settles('what was prepared before and committed after');
ok(held() eq wanted(), 'is carried out, too');
is($stage->status('state'), 'idle', 'and all is well');
is($stage->failures, 'none', 'nothing is left behind');

$stage->done;
