# Rows get other values, or other mailboxes, and no trigger fires: a view is replaced, a column gets another type by an
# expression. Each of that leads to one comparison, and nothing else does.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('redefined');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_tables;
$stage->make_target;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
DROP TABLE crm.audience;
CREATE TABLE crm.team (person integer PRIMARY KEY, mailbox text);
CREATE VIEW crm.members AS SELECT t.person, t.mailbox FROM crm.team t;
CREATE VIEW crm.audience AS SELECT m.person AS record, m.mailbox FROM crm.members m;
CREATE VIEW crm.contact AS SELECT p.id, p.first_name AS name FROM crm.person p;
CREATE VIEW crm.contact_audience AS SELECT id AS record, 'user3@example.test' AS mailbox FROM crm.person;
SQL
$stage->sql("INSERT INTO crm.person SELECT i, 'First' || i, 'Last' FROM generate_series(1, 3) i; INSERT INTO crm.team SELECT i, '$one' FROM generate_series(1, 3) i");
$stage->make_link;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('names', 'exchange', 'contact', 'crm.contact', key => 'id', audience => 'crm.contact_audience');
SELECT crmsync.map('names', 'name', 'given_name');
SELECT crmsync.enable_link('names');
SQL
$stage->settles('all is there', $_) for 'people', 'names';
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.link_state WHERE comparison IS NULL') eq '2' }, 'and was compared');
my %asked;
sub comparisons { my ($link) = @_; return $stage->sql("SELECT s.comparison_asked FROM crmsync.link_state s JOIN crmsync.link l ON l.id = s.link WHERE l.name = '$link'") }
sub remember { $asked{$_} = comparisons($_) for 'people', 'names'; return }

# How many comparisons there were since remember, when all is quiet: what is due by what was done before
# this change is asked for when it is carried out.
my $changes = 0;
sub compared
{
	my ($expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$changes++;
	$stage->sql("UPDATE crm.person SET last_name = 'Last$changes' WHERE id = 1");
	$stage->settles("$name: carried out", $_) for 'people', 'names';
	is(join(' ', map { $_ . ' ' . (comparisons($_) - $asked{$_}) } 'people', 'names'), $expected, $name);
	remember();
	return;
}

remember();
compared('people 0 names 0', 'nothing has happened');
$stage->sql("ALTER TABLE crm.person ALTER last_name TYPE text USING upper(last_name)");
$stage->until_true(sub { $exchange->records($one)->{2}{'contacts:Surname'} eq 'LAST' }, 'a column is written anew by an expression');
compared('people 1 names 0', 'the link that reads the column is compared, once');
$stage->sql("CREATE OR REPLACE VIEW crm.contact AS SELECT p.id, p.first_name || '!' AS name FROM crm.person p");
$stage->until_true(sub { $exchange->show('user3@example.test') eq '1:First1! 2:First2! 3:First3!' }, 'a source is replaced');
compared('people 0 names 1', 'once');
$stage->sql("CREATE OR REPLACE VIEW crm.members AS SELECT t.person, CASE t.person WHEN 3 THEN '$two' ELSE t.mailbox END AS mailbox FROM crm.team t");
$stage->until_true(sub { $exchange->show($one) . ' / ' . $exchange->show($two) eq '1:First1 2:First2 / 3:First3' }, 'a view below the audience is replaced');
compared('people 1 names 0', 'once');

# ---- what changes no value
$stage->sql("VACUUM FULL crm.person");
$stage->sql("ANALYZE crm.person; ALTER TABLE crm.person ADD COLUMN other text DEFAULT 'x', ALTER remark SET NOT NULL, ALTER remark TYPE varchar(50)") if $stage->sql("UPDATE crm.person SET remark = ''") eq '';
$stage->sql("CREATE OR REPLACE VIEW crm.unrelated AS SELECT id FROM crm.person; CREATE INDEX ON crm.person (last_name)");
compared('people 0 names 0', 'a table is written anew, and columns change that nobody reads');
$node->restart;
$stage->until_true(sub { $stage->answers && $stage->sql('SELECT crmsync.worker_state()') eq 'running' }, 'another worker');
compared('people 0 names 0', 'does not compare');

# ---- while no worker looks
$node->append_conf('postgresql.conf', 'crmsync.enabled = off');
$node->restart;
$stage->sql("ALTER TABLE crm.person ALTER last_name TYPE text USING lower(last_name)");
$node->append_conf('postgresql.conf', 'crmsync.enabled = on');
$node->restart;
$stage->until_true(sub { $exchange->records($one)->{2}{'contacts:Surname'} eq 'last' }, 'a column was altered while the workers were off');
compared('people 1 names 0', 'once');

$stage->done;
