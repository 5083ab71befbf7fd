# A user copies a contact, stamp and all: the copy is his own new item, and what happens to it happens to
# nothing else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('copies');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub item { my ($mailbox, $person) = @_; return (grep { ($_->{properties}{'contacts:EmailAddress/EmailAddress1'} // '') eq "person$person\@example.com" } $exchange->items($mailbox))[0] }
sub copies { my ($mailbox, $person) = @_; return $exchange->act($mailbox, 'copy', id => item($mailbox, $person)->{id}, to => 'contacts')->{ids}[0] }
sub people { return $stage->sql("SELECT string_agg(concat_ws(' ', id, first_name), ', ' ORDER BY id) FROM crm.person") }
sub shown { my ($mailbox) = @_; return join ', ', sort map { (CrmSync::StandIn::key_of($_) // '-') . " $_->{properties}{'contacts:GivenName'}" } $exchange->items($mailbox) }
sub rests { return $stage->until_true(sub { $stage->sql("SELECT (SELECT count(*) FROM crmsync.pending) + (SELECT count(*) FROM crmsync.arrival) + (SELECT count(*) FROM crmsync.sighting) + (SELECT count(*) FROM crmsync.item WHERE NOT stamped)") eq '0' }, "$_[0]: at rest", 20) }

$stage->make_tables;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 100;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD made_in text;
CREATE VIEW crm.everywhere AS SELECT record, mailbox FROM crm.audience UNION ALL SELECT id, made_in FROM crm.person;
SQL
$stage->make_target;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.everywhere', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.map('people', 'email', 'email_1');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SELECT crmsync.enable_link('people');
SQL
$stage->add_people(1, 4, $one, $two);
$stage->settles('four people');
rests('before');
sleep 2.5;

# ---- a copy
my $original = item($one, 1)->{id};
my $copy = copies($one, 1);
$stage->until_true(sub { people() =~ /, 100 First1$/ }, 'a copy becomes a record of its own', 20) or diag(people(), shown($one));
rests('a copy');
is(shown($one), '1 First1, 100 First1, 2 First2, 3 First3, 4 First4', 'with a stamp of its own; the original keeps its');
is((grep { $_->{id} eq $original } $exchange->items($one))[0]{id}, $original, 'and is the same item');
$exchange->act($one, 'update', id => $copy, set => { 'contacts:GivenName' => 'Copied' });
$stage->until_true(sub { people() =~ /1 First1.*100 Copied$/ }, 'what its user makes of it concerns nobody else', 20) or diag(people());
$exchange->act($one, 'delete', id => $copy);
rests('deleted');
is(people() . '; ' . shown($one), '1 First1, 2 First2, 3 First3, 4 First4, 100 Copied; 1 First1, 2 First2, 3 First3, 4 First4', 'nor that he deletes it');
is(shown($two), '1 First1, 2 First2, 3 First3, 4 First4', 'in the other mailbox nothing has happened');

# ---- copied, and the original deleted, before anybody has looked
$exchange->post('server', paused => \1);
my $heir = copies($one, 2);
$exchange->act($one, 'delete', id => item($one, 2)->{id});
$exchange->post('server', paused => \0);
sleep 4;
rests('an heir');
is(people(), '1 First1, 2 First2, 3 First3, 4 First4, 100 Copied', 'a copy takes the place of what was deleted');
is(shown($one), '1 First1, 2 First2, 3 First3, 4 First4', 'there');
$exchange->act($one, 'update', id => $heir, set => { 'contacts:GivenName' => 'Heir' });
$stage->until_true(sub { people() =~ /2 Heir/ && shown($two) =~ /2 Heir/ }, 'and is kept in step', 20);

# ---- several copies at once, with a crash in between
$exchange->post('server', paused => \1);
copies($one, 3) for 1 .. 3;
$exchange->post('server', paused => \0);
$stage->node->stop('immediate');
$stage->node->start;
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crm.person WHERE first_name = 'First3'") eq '4' }, 'of three copies each is one', 40) or diag(people(), shown($one));
rests('several');
is(scalar(grep { /First3/ } split(/, /, shown($one))), 4, 'there are no more');
is($stage->sql('SELECT count(*) FROM crmsync.failures') . $stage->sql("SELECT count(*) FROM crmsync.history WHERE action = 'delete'"), '00', 'nothing failed, and nothing was deleted');

# ---- deleted, made anew as the CRM changes it, and then taken out of the deleted items again
my $former = sub
{
	my ($person, $name) = @_;
	my $its = sub { return (grep { (CrmSync::StandIn::key_of($_) // '') eq $person } $exchange->items($one))[0] };
	my $here = $its->()->{id};
	my $away = $exchange->act($one, 'move', id => $here, to => 'deleteditems')->{ids}[0];
	$stage->until_true(sub { $stage->sql("SELECT state FROM crmsync.items WHERE record = '$person' AND mailbox = '$one'") eq 'absent' }, "$name: deleted", 20);
	$stage->sql("UPDATE crm.person SET last_name = '$name' WHERE id = $person");
	$stage->until_true(sub { $its->() }, "$name: made anew", 20);
	my $records = people();
	my $back = $exchange->act($one, 'move', id => $away, to => 'contacts')->{ids}[0];
	$stage->until_true(sub { $stage->sql("SELECT array_to_string(choices, ' ') FROM crmsync.conflicts WHERE records = '{$person}' AND choice IS NULL") eq 'new leave' }, "$name: taken out again, and somebody decides", 20)
	  or diag($stage->sql('SELECT * FROM crmsync.conflicts'), $stage->sql('SELECT * FROM crmsync.arrival'));
	is(people(), $records, "$name: it is no record of its own");
	return $back;
};
sub decide { my ($choice) = @_; return $stage->sql("SELECT crmsync.resolve(id, '$choice') FROM crmsync.conflicts WHERE records = '{4}' AND choice IS NULL") }
sub stamp_of { my ($id) = @_; return (map { CrmSync::StandIn::key_of($_) // '-' } grep { $_->{id} eq $id } $exchange->items($one))[0] }
my $restored = $former->(4, 'Restored');
sleep 2.5;
is(stamp_of($restored), '4', 'nothing of it changes before');
decide('new');
$stage->until_true(sub { people() =~ /\d First3, \d+ First4$/ && (stamp_of($restored) // '') =~ /^1\d\d$/ }, 'new: a record of its own', 20) or diag(people(), shown($one));
my $left = $former->(4, 'Left');
decide('leave');
$stage->until_true(sub { stamp_of($left) eq '-' }, q{leave: its user's own}, 20);
$exchange->act($one, 'update', id => $left, set => { 'contacts:JobTitle' => 'His' });
sleep 2.5;
rests('decided');
is($stage->sql('SELECT count(*) FROM crm.person WHERE first_name = $$First4$$'), '2', 'and no record, whatever he makes of it');

$stage->done;
