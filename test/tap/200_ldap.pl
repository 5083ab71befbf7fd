# Users from a real OpenLDAP server: imported, followed through changes, renames and removal, and
# left alone whenever the directory could not be read to its end.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $slapd = abs_path(dirname(__FILE__) . '/../directory/slapd');
my $home = abs_path(PostgreSQL::Test::Utils::tempdir());
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $tls_port = PostgreSQL::Test::Cluster::get_free_port();
my $people = 'ou=people,dc=example,dc=com';
my @admin = ('-x', '-H', "ldap://127.0.0.1:$port", '-D', 'cn=admin,dc=example,dc=com', '-w', 'secret');
$ENV{LDAPNOINIT} = 1;

system($slapd, 'start', "$home/slapd", '--port', $port, '--tls-port', $tls_port, '--people', 500,
	'--groups', 20, '--size-limit', 100) == 0
  or die 'slapd cannot be started here';
my $node = PostgreSQL::Test::Cluster->new('ldap');
my @children;

END
{
	my $status = $?;
	kill 'KILL', $_ for @children;
	system($slapd, 'stop', "$home/slapd") if $slapd;
	$? = $status;
}

$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'crmsync'
crmsync.secret_directory = '$home/slapd'
max_worker_processes = 16
CONF
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# What a statement says beside its result.
sub said
{
	my (undef, undef, $said) = $node->psql('postgres', $_[0]);
	return $said;
}

# One run, to its end.
sub import_users
{
	return sql("SELECT failed FROM crmsync.sync('users', wait => '60 s')");
}

sub state { return sql("SELECT coalesce($_[0]::text, '') FROM crmsync.link_state"); }

sub modify
{
	my ($ldif) = @_;
	my ($out, $err);
	IPC::Run::run(['ldapmodify', @admin], '<', \$ldif, '>', \$out, '2>', \$err) or die $err;
	return;
}

sub dn { return sprintf('uid=user%07d,%s', $_[0], $people); }

sub replace
{
	my ($number, $attribute, @values) = @_;
	modify('dn: ' . dn($number) . "\nchangetype: modify\nreplace: $attribute\n"
		  . join('', map { "$attribute: $_\n" } @values));
	return;
}

# What the CRM holds, in one word: whoever changes nothing leaves it as it is.
sub fingerprint
{
	return sql("SELECT md5(string_agg(p::text || p.xmin::text, ',' ORDER BY id)) FROM person p") . sql(
		"SELECT md5(string_agg(m::text, ',' ORDER BY person, crm_group)) FROM membership m");
}

sub target
{
	my ($settings) = @_;
	sql("SELECT crmsync.alter_target('ldap', $settings)");
	return;
}

sub good_target
{
	target("url => 'ldap://127.0.0.1:$port', username => 'cn=admin,dc=example,dc=com', secret => 'secret', reset => '{ca_file,start_tls,timeout}'");
	return;
}

# A run that must fail with these words and change nothing.
sub fails_with
{
	my ($settings, $words, $name) = @_;
	my $before = fingerprint();
	target($settings);
	import_users();
	like(state('last_error'), $words, "$name: told");
	is(fingerprint(), $before, "$name: nothing changed");
	good_target();
	sql("SELECT crmsync.resume_target('ldap')");
	return;
}

sql(<<"SQL");
CREATE EXTENSION crmsync;
CREATE ROLE crm_owner;
CREATE TABLE person (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, login text NOT NULL UNIQUE, given_name text,
    surname text, email text CONSTRAINT person_email_unique UNIQUE, title text, city varchar(10),
    source text, active boolean NOT NULL DEFAULT true);
CREATE TABLE membership (person bigint REFERENCES person, crm_group integer, origin text NOT NULL,
    PRIMARY KEY (person, crm_group));
ALTER TABLE person OWNER TO crm_owner;
ALTER TABLE membership OWNER TO crm_owner;
SELECT crmsync.create_target('ldap', 'ldap', 'ldap://127.0.0.1:$port',
    username => 'cn=admin,dc=example,dc=com', secret => 'secret');
SELECT crmsync.create_link('users', 'ldap', 'user', 'person', owner => 'crm_owner',
    inbound_interval => '1 day', options => '{"base": "$people", "memberships": {"table":
    "public.membership", "user": "person", "group": "crm_group", "fixed": {"origin": "ldap"}}}');
SELECT crmsync.map('users', 'login', 'uid');
SELECT crmsync.map('users', 'given_name', 'givenName');
SELECT crmsync.map('users', 'surname', 'sn', inbound => 'upper(\$1)');
SELECT crmsync.map('users', 'email', 'mail');
SELECT crmsync.map('users', 'title', 'title');
SELECT crmsync.map('users', 'city', 'l', value_map => '{"Vienna": ["Wien", "Vienna"]}', fallback => '''elsewhere''');
SELECT crmsync.map('users', 'source', '\@none', inbound => '''directory''');
SELECT crmsync.map('users', 'active', '\@enabled');
SELECT crmsync.map_group('users', 'group1', '1');
SELECT crmsync.map_group('users', 'cn=group2,ou=groups,dc=example,dc=com', '2');
SELECT crmsync.enable_link('users');
SQL

# ---- the first import: enabling the link begins it ----
ok($node->poll_query_until('postgres', 'SELECT last_success IS NOT NULL FROM crmsync.link_state'), 'it succeeds');
is(sql('SELECT count(*) FROM crmsync.failures'), '0', 'nobody fails');
is(sql('SELECT count(*), count(DISTINCT login), bool_and(active) FROM person'), '500|500|t', 'all users are there');
is(sql("SELECT given_name, surname, email, title, city, source FROM person WHERE login = 'user0000001'"),
	'Ben|ABEL|user0000001@example.com|Consultant|Vienna|directory',
	'values, an inbound expression, a value map and a constant arrive');
is(sql("SELECT count(*) FROM person WHERE city = 'elsewhere'") > 0, 1, 'an unlisted value takes the fallback');
is(sql('SELECT crm_group, count(*), min(origin) FROM membership GROUP BY 1 ORDER BY 1'), "1|25|ldap\n2|25|ldap",
	'memberships of mapped groups arrive, by name and by DN');
is(sql("SELECT count(*), count(DISTINCT remote_id) FROM crmsync.item WHERE state = 'linked' AND origin = 'mailbox'"),
	'500|500', 'every user is known by a lasting id');

# ---- nothing new ----
my $before = fingerprint();
import_users();
is(fingerprint(), $before, 'a second import writes no row');

# ---- changes ----
sql("UPDATE person SET given_name = 'Edited' WHERE login = 'user0000007'");
replace(7, 'title', 'Director');
replace(8, 'title');
import_users();
is(sql("SELECT given_name, title FROM person WHERE login = 'user0000007'"), 'Edited|Director',
	'a changed attribute arrives, the column that the CRM changed stays');
is(sql("SELECT title IS NULL FROM person WHERE login = 'user0000008'"), 't', 'a removed attribute is NULL');

my $id = sql("SELECT id FROM person WHERE login = 'user0000009'");
modify('dn: ' . dn(9) . "\nchangetype: modrdn\nnewrdn: uid=renamed\ndeleteoldrdn: 1\n");
import_users();
is(sql("SELECT login, active FROM person WHERE id = $id"), 'renamed|t', 'a renamed entry keeps its row');

replace(10, 'pwdAccountLockedTime', '000001010000Z');
import_users();
is(sql("SELECT active FROM person WHERE login = 'user0000010'"), 'f', 'a locked account is inactive');
replace(10, 'pwdAccountLockedTime');
import_users();
is(sql("SELECT active FROM person WHERE login = 'user0000010'"), 't', 'and active again');

# ---- vanished and back ----
my $saved = `ldapsearch -LLL -o ldif-wrap=no @admin -b '${\ dn(11)}' -s base '(objectClass=*)'`;
modify('dn: ' . dn(11) . "\nchangetype: delete\n");
import_users();
is(sql("SELECT active FROM person WHERE login = 'user0000011'"), 'f', 'a vanished user is inactive, not deleted');
is(sql("SELECT count(*) FROM crmsync.item WHERE state = 'gone' AND since IS NOT NULL"), '1', 'and marked');
is(sql('SELECT count(*) FROM person'), '500', 'no row is deleted');

# ---- one record that the CRM refuses ----
replace(12, 'mail', 'user0000013@example.com');
replace(14, 'title', 'Manager');
is(import_users(), '1', 'one fails');
like(sql('SELECT code, message FROM crmsync.failures'), qr/23505.*person_email_unique/, 'with the constraint');
is(sql("SELECT title FROM person WHERE login = 'user0000014'"), 'Manager', 'the others go on');
replace(12, 'mail', 'user0000012@example.com');
is(import_users(), '0', 'mended at the source, it is well again');

# ---- groups ----
modify("dn: cn=group1,ou=groups,dc=example,dc=com\nchangetype: modify\ndelete: member\nmember: ${\ dn(1)}\n-\nadd: member\nmember: ${\ dn(2)}\n");
sql("INSERT INTO membership SELECT id, 99, 'manual' FROM person WHERE login = 'user0000001'");
import_users();
is(sql("SELECT p.login, m.crm_group FROM membership m JOIN person p ON p.id = m.person WHERE login IN ('user0000001', 'user0000002') ORDER BY 1, 2"),
	"user0000001|99\nuser0000002|1\nuser0000002|2", 'a member gone and a new one; groups that nobody mapped stay');
sql("SELECT crmsync.unmap_group('users', 'group1'); SELECT crmsync.map_group('users', 'nobody', '1'); SELECT crmsync.enable_link('users')");
import_users();
like(state("concat_ws(': ', code, last_error)"), qr/^GROUPS: .*no group named "nobody"/, 'a group that does not exist is told');
is(sql('SELECT count(*) FROM membership WHERE crm_group = 1'), '25', 'and is not taken for an empty one');
like(said("SELECT * FROM crmsync.sync('users', wait => '60 s')"), qr/WARNING:  the import of link "users" is not complete: GROUPS: .*nobody/, 'sync says it, too');
like(sql('SELECT concat_ws(\'|\', kind, name, message, hint) FROM crmsync.alerts'), qr/^link\|users\|GROUPS: .*nobody.*\|.*unmap_group/, 'and an alert');
sql("SELECT crmsync.unmap_group('users', 'nobody'); SELECT crmsync.map_group('users', 'group1', '1'); SELECT crmsync.enable_link('users')");
is(said("SELECT * FROM crmsync.sync('users', wait => '60 s')") . sql('SELECT count(*) FROM crmsync.alerts'), '0', 'nothing is said any more when it is mended');
sql("SELECT crmsync.map_group('users', 'cn=group2,ou=groups,dc=example,dc=com', '(SELECT 3 WHERE false)'); SELECT crmsync.enable_link('users')");
like(said("SELECT * FROM crmsync.sync('users', wait => '60 s')"), qr/WARNING:  the import of link "users" is not complete: GROUPS: no group of the CRM is found by \(SELECT 3 WHERE false\)/, 'a group that the CRM does not have is told');
is(sql('SELECT string_agg(crm_group || \' \' || n, \', \' ORDER BY crm_group) FROM (SELECT crm_group, count(*) AS n FROM membership WHERE crm_group < 9 GROUP BY 1) m'), '1 25, 2 25', 'and the others are as they should be');
sql("SELECT crmsync.unmap_group('users', 'cn=group2,ou=groups,dc=example,dc=com', '(SELECT 3 WHERE false)'); SELECT crmsync.enable_link('users')");
is(said("SELECT * FROM crmsync.sync('users', wait => '60 s')") . sql('SELECT count(*) FROM crmsync.alerts'), '0', 'nor of this');

# ---- searches that do not end well ----
fails_with("username => 'cn=reader,dc=example,dc=com', secret => 'secret'", qr/incomplete after 100 entries.*limit/i, 'size limit');
fails_with("secret => 'wrong'", qr/Invalid credentials/, 'wrong password');
fails_with("url => 'ldap://127.0.0.1:1', secret => 'secret'", qr/Connection refused/, 'wrong port');
fails_with("url => 'ldap://no-such-host.invalid', secret => 'secret', options => '{\"allow_plaintext\": true}'", qr/could not resolve/, 'wrong host');
fails_with("url => 'ldaps://127.0.0.1:$tls_port', secret => 'secret'", qr/no TLS connection/, 'unknown certificate');

target("url => 'ldaps://127.0.0.1:$tls_port', secret => 'secret', options => '{\"ca_file\": \"ca.pem\"}'");
import_users();
is(state('attempts'), '0', 'the same certificate with its authority is trusted')
  or diag(state('last_error'));
good_target();

# A server that dies in the middle: what lies between passes on so many bytes and hangs up.
sub cut_after
{
	my ($bytes) = @_;
	my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die;
	my $child = fork // die;
	if ($child == 0)
	{
		while (my $client = $listener->accept)
		{
			my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or exit;
			my ($left, $select) = ($bytes, IO::Select->new($client, $server));
			CONVERSATION: while (1)
			{
				for my $from ($select->can_read)
				{
					my $count = sysread($from, my $buffer, 4096) or last CONVERSATION;
					syswrite($from == $client ? $server : $client, $buffer);
					last CONVERSATION if $from == $server && ($left -= $count) < 0;
				}
			}
			close $_ for $client, $server;
		}
		POSIX::_exit(0);
	}
	push @children, $child;
	return $listener->sockport;
}
replace(20, 'title', 'Never seen');
fails_with("url => 'ldap://127.0.0.1:${\ cut_after(60_000)}', secret => 'secret'", qr/was lost/, 'cut off in the middle');
import_users();
is(sql("SELECT title FROM person WHERE login = 'user0000020'"), 'Never seen', 'the next complete one brings it');

sql("SELECT crmsync.alter_link('users', options => '{\"base\": \"ou=nowhere,dc=example,dc=com\"}')");
$before = fingerprint();
import_users();
like(state("concat_ws(': ', code, last_error)"), qr/^NOT-FOUND: .*ou=nowhere/, 'a base that does not exist is told');
like(said("SELECT * FROM crmsync.sync('users', wait => '60 s')"), qr/WARNING:  the import of link "users" is not complete: NOT-FOUND: .*ou=nowhere/, 'also to who waits for it');
is(fingerprint(), $before, 'and nobody vanishes');
sql("SELECT crmsync.alter_link('users', options => '{\"base\": \"$people\"}'); SELECT crmsync.resume_target('ldap')");

# ---- the guard ----
sql("SELECT crmsync.alter_link('users', options => '{\"filter\": \"(&(objectClass=person)(!(uid=user00003*))(!(uid=user00002*)))\"}')");
my $active = sql('SELECT count(*) FROM person WHERE active');
replace(21, 'title', 'Beside the guard');
import_users();
is(sql('SELECT count(*) FROM person WHERE active'), $active, 'two hundred vanished users wait');
like(state('held'), qr/200 vanished users/, 'and the state says so');
is(sql("SELECT title FROM person WHERE login = 'user0000021'"), 'Beside the guard', 'while everything else goes on');
sql("SELECT crmsync.confirm_deletes('users')");
import_users();
is(sql('SELECT count(*) FROM person WHERE active'), $active - 200, 'confirmed, they pass');
is(state('held'), '', 'and nothing is held');
sql("SELECT crmsync.alter_link('users', reset => '{filter}')");
import_users();
is(sql('SELECT count(*) FROM person WHERE active'), $active, 'they come back to their rows');
is(sql('SELECT count(*) FROM person'), '500', 'none is doubled');

# ---- giving way ----
my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die;
target("url => 'ldap://127.0.0.1:${\ $silent->sockport}', secret => 'secret'");
sql("SELECT crmsync.sync('users')");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'crmsync directory' AND query ~ 'connecting'")
  or fail('the run does not start');
my $started = time;
$node->stop('fast');
ok(time - $started < 2, sprintf('a fast shutdown while the server hangs takes %.2f s', time - $started));

done_testing();
