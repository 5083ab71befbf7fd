# How crmsync logs on: certificates that are right and wrong, OAuth2 with tokens that expire or are
# revoked, and impersonation.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $keys = PostgreSQL::Test::Utils::tempdir();

# An authority NAME, and a certificate of it for the given names.
sub certify
{
	my ($name, $names, @dates) = @_;
	my $quiet = '2>/dev/null';
	system("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=$name authority' -keyout $keys/$name-ca.key -out $keys/$name-ca.pem $quiet") == 0 or die 'openssl';
	system("openssl req -newkey rsa:2048 -nodes -subj '/CN=$name' -keyout $keys/$name.key -out $keys/$name.csr $quiet") == 0 or die 'openssl';
	append_to_file("$keys/$name.ext", "subjectAltName = $names\n");
	system("openssl x509 -req -in $keys/$name.csr -CA $keys/$name-ca.pem -CAkey $keys/$name-ca.key -CAcreateserial -days 30 -extfile $keys/$name.ext -out $keys/$name.pem $quiet") == 0 or die 'openssl';
	return;
}
certify('right', 'IP:127.0.0.1');
certify('elsewhere', 'DNS:mail.example.com');

my $stage = CrmSync::EndToEnd->new('logging_on', exchange => [ '--mailboxes', 3, '--cert', "$keys/right.pem", '--key', "$keys/right.key", '--token-seconds', 2 ]);
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
for my $name ('right', 'elsewhere')
{
	$stage->secret("$name-ca.pem", slurp_file("$keys/$name-ca.pem"));
}
my $client_secret = $stage->secret('client', 'client-secret');
$stage->make_tables;
$stage->make_target;
$stage->make_link;
$stage->add_people(1, 3, $one);

sub alter
{
	my ($settings) = @_;
	$stage->sql("SELECT crmsync.alter_target('exchange', $settings); SELECT crmsync.resume_target('exchange')");
	return;
}

sub failing_steps
{
	return $stage->sql("SELECT string_agg(step || ': ' || detail || ' HINT: ' || coalesce(hint, 'none'), ' | ') FROM crmsync.check_target('exchange', '$one') WHERE NOT ok");
}

sub refuses_certificate
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->sql("SELECT crmsync.sync('people')");
	$stage->until_true(sub { $stage->target('code') eq 'TLS' }, "$name: the target is not trusted");
	like(failing_steps(), qr/^tls: .*HINT: (?!none)/s, '... check_target says why, with a hint');
	is(scalar($exchange->bodies), 0, '... and nothing was sent');
	return;
}

# ---- certificates
refuses_certificate('a certificate of an unknown authority');
alter("secret => 'file:exchange', options => '{\"ca_file\": \"elsewhere-ca.pem\"}'");
refuses_certificate('the wrong authority');
like($stage->error("SELECT crmsync.alter_target('exchange', options => '{\"ca_file\": \"right-ca.pem\"}')"), qr/secret/, 'another authority asks for the secret again');
alter("secret => 'file:exchange', options => '{\"ca_file\": \"right-ca.pem\"}'");
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'the right authority');
is($exchange->show($one), '1:First1 2:First2 3:First3', 'and all that waited arrives');
is(failing_steps(), '', 'check_target has nothing to say');
is($stage->sql("SELECT count(*) FROM crmsync.check_target('exchange', '$one', write => true) WHERE NOT ok"), '0', 'and can write and read back every property');
is($stage->sql("SELECT detail FROM crmsync.check_target('exchange', '$one', write => true) WHERE step = 'write photo'"), 'written and read back', 'a photo, too');
for my $operation (qw(CreateAttachment GetAttachment))
{
	$exchange->inject('item', operation => $operation, code => 'ErrorCannotCreateAttachment', match => '', count => 0);
	is($stage->sql("SELECT string_agg(step || ': ' || detail, ', ') FROM crmsync.check_target('exchange', '$one', write => true) WHERE NOT ok"), 'write photo: ErrorCannotCreateAttachment: ErrorCannotCreateAttachment on command.', "and says what is wrong with it: $operation");
	$exchange->calm;
}
is(scalar(grep { $_->{name} =~ /check/ } @{ $exchange->get("mailbox?address=$one")->{folders} }), 0, 'it leaves nothing behind');

# ---- OAuth2
my $token = ($exchange->url =~ s{/EWS/.*}{/tenant/oauth2/v2.0/token}r);
like($stage->error("SELECT crmsync.alter_target('exchange', auth => 'oauth2')"), qr/client_id|tenant|token_url/, 'oauth2 needs an application');
alter("auth => 'oauth2', secret => '$client_secret', options => '{\"client_id\": \"client\", \"token_url\": \"$token\"}', reset => '{username}'");
$stage->change("UPDATE crm.person SET first_name = 'Token'");
is($exchange->show($one), '1:Token 2:Token 3:Token', 'client credentials');
sleep 2.1;
$stage->change("UPDATE crm.person SET first_name = 'Again'");
is($exchange->show($one), '1:Again 2:Again 3:Again', 'a token that has expired is renewed');
is($stage->target('code IS NULL'), 't', 'without a word');
$exchange->post('server', token_seconds => 3600);
$stage->change("UPDATE crm.person SET first_name = 'Long'");
$exchange->post('server', revoke_tokens => JSON::XS::true);
$stage->sql("UPDATE crm.person SET first_name = 'Revoked'");
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'a token that was revoked', 30);
is($exchange->show($one), '1:Revoked 2:Revoked 3:Revoked', 'is renewed, too');
$exchange->inject('http', endpoint => 'token', status => 503);
$exchange->post('server', revoke_tokens => JSON::XS::true);
$stage->sql("UPDATE crm.person SET first_name = 'Later'");
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'a token server in trouble', 30);
is($exchange->show($one), '1:Later 2:Later 3:Later', 'costs time only');
$exchange->forget_journal;
alter("secret => 'file:exchange'");
$stage->sql("UPDATE crm.person SET first_name = 'Wrong'");
$stage->until_true(sub { $stage->target('code') eq 'CREDENTIALS' }, 'a wrong client secret');
like($stage->target('message'), qr/HTTP status 401.*: invalid_client: Invalid client/, 'is shown, with what the token server said');
is(join(', ', map { "$_->{operation} $_->{status}" } $exchange->journal), 'token 401', 'which was asked once');
alter("secret => '$client_secret'");
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'the right one');
is($exchange->show($one), '1:Wrong 2:Wrong 3:Wrong', 'and all that waited arrives');
unlike(slurp_file($stage->node->logfile), qr/client-secret|eyJ/, 'neither secret nor token is in the log');

# ---- impersonation
my @bodies = $exchange->bodies;
is(scalar(grep { !m{<t:ExchangeImpersonation><t:ConnectingSID><t:(?:PrimarySmtpAddress|SmtpAddress)>\Q$one\E<} } grep { /Envelope/ } @bodies), 0, 'every request acts as the mailbox');
my @requests = grep { $_->{operation} ne '-' && $_->{operation} !~ /token/i } $exchange->whole_journal;
is(scalar(grep { $_->{mailbox} ne $one } @requests), 0, 'as the server sees it');

$stage->done;
