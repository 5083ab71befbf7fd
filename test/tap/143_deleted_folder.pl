# A folder that its user deletes, by itself or with the folder that he keeps it in, keeps its id among what he has
# deleted, and takes what is written there. What was in it counts as deleted, and what comes next goes into a new one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('deleted_folder');
my ($exchange, $one, $two) = ($stage->exchange, 'user1@example.test', 'user2@example.test');

# The keys of the people in the folder that is in its place.
sub there
{
	my ($mailbox) = @_;
	my $content = $exchange->get("mailbox?address=$mailbox");
	my ($contacts) = map { $_->{name} } grep { ($_->{distinguished} // '') eq 'contacts' } @{ $content->{folders} };
	return join ' ', sort map { CrmSync::StandIn::key_of($_) // 'none' } map { @{ $_->{items} } } grep { $_->{name} eq 'CRM' && $_->{parent} eq $contacts } @{ $content->{folders} };
}
sub bin { my ($mailbox) = @_; $exchange->post('folders', mailbox => $mailbox, action => 'bin', folder => 'CRM'); return }
sub locations { return scalar grep { $_->{operation} eq 'GetFolder' } $exchange->journal }

$stage->make_crm(more => "folder => 'CRM'");
$stage->add_people(1, 3, $one, $two);
$stage->settles('a folder of its own');
$exchange->forget_journal;
$stage->change("UPDATE crm.person SET first_name = 'Ann' WHERE id = $_") for 1 .. 3;
is(locations(), 0, 'nobody asks at each change where it is');

bin($one);
$stage->{node}->restart;
$stage->change("UPDATE crm.person SET first_name = 'Bea' WHERE id = 2");
is(there($two), '1 2 3', 'another mailbox keeps its own');
$stage->until_true(sub { there($one) eq '2' }, 'a worker that starts sees that it is deleted, and what changes goes into a new one') or diag(there($one));
is($stage->sql("SELECT string_agg(record || ' ' || state, ', ' ORDER BY record) FROM crmsync.items WHERE mailbox = '$one'"), '1 absent, 2 linked, 3 absent', 'what was in it is deleted');
$stage->change("UPDATE crm.person SET first_name = 'Cid' WHERE id = 3");
is(there($one), '2 3', 'until it changes');

$stage->sql("SELECT crmsync.alter_link('people', on_target_delete => 'recreate'); SELECT crmsync.enable_link('people')");
$stage->settles('made again');
is(there($one), '1 2 3', 'what is to be made again is');
bin($one);
$stage->sql("SELECT crmsync.resync('people', '$one')");
$stage->until_true(sub { there($one) eq '1 2 3' }, 'a resync sees it, too') or diag(there($one));

# ---- with the folder that he has moved it into
sub found_deep { return scalar grep { /Traversal="Deep"/ } $exchange->bodies }
sub resync { my ($name) = @_; $stage->sql("SELECT crmsync.resync('people', '$one')"); $stage->until_true(sub { $stage->nothing_to_repair }, "a resync $name"); $stage->settles('and what follows'); return }
is(found_deep(), 0, 'where it is in its place, or deleted itself, nobody looks further');
$exchange->post('folders', mailbox => $one, @$_) for [ action => 'create', folder => 'Own', to => 'msgfolderroot' ], [ action => 'create', folder => 'Customers', to => 'Own' ], [ action => 'move', folder => 'CRM', to => 'Customers' ];
resync('of a folder that was moved');
is(there($one), '', 'makes no other one: it stays where its user wants it');
sub moved { return map { @{ $_->{items} } } grep { $_->{name} eq 'CRM' && $_->{parent} eq 'Customers' } @{ $exchange->get("mailbox?address=$one")->{folders} } }
is(scalar(moved()), '3', 'with all that is in it');
$exchange->inject('fault', mailbox => $one, operation => 'FindFolder', code => $_, count => 1) for qw(ErrorAccessDenied ErrorFolderNotFound);
for my $id (1, 2)
{
	resync("of one that cannot be looked for, $id");
	is($stage->sql("SELECT coalesce(code, 'well') FROM crmsync.mailboxes WHERE mailbox = '$one'"), 'well', 'does not stop the mailbox');
	$stage->change("UPDATE crm.person SET first_name = 'Fay$id' WHERE id = $id");
	is(scalar(grep { $_->{properties}{'contacts:GivenName'} eq "Fay$id" } moved()), 1, 'which is written');
	is(there($one), '', 'where it is');
}
$exchange->calm;
$exchange->post('folders', mailbox => $one, action => 'bin', folder => 'Own');
$stage->sql("SELECT crmsync.resync('people', '$one')");
$stage->until_true(sub { there($one) eq '1 2 3' }, 'it is deleted with the one above it, and what was in it is made again') or diag(there($one));
$stage->settles('all is done');

$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', direction => 'both', inbound_interval => '1 s', on_target_delete => 'delete'); SELECT crmsync.enable_link('people')");
$stage->settles('a folder that is read');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL AND unnamed_since IS NULL") eq '2' }, 'in both mailboxes');
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two'");
$stage->settles('in one mailbox only');
bin($one);
$stage->sql("SELECT crmsync.resync('people', '$one')");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crm.person') eq '0' }, 'and what is deleted there is deleted in the CRM', 30) or diag($stage->sql('SELECT * FROM crmsync.items'));

$stage->done;
