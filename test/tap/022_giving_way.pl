# A worker that waits for a server that hangs holds nothing, and stands in nobody's way: everything
# that wants it gone gets that within two seconds, and nothing of its work is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

# An autovacuum that is in the way gives way too, but only after deadlock_timeout, and of each table anew.
my $stage = CrmSync::EndToEnd->new('giving_way', conf => 'autovacuum = off');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my $mailbox = 'user1@example.test';
$stage->make_crm;
$stage->add_people(1, 20, $mailbox);
$stage->settles('before');

my $people = 20;

# One request is under way, and gets no answer, when this returns.
sub hang
{
	my ($database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$database //= 'postgres';
	$people++;
	$node->safe_psql($database, "INSERT INTO crm.person (id, first_name) VALUES ($people, 'New'); INSERT INTO crm.audience VALUES ($people, '$mailbox')");
	my $waits = "SELECT query = 'waiting for targets' AND state_change < clock_timestamp() - interval '0.2 s' FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND datname = '$database'";
	$stage->until_true(sub { $exchange->hits > 0 && $node->safe_psql('template1', $waits) eq 't' }, 'a request hangs', 15);
	return;
}

sub workers
{
	return $node->safe_psql('template1', "SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), 'none') FROM pg_stat_activity WHERE backend_type = 'crmsync worker'");
}

sub running { my ($database) = @_; my ($status, $out) = $node->psql($database, 'SELECT crmsync.worker_state()'); return defined $out && $out eq 'running' }

# Apart from what PostgreSQL needs by itself.
sub quick
{
	my ($statement, $database, $name, $by_itself) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$by_itself //= 0;
	$stage->leave;
	my $started = time;
	my ($status, undef, $error) = $node->psql($database, $statement);
	my $took = time - $started;
	ok($status == 0 && $took - $by_itself < 2, sprintf('%s (%.2f s, %.2f of them by itself)', $name, $took, $by_itself)) or diag($error);
	return;
}

# A copy of a database where nobody is in the way takes this long, in seconds.
sub seconds_to_copy
{
	my $started = time;
	$node->safe_psql('template1', 'CREATE DATABASE alone TEMPLATE template0');
	my $took = time - $started;
	$node->safe_psql('template1', 'DROP DATABASE alone');
	return $took;
}

# The same for an extension that no worker has ever seen.
sub seconds_to_drop
{
	$stage->sql('ALTER SYSTEM SET crmsync.enabled = off; SELECT pg_reload_conf()');
	$stage->until_true(sub { workers() eq 'none' }, 'nobody works', 5);
	$node->safe_psql('template1', 'CREATE DATABASE alone');
	$node->safe_psql('alone', 'CREATE EXTENSION crmsync');
	my $started = time;
	$node->safe_psql('alone', 'DROP EXTENSION crmsync');
	my $took = time - $started;
	$node->safe_psql('template1', 'DROP DATABASE alone');
	$stage->sql('ALTER SYSTEM RESET crmsync.enabled; SELECT pg_reload_conf()');
	$stage->until_true(sub { running('postgres') }, 'and all go on', 5);
	return $took;
}

# ---- what it holds while it waits
$exchange->inject('silence', count => 0);
hang();
sleep 1;
is($stage->sql("SELECT wait_event_type, backend_xmin IS NULL, xact_start IS NULL, state FROM pg_stat_activity WHERE backend_type = 'crmsync worker'"),
	'Extension|t|t|idle', 'no snapshot and no transaction while a server hangs');
is($stage->sql("SELECT count(*) FROM pg_locks WHERE pid = " . $stage->worker_pid), '0', 'and no lock');
is($stage->sql("SELECT query FROM pg_stat_activity WHERE backend_type = 'crmsync worker'"), 'waiting for targets', 'pg_stat_activity says what it does');
$stage->sql('CREATE TABLE vacuumed (i int); INSERT INTO vacuumed SELECT generate_series(1, 100); DELETE FROM vacuumed');
my ($status, undef, $said) = $node->psql('postgres', 'VACUUM VERBOSE vacuumed');
like($said, qr/100 removed|tuples: 100 removed/, 'VACUUM removes what was deleted meanwhile');

# ---- statements that want it gone
quick('ALTER EXTENSION crmsync UPDATE', 'postgres', 'ALTER EXTENSION UPDATE');
$stage->until_true(sub { running('postgres') }, 'and the worker is back', 5);
hang();
quick('CREATE DATABASE copied TEMPLATE postgres', 'template1', 'CREATE DATABASE TEMPLATE while a server hangs', seconds_to_copy());
$stage->until_true(sub { workers() eq 'copied postgres' }, 'both have a worker', 5);
is($node->safe_psql('copied', "SELECT state FROM crmsync.status"), 'held', 'the copy is held: it is not the database that was confirmed');
quick('DROP DATABASE copied', 'template1', 'DROP DATABASE');
hang();
quick('ALTER DATABASE postgres RENAME TO renamed', 'template1', 'ALTER DATABASE RENAME while a server hangs');
$stage->until_true(sub { workers() eq 'renamed' && running('renamed') }, 'the renamed one goes on', 5);
hang('renamed');
quick('ALTER DATABASE renamed RENAME TO postgres', 'template1', 'and back');
$stage->until_true(sub { running('postgres') }, 'with its worker', 5);
hang();
$node->safe_psql('template1', 'CREATE DATABASE other');
quick('DROP DATABASE other', 'template1', 'DROP DATABASE of another database while a server hangs');

# ---- shutdown, reload
hang();
my $started = time;
$node->stop('fast');
cmp_ok(time - $started, '<', 2, 'fast shutdown while a server hangs');
$node->start;
hang();
$started = time;
$stage->sql('ALTER SYSTEM SET crmsync.enabled = off; SELECT pg_reload_conf()');
$stage->until_true(sub { workers() eq 'none' }, 'crmsync.enabled = off stops it while a server hangs', 2);
is($stage->status('state'), 'paused', 'and the status says so');
$exchange->calm;
$stage->sql('ALTER SYSTEM RESET crmsync.enabled; SELECT pg_reload_conf()');
$stage->until_true(sub { running('postgres') }, 'on again', 3);

# ---- busy
$stage->settles('nothing was lost', 'people', '60 s');
is(join(' ', sort { $a <=> $b } keys %{ $exchange->records($mailbox) }), join(' ', 1 .. $people), 'nor done twice');
my $by_itself = seconds_to_copy();    # before: what there is to do takes two seconds
$exchange->post('server', request_ms => 5, item_ms => 5);
$stage->add_people(1000, 1400, map { "user$_\@example.test" } 1 .. 4);
sleep 0.3;
quick('CREATE DATABASE copied TEMPLATE postgres', 'template1', 'CREATE DATABASE TEMPLATE while it is busy', $by_itself);
quick('DROP DATABASE copied', 'template1', 'DROP DATABASE of the copy');
$started = time;
$node->stop('fast');
cmp_ok(time - $started, '<', 2, 'fast shutdown while it is busy');
$node->start;
$stage->settles('all arrives', 'people', '60 s');
is(scalar(keys %{ $exchange->records($mailbox) }), $people + 401, 'once');

# ---- a password that changes
$exchange->post('server', password => 'another');
$stage->sql("UPDATE crm.person SET first_name = 'Late' WHERE id = 1");
$stage->until_true(sub { $stage->target('code') ne '' }, 'a password that is wrong is noticed', 10);
open(my $file, '>', "$stage->{secrets}/exchange") or die;
print $file "another\n";
close $file;
$stage->sql("SELECT pg_reload_conf(); SELECT crmsync.resume_target('exchange')");
$stage->settles('the new one is read from its file', 'people', '20 s');
is($exchange->records($mailbox)->{1}{'contacts:GivenName'}, 'Late', 'and serves');

# ---- a run that has only just been started
my $holder = $node->background_psql('postgres');
my $looker = $node->background_psql('postgres');
my $asked = "SELECT count(*) FROM crmsync.link_state WHERE comparison IS NOT NULL";
$looker->query_safe('ALTER SYSTEM SET post_auth_delay = 1');
$looker->query_safe('SELECT pg_reload_conf()');
sleep 0.5;
$holder->query_safe("SELECT crmsync.request_comparison(id, 'everything'), crmsync.wake() FROM crmsync.link");
sleep 0.5;
$holder->query_safe('SET client_min_messages = error; BEGIN; ALTER EXTENSION crmsync UPDATE');
is($looker->query_safe($asked), '1', 'a comparison has been started, and is not there yet');
sleep 4;
is($looker->query_safe($asked), '1', 'it does not work while workers are kept out');
# The next is to be seen connecting, however busy the machine is.
$looker->query_safe('ALTER SYSTEM SET post_auth_delay = 3');
$looker->query_safe('SELECT pg_reload_conf()');
$holder->query_safe('ROLLBACK');
# Of a process that is about to connect only the lock on its database is to be seen. A connection of
# one's own would be as slow as what is looked for, and come when that is over.
my $connecting = "SELECT min(pid) FROM pg_locks WHERE classid = 'pg_database'::regclass AND mode = 'RowExclusiveLock'
  AND pid NOT IN (SELECT pid FROM pg_stat_activity WHERE datname IS NOT NULL) AND crmsync.worker_state() = 'running'";
my $pid = '';
$stage->until_true(sub { ($pid = $looker->query_safe($connecting)) ne '' }, 'afterwards it is started again', 30);
kill 'STOP', $pid;
$looker->query_safe('ALTER SYSTEM SET crmsync.enabled = off');
$looker->query_safe('SELECT pg_reload_conf()');
$stage->until_true(sub { workers() eq 'none' }, 'crmsync is switched off before it is there', 5);
kill 'CONT', $pid;
$stage->until_true(sub { !kill 0, $pid }, 'then it ends', 10);
is($looker->query_safe($asked), '1', 'nor does it work when crmsync has just been switched off');
$looker->query_safe('ALTER SYSTEM RESET crmsync.enabled');
$looker->query_safe('ALTER SYSTEM RESET post_auth_delay');
$looker->query_safe('SELECT pg_reload_conf()');
$_->quit for $holder, $looker;
$stage->until_true(sub { running('postgres') }, 'but afterwards', 15);
$stage->settles('it is carried out', 'people', '30 s');

# ---- DROP EXTENSION
$by_itself = seconds_to_drop();
$exchange->inject('silence', count => 0);
hang();
quick('DROP EXTENSION crmsync', 'postgres', 'DROP EXTENSION while a server hangs', $by_itself);
sleep 0.5;
is(workers(), 'none', 'and no worker comes back');
is($stage->sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%'"), '0', 'nor is a trigger left');
$stage->sql("UPDATE crm.person SET first_name = 'free' WHERE id = 1");
$exchange->calm;

$stage->done;
