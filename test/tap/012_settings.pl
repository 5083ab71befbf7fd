# The settings: who may see and change them, and what is refused.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('settings');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'crmsync'\ncrmsync.enabled = off\ncrmsync.environment = 'test'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION crmsync; CREATE ROLE clerk LOGIN');

is( $node->safe_psql('postgres', "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_settings WHERE name LIKE 'crmsync.%' AND context = 'sighup'"),
	'crmsync.allowed_hosts crmsync.enabled crmsync.environment crmsync.long_query_timeout crmsync.max_create_delay crmsync.max_history_size crmsync.max_log_size crmsync.query_timeout crmsync.secret_directory',
	'settings that a reload changes');

sub refused
{
	my ($statement, $pattern, $name) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $statement);
	like($error, $pattern, $name);
	return;
}
refused("SET crmsync.enabled = on", qr/cannot be changed now/, 'not changed by a session');
refused("SET ROLE clerk; SHOW crmsync.environment", qr/must be superuser|permission denied to examine/, 'the environment is for superusers');
refused("SET ROLE clerk; SHOW crmsync.secret_directory", qr/must be superuser|permission denied to examine/, 'and the directory of secrets');
refused("SET ROLE clerk; SET crmsync.fail_guarded_call = 1", qr/permission denied/, 'and making calls fail');
refused("SET crmsync.fail_guarded_cal = 1", qr/reserved prefix/, 'a misspelt setting');
refused("ALTER SYSTEM SET crmsync.secret_directory = 'secrets'", qr/must be given as an absolute path/, 'a relative directory');
refused("ALTER SYSTEM SET crmsync.max_log_size = 0", qr/outside the valid range/, 'no log at all');
is($node->safe_psql('postgres', 'SHOW crmsync.environment'), 'test', 'the environment of the configuration file');

$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER RETURN crmsync.caller()::text || ' ' || current_user;
SQL
is($node->safe_psql('postgres', 'SET ROLE clerk; SELECT who()'), 'clerk postgres', 'caller() looks through SECURITY DEFINER');

$node->stop;
done_testing();
