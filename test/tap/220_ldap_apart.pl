# One entry, user or membership that the CRM refuses, for whatever reason, is a failure of its own: the
# others are imported, disabled and made members all the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('apart', slapd => [ '--people', 60, '--groups', 3 ]);
my %group = map { $_ => "cn=group$_,ou=groups,dc=example,dc=com" } 1 .. 3;
$test->make_crm(more => 'city text');
$test->sql(q{ALTER TABLE membership ADD origin text NOT NULL DEFAULT 'manual'});
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"min_deletes": 80, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group", "fixed": {"origin": "ldap"}}',
	before => q{SELECT crmsync.map('users', 'city', 'l', value_map => '{"B": "Berlin", "W": "Wien", "T": "Toronto", "P": "Paris", "L": "London", "M": "Madrid"}');
		SELECT crmsync.map_group('users', 'group1', 'one'), crmsync.map_group('users', 'group2', 'two');});
is($test->import_users, '0', 'the first import');

sub login { return sprintf 'user%07d', $_[0] }
sub column { my ($number, $column) = @_; return $test->sql("SELECT $column FROM person WHERE login = '${\ login($number)}'") }
sub groups { my ($number) = @_; return $test->sql("SELECT coalesce(string_agg(crm_group || ' ' || origin, ', ' ORDER BY crm_group), 'none') FROM membership m JOIN person p ON p.id = m.person WHERE login = '${\ login($number)}'") }
sub lock_out { $test->replace($_, 'pwdAccountLockedTime', '000001010000Z') for @_; return }
sub failed { return $test->sql("SELECT coalesce(string_agg(p.login || ' ' || f.code, ', ' ORDER BY p.login), 'none') FROM crmsync.failures f JOIN person p ON p.id::text = f.record") }
sub deletes { return $test->sql('SELECT coalesce(sum(count), 0) FROM crmsync.deletion') }

sub members { my ($group, @numbers) = @_; $test->replace($group{$group}, 'member', map { $test->dn($_) } @numbers); return }

# Refuses persons with this title, and whatever happens to who has this name, with an SQLSTATE.
$test->sql(<<'SQL');
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'refused' USING ERRCODE = tg_argv[0];
END $$;
SQL

sub refuses
{
	my ($name, $when, $state, $event, $table) = @_;
	$test->sql("CREATE TRIGGER $name BEFORE @{[ $event // 'UPDATE' ]} ON @{[ $table // 'person' ]} FOR EACH ROW WHEN ($when) EXECUTE FUNCTION public.refuse('$state')");
	return;
}

# ---- memberships
$test->sql("DELETE FROM membership WHERE person IN (SELECT id FROM person WHERE login IN ('user0000001', 'user0000004')); DELETE FROM person WHERE login = 'user0000001';
	INSERT INTO membership SELECT id, 'one', 'manual' FROM person WHERE login = 'user0000004'");
my $refused = column(3, 'id');
refuses('no_member', "new.person = $refused", '45000', 'INSERT', 'membership');
members(1, 1, 4, 3, 6, 7);
is($test->import_users, '1', 'one membership is refused');
is(failed(), 'user0000003 45000', 'which is a failure of its user');
is(groups(6), 'one ldap', 'others are added, although one of the group was deleted in the CRM');
is(groups(4), 'one manual', 'what somebody has given by hand stays');
is(groups(10), 'none', 'and others are removed');
$refused = column(7, 'id');
refuses('no_end', "old.person = $refused", '45000', 'DELETE', 'membership');
members(1, 4, 6);
$test->sql('DROP TRIGGER no_member ON membership');
is($test->import_users, '1', 'one is not to be removed');
is(groups(7), 'one ldap', 'and stays');
$test->sql('DROP TRIGGER no_end ON membership');
my $deletes = deletes();
is($test->import_users, '0', 'until the CRM lets it');
is(groups(7) . ' ' . (deletes() - $deletes), 'none 1', 'and is counted by the guard when it goes');

# ---- users who are gone
refuses('no_leaver', "old.login = 'user0000020' AND NOT new.active", '45000');
members(2, 2, 5, 20);
$test->import_users;
$test->remove($test->dn($_)) for 20, 21;
members(2, 2, 5, 8);
is($test->import_users, '1', 'one who is gone cannot be disabled');
is(failed(), 'user0000020 45000', 'which is told');
is(column(21, 'active') . column(20, 'active'), 'ft', 'who is gone, too, is disabled');
is(groups(8) . ', ' . groups(20), 'two ldap, two ldap', 'and memberships are brought in');
$test->sql('DROP TRIGGER no_leaver ON person');
is($test->import_users, '0', 'until the CRM lets him go');
is(column(20, 'active') . ' ' . groups(20), 'f none', 'with his memberships');

# ---- away for a while
sub without
{
	my $filter = '(&(objectClass=person)' . join('', map { "(!(uid=${\ login($_)}))" } @_) . ')';
	$test->sql("SELECT crmsync.alter_link('users', options => '{\"filter\": \"$filter\", \"grace\": \"1 hour\"}')");
	return;
}
without(40, 41, 42);
$test->import_users;
is($test->sql("SELECT count(*) FROM crmsync.items WHERE state = 'leaving'"), '3', 'three are away');
$test->sql("UPDATE crmsync.item SET since = since - interval '2 hours' WHERE state = 'leaving'; UPDATE person SET title = 'By hand' WHERE login = '${\ login(41)}'");
$test->replace(40, 'l', 'Nowhere');
without(42);
is($test->import_users, '1', 'one comes back with a value that is not known');
is(failed() . ' ' . join('', map { column($_, 'active') } 40 .. 42), 'user0000040 VALUE ttf', 'and stays active, unlike who does not come back');
is(column(41, 'title'), 'By hand', 'what the CRM has changed meanwhile stays');
$test->replace(40, 'l', 'Berlin');
$test->sql("SELECT crmsync.alter_link('users', reset => '{grace,filter}')");
is($test->import_users, '0', 'with a value that is known');
is(column(40, 'city') . ' ' . join('', map { column($_, 'active') } 40 .. 42), 'B ttt', 'all are back');

# ---- whatever a CRM raises
$test->sql('CREATE INDEX ON person (title)');
refuses("no_$_", "new.title = 'No $_'", $_) for '45000', '42501';
$test->replace(22, 'title', 'No 45000');
$test->replace(23, 'title', 'No 42501');
$test->replace(24, 'title', 'T' . join '', map { chr(97 + ($_ ** 3 * 7 + ($_ ** 2 % 8191) ** 2) % 26) } 1 .. 20_000);
$test->replace(25, 'title', 'Manager');
is($test->import_users, '3', 'three are refused');
is(failed(), 'user0000022 45000, user0000023 42501, user0000024 54000', 'each with what the CRM says');
is(column(25, 'title'), 'Manager', 'the others are not');
is($test->status('state'), 'idle', 'and the link is well');
$test->replace($_, 'title', 'Clerk') for 22, 24;
is($test->import_users, '1', 'one alone');
is($test->status('state') . ' ' . failed(), 'idle user0000023 42501', 'is one failure');
$test->sql('REVOKE UPDATE ON person FROM crm_owner');
$test->replace(26, 'title', 'Clerk');
$test->import_users;
like($test->status("state || ': ' || last_error"), qr/^broken: permission denied/, 'a right that is missing for all breaks the link');
$test->sql("GRANT UPDATE ON person TO crm_owner; SELECT crmsync.enable_link('users')");
$test->import_users;
is(column(26, 'title'), 'Clerk', 'until it is there');

# ---- disabled, and refused for something else
$deletes = deletes();
lock_out(23, 30, 31);
$test->replace(30, 'l', 'Nowhere');
is($test->import_users, '2', 'two are refused');
is(join('', map { column($_, 'active') } 23, 30, 31), 'fff', 'and disabled all the same');
is(deletes() - $deletes, '3', 'counted by the guard');
$test->import_users;
is(deletes() - $deletes, '3', 'once');
$test->sql("CREATE TRIGGER no_end BEFORE UPDATE ON person FOR EACH ROW WHEN (old.active AND NOT new.active AND old.login = '${\ login(33)}') EXECUTE FUNCTION public.refuse('45000')");
lock_out(33, 34);
$test->import_users for 1 .. 3;
is(column(33, 'active') . column(34, 'active') . ' ' . (deletes() - $deletes), 'tf 4', 'who cannot be disabled is not counted');
$test->done;
