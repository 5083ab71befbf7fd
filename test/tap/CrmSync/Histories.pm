# Random histories: which policies a world has, and what happens in it. What is made here depends on the seed
# alone, so that a history can be run again.
package CrmSync::Histories;

use strict;
use warnings;

sub any { return $_[ rand @_ ] }
sub often { my %weights = @_; return any(map { ($_) x $weights{$_} } sort keys %weights) }

sub policies
{
	my $direction = often(both => 5, outbound => 3, inbound => 2);
	my ($writes, $reads) = ($direction ne 'inbound', $direction ne 'outbound');
	my $match_on = rand() < 0.3 ? '{nickname}' : '';
	my $title = !($reads && $writes) || rand() < 0.6 ? '' : any('outbound', 'inbound', 'crm_wins', 'target_wins', 'newest_wins');
	return (
		direction => $direction,
		conflict => !$writes ? '' : $reads ? any('crm_wins', 'target_wins', 'newest_wins') : 'crm_wins',
		write_fields => $writes ? any('changed', 'all') : '',
		on_crm_delete => often(delete => 2, keep => 1),
		on_target_delete => often(ignore => 2, unlink => 1, $writes ? (recreate => 1) : (), $reads ? (delete => 1) : ()),
		on_audience_loss => $writes ? any('delete', 'unlink') : '',
		match_on => $match_on,
		on_ambiguous => $match_on ? any('park', 'oldest') : '',
		folder => rand() < 0.4 ? 'Customers' : '',
		title_conflict => $title =~ /_wins/ ? $title : '',
		title_write_fields => $writes && $title ne 'inbound' && rand() < 0.4 ? any('changed', 'all', 'if_empty', 'if_empty') : '',
		title_direction => $title =~ /bound/ ? $title : '',
		title_in => $title !~ /bound/ && rand() < 0.25 ? 'child' : '',
		apply => $reads && rand() < 0.25 ? 'function' : '',
		participants => $reads || rand() < 0.5 ? 'told' : '',
		mailboxes => often(1 => 4, 2 => 7, 3 => 1),
	);
}

# new(policies of the world). Where a record may be at present is guessed, so that most steps are possible.
sub new { my ($class, %world) = @_; return bless { %world, tags => [], where => {}, away => [], off => {}, made => 0 }, $class }

# What there is before the link, and the link. Where match_on is set users have some of it already, now and then
# twice; of those only the values change until they have been recognised.
sub beginning
{
	my ($self) = @_;
	my @steps;
	for (1 .. 1 + rand 3)
	{
		my $first = @steps;
		push @steps, $self->step('', rand() < 0.7 ? 'crm makes' : 'user makes');
		next if $steps[$first] =~ /^user/ || !$self->{match_on};
		my ($tag, $in) = $steps[$first] =~ /(c\d+) in (.*)/;
		for my $box (grep { rand() < 0.7 } split / /, $in)
		{
			push @steps, ("user $box makes $tag") x (rand() < 0.15 ? 2 : 1), $self->step($tag, 'user sets', $box);
		}
	}
	push @steps, 'link', map { $self->step('', any('crm sets', 'user sets')) } 0 .. rand 4;
	return @steps;
}

# The steps of one round in one world.
sub steps
{
	my ($self) = @_;
	my $favourite = rand() < 0.7 ? any(@{ $self->{tags} }) : undef;
	my @steps = map { $self->step($favourite) } 0 .. 1 + rand rand($self->{mailboxes} > 2 ? 5 : 16);
	return $self->{direction} eq 'outbound' ? @steps : without_doubles(@steps);
}

# What comes back when another item has taken its place is taken for a copy, if it is not known any more that there
# was one: in that round nothing else happens by which that could be forgotten.
sub without_doubles
{
	my (@steps) = @_;
	my %back = map { /^user \d moves (\w+) back$/ ? ($1 => 1) : () } @steps;
	return grep { !/^(?:crm (?:gives|takes|deletes)|user \d moves) (\w+)(?! back)\b/ || !$back{$1} } @steps;
}

my %weights = (
	'crm makes' => 6, 'user makes' => 4, 'crm sets' => 24, 'user sets' => 30, 'crm deletes' => 4, 'crm gives' => 8, 'crm takes' => 8, 'user deletes' => 8,
	'user moves out' => 9, 'user moves back' => 12, 'user copies' => 3, 'user deletes the folder' => 1, 'server forgets' => 2, 'crm switches' => 6);

sub step
{
	my ($self, $favourite, $kind, $box) = @_;
	my $tag = $favourite && ($kind || rand() < 0.7) ? $favourite : any(@{ $self->{tags} });
	$kind //= @{ $self->{tags} } < 2 ? 'crm makes' : often(%weights);
	my @boxes = 1 .. $self->{mailboxes};
	my @in = grep { $self->{where}{$tag // ''}{$_} } @boxes;
	my $is_there = $kind =~ /^user |takes/ && @in && rand() < 0.9;
	$box //= any($is_there ? @in : @boxes);
	$kind = 'crm sets' if $self->{direction} eq 'inbound' && $kind =~ /gives|takes/ || !$self->{participants} && $kind eq 'crm switches';
	return "crm switches $box " . (($self->{off}{$box} = !$self->{off}{$box}) ? 'off' : 'on') if $kind eq 'crm switches';
	if ($kind eq 'user moves back')
	{
		my $away = pop @{ $self->{away} };
		$away ? (($tag, $box) = @$away) : ($kind = 'user sets');
	}
	push @{ $self->{away} }, [ $tag, $box ] if $kind eq 'user moves out';
	my $field = any('last_name', 'job_title');
	my $has_gaps = $field eq 'job_title' && $self->{title_write_fields} eq 'if_empty';
	my $value = rand() < ($has_gaps ? 0.3 : 0.1) ? 'nothing' : 'v' . ++$self->{made};
	if ($kind eq 'user copies' && $self->{direction} ne 'outbound')
	{
		push @{ $self->{tags} }, my $copy = 'u' . ++$self->{made};
		$self->{where}{$copy} = { $box => 1 };
		return "user $box copies $tag as $copy";
	}
	if ($kind =~ /^(crm|user) makes$/)
	{
		push @{ $self->{tags} }, $tag = substr($kind, 0, 1) . ++$self->{made};
		shift @{ $self->{tags} } if @{ $self->{tags} } > 5;
		@in = $1 eq 'crm' ? grep { rand() < 0.7 } @boxes : ();
		@in = ($box) if !@in;
		$self->{where}{$tag} = { map { $_ => 1 } @in };
		return $1 eq 'crm' ? "crm makes $tag in @in" : "user $box makes $tag";
	}
	$self->{where}{$tag}{$box} = 1 if $kind =~ /gives|back/;
	$self->{where}{$tag} = {} if $kind eq 'crm deletes';
	delete $self->{where}{$tag}{$box} if $kind =~ /takes|out|user deletes$/;
	return
	    $kind eq 'crm sets' ? "crm sets $field of $tag to $value"
	  : $kind eq 'user sets' ? "user $box sets $field of $tag to $value"
	  : $kind eq 'crm gives' ? "crm gives $tag to $box"
	  : $kind eq 'crm takes' ? "crm takes $tag from $box"
	  : $kind eq 'server forgets' ? "server forgets the reading of $box"
	  : $kind eq 'user deletes the folder' ? "user $box deletes the folder"
	  : $kind =~ /^(\w+) (moves) (\w+)$/ ? "user $box moves $tag $3"
	  : $kind =~ /^crm (.*)/ ? "crm $1 $tag"
	  : $kind =~ /^user (.*)/ ? "user $box $1 $tag" : die $kind;
}

# What happens to all worlds in one round of so many ticks: by tick, lines. A server that stands still does so from the
# beginning, when all is quiet: then nobody learns of anything until it goes on, and each outcome is certain.
sub troubles
{
	my ($ticks, $is_quiet) = @_;
	my @by_tick = map { [] } 1 .. $ticks;
	my $from = 0;
	if ($is_quiet && rand() < 0.6)
	{
		$from = 1 + int rand $ticks - 1;
		push @{ $by_tick[0] }, 'server stands still';
		push @{ $by_tick[$from] }, 'server goes on';
	}
	return @by_tick if rand() < 0.4;
	for (0 .. rand 3)
	{
		my $kind = often(crash => 2, kill => 2, lost => 4, late => 2, half => 2, invalid_xml => 1, close => 1, busy => 1, http => 1, busy_message => 1, locks => 2, touches => 2);
		my $operation = often(CreateItem => 3, UpdateItem => 3, DeleteItem => 3, GetItem => 2, SyncFolderItems => 2, FindItem => 1);
		push @{ any(@by_tick[ $from .. $ticks - 1 ]) },
		    $kind eq 'crash' ? 'database crashes'
		  : $kind eq 'kill' ? 'worker is killed'
		  : $kind =~ /^(?:locks|touches)$/ ? "somebody $kind " . any(qw(arrival item link_state mailbox pending))
		  : $kind eq 'late' ? 'server answers late to ' . (1 + int rand 3) . ' CreateItem'
		  : "server answers $kind to @{[ 1 + int rand 5 ]} $operation";
	}
	return @by_tick;
}

# Whether what was carried out may be forgotten by whoever did it.
sub is_forgetful { return scalar grep { /crashes|killed|answers (?:lost|late|half|invalid_xml)/ } @_ }

# What a create makes that comes late is gone when all is quiet, if its record stays, and its user leaves it alone.
sub without_touching
{
	my (@steps) = @_;
	return grep { !/^crm (?:deletes|takes|switches) |^user \d (?:sets|deletes|moves|copies) / } @steps;
}

1;
