# What the planner believes of our tables may be long out of date: a first load into tables that were
# analyzed while they were empty costs no more than any other.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('statistics');
my @mailboxes = map { "user$_\@example.test" } 1 .. 4;
my $people = 600;
$stage->make_crm;
$stage->sql('VACUUM ANALYZE');
$stage->add_people(1, $people, @mailboxes);
$stage->settles('a first load');

sub read_rows { return $stage->sql("SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_all_tables WHERE schemaname = 'crmsync' AND relname = '$_[0]'") }

my $items = $people * @mailboxes;
is($stage->sql('SELECT count(*) FROM crmsync.item'), $items, 'everything is there');
cmp_ok(read_rows('item'), '<', 20 * $items, 'each item was looked at a few times');
cmp_ok(read_rows('pending'), '<', 20 * $people, 'each pending record, too');

$stage->sql("UPDATE crm.person SET first_name = 'Changed'");
$stage->settles('a change of all');
cmp_ok(read_rows('item'), '<', 40 * $items, 'and a few times more for each change');

# ---- who asks for one mailbox of many reads its items only
$stage->sql(<<'SQL');
INSERT INTO crmsync.mailbox (link, address) SELECT l.id, 'many' || i || '@example.test' FROM crmsync.link l, generate_series(1, 100) i;
INSERT INTO crmsync.item (link, record, mailbox, remote_id) SELECT m.link, r::text, m.id, r || '-' || m.id
FROM crmsync.mailbox m, generate_series(1, 50) r WHERE m.address LIKE 'many%';
ANALYZE crmsync.mailbox, crmsync.item;
SQL
my $one_of_many = "SELECT items FROM crmsync.mailboxes WHERE mailbox = 'many7\@example.test'";
is($stage->sql($one_of_many), '50', 'one mailbox of the view mailboxes');
unlike($stage->sql("EXPLAIN $one_of_many"), qr/Seq Scan on item\b/, 'its items are found by the index');
$stage->done;
