# conflict newest_wins: of a field that both sides have changed the value that was written last stays, for
# the whole link or for one field, and when the clocks of the two servers are an hour apart.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('newest_wins');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
$stage->make_tables;
$stage->make_target;
$stage->sql('SET ROLE crm_owner; ALTER TABLE crm.person ADD changed_at timestamptz');
$stage->make_link(
	more => "direction => 'both', inbound_interval => '1 s', conflict => 'newest_wins', options => '{\"modified_column\": \"changed_at\"}'",
	before => <<'SQL');
SELECT crmsync.map('people', 'phone', 'business_phone', options => '{"conflict": "target_wins"}');
SELECT crmsync.map('people', 'remark', 'job_title', options => '{"conflict": "crm_wins"}');
SQL
$stage->add_people(1, 12, $one);
$stage->settles('twelve people');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL") eq '1' }, 'the mailbox is read');

my %of = (last_name => 'contacts:Surname', phone => 'contacts:PhoneNumber/BusinessPhone', remark => 'contacts:JobTitle');

sub user_changes
{
	my ($person, $column, $value) = @_;
	$exchange->act($one, 'update', match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', set => { $of{$column} => $value });
	return;
}
sub crm_changes { my ($person, $column, $value, $at) = @_; $stage->sql("UPDATE crm.person SET $column = '$value', changed_at = $at WHERE id = $person"); return }

# Both change a field while nothing can be carried out: the CRM at the time given, the user now.
sub both_change
{
	my ($person, $column, $at, $winner, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$exchange->post('server', paused => \1);
	user_changes($person, $column, 'Theirs');
	crm_changes($person, $column, 'Ours', $at);
	$exchange->post('server', paused => \0);
	$stage->until_true(sub { conflicts($person) ne '' }, "$name: a conflict is noted", 20);
	is(conflicts($person), "$column Ours Theirs " . ($winner eq 'Ours' ? 'crm' : 'target'), "$name: $winner");
	$stage->until_true(sub { $stage->sql("SELECT $column FROM crm.person WHERE id = $person") eq $winner && $exchange->records($one)->{$person}{ $of{$column} } eq $winner },
		"$name: on both sides", 20);
	return;
}

sub conflicts
{
	my ($person) = @_;
	return $stage->sql(<<"SQL");
SELECT coalesce(string_agg(concat_ws(' ', m.crm, c.crm_value, c.target_value, c.winner), ', ' ORDER BY c.id), '')
FROM crmsync.conflicts c JOIN crmsync.mappings m ON (m.link, m.property) = (c.link, c.property) WHERE c.record = '$person'
SQL
}

# ---- who was last
both_change(1, 'last_name', "now() - interval '1 minute'", 'Theirs', 'the user was last');
both_change(2, 'last_name', "now() + interval '1 minute'", 'Ours', 'the CRM was last');
both_change(3, 'last_name', 'NULL', 'Theirs', 'a row that does not say is older');
both_change(4, 'last_name', "'infinity'", 'Theirs', 'as is one that never ends');

# ---- a field of its own
both_change(5, 'phone', "now() + interval '1 minute'", 'Theirs', 'a field of its own: target_wins');
both_change(6, 'remark', "now() - interval '1 minute'", 'Ours', 'another: crm_wins');

# ---- clocks that are an hour apart
for my $hours (1, -1)
{
	my $name = $hours > 0 ? 'their clock is an hour ahead' : 'their clock is an hour behind';
	$exchange->post('server', clock_ahead => $hours * 3600);
	both_change(8 + $hours, 'last_name', "now() - interval '1 minute'", 'Theirs', "$name: the user was last");
	both_change(11 + $hours, 'last_name', "now() + interval '1 minute'", 'Ours', "$name: the CRM was last");
}
$exchange->post('server', clock_ahead => 3600, sends_date => \0);
both_change(8, 'last_name', "now() + interval '1 minute'", 'Theirs', 'a server that does not say how late it is is believed');
$exchange->post('server', clock_ahead => 0, sends_date => \1);

# ---- per field where the link decides otherwise
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.alter_link('people', conflict => 'target_wins');
SELECT crmsync.map('people', 'last_name', 'surname', options => '{"conflict": "newest_wins"}');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('the link says target_wins, one field newest_wins');
both_change(11, 'last_name', "now() + interval '1 minute'", 'Ours', 'the field that says so');

# ---- the column goes
$stage->sql('ALTER TABLE crm.person DROP COLUMN changed_at');
user_changes(1, 'last_name', 'Later');
$stage->until_true(sub { $stage->status('state') eq 'broken' }, 'without the column the link is broken', 30);
like($stage->status('last_error'), qr/changed_at/, 'and says why');

$stage->done;
