# An import under way ends where it is when its link is disabled or dropped, its target paused or crmsync
# switched off: nothing more is merged, and it is made good as soon as it may go on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use PostgreSQL::Test::Utils qw(slurp_file append_to_file);
use Test::More;
use Time::HiRes qw(sleep);

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

meanwhile('reload', sub { $node->reload; sleep 0.1; $test->sql("SELECT pg_reload_conf()") }, 1);
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

meanwhile('a process that is killed', sub { $test->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync directory'") });
goes_on('a process that is killed');

meanwhile('alter_link', sub { $test->sql("SELECT crmsync.alter_link('users', options => '{\"filter\": \"(&(objectClass=person)(uid=user00*))\"}')") });
goes_on('alter_link');

meanwhile('drop_link', sub { $test->sql("SELECT crmsync.drop_link('users')") });
is(merged(), $people, 'drop_link: the rows stay');
my @ends = slurp_file($node->logfile) =~ /LOG: +crmsync: link "users": the import has ended early/g;
cmp_ok(scalar @ends, '>=', 4, 'the log says which have ended early');
unlike(slurp_file($node->logfile), qr/ERROR:|WARNING: +crmsync/, 'without an error');
$test->done;
