# Which workers run, and who may have them end: one per database that has the extension, held back by
# the statements that they would stand in the way of, started again when they fail.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('launcher');
$node->init(has_archiving => 0, allows_streaming => 1);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'crmsync'\nrestart_after_crash = on\nmax_prepared_transactions = 2");
$node->start;

sub workers
{
	return $node->safe_psql('postgres', "SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), 'none') FROM pg_stat_activity WHERE backend_type = 'crmsync worker'");
}

sub attached
{
	my ($database) = @_;
	return $node->safe_psql($database, 'SELECT crmsync.worker_state()') eq 'running';
}

# Waits until a condition holds; returns the seconds that it took.
sub until_true
{
	my ($condition, $name, $limit) = @_;
	my $started = time;
	$limit //= 20;
	sleep 0.02 while !$condition->() && time - $started < $limit;
	my $took = time - $started;
	ok($took < $limit, $name . sprintf(' (%.2f s)', $took));
	return $took;
}

# The worker of the database makes way within two seconds, and stays away. How long the statement then takes is the
# server's affair: it writes a checkpoint, and copies or removes files.
sub gives_way
{
	my ($database, $statement, $name) = @_;
	my $pid = worker_pid($database);
	my $started = time;
	my $session = IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', $statement ], '>', \my $said, '2>&1');
	sleep 0.01 while kill(0, $pid) && time - $started < 20;
	my $took = time - $started;
	$session->finish;
	ok($took <= 2 && $session->result == 0, sprintf('%s (%.2f s) %s', $name, $took, $said));
	return;
}

sub worker_pid
{
	my ($database) = @_;
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND datname = '$database'");
}

sub log_lines
{
	my ($pattern) = @_;
	my $count = () = slurp_file($node->logfile) =~ /$pattern/g;
	return $count;
}

# ---- which databases have one
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync launcher'"), '1', 'there is a launcher');
is(workers(), 'none', 'and no worker where there is no extension');
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('postgres', 'CREATE DATABASE two');
$node->safe_psql('one', 'CREATE EXTENSION crmsync');
until_true(sub { workers() eq 'one' && attached('one') }, 'CREATE EXTENSION brings a worker', 5);
$node->safe_psql('two', 'BEGIN; CREATE EXTENSION crmsync; ROLLBACK');
sleep 0.5;
is(workers(), 'one', 'one that is rolled back does not');
$node->safe_psql('two', 'CREATE EXTENSION crmsync');
until_true(sub { workers() eq 'one two' && attached('two') }, 'a second database has its own', 5);
is($node->safe_psql('one', 'SELECT crmsync.wake()'), 't', 'the worker can be woken');
$node->safe_psql('postgres', 'CREATE DATABASE prepared');
$node->safe_psql('prepared', "BEGIN; CREATE EXTENSION crmsync; PREPARE TRANSACTION 'extension'");
sleep 0.5;
is(workers(), 'one two', 'a prepared transaction does not');
$node->safe_psql('prepared', "COMMIT PREPARED 'extension'");
until_true(sub { workers() eq 'one prepared two' && attached('prepared') }, 'until it is committed', 5);
$node->safe_psql('postgres', 'DROP DATABASE prepared');
is($node->safe_psql('one', 'SELECT crmsync.preloaded()'), 't', 'preloaded');
unlike(slurp_file($node->logfile), qr/for database "postgres" failed/, 'looking at a database without the extension is no failure');

# ---- a worker that fails
my $pid = worker_pid('one');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
until_true(sub { worker_pid('one') ne '' && worker_pid('one') != $pid && attached('one') }, 'a worker that was terminated is started again', 5);
is(log_lines(qr/worker for database "one" failed; it is started again in 1 s/), 1, 'with one line in the log');
$pid = worker_pid('one');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
until_true(sub { worker_pid('one') ne '' && worker_pid('one') != $pid }, 'again', 6);
is(log_lines(qr/worker for database "one" failed; it is started again in 2 s/), 1, 'after a longer pause');

# ---- the launcher fails: the workers stay and are known to its successor
my $before = worker_pid('one') . ' ' . worker_pid('two');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync launcher'");
until_true(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync launcher'") eq '1' },
	'the launcher is started again', 15);
sleep 1;
is(worker_pid('one') . ' ' . worker_pid('two'), $before, 'and leaves the workers alone');

# ---- DROP and ALTER DATABASE
gives_way('two', 'ALTER DATABASE two RENAME TO three', 'ALTER DATABASE RENAME');
until_true(sub { workers() eq 'one three' && attached('three') }, 'the renamed database has its worker again', 5);
gives_way('three', 'CREATE DATABASE four TEMPLATE three', 'CREATE DATABASE ... TEMPLATE');
until_true(sub { workers() eq 'four one three' }, 'the copy has a worker, and the original again', 5);
my $space = PostgreSQL::Test::Utils::tempdir_short();
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$space'");
gives_way('four', 'ALTER DATABASE four SET TABLESPACE space', 'ALTER DATABASE SET TABLESPACE');
until_true(sub { workers() eq 'four one three' && attached('four') }, 'and its worker is back', 5);
$node->safe_psql('postgres', 'CREATE ROLE clerk LOGIN CREATEDB');
$pid = worker_pid('four');
my (undef, undef, $error) = $node->psql('postgres', 'SET ROLE clerk; DROP DATABASE four');
like($error, qr/must be owner/, 'somebody else may not drop it');
is(worker_pid('four'), $pid, 'nor stop its worker');
gives_way('four', 'DROP DATABASE four', 'DROP DATABASE');
until_true(sub { workers() eq 'one three' }, 'and its worker is gone', 2);
is(log_lines(qr/database "four" does not exist/), 0, 'for good');
$node->safe_psql('postgres', 'DROP TABLESPACE space');
(undef, undef, $error) = $node->psql('postgres', 'DROP DATABASE one');
is($error, '', 'DROP DATABASE of the first one');

# ---- databases where no worker can be: they take nothing from the others
# What an interrupted DROP DATABASE leaves behind.
$node->safe_psql('postgres', "CREATE DATABASE broken ALLOW_CONNECTIONS = false; UPDATE pg_database SET datconnlimit = -2, datallowconn = true WHERE datname = 'broken'");
$node->safe_psql('postgres', 'CREATE DATABASE "left"');
$node->safe_psql('left', 'CREATE EXTENSION crmsync');
until_true(sub { workers() eq 'left three' }, 'others are looked at', 5);
sleep 1;
unlike(slurp_file($node->logfile), qr/invalid database "broken"|database "broken" failed/, 'a database that was left invalid is not');
$node->safe_psql('postgres', 'DROP DATABASE broken');
for my $number (1 .. 66)
{
	$node->safe_psql('postgres', "CREATE DATABASE closed$number ALLOW_CONNECTIONS = false");
	$node->safe_psql('postgres', "DROP DATABASE closed$number");
}
$node->safe_psql('postgres', 'CREATE DATABASE last');
$node->safe_psql('last', 'CREATE EXTENSION crmsync');
until_true(sub { workers() eq 'last left three' }, 'nor do many take a place that were never open, and dropped', 5);
unlike(slurp_file($node->logfile), qr/cannot work in database/, 'as the log says');
$node->safe_psql('postgres', 'DROP DATABASE "left"');
$node->safe_psql('postgres', 'DROP DATABASE last');

# ---- DROP EXTENSION
my $session = $node->background_psql('three');
$session->query_safe('BEGIN; DROP EXTENSION crmsync');
is(workers(), 'none', 'DROP EXTENSION keeps the worker out');
$session->query_safe('ROLLBACK');
until_true(sub { workers() eq 'three' && attached('three') }, 'until it is rolled back', 5);
my $started = time;
$session->query_safe('DROP EXTENSION crmsync');
cmp_ok(time - $started, '<', 2, 'DROP EXTENSION is quick');
sleep 1;
is(workers(), 'none', 'and no worker comes back');
$session->query_safe('CREATE EXTENSION crmsync');
until_true(sub { workers() eq 'three' }, 'but after CREATE EXTENSION', 5);
$session->quit;

# ---- enabled
$node->safe_psql('postgres', 'ALTER SYSTEM SET crmsync.enabled = off; SELECT pg_reload_conf()');
until_true(sub { workers() eq 'none' }, 'crmsync.enabled = off stops the workers', 3);
is($node->safe_psql('three', 'SELECT crmsync.worker_state()'), 'disabled', 'and it shows');
my ($reloaded) = split /\n/, $node->safe_psql('postgres', 'ALTER SYSTEM RESET crmsync.enabled; SELECT clock_timestamp(); SELECT pg_reload_conf()');
until_true(sub { workers() eq 'three' && attached('three') }, 'on again, they are back');
cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM backend_start - '$reloaded') FROM pg_stat_activity WHERE backend_type = 'crmsync worker'"), '<', 2, 'at once');

my $launchers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync launcher'";
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync launcher'");
until_true(sub { $node->safe_psql('postgres', $launchers) eq '0' }, 'no launcher is there', 2);
$node->safe_psql('postgres', 'ALTER SYSTEM SET crmsync.enabled = off; SELECT pg_reload_conf()');
until_true(sub { workers() eq 'none' }, 'when it is switched off: its successor stops the workers', 8);
$node->safe_psql('postgres', 'ALTER SYSTEM RESET crmsync.enabled; SELECT pg_reload_conf()');
until_true(sub { workers() eq 'three' && attached('three') }, 'and starts them again', 5);

# ---- told to end when it has been registered and is not there yet
$node->safe_psql('postgres', 'CREATE DATABASE pattern');
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my $early = $node->background_psql('pattern');
$node->safe_psql('postgres', 'SELECT 1');
sleep 0.5;    # until it is known that the extension is not there
kill 'STOP', $postmaster;
$early->query_safe('CREATE EXTENSION crmsync');
until_true(sub { $early->query_safe('SELECT crmsync.worker_state()') eq 'starting' }, 'a worker is about to be started', 5);
$early->query_safe('ALTER DATABASE pattern IS_TEMPLATE true');
sleep 0.5;
kill 'CONT', $postmaster;
$early->quit;
sleep 1;
is(workers(), 'three', 'one in a database that is a template by then does not come');
(undef, undef, $error) = $node->psql('postgres', 'SET ROLE clerk; CREATE DATABASE made TEMPLATE pattern');
is($error, '', 'and is in nobody\'s way');
$node->safe_psql('postgres', 'DROP DATABASE made; ALTER DATABASE pattern IS_TEMPLATE false');
until_true(sub { workers() eq 'pattern three' && attached('pattern') }, 'it comes when there is to be one', 5);
$node->safe_psql('postgres', 'DROP DATABASE pattern');

# ---- the launcher holds nothing while it waits
is( $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity a LEFT JOIN pg_locks l USING (pid)
      WHERE a.backend_type = 'crmsync launcher' AND (a.backend_xmin IS NOT NULL OR a.xact_start IS NOT NULL OR l.pid IS NOT NULL)"),
	'0', 'the idle launcher has no transaction, snapshot or lock');

# ---- kill -9: the whole server restarts, and the workers with it
$pid = worker_pid('three');
kill 'KILL', $pid;
until_true(
	sub {
		# Of a server that goes away while psql is told what to ask the modules die.
		my (undef, $out) = eval { $node->psql('three',
			"SELECT crmsync.worker_state() = 'running' AND count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND pid <> $pid") };
		return defined $out && $out eq 't';
	},
	'after kill -9 of the worker all goes on at once', 10);

# ---- no free slot
$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0");
my $stopped = time;
$node->stop('fast');
cmp_ok(time - $stopped, '<', 3, 'fast shutdown');
$node->start;
until_true(sub { $node->safe_psql('three', 'SELECT crmsync.worker_state()') eq 'waiting for a worker slot' }, 'without a worker slot the state says so', 10);
sleep 6;
is(log_lines(qr/WARNING:  no free worker slot for crmsync in database "three"/), 1, 'and the log once');
like(slurp_file($node->logfile), qr/HINT:  Increase max_worker_processes/, 'with a hint');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;

# ---- standbys do nothing until they are promoted
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
sleep 1;
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'crmsync%'"), '0', 'a standby has neither launcher nor worker');
$standby->promote;
ok($standby->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'crmsync worker'"), 'after promotion it has');
$standby->stop;

$node->stop;
done_testing();
