# Users who are deleted and made anew in the directory, so that another entry is theirs, and whose new
# entry cannot be brought in: they are there all the same, and keep what they have until it can.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('anew', slapd => [ '--people', 60, '--groups', 3 ]);
$test->make_crm(unique => '', more => 'kind text');
$test->make_link(
	more => "inbound_interval => '1 day', match_on => '{uid}'",
	options => '"memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => q{SELECT crmsync.map('users', 'kind', 'employeeType', value_map => '{"I": "internal"}');
		SELECT crmsync.map_group('users', 'group1', 'one');});
is($test->import_users, '0', 'the first import');
$test->import_users;    # enable_link has one begin by itself, and the one that was asked for may follow it

# Of group1, as all of whom the test makes new entries.
sub anew
{
	my ($number, %attributes) = @_;
	my $uid = sprintf 'user%07d', $number;
	$test->remove($test->dn($number));
	$test->add($uid, employeeType => 'internal', %attributes);
	return;
}
sub who { my ($number) = @_; return sprintf q{login = 'user%07d'}, $number }
sub row { my ($number) = @_; return $test->sql("SELECT active, kind, (SELECT count(*) FROM membership m WHERE m.person = p.id) FROM person p WHERE " . who($number) . ' ORDER BY id') }
sub item { my ($number) = @_; return $test->sql("SELECT i.state FROM crmsync.items i JOIN person p ON p.id::text = i.record WHERE " . who($number)) }
sub id { my ($number) = @_; return $test->sql('SELECT min(id) FROM person WHERE ' . who($number)) }

# ---- a value that nobody knows
anew(1, employeeType => 'unheard');
is($test->import_users, '1', 'a new entry with a value that is not known fails');
is($test->failures, 'VALUE ' . id(1), 'as that of the user who is in the CRM');
is(row(1), 't|I|1', 'who stays active, and a member');
is($test->import_users . ' ' . row(1), '1 t|I|1', 'also in the runs after it');
$test->replace(1, 'employeeType', 'internal');
is($test->import_users . ' ' . row(1) . ' ' . item(1), '0 t|I|1 linked', 'mended, the new entry is his');

anew(4, employeeType => 'unheard', pwdAccountLockedTime => '000001010000Z');
is($test->import_users . ' ' . row(4), '1 f|I|1', 'who may not log on by his new entry is disabled');
$test->replace(4, 'employeeType', 'internal');
$test->replace(4, 'pwdAccountLockedTime');
is($test->import_users . ' ' . row(4), '0 t|I|1', 'until he may');

# ---- a value that nobody knows among those by which users are recognised: who it is, is not known either
$test->sql(q{SELECT crmsync.alter_link('users', match_on => '{uid,employeeType}'); SELECT crmsync.enable_link('users')});
$test->sql(q{INSERT INTO person (login, active) VALUES ('somebody', true)});
$test->add('somebody', employeeType => 'unheard', pwdAccountLockedTime => '000001010000Z');
is($test->import_users, '1', 'by a value that is not known');
is($test->sql(q{SELECT active FROM person WHERE login = 'somebody'}), 't', 'nobody is recognised');
$test->remove('uid=somebody,' . $test->people);
$test->sql(q{DELETE FROM person WHERE login = 'somebody'; SELECT crmsync.alter_link('users', match_on => '{uid}'); SELECT crmsync.enable_link('users')});
is($test->import_users, '0', 'without him, nobody fails');

# ---- two rows, or two entries
$test->sql("INSERT INTO person (login) VALUES ('user0000007')");
anew(7);
is($test->import_users . ' ' . $test->failures, '1 AMBIGUOUS ' . $test->dn(7), 'a new entry that fits two rows fails');
is(row(7), "t|I|1\nt||0", 'and both rows stay as they are');
$test->sql("DELETE FROM person WHERE login = 'user0000007' AND kind IS NULL");
is($test->import_users . ' ' . row(7) . ' ' . item(7), '0 t|I|1 linked', 'cleared up, the new entry is his');

# ---- refused by the CRM
$test->sql("ALTER TABLE person ADD CONSTRAINT no_title CHECK (title <> 'Refused')");
anew($_, title => 'Refused') for 10, 13;
is($test->import_users, '2', 'new entries that the CRM refuses fail');
is(row(10) . ' ' . row(13), 't|I|1 t|I|1', 'and their users stay active, and members');
$test->replace(13, 'title', 'Good');
is($test->import_users . ' ' . row(10) . ' ' . row(13), '1 t|I|1 t|I|1', 'also when it is one that is left');
$test->replace('cn=group1,ou=groups,dc=example,dc=com', 'member', map { $test->dn($_) } 1, 4, 7, 19 .. 40);
$test->import_users;
is(row(10) . ' ' . row(13), 't|I|1 t|I|0', 'what the group says of who was merged counts');
$test->replace(10, 'title', 'Good');
is($test->import_users . ' ' . row(10), '0 t|I|0', 'and of him, when he is');
$test->done;
