# Every call from C++ into PostgreSQL may fail. This makes each of them fail, one after the other, in
# the start of a worker and a whole cycle of it, and in the SQL functions: nothing crashes, nothing is
# lost or done twice, and AddressSanitizer and LeakSanitizer find nothing to say.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::FailingCalls;
use CrmSync::Sanitizer;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

# Our own sessions are not what fails, unless they ask for it.
$ENV{PGOPTIONS} = '-c crmsync.fail_guarded_call=0';
my $sanitizer = CrmSync::Sanitizer->new(PostgreSQL::Test::Utils::tempdir() . '/sanitizer');
my $stage = CrmSync::EndToEnd->new('boundary', conf => CrmSync::FailingCalls::settings(), cluster => $sanitizer->cluster, environment => $sanitizer->environment(leaks => 0));
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm(more => "options => '{\"max_deletes\": 100000, \"max_delete_percent\": 100}'");
$stage->add_people(1, 3, $one, $two);
$stage->settles('before', 'people', '60 s');
my $began = $stage->sql('SELECT pg_postmaster_start_time()');

my $calls = CrmSync::FailingCalls->new($stage, $sanitizer);

# Ends the worker and has a new one started at once, that fails at its n-th call (0: at none).
sub new_worker_fails_at
{
	my ($n, $more) = @_;
	$calls->fail_at($n, $more);
	$calls->ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync worker'");
	my $limit = time + 60;
	until ($calls->ask('SELECT crmsync.worker_state()') eq 'waiting after a failure')
	{
		die 'the worker does not end' if time > $limit;
		sleep 0.02;
	}
	$calls->new_lines;
	# What the last error was about must not wait, either.
	$calls->ask('UPDATE crmsync.link_state SET attempts = 0, next_attempt = NULL; SELECT pg_reload_conf()');
	return;
}

# A create, an update, a delete and a comparison.
my $made = 1000;
sub change
{
	my ($n) = @_;
	$made++;
	return "BEGIN; UPDATE crm.person SET first_name = 'Call $n' WHERE id = 1; DELETE FROM crm.person WHERE id = $made - 1; "
		  . "INSERT INTO crm.person (id, first_name) VALUES ($made, 'New'); INSERT INTO crm.audience VALUES ($made, '$one'); "
		  . "UPDATE crmsync.link_state SET comparison = 'everything'; COMMIT; ";
}

# True when the injected error came; false when all was carried out without it.
sub fails_at
{
	my ($n) = @_;
	my $done = "SELECT NOT EXISTS (SELECT FROM crmsync.pending) AND NOT EXISTS (SELECT FROM crmsync.item WHERE state = 'leaving') "
	  . "AND crmsync.is_consumed(pg_current_snapshot()) AND (SELECT comparison IS NULL FROM crmsync.link_state) AND crmsync.worker_state() = 'running'";
	for my $look (1 .. 12000)
	{
		return 1 if $calls->new_lines =~ /guarded call $n fails/;
		return 0 if $look % 50 == 0 && $calls->ask($done) eq 't';
		sleep 0.01;
	}
	die "neither an error nor an end with call $n: " . $calls->ask('SELECT crmsync.worker_state()');
}

sub all_is_right
{
	my ($n) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	new_worker_fails_at(0);
	$stage->settles("up to call $n: all is carried out", 'people', '30 s');
	is($exchange->show($one), "1:Call $n 2:First2 3:First3 $made:New", "up to call $n: once");
	return;
}

# Has new workers fail at calls $step, 2 * $step ... until one gets through its start and a whole cycle;
# returns its calls. left_out: multiples of this are somebody else's.
sub fail_workers
{
	my ($step, %given) = @_;
	$calls->begin;
	my ($n, $failed, $started) = (0, 1, time);
	while ($failed && $n < 2000)
	{
		$n += $step;
		$n++ if $given{left_out} && $n % $given{left_out} == 0;
		new_worker_fails_at($n, change($n));
		$failed = fails_at($n);
		all_is_right($n) if $n % (50 * $step) == 0 || !$failed;
	}
	$calls->calm;
	$calls->end;
	note(sprintf('%d guarded calls, every %d., in %.0f s', $n, $step, time - $started));
	return $n;
}

# ---- the worker
my $leak_step = 7;
my $count = fail_workers(1, left_out => $leak_step);
cmp_ok($count, '>', 50, "each of the $count calls of a worker's start and a whole cycle may fail");
cmp_ok($count, '<', 2000, 'and then it works');
is($stage->sql('SELECT pg_postmaster_start_time()'), $began, 'the server never restarted');

# ---- with LeakSanitizer, which takes more than all the rest
$calls->start_again(leaks => 1);
$began = $stage->sql('SELECT pg_postmaster_start_time()');
fail_workers($leak_step);

# ---- SQL functions
my %functions = (
	check_target => "SELECT count(*) FROM crmsync.check_target('exchange', '$one', true)",
	plan => "SELECT count(*) FROM crmsync.plan('people')",
	why => "SELECT count(*) FROM crmsync.why('people', '1', '$one')",
	create_target => "SELECT crmsync.create_target('new', 'ews', 'https://mail.example.test/EWS/Exchange.asmx', auth => 'basic', username => 'x', secret => 'file:exchange'); SELECT crmsync.drop_target('new')",
	map => "SELECT crmsync.map('people', '(upper(r.remark))', 'notes'); SELECT crmsync.unmap('people', 'notes')",
	properties => 'SELECT count(*) FROM crmsync.properties',
	confirm_identity => 'SELECT crmsync.confirm_identity()',
);
# Runs a function with each of these calls failing, in one session; returns the calls that failed and
# what else was said.
sub fail_calls
{
	my ($statements, @calls) = @_;
	my $script = "SET client_min_messages = error;\n";
	$script .= "BEGIN; SET LOCAL crmsync.fail_guarded_call = $_; $statements; ROLLBACK;\n" for @calls;
	my ($status, $out, $error) = $node->psql('postgres', $script, on_error_stop => 0, timeout => 120);
	my %failed = map { $_ => 1 } "$out$error" =~ /guarded call (\d+) fails/g;
	my @strange = grep { !/guarded call|transaction is aborted/ } $error =~ /^.*(?:ERROR|FATAL|server closed|connection).*$/mg;
	return (\%failed, @strange);
}

for my $name (sort keys %functions)
{
	my ($calls, @strange) = (0);
	while ($calls < 2000)
	{
		my ($failed, @more) = fail_calls($functions{$name}, $calls + 1 .. $calls + 50);
		push @strange, @more;
		my ($works) = grep { !$failed->{$_} } $calls + 1 .. $calls + 50;
		$calls = $works - 1, last if $works;
		$calls += 50;
	}
	is(join("\n", @strange), '', "$name: each of its $calls calls may fail");
	ok($calls > 0 && $calls < 2000, "$name: and then it works");
}

# ---- what the sanitizers say
is($stage->sql('SELECT pg_postmaster_start_time()'), $began, 'the server never restarted');
unlike(slurp_file($node->logfile), qr/terminated by signal|reinitializing|could not clean up/, 'nothing crashed');
$node->stop('fast');
is(join("\n", $sanitizer->reports), '', 'AddressSanitizer and LeakSanitizer have nothing to say of crmsync');
ok($sanitizer->finds_leaks, 'which it can: it found what PostgreSQL itself leaks');
$calls->start_again(leaks => 0);
$stage->done;
