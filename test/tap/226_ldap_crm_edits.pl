# What the CRM has changed in rows of an import, while their entries are as they were, stays: no time that
# passes, outage or restore makes an import write everything, but resync alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use Test::More;
use Time::HiRes qw(sleep);

my $test = CrmSync::Directory->new('edits', slapd => [ '--people', 30, '--groups', 1 ]);
my $node = $test->node;
my $edited = "SELECT title, active FROM person WHERE login = 'user0000001'";
my $changed = "SELECT title FROM person WHERE login = 'user0000002'";

$test->make_crm;
$test->make_link(more => "inbound_interval => '7 days', match_on => '{uid}'");
is($test->import_users, '0', 'the first import');
$test->sql("UPDATE person SET title = 'By hand', active = false WHERE login = 'user0000001'");

# ---- the last good run was days ago
$test->sql("UPDATE crmsync.link_state SET compared = now() - interval '3 days', last_success = now() - interval '3 days', last_started = now() - interval '3 days'");
sleep 7;    # longer than a poll
$test->replace(2, 'title', 'After days');
is($test->import_users, '0', 'an import after days');
is($test->sql($changed), 'After days', 'brings what is new');
is($test->sql($edited), 'By hand|f', 'and neither overwrites what the CRM has changed, nor lets in again whom it has shut out');

# ---- restored: what has changed in the CRM meanwhile is in no log
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
$test->sql("ALTER SYSTEM SET crmsync.enabled = off");
$node->reload;
$test->replace(2, 'title', 'After a restore');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'pg_restore');
my $original = $test->{session};
$test->{session} = CrmSync::Session->new($node, 'copy');
$test->sql('ALTER SYSTEM RESET crmsync.enabled');
$node->reload;
$test->sql("SELECT crmsync.confirm_identity(); SELECT crmsync.alter_target('ldap', secret => 'secret')");
$test->comes_to($changed, 'After a restore', 'an import into a restored database brings what is new');
is($test->import_users, '0', 'to the end');
is($test->sql($edited), 'By hand|f', 'and leaves what the CRM has changed');

# ---- resync is what overwrites
$test->sql("SELECT crmsync.resync('users')");
$test->comes_to($edited, 'Consultant|t', 'until somebody asks for it');
$test->comes_to("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync directory'", '0', 'to the end');
$test->sql("UPDATE person SET title = 'By hand' WHERE login = 'user0000001'");
is($test->import_users, '0', 'once:');
is($test->sql($edited), 'By hand|t', 'the next import does not');
$test->{session} = $original;
$test->done;
