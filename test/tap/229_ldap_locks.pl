# A session of the CRM that keeps rows locked, for hours perhaps: an import leaves these rows to the next
# one, does everything else, and keeps nobody waiting meanwhile. A lock on a table is waited for.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;
use Time::HiRes qw(sleep time);

my $test = CrmSync::Directory->new('locks', slapd => [ '--people', 60, '--groups', 2 ]);
my %group = map { $_ => "cn=group$_,ou=groups,dc=example,dc=com" } 1 .. 2;
$test->make_crm;
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"min_deletes": 80, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one');");
is($test->import_users, '0', 'the first import');

sub login { return sprintf 'user%07d', $_[0] }
sub column { my ($number, $column) = @_; return $test->sql("SELECT $column FROM person WHERE login = '${\ login($number)}'") }
sub members { return $test->sql("SELECT coalesce(string_agg(ltrim(p.login, 'user0'), ' ' ORDER BY login), 'none') FROM membership m JOIN person p ON p.id = m.person WHERE p.login <= '${\ login(9)}'") }
sub failed { return $test->sql("SELECT coalesce(string_agg(p.login || ' ' || f.code, ', ' ORDER BY p.login), 'none') FROM crmsync.failures f LEFT JOIN person p ON p.id::text = f.record") }

# A session that has done this and stays in its transaction.
sub holder
{
	my ($statement) = @_;
	my $session = $test->node->background_psql('postgres');
	$session->query_safe("BEGIN; $statement");
	return $session;
}

sub release { my ($session) = @_; $session->query_safe('ROLLBACK'); $session->quit; return }

# One import, while somebody writes other rows again and again: how long it took, and how long he had to wait at most.
sub import_beside
{
	my ($who) = @_;
	my ($began, $longest) = (time, 0);
	$test->sql("SELECT crmsync.sync('users')");
	until ($test->sql("SELECT crmsync.is_imported(id, to_timestamp($began)) FROM crmsync.link") eq 't' || time - $began > 100)
	{
		my $before = time;
		$test->sql("UPDATE person SET last_name = last_name || 'x' WHERE login = '${\ login($who)}'");
		$longest = time - $before if time - $before > $longest;
		sleep 0.02;
	}
	return (time - $began, $longest);
}

# ---- a row that is to be changed, one that is to be disabled, and a membership that is to go
my $held = holder("UPDATE person SET last_name = 'Being edited' WHERE login IN ('${\ login(5)}', '${\ login(8)}');
	SELECT FROM membership WHERE person = (SELECT id FROM person WHERE login = '${\ login(7)}') FOR UPDATE");
$test->replace($_, 'title', 'New') for 2, 5, 6;
$test->replace($group{1}, 'member', map { $test->dn($_) } 1, 4);
$test->remove($test->dn($_)) for 8, 9;
my ($time, $wait) = import_beside(2);
cmp_ok($time, '<', 30, 'an import beside locked rows comes to its end');
cmp_ok($wait, '<', 5, 'and keeps who writes other rows waiting for a moment at most');
is(failed(), join(', ', map { login($_) . ' 55P03' } 5, 7, 8), 'what is locked is listed');
is(column(2, 'title') . column(6, 'title'), 'NewNew', 'the others get their values');
is(column(9, 'active'), 'f', 'leavers are disabled');
is(members(), '1 4 7', 'memberships come and go');
release($held);
is($test->import_users, '0', 'what was locked is done by the next import');
is(column(5, 'title') . ' ' . column(8, 'active') . ' ' . members(), 'New f 1 4', 'all of it');

# ---- all rows
$held = holder('SELECT FROM person FOR UPDATE');
$test->replace($_, 'title', 'Newer') for 10 .. 49;
$test->add('newcomer', title => 'Newer');
my $began = time;
is($test->import_users, '40', 'where all rows are locked');
cmp_ok(time - $began, '<', 40, 'it comes to its end, too');
is($test->sql("SELECT title FROM person WHERE login = 'newcomer'"), 'Newer', 'and makes new rows');
release($held);
$test->import_users;
is($test->sql("SELECT count(*) FROM person WHERE title = 'Newer'"), '41', 'the next one does the rest');

# ---- a table: somebody makes an index, say
$test->replace(11, 'title', 'After the index');
$held = holder('LOCK TABLE person IN SHARE MODE');
$test->sql("SELECT crmsync.sync('users')");
sleep 5;
release($held);
$test->comes_to("SELECT title FROM person WHERE login = '${\ login(11)}'", 'After the index', 'a lock on the table is waited for', 10);
$test->comes_to('SELECT state FROM crmsync.status', 'idle', 'the run comes to its end', 20);
is(failed(), 'none', 'and nobody fails');
$test->done;
