# The examples of the README and of docs/logging-on.md, security.md, both-directions.md and child-rows.md, run from top to
# bottom with a directory and an Exchange server of our own: what a reader copies must work. Only names of servers are
# replaced.
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
  or die 'slapd cannot be started here';

END
{
	my $status = $?;
	system($slapd, 'stop', "$home/slapd");
	$? = $status;
}

my $test = CrmSync::EndToEnd->new('readme', exchange => [ map { ('--mailbox', $_) } 'anna@example.com', map { "user$_\@example.com" } 1 .. 5 ]);
$test->secret('directory', 'secret');
sub page { return slurp_file("$here/../../$_[0]") }

# ---- the sample, as the README fills it
$test->make_sample_crm;
my ($filling) = page('README.md') =~ /^```sh\n(psql .*?)^```/ms;
is(join(' ', $filling =~ /-f (\S+)/g), 'sample/schema.sql sample/generate.sql', 'the README names what makes the sample CRM');
$test->sql("SET ROLE crm_owner; $_") for $filling =~ /-c "(.*?)"/g;
my $one = 'user1@example.com';
my $belong = $test->sql("SELECT count(DISTINCT record) FROM crm.contact_audience WHERE mailbox = '$one'");
cmp_ok($belong, '>', 10, 'it has contacts for the mailbox of the examples');

# ---- the examples

my %servers = (
	'https://mail.example.com/EWS/Exchange.asmx' => $test->exchange->url,
	'service@example.com' => 'service@example.test',
	'ldaps://ldap.example.com' => "ldap://127.0.0.1:$port",
	'mail.example.com, ldap.example.com' => '127.0.0.1',
	'cn=sales,ou=groups' => 'cn=group1,ou=groups');
my @examples = map { page($_) =~ /^```sql\n(.*?)^```/msg } 'README.md', 'docs/logging-on.md', 'docs/security.md', 'docs/both-directions.md', 'docs/child-rows.md';
cmp_ok(scalar @examples, '>=', 8, 'there are examples');
for my $example (@examples)
{
	for my $name (keys %servers)
	{
		$example =~ s/\Q$name\E/$servers{$name}/g;
	}
	if ($example =~ /undo/)
	{
		$test->until_true(sub { $test->sql("SELECT count(*) FROM crmsync.items WHERE link = 'customers'") > 0 }, 'what the examples before it want is done');
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
		like($said, qr/^user1\@example\.com\|.*\|create\|/m, 'plan shows what will be created');
	}
}

# ---- what docs/security.md says of roles
is($test->sql('SET ROLE crm_monitor; SELECT count(*) FROM crmsync.status'), '6', 'the monitor sees the links');
is($test->sql('SET ROLE crm_monitor; SELECT count(values) FROM crmsync.items'), '0', 'and no values');
is($test->sql("SET ROLE crm_helpdesk; SELECT DISTINCT link FROM crmsync.items WHERE values IS NOT NULL"), 'contacts', 'the help desk sees those of its link');
$test->sql("CREATE ROLE crm_admin; SELECT crmsync.grant_role('crm_admin', 'admin'); ALTER SYSTEM RESET crmsync.allowed_hosts");
$test->sql('SELECT pg_reload_conf()');
$test->until_true(sub { $test->sql('SHOW crmsync.allowed_hosts') eq '' }, 'all hosts are allowed');
my $said = $test->error("SET ROLE crm_admin; SELECT crmsync.create_target('mine', 'ews', 'https://mine.example.com', 'basic', 'x', 'file:exchange')");
my ($refusal) = page('docs/security.md') =~ /^```\nERROR: +(.*?)^```/ms;
like($said, qr/\Q$_\E/, 'the refusal is the one shown') for split /\n/, $refusal;

# ---- the lists of docs/logging-on.md and codes.md are complete
my ($ways, $codes) = (page('docs/logging-on.md'), page('docs/codes.md'));
like($ways, qr/^\| `$_`/m, "how to log on: $_") for split /\n/, $test->sql("SELECT unnest(crmsync.auth_methods('ews') || crmsync.auth_methods('ldap'))");
my %code = map { $_ => 1 } qw(KEY POSTPONED VALUE), page('src/directory/error.cpp') =~ /return "([A-Z-]+)"/g, page('src/exchange/ews/failures.cpp') =~ /\bmake\([^"]*?"([A-Z-]+)"/g;
delete $code{UNKNOWN};
cmp_ok(scalar keys %code, '>', 12, 'there are codes');
like($codes, qr/^\| [^|]*`$_`/m, "what to do about $_") for sort keys %code;
like($codes, qr/^\| [^|]*`$_`/m, "the action $_") for page('src/server/state/history.cpp') =~ /return "([a-z ]+)"/g, page('src/server/plan.cpp') =~ /"(wait|none|unlink|bring in|delete record|delete|update|create)"/g;

# ---- what has become of it
is(scalar keys %{ $test->exchange->records($one) }, $belong, 'the contacts are in the mailbox');
is($test->sql("SELECT count(*) FROM crm.app_user WHERE login LIKE 'user0%' AND is_active"), 30, 'the users are in the CRM');
is($test->sql("SELECT count(*) FROM crm.group_member m JOIN crm.user_group g ON g.id = m.group_id WHERE g.name = 'Sales'"), 10, 'so are the memberships of the mapped group');
is($test->failures, 'none', 'nothing failed');
$test->done;
