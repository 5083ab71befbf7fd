# Of entries that are as the last run left them only their presence is staged. What depends on them
# all the same - who is gone, memberships, another mapping, rows that somebody changed or forgot
# meanwhile - comes out as if all had been.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use IPC::Run ();
use PostgreSQL::Test::Utils qw(append_to_file);
use Test::More;
use Time::HiRes qw(sleep);

my $count = 5000;    # several times as many as are looked up at once
my $test = CrmSync::Directory->new('unchanged', slapd => [ '--people', $count, '--groups', 1 ]);
my $group = 'cn=group1,ou=groups,dc=example,dc=com';
my $go = $test->{home} . '/go';

sub rows { return $test->sql("SELECT md5(string_agg(p::text || p.xmin::text, ',' ORDER BY id)) FROM person p") }
sub row { my ($columns, $condition) = @_; return $test->sql("SELECT $columns FROM person WHERE $condition") }
sub running { return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync directory'" }

# Bytes that one run has staged of the entries: it is kept from recording its outcome meanwhile.
sub staged
{
	my $holder = $test->node->background_psql('postgres');
	$holder->query_safe("BEGIN; SELECT FROM crmsync.target_state WHERE target = 'ldap' FOR UPDATE");
	$test->sql("SELECT crmsync.sync('users')");
	$test->comes_to(running() . " AND wait_event_type = 'Lock'", '1', 'the run is at its end');
	my $bytes = $test->sql("SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname = 'crmsync_entry'");
	$holder->query_safe('COMMIT');
	$holder->quit;
	$test->comes_to(running(), '0', 'the run ends');
	return $bytes;
}

# One run that stands still in the middle of the search while something is done.
sub meanwhile
{
	my ($what) = @_;
	unlink $go;
	$test->sql("SELECT crmsync.alter_target('ldap', url => '${\ $test->held_up(800_000, $go) }', secret => 'secret',
	    options => '{\"page_size\": 1000}')");
	$test->sql("SELECT crmsync.sync('users')");
	$test->comes_to(running() . " AND query ~ '^(reading|staging) '", '1', 'the import reads');
	sleep 1;
	$what->();
	append_to_file($go, "go\n");
	$test->comes_to(running(), '0', 'and ends');
	$test->sql("SELECT crmsync.alter_target('ldap', url => 'ldap://127.0.0.1:${\ $test->port}', secret => 'secret')");
	return;
}

$test->make_crm(more => 'note text');
$test->make_link(
	more => "inbound_interval => '1 day', match_on => '{uid}'",
	options => '"memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => q{SELECT crmsync.map_group('users', 'group1', 'one');
		SELECT crmsync.map('users', 'note', 'l', value_map => '{"Home": ["Wien"]}', fallback => '''away''');});
is($test->import_users, '0', 'the first import');
is(row('count(*)', 'active'), $count, 'all are there');

# ---- nothing new
my $before = rows();
$test->import_users;
is(rows(), $before, 'a run in which nothing is new writes no row');
my $presence = staged();
$test->sql("UPDATE crmsync.item SET change_key = ''");
my $everything = staged();
is(rows(), $before, 'nor does one in which everything seems to be');
cmp_ok($presence, '<', $everything * 0.75, "of whom nothing is new $presence bytes are staged, not $everything");

# ---- what the CRM has done to rows whose entries are as they were stays
$test->sql("UPDATE person SET first_name = 'Edited' WHERE login = 'user0002500'; DELETE FROM person WHERE login = 'user0003000'");
$before = rows();
is($test->import_users, '0', 'rows changed and deleted in the CRM');
is(rows(), $before, 'stay as they are');

# ---- one gone and one come: as many as before, but not the same
$test->remove($test->dn(10));
$test->add('newcomer');
$test->import_users;
is(row("string_agg(login, ' ')", 'NOT active'), 'user0000010', 'who is gone is disabled, though as many were seen as before');
is(row('last_name', "login = 'newcomer'"), 'Smith', 'who is new has come');
$before = rows();
$test->import_users;
is(rows(), $before, 'and the next run has nothing to do');

# ---- one gone and another seen twice, because the directory changes while it is read
$test->remove($test->dn(11));
my $uuid = $test->sql("SELECT i.remote_id FROM crmsync.item i JOIN person p ON p.id::text = i.record WHERE p.login = 'user0000012'");
meanwhile(
	sub {
		$test->remove($test->dn(12));
		my $said;
		my $entry = "dn: ${\ $test->dn(12)}\nobjectClass: inetOrgPerson\nuid: user0000012\ncn: Again\nsn: Again\nentryUUID: $uuid\n";
		IPC::Run::run([ 'ldapadd', '-e', '!relax', '-x', '-H', "ldap://127.0.0.1:${\ $test->port}", '-D', 'cn=admin,dc=example,dc=com', '-w', 'secret' ],
			'<', \$entry, '>', \$said, '2>&1') or die $said;
	});
is(row('last_name', "login = 'user0000012'"), 'Again', 'one is seen a second time');
is(row("string_agg(login, ' ' ORDER BY login)", 'NOT active'), 'user0000010 user0000011', 'who is gone is disabled all the same');
$before = rows();

# ---- moved: the entry is the same, its name is not, and memberships go by names
my $members = "SELECT count(*), md5(string_agg(m::text || m.xmin::text, ',' ORDER BY person)) FROM membership m";
my $memberships = $test->sql($members);
my $moved = 'uid=user0000020,ou=other,' . $test->people;
$test->modify("dn: ou=other,${\ $test->people}\nchangetype: add\nobjectClass: organizationalUnit\nou: other\n");
$test->modify("dn: ${\ $test->dn(20)}\nchangetype: modrdn\nnewrdn: uid=user0000020\ndeleteoldrdn: 0\nnewsuperior: ou=other,${\ $test->people}\n");
$test->modify("dn: $group\nchangetype: modify\ndelete: member\nmember: ${\ $test->dn(20)}\n-\nadd: member\nmember: $moved\n");
$test->import_users;
is($test->sql($members), $memberships, 'who was moved stays a member, by the new name');
is(rows(), $before, 'and is the same user');

# ---- another mapping of values that are as they were
$test->sql("UPDATE person SET active = false WHERE login = 'user0002501'");
$test->sql(q{SELECT crmsync.map('users', 'note', 'l', value_map => '{"Home": ["Wien"], "Capital": ["Berlin"]}', fallback => '''far''');
	SELECT crmsync.enable_link('users')});
$test->comes_to("SELECT string_agg(DISTINCT note, ' ' ORDER BY note) FROM person WHERE active AND login LIKE 'user%'", 'Capital Home far', 'a new value map and fallback are written everywhere');
$test->comes_to(running(), '0', 'to the end');
my $edited = "SELECT (SELECT first_name FROM person WHERE login = 'user0002500'), (SELECT active FROM person WHERE login = 'user0002501')";
is($test->sql($edited), 'Edited|f', 'and what the CRM has changed in other columns stays');
my $name = "SELECT first_name FROM person WHERE login = 'user0002500'";
$test->sql(q{SELECT crmsync.map('users', 'first_name', 'givenName', inbound => 'upper($1)'); SELECT crmsync.enable_link('users')});
$test->comes_to("SELECT count(*) FROM person WHERE first_name <> upper(first_name) AND active", '0', 'another expression is written in its own column');
$test->comes_to(running(), '0', 'to the end');
is(row('active', "login = 'user0002501'"), 'f', 'and in no other');
$test->sql("ALTER TABLE person DROP COLUMN title; ALTER TABLE person ADD COLUMN title text; SELECT crmsync.enable_link('users')");
$test->comes_to("SELECT string_agg(login, ' ' ORDER BY login) FROM person WHERE title IS NULL AND active", 'newcomer user0000012', 'a column that was made anew is filled again');
$test->comes_to(running(), '0', 'to the end');
is(row('active', "login = 'user0002501'"), 'f', 'it alone');
$test->sql("SELECT crmsync.resync('users')");
$test->comes_to($edited, 'ANNA|t', 'resync writes everything as the directory has it');
$test->comes_to(running(), '0', 'to the end');
$before = rows();
$test->import_users;
is(rows(), $before, 'and then nothing is new again');

# ---- forgotten by somebody after it was seen to be unchanged
my $id = row('id', "login = 'user0000001'");
my $item = "SELECT origin, state FROM crmsync.item WHERE record = '$id'";
$test->replace(4000, 'title', 'Meanwhile');
meanwhile(sub { $test->sql("SELECT crmsync.forget('users', '$id')") });
is(row('title', "login = 'user0004000'"), 'Meanwhile', 'the run goes on');
is($test->sql($item) . $test->failures, 'none', 'and leaves to the next who is forgotten meanwhile');
is(row('count(*)', 'login IS NULL'), '0', 'nobody without values is made of him');
$test->import_users;
is($test->sql($item), 'adopted|linked', 'which knows him again');
is(row('id', "login = 'user0000001'"), $id, 'in his row');

# ---- killed in the middle: what was looked up is looked up again
$test->replace(4001, 'title', 'Afterwards');
meanwhile(sub { $test->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync directory'") });
$test->import_users;
is(row('title', "login = 'user0004001'"), 'Afterwards', 'the run after one that was killed brings what is new');
is(row('count(*)', 'NOT active'), '2', 'and nobody has vanished');

# ---- two links on one source know their items each for itself
$test->sql(<<"SQL");
SET client_min_messages = warning;
SELECT crmsync.create_link('also', 'ldap', 'user', 'person', owner => 'crm_owner', inbound_interval => '1 day',
    match_on => '{uid}', options => '{"base": "${\ $test->people}"}');
SELECT crmsync.map('also', 'login', 'uid');
SELECT crmsync.map('also', 'title', 'title');
SELECT crmsync.map('also', 'last_name', 'sn');
SELECT crmsync.enable_link('also');
SQL
$test->comes_to("SELECT count(*) FROM crmsync.items WHERE link = 'also' AND state = 'linked'", $count - 1, 'another link adopts the same rows');
$test->comes_to(running(), '0', 'to the end');
my $known = "SELECT count(DISTINCT i.change_key) FROM crmsync.item i JOIN person p ON p.id::text = i.record WHERE p.login = 'user0000030' AND i.change_key LIKE ";
my $hash = $test->sql("SELECT substr(change_key, 13, 12) FROM crmsync.item i JOIN crmsync.link l ON l.id = i.link AND l.name = 'also' JOIN person p ON p.id::text = i.record WHERE p.login = 'user0000030'");
$test->replace(30, 'title', 'For both');
$memberships = $test->sql($members);
$test->import_users('also');
is(row('title', "login = 'user0000030'"), 'For both', 'what is new to one link');
is($test->sql($known . "'%$hash%'"), '1', 'is not known to the other');
$test->import_users;
is($test->sql($known . "'%$hash%'"), '0', 'until its own run');
$test->sql("SELECT crmsync.drop_link('also')");
$before = rows();
$test->import_users;
is(rows(), $before, 'and a link that is dropped takes nobody with it');
is($test->sql($members), $memberships, 'nor his memberships');
$test->done;
