# undo of many changes: what is left to do is not read from end to end for each piece of it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('undo_much');
my $exchange = $stage->exchange;
my $people = 10000;
my $mailbox = 'user1@example.test';
$stage->make_crm;
$stage->add_people(1, $people, $mailbox);
$stage->settles('many people', 'people', '120 s');
my $before = $stage->sql('SELECT clock_timestamp()');
$stage->sql("UPDATE crm.person SET last_name = 'Wrong'");
$stage->settles('all are changed', 'people', '120 s');
$stage->sql("SET client_min_messages = error; SELECT crmsync.undo('people', '$before')");
$stage->settles('all is undone', 'people', '120 s');
my $items = $exchange->records($mailbox);
is(scalar(grep { $items->{$_}{'contacts:Surname'} ne "Last$_" } 1 .. $people), 0, 'everywhere');
my $read = "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_user_tables WHERE relname = 'undoing'";
$stage->until_true(sub { $stage->sql($read) >= $people }, 'what was read is counted');
my $times = $stage->sql($read) / $people;
cmp_ok($times, '<', 40, sprintf 'a row is read a few times only (%.1f)', $times);
$stage->done;
