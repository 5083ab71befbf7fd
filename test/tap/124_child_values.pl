# Columns of child rows with more of what map takes: a value_map, an expression for what comes in, and
# options of the field.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Children;
use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('child_values');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
CrmSync::Children::make_tables($stage);
$stage->sql(<<"SQL");
SET ROLE crm_owner;
ALTER TABLE crm.contact_address ADD country text;
INSERT INTO crm.contact (id, first_name, last_name) SELECT i, 'First' || i, 'Last' || i FROM generate_series(1, 6) i;
INSERT INTO crm.contact_email (contact_id, email, is_primary) SELECT i, chr(96 + n) || i || '\@x', n = 1 FROM generate_series(1, 6) i, generate_series(1, 2) n;
INSERT INTO crm.contact_address (contact_id, type, city, country) SELECT i, 'billing', 'City', 'DE' FROM generate_series(1, 5) i;
INSERT INTO crm.audience SELECT i, m FROM generate_series(1, 6) i, unnest('{$one,$two}'::text[]) m;
SQL
$stage->make_target;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('contacts', 'exchange', 'contact', 'crm.contact', audience => 'crm.audience', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map('contacts', 'first_name', 'given_name');
SELECT crmsync.map('contacts', 'last_name', 'surname');
SELECT crmsync.map('contacts', 'made_in', '@mailbox');
SELECT crmsync.map_child('contacts', 'crm.contact_email', 'contact_id',
                         jsonb_build_object('email', jsonb_build_object('property', 'email_' || i, 'inbound', 'lower($1)')),
                         "position" => i, order_by => 'is_primary DESC')
FROM generate_series(1, 2) i;
SELECT crmsync.map_child('contacts', 'crm.contact_address', 'contact_id',
    '{"city": {"property": "business_city", "options": {"conflict": "target_wins"}}, "street": {"property": "business_street", "inbound": "upper($1)", "options": {"conflict": "target_wins"}},
      "country": {"property": "business_country", "value_map": {"DE": ["Germany", "Deutschland"], "FR": "France"}}}', fixed => '{"type": "billing"}');
SELECT crmsync.enable_link('contacts');
SQL
$stage->settles('before', 'contacts');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'both mailboxes are read', 30);

sub email { return "EmailAddress/EmailAddress$_[0]" }
sub address { return "PhysicalAddress:$_[0]/Business" }
sub user_changes { my ($mailbox, $record, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:GivenName' => "First$record" }, folder => 'contacts', set => { map { ("contacts:$_" => $set{$_}) } keys %set }) }
sub value { my ($mailbox, $record, $name) = @_; return $exchange->records($mailbox)->{$record}{"contacts:$name"} // '-' }
sub shown { my ($record) = @_; return join ' / ', map { my $mailbox = $_; join ' ', map { value($mailbox, $record, $_) } email(1), email(2), address('City'), address('CountryOrRegion') } $one, $two }
sub crm
{
	my ($record) = @_;
	return $stage->sql(<<"SQL");
SELECT concat_ws(' | ', (SELECT string_agg(email, ' ' ORDER BY is_primary DESC, id) FROM crm.contact_email WHERE contact_id = $record),
                 (SELECT coalesce(string_agg(concat_ws(' ', type, city, country), ', ' ORDER BY id), 'none') FROM crm.contact_address WHERE contact_id = $record))
SQL
}
sub becomes { my ($record, $expected, $what) = @_; $stage->until_true(sub { crm($record) eq $expected }, $what, 20) or diag(crm($record)); return }
sub shows { my ($record, $expected, $what) = @_; $stage->until_true(sub { shown($record) eq "$expected / $expected" }, $what, 20) or diag(shown($record)); return }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code, message), ', ' ORDER BY record), 'nothing') FROM crmsync.failures") }

# ---- value_map
is(shown(1), 'a1@x b1@x City Germany / a1@x b1@x City Germany', 'the first value of a value_map goes out');
$stage->change("UPDATE crm.contact_address SET country = 'FR' WHERE contact_id = 1", 'contacts');
is(shown(1), 'a1@x b1@x City France / a1@x b1@x City France', 'so does another');
user_changes($one, 1, address('CountryOrRegion') => 'Deutschland');
becomes(1, 'a1@x b1@x | billing City DE', 'each is read');
user_changes($one, 2, address('CountryOrRegion') => 'Atlantis');
$stage->until_true(sub { failing() eq '2 VALUE the value of property "business_country" is not in its value_map' }, 'what is not listed parks the item', 20) or diag(failing());
user_changes($one, 2, address('CountryOrRegion') => 'France');
becomes(2, 'a2@x b2@x | billing City FR', 'until it is');
user_changes($one, 6, address('CountryOrRegion') => 'France');
becomes(6, 'a6@x b6@x | billing FR', 'a row is made with it');
user_changes($one, 3, address('City') => undef);
becomes(3, 'a3@x b3@x | billing DE', 'it keeps a row');
user_changes($one, 3, address('CountryOrRegion') => undef);
becomes(3, 'a3@x b3@x | none', 'and is the last that goes');
user_changes($one, 2, address('CountryOrRegion') => undef);
becomes(2, 'a2@x b2@x | billing City', 'what is empty is in no value_map');
user_changes($one, 2, address('City') => undef);
becomes(2, 'a2@x b2@x | none', 'and keeps no row');
$stage->sql("UPDATE crm.contact_address SET country = 'XX' WHERE contact_id = 4");
$stage->until_true(sub { failing() =~ /^4 VALUE value "XX" for property "business_country" is not in its value_map/ }, 'what the CRM has must be listed, too', 20) or diag(failing());
user_changes($one, 4, address('City') => 'Elsewhere');
$stage->change("UPDATE crm.contact_address SET country = 'DE' WHERE contact_id = 4", 'contacts');
becomes(4, 'a4@x b4@x | billing Elsewhere DE', 'then all goes on');

# ---- inbound
user_changes($two, 5, email(2) => 'New5@X');
shows(5, 'a5@x new5@x City Germany', 'an expression makes what comes in, and that goes out');
is(crm(5), 'a5@x new5@x | billing City DE', 'to the row');
user_changes($one, 5, email(1) => undef);
shows(5, 'new5@x - City Germany', 'a row moves up with it');
$exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'First7', 'contacts:EmailAddress/EmailAddress1' => 'Seven@X', 'contacts:' . address('CountryOrRegion') => 'Germany' });
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crm.contact WHERE first_name = 'First7'") eq '1' }, 'a new item comes in', 20) or diag(failing());
is(crm('(SELECT id FROM crm.contact WHERE first_name = \'First7\')'), 'seven@x | billing DE', 'with both');

# ---- options
$exchange->post('server', paused => \1);
user_changes($one, 1, address('City') => 'His', address('CountryOrRegion') => 'France');
$stage->sql("UPDATE crm.contact_address SET city = 'Ours', country = 'FR', street = 'Street' WHERE contact_id = 1");
$exchange->post('server', paused => \0);
shows(1, 'a1@x b1@x His France', 'who wins is said for the field');
is(crm(1), 'a1@x b1@x | billing His FR', 'on both sides');
is(failing(), 'nothing', 'nothing failed');

# ---- what the CRM has had itself comes back as it was
sub street { my ($record) = @_; return $stage->sql("SELECT street FROM crm.contact_address WHERE contact_id = $record") }
sub first_email { my ($record) = @_; return $stage->sql("SELECT string_agg(email, ' ') FROM crm.contact_email WHERE contact_id = $record AND is_primary") }
$stage->change("UPDATE crm.contact_address SET street = 'Old Street' WHERE contact_id IN (1, 4); UPDATE crm.contact_email SET email = 'Big\@X' WHERE contact_id = 4 AND is_primary", 'contacts');
my $earlier = $stage->sql('SELECT clock_timestamp()');
user_changes($one, 4, address('Street') => 'TYPED', email(1) => 'typed@x');
$stage->until_true(sub { street(4) eq 'TYPED' && first_email(4) eq 'typed@x' }, 'a user changes two rows', 20);
$exchange->post('server', paused => \1);
user_changes($one, 1, address('Street') => 'THEIRS');
$stage->sql("UPDATE crm.contact_address SET street = 'Our Street' WHERE contact_id = 1");
$exchange->post('server', paused => \0);
$stage->until_true(sub { street(1) eq 'THEIRS' }, 'and another wins', 20) or diag(street(1));
$stage->sql("SELECT crmsync.resolve((SELECT id FROM crmsync.conflicts WHERE property = 'business_street' AND crm_value = 'Our Street'), 'crm')");
$stage->until_true(sub { street(1) eq 'Our Street' }, 'resolve: nothing is made of the CRM\'s own value', 20) or diag(street(1));
$stage->sql("SET client_min_messages = error; SELECT crmsync.undo('contacts', '$earlier')");
$stage->until_true(sub { street(4) eq 'Old Street' && first_email(4) eq 'Big@X' }, 'nor by undo', 20) or diag(street(4), first_email(4));
$stage->until_true(sub { value($two, 4, address('Street')) eq 'Old Street' && value($two, 4, email(1)) eq 'Big@X' }, 'in the other mailbox neither', 20);

# ---- columns in another order than their properties
$stage->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.contact_day (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, contact_id integer REFERENCES crm.contact ON DELETE CASCADE, born date, wed timestamp,
                              a_year text GENERATED ALWAYS AS ((extract(year FROM born)::integer)::text) STORED);
INSERT INTO crm.contact_day (contact_id, born, wed) SELECT i, '1980-01-02', '2001-05-06 12:00' FROM generate_series(1, 6) i;
RESET ROLE;
SELECT crmsync.map_child('contacts', 'crm.contact_day', 'contact_id', '{"born": "birthday", "wed": "anniversary", "a_year": "job_title"}');
SELECT crmsync.enable_link('contacts');
SQL
$stage->settles('days', 'contacts');
user_changes($one, 2, Birthday => '1990-03-03T00:00:00Z', JobTitle => 'Painter');
$stage->until_true(sub { $stage->sql('SELECT born FROM crm.contact_day WHERE contact_id = 2') eq '1990-03-03' }, 'a day comes in', 20) or diag($stage->sql('SELECT * FROM crmsync.arrival'));
is($stage->sql('SELECT wed FROM crm.contact_day WHERE contact_id = 2'), '2001-05-06 12:00:00', 'and the other stays');
$stage->until_true(sub { value($one, 2, 'JobTitle') eq '1990' && value($two, 2, 'JobTitle') eq '1990' }, 'a generated column goes out', 20) or diag(failing());
is(failing(), 'nothing', 'and is not written by what a user has there');

# ---- a column of the primary key
$stage->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.contact_number (contact_id integer REFERENCES crm.contact ON DELETE CASCADE, kind text, number text, place integer, PRIMARY KEY (contact_id, kind, number));
INSERT INTO crm.contact_number SELECT i, 'mobile', '1' || n || i, n FROM generate_series(1, 6) i, generate_series(1, 2) n;
RESET ROLE;
SELECT crmsync.map_child('contacts', 'crm.contact_number', 'contact_id', '{"number": "mobile_phone"}', fixed => '{"kind": "mobile"}');
SQL
my ($status, undef, $said) = $stage->node->psql('postgres', q{SELECT crmsync.enable_link('contacts')});
like($said, qr/column "number" of crm.contact_number belongs to the primary key, which says in which order the rows stand/, 'a column that would make it another row cannot come in');
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.map_child('contacts', 'crm.contact_number', 'contact_id', '{"number": "mobile_phone"}', fixed => '{"kind": "mobile"}', order_by => 'place');
SELECT crmsync.enable_link('contacts');
SQL
$stage->settles('numbers', 'contacts');
sub numbers { my ($record) = @_; return $stage->sql("SELECT string_agg(number, ' ' ORDER BY number) FROM crm.contact_number WHERE contact_id = $record") }
is(value($one, 3, 'PhoneNumber/MobilePhone'), '113', 'a mapped column may be part of the primary key');
user_changes($one, 3, 'PhoneNumber/MobilePhone' => '2');
$stage->until_true(sub { numbers(3) eq '123 2' }, 'and is written as any other', 20) or diag(failing());
user_changes($one, 3, 'PhoneNumber/MobilePhone' => undef);
$stage->until_true(sub { numbers(3) eq '123' }, 'and its row deleted', 20) or diag(failing());
is(failing(), 'nothing', 'without a failure');

$stage->done;
