# match_on of a link that only writes: what a user has already is updated and stamped rather than doubled,
# before anything is created in his mailbox; nothing of it comes into the CRM.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('match_outbound');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
my ($first, $last, $phone) = ('contacts:GivenName', 'contacts:Surname', 'contacts:PhoneNumber/BusinessPhone');

sub user_makes { my ($mailbox, %set) = @_; return $exchange->act($mailbox, 'create', folder => 'contacts', set => \%set)->{ids}[0] }
sub shown { my ($mailbox) = @_; return join ', ', sort map { join ' ', CrmSync::StandIn::key_of($_) // '-', map { $_ // '-' } @{ $_->{properties} }{ $first, $last, $phone } } $exchange->items($mailbox) }
sub people { return $stage->sql("SELECT string_agg(concat_ws(' ', id, first_name, last_name, phone), ', ' ORDER BY id) FROM crm.person") }
sub undecided { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', kind, record, records, choices), ', ' ORDER BY kind, records, id), 'none') FROM crmsync.conflicts WHERE winner IS NULL AND choice IS NULL") }

my $had = user_makes($one, $first => 'anna', $last => 'LEE', 'item:Body' => 'hers', $phone => '+1');
user_makes($one, $first => 'Own', $last => 'Friend');
user_makes($one, $first => 'Two', $last => 'Times') for 1, 2;
user_makes($one, $first => 'Secret', $last => 'Person', 'item:Sensitivity' => 'Private');
$stage->make_tables;
# Who only reads the CRM does as the link's owner.
$stage->sql(<<"SQL");
CREATE ROLE crm_reader LOGIN;
SET ROLE crm_owner;
GRANT USAGE ON SCHEMA crm TO crm_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO crm_reader;
INSERT INTO crm.person (id, first_name, last_name, phone) VALUES (1, 'Anna', 'Lee', NULL), (2, 'New', 'Person', '+2'), (3, 'Two', 'Times', '+3'), (4, 'Secret', 'Person', NULL);
INSERT INTO crm.audience SELECT id, '$one' FROM crm.person;
SQL
$stage->make_target;
my $started = time;
$stage->make_link(more => "match_on => '{given_name,surname}', inbound_interval => '1 h', owner => 'crm_reader'");
$stage->until_true(sub { shown($one) =~ /2 New Person/ && shown($one) =~ /1 Anna/ }, 'the mailbox is read, and then written', 20) or diag(shown($one));
cmp_ok(time - $started, '<', 15, 'at once, however seldom it is read later');
is(shown($one), '- Own Friend -, - Secret Person -, - Two Times -, - Two Times -, 1 Anna Lee +1, 2 New Person +2, 4 Secret Person -', 'what matches is updated and gets the stamp; what only its user has stays; private items are nobody\'s matter');
is((grep { $_->{id} eq $had } $exchange->items($one))[0]{properties}{'item:Body'} =~ /hers/ ? 1 : 0, 1, 'it is the same item, with all that was in it');
is($stage->sql("SELECT string_agg(record || ' ' || origin, ', ' ORDER BY record) FROM crmsync.items"), '1 adopted, 2 crm, 4 crm', 'as is known of it');
is(people(), '1 Anna Lee, 2 New Person +2, 3 Two Times +3, 4 Secret Person', 'nothing comes into the CRM');
is(undecided(), 'ambiguous {3} {3,leave}, ambiguous {3} {3,leave}', 'of two that match somebody chooses one');
like($stage->sql("SELECT string_agg(detail, ' ') FROM crmsync.why('people', '3', '$one') WHERE step = 'matching'"), qr/may be of it/, 'as why says');
$stage->sql('SELECT crmsync.resolve((SELECT min(id) FROM crmsync.conflicts WHERE kind = \'ambiguous\'), \'3\')');
$stage->until_true(sub { shown($one) =~ /3 Two Times \+3/ }, 'which is updated, then', 20) or diag(shown($one));
is(scalar(() = shown($one) =~ /Two Times/g), 2, 'and there are still two');

# ---- what its user changes stays, as with every link that only writes
$stage->sql("SELECT crmsync.alter_link('people', inbound_interval => '1 s')");
$exchange->act($one, 'update', id => $had, set => { $last => 'Typed' });
$stage->change("UPDATE crm.person SET phone = '+11' WHERE id = 1");
like(shown($one), qr/1 Anna Typed \+11/, 'what its user changes in another field stays');
sleep 2.5;
is(people(), '1 Anna Lee +11, 2 New Person +2, 3 Two Times +3, 4 Secret Person', 'and does not come in');

# ---- a new mailbox, and one that is known
user_makes($two, $first => 'Anna', $last => 'Lee', $phone => '+5');
$stage->sql("INSERT INTO crm.audience VALUES (1, '$two')");
$stage->until_true(sub { shown($two) eq '1 Anna Lee +11' }, 'in another mailbox she is recognised, too', 20) or diag(shown($two));
user_makes($two, $first => 'Quite', $last => 'New');
sleep 2.5;
$exchange->forget_journal;
$stage->sql("INSERT INTO crm.audience VALUES (2, '$two')");
$stage->until_true(sub { shown($two) =~ /2 New Person/ }, 'in a mailbox that is known it is not waited for', 5);

# ---- out of the audience what was there before stays
$stage->sql("DELETE FROM crm.audience WHERE record = 1 AND mailbox = '$one'");
$stage->sync;
like(shown($one), qr/- Anna Typed \+11/, 'what was adopted only loses the stamp');
is($stage->sql("SELECT kind || ' ' || record FROM crmsync.conflicts WHERE winner IS NULL AND choice IS NULL AND kind = 'unlinked'"), 'unlinked 1', 'and is listed');
$stage->sql("SELECT crmsync.resolve((SELECT id FROM crmsync.conflicts WHERE kind = 'unlinked'), 'delete')");
$stage->until_true(sub { shown($one) !~ /Anna/ }, 'until somebody lets it go', 20);
is(people(), '1 Anna Lee +11, 2 New Person +2, 3 Two Times +3, 4 Secret Person', 'the CRM is as it was');
is($stage->sql('SELECT count(*) FROM crmsync.arrival WHERE code IS NULL'), '0', 'nothing is left over');

# ---- what we made ourselves, left to its user, and wanted there again
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', on_audience_loss => 'unlink'); SELECT crmsync.enable_link('people')");
$stage->sync;
$stage->sql("DELETE FROM crm.audience WHERE record = 2 AND mailbox = '$one'");
$stage->until_true(sub { shown($one) =~ /- New Person \+2/ }, 'it only loses the stamp', 20) or diag(shown($one));
sleep 2.5;
$stage->sql("INSERT INTO crm.audience VALUES (2, '$one'); UPDATE crm.person SET phone = '+22' WHERE id = 2");
$stage->until_true(sub { shown($one) =~ /2 New Person \+22/ }, 'it is known again', 20) or diag(shown($one));
$stage->sync;
is(scalar(() = shown($one) =~ /New Person/g), 1, 'it is not doubled');

# ---- a link that is created anew under the name of one that was dropped finds all by the stamps
sub origins { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, origin, state), ', ' ORDER BY record, mailbox), 'none') FROM crmsync.items") }
$stage->sql("SELECT crmsync.drop_link('people'); UPDATE crm.person SET phone = NULL WHERE id = 1; DELETE FROM crm.audience WHERE record = 3 OR mailbox = '$two'; INSERT INTO crm.audience VALUES (1, '$two'), (5, '$two'); INSERT INTO crm.person (id, first_name) VALUES (5, 'Latest')");
$stage->make_link(more => "owner => 'crm_reader'");
$stage->settles('the same link once more');
$stage->until_true(sub { origins() =~ /3 adopted unlinked/ && shown($two) !~ /New Person/ }, 'what its record is to be in no longer is looked at', 20) or diag(origins());
like(shown($one), qr/- Two Times \+3/, 'what a user had made is left to him');
like(shown($two), qr/1 Anna Lee \+11/, 'what the CRM has no value for stays with him');
like(origins(), qr/1 adopted linked.*4 crm linked, 5 crm linked/, 'it is known what users had made and what is ours');
$stage->sql('DELETE FROM crm.audience');
$stage->settles('nobody has anything');
$stage->until_true(sub { shown($two) !~ /Latest/ && shown($one) !~ /4 Secret/ }, 'what is ours goes', 20) or diag(shown($one), shown($two));
is(shown($two), '- Anna Lee +11, - Quite New -', 'and what they had made stays');

$stage->done;
