# A user gets another address while much is under way to the old one, which is somebody else's from then on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('readdressed');
my $exchange = $stage->exchange;
my ($maid, $wed) = ('user1@example.test', 'wed@example.test');
$stage->make_tables;
$stage->make_target;
$stage->sql("SET ROLE crm_owner; CREATE TABLE crm.mailboxes (id integer, mailbox text); INSERT INTO crm.mailboxes VALUES (1, '$maid'), (2, 'user2\@example.test')");
$stage->make_link(more => "mailboxes => 'crm.mailboxes'");
$stage->settles('at rest');

$exchange->inject('delay', operation => 'CreateItem', mailbox => $maid, seconds => 5, count => 1);
$stage->add_people(1, 400, $maid);
$stage->until_true(sub { $exchange->hits > 0 }, 'the first of many are under way', 20);
$exchange->forget_journal;
$exchange->post('mailbox', address => $maid, rename_to => $wed);
$exchange->post('mailboxes', address => $maid);
$stage->sql("BEGIN; UPDATE crm.mailboxes SET mailbox = '$wed' WHERE id = 1; UPDATE crm.audience SET mailbox = '$wed' WHERE mailbox = '$maid'; COMMIT");
$stage->until_true(sub { scalar($exchange->items($wed)) == 400 }, 'all goes to her new address', 60) or diag(scalar($exchange->items($wed)));
$stage->settles('all of hers');
cmp_ok(scalar(grep { $_->{mailbox} eq $maid } $exchange->journal), '<=', 1, 'nothing more is sent to the old one');
is(scalar($exchange->items($maid)), 0, 'where another user has nothing of it');
is($stage->sql("SELECT string_agg(DISTINCT state, ' '), count(*) FROM crmsync.items WHERE mailbox = '$wed'"), 'linked|400', 'each is known');
is(join(' ', sort map { $_->{id} } $exchange->items($wed)), join(' ', sort split /\n/, $stage->sql("SELECT remote_id FROM crmsync.items WHERE mailbox = '$wed'")), 'by the id that it has there');

$stage->done;
