# A mailbox hangs while more waits for it than is kept in memory. Others of the same link get their changes as ever, nobody
# looks at what waits again and again, and all of it arrives once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep);

my ($hanging, $other) = ('user1@example.test', 'user2@example.test');
my $last = 12001;
my $stage = CrmSync::EndToEnd->new('hanging');
my $exchange = $stage->exchange;

sub rests { return $stage->sql("SELECT query FROM pg_stat_activity WHERE backend_type = 'crmsync worker'") eq 'waiting for targets' }
sub rests_for_a_while
{
	for (1 .. 6) { return 0 if !rests(); sleep 0.05 }
	return 1;
}
sub cpu_seconds
{
	my @fields = split ' ', PostgreSQL::Test::Utils::slurp_file('/proc/' . $stage->worker_pid . '/stat') =~ s/^.*\) //r;
	return ($fields[11] + $fields[12]) / 100;
}

$stage->make_crm(options => '{"timeout": 120}');
$stage->add_people(1, 1, $hanging, $other);
$stage->settles('both work');
$exchange->inject('delay', operation => 'CreateItem', mailbox => $hanging, seconds => 20);
$stage->add_people(2, $last, $hanging);
$stage->until_true(sub { $exchange->hits == 1 }, 'one hangs');
$stage->until_true(\&rests_for_a_while, 'nobody is at what waits for it', 60);
$stage->goes_on($other, 'a hanging mailbox');
cmp_ok($stage->status('pending'), '>=', $last - 1, 'what waits for it is still to do');
like($stage->sql("SELECT detail FROM crmsync.why('people', '999', '$hanging') WHERE step = 'pending'"), qr/^it waits since .*: much is under way to the mailbox already$/, '... and says why');
$stage->add_people($last + 1, $last + 1, $hanging, $other);
$stage->until_true(sub { exists $exchange->records($other)->{ $last + 1 } }, 'what belongs in both is where it can be');
is($stage->sql("SELECT pending > 10000 FROM crmsync.sync('people', wait => '1 s')"), 't', 'who waits for the link waits');
my $before = cpu_seconds();
sleep 2;
cmp_ok(cpu_seconds() - $before, '<', 0.5, 'what waits is not looked at again and again');
cmp_ok(scalar keys %{ $exchange->records($hanging) }, '<', 1000, 'all the while it hangs');

$exchange->calm;
$exchange->inject('delay', operation => 'CreateItem', mailbox => $hanging, seconds => 0.3, count => 0);
$stage->until_true(sub { keys %{ $exchange->records($hanging) } > 500 }, 'it goes on, slowly', 60);
$stage->goes_on($hanging, 'what was changed just now goes before the rest');
cmp_ok(scalar keys %{ $exchange->records($hanging) }, '<', $last, '... which still waits');
$exchange->calm;
$stage->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync worker'");
$stage->settles('all is done, by another worker', 'people', '120 s');
is(join(' ', map { scalar keys %{ $exchange->records($_) } } $hanging, $other), join(' ', $last + 1, 2), 'and all is there once');
$stage->done;
