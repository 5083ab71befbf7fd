# What the CRM's triggers wait for while something comes in: a lock of somebody's, which must keep neither the
# worker nor other rows, and what never ends.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('waiting_writes', conf => 'crmsync.query_timeout = 2s');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub user { my ($does, $name, %set) = @_; return $exchange->act($one, $does, match => { 'contacts:GivenName' => $name }, folder => 'contacts', set => \%set) }
sub at_once { my ($do) = @_; $exchange->post('server', paused => \1); $do->(); $exchange->post('server', paused => \0); return }
sub named { return $stage->sql("SELECT count(*) FROM crm.person WHERE last_name LIKE '$_[0]'") }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code), ', ' ORDER BY record), 'nothing') FROM crmsync.failures") }

$stage->make_tables;
$stage->share_new_rows;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE TABLE crm.protocol (name text);
CREATE FUNCTION crm.write_down() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.last_name LIKE 'Free%' OR NEW.last_name LIKE 'Free%' THEN RETURN NULL; END IF;
    IF NEW.last_name = 'Endless' THEN PERFORM pg_sleep(600); END IF;
    INSERT INTO crm.protocol VALUES (coalesce(NEW.last_name, OLD.last_name));
    RETURN NULL;
END;
$$;
CREATE TRIGGER write_down AFTER INSERT OR UPDATE OR DELETE ON crm.person FOR EACH ROW EXECUTE FUNCTION crm.write_down();
SQL
$stage->make_target;
$stage->make_link(
	more => "direction => 'both', inbound_interval => '1 s', on_target_delete => 'delete', options => '{\"min_deletes\": 100}'",
	before => "SELECT crmsync.map('people', 'made_in', '\@mailbox');");
$stage->add_people(1, 42, $one);
$stage->sql("SET ROLE crm_owner; UPDATE crm.person SET last_name = 'Free' WHERE id = 42");
$stage->settles('people');
$stage->make_another('other', 1, $two);
$stage->settles('another link', 'other');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '1' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'the mailbox is read', 30);

# How long the longest transaction of the worker takes beside a session that has the table, and a change of another link
# until it is in its mailbox.
my $changes = 0;
sub longest_beside_lock
{
	my ($what, $do, $is_done, $waits) = @_;
	my $holder = $stage->node->background_psql('postgres');
	$holder->query_safe('BEGIN; LOCK TABLE crm.protocol IN EXCLUSIVE MODE');
	at_once($do);
	my ($until, $longest, $slowest, $since) = (time + 12, 0, 0);
	while (time < $until)
	{
		my $now = $stage->sql("SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity WHERE backend_type = 'crmsync worker'");
		$longest = $now if $now > $longest;
		if (!$since)
		{
			$since = time;
			$stage->sql("UPDATE crm.other SET first_name = 'Other" . ++$changes . "' WHERE id = 1");
		}
		my $took = time - $since;
		$slowest = $took if $took > $slowest;
		$since = undef if $exchange->records($two)->{1}{'contacts:GivenName'} eq "Other$changes";
		sleep 0.05;
	}
	cmp_ok($longest, '<', 5, sprintf('%s: the worker waits for a moment (%.1f s)', $what, $longest));
	cmp_ok($longest, '>', 0.2, 'it has waited');
	cmp_ok($slowest, '<', 5, sprintf('another link goes on (%d changes, %.1f s)', $changes, $slowest));
	$stage->until_true($is_done, 'what needs no lock is written meanwhile', 20) or diag(failing());
	ok($waits->(), 'and nothing of what does');
	is(failing(), 'nothing', 'what waits is no failure');
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	return;
}

# ---- changes
longest_beside_lock('changes', sub { user('update', "First$_", 'contacts:Surname' => $_ == 20 ? 'Free20' : "Changed$_") for 1 .. 20 }, sub { named('Free20') eq '1' }, sub { named('Changed%') eq '0' });
$stage->until_true(sub { named('Changed%') eq '19' }, 'all come in when the lock is gone', 30) or diag(named('Changed%'));

# ---- new items
longest_beside_lock('new items', sub { $exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => "New$_", 'contacts:Surname' => $_ == 20 ? 'FreeNew' : "New$_" }) for 1 .. 20 }, sub { named('FreeNew') eq '1' }, sub { named('New%') eq '0' });
$stage->until_true(sub { named('New%') eq '19' }, 'all come in when the lock is gone', 30) or diag(named('New%'));
$stage->until_true(sub { $stage->sql('SELECT bool_and(stamped) FROM crmsync.item') eq 't' }, 'all bear our stamp', 20);

# ---- deletes
longest_beside_lock('deletes', sub { user('delete', "First$_") for 23 .. 42 }, sub { named('Free') eq '0' }, sub { $stage->sql('SELECT count(*) FROM crm.person WHERE id BETWEEN 23 AND 42') eq '19' });
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crm.person WHERE id BETWEEN 23 AND 42') eq '0' }, 'all are done when the lock is gone', 30);

is(failing(), 'nothing', 'nothing was parked');

# ---- a trigger that never ends
at_once(sub { user('update', "First$_", 'contacts:Surname' => $_ == 4 ? 'Endless' : "Again$_") for 1 .. 8 });
$stage->until_true(sub { failing() eq '4 57014' && named('Again%') eq '7' }, 'one whose trigger never ends is parked, alone', 60) or diag(failing(), named('Again%'));

$stage->done;
