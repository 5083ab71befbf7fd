# pg_dump and restore: configuration and items are kept; secrets, the log, the queue and the history are
# not; a restored copy writes nothing until somebody confirms it, and doubles nothing then.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('restore');
my $exchange = $stage->exchange;
my $node = $stage->node;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm(more => "folder => 'CRM', options => '{\"max_deletes\": 90}'",
	before => "SET ROLE crm_owner; CREATE TABLE crm.nickname (id serial PRIMARY KEY, person integer, name text); CREATE INDEX ON crm.nickname (person); RESET ROLE;
	SELECT crmsync.map_child('people', 'crm.nickname', 'person', '{\"name\": \"nickname\"}', order_by => 'name');
	SELECT crmsync.watch('people', 'crm.audience', 'record'); CREATE ROLE clerk; SELECT crmsync.grant_role('clerk', 'reader', 'people');");
$stage->add_people(1, 30, $one, $two);
$stage->settles('thirty people');
$stage->change("UPDATE crm.person SET email = repeat('a', 290) || '\@example.com' WHERE id = 30");
is($stage->failures, '30 ErrorInvalidPropertySet, 30 ErrorInvalidPropertySet', 'one is parked');

# What is in the queue when the dump is taken.
$stage->sql("SELECT crmsync.pause_target('exchange'); UPDATE crm.person SET first_name = 'Queued' WHERE id = 1");
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.pending") ne '0' }, 'something waits');
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->sync;
my $folder_items = sub { join ' ', map { scalar(() = $exchange->items($_, 'CRM')) } $one, $two };
is($folder_items->(), '30 30', 'sixty items in Exchange');

# The original is lost, the copy takes its place.
$stage->sql("SELECT crmsync.pause_target('exchange')");
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$exchange->forget_journal;
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'pg_restore');

sub copy { return $node->safe_psql('copy', $_[0]) }

is(copy("SELECT name || target || source || coalesce(folder, '') || options::text || enabled FROM crmsync.links"),
	'peopleexchangecrm.personCRM{"max_deletes": 90}true', 'the link is restored');
is(copy('SELECT count(*) FROM crmsync.mappings') . copy('SELECT count(*) FROM crmsync.watches') . copy('SELECT count(*) FROM crmsync.role_grant'), '511', 'mapping, watch and grant');
is(copy("SELECT count(*) FROM crmsync.items WHERE remote_id <> '' AND values <> '{}'"), '60', 'items with their shadows');
is(copy("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%' AND tgenabled = 'A'"), $stage->sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%' AND tgenabled = 'A'"), 'triggers, always enabled');
for my $table (qw(target_secret pending failure history_0 history_1 history_2))
{
	is(copy("SELECT count(*) FROM crmsync.$table"), '0', "$table is not");
}

# ---- held
copy("SELECT crmsync.resume_target('exchange')");
sleep 6;    # longer than a poll
copy("UPDATE crm.person SET first_name = 'Changed in the copy' WHERE id = 2; INSERT INTO crm.nickname (person, name) VALUES (2, 'Nick')");
sleep 1;
is(scalar($exchange->journal), 0, 'the copy asks Exchange nothing');
is(copy('SELECT state FROM crmsync.status'), 'held', 'it is held');
like(copy('SELECT last_error FROM crmsync.status'), qr/confirm_identity/, 'and says what to do');
like(copy('SELECT message || hint FROM crmsync.alerts'), qr/not the one that was confirmed.*confirm_identity/s, 'as an alert, too');
is($stage->sql('SELECT state FROM crmsync.status'), 'paused', 'the original is not');
copy("SELECT crmsync.alter_link('people', match_on => '{surname}')");
sleep 1;    # until it is known that the link reads mailboxes
my $transactions = sub { $node->safe_psql('postgres', "SELECT xact_commit FROM pg_stat_database WHERE datname = 'copy'") };
my $so_far = $transactions->();
sleep 2;
cmp_ok($transactions->() - $so_far, '<', 40, 'a link that reads mailboxes waits, too');
copy("SELECT crmsync.alter_link('people', reset => '{match_on}')");

# ---- confirmed
copy("SELECT crmsync.confirm_identity()");
$stage->until_true(sub { copy('SELECT message FROM crmsync.targets') =~ /no secret.*alter_target/ }, 'confirmed, it asks for the secret');
is(scalar(grep { $_->{status} == 401 } $exchange->journal), 0, 'before it tries to log on');
copy("SELECT crmsync.alter_target('exchange', secret => 'file:exchange'); SELECT crmsync.resume_target('exchange')");
my $limit = time + 20;
sleep 0.2 until copy("SELECT pending FROM crmsync.sync('people', wait => '5 s')") eq '0' || time > $limit;
is($folder_items->(), '30 30', 'the secret given, it doubles nothing');
is($exchange->records($one, 'CRM')->{2}{'contacts:GivenName'}, 'Changed in the copy', 'what changed is carried out');
is($exchange->records($one, 'CRM')->{2}{'contacts:Nickname'}, 'Nick', 'of child rows, too');
is($exchange->records($one, 'CRM')->{1}{'contacts:GivenName'}, 'Queued', 'what waited, too');
is(copy('SELECT state FROM crmsync.status'), 'idle', 'and all is well');

# ---- a restore from before the latest creates: they are found again by their stamps; and from before changes of
# both sides, of an outbound link and of one that goes both ways
my ($three, $first, $last) = ('user3@example.test', 'contacts:GivenName', 'contacts:Surname');
copy(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.friend (id integer PRIMARY KEY, first_name text, last_name text);
CREATE VIEW crm.friend_audience AS SELECT id AS record, '$three' AS mailbox FROM crm.friend;
INSERT INTO crm.friend VALUES (1, 'First1', 'Last1');
RESET ROLE;
SELECT crmsync.create_link('friends', 'exchange', 'contact', 'crm.friend', audience => 'crm.friend_audience', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map('friends', 'first_name', 'given_name');
SELECT crmsync.map('friends', 'last_name', 'surname');
SELECT crmsync.enable_link('friends');
SQL
sub both_sides { return join ', ', (map { my $item = $_->[0]; "$item->{$first} $item->{$last}" } [ $exchange->records($one, 'CRM')->{3} // {} ], [ $exchange->records($three)->{1} // {} ]), copy('SELECT concat_ws($$ $$, first_name, last_name) FROM crm.friend') }
$stage->until_true(sub { both_sides() eq 'First3 Last3, First1 Last1, First1 Last1' && copy('SELECT bool_and(change_key IS NOT NULL) FROM crmsync.item') eq 't' }, 'a link that goes both ways') or diag(both_sides());
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('copy'), '-f', "$dump.later" ], 'a dump of the copy');
my $more = "INSERT INTO crm.person (id, first_name) SELECT i, 'New' || i FROM generate_series(100, 119) i; INSERT INTO crm.audience SELECT i, '$one' FROM generate_series(100, 119) i";
copy($more);
copy("SELECT crmsync.sync('people', wait => '20 s')");
is($folder_items->(), '50 30', 'twenty more');
copy("UPDATE crm.person SET first_name = 'B' WHERE id = 3; UPDATE crm.friend SET first_name = 'B'");
$stage->until_true(sub { both_sides() eq 'B Last3, B Last1, B Last1' }, 'the CRM changes a field') or diag(both_sides());
$exchange->act($one, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => 'person3@example.com' }, folder => 'CRM', set => { $last => 'Typed' });
$exchange->act($three, 'update', match => { $first => 'B' }, folder => 'contacts', set => { $last => 'Typed' });
$stage->until_true(sub { both_sides() eq 'B Typed, B Typed, B Typed' }, 'a user another one') or diag(both_sides());
$node->safe_psql('postgres', 'DROP DATABASE copy');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), "$dump.later" ], 'restored from before');
copy("$more; UPDATE crm.person SET last_name = 'Known' WHERE id >= 100; UPDATE crm.person SET first_name = 'C' WHERE id = 3; UPDATE crm.friend SET first_name = 'C'");
copy("SELECT crmsync.confirm_identity(); SELECT crmsync.alter_target('exchange', secret => 'file:exchange')");
$limit = time + 20;
sleep 0.2 until copy("SELECT pending FROM crmsync.sync('people', wait => '5 s')") eq '0' || time > $limit;
is($folder_items->(), '50 30', 'items that the restored database does not know are not doubled');
is($exchange->records($one, 'CRM')->{119}{'contacts:Surname'}, 'Known', 'but found, and brought up to date');
$stage->until_true(sub { both_sides() eq 'C Typed, C Typed, C Typed' }, 'what differs from a restored shadow on both sides is as the CRM has it; the other field is as its user has it') or diag(both_sides());
is(copy("SELECT string_agg(concat_ws(' ', link, mailbox, record, kind, property, crm_value, target_value, winner), ', ' ORDER BY link, mailbox) FROM crmsync.conflicts"),
	"friends $three 1 field given_name C B crm, people $one 3 field given_name C B crm, people $two 3 field given_name C B crm", 'and a conflict, with both values');

# ---- a table of the CRM is missing
$node->safe_psql('postgres', 'CREATE DATABASE partial TEMPLATE template0');
$node->command_ok([ 'sh', '-c', "pg_restore -l $dump | grep -v ' crm audience ' > $dump.list" ], 'a list without the audience');
PostgreSQL::Test::Utils::run_log([ 'pg_restore', '-d', $node->connstr('partial'), '-L', "$dump.list", $dump ]);
is($node->safe_psql('partial', 'SELECT count(*) FROM crmsync.links'), '1', 'a restore without one of its tables keeps the configuration');

# ---- with several jobs, as the README says
$node->safe_psql('postgres', 'CREATE DATABASE parallel');
PostgreSQL::Test::Utils::run_log([ 'pg_restore', '-j', 3, '-d', $node->connstr('parallel'), $dump ]);
PostgreSQL::Test::Utils::run_log([ 'pg_restore', '--data-only', '--schema=crmsync', '-d', $node->connstr('parallel'), $dump ]);
my $kept = q{SELECT string_agg(t || ' ' || (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM ' || t, false, true, '')))[1], ', ' ORDER BY t) FROM unnest('{target,link,mapping,mailbox,item,capture_link,role_grant}'::text[]) n, concat('crmsync.', n) t};
is($node->safe_psql('parallel', $kept), $node->safe_psql('partial', $kept), 'several jobs, and what they could not load after that: everything is there');
$node->safe_psql('partial', "SELECT crmsync.alter_target('exchange', secret => 'file:exchange'); SELECT crmsync.resume_target('exchange'); SELECT crmsync.confirm_identity()");
$stage->until_true(sub { $node->safe_psql('partial', 'SELECT state FROM crmsync.status') eq 'broken' }, 'and breaks that link', 20);

$stage->done;
