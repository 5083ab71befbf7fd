# Mappings that cannot work, columns that go later, and values that Exchange refuses: one bad record is
# parked with the reason, the others of its batch go out.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('values');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm;

# ---- refused when they are defined
sub refused
{
	my ($call, $reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $said = $stage->error("SELECT crmsync.$call");
	like($said, $reason, $name);
	like($said, qr/HINT:/, '... with a hint');
	return;
}
refused("map('people', 'middle', 'middle_name')", qr/column "middle"/, 'an unknown column');
refused("map('people', 'remark', 'shoe_size')", qr/shoe_size/, 'an unknown property');
refused("map('people', '(r.middle)', 'middle_name')", qr/middle/, 'an unknown column in an expression');
refused("map('people', '((SELECT remark))', 'middle_name')", qr/remark/, 'a column that is not qualified in a sub-query');
refused("map('people', 'remark', 'start')", qr/start/, 'a property of other objects');
refused("map('people', 'remark', 'organizer')", qr/organizer/, 'a property that cannot be written');
refused("map('people', 'remark', 'notes', options => '{\"write\": \"never\"}')", qr/write/, 'an unknown value of an option');
refused("create_link('more', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', key => 'nothing')", qr/nothing/, 'an unknown key');
refused("alter_link('people', on_crm_delete => 'explode')", qr/explode|on_crm_delete/, 'an unknown policy');
refused("alter_link('people', options => '{\"speed\": 9}')", qr/unknown option "speed"/, 'an unknown option');

# ---- one of a hundred
$stage->add_people(1, 100, $one);
$stage->settles('a hundred people');

# Breaks record 50 while all hundred change: 99 arrive, one is parked, then mended.
my $round = 0;
sub one_is_parked
{
	my ($column, $value, $reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	++$round;
	my ($pending, $failed) = $stage->change("BEGIN; UPDATE crm.person SET last_name = 'Round $round'; UPDATE crm.person SET $column = $value WHERE id = 50; COMMIT");
	is("$pending $failed", '0 1', "$name: one record fails");
	like($stage->sql("SELECT record || ' ' || mailbox || ': ' || code || ': ' || message FROM crmsync.failures"), $reason, '... with the reason');
	my $records = $exchange->records($one);
	my $arrived = grep { ($records->{$_}{'contacts:Surname'} // '') eq "Round $round" } keys %$records;
	is($arrived, 99, '... the other 99 arrive');
	$stage->change("UPDATE crm.person SET $column = 'mended' WHERE id = 50");
	is($stage->failures, 'none', '... and it, when it is mended');
	like($exchange->records($one)->{50}{'contacts:Surname'}, qr/mended|Round $round/, '... as the CRM has it');
	return;
}
my $address = "repeat('a', 290) || '\@example.com'";
one_is_parked('email', $address, qr/^50 $one: ErrorInvalidPropertySet: The e-mail address is longer/, 'an e-mail of 300 characters');
$stage->sql("UPDATE crm.person SET email = NULL WHERE id = 50");
one_is_parked('first_name', "repeat('x', 256)", qr/^50 $one: .*255/, 'a name of 256 characters');
one_is_parked('first_name', 'E\'a\\u0001b\'', qr/^50 $one: VALUE: .*U\+0001/, 'a control character');
one_is_parked('first_name', 'U&\'\FFFE\'', qr/^50 $one: VALUE: .*U\+FFFE/, 'a character that XML does not have');
like($stage->error("UPDATE crm.person SET first_name = E'\\uD83D' WHERE id = 50"), qr/surrogate/i, 'half a surrogate is refused by PostgreSQL itself');
$exchange->inject('item', operation => 'UpdateItem', match => 'Poison', code => 'ErrorItemSave', message => 'Exchange does not like this one', count => 0);
one_is_parked('first_name', "'Poison'", qr/^50 $one: ErrorItemSave: Exchange does not like this one/, "what only the server minds, in the server's own words");
$exchange->calm;
$exchange->inject('fault', operation => 'UpdateItem', code => 'ErrorSchemaValidation', message => 'Element is not valid', status => 500);
$stage->change("UPDATE crm.person SET last_name = 'All'");
is($stage->failures, 'none', 'a fault for the whole batch is no failure of its items: they are sent in smaller ones');
is(join(' ', sort { $a <=> $b } map { $_->{'contacts:Surname'} eq 'All' ? () : 1 } values %{ $exchange->records($one) }), '', 'and all arrive');

# ---- tried again by itself, and parked in the end
my $three = 'user3@example.test';
my $pauses = "CASE WHEN parked THEN 'parked' ELSE date_trunc('minute', next_attempt - clock_timestamp() + interval '30 s')::text END";
sub pauses { return $stage->sql("SELECT string_agg(m, '; ' ORDER BY m) FROM (SELECT mailbox || string_agg(concat_ws(' ', ',', record, attempts, $pauses), '' ORDER BY record) AS m FROM crmsync.failures GROUP BY mailbox) AS f") }
sub fails_until { my ($expected, $name) = @_; return $stage->until_true(sub { pauses() eq $expected }, $name) || diag(pauses()) }
$stage->change("INSERT INTO crm.audience SELECT i, '$three' FROM generate_series(50, 54) i");
$exchange->inject('item', operation => 'UpdateItem', match => 'Again', mailbox => $one, code => 'ErrorInternalServerError', count => 0);
$exchange->inject('item', operation => 'UpdateItem', match => 'Again', mailbox => $three, code => 'ErrorItemSave', count => 0);
$stage->sql("UPDATE crm.person SET first_name = CASE id WHEN 54 THEN 'Fine' ELSE 'Again' END WHERE id BETWEEN 50 AND 54");
fails_until("$one, 50 1 00:01:00, 51 1 00:01:00, 52 1 00:01:00, 53 1 00:01:00; $three, 50 1 00:01:00, 51 1 00:01:00, 52 1 00:01:00, 53 1 00:01:00", 'what fails is tried again after a minute');
# As if they had failed once, twice, ...
$stage->sql("UPDATE crmsync.failure SET attempts = record::integer - 49, next_attempt = now()");
fails_until("$one, 50 2 00:10:00, 51 3 01:00:00, 52 4 06:00:00, 53 5 24:00:00; $three, 50 2 00:10:00, 51 3 parked, 52 4 parked, 53 5 parked", 'then after ten and parked; or after hours, where the server itself does not know why');
$exchange->calm;
$stage->sql("UPDATE crmsync.failure SET next_attempt = now() WHERE next_attempt IS NOT NULL");
$stage->until_true(sub { $stage->failures eq '51 ErrorItemSave, 52 ErrorItemSave, 53 ErrorItemSave' }, 'when the cause is gone all goes out but what is parked') or diag(pauses());
is(join(' ', map { $exchange->records($one)->{$_}{'contacts:GivenName'} } 50 .. 54), 'Again Again Again Again Fine', 'it is there');
$stage->sql("SELECT crmsync.retry('people')");
$stage->settles('who asks for it gets the rest');

# ---- a database that is not UTF-8 sends bytes as they are: half a surrogate, as CESU-8
$stage->sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
my $node = $stage->node;
my $url = $exchange->url;
$node->safe_psql('bytes', <<"SQL");
SET client_min_messages = error;
CREATE EXTENSION crmsync;
CREATE SCHEMA crm AUTHORIZATION crm_owner;
SET ROLE crm_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, first_name text);
CREATE VIEW crm.audience AS SELECT id AS record, '$two' AS mailbox FROM crm.person;
RESET ROLE;
SELECT crmsync.create_target('exchange', 'ews', '$url', 'basic', 'service\@example.test', 'file:exchange');
SELECT crmsync.create_link('bytes', 'exchange', 'contact', 'crm.person', audience => 'crm.audience');
SELECT crmsync.map('bytes', 'first_name', 'given_name');
SELECT crmsync.enable_link('bytes');
INSERT INTO crm.person VALUES (1, E'good'), (2, E'half \\xED\\xA0\\xBD'), (3, E'latin \\xE9');
SQL
is($node->safe_psql('bytes', "SELECT pending, failed FROM crmsync.sync('bytes', wait => '20 s')"), '0|2', 'bytes that are no UTF-8');
like($node->safe_psql('bytes', "SELECT string_agg(record || ': ' || message, ' ' ORDER BY record) FROM crmsync.failures"), qr/^2: .*not valid UTF-8.*3: .*not valid UTF-8/, 'are parked with the reason');
is($exchange->show($two), '1:good', 'the good one arrives');

# ---- what goes later
$stage->sql('ALTER TABLE crm.person DROP COLUMN phone');
$stage->sql("UPDATE crm.person SET first_name = 'Later' WHERE id = 1");
$stage->until_true(sub { $stage->status('state') eq 'broken' }, 'a mapped column is dropped: the link is broken');
like($stage->status("concat_ws(': ', code, last_error)"), qr/^42703: .*phone/, 'the reason names it');
is($stage->sql("SELECT count(*) FROM crmsync.alerts WHERE kind = 'link' AND name = 'people' AND hint <> ''"), '1', 'and there is an alert with a hint');
like($stage->error("SELECT crmsync.enable_link('people')"), qr/phone/, 'it cannot be enabled so');
$stage->sql("SET client_min_messages = error; SELECT crmsync.unmap('people', 'business_phone'); SELECT crmsync.enable_link('people')");
$stage->settles('unmapped and enabled, it works again');
is($exchange->records($one)->{1}{'contacts:GivenName'}, 'Later', 'and nothing was lost');
$stage->sql('ALTER TABLE crm.audience RENAME TO audience_elsewhere');
$stage->sql("UPDATE crm.person SET first_name = 'Even later' WHERE id = 1");
$stage->until_true(sub { $stage->status('state') eq 'broken' }, 'the audience is renamed: the link is broken');
is(scalar(keys %{ $exchange->records($one) }), 100, 'and nothing is deleted');
$stage->sql('ALTER TABLE crm.audience_elsewhere RENAME TO audience');
$stage->until_true(sub { $stage->status('state') eq 'idle' }, 'renamed back it goes on by itself', 30);
is($exchange->records($one)->{1}{'contacts:GivenName'}, 'Even later', 'and nothing was lost');

# ---- a value map without the value
$stage->sql("SET client_min_messages = error; SELECT crmsync.map('people', 'remark', 'importance', value_map => '{\"hot\": \"high\", \"cold\": \"low\"}'); SELECT crmsync.enable_link('people')");
$stage->settles('a value map');
$stage->change("UPDATE crm.person SET remark = 'lukewarm' WHERE id = 2; UPDATE crm.person SET remark = 'hot' WHERE id = 3");
like($stage->sql('SELECT record || message FROM crmsync.failures'), qr/^2.*lukewarm/, 'a value that is not in it parks its record');
is($exchange->records($one)->{3}{'item:Importance'}, 'High', 'and no other');

# ---- mended where nobody looks
$stage->change("UPDATE crm.person SET remark = 'cold' WHERE id = 2");
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE TABLE crm.rate (divisor integer);
INSERT INTO crm.rate VALUES (1);
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.map('people', '((SELECT CASE WHEN r.id = 7 THEN (7 / t.divisor)::text END FROM crm.rate t))', 'department');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('an expression over a table that nobody watches');
$stage->sql('UPDATE crm.rate SET divisor = 0');
$stage->until_true(sub { $stage->failures eq '7 22012' }, 'it fails for one record');
$stage->sql('UPDATE crmsync.failure SET next_attempt = NULL');    # as after its last attempt
$stage->sql('UPDATE crm.rate SET divisor = 7');
$stage->settles('mended there, the record is parked no more');
is($exchange->records($one)->{7}{'contacts:Department'}, '1', 'and arrives');

# What the server refused is mended there: nothing but the comparison leads to it.
$stage->sql(<<'SQL');
ALTER TABLE crm.rate ADD COLUMN word text;
SET client_min_messages = error;
SELECT crmsync.map('people', '((SELECT CASE WHEN r.id = 7 THEN t.word END FROM crm.rate t))', 'profession');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('another one');
$exchange->inject('item', operation => 'UpdateItem', match => 'Toxic', code => 'ErrorItemSave', count => 0);
$stage->sql("UPDATE crm.rate SET word = 'Toxic'");
$stage->until_true(sub { $stage->failures eq '7 ErrorItemSave' }, 'its value is refused');
$stage->sql('UPDATE crmsync.failure SET next_attempt = NULL');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything'), crmsync.wake() FROM crmsync.link");
is(join(' ', $stage->sync) . $stage->sql('SELECT attempts FROM crmsync.failures'), '0 11', 'parked, it is not tried again by a comparison');
$stage->sql("UPDATE crm.rate SET word = 'Wholesome'");
$stage->settles('but with another value it is');
is($exchange->records($one)->{7}{'contacts:Profession'}, 'Wholesome', 'and arrives');

# It is mended together with very many others, while its last attempt is under way.
$stage->sql("UPDATE crm.person SET first_name = 'Toxic' WHERE id = 8");
$stage->until_true(sub { $stage->failures eq '8 ErrorItemSave' }, 'another one is refused');
$exchange->post('server', request_ms => 3000);
$stage->sql('UPDATE crmsync.failure SET attempts = 2, next_attempt = now()');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.pending WHERE record = '8'") eq '1' }, 'its last attempt');
$stage->sql("BEGIN; INSERT INTO crm.person (id) SELECT i FROM generate_series(2001, 3100) i; UPDATE crm.person SET first_name = 'Harmless' WHERE id = 8; COMMIT");
$stage->until_true(sub { $stage->sql("SELECT max(attempts) FROM crmsync.failure WHERE record = '8'") eq '3' }, 'is refused, too');
$exchange->post('server', request_ms => 0);
$stage->settles('and not the last');
is($exchange->records($one)->{8}{'contacts:GivenName'}, 'Harmless', 'since it has other values');

$stage->done;
