# The property that holds our stamp is open to each user: what he writes into it concerns his own item, and gives him
# nothing of a record that is not his to see.
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

$stage->make_crm(more => "direction => 'both', inbound_interval => '1 s', conflict => 'target_wins'");
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
$stage->until_true(sub { $stage->status('state') eq 'idle' }, 'and the link is well', 20) or diag($stage->status('state'));
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE record !~ '^[1-6]\$'"), '0', 'they are of no record');
is(scalar(grep { ($_->{properties}{'contacts:GivenName'} // '') eq 'Odd' } $exchange->items($one)), scalar(@odd), 'and stay where they are');

# ---- the stamp of a record that belongs into another mailbox
sub held { my ($id) = @_; return (grep { $_->{id} eq $id } $exchange->items($one))[0]{properties} }
sub makes { my ($key) = @_; return $exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Evil', 'contacts:JobTitle' => 'His', $property => $prefix . $key })->{ids}[0] }
my $before = people();
my $his = makes(5);
$stage->until_true(sub { !held($his)->{$property} }, q{another's record: the stamp is taken away}, 20) or diag($stage->sql('SELECT * FROM crmsync.items'));
rests(q{another's record});
is(people(), $before, 'and nothing of the item comes in');
is(join(' ', @{ held($his) }{qw(contacts:GivenName contacts:JobTitle)}), 'Evil His', 'nor is anything written into it');

# ---- moved by its user, and changed: it is the record's still
my $id = (grep { (CrmSync::StandIn::key_of($_) // '') eq '3' } $exchange->items($one))[0]{id};
my $away = $exchange->act($one, 'move', id => $id, to => 'deleteditems')->{ids}[0];
$exchange->act($one, 'update', id => $away, set => { 'contacts:GivenName' => 'Moved' });
my $back = $exchange->act($one, 'move', id => $away, to => 'contacts')->{ids}[0];
$stage->until_true(sub { people() =~ /3 Moved/ }, 'moved and changed: it comes in', 20);
rests('moved');
ok(held($back)->{$property}, 'and is kept in step');

# ---- into the place of one that is deleted, as the record leaves
$exchange->act($one, 'delete', id => (grep { (CrmSync::StandIn::key_of($_) // '') eq '4' } $exchange->items($one))[0]{id});
$stage->sql('DELETE FROM crm.audience WHERE record = 4');
rests('left');
$before = people();
my $late = makes(4);
$stage->until_true(sub { !held($late)->{$property} }, 'of a record that is there no more: the stamp is taken away', 20);
is(people(), $before, 'and nothing comes in');

$stage->done;
