# Both directions: what users change in their mailboxes comes into the CRM field by field, and goes on to
# the other mailboxes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;

my $stage = CrmSync::EndToEnd->new('both_ways');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm;
$stage->add_people(1, 5, $one, $two);
$stage->settles('before');
$stage->sql("SELECT crmsync.alter_link('people', direction => 'both', inbound_interval => '1 s'); SELECT crmsync.enable_link('people')");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' }, 'both mailboxes are read', 20);
is($stage->sql('SELECT count(*) FROM crmsync.listed'), '0', 'to the end');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'and all that arrived has been looked at', 20);
is($stage->sql('SELECT count(*) FROM crmsync.history WHERE action <> \'create\''), '0', 'what we wrote ourselves changes nothing');

sub user_changes
{
	my ($mailbox, $person, %set) = @_;
	$exchange->act($mailbox, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', set => \%set);
	return;
}
sub person { my ($person) = @_; return $stage->sql("SELECT concat_ws(' ', first_name, last_name) FROM crm.person WHERE id = $person") }
sub name { my ($mailbox, $person) = @_; my $item = $exchange->records($mailbox)->{$person}; return $item ? "$item->{'contacts:GivenName'} $item->{'contacts:Surname'}" : 'none' }
sub conflicts { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, property, crm_value, target_value, winner), ', ' ORDER BY id), 'none') FROM crmsync.conflicts") }
sub comes_in { my ($person, $name, $what) = @_; return $stage->until_true(sub { person($person) eq $name }, $what, 20) }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, mailbox, code, parked), ', '), 'nothing') FROM crmsync.failures") }

# ---- a field, one way and on to the others
user_changes($one, 1, 'contacts:Surname' => 'Typed');
comes_in(1, 'First1 Typed', 'what a user changes comes into the CRM');
$stage->until_true(sub { name($two, 1) eq 'First1 Typed' }, 'and goes on to the other mailbox', 20);
is(conflicts(), 'none', 'without a conflict');
is($stage->sql("SELECT old ->> 'surname', new ->> 'surname' FROM crmsync.history WHERE action = 'bring in' AND record = '1'"), 'Last1|Typed', 'the history has both values');
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE record = '1' AND shadow ->> 'surname' = 'Typed'"), '2', 'both items agree');

# ---- at once, when somebody asks
$stage->sql("SELECT crmsync.alter_link('people', inbound_interval => '1 day')");
sleep 1.5;
user_changes($one, 1, 'contacts:Surname' => 'Asked');
sleep 1.5;
is(person(1), 'First1 Typed', 'where mailboxes are read once a day nothing comes');
$stage->sync;
comes_in(1, 'First1 Asked', 'until somebody calls sync');
$stage->sql("SELECT crmsync.alter_link('people', inbound_interval => '1 s')");

# ---- different fields on both sides at once
$exchange->post('server', paused => \1);
user_changes($one, 2, 'contacts:Surname' => 'Theirs');
$stage->sql("UPDATE crm.person SET first_name = 'Ours' WHERE id = 2");
$exchange->post('server', paused => \0);
comes_in(2, 'Ours Theirs', 'each side keeps what only it has changed: in the CRM');
$stage->until_true(sub { name($one, 2) eq 'Ours Theirs' && name($two, 2) eq 'Ours Theirs' }, 'in both mailboxes', 20);
is(conflicts(), 'none', 'that is no conflict');

# ---- the same field on both sides at once
$exchange->post('server', paused => \1);
user_changes($one, 3, 'contacts:Surname' => 'Theirs');
$stage->sql("UPDATE crm.person SET last_name = 'Ours' WHERE id = 3");
$exchange->post('server', paused => \0);
$stage->until_true(sub { name($one, 3) eq 'First3 Ours' && name($two, 3) eq 'First3 Ours' }, 'the CRM wins what both have changed', 20);
is(person(3), 'First3 Ours', 'and keeps it');
is(conflicts(), '3 surname Ours Theirs crm', 'with both values noted');

$stage->sql("SELECT crmsync.alter_link('people', conflict => 'target_wins')");
$exchange->post('server', paused => \1);
user_changes($one, 3, 'contacts:Surname' => 'Users');
$stage->sql("UPDATE crm.person SET last_name = 'Crms' WHERE id = 3");
$exchange->post('server', paused => \0);
comes_in(3, 'First3 Users', 'or the mailbox wins it');
$stage->until_true(sub { name($one, 3) eq 'First3 Users' && name($two, 3) eq 'First3 Users' }, 'everywhere', 20);

# ---- the CRM refuses a value
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT no_shouting CHECK (last_name <> 'LOUD')");
user_changes($one, 4, 'contacts:Surname' => 'LOUD');
user_changes($one, 5, 'contacts:Surname' => 'Quiet');
comes_in(5, 'First5 Quiet', 'what the CRM takes comes in');
$stage->until_true(sub { failing() eq "4 $one 23514 f" }, 'beside what it refuses', 20);
like($stage->sql('SELECT message FROM crmsync.failures'), qr/no_shouting/, 'with the name of the constraint');
is($stage->status('failed'), '1', 'which the status counts');
is(person(4), 'First4 Last4', 'and which stays as it was');
user_changes($one, 4, 'contacts:Surname' => 'Soft');
comes_in(4, 'First4 Soft', 'until it changes again');
is(failing(), 'nothing', 'nothing is left');
user_changes($one, 4, 'contacts:Surname' => 'LOUD');
$stage->until_true(sub { failing() eq "4 $one 23514 f" }, 'it is refused again', 20);
$stage->sql("ALTER TABLE crm.person DROP CONSTRAINT no_shouting");
is($stage->sql("SELECT crmsync.retry('people', '4')"), '1', 'retry finds it');
comes_in(4, 'First4 LOUD', 'and has it come in');

# ---- somebody works at the row
my $session = $stage->node->background_psql('postgres');
$session->query_safe("BEGIN; UPDATE crm.person SET phone = '1' WHERE id = 2");
$exchange->forget_journal;
user_changes($one, 2, 'contacts:GivenName' => 'Patient');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival WHERE next_attempt IS NOT NULL') eq '1' }, 'a row that somebody has is waited for', 20);
sleep 3;
cmp_ok(scalar(grep { $_->{operation} eq 'GetItem' } $exchange->journal), '<=', 3, 'without asking again and again');
is(failing(), 'nothing', 'which is no failure');
$session->query_safe('COMMIT');
$session->quit;
comes_in(2, 'Patient Theirs', 'then it comes in');
is($stage->sql('SELECT phone FROM crm.person WHERE id = 2'), '1', 'and takes nothing back');

# ---- what users delete
$exchange->act($one, 'delete', match => { 'contacts:EmailAddress/EmailAddress1' => 'person5@example.com' }, folder => 'contacts');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.item WHERE state = 'absent'") eq '1' }, 'a delete is noticed', 20);
is(person(5), 'First5 Quiet', 'and does nothing in the CRM');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
$stage->settles('a comparison');
is(name($one, 5), 'none', 'a comparison does not undo it');
is(name($two, 5), 'First5 Quiet', 'the other mailbox keeps its copy');
$stage->change("UPDATE crm.person SET first_name = 'Again' WHERE id = 5");
is(name($one, 5), 'Again Quiet', 'the next change in the CRM brings it back');

# ---- the server forgets where we were
$exchange->post('mailbox', address => $one, invalidate_sync_states => \1);
user_changes($one, 1, 'contacts:Surname' => 'Later');
comes_in(1, 'First1 Later', 'a sync state that is worth nothing is got over');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE listing IS NOT NULL') eq '0' }, 'by reading the whole folder', 20);
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE state = 'linked'"), '10', 'which deletes nothing');

# ---- while nothing can be fetched, nothing is tried again and again
sub worker_ticks { my @stat = split ' ', slurp_file('/proc/' . $stage->worker_pid . '/stat'); return $stat[-1 - 51 + 13] + $stat[-1 - 51 + 14] }
$exchange->post('server', password => 'another');
$stage->until_true(sub { $stage->target("code = 'HTTP-401' AND next_attempt > now() + interval '1 min'") eq 't' }, 'the target, which has worked, is tried again, but seldom', 60);
$stage->sql('INSERT INTO crmsync.arrival (mailbox, remote_id) SELECT mailbox, remote_id FROM crmsync.item LIMIT 1; SELECT crmsync.wake()');
my $before = worker_ticks();
sleep 4;
cmp_ok(worker_ticks() - $before, '<', 100, 'what has arrived waits without work');
$exchange->post('server', password => 'secret');
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'and is looked at when the target works', 30);

# ---- a target that is paused is not read either
sub listings { return scalar grep { $_->{operation} eq 'SyncFolderItems' } $exchange->journal }
$stage->sql("SELECT crmsync.pause_target('exchange')");
sleep 1;
user_changes($one, 2, 'contacts:Surname' => 'Paused');
my $listings = listings();
sleep 3;
is(listings(), $listings, 'nobody looks into the mailboxes of a target that is paused');
$stage->sql("SELECT crmsync.resume_target('exchange')");
comes_in(2, (split ' ', person(2))[0] . ' Paused', 'what was changed meanwhile comes in afterwards');

# ---- two transactions that meet: it is done again, and nothing is put off for it
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE SEQUENCE crm.calls;
CREATE TABLE crm.meeting ();
CREATE FUNCTION crm.meets(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN IF nextval('crm.calls') = 1 OR EXISTS (SELECT FROM crm.meeting) THEN RAISE 'met' USING ERRCODE = 'serialization_failure'; END IF; RETURN $1; END $$;
SELECT nextval('crm.calls');
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.map('people', '(crm.meets(r.remark))', 'notes');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('an expression that fails once', 'people', '30 s');
$stage->sql("SELECT setval('crm.calls', 1, false); UPDATE crm.person SET first_name = 'Met' WHERE id = 2");
$stage->until_true(sub { name($one, 2) =~ /^Met / }, 'what met with another transaction goes out', 5);
cmp_ok($stage->sql('SELECT last_value FROM crm.calls'), '>', 1, 'the second time');
user_changes($one, 2, 'contacts:Surname' => 'Soon');
$stage->until_true(sub { person(2) eq 'Met Soon' }, 'and mailboxes are read as before', 5);

# ---- one that meets another every time
$stage->sql("INSERT INTO crm.meeting DEFAULT VALUES; UPDATE crm.person SET first_name = 'Again' WHERE id = 2");
$stage->until_true(sub { $stage->status('code') eq '40001' }, 'what never works is an error of the link', 10);
$stage->sql("SELECT setval('crm.calls', 2)");
sleep 4;
cmp_ok($stage->sql('SELECT last_value FROM crm.calls'), '<', 150, 'and is not tried all the time');
$stage->sql('DELETE FROM crm.meeting');
$stage->until_true(sub { name($one, 2) eq 'Again Soon' }, 'it goes on when it can', 20);

# ---- what comes while nothing can be recorded
$exchange->inject('delay', operation => 'GetItem', mailbox => $one, seconds => 4, count => 1);
user_changes($one, 1, 'contacts:Surname' => 'Meanwhile');
$stage->until_true(sub { $exchange->hits > 0 }, 'an item is being fetched', 20);
$session = $stage->node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE crmsync.arrival IN SHARE ROW EXCLUSIVE MODE');
user_changes($two, 3, 'contacts:Surname' => 'Waits');
sleep 6;
is(person(3), 'First3 Users', 'somebody is in the way of what has changed elsewhere');
$session->query_safe('COMMIT');
$session->quit;
like(slurp_file($stage->node->logfile), qr/LOG: +crmsync: (?:the worker has to try again|link "people" cannot work): canceling statement due to lock timeout/, 'the log says so');
comes_in(3, 'First3 Waits', 'which comes in when he has gone');
comes_in(1, 'First1 Meanwhile', 'and so does what was fetched');
$exchange->calm;

# ---- a crash in between
user_changes($two, $_, 'contacts:GivenName' => "Crash$_") for 1 .. 5;
$stage->node->stop('immediate');
$stage->node->start;
comes_in($_, "Crash$_ " . (split ' ', person($_))[1], "change $_ survives a crash") for 1 .. 5;
$stage->until_true(sub { join(' ', map { (split ' ', name($one, $_))[0] } 1 .. 5) eq 'Crash1 Crash2 Crash3 Crash4 Crash5' }, 'on both sides', 20);
is(scalar(keys %{ $exchange->records($_) }), 5, "nothing is doubled in $_") for $one, $two;

$stage->done;
