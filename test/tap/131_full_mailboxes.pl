# Mailboxes that become full while much is written to others: each is asked once, and then not before its pause is
# over, also by what is decided at that moment.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my @full = map { "user$_\@example.test" } 1 .. 8;
my @others = map { "user$_\@example.test" } 9 .. 13;
my $stage = CrmSync::EndToEnd->new('full', exchange => [ '--mailboxes', @full + @others ]);
my $exchange = $stage->exchange;
$stage->make_crm;
$stage->add_people(1, 2, @full, @others);
$stage->settles('there is room in all');
$exchange->post('mailbox', address => $_, quota => 1) for @full;
$exchange->forget_journal;
my $last = 2;
for my $mailbox (@full)
{
	$stage->add_people($last + 1, $last + 1500, $mailbox, @others);
	$last += 1500;
	$stage->sync;
}
is(join(' ', map { scalar keys %{ $exchange->records($_) } } @others), join(' ', ($last) x @others), 'those that have room get everything');
my %asked;
$asked{ $_->{mailbox} }++ for $exchange->journal;
is(join(' ', map { $asked{$_} // 0 } @full), join(' ', ('1') x @full), 'the others are asked once');
$stage->done;
