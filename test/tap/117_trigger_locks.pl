# Enabling and disabling a link locks the relations that it puts triggers on. Somebody who has one of them
# open for long must not make the writers of the others wait.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('locks', conf => "autovacuum_naptime = 1s\nautovacuum_max_workers = 1");
my $node = $stage->node;
$stage->make_crm;
$stage->sql("SELECT crmsync.disable_link('people'); CREATE TABLE wait (longest interval)");
$stage->add_people(1, 10, 'user1@example.test');

# A session that goes on with the statements while we do something else.
sub begin_with
{
	my ($statements) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/begun/, "\\echo begun\n$statements\n\\echo done\n");
	return $session;
}

sub ends
{
	my ($session) = @_;
	$session->query_until(qr/done/, '');
	my $said = $session->{stderr};
	$session->{stderr} = '';
	$session->quit;
	return $said;
}

# Writes a row again and again for so many seconds; how long the longest time took.
sub longest_write
{
	my ($relation, $seconds) = @_;
	my ($key, $column) = $relation eq 'crm.person' ? ('id', 'remark') : ('record', 'mailbox');
	$stage->sql(<<"SQL");
DO \$\$
DECLARE
	started timestamptz;
	longest interval := '0';
	over timestamptz := clock_timestamp() + interval '$seconds s';
BEGIN
	WHILE clock_timestamp() < over LOOP
		started := clock_timestamp();
		UPDATE $relation SET $column = $column WHERE $key = 2;
		COMMIT;
		longest := greatest(longest, clock_timestamp() - started);
		PERFORM pg_sleep(0.01);
	END LOOP;
	INSERT INTO wait VALUES (longest);
END \$\$
SQL
	return $stage->sql('SELECT extract(epoch FROM max(longest)) FROM wait; TRUNCATE wait');
}

my $enable = "SET client_min_messages = error; SELECT crmsync.enable_link('people');";
my $triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%'";
my $writer = $node->background_psql('postgres');
my $reader = $node->background_psql('postgres');

# ---- somebody writes one relation and does not commit
for my $open ([ 'crm.audience', 'crm.person' ], [ 'crm.person', 'crm.audience' ])
{
	my ($held, $free) = @$open;
	$writer->query_safe("BEGIN; UPDATE $held SET " . ($held eq 'crm.person' ? 'remark = 1 WHERE id' : "mailbox = 'user2\@example.test' WHERE record") . ' = 1');
	my $enabling = begin_with($enable);
	my $longest = longest_write($free, 4);
	cmp_ok($longest, '<', 1.5, sprintf('%s is open: a writer of %s waits %.3f s at most', $held, $free, $longest));
	like(ends($enabling), qr/could not lock \Q$held\E in a quiet moment/, 'enable_link gives up and names it');
	is($stage->sql($triggers), '0', 'it has left no trigger');
	$writer->query_safe('ROLLBACK');
}

# ---- and commits before long
$writer->query_safe("BEGIN; UPDATE crm.person SET remark = 1 WHERE id = 1");
my $enabling = begin_with($enable);
sleep 1;
$writer->query_safe('COMMIT');
is(ends($enabling), '', 'enable_link tries again until it may');
$stage->settles('the link works');

# ---- somebody reads one relation and does not commit, while the triggers go
for my $open ([ 'crm.audience', 'crm.person' ], [ 'crm.person', 'crm.audience' ])
{
	my ($held, $free) = @$open;
	$reader->query_safe("BEGIN; SELECT count(*) FROM $held");
	my $disabling = begin_with("SELECT crmsync.disable_link('people');");
	my $longest = longest_write($free, 4);
	cmp_ok($longest, '<', 1.5, sprintf('disable_link while %s is read: a writer of %s waits %.3f s at most', $held, $free, $longest));
	like(ends($disabling), qr/triggers stay until .*could not lock \Q$held\E in a quiet moment/s, 'it says that triggers stay');
	is($stage->status('enabled'), 'f', 'and the link has stopped');
	cmp_ok($stage->sql($triggers), '>', 0, 'they do');
	$longest = longest_write($held, 7);
	cmp_ok($longest, '<', 1.5, sprintf('while the worker looks whether they can go, a writer of %s waits %.3f s at most', $held, $longest));
	$reader->query_safe('COMMIT');
	$stage->until_true(sub { $stage->sql($triggers) == 0 }, 'until nobody is in the way');
	is($stage->sql('SELECT count(*) FROM crmsync.capture'), '0', 'and nothing is left');
	$stage->sql($enable);
}
$_->quit for $reader, $writer;
$stage->sql("SELECT crmsync.disable_link('people')");
is($stage->sql($triggers), '0', 'otherwise they go at once');

# ---- an autovacuum gives way
$stage->sql(<<'SQL');
ALTER TABLE crm.audience SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
INSERT INTO crm.audience SELECT i, 'user9@example.test' FROM generate_series(1, 20000) i;
DELETE FROM crm.audience WHERE mailbox = 'user9@example.test';
SQL
my $vacuuming = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'autovacuum: VACUUM%crm.audience%'";
$stage->until_true(sub { $stage->sql($vacuuming) == 1 }, 'an autovacuum that takes long', 40);
$stage->sql($enable);
is($stage->status('enabled'), 't', 'is no reason to give up');
$stage->settles('the link works again');

# ---- to forget what is known of a link may take long: nobody waits for that
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT count(*) FROM (SELECT FROM crmsync.item LIMIT 1 FOR UPDATE) AS one');
my $dropping = begin_with("SELECT crmsync.drop_link('people');");
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT crmsync.drop_link%' AND wait_event_type = 'Lock'") == 1 }, 'drop_link is forgetting items');
is($stage->sql("SET lock_timeout = '5s'; UPDATE crm.person SET remark = 'meanwhile' WHERE id = 2 RETURNING remark"), 'meanwhile', 'the CRM is written meanwhile');
$holder->query_safe('COMMIT');
$holder->quit;
is(ends($dropping), '', 'it ends');
is($stage->sql($triggers) . $stage->sql('SELECT count(*) FROM crmsync.links'), '00', 'and neither a trigger nor the link is left');

$stage->done;
