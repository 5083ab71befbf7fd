# A CRM that says in two columns whether somebody is in use: both follow the directory, and the guard
# looks at both.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('columns', slapd => [ '--people', 30, '--groups', 1 ]);
$test->make_crm(more => 'status text, city text');
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"min_deletes": 5',
	before => q{SELECT crmsync.map('users', 'status', '@enabled', value_map => '{"A": "true", "L": "false"}');
		SELECT crmsync.map('users', 'city', 'l', value_map => '{"B": "Berlin", "W": "Wien", "T": "Toronto", "P": "Paris", "L": "London", "M": "Madrid"}');});

sub state_of { return $test->sql(sprintf q{SELECT active || ' ' || status FROM person WHERE login = 'user%07d'}, $_[0]) }
sub lock_out { $test->replace($_, 'pwdAccountLockedTime', '000001010000Z') for @_; return }
sub deletes { return $test->sql('SELECT coalesce(sum(count), 0) FROM crmsync.deletion') }

is($test->import_users, '0', 'the first import');
is(state_of(1), 'true A', 'both columns are filled');

lock_out(1);
is($test->import_users, '0', 'one is disabled in the directory');
is(state_of(1), 'false L', 'in both columns');
is(deletes(), '1', 'and counts as one');
$test->remove($test->dn(2));
$test->import_users;
is(state_of(2), 'false L', 'so is who is gone');
is(deletes(), '2', 'who counts as one, too');
lock_out(3);
$test->replace(3, 'l', 'Nowhere');
is($test->import_users, '1', 'one is refused for something else');
is(state_of(3), 'false L', 'and disabled all the same');
$test->sql("UPDATE person SET active = true WHERE login = 'user0000003'");
is($test->import_users . ' ' . state_of(3), '1 true L', 'once: who is let in again in the CRM stays in');
$test->sql("UPDATE person SET active = false WHERE login = 'user0000003'");
$test->replace(3, 'pwdAccountLockedTime');
is($test->import_users, '1', 'he may log on again, and is refused yet');
$test->replace(3, 'l', 'Berlin');
is($test->import_users, '0', 'mended');
is(state_of(3), 'true A', 'he is enabled again');
$test->sql("UPDATE person SET active = false WHERE login = 'user0000004'");
$test->remove($test->dn(4));
$test->import_users;
is(state_of(4), 'false L', 'what one column says already, the other learns');

# ---- the guard
$test->sql('UPDATE person SET active = false');
lock_out(10 .. 25);
$test->import_users;
is($test->sql("SELECT string_agg(kind || ' ' || items, ', ') FROM crmsync.held"), 'disabled 16', 'many to be disabled in one of the columns wait');
is($test->sql("SELECT count(*) FROM person WHERE status = 'A'"), '27', 'and are not');
is($test->sql("SELECT crmsync.confirm_deletes('users', expected => 16)"), '16', 'until they are confirmed');
$test->comes_to('SELECT count(*) FROM crmsync.request', '0', 'which the worker has noted');
$test->import_users;
is($test->sql("SELECT count(*) FROM person WHERE status = 'A'"), '11', 'then they are');

# ---- one who is met in the CRM, disabled, and refused for something else
sub known { return $test->sql("SELECT active || ' ' || status FROM person WHERE login = 'known'") }
$test->sql(q{SELECT crmsync.alter_link('users', match_on => '{uid}', options => '{"min_deletes": 50}');
	INSERT INTO person (login, status) VALUES ('known', 'A')});
$test->add('known', l => 'Nowhere', pwdAccountLockedTime => '000001010000Z');
is($test->import_users . ' ' . known(), '1 false L', 'one who was only matched is disabled, too');
$test->sql("UPDATE person SET active = true WHERE login = 'known'");
is($test->import_users . ' ' . known(), '1 true L', 'once');
$test->modify("dn: uid=known,${\ $test->people}\nchangetype: modify\nreplace: l\nl: Wien\n");
is($test->import_users . ' ' . $test->sql("SELECT city || ' ' || active FROM person WHERE login = 'known'"), '0 W true', 'mended, the rest is brought in');

# ---- one of the columns is refused
sub refuses { $test->sql('ALTER TABLE person DROP CONSTRAINT IF EXISTS staff, ADD CONSTRAINT staff CHECK (' . ($_[0] // 'true') . ') NOT VALID'); return }
$test->sql('UPDATE person SET active = true');
refuses(q{status <> 'L'});
lock_out(5);
is($test->import_users . ' ' . state_of(5), '1 false A', 'a column that the CRM refuses keeps no other from being set');
$test->sql("UPDATE person SET active = true WHERE login = 'user0000005'");
is($test->import_users . ' ' . state_of(5), '1 true A', 'once');
refuses();
is($test->import_users . ' ' . state_of(5), '0 true L', 'the refused one is set when it can be');
refuses(q{status <> 'L'});
$test->remove($test->dn(6), $test->dn(7));
is($test->import_users . ' ' . state_of(6), '2 false A', 'so it is for those who are gone');
$test->sql("UPDATE person SET active = true WHERE login = 'user0000006'");
is($test->import_users . ' ' . state_of(6), '2 true A', 'once');
$test->add('user0000007', l => 'Wien');
is($test->import_users . ' ' . state_of(7), '1 true A', 'who comes back is active again');
$test->remove($test->dn(7));
is($test->import_users . ' ' . state_of(7), '2 false A', 'and when he leaves again he is not');
refuses();
is($test->import_users . ' ' . state_of(6) . ', ' . state_of(7), '0 true L, false L', 'the refused one is set when it can be');
refuses(q{active = (status = 'A')});
lock_out(8);
is($test->import_users . ' ' . state_of(8), '0 false L', 'columns that go only together are set together');

# ---- a value that one of them cannot hold
$test->sql(q{ALTER TABLE person DROP CONSTRAINT staff; UPDATE person SET active = true, status = 'A'; CREATE DOMAIN standing AS text CHECK (VALUE <> 'L');
	ALTER TABLE person ALTER status TYPE standing; SELECT crmsync.enable_link('users')});
$test->import_users;
lock_out(9);
$test->import_users;
is(state_of(9), 'false A', 'a value that one cannot hold keeps no other from being set');
$test->done;
