# Both sides change the same contact before either has heard of the other: field by field, the CRM
# wins what both changed, and both values are kept (promise 8).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('conflicts');
my $exchange = $stage->exchange;
my $mailbox = 'user1@example.test';
$stage->make_crm;
$stage->add_people(1, 3, $mailbox);
$stage->settles('before');

sub user_changes
{
	my ($person, %set) = @_;
	$exchange->act($mailbox, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', set => \%set);
	return;
}

sub conflicts { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, kind, property, crm_value, target_value, winner), ', ' ORDER BY id), 'none') FROM crmsync.conflicts") }

user_changes(1, 'contacts:Surname' => 'Typed');
$stage->change("UPDATE crm.person SET first_name = 'Changed' WHERE id = 1");
my $item = $exchange->records($mailbox)->{1};
is("$item->{'contacts:GivenName'} $item->{'contacts:Surname'}", 'Changed Typed', 'another field that the user changed stays');
is(conflicts(), 'none', 'that is no conflict');

user_changes(2, 'contacts:GivenName' => 'Users');
$stage->change("UPDATE crm.person SET first_name = 'Crms' WHERE id = 2");
is($exchange->records($mailbox)->{2}{'contacts:GivenName'}, 'Crms', 'the CRM wins the same field');
is(conflicts(), '2 field given_name Crms Users crm', 'and both values are kept');
is($stage->sql("SELECT old ->> 'given_name', new ->> 'given_name' FROM crmsync.history WHERE record = '2' AND action = 'update'"), 'Users|Crms', 'in the history, too');
is($stage->status('conflicts'), '0', 'there is nothing left to decide');

user_changes(3, 'contacts:GivenName' => 'Same');
$exchange->forget_journal;
$stage->change("UPDATE crm.person SET first_name = 'Same' WHERE id = 3");
is(join(' ', map { $_->{operation} } grep { $_->{operation} =~ /Item/ } $exchange->journal), 'UpdateItem GetItem', 'what the user has done already is not written again');
$stage->change("UPDATE crm.person SET first_name = 'Next' WHERE id = 3");
is($exchange->records($mailbox)->{3}{'contacts:GivenName'}, 'Next', 'and the next change goes out');
is(conflicts(), '2 field given_name Crms Users crm', 'without a conflict');

# ---- only to fill a gap
$stage->sql("SET client_min_messages = error; SELECT crmsync.map('people', 'remark', 'nickname', options => '{\"write\": \"if_empty\"}'); SELECT crmsync.enable_link('people')");
$stage->settles('another mapping');
user_changes(1, 'contacts:Nickname' => 'Own');
$stage->change("UPDATE crm.person SET remark = 'Given' WHERE id IN (1, 2)");
is(join(' ', map { $exchange->records($mailbox)->{$_}{'contacts:Nickname'} } 1, 2), 'Own Given', 'what is written only where there is nothing leaves what the user has typed');

$stage->sql("DELETE FROM crm.audience WHERE record = 2");
$stage->settles('out of the audience');
$stage->sql("SELECT crmsync.forget('people', '2')");
is(conflicts(), 'none', 'forget erases conflicts, too');

# ---- what the user has changed stays while the CRM changes something else, and is known when it changes that
user_changes(1, 'contacts:GivenName' => 'Theirs');
$stage->change("UPDATE crm.person SET phone = '+49 30 99' WHERE id = 1");
$stage->change("UPDATE crm.person SET first_name = 'Ours' WHERE id = 1");
is($exchange->records($mailbox)->{1}{'contacts:GivenName'}, 'Ours', 'the CRM wins also later');
is(conflicts(), '1 field given_name Ours Theirs crm', 'that is a conflict');
is($stage->sql("SELECT old ->> 'given_name' FROM crmsync.history WHERE record = '1' AND action = 'update' ORDER BY at DESC LIMIT 1"), 'Theirs', 'and what undo would bring back');

# ---- what the user had in a property before that was mapped
$stage->change("UPDATE crm.person SET remark = 'Ours' WHERE id = 3");
user_changes(3, 'contacts:AssistantName' => 'Theirs');
$stage->change("UPDATE crm.person SET first_name = 'Known' WHERE id = 3");
$stage->sql("SET client_min_messages = error; SELECT crmsync.map('people', 'remark', 'assistant'); SELECT crmsync.enable_link('people')");
$stage->until_true(sub { ($exchange->records($mailbox)->{3}{'contacts:AssistantName'} // '') eq 'Ours' }, 'a property is mapped that the user has used already');
$stage->settles('it is written');
like(conflicts(), qr/3 field assistant Ours Theirs crm/, 'that is a conflict');
is($stage->sql("SELECT old ->> 'assistant' FROM crmsync.history WHERE record = '3' AND action = 'update' ORDER BY at DESC LIMIT 1"), 'Theirs', 'and what the user had is what undo would bring back');

$stage->done;
