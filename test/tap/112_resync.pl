# resync: whole mailboxes are read, and what is not as it should be is mended, or made anew.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;

my $stage = CrmSync::EndToEnd->new('resync', conf => 'restart_after_crash = on');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
my ($first, $last, $phone, $stamp) = ('contacts:GivenName', 'contacts:Surname', 'contacts:PhoneNumber/BusinessPhone', '7c2b3e5a-9d41-4f6e-8b0a-5e1c9a7d3f42/crmsync');
$stage->make_tables;
$stage->sql("CREATE TABLE crm.participant (mailbox text PRIMARY KEY); INSERT INTO crm.participant VALUES ('$one'), ('$two'), ('$three'); ALTER TABLE crm.participant OWNER TO crm_owner");
$stage->make_target;
$stage->make_link(more => "mailboxes => 'crm.participant'");

# The user of the first mailbox does something with the contact of a person.
sub user
{
	my ($does, $person, %more) = @_;
	my $folder = delete $more{from} // 'contacts';
	return $exchange->act($one, $does, match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => $folder, %more);
}

sub resync { my ($arguments) = @_; $stage->sql("SELECT crmsync.resync('people'" . ($arguments ? ", $arguments" : '') . ')'); return }

# Until it has come to its end, and everything that follows has, too.
sub is_mended
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->until_true(sub { $stage->nothing_to_repair }, "$name: the mailboxes are read", 40);
	$stage->settles($name);
	is($stage->sql("SELECT count(*) FROM crmsync.sighting"), '0', "$name: nothing is left to be looked at");
	return;
}

# 'FIRST LAST, ...' of the contacts in a mailbox, those of ours with a star.
sub names
{
	my ($mailbox) = @_;
	return join ', ', sort map { join(' ', map { $_ // '-' } @{ $_->{properties} }{ $first, $last }) . (defined CrmSync::StandIn::key_of($_) ? '*' : '') } $exchange->items($mailbox // $one);
}
sub wanted { return join ', ', sort map { "First$_ Last$_*" } @_ }
sub ids { my ($mailbox) = @_; return $stage->sql("SELECT string_agg(record || ' ' || remote_id, ',' ORDER BY record::integer) FROM crmsync.items WHERE mailbox = '$mailbox'") }
sub instance { return $stage->sql("SELECT replace(instance::text, '-', '') FROM crmsync.identity") }
sub count_of { my ($mailbox) = @_; return scalar grep { defined CrmSync::StandIn::key_of($_) && $_->{properties}{$first} =~ /^First/ } $exchange->items($mailbox) }
sub guard { my ($options) = @_; $stage->sql("SELECT crmsync.alter_link('people', options => '$options', reset => '{max_deletes,max_delete_percent,min_deletes}')"); return }
# With our stamp, and with the attempt that what we have made bears, too.
sub stamped { my ($name, $key, $mailbox, %more) = @_; $exchange->act($mailbox, 'create', folder => 'contacts', set => { $first => $name, $stamp => instance() . "/people/$key", %more }); return }
sub orphan { my ($key, $mailbox) = @_; stamped("Orphan$key", $key, $mailbox // $one, "$stamp-attempt" => '2'); return }

$stage->add_people(1, 12, $one, $two);
guard('{"min_deletes": 100}');
$stage->settles('twelve people');

# ---- refusals
like($stage->error("SELECT crmsync.resync('people', mode => 'burn')"), qr/invalid mode 'burn'.*HINT:  Modes: repair, replace\./s, 'an unknown mode');
like($stage->error("SELECT crmsync.resync('people', 'nobody\@example.test')"), qr/has no mailbox/, 'an unknown mailbox');

# ---- nothing to mend
my $before = ids($one);
$exchange->forget_journal;
resync();
is_mended('nothing is wrong');
is(ids($one), $before, 'every item is the same');
is($exchange->requests('FindItem'), 2, 'which a page for each mailbox says');
is(scalar(grep { $_->{operation} !~ /^Find/ } $exchange->journal), 0, 'nothing else was asked, and nothing written');

# ---- what users did
user('update', 1, set => { $first => 'Typed' });
user('delete', 2);
user('copy', 3, to => 'contacts');
my $copied = user('copy', 4, to => 'contacts')->{ids}[0];
$exchange->act($one, 'update', id => $copied, set => { $last => 'Junior' });
user('move', 5, to => 'deleteditems');
user('move', 5, from => 'deleteditems', to => 'contacts');
orphan(99);
$exchange->act($one, 'create', folder => 'contacts', set => { $first => 'Own', $last => 'Contact' });
$exchange->act($one, 'create', folder => 'contacts', set => { $first => 'Other', $last => 'Link', $stamp => instance() . '/others/501' });
$exchange->act($one, 'create', folder => 'contacts', set => { $first => 'Other', $last => 'Database', $stamp => ('0' x 32) . '/people/502' });
resync("'$two'");
is_mended('another mailbox');
like(names(), qr/Typed/, 'a mailbox that was not named stays as it is');
resync("'$one'");
is_mended('what users did');
is(names(), join(', ', sort split(/, /, wanted(1 .. 12)), 'First4 Junior', 'Other Database*', 'Other Link*', 'Own Contact'),
	'O12, O13: what was changed or deleted is as the CRM has it; a copy is gone, and one that its user changed is his; an item of nobody is gone; of others all stays');
is($stage->sql("SELECT old->>'given_name' || ' ' || (new->>'given_name') FROM crmsync.history WHERE record = '1' AND action = 'update' ORDER BY at DESC LIMIT 1"), 'Typed First1', 'the history has what was overwritten');
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE action = 'create' AND record = '5'"), '2', 'what was moved and is back was not made again');
like($stage->sql("SELECT string_agg(record || ' ' || action, ',' ORDER BY record::integer) FROM crmsync.history WHERE mailbox = '$one' AND action IN ('delete', 'unlink')"), qr/^3 delete,4 unlink,99 delete$/, 'and what was taken away');

# ---- a second time, and two at once
$exchange->forget_journal;
my @sessions = map { $node->background_psql('postgres') } 1 .. 2;
$_->query_safe("SELECT crmsync.resync('people')") for @sessions, @sessions;
$_->quit for @sessions;
is_mended('again, and again at once');
is(scalar(grep { $_->{operation} !~ /^Find/ } $exchange->journal), 0, 'there is nothing to write');

# ---- adopted items, and those that are never to come again
$stage->sql("UPDATE crmsync.item SET origin = 'adopted' WHERE record IN ('1', '2')");
user('update', 1, set => { $first => 'Typed' });
user('delete', 2);
user('delete', 3);
$stage->sql("UPDATE crm.person SET first_name = first_name; SELECT crmsync.alter_link('people', on_target_delete => 'unlink')");
resync();
is_mended('never again');
is(join(' ', map { $exchange->records($one)->{$_} ? 'there' : 'gone' } 1 .. 3), 'there gone gone', 'on_target_delete => unlink is kept to');
is($stage->sql("SELECT string_agg(record, ',' ORDER BY record) FROM crmsync.items WHERE state = 'gone'"), '2,3', 'as the items say');
is($exchange->records($one)->{1}{$first}, 'First1', 'and what was adopted is mended in place');
$stage->sql("SELECT crmsync.alter_link('people', reset => '{on_target_delete}'); DELETE FROM crmsync.item WHERE state = 'gone'");
resync();
is_mended('never is over');
is(count_of($one), 12, 'all are there again');

# ---- who waits, waits until what was found is mended
$exchange->post('server', request_ms => 40);
resync("'$one', 'replace'");
is($stage->sql("SELECT pending || ' ' || failed FROM crmsync.sync('people', wait => '60 s')"), '0 0', 'sync waits until all is made anew');
$exchange->post('server', request_ms => 0);

# ---- the guard
guard('{}');
$stage->sql("INSERT INTO crm.audience VALUES (1, '$three')");
$stage->settles('a third mailbox');

orphan($_, $three) for 1001 .. 1030;
resync("'$three'");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'so many deletes are held');
is(scalar(keys %{ $exchange->records($three) }), 31, 'and nothing has gone');
$stage->sql("SELECT crmsync.confirm_deletes('people', expected => 30)");
is_mended('confirmed');
is(join(' ', keys %{ $exchange->records($three) }), '1', 'then they go');
user('copy', $_, to => 'contacts') for 1 .. 12;
user('copy', $_, to => 'contacts') for 1 .. 8;
resync("'$one'");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'so are many copies') or diag(names());
is($stage->sql("SELECT DISTINCT action || ' ' || reason FROM crmsync.plan('people')"), 'delete it is a copy of the item; held by the guard: waits for crmsync.confirm_deletes', 'plan shows them');
is($stage->sql("SELECT crmsync.confirm_deletes('people', '$one')") > 20 ? 'many' : 'few', 'many', 'which can be confirmed');
is_mended('copies');
is(count_of($one), 12, 'each is there once');

# Two copies of one record that cannot be deleted are one failure.
$exchange->inject('response', operation => 'DeleteItem', code => 'ErrorItemSave', message => 'not now', count => 0);
user('copy', 5, to => 'contacts') for 1 .. 3;
guard('{"max_deletes": 10000, "max_delete_percent": 100}');
resync("'$one'");
$stage->until_true(sub { $stage->failures eq '5 ErrorItemSave' }, 'copies that cannot be deleted are a failure of their record', 40);
$exchange->calm;
$stage->sql("SELECT crmsync.retry('people')");
is_mended('when they can be');
is(count_of($one), 12, 'none is left');

# A copy that has become its record's item, since the original is gone, is a copy no more.
guard('{"min_deletes": 0, "max_delete_percent": 0}');
my ($original, $copy) = ($stage->sql("SELECT remote_id FROM crmsync.items WHERE record = '3' AND mailbox = '$one'"), user('copy', 3, to => 'contacts')->{ids}[0]);
resync("'$one'");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'a copy waits to be deleted', 20);
$exchange->act($one, 'delete', id => $original);
$stage->sql("UPDATE crm.person SET first_name = 'Found' WHERE id = 3");
$stage->until_true(sub { $stage->sql("SELECT remote_id FROM crmsync.items WHERE record = '3' AND mailbox = '$one'") eq $copy }, 'it takes the place of the original', 20);
$stage->sql("SELECT crmsync.confirm_deletes('people')");
is_mended('confirmed after that');
is($exchange->records($one)->{3}{$first}, 'Found', 'it stays');
$stage->change("UPDATE crm.person SET first_name = 'First3' WHERE id = 3");
guard('{}');

# ---- replace
$stage->sql("UPDATE crmsync.item SET origin = 'crm'");
my ($old, $adopted) = (ids($two), $stage->sql("SELECT remote_id FROM crmsync.items WHERE record = '7' AND mailbox = '$two'"));
$stage->sql("UPDATE crmsync.item i SET origin = 'mailbox' FROM crmsync.mailbox m WHERE m.id = i.mailbox AND m.address = '$two' AND i.record = '7'");
$exchange->act($two, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => 'person8@example.com' }, folder => 'contacts', set => { $phone => 'typed' });
guard('{"min_deletes": 100}');
resync("'$two', 'replace'");
is_mended('replace');
guard('{}');
is(names($two), wanted(1 .. 12), 'everything is there');
my %same = map { $_ => 1 } split /,/, $old;
is(join(',', grep { $same{$_} } split /,/, ids($two)), "7 $adopted", 'O12: made anew, but for what a user made');
is($exchange->records($two)->{8}{$phone}, '+49 30 8', 'with the values of the CRM');
$stage->add_people(13, 40, $one, $two);
$stage->settles('many people');
$old = ids($two);
resync("'$two', 'replace'");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'the guard holds the replacement of many');
is($stage->sql("SELECT DISTINCT action || ' ' || reason FROM crmsync.plan('people')"), 'delete it is made anew by resync; held by the guard: waits for crmsync.confirm_deletes', 'as plan says');
$stage->change("UPDATE crm.person SET last_name = 'Newer' WHERE id = 20");
is($exchange->records($two)->{20}{$last}, 'Newer', 'changes go out meanwhile');
resync("'$two'");
is_mended('repair instead');
is(ids($two), $old, 'then all stay');
is($stage->sql("SELECT count(*) FROM crmsync.item WHERE renew OR state <> 'linked'"), '0', 'for good');
$stage->until_true(sub { $stage->status('state') eq 'idle' }, 'nothing is held any more');
$stage->sql("UPDATE crmsync.link_state SET held = 'what is not meant any more'");
$stage->until_true(sub { $stage->status('state') eq 'idle' }, 'and nobody is told so for longer, though nothing else happens to the link');
resync("'$two', 'replace'");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'held again');
$stage->sql("SELECT crmsync.confirm_deletes('people', '$two')");
is_mended('confirmed');
is(scalar(keys %{ $exchange->records($two) }), 40, 'all are there');
%same = map { $_ => 1 } split /,/, $old;
is(scalar(grep { $same{$_} } split /,/, ids($two)), 1, 'and anew');

# ---- bad days
guard('{"max_deletes": 10000, "max_delete_percent": 100}');
$exchange->inject('close', count => 0);
resync();
$stage->sync('people', '2 s');
user('delete', 9);
$exchange->calm;
$stage->sql("SELECT crmsync.resume_target('exchange')");
is_mended('a server that was dead');
ok($exchange->records($one)->{9}, 'what was deleted meanwhile is back');

for my $mode ('repair', 'replace')
{
	$exchange->post('server', item_ms => 10);
	user('delete', $_) for 1 .. 20;
	resync("mode => '$mode'");
	sleep 0.5;
	kill 'KILL', $stage->worker_pid;
	$exchange->post('server', item_ms => 0);
	$stage->until_true(sub { $stage->answers }, 'the server is back');
	is_mended("the worker was killed in a $mode");
	is(join(' ', map { count_of($_) } $one, $two), '40 40', 'everything is there');
	is(join(' ', map { scalar keys %{ $exchange->records($_) } } $one, $two), '42 40', 'once');
}

$stage->sql("SELECT crmsync.pause_target('exchange')");
user('delete', 9);
resync();
$stage->sql("DELETE FROM crm.participant WHERE mailbox = '$one'");
$stage->sql("SELECT crmsync.resume_target('exchange')");
is_mended('a mailbox that leaves meanwhile');
ok(!$exchange->records($one)->{9}, 'it is left as it is');
like($stage->error("SELECT crmsync.resync('people', '$one')"), qr/takes no part.*HINT:.*withdraw/s, 'and refused from then on');
$stage->sql("INSERT INTO crm.participant VALUES ('$one'); SELECT crmsync.disable_link('people')");
like($stage->error("SELECT crmsync.resync('people')"), qr/is not enabled/, 'a disabled link');
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->settles('enabled again');
$exchange->inject('item', operation => 'GetItem', code => 'ErrorItemCorrupt', match => $stage->sql("SELECT remote_id FROM crmsync.items WHERE record = '10' AND mailbox = '$one'"), count => 0);
user('update', 10, set => { $first => 'Typed' });
resync();
$stage->until_true(sub { $stage->failures eq '10 ErrorItemCorrupt' }, 'an item that cannot be read is a failure');
$exchange->calm;
$stage->sql("SELECT crmsync.retry('people')");
$stage->until_true(sub { $exchange->records($one)->{10}{$first} eq 'First10' }, 'and written whole when it is tried again');
is_mended('unreadable items');

# ---- copies of what was left to its user are his, too
$copy = user('copy', 13, to => 'contacts')->{ids}[0];
$exchange->act($one, 'copy', id => $copy, to => 'contacts');
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', on_audience_loss => 'unlink'); DELETE FROM crm.audience WHERE record = 13 AND mailbox = '$one'");
$stage->settles('a contact is left to its user');
is(join(' ', names() =~ /First13 Last13\*?/g), 'First13 Last13 First13 Last13* First13 Last13*', 'who has made copies before');
resync();
is_mended('what he has copied');
is(join(' ', names() =~ /First13 Last13\*?/g), 'First13 Last13 First13 Last13 First13 Last13', 'nothing is deleted, and nothing bears the stamp');
user('delete', 13);
$stage->sql("SELECT crmsync.alter_link('people', reset => '{on_audience_loss}')");

# ---- a copy that its user has made something of, and whose original goes before it has lost the stamp
$stage->add_people(60, 60, $one);
$stage->settles('another contact');
my $his = user('copy', 60, to => 'contacts')->{ids}[0];
$exchange->act($one, 'update', id => $his, set => { $first => 'Somebody' });
# As if resync had just judged it: the worker takes that up at once otherwise.
$stage->sql("SELECT crmsync.pause_target('exchange')");
$exchange->act($one, 'delete', id => $stage->sql("SELECT remote_id FROM crmsync.items WHERE record = '60' AND mailbox = '$one'"));
$stage->sql("DELETE FROM crm.person WHERE id = 60; INSERT INTO crmsync.sighting (mailbox, remote_id, record, kind) SELECT id, '$his', '60', 'stray' FROM crmsync.mailbox WHERE address = '$one'; SELECT crmsync.resume_target('exchange')");
is_mended('the original and its record are gone');
is(join(' ', map { $_->{id} } grep { $_->{properties}{'contacts:EmailAddress/EmailAddress1'} eq 'person60@example.com' } $exchange->items($one)), $his, 'the copy is its user\'s');
$exchange->act($one, 'delete', id => $his);

# ---- an item that goes while what was listed waits to be compared
$stage->add_people(61, 61, $one);
$stage->settles('a contact that is listed');
$stage->sql("INSERT INTO crmsync.sighting (mailbox, remote_id, record, kind) SELECT i.mailbox, i.remote_id, i.record, 'listed' FROM crmsync.item i WHERE i.record = '61'");
$stage->change('DELETE FROM crm.person WHERE id = 61');
is($stage->sql('SELECT count(*) FROM crmsync.sighting'), '0', 'is not taken for one that is there');

# ---- items that users had made, and that bear our stamp of before
$stage->add_people(50, 51, $three);
stamped("Nr$_", $_, $one) for 50, 51;
sub fifties { return join ', ', names() =~ /((?:Nr|First)5[01][^,]*)/g }
resync("'$one'");
is_mended('what was adopted');
is(fifties(), 'Nr50 -, Nr51 -', 'they are left to them when their records are not to be there');
is($stage->sql("SELECT DISTINCT origin || ' ' || state FROM crmsync.items WHERE record IN ('50', '51') AND mailbox = '$one'"), 'adopted unlinked', 'as is known of them');
$stage->sql("INSERT INTO crm.audience VALUES (50, '$one'), (51, '$one')");
$stage->settles('and then they are to be there');
user('copy', 50, to => 'contacts');
my $gone = user('move', 51, to => 'deleteditems')->{ids}[0];
resync("'$one'");
is_mended('one was copied, one deleted');
is(fifties(), 'First50 Last50, First50 Last50*, First51 Last51*', 'a copy of what a user had made is his; what is gone is made again');
$exchange->act($one, 'move', id => $gone, to => 'contacts');
resync("'$one'");
is_mended('brought back');
is(fifties(), 'First50 Last50, First50 Last50*, First51 Last51, First51 Last51*', 'and stays his when he brings it back');
$stage->sql("DELETE FROM crm.audience WHERE record IN (50, 51)");
$stage->settles('out of the audience');
is(fifties(), join(', ', ('First50 Last50') x 2, ('First51 Last51') x 2), 'nothing of it is ever deleted for its record is not to be there');
is($stage->sql("SELECT DISTINCT origin || ' ' || state FROM crmsync.items WHERE record IN ('50', '51') AND mailbox = '$one'"), 'adopted unlinked', 'they are known for his');
$exchange->act($one, 'delete', match => { $first => "First$_" }, folder => 'contacts') for 50, 50, 51, 51;

# ---- what withdraw finds beside what it knows
orphan(2001);
user('copy', 11, to => 'contacts');
my $changed = user('copy', 12, to => 'contacts')->{ids}[0];
$exchange->act($one, 'update', id => $changed, set => { $last => 'Junior' });
$stage->sql("DELETE FROM crm.participant WHERE mailbox = '$one'; SELECT crmsync.withdraw('people', '$one')");
is_mended('withdraw');
is(names(), 'First12 Junior, Other Database*, Other Link*, Own Contact', 'copies and items that nobody knew of are gone, too, but not what a user made of one');

$stage->done;
