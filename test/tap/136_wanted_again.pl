# Items that are gone, or that we may have deleted, and what is known of them when they or their records come back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('wanted_again', conf => 'wal_writer_delay = 10s');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub is_there { my ($person) = @_; return scalar grep { (CrmSync::StandIn::key_of($_) // '') eq $person } $exchange->items($one) }
sub item { my ($person) = @_; return (grep { ($_->{properties}{'contacts:EmailAddress/EmailAddress1'} // '') eq "person$person\@example.com" } $exchange->items($one))[0] }
sub state_of { my ($person) = @_; return $stage->sql("SELECT coalesce(min(state), 'unknown') FROM crmsync.items WHERE record = '$person' AND mailbox = '$one'") }
sub alter { my ($settings) = @_; $stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', $settings); SELECT crmsync.enable_link('people')"); return }

# ---- a delete whose answer nobody has heard, of a record that belongs there again
$stage->make_crm;
$stage->share_new_rows;
$stage->add_people(1, 6, $one, $two);
$stage->settles('six people');
for my $policy ('ignore', 'unlink')
{
	alter("on_target_delete => '$policy'");
	$stage->settles($policy);
	$exchange->inject('lost', operation => 'DeleteItem', count => 1);
	$exchange->inject('busy', operation => 'DeleteItem', count => 0, back_off_ms => 500);
	$stage->sql("DELETE FROM crm.audience WHERE record = 1 AND mailbox = '$one'");
	$stage->until_true(sub { !is_there(1) }, "$policy: an item is deleted", 20);
	$stage->sql("INSERT INTO crm.audience VALUES (1, '$one')");
	$stage->node->stop('immediate');
	$stage->node->start;
	$stage->until_true(sub { is_there(1) }, "$policy: its record is wanted there again before we have heard of it, and it is there again", 30) or diag(state_of(1));
	$exchange->calm;
	$stage->settles("$policy: deleted and wanted again");
	is(state_of(1), 'linked', "$policy: and known");
}
alter("on_target_delete => 'ignore'");
$exchange->inject('busy', operation => 'DeleteItem', count => 0, back_off_ms => 500);
$stage->sql("DELETE FROM crm.audience WHERE record = 2 AND mailbox = '$one'");
$stage->until_true(sub { state_of(2) eq 'leaving' }, 'another is to be deleted', 20);
my $id = item(2)->{id};
$stage->sql("INSERT INTO crm.audience VALUES (2, '$one')");
$stage->node->stop('immediate');
$stage->node->start;
$stage->until_true(sub { state_of(2) eq 'linked' }, 'and is wanted again before it was', 30);
$exchange->calm;
$stage->settles('not deleted');
is(item(2)->{id}, $id, 'then it is the same item');

# ---- what is to go bears another id, since its user has moved it away and back
sub move_away_and_back
{
	my ($key) = @_;
	my $away = $exchange->act($one, 'move', id => item($key)->{id}, to => 'deleteditems')->{ids}[0];
	$exchange->act($one, 'move', id => $away, to => 'contacts');
}

move_away_and_back(2);
$stage->change("DELETE FROM crm.audience WHERE record = 2 AND mailbox = '$one'");
is(is_there(2), 0, 'an item that was moved away and back is deleted');
is(state_of(2), 'unknown', 'and nothing is remembered of it');
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE record = '2' AND action = 'delete'"), 1, 'that is one delete');
$stage->change("INSERT INTO crm.audience VALUES (2, '$one')");
is(is_there(2), 1, 'and it is made again');
alter("on_audience_loss => 'unlink'");
$stage->settles('to be left to its user');
move_away_and_back(2);
$stage->change("DELETE FROM crm.audience WHERE record = 2 AND mailbox = '$one'");
is(is_there(2), 0, 'another such item loses our stamp');
is(state_of(2), 'unlinked', 'and is left to its user');
my $left = item(2)->{id};
$stage->change("INSERT INTO crm.audience VALUES (2, '$one')");
is(join(' ', map { $_->{id} } grep { ($_->{properties}{'contacts:EmailAddress/EmailAddress1'} // '') eq 'person2@example.com' } $exchange->items($one)), $left, 'who has it back when its record is wanted there again');
is(is_there(2), 1, 'with our stamp');
alter("reset => '{on_audience_loss}'");

# ---- the same of an item that was to be left to its user
alter("on_audience_loss => 'unlink'");
$stage->settles('unlink');
$exchange->inject('lost', operation => 'UpdateItem', count => 1);
$exchange->inject('busy', operation => 'UpdateItem', count => 0, back_off_ms => 500);
$stage->sql("DELETE FROM crm.audience WHERE record = 3 AND mailbox = '$one'");
$stage->until_true(sub { !is_there(3) }, 'an item loses our stamp', 20);
$stage->sql("INSERT INTO crm.audience VALUES (3, '$one')");
$stage->node->stop('immediate');
$stage->node->start;
$exchange->calm;
$stage->until_true(sub { is_there(3) }, 'and gets it again when its record is wanted there before we have heard of that', 30) or diag(state_of(3));
$stage->settles('stamped again');
is(state_of(3), 'linked', 'then it is ours');

# ---- the same of one that gets our stamp again, and whose record leaves the audience again
$stage->sql("DELETE FROM crm.audience WHERE record = 3 AND mailbox = '$one'");
$stage->settles('left to its user');
is(state_of(3) . (is_there(3) ? ' with' : ' without') . ' stamp', 'unlinked without stamp', 'it is its user\'s');
# The first one meets another version than that which we know.
$exchange->inject('lost', operation => 'UpdateItem', skip => 1, count => 1);
$exchange->inject('busy', operation => 'UpdateItem', skip => 1, count => 0, back_off_ms => 500);
$stage->sql("INSERT INTO crm.audience VALUES (3, '$one')");
$stage->until_true(sub { is_there(3) }, 'it gets our stamp again', 20);
$stage->sql("DELETE FROM crm.audience WHERE record = 3 AND mailbox = '$one'");
$stage->node->stop('immediate');
$stage->node->start;
$exchange->calm;
$stage->until_true(sub { !is_there(3) }, 'and loses it when its record is to be there no longer before we have heard of that', 20);
$stage->settles('left to its user again');
is(state_of(3), 'unlinked', 'it is its user\'s again');
is($stage->sql("SELECT stamped FROM crmsync.item WHERE record = '3' AND state = 'unlinked'"), 'f', 'for good');
$stage->sql("INSERT INTO crm.audience VALUES (3, '$one')");
$stage->until_true(sub { is_there(3) && state_of(3) eq 'linked' }, 'until it is wanted there again', 20);
alter("reset => '{on_audience_loss}'");

# ---- moved away, written before anybody has noticed, and brought back
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', direction => 'both', inbound_interval => '6 s'); SELECT crmsync.map('people', 'made_in', '\@mailbox'); SELECT crmsync.enable_link('people')");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'both mailboxes are read', 30);
$stage->until_true(sub { $exchange->requests('SyncFolderItems') }, 'and again', 30);
sleep 1;
my $away = $exchange->act($one, 'move', id => item(3)->{id}, to => 'deleteditems')->{ids}[0];
$stage->sql('UPDATE crm.person SET last_name = $$Changed$$ WHERE id = 3');
$stage->until_true(sub { is_there(3) }, 'what its user has moved away is made anew when the CRM changes it', 20);
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE action = 'vanished'"), '0', 'before anybody has noticed that it was away');
$exchange->act($one, 'move', id => $away, to => 'contacts');
$stage->until_true(sub { $stage->sql("SELECT array_to_string(choices, ' ') FROM crmsync.conflicts WHERE records = '{3}'") eq 'new leave' }, 'he brings it back, and somebody decides what it is', 30)
  or diag($stage->sql('SELECT * FROM crmsync.failures'));
is($stage->sql('SELECT count(*) FROM crm.person'), '6', 'it is no record of its own');

# ---- an item that its user has made, away when its record leaves the audience
alter("inbound_interval => '1 s'");
$exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'His', 'contacts:Surname' => 'Own', 'contacts:EmailAddress/EmailAddress1' => 'person7@example.com' });
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crm.person WHERE last_name = 'Own'") eq '1' }, 'a user makes an item', 20) or diag($stage->sql('SELECT * FROM crmsync.failures'));
my $own = $stage->sql("SELECT id FROM crm.person WHERE last_name = 'Own'");
$stage->until_true(sub { is_there($own) }, 'which is known', 20);
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival WHERE code IS NULL') eq '0' }, 'and read', 20);
$exchange->post('server', paused => \1);
$away = $exchange->act($one, 'move', id => item(7)->{id}, to => 'deleteditems')->{ids}[0];
$stage->sql("DELETE FROM crm.audience WHERE record = $own");
$exchange->post('server', paused => \0);
$stage->until_true(sub { state_of($own) eq 'absent' }, 'it is away when its record leaves the audience', 20) or diag(state_of($own));
sleep 2.5;
$exchange->act($one, 'move', id => $away, to => 'contacts');
$stage->until_true(sub { state_of($own) eq 'unlinked' }, 'he brings it back, and it is left to him', 20) or diag(state_of($own));
my $back = item(7);
ok($back && !defined CrmSync::StandIn::key_of($back), 'without our stamp');
is($stage->sql("SELECT kind FROM crmsync.conflicts WHERE record = '$own'"), 'unlinked', 'and listed');

# ---- the machine stops as soon as an item that a user has made bears our stamp
$exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Stamped', 'contacts:EmailAddress/EmailAddress1' => 'person8@example.com' });
for (1 .. 2000) { last if item(8) && defined CrmSync::StandIn::key_of(item(8)); sleep 0.01 }
ok(defined CrmSync::StandIn::key_of(item(8)), 'another item gets our stamp');
$stage->node->stop('immediate');
$stage->node->start;
is($stage->sql("SELECT count(*) FROM crm.person WHERE first_name = 'Stamped'"), '1', 'its record is as safe as the stamp');
sleep 4;
ok(item(8), 'and nobody takes the item for one whose record is gone');

# ---- what may bear our stamp, though it was left to its user, loses it with the link
alter("on_audience_loss => 'unlink'");
$stage->sql("DELETE FROM crm.audience WHERE record = 2 AND mailbox = '$one'");
$stage->until_true(sub { state_of(2) eq 'unlinked' && !is_there(2) }, 'an item is left to its user', 20);
$exchange->inject('lost', operation => 'UpdateItem', skip => 1, count => 1);
$exchange->inject('busy', operation => 'UpdateItem', skip => 1, count => 0, back_off_ms => 500);
$stage->sql("INSERT INTO crm.audience VALUES (2, '$one')");
$stage->until_true(sub { is_there(2) }, 'and gets our stamp again', 20);
$stage->sql("SET client_min_messages = error; SELECT crmsync.drop_link('people', items => 'delete')");
$stage->node->stop('immediate');
$stage->node->start;
$exchange->calm;
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.links') eq '0' }, 'the link is dropped with its items before we have heard of that', 60) or diag($stage->sql('SELECT * FROM crmsync.items'));
ok(item(2) && !is_there(2), 'and the item stays with its user, without our stamp');

$stage->done;
