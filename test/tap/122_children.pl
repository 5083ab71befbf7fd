# Child rows: e-mail addresses, phones and postal addresses in tables of their own, as in OroCRM, go out
# with their record, and what changes there is looked at without a watch.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Children;
use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('children');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
CrmSync::Children::make_tables($stage);
$stage->sql(<<"SQL");
SET ROLE crm_owner;
INSERT INTO crm.contact (id, first_name, last_name) VALUES (1, 'Ann', 'Lee'), (2, 'Bob', 'Ray');
INSERT INTO crm.contact_email (contact_id, email, is_primary) VALUES (1, 'second\@example.com', false), (1, 'first\@example.com', true), (1, 'third\@example.com', false), (1, 'fourth\@example.com', false);
INSERT INTO crm.contact_phone (contact_id, phone, is_primary) VALUES (1, '+1', false), (1, '+2', true);
INSERT INTO crm.contact_address (contact_id, type, street, city) VALUES (1, 'billing', 'A 1', 'Aachen'), (1, 'shipping', 'B 1', 'Bonn'), (1, NULL, 'C 1', 'Chur');
INSERT INTO crm.contact_event (contact_id, kind, happens) VALUES (1, 'birth', '1980-02-29');
INSERT INTO crm.audience VALUES (1, '$one'), (2, '$one');
SQL
$stage->make_target;
CrmSync::Children::make_link($stage);
is($stage->sql("SELECT string_agg(concat_ws('=', property, new_value), ' ' ORDER BY property) FROM crmsync.plan('contacts') WHERE record = '1' AND property LIKE 'email%'"),
	'email_1=first@example.com email_2=second@example.com email_3=third@example.com', 'plan shows what child rows say');
is($stage->sql("SELECT string_agg(detail, '; ' ORDER BY detail) FROM crmsync.why('contacts', '2', '$one') WHERE step = 'child rows'"),
	'crm.contact_address has no row 1 for {"type": "billing"}: business_city, business_street; crm.contact_address has no row 1 for {"type": "shipping"}: home_city, home_street; '
	. 'crm.contact_address has no row 1 for {"type": null}: other_city, other_street; crm.contact_email has no row 1: email_1; crm.contact_email has no row 2: email_2; crm.contact_email has no row 3: email_3; '
	. 'crm.contact_event has no row 1 for {"kind": "birth"}: birthday; crm.contact_line has no row 1: business_phone; crm.contact_line has no row 2: business_phone_2; crm.contact_phone has no row 1 for {"is_primary": true}: primary_phone',
	'why says what there is not');
$stage->sql("SELECT crmsync.enable_link('contacts')");
$stage->settles('before', 'contacts');

sub shown { return CrmSync::Children::shown($exchange, $one, $_[0]) }
sub gives
{
	my ($statements, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->change($statements, 'contacts');
	is(shown(1), $expected, $name);
	return;
}

# ---- what there is
my $rest = '+2 | A 1, Aachen | B 1, Bonn | C 1, Chur | 1980-02-29';
is(shown(1), "first\@example.com second\@example.com third\@example.com | $rest", 'rows by position, by what they have fixed, and a date');
is(shown(2), '- - - | - | -, - | -, - | -, - | -', 'a record without any');

# ---- what changes
gives("UPDATE crm.contact_email SET email = 'fifth\@example.com' WHERE email LIKE 'third%'", "first\@example.com second\@example.com fifth\@example.com | $rest", 'a value');
gives("DELETE FROM crm.contact_email WHERE is_primary", "second\@example.com fifth\@example.com fourth\@example.com | $rest", 'a row goes, and the others move up');
gives("UPDATE crm.contact_email SET is_primary = true WHERE email LIKE 'fifth%'", "fifth\@example.com second\@example.com fourth\@example.com | $rest", 'the order');
gives("DELETE FROM crm.contact_email WHERE email ~ '^(fifth|second)'", "fourth\@example.com - - | $rest", 'what is gone is removed');
gives("UPDATE crm.contact_address SET type = 'shipping' WHERE type IS NULL; DELETE FROM crm.contact_address WHERE city = 'Bonn'", 'fourth@example.com - - | +2 | A 1, Aachen | C 1, Chur | -, - | 1980-02-29', 'what a row has fixed');
gives("UPDATE crm.contact_address SET contact_id = 2 WHERE type = 'billing'", 'fourth@example.com - - | +2 | -, - | C 1, Chur | -, - | 1980-02-29', 'a row goes to another record');
is(shown(2), '- - - | - | A 1, Aachen | -, - | -, - | -', 'where it arrives');
is($stage->sql("SELECT detail FROM crmsync.why('contacts', '2', '$one') WHERE step = 'child rows' AND detail LIKE '%billing%'"), 'crm.contact_address has row 1 for {"type": "billing"}: business_city, business_street', 'why knows');
$exchange->forget_journal;
$stage->change("UPDATE crm.contact_email SET note = 'x'; UPDATE crm.contact_phone SET phone = '+11' WHERE NOT is_primary", 'contacts');
is($exchange->requests('UpdateItem'), '0', 'what is not mapped, and rows that are not meant, write nothing');

# ---- what is gone breaks this link, and no other
$stage->make_another('other', 1, 'user2@example.test');
$stage->settles('another link', 'other');
$stage->sql('ALTER TABLE crm.contact_phone RENAME TO phone');
$stage->until_true(sub { $stage->status('state', 'contacts') eq 'broken' }, 'a table renamed breaks the link', 20);
like($stage->status('last_error', 'contacts'), qr/relation crm\.contact_phone is gone/, 'and it says so');
$stage->change("UPDATE crm.other SET first_name = 'Still'", 'other');
is($stage->status('state', 'other'), 'idle', 'the other goes on');
$stage->sql("ALTER TABLE crm.phone RENAME TO contact_phone; SELECT crmsync.enable_link('contacts')");
$stage->settles('named again', 'contacts');
$stage->sql('ALTER TABLE crm.contact_phone RENAME phone TO number');
$stage->sql("UPDATE crm.contact_email SET email = 'sixth\@example.com' WHERE contact_id = 1");
$stage->until_true(sub { $stage->status("concat_ws(' ', code, last_error)", 'contacts') =~ /42703 .*phone.* does not exist/ }, 'so does a column', 20)
  or diag($stage->status("concat_ws(' ', state, code, last_error)", 'contacts'));
$stage->sql('ALTER TABLE crm.contact_phone RENAME number TO phone');
$stage->settles('back again', 'contacts', '40 s');
like(shown(1), qr/^sixth\@example.com - - /, 'and nothing was missed');

# ---- unmapped
$stage->sql("SELECT crmsync.unmap_child('contacts', 'crm.contact_phone'); SELECT crmsync.enable_link('contacts')");
is($stage->sql("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'crm.contact_phone'::regclass AND tgname LIKE 'crmsync%'"), '0', 'unmap_child takes the triggers away');
$stage->settles('without phones', 'contacts');
$stage->change("UPDATE crm.contact_phone SET phone = '+9'", 'contacts');
like(shown(1), qr/\| \+2 \|/, 'what is not mapped any more stays as it is');

$stage->done;
