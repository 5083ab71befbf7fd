# What is wrong with a target: its URL, port, name, password, certificate or a mailbox. Each is refused
# at once or shown with a reason, and nothing is lost until it is right. And nothing shows a secret.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;

my $password = 'pa55-w0rd-of-nobody-else';
my $stage = CrmSync::EndToEnd->new('targets', conf => "log_statement = none\nlog_min_messages = debug1",
	exchange => [ '--mailboxes', 3, '--password', $password ]);
my $exchange = $stage->exchange;
my $node = $stage->node;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
my $secret = $stage->secret('password', $password);
my $wrong = $stage->secret('wrong', 'wr0ng-but-secret');
$stage->make_tables;

# ---- refused when they are defined
sub refused
{
	my ($arguments, $reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $said = $stage->error("SELECT crmsync.create_target('bad', $arguments)");
	like($said, $reason, $name);
	like($said, qr/HINT:/, '... with a hint');
	return;
}
refused("'exchange', 'https://mail.example.com/EWS/Exchange.asmx', 'basic', 'u', 'file:password'", qr/kind/, 'an unknown kind');
refused("'ews', 'mail.example.com', 'basic', 'u', 'file:password'", qr/URL|url/, 'a URL without scheme');
refused("'ews', 'ftp://mail.example.com/EWS', 'basic', 'u', 'file:password'", qr/ftp|scheme|https/, 'a wrong scheme');
refused("'ews', 'http://mail.example.com/EWS/Exchange.asmx', 'basic', 'u', 'file:password'", qr/http/, 'plain http to another host');
refused("'ews', 'https://mail.example.com:99999/EWS', 'basic', 'u', 'file:password'", qr/port|URL|url/, 'a port that cannot be');
refused("'ews', 'https://mail.example.com/EWS', 'password', 'u', 'file:password'", qr/auth/, 'an unknown way to log on');
refused("'ews', 'https://mail.example.com/EWS', 'basic', 'u', 'file:../password'", qr/secret|file/, 'a secret outside the directory');
refused("'ews', 'https://mail.example.com/EWS', 'basic', 'u', 'file:password', '{\"time_out\": 5}'", qr/unknown option "time_out"/, 'an unknown option');

# ---- wrong, but only to be found by trying
my $free = do { my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1'); $s->sockport };
$stage->make_target(secret => $secret, url => "http://127.0.0.1:$free/EWS/Exchange.asmx");
$stage->make_link;
$stage->add_people(1, 3, $one);

# The steps of check_target that fail, and what they say.
sub failing_steps
{
	my ($mailbox) = @_;
	return $stage->sql("SELECT string_agg(step || ': ' || detail || ' HINT: ' || coalesce(hint, 'none'), ' | ') FROM crmsync.check_target('exchange', '$mailbox') WHERE NOT ok");
}

sub is_wrong
{
	my ($settings, $step, $code, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->sql("SELECT crmsync.alter_target('exchange', $settings)") if $settings;
	my $said = failing_steps($one);
	like($said, $step, "$name: check_target says so");
	unlike($said, qr/HINT: none/, '... with a hint');
	$stage->sql("SELECT crmsync.resume_target('exchange'); SELECT crmsync.sync('people')");
	$stage->until_true(sub { $stage->target('code') =~ $code }, '... and so does the target') or diag($stage->target('code || message'));
	$stage->until_true(sub { $stage->status('state') eq 'waiting' }, '... the link waits') or diag($stage->status('state'));
	isnt($stage->status('pending'), '0', '... and nothing is lost');
	return;
}

my $path = '/EWS/Exchange.asmx';
(my $address = $exchange->url) =~ s/\Q$path\E//;
is_wrong('', qr/^tcp.*connect/is, qr/^CONNECT/, 'a wrong port');
is_wrong("url => 'https://no-such-host.invalid$path', secret => '$secret'", qr/^dns/i, qr/^DNS/, 'a wrong name');
is_wrong("url => 'https://" . ($address =~ s{http://}{}r) . "$path', secret => '$secret'", qr/^tls/i, qr/^TLS/, 'https to a server without TLS');
is_wrong("url => '$address/wrong/path', secret => '$secret'", qr/404.*path/i, qr/HTTP-404/, 'a wrong path');
$exchange->forget_journal;
is_wrong("url => '$address$path', secret => '$wrong'", qr/^mailbox: HTTP-401/, qr/HTTP-401/, 'a wrong password');
$exchange->forget_journal;
$stage->sync('people', '1 s');
is(scalar($exchange->journal), 0, 'a wrong password is tried no more');
is($stage->target('next_attempt IS NULL'), 't', 'the target is stopped: no account is locked by trying');
is_wrong("secret => 'file:missing'", qr/^configuration:.*missing/, qr/^CONFIGURATION/, 'a secret file that is not there');
$stage->sql("SELECT crmsync.alter_target('exchange', secret => '$secret')");
$stage->until_true(sub { ($stage->sync)[0] == 0 }, 'the right password is enough');
is($exchange->show($one), '1:First1 2:First2 3:First3', 'and all that waited arrives');
is($stage->target('code IS NULL'), 't', 'the target is well');
# Some servers say 401 when they have too much to do.
$stage->{node}->restart;
$exchange->inject('http', operation => 'UpdateItem', status => 401, count => 1);
$stage->change("UPDATE crm.person SET last_name = 'Once' WHERE id = 1");
is($exchange->hits, 1, 'a password that has worked before a restart and is refused once is tried again by itself');
$exchange->calm;
$stage->sql("SELECT crmsync.alter_target('exchange', secret => '$wrong')");
$stage->sql("UPDATE crm.person SET last_name = 'Wrong' WHERE id = 1");
$stage->until_true(sub { $stage->target("code = 'HTTP-401' AND next_attempt IS NULL") eq 't' }, 'another one has to prove itself: it is tried once');
$stage->sql("SELECT crmsync.alter_target('exchange', secret => '$secret')");
$stage->settles('right again');
is(failing_steps($one), '', 'and check_target has nothing to say');

# ---- mailboxes
$exchange->inject('response', code => 'ErrorInvalidServerVersion', message => 'The request version is invalid.', count => 0);
like(failing_steps($one), qr/ErrorInvalidServerVersion: .*HINT: .*server_version/, 'a version of the protocol that its server does not know: check_target says what to do');
$exchange->calm;
like(failing_steps('nobody@example.test'), qr/ErrorNonExistentMailbox|mailbox/i, 'a mailbox that does not exist: check_target says so');
$stage->change("INSERT INTO crm.audience VALUES (1, 'nobody\@example.test'), (1, '$two')");
is($exchange->show($two), '1:First1', 'a mailbox that does not exist does not hold up the others');
is($stage->sql("SELECT state || ' ' || code FROM crmsync.mailboxes WHERE mailbox = 'nobody\@example.test'"), 'waiting ErrorNonExistentMailbox', 'it waits, with the reason');
like($stage->sql("SELECT hint FROM crmsync.alerts WHERE name = 'nobody\@example.test'"), qr/crmsync\.retry.*It is tried again by itself at /, 'and a hint');
is($stage->sql("SELECT next_attempt BETWEEN now() + interval '6 min' AND now() + interval '15 min' FROM crmsync.mailboxes WHERE mailbox = 'nobody\@example.test'"), 't', 'it is tried again slowly: servers say so in passing, too');
$stage->change("DELETE FROM crm.audience WHERE mailbox = 'nobody\@example.test'");
is($stage->sql("SELECT count(*) FROM crmsync.alerts WHERE name = 'nobody\@example.test'"), '0', 'and no alert when nothing belongs there any more');
$stage->change("INSERT INTO crm.audience VALUES (1, 'nobody\@example.test')");
is($stage->sql("SELECT count(*) FROM crmsync.alerts WHERE name = 'nobody\@example.test'"), '1', '... until something does');
$exchange->post('mailboxes', address => 'nobody@example.test');
$stage->sql("SELECT crmsync.retry('people', mailbox => 'nobody\@example.test')");
$stage->settles('made and tried again');
is($exchange->show('nobody@example.test'), '1:First1', 'it gets what it missed');
$exchange->post('mailbox', address => $two, deny_impersonation => JSON::XS::true);
$stage->change("UPDATE crm.person SET first_name = 'Ann' WHERE id = 1");
is($exchange->show($one), '1:Ann 2:First2 3:First3', 'impersonation is denied for one mailbox: the others go on');
is($stage->sql("SELECT state || ' ' || code FROM crmsync.mailboxes WHERE mailbox = '$two'"), 'waiting ErrorImpersonateUserDenied', 'that one waits');
$exchange->post('mailbox', address => $two, deny_impersonation => JSON::XS::false);
$stage->sql("SELECT crmsync.retry('people')");
$stage->settles('allowed and tried again');
is($exchange->show($two), '1:Ann', 'it gets what it missed');

# ---- a mailbox that is full
$exchange->post('mailbox', address => $two, quota => 1);
$stage->change("INSERT INTO crm.audience VALUES (2, '$two'); UPDATE crm.person SET first_name = 'Bea' WHERE id = 1");
is($exchange->show($one), '1:Bea 2:First2 3:First3', 'a mailbox is full: the others go on');
is($stage->sql("SELECT state || ' ' || code || ' ' || (next_attempt BETWEEN now() + interval '6 min' AND now() + interval '15 min') FROM crmsync.mailboxes WHERE mailbox = '$two'"),
	'waiting ErrorQuotaExceeded true', 'it waits');
like($stage->sql("SELECT hint FROM crmsync.alerts WHERE name = '$two'"), qr/crmsync\.retry.*It is tried again by itself at /, 'with an alert at once: its user has to make room');
$exchange->post('mailbox', address => $two, quota => 1_000_000);
$stage->sql("SELECT crmsync.retry('people', mailbox => '$two')");
$stage->settles('there is room in it, and it is tried again');
is($exchange->show($two), '1:Bea 2:First2', 'it gets what it missed');

# ---- a check that is interrupted
my $check = "SELECT string_agg(step, ' ') FILTER (WHERE NOT ok), bool_or(step = 'leftover') FROM crmsync.check_target('exchange', ' \U$one', true)";
$exchange->inject('delay', operation => 'CreateItem', seconds => 15);
like($stage->error("SET statement_timeout = '6s'; $check"), qr/statement timeout/, 'a check that writes is cancelled');
is(scalar(grep { $_->{name} eq 'crmsync check' } @{ $exchange->get("mailbox?address=$one")->{folders} }), 1, 'and leaves its scratch folder');
is($stage->sql($check), '|t', 'the next one removes it');
is($stage->sql($check), '|f', 'and leaves none');
is(scalar(grep { $_->{name} eq 'crmsync check' } @{ $exchange->get("mailbox?address=$one")->{folders} }), 0, 'in the mailbox');

# ---- hosts that are not allowed
$stage->sql("ALTER SYSTEM SET crmsync.allowed_hosts = 'mail.example.com'; SELECT pg_reload_conf()");
$stage->until_true(sub { $stage->error("SELECT crmsync.create_target('other', 'ews', '$address$path', 'basic', 'u', '$secret')") =~ /allowed_hosts/ }, 'a host that is not allowed is refused');
refused("'ldap', 'ldapi://%2Ftmp%2Fsocket'", qr/"localhost"/, 'a socket is this machine, which is not allowed either');
$stage->sql("ALTER SYSTEM RESET crmsync.allowed_hosts; SELECT pg_reload_conf()");

# ---- secrets, also of a URL that leads somewhere else on the same server
$exchange->inject('redirect', operation => 'UpdateItem', location => '/EWS/elsewhere.asmx');
$stage->sql("UPDATE crm.person SET first_name = 'Led' WHERE id = 1");
$stage->until_true(sub { $stage->target('code') eq 'HTTP-302' }, 'the server leads elsewhere');
like($stage->sql("SELECT message FROM crmsync.target_state WHERE target = 'exchange'"), qr{redirects to /EWS/elsewhere\.asmx$}, 'as it says');
my $literal = 'l1teral-s3cret';
$stage->sql("SELECT crmsync.create_target('literal', 'ews', 'https://mail.example.com$path', 'basic', 'u', '$literal')");
my $views = '';
for my $view (split /\n/, $stage->sql("SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'crmsync'::regnamespace AND relkind = 'v'"))
{
	$views .= $stage->sql("SELECT * FROM $view");
}
my $all = join '|', map { quotemeta } $password, 'wr0ng-but-secret', $literal;
unlike($views, qr/$all/, 'no view shows a secret');
unlike(slurp_file($node->logfile), qr/$all/, 'nor the server log');
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $node->basedir . '/dump.sql' ], 'pg_dump');
unlike(slurp_file($node->basedir . '/dump.sql'), qr/$all/, 'nor a dump');
$stage->sql('CREATE ROLE backup LOGIN IN ROLE pg_read_all_data');
is($stage->sql('SET ROLE backup; SELECT count(*) FROM crmsync.target_secret'), '0', 'who may read all data sees no secret');
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-U', 'backup', '-f', $node->basedir . '/backup.sql' ], 'and can dump the database');
$stage->sql("CREATE ROLE reader LOGIN; SELECT crmsync.grant_role('reader', 'admin')");
like($stage->error('SET ROLE reader; SELECT * FROM crmsync.target_secret'), qr/permission denied/, 'an administrator of crmsync cannot read them');

$stage->done;
