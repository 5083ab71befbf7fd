# on_ambiguous oldest: of several items that match, the oldest is taken, also when it comes last, and of several
# records the one with the lowest key. The rest is reported.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('oldest');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';

sub user_makes { my (%set) = @_; return $exchange->act($one, 'create', folder => 'contacts', set => \%set)->{ids}[0] }
sub keys_of { my @ids = @_; my %key = map { $_->{id} => CrmSync::StandIn::key_of($_) // '-' } $exchange->items($one); return join ' ', map { $key{$_} // 'gone' } @ids }

# Of an age each, a second being the least that counts.
my @doubles;
for (1 .. 3)
{
	push @doubles, user_makes('contacts:GivenName' => 'Dora', 'contacts:Surname' => 'Double', 'contacts:JobTitle' => $_);
	sleep 1.1;
}
user_makes('contacts:GivenName' => "Other$_", 'contacts:Surname' => 'Person') for 1 .. 150;
$exchange->act($one, 'update', id => $doubles[0], set => { 'contacts:JobTitle' => 'last' });    # so it comes last
$stage->make_tables;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 100;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD made_in text;
INSERT INTO crm.person (id, first_name, last_name) VALUES (11, 'Dora', 'Double'), (9, 'Dora', 'Double');
INSERT INTO crm.audience VALUES (11, '$one'), (9, '$one');
CREATE VIEW crm.everywhere AS SELECT record, mailbox FROM crm.audience UNION ALL SELECT id, made_in FROM crm.person;
SQL
$stage->make_target;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.everywhere', direction => 'both',
    inbound_interval => '1 s', match_on => '{given_name,surname}', on_ambiguous => 'oldest');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SELECT crmsync.enable_link('people');
SQL
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crm.person') eq '152' && keys_of(@doubles) =~ /\d \d/ }, 'all has come in', 60) or diag(keys_of(@doubles));
is(keys_of(@doubles), '9 11 -', 'the oldest item is of the record with the lowest key, the next of the next');
is($stage->sql("SELECT string_agg(concat_ws(' ', record, origin), ', ' ORDER BY record::integer) FROM crmsync.items WHERE record::integer < 100"), '9 adopted, 11 adopted', 'both are adopted');
is($stage->sql("SELECT string_agg(concat_ws(' ', kind, records, choices), ', ') FROM crmsync.conflicts WHERE choice IS NULL AND winner IS NULL"), 'ambiguous {9,11} {new,leave}', 'and the last one is reported');
$exchange->act($one, 'delete', id => $doubles[0]);
$stage->until_true(sub { keys_of($doubles[2]) eq '9' }, 'it takes the place of the first when its user deletes that', 30) or diag(keys_of(@doubles));
is($stage->sql('SELECT count(*) FROM crm.person'), '152', 'and nobody is doubled in the CRM');

$stage->done;
