# What an LDAP link can be told: how deep to search, groups within groups, who decides on memberships,
# when to run; and when a change of the mapped groups takes effect.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;
use Time::HiRes qw(sleep);

my $test = CrmSync::Directory->new('options', slapd => [ '--people', 30, '--groups', 2 ]);
$test->make_crm;

# ---- scope
$test->modify("dn: ou=deep,ou=people,dc=example,dc=com\nchangetype: add\nobjectClass: organizationalUnit\nou: deep\n");
$test->add('diver', base => 'ou=deep,ou=people,dc=example,dc=com');
my %scopes = (sub => [ $test->people, 31 ], one => [ $test->people, 30 ], base => [ $test->dn(7), 1 ]);
for my $scope (sort keys %scopes)
{
	my ($base, $expected) = @{ $scopes{$scope} };
	$test->sql(<<"SQL");
CREATE TABLE scope_$scope (LIKE person INCLUDING ALL);
ALTER TABLE scope_$scope OWNER TO crm_owner;
SELECT crmsync.create_link('$scope', 'ldap', 'user', 'scope_$scope', owner => 'crm_owner', options => '{"base": "$base", "scope": "$scope"}');
SELECT crmsync.map('$scope', 'login', 'uid');
SELECT crmsync.enable_link('$scope');
SQL
	is($test->import_users($scope), '0', "scope $scope: nobody fails");
	is($test->sql("SELECT count(*) FROM scope_$scope"), $expected, "scope $scope: finds $expected");
}
$test->sql('SELECT crmsync.drop_link(name) FROM crmsync.links');

# ---- groups within groups, one of which leads back
sub group
{
	my ($name, @members) = @_;
	$test->modify("dn: cn=$name,ou=groups,dc=example,dc=com\nchangetype: add\nobjectClass: groupOfNames\ncn: $name\n" . join '', map { "member: $_\n" } @members);
	return;
}
sub members
{
	my ($crm_group) = @_;
	return $test->sql("SELECT coalesce(string_agg(right(p.login, 2), ' ' ORDER BY p.login), 'nobody') FROM membership m JOIN person p ON p.id = m.person WHERE crm_group = '$crm_group'");
}

group('inner', $test->dn(6), $test->dn(7), 'cn=outer,ou=groups,dc=example,dc=com');
group('middle', 'cn=inner,ou=groups,dc=example,dc=com');
group('outer', $test->dn(5), 'cn=middle,ou=groups,dc=example,dc=com', 'cn=nowhere,dc=elsewhere');
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'outer', 'all of them');");
$test->import_users;
is(members('all of them'), '05', 'without nested: members of the group itself');
$test->sql("SELECT crmsync.alter_link('users', options => '{\"nested\": true}')");
$test->import_users;
is(members('all of them'), '05 06 07', 'nested: of the groups in it, too');
$test->modify("dn: cn=middle,ou=groups,dc=example,dc=com\nchangetype: modify\nreplace: member\nmember: ${\ $test->dn(8)}\n");
$test->import_users;
is(members('all of them'), '05 08', 'and when an inner group changes');
$test->sql("SELECT crmsync.alter_link('users', reset => '{nested}')");
$test->import_users;
is(members('all of them'), '05', 'and no longer');

# ---- who decides on memberships
$test->sql(<<'SQL');
INSERT INTO person (id, login) VALUES (9001, 'crm only 91'), (9002, 'crm only 92');
INSERT INTO membership VALUES (9001, 'all of them'), (9002, 'another');
INSERT INTO membership SELECT id, 'another' FROM person WHERE login = 'user0000005';
INSERT INTO membership SELECT id, 'all of them' FROM person WHERE login = 'user0000009';
SQL
$test->import_users;
is(members('all of them'), '91 05', 'who is not in the directory keeps a membership; who is there has those of the directory');
$test->sql("SELECT crmsync.alter_link('users', options => '{\"exclusive\": true}')");
$test->import_users;
is(members('all of them'), '05', 'exclusive: the directory alone decides');
is(members('another'), '92 05', 'of the groups that are mapped');
$test->sql("INSERT INTO membership VALUES (9001, 'all of them')");
$test->add('crm only 91');
is($test->import_users, '1', 'one cannot be imported');
is(members('all of them'), '91 05', 'and does not lose what he has in the CRM');
$test->remove('uid=crm only 91,' . $test->people);
$test->import_users;
is(members('all of them'), '05', 'until he is not in the directory');

# ---- a change of the mapped groups takes effect at the next enable_link
like($test->said("SELECT crmsync.map_group('users', 'group1', 'one')"), qr/NOTICE: .*takes effect at the next crmsync.enable_link/, 'map_group says when it takes effect');
$test->import_users;
is(members('one'), 'nobody', 'not yet');
is($test->sql("SELECT ldap_group, in_force FROM crmsync.group_mappings ORDER BY 1"), "group1|f\nouter|t", 'which the view shows');
$test->sql("SELECT crmsync.enable_link('users')");
$test->comes_to("SELECT count(*) FROM membership WHERE crm_group = 'one'", '15', 'but then');
is($test->sql("SELECT bool_and(in_force) FROM crmsync.group_mappings"), 't', 'as the view shows');
like($test->said("SELECT crmsync.unmap_group('users', 'group1')"), qr/NOTICE: .*takes effect at the next crmsync.enable_link/, 'so does unmap_group');
is($test->sql("SELECT ldap_group, in_force, mapped FROM crmsync.group_mappings ORDER BY 1"), "group1|t|f\nouter|t|t", 'and the view shows what is followed still');
$test->modify("dn: cn=group1,ou=groups,dc=example,dc=com\nchangetype: modify\nreplace: member\nmember: ${\ $test->dn(1)}\nmember: ${\ $test->dn(2)}\n");
$test->import_users;
is(members('one'), '01 02', 'until then the group is followed');
$test->sql("SELECT crmsync.enable_link('users')");
$test->modify("dn: cn=group1,ou=groups,dc=example,dc=com\nchangetype: modify\nreplace: member\nmember: ${\ $test->dn(3)}\n");
$test->import_users;
is(members('one'), '01 02', 'and then left alone');

# ---- somebody asks for a run while one that is due anyway starts: that one is his
sub last_started { return $test->sql('SELECT last_started FROM crmsync.link_state') }
sleep 1.5;    # runs do not begin within a second of each other
$test->sql("ALTER SYSTEM SET post_auth_delay = '1s'");
$test->sql("SELECT pg_reload_conf(); UPDATE crmsync.link_state SET last_started = NULL; SELECT crmsync.wake()");
sleep 0.5;
is(last_started(), '', 'a run starts, and has not begun');
is($test->import_users, '0', 'somebody asks for one');
my $run = last_started();
isnt($run, '', 'it has begun and ended');
sleep 2;
is(last_started(), $run, 'and no other follows');
$test->sql('ALTER SYSTEM RESET post_auth_delay');
$test->sql('SELECT pg_reload_conf()');

# ---- once a day, at a time in a zone of its own, where it may be another day
for my $zone ('+14', '-12')
{
	$test->comes_to("SELECT state FROM crmsync.status", 'idle', "daily_at $zone: before");
	my $time = $test->sql("SELECT ((now() + interval '6 s') AT TIME ZONE make_interval(hours => $zone))::time(0) || '$zone'");
	my $before = $test->sql('SELECT last_started FROM crmsync.link_state');
	$test->sql("SELECT crmsync.alter_link('users', daily_at => '$time')");
	is($test->sql('SELECT daily_at IS NOT NULL, inbound_interval IS NULL FROM crmsync.links'), 't|t', "daily_at $time: instead of the interval");
	$test->sql('SELECT crmsync.wake()');
	sleep 2;
	is($test->sql("SELECT last_started = '$before' FROM crmsync.link_state"), 't', "daily_at $time: not before");
	$test->comes_to("SELECT last_started > '$before' AND last_success > last_started FROM crmsync.link_state", 't', "daily_at $time: then it runs");
	$before = $test->sql('SELECT last_started FROM crmsync.link_state');
	sleep 7;
	is($test->sql("SELECT last_started = '$before' FROM crmsync.link_state"), 't', "daily_at $time: once");
}
$test->done;
