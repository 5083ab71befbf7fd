# From Outlook to the CRM alone: the rows O15a to O15i of OroCRM's table, by name, with the preset orocrm; and single
# fields that only come in, of a link of direction both.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('inbound', exchange => [ '--mailboxes', 6 ]);
my $exchange = $stage->exchange;
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;

sub user_makes { my ($mailbox, $first, $last, %set) = @_; return $exchange->act($mailbox, 'create', folder => 'contacts', set => { 'contacts:GivenName' => $first, 'contacts:Surname' => $last, %set }) }
sub user_changes { my ($mailbox, $last, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:Surname' => $last }, folder => 'contacts', set => \%set) }
sub user_deletes { my ($mailbox, $last) = @_; return $exchange->act($mailbox, 'delete', match => { 'contacts:Surname' => $last }, folder => 'contacts') }
sub people { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', first_name, last_name, phone), ', ' ORDER BY last_name, id), 'nobody') FROM crm.person") }
sub comes_in { my ($expected, $name) = @_; local $Test::Builder::Level = $Test::Builder::Level + 1; return $stage->until_true(sub { people() eq $expected }, $name, 20) || diag(people()) }
sub held { my ($mailbox) = @_; return join ', ', sort map { join ' ', grep { defined } @{ $_->{properties} }{qw(contacts:Surname contacts:GivenName contacts:PhoneNumber/PrimaryPhone)} } $exchange->items($mailbox) }
sub is_stamped { return $stage->until_true(sub { $stage->sql('SELECT bool_and(stamped) FROM crmsync.item') eq 't' }, 'the items bear our stamp', 20) }

user_makes($one, 'Ann', 'Both', 'contacts:PhoneNumber/PrimaryPhone' => '+1');
user_makes($one, 'Cal', 'Theirs');
user_makes($two, 'Dan', 'Theirs too');
user_makes($three, 'No', 'Pilot');
$stage->make_tables;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 100;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD made_in text, ADD gender text, ADD birthday date;
CREATE TABLE crm.mailboxes (mailbox text PRIMARY KEY, enabled boolean);
INSERT INTO crm.mailboxes VALUES ('$one', true), ('$two', true), ('$three', false);
INSERT INTO crm.person (id, first_name, last_name, phone) VALUES (1, 'ann', 'Both', NULL), (2, 'Only', 'Ours', NULL);
RESET ROLE;
SET client_min_messages = error;
SQL
$stage->make_target;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', mailboxes => 'crm.mailboxes', preset => 'orocrm', direction => 'inbound',
                           inbound_interval => '1 s', outbound_interval => '1 s');
SELECT crmsync.map_preset('people');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SQL
$exchange->inject('delay', operation => 'GetItem', count => 2, seconds => 2);
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->until_true(sub { $stage->sql('SELECT kind, records FROM crmsync.backlog') eq 'arrived|3' && $stage->status("concat_ws(' ', state, pending)") eq 'working 3' }, 'what has yet to come in is pending', 10);

# ---- O15a, b, c
comes_in('Ann Both +1, Only Ours, Cal Theirs, Dan Theirs too', 'O15a, O15c: the CRM takes the values of what both have, and gets what only Outlook has');
is($stage->sql("SELECT string_agg(made_in, ' ' ORDER BY last_name) FROM crm.person WHERE made_in IS NOT NULL"), "$one $two", 'of those who take part');
is_stamped();
$stage->until_true(sub { $stage->status("concat_ws(' ', state, pending)") eq 'idle 0' }, 'after which nothing is', 10) or diag($stage->sql('SELECT * FROM crmsync.status'));
is(held($one) . '; ' . held($two), 'Both Ann +1, Theirs Cal; Theirs too Dan', 'O15b: what only the CRM has is created nowhere');
is($stage->sql('SELECT count(*) FROM crmsync.history WHERE action = \'create\''), '0', 'nor was anything');

# ---- O15d, e, f
$stage->change("UPDATE crm.person SET first_name = 'Anna' WHERE id = 1");
is(held($one), 'Both Ann +1, Theirs Cal', 'O15d: what the CRM changes does not go out');
user_changes($one, 'Both', 'contacts:PhoneNumber/PrimaryPhone' => '+2');
comes_in('Ann Both +2, Only Ours, Cal Theirs, Dan Theirs too', 'O15d, O15e: and is overwritten by Outlook\'s values, when one of them changes');
$stage->sql("UPDATE crm.person SET first_name = 'Anna', phone = NULL WHERE id = 1");
$stage->settles('the CRM changes it again');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
comes_in('Ann Both +2, Only Ours, Cal Theirs, Dan Theirs too', 'O15d: or when everything is compared');
$exchange->post('server', paused => \1);
user_changes($one, 'Both', 'contacts:GivenName' => 'Annie');
$stage->sql("UPDATE crm.person SET first_name = 'Anna' WHERE id = 1");
$exchange->post('server', paused => \0);
comes_in('Annie Both +2, Only Ours, Cal Theirs, Dan Theirs too', 'O15f: of what both have changed Outlook\'s value stays');
$stage->sql("UPDATE crm.person SET phone = '+9' WHERE last_name = 'Theirs'");
user_changes($one, 'Theirs', 'contacts:GivenName' => 'Carl');
comes_in('Annie Both +2, Only Ours, Carl Theirs +9, Dan Theirs too', 'where Outlook has nothing the CRM\'s value stays');

# ---- O15g, h
user_deletes($two, 'Theirs too');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.items WHERE state = 'absent'") eq '1' }, 'a delete is noticed', 20);
comes_in('Annie Both +2, Only Ours, Carl Theirs +9, Dan Theirs too', 'O15g: what Outlook deletes stays in the CRM');
$stage->change("UPDATE crm.person SET first_name = 'Daniel' WHERE last_name = 'Theirs too'");
is(held($two), '', 'and is not created again');
$stage->sql("DELETE FROM crm.person WHERE last_name IN ('Theirs', 'Ours', 'Theirs too')");
$stage->until_true(sub { held($one) eq 'Both Annie +2' }, 'O15h: what the CRM deletes is deleted in Outlook', 20);
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.item') eq '1' }, 'and known no more', 20);
user_makes($two, 'Eve', 'Kept');
comes_in('Annie Both +2, Eve Kept', 'another comes in');
is_stamped();
$stage->sql("SELECT crmsync.alter_link('people', on_crm_delete => 'keep')");
$stage->sql("DELETE FROM crm.person WHERE last_name = 'Kept'");
$stage->until_true(sub { !grep { defined CrmSync::StandIn::key_of($_) } $exchange->items($two) }, 'on_crm_delete keep: only our stamp goes', 20);
sleep 2.5;
is(people() . '; ' . held($two), 'Annie Both +2; Kept Eve', 'and it does not come in again');
$stage->sql("SELECT crmsync.alter_link('people', reset => '{on_crm_delete}')");

# ---- O13: an item with an id
my $stamp = '7c2b3e5a-9d41-4f6e-8b0a-5e1c9a7d3f42/crmsync';
my $instance = $stage->sql("SELECT replace(instance::text, '-', '') FROM crmsync.identity");
my $others = user_makes($two, 'Of', 'Another CRM', $stamp => ('0' x 32) . '/people/1')->{ids}[0];
my $nobodys = user_makes($two, 'Of', 'Nobody', $stamp => "$instance/people/999")->{ids}[0];
$exchange->forget_journal;
$stage->until_true(sub { !grep({ $_->{id} eq $nobodys } $exchange->items($two)) && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'O13: of a record that the CRM does not have, it is deleted as soon as it is read', 20) or diag(held($two), $stage->sql('SELECT * FROM crmsync.failures'));
is(held($two), 'Another CRM Of, Kept Eve', 'O13: only ids of our own instance are acted on');
is(people(), 'Annie Both +2', 'O13: neither comes in');
is($exchange->requests('FindItem') . '', '0', 'O13: nothing was listed for that');
$exchange->act($two, 'delete', id => $others);

# ---- O15i
user_makes($one, 'annie', 'both');
$stage->until_true(sub { $stage->failures =~ /AMBIGUOUS/ || $stage->sql('SELECT string_agg(code, $$ $$) FROM crmsync.failures') eq 'AMBIGUOUS' }, 'O15i: what several match is decided by nobody', 20);
is($stage->sql("SELECT concat_ws(' ', mailbox, coalesce(record, 'no record'), action, reason) FROM crmsync.plan('people')"), "$one no record bring in AMBIGUOUS: record 1 matches, and has another item in the mailbox", 'plan shows what waits to come in');
user_deletes($one, 'both');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.failures') eq '0' }, 'until one of them is gone', 20);

# ---- two mailboxes with different values come to rest
user_makes($two, 'ANNIE', 'BOTH', 'contacts:PhoneNumber/PrimaryPhone' => '+3');
comes_in('ANNIE BOTH +3', 'a second mailbox has the same record');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
$stage->settles('a comparison');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'after which nothing is left', 20);
my $history = $stage->sql('SELECT count(*) FROM crmsync.history');
sleep 3;
is($stage->sql('SELECT count(*) FROM crmsync.history'), $history, 'and neither overwrites the other again and again');

# ---- what stands in for a name that Outlook has not
sub solo { return $stage->sql("SELECT concat_ws(' ', first_name, last_name, phone) FROM crm.person WHERE last_name IN ('Solo', 'Yolo')") }
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:Surname' => 'Solo' });
$stage->until_true(sub { solo() eq 'Solo Solo' }, 'a name stands in for the other', 20) or diag(people());
$stage->sql("UPDATE crm.person SET first_name = 'Han' WHERE last_name = 'Solo'");
user_changes($two, 'Solo', 'contacts:PhoneNumber/PrimaryPhone' => '+5');
$stage->until_true(sub { solo() =~ /\+5/ }, 'something else of the item changes', 20) or diag(people());
is(solo(), 'Han Solo +5', 'what the CRM has made of the name stays');
$stage->sql("UPDATE crm.person SET phone = '+6' WHERE last_name = 'Solo'; SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
$stage->until_true(sub { solo() =~ /\+5/ }, 'or everything is compared', 20) or diag(people());
is(solo(), 'Han Solo +5', 'and stays then, too');
user_changes($two, 'Solo', 'contacts:Surname' => 'Yolo');
$stage->until_true(sub { solo() eq 'Yolo Yolo +5' }, 'until what stands in changes', 20) or diag(people());
$stage->sql("DELETE FROM crm.person WHERE last_name = 'Yolo'");
$stage->until_true(sub { held($two) !~ /Yolo/ }, 'he leaves', 20) or diag(held($two));

# ---- a crash, a lost state, a mailbox that begins to take part
$stage->node->stop('immediate');
$stage->node->start;
$stage->sql("UPDATE crm.mailboxes SET enabled = true WHERE mailbox = '$three'");
$exchange->post('mailbox', address => $one, invalidate_sync_states => \1);
$stage->until_true(sub { people() =~ /No Pilot/ }, 'after a crash it goes on', 20);
is($stage->sql('SELECT count(*) FROM crm.person'), '2', 'nothing is doubled');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.plan('people')") eq '0' }, 'plan: nothing is left to be done', 20);
$stage->sql("SELECT crmsync.resync('people', '$three')");
$stage->until_true(sub { $stage->nothing_to_repair }, 'resync comes to an end', 20);
is(people() =~ s/.*, //r, 'No Pilot', 'and changes nothing');
my @written = grep { /<m:(?:CreateItem|UpdateItem)\b/ } $exchange->bodies;
is(scalar(grep { /GivenName|Surname|PhoneNumber|FileAs/ } @written), 0, 'nothing but our stamp was ever written');

# ---- undo of a delete
sub undo { my ($since, $link) = @_; $stage->sql("SET client_min_messages = error; SELECT crmsync.undo('$link', '$since')"); return $stage->settles('undone', $link) }
my $earlier = $stage->sql('SELECT clock_timestamp()');
$stage->sql("DELETE FROM crm.person WHERE last_name = 'Pilot'");
$stage->until_true(sub { held($three) eq '' }, 'another is deleted', 20);
undo($earlier, 'people');
$stage->until_true(sub { held($three) eq 'Pilot No' }, 'an item that is created again has what only came in', 20) or diag(held($three));

# ---- delete: of two who have a record the last one decides
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', on_target_delete => 'delete'); SELECT crmsync.enable_link('people')");
sub is_absent { return $stage->sql("SELECT count(*) FROM crmsync.items WHERE record = '1' AND state = 'absent'") eq '1' }
user_deletes($two, 'BOTH');
$stage->until_true(sub { is_absent() && $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE kind = 'delete'") eq '1' }, 'who deletes what somebody else has, too, does not decide alone', 20);
user_deletes($one, 'Both');
$stage->until_true(sub { people() eq 'nobody' }, 'when nobody has it any more it is deleted', 20) or diag(people(), $stage->sql('SELECT * FROM crmsync.conflicts'));

# ---- fields that only come in, of a link of direction both
$stage->sql(<<"SQL");
SELECT crmsync.disable_link('people');
SELECT crmsync.drop_link('people');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.customer (id integer PRIMARY KEY, name text, phone text, note text, shown text, listed text);
CREATE VIEW crm.customer_audience AS SELECT id AS record, 'user4\@example.test' AS mailbox FROM crm.customer;
RESET ROLE;
SELECT crmsync.create_link('customers', 'exchange', 'contact', 'crm.customer', audience => 'crm.customer_audience', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map('customers', 'name', 'surname');
SELECT crmsync.map('customers', 'phone', 'business_phone', direction => 'inbound');
SELECT crmsync.map('customers', 'note', 'job_title', direction => 'inbound', inbound => 'upper(\$1)');
SELECT crmsync.map('customers', 'shown', 'manager', direction => 'inbound', fallback => '''nobody''');
SELECT crmsync.map('customers', 'listed', 'department', direction => 'inbound', value_map => '{"y": "Yes", "n": "No"}');
SELECT crmsync.map('customers', '(upper(r.name))', 'nickname');
SELECT crmsync.enable_link('customers');
INSERT INTO crm.customer VALUES (1, 'Acme', '+1', 'ours');
SQL
my $four = 'user4@example.test';
sub customer { return $stage->sql("SELECT concat_ws(' ', name, phone, note) FROM crm.customer WHERE id = 1") }
sub item { my $item = $exchange->records($four)->{1} // return 'none'; return join ' ', map { $item->{$_} // '-' } qw(contacts:Surname contacts:PhoneNumber/BusinessPhone contacts:JobTitle contacts:Nickname) }
$stage->settles('a customer', 'customers');
is(item(), 'Acme - - ACME', 'a field that only comes in does not go out with a new item');
is($stage->sql("SELECT shadow FROM crmsync.item WHERE record = '1'"), '{"surname": "Acme", "nickname": "ACME"}', 'nor is it taken for agreed');
is(customer(), 'Acme +1 ours', 'and what the CRM has stays while Outlook has nothing');
user_changes($four, 'Acme', 'contacts:PhoneNumber/BusinessPhone' => '+2', 'contacts:JobTitle' => 'theirs', 'contacts:Nickname' => 'typed');
$stage->until_true(sub { customer() eq 'Acme +2 THEIRS' }, 'it comes in; an expression only goes out', 20) or diag(customer());
is($stage->sql('SELECT shown FROM crm.customer'), 'nobody', 'a constant stands in');
$stage->change("UPDATE crm.customer SET phone = '+3', note = 'ours', shown = 'everybody', name = 'Acme Inc' WHERE id = 1", 'customers');
is(item(), 'Acme Inc +2 theirs ACME INC', 'what the CRM makes of it stays there');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
$stage->until_true(sub { customer() eq 'Acme Inc +2 THEIRS' }, 'until Outlook\'s value comes in again', 20) or diag(customer());
# Compared while the change is under way: both are decided together when that has ended.
$exchange->inject('delay', operation => 'UpdateItem', mailbox => $four, seconds => 3);
$stage->sql("UPDATE crm.customer SET phone = '+4', name = 'Acme Ltd' WHERE id = 1");
$stage->until_true(sub { item() =~ /^Acme Ltd/ }, 'a change is under way');
$stage->sql("SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link; SELECT crmsync.wake()");
$stage->until_true(sub { customer() eq 'Acme Ltd +2 THEIRS' }, 'a comparison meanwhile is not lost', 20) or diag(customer());
user_changes($four, 'Acme Ltd', 'contacts:PhoneNumber/BusinessPhone' => undef);
$stage->until_true(sub { customer() eq 'Acme Ltd THEIRS' }, 'what its user removes is removed', 20) or diag(customer());
is($stage->sql('SELECT shown FROM crm.customer'), 'everybody', 'the CRM keeps what it has made of a constant that stands in');
user_changes($four, 'Acme Ltd', 'contacts:PhoneNumber/BusinessPhone' => '+5');
$stage->until_true(sub { customer() eq 'Acme Ltd +5 THEIRS' }, 'and what he adds comes in', 20) or diag(customer());
$stage->change("UPDATE crm.customer SET note = 'Ours', listed = 'perhaps' WHERE id = 1", 'customers');
$earlier = $stage->sql('SELECT clock_timestamp()');
user_changes($four, 'Acme Ltd', 'contacts:JobTitle' => 'THEIRS', 'contacts:Department' => 'No');
sub is_listed { return $stage->sql('SELECT listed FROM crm.customer WHERE id = 1') }
$stage->until_true(sub { customer() eq 'Acme Ltd +5 THEIRS' && is_listed() eq 'n' }, 'and so does what he changes', 20) or diag(customer(), is_listed());
undo($earlier, 'customers');
$stage->until_true(sub { customer() eq 'Acme Ltd +5 Ours' }, 'undo makes nothing of the value that the CRM had', 20) or diag(customer());
is(is_listed(), 'perhaps', 'also where no value_map has it');
$earlier = $stage->sql('SELECT clock_timestamp()');
$stage->change('DELETE FROM crm.customer', 'customers');
is(scalar($exchange->items($four)), 0, 'the item is deleted');
undo($earlier, 'customers');
is(join(', ', map { join ' ', @{ $_->{properties} }{qw(contacts:Surname contacts:PhoneNumber/BusinessPhone contacts:JobTitle contacts:Nickname)} } $exchange->items($four)), 'Acme Ltd +5 THEIRS ACME LTD', 'and created again with what only came in');

# ---- new items that are alike, read together
my ($five, $six) = map { "user$_\@example.test" } 5, 6;
user_makes($_, 'Ada', 'Lovelace') for $five, $six;
user_makes($five, $_, 'Twin') for 'Same', 'same';
$stage->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.collected (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, first_name text, last_name text, phone text);
CREATE TABLE crm.collector (mailbox text PRIMARY KEY);
INSERT INTO crm.collector VALUES ('$five'), ('$six');
RESET ROLE;
SELECT crmsync.create_link('collected', 'exchange', 'contact', 'crm.collected', mailboxes => 'crm.collector', direction => 'inbound', inbound_interval => '1 s',
                           match_on => '{given_name,surname}');
SELECT crmsync.map('collected', 'first_name', 'given_name');
SELECT crmsync.map('collected', 'last_name', 'surname');
SELECT crmsync.map('collected', 'phone', 'primary_phone');
SELECT crmsync.enable_link('collected');
SQL
sub collected { return $stage->sql("SELECT string_agg(concat_ws(' ', last_name, (SELECT count(*) FROM crmsync.item WHERE record = c.id::text AND link = (SELECT id FROM crmsync.link WHERE name = 'collected'))), ', ' ORDER BY last_name) FROM crm.collected c") }
sub parked { return $stage->sql("SELECT coalesce(string_agg(regexp_replace(message, '\\d+', 'N'), ', '), 'nothing') FROM crmsync.failures WHERE link = 'collected'") }
$stage->until_true(sub { collected() eq 'Lovelace 2, Twin 1' && parked() eq 'record N matches, and has another item in the mailbox' }, 'who is in two mailboxes is one row, and somebody decides about the second in the same one', 20) or diag(collected(), parked());

$stage->done;
