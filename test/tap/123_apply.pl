# What comes in is written by a function of the link's own where crmsync cannot write the source, and into a
# view through its INSTEAD OF triggers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(time);

my $stage = CrmSync::EndToEnd->new('apply', conf => 'crmsync.query_timeout = 1s');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_tables;
$stage->make_target;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 100;
CREATE SEQUENCE crm.loops;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD sex text, ADD made_in text;
ALTER TABLE crm.person ADD CONSTRAINT no_shouting CHECK (last_name <> 'LOUD');
CREATE VIEW crm.people AS SELECT p.id, p.first_name, p.last_name, p.email, p.sex, count(*) AS one FROM crm.person p GROUP BY p.id;
CREATE TABLE crm.call (n serial, link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]);
CREATE FUNCTION crm.bring_in(link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) RETURNS text
LANGUAGE plpgsql AS \$\$
#variable_conflict use_variable
DECLARE
    made integer;
BEGIN
    IF new ->> 'surname' = 'Loops' THEN PERFORM nextval('crm.loops'); LOOP END LOOP; END IF;
    IF new ->> 'surname' = 'Forbidden' THEN RAISE EXCEPTION 'not % again', new ->> 'given_name' USING ERRCODE = 'CR001'; END IF;
    INSERT INTO crm.call (link, action, record, mailbox, old, new, changed) VALUES (link, action, record, mailbox, old, new, changed);
    IF new ->> 'surname' = 'Nothing' THEN RETURN NULL; END IF;
    IF new ->> 'surname' = 'Another' THEN RETURN '77'; END IF;
    IF new ->> 'surname' = 'Known' THEN RETURN '6'; END IF;
    IF action = 'insert' THEN
        INSERT INTO crm.person (first_name, last_name, email, sex, made_in)
        VALUES (new ->> 'given_name', new ->> 'surname', new ->> 'email_1', new ->> 'gender', mailbox) RETURNING id INTO made;
        INSERT INTO crm.audience VALUES (made, mailbox);
        RETURN made;
    END IF;
    UPDATE crm.person SET first_name = new ->> 'given_name', last_name = new ->> 'surname', email = lower(new ->> 'email_1'), sex = new ->> 'gender'
    WHERE id = record::integer;
    RETURN record;
END;
\$\$;
INSERT INTO crm.person (id, first_name, last_name, email, sex) SELECT i, 'First' || i, 'Last' || i, 'person' || i || '\@example.com', 'f' FROM generate_series(1, 8) i;
INSERT INTO crm.audience SELECT i, m FROM generate_series(1, 8) i, unnest('{$one,$two}'::text[]) m;
SQL
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.people', 'id', audience => 'crm.audience', direction => 'both', inbound_interval => '1 s',
                           apply => 'crm.bring_in', owner => 'crm_owner');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.map('people', '(lower(r.email))', 'email_1');
SELECT crmsync.map('people', 'sex', 'gender', value_map => '{"f": "female", "m": "male", "?": "unspecified"}', fallback => '''unspecified''');
SELECT crmsync.map('people', '(concat_ws('' '', r.first_name, r.last_name))', 'nickname', direction => 'outbound');
SELECT crmsync.watch('people', 'crm.person', 'id');
SELECT crmsync.watch('people', 'crm.audience', 'record');
SQL
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->settles('before');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'both mailboxes are read', 30);

sub user_changes { my ($mailbox, $person, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:GivenName' => "First$person" }, folder => 'contacts', set => { map { ("contacts:$_" => $set{$_}) } keys %set }) }
sub person { return $stage->sql("SELECT concat_ws(' ', first_name, last_name, email, sex) FROM crm.person WHERE id = $_[0]") }
sub name { my ($mailbox, $person) = @_; my $item = $exchange->records($mailbox)->{$person} or return 'none'; return join ' ', map { $item->{"contacts:$_"} // '-' } 'GivenName', 'Surname', 'EmailAddress/EmailAddress1' }
sub comes_in { my ($person, $expected, $what) = @_; $stage->until_true(sub { person($person) eq $expected }, $what, 20) or diag(person($person), $stage->sql('SELECT * FROM crmsync.failures')); return }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code, message, parked), ', ' ORDER BY record, message), 'nothing') FROM crmsync.failures") }

# ---- what it is told, and what it does
user_changes($one, 1, Surname => 'Typed', 'EmailAddress/EmailAddress1' => 'Typed@Example.com', Nickname => 'His own');
comes_in(1, 'First1 Typed typed@example.com f', 'a change is written by the function');
is($stage->sql("SELECT concat_ws(' ', link, action, record, mailbox, changed) FROM crm.call"), "people update 1 $one {email_1,surname}", 'which is told what it is about');
is($stage->sql("SELECT old, new FROM crm.call"), '{"gender": "f", "email_1": "person1@example.com", "surname": "Last1", "nickname": "First1 Last1", "given_name": "First1"}'
	. '|{"gender": "f", "email_1": "Typed@Example.com", "surname": "Typed", "nickname": "First1 Last1", "given_name": "First1"}', 'with the values as the CRM says them');
$stage->until_true(sub { name($two, 1) eq 'First1 Typed typed@example.com' && name($one, 1) eq 'First1 Typed typed@example.com' }, 'and what has become of it goes to both mailboxes', 20);
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'New', 'contacts:Surname' => 'One', 'contacts:EmailAddress/EmailAddress1' => 'new@x', 'contacts:Nickname' => 'His own' });
$stage->until_true(sub { $stage->sql("SELECT concat_ws(' ', first_name, last_name, email, sex, made_in) FROM crm.person WHERE id = 100") eq "New One new\@x ? $two" }, 'a new item becomes a row', 20);
is($stage->sql("SELECT concat_ws(' ', action, record IS NULL, mailbox, changed, old IS NULL, new) FROM crm.call WHERE action = 'insert'"),
	"insert t $two {gender,email_1,surname,given_name} t " . '{"gender": "?", "email_1": "new@x", "surname": "One", "given_name": "New"}', 'whose key the function has given, with nothing of what only goes out') or diag(failing());
$stage->until_true(sub { $stage->sql("SELECT stamped FROM crmsync.item WHERE record = '100'") eq 't' }, 'and it bears our stamp', 20);
is(failing(), 'nothing', 'without a failure');

# ---- what it refuses
user_changes($one, 2, Surname => 'Forbidden');
user_changes($one, 3, Surname => 'Nothing');
user_changes($one, 4, Surname => 'Another');
user_changes($one, 5, Surname => 'LOUD');
user_changes($one, 6, Surname => 'Quiet');
comes_in(6, 'First6 Quiet person6@example.com f', 'what it takes comes in');
my $refused = '2 CR001 not First2 again f, 3 39004 function crm.bring_in returned nothing, not the record\'s key f, 4 39000 function crm.bring_in returned "77" for record 4 f, 5 23514 new row for relation "person" violates check constraint "no_shouting"';
$stage->until_true(sub { index(failing(), $refused) == 0 }, 'beside what it raises, or returns wrongly', 20) or diag(failing());
is(join(' ', map { (split ' ', person($_))[1] } 2 .. 5), 'Last2 Last3 Last4 Last5', 'of which nothing is left');
is($stage->sql("SELECT count(*) FROM crm.call WHERE record IN ('2', '3', '4', '5')"), '0', 'nothing at all');
user_changes($one, $_, Surname => "Mended$_") for 2 .. 5;
comes_in($_, "First$_ Mended$_ person$_\@example.com f", "until its user mends it: $_") for 2 .. 5;
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Made', 'contacts:Surname' => 'Another' });
$stage->until_true(sub { failing() =~ /^39000 function crm\.bring_in returned "77", which is no record of crm\.people f$/ }, 'a key that is none', 20) or diag(failing());
$exchange->act($two, 'delete', match => { 'contacts:GivenName' => 'Made' }, folder => 'contacts');
$stage->until_true(sub { failing() eq 'nothing' }, 'until the item is gone', 20);

# ---- one that finds the record that there is already
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Made', 'contacts:Surname' => $_ }) for qw(Known Known Fresh);
$stage->until_true(sub { $stage->sql("SELECT made_in FROM crm.person WHERE last_name = 'Fresh'") eq $two }, 'what came with it comes in', 20) or diag(failing());
$stage->until_true(sub { failing() =~ /^(?:23505 it would be record 6, which has another item in mailbox $two f(?:, )?){2}$/ }, 'and it is parked by itself', 20) or diag(failing());
is($stage->status('state'), 'idle', 'not its link');
$exchange->act($two, 'delete', match => { 'contacts:GivenName' => 'Made', 'contacts:Surname' => 'Known' }, folder => 'contacts');
$stage->until_true(sub { failing() eq 'nothing' }, 'until they are gone', 20);

# ---- a function that never ends
$stage->make_another('other', 1, 'user3@example.test');
$stage->settles('another link', 'other');
user_changes($one, $_, Surname => 'Loops') for 2 .. 5;
user_changes($one, 7, Surname => 'Fine');
$exchange->act($two, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Made', 'contacts:Surname' => 'Loops' });
$stage->until_true(sub { scalar(() = failing() =~ /57014 canceling statement due to statement timeout f/g) == 5 }, 'a function that loops is stopped', 40) or diag(failing());
comes_in(7, 'First7 Fine person7@example.com f', 'and the others come in');
my $began = time;
$stage->change("UPDATE crm.other SET first_name = 'Still'", 'other');
cmp_ok(time - $began, '<', 5, 'another link goes on');
is($stage->status('state', 'other'), 'idle', 'and is well');
user_changes($one, $_, Surname => "Again$_") for 2 .. 5;
comes_in($_, "First$_ Again$_ person$_\@example.com f", "a change of its user has it tried at once: $_") for 2 .. 5;
$exchange->act($two, 'delete', match => { 'contacts:GivenName' => 'Made' }, folder => 'contacts');
$stage->until_true(sub { failing() eq 'nothing' }, 'nothing is left', 20);

# ---- a function that is gone breaks its link
$stage->sql('ALTER FUNCTION crm.bring_in RENAME TO gone');
user_changes($one, 8, Surname => 'Later');
$stage->until_true(sub { $stage->status('last_error') =~ /function crm\.bring_in does not exist any more/ }, 'a function that is gone is a failure of its link', 20) or diag($stage->status("concat_ws(' ', state, last_error)"));
$stage->change("UPDATE crm.other SET first_name = 'Ever'", 'other');
is($stage->status('state', 'other'), 'idle', 'and of no other');
is($stage->status('state') . ' ' . failing(), 'broken nothing', 'of no record either');
$stage->sql("ALTER FUNCTION crm.gone RENAME TO bring_in; SELECT crmsync.enable_link('people')");
comes_in(8, 'First8 Later person8@example.com f', 'when it is there again nothing was missed');

# ---- a view with INSTEAD OF triggers
$stage->sql("SELECT crmsync.disable_link('people')");
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE FUNCTION crm.instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO crm.person (first_name, last_name, email, made_in) VALUES (NEW.first_name, NEW.last_name, NEW.email, NEW.made_in) RETURNING id INTO NEW.id;
        INSERT INTO crm.audience VALUES (NEW.id, NEW.made_in);
    ELSE
        IF NEW.last_name = 'Ignored' THEN RETURN NULL; END IF;
        UPDATE crm.person SET first_name = NEW.first_name, last_name = NEW.last_name, email = NEW.email WHERE id = OLD.id;
    END IF;
    RETURN NEW;
END;
$$;
CREATE VIEW crm.writable AS SELECT p.id, p.first_name, p.last_name, p.email, max(p.made_in) AS made_in FROM crm.person p GROUP BY p.id;
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE ON crm.writable FOR EACH ROW EXECUTE FUNCTION crm.instead();
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.create_link('writable', 'exchange', 'contact', 'crm.writable', 'id', audience => 'crm.audience', direction => 'both', inbound_interval => '1 s', folder => 'Writable', owner => 'crm_owner');
SELECT crmsync.map('writable', 'first_name', 'given_name');
SELECT crmsync.map('writable', 'last_name', 'surname');
SELECT crmsync.map('writable', '(lower(r.email))', 'email_1');
SELECT crmsync.map('writable', 'made_in', '@mailbox');
SELECT crmsync.watch('writable', 'crm.person', 'id');
SELECT crmsync.watch('writable', 'crm.audience', 'record');
SELECT crmsync.enable_link('writable');
SQL
$stage->settles('a view with triggers', 'writable');
sub changes_there { my ($person, %set) = @_; return $exchange->act($one, 'update', match => { 'contacts:GivenName' => "First$person" }, folder => 'Writable', set => { map { ("contacts:$_" => $set{$_}) } keys %set }) }
changes_there(1, Surname => 'Through', 'EmailAddress/EmailAddress1' => 'his@own');
comes_in(1, 'First1 Through typed@example.com f', 'a change goes through its trigger; of an expression it stays in the mailbox');
changes_there(2, Surname => 'Ignored');
$stage->until_true(sub { failing() eq '2 09000 the row was not updated: a trigger or a rule of crm.writable prevented it f' }, 'a trigger that does nothing is heard of', 20) or diag(failing());
$exchange->act($two, 'create', folder => 'Writable', set => { 'contacts:GivenName' => 'By', 'contacts:Surname' => 'View' });
$stage->until_true(sub { $stage->sql("SELECT concat_ws(' ', first_name, made_in) FROM crm.person WHERE last_name = 'View'") eq "By $two" }, 'a new item becomes a row by it', 20) or diag(failing());
is($exchange->records($one, 'Writable')->{1}{'contacts:EmailAddress/EmailAddress1'}, 'his@own', 'what the CRM has not changed is not taken back');

# ---- a link that only reads
my $four = 'user4@example.test';
$stage->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE VIEW crm.readers AS SELECT '$four' AS mailbox;
RESET ROLE;
SELECT crmsync.create_link('reading', 'exchange', 'contact', 'crm.people', 'id', mailboxes => 'crm.readers', direction => 'inbound', inbound_interval => '1 s', apply => 'crm.bring_in', owner => 'crm_owner');
SELECT crmsync.map('reading', 'first_name', 'given_name');
SELECT crmsync.map('reading', 'last_name', 'surname');
SELECT crmsync.map('reading', '(lower(r.email))', 'email_1');
SELECT crmsync.map('reading', 'sex', 'gender', value_map => '{"f": "female", "frau": "female"}');
SELECT crmsync.enable_link('reading');
SQL
sub calls { return $stage->sql("SELECT string_agg(concat_ws(' ', action, mailbox, new ->> 'surname', new ->> 'email_1'), ', ' ORDER BY n) FROM crm.call WHERE link = 'reading'") }
$exchange->act($four, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Only', 'contacts:Surname' => 'Read', 'contacts:EmailAddress/EmailAddress1' => 'only@example.com' });
$stage->until_true(sub { calls() eq "insert $four Read only\@example.com" }, 'a link that only reads calls it, too, with what is mapped to an expression', 20) or diag(failing());
$exchange->act($four, 'update', match => { 'contacts:GivenName' => 'Only' }, folder => 'contacts', set => { 'contacts:Surname' => 'Changed' });
$stage->until_true(sub { calls() eq "insert $four Read only\@example.com, update $four Changed only\@example.com" }, 'and says whose mailbox it is', 20) or diag(failing(), calls());

# Of several texts that mean one value, and of one that means none, it is told the CRM's own.
for my $sex ('frau', 'x')
{
	$stage->sql("UPDATE crm.person SET sex = '$sex' WHERE first_name = 'Only'");
	$exchange->act($four, 'update', match => { 'contacts:GivenName' => 'Only' }, folder => 'contacts', set => { 'contacts:Surname' => "Is $sex" });
	$stage->until_true(sub { calls() =~ /update $four Is $sex only/ }, "a change of another field: $sex", 20) or diag(failing(), calls());
	is($stage->sql("SELECT c.old ->> 'gender', c.new ->> 'gender', p.sex FROM crm.call c, crm.person p WHERE p.first_name = 'Only' ORDER BY c.n DESC LIMIT 1"), "$sex|$sex|$sex", 'the function writes what the CRM has');
}

# ---- new items that are alike, for which it takes too long
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('reading', match_on => '{given_name,surname}'); SELECT setval('crm.loops', 1, false)");
$exchange->act($four, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Alike', 'contacts:Surname' => 'Loops' }) for 1 .. 3;
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('reading')");
$stage->until_true(sub { failing() =~ /57014/ }, 'a function that takes too long for one', 20) or diag(failing());
is($stage->sql('SELECT last_value FROM crm.loops'), '1', 'is not called at once for the others');

$stage->done;
