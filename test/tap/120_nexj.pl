# The rows of the NexJ table that concern contacts (N6 to N16), with the preset nexj, on the sample CRM.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('nexj', exchange => [ map { ('--mailbox', "user$_\@example.com") } 1 .. 6 ]);
my $exchange = $stage->exchange;
my ($one, $two, $three) = map { "user$_\@example.com" } 1 .. 3;
$stage->make_sample_crm;
$stage->sql("SELECT crm.generate_users(6)");
my $link = 'contacts';
$stage->link_sample_crm;

# A person with numbers and addresses, covered by the first users.
sub add_person
{
	my ($id, $columns, $values, @users) = @_;
	my $cover = join ' ', map { "INSERT INTO crm.coverage (person_id, user_id) VALUES ($id, $_);" } @users;
	$stage->change("BEGIN; INSERT INTO crm.person (id, last_name$columns) VALUES ($id, 'Smith'$values); $cover COMMIT", $link);
	return;
}

# Who has the record.
sub holders
{
	my ($id) = @_;
	return join ' ', grep { $exchange->records("user$_\@example.com")->{$id} } 1 .. 6;
}

sub gives
{
	my ($statements, $id, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->change($statements, $link);
	is(holders($id), $expected, $name);
	return;
}

sub value
{
	my ($mailbox, $id, $property) = @_;
	return $exchange->records($mailbox)->{$id}{$property};
}

# ---- N6
is($stage->sql("SELECT preset || ' ' || direction FROM crmsync.links"), 'nexj outbound', 'N6: with the preset nexj a link is outbound');
for my $direction (qw(both inbound))
{
	like($stage->error("SELECT crmsync.alter_link('contacts', direction => '$direction')"), qr/allows only direction outbound/, "N6: and cannot be $direction");
}
like($stage->error("SELECT crmsync.map('contacts', 'notes', 'notes', direction => 'inbound')"), qr/is outbound only/, 'N6: nor can a field');
$stage->sql("SELECT crmsync.create_target('second', 'ews', 'https://exchange.invalid/EWS/Exchange.asmx', 'basic', 'svc', 'file:exchange')");
like($stage->error("SELECT crmsync.create_link('more', 'second', 'contact', 'crm.person', audience => 'crm.contact_audience', preset => 'nexj', direction => 'both')"),
	qr/outbound/, 'N6: nor a new link');

# ---- N7, N8
add_person(1, ', class, first_name', ", 'Person', 'Ann'", 1);
is(holders(1), '1', 'N7: a Person goes out');
add_person(2, ', class, first_name', ", 'UserPerson', 'Bob'", 1);
is(holders(2), '1', 'N7: a UserPerson goes out');
my $id = 3;
for my $class (qw(Organization Household Department))
{
	add_person($id, ', class', ", '$class'", 1);
	is(holders($id++), '', "N7: a $class does not");
}
gives("UPDATE crm.person SET class = 'Organization' WHERE id = 2", 2, '', 'N7: a person that becomes one is deleted');
add_person(10, ', first_name, owner_id', ", 'Carl', 4");
is(holders(10), '', 'N8: a contact is not in the mailbox of who created it');
gives('INSERT INTO crm.coverage (person_id, user_id) VALUES (10, 2)', 10, '2', 'N8: it is in those of its coverage team');
gives('INSERT INTO crm.personal_list (person_id, user_id) VALUES (10, 3)', 10, '2 3', 'N8: and of who has put it on the personal list');
gives('INSERT INTO crm.personal_list (person_id, user_id) VALUES (10, 2)', 10, '2 3', 'N8: both at once are still one item');
gives('DELETE FROM crm.coverage WHERE person_id = 10', 10, '2 3', 'N8: as long as one of the two holds');
gives('DELETE FROM crm.personal_list WHERE person_id = 10 AND user_id = 3', 10, '2', 'N8: until neither does');

# ---- N9: all 23 rows
$stage->change(<<'SQL', $link);
BEGIN;
INSERT INTO crm.person (id, first_name, initials, last_name, position, birth_date) VALUES (20, 'Zoë', 'Q.', 'Łęcki', 'Engineer', '1972-02-29');
INSERT INTO crm.telecom (person_id, kind, is_default, value) VALUES (20, 'business', true, '+1 1'), (20, 'business', false, '+1 9'), (20, 'home', true, '+1 2'),
    (20, 'mobile', true, '+1 3'), (20, 'fax', true, '+1 4'), (20, 'email', true, 'zoe@example.org');
INSERT INTO crm.address (person_id, kind, is_default, street, city, state, postal_code, country)
VALUES (20, 'business', true, 'Main 1', 'Graz', 'Styria', '8010', 'Austria'), (20, 'home', true, 'Elm 2', 'Lyon', 'Rhône', '69001', 'France');
INSERT INTO crm.coverage (person_id, user_id) VALUES (20, 1);
COMMIT;
SQL
# The same in one table, with a column for each row.
$stage->sql(<<'SQL');
SET client_min_messages = error;
CREATE TABLE crm.flat AS
SELECT p.id, 'Dr. Zoë Łęcki (VIP)' AS full_name, p.first_name, p.initials, p.last_name, p.position, p.birth_date AS birthday,
    '+1 1' AS business_phone, '+1 2' AS home_phone, '+1 3' AS mobile_phone, '+1 4' AS business_fax, 'zoe@example.org' AS email,
    'Main 1, 8010 Graz' AS business_address, 'Main 1' AS business_street, 'Graz' AS business_city, 'Styria' AS business_state, '8010' AS business_postal_code, 'Austria' AS business_country,
    'Elm 2, 69001 Lyon' AS home_address, 'Elm 2' AS home_street, 'Lyon' AS home_city, 'Rhône' AS home_state, '69001' AS home_postal_code, 'France' AS home_country
FROM crm.person p WHERE p.id = 20;
ALTER TABLE crm.flat ADD PRIMARY KEY (id), OWNER TO crm_owner;
CREATE VIEW crm.flat_audience AS SELECT id AS record, 'user4@example.com' AS mailbox FROM crm.flat;
ALTER VIEW crm.flat_audience OWNER TO crm_owner;
SELECT crmsync.create_link('flat', 'exchange', 'contact', 'crm.flat', audience => 'crm.flat_audience', preset => 'nexj');
SELECT crmsync.map_preset('flat');
SELECT crmsync.enable_link('flat');
SQL
is($stage->sql("SELECT string_agg((SELECT count(*) FROM crmsync.mappings m WHERE m.link = l) || '', ' ') FROM unnest('{contacts,flat}'::text[]) l"), '23 23', 'N9: 23 rows');
$stage->settles('all columns of one table', 'flat');
my %expected = (
	'contacts:GivenName' => 'Zoë', 'contacts:MiddleName' => 'Q.', 'contacts:Surname' => 'Łęcki', 'contacts:JobTitle' => 'Engineer',
	'contacts:PhoneNumber/BusinessPhone' => '+1 1', 'contacts:PhoneNumber/HomePhone' => '+1 2', 'contacts:PhoneNumber/MobilePhone' => '+1 3',
	'contacts:PhoneNumber/BusinessFax' => '+1 4', 'contacts:EmailAddress/EmailAddress1' => 'zoe@example.org',
	'contacts:PhysicalAddress:Street/Business' => 'Main 1', 'contacts:PhysicalAddress:City/Business' => 'Graz', 'contacts:PhysicalAddress:State/Business' => 'Styria',
	'contacts:PhysicalAddress:PostalCode/Business' => '8010', 'contacts:PhysicalAddress:CountryOrRegion/Business' => 'Austria',
	'contacts:PhysicalAddress:Street/Home' => 'Elm 2', 'contacts:PhysicalAddress:City/Home' => 'Lyon', 'contacts:PhysicalAddress:State/Home' => 'Rhône',
	'contacts:PhysicalAddress:PostalCode/Home' => '69001', 'contacts:PhysicalAddress:CountryOrRegion/Home' => 'France');
sub display_name
{
	my ($mailbox) = @_;
	my $name = $exchange->records($mailbox)->{20}{'contacts:DisplayName'} // '';
	utf8::encode($name) if utf8::is_utf8($name);
	return $name;
}
for my $mailbox ($one, 'user4@example.com')
{
	my $zoe = $exchange->records($mailbox)->{20};
	for my $property (sort keys %expected)
	{
		my $got = $zoe->{$property} // '';
		utf8::encode($got) if utf8::is_utf8($got);
		is($got, $expected{$property}, "N9: $property");
	}
	like($zoe->{'contacts:Birthday'}, qr/^1972-02-29T/, 'N9: contacts:Birthday');
	is(display_name($mailbox), $mailbox eq $one ? 'Zoë Q. Łęcki' : 'Dr. Zoë Łęcki (VIP)', 'N9: the full name, as the CRM has it');
	my ($whole) = map { $zoe->{$_} } grep { m{/0x801b$}i } keys %$zoe;
	like($whole // '', qr/Main 1, 8010 Graz/, 'N9: the whole business address, as the CRM writes it');
	($whole) = map { $zoe->{$_} } grep { m{/0x801a$}i } keys %$zoe;
	like($whole // '', qr/Elm 2, 69001 Lyon/, 'N9: the whole home address');
	ok($zoe->{'contacts:FileAs'}, 'FileAs is made from the names');
}
$stage->change("UPDATE crm.flat SET first_name = 'Zoe', full_name = 'Prof. Zoe (VIP)'", 'flat');
is(display_name('user4@example.com'), 'Prof. Zoe (VIP)', 'N9: and when it changes with the names');
$exchange->forget_journal;
$stage->change("UPDATE crm.telecom SET is_default = false WHERE person_id = 20 AND value = '+1 1'; UPDATE crm.telecom SET is_default = true WHERE person_id = 20 AND value = '+1 9'", $link);
is(value($one, 20, 'contacts:PhoneNumber/BusinessPhone'), '+1 9', 'N9: another number becomes the default');

# ---- N10
add_person(30, ', first_name', ", 'John'", 1, 2);
$exchange->act($one, 'update', match => { 'contacts:GivenName' => 'John' }, folder => 'contacts', set => { 'contacts:GivenName' => 'Jack' });
is(value($one, 30, 'contacts:GivenName'), 'Jack', 'N10: a user renames John to Jack');
$stage->change("INSERT INTO crm.telecom (person_id, kind, is_default, value) VALUES (30, 'business', true, '555')", $link);
is(value($one, 30, 'contacts:PhoneNumber/BusinessPhone'), '555', 'N10: the CRM changes the phone');
is(value($one, 30, 'contacts:GivenName'), 'Jack', 'N10: and Exchange still has Jack');
is($stage->sql('SELECT first_name FROM crm.person WHERE id = 30'), 'John', 'N10: the CRM John');
$stage->change("UPDATE crm.person SET first_name = 'Joe' WHERE id = 30", $link);
is(value($one, 30, 'contacts:GivenName') . ' ' . value($two, 30, 'contacts:GivenName'), 'Joe Joe', 'N10: when the CRM changes the first name to Joe, Exchange has Joe');

# ---- N11
add_person(40, ', first_name', ", 'Kim'", 1, 2, 3);
is(holders(40), '1 2 3', 'three accounts have Kim');
gives('DELETE FROM crm.person WHERE id = 40', 40, '', 'N11: deleted in the CRM, deleted from every account');

# ---- N12
add_person(50, ', first_name', ", 'Lena'", 1, 2);
$exchange->act($one, 'delete', match => { 'contacts:GivenName' => 'Lena' }, folder => 'contacts');
is(holders(50), '2', 'a user deletes Lena');
gives("UPDATE crm.person SET rating = 5 WHERE id = 50", 50, '2', 'N12: a column that is not mapped does nothing');
$stage->sync($link);
is($stage->sql('SELECT count(*) FROM crm.person WHERE id = 50') . holders(50), '12', 'N12: nor anything in the CRM');
gives("UPDATE crm.person SET position = 'Lawyer' WHERE id = 50", 50, '1 2', 'N12: the next change of a mapped one creates it again');
is(value($one, 50, 'contacts:GivenName') . ' ' . value($one, 50, 'contacts:JobTitle'), 'Lena Lawyer', 'N12: as a whole');
$exchange->act($one, 'delete', match => { 'contacts:GivenName' => 'Lena' }, folder => 'contacts');
gives("DELETE FROM crm.person WHERE id = 50", 50, '', 'deleted on both sides');

# ---- N13 to N16
add_person(60, ', first_name, owner_id, view_group_id', ", 'Mia', 3, (SELECT min(id) FROM crm.user_group)", 1, 2, 3);
is($stage->sql('SELECT view_security || edit_security::text FROM crm.person WHERE id = 60'), 'publicpublic', 'N16: view and edit security are public by default');
is(holders(60), '1 2 3', 'N16: then the whole team has it');
$exchange->act($three, 'update', match => { 'contacts:GivenName' => 'Mia' }, folder => 'contacts', set => { 'contacts:Surname' => 'Mine' });
gives("UPDATE crm.person SET view_security = 'private' WHERE id = 60", 60, '3', 'N13: private: deleted from those who may no longer see it');
is(value($three, 60, 'contacts:Surname'), 'Mine', 'N13: fields in Exchange are untouched');
gives("UPDATE crm.person SET view_security = 'public' WHERE id = 60", 60, '1 2 3', 'N13: public again');
$exchange->forget_journal;
gives("UPDATE crm.person SET edit_security = 'private' WHERE id = 60", 60, '1 2 3', 'N14: edit security private');
gives("UPDATE crm.person SET edit_group_id = view_group_id, edit_security = 'group' WHERE id = 60", 60, '1 2 3', 'N14: edit group security');
is(scalar($exchange->journal), 0, 'N14: no effect: not one request');
$stage->sql('DELETE FROM crm.group_member');
gives("INSERT INTO crm.group_member SELECT min(id), 1 FROM crm.user_group; UPDATE crm.person SET view_security = 'group' WHERE id = 60", 60, '1', 'N15: group security: only its members have it');
gives('INSERT INTO crm.group_member SELECT min(id), 2 FROM crm.user_group', 60, '1 2', 'N15: a new member gets it');
gives('DELETE FROM crm.group_member WHERE user_id = 1', 60, '2', 'N15: who leaves the group loses it');

# ---- users
gives("UPDATE crm.app_user SET is_active = false WHERE id = 2", 60, '2', 'a user who does not take part any more keeps what is there');
gives("UPDATE crm.app_user SET email = 'user5\@example.com' WHERE id = 5; UPDATE crm.app_user SET is_active = true WHERE id = 2", 60, '2', 'and goes on later');
is($stage->failures, 'none', 'nothing failed');

$stage->done;
