# plan: what would be done, mailbox by mailbox; deletes with what the guard says to them; and that it
# only looks.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('plan');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
$stage->make_crm;

# 'RECORD ACTION, RECORD ACTION' of a plan, each once.
sub actions
{
	my ($mailbox) = @_;
	my $more = defined $mailbox ? ", '$mailbox'" : '';
	return $stage->sql("SELECT coalesce(string_agg(DISTINCT record || ' ' || action, ', ' ORDER BY record || ' ' || action), 'nothing') FROM crmsync.plan('people'$more)");
}

sub reasons { return $stage->sql("SELECT count(*), reason FROM crmsync.plan('people') WHERE action = '$_[0]' GROUP BY reason ORDER BY 1, 2") }

# Keeps a plan; then, when it has been carried out, whether just that was done: as the history says, and of
# what was created, of which it has no values, the mailbox.
my $rows = 'mailbox, record, action, property, old_value, new_value';
my %field = (given_name => 'GivenName', surname => 'Surname', file_as => 'FileAs', business_phone => 'PhoneNumber/BusinessPhone', email_1 => 'EmailAddress/EmailAddress1');
sub keep_plan { $stage->sql("DROP TABLE IF EXISTS public.planned; CREATE TABLE public.planned AS SELECT $rows, clock_timestamp() AS at FROM crmsync.plan('people')"); return }
sub was_done
{
	my ($actions, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($stage->sql("SELECT string_agg(DISTINCT action, ' ' ORDER BY action) FROM public.planned"), $actions, "$name: the plan has $actions");
	my $planned = $stage->sql("SELECT DISTINCT mailbox, record, action, CASE WHEN action = 'update' THEN concat_ws('|', property, old_value, new_value) END FROM public.planned ORDER BY 1, 2, 3, 4");
	is($stage->sql(<<"SQL"), $planned, "$name: the history has each row of it, and no other");
SELECT h.mailbox, h.record, h.action, CASE WHEN h.action = 'update' THEN concat_ws('|', p.property, h.old ->> p.property, h.new ->> p.property) END
FROM crmsync.history h
LEFT JOIN LATERAL jsonb_object_keys(CASE WHEN h.action = 'update' THEN coalesce(h.old, '{}') || coalesce(h.new, '{}') END) AS p (property) ON true
WHERE h.at > (SELECT max(at) FROM public.planned) ORDER BY 1, 2, 3, 4
SQL
	my %created;
	$created{ $_->[0] }{ $_->[1] }{"contacts:$field{ $_->[2] }"} = $_->[3] for map { [ split /\|/ ] } split /\n/, $stage->sql("SELECT mailbox, record, property, new_value FROM public.planned WHERE action = 'create'");
	for my $mailbox (sort keys %created)
	{
		my $held = $exchange->records($mailbox);
		my %there = map { my $record = $_; $record => { map { $_ => $held->{$record}{$_} } grep { defined $held->{$record}{$_} } map { "contacts:$_" } values %field } } keys %{ $created{$mailbox} };
		is_deeply(\%there, $created{$mailbox}, "$name: and what was planned is in $mailbox");
	}
	return;
}

# ---- mailboxes
$stage->sql("SELECT crmsync.disable_link('people')");
$stage->add_people(1, 2, $one);
is(actions(), '1 create, 2 create', 'what is missing');
is(actions($one), '1 create, 2 create', 'in a mailbox that only the audience names');
is(actions(" \U$one "), '1 create, 2 create', 'however it is written');
like($stage->error("SELECT * FROM crmsync.plan('people', '$two')"), qr/link "people" has no mailbox "$two".*HINT/s, 'one that nobody names is refused');
$stage->sql("INSERT INTO crm.audience VALUES (2, '$two')");
is(actions($two), '2 create', 'a mailbox has its own plan');
keep_plan();
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->settles('carried out');
is(actions(), 'nothing', 'and nothing is left');
is(actions(" \U$two "), 'nothing', 'there neither');
was_done('create', 'a link that was disabled');

# ---- records that have failed
$exchange->inject('response', operation => 'UpdateItem', code => 'ErrorItemSave', message => 'not so', count => 0);
$stage->change("UPDATE crm.person SET first_name = 'Failing' WHERE id = 2");
$exchange->calm;
is(reasons('wait'), '2|ErrorItemSave: not so', 'what has failed waits');
$stage->sql("SELECT crmsync.pause_target('exchange')");
$stage->sql("DELETE FROM crm.audience WHERE record = 2 AND mailbox = '$one'");
$stage->until_true(sub { $stage->sql("SELECT bool_and(next_attempt <= now()) FROM crmsync.failure") eq 't' }, 'the change is noticed');
$stage->sql('UPDATE crmsync.failure SET next_attempt = NULL');
is(reasons('delete'), '1|the record has left the audience; goes out at once', 'unless the item is to go');
$stage->sql("INSERT INTO crm.audience VALUES (2, '$one'); SELECT crmsync.resume_target('exchange'); SELECT crmsync.retry('people')");
$stage->settles('all is well');

# ---- deletes that go out
$stage->add_people(3, 130, $one);
$stage->settles('many people');
$stage->sql("SELECT crmsync.pause_target('exchange')");
$stage->sql("DELETE FROM crm.person WHERE id = 1; DELETE FROM crm.audience WHERE record = 2 AND mailbox = '$one'; UPDATE crm.person SET first_name = 'New' WHERE id = 3");
is(actions(), '1 delete, 2 delete, 3 update', 'what leaves is to be deleted');
is(reasons('delete'), "1|the record has left the audience; goes out at once\n1|the record is gone; goes out at once", 'at once, since it is little');
is(actions($two), 'nothing', 'and not where it stays');
$stage->sql("SELECT crmsync.alter_link('people', outbound_interval => '2 min')");
is(reasons('delete'), "1|the record has left the audience; goes out within 120 s (outbound_interval), at once with crmsync.sync\n1|the record is gone; goes out within 120 s (outbound_interval), at once with crmsync.sync", 'or when changes are looked for next');
$stage->sql("SELECT crmsync.alter_link('people', reset => '{outbound_interval}')");

# ---- deletes that the guard holds
$stage->sql('DELETE FROM crm.person WHERE id BETWEEN 51 AND 130');
is(reasons('delete'), "1|the record has left the audience; held by the guard: waits for crmsync.confirm_deletes\n81|the record is gone; held by the guard: waits for crmsync.confirm_deletes", 'what the guard will hold');
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->until_true(sub { $stage->status('state') eq 'held' }, 'it does');
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE state = 'leaving'"), 82, 'all of it waits');
my $held = reasons('delete');
like($held, qr/^1\|the record has left the audience; held.*\n81\|the record is gone; held/, 'and is still planned');
like($held, qr/confirm_deletes$/, 'with what it waits for');
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (60, 'Back')");
$stage->sync('people', '5 s');
is($stage->sql("SELECT count(*) FROM crmsync.plan('people') WHERE action = 'delete'"), 81, 'what comes back is planned no more');
$exchange->inject('response', operation => 'DeleteItem', code => 'ErrorItemSave', message => 'not now', count => 0);
$stage->sql("SELECT crmsync.confirm_deletes('people')");
$stage->sync('people', '20 s');
like(reasons('delete'), qr/; waits: ErrorItemSave: not now/, 'confirmed, but refused: they wait for another reason');
$exchange->calm;
$stage->sql("SELECT crmsync.retry('people')");
$stage->settles('tried again');
is(actions(), 'nothing', 'they are gone');

# ---- values are the worker's, whatever the caller's session makes of them
$stage->sql("SET ROLE crm_owner; ALTER TABLE crm.person ADD at timestamptz, ADD every interval; UPDATE crm.person SET at = '2026-01-02 03:04+00', every = '1 day 2 hours'; RESET ROLE; "
	  . "SET client_min_messages = error; SELECT crmsync.map('people', 'at', 'x:at'); SELECT crmsync.map('people', 'every', 'x:every'); SELECT crmsync.enable_link('people')");
$stage->settles('more is mapped');
is($stage->sql("BEGIN; SET LOCAL timezone = 'Asia/Tokyo'; SET LOCAL intervalstyle = 'iso_8601'; SELECT count(*) FROM crmsync.plan('people'); COMMIT"), '0', 'what a session of another time zone sees as well');
$stage->sql("UPDATE crm.person SET at = NULL, every = NULL; SET client_min_messages = error; SELECT crmsync.unmap('people', 'x:at'); SELECT crmsync.unmap('people', 'x:every'); SELECT crmsync.enable_link('people')");
$stage->settles('mapped no more');

# ---- it only looks
$stage->sql("SELECT crmsync.pause_target('exchange')");
$stage->sql("UPDATE crm.person SET first_name = 'Later'; INSERT INTO crm.audience VALUES (2, 'user3\@example.test')");
my $planned = "SELECT count(DISTINCT record), count(DISTINCT mailbox) FROM crmsync.plan('people')";
is($stage->sql("BEGIN READ ONLY; $planned"), '50|3', 'a plan in a transaction that may not write');
my $open = $stage->node->background_psql('postgres');
$open->query_safe("BEGIN; $planned");
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->settles('while a plan is open');
is(join(' ', scalar(keys %{ $exchange->records($one) }), $exchange->show('user3@example.test')), '49 2:Later', 'what it planned is carried out');
$open->query_safe('COMMIT');
$open->quit;

# ---- it says what is done
$stage->sql("SELECT crmsync.pause_target('exchange')");
$stage->sql(<<"SQL");
UPDATE crm.person SET first_name = 'Several', last_name = NULL, phone = '+49 30 0' WHERE id IN (2, 4);
UPDATE crm.person SET email = NULL WHERE id = 5;
UPDATE crm.person SET remark = 'not mapped' WHERE id = 6;
DELETE FROM crm.person WHERE id = 60;
DELETE FROM crm.audience WHERE record = 7;
INSERT INTO crm.person (id, first_name, last_name) VALUES (1001, 'New', 'Person');
INSERT INTO crm.audience VALUES (1001, '$one'), (1001, '$two'), (3, '$two');
SQL
keep_plan();
$stage->sql("SELECT crmsync.resume_target('exchange')");
$stage->settles('all that is planned');
was_done('create delete update', 'something of everything');

$stage->done;
