# What the CRM and the mailboxes must hold when all is quiet: an independent model of one link, which knows the
# policies and nothing of how crmsync works.
#
# Of one record there is a set of states that the world may be in. What somebody does leads each of them to
# another one, and between any two doings every mailbox may have been written or read, or not yet. So there are as
# many outcomes as the timing allows, and no more. When all is quiet the states are left that agree with what is seen.
#
# A state: the row of the CRM (its fields; undef: none), who is in the audience, and of each mailbox
#   off      undef: it takes part; soon: not any more, but what is under way may still be carried out; now
#   known    none: nothing was agreed on; linked; leaving: deleted by us, which we may not know; absent: deleted by its
#            user; gone: likewise, and never to come back; removed: likewise, and the record is to be deleted;
#            unlinked: left to its user
#   shadow   the fields as both sides last agreed on them
#   own      true: its user made the item
#   remade   true: the item was made anew, and the one before may come back. Somebody then has to decide
#            whether that is a copy, and until then it stays as it is
#   item     the item that is meant by known: its fields, whether it is stamped, whether its user has touched it
#   late     what was being written when the record went, and may yet be: the row of that time
#   others   further items with the record's stamp: copies, and what was away; fresh: not looked at yet
#   left     items without a stamp of which nothing is known: fields
#   away     what its user has moved out of the folder
#
# Where forgetful it allows that what we wrote and were made to forget is taken for the user's.
package CrmSync::Model;

use strict;
use warnings;

# Who wins where newest_wins the model does not know: it may be either side.
# new(mailboxes => number, direction => ..., conflict => ..., and so on as for create_link)
sub new { my ($class, %world) = @_; return bless { %world, states => {}, asleep => 1, off => [] }, $class }

sub reads_mailboxes { my ($self) = @_; return $self->{direction} ne 'outbound' }

sub tags
{
	my ($self) = @_;
	my %tags = (%{ $self->{states} }, %{ $self->{meanwhile} // {} });
	return sort keys %tags;
}

# ---- what is done: does($tag, doing, arguments), with undef for all records; forgetful: what is carried out may be
# forgotten by whoever did it

sub does
{
	my ($self, $tag, @doing) = @_;
	return $self->does_to_all(@doing) if !defined $tag;
	$self->{states}{$tag} //= $self->states_of($tag);
	if ($self->{asleep})
	{
		push @{ $self->{meanwhile}{$tag} }, \@doing;
		return;
	}
	push @{ $self->{waited}{$tag}{doings} }, \@doing if $self->{waited}{$tag};
	return if $doing[0] =~ /^user/ && $self->waited($tag);
	return $self->now_is($tag, \@doing, $self->after($self->states_of($tag), 0, \@doing));
}

# Who is switched on or off is so for records that are not there yet, too.
sub does_to_all
{
	my ($self, $doing, $box, $on) = @_;
	$self->does($_, $doing, $box, $on) for $self->tags;
	$self->{off}[$box] = $on ? undef : 'soon';
	return;
}

sub states_of
{
	my ($self, $tag) = @_;
	return $self->{states}{$tag} // [ { row => undef, audience => [], boxes => [ map { { known => 'none', others => [], left => [], off => $self->{off}[$_] } } 0 .. $self->{mailboxes} - 1 ] } ];
}

# The states after these doings; nothing: nothing happened in between.
sub after
{
	my ($self, $states, $nothing, @doings) = @_;
	my @now = @$states;
	for (@doings)
	{
		my ($doing, @arguments) = @$_;
		@now = $self->closure(@now) if !$nothing;
		local $self->{crowded} = @now > 200;
		@now = map { $self->$doing($_, @arguments) } @now;
	}
	return @now;
}

sub now_is
{
	my ($self, $tag, $doing, @states) = @_;
	push @{ $self->{impossible} }, "$tag: @{[ map { $_ // 'nothing' } @$doing ]} should not have been possible" if !@states;
	$self->{states}{$tag} = [@states] if @states;
	return;
}

# The link can do nothing: it is not made yet, or the server stands still.
sub sleeps { my ($self) = @_; $self->{asleep} = 1; delete $self->{waited}; return }

# Nothing was done meanwhile, but that something had been decided and was waiting: see waited.
sub wakes
{
	my ($self, $slept_well) = @_;
	$self->{asleep} = 0;
	my $meanwhile = delete $self->{meanwhile} // {};
	for my $tag (sort keys %$meanwhile)
	{
		my @doings = @{ $meanwhile->{$tag} };
		$self->{waited}{$tag} = { states => $self->states_of($tag), doings => \@doings } if !$slept_well;
		next if !$slept_well && ($self->{forgetful} || (grep { leaves(@$_) } @doings) || $self->sets_again(@doings)) && $self->waited($tag);
		$self->now_is($tag, $doings[-1], $self->after($self->states_of($tag), 1, @doings));
	}
	return;
}

# What was waiting makes a difference where it is forgotten, where the CRM goes back to what was agreed on, where it has
# filled a gap, where the item is left to its user afterwards, or where he changes it as soon as it is written. It may
# have been written after all that users did. What he had removed may have been made anew by it before the record left.
sub waited
{
	my ($self, $tag) = @_;
	my $waited = delete $self->{waited}{$tag} // return 0;
	my @doings = @{ $waited->{doings} };
	my ($users, $crms) = map { my $whose = $_; [ grep { $_->[0] =~ /^$whose/ } @doings ] } 'user', 'crm';
	my @states = ($self->after($waited->{states}, 0, @doings), $self->after($waited->{states}, 0, @$users, @$crms));
	my @last = grep { leaves(@{ $doings[$_] }) } 0 .. $#doings;
	if (@last)
	{
		my @before = @doings[ 0 .. $last[0] - 1 ];
		my @rest = @doings[ $last[0] .. $#doings ];
		my @removals = grep { $_->[0] =~ /^user_(?:deletes|moves_out)/ } @rest;
		my @others = grep { $_->[0] !~ /^user_(?:deletes|moves_out)/ } @rest;
		push @states, $self->after($waited->{states}, 0, @before, @removals, @others) if @removals;
	}
	$self->now_is($tag, $doings[-1], @states);
	return 1;
}

sub sets_again
{
	my ($self, @doings) = @_;
	my %times;
	$times{ $_->[2] }++ for grep { $_->[0] eq 'crm_sets' } @doings;
	return scalar grep { $self->fills($_) || $times{$_} > 1 } keys %times;
}

sub leaves
{
	my ($doing, @arguments) = @_;
	return $doing eq 'crm_deletes' || $doing eq 'crm_shares' && !$arguments[2] || $doing eq 'crm_switches' && !$arguments[1];
}

sub crm_makes { my ($self, $state, $fields, @in) = @_; my @audience; @audience[@in] = (1) x @in; return { %$state, row => $fields, audience => \@audience } }

# What concerns a row comes with whether there was one.
sub crm_sets
{
	my ($self, $state, $found, $field, $value) = @_;
	return if $found != defined $state->{row};
	return $found ? { %$state, row => changed($state->{row}, $field, $value) } : $state;
}

sub crm_deletes
{
	my ($self, $state, $found) = @_;
	return if $found != defined $state->{row};
	return { %{ $self->leaves_behind($state, 0 .. $self->{mailboxes} - 1) }, row => undef, audience => [] };
}

sub crm_shares
{
	my ($self, $state, $found, $box, $with) = @_;
	return if $found != defined $state->{row};
	my @audience = @{ $state->{audience} };
	$audience[$box] = $found && $with;
	return { %{ $with ? $state : $self->leaves_behind($state, $box) }, audience => \@audience };
}

# Where answers are lost a write is tried again, also when its record has gone meanwhile. That is rare: where there
# are very many states already, it would only make more of them than can be followed.
sub leaves_behind
{
	my ($self, $state, @boxes) = @_;
	for my $i ($self->{forgetful} && !$self->{crowded} && $state->{row} ? grep { $state->{audience}[$_] && ($state->{boxes}[$_]{off} // '') ne 'now' } @boxes : ())
	{
		$state = with($state, $i, late => $state->{row});
	}
	return $state;
}

sub crm_switches { my ($self, $state, $box, $on) = @_; return with($state, $box, off => $on ? undef : 'soon') }

sub user_makes { my ($self, $state, $box, $fields) = @_; return with($state, $box, left => [ @{ $state->{boxes}[$box]{left} }, $fields ]) }

# Whichever item it was: the only one, else the only one with a stamp; else it may be any.
sub user_sets
{
	my ($self, $state, $box, $field, $value) = @_;
	return map {
		my ($kind, $at, $fields) = @$_;
		put($state, $box, $kind, $at, changed($fields, $field, $value))
	} items_meant($state->{boxes}[$box]);
}

sub user_deletes { my ($self, $state, $box) = @_; return map { put($state, $box, @$_[ 0, 1 ], undef) } items_meant($state->{boxes}[$box]) }

# Only what has a stamp is moved and copied.
sub user_moves_out
{
	my ($self, $state, $box) = @_;
	return map {
		my ($kind, $at, $fields, $own) = @$_;
		with(put($state, $box, $kind, $at, undef), $box, away => { fields => $fields, own => $own })
	} grep { $_->[0] ne 'left' } items_meant($state->{boxes}[$box]);
}

sub user_moves_back
{
	my ($self, $state, $box) = @_;
	my $away = $state->{boxes}[$box]{away};
	return with($state, $box, away => undef, others => [ @{ $state->{boxes}[$box]{others} }, { %$away, fresh => 1 } ]);
}

sub user_copies
{
	my ($self, $state, $box) = @_;
	return map { with($state, $box, others => [ @{ $state->{boxes}[$box]{others} }, { fields => $_->[2], own => $_->[3], fresh => 1 } ]) }
	  grep { $_->[0] ne 'left' } items_meant($state->{boxes}[$box]);
}

# What was being made when the record went may come after it, and stay.
sub user_deletes_folder
{
	my ($self, $state, $box) = @_;
	my $item = $state->{boxes}[$box]{item};
	my @late = $state->{row} && $state->{audience}[$box] ? () : with($state, $box, others => [], $item && !$item->{stamped} ? () : (item => undef));
	return with($state, $box, item => undef, others => [], left => []), @late;
}

# Candidates: [ kind, place, fields, own ]
sub items_meant
{
	my ($box) = @_;
	my $at = 0;
	my @all;
	push @all, [ 'item', 0, $box->{item}{fields}, $box->{own} ] if $box->{item};
	push @all, map { [ 'others', $at++, $_->{fields}, $_->{own} ] } @{ $box->{others} };
	$at = 0;
	push @all, map { [ 'left', $at++, $_ ] } @{ $box->{left} };
	my @stamped = grep { $_->[0] eq 'others' || $_->[0] eq 'item' && $box->{item}{stamped} } @all;
	return @all == 1 ? @all : @stamped == 1 ? @stamped : @all;
}

sub put
{
	my ($state, $i, $kind, $at, $fields) = @_;
	my $box = $state->{boxes}[$i];
	if ($kind eq 'item')
	{
		return with($state, $i, item => $fields && { %{ $box->{item} }, fields => $fields, touched => 1 });
	}
	my @list = @{ $box->{$kind} };
	splice @list, $at, 1, !$fields ? () : $kind eq 'left' ? $fields : { %{ $list[$at] }, fields => $fields, fresh => 1 };
	return with($state, $i, $kind => \@list);
}

# ---- what the link does about it in one mailbox, in one go: the states that may follow; none: it has nothing to do

sub writes
{
	my ($self, $state, $i, $forgetful) = @_;
	return $self->belongs($state, $i) ? $self->keeps($state, $i, $forgetful) : $self->parts($state, $i, $forgetful);
}

# The record belongs there. Of a link that only reads: where there is an item of it.
sub belongs
{
	my ($self, $state, $i) = @_;
	return $state->{row} && ($self->{direction} eq 'inbound' ? $state->{boxes}[$i]{known} ne 'none' : $state->{audience}[$i]);
}

sub keeps
{
	my ($self, $state, $i, $forgetful) = @_;
	my $box = $state->{boxes}[$i];
	my ($known, $item) = @$box{qw(known item)};
	return $self->stamps($state, $i) if $self->{direction} eq 'inbound';
	my $agrees = $box->{shadow} && $self->agrees($state->{row}, $box->{shadow});
	my $again = !$agrees || $self->{on_target_delete} eq 'recreate';
	return if $self->{match_on} && $known eq 'none' && @{ $box->{left} };
	return $self->creates($state, $i, $forgetful) if $known eq 'none' || $known eq 'leaving' || ($known eq 'absent' && $again);
	return if $known =~ /^(absent|gone|removed)$/ || ($agrees && (!$item || $item->{stamped}) && $known ne 'unlinked');
	if (!$item)
	{
		return with($state, $i, known => 'gone') if $self->{on_target_delete} eq 'unlink' && $known ne 'unlinked' && !@{ $box->{others} };
		return $self->creates($state, $i, $forgetful);
	}
	return $self->merges($state, $i) if $self->{direction} eq 'both' && ($item->{touched} || !$box->{shadow});
	my $whole = !$box->{shadow};
	my $recognised = $whole && (!$item->{stamped} || $box->{own});
	my @next;
	for my $user_keeps (!$recognised ? 0 : $self->any_field('write_fields', 'all') ? (1, 0) : 1)
	{
		# Of what has just been recognised only that is written which the CRM says, or all when its user has changed it.
		my @row = map { $user_keeps && !defined $state->{row}[$_] ? $item->{fields}[$_] : $state->{row}[$_] } 0 .. $#{ $state->{row} };
		# Where nothing but our stamp is missing nothing but it is written.
		my @fields = $agrees ? @{ $item->{fields} } : $self->written(\@row, $box->{shadow}, $item->{fields});
		push @next, $forgetful ? with($state, $i, item => { fields => \@fields, stamped => 1, touched => 1 }) : with($state, $i, known => 'linked', shadow => $self->agreed($state->{row}, \@fields), item => { fields => \@fields, stamped => 1 });
	}
	return @next;
}

# What a write makes of the fields of an item; nothing was agreed on: all of them. Where only gaps are filled what the
# item has stays.
sub written
{
	my ($self, $row, $shadow, $held) = @_;
	return map {
		my $due = !$shadow || $self->policy_of($_, 'write_fields') eq 'all' || differ($row->[$_], $shadow->[$_]);
		$self->goes_out($_) && $due && !($self->fills($_) && (defined $held->[$_] || $self->is_filled($_, $shadow))) ? $row->[$_] : $held->[$_]
	} 0 .. $#$row;
}

# What both sides agree on when it is written: that there is no gap any more, and of what only comes in what is there.
sub agreed
{
	my ($self, $row, $fields) = @_;
	return [ map { !$self->goes_out($_) ? $fields->[$_] : $self->fills($_) ? $fields->[$_] // $row->[$_] : $row->[$_] } 0 .. $#$row ];
}

# A gap that was filled once: what is only written does not fill it again.
sub is_filled { my ($self, $field, $shadow) = @_; return $self->fills($field) && $shadow && defined $shadow->[$field] && !$self->comes_in($field) }

# The CRM has nothing to write that is not there yet.
sub agrees
{
	my ($self, $row, $shadow) = @_;
	return !grep { $self->goes_out($_) && differ($row->[$_], $shadow->[$_]) && !($self->fills($_) && defined $shadow->[$_]) } 0 .. $#$row;
}

sub stamps
{
	my ($self, $state, $i) = @_;
	my $item = $state->{boxes}[$i]{item};
	return if !$item || $item->{stamped};
	return with($state, $i, item => { %$item, stamped => 1 });
}

# What bears the stamp already is taken, and merged like any other: its user may have changed it while it was away.
sub creates
{
	my ($self, $state, $i, $forgetful) = @_;
	my $box = $state->{boxes}[$i];
	my $own = $box->{known} eq 'none' ? undef : $box->{own};
	my @others = @{ $box->{others} };
	my @next;
	# A copy that its user has made since the folder was listed is not known; what we made ourselves has to be.
	my $anew = !@others || (($box->{known} eq 'none' || $self->reads_mailboxes && grep { $_->{fresh} } @others) && !grep { $_->{ours} } @others);
	for my $taken ($anew ? -1 : (), 0 .. $#others)
	{
		my @rest = @others;
		my ($found) = $taken < 0 ? () : splice @rest, $taken, 1;
		my %linked = (known => 'linked', remade => $box->{remade} || $box->{known} !~ /^(none|leaving)$/, own => $found ? $found->{own} : $own, others => \@rest);
		if ($found && $self->reads_mailboxes)
		{
			push @next, $self->merges(with($state, $i, %linked, item => { fields => $found->{fields}, stamped => 1 }), $i);
			next;
		}
		my $fields = $found ? $self->written_to($found, $state->{row}, $box->{shadow}) : [ $self->written($state->{row}, undef, []) ];
		my $made = { fields => $fields, own => $linked{own}, fresh => $self->reads_mailboxes, ours => 1 };
		push @next, $forgetful
		  ? with($state, $i, item => undef, others => [ @rest, $made ])
		  : with($state, $i, %linked, shadow => $self->agreed($state->{row}, $fields), item => { fields => $fields, stamped => 1 });
	}
	return @next;
}

# What its user has changed stays, unless the CRM has changed the same. Of what nothing is known, and we made, all is
# written; what its user made keeps what the CRM has no value for. If anything is written what is always written is, too.
sub written_to
{
	my ($self, $found, $row, $shadow) = @_;
	my @held = @{ $found->{fields} };
	my $stays = sub { my ($field) = @_; return $self->fills($field) && defined $held[$field] };
	my @due = map { !$stays->($_) && ($shadow ? differ($row->[$_], $shadow->[$_]) && !$self->is_filled($_, $shadow) : defined $row->[$_] || !$found->{own}) } 0 .. $#$row;
	my $any = grep { $due[$_] && differ($row->[$_], $held[$_]) } 0 .. $#$row;
	return [ map { $due[$_] || $any && $self->policy_of($_, 'write_fields') eq 'all' ? $row->[$_] : $held[$_] } 0 .. $#$row ];
}

# What may come after its record has gone: it is written, or was never begun.
sub comes_late
{
	my ($self, $state, $i) = @_;
	my $late = $state->{boxes}[$i]{late} // return;
	my @audience = @{ $state->{audience} };
	$audience[$i] = 1;
	my $rest = with($state, $i, late => undef);
	my $then = { %$rest, row => $late, audience => \@audience };
	my @written = grep { same($_->{row}, $late) } map { $self->keeps($then, $i, $_) } 0, 1;
	return $rest, map { { %$_, row => $state->{row}, audience => $state->{audience} } } @written;
}

# The record does not belong there, or is gone.
sub parts
{
	my ($self, $state, $i, $forgetful) = @_;
	my $box = $state->{boxes}[$i];
	my ($known, $item) = @$box{qw(known item)};
	my %nothing = (known => 'none', remade => undef, shadow => undef, own => undef, item => undef);
	return if $known eq 'none' || $known eq 'unlinked' || ($known =~ /^(gone|removed)$/ && $state->{row});
	my $unlinks = $state->{row} ? $box->{own} || $self->{on_audience_loss} eq 'unlink' : $self->{on_crm_delete} eq 'keep';
	my @others = @{ $box->{others} };
	if (!$item && @others && $known =~ /^(linked|leaving)$/ && $self->{direction} eq 'outbound')
	{
		# What is to go and is not there is looked for. A copy may be its user's by now, and what he made is.
		return map {
			my $found = $_;
			my %rest = (others => [ grep { $_ != $found } @others ]);
			my $his = with($state, $i, %nothing, %rest, left => [ @{ $box->{left} }, $found->{fields} ]);
			my $ours = with($state, $i, known => 'linked', item => { %$found, stamped => 1, touched => 1 }, %rest);
			$unlinks ? $ours : $found->{own} ? $his : ($his, $ours)
		} @others;
	}
	if ($known ne 'linked' || !$item)
	{
		# What a user made he may bring back: it stays known that it is his.
		return with($state, $i, %nothing) if !$box->{own} || !$state->{row} || $known !~ /^(linked|absent)$/;
		return if $known eq 'absent';
		return with($state, $i, known => $self->{on_target_delete} eq 'unlink' ? 'gone' : 'absent');
	}
	if ($unlinks)
	{
		return $item->{stamped} ? with($state, $i, item => { %$item, stamped => 0, touched => 1 }) : () if $forgetful;
		return with($state, $i, known => 'unlinked', item => { %$item, stamped => 0, touched => 1 });
	}
	return $forgetful ? with($state, $i, known => 'leaving', item => undef) : with($state, $i, %nothing);
}

# What the user did comes to be known. A link that only writes learns it in writing, or wants to know what is gone.
sub reads
{
	my ($self, $state, $i) = @_;
	my $box = $state->{boxes}[$i];
	my ($known, $item) = @$box{qw(known item)};
	my $writes_only = $self->{direction} eq 'outbound';
	return if $writes_only && $self->{on_target_delete} ne 'recreate' && !$self->{match_on};
	if (!$item && $known =~ /^(linked|leaving|unlinked)$/)
	{
		return with($state, $i, known => 'none', remade => undef, shadow => undef, own => undef) if $known ne 'linked';
		return with($state, $i, known => { unlink => 'gone', delete => 'removed' }->{ $self->{on_target_delete} } // 'absent');
	}
	return if $writes_only && !$self->{match_on};
	my $missing = $known =~ /^(none|absent|gone|removed)$/;
	my @others = @{ $box->{others} };
	if (my @fresh = grep { $others[$_]{fresh} } 0 .. $#others)
	{
		return with($state, $i, others => [], left => [ @{ $box->{left} }, map { $_->{fields} } @others ]) if !$missing && $writes_only;
		return with($state, $i, others => [ map { { %$_, fresh => 0 } } @others ]) if !$missing;
		return map {
			my $back = $others[$_];
			my @rest = map { { %$_, fresh => $writes_only && $_->{fresh} } } grep { $_ != $back } @others;    # copies
			my $next = with($state, $i, known => 'linked', own => $back->{own}, item => { fields => $back->{fields}, stamped => 1, touched => 1 }, others => \@rest);
			$state->{row} && !$writes_only ? $self->merges($next, $i) : $next
		} @fresh;
	}
	if (@{ $box->{left} } && $missing)
	{
		return $writes_only ? () : $self->takes_new($state, $i) if !$state->{row};
		my @may_be = !$self->{match_on} || !$state->{audience}[$i] && $self->{direction} ne 'inbound' ? ()
		  : $self->{on_ambiguous} eq 'oldest' || @{ $box->{left} } == 1 ? 0 .. $#{ $box->{left} } : ();
		return map { $self->recognises($state, $i, $_) } @may_be if @may_be;
	}
	return if $writes_only;
	return $self->removes($state, $i) if $known eq 'removed' && $state->{row};
	return $self->merges($state, $i) if $known eq 'linked' && $item->{touched} && $state->{row};
	return;
}

# The record of what its user has deleted goes, too, unless others have it or the CRM has changed it since.
sub removes
{
	my ($self, $state, $i) = @_;
	my $box = $state->{boxes}[$i];
	my @having = grep { $self->{direction} eq 'inbound' ? $state->{boxes}[$_]{known} ne 'none' : $state->{audience}[$_] } 0 .. $self->{mailboxes} - 1;
	return with($state, $i, known => 'absent') if !$self->belongs($state, $i) || !$self->agrees($state->{row}, $box->{shadow}) || @having > 1;
	return { %{ with($state, $i, known => 'none', remade => undef, shadow => undef, own => undef) }, row => undef, audience => [] };
}

sub takes_new
{
	my ($self, $state, $i) = @_;
	my ($fields, @left) = @{ $state->{boxes}[$i]{left} };
	my @audience;
	$audience[$i] = 1;
	my @row = map { $self->comes_in($_) ? $fields->[$_] : undef } 0 .. $#$fields;
	return { %{ with($state, $i, known => 'linked', own => 1, shadow => $self->agreed(\@row, $fields), left => \@left, item => { fields => $fields }) }, row => \@row, audience => \@audience };
}

sub recognises
{
	my ($self, $state, $i, $place) = @_;
	my @left = @{ $state->{boxes}[$i]{left} };
	my $fields = splice @left, $place, 1;
	my $next = with($state, $i, known => 'linked', own => 1, shadow => undef, left => \@left, item => { fields => $fields });
	return $self->{direction} eq 'outbound' ? $next : $self->merges($next, $i);
}

# Three ways: what only the user changed, or both and he wins, comes into the CRM. The rest is written afterwards. Of
# what only comes in all is taken that there is, and nobody writes over what fills gaps only. Where nothing was agreed on
# what we made may seem to be as we made it: the server tells seconds.
sub merges
{
	my ($self, $state, $i) = @_;
	my $box = $state->{boxes}[$i];
	my @shadows = $box->{shadow} ? $box->{shadow} : ([], $box->{own} ? () : $box->{item}{fields});
	my @newer = $self->any_field('conflict', 'newest_wins') ? (0, 1) : 0;
	return map { my $shadow = $_; map { $self->merges_against($shadow, $state, $i, $_) } @newer } @shadows;
}

sub merges_against
{
	my ($self, $shadow, $state, $i, $he_is_newer) = @_;
	my $box = $state->{boxes}[$i];
	my $held = $box->{item}{fields};
	my @row = @{ $state->{row} };
	my @agreed = @$shadow;
	for my $field (0 .. $#row)
	{
		my $stays = $self->fills($field) && defined $held->[$field];
		$agreed[$field] = $held->[$field] if $stays || $self->comes_in($field);
		next if !$self->comes_in($field);
		my ($crm_moved, $user_moved) = (differ($row[$field], $shadow->[$field]), differ($held->[$field], $shadow->[$field]));
		my $reads_only = !$self->goes_out($field);
		my $policy = $self->policy_of($field, 'conflict');
		my $he_wins = $stays || $reads_only || $policy eq 'target_wins' || ($policy eq 'newest_wins' && $he_is_newer);
		$row[$field] = $held->[$field] if $user_moved ? !$crm_moved || $he_wins : $reads_only && defined $held->[$field];
	}
	return { %{ with($state, $i, shadow => \@agreed, item => { %{ $box->{item} }, touched => 0 }) }, row => \@row };
}

# A link that has forgotten something may meet what bears its stamp at any time, and what the CRM has changed and only
# comes in is read again at any time.
sub meets
{
	my ($self, $state, $i) = @_;
	my $box = $state->{boxes}[$i];
	return $self->merges($state, $i) if $state->{row} && $box->{known} eq 'linked' && $box->{item} && grep { !$self->goes_out($_) && differ($state->{row}[$_], $box->{item}{fields}[$_]) } 0, 1;
	return if $box->{known} ne 'none';
	return map {
		my $met = $_;
		my @rest = grep { $_ != $met } @{ $box->{others} };
		with($state, $i, known => 'linked', own => $met->{own}, item => { fields => $met->{fields}, stamped => 1, touched => $self->reads_mailboxes ? 1 : 0 }, others => \@rest)
	} @{ $box->{others} };
}

# ---- all that may have happened by now

sub closure
{
	my ($self, @states) = @_;
	my %seen;
	my @all;
	while (my $state = shift @states)
	{
		next if $seen{ key_of($state) }++;
		push @all, $state;
		for my $i (0 .. $self->{mailboxes} - 1)
		{
			my $off = $state->{boxes}[$i]{off} // '';
			push @states, $self->comes_late($state, $i);
			next if $off eq 'now';
			push @states, with($state, $i, off => 'now') if $off eq 'soon';
			push @states, $self->writes($state, $i), $self->reads($state, $i), $self->meets($state, $i);
			push @states, $self->writes($state, $i, 1) if $self->{forgetful};
		}
	}
	return @all;
}

# ---- what is certain at present

sub is_certain
{
	my ($self, $tag, $condition) = @_;
	return !$self->{meanwhile}{$tag} && !$self->{waited}{$tag} && !grep { !$condition->($_) } $self->closure(@{ $self->{states}{$tag} // return 0 });
}

# The item stands in the place of another one that its user had removed.
sub is_remade
{
	my ($self, $tag, $i) = @_;
	return $self->is_certain($tag, sub { my ($state) = @_; my $box = $state->{boxes}[$i]; return $self->belongs($state, $i) && $box->{known} eq 'linked' && $box->{item} && $box->{remade} });
}

# The item is the only one of its record there ever was.
sub is_at_home
{
	my ($self, $tag, $i) = @_;
	return $self->is_certain($tag, sub {
		my ($state) = @_;
		my $box = $state->{boxes}[$i];
		return $self->belongs($state, $i) && $box->{known} eq 'linked' && $box->{item} && $box->{item}{stamped} && !$box->{remade} && !$box->{away} && !@{ $box->{others} } && !@{ $box->{left} };
	});
}

# ---- what is seen when all is quiet

sub rests { my ($self) = @_; $_ &&= 'now' for @{ $self->{off} }; return }

# What was done though no state allows it, as what concerns a row that should not be there.
sub impossible { my ($self) = @_; return @{ $self->{impossible} // [] } }

# Takes, of one record, the row (fields or undef) and for each mailbox a list of [stamped, fields]. Returns what it
# may look like instead, or nothing when it may look like this.
sub disagrees
{
	my ($self, $tag, $row, @boxes) = @_;
	my $looks = look($row, map { [ map { shown(@$_) } @$_ ] } @boxes);
	my @quiet = grep { $self->is_quiet($_) } $self->closure(@{ $self->{states}{$tag} });
	my %allowed;
	push @{ $allowed{ look_of($_) } }, $_ for @quiet;
	return "$looks, but may be:", sort keys %allowed if !$allowed{$looks};
	$self->{states}{$tag} = $allowed{$looks};
	delete $self->{waited}{$tag};
	return;
}

sub is_quiet
{
	my ($self, $state) = @_;
	for my $i (0 .. $self->{mailboxes} - 1)
	{
		my $off = $state->{boxes}[$i]{off} // '';
		return 0 if $off eq 'soon' || $state->{boxes}[$i]{late} || !$off && ($self->writes($state, $i) || $self->reads($state, $i));
	}
	return 1;
}

sub look_of
{
	my ($state) = @_;
	return look($state->{row}, map {
		my $box = $_;
		[ $box->{item} ? shown($box->{item}{stamped}, $box->{item}{fields}) : (), (map { shown(1, $_->{fields}) } @{ $box->{others} }), map { shown(0, $_) } @{ $box->{left} } ]
	} @{ $state->{boxes} });
}
sub look { my ($row, @boxes) = @_; return join '; ', 'CRM: ' . text($row), map { 'user ' . ($_ + 1) . ': ' . (join(' and ', sort @{ $boxes[$_] }) || 'nothing') } 0 .. $#boxes }
sub shown { my ($stamped, $fields) = @_; return text($fields) . ($stamped ? '*' : '') }

# ---- policies of a field: those of the link, but for what is said of the second, the title

sub policy_of { my ($self, $field, $policy) = @_; return $field == 1 && $self->{"title_$policy"} || $self->{$policy} }
sub any_field { my ($self, $policy, $value) = @_; return scalar grep { $self->policy_of($_, $policy) eq $value } 0, 1 }
sub comes_in { my ($self, $field) = @_; return $self->policy_of($field, 'direction') ne 'outbound' }
sub goes_out { my ($self, $field) = @_; return $self->policy_of($field, 'direction') ne 'inbound' }
sub fills { my ($self, $field) = @_; return $self->policy_of($field, 'write_fields') eq 'if_empty' }

# ---- values

sub text { my ($fields) = @_; return $fields ? '(' . join(' ', map { $_ // '-' } @$fields) . ')' : 'none' }
sub differ { my ($one, $other) = @_; return ($one // '') ne ($other // '') }
sub same { my ($one, $other) = @_; return !grep { differ($one->[$_], $other->[$_]) } 0 .. $#$one }
sub changed { my ($fields, $field, $value) = @_; my @changed = @$fields; $changed[$field] = $value; return \@changed }

# The same state but for one mailbox.
sub with
{
	my ($state, $i, %changes) = @_;
	my @boxes = @{ $state->{boxes} };
	$boxes[$i] = { %{ $boxes[$i] }, key => undef, %changes };
	return { %$state, boxes => \@boxes };
}

sub key_of
{
	my ($state) = @_;
	return join '|', text($state->{row}), join(',', map { $_ ? 1 : 0 } @{ $state->{audience} }[ 0 .. $#{ $state->{boxes} } ]), map { $_->{key} //= key_of_box($_) } @{ $state->{boxes} };
}

sub key_of_box
{
	my ($box) = @_;
	my $flags = sub { my ($of, @names) = @_; return join '', map { $_ ? 1 : 0 } @$of{@names} };
	return join '/', $box->{known}, $box->{off} // '', $flags->($box, qw(own remade)), text($box->{late}), text($box->{shadow}), $box->{item} ? text($box->{item}{fields}) . $flags->($box->{item}, qw(stamped touched)) : '',
	  join('&', sort map { text($_->{fields}) . $flags->($_, qw(own fresh ours)) } @{ $box->{others} }), join('&', sort map { text($_) } @{ $box->{left} }),
	  $box->{away} ? text($box->{away}{fields}) . $flags->($box->{away}, 'own') : '';
}

1;
