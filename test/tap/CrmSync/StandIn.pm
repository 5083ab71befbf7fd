# The stand-in Exchange server of test/exchange, started for one test and steered through /control.
package CrmSync::StandIn;

use strict;
use warnings;

use HTTP::Tiny;
use IPC::Run ();
use JSON::XS ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Time::HiRes qw(sleep time);

# They end with their test, also when it dies: by the time of global destruction nobody may know their processes any more.
my @all;
END { local $?; $_->stop for @all }

my $stamp_set = '7c2b3e5a-9d41-4f6e-8b0a-5e1c9a7d3f42';

sub program
{
	my @places = grep { defined } $ENV{CRMSYNC_EXCHANGE}, ($ENV{CRMSYNC_BUILD} // 'build/none') . '/../exchange', 'build/exchange';
	for my $place (@places)
	{
		return "$place/exchange_stand_in" if -x "$place/exchange_stand_in";
	}
	die "no exchange_stand_in in @places; make -C test/exchange BUILD=DIR builds it\n";
}

# The directory with envelope.xsd, or undef: then requests are checked by the stand-in's own rules only.
sub schema
{
	my $schema = $ENV{CRMSYNC_EWS_SCHEMA} // return;
	$schema =~ s{/envelope\.xsd$}{};
	return -r "$schema/envelope.xsd" ? $schema : undef;
}

# new($directory, @options): everything that it writes goes below the directory.
sub new
{
	my ($class, $directory, @options) = @_;
	my $self = bless { directory => $directory, options => [@options], port => 0 }, $class;
	mkdir $directory;
	$self->{scheme} = (grep { $_ eq '--cert' } @options) ? 'https' : 'http';
	$self->{http} = HTTP::Tiny->new(timeout => 60);
	push @all, $self;
	$self->start;
	return $self;
}

sub start
{
	my ($self) = @_;
	my $file = "$self->{directory}/port";
	unlink $file;
	my @schema = schema() ? ('--schema', schema()) : ();
	my $log = "$self->{directory}/log";
	my $bodies = sprintf '%s/bodies%03d', $self->{directory}, ++$self->{starts};
	mkdir $bodies;
	$self->{process} = IPC::Run::start(
		[ program(), '--port', $self->{port}, '--port-file', $file, '--bodies', $bodies, '--journal', "$self->{directory}/journal", @schema, @{ $self->{options} } ],
		'<', \undef, '>', $log, '2>', "$log.error");
	# Among many others that begin it may have to wait for its turn.
	my $limit = time + 60;
	until (-s $file)
	{
		die 'the stand-in does not start: ' . slurp_file("$log.error") if time > $limit || !$self->{process}->pumpable;
		sleep 0.02;
	}
	chomp($self->{port} = slurp_file($file));
	return;
}

sub stop
{
	my ($self) = @_;
	my $process = delete $self->{process} or return;
	$process->kill_kill(grace => 2);
	return;
}

sub url { my ($self) = @_; return "$self->{scheme}://127.0.0.1:$self->{port}/EWS/Exchange.asmx" }

# ---- control

sub _ask
{
	my ($self, $method, $path, $content) = @_;
	my $url = "$self->{scheme}://127.0.0.1:$self->{port}/control/$path";
	if ($self->{scheme} eq 'https')
	{
		my @body = defined $content ? ('-d', JSON::XS::encode_json($content)) : ();
		IPC::Run::run([ 'curl', '-sfk', '-X', $method, @body, $url ], '>', \my $said) or die "$method $url failed\n";
		return $said eq '' ? undef : JSON::XS->new->utf8->allow_nonref->decode($said);
	}
	my $answer = $self->{http}->request($method, $url, defined $content ? { content => JSON::XS::encode_json($content) } : {});
	die "$method $url: $answer->{status} $answer->{content}\n" if !$answer->{success};
	return $answer->{content} eq '' ? undef : JSON::XS->new->utf8->allow_nonref->decode($answer->{content});
}

sub get { my ($self, $path) = @_; return $self->_ask('GET', $path) }
sub post { my ($self, $path, %content) = @_; return $self->_ask('POST', $path, \%content) }

# Faults: one that hits the next requests, and the end of all.
sub inject { my ($self, $action, %settings) = @_; return $self->post('faults', action => $action, %settings) }
sub calm { my ($self) = @_; $self->_ask('DELETE', 'faults'); return }

# How often each injected fault has hit.
sub hits
{
	my ($self) = @_;
	my $sum = 0;
	$sum += $_->{hit} for @{ $self->get('faults') };
	return $sum;
}

# ---- what arrived

# Everything in a mailbox's folder (contacts) but what we are not asked for: a list of hashes.
sub items
{
	my ($self, $mailbox, $folder) = @_;
	$folder //= 'contacts';
	my $content = $self->get("mailbox?address=$mailbox");
	return map { $_->{items} ? @{ $_->{items} } : () }
	  grep { ($_->{distinguished} // '') eq $folder || $_->{name} eq $folder } @{ $content->{folders} };
}

sub stamp_property { return "$stamp_set/crmsync" }

# The key of the record that an item's stamp names; undef for a user's own item.
sub key_of
{
	my ($item) = @_;
	my $stamp = $item->{properties}{ stamp_property() } // return;
	return (split m{/}, $stamp)[2];
}

# key => properties of the items of ours. Two items of one record end the test: that is a duplicate.
sub records
{
	my ($self, $mailbox, $folder) = @_;
	my %found;
	for my $item ($self->items($mailbox, $folder))
	{
		my $key = key_of($item) // next;
		die "record $key is twice in $mailbox\n" if $found{$key};
		$found{$key} = $item->{properties};
	}
	return \%found;
}

# 'KEY:VALUE KEY:VALUE' of one property of the records in a mailbox, in order of the key.
sub show
{
	my ($self, $mailbox, $property, $folder) = @_;
	my $records = $self->records($mailbox, $folder);
	return join ' ', map { "$_:" . ($records->{$_}{ $property // 'contacts:GivenName' } // '') } sort { $a <=> $b || $a cmp $b } keys %$records;
}

# The user of the mailbox does something: create, update, delete, move, copy.
sub act { my ($self, $mailbox, $action, %what) = @_; return $self->post('items', mailbox => $mailbox, action => $action, %what) }

# ---- what was asked

sub journal { my ($self) = @_; return @{ $self->get('journal') } }
sub forget_journal { my ($self) = @_; $self->_ask('DELETE', 'journal'); return }

# Requests by operation since the journal was forgotten.
sub requests
{
	my ($self, $operation) = @_;
	return scalar grep { $_->{operation} eq $operation } $self->journal;
}

# Every request since the first start, whatever was forgotten: hashes with operation, mailbox, anchor, fault, code.
sub whole_journal
{
	my ($self) = @_;
	my @requests;
	for my $line (split /\n/, slurp_file("$self->{directory}/journal"))
	{
		my (undef, $operation, $mailbox, @fields) = split / /, $line;
		push @requests, { operation => $operation, mailbox => $mailbox, map { split /=/, $_, 2 } @fields };
	}
	return @requests;
}

# All bodies of requests that were recorded, oldest first.
sub bodies
{
	my ($self) = @_;
	return map { slurp_file($_) } sort glob "$self->{directory}/bodies*/*.request.xml";
}

1;
