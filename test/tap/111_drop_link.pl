# drop_link with items => 'delete': the link stops at once, takes its items back and goes with the last
# of them, whatever becomes of its relations, the target and the worker; 'keep' lets go of the rest.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('drop_link', conf => 'restart_after_crash = on');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
$stage->make_crm;
my $another = $node->background_psql('postgres');

sub count_of { my ($mailbox) = @_; return scalar keys %{ $exchange->records($mailbox) } }
sub links { return $stage->sql("SELECT coalesce(string_agg(name || CASE WHEN retired THEN ' going' ELSE '' END, ',' ORDER BY name), 'none') FROM crmsync.links") }

sub is_gone
{
	my ($link, $name, @mailboxes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.links WHERE name = '$link'") eq '0' }, "$name: the link goes", 60);
	is(join(' ', map { count_of($_) } @mailboxes), join(' ', map { 0 } @mailboxes), "$name: and nothing of it is left");
	return;
}

# ---- a link with few items
$stage->add_people(1, 9, $one, $two);
$stage->settles('nine people in two mailboxes');
$exchange->act($one, 'create', class => 'Contact', folder => 'contacts', set => { 'contacts:GivenName' => 'Own' });
$another->query_safe("BEGIN; SELECT crmsync.drop_link('people', 'delete')");
is(links(), 'people', 'before its commit nothing happens');
$another->query_safe('ROLLBACK');
$stage->change("UPDATE crm.person SET first_name = 'New' WHERE id = 1");
is($exchange->records($one)->{1}{'contacts:GivenName'}, 'New', 'after a rollback neither');
$stage->sql("SELECT crmsync.drop_link('people', items => 'delete')");
is_gone('people', 'few items', $one, $two);
is(join(' ', map { $_->{properties}{'contacts:GivenName'} } $exchange->items($one)), 'Own', 'what users made stays');
is($stage->sql('SELECT count(*) FROM crmsync.item'), '0', 'it is forgotten');
is($stage->sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crmsync%' AND tgrelid::regclass::text LIKE 'crm.%'"), '0', 'with its triggers');

# ---- while it goes: held by the guard
$stage->make_link;
$stage->settles('the same link again');
$stage->add_people(10, 40, $one);
$stage->settles('many people');
$stage->sql("CREATE ROLE helper; SELECT crmsync.grant_role('helper', 'operator', 'people'); CREATE ROLE boss; SELECT crmsync.grant_role('boss', 'admin', 'people')");
like($stage->error("SET ROLE helper; SELECT crmsync.drop_link('people', 'delete')"), qr/permission denied/, 'an operator may not drop a link');
# Of two mailboxes the one with few items is listed long before the other.
$exchange->inject('delay', operation => 'FindItem', mailbox => $one, seconds => 1);
$stage->sql("SET ROLE boss; SELECT crmsync.drop_link('people', items => 'delete')");
$stage->until_true(sub { $stage->sql('SELECT held FROM crmsync.link_state') =~ /^49 deletes/m }, 'its administrator may, and the guard holds the deletes');
is($stage->status('state'), 'held', 'as its state says');
is(links(), 'people going', 'the link is there meanwhile');
is($stage->sql("SELECT enabled FROM crmsync.status WHERE link = 'people'"), 'f', 'and stopped');
$stage->sql("UPDATE crm.person SET first_name = 'Late' WHERE id = 2");
is($exchange->records($one)->{2}{'contacts:GivenName'}, 'First2', 'what changes now goes nowhere');
like($stage->error($_), qr/link "people" is being dropped.*DETAIL.*HINT:.*drop_link/s, "refused: $_")
  for "SELECT crmsync.enable_link('people')", "SELECT crmsync.disable_link('people')", "SELECT crmsync.alter_link('people', folder => 'x')",
  "SELECT crmsync.map('people', 'remark', 'notes')", "SELECT * FROM crmsync.plan('people')",
  "SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience')";
is($exchange->hits, 1, 'before all are listed');
is(count_of($two), 9, 'all of them');
$stage->sql("SELECT crmsync.drop_link('people', items => 'delete')");
is($stage->sql("SELECT crmsync.withdraw('people')"), '49', 'twice is as good as once, and withdraw says how many are left');
# Its mailboxes are listed once more, one after the other.
my $why = qr/it is being dropped: held: 49 deletes.*it is to be deleted since/;
$stage->until_true(sub { $stage->sql("SELECT string_agg(detail, '; ') FROM crmsync.why('people', '2', '$one')") =~ $why }, 'why() says so');
is($stage->sql("SELECT string_agg(kind || ' ' || name, ',') FROM crmsync.alerts"), 'link people', 'and alerts');
$exchange->post('server', item_ms => 20);
is($stage->sql("SET ROLE helper; SELECT crmsync.confirm_deletes('people', expected => 49)"), '49', 'its operator confirms');
is(join(' ', $stage->sync), '0 0', 'and can wait for the end');
$exchange->post('server', item_ms => 0);
is_gone('people', 'confirmed', $one, $two);
is($stage->sql("SELECT has_function_privilege('helper', 'crmsync.retry(text, text, text)', 'EXECUTE') OR has_function_privilege('boss', 'crmsync.drop_link(text, text)', 'EXECUTE')"), 'f', 'the grants at it are gone');

# ---- its relations are gone, the worker is killed
my $free = "options => '{\"max_deletes\": 1000, \"max_delete_percent\": 100}'";
$stage->make_link(more => $free);
$stage->settles('once more');
$stage->sql("SELECT crmsync.pause_target('exchange'); SELECT crmsync.drop_link('people', items => 'delete'); DROP TABLE crm.person, crm.audience; DROP OWNED BY crm_owner");
is($stage->status('state'), 'paused', 'the target is paused');
$exchange->post('server', item_ms => 20);
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->until_true(sub { my $left = count_of($one); $left > 0 && $left < 40 || links() eq 'none' }, 'under way');
kill 'KILL', $stage->worker_pid;
$exchange->post('server', item_ms => 0);
$stage->until_true(sub { $stage->answers }, 'the server is back');
is_gone('people', 'without its tables, and after a crash', $one, $two);

# ---- what the worker is about to write when the link is dropped
$stage->sql('DROP SCHEMA IF EXISTS crm CASCADE; DROP ROLE crm_owner');
$stage->make_tables;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE FUNCTION crm.slowly(text) RETURNS text LANGUAGE sql VOLATILE RETURN CASE WHEN pg_sleep(0.3) IS NOT NULL THEN $1 END;
SQL
$stage->make_link(more => $free, before => "SELECT crmsync.map('people', '(crm.slowly(r.remark))', 'notes');");
$stage->add_people(1, 5, $one);
$stage->until_true(sub { $stage->sql("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'crmsync worker' AND wait_event = 'PgSleep')") eq 't' }, 'it is being decided');
$stage->sql("BEGIN; SELECT crmsync.drop_link('people', items => 'delete'); SELECT pg_sleep(1); COMMIT");
is_gone('people', 'about to be written', $one);
sleep 1;
is(count_of($one), 0, 'about to be written: and nothing comes after it');

# ---- creates that are under way
$stage->sql('DROP SCHEMA IF EXISTS crm CASCADE; DROP ROLE crm_owner');
$stage->make_tables;
$stage->make_link(more => $free);
$exchange->inject('delay', operation => 'CreateItem', seconds => 2, count => 0);
$stage->add_people(1, 20, $one, $two);
$stage->until_true(sub { $exchange->requests('CreateItem') > 0 }, 'items are being made');
$stage->sql("SELECT crmsync.drop_link('people', items => 'delete')");
$exchange->calm;
is_gone('people', 'creates under way', $one, $two);

# ---- a dead server, and a mailbox that is gone
$stage->make_link(more => $free);
$stage->add_people(21, 30, $one, $three);
$stage->settles('people in three mailboxes');
$exchange->inject('close', count => 0);
$stage->sql("SELECT crmsync.drop_link('people', items => 'delete')");
$stage->until_true(sub { $stage->target('code') ne '' }, 'a server that is dead');
is(links(), 'people going', 'the link waits for it');
$exchange->calm;
$exchange->{http}->delete("http://127.0.0.1:$exchange->{port}/control/mailbox?address=$three");
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->until_true(sub { count_of($one) + count_of($two) == 0 }, 'alive again: the others are emptied');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.alerts WHERE kind = 'mailbox'") eq '1' }, 'a mailbox that does not exist any more is an alert');
like($stage->sql("SELECT hint FROM crmsync.alerts WHERE kind = 'mailbox'"), qr/retry.*drop_link\('people'\)/, 'which says how to let go of it');
is(links(), 'people going', 'the link is kept for it');
$stage->sql("SELECT crmsync.drop_link('people')");
is(links(), 'none', 'keep: it goes at once');
$stage->make_link(more => $free);
$stage->until_true(sub { count_of($one) == 30 }, 'its name is free again');

# ---- keep, cascade, a link that never wrote anything
$stage->sql("SELECT crmsync.drop_link('people', 'keep')");
is(count_of($one), 30, 'keep: items stay where they are');
$stage->sql("SET client_min_messages = error; SELECT crmsync.create_link('idle', 'exchange', 'contact', 'crm.person', audience => 'crm.audience'); SELECT crmsync.drop_link('idle', 'delete')");
is(links(), 'none', 'a link that wrote nothing goes at once');

$another->quit;
$stage->done;
