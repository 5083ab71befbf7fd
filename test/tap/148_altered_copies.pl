# A user copies a contact, stamp and all, and makes another one of the copy. Then the original goes, and so does its
# record: the copy is all that bears the stamp, and is not deleted. What he only moved, and what he only copied, is.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('altered_copies', conf => 'crmsync.max_create_delay = 1s');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';

sub id_of { my ($person) = @_; return (grep { (CrmSync::StandIn::key_of($_) // '') eq $person } $exchange->items($one))[0]{id} }
sub act { my ($action, $id, %more) = @_; return ($exchange->act($one, $action, id => $id, %more)->{ids} // [])->[0] }
sub copy { my ($person) = @_; return act('copy', id_of($person), to => 'contacts') }
sub shown { return join ', ', sort map { (CrmSync::StandIn::key_of($_) // '-') . " $_->{properties}{'contacts:GivenName'}" } $exchange->items($one) }
sub history { my ($person) = @_; return $stage->sql("SELECT string_agg(action || ' ' || result, ', ' ORDER BY at, action) FROM crmsync.history WHERE record = '$person'") }

$stage->make_crm;
$stage->add_people(1, 5, $one);
$stage->settles('five people');
sleep 5;

# ---- a mailbox that is only written to
my ($altered, $same) = (copy(1), copy(2));
sleep 4;    # servers tell seconds, and what they do by themselves at once is no user's
act('update', $altered, set => { 'contacts:GivenName' => 'Somebody' });
my $moved = act('move', act('move', id_of(3), to => 'deleteditems'), to => 'contacts');
act('update', $moved, set => { 'contacts:GivenName' => 'Moved' });
act('delete', id_of($_)) for 1, 2;
$stage->change('DELETE FROM crm.person WHERE id <= 3; DELETE FROM crm.audience WHERE record <= 3');
$stage->settles('their records are gone');
is(shown(), '- Somebody, 4 First4, 5 First5', 'what its user made of a copy is left to him, the rest has gone');
$stage->add_people(6, 6, $one);
$stage->settles('something is created');
is((grep { $_->{properties}{'contacts:GivenName'} eq 'Somebody' } $exchange->items($one))[0]{id}, $altered, 'and is the same item');
is(join('; ', map { history($_) } 1 .. 3), 'create done, unlink done; create done, delete done; create done, delete done', 'as the history says');
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE record IN ('1', '2', '3')"), '0', 'nothing of it is known any more');
$stage->add_people(1, 1, $one);
$stage->settles('the record comes back');
is(shown(), '- Somebody, 1 First1, 4 First4, 5 First5, 6 First6', 'with an item of its own');

# ---- one that cannot be read is deleted
sleep 5;
my $original = id_of(4);
copy(4);
act('delete', $original);
$stage->change('DELETE FROM crm.person WHERE id = 4');
$exchange->inject('response', operation => 'GetItem', code => 'ErrorItemCorrupt', message => 'corrupt', count => 0);
$stage->add_people(7, 7, $one);
$stage->until_true(sub { shown() eq '- Somebody, 1 First1, 5 First5, 6 First6, 7 First7' }, 'what cannot be read is deleted', 20) or diag(shown());
$exchange->calm;

# ---- one that is read, too
$stage->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 100;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD made_in text;
CREATE VIEW crm.everywhere AS SELECT record, mailbox FROM crm.audience UNION ALL SELECT id, made_in FROM crm.person WHERE made_in IS NOT NULL;
RESET ROLE;
SELECT crmsync.disable_link('people');
SELECT crmsync.alter_link('people', direction => 'both', audience => 'crm.everywhere', inbound_interval => '1 s');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SELECT crmsync.enable_link('people');
SQL
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crm.person WHERE first_name = $$Somebody$$') eq '1' }, 'in both directions', 20);
$stage->settles('at rest');
$exchange->post('server', paused => \1);
$stage->sql('DELETE FROM crm.person WHERE id = 5');
$original = id_of(5);
my $heir = copy(5);
act('delete', $original);
sleep 4;
act('update', $heir, set => { 'contacts:GivenName' => 'Heir' });
$exchange->post('server', paused => \0);
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crm.person WHERE first_name = $$Heir$$') eq '1' }, 'it becomes a record of its own', 20)
  or diag(shown(), $stage->sql('TABLE crmsync.item; TABLE crmsync.arrival; TABLE crmsync.failure'));
$stage->settles('and at rest');
is(shown(), '1 First1, 100 Somebody, 101 Heir, 6 First6, 7 First7', 'with its stamp');

# ---- one that a listing takes for the item, which has another id then
$exchange->post('server', paused => \1);
$original = id_of(7);
my $third = copy(7);
act('delete', $original);
sleep 4;
act('update', $third, set => { 'contacts:GivenName' => 'Third' });
$stage->sql("SELECT crmsync.drop_link('people', items => 'delete')");
$exchange->post('server', paused => \0);
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.links') eq '0' }, 'the link goes', 30);
is(shown(), '- Heir, - Somebody, - Third', 'with what crmsync has made');

$stage->done;
