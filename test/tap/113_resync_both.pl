# resync of a link that is read: what users have changed comes into the CRM as ever, and the rest is mended.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;

my $stage = CrmSync::EndToEnd->new('resync_both');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm;
# What users make themselves is a person of the CRM, and stays where it is.
$stage->sql(<<'SQL');
CREATE SEQUENCE crm.person_key START 100;
GRANT USAGE ON SEQUENCE crm.person_key TO crm_owner;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key');
CREATE FUNCTION crm.is_seen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO crm.audience VALUES (NEW.id, 'user1@example.test'); RETURN NULL; END $$;
CREATE TRIGGER is_seen AFTER INSERT ON crm.person FOR EACH ROW WHEN (NEW.id >= 100) EXECUTE FUNCTION crm.is_seen();
SQL
$stage->add_people(1, 8, $one, $two);
$stage->settles('before');
# Another configuration, read while a mailbox is being read, does not make it wait for its next turn.
$exchange->inject('delay', operation => 'SyncFolderItems', seconds => 1, count => 1);
# As in 108_both_ways.pl.
$stage->sql("SELECT crmsync.alter_link('people', direction => 'both', inbound_interval => '1 h'); SELECT crmsync.enable_link('people')");
$stage->until_true(sub { $exchange->hits }, 'a mailbox is being read', 20);
$stage->sql("SELECT crmsync.alter_link('people', inbound_interval => '2 h')");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' }, 'both mailboxes are read', 20);
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'and will not be for hours', 20);

sub user { my ($does, $person, %more) = @_; return $exchange->act($one, $does, match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', %more) }
sub person { my ($person) = @_; return $stage->sql("SELECT concat_ws(' ', first_name, last_name) FROM crm.person WHERE id = $person") }

user('update', 1, set => { 'contacts:Surname' => 'Typed' });
user('delete', 2);
user('copy', 3, to => 'contacts');
my $changed = user('copy', 4, to => 'contacts')->{ids}[0];
$exchange->act($one, 'update', id => $changed, set => { 'contacts:Surname' => 'Junior' });
user('move', 5, to => 'deleteditems');
$exchange->act($one, 'move', match => { 'contacts:EmailAddress/EmailAddress1' => 'person5@example.com' }, folder => 'deleteditems', to => 'contacts');
$exchange->act($one, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => 'person5@example.com' }, folder => 'contacts', set => { 'contacts:Surname' => 'Back' });
$stage->sql("SELECT crmsync.resync('people', '$one')");
$stage->until_true(sub { $stage->nothing_to_repair }, 'the mailbox is read', 60);
# A copy is its user's own new item as soon as it has lost the stamp.
$stage->sync;
$stage->until_true(sub { $stage->sql('SELECT (SELECT count(*) FROM crm.person), (SELECT count(*) FROM crmsync.item WHERE NOT stamped)') eq '10|0' }, 'copies come in', 20);
$stage->settles('and what follows is done');
is(join(', ', map { person($_) } 1 .. 5), 'First1 Typed, First2 Last2, First3 Last3, First4 Last4, First5 Back', 'what the user has changed is in the CRM');
my @expected = ((map { "First$_ Last$_*" } 2 .. 4, 6 .. 8), 'First1 Typed*', 'First3 Last3*', 'First4 Junior*', 'First5 Back*');
is(join(', ', sort map { "$_->{properties}{'contacts:GivenName'} $_->{properties}{'contacts:Surname'}" . (defined CrmSync::StandIn::key_of($_) ? '*' : '') } $exchange->items($one)),
	join(', ', sort @expected), 'what he deleted is there again, and so are copies');
is($stage->sql("SELECT string_agg(concat_ws(' ', first_name, last_name), ', ' ORDER BY first_name) FROM crm.person WHERE id >= 100"), 'First3 Last3, First4 Junior', 'which are records of their own');
is($exchange->records($two)->{1}{'contacts:Surname'} . ' ' . $exchange->records($two)->{5}{'contacts:Surname'}, 'Typed Back', 'and the other mailbox has what he changed');
is($stage->sql('SELECT count(*) FROM crmsync.sighting'), '0', 'nothing is left to be looked at');
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE state <> 'linked'"), '0', 'every item is linked');

$stage->done;
