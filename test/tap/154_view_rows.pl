# Views as the source of what comes in: what the CRM changes while the worker writes is not overwritten.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(time);

my $stage = CrmSync::EndToEnd->new('view_rows');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';

$stage->make_tables;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE TABLE crm.company (id integer PRIMARY KEY, name text);
INSERT INTO crm.company VALUES (1, 'Acme');
ALTER TABLE crm.person ADD company integer DEFAULT 1 REFERENCES crm.company;
CREATE FUNCTION crm.write_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM crm.person WHERE id = OLD.id;
        RETURN OLD;
    END IF;
    UPDATE crm.person SET first_name = NEW.first_name, last_name = NEW.last_name, phone = NEW.phone WHERE id = NEW.id;
    RETURN NEW;
END;
$$;
SQL
$stage->make_target;

my %views = (
	simple => 'SELECT id, first_name, last_name, phone FROM crm.person',
	joined => 'SELECT p.id, p.first_name, p.last_name, p.phone, c.name FROM crm.person p JOIN crm.company c ON c.id = p.company',
	grouped => 'SELECT p.id, p.first_name, p.last_name, p.phone, count(c.*) AS companies FROM crm.person p LEFT JOIN crm.company c ON c.id = p.company GROUP BY p.id');

sub named { my ($person) = @_; return $stage->sql("SELECT concat_ws(' ', first_name, last_name, phone) FROM crm.person WHERE id = $person") }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code, message), ', '), 'nothing') FROM crmsync.failures") }
sub conflicts { my ($link) = @_; return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, property, crm_value, target_value, winner), ', ' ORDER BY id), 'none') FROM crmsync.conflicts WHERE link = '$link'") }
sub user { my ($link, $does, $name, %set) = @_; return $exchange->act($one, $does, match => { 'contacts:GivenName' => $name }, folder => $link, set => \%set) }

# A link to the view, with people of its own.
sub make_link
{
	my ($link, $first) = @_;
	my $triggers = $link eq 'simple' ? '' : "CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON crm.$link FOR EACH ROW EXECUTE FUNCTION crm.write_person();";
	my $last = $first + 2;
	$stage->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE VIEW crm.$link AS $views{$link};
$triggers
CREATE VIEW crm.${link}_audience AS SELECT id AS record, '$one' AS mailbox FROM crm.person WHERE id BETWEEN $first AND $last;
INSERT INTO crm.person (id, first_name, last_name, phone) SELECT i, 'First' || i, 'Last' || i, '+49 30 ' || i FROM generate_series($first, $last) i;
RESET ROLE;
SELECT crmsync.create_link('$link', 'exchange', 'contact', 'crm.$link', 'id', audience => 'crm.${link}_audience', folder => '$link', direction => 'both', on_target_delete => 'delete', inbound_interval => '1 s');
SELECT crmsync.map('$link', 'first_name', 'given_name');
SELECT crmsync.map('$link', 'last_name', 'surname');
SELECT crmsync.map('$link', 'phone', 'business_phone');
SELECT crmsync.watch('$link', 'crm.person', 'id');
SELECT crmsync.enable_link('$link');
SQL
	$stage->settles("link $link", $link);
	$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link WHERE l.name = '$link' AND m.sync_state IS NOT NULL AND m.listing IS NULL AND NOT EXISTS (SELECT FROM crmsync.arrival a WHERE a.mailbox = m.id)") eq '1' }, 'its mailbox is read', 30);
	return;
}

# A session that changes the row commits when the worker has met it: it waits for it, or has put the item off.
sub beside_change
{
	my ($change, $do, $is_met) = @_;
	my $session = $stage->node->background_psql('postgres');
	$session->query_safe("BEGIN; $change");
	$do->();
	$stage->until_true(sub { $stage->sql("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND wait_event_type = 'Lock')") eq 't' || $is_met->() }, 'the worker has met a row that somebody changes', 20);
	$session->query_safe('COMMIT');
	$session->quit;
	return;
}

sub put_off { return $stage->sql('SELECT count(*) FROM crmsync.arrival WHERE next_attempt IS NOT NULL AND code IS NULL') ne '0' }

# For long enough that the worker has tried to delete the record.
my %missed;
sub is_missed
{
	my ($link, $record) = @_;
	my $is_missed = $stage->sql("SELECT count(*) FROM crmsync.item i JOIN crmsync.link l ON l.id = i.link WHERE l.name = '$link' AND i.record = '$record' AND i.state = 'removed'") eq '1';
	return $is_missed && time - ($missed{"$link $record"} //= time) > 2;
}

my $first = 1;
for my $link ('simple', 'joined')
{
	make_link($link, $first);
	my ($changed, $deleted) = ($first, $first + 1);
	beside_change("UPDATE crm.person SET last_name = 'Ours', phone = '0' WHERE id = $changed",
		sub { user($link, 'update', "First$changed", 'contacts:Surname' => 'Theirs', 'contacts:GivenName' => 'Typed') }, \&put_off);
	$stage->until_true(sub { named($changed) eq 'Typed Ours 0' }, "$link: what the CRM changes meanwhile stays, and what else the user changed comes in", 20) or diag(named($changed), failing());
	is(conflicts($link), "$changed surname Ours Theirs crm", 'what both have changed is a conflict');
	$stage->until_true(sub { my $item = $exchange->records($one, $link)->{$changed}; "$item->{'contacts:GivenName'} $item->{'contacts:Surname'}" eq 'Typed Ours' }, 'both sides agree', 20);
	beside_change("UPDATE crm.person SET last_name = 'Wanted' WHERE id = $deleted", sub { user($link, 'delete', "First$deleted") }, sub { is_missed($link, $deleted) });
	$stage->settles("$link: all is done", $link);
	is(named($deleted), "First$deleted Wanted +49 30 $deleted", 'a record that the CRM has just changed is not deleted for its user');
	$first += 3;
}

# ---- a view that has no rows to take
make_link('grouped', $first);
user('grouped', 'update', "First$first", 'contacts:Surname' => 'Grouped');
$stage->until_true(sub { named($first) eq "First$first Grouped +49 30 $first" }, 'what comes in is written all the same', 20) or diag(failing(), $stage->status('last_error', 'grouped'));
user('grouped', 'delete', 'First' . ($first + 1));
$stage->until_true(sub { named($first + 1) eq '' }, 'and what is deleted goes', 20) or diag(failing(), $stage->status('last_error', 'grouped'));

$stage->done;
