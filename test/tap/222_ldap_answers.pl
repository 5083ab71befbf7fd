# What directories answer: only small pages, several values, variants of a value, groups that are not for
# us to read, bytes that are no text.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('answers', slapd => [ '--people', 700, '--groups', 3, '--page-limit', 600 ]);
my $groups = 'ou=groups,dc=example,dc=com';
$test->make_crm;
$test->sql("SELECT crmsync.alter_target('ldap', username => 'cn=reader,dc=example,dc=com', secret => 'secret')");
$test->modify(<<"LDIF");
dn: uid=taro,${\ $test->people}
changetype: add
objectClass: inetOrgPerson
uid: taro
cn: taro
sn;lang-ja: Yamada
sn: Smith
givenName;lang-fr: Tarot

dn: uid=zoe,${\ $test->people}
changetype: add
objectClass: inetOrgPerson
uid: alias
uid: zoe
cn: zoe
sn: Smith

dn: cn=posix,$groups
changetype: add
objectClass: posixGroup
cn: posix
gidNumber: 1
memberUid: alias
memberUid: user0000001

dn: cn=secretive,$groups
changetype: add
objectClass: groupOfNames
cn: secretive
member: ${\ $test->dn(1)}
member: ${\ $test->dn(2)}

dn: cn=elsewhere,$groups
changetype: add
objectClass: referral
objectClass: extensibleObject
cn: elsewhere
ref: ldap://elsewhere.invalid/cn=elsewhere,$groups
LDIF
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'posix', 'posix'), crmsync.map_group('users', 'group1', 'one'),
		crmsync.map_group('users', 'ou=former,dc=example,dc=com', 'denied'), crmsync.map_group('users', 'cn=elsewhere,$groups', 'elsewhere');");
is($test->import_users, '0', 'the first import');
is($test->sql('SELECT count(*) FROM person'), '702', 'from a server that gives smaller pages than it is asked for');
is($test->sql("SELECT last_name, first_name FROM person WHERE login = 'taro'"), 'Smith|Tarot', 'a value counts before its variants, which count when there is no other');
is($test->sql("SELECT string_agg(login, ' ') FROM person WHERE login IN ('alias', 'zoe')"), 'zoe', 'of several values that counts which the entry is named by');
is($test->sql("SELECT string_agg(login, ' ' ORDER BY login) FROM membership m JOIN person p ON p.id = m.person WHERE crm_group = 'posix'"), 'user0000001 zoe', 'while a group may use any of them');
like($test->state("concat_ws(': ', code, last_error)"), qr/^GROUPS: .*(elsewhere|former)/, 'groups that cannot be read here are told');
is($test->sql("SELECT count(*) FROM membership WHERE crm_group = 'one'"), '234', 'and the others are');

# ---- a group that shows no members, where its class has some, and one that may have none
$test->sql("SELECT crmsync.unmap_group('users', 'ou=former,dc=example,dc=com'), crmsync.unmap_group('users', 'cn=elsewhere,$groups'),
	crmsync.map_group('users', 'secretive', 'secretive'); SELECT crmsync.enable_link('users')");
$test->sql("INSERT INTO membership SELECT id, 'secretive' FROM person WHERE login IN ('user0000001', 'user0000002')");
$test->replace("cn=posix,$groups", 'memberUid');
$test->import_users;
is($test->sql("SELECT count(*) FROM membership WHERE crm_group = 'secretive'"), '2', 'members that are hidden stay members');
is($test->state("concat_ws(': ', code, last_error)"), "GROUPS: group \"cn=secretive,$groups\" does not show its member", 'and it is told');
is($test->sql("SELECT count(*) FROM membership WHERE crm_group = 'posix'"), '0', 'a group that is empty has no members');
$test->sql("SELECT crmsync.unmap_group('users', 'secretive'), crmsync.map_group('users', 'cn=elsewhere,$groups', 'elsewhere'); SELECT crmsync.enable_link('users')");

# ---- a group at which the server gives up: a time or administrative limit, a group that it makes up and cannot
my $refers = "\x0a\x01%s\x04\x28cn=elsewhere,$groups";
my %answers = (timeLimitExceeded => 3, adminLimitExceeded => 11, unwillingToPerform => 53, operationsError => 1, other => 80);
for my $answer (sort keys %answers)
{
	my $url = $test->altered(sprintf($refers, "\x0a"), sprintf($refers, chr $answers{$answer}));
	$test->sql("SELECT crmsync.alter_target('ldap', url => '$url', secret => 'secret')");
	$test->replace(9, 'title', $answer);
	$test->import_users;
	is($test->sql("SELECT title FROM person WHERE login = 'user0000009'"), $answer, "$answer of one group: users are imported");
	like($test->state("concat_ws(': ', code, last_error)"), qr/^GROUPS: .*cn=elsewhere/, 'and the group is told');
}
my $busy = $test->altered(sprintf($refers, "\x0a"), sprintf($refers, chr 51));
$test->sql("SELECT crmsync.alter_target('ldap', url => '$busy', secret => 'secret')");
$test->import_users;
is($test->status('state'), 'waiting', 'a server that is busy is tried again as a whole');
$test->sql("SELECT crmsync.unmap_group('users', 'cn=elsewhere,$groups')");

# ---- bytes that are no UTF-8, in a name, a login, and among the members of a group
my $url = $test->altered('user0000007', "user\xff\xfe00007");
$test->sql("SELECT crmsync.alter_target('ldap', url => '$url', secret => 'secret')");
$test->replace(8, 'title', 'Manager');
is($test->import_users, '1', 'one entry has bytes that are no text');
is($test->sql('SELECT f.code, f.message, p.login FROM crmsync.failures f JOIN person p ON p.id::text = f.record'), 'VALUE|the name of the entry is not valid UTF-8|user0000007', 'and is a failure');
is($test->sql("SELECT title FROM person WHERE login = 'user0000008'"), 'Manager', 'others are imported');
is($test->sql("SELECT count(*) FROM membership WHERE crm_group = 'one'"), '234', 'with their groups');

# ---- an entry that is shown twice: it was changed, and moved, while the directory was read
$test->sql("ALTER TABLE person DROP CONSTRAINT person_login_key");
my ($first, $second) = map { $test->sql("SELECT i.remote_id FROM crmsync.item i JOIN person p ON p.id::text = i.record WHERE p.login = 'user000001$_'") } 0, 1;
$url = $test->altered("\x04\x24$second", "\x04\x24$first");
$test->sql("SELECT crmsync.alter_target('ldap', url => '$url', secret => 'secret')");
$test->replace(10, 'title', 'Earlier');
$test->replace(11, 'title', 'Later');
$test->import_users;
is($test->sql("SELECT p.title FROM crmsync.item i JOIN person p ON p.id::text = i.record WHERE i.remote_id = '$first'"), 'Later', 'what was read last counts');

# ---- something on the way that does not know pages, and takes away what the server says about them
my $paged = '1.2.840.113556.1.4.319';
$url = $test->altered("$paged\x04\x0f", "1.2.840.113556.1.4.999\x04\x0f");
$test->sql("SELECT crmsync.alter_target('ldap', url => '$url', secret => 'secret')");
$test->import_users;
like($test->state("concat_ws(': ', code, last_error)"), qr/^INCOMPLETE: the server does not say whether there is more after 500 entries/, 'a page that may not be the last is not taken for everything');
is($test->sql("SELECT count(*) FROM crmsync.item WHERE state = 'leaving'"), '0', 'and nobody for gone');
$test->done;
