# Users who have left the directory, and their memberships: these go with them once, and what somebody
# gives them afterwards is his business. With on_target_delete => 'ignore' nothing goes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;

my $test = CrmSync::Directory->new('left', slapd => [ '--people', 60, '--groups', 2 ]);
$test->make_crm;
$test->make_link(
	more => "inbound_interval => '1 day'",
	options => '"memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one');");
is($test->import_users, '0', 'the first import');

sub row { my ($number) = @_; return $test->sql(sprintf q{SELECT active, (SELECT count(*) FROM membership m WHERE m.person = p.id) FROM person p WHERE login = 'user%07d'}, $number) }
sub readmit
{
	my ($number) = @_;
	$test->sql(sprintf q{UPDATE person SET active = true WHERE login = 'user%07d'; INSERT INTO membership SELECT id, 'one' FROM person WHERE login = 'user%1$07d'}, $number);
	return;
}

# ---- given a membership again by hand; user 2 had none when he left
$test->remove($test->dn(1), $test->dn(2));
my $bystander = $test->node->background_psql('postgres');
$bystander->query_safe('SELECT pg_advisory_lock(1668443507, id) FROM crmsync.link');    # ASCII crms
$test->import_users;
is(row(1) . ' ' . row(2), 'f|0 f|0', 'who has left is disabled, and member of nothing, whoever holds advisory locks');
$bystander->quit;
readmit($_) for 1, 2;
$test->import_users for 1, 2;
is(row(1) . ' ' . row(2), 't|1 t|1', 'let in again in the CRM, he keeps what he is given there');

# ---- what is refused is done when it can be
$test->sql(<<'SQL');
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON membership FOR EACH ROW EXECUTE FUNCTION public.refuse();
SQL
$test->remove($test->dn(3), $test->dn(5));
is($test->import_users, '2', 'a membership that the CRM does not let go is a failure');
is(row(3) . ' ' . row(5), 'f|1 f|1', 'of somebody who is disabled');
$test->sql('DROP TRIGGER refuse ON membership');
is($test->import_users . ' ' . row(3) . ' ' . row(5), '0 f|0 f|0', 'it goes as soon as it can');
readmit(3);
is($test->import_users . ' ' . row(3), '0 t|1', 'and no later');

# ---- so is what waits for a group to be read
$test->sql("SELECT crmsync.map_group('users', 'nobody', 'one'); SELECT crmsync.enable_link('users')");
$test->remove($test->dn(7));
$test->import_users;
is(row(7), 'f|1', 'while a group cannot be read, its memberships stay');
# 'one', in other words
$test->sql("SELECT crmsync.unmap_group('users', 'nobody'), crmsync.map_group('users', 'nobody', '(SELECT \$\$one\$\$::text)'); SELECT crmsync.enable_link('users')");
$test->import_users;
is(row(7), 'f|1', 'whichever way the group of the CRM is spelled');
$test->sql("SELECT crmsync.unmap_group('users', 'nobody'); SELECT crmsync.enable_link('users')");
$test->import_users;
is(row(7), 'f|0', 'and go afterwards');
readmit(7);
$test->import_users;
is(row(7), 't|1', 'once');

# ---- but not for one that he is in no more, nor for one that the CRM does not have
$test->sql("SELECT crmsync.map_group('users', 'nobody', 'two'), crmsync.map_group('users', 'group2', '(SELECT \$\$two\$\$::text WHERE false)'); SELECT crmsync.enable_link('users')");
$test->remove($test->dn(11));
$test->import_users;
is(row(11), 'f|0', 'while another group cannot be read, his memberships of the others go');
readmit(11);
$test->import_users;
is(row(11), 't|1', 'once');
$test->sql("SELECT crmsync.unmap_group('users', 'nobody'), crmsync.unmap_group('users', 'group2'); SELECT crmsync.enable_link('users')");

# ---- come back, and left again
$test->add('user0000001');
$test->replace('cn=group1,ou=groups,dc=example,dc=com', 'member', map { $test->dn($_) } 1, grep { $_ % 2 && $_ != 11 } 9 .. 60);
$test->sql("DELETE FROM membership m USING person p WHERE p.id = m.person AND login = 'user0000001'; UPDATE person SET login = 'former' WHERE login = 'user0000001'");
$test->import_users;
is(row(1), 't|1', 'a new user of the same login is a member');
$test->remove($test->dn(1));
$test->import_users;
is(row(1), 'f|0', 'and is not, when he has left');

# ---- those who vanish are let be
$test->sql("SELECT crmsync.alter_link('users', on_target_delete => 'ignore')");
$test->remove($test->dn(9));
$test->import_users for 1, 2;
is(row(9), 't|1', q{with 'ignore' who vanishes stays active, and a member});

# ---- but the option exclusive leaves it to the directory alone
$test->sql(q{SELECT crmsync.alter_link('users', options => '{"exclusive": true}')});
$test->import_users;
is($test->sql("SELECT count(*) FROM membership m JOIN person p ON p.id = m.person WHERE p.login IN ('user0000002', 'user0000003', 'user0000007', 'user0000009')"), '0', 'with exclusive nobody stays a member whom the directory does not know');
$test->done;
