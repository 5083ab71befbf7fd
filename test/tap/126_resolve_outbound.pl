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
INSERT INTO crm.contact (id, first_name, last_name) SELECT i, 'First' || i, 'Last' || i FROM generate_series(1, 10) i;
INSERT INTO crm.contact_email (contact_id, email, is_primary) SELECT i, chr(96 + n) || i || '\@x', n = 1 FROM generate_series(1, 10) i, generate_series(1, 2) n;
INSERT INTO crm.audience SELECT i, m FROM generate_series(1, 10) i, unnest('{$one,$two}'::text[]) m;
INSERT INTO crm.audience_out SELECT i, m FROM generate_series(1, 4) i, unnest('{$one,$two}'::text[]) m;
SQL
$stage->make_target;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('out', 'exchange', 'contact', 'crm.contact', audience => 'crm.audience_out', folder => 'Out');
SELECT crmsync.map('out', 'first_name', 'given_name');
SELECT crmsync.map('out', 'last_name', 'surname');
SELECT crmsync.map_child('out', 'crm.contact_email', 'contact_id', format('{"email": "email_%s"}', i)::jsonb, "position" => i, order_by => 'is_primary DESC')
FROM generate_series(1, 2) i;
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
user_changes($one, 'Out', { 'contacts:Surname' => 'Last2!' }, 'EmailAddress/EmailAddress1' => 'his2@x');
$stage->change("UPDATE crm.contact_email SET email = 'ours2\@x' WHERE email = 'a2\@x'", 'out');
my $place = conflict("link = 'out' AND property = 'email_1'");
decide($place, 'target');
has($one, 'Out', 2, 'EmailAddress/EmailAddress1', 'his2@x', 'target: so has a place that child rows take');
decide($place, 'crm');
has($one, 'Out', 2, 'EmailAddress/EmailAddress1', 'ours2@x', 'crm: and back again');
$stage->change("DELETE FROM crm.contact_email WHERE email = 'ours2\@x'", 'out');
decide($place, 'target');
$stage->settles('another row is there now', 'out');
is(value($one, 'Out', 2, 'EmailAddress/EmailAddress1') . ' ' . says($place), 'b2@x crm property "email_1" has another value meanwhile, and may be of another row', 'what another row has put there meanwhile stays');
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

# The row is the one that it was about, or none, wherever rows stand by then.
sub emails { return $stage->sql("SELECT coalesce(string_agg(email, ' ' ORDER BY is_primary DESC, id), 'none') FROM crm.contact_email WHERE contact_id = $_[0]") }
sub shown { my ($record) = @_; return join ' / ', map { my $mailbox = $_; join ' ', map { value($mailbox, 'Both', $record, "EmailAddress/EmailAddress$_") } 1, 2 } $one, $two }
sub child_conflict
{
	my ($record, $change, $theirs) = @_;
	$exchange->post('server', paused => \1);
	user_changes($one, 'Both', { 'contacts:Surname' => "Last$record" }, 'EmailAddress/EmailAddress1' => $theirs);
	$stage->sql($change);
	$exchange->post('server', paused => \0);
	$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE link = 'both' AND record = '$record'") eq '1' }, "a conflict of record $record", 20);
	$stage->settles("the conflict of record $record", 'both');
	return conflict("link = 'both' AND record = '$record'");
}
sub change_row { my ($record) = @_; return "UPDATE crm.contact_email SET email = 'ours$record\@x' WHERE email = 'a$record\@x'" }
sub other_first { my ($record) = @_; return "UPDATE crm.contact_email SET is_primary = NOT is_primary WHERE contact_id = $record" }
sub ends_as
{
	my ($conflict, $choice, $record, $expected, $says, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	decide($conflict, $choice);
	$stage->until_true(sub { $stage->sql("SELECT choice IS NULL OR winner = choice FROM crmsync.conflicts WHERE id = $conflict") eq 't' && $stage->sql('SELECT count(*) FROM crmsync.request') eq '0' }, "$what: it is decided", 20);
	$stage->settles("$what: the choice", 'both');
	(my $items = $expected) =~ s/^(\S+)$/$1 -/;
	$stage->until_true(sub { emails($record) eq $expected && shown($record) eq "$items / $items" }, $what, 10) or diag(emails($record), ' <> ', shown($record));
	is(says($conflict), $says, "$what: which is noted");
	return;
}
my $lost = 'crm the row of crm.contact_email that it was about is not there any more, holds something else, or cannot be told from another';
my $of_5 = child_conflict(5, change_row(5), 'his5@x');
$stage->change("DELETE FROM crm.contact_email WHERE email = 'ours5\@x'", 'both');
ends_as($of_5, 'target', 5, 'b5@x', $lost, 'the row is gone, and another in its place');
my $of_6 = child_conflict(6, change_row(6), undef);
$stage->change("DELETE FROM crm.contact_email WHERE email = 'ours6\@x'", 'both');
ends_as($of_6, 'target', 6, 'b6@x', $lost, 'its user had cleared it, and another is in its place');
my $of_7 = child_conflict(7, change_row(7), 'his7@x');
$stage->change(other_first(7), 'both');
ends_as($of_7, 'target', 7, 'b7@x his7@x', 'target target', 'the row stands elsewhere by now');
is($stage->sql("SELECT old::text || new FROM crmsync.history WHERE link = 'both' AND record = '7' AND action = 'bring in'"), '{"email_2": "ours7@x"}{"email_2": "his7@x"}', 'the history says where');
ends_as($of_7, 'crm', 7, 'b7@x ours7@x', 'crm crm', 'and back again');
my $of_8 = child_conflict(8, change_row(8) . '; ' . other_first(8), 'his8@x');
ends_as($of_8, 'target', 8, 'b8@x his8@x', 'target target', 'it stood elsewhere from the start');
my $of_9 = child_conflict(9, "DELETE FROM crm.contact_email WHERE email = 'a9\@x'", 'his9@x');
ends_as($of_9, 'target', 9, 'b9@x his9@x', 'target target', 'the CRM had removed the row: it has one again, beside the other');

# Where several rows hold the same, what else they hold does not say which it was.
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.map_child('both', 'crm.contact_address', 'contact_id', '{"street": "home_street", "city": "home_city"}');
SELECT crmsync.map_child('both', 'crm.contact_address', 'contact_id', '{"street": "other_street", "city": "other_city"}', "position" => 2);
INSERT INTO crm.contact_address (contact_id, street, city) VALUES (10, 'Elm 1', 'Bern'), (10, 'Oak 2', 'Bern');
SELECT crmsync.enable_link('both');
SQL
$stage->settles('with postal addresses', 'both');
has($_, 'Both', 10, 'PhysicalAddress:Street/Other', 'Oak 2', 'with two postal addresses') for $one, $two;
$exchange->post('server', paused => \1);
user_changes($one, 'Both', { 'contacts:Surname' => 'Last10' }, 'PhysicalAddress:City/Home' => 'Chur');
$stage->sql("UPDATE crm.contact_address SET city = 'Basel' WHERE contact_id = 10 AND street = 'Elm 1'");
$exchange->post('server', paused => \0);
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE property = 'home_city'") eq '1' }, 'a conflict of a town', 20);
my $town = conflict("property = 'home_city'");
$stage->change("UPDATE crm.contact_address SET city = 'Basel' WHERE contact_id = 10 AND street = 'Oak 2'", 'both');
sub towns { return $stage->sql("SELECT string_agg(city, ' ' ORDER BY id) FROM crm.contact_address WHERE contact_id = 10") }
decide($town, 'target');
$stage->until_true(sub { says($town) =~ /cannot be told/ }, 'two rows hold what it was about', 20) or diag(says($town));
is(towns(), 'Basel Basel', 'neither is written');
$stage->change("UPDATE crm.contact_address SET city = 'Bern' WHERE contact_id = 10 AND street = 'Oak 2'", 'both');
decide($town, 'target');
$stage->until_true(sub { towns() eq 'Chur Bern' }, 'one of them does again: it is that', 20) or diag(towns());

# Which row a function of the link's own writes is its own matter: it is asked only where nothing has moved.
$stage->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.audience_applied AS SELECT 3 AS record, '$one' AS mailbox;
CREATE FUNCTION crm.bring_in(link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) RETURNS text
LANGUAGE plpgsql AS \$\$
BEGIN
    UPDATE crm.contact_email e SET email = bring_in.new ->> 'email_1'
    WHERE e.id = (SELECT f.id FROM crm.contact_email f WHERE f.contact_id = bring_in.record::integer ORDER BY f.is_primary DESC, f.id LIMIT 1);
    RETURN record;
END;
\$\$;
RESET ROLE;
SELECT crmsync.create_link('applied', 'exchange', 'contact', 'crm.contact', audience => 'crm.audience_applied', folder => 'Applied', direction => 'both', inbound_interval => '1 s', apply => 'crm.bring_in');
SELECT crmsync.map('applied', 'last_name', 'surname');
SELECT crmsync.map_child('applied', 'crm.contact_email', 'contact_id', '{"email": "email_1"}', order_by => 'is_primary DESC');
SELECT crmsync.enable_link('applied');
SQL
$stage->settles('with a function', 'applied');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link WHERE l.name = 'applied' AND m.sync_state IS NOT NULL AND m.listing IS NULL") eq '1' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'the mailbox is read', 30);
$exchange->post('server', paused => \1);
user_changes($one, 'Applied', { 'contacts:Surname' => 'Last3' }, 'EmailAddress/EmailAddress1' => 'his3@x');
$stage->sql(change_row(3));
$exchange->post('server', paused => \0);
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE link = 'applied'") eq '1' }, 'a conflict', 20);
$stage->settles('the conflict', 'applied');
my $applied = conflict("link = 'applied'");
decide($applied, 'target');
$stage->until_true(sub { emails(3) eq 'his3@x b3@x' }, 'target: the function writes it', 20) or diag(emails(3));
decide($applied, 'crm');
$stage->until_true(sub { emails(3) eq 'ours3@x b3@x' }, 'crm: and back again', 20) or diag(emails(3));
$stage->change("DELETE FROM crm.contact_email WHERE email = 'ours3\@x'", 'applied');
decide($applied, 'target');
$stage->until_true(sub { says($applied) eq $lost }, 'another row is in its place', 20) or diag(says($applied));
is(emails(3), 'b3@x', 'which stays');

$stage->done;
