# Logging on at a directory: a wrong password is tried once, and not again until somebody says so; a
# server that cannot be reached is tried with pauses; and a local socket, where the system's user counts.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep time);

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $test = CrmSync::Directory->new('logon', slapd => [ '--people', 30, '--groups', 1, '--socket', "$directory/ldapi" ]);
my $reader = 'cn=reader,dc=example,dc=com';
my $good = "url => 'ldap://127.0.0.1:${\ $test->port}', username => '$reader', secret => 'secret'";

sub state_of_target { return $test->sql("SELECT code, next_attempt IS NULL FROM crmsync.targets") }

# Whatever would make the link due, and time enough to see it.
sub nothing_is_tried
{
	my ($name, $binds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for (1 .. 3)
	{
		$test->sql("UPDATE crmsync.link_state SET last_started = NULL, next_attempt = NULL; SELECT crmsync.wake()");
		sleep 2;
	}
	is($test->binds($reader), $binds, $name);
	return;
}

# It is tried for the n-th time within a minute.
sub is_tried
{
	my ($name, $binds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $until = time + 60;
	sleep 0.1 while $test->binds($reader) < $binds && time < $until;
	is($test->binds($reader), $binds, "$name: it is tried again");
	return;
}

$test->make_crm;
$test->sql("SELECT crmsync.alter_target('ldap', username => '$reader', secret => 'wrong')");
$test->make_link(more => "inbound_interval => '1 s'");

# ---- a wrong password
$test->comes_to('SELECT code FROM crmsync.targets', 'CREDENTIALS', 'a wrong password is told');
is(state_of_target(), 'CREDENTIALS|t', 'and stops the target');
nothing_is_tried('it is tried once', 1);
like($test->status("state || ': ' || last_error"), qr/^waiting: CREDENTIALS: bind at .* failed: Invalid credentials/, 'the state says so');
like($test->sql("SELECT kind, name, hint FROM crmsync.alerts"), qr/^target\|ldap\|.*resume_target\('ldap'\)/, 'and an alert what to do');
my $began = time;
like($test->said("SELECT * FROM crmsync.sync('users', wait => '60 s')"), qr/WARNING: +link "users" imports nothing: target "ldap" is stopped: CREDENTIALS.*HINT: .*resume_target\('ldap'\)/s, 'sync says so, too');
cmp_ok(time - $began, '<', 20, 'and does not wait');
$test->sql(<<"SQL");
SELECT crmsync.create_link('others', 'ldap', 'user', 'person', owner => 'crm_owner', inbound_interval => '1 s', options => '{"base": "ou=former,dc=example,dc=com"}');
SELECT crmsync.map('others', 'login', 'uid');
SELECT crmsync.enable_link('others');
SQL
$test->node->restart;
nothing_is_tried('neither a sync, nor another link, nor a restart tries it again', 1);

$test->sql("SELECT crmsync.disable_link('others'); SELECT crmsync.resume_target('ldap')");
is_tried('resume_target', 2);
$test->comes_to('SELECT attempts FROM crmsync.target_state', '1', 'which is the first failure again');
$test->sql("SELECT crmsync.retry('users')");
is_tried('retry', 3);
$test->comes_to("SELECT code FROM crmsync.targets", 'CREDENTIALS', 'and fails');
nothing_is_tried('both once', 3);
$test->sql("SELECT crmsync.alter_target('ldap', $good)");
$test->comes_to('SELECT count(*) FROM person', '30', 'with the right password it goes on by itself');
$test->comes_to('SELECT count(*) FROM crmsync.targets WHERE code IS NULL AND last_success IS NOT NULL', '1', 'and the target is well');

# ---- a server that is away: pauses, in which nothing is tried unless somebody asks
$test->sql("SELECT crmsync.alter_link('users', inbound_interval => '1 day'); SELECT crmsync.alter_target('ldap', url => 'ldap://127.0.0.1:1', secret => 'secret')");
$test->import_users;
is(state_of_target(), 'CONNECT|f', 'a server that cannot be reached pauses');
$test->sql("UPDATE crmsync.target_state SET next_attempt = now() + interval '1 hour'");
$test->sql("UPDATE crmsync.link_state SET last_started = NULL, next_attempt = NULL; SELECT crmsync.wake()");
sleep 7;
is($test->sql('SELECT attempts FROM crmsync.target_state'), '1', 'nothing is tried in the pause');
$test->import_users;
is($test->sql('SELECT attempts FROM crmsync.target_state'), '2', 'a sync tries once');
$test->sql("UPDATE crmsync.target_state SET next_attempt = now(); UPDATE crmsync.link_state SET next_attempt = NULL; SELECT crmsync.wake()");
$test->comes_to('SELECT attempts FROM crmsync.target_state', '3', 'after the pause it is tried by itself');
$test->sql("SELECT crmsync.alter_target('ldap', $good)");
$test->comes_to("SELECT state FROM crmsync.status WHERE link = 'users'", 'idle', 'and goes on at once when it is mended');

# ---- one link's search fails: the others of the target go on
$test->sql("SELECT crmsync.alter_link('others', options => '{\"base\": \"ou=nowhere,dc=example,dc=com\"}'); SELECT crmsync.enable_link('others')");
$test->comes_to("SELECT state FROM crmsync.status WHERE link = 'others'", 'waiting', 'a base that does not exist makes its link wait');
$test->sql("UPDATE crmsync.link_state SET last_started = NULL WHERE link = (SELECT id FROM crmsync.links WHERE name = 'users')");
$test->comes_to("SELECT last_started IS NOT NULL AND last_success > last_started FROM crmsync.link_state WHERE link = (SELECT id FROM crmsync.links WHERE name = 'users')", 't', 'and no other');
$test->sql("SELECT crmsync.drop_link('others')");

# ---- a target that is paused
$test->sql("SELECT crmsync.pause_target('ldap')");
like($test->said("SELECT * FROM crmsync.sync('users', wait => '60 s')"), qr/WARNING: +link "users" imports nothing: target "ldap" is paused/, 'sync says that a target is paused');
$test->sql("SELECT crmsync.resume_target('ldap')");

# ---- the local socket, and who we are there
my $socket = 'ldapi://' . ("$directory/ldapi" =~ s{/}{%2F}gr);
$test->replace(3, 'title', 'By socket');
$test->sql("SELECT crmsync.alter_target('ldap', url => '$socket', auth => 'external', reset => '{username,secret}')");
is($test->import_users, '0', 'ldapi with auth external');
is($test->sql("SELECT title FROM person WHERE login = 'user0000003'"), 'By socket', 'reads the directory');
is($test->state('attempts'), '0', 'without an error') or diag($test->state('last_error'));
like(PostgreSQL::Test::Utils::slurp_file("$test->{home}/slapd.log"), qr/BIND authcid="[^"]*uidNumber=$<[^"]*cn=peercred,cn=external,cn=auth"/, 'as the user that PostgreSQL runs as');
is($test->sql("SELECT bool_and(ok) FROM crmsync.check_target('ldap')"), 't', 'check_target likes it, too') or diag($test->sql("SELECT * FROM crmsync.check_target('ldap')"));
$test->done;
