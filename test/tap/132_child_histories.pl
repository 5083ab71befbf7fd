# Random changes of several rows alike, on both sides at once: no address is lost, doubled or comes back, but
# where both sides have changed the same it is a conflict that has it; and in the end all hold the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::Children;
use CrmSync::EndToEnd;
use Test::More;

my $seed = $ENV{CRMSYNC_SEED} // 1;
my $rounds = $ENV{CRMSYNC_ROUNDS} // 6;
srand $seed;
note("CRMSYNC_SEED=$seed CRMSYNC_ROUNDS=$rounds repeats this");

my $stage = CrmSync::EndToEnd->new('child_histories');
my $exchange = $stage->exchange;
my @mailboxes = map { "user$_\@example.test" } 1, 2;
my @records = 1 .. 8;
CrmSync::Children::make_tables($stage);
$stage->sql(<<"SQL");
SET ROLE crm_owner;
INSERT INTO crm.contact (id, first_name) SELECT i, 'First' || i FROM generate_series(1, @{[ scalar @records ]}) i;
INSERT INTO crm.contact_email (contact_id, email) SELECT i, 'old' || n || '\@' || i FROM generate_series(1, @{[ scalar @records ]}) i, generate_series(1, 2) n;
INSERT INTO crm.audience SELECT c.id, m FROM crm.contact c, unnest('{@{[ join ',', @mailboxes ]}}'::text[]) m;
SQL
$stage->make_target;
CrmSync::Children::make_link($stage, "direction => 'both', inbound_interval => '1 s'");
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('contacts')");

sub in_crm
{
	my @lines = split /\n/, $stage->sql("SELECT concat_ws(' ', c.id, string_agg(e.email, ' ' ORDER BY e.is_primary DESC, e.id)) FROM crm.contact c LEFT JOIN crm.contact_email e ON e.contact_id = c.id GROUP BY c.id ORDER BY c.id");
	return map { my (undef, @rows) = split ' '; \@rows } @lines;
}
sub in_mailbox { my $held = $exchange->records($_[0]); return map { my $item = $held->{$_}; [ map { $item->{"contacts:EmailAddress/EmailAddress$_"} // '-' } 1 .. 3 ] } @records }
sub first_three { my @rows = @{ $_[0] }; return join ' ', map { $rows[$_] // '-' } 0 .. 2 }
sub difference
{
	my @sides = ([ map { first_three($_) } in_crm() ], map { [ map { "@$_" } in_mailbox($_) ] } @mailboxes);
	my @all = map { my $record = $_; [ map { $_->[ $record - 1 ] } @sides ] } @records;
	return join ', ', map { join ' / ', @$_ } grep { $_->[0] ne $_->[1] || $_->[0] ne $_->[2] } @all;
}
sub quiet { return $stage->sql("SELECT (SELECT count(*) FROM crmsync.arrival) + (SELECT count(*) FROM crmsync.pending)") eq '0' && difference() eq '' }
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '2' && quiet() }, 'both mailboxes are read', 60);

my $made = 0;
sub new_value { return 'v' . ++$made . '@' . $_[0] }

# What one side does: what it adds, and what it takes away. Values are never used twice.
sub crm_acts
{
	my ($record, $rows, $added, $taken) = @_;
	my $does = int rand 4;
	if ($does == 0 || !@$rows)
	{
		my $value = new_value($record);
		$added->{$value} = 1;
		return "INSERT INTO crm.contact_email (contact_id, email) VALUES ($record, '$value');";
	}
	my $old = $rows->[ rand @$rows ];
	return "UPDATE crm.contact_email SET is_primary = NOT is_primary WHERE email = '$old';" if $does == 1;
	$taken->{$old} = 1;
	return "DELETE FROM crm.contact_email WHERE email = '$old';" if $does == 2;
	my $value = new_value($record);
	$added->{$value} = 1;
	return "UPDATE crm.contact_email SET email = '$value' WHERE email = '$old';";
}
sub user_acts
{
	my ($record, $slots, $added, $taken) = @_;
	my @slots = @$slots;
	my ($used) = grep { $slots[$_] ne '-' } sort { rand() <=> 0.5 } 0 .. 2;
	my ($free) = grep { $slots[$_] eq '-' } 0 .. 2;
	my $does = int rand 5;
	if ($does == 0) { @slots = @slots[ 1, 0, 2 ] }    # swaps two
	elsif ($does == 1 && defined $free) { $added->{ $slots[$free] = new_value($record) } = 1 }
	elsif ($does == 2 && defined $used) { $taken->{ $slots[$used] } = 1; $slots[$used] = '-' }
	elsif ($does == 3 && defined $used) { $taken->{ splice @slots, $used, 1 } = 1; push @slots, '-' }    # and moves up the rest
	elsif ($does == 4 && defined $used) { $taken->{ $slots[$used] } = 1; $added->{ $slots[$used] = new_value($record) } = 1 }
	return map { ("contacts:EmailAddress/EmailAddress$_" => $slots[ $_ - 1 ] eq '-' ? undef : $slots[ $_ - 1 ]) } 1 .. 3;
}

for my $round (1 .. $rounds)
{
	my @before = in_crm();
	my @held = in_mailbox($mailboxes[0]);
	my (%added, %taken, @did);
	$exchange->post('server', paused => \1);
	my $statements = '';
	for my $record (@records)
	{
		my %set = user_acts($record, $held[ $record - 1 ], \%added, \%taken);
		my $statement = rand() < 0.6 ? crm_acts($record, $before[ $record - 1 ], \%added, \%taken) : '';
		$exchange->act($mailboxes[ rand 2 ], 'update', match => { 'contacts:GivenName' => "First$record" }, folder => 'contacts', set => \%set);
		push @did, "record $record: had @{ $before[ $record - 1 ] }; user: @{[ map { $set{$_} // '-' } sort keys %set ]}; CRM: $statement";
		$statements .= $statement;
	}
	my $last = $stage->sql('SELECT coalesce(max(id), 0) FROM crmsync.conflict');
	$stage->sql($statements);
	$exchange->post('server', paused => \0);
	my $settled = $stage->until_true(\&quiet, "round $round: all hold the same", 60) or diag(difference(), "\n", $stage->sql('SELECT * FROM crmsync.failures'));
	my %noted = map { $_ => 1 } split ' ', $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', crm_value, target_value), ' '), '') FROM crmsync.conflict WHERE id > $last");
	my %there = map { $_ => 1 } map { @$_ } in_crm();
	my @lost = grep { !$taken{$_} && !$there{$_} && !$noted{$_} } keys %added, map { @$_ } @before;
	my @back = grep { $there{$_} && !$noted{$_} } keys %taken;
	is("lost: @lost, back: @back", 'lost: , back: ', "round $round: nothing is lost, and nothing comes back") or diag(join "\n", @did);
	last if !$settled;
}
is($stage->sql('SELECT count(*) FROM crmsync.failures'), '0', 'nothing failed');

$stage->done;
