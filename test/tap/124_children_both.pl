# Child rows in both directions: what users do to addresses and numbers is done to the rows of the tables
# that have them, each row known by what it holds; and the rows of new records are made with them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Children;
use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('children_both');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
CrmSync::Children::make_tables($stage);
$stage->sql(<<"SQL");
SET ROLE crm_owner;
INSERT INTO crm.contact (id, first_name, last_name) SELECT i, 'First' || i, 'Last' || i FROM generate_series(1, 12) i;
INSERT INTO crm.contact_email (contact_id, email, is_primary, note)
SELECT i, chr(96 + n) || i || '\@x', n = 1, 'note ' || n FROM generate_series(1, 12) i, generate_series(1, 2) n;
INSERT INTO crm.contact_phone (contact_id, phone, is_primary) SELECT i, '+' || i, true FROM generate_series(1, 12) i;
INSERT INTO crm.contact_address (contact_id, type, street, city) SELECT i, 'billing', 'Street ' || i, 'City' FROM generate_series(1, 12) i;
INSERT INTO crm.audience SELECT i, m FROM generate_series(1, 12) i, unnest('{$one,$two}'::text[]) m;
SQL
$stage->make_target;
CrmSync::Children::make_link($stage, "preset => 'orocrm', match_on => '{given_name,surname}', inbound_interval => '1 s', outbound_interval => '1 s'");
$stage->sql("SET client_min_messages = error; SELECT crmsync.map('contacts', 'made_in', '\@mailbox'); SELECT crmsync.enable_link('contacts')");
$stage->settles('before', 'contacts');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'both mailboxes are read', 30);

sub user_changes { my ($mailbox, $record, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:GivenName' => "First$record" }, folder => 'contacts', set => { map { ("contacts:$_" => $set{$_}) } keys %set }) }
sub email { return "EmailAddress/EmailAddress$_[0]" }
sub crm
{
	my ($record) = @_;
	return $stage->sql(<<"SQL");
SELECT concat_ws(' | ',
    (SELECT coalesce(string_agg(e.email, ' ' ORDER BY is_primary DESC, id), 'none') FROM crm.contact_email e WHERE contact_id = $record),
    (SELECT coalesce(string_agg(p.phone, ' ' ORDER BY is_primary DESC, id), 'none') FROM crm.contact_phone p WHERE contact_id = $record),
    (SELECT coalesce(string_agg(concat_ws(', ', coalesce(a.type::text, 'other'), a.street, a.city), '; ' ORDER BY type), 'none') FROM crm.contact_address a WHERE contact_id = $record),
    (SELECT string_agg(concat_ws(' ', v.kind, v.happens), ', ') FROM crm.contact_event v WHERE contact_id = $record))
SQL
}
sub lines { return $stage->sql("SELECT string_agg(number, ' ' ORDER BY is_primary DESC, id) FROM crm.contact_line WHERE contact_id = $_[0]") }
sub emails { return (split / \| /, crm($_[0]))[0] }
sub shown { return join ' / ', map { (split / \| /, CrmSync::Children::shown($exchange, $_, $_[0]))[0] } $one, $two }
sub comes_in { my ($record, $expected, $what) = @_; $stage->until_true(sub { crm($record) eq $expected }, $what, 20) or diag(crm($record)); return }
sub settle_at
{
	my ($record, $crm, $items, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->until_true(sub { emails($record) eq $crm && shown($record) eq "$items / $items" }, $what, 20) or diag(emails($record), ' <> ', shown($record));
	return;
}
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code, message), ', ' ORDER BY record), 'nothing') FROM crmsync.failures") }
sub conflicts { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, property, crm_value, target_value, winner), ', ' ORDER BY id), 'none') FROM crmsync.conflicts") }

# ---- a value changes, a row comes, a row goes
user_changes($one, 1, email(2) => 'new1@x', 'PhoneNumber/PrimaryPhone' => '+11', 'PhysicalAddress:City/Business' => 'Town', 'PhysicalAddress:Street/Home' => 'Elm 2', Birthday => '1980-02-29T00:00:00Z', 'Surname' => 'Typed');
comes_in(1, 'a1@x new1@x | +11 | billing, Street 1, Town; shipping, Elm 2 | birth 1980-02-29', 'O7: values change, and rows come with what they have fixed');
is($stage->sql("SELECT string_agg(concat_ws(' ', note, is_primary), ', ' ORDER BY id) FROM crm.contact_email WHERE contact_id = 1"), 'note 1 t, note 2 f', 'what is not mapped stays');
is($stage->sql('SELECT last_name FROM crm.contact WHERE id = 1'), 'Typed', 'together with the row itself');
$stage->until_true(sub { (my $shown = CrmSync::Children::shown($exchange, $two, 1)) eq 'a1@x new1@x - | +11 | Street 1, Town | Elm 2, - | -, - | 1980-02-29' }, 'O7: and goes on to the other mailbox', 20);
is($stage->sql("SELECT old ->> 'email_2', new ->> 'email_2' FROM crmsync.history WHERE action = 'bring in' AND record = '1'"), 'b1@x|new1@x', 'the history has both values');
user_changes($two, 1, 'PhoneNumber/PrimaryPhone' => undef, 'PhysicalAddress:City/Business' => undef, Birthday => undef);
comes_in(1, 'a1@x new1@x | none | billing, Street 1; shipping, Elm 2', 'what is empty goes, what is not stays');
user_changes($two, 1, 'PhysicalAddress:Street/Business' => undef);
comes_in(1, 'a1@x new1@x | none | shipping, Elm 2', 'until nothing is left');
is(conflicts(), 'none', 'without a conflict');

# ---- several rows alike
user_changes($one, 2, email(1) => undef);
settle_at(2, 'b2@x', 'b2@x - -', 'who clears the first removes that row, and the other moves up');
is($stage->sql("SELECT note FROM crm.contact_email WHERE contact_id = 2"), 'note 2', 'it is the same row');
user_changes($one, 3, email(1) => 'b3@x', email(2) => undef);
settle_at(3, 'b3@x', 'b3@x - -', 'so does who moves it up himself');
is($stage->sql("SELECT note FROM crm.contact_email WHERE contact_id = 3"), 'note 2', 'it is the same row, too');
user_changes($one, 4, email(1) => 'b4@x', email(2) => 'a4@x');
settle_at(4, 'a4@x b4@x', 'a4@x b4@x -', 'who swaps two finds them as the CRM has them');
user_changes($one, 5, email(1) => 'b5@x', email(2) => 'a5@x', email(3) => 'c5@x');
settle_at(5, 'a5@x b5@x c5@x', 'a5@x b5@x c5@x', 'O7: and what he adds: all e-mail addresses');
user_changes($one, 5, email(1) => undef, email(2) => undef, email(3) => undef);
settle_at(5, 'none', '- - -', 'all go');
user_changes($one, 5, email(3) => 'd5@x');
settle_at(5, 'd5@x', 'd5@x - -', 'the last one becomes the first');
is(failing() . ' ' . conflicts(), 'nothing none', 'nothing failed, and nobody lost anything');

user_changes($one, 5, 'PhoneNumber/BusinessPhone' => '+51', 'PhoneNumber/BusinessPhone2' => '+52', email(2) => 'e5@x');
$stage->until_true(sub { lines(5) eq '+51 +52' && emails(5) eq 'd5@x e5@x' && shown(5) eq 'd5@x e5@x - / d5@x e5@x -' }, 'two tables with several rows each', 20);
user_changes($two, 5, 'PhoneNumber/BusinessPhone' => undef);
$stage->until_true(sub { lines(5) eq '+52' && join(' ', map { $exchange->records($_)->{5}{'contacts:PhoneNumber/BusinessPhone'} // '-' } $one, $two) eq '+52 +52' }, 'of which each keeps its own', 20);
is(emails(5), 'd5@x e5@x', 'the other stays');

# ---- at the same time
$exchange->post('server', paused => \1);
user_changes($one, 6, email(2) => 'user6@x');
$stage->sql("DELETE FROM crm.contact_email WHERE email = 'a6\@x'");
$exchange->post('server', paused => \0);
settle_at(6, 'user6@x', 'user6@x - -', 'the CRM removes the first while a user changes the second');
$exchange->post('server', paused => \1);
user_changes($one, 6, email(2) => 'beside6@x');
$stage->sql("INSERT INTO crm.contact_email (contact_id, email) VALUES (6, 'crm6\@x')");
$exchange->post('server', paused => \0);
settle_at(6, 'user6@x crm6@x beside6@x', 'user6@x crm6@x beside6@x', 'both add one where there is room for both');
$exchange->post('server', paused => \1);
user_changes($one, 7, email(3) => 'user7@x');
$stage->sql("INSERT INTO crm.contact_email (contact_id, email) VALUES (7, 'crm7\@x')");
$exchange->post('server', paused => \0);
$stage->until_true(sub { conflicts() eq '7 email_3 crm7@x user7@x crm' }, 'both add one where there is room for one: a conflict', 20) or diag(conflicts());
settle_at(7, 'a7@x b7@x crm7@x', 'a7@x b7@x crm7@x', 'that the CRM wins');
$exchange->post('server', paused => \1);
user_changes($one, 8, email(3) => 'both8@x');
$stage->sql("INSERT INTO crm.contact_email (contact_id, email) VALUES (8, 'both8\@x')");
$exchange->post('server', paused => \0);
settle_at(8, 'a8@x b8@x both8@x', 'a8@x b8@x both8@x', 'both add the same: it is one');
user_changes($one, 9, email(1) => 'one9@x');
user_changes($two, 9, email(2) => undef);
settle_at(9, 'one9@x', 'one9@x - -', 'two users at different rows');

# ---- the CRM refuses a value
user_changes($one, 10, email(1) => 'not an address', 'PhoneNumber/PrimaryPhone' => '+1010');
user_changes($one, 11, email(1) => 'fine11@x');
settle_at(11, 'fine11@x b11@x', 'fine11@x b11@x -', 'what the CRM takes comes in');
$stage->until_true(sub { failing() =~ /^10 23514 .*contact_email_email_check/ }, 'beside what it refuses, with the name of the constraint', 20) or diag(failing());
is(crm(10), 'a10@x b10@x | +10 | billing, Street 10, City', 'of which nothing has come in');
user_changes($one, 10, email(1) => 'an@address');
comes_in(10, 'an@address b10@x | +1010 | billing, Street 10, City', 'until its user mends it');
is(failing(), 'nothing', 'nothing is left');
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE FUNCTION crm.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE DELETE ON crm.contact_email FOR EACH ROW WHEN (OLD.contact_id = 11) EXECUTE FUNCTION crm.keep();
SQL
user_changes($one, 11, email(2) => undef, 'PhoneNumber/PrimaryPhone' => '+1111');
$stage->until_true(sub { failing() =~ /^11 09000 a row of crm\.contact_email was not deleted/ }, 'a trigger that keeps a row is heard of', 20) or diag(failing());
is(crm(11), 'fine11@x b11@x | +11 | billing, Street 11, City', 'and nothing else is written either');
$stage->sql("DROP TRIGGER keep ON crm.contact_email; SELECT crmsync.retry('contacts')");
comes_in(11, 'fine11@x | +1111 | billing, Street 11, City', 'retry has it come in');

# ---- somebody works at a row
sub is_waited_for
{
	my ($what, $statement, $record, $expected, %set) = @_;
	my $session = $stage->node->background_psql('postgres');
	$session->query_safe("BEGIN; $statement");
	user_changes($one, $record, %set);
	$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival WHERE next_attempt IS NOT NULL') eq '1' }, "$what is waited for", 20);
	is(failing(), 'nothing', 'which is no failure');
	$session->query_safe('COMMIT');
	$session->quit;
	$stage->until_true(sub { emails($record) eq $expected && shown($record) =~ /^\Q$expected\E[ -]* \/ \Q$expected\E[ -]*$/ }, 'then it comes in, and takes nothing back', 20) or diag(emails($record), shown($record));
	return;
}
is_waited_for('a child row that somebody changes', "UPDATE crm.contact_email SET email = 'hand12\@x' WHERE email = 'a12\@x'", 12, 'hand12@x user12@x', email(2) => 'user12@x');
is_waited_for('one that somebody adds', "INSERT INTO crm.contact_email (contact_id, email) VALUES (12, 'third12\@x')", 12, 'hand12@x other12@x third12@x', email(2) => 'other12@x');
is_waited_for('one that somebody removes', "DELETE FROM crm.contact_email WHERE email = 'hand12\@x'", 12, 'last12@x third12@x', email(2) => 'last12@x');

# What the CRM has is read before the row is taken.
$stage->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.slow (id integer);
CREATE FUNCTION crm.slowly(which integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(2) FROM crm.slow WHERE id = which;
    RETURN NULL;
END;
$$;
RESET ROLE;
SELECT crmsync.map('contacts', '(crm.slowly(id))', 'spouse');
SELECT crmsync.enable_link('contacts');
SQL
$stage->settles('with an expression that may take long', 'contacts');
$stage->sql('INSERT INTO crm.slow VALUES (12)');
user_changes($one, 12, email(2) => 'late12@x');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") eq '1' }, 'the record is being read', 20);
$stage->sql("UPDATE crm.contact_email SET email = 'quick12\@x' WHERE email = 'third12\@x'; DELETE FROM crm.slow");
settle_at(12, 'last12@x quick12@x', 'last12@x quick12@x -', 'what somebody changes meanwhile is not overwritten');
like(conflicts(), qr/12 email_2 quick12\@x late12\@x crm/, 'both have changed the same');

# ---- what users make
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'New', 'contacts:' . email(1) => 'new@x', 'contacts:' . email(2) => 'newer@x', 'contacts:PhysicalAddress:City/Other' => 'Chur', 'contacts:Birthday' => '1990-01-02T00:00:00Z' });
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:' . email(2) => 'only@x' });
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Bad', 'contacts:' . email(1) => 'nothing' });
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crm.contact WHERE id >= 100') >= 2 && $stage->sql('SELECT count(*) FROM crmsync.item WHERE NOT stamped') eq '0' }, 'new items become rows', 20);
my ($new, $only) = map { $stage->sql("SELECT contact_id FROM crm.contact_email WHERE email = '$_'") } 'new@x', 'only@x';
is(crm($new), 'new@x newer@x | none | other, Chur | birth 1990-01-02', 'O7: with their child rows');
is(crm($only), 'only@x | none | none', 'also of an item that has nothing else');
$stage->until_true(sub { CrmSync::Children::shown($exchange, $two, $only) =~ /^only\@x - - / }, 'whose only address becomes the first', 20);
like(failing(), qr/^23514 .*contact_email_email_check/, 'one that the CRM refuses is not made');
is($stage->sql("SELECT count(*) FROM crm.contact WHERE first_name = 'Bad'"), '0', 'nor a half of it');
$exchange->act($two, 'delete', match => { 'contacts:GivenName' => 'Bad' }, folder => 'contacts');

# ---- a crash in between
user_changes($two, $_, email(1) => "crash$_\@x") for 1 .. 4;
$stage->node->stop('immediate');
$stage->node->start;
$stage->until_true(sub { join(' ', map { (split ' ', emails($_))[0] } 1 .. 4) eq 'crash1@x crash2@x crash3@x crash4@x' }, 'changes survive a crash', 30);
$stage->settles('in the end', 'contacts');
is($stage->sql("SELECT bool_and(i.shadow = j.shadow) FROM crmsync.item i JOIN crmsync.item j USING (record) WHERE i.mailbox < j.mailbox"), 't', 'both mailboxes hold the same');
is($stage->sql("SELECT count(*) FROM (SELECT contact_id, email FROM crm.contact_email GROUP BY 1, 2 HAVING count(*) > 1) AS doubled"), '0', 'nothing is doubled');

$stage->done;
