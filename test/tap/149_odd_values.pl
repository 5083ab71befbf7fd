# Both directions: values that cannot go out, cannot be read or mean something else on either side keep nobody
# from being recognised, and hold up nobody else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('odd_values');
my $exchange = $stage->exchange;
my ($one, $two) = ('user1@example.test', 'user2@example.test');
my ($first, $last, $phone) = ('contacts:GivenName', 'contacts:Surname', 'contacts:PhoneNumber/BusinessPhone');
my $stamp = '7c2b3e5a-9d41-4f6e-8b0a-5e1c9a7d3f42/crmsync';

sub user_makes { my ($mailbox, %set) = @_; return $exchange->act($mailbox, 'create', folder => 'contacts', set => \%set) }
sub user_changes { my ($mailbox, $surname, %set) = @_; return $exchange->act($mailbox, 'update', match => { $last => $surname }, folder => 'contacts', set => \%set) }
sub people { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', first_name, last_name, phone), ', ' ORDER BY last_name, id), 'nobody') FROM crm.person") }
sub person { return $stage->sql("SELECT concat_ws(' ', first_name, last_name, phone, tier, rank) FROM crm.person WHERE last_name = '$_[0]'") }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code, message), ', ' ORDER BY message), 'nothing') FROM crmsync.failures") }
sub surnames { return join ' ', sort map { $_->{properties}{$last} // '-' } $exchange->items($_[0]) }

user_makes($one, $first => 'Ada', $last => 'Lovelace');
user_makes($one, $first => 'Alan', $last => 'Turing', 'contacts:JobTitle' => 'Of his own');
user_makes($one, $first => 'Mary', $last => 'Shelley', $phone => 'rude');
user_makes($one, $first => 'Grete', $last => 'Hermann', 'item:Categories' => ['Of her own']);
$stage->make_tables;
$stage->share_new_rows;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
ALTER TABLE crm.person ADD tier text, ADD rank smallint, ADD urgency text, ADD title text, ADD divisor int DEFAULT 1;
INSERT INTO crm.person (id, first_name, last_name, tier, divisor) VALUES
    (1, 'Ada', 'Lovelace', 'platinum', 1), (2, 'Alan', 'Turing', NULL, 0), (3, 'Grace', 'Hopper', 'gold', 1), (4, 'Mary', 'Shelley', NULL, 1);
INSERT INTO crm.person (id, first_name, last_name) VALUES (5, 'Grete', 'Hermann');
UPDATE crm.person SET title = 'boss' WHERE id = 2;
CREATE FUNCTION crm.be_polite() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'not polite'; END; \$\$;
CREATE TRIGGER polite AFTER UPDATE ON crm.person FOR EACH ROW WHEN (NEW.phone = 'rude') EXECUTE FUNCTION crm.be_polite();
CREATE FUNCTION crm.share_of(divisor int) RETURNS text LANGUAGE plpgsql AS \$\$ BEGIN RETURN (100 / divisor)::text; END; \$\$;
INSERT INTO crm.audience SELECT id, '$one' FROM crm.person;
SQL
$stage->make_target;
my $both = "direction => 'both', inbound_interval => '1 s'";
my $maps = <<'SQL';
SELECT crmsync.unmap('people', 'given_name');
SELECT crmsync.map('people', 'first_name', 'given_name', fallback => 'surname');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SELECT crmsync.map('people', 'tier', 'categories', value_map => '{"gold": ["Gold", "Golden"], "silver": "Silver"}');
SELECT crmsync.map('people', 'rank', 'gender', value_map => '{"1": "female", "2": "male", "3": "unspecified"}', fallback => '''2''');
SELECT crmsync.map('people', 'urgency', 'importance', value_map => '{"urgent": "high", "late": "low"}');
SELECT crmsync.map('people', 'title', 'job_title', value_map => '{"boss": "Boss", "hand": "Hand"}', fallback => '''hand''');
SELECT crmsync.map('people', '(crm.share_of(r.divisor))', 'company');
SQL
$stage->make_link(more => "$both, match_on => '{given_name,surname}'", before => $maps);

# ---- who is recognised
$stage->until_true(sub { surnames($one) =~ /Hopper/ }, 'what can go out does', 30);
$stage->until_true(sub { failing() =~ /platinum/ && failing() =~ /22012/ && failing() =~ /polite/ }, 'what cannot is parked', 20) or diag(failing());
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.arrival WHERE code IS NULL') eq '0' }, 'all that has arrived is dealt with', 20);
is(people(), 'Grete Hermann, Grace Hopper, Ada Lovelace, Mary Shelley, Alan Turing', 'and nobody is doubled in the CRM');
user_makes($one, $first => 'Somebody', $last => 'Else');
$stage->until_true(sub { people() =~ /Somebody Else/ }, 'others come in beside them', 20) or diag(failing());
$stage->sql("UPDATE crm.person SET tier = 'silver', divisor = 2 WHERE id IN (1, 2)");
$stage->until_true(sub { failing() !~ /platinum|22012/ }, 'when the CRM has mended them', 30) or diag(failing());
$stage->until_true(sub { $stage->sql("SELECT string_agg(record || ' ' || origin, ', ' ORDER BY record) FROM crmsync.item WHERE record IN ('1', '2')") eq '1 adopted, 2 adopted' }, 'each is known as its user\'s', 20);
is(surnames($one), 'Else Hermann Hopper Lovelace Shelley Turing', 'and nobody is doubled in the mailbox');

user_changes($one, 'Hermann', 'item:Categories' => ['Silver']);
$stage->until_true(sub { person('Hermann') =~ /silver/ && $exchange->records($one)->{5} }, 'one whose values mean nothing to the CRM is recognised when they do', 20) or diag(failing());

is($stage->sql("SELECT concat_ws(' ', crm_value, target_value, winner) FROM crmsync.conflicts WHERE record = '2' AND property = 'job_title'"), 'Boss Hand crm', 'what a fallback stands in for is not overwritten without a word');

# ---- one whom the CRM refuses is not made a second time
is($stage->sql("SELECT attempts > 1 AND next_attempt > now() + interval '10 seconds' FROM crmsync.arrival WHERE message LIKE '%polite'"), 't', 'what the CRM refuses is tried with growing pauses, although each attempt changes its row for a moment')
	or diag($stage->sql("SELECT * FROM crmsync.arrival"));
$stage->sql("UPDATE crm.person SET email = 'mary\@example.com' WHERE id = 4");
$stage->until_true(sub { $stage->sql("SELECT pending FROM crmsync.status") eq '0' && failing() =~ /polite/ }, 'what the CRM refuses of one waits, whatever else the CRM changes', 20) or diag(failing());
is(surnames($one), 'Else Hermann Hopper Lovelace Shelley Turing', 'and nothing is made of the same record beside it');
user_changes($one, 'Shelley', $phone => '+4');
$stage->until_true(sub { person('Shelley') =~ /\+4/ && $exchange->records($one)->{4} }, 'which it is when its user has mended it', 20) or diag(failing());

# ---- values that mean something to the CRM
user_changes($one, 'Hopper', $phone => '+1');
$stage->until_true(sub { person('Hopper') =~ /^Grace Hopper \+1 gold/ }, 'one whose category a value_map has made comes in', 20) or diag(person('Hopper'), failing());
user_changes($one, 'Lovelace', 'item:Categories' => 'Golden');
$stage->until_true(sub { person('Lovelace') =~ /gold/ }, 'each of several categories that mean the same is read', 20) or diag(person('Lovelace'), failing());
is(person('Else'), 'Somebody Else 2', 'a fallback is a value of the CRM');

# ---- what Exchange has for none
sub importance { return (map { $_->{properties}{'item:Importance'} } grep { $_->{properties}{$last} eq 'Hopper' } $exchange->items($one))[0] }
$stage->sql("UPDATE crm.person SET urgency = 'urgent' WHERE id = 3");
$stage->until_true(sub { importance() eq 'High' }, 'a value goes out', 20);
$stage->sql('UPDATE crm.person SET urgency = NULL WHERE id = 3');
$stage->until_true(sub { importance() eq 'Normal' }, 'and is taken back', 20);
user_changes($one, 'Hopper', $phone => '+7');
$stage->until_true(sub { person('Hopper') =~ /\+7/ }, 'what a value_map does not list and Exchange has for none is none', 20) or diag(failing());
is($stage->sql('SELECT coalesce(urgency, $$none$$) FROM crm.person WHERE id = 3'), 'none', 'for the CRM, too');

# ---- a fallback says nothing new while nobody changes what it comes from
user_makes($one, $last => 'Cher');
$stage->until_true(sub { person('Cher') =~ /^Cher Cher/ }, 'what a user has left out of a new item is what stands in for it', 20) or diag(people(), failing());
$stage->sql("UPDATE crm.person SET last_name = 'Sarkisian' WHERE last_name = 'Cher'; UPDATE crm.person SET first_name = NULL WHERE last_name = 'Turing'");
$stage->until_true(sub { surnames($one) =~ /Sarkisian/ && !grep { ($_->{properties}{$last} // '') eq 'Turing' && $_->{properties}{$first} } $exchange->items($one) }, 'the CRM changes one of the two, and empties another', 20);
user_changes($one, $_, $phone => '+9') for qw(Sarkisian Turing);
$stage->until_true(sub { person('Sarkisian') =~ /\+9/ && person('Turing') =~ /\+9/ }, 'when their user changes something else that comes in', 20) or diag(people(), failing());
is(join('; ', map { $stage->sql("SELECT concat_ws(' ', coalesce(first_name, '-'), last_name) FROM crm.person WHERE last_name = '$_'") } qw(Sarkisian Turing)), 'Cher Sarkisian; - Turing', 'and nothing else');
user_changes($one, 'Sarkisian', $last => 'Bono');
$stage->until_true(sub { person('Bono') =~ /^Bono Bono/ }, 'when he changes what stands in it does so again', 20) or diag(people());

# ---- a stamp that names no key of the source
user_makes($one, $first => 'Of', $last => 'Another', $stamp => $stage->sql("SELECT replace(instance::text, '-', '') FROM crmsync.identity LIMIT 1") . '/people/no-number');
user_changes($one, 'Hopper', $phone => '+2');
$stage->until_true(sub { person('Hopper') =~ /\+2/ }, 'an item with a key that cannot be one holds up nobody', 20) or diag(failing(), $stage->status('last_error'));
like(failing(), qr/no-number/, 'and is parked, which says why');

# ---- an item with nothing of its own
user_makes($one, 'item:Body' => 'not mapped');
$stage->until_true(sub { failing() =~ /23502 the item holds nothing that is mapped/ }, 'what only a constant could stand in for is no row', 20) or diag(people(), failing());

$stage->done;
