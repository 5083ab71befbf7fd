# pg_upgrade of a cluster in which crmsync is at work: everything is there afterwards. The new cluster is
# another one by its identity, so it is held until that is confirmed; then it goes on where the old one
# was stopped, and nothing is doubled.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bindir = '';
IPC::Run::run([ $ENV{PG_CONFIG} // 'pg_config', '--bindir' ], '>', \$bindir);
chomp $bindir;
plan skip_all => "there is no pg_upgrade in $bindir" if !-x "$bindir/pg_upgrade";

my $stage = CrmSync::EndToEnd->new('old');
my ($old, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_tables;
$stage->sql('SET ROLE crm_owner; CREATE TABLE crm.note (id integer PRIMARY KEY, person integer, text text)');
$stage->make_target;
$stage->make_link(more => "folder => 'CRM', options => '{\"max_deletes\": 90}'",
	before => <<'SQL');
SELECT crmsync.map('people', '((SELECT max(n.text) FROM crm.note n WHERE n.person = r.id))', 'notes');
SELECT crmsync.watch('people', 'crm.note', 'person');
SELECT crmsync.watch('people', 'crm.audience', 'record');
CREATE ROLE clerk;
SELECT crmsync.grant_role('clerk', 'reader', 'people');
SQL
$stage->add_people(1, 20, $one, $two);
$stage->sql("INSERT INTO crm.note VALUES (1, 1, 'Before')");
$stage->settles('twenty people');
$stage->change("UPDATE crm.person SET email = repeat('a', 290) || '\@example.com' WHERE id = 20");
is($stage->failures, '20 ErrorInvalidPropertySet, 20 ErrorInvalidPropertySet', 'one is parked');

# What waits when the old cluster is stopped: in `pending`, and in the change log.
$stage->sql("SELECT crmsync.pause_target('exchange'); UPDATE crm.person SET first_name = 'Pending' WHERE id = 1");
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.pending') ne '0' }, 'something waits');
$stage->sql('ALTER SYSTEM SET crmsync.enabled = off; SELECT pg_reload_conf()');
$stage->until_true(sub { $stage->worker_pid eq '' }, 'the worker is stopped', 10);
$stage->sql("SELECT crmsync.resume_target('exchange'); UPDATE crm.person SET first_name = 'Logged' WHERE id = 2; INSERT INTO crm.person (id, first_name) VALUES (21, 'New'); INSERT INTO crm.audience VALUES (21, '$one')");

my %looked_at = (
	configuration => 'SELECT (SELECT string_agg(l::text, \' \') FROM crmsync.links l), (SELECT string_agg(m::text, \' \' ORDER BY m::text) FROM crmsync.mappings m), (SELECT string_agg(w::text, \' \' ORDER BY w::text) FROM crmsync.watches w), (SELECT string_agg(g::text, \' \') FROM crmsync.role_grant g)',
	secret => 'SELECT * FROM crmsync.target_secret',
	items => "SELECT count(*), md5(string_agg(i::text, ',' ORDER BY i.record, i.mailbox)) FROM crmsync.item i",
	queue => 'SELECT (SELECT count(*) FROM crmsync.pending), (SELECT count(*) FROM crmsync.change_log_0) + (SELECT count(*) FROM crmsync.change_log_1), (SELECT snapshot FROM crmsync.log_position)',
	failures => 'SELECT f.* FROM crmsync.failure f ORDER BY mailbox',
	history => "SELECT count(*), md5(string_agg(h::text, ',' ORDER BY h::text)) FROM crmsync.history h",
	triggers => "SELECT string_agg(format('%s %s %s %s', t.tgrelid::regclass, t.tgname, t.tgenabled, encode(t.tgargs, 'escape')), E'\\n' ORDER BY t.tgrelid::regclass::text, t.tgname) FROM pg_trigger t WHERE t.tgfoid::regproc::text LIKE 'crmsync.%'",
	privileges => "SELECT string_agg(format('%s %s %s', what, grantee::regrole, privilege_type), E'\\n' ORDER BY what, grantee, privilege_type) FROM (
		SELECT c.relname::text AS what, a.* FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'crmsync'::regnamespace AND a.grantee <> c.relowner
		UNION ALL
		SELECT p.oid::regprocedure::text, a.* FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE p.pronamespace = 'crmsync'::regnamespace AND a.grantee <> p.proowner) g",
	dumped => "SELECT string_agg(x::regclass::text, ' ' ORDER BY x::regclass::text) FROM pg_extension e, unnest(e.extconfig) x WHERE e.extname = 'crmsync'",
	members => "SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.deptype = 'e' AND e.extname = 'crmsync'");
my %before = map { $_ => $stage->sql($looked_at{$_}) } keys %looked_at;
my $functions = "SELECT string_agg(p.oid::text, ' ' ORDER BY p.oid) FROM pg_proc p WHERE p.pronamespace = 'crmsync'::regnamespace";
my $oids = $stage->sql($functions);

# ---- the upgrade
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(allows_streaming => 1, extra => [ '--no-instructions' ]);    # not from a template: it has an identity of its own
$new->append_conf('postgresql.conf', "shared_preload_libraries = 'crmsync'\ncrmsync.secret_directory = '$stage->{secrets}'\nmax_prepared_transactions = 5\ncrmsync.enabled = off");
my $user = $stage->sql('SELECT current_user');
$old->stop('fast');
chdir $new->basedir or die $!;
command_ok(
	[
		"$bindir/pg_upgrade", '--no-sync', '-U', $user, '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
		'-s', $new->host, '-p', $old->port, '-P', $new->port
	],
	'pg_upgrade');
$exchange->forget_journal;
$new->start;
$stage->{node} = $new;

isnt($stage->sql($functions), $oids, 'functions have other OIDs');
is($stage->sql($looked_at{$_}), $before{$_}, "$_: as before") for sort keys %looked_at;

# ---- another cluster
$new->append_conf('postgresql.conf', 'crmsync.enabled = on');
$new->reload;
$stage->until_true(sub { $stage->sql('SELECT crmsync.worker_state()') eq 'running' }, 'the worker runs', 30);
$stage->until_true(sub { slurp_file($new->logfile) =~ /not the one that was confirmed: nothing is written until/ }, 'another cluster: nothing is written', 20);
is($stage->status('state'), 'held', 'the link is held');
like($stage->sql('SELECT hint FROM crmsync.alerts WHERE kind = \'server\''), qr/confirm_identity/, 'and says what to do');
$stage->sql("UPDATE crm.note SET text = 'After'");
sleep 1;
is(join(' ', map { $_->{operation} } $exchange->journal), '', 'the server is asked nothing');
$stage->sql('SELECT crmsync.confirm_identity()');
my @left;
$stage->until_true(sub { @left = $stage->sync; $left[0] eq '0' }, 'confirmed, it goes on', 60);
is(join(' ', @left), '0 2', 'what was parked, still is');
my ($in_one, $in_two) = map { $exchange->records($_, 'CRM') } $one, $two;    # dies of a duplicate
is(keys(%$in_one) . ' ' . keys(%$in_two), '21 20', 'nothing is doubled');
is(join(' ', map { $in_one->{$_}{'contacts:GivenName'} } 1, 2, 3, 21), 'Pending Logged First3 New', 'what waited arrives');
is($in_two->{1}{'item:Body'}, 'After', 'and what has changed since');
is($exchange->requests('CreateItem'), 1, 'one item is new, and only that is created');
$stage->change("UPDATE crm.person SET first_name = 'Later', email = NULL WHERE id = 20");
is($exchange->records($two, 'CRM')->{20}{'contacts:GivenName'}, 'Later', 'changes are captured and carried out');
is($stage->failures, 'none', 'and all is well');
$new->command_ok([ 'pg_dump', '-Fc', '-d', $new->connstr('postgres'), '-f', $new->basedir . '/dump' ], 'it can be dumped');
$stage->sql('DROP EXTENSION crmsync');
is($stage->sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%'"), '0', 'and its triggers go with the extension');

$stage->done;
