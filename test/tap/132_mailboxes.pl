# The columns of the relation of mailboxes: automatic, id, time_zone beside mailbox and enabled.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('mailboxes');
my $exchange = $stage->exchange;
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
$stage->make_tables;
$stage->make_target;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE TABLE crm.mailboxes (id integer, mailbox text, enabled boolean, automatic boolean, time_zone text);
INSERT INTO crm.mailboxes VALUES (1, '$one', true, true, 'Europe/Zurich'), (2, '$two', true, false, NULL);
SQL
$stage->make_link(more => "mailboxes => 'crm.mailboxes', preset => 'orocrm', match_on => '{given_name,surname}', inbound_interval => '1 s', outbound_interval => '1 s', options => '{\"compare_interval\": \"0\"}'");
$stage->add_people(1, 5, $one, $two);
$stage->settles('five people');
sub people { my ($mailbox) = @_; return $exchange->show($mailbox) }
sub user_changes { my ($mailbox, $person, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', set => \%set) }
sub person { return $stage->sql("SELECT concat_ws(' ', first_name, last_name) FROM crm.person WHERE id = $_[0]") }
sub start { my ($mailbox) = @_; $stage->sql("SELECT * FROM crmsync.sync('people', mailbox => '$mailbox')"); $stage->sql("SELECT * FROM crmsync.sync('people', wait => '20 s', mailbox => '$mailbox')"); return $stage->sql("SELECT coalesce(string_agg(started::text, ' '), 'over') FROM crmsync.mailbox WHERE address = '$mailbox'") }

# ---- automatic
is(people($one), '1:First1 2:First2 3:First3 4:First4 5:First5', 'an automatic mailbox is written to');
is(people($two), '', 'one that is not is left alone');
like($stage->sql("SELECT string_agg(concat_ws(' ', detail, hint), ' ') FROM crmsync.why('people', '1', '$two')"), qr/enabled in crm.mailboxes, and not automatic SELECT \* FROM crmsync.sync\('people', mailbox => '$two'\)/, 'why says so, and what to do');
my (undef, undef, $notice) = $stage->node->psql('postgres', "SELECT * FROM crmsync.sync('people', wait => '1 s', mailbox => '$two')");
like($notice, qr/NOTICE:  nothing goes on in mailbox "$two".*starts it/s, 'who waits for what was not asked for is told');
is(start($two), 'over', 'O6: it is started');
is(people($two), '1:First1 2:First2 3:First3 4:First4 5:First5', 'and brought up to date');
$stage->change("UPDATE crm.person SET first_name = 'Later' WHERE id = 1; DELETE FROM crm.audience WHERE record = 2");
is(people($one), '1:Later 3:First3 4:First4 5:First5', 'what the CRM changes goes to the others');
is(people($two), '1:First1 2:First2 3:First3 4:First4 5:First5', 'not to it');
user_changes($two, 3, 'contacts:Surname' => 'Typed');
sleep 3;
is(person(3), 'First3 Last3', 'nor is it read');
is(start($two), 'over', 'it is started again');
$stage->until_true(sub { people($two) eq '1:Later 3:First3 4:First4 5:First5' && person(3) eq 'First3 Typed' }, 'both directions are brought up to date', 20) or diag(people($two), person(3));
user_changes($two, 4, 'contacts:Surname' => 'Typed');
$stage->change("UPDATE crm.person SET first_name = 'Again' WHERE id = 5");
sleep 3;
is(person(4) . ' ' . (people($two) =~ /5:First5/ ? 'as before' : 'other'), 'First4 Last4 as before', 'and left alone again');
$stage->sql("BEGIN; SELECT * FROM crmsync.sync('people', mailbox => '$two'); SELECT * FROM crmsync.sync('people', mailbox => '$two'); COMMIT");
$stage->node->stop('immediate');
$stage->node->start;
$stage->until_true(sub { people($two) =~ /5:Again/ && person(4) eq 'First4 Typed' && $stage->sql("SELECT count(*) FROM crmsync.mailbox WHERE started IS NOT NULL") eq '0' }, 'a start that was asked for twice survives a crash', 30);
$stage->sql("UPDATE crm.mailboxes SET automatic = true");
$stage->settles('automatic again');
$stage->change("UPDATE crm.person SET first_name = 'Now' WHERE id = 5");
is(people($two), '1:Later 3:First3 4:First4 5:Now', 'an automatic one goes along');

# ---- enabled: what has arrived there is not asked for
$stage->sql("UPDATE crm.mailboxes SET enabled = false WHERE id = 2");
$stage->settles('one is switched off');
sleep 1.5;
$exchange->forget_journal;
$stage->sql("INSERT INTO crmsync.arrival (mailbox, remote_id) SELECT i.mailbox, i.remote_id FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox WHERE i.record = '5'; SELECT crmsync.wake()");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '1' }, 'what has arrived in another one is fetched', 20);
sleep 1.5;
is(scalar(grep { $_->{mailbox} eq $two } $exchange->journal), 0, 'nothing is asked for where nobody takes part');
$stage->sql("UPDATE crm.mailboxes SET enabled = true WHERE id = 2");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'until he does', 20);

# ---- enabled: what is under way there for a copy is not about the item that it is a copy of
$exchange->post('server', request_ms => 1000);
$exchange->act($one, 'copy', match => { 'contacts:EmailAddress/EmailAddress1' => 'person5@example.com' }, folder => 'contacts', to => 'contacts');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.sighting WHERE kind = 'stray'") eq '1' }, 'a copy is to lose its stamp', 30);
$stage->sql('UPDATE crm.mailboxes SET enabled = false WHERE id = 1');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.sighting') eq '0' }, 'then its mailbox is left alone', 20);
sleep 3;
$exchange->post('server', request_ms => 0);
is($stage->sql("SELECT i.state FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox WHERE i.record = '5' AND m.address = '$one'"), 'linked', 'the item is what it was');
my ($copy) = grep { !defined CrmSync::StandIn::key_of($_) } $exchange->items($one);
ok($copy, 'and the copy its user\'s');
$exchange->act($one, 'delete', id => $copy->{id}) if $copy;
$stage->sql('UPDATE crm.mailboxes SET enabled = true WHERE id = 1');
$stage->settles('he takes part again');

# ---- id
my @ids = sort map { $_->{id} } $exchange->items($one);
$exchange->post('mailbox', address => $one, rename_to => 'anna@example.test');
$stage->change("UPDATE crm.person SET first_name = 'Renamed' WHERE id = 1");
$stage->sql("BEGIN; UPDATE crm.mailboxes SET mailbox = 'anna\@example.test' WHERE id = 1; UPDATE crm.audience SET mailbox = 'anna\@example.test' WHERE mailbox = '$one'; COMMIT");
$stage->until_true(sub { people('anna@example.test') eq '1:Renamed 3:First3 4:First4 5:Now' }, 'a user who is renamed keeps everything', 30) or diag(people('anna@example.test'));
is(join(' ', sort map { $_->{id} } $exchange->items('anna@example.test')), join(' ', @ids), 'his items are the same');
is($stage->sql("SELECT string_agg(address || ' ' || user_id, ', ' ORDER BY user_id) FROM crmsync.mailbox"), "anna\@example.test 1, $two 2", 'and his mailbox is known by its new address');
is($stage->sql("SELECT count(*) FROM crmsync.failures"), '0', 'nothing failed');
user_changes('anna@example.test', 1, 'contacts:Surname' => 'Hers');
$stage->until_true(sub { person(1) eq 'Renamed Hers' }, 'it is read as ever', 20);

# The address goes to another user, who has another mailbox.
$exchange->post('mailboxes', address => $one);
$stage->sql("BEGIN; INSERT INTO crm.mailboxes VALUES (3, '$one', true, true); INSERT INTO crm.audience VALUES (4, '$one'); COMMIT");
$stage->until_true(sub { people($one) eq '4:First4' }, 'the old address can be somebody else\'s', 20);
is(people('anna@example.test'), '1:Renamed 3:First3 4:First4 5:Now', 'whose items are his own');

# Two users swap their addresses.
$exchange->post('mailbox', address => $two, rename_to => 'swap@example.test');
$exchange->post('mailbox', address => 'anna@example.test', rename_to => $two);
$exchange->post('mailbox', address => 'swap@example.test', rename_to => 'anna@example.test');
$stage->sql("BEGIN; UPDATE crm.mailboxes SET mailbox = CASE id WHEN 1 THEN '$two' ELSE 'anna\@example.test' END WHERE id IN (1, 2); COMMIT");
$stage->change("UPDATE crm.person SET first_name = 'Swapped' WHERE id = 3");
$stage->until_true(sub { people($two) eq '1:Renamed 3:Swapped 4:First4 5:Now' && people('anna@example.test') eq '1:Renamed 3:Swapped 4:First4 5:Now' }, 'two can swap their addresses', 30) or diag(people($two), people('anna@example.test'));
is($stage->sql("SELECT string_agg(address || ' ' || user_id, ', ' ORDER BY user_id) FROM crmsync.mailbox"), "$two 1, anna\@example.test 2, $one 3", 'and are known by them');
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE action = 'create' AND at > (SELECT max(at) FROM crmsync.history WHERE new ->> 'given_name' = 'Renamed')"), '1', 'nothing was created anew');

# ---- a user whom the audience does not name
my $fresh = 'fresh\@example.test';
$exchange->post('mailboxes', address => $fresh);
$stage->sql("INSERT INTO crm.mailboxes VALUES (4, '$fresh', true, false)");
$exchange->forget_journal;
is(start($fresh), 'over', 'a new user without records can be started');
ok((grep { $_->{mailbox} eq $fresh } $exchange->journal), 'and his mailbox is read');

# ---- a user whose mailbox takes longer to be read than all records take to be compared
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', direction => 'outbound'); SELECT crmsync.enable_link('people')");
for my $mailbox ('slow@example.test', 'slower@example.test')
{
	$exchange->post('mailboxes', address => $mailbox);
	$exchange->inject('delay', operation => 'SyncFolderItems', mailbox => $mailbox, seconds => 3, count => 1);
	$stage->sql("INSERT INTO crm.mailboxes VALUES (5 + (SELECT count(*) FROM crm.mailboxes WHERE id >= 5), '$mailbox', true, false); INSERT INTO crm.audience VALUES (1, '$mailbox')");
	is(start($mailbox), 'over', "$mailbox is started");
	is(people($mailbox), '1:Renamed', 'and over only when he has what belongs there');
	$stage->sql("SELECT crmsync.alter_link('people', direction => 'both'); SELECT crmsync.enable_link('people')");
}

# ---- a user who opts out before his mailbox was ever read
my $never = 'never@example.test';
$exchange->post('mailboxes', address => $never);
$exchange->inject('delay', operation => 'SyncFolderItems', mailbox => $never, seconds => 25, count => 1);
$stage->sql("INSERT INTO crm.mailboxes VALUES (9, '$never', true, true)");
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailbox WHERE address = '$never' AND met IS NULL") eq '1' }, 'it waits to be read', 10);
$stage->sql("UPDATE crm.mailboxes SET automatic = false WHERE id = 9");
my $asked = time;
(undef, undef, $notice) = $stage->node->psql('postgres', "SELECT * FROM crmsync.sync('people', wait => '15 s')");
cmp_ok(time - $asked, '<', 10, 'nobody waits for it any more');
unlike($notice, qr/have been read/, 'nor is anything said of it');
is($stage->sql('SELECT pending FROM crmsync.status'), '0', 'and nothing is pending');

# ---- nor for one that cannot be read at all
$stage->sql("INSERT INTO crm.audience VALUES (1, 'nobody\@example.test'); INSERT INTO crm.mailboxes VALUES (10, 'nobody\@example.test', true, true)");
$stage->until_true(sub { $stage->sql("SELECT code IS NOT NULL FROM crmsync.mailboxes WHERE mailbox = 'nobody\@example.test'") eq 't' }, 'a mailbox that does not exist', 10);
$stage->until_true(sub { $stage->sql('SELECT state, pending FROM crmsync.status') eq 'idle|0' }, 'is nothing that is still to be done', 10) or diag($stage->sql('SELECT state, pending FROM crmsync.status'));
my $alerts = "SELECT count(*) FROM crmsync.alerts WHERE name = 'nobody\@example.test'";
is($stage->sql($alerts), '1', 'but somebody may have to mend it');
$stage->sql('UPDATE crm.mailboxes SET enabled = false WHERE id = 10');
$stage->until_true(sub { $stage->sql($alerts) eq '0' }, 'unless it takes part no more', 10);
$stage->sql('UPDATE crm.mailboxes SET enabled = true WHERE id = 10');
$stage->until_true(sub { $stage->sql($alerts) eq '1' }, '... for a while', 10);

$stage->done;
