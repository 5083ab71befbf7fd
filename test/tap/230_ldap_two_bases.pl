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
$test->make_crm(more => 'may_log_on boolean, status text');
$test->make_link(
	more => "inbound_interval => '1 day', match_on => '{uid}'",
	options => '"memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => q{SELECT crmsync.map_group('users', 'group1', 'one');
		SELECT crmsync.map('users', 'status', '@enabled', value_map => '{"A": "true", "L": "false"}');});

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
sub member { return $test->sql("SELECT count(*) FROM membership m JOIN person p ON p.id = m.person WHERE p.login = '${\ login($_[0])}'") }
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
$test->sql(q{SELECT crmsync.alter_link('users', options => '{"grace": "1 day"}')});
imports('users');
is(inactive() . ' ' . members(), "nobody $members", 'who is missed here first stays active within the grace time, and a member');
imports('others');
$test->sql("SELECT crmsync.alter_link('users', reset => '{grace}')");
imports('users');
is(inactive() . ' ' . members(), "nobody $members", 'and when it is over, since he has been met there');
is($test->sql('SELECT count(*) FROM person'), '30', 'in their rows');
imports('others', 'users');
is(inactive(), 'nobody', 'for good');

# ---- gone
sub readmit { $test->sql("UPDATE person SET active = true WHERE login = '${\ login($_[0])}'; INSERT INTO membership SELECT id, 'one' FROM person WHERE login = '${\ login($_[0])}'"); return }
$test->remove("uid=${\ login(1)},$former");
imports('users', 'others');
is(inactive(), '1', 'who is gone from there, too, is disabled');
imports('users');
is(member(1) . $test->sql("SELECT status FROM person WHERE login = '${\ login(1)}'"), '0L', 'and has nothing more of what the first link gave him');
readmit(1);
imports('others', 'users', 'others', 'users');
is(inactive() . member(1), 'nobody1', 'once: let in again in the CRM, he stays');
$test->add(login(3), base => $former);
imports('others');
$test->remove($test->dn(3), "uid=${\ login(3)},$former");
imports('users');
is(inactive(), 'nobody', 'who was in both is not disabled by the first that misses him');
imports('others');
is(inactive(), '3', 'but by the second');
$test->sql("SELECT crmsync.alter_link('others', on_target_delete => 'ignore')");
moves(5);
imports('others', 'users');
$test->remove("uid=${\ login(5)},$former");
imports('others');
is(inactive() . member(5), '31', 'where the second ignores who is gone');
imports('users');
is(inactive() . member(5), '3 50', 'the first does by its own policy');
$test->sql("SELECT crmsync.alter_link('others', on_target_delete => 'disable')");

# ---- gone from there, and back before the first link has done its part
my $away = "uid=${\ login(7)},$former";
moves(7);
imports('others', 'users');
$test->remove($away);
imports('others');
$test->add(login(7), base => $former);
imports('others', 'users');
is(inactive() . member(7), '3 51', 'who is back is active, and a member still');
$test->remove($away);
imports('others', 'users');
is(inactive() . member(7), '3 5 70', 'and when he leaves for good the first link does its part');
$test->sql("UPDATE person SET active = true WHERE login = '${\ login(7)}'");

# ---- many who move
$test->sql(q{SELECT crmsync.alter_link('users', options => '{"min_deletes": 5}')});
moves(10 .. 19);
imports('others');
$test->remove($test->dn(20));
imports('users');
is(inactive(), '3 5 20', 'the guard does not count who has moved, nor hold for that who has left');
$test->sql(q{SELECT crmsync.alter_link('users', options => '{"min_deletes": 20}')});

# ---- while the other import is merging: slice after slice it keeps its mailbox
my $editing = $test->node->background_psql('postgres');
$editing->query_safe("BEGIN; SELECT FROM person WHERE login = '${\ login(22)}' FOR UPDATE");
my $merging = $test->node->background_psql('postgres');
$merging->query_until(qr/begins/, "\\echo begins\n" . "BEGIN; SELECT FROM crmsync.mailbox WHERE link = (SELECT id FROM crmsync.link WHERE name = 'others') FOR KEY SHARE; SELECT pg_sleep(0.3); COMMIT;\n" x 20);
$test->remove(map { $test->dn($_) } 21 .. 28);
is($test->import_users, '1', 'only who is locked in the CRM is a failure');
is(inactive(), '3 5 20 21 23 24 25 26 27 28', 'the others who have left are disabled');
$editing->query_safe('ROLLBACK');
$_->quit for $editing, $merging;
imports('users');
$test->sql("UPDATE person SET active = true WHERE login > '${\ login(20)}'");

# ---- while somebody is about to drop the other, and has not committed
my $dropping = $test->node->background_psql('postgres');
$dropping->query_safe("BEGIN; SELECT crmsync.drop_link('others')");
$test->replace(29, 'title', 'Meanwhile');
my $began = time;
is($test->import_users . ' ' . $test->sql("SELECT title FROM person WHERE login = '${\ login(29)}'"), '0 Meanwhile', 'where nobody has left, nobody waits for that');
cmp_ok(time - $began, '<', 30, 'the import comes to its end');
$test->remove($test->dn(29));
$test->sql("SELECT crmsync.sync('users')");
$test->comes_to("SELECT string_agg(code, ' ') FROM crmsync.failures WHERE link = 'users'", '55P03', 'who has left waits', 100);
$test->comes_to("SELECT state FROM crmsync.status WHERE link = 'users'", 'idle', 'and the import does not fail');
is($test->state('attempts'), '0', 'it does not');
$dropping->query_safe('ROLLBACK');
$dropping->quit;
imports('users');
is(inactive(), '3 5 20 29', 'he is disabled by the next import');
$test->sql("UPDATE person SET active = true WHERE login = '${\ login(29)}'");

# ---- links that do not vouch for him
moves(4);
imports('others');
$test->sql("SELECT crmsync.disable_link('others')");
imports('users');
is(inactive(), '3 4 5 20', 'a link that is disabled keeps nobody active');
$test->sql("SELECT crmsync.enable_link('others')");
imports('others');
is(inactive(), '3 5 20', 'enabled again, it brings in whom it knows');
$test->sql("SELECT crmsync.drop_link('others')");
make_link('phones', undef);
make_link('logons', 'may_log_on');
moves(6);
imports('phones', 'logons', 'users');
is(inactive(), '3 5 6 20', 'nor do links that write no such column, or another');
$test->done;
