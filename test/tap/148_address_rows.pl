# E-mail addresses in child rows, of which one cannot be read: nobody knows which of them is which row, so that none
# comes in twice, and none is written into the place of another.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Children;
use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('address_rows');
my ($exchange, $one) = ($stage->exchange, 'user1@example.test');
my $directory_name = '/o=ExchangeLabs/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=1c2ee2-ann';

sub entry { my ($place, $value) = @_; my $entry = "contacts:EmailAddress/EmailAddress$place"; return ($entry => $value, "$entry\@Type" => undef) if ($value // '') ne 'EX'; return ($entry => $directory_name, "$entry\@Type" => 'EX', "$entry\@Original" => 'Ann Lee') }
sub entries { my @values = @_; return map { entry($_, $values[ $_ - 1 ]) } 1 .. 3 }
sub user_changes { my ($id, @values) = @_; return $exchange->act($one, 'update', match => { 'contacts:GivenName' => "First$id" }, folder => 'contacts', set => { entries(@values), 'contacts:Surname' => "Typed$id" }) }
sub user_makes { my ($id, @values) = @_; my %set = entries(@values); return $exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => "First$id", map { ($_ => $set{$_}) } grep { defined $set{$_} } keys %set }) }
sub emails { my ($id) = @_; return $stage->sql("SELECT coalesce(string_agg(e.email, ' ' ORDER BY e.is_primary DESC, e.id), 'none') FROM crm.contact c LEFT JOIN crm.contact_email e ON e.contact_id = c.id WHERE c.first_name = 'First$id'") }
sub shown { my ($id) = @_; my ($item) = grep { $_->{'contacts:GivenName'} eq "First$id" } map { $_->{properties} } $exchange->items($one); return join ' ', map { my $value = $item->{"contacts:EmailAddress/EmailAddress$_"} // '-'; $value eq $directory_name ? 'EX' : $value } 1 .. 3 }
sub are_quiet { my ($name) = @_; $stage->settles($name, 'contacts'); return $stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' && $stage->sql('SELECT count(*) FROM crmsync.item WHERE NOT stamped') eq '0' }, "$name, all has come in") || diag($stage->sql('SELECT * FROM crmsync.failures')) }

CrmSync::Children::make_tables($stage);
$stage->sql(<<"SQL");
SET ROLE crm_owner;
ALTER TABLE crm.contact_email DROP CONSTRAINT contact_email_contact_id_email_key;
INSERT INTO crm.contact (id, first_name, last_name) SELECT i, 'First' || i, 'Last' || i FROM generate_series(1, 4) i;
INSERT INTO crm.contact_email (contact_id, email, is_primary) SELECT i, chr(96 + n) || i || '\@x', n = 1 FROM generate_series(1, 3) i, generate_series(1, 2) n;
INSERT INTO crm.audience SELECT i, '$one' FROM generate_series(1, 4) i;
SQL
$stage->make_target;
user_makes(3, 'EX', 'b3@x');
user_makes(4, 'EX', 'own4@x');
CrmSync::Children::make_link($stage, "direction => 'both', match_on => '{given_name}', inbound_interval => '1 s'");
$stage->sql("SET client_min_messages = error; SELECT crmsync.map('contacts', 'made_in', '\@mailbox'); SELECT crmsync.enable_link('contacts')");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.item WHERE stamped') eq '4' }, 'all are there');
are_quiet('before');

# ---- rows that change their places
user_changes(1, 'EX', 'a1@x', 'b1@x');
$stage->until_true(sub { $stage->sql("SELECT last_name FROM crm.contact WHERE id = 1") eq 'Typed1' }, 'a user puts somebody of the address list before the others');
are_quiet('and the rest comes in');
is(emails(1), 'a1@x b1@x', 'no row is there twice');
is(shown(1), 'EX a1@x b1@x', 'and the item stays as he wants it');
user_changes(1, 'new1@x', 'a1@x', 'b1@x');
$stage->until_true(sub { emails(1) eq 'a1@x b1@x new1@x' }, 'what he types in its place comes in as a row') or diag(emails(1));
$stage->until_true(sub { shown(1) eq 'a1@x b1@x new1@x' }, 'and all is as the CRM has it') or diag(shown(1));

user_changes(2, 'b2@x', 'EX');
$stage->until_true(sub { $stage->sql("SELECT last_name FROM crm.contact WHERE id = 2") eq 'Typed2' }, 'the second one moves up');
are_quiet('and the rest comes in');
is(emails(2), 'a2@x b2@x', 'nothing is lost, or there twice');
$stage->change("UPDATE crm.contact_email SET email = 'c2\@x' WHERE email = 'b2\@x'", 'contacts');
are_quiet('what the CRM changes goes out');
is(emails(2) . ' / ' . shown(2), 'a2@x c2@x / b2@x c2@x -', 'and nothing else does');
$exchange->act($one, 'update', match => { 'contacts:GivenName' => 'First2' }, folder => 'contacts', set => { 'contacts:Surname' => 'Last2' });
$stage->until_true(sub { emails(2) eq 'b2@x c2@x' }, 'all can be read again, and comes in when its user next changes it') or diag(emails(2));

# ---- what nothing was agreed on
is(emails(3) . ' / ' . shown(3), 'a3@x b3@x / EX b3@x -', 'what is matched stays on both sides');
is(emails(4) . ' / ' . shown(4), 'none / EX own4@x -', 'also where the CRM has none');
user_makes(5, 'EX', 'own5@x');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crm.contact WHERE first_name = 'First5'") eq '1' }, 'a new contact comes in');
are_quiet('without its addresses');
is(emails(5) . ' / ' . shown(5), 'none / EX own5@x -', 'and nothing moves up into the place of what cannot be read');
user_changes(5, 'typed5@x', 'own5@x');
$stage->until_true(sub { emails(5) =~ /typed5\@x/ && emails(5) =~ /own5\@x/ }, 'they come in when all can be read') or diag(emails(5));
is($stage->sql('SELECT count(*) FROM crmsync.conflicts') . $stage->sql('SELECT count(*) FROM crmsync.failures'), '00', 'without a conflict or a failure');

$stage->done;
