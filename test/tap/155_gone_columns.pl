# A column of the CRM is renamed, and the link does not know it any more: all say which, by the names of whoever
# configured the link. It goes on when the column is back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('gone_columns');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my $one = 'user1@example.test';
$stage->make_crm(before => <<'SQL');
SET ROLE crm_owner;
CREATE TABLE crm.number (id integer PRIMARY KEY, person integer, value text, main boolean);
CREATE INDEX ON crm.number (person);
RESET ROLE;
SELECT crmsync.map_child('people', 'crm.number', 'person', '{"value": "mobile_phone"}', fixed => '{"main": true}');
SQL
$stage->add_people(1, 2, $one);
$stage->settles('the link works');

sub says
{
	my ($relation, $column, %given) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $problem = qq{column "$column" of relation crm.$relation does not exist};
	$stage->sql("ALTER TABLE crm.$relation RENAME $column TO renamed");
	$stage->until_true(sub { $stage->status("state || ': ' || last_error") eq "broken: $problem" }, "$relation.$column: status says which") or diag($stage->status('last_error'));
	my (undef, undef, $said) = $node->psql('postgres', "SELECT * FROM crmsync.plan('people')");
	like($said, qr/link "people" cannot work: $problem\n/, '... and plan');
	is($stage->sql("SELECT string_agg(DISTINCT detail, ' ') FROM crmsync.why('people', '1', '$one') WHERE step <> 'link' AND detail LIKE '%does not exist%'"), $problem, '... and why');
	$stage->sql("ALTER TABLE crm.$relation RENAME renamed TO $column; SELECT crmsync.enable_link('people')");
	$stage->settles('... it is back');
	return;
}
says('person', 'phone');
says('person', 'id');
says('number', 'value');
says('number', 'person');
says('number', 'main');
says('audience', 'record');
says('audience', 'mailbox');
$stage->change("UPDATE crm.person SET first_name = 'Ada' WHERE id = 1");
is($exchange->show($one), '1:Ada 2:First2', 'changes go out again');

$stage->done;
