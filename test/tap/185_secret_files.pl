# The files in crmsync.secret_directory: an administrator who is no superuser may have them sent where
# crmsync.allowed_hosts says, and what belongs to another target to no other host.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('secret_files', conf => "crmsync.allowed_hosts = '127.0.0.1, mail.example.com, .dc.example.com:636, proxy.example.com, localhost:389'");
my $url = $stage->exchange->url;
my $mail = 'https://mail.example.com/EWS/Exchange.asmx';
$stage->sql(<<"SQL");
CREATE ROLE amy LOGIN;
SELECT crmsync.grant_role('amy', 'admin');
SELECT crmsync.create_target('mail', 'ews', '$mail', 'basic', 'service', 'file:mail');
SELECT crmsync.create_target('client', 'ldap', 'ldaps://one.dc.example.com ldaps://two.dc.example.com', 'external',
    options => '{"cert_file": "client.pem", "key_file": "client.key"}');
SQL

sub amy { my ($call) = @_; return $stage->error("SET ROLE amy; SELECT crmsync.$call") }

sub refused
{
	my ($call, $reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $said = amy($call);
	like($said, qr/42501: $reason/, $name);
	like($said, qr/HINT:/, '... with a hint');
	return;
}

sub allowed
{
	my ($call, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(amy($call), 'no error', $name);
}

# ---- a file that no other target names
allowed("create_target('mine', 'ews', '$url', 'basic', 'service\@example.test', 'file:exchange')", 'a file goes to an allowed host');
is($stage->sql("SET ROLE amy; SELECT count(*) FROM crmsync.check_target('mine', 'user1\@example.test') WHERE NOT ok"), '0', 'and is what it was');
refused("create_target('other', 'ews', 'https://attacker.example.com', 'basic', 'service', 'file:fresh')", 'targets must not point', 'but to no other host');
refused("create_target('other', 'ews', '$mail', 'basic', 'service', 'known', '{\"proxy\": \"http://attacker.example.com:3128\"}')", 'targets must not point', 'nor a proxy');
refused("create_target('other', 'ews', '$mail', 'oauth2', NULL, 'known', '{\"client_id\": \"1\", \"tenant\": \"x\"}')", 'targets must not point', 'or token server');
refused("create_target('other', 'ews', '$mail', 'basic', 'service', 'file:fresh', '{\"tls_verify\": false}')", 'permission denied to use the secret file "fresh" with', 'nor to whoever answers there');
refused("create_target('other', 'ews', 'http://mail.example.com', 'basic', 'service', 'file:fresh', '{\"allow_plaintext\": true}')", 'permission denied to use the secret file "fresh" with', 'nor in the clear');
refused("create_target('other', 'ldap', 'ldapi://%2Ftmp%2Fsocket', 'simple', 'cn=x', 'file:fresh')", 'targets must not point', 'nor to a socket');
refused("alter_target('mine', options => '{\"tls_verify\": false}', secret => 'file:exchange')", 'permission denied to use the secret file "exchange" with', 'not later either');
refused("alter_target('mail', options => '{\"tls_verify\": false}')", 'changing where or how', 'with or without its name');

# ---- a file of another target
my $of_mail = 'the secret file "mail" belongs to target "mail"';
refused("create_target('other', 'ews', '$url', 'basic', 'service', 'file:mail')", $of_mail, 'a file of another target does not go to another host');
refused("create_target('other', 'ldap', 'ldaps://x.dc.example.com', 'external', options => '{\"cert_file\": \"x\", \"key_file\": \"mail\"}')", $of_mail, 'by whichever parameter');
refused("create_target('other', 'ldap', 'ldaps://one.dc.example.com ldaps://x.dc.example.com', 'simple', 'cn=x', 'file:client.key')",
	'the secret file "client.key" belongs to target "client"', 'not even to one of several');
refused("create_target('other', 'ews', 'https://MAIL.example.com:8443/EWS', 'oauth2', NULL, 'file:mail', '{\"client_id\": \"1\", \"token_url\": \"https://127.0.0.1/token\"}')", $of_mail, 'nor for a token');
refused("create_target('other', 'ews', '$mail', 'basic', 'service', 'file:mail', '{\"proxy\": \"http://proxy.example.com:3128\"}')", $of_mail, 'nor through a proxy');
allowed("create_target('second', 'ews', 'https://MAIL.example.com./EWS/second', 'ntlm', 'other', 'file:mail')", 'but it does to the same host');
allowed("create_target('third', 'ldap', 'ldaps://two.dc.example.com', 'external', options => '{\"cert_file\": \"client.pem\", \"key_file\": \"file:client.key\", \"ca_file\": \"ca.pem\"}')", 'or to one of the same hosts');
refused("alter_target('second', url => '$url', secret => 'file:mail')", $of_mail, 'a target cannot take it along to another host');
refused("alter_target('third', url => 'ldaps://three.dc.example.com')", 'the secret file "client.key" belongs', 'with or without naming it');
refused("alter_target('mine', secret => 'file:mail')", $of_mail, 'nor get it later');
allowed("drop_target('second')", 'when no other target has it');
allowed("alter_target('mail', url => '$url', secret => 'file:mail')", 'it goes to any allowed host');
allowed("alter_target('mail', url => 'https://mail.example.com/other', secret => 'known')", 'a secret that is given was known');

# ---- a superuser decides for himself
$stage->sql("SELECT crmsync.alter_target('mail', url => '$mail', secret => 'file:mail')");
is($stage->error("SELECT crmsync.create_target('other', 'ews', '$url', 'basic', 'service', 'file:mail')"), 'no error', 'a superuser may share a file');
refused("alter_target('other', auth => 'ntlm')", $of_mail, 'which nobody else can use in another way');
allowed("alter_target('other', options => '{\"timeout\": 7}')", 'but otherwise change');

# ---- without allowed_hosts, or with one that names nothing
for my $hosts ('', ' , ')
{
	$stage->sql("ALTER SYSTEM SET crmsync.allowed_hosts = '$hosts'; SELECT pg_reload_conf()");
	$stage->until_true(sub { $stage->sql('SHOW crmsync.allowed_hosts') eq $hosts }, "allowed_hosts = '$hosts'");
	refused("alter_target('mine', url => '$url/other', secret => 'file:exchange')", 'permission denied to use the secret file "exchange"\n', 'a file goes nowhere else');
}
allowed("alter_target('mine', options => '{\"timeout\": 7}')", 'what is there stays as it is');
is($stage->sql("SET ROLE amy; SELECT count(*) FROM crmsync.check_target('mine', 'user1\@example.test') WHERE NOT ok"), '0', 'and works');

$stage->done;
