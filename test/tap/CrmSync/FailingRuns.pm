# Workers that live as long as one run, whose guarded calls fail one after the other: the failure is noted, the next
# run does what is left.
package CrmSync::FailingRuns;

use strict;
use warnings;

use Time::HiRes qw(sleep);

# new($name, $calls, process =>, work =>, ask =>, done =>, right =>)
# $calls: a CrmSync::FailingCalls. work: statements that make something to do; ask: one that has a run begin; done: a
# query that is true when a run has ended well, in which $since$ stands for when it was asked for; right: tests that
# nothing was lost or done twice, told what has happened.
sub new
{
	my ($class, $name, $calls, %run) = @_;
	return bless { name => $name, calls => $calls, %run }, $class;
}

sub calls { return $_[0]{calls} }

sub _has_ended { my ($self) = @_; return $self->{calls}->ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = '$self->{process}'") eq '0' }

# Has a run fail at its n-th call; true when it did, false when it got through without.
sub _fails_at
{
	my ($self, $n) = @_;
	my $calls = $self->{calls};
	my $since = $calls->ask('SELECT clock_timestamp()');
	(my $done = $self->{done}) =~ s/\$since\$/'$since'/;
	$calls->new_lines;
	$calls->fail_at($n, 'SET client_min_messages = error; ');
	$calls->ask("$self->{work}\nUPDATE crmsync.link_state SET attempts = 0, next_attempt = NULL, comparison_attempts = 0, comparison_next_attempt = NULL;\n$self->{ask}");
	for my $look (1 .. 12000)
	{
		if ($calls->new_lines =~ /guarded call $n fails/)
		{
			until ($self->_has_ended) { sleep 0.01 }
			return 1;
		}
		return 0 if $look % 20 == 0 && $self->_has_ended && $calls->ask($done) eq 't';
		sleep 0.01;
	}
	die "neither an error nor an end with call $n";
}

# See CrmSync::FailingCalls.
sub fail_each
{
	my ($self, $first, $step, %given) = @_;
	my ($name, $calls) = @$self{qw(name calls)};
	return $calls->fail_each(
		$name, $first, $step, %given,
		least => 30,
		every => 40,
		fails_at => sub { return $self->_fails_at($_[0]) },
		right => sub {
			$calls->calm;
			$calls->ask('UPDATE crmsync.link_state SET attempts = 0, next_attempt = NULL, comparison_attempts = 0, comparison_next_attempt = NULL');
			$self->{right}->("$name, up to call $_[0]");
		});
}

1;
