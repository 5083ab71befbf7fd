# Items of one record in several mailboxes are read at once, and one of the answers comes late. What was changed in the
# CRM meanwhile is carried out, though the worker dies while that is under way.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('read_together', conf => 'restart_after_crash = on');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub arrivals { return $stage->sql('SELECT count(*) FROM crmsync.arrival') }

$stage->make_crm(more => "direction => 'both', inbound_interval => '1 s', on_audience_loss => 'unlink'");
$stage->add_people(1, 2, $one, $two);
$stage->settles('two people');
# What is left to its user is read when he changes it, and nothing follows.
$stage->change("DELETE FROM crm.audience WHERE record = 1 AND mailbox = '$two'");
is($stage->sql("SELECT string_agg(state, ' ' ORDER BY mailbox) FROM crmsync.items WHERE record = '1'"), 'linked unlinked', 'one is left to its user');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && arrivals() eq '0' }, 'the mailboxes are read', 20);
sleep 2.5;

$stage->sql("SELECT crmsync.pause_target('exchange')");
$exchange->act($_, 'update', match => { 'contacts:GivenName' => 'First1' }, set => { 'contacts:Surname' => 'Typed' }) for $one, $two;
$exchange->inject('delay', operation => 'GetItem', mailbox => $two, seconds => 3);
$exchange->inject('silence', operation => 'UpdateItem', mailbox => $one, seconds => 60);
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->until_true(sub { $exchange->hits == 1 && $stage->sql('SELECT last_name FROM crm.person WHERE id = 1') eq 'Typed' }, 'one has come in, the other is being read', 20);
$stage->sql("UPDATE crm.person SET phone = 'now' WHERE id = 1");
is(arrivals(), 1, 'a change of the record while the other is still being read');
$stage->until_true(sub { arrivals() eq '0' && $exchange->hits == 2 }, 'it is under way, and the other has been read', 10);
sleep 1;
kill 9, $stage->worker_pid;
sleep 0.2;
$stage->until_true(sub { $stage->answers }, 'the worker dies, and the server is there again', 30);
$exchange->calm;
$stage->settles('all is carried out');
is($exchange->show($one, 'contacts:PhoneNumber/BusinessPhone'), '1:now 2:+49 30 2', 'the change is not lost');
$stage->done;
