# A server carries out a create that nobody waits for any more: the worker that sent it was killed, its server has
# crashed, or the answer was lost. By then the item was not found, and made again. In the end there is one.
# Of two links, each with a mailbox of its own, people only goes out, and friends is read, too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep);

my $delay = 7;
my $stage = CrmSync::EndToEnd->new('late_creates', conf => "crmsync.max_create_delay = ${delay}s\nrestart_after_crash = on");
my ($node, $exchange) = ($stage->node, $stage->exchange);
my %mailbox = (people => 'user1@example.test', friends => 'user2@example.test');
my $last = 0;

sub id_of { my ($link, $person) = @_; return $stage->sql("SELECT i.remote_id FROM crmsync.item i JOIN crmsync.link l ON l.id = i.link WHERE l.name = '$link' AND i.record = '$person'") }
sub items { my ($link, $person) = @_; return grep { ($_->{properties}{'contacts:EmailAddress/EmailAddress1'} // '') eq "person$person\@example.com" } $exchange->items($mailbox{$link}) }
sub friends { return $stage->sql('SELECT count(*) FROM crm.friend') }
sub settle { my ($name) = @_; $stage->settles("$name: $_", $_) for sort keys %mailbox; return }

sub looked_again
{
	my ($name) = @_;
	$stage->until_true(
		sub {
			$stage->sql("SELECT crmsync.sync('people')");    # so that the worker looks
			$stage->sql('SELECT (SELECT count(*) FROM crmsync.mailbox WHERE isfinite(look_again)) + (SELECT count(*) FROM crmsync.repair) + (SELECT count(*) FROM crmsync.sighting) + (SELECT count(*) FROM crmsync.arrival)') eq '0';
		}, "$name: looked at again", 40) or diag($stage->sql('SELECT * FROM crmsync.mailbox; SELECT * FROM crmsync.repair; SELECT * FROM crmsync.sighting; SELECT * FROM crmsync.arrival'));
	return;
}

my %trouble = (
	'killed worker' => sub {
		kill 9, $stage->worker_pid;
		sleep 0.2;
		$stage->until_true(sub { $stage->answers }, 'the server is there again', 30);
	},
	'crashed server' => sub { $node->stop('immediate'); $node->start },
	'lost answer' => sub { });

# Creates are under way when this happens, are made again, and then carried out after all. Returns the last person.
sub twice
{
	my ($trouble, $name, $count, $meanwhile) = @_;
	my $first = $last + 1;
	my $person = $last += $count // 1;
	$name //= $trouble;
	$exchange->inject('late', operation => 'CreateItem', mailbox => $_, seconds => 4, waits => $trouble eq 'lost answer' ? \0 : \1) for values %mailbox;
	$stage->add_people($first, $last, $mailbox{people});
	$stage->sql("INSERT INTO crm.friend SELECT id, first_name, last_name, email, '$mailbox{friends}' FROM crm.person WHERE id >= $first");
	$stage->until_true(sub { $exchange->hits == 2 }, "$name: two creates are under way", 20);
	$trouble{$trouble}->();
	settle("$name, made again");
	$exchange->calm;
	is(items('people', $person) . items('friends', $person), '11', "$name: and there once");
	$stage->sql($meanwhile) if $meanwhile;
	$stage->until_true(sub { items('people', $person) == 2 && items('friends', $person) == 2 }, "$name: then twice", 10);
	return $person;
}

sub stays_one
{
	my ($name, $person, $friends) = @_;
	for my $link (sort keys %mailbox)
	{
		my @items = items($link, $person);
		is(join(' ', map { $_->{id} } @items), id_of($link, $person), "$name: of $link in the end there is the one that we know");
		is(CrmSync::StandIn::key_of($items[0]), $person, "$name: with its stamp");
		is($stage->status('failed', $link) . $stage->status('conflicts', $link), '00', "$name: nobody has to do anything");
	}
	is(friends(), $friends // $last, "$name: and no record more");
	return;
}

$stage->make_crm;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE SEQUENCE crm.friend_key START 100;
CREATE TABLE crm.friend (id integer PRIMARY KEY DEFAULT nextval('crm.friend_key'), first_name text, last_name text, email text, mailbox text);
CREATE VIEW crm.friend_audience AS SELECT id AS record, mailbox FROM crm.friend;
RESET ROLE;
SELECT crmsync.create_link('friends', 'exchange', 'contact', 'crm.friend', audience => 'crm.friend_audience', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map('friends', 'first_name', 'given_name');
SELECT crmsync.map('friends', 'last_name', 'surname');
SELECT crmsync.map('friends', 'email', 'email_1');
SELECT crmsync.map('friends', 'mailbox', '@mailbox');
SELECT crmsync.enable_link('friends');
SQL
settle('before');

for my $trouble (sort keys %trouble)
{
	my $person = twice($trouble);
	looked_again($trouble);
	stays_one($trouble, $person);
}

# The server crashes, and this happens before its worker does anything.
sub while_off
{
	my ($meanwhile) = @_;
	$node->stop('immediate');
	$node->append_conf('postgresql.conf', 'crmsync.enabled = off');
	$node->start;
	$stage->sql($meanwhile);
	return;
}

sub on_again { $node->append_conf('postgresql.conf', 'crmsync.enabled = on'); $node->reload; return }

# ---- a change, and a delete, of a worker that was killed, carried out when the next one has written something newer
# Changes both, of which the requests come late, and the worker is killed; then changes them again. Returns when all is done.
sub overtaken
{
	my ($name, $operation, $old, $new) = @_;
	$exchange->forget_journal;
	$exchange->inject('late', operation => $operation, mailbox => $_, seconds => 12, waits => \1) for values %mailbox;
	$stage->sql($old);
	$stage->until_true(sub { $exchange->hits == 2 }, "$name: two are under way", 20);
	while_off($new);
	on_again();
	settle("$name, overtaken");
	$exchange->calm;
	is(scalar(grep { $_->{fault} eq 'late' } $exchange->journal), 0, "$name: before the old ones are carried out");
	$stage->until_true(sub { 2 == grep { $_->{fault} eq 'late' } $exchange->journal }, "$name: which they are then", 20);
	return;
}
sub may_take { my ($seconds) = @_; $stage->sql("ALTER SYSTEM SET crmsync.max_create_delay = '$seconds s'"); $stage->sql('SELECT pg_reload_conf()'); return }
sub have { return join ' ', map { join '+', map { $_->{properties}{'contacts:GivenName'} } items($_, $last) } @_ }
++$last;
$stage->add_people($last, $last, $mailbox{people});
my $friend = "INSERT INTO crm.friend SELECT id, first_name, last_name, email, '$mailbox{friends}' FROM crm.person WHERE id = $last";
$stage->sql($friend);
settle('one more');
may_take(15);    # a busy machine takes some of that for its crash
my $becomes = sub { join '; ', map { "UPDATE crm.$_ SET first_name = '$_[0]' WHERE id = $last" } 'person', 'friend' };
overtaken('a change', 'UpdateItem', $becomes->('Old'), $becomes->('Newer'));
looked_again('a change');
is(have(qw(friends people)), 'Newer Newer', 'a change: nothing old is written over the new');
stays_one('a change', $last);
is($stage->sql("SELECT first_name FROM crm.friend WHERE id = $last"), 'Newer', 'a change: nothing old comes in');
overtaken('a delete', 'DeleteItem', "DELETE FROM crm.person WHERE id = $last; DELETE FROM crm.friend WHERE id = $last",
	"INSERT INTO crm.person (id, first_name, last_name, email) VALUES ($last, 'Back', 'Last', 'person$last\@example.com'); $friend");
looked_again('a delete');
for my $link (sort keys %mailbox)
{
	$stage->until_true(sub { have($link) eq 'Back' }, "a delete: what is wanted again is there in the end, for $link", 20) or diag(have($link) . $stage->sql("SELECT record, state, doubtful FROM crmsync.item WHERE record = '$last'"));
}
is($stage->sql("SELECT count(*) FROM crm.friend WHERE id = $last"), 1, 'a delete: nobody takes it for one of its user');
cmp_ok(scalar(grep { $_->{operation} eq 'UpdateItem' } $exchange->journal), '<', 10, 'a delete: it is not written again and again meanwhile');

may_take($delay);

# ---- a create of a worker that was killed, of a record that is gone when it is carried out, and nothing else is created
++$last;
$exchange->forget_journal;
$exchange->inject('late', operation => 'CreateItem', mailbox => $_, seconds => 2, waits => \1) for values %mailbox;
$stage->add_people($last, $last, $mailbox{people});
$stage->sql("INSERT INTO crm.friend SELECT id, first_name, last_name, email, '$mailbox{friends}' FROM crm.person WHERE id = $last");
$stage->until_true(sub { $exchange->hits == 2 }, 'nobody heard of it: two creates are under way', 20);
while_off("DELETE FROM crm.audience WHERE record = $last; DELETE FROM crm.person WHERE id = $last; DELETE FROM crm.friend WHERE id = $last");
$exchange->calm;
$stage->until_true(sub { items('people', $last) == 1 && items('friends', $last) == 1 }, 'nobody heard of it: carried out', 10);
on_again();
$stage->until_true(sub { items('people', $last) == 0 && items('friends', $last) == 0 }, 'nobody heard of it: it goes, since nobody wants it', 60)
  or diag($stage->sql('SELECT * FROM crmsync.mailbox; SELECT * FROM crmsync.items; SELECT * FROM crmsync.status'));
looked_again('nobody heard of it');
is($stage->sql("SELECT count(*) FROM crm.friend WHERE id = $last"), 0, 'nobody heard of it: it is no record');
--$last;


# ---- what users make of them
# All these look the same. A copy is its user's, whenever it is made; and what he has changed is his, too.
my $name = 'copied and changed';
my $person = twice('killed worker', $name, 2);
my $other = $person - 1;
$exchange->post('server', paused => \1);    # so that they are quicker
my %kept = map { $_ => id_of($_, $person) } keys %mailbox;
my %copy = map { $_ => $exchange->act($mailbox{$_}, 'copy', id => $kept{$_}, to => 'contacts')->{ids}[0] } keys %mailbox;
my %mine = map { my $link = $_; $link => (grep { $_->{id} ne id_of($link, $other) } items($link, $other))[0]{id} } keys %mailbox;
sleep 1.1;    # the server tells seconds
$exchange->act($mailbox{$_}, 'update', id => $mine{$_}, set => { 'contacts:Surname' => 'Mine' }) for keys %mailbox;
$exchange->post('server', paused => \0);
$stage->until_true(sub { friends() == $last + 2 }, "$name: these become records of their own", 20) or diag($stage->sql('SELECT * FROM crm.friend'));
looked_again($name);
for my $link (sort keys %mailbox)
{
	is(join(' ', sort map { $_->{id} eq $copy{$link} ? 'copy' : $_->{id} eq $kept{$link} ? 'item' : 'double' } items($link, $person)), 'copy item', "$name: in the mailbox of $link a copy stays");
	is(join(' ', sort map { $_->{id} eq $mine{$link} ? 'his' : 'item' } items($link, $other)), 'his item', "$name: and what its user had changed");
}
is(friends(), $last + 2, "$name: there are no more");
$exchange->act($mailbox{friends}, 'update', id => $copy{friends}, set => { 'contacts:GivenName' => 'Copied' });
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crm.friend WHERE first_name = 'Copied' AND id >= 100") eq '1' }, "$name: its user changes the copy", 20);
is($stage->sql("SELECT first_name FROM crm.friend WHERE id = $person"), "First$person", "$name: and nothing else");

# ---- the reading alone, long before anything is listed again
$stage->sql("ALTER SYSTEM SET crmsync.max_create_delay = '10 min'");
$stage->sql('SELECT pg_reload_conf()');
$person = twice('lost answer', 'read');
$stage->until_true(sub { items('friends', $person) == 1 && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'read: it goes as soon as it is read', 20);
is(items('people', $person) . '', 2, 'read: while nobody reads the other mailbox');
is(friends(), $last + 2, 'read: it is no record');
is((items('friends', $person))[0]{id}, id_of('friends', $person), 'read: what stays is what we know');

# ---- beside the one that we know, which is read anew at the same time
$person = twice('lost answer', 'beside', 1, "SELECT crmsync.pause_target('exchange')");
$exchange->act($mailbox{friends}, 'update', id => id_of('friends', $person), set => { 'contacts:Department' => 'typed' });
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->until_true(sub { items('friends', $person) == 1 && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'beside: it goes', 20);
is(friends(), $last + 2, 'beside: it is no record');

# ---- read and looked for in a listing at the same time: each answer is taken for what it was asked for
$stage->sql(<<'SQL');
CREATE TABLE public.judgement (kind text);
CREATE FUNCTION public.note_judgement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.judgement VALUES (NEW.kind); RETURN NULL; END $$;
CREATE TRIGGER judgement AFTER INSERT OR UPDATE ON crmsync.sighting FOR EACH ROW EXECUTE FUNCTION public.note_judgement();
SQL
$person = twice('lost answer', 'listed, too');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival WHERE next_attempt > now()') eq '1' }, 'listed, too: it was read, and waits for the other', 10);
$exchange->inject('delay', operation => 'FindItem', mailbox => $mailbox{friends}, seconds => 3);
$stage->sql('UPDATE crmsync.mailbox SET look_again = now()');
$stage->sql('SELECT crmsync.wake()');
$stage->until_true(sub { $exchange->hits == 1 }, 'listed, too: it is being listed', 10);
sleep 2.2;    # its turn to be read has come
$exchange->inject('delay', operation => 'GetItem', mailbox => $mailbox{friends}, seconds => 1);
$stage->sql('SELECT crmsync.wake()');
$stage->until_true(sub { $exchange->hits == 2 }, 'listed, too: and read', 10);
$stage->until_true(sub { items('friends', $person) == 1 && $stage->sql('SELECT (SELECT count(*) FROM crmsync.arrival) + (SELECT count(*) FROM crmsync.sighting)') eq '0' }, 'listed, too: it goes', 20);
$exchange->calm;
is($stage->sql("SELECT count(*) FILTER (WHERE kind = 'late') > 0, count(*) FILTER (WHERE kind = 'stray') FROM public.judgement"), 't|0', 'listed, too: nobody took it for a copy');
is(friends(), $last + 2, 'listed, too: it is no record');
is((items('friends', $person))[0]{id}, id_of('friends', $person), 'listed, too: what stays is what we know');
$stage->sql('DROP TRIGGER judgement ON crmsync.sighting');

# ---- what comes too late for that
$stage->sql("ALTER SYSTEM SET crmsync.max_create_delay = 0");
$stage->sql('SELECT pg_reload_conf()');
$person = twice('lost answer', 'off');
$stage->until_true(sub { friends() == $last + 3 }, 'off: what comes later is taken for a copy', 20);
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE action = 'delete' AND record = '$person'"), '0', 'off: and nothing goes');

# ---- what the CRM changes before it is known that the item is there
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('friends', conflict => 'target_wins'); SELECT crmsync.enable_link('friends')");
settle('the user wins');
for my $trouble ('lost answer', 'crashed server')
{
	$person = ++$last;
	$exchange->inject('lost', operation => 'CreateItem', mailbox => $mailbox{friends}, count => 1);
	$stage->sql("INSERT INTO crm.friend VALUES ($person, 'First', 'Last', 'person$person\@example.com', '$mailbox{friends}')");
	$stage->until_true(sub { items('friends', $person) == 1 }, "$trouble, then changed: it is there", 20);
	$exchange->post('server', paused => \1);
	$trouble{$trouble}->();
	$stage->sql("UPDATE crm.friend SET first_name = 'Changed', last_name = NULL WHERE id = $person");
	$exchange->calm;
	$exchange->post('server', paused => \0);
	settle("$trouble, then changed");
	looked_again("$trouble, then changed");
	my ($item) = items('friends', $person);
	is(join(' ', map { $_ // '-' } @{ $item->{properties} }{qw(contacts:GivenName contacts:Surname)}), 'Changed -', "$trouble, then changed: the mailbox has it");
	is($stage->sql("SELECT first_name, last_name FROM crm.friend WHERE id = $person"), 'Changed|', "$trouble, then changed: and the CRM keeps it");
	is($stage->status('conflicts', 'friends'), '0', "$trouble, then changed: nobody else has changed anything");
}

# ---- what the CRM changes before it is known that its last change is there
$exchange->inject('lost', operation => 'UpdateItem', mailbox => $mailbox{friends}, count => 1);
$stage->sql("UPDATE crm.friend SET first_name = 'Once' WHERE id = $person");
$stage->until_true(sub { (items('friends', $person))[0]{properties}{'contacts:GivenName'} eq 'Once' }, 'update, then changed: it is there', 20);
$stage->sql("UPDATE crm.friend SET first_name = 'Twice' WHERE id = $person");
settle('update, then changed');
is((items('friends', $person))[0]{properties}{'contacts:GivenName'}, 'Twice', 'update, then changed: the mailbox has it');
is($stage->sql("SELECT first_name FROM crm.friend WHERE id = $person"), 'Twice', 'update, then changed: and the CRM keeps it');
is($stage->status('conflicts', 'friends'), '0', 'update, then changed: nobody else has changed anything');

$stage->done;
