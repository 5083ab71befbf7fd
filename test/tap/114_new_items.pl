# Both directions: what users make themselves comes into the CRM, once, and is kept in step from then on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;

my $stage = CrmSync::EndToEnd->new('new_items', conf => 'restart_after_crash = on');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub user_makes
{
	my ($mailbox, %set) = @_;
	return $exchange->act($mailbox, 'create', folder => 'contacts', set => \%set);
}
sub user_changes { my ($mailbox, $surname, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:Surname' => $surname }, folder => 'contacts', set => \%set) }
sub people { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', first_name, last_name, phone, made_in, origin), ', ' ORDER BY last_name), 'nobody') FROM crm.person") }
sub comes_in { my ($people, $what) = @_; $stage->until_true(sub { people() eq $people }, $what, 20) or diag(people()); return }
sub stamped { my ($mailbox) = @_; my $records = $exchange->records($mailbox); return join ' ', map { $records->{$_}{'contacts:Surname'} } sort { $a <=> $b } keys %$records }
sub held { return map { $_->{properties} } $exchange->items($_[0]) }
sub all_items { my ($mailbox) = @_; return join ' ', sort map { $_->{'contacts:Surname'} // '' } held($mailbox) }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', code, message), ', '), 'nothing') FROM crmsync.failures") }

user_makes($one, 'contacts:GivenName' => 'Ann', 'contacts:Surname' => 'Before', 'item:Body' => 'a note of hers');
$stage->make_tables;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 100;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD made_in text, ADD origin text DEFAULT 'the CRM';
CREATE FUNCTION crm.share() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last_name <> 'Nobodys' THEN
        INSERT INTO crm.audience VALUES (NEW.id, NEW.made_in);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER share AFTER INSERT ON crm.person FOR EACH ROW WHEN (NEW.made_in IS NOT NULL) EXECUTE FUNCTION crm.share();
SQL
$stage->make_target;
$stage->make_link(more => "direction => 'both', inbound_interval => '1 s'", before => <<'SQL');
SELECT crmsync.map('people', 'made_in', '@mailbox', inbound => 'lower($1)');
SELECT crmsync.map('people', 'origin', '@none', inbound => '''Outlook''');
SQL
$stage->add_people(1, 1, $one, $two);

# ---- what was there before, and what comes later
comes_in("Ann Before $one Outlook, First1 Last1 +49 30 1 the CRM", 'what a user had before comes in');
$stage->until_true(sub { stamped($one) eq 'Last1 Before' }, 'O13: and bears our stamp', 20);
is(all_items($one), 'Before Last1', 'nothing is doubled');
is(all_items($two), 'Last1', 'nor in a mailbox where it does not belong');
is(scalar(grep { ($_->{'item:Body'} // '') =~ /a note of hers/ } held($one)), 1, 'what is not mapped stays');
user_makes($two, 'contacts:GivenName' => 'Bob', 'contacts:Surname' => 'Later', 'contacts:PhoneNumber/BusinessPhone' => '+49 40 1');
comes_in("Ann Before $one Outlook, First1 Last1 +49 30 1 the CRM, Bob Later +49 40 1 $two Outlook", 'what a user makes later comes in');
is($stage->sql("SELECT action, old ->> 'surname', new ->> 'surname' FROM crmsync.history WHERE new ->> 'surname' = 'Later'"), 'bring in||Later', 'the history knows');
is($stage->sql("SELECT string_agg(origin, ' ' ORDER BY record) FROM crmsync.item WHERE record <> '1'"), 'mailbox mailbox', 'and whose it is');

# ---- in step from then on
$stage->until_true(sub { $stage->sql('SELECT bool_and(stamped) FROM crmsync.item') eq 't' }, 'all bear our stamp', 20);
$stage->change("UPDATE crm.person SET phone = '+49 40 2' WHERE last_name = 'Later'");
is((map { $_->{'contacts:PhoneNumber/BusinessPhone'} } grep { $_->{'contacts:Surname'} eq 'Later' } held($two))[0], '+49 40 2', 'the CRM changes it');
user_changes($two, 'Later', 'contacts:GivenName' => 'Robert');
comes_in("Ann Before $one Outlook, First1 Last1 +49 30 1 the CRM, Robert Later +49 40 2 $two Outlook", 'its user changes it');
$stage->sql("INSERT INTO crm.audience SELECT id, '$two' FROM crm.person WHERE last_name = 'Before'");
$stage->until_true(sub { all_items($two) eq 'Before Last1 Later' }, 'it goes to other mailboxes', 20);

# ---- what is not to come in, and what cannot
user_makes($one, 'contacts:Surname' => 'Secret', 'item:Sensitivity' => 'Private');
user_makes($one, 'contacts:GivenName' => 'No', 'contacts:Surname' => 'Nobodys');
user_makes($one, 'contacts:CompanyName' => 'Not mapped');
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT spelled CHECK (last_name <> 'Misspelled')");
user_makes($one, 'contacts:GivenName' => 'Cal', 'contacts:Surname' => 'Misspelled');
user_makes($one, 'contacts:GivenName' => 'Cal', 'contacts:Surname' => 'Fine');
$stage->until_true(sub { people() =~ /Cal Fine/ }, 'what the CRM takes comes in', 20);
$stage->until_true(sub { failing() =~ /23514 .*spelled/ && failing() =~ /44000 the audience of the new row would not name mailbox \Q$one\E/ && failing() =~ /holds nothing that is mapped/ }, 'beside what it refuses, and what would belong nowhere', 20)
  or diag(failing());
is($stage->sql("SELECT count(*) FROM crm.person WHERE last_name IN ('Secret', 'Nobodys', 'Misspelled')"), '0', 'of which there is no row; nor of what is private');
user_changes($one, 'Misspelled', 'contacts:Surname' => 'Spelled');
user_changes($one, 'Nobodys', 'contacts:Surname' => 'Somebodys');
$stage->until_true(sub { people() =~ /Cal Spelled/ && people() =~ /No Somebodys/ }, 'what its user mends comes in', 20);
is(failing(), '23502 the item holds nothing that is mapped', 'one is left');
$exchange->act($one, 'delete', match => { 'contacts:CompanyName' => 'Not mapped' }, folder => 'contacts');
$stage->until_true(sub { failing() eq 'nothing' }, 'until its user deletes it', 20);
$stage->until_true(sub { $stage->sql('SELECT bool_and(stamped) FROM crmsync.item') eq 't' }, 'stamped, too', 20);

# ---- what is private
user_changes($one, 'Before', 'item:Sensitivity' => 'Private', 'contacts:GivenName' => 'Anna');
user_makes($one, 'contacts:Surname' => 'Hush', 'item:Sensitivity' => 'Confidential');
user_makes($one, 'contacts:GivenName' => 'Cal', 'contacts:Surname' => 'Open', 'item:Sensitivity' => 'Personal');
$stage->until_true(sub { people() =~ /Anna Before/ && people() =~ /Cal Open/ }, 'an item that becomes private when its record is known goes on', 20) or diag(people());
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'all has come in', 20);
is($stage->sql("SELECT count(*) FROM crm.person WHERE last_name IN ('Secret', 'Hush')"), '0', 'skip: nothing private, nothing confidential becomes a row');
$stage->sql("SELECT crmsync.alter_link('people', options => '{\"inbound_private\": \"all\"}')");
user_makes($one, 'contacts:Surname' => 'Whisper', 'item:Sensitivity' => 'Private');
user_changes($one, 'Hush', 'contacts:GivenName' => 'Cal');
$stage->until_true(sub { people() =~ /Cal Hush/ && people() =~ /Whisper/ }, 'all: they do', 20) or diag(people());
$stage->until_true(sub { $stage->sql('SELECT bool_and(stamped) FROM crmsync.item') eq 't' }, 'and bear our stamp', 20);
$stage->sql("SELECT crmsync.alter_link('people', reset => '{inbound_private}')");

# ---- leaving: an item that a user made is his
my $fine = $stage->sql("SELECT id FROM crm.person WHERE last_name = 'Fine'");
$stage->sql("DELETE FROM crm.audience WHERE record = $fine");
$stage->until_true(sub { stamped($one) !~ /Fine/ }, 'out of the audience our stamp goes', 20);
like(all_items($one), qr/Fine/, 'and the item stays');
user_changes($one, 'Fine', 'contacts:GivenName' => 'Caleb');
sleep 4;
is($stage->sql("SELECT string_agg(first_name, ' ') FROM crm.person WHERE last_name = 'Fine'"), 'Cal', 'it does not come in again, neither as another nor as it was');
$stage->sql("INSERT INTO crm.audience VALUES ($fine, '$one')");
$stage->until_true(sub { stamped($one) =~ /Fine/ }, 'in the audience again it is ours again', 20);
is(scalar(() = all_items($one) =~ /Fine/g), 1, 'the same item');
$stage->until_true(sub { $stage->sql("SELECT first_name FROM crm.person WHERE id = $fine") eq 'Caleb' }, 'and what its user has changed meanwhile comes in', 20);
$stage->sql("DELETE FROM crm.person WHERE id = $fine");
$stage->until_true(sub { all_items($one) !~ /Fine/ }, 'what the CRM deletes goes', 20);

# ---- a worker that is killed in the middle of several pages
sub crowd { return $stage->sql("SELECT count(*) FROM crm.person WHERE last_name = 'Crowd'") }
sub states { return map { m{<m:SyncState>(.*?)</m:SyncState>} ? $1 : '' } grep { /SyncFolderItems/ && /\Q$two\E/ } $exchange->bodies }
$exchange->post('server', paused => \1);
for my $doublings (2, 4, 8, 10)
{
	user_makes($two, 'contacts:GivenName' => "Twice$doublings", 'contacts:Surname' => 'Crowd');
	$exchange->act($two, 'copy', match => { 'contacts:GivenName' => "Twice$doublings" }, folder => 'contacts', to => 'contacts') for 1 .. $doublings;
}
$exchange->inject('silence', operation => 'SyncFolderItems', mailbox => $two, skip => 2);
$exchange->post('server', paused => \0, item_ms => 1);
sub is_killed
{
	my ($name) = @_;
	my $killed = $stage->worker_pid;
	kill 'KILL', $killed;
	return $stage->until_true(sub { $stage->has_another_worker($killed) }, $name, 30);
}
$stage->until_true(sub { $exchange->hits == 1 && crowd() + $stage->sql('SELECT count(*) FROM crmsync.arrival') == 1024 }, 'two pages are known, and the last one is asked for');
# What has been recorded lazily a crash may take back.
$stage->until_true(sub { $stage->sql('SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()') eq 't' }, 'which is durable');
is_killed('the worker is killed while it waits for that');
$exchange->calm;
$stage->until_true(sub { crowd() >= 600 }, 'they come in', 40);
isnt(crowd(), '1300', 'not all at once');
is_killed('the worker is killed once more');
$exchange->post('server', item_ms => 0);
$stage->until_true(sub { crowd() eq '1300' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'all come in', 40) or diag(crowd());
my ($before, %asked) = ('none');
for my $state (states())
{
	++$asked{$state} if $state ne $before;
	$before = $state;
}
is(scalar(grep { $_ > 1 } values %asked), 0, 'no page is listed a second time');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.item WHERE NOT stamped') eq '0' }, 'and are stamped', 30);
is(scalar(grep { $_->{'contacts:Surname'} eq 'Crowd' } values %{ $exchange->records($two) }), 1300, 'each once');
is(crowd(), '1300', 'on either side');

# ---- one that its user deletes before it bears our stamp
$exchange->inject('busy', operation => 'UpdateItem', count => 0, back_off_ms => 500);
my $short_lived = user_makes($one, 'contacts:Surname' => 'Shortlived');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crm.person WHERE last_name = 'Shortlived'") eq '1' }, 'it comes in', 20);
$exchange->act($one, 'delete', id => $short_lived->{ids}[0]);
$exchange->calm;
my $state = "SELECT i.state FROM crmsync.item i JOIN crm.person p ON p.id::text = i.record WHERE p.last_name = 'Shortlived'";
$stage->until_true(sub { $stage->sql($state) eq 'absent' }, 'that it is away is known', 20);
$stage->settles('the stamp is not written');
unlike(all_items($one), qr/Shortlived/, 'it is not made anew for that');
$stage->change("UPDATE crm.person SET phone = '+49 30 9' WHERE last_name = 'Shortlived'");
like(all_items($one), qr/Shortlived/, 'but when the CRM changes it, as on_target_delete says');

$stage->done;
