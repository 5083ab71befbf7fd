# When markers reach the change log: commit, rollback, savepoints, two-phase commit, bulk changes in
# bounded memory, a log past its bound, rows applied by logical replication, DROP EXTENSION among
# writers, and a server that does not preload the library.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

# It computes most of the time, and waits for nothing: others wait, and look how long that takes.
POSIX::nice(5);
my $node = PostgreSQL::Test::Cluster->new('transactions');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'crmsync'
crmsync.enabled = off
max_prepared_transactions = 5
CONF
$node->start;

my $log = '(SELECT * FROM crmsync.change_log_0 UNION ALL SELECT * FROM crmsync.change_log_1)';

sub prepare_database
{
	my ($server, $database) = @_;
	$server->safe_psql('postgres', "CREATE DATABASE $database") if $database ne 'postgres';
	$server->safe_psql($database, <<'SQL');
CREATE EXTENSION crmsync;
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TRIGGER crmsync_1 AFTER INSERT OR UPDATE OR DELETE ON person
    FOR EACH ROW EXECUTE FUNCTION crmsync.capture('1', 'id', 'name');
ALTER TABLE person ENABLE ALWAYS TRIGGER crmsync_1;
ALTER TRIGGER crmsync_1 ON person DEPENDS ON EXTENSION crmsync;
SQL
	return;
}

sub markers
{
	my ($server) = @_;
	$server //= $node;
	my $found = $server->safe_psql('postgres', "SELECT coalesce(string_agg(capture || ':' || coalesce(value, '*'), ' ' ORDER BY capture, length(value), value), 'none') FROM $log l");
	$server->safe_psql('postgres', 'TRUNCATE crmsync.change_log_0, crmsync.change_log_1');
	return $found;
}

sub marks
{
	my ($statements, $expected, $name) = @_;
	$node->safe_psql('postgres', $statements);
	is(markers(), $expected, $name);
	return;
}

prepare_database($node, 'postgres');

# ---- one transaction
marks("BEGIN; INSERT INTO person VALUES (1, 'Ann'); ROLLBACK", 'none', 'a rolled-back change is not in the log');
marks("BEGIN; INSERT INTO person VALUES (1, 'Ann'); SAVEPOINT s; INSERT INTO person VALUES (2, 'Bob'); RELEASE s; COMMIT",
	'1:1 1:2', 'a released savepoint');
marks("BEGIN; UPDATE person SET name = 'x' WHERE id = 1; SAVEPOINT s; UPDATE person SET name = 'x' WHERE id = 2; ROLLBACK TO s; COMMIT",
	'1:1 1:2', 'a savepoint rolled back leaves a marker that does no harm');
marks("DO \$\$ BEGIN BEGIN UPDATE person SET name = 'y'; RAISE 'no'; EXCEPTION WHEN others THEN NULL; END; UPDATE person SET name = 'z' WHERE id = 2; END \$\$",
	'1:1 1:2', 'an exception block');
$node->safe_psql('postgres', <<'SQL');
CREATE PROCEDURE two() LANGUAGE plpgsql AS $$
BEGIN
    UPDATE person SET name = 'a' WHERE id = 1;
    COMMIT;
    UPDATE person SET name = 'b' WHERE id = 2;
    ROLLBACK;
END $$;
SQL
marks('CALL two()', '1:1', 'transactions inside a procedure');
is( $node->safe_psql('postgres', "BEGIN; SELECT pg_current_xact_id(); SAVEPOINT s; UPDATE person SET name = 'top' WHERE id = 1; COMMIT; SELECT transaction FROM $log l")
	  =~ /^(\d+)\n\1$/ ? 1 : 0, 1, 'the marker carries the top-level transaction');
markers();
$node->safe_psql('postgres', 'CREATE TABLE target (id int REFERENCES person DEFERRABLE INITIALLY DEFERRED)');
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE person SET name = 'deferred' WHERE id = NEW.id; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER touch AFTER INSERT ON target DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION touch();
SQL
marks('INSERT INTO target VALUES (2)', '1:2', 'a change made by a deferred trigger, at commit');

# ---- two-phase commit
$node->safe_psql('postgres', "BEGIN; UPDATE person SET name = 'prepared' WHERE id = 1; PREPARE TRANSACTION 'p1'");
is($node->safe_psql('postgres', "SELECT count(*) FROM $log l"), '0', 'prepared: not visible yet');
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', "COMMIT PREPARED 'p1'");
is(markers(), '1:1', 'and there after a crash and COMMIT PREPARED');
$node->safe_psql('postgres', "BEGIN; UPDATE person SET name = 'again' WHERE id = 1; PREPARE TRANSACTION 'p2'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'p2'");
is(markers(), 'none', 'ROLLBACK PREPARED');

# ---- bulk changes
sub private_memory
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /RssAnon:\s+(\d+) kB/ ? $1 : die 'no RssAnon';
}
my $session = $node->background_psql('postgres');
$session->set_query_timer_restart;    # what follows takes its time
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe("CREATE TABLE many (id int PRIMARY KEY, name text);
	INSERT INTO many SELECT i, 'n' FROM generate_series(1, 1000000) i");
$session->query_safe("BEGIN; UPDATE many SET name = 'm' WHERE id <= 500000; COMMIT");
my $without = private_memory($pid);
$session->query_safe("CREATE TRIGGER crmsync_2 AFTER INSERT OR UPDATE OR DELETE ON many
	FOR EACH ROW EXECUTE FUNCTION crmsync.capture('2', 'id', 'name')");
# In pieces, so that the server's own queue of trigger events, which grows by 16 bytes a row, stays small.
$session->query_safe(
	"BEGIN; DO \$\$ BEGIN FOR i IN 0..99 LOOP UPDATE many SET name = 'o' WHERE id > i * 10000 AND id <= (i + 1) * 10000; END LOOP; END \$\$");
my $growth = private_memory($pid) - $without;
cmp_ok($growth, '<', 24 * 1024, "a million marked rows in one transaction grow the backend by $growth kB");
$session->query_safe('COMMIT');
is($node->safe_psql('postgres', "SELECT count(DISTINCT value) FROM $log l WHERE capture = 2"),
	'1000000', 'and every one is in the log');
markers();

# What overflowed into the log inside a savepoint disappears with it, together with older markers.
$session->query_safe("BEGIN; UPDATE person SET name = 'before' WHERE id = 1; UPDATE many SET name = 'p' WHERE id = 1;
	SAVEPOINT s; UPDATE many SET name = 'q' WHERE id > 700000; ROLLBACK TO s; UPDATE person SET name = 'after' WHERE id = 2; COMMIT");
my %left = map { $_ => 1 } split ' ', markers();
ok($left{'1:1'} || $left{'1:*'}, 'an overflow that is rolled back keeps changes made before');
ok($left{'2:1'} || $left{'2:*'}, 'of every relation');
ok($left{'1:2'} || $left{'1:*'}, 'and those made after');
$session->query_safe("BEGIN; SAVEPOINT s; SAVEPOINT t; UPDATE person SET name = 'inner' WHERE id = 1; RELEASE t;
	SAVEPOINT u; UPDATE many SET name = 'r' WHERE id > 700000; ROLLBACK TO u; RELEASE s; COMMIT");
%left = map { $_ => 1 } split ' ', markers();
ok($left{'1:1'} || $left{'1:*'}, 'also those of a savepoint released before');
$session->query_safe("BEGIN; SAVEPOINT s; UPDATE many SET name = 's' WHERE id > 700000; ROLLBACK TO s;
	UPDATE many SET name = 't' WHERE id = 900000; COMMIT");
%left = map { $_ => 1 } split ' ', markers();
ok($left{'2:900000'} || $left{'2:*'}, 'a record marked before the rollback and changed again after it');
ok(!$left{'2:*'}, 'nothing is compared as a whole where nothing older was at risk');
$session->query_safe("BEGIN; UPDATE many SET name = 'u'; ROLLBACK");
is(markers(), 'none', 'a bulk change rolled back');
$session->quit;

# ---- a log past its bound
$node->safe_psql('postgres', 'DROP TRIGGER crmsync_2 ON many; TRUNCATE many; ALTER SYSTEM SET crmsync.max_log_size = 1; SELECT pg_reload_conf()');
$node->safe_psql('postgres', "INSERT INTO person SELECT i, 'n' FROM generate_series(1000, 60000) i");
$node->safe_psql('postgres', "UPDATE person SET name = 'm' WHERE id >= 1000");
is( $node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE value IS NULL) || ' ' || count(DISTINCT value) FROM $log l"),
	'1 59001', 'a full log takes one marker per capture and transaction');
markers();
$node->safe_psql('postgres', 'ALTER SYSTEM RESET crmsync.max_log_size; SELECT pg_reload_conf()');
$node->safe_psql('postgres', 'DELETE FROM person WHERE id >= 1000');
markers();

# ---- somebody has locked a log
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE crmsync.change_log_0');
$node->safe_psql('postgres', "SET lock_timeout = '1s'; UPDATE person SET name = 'other log' WHERE id = 1");
$locker->query_safe('COMMIT');
$locker->quit;
is(markers(), '1:1', 'a writer takes the other log rather than wait');

# ---- rows applied by logical replication
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical', extra => [ '--no-instructions' ]);    # not from a template: it has an identity of its own
$subscriber->append_conf('postgresql.conf', "shared_preload_libraries = 'crmsync'\ncrmsync.enabled = off");
$subscriber->start;
prepare_database($subscriber, 'postgres');
$node->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE person');
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . $node->connstr . " dbname=postgres' PUBLICATION p");
$subscriber->wait_for_subscription_sync($node, 's');
is(markers($subscriber), '1:1 1:2', 'rows of the initial copy');
$node->safe_psql('postgres', "UPDATE person SET name = 'far' WHERE id = 2; DELETE FROM target; DELETE FROM person WHERE id = 1; INSERT INTO person VALUES (9, 'new')");
$node->wait_for_catchup('s');
is(markers($subscriber), '1:1 1:2 1:9', 'rows applied afterwards');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
$subscriber->stop;
markers();

# ---- DROP EXTENSION among writers
my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; UPDATE person SET name = 'while dropping' WHERE id = 2");
my $dropper = $node->background_psql('postgres');
$dropper->query_until(qr/started/, "\\echo started\nDROP EXTENSION crmsync;\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'person'::regclass AND NOT granted")
  or die 'the drop does not wait for the writer';
$writer->query_safe('COMMIT');
ok(1, 'a writer commits while DROP EXTENSION waits for it');
$writer->quit;
$dropper->quit;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'crmsync'"), '0', 'and the drop succeeds');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_trigger WHERE tgname = 'crmsync_1'"), '0', 'taking the trigger along');
prepare_database($node, 'other');
$node->safe_psql('other', "INSERT INTO person VALUES (1, 'Ann'); BEGIN; UPDATE person SET name = 'x'; DROP EXTENSION crmsync; COMMIT");
is($node->safe_psql('other', 'SELECT name FROM person'), 'x', 'a writer that drops the extension itself commits');
$node->stop;

# ---- not preloaded
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
prepare_database($node, 'lazy');
$node->safe_psql('lazy', "INSERT INTO person VALUES (1, 'Ann')");
is($node->safe_psql('lazy', "SELECT value FROM $log l"), '1', 'without preloading, changes are captured all the same');
is($node->safe_psql('lazy', 'SELECT crmsync.preloaded()'), 'f', 'and it is known');
is($node->safe_psql('lazy', 'SELECT crmsync.preloaded(); SHOW crmsync.enabled'), "f\noff", 'settings are there too');
$node->stop;
done_testing();
