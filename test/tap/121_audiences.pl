# The recipes of docs/audiences.md, run as they stand there: whatever changes in whatever table, each mailbox
# holds what the audience says. Then 10,000 contacts change hands at once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{CRMSYNC_SEED} // time % 1_000_000;
srand $seed;
note("CRMSYNC_SEED=$seed");

my $employees = 6;
my $stage = CrmSync::EndToEnd->new('audiences', exchange => [ map { ('--mailbox', $_) } 'anna@example.com', map { "user$_\@example.test" } 2 .. $employees ]);
my $exchange = $stage->exchange;
$stage->make_target;
for my $example (slurp_file("$FindBin::RealBin/../../docs/audiences.md") =~ /^```sql\n(.*?)^```/msg)
{
	$stage->sql("SET client_min_messages = error;\n$example");
}
$stage->sql(<<"SQL");
INSERT INTO office.employee SELECT i, CASE i WHEN 1 THEN 'anna\@example.com' ELSE 'user' || i || '\@example.test' END, NULLIF(i / 2, 0), 'T' || i % 3, i <= 4
FROM generate_series(1, $employees) i;
INSERT INTO office.company SELECT i, 'Company' || i, 'T' || i % 3 FROM generate_series(1, 5) i;
INSERT INTO office.contact SELECT i, 'First' || i, 'Last' || i, i % 10 = 0, i % 5 + 1, i % $employees + 1 FROM generate_series(1, 40) i;
INSERT INTO office.team SELECT i, i % 4 + 1 FROM generate_series(1, 40, 3) i;
INSERT INTO office.subscription SELECT i, i % 5 + 1 FROM generate_series(1, 40, 7) i;
SELECT crmsync.alter_link('office', options => '{"max_deletes": 100000, "max_delete_percent": 100}');
SQL

# What the view says, and what is there; who takes no part has nothing new, and keeps what he had.
sub wanted { return $stage->sql('SELECT a.mailbox, string_agg(DISTINCT a.record::text, \' \' ORDER BY a.record::text) FROM office.contact_audience a JOIN office.participant p ON p.mailbox = a.mailbox AND p.enabled GROUP BY 1 ORDER BY 1') }
sub found
{
	my @found;
	for my $mailbox (split /\n/, $stage->sql('SELECT mailbox FROM office.participant WHERE enabled ORDER BY 1'))
	{
		my @records = sort keys %{ $exchange->records($mailbox, 'Office') };
		push @found, "$mailbox|@records" if @records;
	}
	return join "\n", @found;
}
sub agrees
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stage->sync('office');
	my ($wanted, $found) = (wanted(), found());
	return ok($found eq $wanted, $what) || diag(length($found) + length($wanted) < 4000 ? "found $found\nwanted $wanted" : "they differ") && 0;
}
agrees('what the audience says is there');
sub why { my ($record) = @_; return $stage->sql("SELECT string_agg(concat_ws(' ', step, ok), ', ') FROM crmsync.why('office', '$record', 'anna\@example.com')") }
my $annas = "SELECT a.record FROM office.contact_audience a WHERE a.mailbox = 'anna\@example.com'";
is(why($stage->sql("$annas ORDER BY 1 LIMIT 1")), 'link t, record t, audience t, mailbox takes part t, mailbox t, item t', 'why() says why a record is there');
is(why($stage->sql("SELECT min(id) FROM office.contact WHERE id NOT IN ($annas)")), 'link t, record t, audience f, mailbox takes part t, mailbox t, item f', 'and why another one is not');

sub any { return $_[ rand @_ ] }
sub employee { return int(rand $employees) + 1 }
sub contact { return int(rand 40) + 1 }
my @changes = (
	sub { return 'UPDATE office.contact SET owner_id = ' . any('NULL', employee()) . ' WHERE id = ' . contact() },
	sub { return 'UPDATE office.contact SET is_secret = NOT is_secret WHERE id = ' . contact() },
	sub { return 'UPDATE office.contact SET company_id = ' . any('NULL', int(rand 5) + 1) . ' WHERE id = ' . contact() },
	sub { return 'INSERT INTO office.team VALUES (' . contact() . ', ' . employee() . ') ON CONFLICT DO NOTHING' },
	sub { return 'DELETE FROM office.team WHERE contact_id = ' . contact() },
	sub { return 'UPDATE office.team SET employee_id = ' . employee() . ' WHERE contact_id = (SELECT min(contact_id) FROM office.team GROUP BY contact_id HAVING count(*) = 1 LIMIT 1)' },
	sub { return 'INSERT INTO office.subscription VALUES (' . contact() . ', ' . employee() . ') ON CONFLICT DO NOTHING' },
	sub { return 'DELETE FROM office.subscription WHERE employee_id = ' . employee() },
	sub { return 'UPDATE office.company SET territory = ' . any('NULL', "'T0'", "'T1'", "'T2'") . ' WHERE id = ' . (int(rand 5) + 1) },
	sub { return 'UPDATE office.employee SET territory = ' . any('NULL', "'T0'", "'T1'", "'T2'") . ' WHERE id = ' . employee() },
	sub { my $who = employee(); my $manager = employee(); return 'UPDATE office.employee SET manager_id = ' . ($manager < $who ? $manager : 'NULL') . " WHERE id = $who" },
	sub { my ($a, $b) = (employee(), employee()); return "UPDATE office.employee e SET email = o.email FROM office.employee o WHERE e.id IN ($a, $b) AND o.id IN ($a, $b) AND (o.id <> e.id)" },
	sub { return 'UPDATE office.employee SET pilot = true WHERE id = ' . employee() });
for my $round (1 .. 20)
{
	my @statements = map { any(@changes)->() } 1 .. 1 + int rand 3;
	$stage->sql(join '; ', @statements);
	agrees("round $round") or diag(join "\n", @statements) or last;
}

# ---- who opts out, and comes back
$stage->sql("UPDATE office.employee SET pilot = false WHERE email = 'anna\@example.com'");
$stage->sync('office');
my $before = join ' ', sort keys %{ $exchange->records('anna@example.com', 'Office') };
$stage->sql("UPDATE office.contact SET owner_id = NULL, company_id = NULL, first_name = 'Changed'; DELETE FROM office.team; DELETE FROM office.subscription");
$stage->sync('office');
is(join(' ', sort keys %{ $exchange->records('anna@example.com', 'Office') }), $before, 'in the mailbox of who opts out nothing is touched');
$stage->sql("UPDATE office.employee SET pilot = true");
agrees('when he is back it is made right');

# ---- 10,000 contacts change hands at once
$stage->sql("UPDATE office.employee SET manager_id = NULL, territory = NULL; INSERT INTO office.contact SELECT i, 'First' || i, 'Last' || i, false, NULL, 2 FROM generate_series(1001, 11000) i");
$stage->settles('10,000 contacts of one owner', 'office', '120 s');
my $started = time;
$stage->sql('UPDATE office.contact SET owner_id = 3 WHERE id > 1000');
$stage->settles('all get another one', 'office', '120 s');
note(sprintf '10,000 contacts changed hands in %.1f s', time - $started);
agrees('they have moved, all of them');
is($stage->sql("SELECT count(*) FROM office.contact_audience a JOIN office.employee e ON e.email = a.mailbox AND e.id = 3"), 10000, 'as the audience says');

$stage->done;
