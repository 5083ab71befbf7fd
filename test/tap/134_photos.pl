# Photos of contacts: a column of type bytea here, an attachment there, and a line between them.
use strict;
use warnings;

use lib 'test/tap';

use CrmSync::EndToEnd;
use MIME::Base64 qw(encode_base64 decode_base64);
use Test::More;

my $jpeg = "\xff\xd8\xff\xe0";
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;

# A picture that is told from others by its name, with so many bytes behind it.
sub picture { my ($name, $more) = @_; return $jpeg . $name . ("\0" x ($more // 100)) }
sub bytea { my ($bytes) = @_; return "'\\x" . unpack('H*', $bytes) . "'::bytea" }

my $crm = CrmSync::EndToEnd->new('photos', conf => 'restart_after_crash = on');
my $exchange = $crm->exchange;
$crm->make_tables;
$crm->sql('ALTER TABLE crm.person ADD photo bytea, ADD more text');
$crm->make_target;
$crm->make_link(more => "options => '{}'", before => "SELECT crmsync.map('people', 'photo', 'photo');");

# The names of the photos of the records of a mailbox, as '1:first 2:-'.
sub photos
{
	my ($mailbox) = @_;
	my %found;
	for my $item ($exchange->items($mailbox))
	{
		my $key = CrmSync::StandIn::key_of($item) // next;
		my @pictures = grep { $_->{is_contact_photo} } @{ $item->{attachments} };
		$found{$key} = @pictures ? join('+', map { decode_base64($_->{content}) =~ /^\Q$jpeg\E([a-z]+)\0/ ? $1 : '?' } @pictures) : '-';
	}
	return join ' ', map { "$_:$found{$_}" } sort { $a <=> $b } keys %found;
}

sub in_crm { return $crm->sql(q{SELECT coalesce(string_agg(id || ':' || coalesce(substring(encode(photo, 'escape') from '\\\\340([a-z]+)'), '-'), ' ' ORDER BY id), '') FROM crm.person}) }
sub id_of { my ($mailbox, $key) = @_; return (map { $_->{id} } grep { (CrmSync::StandIn::key_of($_) // '') eq $key } $exchange->items($mailbox))[0] }
sub shadow { my ($key, $mailbox) = @_; return $crm->sql("SELECT shadow ->> 'photo' FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox WHERE record = '$key' AND address = '$mailbox'") }
sub set_photo { my ($key, $bytes) = @_; return $crm->sql("UPDATE crm.person SET photo = " . (defined $bytes ? bytea($bytes) : 'NULL') . " WHERE id = $key") }

sub kill_worker
{
	my $killed = $crm->worker_pid;
	kill 'KILL', $killed;
	return $crm->until_true(sub { $crm->has_another_worker($killed) }, 'the worker is killed, and another one at work');
}

# ---- from the CRM

$crm->add_people(1, 3, $one, $two);
$crm->settles('people without photos arrive');
is($exchange->requests('CreateAttachment') . ' ' . $exchange->requests('GetItem'), '0 0', 'and cost nothing more');

set_photo(1, picture('first'));
$crm->settles('a photo is set');
is(photos($one), '1:first 2:- 3:-', 'it arrives');
is(photos($two), '1:first 2:- 3:-', 'in both mailboxes');
my ($item) = grep { CrmSync::StandIn::key_of($_) eq '1' } $exchange->items($one);
is("$item->{attachments}[0]{name} $item->{attachments}[0]{content_type}", 'ContactPicture.jpg image/jpeg', 'as Outlook has it');
like(shadow(1, $one), qr/^image\/jpeg, 109 bytes, sha256 [0-9a-f]{64}$/, 'the shadow holds a line about it');
is($crm->sql("SELECT shadow ->> 'photo' = 'image/jpeg, 109 bytes, sha256 ' || encode(sha256(photo), 'hex') FROM crmsync.item, crm.person WHERE record = '1' AND id = 1 LIMIT 1"), 't', 'with its digest');

$exchange->forget_journal;
$crm->change("UPDATE crm.person SET phone = '1' WHERE id = 1");
is($exchange->requests('UpdateItem') . ' ' . $exchange->requests('GetItem') . ' ' . $exchange->requests('GetAttachment'), '2 0 0', 'another field of it goes out alone');

$exchange->post('server', paused => JSON::XS::true);
$crm->sql("UPDATE crm.person SET first_name = 'Ann', photo = " . bytea(picture('second')) . " WHERE id = 1");
like($crm->sql("SELECT old_value || ' -> ' || new_value FROM crmsync.plan('people', '$one') WHERE property = 'photo'"), qr/^image\/jpeg, 109 bytes, sha256 \w+ -> image\/jpeg, 110 bytes, sha256 \w+$/, 'the plan shows a line of each');
$exchange->post('server', paused => JSON::XS::false);
$crm->settles('it is changed with another field');
is(photos($one) . ' ' . $exchange->show($one), '1:second 2:- 3:- 1:Ann 2:First2 3:First3', 'both arrive');
like($crm->sql("SELECT (old ->> 'photo') || ' -> ' || (new ->> 'photo') FROM crmsync.history WHERE record = '1' AND new ? 'given_name' AND mailbox = '$one'"),
	qr/^image\/jpeg, 109 bytes, .* -> image\/jpeg, 110 bytes/, 'the history has a line of each');
set_photo(1, undef);
$crm->settles('it is removed');
is(photos($one), '1:- 2:- 3:-', 'and gone');
is(shadow(1, $one), '', 'from the shadow, too');

$crm->sql("INSERT INTO crm.person (id, first_name, photo) VALUES (4, 'New', " . bytea(picture('fresh', 300_000)) . "); INSERT INTO crm.audience VALUES (4, '$one')");
$crm->settles('somebody new has one at once');
is(photos($one), '1:- 2:- 3:- 4:fresh', 'which arrives');

for my $kind ([ 'png', "\x89PNG\r\n\x1a\n" ], [ 'gif', 'GIF89a' ], [ 'bmp', 'BM6' ])
{
	set_photo(4, $kind->[1] . 'x');
	$crm->settles("a $kind->[0]");
	my ($has) = map { $_->{attachments}[0] } grep { CrmSync::StandIn::key_of($_) eq '4' } $exchange->items($one);
	is($has->{content_type} . ' ' . decode_base64($has->{content}), "image/$kind->[0] $kind->[1]x", 'says what it is');
}

# ---- what cannot be sent

$exchange->forget_journal;
$crm->sql("UPDATE crm.person SET phone = '2', photo = CASE id WHEN 1 THEN " . bytea('%PDF-1.7') . " WHEN 2 THEN repeat('x', 1048577)::bytea ELSE " . bytea(picture('good')) . ' END');
$crm->sync;
is($crm->sql("SELECT string_agg(DISTINCT record || ' ' || message, '; ' ORDER BY record || ' ' || message) FROM crmsync.failures"),
	'1 photo: is no JPEG, PNG, GIF or BMP; 2 photo: has 1048577 bytes, and 1048576 are the most', 'what is no picture, and what is too large, is parked');
is(photos($one), '1:- 2:- 3:good 4:good', 'while others go out');
set_photo($_, picture('mended')) for 1, 2;
$crm->settles('mended');

$crm->sql("UPDATE crm.person SET first_name = 'Small', photo = " . bytea(picture('small')) . ' WHERE id = 1');
$crm->settles('a small one');
$exchange->post('mailbox', address => $one, item_limit => 50_000);
$crm->sql("UPDATE crm.person SET first_name = 'Big' || id, photo = " . bytea(picture('big', 100_000)) . " WHERE id = 1; UPDATE crm.person SET first_name = 'Fine', photo = " . bytea(picture('fine')) . ' WHERE id = 2');
$crm->sync;
is($crm->sql("SELECT string_agg(record || ' ' || mailbox || ' ' || code, ', ') FROM crmsync.failures"), "1 $one ErrorMessageSizeExceeded", 'Exchange refuses one');
is($crm->sql('SELECT message FROM crmsync.failures'), 'The message exceeds the maximum supported size.', 'in its own words');
is(photos($two) . ' ' . photos($one), '1:big 2:fine 3:good 1:- 2:fine 3:good 4:good', 'the others have theirs');
is($exchange->show($one), '1:Big1 2:Fine 3:First3 4:New', 'and the rest of it is written');
is($crm->sql("SELECT count(*) FROM crmsync.item WHERE record = '1' AND shadow ->> 'given_name' = 'Big1'"), '2', 'which is known');
is(shadow(1, $one), '', 'as is that it has none now');
$exchange->post('mailbox', address => $one, item_limit => 30_000_000);
$crm->sql("SELECT crmsync.retry('people')");
$crm->settles('tried again');
is(photos($one), '1:big 2:fine 3:good 4:good', 'all have theirs');

$exchange->post('mailbox', address => $three, quota => 60_000);
$crm->sql("INSERT INTO crm.audience SELECT id, '$three' FROM crm.person");
$crm->sync;
is($crm->sql("SELECT string_agg(record || ' ' || code, ', ') FROM crmsync.failures"), '1 ErrorQuotaExceeded', 'where there is no room for a photo');
is(photos($three), '1:- 2:fine 3:good 4:good', 'there is some for the rest');
$exchange->post('mailbox', address => $three, quota => 1_000_000_000);
$crm->sql("SELECT crmsync.retry('people')");
$crm->settles('tried again where there is room');
is(photos($three), '1:big 2:fine 3:good 4:good', 'it has come');

# ---- crashes and lost answers between the steps

for my $case (
	[ 'CreateAttachment', 'lost' ], [ 'CreateAttachment', 'close' ], [ 'DeleteAttachment', 'lost' ],
	[ 'DeleteAttachment', 'close' ], [ 'GetAttachment', 'close' ], [ 'GetItem', 'close' ])
{
	my ($operation, $action) = @$case;
	$exchange->inject($action, operation => $operation, mailbox => $two);
	my $name = lc "$operation$action";
	set_photo(2, picture($name));
	$crm->settles("$operation: $action");
	is(photos($two), "1:big 2:$name 3:good", 'there is one photo, the right one');
	is($exchange->hits, 1, 'the fault hit');
	$exchange->calm;
}
for my $operation ('CreateAttachment', 'DeleteAttachment', 'GetAttachment')
{
	my $name = 'killed' . lc $operation;
	$exchange->inject('delay', operation => $operation, mailbox => $two, seconds => 3);
	set_photo(3, picture($name));
	$crm->until_true(sub { $exchange->hits == 1 }, "the worker is at $operation");
	kill_worker();
	$exchange->calm;
	$crm->settles('it goes on');
	is(photos($two), "1:big 2:getitemclose 3:$name", 'there is one photo, the right one');
}
$crm->sql("INSERT INTO crm.person (id, first_name, photo) VALUES (5, 'Fifth', " . bytea(picture('fifth')) . "); INSERT INTO crm.audience VALUES (5, '$two')");
$exchange->inject('delay', operation => 'CreateAttachment', mailbox => $two, seconds => 3);
$crm->sql("INSERT INTO crm.person (id, first_name, photo) VALUES (6, 'Sixth', " . bytea(picture('sixth')) . "); INSERT INTO crm.audience VALUES (6, '$two')");
$crm->until_true(sub { $exchange->hits == 1 }, 'a new item has yet to get its photo');
kill_worker();
$exchange->calm;
$crm->settles('it goes on');
is(photos($two), '1:big 2:getitemclose 3:killedgetattachment 5:fifth 6:sixth', 'nothing is doubled');

# ---- what a user does where nothing comes in

$exchange->act($two, 'update', id => id_of($two, 1), photo => encode_base64(picture('vandal'), ''));
$crm->change("UPDATE crm.person SET phone = '3' WHERE id = 1");
is(photos($two), '1:vandal 2:getitemclose 3:killedgetattachment 5:fifth 6:sixth', 'a photo that a user has changed stays');
$exchange->act($two, 'update', id => id_of($two, 1), photo => encode_base64(picture('again'), ''));
$crm->sql("SELECT crmsync.resync('people', '$two')");
$crm->until_true(sub { photos($two) =~ /^1:big / }, 'until the mailbox is mended');
$crm->settles('which is done');

# ---- undo, and what is refused

$crm->sql("CREATE TABLE crm.then AS SELECT clock_timestamp() AS at");
$crm->sql("SELECT pg_sleep(1.1)");
$crm->sql("UPDATE crm.person SET first_name = 'Undone', photo = " . bytea(picture('undone')) . ' WHERE id = 5');
$crm->settles('a change that is to be undone');
$crm->sql("SELECT crmsync.undo('people', (SELECT at FROM crm.then))");
$crm->until_true(sub { $exchange->show($two) =~ /5:Fifth/ }, 'the rest is brought back');
$crm->settles('and its answer is known');
like(photos($two), qr/5:undone/, 'the photo is not');
is($crm->sql("SELECT DISTINCT code || ': ' || message FROM crmsync.history WHERE record = '5' AND code IS NOT NULL"), 'NOT-KEPT: what was there before is not kept: photo', 'which the history says');

like($crm->error("SELECT crmsync.map('people', 'more', 'photo')"), qr/property photo needs bytes, and column "more" has type text/, 'a text is no photo');
like($crm->error("SELECT crmsync.map('people', 'photo', 'photo', value_map => '{\"a\": \"b\"}')"), qr/property photo has no value_map, fallback or inbound/, 'nor is there a map of photos');

# ---- from the mailboxes

$crm->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.disable_link('people');
SELECT crmsync.alter_link('people', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.enable_link('people');
SQL
$crm->settles('the link goes both ways');
my $same = in_crm();

$exchange->act($one, 'update', id => id_of($one, 1), photo => encode_base64(picture('mine'), ''));
$crm->until_true(sub { in_crm() =~ /^1:mine / }, 'a photo that a user sets comes in');
$crm->settles('and goes on');
like(photos($_), qr/^1:mine /, "to $_") for $one, $two, $three;
is($crm->sql('SELECT photo = ' . bytea(picture('mine')) . ' FROM crm.person WHERE id = 1'), 't', 'byte by byte');

$exchange->act($two, 'update', id => id_of($two, 1), photo => undef);
$crm->until_true(sub { in_crm() =~ /^1:- / }, 'one that is removed goes');
$crm->settles('everywhere');
like(photos($_), qr/^1:- /, "from $_") for $one, $two, $three;

$exchange->act($one, 'update', id => id_of($one, 2), set => { 'contacts:JobTitle' => 'Boss', 'contacts:GivenName' => 'Theirs' });
$crm->until_true(sub { $crm->sql('SELECT first_name FROM crm.person WHERE id = 2') eq 'Theirs' }, 'another field comes in');
like(in_crm(), qr/ 2:getitemclose /, 'and leaves the photo alone');

$exchange->act($one, 'create', set => { 'contacts:GivenName' => 'Nobody', 'contacts:FileAs' => 'Nobody' }, photo => encode_base64(picture('nobody'), ''));
$crm->sql('ALTER TABLE crm.person ALTER id SET DEFAULT 100; CREATE OR REPLACE FUNCTION crm.follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO crm.audience VALUES (new.id, \'' . $one . "') ON CONFLICT DO NOTHING; RETURN new; END \$\$; CREATE TRIGGER follow AFTER INSERT ON crm.person FOR EACH ROW EXECUTE FUNCTION crm.follow(); ALTER FUNCTION crm.follow() OWNER TO crm_owner");
$crm->sql("SELECT crmsync.retry('people')");
$crm->until_true(sub { in_crm() =~ /100:nobody/ }, 'somebody whom a user adds becomes a row with his photo');
$crm->settles('and is known');
is(scalar(grep { my $key = CrmSync::StandIn::key_of($_); defined $key && $key eq '100' } $exchange->items($one)), 1, 'and is there once');

$exchange->act($one, 'update', id => id_of($one, 2), photo => encode_base64($jpeg . ('x' x 2_000_000), ''));
$crm->until_true(sub { $crm->sql("SELECT count(*) FROM crmsync.failures WHERE message LIKE 'photo: has 2% bytes, and 1048576 are the most'") eq '1' }, 'one that is too large does not come in');
$exchange->act($one, 'update', id => id_of($one, 2), photo => encode_base64(picture('bearable'), ''));
$crm->until_true(sub { in_crm() =~ / 2:bearable / }, 'a smaller one does');

# A damaged one holds up nothing else.
$exchange->inject('response', operation => 'GetAttachment', code => 'ErrorCannotOpenFileAttachment', message => 'damaged', count => 0);
$exchange->act($one, 'update', id => id_of($one, 2), set => { 'contacts:GivenName' => 'Damaged' }, photo => encode_base64(picture('damaged'), ''));
$crm->until_true(sub { $crm->sql('SELECT first_name FROM crm.person WHERE id = 2') eq 'Damaged' }, 'what a user changes beside a damaged one comes in') or diag($crm->failures);
like(in_crm(), qr/ 2:bearable /, 'which does not');
$crm->sql("UPDATE crm.person SET first_name = 'Mended', photo = " . bytea(picture('healthy')) . ' WHERE id = 2');
$crm->until_true(sub { photos($one) =~ / 2:healthy / }, 'another one takes its place') or diag($crm->failures, photos($one));
$exchange->calm;
$crm->settles('and all is well');
is($exchange->records($one)->{2}{'contacts:GivenName'}, 'Mended', 'with all that goes with it');

# Whoever changes it at the same time as a user: the policy decides, and says so.
$exchange->post('server', paused => JSON::XS::true);
set_photo(3, picture('ours'));
$exchange->act($two, 'update', id => id_of($two, 3), photo => encode_base64(picture('theirs'), ''));
$exchange->post('server', paused => JSON::XS::false);
$crm->until_true(sub { photos($two) =~ / 3:ours / }, 'the CRM wins');
$crm->settles('it is settled');
like($crm->sql("SELECT crm_value || ' ' || target_value FROM crmsync.conflicts WHERE record = '3' AND property = 'photo' LIMIT 1"), qr/^image\/jpeg, \d+ bytes, \S+ \w+ image\/jpeg/, 'with a line of both in the conflicts');
$crm->sql("SELECT crmsync.resolve(id, 'target') FROM crmsync.conflicts WHERE record = '3' AND property = 'photo' LIMIT 1");
$crm->until_true(sub { $crm->sql("SELECT problem FROM crmsync.conflict WHERE record = '3' AND property = 'photo' LIMIT 1") =~ /only a description of property "photo" is kept/ }, 'which is all there is left');
like(in_crm(), qr/ 3:ours /, 'so the choice changes nothing');

# ---- photos in a table of their own

my $four = 'user4@example.test';
$crm->make_another('member', 2, $four);
$crm->sql(<<'SQL');
SET client_min_messages = error;
SET ROLE crm_owner;
CREATE TABLE crm.portrait (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, member integer, picture bytea);
CREATE INDEX ON crm.portrait (member);
RESET ROLE;
SELECT crmsync.disable_link('member');
SELECT crmsync.alter_link('member', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map_child('member', 'crm.portrait', 'member', '{"picture": "photo"}');
SELECT crmsync.enable_link('member');
SQL
$crm->settles('a link to another table', 'member');
sub portraits { return $crm->sql(q{SELECT coalesce(string_agg(member || ':' || coalesce(substring(encode(picture, 'escape') from '\\\\340([a-z]+)'), '-'), ' ' ORDER BY member), '') FROM crm.portrait}) }
$crm->sql('INSERT INTO crm.portrait (member, picture) VALUES (1, ' . bytea(picture('portrait')) . ')');
$crm->settles('a row there', 'member');
is(photos($four), '1:portrait 2:-', 'is a photo here');
$exchange->act($four, 'update', id => id_of($four, 1), photo => encode_base64(picture('changed'), ''));
$exchange->act($four, 'update', id => id_of($four, 2), photo => encode_base64(picture('added'), ''));
$crm->until_true(sub { portraits() eq '1:changed 2:added' }, 'a photo here becomes a row there');
$exchange->act($four, 'update', id => id_of($four, 1), photo => undef);
$crm->until_true(sub { portraits() eq '2:added' }, 'and none takes it away');
$crm->settles('and all is quiet', 'member');

$crm->done;
