# Whatever is killed in the middle of a load, nothing that was committed is lost, nothing is there
# twice, and nothing that was rolled back arrives.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{CRMSYNC_SEED} // int(rand(1_000_000));
srand($seed);
note("CRMSYNC_SEED=$seed");

my $stage = CrmSync::EndToEnd->new('crash', conf => 'restart_after_crash = on');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my @mailboxes = map { "user$_\@example.test" } 1 .. 4;
$stage->make_crm(more => "options => '{\"max_deletes\": 100000, \"max_delete_percent\": 100}'");

# What the CRM wants and what the mailboxes hold, as one text each.
sub wanted
{
	return $stage->sql("SELECT string_agg(format('%s %s %s', a.mailbox, p.id, p.first_name), E'\\n' ORDER BY a.mailbox, p.id) FROM crm.audience a JOIN crm.person p ON p.id = a.record");
}

sub held
{
	my @lines;
	for my $mailbox (sort @mailboxes)
	{
		my $records = $exchange->records($mailbox);    # dies of a duplicate
		push @lines, map { "$mailbox $_ $records->{$_}{'contacts:GivenName'}" } sort { $a <=> $b } keys %$records;
	}
	return join "\n", @lines;
}

sub all_arrived
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$exchange->post('server', item_ms => 0);
	# An item that was met again after a crash, and that nobody wants any more, may be left after the first.
	$stage->until_true(sub { join(' ', $stage->sync('people', '20 s')) eq '0 0' }, "$name: all is carried out", 60);
	ok(held() eq wanted(), "$name: every mailbox holds what it should, once");
	return;
}

my $next = 1;

# A load of creates, updates and deletes, begun and not waited for, with a transaction that never commits.
sub load
{
	my $from = $next;
	$next += 60;
	# Slow enough to be met in the middle: four mailboxes at a time, 60 items take 0.6 s.
	$exchange->post('server', item_ms => 10);
	$stage->add_people($from, $next - 1, @mailboxes);
	$stage->sql(<<"SQL");
UPDATE crm.person SET first_name = 'Changed' || id || '-' || $next WHERE id % 5 = 0 AND id < $from;
DELETE FROM crm.person WHERE id % 17 = @{[ $next % 17 ]} AND id < $from;
DELETE FROM crm.audience a WHERE record % 13 = 4 AND record < $from AND mailbox = '$mailboxes[0]';
BEGIN; UPDATE crm.person SET first_name = 'rolled back'; ROLLBACK;
SQL
	return;
}

load();
all_arrived('undisturbed');

for my $round (1 .. 4)
{
	load();
	my $pause = rand(0.9);
	sleep $pause;
	my $pid = $stage->worker_pid;
	my $before = $stage->sql('SELECT pg_postmaster_start_time(), count(*) FROM crmsync.pending');
	kill 'KILL', $pid;
	$stage->until_true(sub { !kill 0, $pid }, 'gone', 5);
	$stage->until_true(sub { $stage->answers && $stage->worker_pid ne '' }, sprintf('kill -9 of the worker after %.2f s (%s): a worker is back', $pause, $before), 10);
	all_arrived("kill -9 of the worker, round $round");
}

for my $round (1 .. 2)
{
	load();
	sleep rand(0.9);
	$node->stop('immediate');
	$node->start;
	all_arrived("immediate stop, round $round");
}

load();
sleep 0.4;
my @children = split /\n/, $stage->sql('SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
$node->kill9;
$stage->until_true(sub { !kill 0, @children }, 'kill -9 of the postmaster: its children notice', 10);
$node->start;
all_arrived('kill -9 of the postmaster');

load();
sleep 0.4;
$node->restart;
all_arrived('restarted in the middle');

# A lost answer and a crash at once: the create was carried out, and nobody here knows.
$stage->exchange->inject('lost', operation => 'CreateItem', count => 4);
load();
$stage->until_true(sub { $exchange->hits >= 2 }, 'answers are lost', 10);
$node->stop('immediate');
$node->start;
$exchange->calm;
all_arrived('lost answers, then a crash');
is($stage->failures, 'none', 'nothing is left behind');

$stage->done;
