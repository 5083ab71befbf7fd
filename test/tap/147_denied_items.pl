# What the server denies (ErrorAccessDenied) may be one item's matter, or the whole mailbox's.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('denied_items');
my ($exchange, $one, $two) = ($stage->exchange, 'user1@example.test', 'user2@example.test');
sub mailbox { my ($address) = @_; return $stage->sql("SELECT coalesce(code, 'well') FROM crmsync.mailboxes WHERE mailbox = '$address'") }
sub failures { return $stage->sql("SELECT coalesce(string_agg(record || ' ' || mailbox || ' ' || code, ', ' ORDER BY record, mailbox), 'none') FROM crmsync.failures") }
sub name { my ($mailbox, $person) = @_; return $exchange->records($mailbox)->{$person}{'contacts:GivenName'} }

$stage->make_crm;
$stage->add_people(1, 3, $one, $two);
$stage->settles('before');

# ---- one item, alone in what is to be done
$exchange->inject('item', operation => 'UpdateItem', mailbox => $one, code => 'ErrorAccessDenied', match => 'Denied', count => 0);
$stage->change("UPDATE crm.person SET first_name = 'Denied' WHERE id = 1");
is(failures(), "1 $one ErrorAccessDenied", 'one item that is denied is a failure of its own');
is(mailbox($one), 'well', 'and not of its mailbox');
is(name($two, 1), 'Denied', 'nor in another one');
$stage->change("UPDATE crm.person SET first_name = 'Next' WHERE id = 2");
is(name($one, 2), 'Next', 'the others go on');
$exchange->calm;
$stage->sql("SELECT crmsync.retry('people')");
$stage->settles('it is tried again');
is(name($one, 1), 'Denied', 'and written when it may be');

# ---- several items, with nothing else to be written
$exchange->inject('item', operation => $_, mailbox => $one, code => 'ErrorAccessDenied', match => 'Denied', count => 0) for qw(UpdateItem CreateItem);
$stage->change("UPDATE crm.person SET first_name = 'Denied again' WHERE id IN (1, 2)");
is(failures(), "1 $one ErrorAccessDenied, 2 $one ErrorAccessDenied", 'several that are denied together are failures of their own');
is(mailbox($one), 'well', 'and not of their mailbox');
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (4, 'Denied'); INSERT INTO crm.audience SELECT 4, m FROM unnest('{$one,$two}'::text[]) m");
$stage->until_true(sub { failures() =~ /4 $one ErrorAccessDenied/ }, 'so is a new one') or diag(failures());
is(mailbox($one), 'well', 'and its mailbox is well');
$stage->change("UPDATE crm.person SET first_name = 'Last' WHERE id = 3");
is(name($one, 3), 'Last', 'the others go on');

# ---- many, beside one that may be written
$stage->add_people(11, 30, $one);
$stage->sync;
$stage->change("UPDATE crm.person SET first_name = CASE id WHEN 30 THEN 'Fine' ELSE 'Denied' END WHERE id BETWEEN 11 AND 30");
is($stage->sql("SELECT count(*) FROM crmsync.failures WHERE record::int BETWEEN 11 AND 29"), '19', 'many fail one by one where another is written');
is(mailbox($one) . ' ' . name($one, 30), 'well Fine', 'as it is');
$exchange->calm;
$stage->sql("SELECT crmsync.retry('people')");
$stage->settles('all are tried again');
is(name($one, 4), 'Denied', 'and written when they may be');

# ---- all that is asked there
$exchange->inject('response', mailbox => $one, code => 'ErrorAccessDenied', count => 0);
$stage->sql("UPDATE crm.person SET first_name = 'Late' WHERE id = 3");
$stage->until_true(sub { mailbox($one) eq 'ErrorAccessDenied' }, 'a mailbox that is denied altogether waits') or diag(mailbox($one) . ' ' . failures());
$stage->until_true(sub { name($two, 3) eq 'Late' }, 'another one does not');
$exchange->calm;
$stage->sql("SELECT crmsync.retry('people')");
$stage->settles('it is let in again');
is(name($one, 3), 'Late', 'and gets what it has missed');

$stage->done;
