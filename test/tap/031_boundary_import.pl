# The same as 030, for an import from LDAP, which is a worker of its own: nothing is lost or done twice, and the sanitizers
# find nothing to say. Every third call fails, other ones each day; with CRMSYNC_EVERY_CALL=1 each of them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use CrmSync::FailingCalls;
use CrmSync::FailingRuns;
use CrmSync::Sanitizer;
use Test::More;

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

# The resident worker has started before: its calls do not fail.
my $calls = CrmSync::FailingCalls->new('boundary_import');
my $stage = $calls->stage;
my $directory = CrmSync::Directory->new('boundary_import', node => $stage->node, slapd => [ '--people', 12, '--groups', 2 ]);
$directory->make_crm;
$directory->replace(4, 'pwdAccountLockedTime', '000001010000Z');
$directory->make_link(
	more => "match_on => '{uid}', inbound_interval => '1 day'",
	options => '"min_deletes": 100000, "max_deletes": 100000, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one'); SELECT crmsync.map('users', 'last_name', 'sn', inbound => 'upper(\$1)');");
$directory->import_users;
my $link = $stage->sql("SELECT id FROM crmsync.links WHERE name = 'users'");
my $mailbox = $stage->sql("SELECT id FROM crmsync.mailbox WHERE link = $link");

my $import = CrmSync::FailingRuns->new(
	'import', $calls,
	process => 'crmsync directory',
	work => <<"SQL",
UPDATE person SET title = 'stale' WHERE login = 'user0000001';
UPDATE person SET active = true WHERE login = 'user0000004';
UPDATE crmsync.item SET change_key = '' WHERE link = $link AND record IN (SELECT id::text FROM person WHERE login IN ('user0000001', 'user0000004'));
DELETE FROM membership WHERE person IN (SELECT id FROM person WHERE login IN ('user0000002', 'user0000005'));
DELETE FROM crmsync.item WHERE link = $link AND record IN (SELECT id::text FROM person WHERE login IN ('user0000002', 'user0000003'));
DELETE FROM person WHERE login = 'user0000002';
INSERT INTO person (id, login) VALUES (9001, 'ghost') ON CONFLICT (id) DO UPDATE SET active = true;
INSERT INTO crmsync.item (link, record, mailbox, remote_id, origin) VALUES ($link, '9001', $mailbox, 'ghost', 'mailbox')
ON CONFLICT (link, record, mailbox) DO UPDATE SET state = 'linked';
INSERT INTO membership SELECT id, 'one' FROM person WHERE login = 'user0000006' ON CONFLICT DO NOTHING;
SQL
	ask => "SELECT crmsync.sync('users')",
	done => "SELECT last_success > \$since\$ FROM crmsync.link_state WHERE link = $link",
	right => sub {
		is($directory->import_users, '0', $_[0]);
		is($stage->sql("SELECT string_agg(right(login, 2) || left(title, 1) || left(last_name, 2) || active, ' ' ORDER BY login) FROM person WHERE login < 'user0000005' AND login <> 'ghost'"),
			'01CABtrue 02CABtrue 03CABtrue 04CABfalse', "$_[0]: every user, once");
		is($stage->sql("SELECT active FROM person WHERE id = 9001"), 'f', "$_[0]: who has vanished is disabled");
		is($stage->sql("SELECT string_agg(right(login, 2), ' ' ORDER BY login) FROM membership m JOIN person p ON p.id = m.person"), '01 03 05 07 09 11', "$_[0]: the memberships");
		is($stage->sql("SELECT count(*), count(DISTINCT remote_id) FROM crmsync.item WHERE link = $link"), '13|13', "$_[0]: the items");
	});
my $step = $ENV{CRMSYNC_EVERY_CALL} ? 1 : 3;
$import->fail_each(1 + (gmtime)[7] % $step, $step);

# ---- with LeakSanitizer
$calls->start_again(leaks => 1);
$import->fail_each(23, 23);

$calls->done(leaks => 1);
