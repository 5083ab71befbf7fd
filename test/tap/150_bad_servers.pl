# Servers that answer badly, late or not at all: every change arrives in the end, once, and a target in
# trouble delays only itself.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('servers', exchange => [ '--mailboxes', 6 ]);
my $exchange = $stage->exchange;
my @mailboxes = map { "user$_\@example.test" } 1 .. 4;
my $one = $mailboxes[0];
my $apart = 'user6@example.test';
$stage->make_crm(options => '{"timeout": 2}');

# A second target, on the same server under another name, that must never be delayed.
(my $other = $exchange->url) =~ s/127\.0\.0\.1/localhost/;
$stage->make_target(name => 'other', url => $other);
$stage->sql(<<"SQL");
SET client_min_messages = error;
CREATE TABLE crm.apart (id integer PRIMARY KEY, name text);
CREATE VIEW crm.apart_audience AS SELECT id AS record, '$apart' AS mailbox FROM crm.apart;
ALTER TABLE crm.apart OWNER TO crm_owner; ALTER VIEW crm.apart_audience OWNER TO crm_owner;
SELECT crmsync.create_link('apart', 'other', 'contact', 'crm.apart', audience => 'crm.apart_audience');
SELECT crmsync.map('apart', 'name', 'given_name');
SELECT crmsync.enable_link('apart');
INSERT INTO crm.apart VALUES (1, 'zero');
SQL
$stage->add_people(1, 50, @mailboxes);
$stage->settles('four mailboxes');
$stage->settles('and one apart', 'apart');

sub worker_memory
{
	my $pid = $stage->worker_pid;
	my ($kilobytes) = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /RssAnon:\s+(\d+)/;
	return $kilobytes;
}

# A fault hits while all records change: they arrive all the same. Returns the seconds that it took.
my $round = 0;
my $worker = $stage->worker_pid;
sub survives
{
	my ($name, $action, %settings) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $value = 'Round' . ++$round;
	my $left = delete $settings{leaves} // 'none';
	$stage->sql("SELECT crmsync.resume_target('exchange')");
	$exchange->inject($action, mailbox => $_, %settings) for delete $settings{everywhere} ? @mailboxes : $one;
	my $started = time;
	$stage->sql("UPDATE crm.person SET last_name = '$value'");
	my ($pending) = $stage->sync('people', '30 s');
	my $took = time - $started;
	my %arrived = map { $_ => scalar grep { ($_->{'contacts:Surname'} // '') eq $value } values %{ $exchange->records($_) } } @mailboxes;
	is(join(' ', $pending, map { $arrived{$_} } @mailboxes), '0 50 50 50 50', sprintf('%s: all arrive, once (%.1f s)', $name, $took))
	  or diag($stage->sql('SELECT * FROM crmsync.alerts; SELECT code, message FROM crmsync.failures LIMIT 3; SELECT code, message, next_attempt FROM crmsync.targets'));
	is($exchange->hits >= 1 ? 'hit' : 'missed', 'hit', '... after the fault has hit');
	is($stage->failures, $left, "... and leaves in failures: $left") or diag($stage->sql('SELECT record, code, message FROM crmsync.failures LIMIT 3'));
	is($stage->worker_pid, $worker, '... by the same worker');
	$exchange->calm;
	return $took;
}

my %update = (operation => 'UpdateItem');
cmp_ok(survives('503 with Retry-After', 'http', %update, status => 503, headers => { 'Retry-After' => '2' }), '>=', 2, '... not before the server wants them');
cmp_ok(survives('ErrorServerBusy with a back-off', 'busy', %update, back_off_ms => 2000), '>=', 2, '... not before the server wants them');
survives('ErrorServerBusy in every response message', 'busy_message', %update, back_off_ms => 500);
survives('ErrorServerBusy inside ErrorInternalServerError', 'inner', %update, code => 'ErrorServerBusy', back_off_ms => 500);
survives('ErrorTimeoutExpired', 'response', %update, code => 'ErrorTimeoutExpired', message => 'too much');
survives('a store that is not available', 'response', %update, code => 'ErrorMailboxStoreUnavailable', message => 'moment');
survives('half a body', 'half', %update);
survives('an HTML page', 'html', %update);
survives('an error page', 'error_page', %update);
survives('XML that is none', 'invalid_xml', %update);
# An answer that was cut short says nothing of one item: that one is tried again, and says so until then.
survives('characters that XML does not have', 'illegal_characters', %update, raw => JSON::XS::true, leaves => '1 NO-CODE');
$stage->sql("SELECT crmsync.retry('people')");
$stage->settles('... it is tried again');
survives('an empty answer', 'empty', %update);
survives('elements nested without end', 'nested', %update, depth => 100000);
survives('a connection that is closed', 'close', %update);
survives('a connection that is reset', 'reset', %update);
my $attacker = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die;
survives('a redirect to somebody else', 'redirect', %update, location => 'http://127.0.0.1:' . $attacker->sockport . '/EWS/Exchange.asmx');
ok(!IO::Select->new($attacker)->can_read(0), '... whom nobody connects to');
survives('a 401 now and then', 'http', %update, status => 401);
survives('another 500', 'http', %update, status => 500);
cmp_ok(survives('silence', 'silence', %update), '<', 20, '... as the option timeout says');
survives('an answer that drips', 'drip', %update, bytes_per_second => 20);
survives('a fault in each mailbox', 'http', %update, everywhere => 1, status => 503);
my $before = worker_memory();
survives('2 GiB', 'huge', %update, bytes => 2**31);
cmp_ok(worker_memory() - $before, '<', 200 * 1024, '... without keeping them');

# ---- creates whose answer is lost
my $next = 1000;
for my $action ([ 'lost' ], [ 'lost', reset => JSON::XS::true ], [ 'half' ], [ 'invalid_xml' ], [ 'html', carry_out => JSON::XS::true ], [ 'silence', carry_out => JSON::XS::true ])
{
	my ($name, %settings) = @$action;
	my $last = $next + 29;
	$exchange->inject($name, operation => 'CreateItem', mailbox => $one, %settings);
	$stage->add_people($next, $last, $one, $mailboxes[1]);
	$stage->settles("creates whose answer is lost ($name)", 'people', '30 s');
	my $records = $exchange->records($one);
	is(scalar(grep { $_ >= $next && $_ <= $last } keys %$records), 30, '... are there, once');
	$exchange->calm;
	$next += 100;
}
my $lone = grep { !defined CrmSync::StandIn::key_of($_) } $exchange->items($one);
is($lone, 0, 'no item is without a stamp');

# ---- a target that is down costs only itself
$exchange->inject('silence', mailbox => $_, count => 0) for @mailboxes;
$stage->sql("UPDATE crm.person SET last_name = 'Down'");
$stage->sql("SELECT crmsync.sync('people')");
sleep 0.5;
my $started = time;
$stage->change("UPDATE crm.apart SET name = 'quick'", 'apart');
my $took = time - $started;
is($exchange->show($apart), '1:quick', sprintf('while a server says nothing, another gets its changes (%.1f s)', $took));
cmp_ok($took, '<', 2, 'at once');
sleep 0.5;    # it may still be recording that
is( $stage->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL)"),
	'0', 'the worker holds no transaction and no snapshot while it waits');
$exchange->calm;
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'well again, the backlog drains', 40);
is(scalar(grep { $_->{'contacts:Surname'} ne 'Down' } values %{ $exchange->records($mailboxes[3]) }), 0, 'whole');

# ---- a server that fails at everything is in trouble, and no record is
for my $action ([ 'response', code => 'ErrorInternalServerError', message => 'no idea' ], [ 'http', status => 400 ])
{
	my ($name, %settings) = @$action;
	$exchange->inject($name, mailbox => $_, count => 0, %settings) for @mailboxes;
	$stage->sql("UPDATE crm.person SET last_name = 'Out of $name'");
	$stage->until_true(sub { $stage->target('code') =~ /^(?:ErrorInternalServerError|HTTP-400)$/ }, "whatever it is asked, it is no use ($name): the target says so", 30);
	is($stage->sql("SELECT count(*) FROM crmsync.failures WHERE code <> 'POSTPONED'"), '0', '... and no record is blamed') or diag($stage->sql('SELECT * FROM crmsync.failures LIMIT 3'));
	$exchange->calm;
	$stage->sql("SELECT crmsync.resume_target('exchange'); SELECT crmsync.retry('people')");
	$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, '... and it is all sent in the end', 30);
	is(scalar(grep { $_->{'contacts:Surname'} ne "Out of $name" } values %{ $exchange->records($one) }), 0, '... whole');
}

# ---- the server is away for a while
my $downtime = $stage->sql("UPDATE crm.person SET last_name = 'Before' WHERE id = 1 RETURNING 1");
$stage->sync;
$exchange->stop;
$started = time;
$stage->sql("UPDATE crm.person SET last_name = 'Away' WHERE id <= 50");
cmp_ok(time - $started, '<', 2, 'a server that is away costs the CRM nothing');
$stage->until_true(sub { $stage->target('code') ne '' }, 'the target says so');
is($stage->status('state'), 'waiting', 'the link waits');

$stage->{node}->restart;
$stage->until_true(sub { $stage->status('pending') eq '50' }, 'what waits survives a restart of the database, all of it') or diag($stage->status('pending'));

$exchange->start;
$stage->sql("SELECT crmsync.resume_target('exchange')");
# It has forgotten everything meanwhile, as after a loss of the mailbox: what is sent is created anew.
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'back again', 30);
is(scalar(grep { ($_->{'contacts:Surname'} // '') eq 'Away' } values %{ $exchange->records($one) }), 50, 'and what changed meanwhile is there');

$stage->done;
