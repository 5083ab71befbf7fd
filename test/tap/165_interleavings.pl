# What changes while something else is under way: the record, the mapping, the link; and records that
# cannot be read among others that can.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use JSON::XS ();
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('interleavings');
my $exchange = $stage->exchange;
$stage->make_crm(before => "SELECT crmsync.map('people', '((100 / length(r.remark))::text)', 'nickname');");
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub first_name { return $exchange->records($one)->{ $_[0] }{'contacts:GivenName'} // '' }

# Something is on its way to the server, which does not answer before release().
sub hold { $exchange->post('server', paused => JSON::XS::true); return }
sub release { $exchange->post('server', paused => JSON::XS::false); return }
sub sent { my ($operation) = @_; return $exchange->requests($operation) > 0 }

# ---- a record that cannot be read
$stage->add_people(1, 300, $one);
$stage->settles('all are created');
$stage->sql("BEGIN; UPDATE crm.person SET remark = 'xxxx', first_name = 'New' || id; UPDATE crm.person SET remark = '' WHERE id IN (7, 123); COMMIT");
is(join(' ', $stage->sync), '0 2', 'two of 300 records cannot be read');
is($stage->failures, '7 22012, 123 22012', 'and are the only ones that have failed');
is(first_name(300), 'New300', 'the others are carried out');
is(first_name(7), 'First7', 'those two stay as they are');
$stage->sql("UPDATE crm.person SET remark = 'xx' WHERE id = 7");
is(join(' ', $stage->sync), '0 1', 'one is mended');
is(first_name(7), 'New7', 'and carried out');
$stage->sql("UPDATE crm.person SET remark = NULL, first_name = 'First123' WHERE id = 123");
$stage->settles('a failure is forgotten when nothing is to be done any more');

# ---- parked records that a bulk update mends
$stage->sql("UPDATE crm.person SET remark = '' WHERE id = 5");
$stage->sync;
$stage->sql('UPDATE crmsync.failure SET next_attempt = NULL, attempts = 3');
$stage->sql("BEGIN; INSERT INTO crm.person (id, first_name) SELECT i, 'Bulk' FROM generate_series(1001, 2100) i; UPDATE crm.person SET remark = 'mended'; COMMIT");
$stage->settles('a parked record is tried again when it changes together with very many');

# ---- a record that changes again while it is under way
$exchange->forget_journal;
hold();
$stage->sql("UPDATE crm.person SET first_name = 'Second' WHERE id = 10");
sleep 1;
$stage->sql("UPDATE crm.person SET first_name = 'Third' WHERE id = 10");
sleep 1;
release();
my $started = time;
$stage->until_true(sub { first_name(10) eq 'Third' }, 'a change made meanwhile follows at once', 3);

# ---- the mapping changes meanwhile
hold();
$stage->sql("UPDATE crm.person SET first_name = 'Before' WHERE id = 11");
sleep 1;
$stage->sql("SET client_min_messages = error; SELECT crmsync.unmap('people', 'business_phone'); SELECT crmsync.map('people', 'remark', 'notes'); SELECT crmsync.enable_link('people')");
sleep 1;
release();
$stage->settles('a mapping that changes while its old values are under way');
is($exchange->records($one)->{11}{'contacts:GivenName'}, 'Before', 'what was under way has arrived');
is($stage->sql("SELECT bool_and(values ->> 'notes' = 'mended' AND values ->> 'email_1' LIKE '%\@%') FROM crmsync.items"), 't', 'shadows name values as they were written');

# ---- the link is disabled meanwhile
$exchange->forget_journal;
hold();
$stage->sql("INSERT INTO crm.audience SELECT i, '$two' FROM generate_series(1, 50) i");
sleep 1;
release();
$stage->until_true(sub { sent('FindItem') || sent('CreateItem') }, 'creates are under way');
hold();
$stage->sql("SELECT crmsync.disable_link('people')");
sleep 1;
release();
sleep 1;
$stage->sql("UPDATE crm.person SET first_name = 'Disabled' WHERE id = 12");
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->settles('a link that was disabled while it created items');
is(scalar(keys %{ $exchange->records($two) }), 50, 'creates nothing twice');
is(first_name(12), 'Disabled', 'and takes up what changed meanwhile');

# ---- a comparison of many records that need nothing
$stage->sql("INSERT INTO crm.person (id, first_name) SELECT i, 'Many' FROM generate_series(10001, 30000) i");
$stage->settles('20,000 records in no mailbox', 'people', '60 s');
$started = time;
$stage->sql("SET client_min_messages = error; INSERT INTO crm.audience SELECT i, '' FROM generate_series(10001, 30000) i; UPDATE crm.person SET last_name = 'x' WHERE id > 10000");
$stage->settles('change, and still need nothing', 'people', '60 s');
cmp_ok(time - $started, '<', 15, 'which does not wait for the next poll between pieces');

$stage->done;
