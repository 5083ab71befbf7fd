# A target that is down delays nobody else and fills no log; what waits shows.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('outage', exchange => [ '--mailboxes', 4, '--request-ms', 5, '--item-ms', 5 ]);
my ($node, $exchange) = ($stage->node, $stage->exchange);
my @mailboxes = map { "user$_\@example.test" } 1 .. 4;
$stage->make_crm;
my $dead = CrmSync::StandIn->new($node->basedir . '/dead', '--mailboxes', 4);
$stage->make_target(name => 'dead', url => $dead->url);
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('others', 'dead', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.map('others', 'first_name', 'given_name');
SELECT crmsync.map('others', 'last_name', 'surname');
SELECT crmsync.enable_link('others');
SQL

sub log_lines { my ($from) = @_; my @lines = split /\n/, substr(slurp_file($node->logfile), $from); return grep { !/statement:|checkpoint|duration:/ } @lines }
sub log_size { return -s $node->logfile }

# ---- a long pass shows how far it is
$stage->sql("SELECT crmsync.disable_link('people')");
$stage->add_people(1, 200, @mailboxes);
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
my %seen;
my $limit = time + 30;
while (time < $limit)
{
	my $line = $stage->sql("SELECT done, total, rate IS NOT NULL, time_left IS NOT NULL FROM crmsync.progress WHERE link = 'people' AND phase = 'sending'");
	$seen{$line}++ if $line ne '';
	last if $line eq '' && %seen;
	sleep 0.02;
}
my ($middle) = grep { my ($done, $total, $rate, $left) = split /\|/; $done > 0 && $done < $total && "$rate$left" eq 'tt' } keys %seen;
ok($middle, 'the view progress shows done, total, rate and time left of a pass') or diag(join ' ; ', keys %seen);
$stage->settles('the pass ends');
$stage->settles('also for the other target', 'others');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.progress') eq '0' }, 'nothing is left in progress', 5);

# ---- down
$dead->stop;
my $from = log_size();
$stage->sql("UPDATE crm.person SET first_name = 'Sooner' WHERE id = 1");
$stage->until_true(sub { $stage->sql("SELECT code IS NOT NULL FROM crmsync.targets WHERE name = 'dead'") eq 't' }, 'a target that is down is noticed', 10);
my @took;
for my $id (2 .. 11)
{
	my $started = time;
	$stage->sql("UPDATE crm.person SET first_name = 'Sooner' WHERE id = $id");
	$stage->sync('people', '10 s');
	push @took, time - $started;
}
@took = sort { $a <=> $b } @took;
cmp_ok($took[5], '<', 1, sprintf('and delays only itself: the other takes %.2f s for a change', $took[5]));
$stage->until_true(sub { $stage->status('state', 'people') . ' ' . $stage->status('state', 'others') eq 'idle waiting' }, 'as the status says');
like($stage->status('last_error', 'others'), qr/refused|connect/i, 'with the reason');
sleep 10;
my @lines = grep { /crmsync/ } log_lines($from);
my @about = grep { /target "dead"/ } @lines;
is(scalar(@about), 1, 'one line in the server log in ten seconds') or diag(join "\n", @lines);
is(scalar(@lines), scalar(@about), 'and no other') or diag(join "\n", @lines);

# ---- up again
$from = log_size();
$dead->start;
$stage->until_true(sub { $stage->sql("SELECT code IS NULL FROM crmsync.targets WHERE name = 'dead'") eq 't' }, 'a target that is up again is noticed by itself', 60);
$stage->settles('and its backlog is carried out', 'others', '30 s');
is(scalar(grep { $dead->records($mailboxes[0])->{$_}{'contacts:GivenName'} eq 'Sooner' } 1 .. 11), 11, 'all of it');
is(scalar(grep { /crmsync: target "dead"/ } log_lines($from)), 1, 'with one line in the log');

# ---- a target that hangs, beside one that does not
$dead->inject('silence', count => 0);
$stage->sql("UPDATE crm.person SET first_name = 'Later' WHERE id <= 50");
@took = ();
for my $id (60 .. 64)
{
	my $started = time;
	$stage->sql("UPDATE crm.person SET first_name = 'Later' WHERE id = $id");
	$stage->sync('people', '10 s');
	push @took, time - $started;
}
cmp_ok((sort { $a <=> $b } @took)[2], '<', 1, 'a target that hangs delays only itself');
$dead->calm;

# ---- no worker slot
$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0");
$node->restart;
$stage->sql("UPDATE crm.person SET first_name = 'Slot' WHERE id = 1");
$stage->until_true(sub { $stage->sql('SELECT crmsync.worker_state()') eq 'waiting for a worker slot' }, 'no worker slot: worker_state says so', 10);
is($stage->status('state'), 'waiting', 'so does the status');
is($stage->status('last_error'), 'worker: waiting for a worker slot', 'with the reason');
like($stage->sql("SELECT hint FROM crmsync.alerts WHERE kind = 'server'"), qr/max_worker_processes/, 'and alerts what to do');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
$stage->settles('with a slot, what was recorded meanwhile is carried out', 'people', '20 s');
is($exchange->records($mailboxes[0])->{1}{'contacts:GivenName'}, 'Slot', 'indeed');

$dead->stop;
$stage->done;
