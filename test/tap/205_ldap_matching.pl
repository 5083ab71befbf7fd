# Users who are in the CRM before the first import: recognised by what match_on names, taken over
# with their rows, and left alone where it is not clear who is who.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Encode qw(encode_utf8);
use Test::More;

my $test = CrmSync::Directory->new('matching');
my $count = 59;
my $former = 'ou=former,dc=example,dc=com';

sub row { my ($columns, $condition) = @_; return $test->sql(encode_utf8("SELECT $columns FROM person WHERE $condition")) }
sub origin { my ($login) = @_; return $test->sql("SELECT i.origin FROM crmsync.items i JOIN person p ON p.id::text = i.record WHERE p.login = '$login'") }

# ---- the README's case: a login that is there, with its unique index
$test->modify("dn: ${\ $test->dn(60)}\nchangetype: modrdn\nnewrdn: uid=aside\ndeleteoldrdn: 1\nnewsuperior: $former\n");
$test->make_crm;
$test->sql(<<'SQL');
INSERT INTO person (id, login, title) VALUES (1001, 'user0000001', 'Old'), (1002, 'USER0000002', NULL), (1003, 'somebody', 'Stays');
INSERT INTO membership VALUES (1001, 'manual');
SQL
$test->make_link(more => "match_on => '{UID}'");
is($test->import_users, '0', 'nobody fails on the unique index');
is(row('count(*)', 'true'), $count + 1, 'nobody is doubled');
is(row('id, title, first_name', "login = 'user0000001'"), '1001|Consultant|Ben', 'the row that was there is taken over, and gets its values');
is(row('id', "login = 'user0000002'"), '1002', 'whatever the case of the login');
is(row('title, active', 'id = 1003'), 'Stays|t', 'who is not in the directory is left alone');
is(origin('user0000001') . origin('user0000003'), 'adoptedmailbox', 'the items say who was there before');
is($test->sql('SELECT count(*) FROM membership'), '1', 'and memberships given by hand stay');

# ---- made anew in the directory: another entry, the same row
my $id = row('id', "login = 'user0000009'");
$test->remove($test->dn(9));
$test->add('user0000009', title => 'Back again');
$test->import_users;
is(row('id, title, active', "login = 'user0000009'"), "$id|Back again|t", 'who was deleted and made anew in the directory keeps his row');
is($test->sql("SELECT count(*) FROM crmsync.items WHERE record = '$id' AND state = 'linked'"), '1', 'as the new entry');
$test->sql("ALTER TABLE person ADD CONSTRAINT no_title CHECK (title <> 'Refused')");
$test->remove($test->dn(9));
$test->add('user0000009', title => 'Refused');
is($test->import_users, '1', 'so does one whose new entry is refused');
is(row('title, active', "id = $id"), 'Back again|t', 'and he stays active');
$test->replace(9, 'title', 'Back again');
$test->sql('ALTER TABLE person DROP CONSTRAINT no_title');
is($test->import_users, '0', 'until it is not');
is($test->sql("SELECT count(*) FROM crmsync.items WHERE record = '$id' AND state = 'linked'"), '1', 'then the new entry is his');

# ---- a login that somebody has given up, and somebody else has got, whose entry comes first
$test->add('later', title => 'First');
$test->import_users;
$test->modify("dn: uid=later,${\ $test->people}\nchangetype: modrdn\nnewrdn: uid=married\ndeleteoldrdn: 1\n");
$test->modify("dn: uid=aside,$former\nchangetype: modrdn\nnewrdn: uid=later\ndeleteoldrdn: 1\nnewsuperior: ${\ $test->people}\n");
is($test->import_users, '0', 'a login that has passed to another entry is no conflict');
is(row("string_agg(login || ' ' || title, ', ' ORDER BY login)", "login IN ('later', 'married')"), 'later Consultant, married First', 'each has a row');

sub takes { my ($from, $to) = @_; $test->modify("dn: uid=$from,${\ $test->people}\nchangetype: modrdn\nnewrdn: uid=$to\ndeleteoldrdn: 1\n"); return }
for my $way ([ [ 'married', 'third' ], [ 'later', 'married' ] ], [ [ 'married', 'later' ], [ 'third', 'married' ] ])
{
	takes(@$_) for @$way;
	is($test->import_users, '0', "$way->[1][0] becomes $way->[1][1] where $way->[0][0] has become $way->[0][1]");
}
is(row("string_agg(login || ' ' || title, ', ' ORDER BY login)", "login IN ('later', 'married', 'third')"), 'later Consultant, married First', 'each has his login');

# ---- not clear who is who: parked, listed, and the others go on
$test->sql('ALTER TABLE person DROP CONSTRAINT person_login_key');
$test->sql("INSERT INTO person (id, login) VALUES (2001, 'twin'), (2002, 'TWIN'), (2003, 'single')");
$test->add('twin');
$test->modify("dn: ou=other,ou=people,dc=example,dc=com\nchangetype: add\nobjectClass: organizationalUnit\nou: other\n");
$test->add('single');
$test->add('single', base => 'ou=other,ou=people,dc=example,dc=com');
$test->add('newcomer');
is($test->import_users, '3', 'two rows for one entry, and two entries for one row');
is($test->failures, join("\n", map { "AMBIGUOUS $_" } sort 'uid=twin,' . $test->people, 'uid=single,' . $test->people, 'uid=single,ou=other,' . $test->people), 'are listed, each entry');
is($test->sql('SELECT bool_or(parked) FROM crmsync.failures'), 'f', 'and each import looks again');
is($test->sql("SELECT message || '|' || hint FROM crmsync.alerts"), '3 entries are not brought in|See crmsync.failures; each import tries them again.', 'as an alert says');
is(row("string_agg(id || coalesce(last_name, '-'), ',' ORDER BY id)", 'id BETWEEN 2001 AND 2003'), '2001-,2002-,2003-', 'their rows are left alone, and no other is made');
is(row('last_name', "login = 'newcomer'"), 'Smith', 'while the others go on');
$test->sql('DELETE FROM person WHERE id = 2002');
$test->remove('uid=single,ou=other,' . $test->people);
is($test->import_users, '0', 'cleared up, nothing fails');
is(row('id', "login IN ('twin', 'single') AND last_name = 'Smith' ORDER BY 1"), "2001\n2003", 'and the rows are taken over');

# ---- without a unique index, on several properties, in any spelling
$test->sql("SELECT crmsync.drop_link('users'); DROP TABLE membership, person; SELECT crmsync.drop_target('ldap'); DROP ROLE crm_owner");
$test->make_crm(unique => 'COLLATE "und-x-icu"', more => 'number integer');
my %spelled = (
	'Jörg' => [ 'Weiß', "Jo\x{308}rg", 'WEISS' ],     # a letter and its diaeresis; ß
	'Ann Marie' => [ 'O Neill', "ANN \x{a0} Marie", "O Neill\x{200b}" ],    # white space, and what nobody sees
	'Éva' => [ 'Šimková', 'éVA', 'šIMKOVÁ' ]);
my $number = 3000;
for my $given (sort keys %spelled)
{
	my ($family, @crm) = @{ $spelled{$given} };
	$number++;
	$test->sql(encode_utf8("INSERT INTO person (id, first_name, last_name) VALUES ($number, '$crm[0]', '$crm[1]')"));
	$test->add("spelled$number", map { encode_utf8($_) } givenName => $given, sn => $family);
}
# Empty and absent are the same, but nobody is recognised by nothing.
$test->sql("INSERT INTO person (id, first_name, last_name) VALUES (4001, '', 'Only'), (4002, NULL, NULL), (4003, '', ' ')");
$test->add('only', sn => 'Only');
$test->modify("dn: cn=nameless,ou=people,dc=example,dc=com\nchangetype: add\nobjectClass: device\nobjectClass: simpleSecurityObject\ncn: nameless\nuserPassword: x\n");
$test->make_link(more => "match_on => '{givenName,sn}'", options => '"filter": "(|(objectClass=person)(objectClass=device))"');
is($test->import_users, '0', 'by given name and surname nobody fails');
is(row("string_agg(login, ',' ORDER BY id)", 'id BETWEEN 3001 AND 3003'), 'spelled3001,spelled3002,spelled3003', 'case, white space and composition make no difference');
is(row('login', 'id = 4001'), 'only', 'an empty name is an absent one');
is(row('count(*)', 'id IN (4002, 4003) AND login IS NULL AND first_name IS NOT DISTINCT FROM CASE id WHEN 4003 THEN $$$$ END'), '2', 'an entry without either takes over nobody');
is(row('count(*)', 'login IS NULL AND last_name IS NULL'), '2', 'but gets a row of its own');
is(row('last_name', "login = 'spelled3001'"), 'O Neill', 'the value is the directory\'s own');

# ---- one value that its column cannot hold stands in nobody's way
$test->sql("SELECT crmsync.disable_link('users'); SELECT crmsync.alter_link('users', match_on => '{employeeNumber}', options => '{\"filter\": \"(objectClass=person)\"}')");
$test->sql("SELECT crmsync.map('users', 'number', 'employeeNumber', inbound => '\$1::integer -- the staff''s'); SELECT crmsync.enable_link('users')");
is($test->import_users, '0', 'another property, through an expression');
$test->sql("INSERT INTO person (id, number) VALUES (5001, 7001)");
$test->add('odd', employeeNumber => 'none');
$test->add('even', employeeNumber => '007001');
is($test->import_users, '1', 'one fails');
like($test->sql('SELECT code, record, message FROM crmsync.failures'), qr/^22P02\|uid=odd.*invalid input syntax for type integer/, 'for the reason that it has');
is(row('login', 'id = 5001'), 'even', 'and the other is recognised');

# ---- what is not mapped recognises nobody, rather than fewer properties more
like($test->said("SELECT crmsync.alter_link('users', match_on => '{employeeNumber,mail}')"), qr/match_on names mail, which is not mapped/, 'a property that is not mapped is refused');
$test->sql("UPDATE crmsync.link SET match_on = '{employeeNumber,mail}'");
$test->import_users;
is($test->state('last_error'), 'match_on names mail, which is not mapped (Map it with crmsync.map, then call crmsync.enable_link.)', 'it stops the import');
like($test->said("SELECT crmsync.enable_link('users')"), qr/match_on names mail, which is not mapped/, 'and enable_link');
$test->done;
