# Conflicts of fields that somebody decides where the field does not come in: of a link that only writes, and
# of an expression. The item gets the value, and the CRM keeps its own. Of child rows the CRM gets it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Children;
use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('resolve_outbound');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
CrmSync::Children::make_tables($stage);
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE TABLE crm.audience_out (record integer, mailbox text);
INSERT INTO crm.contact (id, first_name, last_name) SELECT i, 'First' || i, 'Last' || i FROM generate_series(1, 4) i;
INSERT INTO crm.contact_email (contact_id, email, is_primary) SELECT i, chr(96 + n) || i || '\@x', n = 1 FROM generate_series(1, 4) i, generate_series(1, 2) n;
INSERT INTO crm.audience SELECT i, m FROM generate_series(1, 4) i, unnest('{$one,$two}'::text[]) m;
INSERT INTO crm.audience_out SELECT i, m FROM generate_series(1, 4) i, unnest('{$one,$two}'::text[]) m;
SQL
$stage->make_target;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('out', 'exchange', 'contact', 'crm.contact', audience => 'crm.audience_out', folder => 'Out');
SELECT crmsync.map('out', 'first_name', 'given_name');
SELECT crmsync.map('out', 'last_name', 'surname');
SELECT crmsync.enable_link('out');
SELECT crmsync.create_link('both', 'exchange', 'contact', 'crm.contact', audience => 'crm.audience', folder => 'Both', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map('both', '(upper(r.first_name))', 'nickname');
SELECT crmsync.map('both', 'last_name', 'surname');
SELECT crmsync.map_child('both', 'crm.contact_email', 'contact_id', format('{"email": "email_%s"}', i)::jsonb, "position" => i, order_by => 'is_primary DESC')
FROM generate_series(1, 2) i;
SELECT crmsync.enable_link('both');
SQL
$stage->settles('before', $_) for qw(out both);
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailboxes WHERE link = 'both'") eq '2' && $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'the mailboxes are read', 30);

sub user_changes { my ($mailbox, $folder, $match, %set) = @_; return $exchange->act($mailbox, 'update', match => $match, folder => $folder, set => { map { ("contacts:$_" => $set{$_}) } keys %set }) }
sub value { my ($mailbox, $folder, $record, $name) = @_; return $exchange->records($mailbox, $folder)->{$record}{"contacts:$name"} // '-' }
sub has { my ($mailbox, $folder, $record, $name, $expected, $what) = @_; return $stage->until_true(sub { value($mailbox, $folder, $record, $name) eq $expected }, $what, 20) || diag(value($mailbox, $folder, $record, $name)) }
sub conflict { return $stage->sql("SELECT max(id) FROM crmsync.conflicts WHERE $_[0]") }
sub says { return $stage->sql("SELECT concat_ws(' ', winner, choice, problem) FROM crmsync.conflicts WHERE id = $_[0]") }
sub shadow { return $stage->sql("SELECT values ->> '$_[2]' FROM crmsync.items WHERE link = '$_[0]' AND record = '$_[1]' AND mailbox = '$one'") }
sub decide { $stage->sql("SELECT crmsync.resolve($_[0], '$_[1]')"); return }

# ---- a link that only writes
sub both_change
{
	my ($record, $ours, $theirs) = @_;
	user_changes($one, 'Out', { 'contacts:Surname' => "Last$record" }, GivenName => $theirs);
	$stage->change("UPDATE crm.contact SET first_name = '$ours' WHERE id = $record", 'out');
	return conflict("link = 'out' AND record = '$record'");
}
my $first = both_change(1, 'Ours', 'Theirs');
is(value($one, 'Out', 1, 'GivenName'), 'Ours', 'the CRM has won');
is($stage->sql("SELECT choices FROM crmsync.conflicts WHERE id = $first"), '{crm,target}', 'somebody may think otherwise');
decide($first, 'target');
has($one, 'Out', 1, 'GivenName', 'Theirs', 'target: the item has again what its user wrote');
is(value($one, 'Out', 1, 'FileAs'), 'Last1, Theirs', 'and is filed under it');
$stage->settles('what was chosen', 'out');
is(says($first), 'target target', 'which is noted');
is($stage->sql('SELECT first_name FROM crm.contact WHERE id = 1') . ' ' . value($two, 'Out', 1, 'GivenName'), 'Ours Ours', 'the CRM keeps its own, and so does another mailbox');
$exchange->forget_journal;
$stage->change("UPDATE crm.contact SET last_name = 'Last1' WHERE id = 1; UPDATE crm.contact SET last_name = last_name || '!' WHERE id = 2; SELECT crmsync.sync('out')", 'out');
is(value($one, 'Out', 1, 'GivenName'), 'Theirs', 'it stays as it is while the CRM does not change it');
decide($first, 'crm');
has($one, 'Out', 1, 'GivenName', 'Ours', 'crm: the item has what the CRM has');
$stage->settles('the other choice', 'out');
is(says($first) . ' ' . shadow('out', 1, 'given_name'), 'crm crm Ours', 'which is noted, too');
decide($first, 'target');
decide($first, 'crm');
decide($first, 'target');
has($one, 'Out', 1, 'GivenName', 'Theirs', 'of several choices the last one holds');
$stage->settles('several choices', 'out');
is(says($first), 'target target', 'in the end');
$stage->change("UPDATE crm.contact SET first_name = 'Newer' WHERE id = 1", 'out');
is(value($one, 'Out', 1, 'GivenName'), 'Newer', 'what the CRM changes later goes out');

my $second = both_change(3, 'Ours3', 'Theirs3');
user_changes($one, 'Out', { 'contacts:Surname' => 'Last3' }, GivenName => 'Third');
decide($second, 'target');
$stage->settles('changed again', 'out');
is(value($one, 'Out', 3, 'GivenName'), 'Third', 'what its user has changed since stays');
is($stage->sql("SELECT action || ' ' || code || ' ' || message FROM crmsync.history WHERE link = 'out' AND record = '3' AND result = 'failed'"), 'undo CHANGED changed again meanwhile: given_name', 'and the history says so');
my $third = both_change(4, 'Ours4', 'Theirs4');
$stage->sql("DELETE FROM crm.audience_out WHERE record = 4");
$stage->settles('out of the audience', 'out');
decide($third, 'target');
$stage->settles('nothing to write to', 'out');
is(says($third), 'crm there is no item of the record any more', 'where there is no item, nothing can be done');
is($stage->sql("SELECT count(*) FROM crmsync.undoing"), '0', 'nothing is left to do');
$stage->sql("SELECT crmsync.unmap('out', 'given_name')");
is($stage->sql("SELECT choices FROM crmsync.conflicts WHERE id = $second"), '{}', 'nor to choose, when the property is not mapped');

# ---- an expression of a link of both directions
user_changes($one, 'Both', { 'contacts:Surname' => 'Last4' }, Nickname => 'Nick');
$stage->change("UPDATE crm.contact SET first_name = 'More' WHERE id = 4", 'both');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE property = 'nickname'") eq '1' }, 'a conflict of a field that only goes out', 20);
has($one, 'Both', 4, 'Nickname', 'MORE', 'the CRM has won');
my $nick = conflict("property = 'nickname'");
decide($nick, 'target');
has($one, 'Both', 4, 'Nickname', 'Nick', 'target: the item has what its user wrote');
sleep 2.5;
$stage->settles('read again', 'both');
is(value($one, 'Both', 4, 'Nickname') . ' ' . value($two, 'Both', 4, 'Nickname') . ' ' . says($nick), 'Nick MORE target target', 'and keeps it when it is read');
decide($nick, 'crm');
has($one, 'Both', 4, 'Nickname', 'MORE', 'crm: it has what the CRM has');

# ---- child rows
$exchange->post('server', paused => \1);
user_changes($one, 'Both', { 'contacts:Surname' => 'Last4' }, 'EmailAddress/EmailAddress2' => 'his@x');
$stage->sql("UPDATE crm.contact_email SET email = 'ours\@x' WHERE email = 'b4\@x'");
$exchange->post('server', paused => \0);
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE property = 'email_2'") eq '1' }, 'a conflict of a child row', 20);
has($two, 'Both', 4, 'EmailAddress/EmailAddress2', 'ours@x', 'the CRM has won');
my $email = conflict("property = 'email_2'");
decide($email, 'target');
has($_, 'Both', 4, 'EmailAddress/EmailAddress2', 'his@x', 'target: everybody has it') for $one, $two;
is($stage->sql("SELECT string_agg(email, ' ' ORDER BY id) FROM crm.contact_email WHERE contact_id = 4"), 'a4@x his@x', 'from the row');
decide($email, 'crm');
has($_, 'Both', 4, 'EmailAddress/EmailAddress2', 'ours@x', 'crm: and back again') for $one, $two;

$stage->done;
