# What goes wrong on the CRM's side of an import, before it begins or in the middle: it is said, tried
# again with growing pauses, and never over and over.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(sleep);

my $test = CrmSync::Directory->new('trouble', conf => 'log_min_messages = debug1');
$test->make_crm(more => 'phone text');
$test->make_link(more => "inbound_interval => '1 day'");
is($test->import_users, '0', 'it works');

# How many runs begin within some seconds.
sub runs
{
	my ($seconds) = @_;
	my $before = () = slurp_file($test->node->logfile) =~ /starting background worker process "crmsync directory/g;
	sleep $seconds;
	my $after = () = slurp_file($test->node->logfile) =~ /starting background worker process "crmsync directory/g;
	return $after - $before;
}

sub due { $test->sql("UPDATE crmsync.link_state SET last_started = NULL; SELECT crmsync.wake()"); return }

sub mended
{
	my ($name, $statements) = @_;
	$test->sql($statements);
	is($test->import_users, '0', "$name: mended, it works");
	$test->comes_to("SELECT state || coalesce((SELECT ' ' || attempts FROM crmsync.link_state WHERE attempts > 0), '') FROM crmsync.status", 'idle', "$name: and is well again");
	return;
}

# ---- an expression that was good when it was mapped
$test->sql("CREATE FUNCTION public.tidy(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(\$1)'");
$test->sql("SELECT crmsync.map('users', 'phone', 'telephoneNumber', inbound => 'public.tidy(\$1)'); SELECT crmsync.enable_link('users')");
$test->import_users;
$test->sql('DROP FUNCTION public.tidy(text)');
due();
cmp_ok(runs(6), '<=', 2, 'a function that was dropped: it is not tried over and over');
like($test->status("state || ': ' || last_error"), qr/^broken: function public\.tidy\(text\) does not exist/, 'the state says what is missing');
like($test->sql("SELECT message || ' ' || hint FROM crmsync.alerts"), qr/tidy.*Mend it, then SELECT \* FROM crmsync.enable_link\('users'\)/, 'and an alert what to do');
is($test->state('attempts > 0 AND next_attempt > now() + interval \'15 s\''), 'true', 'the next attempt is a while off');
like($test->said("SELECT crmsync.enable_link('users')"), qr/the expression public\.tidy\(\$1\) cannot be used: function public\.tidy\(text\) does not exist/, 'enable_link says it, too');
mended('function', "SELECT crmsync.map('users', 'phone', 'telephoneNumber', inbound => 'upper(\$1)'); SELECT crmsync.enable_link('users')");

# ---- a right that is taken away
$test->sql('REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC');
due();
cmp_ok(runs(6), '<=', 2, 'no right to temporary objects: it is not tried over and over');
like($test->status("state || ': ' || last_error"), qr/^broken: permission denied for schema pg_temp/, 'and said');
like($test->said("SELECT crmsync.enable_link('users')"), qr/lacks the privilege TEMPORARY on database postgres.*GRANT TEMPORARY ON DATABASE postgres TO crm_owner/s, 'enable_link names the right');
mended('right', "GRANT TEMPORARY ON DATABASE postgres TO crm_owner; SELECT crmsync.enable_link('users')");
$test->sql("CREATE FUNCTION public.secret(text) RETURNS text LANGUAGE sql AS 'SELECT \$1'; REVOKE EXECUTE ON FUNCTION public.secret(text) FROM PUBLIC; SELECT crmsync.map('users', 'phone', 'telephoneNumber', inbound => 'public.secret(\$1)')");
like($test->said("SELECT crmsync.enable_link('users')"), qr/lacks the privilege EXECUTE on function public\.secret\(text\)/, 'what an expression calls, the owner must be allowed to');
mended('expression', "SELECT crmsync.unmap('users', 'telephoneNumber'); SELECT crmsync.enable_link('users')");

# ---- a column that is dropped
$test->sql('ALTER TABLE person DROP COLUMN title');
$test->import_users;
like($test->status("state || ': ' || last_error"), qr/^broken: column title of relation public\.person does not exist/, 'a dropped column breaks the link, and is named');
like($test->said("SELECT crmsync.enable_link('users')"), qr/column "title" of relation public\.person does not exist/, 'enable_link names it, too');
$test->replace(1, 'givenName', 'Changed');
mended('column', "SELECT crmsync.unmap('users', 'title'); SELECT crmsync.enable_link('users')");
is($test->sql("SELECT first_name FROM person WHERE login = 'user0000001'"), 'Changed', 'what was missed meanwhile is made good');

# ---- what cannot even be recorded: the disk is full, say
$test->sql(<<'SQL');
CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'crmsync directory' THEN RAISE disk_full; END IF;
    RETURN new;
END $$;
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON crmsync.link_state FOR EACH ROW EXECUTE FUNCTION public.full();
SQL
due();
cmp_ok(runs(8), '<=', 2, 'a failure that cannot be recorded makes it wait as well');
$test->sql('DROP TRIGGER full_disk ON crmsync.link_state');
$test->comes_to("SELECT last_error LIKE '%disk full%' OR last_error LIKE '%disk_full%' FROM crmsync.link_state", 't', 'it is recorded as soon as it can be', 90);
mended('disk', "SELECT crmsync.retry('users')");

# ---- tried again by itself, although the next run would be tomorrow
$test->sql("SELECT crmsync.alter_link('users', options => '{\"base\": \"ou=nowhere,dc=example,dc=com\"}')");
$test->import_users;
is($test->status('state'), 'waiting', 'a base that does not exist: the link waits');
is($test->sql('SELECT count(*) FROM crmsync.targets WHERE code IS NOT NULL'), '0', 'which is not the target\'s fault');
$test->sql("UPDATE crmsync.link_state SET next_attempt = now()");
$test->comes_to('SELECT attempts FROM crmsync.link_state', '2', 'and is tried again when the pause is over');
$test->sql("UPDATE crmsync.link_state SET next_attempt = now()");
$test->comes_to('SELECT attempts FROM crmsync.link_state', '3', 'and again');
like($test->sql("SELECT kind, name, message, hint FROM crmsync.alerts"), qr/^link\|users\|.*ou=nowhere.*\|It is tried again by itself/, 'in the end there is an alert');
mended('base', "SELECT crmsync.alter_link('users', options => '{\"base\": \"${\ $test->people}\"}'); SELECT crmsync.retry('users')");

# ---- long words of the CRM, in a language of many bytes
$test->sql(<<'SQL');
CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE '%', 'x' || repeat(chr(252), 1000); END $$;
CREATE TRIGGER no BEFORE UPDATE ON person FOR EACH ROW WHEN (new.first_name = 'Refused') EXECUTE FUNCTION public.no();
SQL
$test->replace(2, 'givenName', 'Refused');
is($test->import_users, '1', 'one that the CRM refuses at length');
is($test->sql("SELECT octet_length(message) > 900, convert_from(convert_to(message, 'UTF8'), 'UTF8') = message FROM crmsync.failures"), 't|t', 'the message is cut between two characters');
$test->done;
