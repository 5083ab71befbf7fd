# More than a thousand entries that the CRM refuses: the run has failed, and says so, but who has left is
# disabled and memberships are brought in. Not so when the entries that fail may be those who have left.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('many', slapd => [ '--people', 1100, '--groups', 100 ]);
$test->make_crm;
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"max_deletes": 5000, "max_delete_percent": 100, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one');");
is($test->import_users, '0', 'the first import');

my $active = 'SELECT count(*) FROM person WHERE active';
my $running = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync directory'";
$test->sql(<<'SQL');
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON person FOR EACH ROW WHEN (new.title IS DISTINCT FROM old.title) EXECUTE FUNCTION public.refuse();
SQL
$test->remove($test->dn(1000));
$test->replace(1099, 'pwdAccountLockedTime', '000001010000Z');
$test->replace('cn=group1,ou=groups,dc=example,dc=com', 'member', $test->dn(1), $test->dn(2));
$test->sql(q{SELECT crmsync.map('users', 'title', 'title', inbound => 'upper($1)'); SELECT crmsync.enable_link('users')});
$test->import_users;
$test->comes_to($running, '0', 'the run ends');
like($test->state('last_error'), qr/^more than 1000 entries could not be merged; the last: refused/, 'a thousand failures are told');
is($test->sql($active), '1098', 'who has left is disabled, and who may not log on any more');
is($test->sql("SELECT string_agg(login, ' ' ORDER BY login) FROM membership m JOIN person p ON p.id = m.person"), 'user0000001 user0000002', 'and memberships are brought in');
$test->sql('DROP TRIGGER refuse ON person');
is($test->import_users, '0', 'mended, everybody is well');

# ---- memberships
$test->sql('CREATE TRIGGER refuse BEFORE INSERT ON membership FOR EACH ROW EXECUTE FUNCTION public.refuse()');
$test->replace('cn=group1,ou=groups,dc=example,dc=com', 'member', map { $test->dn($_) } 3 .. 1090);
is($test->import_users, '1001', 'many memberships are refused');
like($test->state("concat_ws(': ', code, last_error)"), qr/^GROUPS: more than 1000 memberships could not be merged; the last: refused/, 'and told');
is($test->sql('SELECT count(*) FROM membership'), '0', 'while others go');
$test->sql('DROP TRIGGER refuse ON membership');
is($test->import_users . ' ' . $test->sql('SELECT count(*) FROM membership'), '0 1087', 'mended, all are brought in');

# ---- values that are not known are not what fails in the merge
$test->sql(q{CREATE TRIGGER refuse BEFORE UPDATE ON person FOR EACH ROW WHEN (new.title = 'K') EXECUTE FUNCTION public.refuse();
	SELECT crmsync.map('users', 'title', 'title', value_map => '{"K": "Known"}'); SELECT crmsync.enable_link('users')});
$test->replace(3, 'title', 'Known');
is($test->import_users, '1099', 'everybody fails, one of them in the merge');
is($test->state('attempts'), '0', 'which is no reason to give up');
$test->sql(q{DROP TRIGGER refuse ON person; SELECT crmsync.map('users', 'title', 'title', inbound => 'upper($1)'); SELECT crmsync.enable_link('users')});
is($test->import_users, '0', 'mended, everybody is well');

# ---- everybody under another key
$test->sql("UPDATE crmsync.item SET remote_id = 'old ' || remote_id");
$test->import_users;
$test->comes_to($running, '0', 'the run ends');
like($test->state('last_error'), qr/^more than 1000 .*login/, 'everybody is new, and there already');
is($test->sql($active), '1098', 'and nobody has left');
$test->done;
