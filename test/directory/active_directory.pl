# Users from a real Active Directory, as Samba speaks it (see samba, which describes what is there): known by
# their objectGUID, with memberships of nested, primary and very large groups, and followed through renames,
# disabling and removal. Runs in the network of that server, whose password is in CRMSYNC_TEST_AD.
use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{LDAPTLS_REQCERT} = 'never';
my $staff = 'OU=staff,DC=ad,DC=test';

# ---- the layer that speaks to it
{
	local $ENV{GTEST_FILTER} = 'ActiveDirectory.*';
	my $output;
	my $passed = IPC::Run::run(["$ENV{CRMSYNC_DIRECTORY_TEST}"], '>&', \$output);
	ok($passed && $output =~ /PASSED  \] \d+ tests/ && $output !~ /SKIPPED/, 'the tests of the directory layer pass') or diag $output;
}

# ---- and what comes of it in a CRM
my $node = PostgreSQL::Test::Cluster->new('active_directory');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'crmsync'\n");
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub modify
{
	my ($ldif) = @_;
	my $error;
	IPC::Run::run([ 'ldapmodify', '-x', '-H', 'ldaps://127.0.0.1', '-D', 'administrator@ad.test', '-w', $ENV{CRMSYNC_TEST_AD} ],
		'<', \$ldif, '>', '/dev/null', '2>', \$error)
	  or die $error;
	return;
}

sub person { return sprintf 'CN=Person %03d,%s', $_[0], $staff }
sub replace { my ($dn, $attribute, $value) = @_; modify("dn: $dn\nchangetype: modify\nreplace: $attribute\n$attribute: $value\n"); return }

# One run, to its end; returns how many entries failed.
sub import_users { return sql("SELECT failed FROM crmsync.sync('users', wait => '60 s')") }

sub members { return sql(q{SELECT string_agg(crm_group || ' ' || n, ', ' ORDER BY crm_group) FROM (SELECT crm_group, count(*) n FROM membership GROUP BY 1) m}) }

sql(<<"SQL");
CREATE EXTENSION crmsync;
CREATE ROLE crm_owner;
CREATE TABLE person (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, login text NOT NULL UNIQUE, first_name text,
    last_name text, email text, active boolean NOT NULL DEFAULT true);
CREATE TABLE membership (person bigint REFERENCES person, crm_group text, PRIMARY KEY (person, crm_group));
ALTER TABLE person OWNER TO crm_owner;
ALTER TABLE membership OWNER TO crm_owner;
SELECT crmsync.create_target('ad', 'ldap', 'ldaps://127.0.0.1', username => 'administrator\@ad.test',
    secret => '$ENV{CRMSYNC_TEST_AD}', options => '{"tls_verify": false}');
SET client_min_messages = warning;
SELECT crmsync.create_link('users', 'ad', 'user', 'person', owner => 'crm_owner', inbound_interval => '1 day',
    options => '{"base": "$staff", "nested": true, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}}');
SELECT crmsync.map('users', 'login', 'sAMAccountName');
SELECT crmsync.map('users', 'first_name', 'givenName');
SELECT crmsync.map('users', 'last_name', 'sn');
SELECT crmsync.map('users', 'email', 'mail');
SELECT crmsync.map('users', 'active', '\@enabled');
SELECT crmsync.map_group('users', 'CN=everyone,$staff', 'everyone');
SELECT crmsync.map_group('users', 'CN=outer,$staff', 'outer');
SELECT crmsync.map_group('users', 'CN=Domain Users,CN=Users,DC=ad,DC=test', 'domain');
SELECT crmsync.map_group('users', 'CN=big,$staff', 'big');
SQL
modify("dn: CN=big,$staff\nchangetype: modify\nadd: member\nmember: ${\ person(60)}\n");
sql("SELECT crmsync.enable_link('users')");
is(import_users(), '0', 'nobody fails');
is(sql('SELECT count(*), count(DISTINCT login), count(*) FILTER (WHERE active), string_agg(login, $$,$$) FILTER (WHERE NOT active) FROM person'),
	'60|60|59|ad002', 'all users are there, and the disabled one is marked');
is(sql(q{SELECT first_name, last_name, email FROM person WHERE login = 'ad001'}), 'Person|Number 001|ad001@ad.test', 'with their values');
is(sql(q{SELECT count(DISTINCT remote_id), bool_and(remote_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') FROM crmsync.item}),
	'60|t', 'each known by its objectGUID');
is(members(), 'big 1, domain 60, everyone 50, outer 51', 'memberships of ordinary, nested, primary and very large groups');

my $before = sql('SELECT md5(string_agg(p::text || p.xmin::text, $$,$$ ORDER BY id)) FROM person p');
is(import_users(), '0', 'again');
is(sql('SELECT md5(string_agg(p::text || p.xmin::text, $$,$$ ORDER BY id)) FROM person p'), $before, 'a second import writes no row');

my $id = sql(q{SELECT id FROM person WHERE login = 'ad003'});
modify("dn: ${\ person(3)}\nchangetype: modrdn\nnewrdn: CN=Renamed 003\ndeleteoldrdn: 1\n");
replace("CN=Renamed 003,$staff", 'sAMAccountName', 'renamed');
replace(person(2), 'userAccountControl', 544);
replace(person(4), 'userAccountControl', 546);
modify("dn: ${\ person(5)}\nchangetype: delete\n");
modify("dn: CN=everyone,$staff\nchangetype: modify\ndelete: member\nmember: ${\ person(6)}\n");
is(import_users(), '0', 'after changes');
is(sql("SELECT login, active FROM person WHERE id = $id"), 'renamed|t', 'who is renamed keeps his row');
is(sql(q{SELECT login, active FROM person WHERE login IN ('ad002', 'ad004', 'ad005') ORDER BY 1}), "ad002|t\nad004|f\nad005|f",
	'enabled, disabled, and gone: marked, not deleted');
is(members(), 'big 1, domain 59, everyone 48, outer 49', 'and the memberships follow');

done_testing();
