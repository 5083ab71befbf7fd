# Expressions and audiences that take too long fail, and nobody else's link with them; and a link that is
# disabled while much of it is queued writes nothing more.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('timeouts', conf => 'crmsync.query_timeout = 500ms', exchange => [ '--mailboxes', 5 ]);
my $exchange = $stage->exchange;
my ($one, $two, $three, $four, $five) = map { "user$_\@example.test" } 1 .. 5;
$stage->make_crm;
$stage->add_people(1, 5, $one);
$stage->settles('people are there');

# ---- an expression that is slow for each record
$stage->make_another('heavy', 80, $two, crm => '(CASE WHEN pg_sleep(0.02) IS NOT NULL THEN r.first_name END)');
$stage->goes_on($one, 'an expression is slow');
$stage->settles('all records together take too long, fewer at once do not', 'heavy', '60 s');
is(scalar(keys %{ $exchange->records($two) }), 80, 'and all arrive');
$stage->until_true(sub { $stage->status('state', 'heavy') eq 'idle' }, 'that is no failure');

# ---- an expression that never ends
$stage->make_another('endless', 5, $three, crm => '(CASE WHEN r.id <> 1 OR pg_sleep(600) IS NOT NULL THEN r.first_name END)');
$stage->until_true(sub { $stage->status('state', 'endless') eq 'waiting' }, 'an expression that never ends', 30);
like($stage->status('last_error', 'endless'), qr/statement timeout/, 'is a failure of its link');
$stage->goes_on($one, 'it is tried again');
$stage->until_true(sub { $stage->status('state') . ' ' . $stage->status('state', 'heavy') eq 'idle idle' }, 'and of no other');
$stage->sql('SET ROLE crm_owner; UPDATE crm.endless SET id = 6 WHERE id = 1');
$stage->settles('without that record', 'endless', '60 s');
is($exchange->show($three), '2:First2 3:First3 4:First4 5:First5 6:First1', 'the link works');

# ---- an audience that takes longer than a comparison may
my $timeout = sub { $stage->sql("ALTER SYSTEM SET crmsync.long_query_timeout = '$_[0]'"); $stage->sql('SELECT pg_reload_conf()'); return };
$timeout->('1s');
$stage->sql('SET ROLE crm_owner; CREATE TABLE crm.pace (seconds double precision); INSERT INTO crm.pace VALUES (0.012)');
$stage->make_another('slow', 100, $four, audience => "SELECT id AS record, '$four' AS mailbox FROM crm.slow WHERE pg_sleep((SELECT p.seconds FROM crm.pace p)) IS NOT NULL");
$stage->until_true(sub { $stage->status('state', 'slow') eq 'waiting' }, 'an audience that takes too long', 30);
like($stage->status('last_error', 'slow'), qr/statement timeout/, 'is a failure of its link');
$stage->goes_on($one, 'it is tried again');
$stage->until_true(sub { $stage->sql("SELECT greatest(s.attempts, s.comparison_attempts) > 3 FROM crmsync.link_state s JOIN crmsync.link l ON l.id = s.link WHERE l.name = 'slow'") eq 't' }, 'after longer and longer pauses', 40);
$stage->sql("UPDATE crm.slow SET first_name = 'Fresh' WHERE id = 7");
$stage->until_true(sub { $exchange->show($four) eq '7:Fresh' }, 'what is changed meanwhile does not wait for that', 4);
$timeout->('1h');
$stage->settles('with more time', 'slow', '60 s');
is(scalar(keys %{ $exchange->records($four) }), 100, 'the audience is read');

# ---- a comparison that is ended before it can say so
$stage->sql('UPDATE crm.pace SET seconds = 0.1');
my $comparison = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'crmsync comparison'";
my $compare = "SELECT crmsync.request_comparison(id, 'everything'), crmsync.wake() FROM crmsync.link WHERE name = 'slow'";
my %ended;
$stage->sql($compare);
my $until = time + 3;
while (time < $until)
{
	kill 'TERM', $_ and $ended{$_} = 1 for split /\n/, $stage->sql($comparison);
	sleep 0.02;
}
my $times = keys %ended;
cmp_ok($times, '>', 0, 'a comparison that is terminated');
cmp_ok($times, '<', 5, "is tried again after a pause: $times times in three seconds");
$stage->sql('UPDATE crm.pace SET seconds = 0.012');
$stage->settles('and until it can go on', 'slow', '60 s');

SKIP:
{
	skip 'transaction_timeout came with PostgreSQL 17', 2 if $stage->node->pg_version < 17;
	$stage->sql("ALTER SYSTEM SET transaction_timeout = '300ms'");
	$stage->sql('SELECT pg_reload_conf()');
	$stage->sql($compare);
	$stage->until_true(sub { $stage->sql("SELECT comparison IS NULL FROM crmsync.link_state s JOIN crmsync.link l ON l.id = s.link WHERE l.name = 'slow'") eq 't' },
		'a comparison takes as long as it takes, whatever transactions of others may', 20);
	unlike(slurp_file($stage->node->logfile), qr/due to transaction timeout/, 'and is not begun again and again');
	$stage->sql('ALTER SYSTEM RESET transaction_timeout');
	$stage->sql('SELECT pg_reload_conf()');
}

# ---- disabled while thousands of its records are queued
$exchange->post('server', request_ms => 300);
$stage->make_another('many', 3000, $five);
$stage->until_true(sub { keys %{ $exchange->records($five) } > 0 }, 'thousands are on their way', 30);
$stage->sql("SELECT crmsync.disable_link('many')");
$stage->until_true(sub { $stage->sql("SELECT pending FROM crmsync.status WHERE link = 'many'") == 0 }, 'the link is disabled');
sleep 1;
my $written = keys %{ $exchange->records($five) };
cmp_ok($written, '<', 3000, "after $written");
$stage->sql('SET ROLE crm_owner; UPDATE crm.many SET first_name = first_name || id');
sleep 3;
is(scalar(keys %{ $exchange->records($five) }), $written, 'nothing more is written');
is($stage->status('state || pending', 'many'), 'disabled0', 'or waits');
$exchange->post('server', request_ms => 0);
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('many')");
$stage->settles('enabled again', 'many', '60 s');
my $records = $exchange->records($five);
is(keys(%$records) . " $records->{1}{'contacts:GivenName'}", '3000 First11', 'all is written once, as it is now');

$stage->done;
