# A database where '\' in a plain literal is an escape (standard_conforming_strings = off): crmsync installs and works
# as elsewhere, whatever its callers have set.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('backslashes', conf => 'standard_conforming_strings = off');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
is($stage->sql(q{SELECT length('a\\\\b')}), '3', 'a backslash is an escape here');

$stage->make_tables;
$stage->make_target;
$stage->make_link(before => <<'SQL');
SELECT crmsync.map('people', $$(regexp_replace(r.phone, '\D', '', 'g'))$$, 'home_phone');
SELECT crmsync.watch('people', 'crm.audience', 'record', $$SELECT regexp_replace($1, '\D', '')::integer$$);
SQL
$stage->add_people(1, 2, $one);
$stage->settles('people arrive');
is($exchange->show($one), '1:First1 2:First2', 'with their names');
is($exchange->records($one)->{2}{'contacts:PhoneNumber/HomePhone'}, '49302', 'an expression is read as the standard says');
$stage->change("UPDATE crm.person SET first_name = 'Ada' WHERE id = 1");
is($exchange->show($one), '1:Ada 2:First2', 'a change arrives');
$stage->sql("SELECT crmsync.pause_target('exchange'); UPDATE crm.person SET phone = '+49 40' WHERE id = 1");
is($stage->sql("SELECT property, new_value FROM crmsync.plan('people') ORDER BY 1"), "business_phone|+49 40\nhome_phone|4940", 'plan() reads it the same way');
is($stage->sql("SELECT bool_and(ok) FROM crmsync.why('people', '1', '$one') WHERE step IN ('record', 'audience', 'item')"), 't', 'why() as well');
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->settles('it goes out');
is($stage->sql("SELECT crmsync.trigger_changes(array_agg(id)) FROM crmsync.capture"), '', 'the triggers are as they should be');

# What is checked.
like($stage->error(q{SELECT crmsync.create_link('more', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', folder => E'a\\\\b')}), qr/invalid folder name "a\\b".*without "\/" and "\\"/s, 'a backslash in a name of a folder');
like($stage->error(q{SELECT crmsync.create_target('other', 'ews', 'https://exchange.invalid/EWS', auth => 'basic', secret => 'file:exchange')}), qr/DOMAIN\\user/, 'a hint');
like($stage->error(q{SELECT crmsync.watch('people', 'crm.person', 'id', 'SELECT 1')}), qr/a lookup must use \$1/, 'a lookup without parameter');
like($stage->sql(q{SELECT crmsync.create_link('more', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', folder => 'Partners')}), qr/^$/, 'a name without');
$stage->sql(q{SELECT crmsync.create_target('directory', 'ldap', 'ldaps://directory.invalid', auth => 'none');
	SELECT crmsync.create_link('users', 'directory', 'user', 'crm.person', direction => 'inbound', match_on => '{uid}', options => '{"base": "dc=example"}');
	SELECT crmsync.map('users', 'email', '2.5.4.3'), crmsync.map('users', 'phone', 'telephoneNumber', inbound => 'upper($1)')});
like($stage->error(q{SELECT crmsync.map('users', 'remark', '2x5')}), qr/invalid attribute "2x5"/, 'a name of an attribute');

$stage->done;
