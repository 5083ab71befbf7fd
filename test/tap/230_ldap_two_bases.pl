# Two imports of one table, each with a part of the directory: who moves from one part to the other has not
# left, whichever link looks first, and who is in neither any more has.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('bases', slapd => [ '--people', 30, '--groups', 1 ]);
my $former = 'ou=former,dc=example,dc=com';
$test->make_crm(more => 'may_log_on boolean');
$test->make_link(
	more => "inbound_interval => '1 day', match_on => '{uid}'",
	options => '"memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one');");

sub make_link
{
	my ($name, $column) = @_;
	$test->sql(<<"SQL");
SET client_min_messages = warning;
SELECT crmsync.create_link('$name', 'ldap', 'user', 'person', owner => 'crm_owner', inbound_interval => '1 day',
    match_on => '{uid}', options => '{"base": "$former"}');
SELECT crmsync.map('$name', 'login', 'uid'), crmsync.map('$name', 'last_name', 'sn');
SQL
	$test->sql("SELECT crmsync.map('$name', '$column', '\@enabled')") if $column;
	$test->sql("SELECT crmsync.enable_link('$name')");
	return;
}

sub login { return sprintf 'user%07d', $_[0] }
sub moves { $test->modify("dn: ${\ $test->dn($_)}\nchangetype: modrdn\nnewrdn: uid=${\ login($_)}\ndeleteoldrdn: 0\nnewsuperior: $former\n") for @_; return }
sub inactive { return $test->sql("SELECT coalesce(string_agg(ltrim(login, 'user0'), ' ' ORDER BY login), 'nobody') FROM person WHERE NOT active") }
sub members { return $test->sql('SELECT count(*) FROM membership') }
sub imports { is($test->import_users($_), '0', "import $_") for @_; return }

make_link('others', 'active');
imports('users', 'others');

# ---- moved
my $members = members();
cmp_ok($members, '>', 0, 'there are memberships');
moves(1);
imports('others', 'users');
is(inactive(), 'nobody', 'who has moved, and was met there first, stays active');
is(members(), $members, 'and a member');
moves(2);
imports('users', 'others');
is(inactive(), 'nobody', 'so does who was missed here first');
is($test->sql('SELECT count(*) FROM person'), '30', 'in their rows');
imports('others', 'users');
is(inactive(), 'nobody', 'for good');

# ---- gone
$test->remove("uid=${\ login(1)},$former");
imports('users', 'others');
is(inactive(), '1', 'who is gone from there, too, is disabled');
$test->add(login(3), base => $former);
imports('others');
$test->remove($test->dn(3), "uid=${\ login(3)},$former");
imports('users');
is(inactive(), '1', 'who was in both is not disabled by the first that misses him');
imports('others');
is(inactive(), '1 3', 'but by the second');

# ---- links that do not vouch for him
moves(4);
imports('others');
$test->sql("SELECT crmsync.disable_link('others')");
imports('users');
is(inactive(), '1 3 4', 'a link that is disabled keeps nobody active');
$test->sql("SELECT crmsync.drop_link('others')");
make_link('phones', undef);
make_link('logons', 'may_log_on');
moves(5);
imports('phones', 'logons', 'users');
is(inactive(), '1 3 4 5', 'nor do links that write no such column, or another');
$test->done;
