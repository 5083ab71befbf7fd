# The guard of an import: users who vanish, users who are disabled, and memberships that are to be
# removed wait when they are many. What is confirmed is so many of one kind, for one complete run.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('guard', slapd => [ '--people', 60, '--groups', 3 ]);
my %group = map { $_ => "cn=group$_,ou=groups,dc=example,dc=com" } 1 .. 3;
$test->make_crm;
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"min_deletes": 5, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one'), crmsync.map_group('users', 'group2', 'two');");
is($test->import_users, '0', 'the first import');

sub active { return $test->sql('SELECT count(*) FROM person WHERE active') }
sub members { return $test->sql('SELECT count(*) FROM membership') }
sub held { return $test->sql("SELECT coalesce(string_agg(kind || ' ' || items || coalesce(' confirmed ' || confirmed, ''), ', ' ORDER BY kind), 'nothing') FROM crmsync.held") }

# Leaves out the users whose numbers fit.
sub without
{
	my @patterns = @_;
	my $filter = '(&(objectClass=person)' . join('', map { "(!(uid=user00000$_))" } @patterns) . ')';
	$test->sql("SELECT crmsync.alter_link('users', options => '{\"filter\": \"$filter\"}')");
	return;
}

sub confirm
{
	my ($expected) = @_;
	is($test->sql("SELECT crmsync.confirm_deletes('users', expected => $expected)"), $expected, "$expected are confirmed");
	$test->comes_to('SELECT count(*) FROM crmsync.request', '0', 'which the worker has noted');
	return;
}

# While nothing can begin.
sub confirm_beforehand
{
	my ($expected) = @_;
	$test->sql("SELECT crmsync.pause_target('ldap')");
	confirm($expected);
	return;
}

sub resume { $test->sql("SELECT crmsync.resume_target('ldap')"); return $test->import_users }

is(active() . ' ' . members(), '60 40', 'all are there');

# ---- a few are missing for a while: nobody's work
$test->sql("SELECT crmsync.alter_link('users', options => '{\"grace\": \"1 hour\"}')");
without('58', '59');
is($test->sql("SELECT pending FROM crmsync.sync('users', wait => '60 s')"), '0', 'within the grace time nothing is pending');
is(active(), '60', 'and nobody is disabled');
is($test->status('state, pending, oldest_pending IS NULL, lag'), 'idle|0|t|00:00:00', 'the link is idle');
is($test->sql("SELECT kind, records, oldest IS NOT NULL FROM crmsync.backlog"), 'grace|2|t', 'the backlog shows who is missing');
is($test->sql("SELECT count(*) FROM crmsync.items WHERE state = 'leaving'"), '2', 'so do the items');
is($test->sql('SELECT count(*) FROM crmsync.alerts'), '0', 'and there is nothing to do');
without('59');
$test->sql("UPDATE crmsync.item SET since = since - interval '2 hours' WHERE state = 'leaving'");
$test->import_users;
is($test->sql("SELECT string_agg(login, ' ') FROM person WHERE NOT active"), 'user0000059', 'who is not back in time is disabled, who is back stays');
is($test->sql('SELECT count(*) FROM crmsync.backlog'), '0', 'and nobody is missing');
$test->sql("SELECT crmsync.alter_link('users', reset => '{grace,filter}')");
$test->import_users;
is(active(), '60', 'all are back');

# ---- many vanish
without('4*', '5*');
$test->replace(1, 'title', 'Beside the guard');
$test->import_users;
is(active(), '60', 'twenty vanished users wait');
is($test->sql("SELECT title FROM person WHERE login = 'user0000001'"), 'Beside the guard', 'while the rest goes on');
is($test->status('state, pending, last_error'), 'held|20|20 vanished users wait for confirm_deletes', 'the state says how many');
is($test->sql('SELECT message, hint, since IS NOT NULL FROM crmsync.alerts'), "20 vanished users wait for confirm_deletes|If they are meant: SELECT crmsync.confirm_deletes('users', expected => 20);|t", 'and the alert how to let them pass');
is($test->sql("SELECT kind, records FROM crmsync.backlog"), 'delete held|20', 'the backlog, too');
like($test->said("SELECT crmsync.confirm_deletes('users', expected => 3)"), qr/ERROR: +20 deletes wait, not 3/, 'another number is not confirmed');

confirm_beforehand(20);
like($test->sql('SELECT hint FROM crmsync.alerts'), qr/^They are confirmed/, 'the alert says so');
is($test->sql("SELECT crmsync.confirm_deletes('users')"), '0', 'and nothing else waits');
without('3*', '4*', '5*');
resume();
is(active(), '60', 'thirty in the next run are held again');
is(held(), 'vanished 30', 'and wait for another confirmation');
without('4*', '5*');
$test->import_users;
is(held(), 'vanished 20', 'twenty, too, once the number has changed');

$test->sql("SELECT crmsync.alter_target('ldap', url => 'ldap://127.0.0.1:1', secret => 'secret')");
$test->import_users;
confirm(20);
$test->import_users;
like($test->state('last_error'), qr/Connection refused/, 'runs that fail in between');
is(held(), 'vanished 20 confirmed 20', 'lose nothing');
$test->sql("SELECT crmsync.alter_target('ldap', url => 'ldap://127.0.0.1:${\ $test->port}', secret => 'secret')");
$test->import_users;
is(active(), '40', 'in the next complete run they pass');
is(held(), 'nothing', 'and nothing waits any more');
is($test->status('state'), 'idle', 'the link is well');
is($test->sql("SELECT count(*) FROM membership m JOIN person p ON p.id = m.person WHERE NOT p.active"), '0', 'the memberships of who is gone go with them');
$test->sql("SELECT crmsync.alter_link('users', reset => '{filter}')");
$test->import_users;
is(active() . ' ' . members(), '60 40', 'they come back');
without('4*', '5*');
$test->import_users;
is(active() . ' ' . held(), '60 vanished 20', 'a confirmation counts once');

# ---- one kind confirmed: the others are held as before
confirm_beforehand(20);
$test->replace($group{1}, 'member', $test->dn(1));
$test->replace($_, 'pwdAccountLockedTime', '000001010000Z') for 10 .. 29;
resume();
is($test->sql('SELECT count(*) FROM person WHERE NOT active AND login >= $$user0000040$$'), '20', 'the vanished pass');
is(active(), '40', 'and nobody who is disabled');
is(held(), 'disabled 20, memberships 12', 'twenty to disable and twelve memberships wait');
is($test->status('state, pending, last_error'), 'held|32|20 users to disable, 12 memberships to remove wait for confirm_deletes', 'the state has both');
$test->replace(11, 'title', 'Later');
$test->replace(30, 'title', 'Now');
$test->import_users;
is($test->sql("SELECT title FROM person WHERE login = 'user0000030'"), 'Now', 'others are updated meanwhile');
is(held(), 'disabled 20, memberships 12', 'the same are held again');
confirm(32);
$test->import_users;
is(active() . ' ' . held(), '20 nothing', 'confirmed together, they pass');
is($test->sql("SELECT crm_group, count(*) FROM membership GROUP BY 1 ORDER BY 1"), "one|1\ntwo|13", 'so do the memberships');
is($test->sql("SELECT title FROM person WHERE login = 'user0000011'"), 'Later', 'and what waited with them arrives');
$test->replace($_, 'pwdAccountLockedTime') for 10 .. 29;
$test->import_users;
is(active(), '40', 'enabled again in the directory, they are enabled');

# ---- memberships alone
$test->replace($group{2}, 'member', $test->dn(2));
$test->import_users;
is(held() . ' ' . members(), 'memberships 12 14', 'many memberships to remove wait');
confirm(12);
$test->import_users;
is(held() . ' ' . members(), 'nothing 2', 'until they are confirmed');

# ---- a mapping that makes everybody disabled
$test->sql("SELECT crmsync.map('users', 'active', '\@enabled', value_map => '{\"false\": [\"true\", \"false\"]}'); SELECT crmsync.enable_link('users')");
$test->comes_to("SELECT state FROM crmsync.status", 'held', 'a wrong mapping of \@enabled is held');
is(active() . ' ' . held(), '40 disabled 40', 'and disables nobody');
$test->sql("SELECT crmsync.map('users', 'active', '\@enabled'); SELECT crmsync.enable_link('users')");
$test->comes_to("SELECT state FROM crmsync.status", 'idle', 'mended, it is gone');
is(active() . ' ' . held(), '40 nothing', 'with what was held');

# ---- users whose first merge is held are known to the directory all the same
$test->replace($_, 'pwdAccountLockedTime', '000001010000Z') for 1 .. 6;
$test->replace($group{1}, 'member', map { $test->dn($_) } 1 .. 30);
$test->sql(q{SELECT crmsync.drop_link('users'); UPDATE person SET active = true; DELETE FROM membership;
	INSERT INTO membership SELECT id, 'one' FROM person WHERE login <= 'user0000030'});
$test->make_link(
	more => "inbound_interval => '1 day', match_on => '{uid}'",
	options => '"min_deletes": 5, "exclusive": true, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one');");
# The run of enable_link alone: to a second one, which sync may ask for, six of sixty are not too many.
$test->comes_to("SELECT state FROM crmsync.status", 'held', 'they are held');
is(active() . ' ' . held() . ' ' . members(), '60 disabled 6 30', 'they stay members, also with the option exclusive');
$test->done;
