# The option inbound_categories: which new items come in. Those that are known go on whatever they bear.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('categories');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
sub user_makes { my ($name, @categories) = @_; return $exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:Surname' => $name, @categories ? ('item:Categories' => \@categories) : () }) }
sub user_changes { my ($name, %set) = @_; return $exchange->act($one, 'update', match => { 'contacts:Surname' => $name }, folder => 'contacts', set => \%set) }
sub people { return $stage->sql("SELECT coalesce(string_agg(last_name, ' ' ORDER BY last_name), 'nobody') FROM crm.person") }

user_makes('Before', 'CRM', 'Friends');
user_makes('Other', 'Friends');
$stage->make_tables;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key');
CREATE VIEW crm.all_people AS SELECT id AS record, '$one'::text AS mailbox FROM crm.person;
DROP TABLE crm.audience;
ALTER VIEW crm.all_people RENAME TO audience;
CREATE VIEW crm.mailboxes AS SELECT '$one'::text AS mailbox;
SQL
$stage->make_target;
$stage->make_link(more => "mailboxes => 'crm.mailboxes', direction => 'both', inbound_interval => '1 s', options => '{\"inbound_categories\": {\"only\": [\"crm\"], \"none\": [\"Private\"]}}'");
user_makes('Later', 'crm');
user_makes('Both', 'CRM', 'private');
user_makes('None');
$stage->until_true(sub { people() eq 'Before Later' }, 'only items of the category become rows', 20);
$stage->until_true(sub { $stage->sql('SELECT bool_and(stamped) FROM crmsync.item') eq 't' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'the others are left alone', 20);
user_changes('None', 'item:Categories' => ['CRM']);
$stage->until_true(sub { people() eq 'Before Later None' }, 'one that gets it comes in', 20);
user_changes('Later', 'item:Categories' => undef, 'contacts:Surname' => 'Latest');
$stage->until_true(sub { people() eq 'Before Latest None' }, 'one that loses it goes on', 20);
$stage->change("UPDATE crm.person SET first_name = 'Known' WHERE last_name = 'Latest'");
is((grep { ($_->{properties}{'contacts:Surname'} // '') eq 'Latest' } $exchange->items($one))[0]{properties}{'contacts:GivenName'}, 'Known', 'both ways');
is($stage->sql('SELECT count(*) FROM crmsync.failures'), '0', 'which is no failure');

$stage->done;
