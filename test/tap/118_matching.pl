# Both directions: what a user has already and the CRM has, too, is recognised by the key of match_on, and
# neither doubled nor overwritten.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use utf8;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('matching');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub user_makes { my ($mailbox, %set) = @_; return $exchange->act($mailbox, 'create', folder => 'contacts', set => \%set) }
sub held { return map { $_->{properties} } $exchange->items($_[0]) }
sub names { my ($mailbox) = @_; return join ', ', sort map { join ' ', map { $_ // '-' } @{$_}{qw(contacts:GivenName contacts:Surname contacts:PhoneNumber/BusinessPhone)} } held($mailbox) }
sub people { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', id, first_name, last_name, phone), ', ' ORDER BY id), 'nobody') FROM crm.person") }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', code, message), ', ' ORDER BY message), 'nothing') FROM crmsync.failures") }
sub items { return $stage->sql("SELECT string_agg(concat_ws(' ', i.record, i.origin), ', ' ORDER BY i.record, m.address) FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox WHERE i.stamped") }

# What they have before anything is linked: written otherwise, with a number that the CRM does not have.
user_makes($one, 'contacts:GivenName' => "  ANN\x{200b} ", 'contacts:Surname' => 'Lee', 'contacts:PhoneNumber/BusinessPhone' => '+1');
user_makes($one, 'contacts:GivenName' => 'Twin', 'contacts:Surname' => 'Same');
user_makes($one, 'contacts:GivenName' => 'Own', 'contacts:Surname' => 'Friend');
user_makes($two, 'contacts:GivenName' => 'Double', 'contacts:Surname' => 'Trouble');
user_makes($two, 'contacts:GivenName' => 'double', 'contacts:Surname' => 'trouble');

$stage->make_tables;
$stage->share_new_rows;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
INSERT INTO crm.person (id, first_name, last_name, email) VALUES
    (1, 'Ann', 'Lee', 'ann\@example.com'), (2, 'Twin', 'Same', NULL), (3, 'TWIN', 'same', NULL),
    (4, 'Double', 'Trouble', NULL), (5, 'Only', 'Crm', NULL), (6, 'Own', 'Friend', NULL);
INSERT INTO crm.audience SELECT id, '$one' FROM crm.person WHERE id IN (1, 2, 3, 5);
INSERT INTO crm.audience SELECT id, '$two' FROM crm.person WHERE id IN (1, 4);
SQL
$stage->make_target;
$exchange->post('server', paused => \1);
$stage->make_link(more => "direction => 'both', inbound_interval => '1 s', match_on => '{given_name,surname}'", before => "SELECT crmsync.map('people', 'made_in', '\@mailbox');");
my (undef, undef, $warning) = $stage->node->psql('postgres', "SELECT * FROM crmsync.sync('people', wait => '1 s')");
like($warning, qr/WARNING:  not all mailboxes of link "people" have been read yet/, 'who waits is told that nothing is created before');
sub counted { return join ' ', $stage->sql("SELECT pending, oldest_pending IS NOT NULL FROM crmsync.status"), $stage->sql("SELECT coalesce(string_agg(kind || ' ' || records, ', '), 'nothing') FROM crmsync.backlog") }
$stage->until_true(sub { counted() eq '5|t unread 5' }, 'what is in no mailbox yet is pending', 5) or diag(counted());
is(join(' ', map { $stage->sql("SELECT pending FROM crmsync.sync('people'" . ($_ ? ", mailbox => '$_'" : '') . ')') } undef, $one, $two), '5 4 2', 'of the link, and of each mailbox');
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (9, 'Brief'); INSERT INTO crm.audience VALUES (9, '$one')");
$stage->until_true(sub { counted() eq '6|t unread 6' }, 'so is who joins them', 5) or diag(counted());
$stage->sql("DELETE FROM crm.person WHERE id = 9; DELETE FROM crm.audience WHERE record = 9");
$stage->until_true(sub { counted() eq '5|t unread 5' }, 'and not who leaves before', 5) or diag(counted());
$exchange->post('server', paused => \0);

# ---- adopted, created, or neither
$stage->sync('people', '30 s');
like(names($one) . names($two), qr/Only Crm.*Ann Lee/i, 'what they lack is created once their mailboxes are known, for which sync waits');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.item WHERE NOT stamped') eq '0' }, 'what they have is stamped', 20);
like(items(), qr/^1 adopted, 1 crm, /, 'one mailbox had her, the other gets her');
$stage->until_true(sub { people() =~ /1 Ann Lee \+1,/ && names($two) =~ /Ann Lee \+1/ }, 'the CRM gets what only the user had, and the other mailbox, too', 20) or diag(people(), names($two));
is(scalar(grep { lc($_->{'contacts:Surname'}) eq 'lee' } held($one)), 1, 'she is not doubled');
is((grep { lc($_->{'contacts:Surname'}) eq 'lee' } held($one))[0]{'contacts:GivenName'}, 'Ann', 'and called as the CRM calls her');
is((map { $_->{'contacts:EmailAddress/EmailAddress1'} } grep { lc($_->{'contacts:Surname'}) eq 'lee' } held($one))[0], 'ann@example.com', 'the user gets what only the CRM had');
like($stage->sql("SELECT string_agg(concat_ws(' ', property, crm_value, winner), ', ') FROM crmsync.conflicts WHERE record = '1' AND property = 'given_name'"), qr/given_name Ann crm/, 'where both had something else both values are kept');

# ---- nobody decides for them
is(counted(), '0|f nothing', 'nothing is pending any more');
is(failing(), 'AMBIGUOUS record 4 matches several items of the mailbox, AMBIGUOUS record 4 matches several items of the mailbox, AMBIGUOUS records 2 and 3 match the item', 'what is ambiguous is parked, and says why');
like(people(), qr/^1 Ann Lee \+1, 2 Twin Same, 3 TWIN same, 4 Double Trouble, 5 Only Crm, 6 Own Friend, 1\d\d Own Friend$/, 'nothing is doubled in the CRM; one who is none of the mailbox\'s business does not match');

is(scalar(grep { lc(join ' ', @{$_}{qw(contacts:GivenName contacts:Surname)}) eq 'twin same' } held($one)), 1, 'nothing is created of what may be there: in one mailbox');
is(scalar(grep { lc($_->{'contacts:Surname'}) eq 'trouble' } held($two)), 2, 'and in the other');
$stage->sql("UPDATE crm.person SET phone = '+2' WHERE id IN (2, 4); SELECT crmsync.retry('people')");
sleep 4;
is(scalar(grep { lc($_->{'contacts:Surname'}) =~ /^(same|trouble)$/ } held($one), held($two)), 3, 'nor when the CRM changes it, nor by a retry');
$exchange->act($one, 'update', match => { 'contacts:Surname' => 'Same' }, folder => 'contacts', set => { 'contacts:Surname' => 'Another' });
$stage->until_true(sub { people() =~ /Twin Another/ }, 'when its user says who it is it comes in', 20);
$stage->until_true(sub { scalar(grep { lc($_->{'contacts:Surname'}) eq 'same' } held($one)) == 2 }, 'and what was held back goes out', 20);
$exchange->act($two, 'delete', match => { 'contacts:GivenName' => 'double' }, folder => 'contacts');
$exchange->act($two, 'update', match => { 'contacts:GivenName' => 'Double' }, folder => 'contacts', set => { 'item:Body' => 'the one' });
$stage->until_true(sub { failing() eq 'nothing' && items() =~ /4 adopted/ }, 'when a double is gone the other is adopted', 20) or diag(failing(), items());
is(scalar(grep { lc($_->{'contacts:Surname'}) eq 'trouble' } held($two)), 1, 'and there is one');

# ---- in a mailbox that is known
user_makes($one, 'contacts:GivenName' => 'only', 'contacts:Surname' => 'crm');
$stage->until_true(sub { failing() =~ /AMBIGUOUS record 5 matches, and has another item in the mailbox/ }, 'a second item of somebody who is there already is parked', 20);
$stage->sql("INSERT INTO crm.person (id, first_name, last_name) VALUES (7, 'Third', 'Twin'), (8, 'Third', 'Twin'); INSERT INTO crm.audience VALUES (7, '$two'), (8, '$two')");
$stage->until_true(sub { scalar(grep { $_ eq '7' || $_ eq '8' } keys %{ $exchange->records($two) }) == 2 }, 'what nobody has goes out', 20);
sleep 2.5;    # until it has been read: the server says nothing of what came and went in between
$exchange->act($two, 'delete', match => { 'contacts:Surname' => 'Twin' }, folder => 'contacts') for 1, 2;
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.item WHERE record IN ('7', '8') AND state = 'absent'") eq '2' }, 'and its user deletes it', 20);
user_makes($two, 'contacts:GivenName' => 'third', 'contacts:Surname' => 'twin');
$stage->until_true(sub { failing() =~ /AMBIGUOUS records 7 and 8 match the item/ }, 'what may be either of two is parked', 20);
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT polite CHECK (last_name <> 'Rude'); UPDATE crm.person SET phone = '+7' WHERE id IN (7, 8)");
$stage->sync;
is(scalar(grep { lc($_->{'contacts:Surname'} // '') eq 'twin' } held($two)), 1, 'and neither is made meanwhile');
$exchange->act($two, 'update', match => { 'contacts:Surname' => 'twin' }, folder => 'contacts', set => { 'contacts:Surname' => 'Rude' });
$stage->until_true(sub { failing() =~ /23514 .*polite/ && failing() !~ /records 7 and 8/ }, 'when it is refused for another reason', 20) or diag(failing());
$stage->until_true(sub { scalar(grep { lc($_->{'contacts:Surname'} // '') eq 'twin' } held($two)) == 2 }, 'the two are no longer held back', 20);
$exchange->act($two, 'delete', match => { 'contacts:Surname' => 'Rude' }, folder => 'contacts');
user_makes($two, 'contacts:GivenName' => 'Quite', 'contacts:Surname' => 'New');
$stage->until_true(sub { people() =~ /Quite New/ }, 'what nothing matches comes in', 20);
$stage->sql("INSERT INTO crm.audience VALUES (5, '$two')");
$stage->until_true(sub { names($two) =~ /Only Crm/ }, 'and what the CRM has goes out at once', 5);
$exchange->post('server', paused => \1);
user_makes($_, 'contacts:GivenName' => 'Each', 'contacts:Surname' => 'His own') for $one, $two;
sleep 2;
$exchange->post('server', paused => \0);
$stage->until_true(sub { scalar(() = people() =~ /Each His own/g) == 2 && failing() !~ /His own/ }, 'two that are alike are two rows where each is none of the other mailbox\'s business', 20) or diag(people(), failing());

# ---- the link is dropped and created anew under its name
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.item WHERE NOT stamped') eq '0' }, 'all is stamped', 20);
$stage->sql("SELECT crmsync.drop_link('people')");
$stage->make_link(more => "direction => 'both', inbound_interval => '1 s', match_on => '{given_name,surname}'", before => "SELECT crmsync.map('people', 'made_in', '\@mailbox');");
$stage->until_true(sub { items() =~ /^1 adopted, 1 crm, .*5 crm, 5 crm/ }, 'it knows by their stamps what users had made and what is ours', 30) or diag(items());

# ---- and without match_on, which gives each side what the other lacks as well
$stage->sql("SELECT crmsync.drop_link('people'); UPDATE crm.person SET phone = NULL WHERE id = 1");
$stage->make_link(more => "direction => 'both', inbound_interval => '1 s'", before => "SELECT crmsync.map('people', 'made_in', '\@mailbox');");
$stage->until_true(sub { people() =~ /1 Ann Lee \+1,/ && names($two) =~ /Ann Lee \+1/ }, 'what only the user has comes into the CRM, and from there to the other mailbox', 20) or diag(people(), names($one), names($two));
$stage->sql('DELETE FROM crm.audience WHERE record IN (1, 5)');
$stage->until_true(sub { names($two) !~ /(?:Ann|Crm)/ && names($one) !~ /Only Crm/ }, 'when nobody is to have them what is ours goes', 20) or diag(names($one), names($two));
like(names($one), qr/Lee \+1/, 'and what a user had made stays');

$stage->done;
