# The property that holds our stamp is open to each user: what he writes into it concerns his own item.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;

my $stage = CrmSync::EndToEnd->new('odd_stamps');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
my $property = CrmSync::StandIn::stamp_property();

sub people { return $stage->sql("SELECT string_agg(concat_ws(' ', id, first_name, phone), ', ' ORDER BY id) FROM crm.person") }
sub rests { $stage->until_true(sub { $stage->sql('SELECT (SELECT count(*) FROM crmsync.pending) + (SELECT count(*) FROM crmsync.arrival) + (SELECT count(*) FROM crmsync.sighting)') eq '0' }, "$_[0]: at rest", 20) or diag($stage->sql('SELECT * FROM crmsync.pending; SELECT * FROM crmsync.arrival; SELECT * FROM crmsync.sighting; SELECT * FROM crmsync.alerts')); return }

$stage->make_crm(more => "direction => 'both', inbound_interval => '1 s'");
$stage->add_people(1, 4, $one);
$stage->add_people(5, 6, $two);
$stage->settles('six people');
rests('before');
my ($prefix) = ((grep { CrmSync::StandIn::key_of($_) } $exchange->items($one))[0]{properties}{$property}) =~ m{^(.*/)};

# ---- what cannot be a key
my @odd = ('x' x 4000, '%FF', '17%00', '%31');
my %made = map { $_ => $exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Odd', $property => $prefix . $_ })->{ids}[0] } @odd;
$exchange->act($one, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => 'person2@example.com' }, folder => 'contacts', set => { 'contacts:GivenName' => 'Second' });
$stage->until_true(sub { people() =~ /2 Second/ }, 'odd stamps: what else its user does comes in') or diag($stage->sql('SELECT * FROM crmsync.alerts'));
rests('odd stamps');
is($stage->status('state'), 'idle', 'and the link is well');
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE record !~ '^[1-6]\$'"), '0', 'they are of no record');
is(scalar(grep { ($_->{properties}{'contacts:GivenName'} // '') eq 'Odd' } $exchange->items($one)), scalar(@odd), 'and stay where they are');

$stage->done;
