# Records that are in many mailboxes each, after some that are in one: what the worker keeps in memory of them is
# bounded, and all of it gets there.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep);

my ($mailboxes, $personal, $shared) = (400, 60, 200);

my $stage = CrmSync::EndToEnd->new('many_mailboxes', exchange => [ '--mailboxes', $mailboxes ]);
my ($node, $exchange) = ($stage->node, $stage->exchange);
$stage->make_crm;
$stage->add_people(1, 1, 'user1@example.test');
$stage->settles('one person');

# Of its own, in MiB.
sub memory { return PostgreSQL::Test::Utils::slurp_file('/proc/' . $stage->worker_pid . '/status') =~ /^RssAnon:\s+(\d+)/m && $1 / 1024 }

my $at_first = memory();

# When all is decided that is decided while nothing gets out.
sub takes_little
{
	my ($what) = @_;
	my ($before, $now) = (0, 0);
	$stage->until_true(sub { $before = $now; sleep 1; $now = memory(); return $stage->sql('SELECT count(*) FROM crmsync.mailbox') eq $mailboxes && abs($now - $before) < 0.1 }, "$what is decided", 60);
	return cmp_ok($now - $at_first, '<', 30, sprintf('%s takes little memory: %.1f MiB', $what, $now - $at_first));
}

$exchange->inject('delay', seconds => 5, count => 0);
# Keys are read in the order of their texts.
$stage->sql(<<"SQL");
BEGIN;
INSERT INTO crm.person (id, first_name) SELECT 10000 + i, 'Personal' FROM generate_series(1, $personal) i;
INSERT INTO crm.audience SELECT 10000 + i, 'user1\@example.test' FROM generate_series(1, $personal) i;
INSERT INTO crm.person (id, first_name) SELECT 20000 + i, 'Shared' FROM generate_series(1, $shared) i;
INSERT INTO crm.audience SELECT 20000 + i, 'user' || m || '\@example.test' FROM generate_series(1, $shared) i, generate_series(1, $mailboxes) m;
COMMIT;
SQL
takes_little('what waits for the server');
cmp_ok($stage->sql('SELECT count(*) FROM crmsync.item'), '<', $shared * $mailboxes / 2, 'most of it does');

$exchange->calm;
$stage->settles('the server is fast again', 'people', '120 s');
my $pairs = 1 + $personal + $shared * $mailboxes;
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE state = 'linked'"), $pairs, 'all are where they belong');
is(scalar keys %{ $exchange->records("user$_\@example.test") }, $shared, "as the server says: mailbox $_") for 2, $mailboxes;

# ---- the same of what is in them, with a worker that has not had all that memory yet
my $worker = $stage->worker_pid;
$stage->sql("SELECT pg_terminate_backend($worker)");
$stage->until_true(sub { $stage->has_another_worker($worker) }, 'another worker');
$stage->change("UPDATE crm.person SET first_name = 'First' WHERE id = 1");
$at_first = memory();
$exchange->inject('delay', seconds => 5, count => 0);
$stage->sql("UPDATE crm.person SET first_name = first_name || ' again'");
takes_little('what changes in them');
$exchange->calm;
$stage->settles('the server is fast again', 'people', '120 s');
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE shadow->>'given_name' LIKE '% again'"), $pairs, 'all have changed');

$stage->done;
