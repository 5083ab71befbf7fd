# A mailbox moves while something of it is under way at the target that it leaves: answers that come late, a worker
# that is killed, servers that are dead, a move that is taken back. Afterwards every record has its item where the
# mailbox is, with its stamp and once, and what was left behind is as it was.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('moves_under_way', conf => 'restart_after_crash = on');
my %at = (exchange => $stage->exchange, new => CrmSync::StandIn->new($stage->node->basedir . '/new', '--mailboxes', 4));
my ($old, $new) = @at{ 'exchange', 'new' };
my ($one, $two) = map { "user$_\@example.test" } 1 .. 2;
$stage->make_tables;
$stage->make_target(options => '{"timeout": 4}');
$stage->make_target(name => 'new', url => $new->url, options => '{"timeout": 4}');
$stage->sql("SET ROLE crm_owner; CREATE TABLE crm.mailboxes (mailbox text PRIMARY KEY, target text); INSERT INTO crm.mailboxes VALUES ('$one'), ('$two')");
$stage->make_link(more => "mailboxes => 'crm.mailboxes', direction => 'both', inbound_interval => '1 s'");
$stage->add_people(1, 8, $one, $two);
$stage->settles('before');

sub place { my ($mailbox) = @_; return $stage->sql("SELECT target FROM crmsync.mailboxes WHERE mailbox = '$mailbox'") }
sub code { my ($mailbox) = @_; return $stage->sql("SELECT coalesce(code, '') FROM crmsync.mailboxes WHERE mailbox = '$mailbox'") }
sub move { my ($mailbox, $target) = @_; $stage->sql("UPDATE crm.mailboxes SET target = '$target' WHERE mailbox = '$mailbox'"); return }
sub waits { my ($mailbox, $name) = @_; return $stage->until_true(sub { code($mailbox) eq 'MOVING' }, "$name: it waits") }

# Every record of the CRM is there once, as the CRM has it, and is known by the id that it has there; and nothing else is.
sub is_whole
{
	my ($mailbox, $target, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %found = map { (CrmSync::StandIn::key_of($_) // 'none') . ' ' . $_->{id} => $_->{properties} } $at{$target}->items($mailbox);
	my $there = join "\n", sort map { join ' ', $_, map { $_ // '-' } @{ $found{$_} }{qw(contacts:GivenName contacts:PhoneNumber/BusinessPhone)} } keys %found;
	my $known = join "\n", sort split /\n/, $stage->sql(<<"SQL");
SELECT concat_ws(' ', p.id, coalesce(i.remote_id, 'unknown'), p.first_name, coalesce(p.phone, '-')) FROM crm.audience a JOIN crm.person p ON p.id = a.record
LEFT JOIN crmsync.items i ON i.mailbox = a.mailbox AND i.record = p.id::text AND i.state = 'linked' WHERE a.mailbox = '$mailbox'
SQL
	return is($there, $known, "$name: every record is in its place, once");
}

sub arrives
{
	my ($mailbox, $target, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->settles("$name: sync waits for the move");
	is(place($mailbox) . ' ' . code($mailbox), "$target ", "$name: it has moved");
	return is_whole($mailbox, $target, $name);
}

# It is to move while an update is under way where it is.
sub waits_to_move
{
	my ($mailbox, $from, $to, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$at{$from}->inject('delay', operation => 'UpdateItem', mailbox => $mailbox, seconds => $seconds // 2);
	$stage->sql("UPDATE crm.person SET phone = '$name' WHERE id <= 4");
	$stage->until_true(sub { $at{$from}->hits > 0 }, "$name: an update is under way");
	move($mailbox, $to);
	return waits($mailbox, $name);
}

# ---- answers that come late
my $next = 100;
my %begins = (
	CreateItem => sub { $next++; $stage->add_people($next, $next, $one, $two) },
	UpdateItem => sub { $stage->sql("UPDATE crm.person SET phone = 'changed ' || $_[0] WHERE id <= 4") },
	DeleteItem => sub { $stage->sql('DELETE FROM crm.audience WHERE record IN (SELECT max(record) FROM crm.audience)') },
	SyncFolderItems => sub { },
	GetItem => sub { $at{ $_[1] }->act($one, 'update', match => { 'contacts:GivenName' => 'First3' }, set => { 'contacts:PhoneNumber/BusinessPhone' => "typed $_[0]" }) },
	FindItem => sub { $stage->sql("SELECT crmsync.resync('people', '$one')") },
);
my ($from, $to) = qw(exchange new);
my $round = 0;
for my $operation (sort keys %begins)
{
	my $behind = sub { join ' ', sort map { ($_->{id}, CrmSync::StandIn::key_of($_) // 'none') } $at{$_[0]}->items($one) };
	$at{$from}->inject('delay', operation => $operation, mailbox => $one, seconds => 1.5);
	$begins{$operation}->(++$round, $from);
	$stage->until_true(sub { $at{$from}->hits > 0 }, "$operation is under way");
	my $before = $behind->($from);
	move($one, $to);
	waits($one, $operation);
	$stage->sql("UPDATE crm.person SET phone = 'meanwhile $round' WHERE id = 1");
	arrives($one, $to, $operation);
	is($behind->($from), $before, "$operation: what it has left behind is as it was");
	$at{$from}->calm;
	$stage->change("UPDATE crm.person SET phone = 'after $round' WHERE id = 2");
	is_whole($one, $to, "$operation, and a change");
	is_whole($two, 'exchange', "$operation: elsewhere nothing happens");
	($from, $to) = ($to, $from);
}
is($from, 'exchange', 'it has come back');

# ---- a move that is taken back
$new->forget_journal;
waits_to_move($one, 'exchange', 'new', 'taken back');
like($stage->sql("SELECT string_agg(detail || ' ' || hint, ' ') FROM crmsync.why('people', '1', '$one') WHERE step = 'mailbox'"),
	qr/MOVING: it leaves target "exchange" as soon as nothing of it is under way there.*looked for at the other target/, 'why says so');
is($stage->status('state'), 'working', 'and so does status');
my $marked = sub { $stage->sql("SELECT code, since FROM crmsync.mailboxes WHERE mailbox = '$one'") };
my $mark = $marked->();
$stage->sql("SELECT crmsync.retry('people'); UPDATE crm.person SET phone = 'decided later' WHERE id = 5");
sleep 0.3;
is($marked->(), $mark, 'retry does not end that');
move($one, 'exchange');
$stage->until_true(sub { code($one) eq '' }, 'the mark goes before anything has moved', 2);
arrives($one, 'exchange', 'taken back');
is(scalar(grep { $_->{mailbox} eq $one } $new->journal), 0, 'the other server has heard nothing of it');
$old->calm;

# ---- the link stops meanwhile
waits_to_move($one, 'exchange', 'new', 'disabled');
$stage->sql("SELECT crmsync.disable_link('people')");
$stage->until_true(sub { code($one) eq '' }, 'a link that is disabled forgets the mark', 5);
is(place($one), 'exchange', 'and its mailbox stays where it is');
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
arrives($one, 'new', 'enabled again');
$old->calm;

# ---- a worker that is killed
sub kill_worker
{
	my ($name) = @_;
	my $pid = $stage->worker_pid;
	$stage->leave;
	kill 'KILL', $pid;
	return $stage->until_true(sub { $stage->has_another_worker($pid) }, "$name: the worker is killed");
}
waits_to_move($one, 'new', 'exchange', 'killed', 3);
kill_worker('while it waits');
arrives($one, 'exchange', 'killed while it waits');
$new->calm;
$stage->sql("UPDATE crm.person SET phone = 'changed since' WHERE id <= 4");
$stage->settles('at rest');
$to = 'new';
for my $operation (qw(FindItem GetItem SyncFolderItems UpdateItem CreateItem))
{
	++$next;
	$at{$to}->inject('delay', operation => $operation, mailbox => $one, seconds => 2);
	$stage->sql("BEGIN; INSERT INTO crm.person (id, first_name) VALUES ($next, 'Late$next'); INSERT INTO crm.audience VALUES ($next, '$one'); UPDATE crm.person SET phone = '$operation' WHERE id <= 4; UPDATE crm.mailboxes SET target = '$to' WHERE mailbox = '$one'; COMMIT");
	$stage->until_true(sub { $at{$to}->hits > 0 }, "$operation is under way where it moves to");
	kill_worker($operation);
	$at{$to}->calm;
	arrives($one, $to, "killed at $operation");
	$to = $to eq 'new' ? 'exchange' : 'new';
}

# ---- what undo has to bring back waits
move($one, 'new');
arrives($one, 'new', 'before the mistake');
$stage->change("UPDATE crm.person SET phone = 'right'");
my $since = $stage->sql('SELECT clock_timestamp()');
$stage->change("UPDATE crm.person SET phone = 'wrong' WHERE id = 1");
move($one, 'exchange');
arrives($one, 'exchange', 'with the mistake');
$new->inject('delay', operation => 'FindItem', mailbox => $one, seconds => 2);
move($one, 'new');
$stage->until_true(sub { $new->hits > 0 }, 'it is looked through');
$stage->sql("SELECT crmsync.undo('people', '$since', '$one')");
$stage->until_true(sub { $stage->sql('SELECT phone FROM crm.person WHERE id = 1') eq 'right' }, 'it is undone where the mailbox is now');
arrives($one, 'new', 'undone');
$new->calm;

# ---- servers that are dead
$stage->sql("UPDATE crm.mailboxes SET target = 'exchange'");
arrives($_, 'exchange', 'all at one server') for $one, $two;
my %dead = (
	'closes connections' => sub { $old->inject('close', count => 0) },
	'stands still' => sub { $old->post('server', paused => \1) },
	'refuses the password' => sub { $old->inject('http', status => 401, count => 0) },
	'is not there' => sub { $old->stop },
);
$old->inject('silence', count => 0, seconds => 60);
$stage->sql("UPDATE crm.person SET phone = 'under way'");
$stage->until_true(sub { $old->hits > 0 }, 'requests are under way');
my $begun = time;
$stage->sql("UPDATE crm.mailboxes SET target = 'new'");
arrives($_, 'new', 'while the old server says nothing') for $one, $two;
cmp_ok(time - $begun, '<', 8, sprintf('requests under way there end by their time-out (%.1f s)', time - $begun));
$old->calm;
$stage->sql("SELECT crmsync.resume_target('exchange'); UPDATE crm.mailboxes SET target = 'exchange'");
arrives($_, 'exchange', 'back from where nothing was said') for $one, $two;
for my $how (sort keys %dead)
{
	$dead{$how}->();
	$stage->sql("UPDATE crm.person SET phone = '$how'");
	$stage->until_true(sub { ($stage->target('code') // '') ne '' }, "the old server $how", 30);
	my $started = time;
	$stage->sql("UPDATE crm.mailboxes SET target = 'new'");
	arrives($_, 'new', $how) for $one, $two;
	cmp_ok(time - $started, '<', 8, sprintf('%s: it does not hold them up (%.1f s)', $how, time - $started));
	$stage->change("UPDATE crm.person SET phone = 'without ' || id");
	is_whole($one, 'new', "$how: all goes on without it");
	$stage->until_true(sub { $stage->status('state') eq 'idle' }, "$how: the link is well");
	if ($how eq 'is not there') { $old->start } else { $old->post('server', paused => \0); $old->calm }
	$stage->sql("SELECT crmsync.resume_target('exchange')");
	$stage->until_true(sub { ($stage->target('code') // '') eq '' }, 'it works again');
	$stage->sql("UPDATE crm.mailboxes SET target = 'exchange'");
	arrives($_, 'exchange', "back from where it $how") for $one, $two;
}

# ---- the new server is paused, or dead
$stage->sql("SELECT crmsync.pause_target('new')");
move($one, 'new');
$stage->until_true(sub { place($one) eq 'new' }, 'a mailbox goes to a target that is paused');
$stage->sql("UPDATE crm.person SET phone = 'while it pauses'; DELETE FROM crm.audience WHERE record = 7");
sleep 1;
is($stage->status('state'), 'paused', 'where it waits');
$stage->sql("SELECT crmsync.resume_target('new')");
arrives($one, 'new', 'resumed');
is_whole($two, 'exchange', 'and nothing is lost of the other');
move($one, 'exchange');
arrives($one, 'exchange', 'back');
$new->inject('close', count => 0);
move($one, 'new');
$stage->until_true(sub { $stage->sql("SELECT coalesce(code, '') FROM crmsync.targets WHERE name = 'new'") ne '' }, 'a server that is dead is tried');
$stage->sql("UPDATE crm.person SET phone = 'while it is dead'");
$stage->until_true(sub { ($old->records($two)->{1}{'contacts:PhoneNumber/BusinessPhone'} // '') eq 'while it is dead' }, 'others go on');
$new->calm;
$stage->sql("SELECT crmsync.resume_target('new')");
arrives($one, 'new', 'no longer dead');

# ---- a link with much to do, at a server that takes its time and is given it
$stage->sql("SELECT crmsync.alter_target('$_', options => '{\"timeout\": 60}')") for qw(exchange new);
$old->post('server', item_ms => 4);
$stage->add_people(1001, 4000, $two);
$stage->until_true(sub { scalar($old->items($two)) > 100 }, 'thousands are under way');
move($two, 'new');
$stage->until_true(sub { place($two) eq 'new' }, 'it moves in the middle of them', 10);
my $left = $old->items($two);
arrives($two, 'new', 'in the middle of much');
cmp_ok($left, '<', 2500, "what is queued is taken back: $left were written");
is(scalar($old->items($two)), $left, 'and nothing more comes to the old one');
$old->post('server', item_ms => 0);

# ---- a link that is dropped while its mailbox waits
waits_to_move($one, 'new', 'exchange', 'dropped');
$stage->sql("SELECT crmsync.drop_link('people', items => 'delete')");
# Of both mailboxes, unless the few of the one are gone before the other is listed. To confirm while there come more
# confirms none.
$stage->until_true(sub { $stage->status('state') eq 'held' && $stage->sql("SELECT count(*) FROM crmsync.repair WHERE step NOT IN ('unlink', 'delete')") eq '0' }, 'the guard holds so many deletes');
$stage->sql("SELECT crmsync.confirm_deletes('people')");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.links') eq '0' }, 'it goes with its items', 60);
is(join(' ', map { scalar(grep { CrmSync::StandIn::key_of($_) } $new->items($_)) } $one, $two), '0 0', 'where its mailboxes were');

$new->stop;
$stage->done;
