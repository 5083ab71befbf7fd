# withdraw: the items of a link are taken out of mailboxes that take no part any more, through the
# guard; what a user made stays; whatever happens meanwhile, it comes to an end and nothing comes back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;

my $stage = CrmSync::EndToEnd->new('withdraw', conf => 'restart_after_crash = on');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
$stage->make_tables;
$stage->sql('CREATE TABLE crm.participant (mailbox text PRIMARY KEY, enabled boolean NOT NULL DEFAULT true); ALTER TABLE crm.participant OWNER TO crm_owner');
$stage->sql("INSERT INTO crm.participant VALUES ('$one'), ('$two')");
$stage->make_target;
$stage->make_link(more => "mailboxes => 'crm.participant'");

sub leaves { my ($mailbox) = @_; $stage->sql("UPDATE crm.participant SET enabled = false WHERE mailbox = '$mailbox'"); return }
sub comes_back { my ($mailbox) = @_; $stage->sql("UPDATE crm.participant SET enabled = true WHERE mailbox = '$mailbox'"); return }
sub withdraw { my ($mailbox) = @_; return $stage->sql("SELECT crmsync.withdraw('people'" . (defined $mailbox ? ", '$mailbox'" : '') . ')') }
sub count_of { my ($mailbox) = @_; return scalar keys %{ $exchange->records($mailbox) } }
sub under_way { return $stage->sql('SELECT (SELECT count(*) FROM crmsync.request) + (SELECT count(*) FROM crmsync.repair)') }

# Until nothing is left to be withdrawn.
sub is_withdrawn
{
	my ($mailbox, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->until_true(sub { under_way() eq '0' }, "$name: it comes to an end", 40);
	is(count_of($mailbox), 0, "$name: nothing of ours is left");
	is($stage->sql("SELECT count(*) FROM crmsync.items WHERE mailbox = '$mailbox' AND state IN ('linked', 'leaving')"), '0', "$name: nor known");
	return;
}

# ---- where it is refused
$stage->add_people(1, 9, $one, $two);
$stage->settles('nine people in two mailboxes');
like($stage->error("SELECT crmsync.withdraw('people', '$one')"), qr/mailbox "$one" takes part in link "people" and would be filled again.*HINT:.*crm\.participant/s, 'a mailbox that takes part');
is(withdraw(), '0', 'all that take no part: none');
like($stage->error("SELECT crmsync.withdraw('people', '$three')"), qr/link "people" has no mailbox/, 'one that the link has never written to');
$stage->make_another('others', 3, $three);
$stage->settles('a link without a relation of mailboxes', 'others');
like($stage->error("SELECT crmsync.withdraw('others')"), qr/would fill its mailboxes again.*no relation of mailboxes.*HINT:.*disable_link/s, 'is refused while it is enabled');

# ---- a mailbox that takes no part any more
leaves($two);
$stage->settles('a user opts out');
is(count_of($two), 9, 'items stay until withdraw');
is(withdraw(" \U$two "), '9', 'which says how many it takes back');
$stage->settles('withdrawn');
is_withdrawn($two, 'opted out');
is(count_of($one), 9, 'another mailbox has all');
is($stage->sql("SELECT string_agg(DISTINCT action || ' ' || result, ',') FROM crmsync.history WHERE mailbox = '$two' AND action <> 'create'"), 'delete done', 'the history has the deletes');
is(withdraw($two), '0', 'once more: nothing is there');
$stage->change("UPDATE crm.person SET first_name = 'New' WHERE id = 1");
is(count_of($two), 0, 'and nothing comes back by itself');
comes_back($two);
$stage->settles('the user takes part again');
is($exchange->show($two), $exchange->show($one), 'and has everything again');

# ---- the guard
$stage->add_people(10, 45, $one, $two);
$stage->settles('many people');
$stage->sql("DELETE FROM crm.participant WHERE mailbox = '$two'");
is(withdraw(), '45', 'all mailboxes that take no part');
$stage->sync;
is($stage->status('state'), 'held', 'the guard holds so many');
is(count_of($two), 45, 'and nothing has gone');
is($stage->sql("SELECT count(*) || ' ' || reason FROM crmsync.plan('people') GROUP BY reason"), '45 it is withdrawn; held by the guard: waits for crmsync.confirm_deletes', 'plan shows them');
like($stage->sql("SELECT string_agg(concat_ws(' ', step, detail), ';') FROM crmsync.why('people', '7', '$two')"), qr/withdrawal the link's items are being taken out of it since/, 'and why() one of them');
is($stage->sql("SELECT crmsync.confirm_deletes('people', '$two', 45)"), '45', 'confirmed');
$stage->settles('they go');
is_withdrawn($two, 'confirmed');

# ---- taking part again while the guard holds
$stage->sql("INSERT INTO crm.participant VALUES ('$two')");
$stage->settles('back again');
leaves($two);
withdraw($two);
$stage->sync;
is($stage->status('state'), 'held', 'held once more');
# As if a copy had been listed and not been read yet: its record's item would wait for that.
$stage->sql("INSERT INTO crmsync.sighting (mailbox, remote_id, record, kind) SELECT id, 'copy of 1', '1', 'copy' FROM crmsync.mailbox WHERE address = '$two'");
comes_back($two);
$stage->settles('and taking part before anybody has confirmed');
is($stage->sql('SELECT count(*) FROM crmsync.sighting'), '0', 'what was listed is forgotten');
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE mailbox = '$two' AND state = 'linked'") . ' ' . under_way(), '45 0', 'all stays');
$stage->change("UPDATE crm.person SET first_name = 'Newer' WHERE id = 1");
is($exchange->records($two)->{1}{'contacts:GivenName'}, 'Newer', 'and is written again');

# ---- what is to be deleted in a mailbox that takes no part any more
sub rests
{
	my ($name, $items) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->until_true(sub { $stage->status("state || ' ' || pending") eq 'idle 0' }, "$name: the link rests", 20) or diag($stage->sql('SELECT * FROM crmsync.status; SELECT * FROM crmsync.backlog'));
	my $began = time;
	is(join(' ', $stage->sync), '0 0', "$name: nothing is waited for");
	is($stage->sql("SELECT pending FROM crmsync.sync('people', wait => '20 s', mailbox => '$two')"), '0', "$name: nor in the mailbox");
	cmp_ok(time - $began, '<', 15, "$name: at once");
	is($stage->sql("SELECT string_agg(kind || ' ' || records, ', ') FROM crmsync.backlog"), "left alone $items", "$name: the backlog shows it");
	is(count_of($two), 45, "$name: and all is there");
	return;
}
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two' AND record > 20");
$stage->until_true(sub { $stage->status("state || ' ' || pending") eq 'held 25' }, 'the guard holds what leaves the audience', 20);
leaves($two);
rests('opted out', 25);
is($stage->sql("SELECT crmsync.confirm_deletes('people')"), '0', 'and there is nothing to confirm');
$stage->sql("UPDATE crm.person SET phone = '7' WHERE id = 30");
rests('a change', 25);
$stage->sql("DELETE FROM crm.participant WHERE mailbox = '$two'");
rests('its row is gone', 25);
$stage->sql("INSERT INTO crm.participant VALUES ('$two')");
$stage->until_true(sub { $stage->status("state || ' ' || pending") eq 'held 25' }, 'it takes part again, and they wait for the guard', 20);
$stage->sql("SELECT crmsync.confirm_deletes('people', '$two', 25)");
$stage->settles('they are confirmed');
is(count_of($two), 20, 'and go');
$stage->sql("INSERT INTO crm.audience SELECT id, '$two' FROM crm.person WHERE id > 20");
$stage->settles('all in the mailbox');
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two' AND record > 20");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'once more', 20);
leaves($two);
rests('opted out once more', 25);
is(withdraw($two), '45', 'withdraw takes all of them');
$stage->until_true(sub { $stage->status("state || ' ' || pending") eq 'held 45' }, 'and they are pending', 20);
$stage->sql("SELECT crmsync.confirm_deletes('people', '$two', 45)");
$stage->settles('withdrawn');
is_withdrawn($two, 'what was left alone');
$stage->sql("INSERT INTO crm.audience SELECT id, '$two' FROM crm.person WHERE id > 20");
comes_back($two);
$stage->settles('taking part');

# ---- what a user made
leaves($two);
$stage->settles('opted out');
$stage->sql("UPDATE crmsync.item i SET origin = CASE i.record WHEN '3' THEN 'adopted' ELSE 'mailbox' END FROM crmsync.mailbox m
             WHERE m.id = i.mailbox AND m.address = '$two' AND i.record IN ('3', '4', '5')");
$stage->sql("UPDATE crmsync.item i SET state = 'leaving', confirmed = true FROM crmsync.mailbox m WHERE m.id = i.mailbox AND m.address = '$two' AND i.record = '5'");
withdraw($two);
$stage->until_true(sub { count_of($two) == 42 }, 'what a user made is unlinked, although the guard holds the rest');
$stage->sql("SELECT crmsync.confirm_deletes('people')");
is_withdrawn($two, 'items of users');
is(join(' ', sort map { $_->{properties}{'contacts:GivenName'} } $exchange->items($two)), 'First3 First4 First5', 'they keep what they made, without our stamp');
is($stage->sql("SELECT string_agg(record || ' ' || action, ',' ORDER BY record) FROM crmsync.history WHERE mailbox = '$two' AND action = 'unlink'"), '3 unlink,4 unlink,5 unlink', 'as the history says');

# ---- a server that is dead, and a target that is paused
sub all_in_two
{
	comes_back($two);
	$stage->settles('all in the mailbox again');
	leaves($two);
	$stage->settles('which takes no part then');
	return;
}
$stage->sql("SELECT crmsync.alter_link('people', options => '{\"max_deletes\": 1000, \"max_delete_percent\": 100}')");
all_in_two();
$exchange->inject('close', count => 0);
is(withdraw($two), '45', 'the server is dead');
$stage->sync('people', '2 s');
like($stage->status("state || ' ' || pending"), qr/^(waiting|working) 45$/, 'so many are still to go');
is(count_of($two), 45, 'and nothing has gone');
$exchange->calm;
$stage->sql("SELECT crmsync.resume_target('exchange')");
is_withdrawn($two, 'a server that was dead');
all_in_two();
$stage->sql("SELECT crmsync.pause_target('exchange')");
withdraw($two);
sleep 1;
is(count_of($two) . ' ' . $stage->status('state'), '45 paused', 'a target that is paused: nothing goes');
$stage->sql("SELECT crmsync.resume_target('exchange')");
is_withdrawn($two, 'resumed');

# ---- a mailbox that cannot be written for a while
all_in_two();
$exchange->inject('response', operation => 'DeleteItem', mailbox => $two, code => 'ErrorQuotaExceeded', message => 'full', count => 1);
withdraw($two);
$stage->until_true(sub { $stage->sql("SELECT code FROM crmsync.mailboxes WHERE mailbox = '$two' AND link = 'people'") eq 'ErrorQuotaExceeded' }, 'a mailbox that is full');
is(count_of($two), 45, 'nothing has gone');
# Its time is a quarter of an hour, here and in the worker's memory.
$stage->sql("UPDATE crmsync.mailbox SET next_attempt = now() WHERE code = 'ErrorQuotaExceeded'");
$node->restart;
is_withdrawn($two, 'when its time is over, without anybody\'s help');

# The same where records have left the audience.
$exchange->inject('response', operation => 'DeleteItem', mailbox => $one, code => 'ErrorQuotaExceeded', message => 'full', count => 1);
$stage->sql("DELETE FROM crm.audience WHERE record > 43 AND mailbox = '$one'");
$stage->until_true(sub { $stage->sql("SELECT code FROM crmsync.mailboxes WHERE mailbox = '$one' AND link = 'people'") eq 'ErrorQuotaExceeded' }, 'a mailbox that is full when records leave it');
$stage->sql("UPDATE crmsync.mailbox SET next_attempt = now() WHERE code = 'ErrorQuotaExceeded'");
$node->restart;
$stage->until_true(sub { count_of($one) == 43 }, 'they leave when its time is over');
is($stage->failures, 'none', 'and nothing is said to have failed');
$stage->sql("INSERT INTO crm.audience VALUES (44, '$one'), (45, '$one')");
$stage->settles('back again');

# ---- the worker is killed in the middle
all_in_two();
$exchange->post('server', item_ms => 60);
withdraw($two);
$stage->until_true(sub { my $left = count_of($two); $left > 0 && $left < 45 || under_way() eq '1' }, 'under way');
kill 'KILL', $stage->worker_pid;
$exchange->post('server', item_ms => 0);
$stage->until_true(sub { $stage->answers }, 'the server is back');
is_withdrawn($two, 'the worker was killed');

# ---- two calls at once, while the people of the link change hands
all_in_two();
my @sessions = map { $node->background_psql('postgres') } 1 .. 2;
$_->query_safe('BEGIN') for @sessions;
is(join(' ', map { $_->query_safe("SELECT crmsync.withdraw('people', '$two')") } @sessions), '45 45', 'two calls at once');
$stage->sql("DELETE FROM crm.audience WHERE record > 40; UPDATE crm.person SET phone = '1' WHERE id < 10");
$_->query_safe('COMMIT'), $_->quit for @sessions;
is_withdrawn($two, 'two calls');
$stage->settles('and the others have what they should');
is(count_of($one), 40, 'no more and no less');

# ---- what had been left to its user is wanted again, and withdrawn while it is being written
$stage->sql("SELECT crmsync.disable_link('people'); SET client_min_messages = error; SELECT crmsync.alter_link('people', on_audience_loss => 'unlink'); SELECT crmsync.enable_link('people')");
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two'");
comes_back($two);
$stage->settles('a link that unlinks');
$stage->add_people(1001, 1300, $two);
$stage->settles('more than go out at once');
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two'");
$stage->settles('all are left to their user');
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE mailbox = '$two' AND state = 'unlinked' AND record::integer > 1000"), '300', 'as is known');
leaves($two);
$stage->sql("INSERT INTO crm.audience SELECT i, '$two' FROM generate_series(1001, 1300) i");
$stage->settles('their user takes no part when they are wanted again');
$exchange->post('server', item_ms => 20);
comes_back($two);
$stage->until_true(sub { grep { defined CrmSync::StandIn::key_of($_) } $exchange->items($two) }, 'they are being taken back', 20);
my $began = $stage->sql('SELECT clock_timestamp()');
leaves($two);
withdraw($two);
$exchange->post('server', item_ms => 0);
is_withdrawn($two, 'while they were taken back');
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE mailbox = '$two' AND record::integer > 1000 AND action = 'unlink' AND at > '$began'"), '0', 'they are not left to their user a second time');
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two'");

# ---- a link that is disabled
$stage->sql("SELECT crmsync.disable_link('people')");
$exchange->post('server', item_ms => 20);
is(withdraw(), '40', 'a disabled link: all its mailboxes');
is($stage->status('state'), 'working', 'has this to do');
$exchange->post('server', item_ms => 0);
$stage->settles('which can be waited for');
is_withdrawn($one, 'disabled');
is($stage->status('state'), 'disabled', 'and is disabled again');
like($stage->error("SELECT * FROM crmsync.sync('people')"), qr/is not enabled/, 'nothing is left to wait for');
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->settles('enabled');
is(count_of($one), 40, 'it fills the mailboxes that take part');
$stage->sql('DROP TABLE crm.participant CASCADE');
like($stage->error("SELECT crmsync.withdraw('people')"), qr/crm\.participant/, 'without its relation of mailboxes nobody knows who takes no part');
$stage->sql("SELECT crmsync.disable_link('people')");
withdraw();
is_withdrawn($one, 'of a link that is disabled its relations are not needed');

$stage->done;
