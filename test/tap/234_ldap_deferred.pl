# An import into a CRM whose constraints are deferred, as those of Django are.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('deferred', slapd => [ '--people', 20, '--groups', 2 ]);
my %group = map { $_ => "cn=group$_,ou=groups,dc=example,dc=com" } 1 .. 2;
$test->make_crm;
$test->sql(<<'SQL');
ALTER TABLE membership ALTER CONSTRAINT membership_person_fkey DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE position (name text PRIMARY KEY);
ALTER TABLE position OWNER TO crm_owner;
CREATE TABLE state (active boolean PRIMARY KEY);
ALTER TABLE state OWNER TO crm_owner;
INSERT INTO state VALUES (true), (false);
INSERT INTO position VALUES ('New');
ALTER TABLE person ADD position text REFERENCES position DEFERRABLE INITIALLY DEFERRED, ADD FOREIGN KEY (active) REFERENCES state DEFERRABLE INITIALLY DEFERRED;
SQL
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"min_deletes": 80, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map('users', 'position', 'businessCategory'); SELECT crmsync.map_group('users', 'group1', 'one');");
sub login { return sprintf 'user%07d', $_[0] }
sub column { my ($number, $column) = @_; return $test->sql("SELECT $column FROM person WHERE login = '${\ login($number)}'") }
sub members { return $test->sql('SELECT count(*) FROM membership') }
sub failing { return $test->sql("SELECT coalesce(string_agg(DISTINCT code, ' '), 'nothing') FROM crmsync.failures") }

$test->replace($group{1}, 'member', map { $test->dn($_) } 1, 2);
is($test->import_users . ' ' . failing(), '0 nothing', 'new users');
is($test->sql('SELECT count(*) FROM person') . ' ' . members(), '20 2', 'and memberships come in');
$test->replace($test->dn($_), 'businessCategory', $_ == 3 ? 'Unknown' : 'New') for 3, 4;
$test->replace($group{1}, 'member', $test->dn(1));
$test->remove($test->dn(9));
is($test->import_users . ' ' . failing(), '1 23503', 'what breaks a constraint is parked alone');
is(column(4, 'position'), 'New', 'changes come in');
is(members(), '1', 'memberships go');
is(column(9, 'active'), 'f', 'and who is gone is disabled');

$test->done;
