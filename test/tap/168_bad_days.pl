# Days on which all goes wrong at once: an audience that fails or is empty, one record in 3,000 mailboxes
# that changes ten times in a second, mailboxes that are locked or moved while they are written.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $mailboxes = 3000;
my $stage = CrmSync::EndToEnd->new('bad_days', exchange => [ '--mailboxes', $mailboxes ]);
my $exchange = $stage->exchange;
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
$stage->make_tables;
$stage->make_target;
$stage->sql('SET ROLE crm_owner; CREATE VIEW crm.wanted AS SELECT a.record, a.mailbox FROM crm.audience a');
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.wanted');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.enable_link('people');
SQL
$stage->add_people(1, 60, $one, $two);
$stage->settles('people are there');

# How an audience is replaced where its columns stay: at once, and without anybody's leave.
sub audience
{
	my ($query) = @_;
	$stage->sql("SET ROLE crm_owner; CREATE OR REPLACE VIEW crm.wanted AS $query");
	$stage->sql("SELECT crmsync.enable_link('people')");
	return;
}
sub there { return join ' ', map { scalar keys %{ $exchange->records($_) } } $one, $two }
my $as_it_was = 'SELECT a.record, a.mailbox FROM crm.audience a';

# ---- an audience that names nobody
$exchange->forget_journal;
audience("$as_it_was WHERE false");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'an audience that is empty all at once is held');
is(there(), '60 60', 'nothing is deleted');
is($exchange->requests('DeleteItem') . '', '0', 'nor has anything been tried');
$stage->sql("UPDATE crm.person SET first_name = 'Anna' WHERE id = 1");
$stage->sync;
is(there(), '60 60', 'not even when records change meanwhile');
audience($as_it_was);
$stage->settles('it names them again');
is(there(), '60 60', 'and all is as it was');
is($stage->status('state'), 'idle', 'nothing waits any more');
is($exchange->records($_)->{1}{'contacts:GivenName'}, 'Anna', "what changed meanwhile is in $_") for $one, $two;

# ---- an audience that fails
audience('SELECT a.record / (SELECT count(*) - count(*) FROM crm.person)::integer AS record, a.mailbox FROM crm.audience a');
$stage->until_true(sub { $stage->status('state') eq 'waiting' }, 'an audience that fails');
like($stage->status('last_error'), qr/division by zero/, 'says why');
$stage->sql('DELETE FROM crm.audience WHERE record = 60');
sleep 1;
is(there(), '60 60', 'nothing is deleted');
audience($as_it_was);
$stage->settles('when it is mended');
is(there(), '59 59', 'what has changed meanwhile is carried out');

# ---- a mailbox that is locked, or moved to another server, while it is written
for my $case ([ 'ErrorMailboxStoreUnavailable', 'locked' ], [ 'ErrorMailboxMoveInProgress', 'being moved' ], [ 'ErrorMailboxFailover', 'taken over by another server' ])
{
	my ($code, $is) = @$case;
	# Of what may have been carried out the answer says nothing.
	$exchange->inject('response', mailbox => $two, code => $code, message => $is, count => 2, carry_out => $code eq 'ErrorMailboxMoveInProgress' ? JSON::XS::false : JSON::XS::true);
	my $first = $stage->sql('SELECT max(id) + 1 FROM crm.person');
	$stage->add_people($first, $first + 4, $one, $two);
	$stage->sql("UPDATE crm.person SET first_name = '$code' WHERE id BETWEEN 2 AND 6");
	$stage->until_true(sub { ($exchange->records($one)->{6}{'contacts:GivenName'} // '') eq $code && exists $exchange->records($one)->{ $first + 4 } }, "a mailbox is $is: others go on", 3);
	$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.items WHERE mailbox = '$two' AND state = 'linked'") == $stage->sql('SELECT count(*) FROM crm.person WHERE id <> 60') && $stage->status('pending + failed') eq '0' }, 'and it is caught up with', 60);
	is($exchange->show($two), $exchange->show($one), 'both hold the same');
	is(scalar($exchange->items($two)), scalar(keys %{ $exchange->records($two) }), 'and nothing twice');
}

# ---- one record in 3,000 mailboxes
$stage->add_people(1000, 1000);
$stage->sql("INSERT INTO crm.audience SELECT 1000, 'user' || i || '\@example.test' FROM generate_series(1, $mailboxes) i");
$stage->settles("a record belongs into $mailboxes mailboxes", 'people', '120 s');
my %counters = %{ $exchange->get('counters') };
is($counters{stored_items}, 2 * (59 + 15) + $mailboxes + 2, 'and is there, beside the others and what was deleted, which is among the deleted items');
$exchange->forget_journal;
my $started = time;
for my $turn (1 .. 10)
{
	$stage->sql("UPDATE crm.person SET last_name = 'Turn$turn' WHERE id = 1000");
	my $left = $started + $turn / 10 - time;
	sleep $left if $left > 0;
}
my $took = time - $started;
$stage->settles(sprintf('it changes ten times in %.1f s', $took), 'people', '120 s');
my %operations = %{ $exchange->get('counters')->{operations} };
note("UpdateItem: $operations{UpdateItem}{items} items, done after " . sprintf('%.1f s', time - $started));
cmp_ok($operations{UpdateItem}{items}, '>=', $mailboxes, 'each mailbox is written');
cmp_ok($operations{UpdateItem}{items}, '<', 4 * $mailboxes, 'far fewer times than it has changed');
my @behind = grep { ($exchange->records("user$_\@example.test")->{1000}{'contacts:Surname'} // '') ne 'Turn10' } 1, 2, 3, map { int rand($mailboxes) + 1 } 1 .. 40;
is("@behind", '', 'all end up with the last value');
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE record = '1000' AND state = 'linked'"), $mailboxes, 'each has one item');

$stage->done;
