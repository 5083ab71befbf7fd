# undo: what crmsync has overwritten is brought back, in mailboxes and, where they are read, in the CRM. What
# somebody has changed since stays, and the history says so; a crash costs nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('undo', conf => 'restart_after_crash = on');
my $exchange = $stage->exchange;
my ($one, $two) = map { "user$_\@example.test" } 1 .. 2;
$stage->make_crm;
$stage->add_people(1, 300, $one);
$stage->sql("INSERT INTO crm.audience SELECT i, '$two' FROM generate_series(1, 9) i");
$stage->settles('three hundred people');

sub now_there { return $stage->sql('SELECT clock_timestamp()') }
sub undo { my ($since, $mailbox) = @_; $stage->sql("SET client_min_messages = error; SELECT crmsync.undo('people', '$since'" . ($mailbox ? ", '$mailbox'" : '') . ')'); return $stage->settles('undone') }
sub name { my ($mailbox, $person) = @_; my $item = $exchange->records($mailbox)->{$person} // return 'none'; return join ' ', map { $item->{$_} // '-' } qw(contacts:GivenName contacts:Surname contacts:FileAs) }
sub user_changes { my ($mailbox, $person, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', set => \%set) }
sub history { my ($person, $action) = @_; return $stage->sql("SELECT string_agg(concat_ws(' ', result, code, old ->> 'surname', new ->> 'surname', message), ', ' ORDER BY at, mailbox) FROM crmsync.history WHERE record = '$person' AND action LIKE '$action'") }

# ---- what is refused
like($stage->error("SELECT crmsync.undo('people', NULL)"), qr/undo needs a time in the past/, 'NULL is no time');
like($stage->error("SELECT crmsync.undo('people', now() + interval '1 day')"), qr/undo needs a time in the past/, 'nor is the future one');
like($stage->error("SELECT crmsync.undo('people', now(), 'nobody\@example.test')"), qr/has no mailbox "nobody/, 'nor nobody a mailbox');

# ---- fields of items
my $before = now_there();
$stage->change("UPDATE crm.person SET last_name = 'Wrong' WHERE id <= 3");
$stage->change("UPDATE crm.person SET last_name = 'Worse' WHERE id = 1");
user_changes($one, 2, 'contacts:Surname' => 'Typed');
$stage->change("UPDATE crm.person SET last_name = 'Right' WHERE id = 3");
user_changes($two, 3, 'contacts:GivenName' => 'Another');
is(name($one, 1), 'First1 Worse Worse, First1', 'the CRM overwrites');
undo($before, $one);
is(name($one, 1), 'First1 Last1 Last1, First1', 'the value before the first of several changes comes back, and the item is filed by it');
is(name($two, 1), 'First1 Worse Worse, First1', 'only in the mailbox that was named');
is(name($one, 2), 'First2 Typed Wrong, First2', 'what its user has changed since stays');
is(history(2, 'undo'), 'failed CHANGED changed again meanwhile: surname', 'and the history says so');
is(history(1, 'undo'), 'done Worse Last1', 'it also says what was brought back');
is($stage->sql("SELECT string_agg(last_name, ' ' ORDER BY id) FROM crm.person WHERE id <= 3"), 'Worse Wrong Right', 'the CRM keeps its values');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
$stage->settles('a comparison');
is(name($one, 1), 'First1 Last1 Last1, First1', 'a comparison does not undo the undoing');
$stage->change("UPDATE crm.person SET first_name = 'Ann' WHERE id = 1");
is(name($one, 1), 'Ann Last1 Worse, Ann', 'nor does another field');
$stage->change("UPDATE crm.person SET last_name = 'New' WHERE id = 1");
is(name($one, 1), 'Ann New New, Ann', 'a change of the field does');
undo($before);
is(name($two, 3), 'Another Last3 Last3, First3', 'of all mailboxes: a change of another field is nobody\'s hindrance');
is(name($one, 1), 'First1 Last1 Last1, First1', 'twice is once');
is($stage->sql("SELECT count(*) FROM crmsync.undoing"), '0', 'nothing is left to do');

# ---- deletes
my $then = now_there();
$stage->change("DELETE FROM crm.person WHERE id = 4; DELETE FROM crm.audience WHERE record = 5 AND mailbox = '$one'");
is(name($one, 4) . name($one, 5), 'nonenone', 'two items are deleted');
my $count = () = $exchange->items($one);
$exchange->inject('lost', operation => 'CreateItem');
undo($then);
my @back = sort map { $_->{properties}{'contacts:Surname'} . (defined CrmSync::StandIn::key_of($_) ? '*' : '') . ' ' . ($_->{properties}{'contacts:PhoneNumber/BusinessPhone'} // '') } grep { $_->{properties}{'contacts:Surname'} =~ /^Last[45]$/ } $exchange->items($one);
is(join(', ', @back), 'Last4 +49 30 4, Last5 +49 30 5', 'deleted items are created again, as their user\'s own');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
$stage->settles('a comparison');
is(scalar(() = $exchange->items($one)), $count + 2, 'and stay');
$stage->change("INSERT INTO crm.audience VALUES (5, '$one')");
is(scalar(() = $exchange->items($one)), $count + 2, 'one that the CRM wants back is the same');
like(name($one, 5), qr/^First5 Last5/, 'and in step with it');
$stage->change("DELETE FROM crm.audience WHERE record = 5 AND mailbox = '$one'");
is(scalar(() = $exchange->items($one)), $count + 2, 'when it no longer does it stays its user\'s');
is(name($one, 5), 'none', 'without our stamp');

# ---- many, and crashes
my $many = now_there();
$stage->change("UPDATE crm.person SET last_name = 'Crowd' WHERE id > 100");
is(scalar(grep { $_->{'contacts:Surname'} eq 'Crowd' } values %{ $exchange->records($one) }), 200, 'many are overwritten');
$exchange->post('server', item_ms => 10);
$stage->sql("SELECT crmsync.undo('people', '$many')");
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.undoing") > 0 }, 'what is to be done is noted', 20);
$stage->until_true(sub { my $left = $stage->sql("SELECT count(*) FROM crmsync.undoing"); $left > 0 && $left < 200 }, 'some of it is done', 20);
like($stage->sql("SELECT kind FROM crmsync.backlog WHERE link = 'people'"), qr/undo/, 'the backlog counts the rest');
my $pid = $stage->worker_pid;
kill 'KILL', $pid;
$stage->until_true(sub { !kill 0, $pid }, 'the worker is killed', 5);
$stage->until_true(sub { $stage->answers }, 'the server is back', 30);
$exchange->inject('lost', operation => 'UpdateItem');
$exchange->post('server', item_ms => 0);
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.undoing") eq '0' }, 'after a crash and a lost answer it goes on', 60);
my $records = $exchange->records($one);
is(scalar(grep { $records->{$_}{'contacts:Surname'} eq "Last$_" } 101 .. 300), 200, 'to the end');

# ---- both directions
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', direction => 'both', inbound_interval => '1 s'); SELECT crmsync.enable_link('people')");
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL") eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'the mailboxes are read', 30);
sub person { return $stage->sql("SELECT concat_ws(' ', first_name, last_name) FROM crm.person WHERE id = $_[0]") }
my $both = now_there();
user_changes($two, 7, 'contacts:Surname' => 'Vandal');
user_changes($two, 8, 'contacts:Surname' => 'Vandal');
$stage->until_true(sub { person(7) eq 'First7 Vandal' && person(8) eq 'First8 Vandal' && name($one, 8) =~ /Vandal/ && name($one, 7) =~ /Vandal/ }, 'what a user writes is everywhere', 30);
$stage->change("UPDATE crm.person SET last_name = 'Mended' WHERE id = 8");
$stage->change("UPDATE crm.person SET last_name = 'Overwritten' WHERE id = 9");
undo($both);
$stage->until_true(sub { person(7) eq 'First7 Last7' && name($one, 7) =~ /Last7 / && name($two, 7) =~ /Last7 / }, 'in the CRM, too, the old value comes back, and goes on to all', 30) or diag(person(7), name($one, 7), name($two, 7));
is(history(7, 'undo bring in'), 'done Vandal Last7', 'which the history says');
like(history(8, 'undo bring in'), qr/CHANGED changed again meanwhile: surname/, 'what the CRM has changed since stays there');
$stage->until_true(sub { person(9) eq 'First9 Last9' && name($one, 9) =~ /Last9 / && name($two, 9) =~ /Last9 / }, 'what comes back in a mailbox comes into the CRM, as if its user had written it', 30) or diag(person(9), name($one, 9), name($two, 9));
$stage->until_true(sub { $stage->sql('SELECT (SELECT count(*) FROM crmsync.arrival) + (SELECT count(*) FROM crmsync.undoing) + (SELECT count(*) FROM crmsync.pending)') eq '0' }, 'then all is quiet', 20);

# ---- a row that cannot be read for the moment
my $readable = now_there();
$stage->sql("SET client_min_messages = error; SELECT crmsync.map('people', '((1 / length(r.remark))::text)', 'job_title'); SELECT crmsync.enable_link('people')");
user_changes($two, 6, 'contacts:Surname' => 'Vandal');
$stage->until_true(sub { person(6) eq 'First6 Vandal' && name($one, 6) =~ /Vandal/ }, 'a user changes another', 30);
$stage->sql("UPDATE crm.person SET remark = '' WHERE id = 6");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.failures') ne '0' }, 'its row cannot be read', 20);
$stage->sql("SET client_min_messages = error; SELECT crmsync.undo('people', '$readable')");
$stage->until_true(sub { history(6, 'undo bring in') =~ /^failed/ }, 'and is not brought back', 20);
is(history(6, 'undo bring in'), 'failed 22012 division by zero', 'the history says why');
$stage->change("UPDATE crm.person SET remark = 'x' WHERE id = 6; SELECT crmsync.retry('people', '6')");
$stage->until_true(sub { $stage->sql('SELECT (SELECT count(*) FROM crmsync.failures) + (SELECT count(*) FROM crmsync.arrival)') eq '0' }, 'when it can be read all goes on', 20);

# ---- a user whose address has changed, and somebody else who has it now
my ($old, $new) = ('old@example.test', 'new@example.test');
$exchange->post('mailboxes', address => $old);
$stage->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.staff (id integer PRIMARY KEY, mailbox text NOT NULL);
CREATE TABLE crm.staff_audience (record integer, mailbox text, PRIMARY KEY (record, mailbox));
INSERT INTO crm.staff VALUES (1, '$old');
INSERT INTO crm.staff_audience SELECT i, '$old' FROM generate_series(21, 23) i;
RESET ROLE;
SELECT crmsync.create_link('staff', 'exchange', 'contact', 'crm.person', audience => 'crm.staff_audience', mailboxes => 'crm.staff', folder => 'Staff');
SELECT crmsync.map('staff', 'first_name', 'given_name');
SELECT crmsync.map('staff', 'last_name', 'surname');
SELECT crmsync.enable_link('staff');
SQL
$stage->settles('one of the staff', 'staff');
sub staff { return join ', ', sort map { $_->{properties}{'contacts:Surname'} . (defined CrmSync::StandIn::key_of($_) ? '' : ' of his own') } $exchange->items($_[0], 'Staff') }
my $earlier = now_there();
$stage->change("UPDATE crm.person SET last_name = 'Wrong' WHERE id = 21; DELETE FROM crm.staff_audience WHERE record = 22", 'staff');
is(staff($old), 'Last23, Wrong', 'one item is overwritten, and one deleted');
$exchange->post('mailbox', address => $old, rename_to => $new);
$stage->sql("BEGIN; UPDATE crm.staff SET mailbox = '$new'; UPDATE crm.staff_audience SET mailbox = '$new'; COMMIT");
$stage->settles('a new address', 'staff');
$exchange->post('mailboxes', address => $old);
$stage->change("INSERT INTO crm.staff VALUES (2, '$old'); INSERT INTO crm.staff_audience VALUES (21, '$old')", 'staff');
is(staff($old), 'Wrong', 'the old one is somebody else\'s');
for my $mailbox ("'$new'", 'NULL')
{
	$stage->sql("SET client_min_messages = error; SELECT crmsync.undo('staff', '$earlier', $mailbox)");
	$stage->settles("undone in $mailbox", 'staff');
	is(staff($new), 'Last21, Last22 of his own, Last23', 'what was done under the old address is brought back under the new one');
	is(staff($old), 'Wrong', 'and nothing where the old one is now');
}
is($stage->sql("SELECT string_agg(action || ' ' || mailbox, ', ' ORDER BY at, action) FROM crmsync.history WHERE link = 'staff' AND action IN ('delete', 'undo')"), "delete $old, undo $new, undo $new", 'the history has the address of the time');

$stage->done;
