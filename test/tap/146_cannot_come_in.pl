# What a user has changed cannot come in, and the CRM changes the same record: the write waits for it, and nobody is
# asked again and again meanwhile.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('cannot_come_in');
my $exchange = $stage->exchange;
my ($one, $two) = map { "user$_\@example.test" } 1 .. 2;
my $both = "direction => 'both', inbound_interval => '1 s', conflict => 'target_wins'";

sub user_changes { my ($person, $surname, $mailbox) = @_; return $exchange->act($mailbox // $one, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', set => { 'contacts:Surname' => $surname }) }
sub shown { my ($person) = @_; my $item = $exchange->records($one)->{$person}; return join ' ', @$item{qw(contacts:GivenName contacts:Surname)} }

# It was asked for a few times, and then left alone.
sub is_left_alone
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$exchange->forget_journal;
	sleep 3;
	cmp_ok($exchange->requests('GetItem'), '<', 10, "$what: nobody is asked again and again");
	return;
}
sub goes_on
{
	my ($person, $shown, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->until_true(sub { shown($person) eq $shown && $stage->sql("SELECT concat_ws(' ', first_name, last_name) FROM crm.person WHERE id = $person") eq $shown }, "$what: what both have changed is on both sides", 30)
	  or diag(shown($person), $stage->sql("SELECT * FROM crm.person WHERE id = $person; SELECT * FROM crmsync.arrival; SELECT * FROM crmsync.pending"));
	$stage->settles($what);
	return;
}

$stage->make_crm(more => $both);
$stage->add_people(1, 3, $one);
$stage->settles('before');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '1' }, 'the mailbox is read', 20);

# ---- the CRM refuses it
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT no_bad CHECK (last_name <> 'Bad')");
$exchange->post('server', paused => \1);
user_changes(2, 'Bad');
$stage->sql("UPDATE crm.person SET first_name = 'Ours' WHERE id = 2");
$exchange->post('server', paused => \0);
$stage->until_true(sub { $stage->failures =~ /^2 23514/ }, 'refused: it is a failure', 20);
is_left_alone('refused');
is(shown(2), 'First2 Bad', 'refused: and nothing is written over it');
$stage->sql("ALTER TABLE crm.person DROP CONSTRAINT no_bad; SELECT crmsync.retry('people')");
goes_on(2, 'Ours Bad', 'refused, then taken');

# ---- somebody has the row
my $holder = $stage->node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT FROM crm.audience WHERE record = 3; SELECT FROM crm.person WHERE id = 3 FOR UPDATE');
$exchange->post('server', paused => \1);
user_changes(3, 'His');
$stage->sql("INSERT INTO crmsync.pending (link, tier, record) SELECT id, 1, '3' FROM crmsync.link; UPDATE crmsync.item SET shadow = NULL WHERE record = '3'");
$exchange->post('server', paused => \0);
is_left_alone('held');
$holder->query_safe("UPDATE crm.person SET first_name = 'Held' WHERE id = 3; COMMIT");
$holder->quit;
goes_on(3, 'First3 His', 'held, then free');

# ---- it is refused as if somebody had changed it
$exchange->inject('response', operation => 'UpdateItem', code => 'ErrorIrresolvableConflict', message => 'changed', count => 0);
$stage->sql("UPDATE crm.person SET first_name = 'Unwritten' WHERE id = 2");
$stage->until_true(sub { $stage->failures =~ /^2 ErrorIrresolvableConflict/ }, 'refused for no reason: it is a failure', 20) or diag($stage->failures);
is_left_alone('refused for no reason');
$exchange->calm;
$stage->sql("SELECT crmsync.retry('people')");
goes_on(2, 'Unwritten Bad', 'refused for no reason, then taken');

# ---- the CRM refuses what two users have made of it; or one, while the mailbox of the other takes its time
$stage->add_people(4, 4, $one, $two);
$stage->settles('in two mailboxes');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' }, 'both mailboxes are read');
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT no_awful CHECK (last_name <> 'Awful')");
user_changes(4, 'Awful', $_) for $one, $two;
$stage->until_true(sub { $stage->failures eq '4 23514, 4 23514' }, 'refused twice: it is two failures');
sub is_decided_once
{
	my ($failed, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join(' ', $stage->sync), "0 $failed", "$what: nothing is waited for");
	cmp_ok($exchange->requests('UpdateItem'), '<', 10, "$what: nor written again and again");
	is_left_alone($what);
	return;
}
$exchange->forget_journal;
$stage->sql("UPDATE crm.person SET first_name = 'Both' WHERE id = 4");
is_decided_once(2, 'refused twice');
is_deeply([ map { $exchange->records($_)->{4}{'contacts:GivenName'} } $one, $two ], [ 'First4', 'First4' ], 'refused twice: and nothing is written over it');
user_changes(4, 'Last4', $two);
$stage->until_true(sub { $stage->failures eq '4 23514' && $exchange->records($two)->{4}{'contacts:GivenName'} eq 'Both' }, 'refused twice, then once: the other gets what the CRM has');
$exchange->forget_journal;
$exchange->inject('delay', operation => 'UpdateItem', mailbox => $two, seconds => 4, count => 1);
$stage->sql("UPDATE crm.person SET first_name = 'Slow' WHERE id = 4");
is_decided_once(1, 'refused beside a slow one');
is($exchange->records($two)->{4}{'contacts:GivenName'}, 'Slow', 'refused beside a slow one: which is written');
$stage->sql("ALTER TABLE crm.person DROP CONSTRAINT no_awful; SELECT crmsync.retry('people')");
goes_on(4, 'Slow Awful', 'refused beside a slow one, then taken');
$stage->until_true(sub { $exchange->records($two)->{4}{'contacts:Surname'} eq 'Awful' }, 'refused beside a slow one, then taken: and the other gets it');
$stage->sql('DELETE FROM crm.person WHERE id = 4');
$stage->settles('in one mailbox');

# ---- its user has taken it back by the time that the CRM writes, and nobody has read that
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT no_odd CHECK (last_name <> 'Odd')");
user_changes(3, 'Odd');
$stage->until_true(sub { $stage->failures eq '3 23514' }, 'taken back: first it is a failure');
$stage->sql("SELECT crmsync.alter_link('people', inbound_interval => '1 h')");
$stage->until_true(sub { my $read = $exchange->requests('SyncFolderItems'); sleep 2; return $exchange->requests('SyncFolderItems') == $read }, 'taken back: the mailbox is left alone');
$exchange->forget_journal;
user_changes(3, 'His');
$stage->sql("UPDATE crm.person SET first_name = 'Third' WHERE id = 3");
$stage->until_true(sub { shown(3) eq 'Third His' }, 'taken back: then it is written');
$stage->until_true(sub { $stage->failures eq 'none' }, 'taken back: and the failure is over') or diag($stage->sql('SELECT * FROM crmsync.failures'));
is($exchange->requests('SyncFolderItems'), 0, 'taken back: which was not read in the folder');
$stage->sql("ALTER TABLE crm.person DROP CONSTRAINT no_odd; SELECT crmsync.alter_link('people', inbound_interval => '1 s')");
goes_on(3, 'Third His', 'taken back, then read');

# ---- its user changes it again, or deletes it, while it is being read; and the folder is read in the same moment
sub changes_while_read
{
	my ($person, $surname, $again, $what) = @_;
	$exchange->calm;
	$exchange->inject('delay', operation => 'GetItem', mailbox => $one, seconds => 3, count => 1);
	user_changes($person, $surname);
	$stage->until_true(sub { $exchange->hits > 0 }, "$what: it is read");
	$again->();
	$exchange->calm;
	return;
}
changes_while_read(3, 'Early', sub { user_changes(3, 'Later') }, 'changed again');
$stage->until_true(sub { $stage->sql('SELECT last_name FROM crm.person WHERE id = 3') eq 'Later' }, 'changed again: the CRM gets what is there', 20) or diag($stage->sql('SELECT last_name FROM crm.person WHERE id = 3'));

# ---- only what comes in meets an error of the link's: everything is compared once for it, not every time
my $asked = sub { return $stage->sql('SELECT comparison_asked FROM crmsync.link_state') };
my $met = sub { return $stage->sql("SELECT coalesce(max(last_error_at)::text, '') FROM crmsync.link_state WHERE code = '42501'") };
$stage->sql('REVOKE UPDATE ON crm.person FROM crm_owner');
user_changes(3, 'Kept');
$stage->until_true(sub { $met->() ne '' }, 'no right: the link says so', 20);
my ($first, $compared) = ($met->(), $asked->());
$stage->until_true(sub { $met->() ne $first }, 'no right: it is tried again', 60);
is($asked->(), $compared, 'no right: and nothing is compared again for that');
$stage->sql("GRANT UPDATE ON crm.person TO crm_owner; SELECT crmsync.retry('people')");
$stage->until_true(sub { $stage->sql('SELECT last_name FROM crm.person WHERE id = 3') eq 'Kept' }, 'no right, then given back: it comes in', 60);
$stage->settles('no right, then given back');

# ---- of a link that is created anew nothing is known
$stage->sql("SELECT crmsync.drop_link('people')");
user_changes(1, 'Worse');
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT no_worse CHECK (last_name <> 'Worse')");
$stage->make_link(more => $both);
$stage->until_true(sub { $stage->failures =~ /^1 23514/ }, 'anew: refused', 20) or diag($stage->failures);
is_left_alone('anew');
like($stage->sql("SELECT string_agg(step || ' ' || detail, '|') FROM crmsync.why('people', '1', 'user1\@example.test')"), qr/failure 23514/, 'and why says so');
$stage->sql("ALTER TABLE crm.person DROP CONSTRAINT no_worse; SELECT crmsync.retry('people')");
goes_on(1, 'First1 Worse', 'anew, then taken');

$stage->done;
