# Databases that are not in UTF-8: what can be said in both encodings arrives as it is, in either direction,
# and what cannot concerns one record.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use Cwd qw(abs_path);
use File::Basename qw(dirname);

use CrmSync::EndToEnd;
use Test::More;

# This file and psql speak UTF-8; what the stand-in shows are characters, of which bytes are made.
$ENV{PGCLIENTENCODING} = 'UTF8';
$ENV{LDAPNOINIT} = 1;
sub bytes { my ($text) = @_; utf8::encode($text); return $text }

my $stage = CrmSync::EndToEnd->new('encoding', init => { extra => [ '--encoding', 'LATIN1', '--locale', 'C' ] });
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
is($stage->sql('SHOW server_encoding'), 'LATIN1', 'a database in LATIN1');

# ---- to Exchange: names, keys, values and expressions
sub make_link
{
	my ($database, $mailbox) = @_;
	my $url = $exchange->url;
	$node->safe_psql($database, <<"SQL");
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS crmsync;
CREATE SCHEMA crm;
CREATE TABLE crm."käufer" ("schlüssel" text PRIMARY KEY, "vorname" text, "straße" text, "größe" text, zahl text, liste text);
CREATE VIEW crm."für" AS SELECT "schlüssel" AS record, '$mailbox' AS mailbox FROM crm."käufer";
SELECT crmsync.create_target('exchange', 'ews', '$url', auth => 'basic', username => 'service\@example.test', secret => 'file:exchange');
SELECT crmsync.create_link('buyers', 'exchange', 'contact', 'crm."käufer"', audience => 'crm."für"');
SELECT crmsync.map('buyers', 'vorname', 'given_name');
SELECT crmsync.map('buyers', '(r."straße" || '' ß'')', 'business_street');
SELECT crmsync.map('buyers', 'größe', 'company', value_map => '{"groß": "Größe L", "klein": "Größe S"}');
SELECT crmsync.map('buyers', '((r.zahl)::integer)', 'custom_1');
SELECT crmsync.map('buyers', 'liste', 'categories');
SELECT crmsync.watch('buyers', 'crm."käufer"', 'schlüssel');
SELECT crmsync.enable_link('buyers');
SQL
	return;
}
make_link('postgres', $one);
$stage->sql(q{INSERT INTO crm."käufer" VALUES ('ä1', 'Jürgen', 'Gasse', 'groß', '1', '["Ä", "B"]'), ('ö2', 'Søren', NULL, 'klein', NULL, NULL), ('3', 'Plain', NULL, NULL, NULL, NULL)});
$stage->settles('umlauts', 'buyers');
sub of { my ($key, $property, $mailbox) = @_; utf8::decode($key); return bytes($exchange->records($mailbox // $one)->{$key}{$property} // 'none') }
is(of('ä1', 'contacts:GivenName'), 'Jürgen', 'a name arrives');
is(of('ä1', 'contacts:PhysicalAddress:Street/Business'), 'Gasse ß', 'what an expression makes');
is(of('ä1', 'contacts:CompanyName'), 'Größe L', 'what a value map makes');
is(of('ö2', 'contacts:GivenName'), 'Søren', 'under a key of its own');
is($stage->sql(q{SELECT values->>'given_name' FROM crmsync.items WHERE record = 'ä1'}), 'Jürgen', 'the shadow is in the encoding of the database');

$exchange->forget_journal;
$stage->sql(q{SELECT crmsync.enable_link('buyers')});
$stage->settles('compared', 'buyers');
is(scalar($exchange->journal), 0, 'nothing differs');
$stage->sql(q{SELECT crmsync.pause_target('exchange'); UPDATE crm."käufer" SET vorname = 'Jörg' WHERE "schlüssel" = 'ä1'});
is($stage->sql(q{SELECT record, property, old_value, new_value FROM crmsync.plan('buyers')}), "ä1|given_name|Jürgen|Jörg\nä1|file_as||Jörg", 'plan()');
like($stage->sql(q{SELECT string_agg(detail, ' ') FROM crmsync.why('buyers', 'ä1', 'user1@example.test')}), qr/crm\."für" gives it to this mailbox/, 'why()');
$stage->sql(q{SELECT crmsync.resume_target('exchange')});
$stage->settles('changed', 'buyers');
is(of('ä1', 'contacts:GivenName'), 'Jörg', 'a change');
is($stage->sql(q{SELECT record, old->>'given_name', new->>'given_name' FROM crmsync.history WHERE action = 'update'}), 'ä1|Jürgen|Jörg', 'the history');
$stage->sql(q{DELETE FROM crm."käufer" WHERE "schlüssel" = 'ö2'});
$stage->settles('a delete', 'buyers');
is(bytes($exchange->show($one)), 'ä1:Jörg 3:Plain', 'is carried out');

# What fails says why in the same letters.
is(join(' ', do { $stage->sql(q{UPDATE crm."käufer" SET zahl = 'fünf', vorname = 'Jens' WHERE "schlüssel" = 'ä1'; UPDATE crm."käufer" SET vorname = 'Änne' WHERE "schlüssel" = '3'}); $stage->sync('buyers') }), '0 1', 'a query that fails for a value');
is($stage->sql('SELECT record, code, message FROM crmsync.failures'), 'ä1|22P02|invalid input syntax for type integer: "fünf"', 'the reason');
is(of('3', 'contacts:GivenName'), 'Änne', 'and the others go on');
is(join(' ', do { $stage->sql(q{UPDATE crm."käufer" SET zahl = NULL, "größe" = 'größer' WHERE "schlüssel" = 'ä1'}); $stage->sync('buyers') }), '0 1', 'a value that is in no map');
like($stage->sql('SELECT message FROM crmsync.failures'), qr/value "größer" for property "company"/, 'the reason');
is(join(' ', do { $stage->sql(q{UPDATE crm."käufer" SET "größe" = NULL, liste = '["\\u20ac"]' WHERE "schlüssel" = 'ä1'}); $stage->sync('buyers') }), '0 1', 'a character that only JSON can spell');
like($stage->sql('SELECT message FROM crmsync.failures'), qr/categories: the encoding LATIN1 of the database has no character U\+20AC/, 'the reason');
$stage->sql(q{UPDATE crm."käufer" SET liste = NULL WHERE "schlüssel" = 'ä1'});
$stage->settles('mended', 'buyers');
like($stage->error(q{SELECT crmsync.plan('Käfer')}), qr/link "Käfer" does not exist/, 'errors, too');

# ---- bytes that mean nothing
$node->safe_psql('postgres', q{CREATE DATABASE win ENCODING 'WIN1252' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'});
make_link('win', $two);
sub win { return $node->safe_psql('win', $_[0]) }
sub win_left { return win(q{SELECT pending || ' ' || failed FROM crmsync.sync('buyers', wait => '20 s')}) }
win(q{INSERT INTO crm."käufer" ("schlüssel", vorname) VALUES ('€1', 'Œuvre'), ('2', 'a' || chr(129)), ('3' || chr(129), 'Key')});
is(win_left(), '0 1', 'WIN1252: one value has a byte that is no character');
is(win('SELECT record, message FROM crmsync.failures'), '2|given_name: the byte 0x81 is no character in the encoding WIN1252', 'and says so');
is(of('€1', 'contacts:GivenName', $two), 'Œuvre', 'the others arrive');
is(scalar(keys %{ $exchange->records($two) }), 2, 'a key with such a byte, too');
win(q{UPDATE crm."käufer" SET vorname = 'Clé' WHERE vorname = 'Key'; DELETE FROM crm."käufer" WHERE "schlüssel" = '€1'});
is(win_left(), '0 1', 'changed and deleted');
is(bytes(join ' ', map { $_->{'contacts:GivenName'} } values %{ $exchange->records($two) }), 'Clé', 'by its key');

# ---- no encoding at all: what is valid is taken for UTF-8
$node->safe_psql('postgres', q{CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'});
make_link('ascii', $three);
$node->safe_psql('ascii', q{INSERT INTO crm."käufer" ("schlüssel", vorname) VALUES ('ä', 'Łukasz 😀'), ('b', convert_from('\xe4', 'SQL_ASCII'))});
is($node->safe_psql('ascii', q{SELECT pending || ' ' || failed FROM crmsync.sync('buyers', wait => '20 s')}), '0 1', 'SQL_ASCII: one value is no UTF-8');
is(of('ä', 'contacts:GivenName', $three), 'Łukasz 😀', 'the other arrives');

# ---- from a directory
my $slapd = abs_path(dirname(__FILE__) . '/../directory/slapd');
my $home = abs_path(PostgreSQL::Test::Utils::tempdir());
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $has_slapd = system($slapd, 'start', "$home/slapd", '--port', $port, '--people', 3, '--groups', 1) == 0;
END { my $status = $?; system($slapd, 'stop', "$home/slapd") if $has_slapd; $? = $status }

sub modify
{
	my ($ldif) = @_;
	my ($out, $err);
	IPC::Run::run([ 'ldapmodify', '-x', '-H', "ldap://127.0.0.1:$port", '-D', 'cn=admin,dc=example,dc=com', '-w', 'secret' ], '<', \$ldif, '>', \$out, '2>', \$err) or die $err;
	return;
}

sub person
{
	my ($uid, $name, $title) = @_;
	return "dn: uid=$uid,ou=people,dc=example,dc=com\nchangetype: add\nobjectClass: inetOrgPerson\nuid: $uid\ncn: $name\nsn: $name\ntitle: $title\n\n";
}

SKIP:
{
	skip 'slapd cannot be started here', 12 if !$has_slapd;
	my $people = 'ou=people,dc=example,dc=com';
	$stage->sql(<<"SQL");
SET client_min_messages = error;
CREATE TABLE crm.login ("kürzel" text PRIMARY KEY, name text, titel text);
CREATE TABLE crm.mitglied ("kürzel" text, gruppe text);
SELECT crmsync.create_target('ldap', 'ldap', 'ldap://127.0.0.1:$port', username => 'cn=admin,dc=example,dc=com', secret => 'secret');
SELECT crmsync.create_link('leute', 'ldap', 'user', 'crm.login', inbound_interval => '1 day', options => '{"base": "$people", "memberships": {"table": "crm.mitglied", "user": "kürzel", "group": "gruppe"}}');
SELECT crmsync.map('leute', 'kürzel', 'uid');
SELECT crmsync.map('leute', 'name', 'sn');
SELECT crmsync.map('leute', 'titel', 'title', value_map => '{"Überall": "Chefin", "Consultant": "Consultant"}', fallback => '''weiß nicht''');
SELECT crmsync.map_group('leute', 'cn=verkäufer,$people', 'für alle');
SQL
	my $long = 'long' . 'x' x 250;
	modify(person('müller', 'Müller', 'Chefin') . person('smile', 'Smile 😀', 'Chefin') . person('lukasz', 'Łukasz', 'Chefin')
		  . person('brief', 'Long', 'Chefin') =~ s/^uid: brief$/uid: brief\nuid: $long/mr =~ s/^dn: uid=brief/dn: cn=Long/r =~ s/^uid: brief\n//mr
		  . "dn: cn=verkäufer,$people\nchangetype: add\nobjectClass: groupOfNames\ncn: verkäufer\nmember: uid=müller,$people\nmember: uid=smile,$people\n");
	my $import = sub { return $stage->sql("SELECT failed FROM crmsync.sync('leute', wait => '60 s')") };
	$stage->sql(q{SELECT crmsync.enable_link('leute')});
	$import->();
	is($stage->sql('SELECT "kürzel", name, titel FROM crm.login WHERE name ~ \'^M\''), 'müller|Müller|Überall', 'Müller arrives as Müller');
	is($stage->sql('SELECT count(*) FROM crm.login'), '4', 'and all others that can');
	is($stage->sql(q{SELECT record, message FROM crmsync.failures WHERE link = 'leute' AND record ~ 'smile'}), "uid=smile,$people|sn: the encoding LATIN1 of the database has no character U+1F600", 'an emoji concerns its own entry');
	like($stage->sql(q{SELECT message FROM crmsync.failures WHERE link = 'leute' AND record ~ 'lukasz'}), qr/no character U\+0141/, 'and so does a letter of another alphabet');
	like($stage->sql(q{SELECT message FROM crmsync.failures WHERE link = 'leute' AND record ~ 'Long'}), qr/the key would have 254 bytes/, 'and a key that is too long');
	is($stage->sql('SELECT * FROM crm.mitglied'), 'müller|für alle', 'memberships by names with umlauts');
	my $before = $stage->sql('SELECT md5(string_agg(l::text || l.xmin, \',\' ORDER BY "kürzel")) FROM crm.login l');
	is($import->(), '3', 'a second import');
	is($stage->sql('SELECT md5(string_agg(l::text || l.xmin, \',\' ORDER BY "kürzel")) FROM crm.login l'), $before, 'writes no row');
	modify("dn: uid=smile,$people\nchangetype: modify\nreplace: sn\nsn: Lächeln\n");
	is($import->(), '2', 'mended at the source');
	is($stage->sql(q{SELECT name FROM crm.login WHERE "kürzel" = 'smile'}), 'Lächeln', 'it arrives');
	is($stage->sql(q{SELECT string_agg("kürzel", ' ' ORDER BY "kürzel" COLLATE "C") FROM crm.mitglied}), 'müller smile', 'with its membership');
	is($stage->sql(q{SELECT count(*) FROM crmsync.check_target('ldap') WHERE NOT ok}), '0', 'check_target()');
}

$stage->done;
