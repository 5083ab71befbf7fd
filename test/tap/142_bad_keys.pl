# Keys that are too long, however they are met, and rows of the audience without a mailbox: each record
# concerned is told, and all others go on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('keys', exchange => [ map { ('--mailbox', $_) } 'user1@example.test', 'user2@example.test', 'info@example.test' ]);
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_target;
$stage->sql(<<"SQL");
CREATE ROLE crm_owner LOGIN;
CREATE SCHEMA crm AUTHORIZATION crm_owner;
SET ROLE crm_owner;
CREATE TABLE crm.part (id integer PRIMARY KEY, code text, name text, mailbox text COLLATE "tr-x-icu");
CREATE TABLE crm.label (id integer PRIMARY KEY, part integer, name text);
CREATE VIEW crm.thing AS SELECT p.code, p.name, l.name AS label FROM crm.part p LEFT JOIN crm.label l ON l.part = p.id;
CREATE VIEW crm.wanted AS SELECT code AS record, mailbox FROM crm.part;
INSERT INTO crm.part SELECT i, 'key' || i, 'Part' || i, '$one' FROM generate_series(1, 3) i;
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.create_link('things', 'exchange', 'contact', 'crm.thing', key => 'code', audience => 'crm.wanted');
SELECT crmsync.map('things', 'name', 'given_name');
SELECT crmsync.map('things', 'label', 'surname');
SELECT crmsync.watch('things', 'crm.part', 'code');
SELECT crmsync.watch('things', 'crm.label', 'part', lookup => 'SELECT p.code FROM crm.part p WHERE p.id = \$1::integer UNION ALL SELECT repeat(''z'', 3000) WHERE \$1 = ''20''');
SELECT crmsync.enable_link('things');
SQL

sub names { my ($mailbox) = @_; return join ' ', sort map { $_->{'contacts:GivenName'} } values %{ $exchange->records($mailbox) } }
sub failures { return $stage->sql("SELECT coalesce(string_agg(length(record) || ' ' || code || ': ' || message, ', ' ORDER BY length(record)), 'none') FROM crmsync.failures") }
sub alert { return $stage->sql("SELECT coalesce(string_agg(message, '; '), 'none') FROM crmsync.alerts WHERE message ~ 'keys'") }
sub left { return join ' ', $stage->sync('things', '30 s') }
sub compare { $stage->sql("SELECT crmsync.enable_link('things')"); return left() }

is(left(), '0 0', 'ordinary keys');

# ---- by the trigger
$stage->sql("INSERT INTO crm.part VALUES (4, repeat('a', 200), 'Longest', '$one'), (5, repeat('b', 201), 'Longer', '$one'), (6, repeat('c', 1000), 'Still', '$one'), (7, 'key7', 'Part7', '$one')");
is(left(), '0 2', 'two keys of more than 200 bytes');
is(names($one), 'Longest Part1 Part2 Part3 Part7', 'one of 200 arrives, and so does what came with them');
is(failures(), "201 KEY: the record's key has 201 bytes, and a key may have 200, 1000 KEY: the record's key has 1000 bytes, and a key may have 200", 'the others say why');
like($stage->sql("SELECT string_agg(detail, ' ') FROM crmsync.why('things', repeat('b', 201), '$one')"), qr/201 bytes/, 'why(), too');

# What no index holds. Another thing that changes with it is not held up.
$stage->sql("INSERT INTO crm.part SELECT 10 + i, string_agg(md5(i || ' ' || n), ''), 'Endless', '$one' FROM generate_series(1, 3) i, generate_series(1, 100) n GROUP BY i; UPDATE crm.part SET name = 'Changed1' WHERE id = 1");
is(left(), '0 2', 'three keys of 3200 bytes');
is(names($one), 'Changed1 Longest Part2 Part3 Part7', 'do not hold up what else changes');
is(alert(), '3 records are left out: their keys are much longer than 200 bytes', 'an alert counts them');
is($stage->status('state', 'things'), 'idle', 'and the link is well');

# ---- by a comparison
$stage->sql("UPDATE crm.part SET name = 'Missed' WHERE id = 2; DELETE FROM crm.part WHERE id = 13");
is(compare(), '0 2', 'a comparison meets them');
is(alert(), '2 records are left out: their keys are much longer than 200 bytes', 'and counts them anew');
is(names($one), 'Changed1 Longest Missed Part3 Part7', 'the others are compared');

# ---- by a lookup
$stage->sql("UPDATE crm.part SET code = 'short' || id WHERE id IN (11, 12)");
compare();
is(alert(), 'none', 'keys of a bearable length: all is well');
is(names($one), 'Changed1 Endless Endless Longest Missed Part3 Part7', 'and they are there');
$stage->sql("INSERT INTO crm.label VALUES (1, 20, 'Label'), (2, 3, 'Three')");
is(left(), '0 2', 'a lookup that leads to such a key');
is($exchange->records($one)->{key3}{'contacts:Surname'}, 'Three', 'leads to other records as well');
is(alert(), '1 records are left out: their keys are much longer than 200 bytes', 'and counts it');

# ---- a key that gets short: what has failed goes
$stage->sql("DELETE FROM crm.part WHERE id IN (5, 6, 20)");
is(compare(), '0 0', 'gone, they fail no more');
is(failures() . alert(), 'nonenone', 'and nothing is left of them');

# ---- no mailbox
$stage->sql("INSERT INTO crm.part VALUES (30, 'key30', 'Nobody', NULL), (31, 'key31', 'Blank', ' '), (32, 'key32', 'Noise', repeat('x', 5000)), (33, 'key33', 'Somebody', '$two')");
is(left(), '0 0', 'rows without a mailbox');
is(names($two), 'Somebody', 'are skipped');
is(compare(), '0 0', 'and by a comparison');
is($stage->sql("SELECT without_mailbox FROM crmsync.status"), '3', 'counted');
is($stage->sql("SELECT count(*) FROM crmsync.alerts"), '0', 'without an alarm');
is($stage->sql("SELECT count(*) FROM crmsync.plan('things')"), '0', 'plan() skips them, too');
$stage->sql("UPDATE crm.part SET mailbox = '$two' WHERE id = 30");
is(left(), '0 0', 'with a mailbox');
is(names($two), 'Nobody Somebody', 'it is carried out');
compare();
is($stage->sql("SELECT without_mailbox FROM crmsync.status"), '2', 'and counted no more');
$stage->sql("INSERT INTO crm.part VALUES (34, 'key34', 'Noise', repeat('y', 5000)), (35, 'key34', 'Noise', NULL), (36, repeat('d', 1001), 'Endless', '$two'); SELECT crmsync.request_comparison(id, 'audience') FROM crmsync.link");
is(left(), '0 0', 'a comparison of the audience alone');
is($stage->sql("SELECT without_mailbox FROM crmsync.status"), '3', 'counts each record once');
is(alert(), '1 records are left out: their keys are much longer than 200 bytes', 'and those with long keys');

# ---- where an I is no i
$stage->sql("INSERT INTO crm.part VALUES (40, 'key40', 'Turkish', ' INFO\@EXAMPLE.TEST')");
is(left(), '0 0', 'an address in capitals, in the Turkish language');
is(names('info@example.test'), 'Turkish', 'is the same in small letters');
is($stage->sql("SELECT string_agg(DISTINCT mailbox, ' ' ORDER BY mailbox) FROM crmsync.items WHERE record IN ('key40', 'key33')"), "info\@example.test $two", 'and is known so');
is(compare(), '0 0', 'a comparison meets it');
is(names('info@example.test'), 'Turkish', 'and leaves it');

# ---- where a record belongs cannot be read
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE OR REPLACE VIEW crm.wanted AS SELECT code AS record, CASE WHEN name = 'Unclear' THEN (1 / (id - 50))::text COLLATE "tr-x-icu" ELSE mailbox END AS mailbox FROM crm.part;
INSERT INTO crm.part VALUES (50, 'key50', 'Unclear', '$two'), (51, 'key51', 'Clear', '$two');
SQL
is(left(), '0 1', 'a new record for which the audience fails');
is($stage->sql("SELECT coalesce(mailbox, 'nowhere') || ' ' || record || ' ' || code || ': ' || message FROM crmsync.failures"), 'nowhere key50 22012: division by zero', 'is a failure that names it');
is(names($two), 'Clear Nobody Somebody', 'and another one arrives');
$stage->sql("UPDATE crm.part SET name = 'Known' WHERE id = 50");
is(left(), '0 0', 'mended, it is none');
is(names($two), 'Clear Known Nobody Somebody', 'and arrives, too');

# A comparison meets it, too: what else there is goes on, deletes among it, and ends.
$stage->sql("UPDATE crm.part SET name = 'Unclear' WHERE id = 50");
is(left(), '0 1', 'it fails again');
for my $comparison ('everything', 'audience')
{
	$stage->sql("DELETE FROM crm.part WHERE id IN (51, 52); SELECT crmsync.request_comparison(id, '$comparison'), crmsync.wake() FROM crmsync.link");
	is(left(), '0 1', "when $comparison is compared it fails for this record alone");
	is(names($two), 'Known Nobody Somebody', 'and what is to go goes');
	is($stage->sql("SELECT without_mailbox FROM crmsync.status"), '3', 'rows without a mailbox are counted as ever');
	is($stage->status('state', 'things'), 'idle', 'the link has nothing to do with it');
	$stage->sql("INSERT INTO crm.part VALUES (52, 'key52', 'Clear', '$two')");
	is(left() . names($two), '0 1Clear Known Nobody Somebody', 'nor has another new record');
}
$stage->sql("DELETE FROM crmsync.failure; SELECT crmsync.request_comparison(id, 'audience'), crmsync.wake() FROM crmsync.link");
is(left(), '0 1', 'a comparison that is the first to meet it');
is($stage->sql("SELECT coalesce(mailbox, 'nowhere') || ' ' || record FROM crmsync.failures"), "$two key50", 'names it');

# ---- a key that is the empty text: before it there is nothing
$stage->sql("UPDATE crm.part SET name = 'Known' WHERE id = 50; INSERT INTO crm.part VALUES (60, '', 'Keyless', '$two'), (61, 'key61', 'Keyed', '$two')");
is(left(), '0 1', 'an empty key');
is(failures(), "0 KEY: the record's key is empty", 'is refused with the reason');
is(compare(), '0 1', 'by a comparison, too');
is(names($two), 'Clear Keyed Known Nobody Somebody', 'and of no other record');
$stage->sql('DELETE FROM crm.part WHERE id = 60');
is(left(), '0 0', 'gone, it fails no more');

$stage->done;
