# Conflicts that somebody decides: fields, items that may be of several records, items left to their users,
# and records whose items one of several users has deleted.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep time);

my $stage = CrmSync::EndToEnd->new('resolve');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub user_makes { my ($mailbox, %set) = @_; return $exchange->act($mailbox, 'create', folder => 'contacts', set => \%set)->{ids}[0] }
sub user_changes { my ($mailbox, $surname, %set) = @_; return $exchange->act($mailbox, 'update', match => { 'contacts:Surname' => $surname }, folder => 'contacts', set => \%set) }
sub held { return map { $_->{properties} } $exchange->items($_[0]) }
sub names { my ($mailbox) = @_; return join ', ', sort map { join ' ', map { $_ // '-' } @{$_}{qw(contacts:GivenName contacts:Surname)} } held($mailbox) }
sub count_of { my ($mailbox, $surname) = @_; return scalar grep { lc($_->{'contacts:Surname'} // '') eq $surname } held($mailbox) }
sub people { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', id, first_name, last_name), ', ' ORDER BY id), 'nobody') FROM crm.person") }
sub items { return $stage->sql("SELECT string_agg(concat_ws(' ', record, origin, state), ', ' ORDER BY record, mailbox) FROM crmsync.items") }
sub undecided { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', kind, record, records, choices), ', ' ORDER BY kind, records, id), 'none') FROM crmsync.conflicts WHERE winner IS NULL AND choice IS NULL") }
sub conflict { my ($where) = @_; return $stage->sql("SELECT min(id) FROM crmsync.conflicts WHERE choice IS NULL AND $where") }
sub resolve { my ($where, $choice) = @_; my $conflict = conflict($where); $stage->sql("SELECT crmsync.resolve($conflict, '$choice')"); return $conflict }

my $older = user_makes($one, 'contacts:GivenName' => 'Twin', 'contacts:Surname' => 'Same');
user_makes($two, 'contacts:GivenName' => 'Double', 'contacts:Surname' => 'Trouble', 'contacts:JobTitle' => 'First');
user_makes($two, 'contacts:GivenName' => 'Double', 'contacts:Surname' => 'Trouble', 'contacts:JobTitle' => 'Second');
$stage->make_tables;
$stage->share_new_rows;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
INSERT INTO crm.person (id, first_name, last_name) VALUES (1, 'Ann', 'Lee'), (2, 'Twin', 'Same'), (3, 'Twin', 'Same'), (4, 'Double', 'Trouble');
INSERT INTO crm.audience VALUES (1, '$one'), (1, '$two'), (2, '$one'), (3, '$one'), (4, '$two');
SQL
$stage->make_target;
$stage->make_link(more => "direction => 'both', inbound_interval => '1 s', match_on => '{given_name,surname}'", before => "SELECT crmsync.map('people', 'made_in', '\@mailbox');");
$stage->until_true(sub { names($one) =~ /Ann Lee/ && names($two) =~ /Ann Lee/ }, 'what is clear is done', 30);
is(undecided(), 'ambiguous {2,3} {2,3,new,leave}, ambiguous {4} {4,new,leave}, ambiguous {4} {4,new,leave}', 'what is not is listed, with what can be chosen');
is($stage->status('conflicts'), '3', 'and counted');
like($stage->sql("SELECT string_agg(step || ': ' || detail || '; ' || hint, ' ') FROM crmsync.why('people', '2', '$one') WHERE NOT ok"), qr/matching: an item that its user has there may be of it; See crmsync.conflicts, then SELECT crmsync.resolve\(\d+/, 'why says what a record waits for');

# ---- refusals
my $twin = conflict("records = '{2,3}'");
like($stage->error("SELECT crmsync.resolve($twin, '4')"), qr/invalid choice '4'.*HINT:  Choices: 2, 3, new, leave\./s, 'another choice');
like($stage->error("SELECT crmsync.resolve($twin, NULL)"), qr/invalid choice NULL/, 'none');
like($stage->error("SELECT crmsync.resolve(0, 'new')"), qr/there is no conflict 0 to decide/, 'no such conflict');
$stage->sql("CREATE ROLE reader; SELECT crmsync.grant_role('reader', 'reader')");
like($stage->error("SET ROLE reader; SELECT crmsync.resolve($twin, 'new')"), qr/permission denied|must/, 'a reader decides nothing');

# ---- ambiguous
resolve("records = '{2,3}'", '3');
$stage->until_true(sub { items() =~ /3 adopted linked/ && count_of($one, 'same') == 2 }, 'the item is of the record that was chosen, and the other one goes out', 20) or diag(items(), names($one));
sub key_there { my ($item) = grep { $_->{id} eq $older } $exchange->items($one); return CrmSync::StandIn::key_of($item) // 'none' }
$stage->until_true(sub { key_there() eq '3' }, 'it is the item that its user had', 20) or diag(key_there());
resolve("records = '{4}'", 'new');
$stage->until_true(sub { people() =~ /1\d\d Double Trouble/ }, 'one is made a new record', 20);
$stage->until_true(sub { undecided() eq 'ambiguous {4,100} {4,new,leave}' }, 'the other still waits, and might be that one as well', 20) or diag(undecided());
resolve("records = '{4,100}'", '4');
$stage->until_true(sub { items() =~ /4 adopted linked/ && $stage->status('conflicts') eq '0' }, 'and is of the record', 20) or diag(items(), undecided());
is(count_of($two, 'trouble'), 2, 'there are two, and no more');
user_makes($one, 'contacts:GivenName' => 'Ann', 'contacts:Surname' => 'Lee', 'contacts:JobTitle' => 'Other');
$stage->until_true(sub { undecided() eq 'ambiguous {1} {new,leave}' }, 'a second item cannot be of a record that has one there', 20) or diag(undecided());
resolve("records = '{1}'", 'leave');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'it is left to its user', 20);
$exchange->act($one, 'update', match => { 'contacts:JobTitle' => 'Other' }, folder => 'contacts', set => { 'contacts:JobTitle' => 'Changed' });
sleep 3;
is(undecided() . ' ' . $stage->sql("SELECT count(*) FROM crm.person WHERE last_name = 'Lee'"), 'none 1', 'also when he changes it');
$exchange->act($one, 'delete', match => { 'contacts:JobTitle' => 'Changed' }, folder => 'contacts');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE records = '{1}'") eq '0' }, 'until it is gone', 20);

# ---- a double takes the place of what its user deletes
user_makes($two, 'contacts:GivenName' => 'Ann', 'contacts:Surname' => 'Lee', 'contacts:JobTitle' => 'Double');
$stage->until_true(sub { undecided() eq 'ambiguous {1} {new,leave}' }, 'a double is parked', 20);
my ($first) = grep { ($_->{properties}{'contacts:Surname'} // '') eq 'Lee' && defined CrmSync::StandIn::key_of($_) } $exchange->items($two);
$exchange->act($two, 'delete', id => $first->{id});
$stage->until_true(sub { items() =~ /1 crm linked, 1 adopted linked/ }, 'and takes the place of the other when its user deletes that', 20) or diag(items(), undecided());
is(undecided(), 'none', 'then there is nothing to decide');

# ---- fields
sub both_change
{
	my ($ours, $theirs) = @_;
	$exchange->post('server', paused => \1);
	user_changes($one, 'Lee', 'contacts:GivenName' => $theirs);
	$stage->sql("UPDATE crm.person SET first_name = '$ours' WHERE id = 1");
	$exchange->post('server', paused => \0);
	return $stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.conflicts WHERE crm_value = '$ours' AND target_value = '$theirs'") eq '1' }, "$ours and $theirs are a conflict", 20);
}
sub are_called { my ($name, $what) = @_; return $stage->until_true(sub { people() =~ /1 $name Lee/ && names($one) =~ /$name Lee/ && names($two) =~ /$name Lee/ }, $what, 20) }
sleep 2.5;
both_change('Ours', 'Theirs');
are_called('Ours', 'the policy decides first');
my $field = resolve("crm_value = 'Ours'", 'target');
are_called('Theirs', 'resolve target: everybody has what its user wrote');
is($stage->sql("SELECT winner || ' ' || choice FROM crmsync.conflicts WHERE id = $field"), 'target target', 'which is noted');
is($stage->sql("SELECT old ->> 'given_name', new ->> 'given_name' FROM crmsync.history WHERE record = '1' AND action = 'bring in' ORDER BY at DESC LIMIT 1"), 'Ours|Theirs', 'with what was there');
my $session = $stage->node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT FROM crm.person WHERE id = 1 FOR UPDATE');
$stage->sql("SELECT crmsync.resolve($field, 'crm')");
my $began = time;
$stage->sync('people', '2 s');
cmp_ok(time - $began, '>=', 2, 'sync waits for what was chosen, while somebody has the row');
$session->query_safe('COMMIT');
$session->quit;
$stage->sync;
is(join(' ', people() =~ /1 (\w+ Lee)/, map { names($_) =~ /(\w+ Lee)/ } $one, $two), 'Ours Lee Ours Lee Ours Lee', 'resolve crm: and back again');
$stage->sql("ALTER TABLE crm.person ADD CONSTRAINT ours CHECK (first_name <> 'Theirs')");
$stage->sql("SELECT crmsync.resolve($field, 'target')");
$stage->until_true(sub { $stage->sql("SELECT coalesce(problem, '') FROM crmsync.conflicts WHERE id = $field") =~ /"ours"/ }, 'what the CRM refuses is said', 20);
like(people(), qr/1 Ours Lee/, 'and not done');
$stage->sql('ALTER TABLE crm.person DROP CONSTRAINT ours; DELETE FROM crm.person WHERE id = 1');
$stage->sync;
$stage->sql("SELECT crmsync.resolve($field, 'target')");
$began = time;
$stage->sync('people', '15 s');
cmp_ok(time - $began, '<', 10, 'nobody waits for what was chosen for a record that is gone');
is($stage->sql("SELECT problem FROM crmsync.conflicts WHERE id = $field"), 'there is no such record any more', 'which is said');

# ---- items that were left to their users
user_makes($one, 'contacts:GivenName' => 'Own', 'contacts:Surname' => "Friend$_") for 1, 2;
$stage->until_true(sub { people() =~ /Friend1/ && people() =~ /Friend2/ && $stage->sql('SELECT bool_and(stamped) FROM crmsync.item') eq 't' }, 'what a user makes comes in', 20);
$stage->sql("DELETE FROM crm.audience a USING crm.person p WHERE p.id = a.record AND p.last_name LIKE 'Friend_'");
$stage->until_true(sub { undecided() =~ /^unlinked 1\d\d \{keep,delete\}, unlinked 1\d\d \{keep,delete\}$/ }, 'when it leaves the audience it stays, and is listed', 20) or diag(undecided());
my @friends = split /\n/, $stage->sql("SELECT id FROM crm.person WHERE last_name LIKE 'Friend_' ORDER BY last_name");
resolve("kind = 'unlinked' AND record = '$friends[0]'", 'delete');
resolve("kind = 'unlinked' AND record = '$friends[1]'", 'keep');
$stage->until_true(sub { names($one) !~ /Friend1/ }, 'delete: it goes', 20);
like(names($one), qr/Own Friend2/, 'keep: it stays');
$stage->until_true(sub { undecided() eq 'none' }, 'nothing more is asked', 10) or diag(undecided());
like(people(), qr/Friend1.*Friend2/, 'in the CRM both stay');

# ---- records that one of several users has deleted
$stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', on_target_delete => 'delete'); SELECT crmsync.enable_link('people')");
$stage->sql("INSERT INTO crm.person (id, first_name, last_name) VALUES (8, 'Shared', 'Eight'), (9, 'Shared', 'Nine'); INSERT INTO crm.audience SELECT p, m FROM unnest('{8,9}'::int[]) p, unnest('{$one,$two}'::text[]) m");
$stage->until_true(sub { names($one) =~ /Eight.*Nine/ && names($two) =~ /Eight.*Nine/ }, 'two that both have', 20);
sleep 2.5;
$exchange->act($one, 'delete', match => { 'contacts:GivenName' => 'Shared', 'contacts:Surname' => $_ }, folder => 'contacts') for qw(Eight Nine);
$stage->until_true(sub { undecided() eq 'delete 8 {keep,delete}, delete 9 {keep,delete}' }, 'somebody has to decide', 20) or diag(undecided());
resolve("record = '8'", 'keep');
resolve("record = '9'", 'delete');
$stage->until_true(sub { people() !~ /Nine/ && names($two) !~ /Nine/ }, 'delete: it goes from the CRM, and from the others', 20);
is((people() =~ /8 Shared Eight/ ? 1 : 0) . (names($two) =~ /Shared Eight/ ? 1 : 0) . (names($one) =~ /Shared Eight/ ? 1 : 0), '110', 'keep: it stays, but where it was deleted');
is(undecided(), 'none', 'nothing is left to decide');
is($stage->sql('SELECT count(*) FROM crmsync.request'), '0', 'nor to do');

$stage->done;
