# What follows when a user deletes an item: it is made again, or its record is deleted in the CRM, through
# the guard, and never where others have it, too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('on_target_delete');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub user { my ($does, $person, %more) = @_; return $exchange->act($one, $does, match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', %more) }
sub alter { my ($settings) = @_; $stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', $settings); SELECT crmsync.enable_link('people')"); return }
sub is_there { my ($person, $mailbox) = @_; return exists $exchange->records($mailbox // $one)->{$person} ? 1 : 0 }
sub people { return $stage->sql("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), 'nobody') FROM crm.person") }
sub states { return $stage->sql("SELECT coalesce(string_agg(record || ' ' || state, ', ' ORDER BY record::integer), 'none') FROM crmsync.items WHERE mailbox = '$one' AND state <> 'linked'") }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code, message), ', ' ORDER BY record), 'nothing') FROM crmsync.failures") }
sub conflicts { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', kind, record, mailbox), ', ' ORDER BY id), 'none') FROM crmsync.conflicts") }
sub is_read { return $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }

# Until all that there is has been read twice, so that the server will say when it goes.
sub read_all { $stage->until_true(\&is_read, "$_[0]: the mailboxes are read", 20); sleep 2.5; return }

# ---- recreate: a link that only writes asks what is no longer there
$stage->make_crm(more => "on_target_delete => 'recreate', inbound_interval => '1 s'");
$stage->add_people(1, 6, $one, $two);
$stage->settles('six people');
read_all('outbound');
user('update', 1, set => { 'contacts:Surname' => 'Typed' });
user('delete', 2);
$stage->until_true(sub { is_there(2) }, 'recreate: what a user has deleted is made again, though the CRM changes nothing', 20);
is($exchange->records($one)->{1}{'contacts:Surname'} . ' ' . $stage->sql('SELECT last_name FROM crm.person WHERE id = 1'), 'Typed Last1', 'what he has changed stays on both sides');
is($exchange->requests('GetItem'), 1, 'and is not even fetched');
$stage->change("UPDATE crm.person SET phone = '1' WHERE id = 1");
is($exchange->records($one)->{1}{'contacts:Surname'}, 'Typed', 'nor overwritten by another field');
$stage->sql("DELETE FROM crm.audience WHERE record = 3 AND mailbox = '$one'");
$stage->settles('one leaves the audience');
ok(!is_there(3), 'it goes, and we are not surprised');
sleep 2.5;
ok(!is_there(3), 'nor make it again');
$stage->sql("INSERT INTO crm.audience VALUES (3, '$one')");
$stage->settles('it is back');
read_all('again');
user('move', 4, to => 'deleteditems');
$exchange->act($one, 'move', match => { 'contacts:EmailAddress/EmailAddress1' => 'person4@example.com' }, folder => 'deleteditems', to => 'contacts');
sleep 4;
is_deeply([ sort keys %{ $exchange->records($one) } ], [ 1 .. 6 ], 'what was away and has come back is not doubled');
$exchange->forget_journal;
sleep 2.5;
is(scalar(grep { $_->{operation} ne 'SyncFolderItems' } $exchange->journal), 0, 'then there is nothing to do');

# ---- recreate in both directions
alter("direction => 'both'");
read_all('both');
user('delete', 5);
$stage->until_true(sub { states() ne 'none' || is_there(5) }, 'a delete is noticed', 20);
$stage->until_true(sub { is_there(5) }, 'both: and it is made again', 20);

# ---- delete: the record goes, when it is nobody else's
alter("on_target_delete => 'delete'");
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two' AND record > 2");
$stage->settles('most are of one mailbox alone');
$stage->sql('CREATE TABLE crm.opinion (person integer CONSTRAINT opinion_of_person REFERENCES crm.person); INSERT INTO crm.opinion VALUES (4)');
read_all('delete');
user('delete', $_) for 2 .. 4;
$stage->until_true(sub { people() eq '1 2 4 5 6' }, 'delete: the record is deleted in the CRM', 20) or diag(people(), states());
$stage->until_true(sub { failing() =~ /^4 23503 .*opinion_of_person/ }, 'one that the CRM does not let go is parked, with the name of the constraint', 20) or diag(failing());
is(conflicts(), "delete 2 $one", 'one that somebody else has, too, is for somebody to decide');
is($stage->status('conflicts'), '1', 'which the status counts');
like($stage->sql("SELECT message || '|' || hint FROM crmsync.alerts WHERE message ~ 'decision'"), qr/^1 conflicts wait for a decision\|See crmsync.conflicts/, 'and an alert names');
is(is_there(2, $two) . is_there(2), '10', 'he keeps it');
is($stage->sql("SELECT action, old ->> 'given_name' FROM crmsync.history WHERE record = '3' AND action = 'delete record'"), 'delete record|First3', 'the history has what was deleted');
like($stage->sql("SELECT string_agg(detail, ' ') FROM crmsync.why('people', '4', '$one')"), qr/the record is to be deleted since/, 'why knows');
$stage->sql("DROP TABLE crm.opinion; SELECT crmsync.retry('people', '4')");
$stage->until_true(sub { people() eq '1 2 5 6' }, 'when it may go it goes', 20);
is(failing(), 'nothing', 'and the failure with it');

# What is back before it is looked for again is not gone, whoever finds it.
$stage->sql('CREATE TABLE crm.opinion (person integer CONSTRAINT opinion_of_person REFERENCES crm.person); INSERT INTO crm.opinion VALUES (5)');
user('move', 5, to => 'deleteditems');
$stage->until_true(sub { failing() =~ /^5 23503/ }, 'one that the CRM does not let go', 20) or diag(failing());
alter("inbound_interval => '1 day'");
sleep 2.5;
$exchange->act($one, 'move', match => { 'contacts:EmailAddress/EmailAddress1' => 'person5@example.com' }, folder => 'deleteditems', to => 'contacts');
$stage->sql("SELECT crmsync.resync('people', '$one')");
$stage->until_true(sub { $stage->nothing_to_repair }, 'and resync finds again', 20);
is(states(), 'none', 'is there again');

# A link that reads no more has nothing left of what it has read.
alter("inbound_interval => '1 s'");
user('move', 5, to => 'deleteditems');
$stage->until_true(sub { failing() =~ /^5 23503/ }, 'one that is not let go again', 20) or diag(failing());
$stage->sql("INSERT INTO crmsync.arrival (mailbox, remote_id, next_attempt) SELECT id, 'nobody', now() + interval '1 day' FROM crmsync.mailbox WHERE address = '$one'");
alter("direction => 'outbound', on_target_delete => 'ignore', reset => '{inbound_interval}'");
$stage->change("UPDATE crm.person SET phone = '55' WHERE id = 5");
ok(is_there(5), 'what its user has deleted is made again when the record changes');
is($stage->sql('SELECT count(*) FROM crmsync.arrival'), '0', 'and nothing is to come in');
$stage->sql("SELECT crmsync.resync('people', '$one')");
$stage->until_true(sub { $stage->nothing_to_repair }, 'so that resync ends', 20);
alter("direction => 'both', on_target_delete => 'delete', inbound_interval => '1 s'");
$stage->sql("DROP TABLE crm.opinion; SELECT crmsync.retry('people', '5')");
read_all('back');
is(people(), '1 2 5 6', 'and stays in the CRM');

# What its user changes while it waits to be deleted comes in when its record is back.
alter("options => '{\"min_deletes\": 0, \"max_delete_percent\": 0}'");
$stage->sql('CREATE TABLE crm.kept AS SELECT * FROM crm.person WHERE id = 6; DELETE FROM crm.person WHERE id = 6');
$stage->until_true(sub { states() =~ /6 leaving/ }, 'a delete is held', 20);
user('update', 6, set => { 'contacts:Surname' => 'Meanwhile' });
read_all('held');
$stage->sql('INSERT INTO crm.person SELECT * FROM crm.kept; DROP TABLE crm.kept');
$stage->until_true(sub { $stage->sql('SELECT last_name FROM crm.person WHERE id = 6') eq 'Meanwhile' }, 'its record is back, and has what its user has typed', 20) or diag(states(), failing());
$stage->change("UPDATE crm.person SET last_name = 'Last6' WHERE id = 6");
alter("reset => '{min_deletes,max_delete_percent}'");

# A link whose owner is not there for a moment keeps what has arrived; that it cannot work is seen though it has
# nothing to do.
$stage->until_true(sub { $stage->status('state') eq 'idle' }, 'there is nothing to do', 20);
$stage->sql("INSERT INTO crmsync.arrival (mailbox, remote_id, next_attempt) SELECT id, 'nobody', now() + interval '1 day' FROM crmsync.mailbox WHERE address = '$one'");
$stage->sql("ALTER ROLE crm_owner RENAME TO nobody_else; SELECT crmsync.pause_target('exchange'), crmsync.resume_target('exchange')");
$stage->until_true(sub { $stage->status('state') eq 'broken' }, 'the owner is renamed', 20);
$stage->sql("ALTER ROLE nobody_else RENAME TO crm_owner");
alter("reset => '{min_deletes}'");
is($stage->sql('SELECT count(*) FROM crmsync.arrival'), '1', 'what had arrived has not gone');
$stage->sql("DELETE FROM crmsync.arrival WHERE remote_id = 'nobody'");
$stage->change("UPDATE crm.person SET phone = '2' WHERE id = 2");
ok(is_there(2), 'what nobody has decided comes back when the CRM changes it');
is(conflicts(), 'none', 'and then there is nothing to decide');

# ---- a trigger that keeps the row
$stage->sql('CREATE FUNCTION crm.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER keep BEFORE DELETE ON crm.person FOR EACH ROW EXECUTE FUNCTION crm.keep()');
user('delete', 5);
$stage->until_true(sub { failing() =~ /^5 09000 the row was not deleted: a trigger/ }, 'a row that a trigger keeps is parked', 20);
$stage->sql('DROP TRIGGER keep ON crm.person');
$stage->change("UPDATE crm.person SET phone = '5' WHERE id = 5");
$stage->until_true(sub { is_there(5) && people() =~ /5/ }, 'when the CRM changes it meanwhile it comes back instead', 20);
is(failing(), 'nothing', 'and nothing is left over');

# ---- only moved
read_all('moving');
$exchange->post('server', paused => \1);
user('move', 6, to => 'deleteditems');
$exchange->act($one, 'move', match => { 'contacts:EmailAddress/EmailAddress1' => 'person6@example.com' }, folder => 'deleteditems', to => 'contacts');
$exchange->post('server', paused => \0);
sleep 4;
is(people() . ' ' . is_there(6), '1 2 5 6 1', 'what was away for a moment is deleted nowhere');

# ---- the guard: who empties his folder does not empty the CRM
$stage->add_people(101, 140, $one);
$stage->settles('many more');
read_all('many');
$exchange->post('server', paused => \1);
user('delete', $_) for 101 .. 140;
$exchange->post('server', paused => \0);
$stage->until_true(sub { ($stage->status('state') // '') eq 'held' }, 'very many deletes are held', 30) or diag($stage->sql('SELECT * FROM crmsync.status'), states());
sleep 3;
is($stage->sql('SELECT count(*) FROM crm.person WHERE id > 100'), '40', 'and none is done');
is($stage->sql("SELECT string_agg(DISTINCT reason, ' ') FROM crmsync.plan('people') WHERE action = 'delete record'"), 'its user has deleted the item; held by the guard: waits for crmsync.confirm_deletes', 'plan says so');
like($stage->sql("SELECT string_agg(message || hint, ' ') FROM crmsync.alerts"), qr/40 deletes in \d mailboxes wait.*confirm_deletes/, 'and an alert');
$stage->change("UPDATE crm.person SET phone = '101' WHERE id = 101");
$stage->until_true(sub { is_there(101) }, 'one that the CRM needs comes back', 20);
$stage->sql("CREATE TABLE crm.participant (mailbox text PRIMARY KEY, enabled boolean NOT NULL DEFAULT true); ALTER TABLE crm.participant OWNER TO crm_owner; INSERT INTO crm.participant VALUES ('$one'), ('$two')");
$stage->sql("SELECT crmsync.disable_link('people')");
alter("mailboxes => 'crm.participant'");
sub is_at { my ($state, $name) = @_; $stage->until_true(sub { $stage->status("state || ' ' || pending") eq $state }, $name, 20) or diag($stage->sql('SELECT * FROM crmsync.status; SELECT * FROM crmsync.backlog')); return }
is_at('held 39', 'all others are still held');
$stage->sql("UPDATE crm.participant SET enabled = false WHERE mailbox = '$one'");
is_at('idle 0', 'those of a mailbox that takes no part any more are not waited for');
is($stage->sql("SELECT string_agg(kind || ' ' || records, ', ') FROM crmsync.backlog"), 'left alone 39', 'the backlog has them');
is($stage->sql('SELECT count(*) FROM crm.person WHERE id > 100'), '40', 'and their records stay');
$stage->sql('UPDATE crm.participant SET enabled = true');
is_at('held 39', 'it takes part again, and they are held again');
is($stage->sql("SELECT crmsync.confirm_deletes('people', expected => 39)"), '39', 'somebody has looked at them');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crm.person WHERE id > 100') eq '1' }, 'then they go', 20);
$stage->until_true(sub { $stage->status('state') eq 'idle' }, 'and the link is at rest', 20);

# ---- another policy
read_all('one is back');
user('delete', 101);
$stage->sql("BEGIN; SELECT FROM crm.person WHERE id = 101 FOR UPDATE; SELECT pg_sleep(4); COMMIT");
$stage->until_true(sub { people() eq '1 2 5 6' }, 'a row that somebody works at is waited for', 20) or diag(people(), states(), failing(), $stage->sql('SELECT * FROM crmsync.arrival'), is_there(101));
$stage->sql('ALTER TABLE crm.person ADD CONSTRAINT never CHECK (id <> 0); CREATE TRIGGER keep BEFORE DELETE ON crm.person FOR EACH ROW EXECUTE FUNCTION crm.keep()');
user('delete', 6);
$stage->until_true(sub { failing() =~ /^6 09000/ }, 'another is refused', 20);
alter("on_target_delete => 'ignore'");
$stage->until_true(sub { states() eq '6 absent' }, 'when the policy changes it is to stay', 20) or diag(states());
$stage->sql('DROP TRIGGER keep ON crm.person');
$stage->settles('nothing more is to be done');
is(people(), '1 2 5 6', 'and stays');

# ---- what was left to its user, who has deleted it before the CRM wants it there again
alter("on_target_delete => 'delete', on_audience_loss => 'unlink', inbound_interval => '1 h'");
$stage->until_true(\&is_read, 'the mailboxes are read once more', 20);
$stage->settles('all that was to be done is done');
$stage->sql("DELETE FROM crm.audience WHERE record = 5 AND mailbox = '$one'");
$stage->until_true(sub { states() =~ /5 unlinked/ }, 'it is left to him', 20) or diag(states());
user('delete', 5);
$stage->sql("INSERT INTO crm.audience VALUES (5, '$one')");
$stage->until_true(sub { is_there(5) }, 'it is made anew', 20) or diag(states(), failing());
is(people(), '1 2 5 6', 'and nothing is deleted for it');

$stage->done;
