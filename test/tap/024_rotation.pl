# What crmsync writes by itself is bounded: logs are emptied by TRUNCATE and history is forgotten,
# without DELETE, whatever the CRM does and however often.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('rotation');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my $mailbox = 'user1@example.test';
$stage->make_crm;
$stage->add_people(1, 200, $mailbox);
$stage->settles('before');

sub log_bytes { return $stage->sql("SELECT pg_relation_size('crmsync.change_log_0') + pg_relation_size('crmsync.change_log_1')") }
sub deletes { return $stage->sql("SELECT coalesce(sum(n_tup_del + n_tup_upd), 0) FROM pg_stat_all_tables WHERE schemaname = 'crmsync' AND (relname LIKE 'change_log%' OR relname LIKE 'history%')") }

# ---- the change log
my ($largest, $written) = (0, 0);
for my $round (1 .. 12)
{
	# Half a megabyte and more of markers each, in single transactions and in one.
	$stage->sql("DO \$\$ BEGIN FOR i IN 1 .. 60 LOOP UPDATE crm.person SET remark = i::text, first_name = 'Round $round-' || i; COMMIT; END LOOP; END \$\$");
	$stage->sync;
	my $bytes = log_bytes();
	$largest = $bytes if $bytes > $largest;
	$written += 60 * 200;
}
$stage->settles('many changes are carried out');
cmp_ok($written * 40, '>', 2_000_000, "$written markers would fill a log");
$stage->until_true(sub { log_bytes() <= 1_100_000 }, 'the change log is emptied by itself', 30);
cmp_ok($largest, '<', 16_000_000, "and was never large ($largest bytes)");
is(deletes(), '0', 'without a DELETE');
is($exchange->records($mailbox)->{7}{'contacts:GivenName'}, 'Round 12-60', 'nothing is lost by it');

# A long transaction that has written nothing of ours does not stop it; one that has, only for its time.
my $long = $node->background_psql('postgres');
$long->set_query_timer_restart;
$long->query_safe("BEGIN; UPDATE crm.person SET first_name = 'Long' WHERE id = 1");
for my $round (1 .. 4)
{
	$stage->sql("DO \$\$ BEGIN FOR i IN 1 .. 60 LOOP UPDATE crm.person SET first_name = 'Again $round-' || i WHERE id > 1; COMMIT; END LOOP; END \$\$");
	$stage->sync;
}
$long->query_safe('COMMIT');
$long->quit;
$stage->settles('a transaction that was open all the time');
is($exchange->records($mailbox)->{1}{'contacts:GivenName'}, 'Long', 'is carried out when it commits');
$stage->until_true(sub { log_bytes() <= 1_100_000 }, 'and the log is emptied after it', 30);

# ---- bounded while nobody reads it
$stage->sql("ALTER SYSTEM SET crmsync.max_log_size = '1MB'; ALTER SYSTEM SET crmsync.enabled = off; SELECT pg_reload_conf()");
$stage->until_true(sub { $stage->worker_pid eq '' }, 'stopped', 5);
$stage->sql("DO \$\$ BEGIN FOR i IN 1 .. 300 LOOP UPDATE crm.person SET first_name = 'Unread ' || i; COMMIT; END LOOP; END \$\$");
cmp_ok(log_bytes(), '<', 2_500_000, 'without a worker the log stays within crmsync.max_log_size: ' . log_bytes());
$stage->sql('ALTER SYSTEM RESET crmsync.enabled; ALTER SYSTEM RESET crmsync.max_log_size; SELECT pg_reload_conf()');
$stage->until_true(sub { $stage->sql('SELECT crmsync.worker_state()') eq 'running' }, 'started', 5);
$stage->settles('and what it notes then leads to a comparison', 'people', '30 s');
is($exchange->records($mailbox)->{7}{'contacts:GivenName'}, 'Unread 300', 'that misses nothing');

# ---- the history
$stage->sql("ALTER SYSTEM SET crmsync.max_history_size = '3MB'");
$stage->sql('SELECT pg_reload_conf()');
$stage->until_true(sub { $stage->sql('SHOW crmsync.max_history_size') eq '3MB' }, 'a bound of the history');
$largest = $stage->sql(<<'SQL');
CREATE TABLE history_size (round integer, bytes bigint);
DO $$
BEGIN
	FOR round IN 1 .. 100 LOOP
		EXECUTE (SELECT format('INSERT INTO crmsync.history_%s (at, link, record, action, result, message)
			SELECT now(), 0, i::text, ''update'', ''failed'', ''round %s'' FROM generate_series(1, 1000) i', turn % 3, round) FROM crmsync.history_turn);
		COMMIT;
		PERFORM crmsync.turn_history();
		INSERT INTO history_size SELECT round, sum(pg_total_relation_size(c.oid)) FROM pg_class c
		WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relname ~ '^history_[0-9]$';
		COMMIT;
	END LOOP;
END $$;
SELECT max(bytes) FROM history_size WHERE round > 50;
SQL
cmp_ok($largest, '<', 3_600_000, "the history stays within crmsync.max_history_size, or near it ($largest bytes)");
cmp_ok($largest, '>', 2_000_000, 'and makes use of it');
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE message IN ('round 99', 'round 100')"), '2000', 'the latest is there');
$stage->sql('ALTER SYSTEM RESET crmsync.max_history_size');
$stage->sql('SELECT pg_reload_conf()');
$stage->until_true(sub { $stage->sql('SHOW crmsync.max_history_size') eq '1GB' }, 'its default');
my $reading = $node->background_psql('postgres');
$reading->query_safe('BEGIN; SELECT count(*) FROM crmsync.history');
my $turn = $stage->sql("UPDATE crmsync.history_turn SET since = since - interval '16 days' RETURNING turn");
is($stage->sql('SET statement_timeout = 5000; SELECT crmsync.turn_history(); SELECT turn FROM crmsync.history_turn'), "\n$turn", 'who reads the history is waited for by nobody');
$reading->query_safe('COMMIT');
$reading->quit;
is($stage->sql('SELECT crmsync.turn_history(); SELECT turn FROM crmsync.history_turn'), "\n" . ($turn + 1), 'and it goes on afterwards');

# ---- our own tables do not grow
my $sizes = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relkind = 'r' AND c.relname IN ('pending', 'link_state', 'target_state', 'log_position', 'history_turn', 'mailbox')";
cmp_ok($stage->sql($sizes), '<', 4_000_000, 'small tables stay small: ' . $stage->sql($sizes));

$stage->done;
