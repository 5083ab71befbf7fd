# Nothing goes out that a crash of the server could still take back: neither a change whose own commit did not wait
# for the disk, nor one where nothing on this server does.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

# Nobody else writes the log to the disk meanwhile.
my $stage = CrmSync::EndToEnd->new('durable', conf => <<'CONF');
wal_writer_delay = '10s'
full_page_writes = off
autovacuum = off
checkpoint_timeout = '1h'
CONF
my ($node, $exchange) = ($stage->node, $stage->exchange);
my $mailbox = 'user1@example.test';
$stage->make_crm;
$stage->add_people(1, 3, $mailbox);
$stage->settles('before');

sub in_crm { my ($id) = @_; return $stage->sql("SELECT coalesce(max(first_name), 'nobody') FROM crm.person WHERE id = $id") }

sub in_mailbox
{
	my ($id) = @_;
	my $item = $exchange->records($mailbox)->{$id};
	return defined $item ? $item->{'contacts:GivenName'} : 'nobody';
}

# What was done in the CRM is in the mailbox, and then the server is gone.
sub outlasts
{
	my ($id, $statements, $wanted, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->sql($statements);
	$stage->until_true(sub { in_mailbox($id) eq $wanted }, "$name: arrives", 20);
	$node->stop('immediate');
	$node->start;
	is(in_crm($id), $wanted, "$name: and is there after a crash");
	$stage->settles("$name: all is well");
	is(in_mailbox($id), $wanted, "$name: on both sides");
	return;
}

for my $round (1 .. 3)
{
	outlasts(1, "SET synchronous_commit = off; UPDATE crm.person SET first_name = 'Hasty$round' WHERE id = 1", "Hasty$round",
		"an update that did not wait, round $round");
}
outlasts(4, "SET synchronous_commit = off; INSERT INTO crm.person (id, first_name) VALUES (4, 'New'); INSERT INTO crm.audience VALUES (4, '$mailbox')",
	'New', 'a new record that did not wait');
outlasts(2, "SET synchronous_commit = off; DELETE FROM crm.person WHERE id = 2", 'nobody', 'a delete that did not wait');

# ---- a standby that is to have it, too
sub standbys { my ($names) = @_; $stage->sql("ALTER SYSTEM SET synchronous_standby_names = '$names'"); $stage->sql('SELECT pg_reload_conf()'); return }

standbys('nobody');
$stage->sql("SET synchronous_commit = local; UPDATE crm.person SET first_name = 'Alone' WHERE id = 1");
my $waiting = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND wait_event = 'SyncRep' AND query LIKE";
# Whatever else it waits for is let pass.
my $let_pass = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND wait_event = 'SyncRep' AND query NOT LIKE";
my $pid = '';
$stage->until_true(sub { $stage->sql("$let_pass 'deciding%'"); return ($pid = $stage->sql("$waiting 'deciding%'")) ne '' }, 'what is decided waits for the standby');
$exchange->forget_journal;
$stage->sql("SELECT pg_terminate_backend($pid)");
$stage->until_true(sub { !kill 0, $pid }, 'a worker that waits is told to end');
is(scalar(grep { $_->{operation} ne '-' } $exchange->journal), 0, 'and sends nothing of it');
standbys('');
$stage->until_true(sub { in_mailbox(1) eq 'Alone' }, 'it is sent when nobody need wait', 20);
$stage->settles('and nothing else is to be done');

$node->append_conf('postgresql.conf', 'synchronous_commit = off');
$node->reload;
for my $round (1 .. 2)
{
	outlasts(3, "UPDATE crm.person SET first_name = 'Idle$round' WHERE id = 3", "Idle$round", "an update where nobody waits, round $round");
}
outlasts(5, "INSERT INTO crm.person (id, first_name) VALUES (5, 'Newer'); INSERT INTO crm.audience VALUES (5, '$mailbox')",
	'Newer', 'a new record where nobody waits');

# ---- what a user has done in one mailbox, and another mailbox is told
my $other = 'user2@example.test';
$stage->sql("SELECT crmsync.alter_link('people', direction => 'both', inbound_interval => '1 s'); SELECT crmsync.enable_link('people');
  INSERT INTO crm.audience VALUES (1, '$other')");
my $all_read = "SELECT count(*) = 2 AND NOT EXISTS (SELECT FROM crmsync.arrival) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL";
$stage->settles('in two mailboxes');
$stage->until_true(sub { $stage->sql($all_read) eq 't' }, 'both are read', 20);
for my $round (1 .. 5)
{
	$exchange->act($mailbox, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => 'person1@example.com' }, folder => 'contacts',
		set => { 'contacts:GivenName' => "Theirs$round" });
	$stage->until_true(sub { $exchange->records($other)->{1}{'contacts:GivenName'} eq "Theirs$round" }, "a user's change is in another mailbox, round $round", 20);
	$node->stop('immediate');
	$node->append_conf('postgresql.conf', 'crmsync.enabled = off');
	$node->start;
	is(in_crm(1), "Theirs$round", 'and in the CRM after a crash');
	$node->append_conf('postgresql.conf', 'crmsync.enabled = on');
	$node->reload;
	$stage->settles('all is well');
}

$stage->done;
