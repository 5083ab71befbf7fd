# An import under way ends where it is when its link is disabled or dropped, its target paused or crmsync
# switched off: nothing more is merged, and it is made good as soon as it may go on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use IO::Socket::INET;
use PostgreSQL::Test::Utils qw(slurp_file append_to_file);
use Test::More;
use Time::HiRes qw(sleep time);

my $people = 13_000;    # more than one slice of a merge
my $test = CrmSync::Directory->new('stop', slapd => [ '--people', $people, '--groups', 1 ]);
my $node = $test->node;
my $go = $test->{home} . '/go';

my $running = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync directory'";
sub merged { return $test->sql('SELECT count(*) FROM person') }

# ---- while it merges: what is committed stays, the rest is left
$test->make_crm;
$test->sql(<<'SQL');
CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN new; END $$;
CREATE TRIGGER wait BEFORE INSERT ON person FOR EACH ROW WHEN (new.login = 'user0000005') EXECUTE FUNCTION public.wait();
SQL
my $lock = $node->background_psql('postgres');
$lock->query_safe('SELECT pg_advisory_lock(42)');
$test->make_link(more => "inbound_interval => '1 day'");
my $blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted";
$test->comes_to($blocked, '1', 'the import is in the middle of its first slice');
$test->sql("SELECT crmsync.disable_link('users')");
$lock->query_safe('SELECT pg_advisory_unlock(42)');
$test->comes_to($running, '0', 'disabled, it ends');
my $first = merged();
ok($first > 0 && $first < $people, "after the first slice of $first rows");
is($test->sql('SELECT count(*) FROM crmsync.items'), $first, 'each with its item');
is($test->status('state'), 'disabled', 'the link is disabled');
is($test->sql("SELECT count(*) FROM crmsync.history WHERE action = 'import'"), '0', 'and no import has been completed');

$lock->query_safe('DROP TRIGGER wait ON person');
$lock->quit;
$test->sql("SELECT crmsync.enable_link('users')");
$test->comes_to('SELECT count(*) FROM person', $people, 'enabled again, the rest comes');
$test->comes_to('SELECT state FROM crmsync.status', 'idle', 'to its end');
is($test->sql('SELECT count(*), count(DISTINCT login) FROM person'), "$people|$people", 'nobody twice');

# ---- while it reads
my $changes = 0;

# Begins an import that stands still in the middle of the search, does something, and lets it go on.
sub meanwhile
{
	my ($name, $what, $goes_on) = @_;
	unlink $go;
	$changes++;
	$test->replace(1, 'title', "Change $changes");
	$test->sql("SELECT crmsync.alter_target('ldap', url => '${\ $test->held_up(100_000, $go) }', secret => 'secret')");
	$test->sql("SELECT crmsync.sync('users')");
	$test->comes_to("$running AND query LIKE 'reading %'", '1', "$name: the import reads");
	sleep 0.3;
	$what->();
	append_to_file($go, "go\n");
	$test->comes_to($running, '0', "$name: it ends");
	return if $goes_on;
	isnt($test->sql("SELECT title FROM person WHERE login = 'user0000001'"), "Change $changes", "$name: nothing was merged");
	return;
}

sub goes_on
{
	my ($name) = @_;
	$test->comes_to("SELECT title FROM person WHERE login = 'user0000001'", "Change $changes", "$name: it comes when it may");
	$test->comes_to('SELECT state FROM crmsync.status', 'idle', "$name: to its end");
	return;
}

# What a process of an import holds: a transaction, a snapshot, locks on anything but its temporary tables.
my $held = <<'SQL';
SELECT concat_ws(' ', CASE WHEN a.xact_start IS NOT NULL THEN 'transaction' END, CASE WHEN a.backend_xmin IS NOT NULL THEN 'snapshot' END,
                 (SELECT string_agg(concat_ws(' ', l.locktype, l.relation::regclass), ', ') FROM pg_locks l
                  WHERE l.pid = a.pid AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = l.relation AND c.relpersistence = 't')))
FROM pg_stat_activity a WHERE a.backend_type = 'crmsync directory'
SQL
meanwhile('reload', sub { $test->comes_to($held, 'userlock', 'while the search stands still it holds nothing but the right to import for this link', 5); $node->reload; sleep 0.1; $test->sql("SELECT pg_reload_conf()") }, 1);
is($test->sql("SELECT title FROM person WHERE login = 'user0000001'"), 'Change 1', 'reload: the import goes on');
is($test->state('attempts'), '0', 'reload: undisturbed');

meanwhile('pause_target', sub { $test->sql("SELECT crmsync.pause_target('ldap')") });
is($test->status('state'), 'paused', 'pause_target: the link is paused');
$test->sql("SELECT crmsync.resume_target('ldap')");
goes_on('resume_target');

meanwhile('crmsync.enabled', sub { $node->append_conf('postgresql.conf', 'crmsync.enabled = off'); $node->reload; sleep 0.3 });
$node->append_conf('postgresql.conf', 'crmsync.enabled = on');
$node->reload;
goes_on('crmsync.enabled');

# Ends the import's process, which must not wait for what the server says next.
sub kill_it
{
	my ($name) = @_;
	my $pid = $test->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'crmsync directory'");
	$test->sql("SELECT pg_terminate_backend($pid)");
	$test->comes_to("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0', "$name ends at once", 5);
	return;
}

meanwhile('a process that is killed', sub { kill_it('a process in the middle of an entry') });
goes_on('a process that is killed');

meanwhile('alter_link', sub { $test->sql("SELECT crmsync.alter_link('users', options => '{\"filter\": \"(&(objectClass=person)(uid=user00*))\"}')") }, 1);    # the next one may have begun already
goes_on('alter_link');

meanwhile('drop_link', sub { $test->sql("SELECT crmsync.drop_link('users')") });
is(merged(), $people, 'drop_link: the rows stay');
my @ends = slurp_file($node->logfile) =~ /LOG: +crmsync: link "users": the import has ended early/g;
cmp_ok(scalar @ends, '>=', 4, 'the log says which have ended early');
unlike(slurp_file($node->logfile), qr/ERROR:|WARNING: +crmsync/, 'without an error');

# ---- while a server takes the connection and says nothing
my $silent = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1') or die;
sub connecting
{
	my ($name) = @_;
	$test->comes_to("$running AND query LIKE 'connecting %'", '1', "$name: the import connects");
	sleep 0.3;
	return;
}
sub fall_silent { my ($scheme) = @_; $test->sql("SELECT crmsync.alter_target('ldap', url => '$scheme://127.0.0.1:${\ $silent->sockport }', secret => 'secret')"); return }

fall_silent('ldap');
$test->make_link(more => "inbound_interval => '1 day'");
connecting('silence');
kill_it('silence: the import');
fall_silent('ldaps');
$test->sql("SELECT crmsync.retry('users')");
connecting('silence instead of TLS');
kill_it('silence instead of TLS: the import');

like($test->said("SET statement_timeout = '500ms'; SELECT * FROM crmsync.check_target('ldap')"), qr/canceling statement due to statement timeout/, 'check_target can be interrupted');
$test->sql("SELECT crmsync.alter_target('ldap', options => '{\"timeout\": 1}', secret => 'secret')");
like($test->sql("SELECT ok, detail FROM crmsync.check_target('ldap') WHERE step = 'TLS'"), qr/^f\|.* sent nothing for 1 second$/, 'and ends with the timeout');
$test->sql("SELECT crmsync.alter_target('ldap', options => '{\"timeout\": 600}', secret => 'secret'); SELECT crmsync.retry('users')");
connecting('shutdown');
my $before = time;
$node->stop('fast');
cmp_ok(time - $before, '<', 10, 'shutdown: it does not wait for the server');
$node->start;
$test->done;
