# Contacts from the CRM to Exchange: created, changed field by field, deleted; whatever statement the
# CRM used.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(time);

my $stage = CrmSync::EndToEnd->new('contacts');
my $exchange = $stage->exchange;
$stage->make_crm;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

# Carries out and shows first names in both mailboxes.
sub gives
{
	my ($statements, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->change($statements);
	is($exchange->show($one) . ' / ' . $exchange->show($two), $expected, $name);
	return;
}

# ---- what people do
$stage->add_people(1, 2, $one);
$stage->settles('two people are created');
is($exchange->show($one), '1:First1 2:First2', 'in the mailbox where they belong');
is($exchange->show($one, 'contacts:EmailAddress/EmailAddress1'), '1:person1@example.com 2:person2@example.com', 'with their e-mail addresses');
is($exchange->show($one, 'contacts:PhoneNumber/BusinessPhone'), '1:+49 30 1 2:+49 30 2', 'and numbers');
gives("INSERT INTO crm.audience VALUES (1, '\U$two')", '1:First1 2:First2 / 1:First1', 'an address counts in lower case');
$exchange->forget_journal;
gives("UPDATE crm.person SET first_name = 'Joe' WHERE id = 1", '1:Joe 2:First2 / 1:Joe', 'an update reaches every mailbox');
is($exchange->requests('UpdateItem'), 2, 'by one request each');
unlike(($exchange->bodies)[-1], qr/Surname|BusinessPhone|EmailAddress/, 'that has only what has changed');
$exchange->forget_journal;
gives("UPDATE crm.person SET remark = 'none of Exchange''s business'", '1:Joe 2:First2 / 1:Joe', 'an unmapped column');
is(scalar($exchange->journal), 0, 'causes no request');
gives("UPDATE crm.person SET first_name = first_name", '1:Joe 2:First2 / 1:Joe', 'an update that changes nothing');
is(scalar($exchange->journal), 0, 'neither');
gives("UPDATE crm.person SET phone = NULL WHERE id = 1", '1:Joe 2:First2 / 1:Joe', 'NULL');
is($exchange->show($one, 'contacts:PhoneNumber/BusinessPhone'), '1: 2:+49 30 2', 'removes the value');
gives("DELETE FROM crm.audience WHERE record = 1 AND mailbox = '$one'", '2:First2 / 1:Joe', 'what leaves an audience leaves that mailbox');
gives("INSERT INTO crm.audience VALUES (1, '$one')", '1:Joe 2:First2 / 1:Joe', 'and comes back with it');
gives('DELETE FROM crm.person WHERE id = 1', '2:First2 / ', 'what is deleted is deleted everywhere');
is(join(' ', map { $_->{properties}{'contacts:GivenName'} } $exchange->items($two, 'deleteditems')), 'Joe', 'where its user can restore it');

# ---- every way to write
gives("UPDATE crm.person SET id = 3 WHERE id = 2; UPDATE crm.audience SET record = 3 WHERE record = 2", '3:First2 / ', 'another key is another record');
gives("BEGIN; UPDATE crm.person SET first_name = 'no' WHERE id = 3; ROLLBACK", '3:First2 / ', 'what was rolled back is not carried out');
gives("BEGIN; UPDATE crm.person SET first_name = 'Ann' WHERE id = 3; SAVEPOINT s; UPDATE crm.person SET last_name = 'no' WHERE id = 3; ROLLBACK TO s; COMMIT",
	'3:Ann / ', 'a savepoint rolled back');
is($exchange->show($one, 'contacts:Surname'), '3:Last2', 'undoes only its part');
gives("BEGIN; SAVEPOINT s; UPDATE crm.person SET first_name = 'Bea' WHERE id = 3; RELEASE s; COMMIT", '3:Bea / ', 'a released savepoint');
$stage->sql("BEGIN; UPDATE crm.person SET first_name = 'Cora' WHERE id = 3; PREPARE TRANSACTION 'two'");
$stage->sync;
is($exchange->show($one), '3:Bea', 'a prepared transaction is not carried out');
gives("COMMIT PREPARED 'two'", '3:Cora / ', 'before it is committed');
gives("BEGIN; UPDATE crm.person SET first_name = 'no' WHERE id = 3; PREPARE TRANSACTION 'three'; ROLLBACK PREPARED 'three'", '3:Cora / ', 'and never if it is not');
gives("COPY crm.person (id, first_name, last_name) FROM stdin;\n4\tDan\tDoe\n5\tEve\tDoe\n\\.\nCOPY crm.audience FROM stdin;\n4\t$one\n5\t$one\n\\.\n",
	'3:Cora 4:Dan 5:Eve / ', 'COPY');
gives("MERGE INTO crm.person p USING (VALUES (4, 'Dora'), (6, 'Finn')) n (id, name) ON p.id = n.id
	WHEN MATCHED THEN UPDATE SET first_name = n.name WHEN NOT MATCHED THEN INSERT (id, first_name, last_name) VALUES (n.id, n.name, 'Doe');
	MERGE INTO crm.audience a USING (VALUES (5, '$one'), (6, '$one')) n (record, mailbox) ON a.record = n.record
	WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (n.record, n.mailbox)",
	'3:Cora 4:Dora 6:Finn / ', 'MERGE inserts, updates and deletes');
gives("INSERT INTO crm.person (id, first_name) VALUES (4, 'Dina'), (7, 'Gus') ON CONFLICT (id) DO UPDATE SET first_name = excluded.first_name;
	INSERT INTO crm.audience VALUES (4, '$one'), (7, '$one') ON CONFLICT DO NOTHING", '3:Cora 4:Dina 6:Finn 7:Gus / ', 'INSERT ... ON CONFLICT');
gives('TRUNCATE crm.person, crm.audience', ' / ', 'TRUNCATE deletes what it emptied');

# ---- many at once, and one at once
$stage->add_people(100, 599, $one, $two);
$stage->settles('500 people in two mailboxes');
is(scalar(keys %{ $exchange->records($two) }), 500, 'are all there');
my @took;
for my $i (100 .. 109)
{
	my $started = time;
	$stage->sql("UPDATE crm.person SET first_name = 'Quick' WHERE id = $i");
	$stage->sync;
	push @took, time - $started;
}
my $median = (sort { $a <=> $b } @took)[5];
cmp_ok($median, '<', 2, sprintf('a change is in the mailbox after %.2f s, two psql included', $median));
is($exchange->records($one)->{109}{'contacts:GivenName'}, 'Quick', 'and it is');

sub gives_phone
{
	my ($statement, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->change($statement);
	is($exchange->records($one)->{100}{'contacts:PhoneNumber/BusinessPhone'}, $expected, $name);
	return;
}

# ---- unmapped and mapped again
gives_phone("UPDATE crm.person SET phone = '+49 1' WHERE id = 100", '+49 1', 'a value');
$stage->sql("SELECT crmsync.unmap('people', 'business_phone'); SELECT crmsync.enable_link('people')");
gives_phone("UPDATE crm.person SET first_name = 'Una' WHERE id = 100", '+49 1', 'stays when it is mapped no more');
$stage->sql("UPDATE crm.person SET phone = NULL WHERE id = 100; SELECT crmsync.map('people', 'phone', 'business_phone'); SELECT crmsync.enable_link('people')");
gives_phone('SELECT 1', undef, 'and is removed when it is mapped again and the CRM has none by then');

# ---- sync says that all is done when it is, deletes too
$stage->sql(q{SELECT crmsync.alter_link('people', options => '{"max_deletes": 100000, "max_delete_percent": 100}')});
$stage->add_people(9001, 9001, $one);
my $left = 0;
for (1 .. 40)
{
	$stage->change("DELETE FROM crm.audience WHERE record = 9001");
	$left++ if !$exchange->records($one)->{9001};
	$stage->change("INSERT INTO crm.audience VALUES (9001, '$one')");
}
is($left, 40, 'what leaves an audience has left when sync says so, each time');

$stage->done;
