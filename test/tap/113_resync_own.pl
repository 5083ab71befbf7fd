# What a user made is his, also when he brings it back after a resync: it is forgotten only with its record.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('resync_own');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
$stage->make_crm(more => "direction => 'both', inbound_interval => '1 s'");
$stage->add_people(1, 8, $one);
$stage->settles('before');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '1' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'the mailbox is read', 20);
sleep 2.5;

sub user { my ($does, $person, %more) = @_; return $exchange->act($one, $does, match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', %more) }
sub states { return $stage->sql("SELECT string_agg(concat_ws(' ', record, origin, state), ', ' ORDER BY record) FROM crmsync.items WHERE mailbox = '$one' AND record IN ('6', '7')") }
sub held { return join ', ', map { defined CrmSync::StandIn::key_of($_) ? 'ours' : 'his' } grep { $_->{properties}{'contacts:GivenName'} eq "First$_[0]" } $exchange->items($one) }
sub resync { $stage->sql("SELECT crmsync.resync('people', '$one')"); $stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.repair') eq '0' }, 'the mailbox is read', 60); $stage->settles('and what follows is done'); return }
$stage->sql("UPDATE crmsync.item SET origin = 'mailbox' WHERE record IN ('6', '7')");
user('move', 6, to => 'deleteditems');
user('delete', 7);
$stage->sql("DELETE FROM crm.audience WHERE record = 6 AND mailbox = '$one'");
$stage->until_true(sub { states() eq '6 mailbox absent, 7 mailbox absent' }, 'one is away when its record leaves the audience, and one is deleted', 20) or diag(states());
resync();
$stage->until_true(sub { states() eq '6 mailbox absent, 7 mailbox linked' }, 'after a resync one is there again, and of the other we know whose it was', 20) or diag(states());
is(held(6) . ' ' . held(7), ' ours', 'as the mailbox shows');
$exchange->act($one, 'move', match => { 'contacts:EmailAddress/EmailAddress1' => 'person6@example.com' }, folder => 'deleteditems', to => 'contacts');
$stage->until_true(sub { held(6) eq 'his' }, 'he brings it back: it loses the stamp', 20) or diag(held(6), states());
sleep 2.5;
is(held(6) . ' ' . states(), 'his 6 mailbox unlinked, 7 mailbox linked', 'and stays');

$stage->done;
