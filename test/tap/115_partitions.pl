# A partitioned source: partitions that are attached, detached and dropped bring and take away records
# without any trigger; the state says so, and nothing is lost when the link is enabled again.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('partitions');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';
$stage->make_target;
$stage->sql(<<"SQL");
CREATE ROLE crm_owner LOGIN;
CREATE SCHEMA crm AUTHORIZATION crm_owner;
SET ROLE crm_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, first_name text, last_name text, phone text, email text) PARTITION BY RANGE (id);
CREATE TABLE crm.low PARTITION OF crm.person FOR VALUES FROM (0) TO (100);
CREATE TABLE crm.high PARTITION OF crm.person FOR VALUES FROM (100) TO (200);
CREATE VIEW crm.audience AS SELECT id AS record, '$one' AS mailbox FROM crm.person;
SQL
$stage->make_link;

sub gives
{
	my ($statements, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->change($statements);
	is($exchange->show($one), $expected, $name);
	return;
}

gives("INSERT INTO crm.person VALUES (1, 'Low'), (100, 'High')", '1:Low 100:High', 'rows of both partitions');
gives("UPDATE crm.low SET first_name = 'Lower'", '1:Lower 100:High', 'a partition is written by its own name');
gives("UPDATE crm.person SET id = 101 WHERE id = 1", '100:High 101:Lower', 'a row moves to another partition');
gives("INSERT INTO crm.person VALUES (2, 'Two'); DELETE FROM crm.person WHERE id = 101", '2:Two 100:High', 'a row comes, another goes');

# A state of a link that nothing else happens to is seen at the next poll.
sub becomes_broken
{
	my ($reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->until_true(sub { $stage->status('state') eq 'broken' }, "$name: the state says so", 15);
	like($stage->status('last_error'), $reason, 'and why');
	return;
}

sub mended
{
	my ($expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
	$stage->until_true(sub { $stage->sync; $stage->status('state') eq 'idle' }, 'enabled again', 15);
	is($exchange->show($one), $expected, $name);
	return;
}

$stage->sql('ALTER TABLE crm.person DETACH PARTITION crm.low');
becomes_broken(qr/other partitions|no longer a part/, 'a partition is detached');
mended('100:High', 'its records are gone');
gives("UPDATE crm.low SET first_name = 'Away'", '100:High', 'what is detached is no longer captured');
$stage->sql('ALTER TABLE crm.person ATTACH PARTITION crm.low FOR VALUES FROM (0) TO (100)');
becomes_broken(qr/other partitions/, 'it is attached again');
mended('2:Away 100:High', 'its records are back');
gives("UPDATE crm.low SET first_name = 'Here'", '2:Here 100:High', 'and captured');
$stage->sql("CREATE TABLE crm.top PARTITION OF crm.person FOR VALUES FROM (200) TO (300); INSERT INTO crm.top VALUES (200, 'Top')");
becomes_broken(qr/other partitions/, 'a new partition');
mended('2:Here 100:High 200:Top', 'its rows arrive');
gives('TRUNCATE crm.top', '2:Here 100:High', 'TRUNCATE of one partition');
$stage->sql('DROP TABLE crm.high');
becomes_broken(qr/other partitions/, 'a partition is dropped');
mended('2:Here', 'and its records with it');

# ---- triggers that somebody has touched
my $trigger = $stage->sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 'crm.person'::regclass AND tgname ~ '^crmsync_[0-9]+\$' LIMIT 1");
$stage->sql("ALTER TABLE crm.person DISABLE TRIGGER $trigger");
becomes_broken(qr/does not fire always/, 'a trigger is disabled');
$stage->sql("UPDATE crm.person SET first_name = 'Unseen' WHERE id = 2");
mended('2:Unseen', 'what nobody saw is found');
$stage->sql("ALTER TABLE crm.low DISABLE TRIGGER $trigger");
becomes_broken(qr/does not fire always/, 'a trigger of one partition is disabled');
$stage->sql("UPDATE crm.person SET first_name = 'Unread' WHERE id = 2");
mended('2:Unread', 'what nobody read is found');
$stage->sql("DROP TRIGGER $trigger ON crm.person");
becomes_broken(qr/is gone/, 'a trigger is dropped');
$stage->sql("UPDATE crm.person SET first_name = 'Unheard' WHERE id = 2");
mended('2:Unheard', 'what nobody heard of, too');

$stage->done;
