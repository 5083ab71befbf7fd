# The README's examples, run from top to bottom with a directory and an Exchange server of our own:
# what a reader copies must work. Only names of servers are replaced.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use CrmSync::EndToEnd;

my $here = dirname(abs_path(__FILE__));
my $slapd = "$here/../directory/slapd";
my $home = abs_path(PostgreSQL::Test::Utils::tempdir());
my $port = PostgreSQL::Test::Cluster::get_free_port();
system($slapd, 'start', "$home/slapd", '--port', $port, '--people', 30, '--groups', 3) == 0
  or plan skip_all => 'slapd cannot be started here';

END
{
	my $status = $?;
	system($slapd, 'stop', "$home/slapd");
	$? = $status;
}

my $test = CrmSync::EndToEnd->new('readme', exchange => [ '--mailbox', 'anna@example.com' ]);
$test->secret('directory', 'secret');
$test->make_sample_crm;
$test->sql(<<'SQL');
SET ROLE crm_owner;
INSERT INTO crm.user_group (name) VALUES ('Sales');
INSERT INTO crm.app_user (login, email, uses_outlook) VALUES ('anna', 'anna@example.com', true);
SELECT crm.generate_people(40, 1, only_people => true);
SQL

my %servers = (
	'https://mail.example.com/EWS/Exchange.asmx' => $test->exchange->url,
	'service@example.com' => 'service@example.test',
	'ldaps://ldap.example.com' => "ldap://127.0.0.1:$port",
	'cn=sales,ou=groups' => 'cn=group1,ou=groups');
my @examples = slurp_file("$here/../../README.md") =~ /^```sql\n(.*?)^```/msg;
cmp_ok(scalar @examples, '>=', 4, 'the README has examples');
for my $example (@examples)
{
	for my $name (keys %servers)
	{
		$example =~ s/\Q$name\E/$servers{$name}/g;
	}
	my ($title) = $example =~ /^(SELECT.*?)\(/m;
	my ($status, $said, $error) = $test->node->psql('postgres', $example, on_error_stop => 1);
	is($status, 0, "it runs: $title ...") or diag($error);
	if ($example =~ /check_target/)
	{
		unlike($said, qr/\|f\|/, 'check_target finds nothing wrong');
	}
	if ($example =~ /plan/)
	{
		like($said, qr/^anna\@example\.com\|.*\|create\|/m, 'plan shows what will be created');
	}
}

is(scalar keys %{ $test->exchange->records('anna@example.com') }, 40, 'the contacts are in the mailbox');
is($test->sql("SELECT count(*) FROM crm.app_user WHERE login LIKE 'user%' AND is_active"), 30, 'the users are in the CRM');
is($test->sql('SELECT count(*) FROM crm.group_member'), 10, 'so are the memberships of the mapped group');
is($test->failures, 'none', 'nothing failed');
$test->done;
