# A link's own function is told what a user deletes, and what he does to a photo.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('apply_delete', conf => 'crmsync.query_timeout = 1s');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_tables;
$stage->make_target;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
ALTER TABLE crm.person ADD photo bytea, ADD left_at timestamptz;
CREATE VIEW crm.people AS SELECT p.id, p.first_name, p.last_name, p.photo FROM crm.person p WHERE p.left_at IS NULL GROUP BY p.id;
CREATE TABLE crm.call (n serial, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]);
CREATE FUNCTION crm.bring_in(link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) RETURNS text
LANGUAGE plpgsql AS \$\$
#variable_conflict use_variable
BEGIN
    INSERT INTO crm.call (action, record, mailbox, old, new, changed) VALUES (action, record, mailbox, old, new, changed);
    IF action = 'delete' THEN
        IF old ->> 'surname' = 'Loops' THEN LOOP END LOOP; END IF;
        IF old ->> 'surname' = 'Forbidden' THEN RAISE EXCEPTION 'not %', old ->> 'given_name' USING ERRCODE = 'CR001'; END IF;
        IF old ->> 'surname' = 'Another' THEN RETURN '77'; END IF;
        UPDATE crm.person SET left_at = now() WHERE id = record::integer AND last_name <> 'Kept';
    ELSIF action = 'insert' THEN
        INSERT INTO crm.person (id, first_name, last_name, photo)
        VALUES (100, new ->> 'given_name', new ->> 'surname', decode(new ->> 'photo', 'base64'));
        INSERT INTO crm.audience VALUES (100, mailbox);
        RETURN 100;
    ELSE
        UPDATE crm.person SET first_name = new ->> 'given_name', last_name = new ->> 'surname' WHERE id = record::integer;
        IF 'photo' = ANY (changed) THEN
            UPDATE crm.person SET photo = decode(new ->> 'photo', 'base64') WHERE id = record::integer;
        END IF;
    END IF;
    RETURN record;
END;
\$\$;
INSERT INTO crm.person (id, first_name, last_name) SELECT i, 'First' || i, 'Last' || i FROM generate_series(1, 9) i;
UPDATE crm.person SET last_name = CASE id WHEN 3 THEN 'Forbidden' WHEN 4 THEN 'Another' WHEN 5 THEN 'Kept' WHEN 6 THEN 'Loops' ELSE last_name END;
INSERT INTO crm.audience SELECT i, '$one' FROM generate_series(1, 9) i;
INSERT INTO crm.audience VALUES (2, '$two');
SQL
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.people', 'id', audience => 'crm.audience', direction => 'both', inbound_interval => '1 s',
                           on_target_delete => 'delete', apply => 'crm.bring_in', owner => 'crm_owner');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.map('people', 'photo', 'photo');
SELECT crmsync.watch('people', 'crm.person', 'id');
SELECT crmsync.watch('people', 'crm.audience', 'record');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('before');
sub read_all { $stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, "$_[0]: the mailboxes are read", 30); sleep 2.5; return }
read_all('before');

sub user { my ($does, $person, %more) = @_; return $exchange->act($one, $does, match => { 'contacts:GivenName' => "First$person" }, folder => 'contacts', %more) }
sub people { return $stage->sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM crm.people") }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code, message), ', ' ORDER BY record), 'nothing') FROM crmsync.failures") }
sub calls { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', action, record, mailbox), ', ' ORDER BY n), 'none') FROM crm.call") }

# ---- what a user deletes
user('delete', 1);
$stage->until_true(sub { people() eq '2 3 4 5 6 7 8 9' }, 'what a user deletes goes by the function', 20) or diag(people(), failing());
is(calls(), "delete 1 $one", 'which is told whose mailbox it was');
is($stage->sql('SELECT old, new IS NULL, changed FROM crm.call'), '{"surname": "Last1", "given_name": "First1"}|t|{surname,given_name}', 'and what there was');
is($stage->sql("SELECT old ->> 'surname' FROM crmsync.history WHERE record = '1' AND action = 'delete record'"), 'Last1', 'the history has it, too');
is($stage->sql('SELECT left_at IS NOT NULL FROM crm.person WHERE id = 1') . ' ' . $stage->sql("SELECT count(*) FROM crmsync.items WHERE record = '1'"), 't 0', 'how it goes is the function\'s matter');
user('delete', 2);
$stage->until_true(sub { $stage->sql("SELECT record || ' ' || kind FROM crmsync.conflicts") eq '2 delete' }, 'what others have, too, somebody has to decide', 20);
is(calls(), "delete 1 $one", 'and nobody is called');
my $conflict = $stage->sql('SELECT id FROM crmsync.conflicts');
$stage->sql("SELECT crmsync.resolve($conflict, 'delete')");
$stage->until_true(sub { people() eq '3 4 5 6 7 8 9' && !%{ $exchange->records($two) } }, 'until he has', 20) or diag(people());
is(calls(), "delete 1 $one, delete 2 $one", 'then it is');

# ---- what it refuses
user('delete', $_) for 3, 4, 5;
my $refused = '3 CR001 not First3, 4 39000 function crm.bring_in returned "77" for record 4, 5 39000 function crm.bring_in returned "5", and the record is still in crm.people';
$stage->until_true(sub { failing() eq $refused }, 'what it raises, returns wrongly or has not done parks the record', 20) or diag(failing());
is(calls(), "delete 1 $one, delete 2 $one", 'and of what it has done nothing is left');
user('delete', $_) for 6, 7;
$stage->until_true(sub { failing() =~ /, 6 57014 canceling statement due to statement timeout/ }, 'one that loops is stopped', 20) or diag(failing());
$stage->until_true(sub { people() eq '3 4 5 6 8 9' }, 'and the next one goes', 20) or diag(people(), failing());
$stage->sql("UPDATE crm.person SET last_name = 'Mended' WHERE id BETWEEN 3 AND 6");
$stage->until_true(sub { failing() eq 'nothing' && keys %{ $exchange->records($one) } == 6 }, 'what the CRM changes comes back instead', 20) or diag(failing(), join ' ', keys %{ $exchange->records($one) });
is(people(), '3 4 5 6 8 9', 'and stays');

# ---- a photo
my $jpeg = "\xff\xd8\xff\xe0";
sub picture { return $jpeg . $_[0] . ("\0" x 100) }
sub photo { return $stage->sql("SELECT coalesce(encode(photo, 'hex'), '-') FROM crm.person WHERE id = $_[0]") }
sub id_of { return (map { $_->{id} } grep { (CrmSync::StandIn::key_of($_) // '') eq $_[0] } $exchange->items($one))[0] }
sub set_photo { my ($person, $picture) = @_; return $exchange->act($one, 'update', id => id_of($person), photo => encode_base64($picture, '')) }
read_all('photos');
set_photo(8, picture('first'));
$stage->until_true(sub { photo(8) eq unpack 'H*', picture('first') }, 'the function is told the bytes of a photo', 20) or diag(photo(8), failing());
is($stage->sql("SELECT changed, old ? 'photo' FROM crm.call WHERE record = '8'"), '{photo}|f', 'which has changed');
user('update', 8, set => { 'contacts:Surname' => 'Typed' });
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crm.call WHERE record = '8' AND changed = '{surname}'") eq '1' }, 'of another change', 20);
like($stage->sql("SELECT new ->> 'photo' FROM crm.call WHERE record = '8' AND changed = '{surname}'"), qr/^image\/jpeg, 109 bytes, sha256 [0-9a-f]{64}$/, 'it is told only which photo there is');
is(photo(8), unpack('H*', picture('first')), 'and leaves it');
$exchange->act($one, 'update', id => id_of(8), photo => undef);

$stage->until_true(sub { photo(8) eq '-' }, 'one that is removed', 20) or diag(photo(8), failing());
is(failing(), 'nothing', 'nothing failed');

$stage->done;
