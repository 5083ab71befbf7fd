# The same as 030, for the workers that live as long as one run: an import from LDAP, and a comparison.
# Their calls into PostgreSQL fail one after the other; the failure is noted, the next run does what is
# left, and the sanitizers find nothing to say. Of an import every third call fails, other ones each day;
# with CRMSYNC_EVERY_CALL=1 each of them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Directory;
use CrmSync::FailingCalls;
use CrmSync::Sanitizer;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

# The resident worker has started before: its calls do not fail.
my $calls = CrmSync::FailingCalls->new('boundary_runs');
my $stage = $calls->stage;
my ($node, $exchange, $one) = ($stage->node, $stage->exchange, 'user1@example.test');
$stage->make_crm;
$stage->add_people(1, 3, $one);
my $directory = CrmSync::Directory->new('boundary_runs', node => $node, slapd => [ '--people', 12, '--groups', 2 ]);
$directory->make_crm;
$directory->replace(4, 'pwdAccountLockedTime', '000001010000Z');
$directory->make_link(
	more => "match_on => '{uid}', inbound_interval => '1 day'",
	options => '"min_deletes": 100000, "max_deletes": 100000, "memberships": {"table": "public.membership", "user": "person", "group": "crm_group"}',
	before => "SELECT crmsync.map_group('users', 'group1', 'one'); SELECT crmsync.map('users', 'last_name', 'sn', inbound => 'upper(\$1)');");
$directory->import_users;
$stage->settles('before', 'people', '60 s');
my %id = map { /(.*)\|(.*)/ } split /\n/, $stage->sql('SELECT name, id FROM crmsync.links');
my $mailbox = $stage->sql("SELECT id FROM crmsync.mailbox WHERE link = $id{users}");

# What each kind of run is made to do, how it is asked for, and when it has ended well.
my %runs = (
	import => {
		process => 'crmsync directory',
		work => <<"SQL",
UPDATE person SET title = 'stale' WHERE login = 'user0000001';
UPDATE person SET active = true WHERE login = 'user0000004';
UPDATE crmsync.item SET change_key = '' WHERE link = $id{users} AND record IN (SELECT id::text FROM person WHERE login IN ('user0000001', 'user0000004'));
DELETE FROM membership WHERE person IN (SELECT id FROM person WHERE login IN ('user0000002', 'user0000005'));
DELETE FROM crmsync.item WHERE link = $id{users} AND record IN (SELECT id::text FROM person WHERE login IN ('user0000002', 'user0000003'));
DELETE FROM person WHERE login = 'user0000002';
INSERT INTO person (id, login) VALUES (9001, 'ghost') ON CONFLICT (id) DO UPDATE SET active = true;
INSERT INTO crmsync.item (link, record, mailbox, remote_id, origin) VALUES ($id{users}, '9001', $mailbox, 'ghost', 'mailbox')
ON CONFLICT (link, record, mailbox) DO UPDATE SET state = 'linked';
INSERT INTO membership SELECT id, 'one' FROM person WHERE login = 'user0000006' ON CONFLICT DO NOTHING;
SQL
		ask => "SELECT crmsync.sync('users')",
		done => "SELECT last_success > \$since\$ FROM crmsync.link_state WHERE link = $id{users}",
		right => sub {
			is($directory->import_users, '0', $_[0]);
			is($stage->sql("SELECT string_agg(right(login, 2) || left(title, 1) || left(last_name, 2) || active, ' ' ORDER BY login) FROM person WHERE login < 'user0000005' AND login <> 'ghost'"),
				'01CABtrue 02CABtrue 03CABtrue 04CABfalse', "$_[0]: every user, once");
			is($stage->sql("SELECT active FROM person WHERE id = 9001"), 'f', "$_[0]: who has vanished is disabled");
			is($stage->sql("SELECT string_agg(right(login, 2), ' ' ORDER BY login) FROM membership m JOIN person p ON p.id = m.person"), '01 03 05 07 09 11', "$_[0]: the memberships");
			is($stage->sql("SELECT count(*), count(DISTINCT remote_id) FROM crmsync.item WHERE link = $id{users}"), '13|13', "$_[0]: the items");
		},
	},
	comparison => {
		process => 'crmsync comparison',
		work => "UPDATE crmsync.link_state SET comparison = 'everything', comparison_asked = comparison_asked + 1 WHERE link = $id{people};",
		ask => 'SELECT crmsync.wake()',
		done => "SELECT comparison IS NULL FROM crmsync.link_state WHERE link = $id{people}",
		right => sub {
			$stage->settles($_[0], 'people', '60 s');
			is($exchange->show($one), '1:First1 2:First2 3:First3', "$_[0]: every contact, once");
		},
	});

sub has_ended { my ($run) = @_; return $calls->ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = '$run->{process}'") eq '0' }

# Has a run fail at its n-th call; true when it did, false when it got through without.
sub fails_at
{
	my ($run, $n) = @_;
	my $since = $calls->ask('SELECT clock_timestamp()');
	(my $done = $run->{done}) =~ s/\$since\$/'$since'/;
	$calls->new_lines;
	$calls->fail_at($n, 'SET client_min_messages = error; ');
	$calls->ask("$run->{work}\nUPDATE crmsync.link_state SET attempts = 0, next_attempt = NULL;\n$run->{ask}");
	for my $look (1 .. 12000)
	{
		if ($calls->new_lines =~ /guarded call $n fails/)
		{
			until (has_ended($run)) { sleep 0.01 }
			return 1;
		}
		return 0 if $look % 20 == 0 && has_ended($run) && $calls->ask($done) eq 't';
		sleep 0.01;
	}
	die "neither an error nor an end with call $n";
}

# Has runs fail at calls $first (or $step), $first + $step ...; left_out: multiples of this are somebody else's.
sub fail_runs
{
	my ($name, $step, %given) = @_;
	my $run = $runs{$name};
	$calls->begin;
	my ($n, $failed, $count, $started) = (($given{first} // $step) - $step, 1, 0, time);
	while ($failed && $n < 2000)
	{
		$n += $step;
		$n++ if $given{left_out} && $n % $given{left_out} == 0;
		$failed = fails_at($run, $n);
		next if $failed && ++$count % 40 != 0;
		$calls->calm;
		$calls->ask('UPDATE crmsync.link_state SET attempts = 0, next_attempt = NULL');
		$run->{right}->("$name, up to call $n");
	}
	$calls->end;
	note(sprintf('%s: %d guarded calls, every %d., in %.0f s', $name, $n, $step, time - $started));
	cmp_ok($n, '>', 30, "$name: calls of a run may fail");
	cmp_ok($n, '<', 2000, "$name: and then it works");
	$calls->never_restarted($name);
	return;
}

my $leak_step = 11;
fail_runs('import', $ENV{CRMSYNC_EVERY_CALL} ? (1) : (3, first => 1 + (gmtime)[7] % 3));
fail_runs('comparison', 1, left_out => $leak_step);

# ---- with LeakSanitizer
$calls->start_again(leaks => 1);
fail_runs('import', 23);
fail_runs('comparison', $leak_step);

$calls->done(leaks => 1);
