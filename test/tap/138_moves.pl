# Mailboxes that move from one target to another, as the relation of mailboxes says: their items are found
# again by their stamps, nothing is doubled, and what differs there is a conflict: a copy may be older than what was
# written last.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use HTTP::Tiny;
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('moves', conf => 'restart_after_crash = on');
my $old = $stage->exchange;
my $new = CrmSync::StandIn->new($stage->node->basedir . '/new', '--mailboxes', 4);
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
my $stamp = '7c2b3e5a-9d41-4f6e-8b0a-5e1c9a7d3f42/crmsync';
$stage->make_tables;
$stage->make_target;
$stage->make_target(name => 'new', url => $new->url);
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE TABLE crm.mailboxes (mailbox text PRIMARY KEY, target text);
INSERT INTO crm.mailboxes VALUES ('$one', NULL), ('$two', 'exchange'), ('$three', 'new');
CREATE TABLE crm.audience_both (record integer, mailbox text);
INSERT INTO crm.person (id, first_name, last_name) SELECT i, 'First' || i, 'Last' || i FROM generate_series(1, 6) i;
INSERT INTO crm.audience SELECT i, m FROM generate_series(1, 6) i, unnest('{$one,$two,$three}'::text[]) m;
INSERT INTO crm.audience_both SELECT * FROM crm.audience;
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.create_link('out', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', mailboxes => 'crm.mailboxes', folder => 'Out');
SELECT crmsync.create_link('both', 'exchange', 'contact', 'crm.person', audience => 'crm.audience_both', mailboxes => 'crm.mailboxes', folder => 'Both',
                           direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map(l, 'first_name', 'given_name'), crmsync.map(l, 'last_name', 'surname'), crmsync.map(l, 'phone', 'business_phone') FROM unnest('{out,both}'::text[]) l;
SELECT crmsync.enable_link('out'), crmsync.enable_link('both');
SQL
$stage->settles("before $_", $_) for qw(out both);

sub names { my ($exchange, $mailbox, $folder) = @_; return join ' ', sort map { my $item = $_->{properties}; join('/', map { $item->{"contacts:$_"} // '-' } qw(GivenName Surname)) . (defined CrmSync::StandIn::key_of($_) ? '' : '?') } $exchange->items($mailbox, $folder) }
sub everybody { return join ' ', map { "First$_/Last$_" } @_ }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', link, record, code, message), ', ' ORDER BY record), 'nothing') FROM crmsync.failures") }
sub is_read { return $stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.repair') eq '0' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' && $stage->sql("SELECT count(*) FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link AND l.name = 'both' WHERE sync_state IS NOT NULL AND listing IS NULL") eq '3' }, $_[0], 30) }
sub states { return $stage->sql("SELECT coalesce(string_agg(DISTINCT i.state || ' ' || (i.remote_id IS NULL), ', '), 'none') FROM crmsync.item i") }

sub takes_no_part { my ($mailbox) = @_; $stage->sql("UPDATE crmsync.mailbox m SET took_part = false FROM crmsync.link l WHERE l.id = m.link AND l.name = 'out' AND m.address = '$mailbox'"); return }
sub ask_for_comparison { $stage->sql("SELECT crmsync.request_comparison(id, 'mailboxes') FROM crmsync.link WHERE name = 'out'; SELECT crmsync.wake()"); return }
sub comparison_waits { return $stage->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync comparison' AND wait_event_type = 'Lock'") eq '1' }

# ---- a comparison ends while a mailbox is made ready to be compared anew: what was missed there is found by the next
my $holder = $stage->node->background_psql('postgres');
takes_no_part($two);
$holder->query_safe(<<"SQL");
BEGIN;
UPDATE crmsync.mailbox m SET took_part = false FROM crmsync.link l WHERE l.id = m.link AND l.name = 'out' AND m.address = '$two';
UPDATE crmsync.item i SET shadow = shadow || '{"surname": "Missed"}' FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link
WHERE m.id = i.mailbox AND l.name = 'out' AND m.address = '$two' AND i.record = '2';
SQL
my $changes = "SELECT count(*) FROM crmsync.history WHERE link = 'out' AND mailbox = '$two' AND record = '2' AND action = 'update'";
is($stage->sql($changes), '0', 'nothing was missed yet');
ask_for_comparison();
$stage->until_true(\&comparison_waits, 'a comparison waits for that');
$holder->query_safe("SELECT crmsync.request_comparison(id, 'mailboxes') FROM crmsync.link WHERE name = 'out'; COMMIT");
$holder->quit;
$stage->settles('the next one ends', 'out');
is($stage->sql($changes), '1', 'and has found it');

# ---- somebody decides nothing for a mailbox that takes no part, while a comparison goes on that has seen it take part
$holder = $stage->node->background_psql('postgres');
my $takes_part = "SELECT m.took_part FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link AND l.name = 'out' AND m.address = '$two'";
is($stage->sql($takes_part), 't', 'it takes part');
$stage->sql("UPDATE crmsync.mailbox m SET took_part = NULL FROM crmsync.link l WHERE l.id = m.link AND l.name = 'out' AND m.address = '$one'");
$holder->query_safe("BEGIN; SELECT FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link AND l.name = 'out' WHERE m.address = '$one' FOR UPDATE OF m");
ask_for_comparison();
$stage->until_true(\&comparison_waits, 'a comparison is on its way');
takes_no_part($two);
$holder->query_safe('COMMIT');
$holder->quit;
$stage->settles('it ends', 'out');
is($stage->sql($takes_part), 'f', 'and does not say that nothing was missed there');
ask_for_comparison();
$stage->settles('the next one looks there', 'out');
is($stage->sql($takes_part), 't', 'after which nothing is missed');

# As a migration takes it along: with all that it has, under other ids.
sub make_folder
{
	my ($exchange, $mailbox, $name) = @_;
	my $answer = HTTP::Tiny->new->post($exchange->url, { headers => { 'Content-Type' => 'text/xml; charset=utf-8', Authorization => 'Basic ' . encode_base64('service@example.test:secret', '') }, content => <<"XML" });
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"><s:Header><t:RequestServerVersion Version="Exchange2013_SP1"/><t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>$mailbox</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation></s:Header><s:Body><m:CreateFolder><m:ParentFolderId><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderId><m:Folders><t:ContactsFolder><t:DisplayName>$name</t:DisplayName></t:ContactsFolder></m:Folders></m:CreateFolder></s:Body></s:Envelope>
XML
	die "$answer->{status} $answer->{content}" if $answer->{content} !~ /ResponseClass="Success"/;
	return;
}
sub copy_folder
{
	my ($from, $to, $mailbox, $folder) = @_;
	make_folder($to, $mailbox, $folder);
	for my $item ($from->items($mailbox, $folder))
	{
		my %set = map { $_ => $item->{properties}{$_} } grep { /^contacts:(?:GivenName|Surname|PhoneNumber|FileAs)/ || $_ eq $stamp } keys %{ $item->{properties} };
		$to->act($mailbox, 'create', folder => $folder, set => \%set);
	}
	return;
}
sub folders { my ($exchange, $mailbox) = @_; return join ' ', sort map { $_->{name} } grep { $_->{name} =~ /^(?:Out|Both)$/ } @{ $exchange->get("mailbox?address=$mailbox")->{folders} } }

# ---- each where it is
is(names($old, $_, 'Out') . ' | ' . names($old, $_, 'Both'), everybody(1 .. 6) . ' | ' . everybody(1 .. 6), "$_ is at the link's target") for $one, $two;
is(names($new, $three, 'Out') . ' | ' . names($new, $three, 'Both'), everybody(1 .. 6) . ' | ' . everybody(1 .. 6), 'one is at another');
is(folders($old, $three) . folders($new, $one), '', 'and nowhere else');
is($stage->sql("SELECT string_agg(mailbox || ' ' || target, ', ' ORDER BY mailbox) FROM crmsync.mailboxes WHERE link = 'out'"), "$one exchange, $two exchange, $three new", 'the view mailboxes says so');
is_read('all are read');
$new->act($three, 'update', match => { 'contacts:GivenName' => 'First6' }, folder => 'Both', set => { 'contacts:Surname' => 'Typed' });
$stage->until_true(sub { $stage->sql('SELECT last_name FROM crm.person WHERE id = 6') eq 'Typed' && names($old, $one, 'Both') =~ m{First6/Typed} }, 'what is changed there comes in, and goes to the others', 20) or diag(failing());
like($stage->error("SELECT crmsync.drop_target('new')"), qr/mailboxes of links are at target "new".*Links: both, out/s, 'a target that mailboxes are at stays');
$stage->sql("UPDATE crm.mailboxes SET target = 'nowhere' WHERE mailbox = '$two'");
like($stage->sql("SELECT string_agg(detail, ' ') FROM crmsync.why('out', '1', '$two') WHERE NOT ok"), qr/not enabled in crm.mailboxes, or at a target that this link cannot use/, 'one that does not exist');
$stage->change("UPDATE crm.person SET last_name = 'Last6' WHERE id = 6", 'out');
like(names($old, $two, 'Out'), qr{First6/Typed}, 'means that the mailbox takes no part');
$stage->sql("UPDATE crm.mailboxes SET target = NULL WHERE mailbox = '$two'");
$stage->settles("back $_", $_) for qw(out both);
is(names($old, $two, 'Out'), everybody(1 .. 6), 'until it names one');

# ---- a target that rests
$stage->sql("SELECT crmsync.pause_target('new')");
$stage->sql("UPDATE crm.person SET phone = '1' WHERE id = 1");
sleep 2;
is($stage->status('state', 'out'), 'paused', 'a target that is paused holds the link up');
$stage->sql("SELECT crmsync.resume_target('new')");
$stage->settles("resumed $_", $_) for qw(out both);
is(join(' ', map { $_->[0]->records($_->[1], 'Out')->{1}{'contacts:PhoneNumber/BusinessPhone'} // '-' } [ $old, $one ], [ $new, $three ]), '1 1', 'a target that was paused is caught up with');
$new->post('server', paused => \1);
$stage->sql("UPDATE crm.person SET phone = '2' WHERE id = 1");
$stage->until_true(sub { ($old->records($one, 'Out')->{1}{'contacts:PhoneNumber/BusinessPhone'} // '') eq '2' }, 'one that does not answer does not delay the other', 20);
$new->post('server', paused => \0);
$new->inject('fault', code => 'ErrorServerBusy', status => 500, count => 0);
$stage->sql("UPDATE crm.person SET phone = '3' WHERE id = 1");
$stage->until_true(sub { $stage->status("concat_ws(' ', state, code, last_error)", 'out') =~ /^waiting ErrorServerBusy new: ErrorServerBusy/ }, 'what is wrong with it is said', 20) or diag($stage->status("concat_ws(' ', state, code, last_error)", 'out'));
$stage->until_true(sub { $old->records($one, 'Out')->{1}{'contacts:PhoneNumber/BusinessPhone'} eq '3' }, 'and the other goes on', 20);
$new->calm;
$stage->sql("SELECT crmsync.resume_target('new')");
$stage->settles("answered $_", $_) for qw(out both);

# ---- a mailbox moves, with all that it has
is_read('before the move');
$stage->sql("UPDATE crmsync.item i SET origin = 'mailbox' FROM crmsync.mailbox m WHERE m.id = i.mailbox AND m.address = '$one' AND i.record = '3'");
$stage->sql("BEGIN; INSERT INTO crm.person (id, first_name, last_name) VALUES (7, 'First7', 'Gone'); INSERT INTO crm.audience VALUES (7, '$one'); INSERT INTO crm.audience_both VALUES (7, '$one'); COMMIT");
$stage->settles("another one: $_", $_) for qw(out both);
copy_folder($old, $new, $one, $_) for qw(Out Both);
$new->act($one, 'update', match => { 'contacts:GivenName' => 'First2' }, folder => 'Both', set => { 'contacts:Surname' => 'Moved' });
$new->act($one, 'delete', match => { 'contacts:GivenName' => 'First4' }, folder => $_) for qw(Out Both);
$stage->sql("UPDATE crm.person SET phone = '9' WHERE id = 1");
$stage->settles("not in the copy: $_", $_) for qw(out both);
my @before = map { $_->{id} } $new->items($one, 'Out');
my $at_old = names($old, $one, 'Out') . names($old, $one, 'Both');
$stage->sql("BEGIN; UPDATE crm.mailboxes SET target = 'new' WHERE mailbox = '$one'; UPDATE crm.person SET last_name = 'Changed' WHERE id = 5; DELETE FROM crm.person WHERE id = 7; COMMIT");
$stage->until_true(sub { $stage->sql("SELECT string_agg(DISTINCT target, ' ') FROM crmsync.mailboxes WHERE mailbox = '$one'") eq 'new' }, 'it is known to be at the other target', 20);
is_read('and is read there');
$stage->settles("moved $_", $_) for qw(out both);
my $expected = join ' ', sort 'First1/Last1', 'First2/Last2', 'First3/Last3', 'First4/Last4', 'First5/Changed', 'First6/Last6';
$stage->until_true(sub { names($new, $one, 'Both') eq $expected && names($new, $one, 'Out') eq $expected }, 'all is found again, what the CRM has changed goes out, what users have deleted is made again, and what the CRM has deleted goes', 20)
  or diag(names($new, $one, 'Both'), names($new, $one, 'Out'), failing());
is(join(' ', $stage->sql('SELECT phone FROM crm.person WHERE id = 1'), map { $new->records($one, $_)->{1}{'contacts:PhoneNumber/BusinessPhone'} // '-' } qw(Out Both)), '9 9 9', 'what the copy did not have yet does not come in as a change');
is($stage->sql("SELECT string_agg(concat_ws(' ', record, property, crm_value, target_value, winner), ', ' ORDER BY record, property) FROM crmsync.conflicts WHERE link = 'both'"),
	'1 business_phone 9 3 crm, 2 surname Last2 Moved crm, 5 surname Changed Last5 crm', 'what differs is a conflict');
$stage->sql("SELECT crmsync.resolve(id, 'target') FROM crmsync.conflicts WHERE link = 'both' AND record = '2'");
$expected =~ s/Last2/Moved/;
$stage->until_true(sub { names($new, $one, 'Both') eq $expected && names($new, $one, 'Out') eq $expected && names($old, $two, 'Both') eq $expected }, 'that somebody can decide', 20) or diag(names($new, $one, 'Both'), names($new, $one, 'Out'), failing());
my %before = map { $_ => 1 } @before;
is(scalar(grep { $before{$_} } map { $_->{id} } $new->items($one, 'Out')), 5, 'the others are the same items');
is($stage->sql('SELECT last_name FROM crm.person WHERE id = 2'), 'Moved', 'the CRM has what its user typed');
is(names($old, $two, 'Out'), $expected, 'and so has another mailbox');
is(names($old, $one, 'Out') . names($old, $one, 'Both'), $at_old, 'at the old target nothing is touched');
is(states() . ' ' . failing(), 'linked false nothing', 'everything is linked');
is($stage->sql("SELECT string_agg(DISTINCT origin, ' ') FROM crmsync.items WHERE mailbox = '$one' AND record = '3'"), 'mailbox', 'what a user made is still his');
$stage->change("DELETE FROM crm.person WHERE id = 6", 'out');
$stage->settles('deleted', 'both');
unlike(names($new, $one, 'Out') . names($new, $one, 'Both'), qr/First6/, 'a delete reaches it there');
$new->act($one, 'update', match => { 'contacts:GivenName' => 'First1' }, folder => 'Both', set => { 'contacts:Surname' => 'Read' });
$stage->until_true(sub { $stage->sql('SELECT last_name FROM crm.person WHERE id = 1') eq 'Read' }, 'and it is read as ever', 20);

# ---- what was left to its user before the mailbox moves
$stage->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.mailboxes_left AS SELECT '$three' AS mailbox, 'exchange' AS target;
CREATE TABLE crm.audience_left AS SELECT i AS record, '$three' AS mailbox FROM generate_series(1, 3) i;
RESET ROLE;
SELECT crmsync.create_link('left', 'exchange', 'contact', 'crm.person', audience => 'crm.audience_left', mailboxes => 'crm.mailboxes_left', folder => 'Left', on_audience_loss => 'unlink');
SELECT crmsync.map('left', 'first_name', 'given_name');
SELECT crmsync.enable_link('left');
SQL
$stage->settles('a link that unlinks', 'left');
my ($older) = grep { $_->{properties}{'contacts:GivenName'} eq 'First2' } $old->items($three, 'Left');
make_folder($new, $three, 'Left');
$new->act($three, 'create', folder => 'Left', set => { map { $_ => $older->{properties}{$_} } 'contacts:GivenName', $stamp });
$stage->sql('DELETE FROM crm.audience_left WHERE record < 3');
$stage->settles('two are left', 'left');
is(names($old, $three, 'Left'), 'First1/-? First2/-? First3/-', 'to their user');
$stage->sql("UPDATE crm.mailboxes_left SET target = 'new'");
$stage->until_true(sub { names($new, $three, 'Left') eq 'First2/-? First3/-' }, 'the mailbox has moved, and an older copy of what is his is his there, too', 20) or diag(names($new, $three, 'Left'));
$stage->until_true(sub { $stage->sql("SELECT string_agg(record || ' ' || state, ', ' ORDER BY record) FROM crmsync.items WHERE link = 'left'") eq '2 unlinked, 3 linked' }, 'of what is not there nothing is known any more', 10);
$stage->sql("INSERT INTO crm.audience_left VALUES (1, '$three'), (2, '$three')");
$stage->until_true(sub { names($new, $three, 'Left') eq 'First1/- First2/- First3/-' }, 'what is wanted again is made there, and not doubled', 20) or diag(names($new, $three, 'Left'), failing());
$stage->sql("SELECT crmsync.drop_link('left')");

# ---- an empty mailbox, while the server crashes
$stage->sql("UPDATE crm.mailboxes SET target = 'new' WHERE mailbox = '$two'");
sleep 0.3;
$stage->node->stop('immediate');
$stage->node->start;
is_read('it is read after a crash');
$stage->settles("filled $_", $_) for qw(out both);
$stage->until_true(sub { names($new, $two, 'Out') eq names($new, $one, 'Out') && names($new, $two, 'Both') eq names($new, $one, 'Both') }, 'one that is new there is filled', 20) or diag(names($new, $two, 'Out'), names($new, $two, 'Both'), failing());
$stage->sql("UPDATE crm.mailboxes SET target = 'exchange' WHERE mailbox = '$two'");
$stage->until_true(sub { $stage->sql("SELECT string_agg(DISTINCT target, ' ') FROM crmsync.mailboxes WHERE mailbox = '$two'") eq 'exchange' }, 'it goes back', 20);
is_read('and is read again');
$stage->settles("back again $_", $_) for qw(out both);
$stage->until_true(sub { names($old, $two, 'Out') eq names($new, $one, 'Out') && names($old, $two, 'Both') eq names($new, $one, 'Both') }, 'to what it had, none doubled', 20) or diag(names($old, $two, 'Out'), names($old, $two, 'Both'), failing());

# ---- to and fro, while the CRM changes and the worker is killed
$_->post('server', request_ms => 30) for $old, $new;
for my $n (1 .. 6)
{
	$stage->sql("UPDATE crm.person SET phone = 'n$n-' || id; UPDATE crm.mailboxes SET target = '" . ($n % 2 ? 'new' : 'exchange') . "' WHERE mailbox = '$two'; UPDATE crm.person SET phone = 'm$n-' || id WHERE id IN (1, 2)");
	sleep 0.15 * $n;
	next if $n % 2;
	kill 'KILL', $stage->worker_pid;
	$stage->until_true(sub { $stage->answers }, "killed: $n", 20);
}
$_->post('server', request_ms => 0) for $old, $new;
sub phones { my ($exchange, $mailbox, $folder) = @_; my $records = $exchange->records($mailbox, $folder); return join ' ', map { "$_:" . ($records->{$_}{'contacts:PhoneNumber/BusinessPhone'} // '-') } sort keys %$records }
my $phones = '1:m6-1 2:m6-2 3:n6-3 4:n6-4 5:n6-5';
$stage->until_true(sub { !grep { $_ ne $phones } map { phones($old, $two, $_), phones($new, $one, $_), phones($new, $three, $_) } qw(Out Both) }, 'in the end all is where it belongs, once', 60)
  or diag(join "\n", failing(), states(), map { phones($old, $two, $_), phones($new, $one, $_), phones($new, $three, $_) } qw(Out Both));
is($stage->sql("SELECT string_agg(id || ':' || phone, ' ' ORDER BY id) FROM crm.person"), $phones, 'as the CRM has it');
is_read('all is at rest');
is(states() . ' ' . failing(), 'linked false nothing', 'and linked');

# ---- the link goes, too
$stage->sql("SELECT crmsync.disable_link('both')");
like($stage->error("SELECT crmsync.alter_link('both', target => 'new')"), qr/link "both" has items at other targets than "new".*HINT:.*column target/s, 'not before its mailboxes are there');
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('both')");
$stage->sql("UPDATE crm.mailboxes SET target = 'new'");
$stage->until_true(sub { $stage->sql("SELECT string_agg(DISTINCT target, ' ') FROM crmsync.mailboxes") eq 'new' }, 'all move', 20);
is_read('and are read');
$stage->settles("all there $_", $_) for qw(out both);
my @ids = map { $_->{id} } $new->items($one, 'Both');
$stage->sql("SELECT crmsync.disable_link(l) FROM unnest('{out,both}'::text[]) l; SELECT crmsync.alter_link(l, target => 'new') FROM unnest('{out,both}'::text[]) l");
$stage->sql("UPDATE crm.mailboxes SET target = NULL");
is($stage->sql("SELECT count(*) FROM crmsync.link_target"), '0', 'they are at the target of the link then');
$stage->sql("SET client_min_messages = error; SELECT crmsync.drop_target('exchange'); SELECT crmsync.enable_link('out'), crmsync.enable_link('both')");
$old->forget_journal;
is_read('the old one is gone');
$stage->change("UPDATE crm.person SET last_name = 'Alone' WHERE id = 1", 'both');
like(names($new, $one, 'Both'), qr{First1/Alone}, 'all goes on');
is(join(' ', sort map { $_->{id} } $new->items($one, 'Both')), join(' ', sort @ids), 'with the same items');
is(scalar($old->journal), 0, 'and nobody asks the old one');

$new->stop;
$stage->done;
