# One link, mailbox, transaction or lock that takes long, or for ever, is nobody else's matter: what other
# links have to do is done meanwhile.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('bystanders', exchange => [ '--mailboxes', 5 ]);
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two, $three, $four) = map { "user$_\@example.test" } 1 .. 4;
$stage->make_crm;
$stage->add_people(1, 5, $one);
$stage->settles('people are there');

# ---- an audience that takes 20 seconds to read: begun now, and under way for a while
$stage->sql('SET ROLE crm_owner; CREATE TABLE crm.pace (seconds double precision); INSERT INTO crm.pace VALUES (0.02)');
$stage->make_another('slow', 1000, $three, audience => "SELECT id AS record, '$three' AS mailbox FROM crm.slow WHERE pg_sleep((SELECT p.seconds FROM crm.pace p)) IS NOT NULL");
my $slow = time;
$stage->until_true(sub { $stage->sql("SELECT phase FROM crmsync.progress WHERE link = 'slow'") eq 'comparing' }, 'a long comparison');
my $slow_link = $stage->sql("CREATE ROLE watcher; SELECT id FROM crmsync.links WHERE name = 'slow'");
for (['slow', 1, 'is seen by who may read the link'], ['people', 0, 'and by nobody else'])
{
	my ($link, $seen, $what) = @$_;
	$stage->sql("SELECT crmsync.grant_role('watcher', 'reader', '$link')");
	is($stage->sql("SET ROLE watcher; SELECT (SELECT count(*) FROM crmsync.worker_progress() WHERE link = $slow_link), (SELECT count(*) FROM crmsync.progress WHERE link = 'slow')"), "$seen|$seen", $what);
	$stage->sql("SELECT crmsync.revoke_role('watcher', link => '$link')");
}
$stage->goes_on($one, 'a comparison is under way');
$stage->sql('UPDATE crm.pace SET seconds = 0');

# ---- somebody has asked for something and not committed
my $asking = $node->background_psql('postgres');
$asking->query_safe("BEGIN; SELECT crmsync.retry('people'), crmsync.confirm_deletes('people'), crmsync.resume_target('exchange')");
$stage->goes_on($one, 'a transaction with retry() is open');
$asking->query_safe('COMMIT');
$asking->quit;

# ---- a transaction of the CRM's that locks what we read, in another order: it is not the one to end
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE TABLE crm.remark AS SELECT 'slow' AS text;
CREATE FUNCTION crm.remark(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN (SELECT r.text FROM crm.remark r); END $$;
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.map('people', '(crm.remark(r.remark))', 'notes');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('an expression that reads another table', 'people', '30 s');
my $crossing = $node->background_psql('postgres', on_error_stop => 0);
$crossing->query_safe('BEGIN; LOCK TABLE crm.remark');
$stage->sql("UPDATE crm.person SET first_name = 'Locked' WHERE id = 1");
$stage->until_true(sub { $stage->sql("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND wait_event = 'PgSleep')") eq 't' }, 'the worker reads people');
my (undef, $failed) = $crossing->query('LOCK TABLE crm.person');
is($failed, 0, 'the CRM gets its locks');
$crossing->query_safe('COMMIT');
$crossing->quit;
$stage->settles('and we look again', 'people', '30 s');
is($exchange->records($one)->{1}{'contacts:GivenName'}, 'Locked', 'at what we were about to read');
$stage->sql("SELECT crmsync.unmap('people', 'notes'); SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->settles('without it', 'people', '30 s');

# ---- a mailbox that does not answer
$exchange->inject('silence', mailbox => $two, seconds => 6);
$stage->sql("INSERT INTO crm.audience SELECT i, '$two' FROM generate_series(4, 5) i; UPDATE crm.person SET first_name = 'Both' WHERE id < 4");
my $started = time;
is($stage->sql("SELECT pending, failed FROM crmsync.sync('people', wait => '20 s', mailbox => ' \U$one')"), '0|0', 'sync waits for one mailbox');
cmp_ok(time - $started, '>', 3, 'and for the records that are in it, wherever else they are');
$exchange->inject('silence', mailbox => $two, seconds => 6);
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (6, 'Only two'); INSERT INTO crm.audience VALUES (6, '$two'); UPDATE crm.person SET first_name = 'Only one' WHERE id = 1");
$started = time;
is($stage->sql("SELECT pending, failed FROM crmsync.sync('people', wait => '20 s', mailbox => '$one')"), '0|0', 'a mailbox that does not answer');
cmp_ok(time - $started, '<', 5, 'is not waited for by who waits for another');
is($exchange->records($one)->{1}{'contacts:GivenName'}, 'Only one', 'where all is done');
is($stage->sql("SELECT pending, failed FROM crmsync.sync('people', wait => '100 ms', mailbox => '$two')"), '1|0', 'it has its own count');
is($stage->sql("SELECT phase FROM crmsync.progress WHERE link = 'slow'"), 'comparing', 'all this while the audience is read') or diag(time - $slow);

# ---- a record that changes again while one of its mailboxes has not answered yet
$stage->settles('both answer', 'people', '30 s');
sub name_in { my ($mailbox, $person) = @_; return ($exchange->records($mailbox)->{$person} // {})->{'contacts:GivenName'} // 'none' }
$exchange->inject('delay', operation => 'UpdateItem', mailbox => $two, seconds => 4);
$stage->sql("UPDATE crm.person SET first_name = 'Once' WHERE id = 4");
$stage->until_true(sub { name_in($two, 4) eq 'Once' }, 'one of two mailboxes does not answer');
$started = time;
for my $name ('Twice', 'Thrice')
{
	$stage->sql("UPDATE crm.person SET first_name = '$name' WHERE id = 4");
	$stage->until_true(sub { name_in($one, 4) eq $name }, "$name: in the other");
}
cmp_ok(time - $started, '<', 3, 'without waiting for it');
is(name_in($two, 4), 'Once', 'which nothing is sent to meanwhile');
$stage->settles('it answers', 'people', '30 s');
is(name_in($two, 4), 'Thrice', 'and gets what it has missed');

$exchange->inject('delay', operation => 'CreateItem', mailbox => $two, seconds => 4);
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (7, 'New'); INSERT INTO crm.audience VALUES (7, '$one'), (7, '$two')");
$stage->until_true(sub { name_in($two, 7) eq 'New' && name_in($one, 7) eq 'New' }, 'a create that is not answered yet');
$stage->sql("DELETE FROM crm.audience WHERE record = 7 AND mailbox = '$two'; UPDATE crm.person SET first_name = 'Newer' WHERE id = 7");
$stage->until_true(sub { name_in($one, 7) eq 'Newer' }, 'nobody wants it there any more');
$stage->settles('it has been answered', 'people', '30 s');
is(name_in($two, 7), 'none', 'and is undone');

# ---- a mailbox that refuses it meanwhile: it is not asked again at each answer of the others
$stage->sql("INSERT INTO crm.audience VALUES (5, '$four')");
$stage->settles('a record in three mailboxes', 'people', '30 s');
$exchange->inject('delay', operation => 'UpdateItem', mailbox => $two, seconds => 2);
$exchange->inject('delay', operation => 'UpdateItem', mailbox => $four, seconds => 4);
$stage->sql("UPDATE crm.person SET first_name = 'Slow' WHERE id = 5");
$stage->until_true(sub { name_in($one, 5) eq 'Slow' && name_in($two, 5) eq 'Slow' && name_in($four, 5) eq 'Slow' }, 'two of three do not answer');
$exchange->inject('item', operation => 'UpdateItem', mailbox => $one, match => 'Refused', code => 'ErrorInvalidPropertySet', count => 0);
$stage->sql("UPDATE crm.person SET first_name = 'Refused' WHERE id = 5");
$stage->until_true(sub { name_in($two, 5) eq 'Refused' && name_in($four, 5) eq 'Refused' }, 'they get the next change', 30);
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.pending WHERE record = '5'") eq '0' }, 'and all is done');
is($stage->sql("SELECT attempts <= 2, next_attempt IS NOT NULL FROM crmsync.failure WHERE record = '5'"), 't|t', 'where it was refused it will be tried again') or diag($stage->sql('SELECT * FROM crmsync.failure'));
$exchange->calm;
$stage->sql("UPDATE crm.person SET first_name = 'Taken' WHERE id = 5");
$stage->settles('it is taken', 'people', '30 s');

# ---- mailboxes that are slow, with more to be deleted in them than is read at once
my $five = 'user5@example.test';
sub many_in { my ($mailbox) = @_; return scalar grep { $_ > 1000 } keys %{ $exchange->records($mailbox) } }
$stage->sql("SELECT crmsync.alter_link('people', options => '{\"max_deletes\": 10000, \"max_delete_percent\": 100}')");
$stage->add_people(1001, 2500, $two, $four);
$stage->settles('very many people', 'people', '60 s');
$stage->add_people(5001, 5010, $five);
$stage->settles('and a few in another mailbox', 'people', '60 s');
$exchange->inject('delay', operation => 'DeleteItem', mailbox => $_, seconds => 5, count => 0) for $two, $four;
$stage->sql('DELETE FROM crm.audience WHERE record > 1000');
$stage->until_true(sub { many_in($five) == 0 }, 'deletes there do not wait for slow mailboxes', 10) or diag($stage->sql('SELECT * FROM crmsync.mailboxes'));
cmp_ok(many_in($_), '>', 1000, "which have yet to do most of theirs: $_") for $two, $four;
$exchange->calm;
$stage->settles('all are done', 'people', '60 s');
is(join(' ', map { many_in($_) } $two, $four), '0 0', 'and nothing is left');

# ---- a table, and a partition, that somebody has locked
$stage->make_another('locked', 3, $four, table => <<'SQL');
CREATE TABLE crm.locked (id integer PRIMARY KEY, first_name text) PARTITION BY RANGE (id);
CREATE TABLE crm.locked_low PARTITION OF crm.locked FOR VALUES FROM (0) TO (1000);
SQL
$stage->settles('one more link', 'locked');
my $locking = $node->background_psql('postgres');
$locking->query_safe('BEGIN; LOCK crm.locked_low IN ACCESS EXCLUSIVE MODE');
# The worker is in the middle of its wait for the lock when the next change comes.
$stage->sql("INSERT INTO crmsync.pending (link, tier, record) SELECT id, 0, '1' FROM crmsync.link WHERE name = 'locked'; SELECT crmsync.wake()");
sleep 0.3;
$stage->goes_on($one, 'a partition of another link is locked');
$stage->until_true(sub { $stage->status('last_error', 'locked') =~ /lock timeout/ }, 'that one says why it waits');
sleep 5;
$stage->goes_on($one, 'it stays locked over a poll');
$locking->query_safe('COMMIT');
$locking->quit;
$stage->settles('unlocked, it goes on', 'locked');

# ---- an administrator who has not committed
$stage->make_another('other', 30, 'user5@example.test');
$stage->settles('yet another link', 'other');
my $administering = $node->background_psql('postgres');
for my $call ('enable_link', 'disable_link')
{
	$stage->sql("SET client_min_messages = error; SELECT crmsync.disable_link('locked'); SELECT crmsync.enable_link('locked')");
	$administering->query_safe("SET client_min_messages = error; BEGIN; SELECT crmsync.$call('locked')");
	$stage->goes_on($one, "a transaction with $call() of another link is open");
	$administering->query_safe("COMMIT; BEGIN; SELECT crmsync.enable_link('other')");
	$stage->sql("INSERT INTO crmsync.pending (link, tier, record) SELECT id, 0, i::text FROM crmsync.link, generate_series(1, 30) i WHERE name = 'other'");
	$stage->goes_on($one, 'of one that has something to do');
	$administering->query_safe('COMMIT');
}
$administering->quit;

# ---- the slow link gets there
$stage->settles('the audience has been read', 'slow', '60 s');
is(scalar(keys %{ $exchange->records($three) }), 1000, 'and its people are there');

$stage->done;
