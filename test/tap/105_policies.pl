# What the policies and options of a link do, as its mailbox shows it: which fields are written, what
# becomes of items whose record goes, and of those that their user deletes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;

my $stage = CrmSync::EndToEnd->new('policies');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm(before => <<'SQL');
SELECT crmsync.map('people', 'remark', 'job_title', options => '{"write": "if_empty"}');
SQL
my ($first, $last, $title, $phone) = ('contacts:GivenName', 'contacts:Surname', 'contacts:JobTitle', 'contacts:PhoneNumber/BusinessPhone');

sub alter { my ($settings) = @_; $stage->sql("SELECT crmsync.alter_link('people', $settings)"); return }

# The user of a mailbox changes, or deletes, the contact of a person.
sub user
{
	my ($does, $person, %set) = @_;
	$exchange->act($one, $does, match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', %set ? (set => \%set) : ());
	return;
}

# Carries out, then the fields of a person in the first mailbox.
sub gives
{
	my ($statements, $person, $fields, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->change($statements);
	my $item = $exchange->records($one)->{$person};
	is(join(' ', map { $item->{$_} // '-' } @$fields), $expected, $name);
	return;
}

# Names in a folder, with a star when the item is ours.
sub names { my ($folder) = @_; return join ' ', sort map { $_->{properties}{$first} . (defined CrmSync::StandIn::key_of($_) ? '*' : '') } $exchange->items($one, $folder) }

# ---- write_fields
$stage->add_people(1, 9, $one);
$stage->settles('nine people');
user('update', 1, $last => 'Typed');
gives("UPDATE crm.person SET first_name = 'Ann' WHERE id = 1", 1, [ $first, $last ], 'Ann Typed', 'changed: what the user wrote in another field stays');
alter("write_fields => 'all'");
user('update', 2, $last => 'Typed', $phone => '1');
$exchange->forget_journal;
gives("UPDATE crm.person SET first_name = 'Bea' WHERE id = 2", 2, [ $first, $last, $phone ], 'Bea Last2 +49 30 2', 'all: every field is as the CRM has it');
my $written = (grep { /UpdateItem/ } $exchange->bodies)[-1];
is(scalar(grep { $written =~ /$_/ } qw(GivenName Surname BusinessPhone EmailAddress1)), 4, 'since every field is written');
$exchange->forget_journal;
gives("UPDATE crm.person SET first_name = first_name WHERE id = 2", 2, [$first], 'Bea', 'when there is a change');
is(scalar($exchange->journal), 0, 'and not otherwise');
alter("reset => '{write_fields}'");
user('update', 2, $last => 'Typed');
gives("UPDATE crm.person SET first_name = 'Beate' WHERE id = 2", 2, [ $first, $last ], 'Beate Typed', 'reset: only what has changed again');

# ---- write if_empty
gives("UPDATE crm.person SET remark = 'Boss' WHERE id = 3", 3, [$title], 'Boss', 'if_empty: what is empty is filled');
gives("UPDATE crm.person SET remark = 'Chief', first_name = 'Cid' WHERE id = 3", 3, [ $first, $title ], 'Cid Boss', 'what is not stays');
gives("UPDATE crm.person SET remark = NULL, first_name = 'Cyd' WHERE id = 3", 3, [ $first, $title ], 'Cyd Boss', 'also when the CRM has nothing more');
gives("UPDATE crm.person SET remark = 'Head' WHERE id = 3; UPDATE crm.person SET first_name = 'Cy' WHERE id = 3", 3, [ $first, $title ], 'Cy Boss', 'or something else again');
user('update', 4, $title => 'Typed');
gives("UPDATE crm.person SET remark = 'Boss' WHERE id = 4", 4, [$title], 'Typed', 'and what the user has filled');
gives("UPDATE crm.person SET first_name = 'Dan', remark = 'Chief' WHERE id = 4", 4, [ $first, $title ], 'Dan Typed', 'for ever');

# ---- on_crm_delete, hard_delete
$stage->sql('DELETE FROM crm.person WHERE id > 4');
$stage->settles('with few people left');
$exchange->forget_journal;
$stage->add_people(11, 16, $one);
$stage->settles('and some more');
my $old = names('deleteditems');
alter("on_crm_delete => 'keep'");
$stage->change('DELETE FROM crm.person WHERE id = 11');
like(names(), qr/(?<!\S)First11(?!\S)/, 'keep: the item of a record that was deleted stays, as its user\'s own');
is($stage->sql("SELECT state FROM crmsync.items WHERE record = '11'"), 'unlinked', 'as is known of it');
is($stage->sql("SELECT action FROM crmsync.history WHERE record = '11' ORDER BY at DESC LIMIT 1"), 'unlink', 'which the history says');
$stage->sql("SELECT crmsync.pause_target('exchange')");
$stage->sql("INSERT INTO crm.person (id, first_name, last_name, phone, email) VALUES (11, 'First11', 'Last11', '+49 30 11', 'person11\@example.com')");
is($stage->sql("SELECT string_agg(concat_ws(' ', record, action, property, reason), ',') FROM crmsync.plan('people')"), '11 update the record is back; its item was left to its user', 'plan() says what will become of it');
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->settles('the record comes back');
is(scalar(() = names() =~ /First11/g), 1, 'it is not doubled');
is($stage->sql("SELECT state FROM crmsync.items WHERE record = '11'"), 'linked', 'its item is the one that was left');
$stage->change('DELETE FROM crm.person WHERE id = 16');
$stage->sql("SELECT crmsync.forget('people', '16')");
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE record = '16'"), '0', 'what is kept of it can be erased');
alter("reset => '{on_crm_delete}', options => '{\"hard_delete\": true}'");
$stage->change('DELETE FROM crm.person WHERE id = 12');
unlike(names(), qr/First12/, 'delete: it goes');
is(names('deleteditems'), $old, 'with hard_delete for good');
alter("reset => '{hard_delete}'");
$stage->change('DELETE FROM crm.person WHERE id = 13');
like(names('deleteditems'), qr/First13/, 'without it to where the user can take it back');

# ---- on_audience_loss
alter("on_audience_loss => 'unlink'");
$stage->change("DELETE FROM crm.audience WHERE record = 14");
like(names(), qr/(?<!\S)First14(?!\S)/, 'unlink: the item of a record that has left the audience stays');
$stage->sql("INSERT INTO crm.audience VALUES (14, '$one')");
$stage->settles('which it is in again');
is(scalar(() = names() =~ /First14/g), 1, 'nor is this one doubled');
$stage->change("DELETE FROM crm.audience WHERE record = 14");
user('delete', 14);
$stage->change("INSERT INTO crm.audience VALUES (14, '$one')");
like(names(), qr/First14/, 'what its user has deleted meanwhile is made again');
$stage->change('DELETE FROM crm.person WHERE id = 15');
unlike(names(), qr/First15/, 'one that was deleted is another matter');
alter("reset => '{on_audience_loss}'");

# ---- on_target_delete
user('delete', 1);
gives("UPDATE crm.person SET first_name = 'Anna' WHERE id = 1", 1, [ $first, $last ], 'Anna Last1', 'ignore: what the user has deleted comes back when the record changes');
alter("on_target_delete => 'unlink'");
user('delete', 2);
$stage->change("UPDATE crm.person SET first_name = 'Bert' WHERE id = 2");
$stage->change("UPDATE crm.person SET first_name = 'Bill' WHERE id = 2");
unlike(names(), qr/Bert|Bill/, 'unlink: it never comes back');
is($stage->sql("SELECT state FROM crmsync.items WHERE record = '2'"), 'gone', 'as its state says');
like($stage->sql("SELECT string_agg(detail || hint, ' ') FROM crmsync.why('people', '2', '$one')"), qr/deleted in the mailbox.*not written again/, 'and why()');
$stage->change("INSERT INTO crm.audience VALUES (2, '$two')");
is($exchange->show($two), '2:Bill', 'in that mailbox; others get it');
alter("reset => '{on_target_delete}'");

# ---- a link whose items are all gone, or left to their users, may have another folder: nothing is known of that
$stage->make_another('moved', 2, $two);
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('moved', on_audience_loss => 'unlink', on_crm_delete => 'keep')");
$stage->settles('another link', 'moved');
$stage->sql('DELETE FROM crm.moved');
$stage->settles('which leaves all that it has made', 'moved');
$stage->sql("SELECT crmsync.disable_link('moved'); SELECT crmsync.alter_link('moved', folder => 'Elsewhere')");
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE link = 'moved'"), '0', 'it knows nothing of them any more');
$stage->node->restart;
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('moved'); INSERT INTO crm.moved VALUES (3, 'There')");
$stage->settles('enabled after a restart', 'moved');
is(join(' ', map { $_->{properties}{$first} } $exchange->items($two, 'Elsewhere')), 'There', 'it writes to the other folder');
$stage->sql("SELECT crmsync.drop_link('moved')");

# ---- compare_interval
$stage->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.hidden (person integer, value text);
CREATE FUNCTION crm.hidden(person integer) RETURNS text STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT h.value FROM crm.hidden h WHERE h.person = $1); END';
RESET ROLE;
SELECT crmsync.map('people', '(crm.hidden(r.id))', 'department');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('an expression that reads what crmsync cannot see');
gives("INSERT INTO crm.hidden VALUES (1, 'Secret')", 1, ['contacts:Department'], '-', 'its change is not noticed');
alter("options => '{\"compare_interval\": \"1 s\"}'");
$stage->until_true(sub { ($exchange->records($one)->{1}{'contacts:Department'} // '') eq 'Secret' }, 'before everything is compared, as often as compare_interval says');
alter("options => '{\"compare_interval\": \"0\"}'");
$stage->sync;
my $compared = $stage->sql('SELECT compared FROM crmsync.link_state');
sleep 7;
is($stage->sql('SELECT compared FROM crmsync.link_state'), $compared, '0: never by itself');

$stage->done;
