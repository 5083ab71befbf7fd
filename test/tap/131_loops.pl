# An item that keeps changing by itself is parked with the code LOOP, and left alone until retry; a user who
# edits the same field again and again is none.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('loops');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
$stage->make_tables;
# The CRM insists on capitals, in a statement of its own.
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE FUNCTION crm.capitals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE crm.person SET last_name = upper(last_name) WHERE id = NEW.id AND last_name <> upper(last_name);
    RETURN NULL;
END;
$$;
CREATE TRIGGER capitals AFTER INSERT OR UPDATE ON crm.person FOR EACH ROW EXECUTE FUNCTION crm.capitals();
SQL
$stage->make_target;
$stage->make_link(more => "direction => 'both', inbound_interval => '1 s'");
$stage->add_people(1, 3, $one);
$stage->settles('three people');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL") eq '1' }, 'the mailbox is read');

sub held { my ($person, $property) = @_; return $exchange->records($one)->{$person}{ $property // 'contacts:Surname' } }
sub user_changes { my ($person, %set) = @_; return $exchange->act($one, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', set => \%set) }

# Something in the mailbox insists on small letters.
my $rounds = 0;
sub insist { return if held(1) ne uc held(1); $rounds++; user_changes(1, 'contacts:Surname' => lc held(1)); return }

# ---- a loop
my $until = time + 60;
until ($stage->failures ne 'none' || time > $until) { insist(); sleep 0.2 }
is($stage->failures, '1 LOOP', 'an item that keeps changing by itself is parked');
cmp_ok($rounds, '<=', 6, 'after five rounds, or while a sixth begins');
is($stage->sql("SELECT parked FROM crmsync.failures"), 't', 'which is not tried again by itself');
like($stage->sql('SELECT message FROM crmsync.failures'), qr/made the same of what the CRM wrote 5 times: surname/, 'the reason names the field');
like($stage->sql("SELECT string_agg(message, ' ') FROM crmsync.alerts"), qr/1 records are parked/, 'and somebody is told');
my $updates = $exchange->requests('UpdateItem');
for (1 .. 20) { insist(); sleep 0.2 }
is($exchange->requests('UpdateItem'), $updates, 'from then on it is left alone');
is($stage->failures, '1 LOOP', 'and stays parked when it rests');
$stage->change("UPDATE crm.person SET first_name = 'Other' WHERE id = 1");
is(held(1, 'contacts:GivenName'), 'First1', 'also when the CRM changes something else');
like($stage->sql("SELECT string_agg(reason, ' ') FROM crmsync.plan('people')"), qr/LOOP/, 'plan says what it waits for');
$stage->change("UPDATE crm.person SET first_name = 'Other' WHERE id = 2");
is(held(2, 'contacts:GivenName'), 'Other', 'others go on');

# ---- retry
is($stage->sql("SELECT crmsync.retry('people', '1')"), '1', 'retry finds it');
$stage->until_true(sub { held(1, 'contacts:GivenName') eq 'Other' }, 'and has it tried again', 20);
is($stage->failures, 'none', 'nothing is parked');
is(held(1), uc held(1), 'whoever insisted has stopped: the CRM has its way');

# ---- a user who edits the same field again and again
for my $number (1 .. 12)
{
	user_changes(3, 'contacts:Surname' => "typed$number");
	$stage->until_true(sub { held(3) eq "TYPED$number" }, "edit $number comes in, and the CRM makes capitals of it", 20);
}
is($stage->sql('SELECT last_name FROM crm.person WHERE id = 3'), 'TYPED12', 'all that he writes comes in');
is($stage->failures, 'none', 'a user who edits the same field again and again is no loop');
cmp_ok($stage->sql('SELECT count(*) FROM crmsync.bounce'), '<=', 3, 'there is one row an item at most');
$stage->sql("UPDATE crmsync.bounce SET last = now() - interval '11 minutes'");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.bounce') eq '0' }, 'which goes when it has come to rest', 90);

$stage->done;
