# What makes a record belong in a mailbox: relations that are watched, or only read; partitions; rows
# that logical replication applies; mailboxes that take part; a folder by name; and the guard.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('relations', init => { allows_streaming => 'logical' }, conf => 'crmsync.environment = test');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_tables;
$stage->make_target;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE TABLE crm.number (id integer PRIMARY KEY, person integer, value text, note text);
CREATE TABLE crm.team (id integer PRIMARY KEY, mailbox text, note text);
CREATE TABLE crm.membership (person integer, team integer, PRIMARY KEY (person, team));
CREATE TABLE crm.company (id integer PRIMARY KEY, name text, note text);
CREATE TABLE crm.participant (mailbox text PRIMARY KEY, enabled boolean);
ALTER TABLE crm.person ADD COLUMN company integer;
CREATE VIEW crm.wanted AS SELECT m.person AS record, t.mailbox FROM crm.membership m JOIN crm.team t ON t.id = m.team;
INSERT INTO crm.participant VALUES ('$one', true), ('$two', true);
INSERT INTO crm.team VALUES (1, '$one'), (2, '$two');
INSERT INTO crm.company VALUES (1, 'Acme');
INSERT INTO crm.person (id, first_name, last_name, company) SELECT i, 'First' || i, 'Last', 1 FROM generate_series(1, 3) i;
INSERT INTO crm.membership VALUES (1, 1), (2, 1), (3, 2);
INSERT INTO crm.number VALUES (1, 1, '111');
SQL
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.wanted', mailboxes => 'crm.participant', folder => 'CRM');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', '((SELECT n.value FROM crm.number n WHERE n.person = r.id))', 'business_phone');
SELECT crmsync.map('people', '((SELECT c.name FROM crm.company c WHERE c.id = r.company))', 'company');
SELECT crmsync.watch('people', 'crm.number', 'person');
SELECT crmsync.watch('people', 'crm.membership', 'person');
SELECT crmsync.watch('people', 'crm.team', 'id', lookup => 'SELECT m.person FROM crm.membership m WHERE m.team = $1::integer');
SELECT crmsync.enable_link('people');
SQL

sub gives
{
	my ($statements, $expected, $name, $property) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->change($statements);
	is(join(' / ', map { $exchange->show($_, $property, 'CRM') } $one, $two), $expected, $name);
	return;
}

# ---- the folder
$stage->settles('the first comparison');
is($exchange->show($one, undef, 'CRM') . ' / ' . $exchange->show($two, undef, 'CRM'), '1:First1 2:First2 / 3:First3', 'a folder that was missing is created');
is(scalar($exchange->items($one)), 0, 'and the default folder stays as it is');

# ---- watched, with the key in a column
my $phone = 'contacts:PhoneNumber/BusinessPhone';
gives("UPDATE crm.number SET value = '222' WHERE id = 1", '1:222 2: / 3:', 'a child changes', $phone);
gives("UPDATE crm.number SET person = 3 WHERE id = 1", '1: 2: / 3:222', 'a child moves: both records are looked at', $phone);
gives("DELETE FROM crm.number", '1: 2: / 3:', 'a child goes', $phone);
gives("INSERT INTO crm.number VALUES (2, 2, '333')", '1: 2:333 / 3:', 'a child comes', $phone);
gives("INSERT INTO crm.membership VALUES (1, 2)", '1:First1 2:First2 / 1:First1 3:First3', 'a membership comes');
gives("DELETE FROM crm.membership WHERE person = 1 AND team = 1", '2:First2 / 1:First1 3:First3', 'one goes: only that mailbox loses the record');
gives("TRUNCATE crm.number", '2: / 1: 3:', 'TRUNCATE of a watched relation', $phone);

# ---- watched, with a lookup
gives("UPDATE crm.team SET mailbox = '$one' WHERE id = 2", '1:First1 2:First2 3:First3 / ', 'a change in a lookup moves all that it finds');
gives("UPDATE crm.team SET mailbox = '$two' WHERE id = 2", '2:First2 / 1:First1 3:First3', 'and back');

# ---- read, but watched by nobody
my $company = 'contacts:CompanyName';
gives("UPDATE crm.company SET name = 'Apex'", '2:Apex / 1:Apex 3:Apex', 'a relation that nobody watches: everything is compared', $company);
$exchange->forget_journal;
gives("UPDATE crm.company SET note = 'x'; UPDATE crm.team SET note = 'x'; ", '2:Apex / 1:Apex 3:Apex', 'a column that nobody reads', $company);
is(scalar($exchange->journal), 0, 'causes no request');
my $bystander = $stage->node->background_psql('postgres');
$bystander->query_safe('SELECT pg_advisory_lock(1668443491, id) FROM crmsync.link');    # ASCII crmc
gives("UPDATE crm.company SET name = 'Peak'", '2:Peak / 1:Peak 3:Peak', 'a comparison, whoever holds advisory locks', $company);
$bystander->quit;
gives("UPDATE crm.company SET name = 'Apex'", '2:Apex / 1:Apex 3:Apex', 'back again', $company);

# ---- filled anew, below the view of the audience, while the worker waits to read it: a snapshot of before finds nothing there
my $loader = $stage->node->background_psql('postgres');
$loader->query_safe('BEGIN; CREATE TEMP TABLE kept AS TABLE crm.membership; TRUNCATE crm.membership; INSERT INTO crm.membership TABLE kept');
$stage->sql("UPDATE crm.person SET first_name = 'First2 ' WHERE id = 2");
$stage->until_true(sub { $stage->sql("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND wait_event_type = 'Lock')") eq 't' }, 'a record changes while its audience is filled anew');
$loader->query_safe('COMMIT');
$loader->quit;
$stage->settles('filled anew');
is(scalar(grep { $_->{operation} eq 'DeleteItem' } $exchange->journal), 0, 'nothing is deleted');
gives("UPDATE crm.person SET first_name = 'First2' WHERE id = 2", '2:First2 / 1:First1 3:First3', 'and all are where they were');

# ---- written anew without a word to us, while a comparison or a lookup waits for it: nobody would be found
sub rewritten
{
	my ($process, $statements) = @_;
	my $migration = $stage->node->background_psql('postgres');
	$migration->query_safe("BEGIN; ALTER TABLE crm.membership ADD COLUMN added_$process timestamptz DEFAULT clock_timestamp()");
	$stage->sql($statements);
	$stage->until_true(sub { $stage->sql("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'crmsync $process' AND wait_event_type = 'Lock')") eq 't' }, "a $process waits for a relation that is written anew");
	$migration->query_safe('COMMIT');
	$migration->quit;
	return;
}
$stage->change("INSERT INTO crm.person (id, first_name) VALUES (4, 'First4')");
my $trigger = $stage->sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 'crm.membership'::regclass AND tgname ~ '^crmsync_[0-9]+\$'");
$stage->sql("BEGIN; ALTER TABLE crm.membership DISABLE TRIGGER $trigger; INSERT INTO crm.membership VALUES (4, 2); ALTER TABLE crm.membership ENABLE ALWAYS TRIGGER $trigger; COMMIT");
rewritten('comparison', "SELECT crmsync.request_comparison(id, 'everything'), crmsync.wake() FROM crmsync.link");
$stage->settles('it is read again');
is($exchange->show($two, undef, 'CRM'), '1:First1 3:First3 4:First4', 'and finds what nobody has noticed');
rewritten('worker', "UPDATE crm.team SET mailbox = '$one' WHERE id = 2");
$stage->settles('it is looked up again');
is(join(' / ', map { $exchange->show($_, undef, 'CRM') } $one, $two), '1:First1 2:First2 3:First3 4:First4 / ', 'and leads to all');
gives("UPDATE crm.team SET mailbox = '$two' WHERE id = 2; DELETE FROM crm.person WHERE id = 4; DELETE FROM crm.membership WHERE person = 4", '2:First2 / 1:First1 3:First3', 'they go back');

# ---- mailboxes that take part
gives("UPDATE crm.participant SET enabled = false WHERE mailbox = '$two'", '2:First2 / 1:First1 3:First3', 'a mailbox that does not take part any more keeps its items');
gives("UPDATE crm.person SET first_name = 'New' || id; DELETE FROM crm.membership WHERE person = 3", '2:New2 / 1:First1 3:First3', 'untouched');
gives("UPDATE crm.participant SET enabled = true", '2:New2 / 1:New1', 'until it takes part again');
gives("INSERT INTO crm.team VALUES (3, 'user3\@example.test'); INSERT INTO crm.membership VALUES (1, 3)", '2:New2 / 1:New1', 'a mailbox that is not in the relation');
is(join(' ', map { $_->{name} } grep { $_->{name} eq 'CRM' } @{ $exchange->get('mailbox?address=user3@example.test')->{folders} }), '', 'is not touched');

# ---- rows that logical replication applies
$stage->sql('CREATE DATABASE upstream');
my $node = $stage->node;
$node->safe_psql('upstream', <<'SQL');
CREATE SCHEMA crm;
CREATE TABLE crm.membership (person integer, team integer, PRIMARY KEY (person, team));
CREATE TABLE crm.company (id integer PRIMARY KEY, name text, note text);
CREATE PUBLICATION everything FOR ALL TABLES;
SELECT pg_create_logical_replication_slot('downstream', 'pgoutput');
SQL
my $connection = $node->connstr('upstream') =~ s/'//gr;
$stage->sql("CREATE SUBSCRIPTION downstream CONNECTION '$connection' PUBLICATION everything WITH (create_slot = false, slot_name = 'downstream', copy_data = false)");
$node->safe_psql('upstream', "INSERT INTO crm.membership VALUES (3, 1)");
$node->wait_for_catchup('downstream');
$stage->sync;
is($exchange->show($one, undef, 'CRM'), '2:New2 3:New3', 'a replicated row of a watched relation is carried out');
$stage->sql('DELETE FROM crm.company');
$node->safe_psql('upstream', "INSERT INTO crm.company VALUES (1, 'Old'); UPDATE crm.company SET name = 'Far'");
$stage->until_true(sub { $stage->sync; $exchange->show($one, $company, 'CRM') eq '2:Far 3:Far' }, 'and one of a relation that nobody watches');
$stage->sql('ALTER SUBSCRIPTION downstream DISABLE; ALTER SUBSCRIPTION downstream SET (slot_name = NONE); DROP SUBSCRIPTION downstream');

# ---- columns of another type
$stage->sql(<<'SQL');
DROP VIEW crm.wanted;
ALTER TABLE crm.person ALTER id TYPE bigint;
ALTER TABLE crm.membership ALTER person TYPE bigint;
SET ROLE crm_owner;
CREATE VIEW crm.wanted AS SELECT m.person AS record, t.mailbox FROM crm.membership m JOIN crm.team t ON t.id = m.team;
SQL
gives("INSERT INTO crm.person (id, first_name) VALUES (3000000000, 'Large'); INSERT INTO crm.membership VALUES (3000000000, 2)", '2:New2 3:New3 / 1:New1 3000000000:Large', 'a key that only the new type can hold');
$stage->change('DELETE FROM crm.person WHERE id = 3000000000');

# ---- the guard
$stage->sql("INSERT INTO crm.person (id, first_name) SELECT i, 'Many' FROM generate_series(100, 199) i; INSERT INTO crm.membership SELECT i, 1 FROM generate_series(100, 199) i");
$stage->settles('a hundred more');
$stage->sql('DELETE FROM crm.person WHERE id BETWEEN 100 AND 159');
my ($pending, $failed) = $stage->sync('people', '10 s');
is($stage->status('state'), 'held', 'a mass delete is held');
is("$pending $failed", '60 0', 'and waits');
like($stage->status('last_error'), qr/60 deletes/, 'with its number');
is(scalar(keys %{ $exchange->records($one, 'CRM') }), 102, 'nothing is deleted');
$stage->change("UPDATE crm.person SET first_name = 'Meanwhile' WHERE id = 160");
is($exchange->records($one, 'CRM')->{160}{'contacts:GivenName'}, 'Meanwhile', 'what else changes goes out');
like($stage->error("SELECT crmsync.confirm_deletes('people', expected => 5)"), qr/60 deletes wait, not 5/, 'they are confirmed by number');
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (100, 'Back')");
$stage->sync('people', '3 s');
is($stage->sql("SELECT crmsync.confirm_deletes('people', expected => 59)"), '59', 'one came back before');
$stage->settles('confirmed');
is(join(' ', scalar(keys %{ $exchange->records($one, 'CRM') }), $exchange->records($one, 'CRM')->{100}{'contacts:GivenName'}), '43 Back', 'they are deleted, the one that came back is not');
is($stage->status('state'), 'idle', 'and all is well');
$stage->change('DELETE FROM crm.person WHERE id = 161');
ok(!$exchange->records($one, 'CRM')->{161}, 'what was confirmed does not count: a single delete goes at once');

# ---- deletes that are refused
$exchange->inject('response', operation => 'DeleteItem', code => 'ErrorItemSave', message => 'not now', count => 0);
$stage->sql('DELETE FROM crm.person WHERE id = 164');
$stage->until_true(sub { $stage->failures eq '164 ErrorItemSave' }, 'a delete is refused');
$exchange->calm;
$stage->sql('UPDATE crm.team SET mailbox = upper(mailbox) WHERE id = 1');
$stage->until_true(sub { !$exchange->records($one, 'CRM')->{164} }, 'and tried again when a lookup leads to its record', 20);
$stage->settles('it is done');
$exchange->inject('response', operation => 'DeleteItem', code => 'ErrorItemSave', message => 'not now', count => 0);
$stage->sql('DELETE FROM crm.person WHERE id = 165');
$stage->until_true(sub { $stage->failures eq '165 ErrorItemSave' }, 'another one');
$stage->sql("SELECT crmsync.confirm_deletes('people')");
$stage->until_true(sub { $stage->sql("SELECT confirmed FROM crmsync.item WHERE record = '165'") eq 't' }, 'is confirmed');
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (165, 'Back')");
$stage->until_true(sub { $stage->sql("SELECT state FROM crmsync.item WHERE record = '165'") eq 'linked' }, 'and not meant any more');
is($stage->sql("SELECT confirmed FROM crmsync.item WHERE record = '165'"), 'f', 'nor is any later one by that');
$exchange->calm;
$stage->settles('all stay');

# ---- an audience that is a table, and watched for something else: a lookup does not lead to a row that is gone
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE TABLE crm.listed (record bigint, mailbox text, list integer);
INSERT INTO crm.listed VALUES (1, '$two', 1), (2, '$two', 1);
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.create_link('listed', 'exchange', 'contact', 'crm.person', audience => 'crm.listed', folder => 'Listed');
SELECT crmsync.map('listed', 'last_name', 'surname');
SELECT crmsync.watch('listed', 'crm.listed', 'list', lookup => 'SELECT a.record FROM crm.listed a WHERE a.list = \$1::integer');
SELECT crmsync.enable_link('listed');
SQL
$stage->settles('another link', 'listed');
$stage->change('DELETE FROM crm.listed WHERE record = 2', 'listed');
is(join(' ', keys %{ $exchange->records($two, 'Listed') }), '1', 'a row of it goes, and with it the item');

# ---- another name for the source: the items stay what they are
my $records = sub { return join(' ', sort keys %{ $exchange->records($one, 'CRM') }) };
my $there = $records->();
$stage->sql('ALTER TABLE crm.person RENAME TO human');
like($stage->error("SELECT crmsync.enable_link('people')"), qr/the source crm.person does not exist/, 'the source is renamed');
$stage->sql("SET client_min_messages = error; SELECT crmsync.disable_link('people'), crmsync.alter_link('people', source => 'crm.human'); SELECT crmsync.enable_link('people')");
$stage->change("UPDATE crm.human SET first_name = 'Renamed' WHERE id = 170");
is($exchange->records($one, 'CRM')->{170}{'contacts:GivenName'}, 'Renamed', 'and the link goes on with its new name');
is($records->(), $there, 'with the items that it had');

$stage->done;
