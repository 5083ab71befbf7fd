# The calls of a worker that 030 and 032 leave out, and those of the SQL functions: LeakSanitizer, which takes more than
# all the rest, finds nothing to say of them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::FailingWorkers;
use CrmSync::Sanitizer;
use Test::More;

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

my $workers = CrmSync::FailingWorkers->new('boundary_leaks');
my $calls = $workers->calls;
$calls->start_again(leaks => 1);
$workers->fail_each($CrmSync::FailingWorkers::leak_step, $CrmSync::FailingWorkers::leak_step);

# ---- SQL functions
my %functions = (
	check_target => "SELECT count(*) FROM crmsync.check_target('exchange', 'user1\@example.test', true)",
	plan => "SELECT count(*) FROM crmsync.plan('people')",
	why => "SELECT count(*) FROM crmsync.why('people', '1', 'user1\@example.test')",
	create_target => "SELECT crmsync.create_target('new', 'ews', 'https://mail.example.test/EWS/Exchange.asmx', auth => 'basic', username => 'x', secret => 'file:exchange'); SELECT crmsync.drop_target('new')",
	map => "SELECT crmsync.map('people', '(upper(r.remark))', 'notes'); SELECT crmsync.unmap('people', 'notes')",
	properties => 'SELECT count(*) FROM crmsync.properties',
	confirm_identity => 'SELECT crmsync.confirm_identity()',
);
# Runs a function with each of these calls failing, in one session; returns the calls that failed and
# what else was said.
sub fail_calls
{
	my ($statements, @numbers) = @_;
	my $script = "SET client_min_messages = error;\n";
	$script .= "BEGIN; SET LOCAL crmsync.fail_guarded_call = $_; $statements; ROLLBACK;\n" for @numbers;
	my ($status, $out, $error) = $calls->stage->node->psql('postgres', $script, on_error_stop => 0, timeout => 300);
	my %failed = map { $_ => 1 } "$out$error" =~ /guarded call (\d+) fails/g;
	my @strange = grep { !/guarded call|transaction is aborted/ } $error =~ /^.*(?:ERROR|FATAL|server closed|connection).*$/mg;
	return (\%failed, @strange);
}

for my $name (sort keys %functions)
{
	my ($count, @strange) = (0);
	while ($count < 2000)
	{
		my ($failed, @more) = fail_calls($functions{$name}, $count + 1 .. $count + 50);
		push @strange, @more;
		my ($works) = grep { !$failed->{$_} } $count + 1 .. $count + 50;
		$count = $works - 1, last if $works;
		$count += 50;
	}
	is(join("\n", @strange), '', "$name: each of its $count calls may fail");
	ok($count > 0 && $count < 2000, "$name: and then it works");
}

$calls->done(leaks => 1);
