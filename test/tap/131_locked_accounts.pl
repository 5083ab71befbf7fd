# A directory locks an account after five or ten failed logons. So a wrong password is tried by one request, however
# many mailboxes wait, and whatever made it wrong.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep);

my @mailboxes = map { "user$_\@example.test" } 1 .. 30;
my $stage = CrmSync::EndToEnd->new('locked', exchange => [ '--mailboxes', scalar @mailboxes, '--request-ms', 50 ]);
my $exchange = $stage->exchange;
my ($right, $wrong) = ('file:exchange', $stage->secret('wrong', 'wrong'));

# Logons that have failed since the journal was forgotten.
sub failed_logons { return scalar grep { $_->{status} == 401 } $exchange->journal }
sub failed { my ($count) = @_; return sub { failed_logons() >= $count && $stage->target('code') eq 'HTTP-401' } }

sub resume { $stage->sql("SELECT crmsync.resume_target('exchange')"); return }
sub alter { my ($secret) = @_; $stage->sql("SELECT crmsync.alter_target('exchange', secret => '$secret')"); return }
sub change_password { my ($password) = @_; $exchange->post('server', password => $password); return }

# Something to write in every mailbox, at once.
my $last_change = 0;
sub change_all { ++$last_change; $stage->sql("UPDATE crm.person SET first_name = 'Change$last_change' WHERE id = 1"); return }
sub changed { return scalar grep { $exchange->records($_)->{1}{'contacts:GivenName'} eq "Change$last_change" } @mailboxes }

# When all is written, none of the requests that were under way together is missing in the journal.
sub settles_after
{
	my ($count, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->settles("$name: the right one");
	is(failed_logons(), $count, "... after $count failed logons");
	$exchange->forget_journal;
	return;
}

$stage->make_tables;
$stage->make_target(secret => $wrong);
$stage->make_link;
$stage->add_people(1, 1, @mailboxes);
$stage->until_true(failed(1), 'a password that was never right');
resume();
$stage->until_true(failed(2), '... is tried again when somebody says so');
alter($right);
settles_after(2, 'never right before');

sleep 11;    # while nothing is written
change_password('changed');
change_all();
$stage->until_true(failed(1), 'a password that is changed in the directory meanwhile');
$stage->until_true(failed(2), '... is tried again by itself');
resume();
$stage->until_true(failed(3), '... and when somebody says so');
change_password('secret');
resume();
settles_after(3, 'changed in the directory');

alter($wrong);
change_all();
$stage->until_true(failed(1), 'another password that is wrong');
alter($right);
settles_after(1, 'another password');

$stage->node->stop;
change_password('changed');
$stage->node->start;
change_all();
$stage->until_true(failed(1), 'a worker that begins with a wrong password');
change_password('secret');
resume();
settles_after(1, 'a worker begins');

# ---- what is under way cannot be helped, but nothing follows it
$stage->add_people(2, 1000, @mailboxes);
$stage->until_true(sub { $exchange->requests('CreateItem') > 20 }, 'much is written');
change_password('changed');
$stage->until_true(failed(1), 'a password that is changed meanwhile');
change_password('secret');
resume();
$stage->settles('the right one');
cmp_ok(failed_logons(), '<=', 8, 'no more logons have failed than there are connections');

# ---- a good password whose first request hangs
$stage->node->stop;
$exchange->inject('silence', seconds => 100);
$stage->node->start;
change_all();
$stage->until_true(sub { changed() >= $#mailboxes }, 'a mailbox that hangs when a worker begins does not hold up the others', 60);
is($exchange->hits, 1, '... although it was the first');
$exchange->calm;
$stage->done;
