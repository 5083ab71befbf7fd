# Random histories in many worlds at once, with crashes and a server that fails: when all is quiet each world must
# be in a state that the model (CrmSync::Model) allows.
#   CRMSYNC_SEED=n        the same histories again
#   CRMSYNC_ROUNDS=n      so many rounds, one round being one history in every world; else what there is time for
#   CRMSYNC_WORLDS=n      worlds (40); after ten rounds there are new ones
#   CRMSYNC_HISTORY=FILE  only the history in FILE, as it is printed when one fails, in as many worlds at once
#   CRMSYNC_SHRINK=n      seconds for making the first history that fails shorter (60)
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::Histories;
use CrmSync::World;
use IPC::Run qw(start);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{CRMSYNC_SEED} // time % 1_000_000;
my $rounds = $ENV{CRMSYNC_ROUNDS} // 10;
my $until = time + ($ENV{CRMSYNC_ROUNDS} ? 1e9 : 50);
my $worlds = $ENV{CRMSYNC_WORLDS} // 40;
my $shrinking = $ENV{CRMSYNC_SHRINK} // 60;
my $rounds_in_a_world = 10;
my $ticks = 10;

my $stage = CrmSync::EndToEnd->new('histories', exchange => [ '--mailboxes', 1 ], conf => "log_statement = none\ncrmsync.max_create_delay = 4s\nrestart_after_crash = on\nmax_worker_processes = 20");
my ($node, $exchange) = ($stage->node, $stage->exchange);
my $made = 0;
my %counts;    # of steps
my $late = 0;    # creates of this round may come late
my @others;      # who are in the way
$stage->sql(CrmSync::World::shared_sql());
$stage->make_target;

sub make_worlds
{
	my (@policies) = @_;
	my @made = map { CrmSync::World->new($stage, ++$made, %$_) } @policies;
	$stage->sql("SET client_min_messages = error;\n" . join '', map { $_->tables_sql } @made);
	return @made;
}

sub drop_worlds { $stage->sql(join '', map { $_->drop_sql } @_); return }

# ---- what happens

# Somebody else, for two seconds: with a table that nobody may write to, or with changes of all its rows.
sub in_the_way
{
	my ($how, $table) = @_;
	my $column = $table eq 'arrival' ? 'mailbox' : 'link';
	my @statements = $how eq 'locks' ? ('BEGIN', "LOCK TABLE crmsync.$table IN SHARE ROW EXCLUSIVE MODE", 'SELECT pg_sleep(2)', 'COMMIT')
	  : map { $_, 'SELECT pg_sleep(0.05)' } ("UPDATE crmsync.$table SET $column = $column") x 40;
	# Not by a pipe: a server that is started meanwhile would hold its other end, and the reader wait for ever.
	return start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), map { ('-c', $_) } @statements ], '<', '/dev/null', '>', \my $said, '2>&1');
}

sub comes_back
{
	my $until = time + 60;
	sleep 0.1 while time < $until && !$stage->answers;
	return;
}

sub trouble
{
	my ($line) = @_;
	if ($line eq 'database crashes')
	{
		$node->stop('immediate');
		$node->start;
	}
	elsif ($line eq 'worker is killed')
	{
		my $pid = $stage->worker_pid;
		kill 9, $pid if $pid;
		sleep 0.1;
		comes_back();
	}
	elsif ($line =~ /^somebody (locks|touches) (\w+)$/)
	{
		push @others, in_the_way($1, $2);
	}
	elsif ($line =~ /^server (stands still|goes on)$/)
	{
		$exchange->post('server', paused => $1 eq 'goes on' ? \0 : \1);
	}
	else
	{
		my ($action, $count, $operation) = $line =~ /^server answers (\w+) to (\d+) (\w+)$/ or die "what is \"$line\"?\n";
		$exchange->inject($action, count => 0 + $count, operation => $operation, $action =~ /busy/ ? (back_off_ms => 300) : $action eq 'late' ? (seconds => 1.5) : ());
	}
	return;
}

# Steps at the same time: pairs of world and line.
sub steps
{
	my (@steps) = @_;
	my @crm = grep { $_->[1] =~ /^crm / } @steps;
	my @user = grep { $_->[1] !~ /^crm |^link$/ } @steps;
	if (my @link = map { $_->[0] } grep { $_->[1] eq 'link' } @steps)
	{
		$stage->sql("SET client_min_messages = error;\n" . join '', map { $_->link_sql } @link);
		$_->model->wakes(1) for @link;
	}
	for my $first (rand() < 0.5 ? (\@crm, \@user) : (\@user, \@crm))
	{
		$first == \@crm ? (@crm = crm_steps(@crm)) : (@user = grep { $_->[0]->user_step($_->[1]) } @user);
	}
	push @{ $_->[0]{log} }, $_->[1] for grep { $_->[1] eq 'link' } @steps;
	for my $step (@crm, @user)
	{
		push @{ $step->[0]{log} }, $step->[1];
		$counts{"$1 $2"}++ if $step->[1] =~ /^(\w+) (?:\d )?(\w+)/;
	}
	return;
}

sub crm_steps
{
	my @possible;
	my @steps = map { my ($world, $line) = @$_; my @step = $world->crm_step($line); push @possible, $_ if @step; @step ? [ $world, @step ] : () } @_;
	return if !@steps;
	my $said = $stage->sql(join '', map { "$steps[$_][1] SELECT $_, count(*) FROM f;\n" } 0 .. $#steps);
	for my $line (split /\n/, $said)
	{
		my ($number, $found) = split /\|/, $line;
		my ($world, undef, $tag, $told) = @{ $steps[$number] };
		$world->model->does($tag, $told->($found));
	}
	return @possible;
}

# ---- when it is quiet

sub is_quiet
{
	return 0 if $late && $stage->sql('SELECT EXISTS (SELECT FROM crmsync.mailbox WHERE isfinite(look_again)) OR EXISTS (SELECT FROM crmsync.repair)') eq 't';
	return $stage->sql(<<'SQL') eq 't';
SELECT NOT EXISTS (SELECT FROM crmsync.status WHERE pending > 0 OR state <> 'idle')
   AND NOT EXISTS (SELECT FROM crmsync.arrival a WHERE (code IS NULL OR next_attempt IS NOT NULL AND code <> 'AMBIGUOUS') AND takes_part(a.mailbox))
   AND NOT EXISTS (SELECT FROM crmsync.item i WHERE state = 'linked' AND NOT stamped AND takes_part(i.mailbox))
   AND NOT EXISTS (SELECT FROM crmsync.link_state WHERE comparison IS NOT NULL)
   AND NOT EXISTS (SELECT FROM crmsync.mailbox WHERE (code IS NOT NULL OR listing IS NOT NULL) AND takes_part(id))
   AND NOT EXISTS (SELECT FROM crmsync.request)
   AND NOT EXISTS (SELECT FROM crmsync.sighting s WHERE takes_part(s.mailbox))
   AND NOT EXISTS (SELECT FROM crmsync.failures WHERE NOT parked AND code <> 'AMBIGUOUS')
SQL
}

sub try_again
{
	$stage->sql("SELECT crmsync.resume_target(name) FROM crmsync.targets WHERE code IS NOT NULL; SELECT crmsync.retry(link) FROM (SELECT link FROM crmsync.failures UNION SELECT link FROM crmsync.mailboxes WHERE code IS NOT NULL) f");
	return;
}

# Quiet for so long that every mailbox has been read.
sub wait_for_quiet
{
	my ($for) = @_;
	my $until = time + 40;
	my $quiet_since = time;
	my $tries = 0;
	while (time < $until && time - $quiet_since < $for)
	{
		if (!is_quiet())
		{
			$quiet_since = time;
			try_again() if ++$tries % 5 == 1;
		}
		sleep 0.2;
	}
	return;
}

sub rows
{
	my (@worlds) = @_;
	my %rows;
	for my $line (split /\n/, $stage->sql(join ' UNION ALL ', map { $_->rows_sql } @worlds))
	{
		my ($world, $tag, $id, @fields) = split /\|/, $line, -1;
		$rows{$world}{$tag} = [ $id, [ map { $_ eq '' ? undef : $_ } @fields ], exists $rows{$world}{$tag} ];
	}
	return \%rows;
}

# Returns, by number of the world, what is wrong. What looks wrong is given more time.
sub check
{
	my (@worlds) = @_;
	my %wrong;
	$exchange->calm;
	$exchange->post('server', paused => \0);
	$_->finish for splice @others;
	for my $wait (1.3, 3, 10)
	{
		wait_for_quiet($wait);
		my $rows = rows(@worlds);
		%wrong = map { my @wrong = $_->check($rows->{ $_->{number} } // {}); @wrong ? ($_->{number} => \@wrong) : () } @worlds;
		for my $line (split /\n/, $stage->sql("SELECT substr(link, 2), concat_ws(' ', 'failure:', record, mailbox, code, message) FROM crmsync.failures WHERE code <> 'AMBIGUOUS'"))
		{
			my ($number, $failure) = split /\|/, $line, 2;
			push @{ $wrong{$number} }, $failure if grep { $_->{number} eq $number } @worlds;
		}
		@worlds = grep { $wrong{ $_->{number} } } @worlds;
		last if !%wrong;
	}
	return \%wrong;
}

# ---- rounds

# plan: by tick { troubles, steps => { number of the world => lines }, wait => seconds }
sub run_round
{
	my ($worlds, @plan) = @_;
	my @troubles = map { @{ $_->{troubles} } } @plan;
	$_->model->{forgetful} = CrmSync::Histories::is_forgetful(@troubles) for @$worlds;
	$late = grep { / late / } @troubles;
	for my $tick (@plan)
	{
		for my $trouble (@{ $tick->{troubles} })
		{
			trouble($trouble);
			for my $model (map { $_->model } @$worlds)
			{
				$model->sleeps if $trouble eq 'server stands still';
				$model->wakes if $trouble eq 'server goes on';
			}
			push @{ $_->{log} }, $trouble for @$worlds;
		}
		steps(map { my $world = $_; map { [ $world, $_ ] } @{ $tick->{steps}{ $world->{number} } // [] } } @$worlds);
		sleep $tick->{wait};
		push @{ $_->{log} }, "wait $tick->{wait}" for @$worlds;
	}
	my $wrong = check(@$worlds);
	for my $world (@$worlds)
	{
		push @{ $world->{log} }, 'quiet';
		$world->rests;
	}
	return $wrong;
}

sub plan_round
{
	my ($worlds, $generators, $begins) = @_;
	my @troubles = CrmSync::Histories::troubles($ticks, !$begins);
	my @plan = map { { troubles => $_, steps => {}, wait => CrmSync::Histories::any(0, 0, 0.1, 0.1, 0.3, 1) } } @troubles;
	unshift @plan, map { { troubles => [], steps => {}, wait => 0 } } 1, 2 if $begins;
	for my $i (0 .. $#$worlds)
	{
		my @steps = $begins ? $generators->[$i]->beginning : $generators->[$i]->steps;
		@steps = CrmSync::Histories::without_touching(@steps) if grep { / late / } map { @$_ } @troubles;
		my @at = sort { $a <=> $b } map { $#plan - int rand $ticks } @steps;
		if ($begins)
		{
			my ($link) = grep { $steps[$_] eq 'link' } 0 .. $#steps;
			@at[ 0 .. $link ] = ((0) x $link, 1);
		}
		push @{ $plan[ $at[$_] ]{steps}{ $worlds->[$i]{number} } }, $steps[$_] for 0 .. $#steps;
	}
	return @plan;
}

# ---- one history again

# lines: as they are logged. In so many worlds at once; returns what is wrong in one of them.
sub replay
{
	my ($policy, $lines, $copies) = @_;
	my @worlds = make_worlds(map { $policy } 1 .. $copies);
	my $wrong;
	my @round;
	for my $line (@$lines)
	{
		push @round, $line;
		next if $line ne 'quiet';
		my @plan = map {
			my $line = $_;
			my $is_step = $line =~ /^(?:crm|user|server forgets) |^link$/;
			{ troubles => $is_step || $line =~ /^(wait|quiet)/ ? [] : [$line], steps => { $is_step ? map { $_->{number} => [$line] } @worlds : () }, wait => $line =~ /^wait (.*)/ ? $1 : 0 }
		} @round;
		@round = ();
		$wrong = run_round(\@worlds, @plan);
		last if %$wrong;
	}
	drop_worlds(@worlds);
	return (values %$wrong)[0];
}

sub shorter { my ($lines) = @_; my @short; for (@$lines) { /^wait (.*)/ && @short && $short[-1] =~ /^wait (.*)/ ? ($short[-1] = 'wait ' . sprintf '%g', $1 + substr $_, 5) : push @short, $_ } return [ grep { $_ ne 'wait 0' } @short ] }

# Leaves out what need not happen, as long as there is time.
sub shrink
{
	my ($policy, $lines, @wrong) = @_;
	my $until = time + $shrinking;
	my %concerned = map { $_ => 1 } map { /^(\w+):/ } @wrong;
	my @last = @$lines;
	my $again = sub { my ($attempt) = @_; my $wrong = eval { replay($policy, $attempt, 20) }; return $wrong && @$wrong ? $attempt : undef };
	my $found = $again->([ grep { !/\b[cu]\d+\b/ || grep { $concerned{$_} } /\b([cu]\d+)\b/g } @$lines ]);
	return if !$found;
	for (my $size = int @$found / 2; $size >= 1 && time < $until; $size = int $size / 2)
	{
		for (my $place = 0; $place < $#$found && time < $until;)
		{
			my @attempt = @$found;
			my @left_out = splice @attempt, $place, $size;
			my $still = @attempt && $attempt[-1] eq 'quiet' && !(grep { $_ eq 'link' } @left_out) && $again->(\@attempt);
			$still ? ($found = $still) : ($place += $size);
		}
	}
	return shorter($found);
}

my $shrunk = 0;
sub report
{
	my ($world, $wrong) = @_;
	diag(join "\n", "history of seed $seed:", $world->title, @{ shorter($world->{log}) }, 'what is wrong:', @$wrong);
	return if !$shrinking || $shrunk++;
	my $short = shrink($world->{policy}, shorter($world->{log}), @$wrong);
	diag(join "\n", $short ? ('found again as:', $world->title, @$short) : 'it was not found again');
	return;
}

# ---- all of them

my ($passed, $failed) = (0, 0);
sub finish
{
	note(join ', ', map { "$counts{$_} times $_" } sort keys %counts);
	diag("$passed histories passed, $failed failed (seed $seed)");
	$stage->done;
	return;
}

if (my $file = $ENV{CRMSYNC_HISTORY})
{
	my ($title, @lines) = grep { $_ ne '' } map { s/^#?\s+|\s+$//gr } split /\n/, slurp_file($file);
	my %policy = ((map { $_ => '' } qw(conflict write_fields on_audience_loss match_on on_ambiguous folder participants title_conflict title_write_fields title_direction title_in apply)), $title =~ /(\w+)=(\S+)/g);
	push @lines, 'quiet' if $lines[-1] ne 'quiet';
	for my $time (1 .. $rounds)
	{
		my $wrong = replay(\%policy, \@lines, $worlds);
		ok(!$wrong, "history $time") or diag(join "\n", @$wrong);
		$passed += $worlds if !$wrong;
		$failed += 1 if $wrong;
		last if $wrong;
	}
	finish();
	exit;
}

note("CRMSYNC_SEED=$seed");
my (@now, @generators);
for my $round (1 .. $rounds)
{
	last if time > $until;
	srand($seed * 1000 + $round);
	my $begins = !@now || $round % $rounds_in_a_world == 1;
	if ($begins)
	{
		drop_worlds(@now) if @now;
		@now = make_worlds(map { { CrmSync::Histories::policies() } } 1 .. $worlds);
		@generators = map { CrmSync::Histories->new(%{ $_->{policy} }) } @now;
	}
	my $started = time;
	my $wrong = run_round(\@now, plan_round(\@now, \@generators, $begins));
	my @bad = grep { $wrong->{ $_->{number} } } @now;
	$passed += @now - @bad;
	$failed += @bad;
	diag("$passed passed, $failed failed after round $round of $rounds") if $ENV{CRMSYNC_ROUNDS};
	ok(!@bad, sprintf '%d histories of seed %d, round %d (%.1f s)', scalar @now, $seed, $round, time - $started) or do
	{
		report($_, $wrong->{ $_->{number} }) for @bad;
		drop_worlds(@bad);
		my %bad = map { $_ => 1 } @bad;
		my @good = grep { !$bad{ $now[$_] } } 0 .. $#now;
		@generators = @generators[@good];
		@now = @now[@good];
	};
}
finish();
