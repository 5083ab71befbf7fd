# A server of its own, sanitized, of whose workers guarded calls are made to fail; watches in its log that they do.
package CrmSync::FailingCalls;

use strict;
use warnings;

use CrmSync::EndToEnd;
use CrmSync::Sanitizer;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

# Of a server in which workers start by the thousand: the engine is there when they do.
my $settings = "log_statement = none\nshared_preload_libraries = 'crmsync,crmsync_engine'";

# new($name): the stage of a CrmSync::EndToEnd of that name.
sub new
{
	my ($class, $name) = @_;
	# Our own sessions are not what fails, unless they ask for it.
	$ENV{PGOPTIONS} = '-c crmsync.fail_guarded_call=0';
	my $sanitizer = CrmSync::Sanitizer->new(PostgreSQL::Test::Utils::tempdir() . '/sanitizer');
	my $stage = CrmSync::EndToEnd->new($name, conf => $settings, cluster => $sanitizer->cluster, environment => $sanitizer->environment(leaks => 0));
	my $self = bless { stage => $stage, node => $stage->node, sanitizer => $sanitizer }, $class;
	$self->{began} = $self->_started;
	return $self;
}

sub stage { return $_[0]{stage} }
sub _started { my ($self) = @_; return $self->{stage}->sql('SELECT pg_postmaster_start_time()') }

# Opens the session of ask(), and the log at its end.
sub begin
{
	my ($self) = @_;
	$self->{session} = $self->{node}->background_psql('postgres', on_error_stop => 0);
	$self->{session}->set_query_timer_restart;
	open($self->{log}, '<', $self->{node}->logfile) or die;
	seek $self->{log}, 0, 2;
	return;
}

sub end { my ($self) = @_; $self->{session}->quit; return }
sub ask { my ($self, $statements) = @_; return $self->{session}->query_safe($statements) }

# Processes that start from now on fail at their n-th call; 0: at none.
sub fail_at
{
	my ($self, $n, $more) = @_;
	return $self->ask(($more // '') . "ALTER DATABASE postgres SET crmsync.fail_guarded_call = $n");
}
sub calm { my ($self) = @_; $self->ask('ALTER DATABASE postgres RESET crmsync.fail_guarded_call'); return }

# Has processes fail at calls $first, $first + $step ... until one gets through, as fails_at tells, which is given the
# number of the call. right: tests that nothing was lost or done twice, given that number too: after every so many, and
# in the end. least: so many calls there are. left_out: multiples of this are somebody else's.
sub fail_each
{
	my ($self, $name, $first, $step, %given) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->begin;
	my ($n, $failed, $tried, $started) = ($first - $step, 1, 0, time);
	while ($failed && $n < 2000)
	{
		$n += $step;
		next if $given{left_out} && $n % $given{left_out} == 0;
		$failed = $given{fails_at}->($n);
		$given{right}->($n) if ++$tried % $given{every} == 0 || !$failed;
	}
	$self->calm;
	$self->end;
	note(sprintf('%s: %d guarded calls, every %d., in %.0f s', $name, $n, $step, time - $started));
	cmp_ok($n, '>', $given{least}, "$name: from call $first every $step. of the $n calls may fail");
	cmp_ok($n, '<', 2000, "$name: and then it works");
	return $self->never_restarted($name);
}

# What the server has logged since the last call.
sub new_lines
{
	my ($self) = @_;
	seek $self->{log}, 0, 1;
	local $/;
	my $log = $self->{log};
	return <$log> // '';
}

# Starts the server again, with LeakSanitizer, which takes more than all the rest, or without.
sub start_again
{
	my ($self, %given) = @_;
	$self->{node}->stop('fast');
	my $environment = $self->{sanitizer}->environment(%given);
	local @ENV{ keys %$environment } = values %$environment;
	$self->{node}->start;
	$self->{began} = $self->_started;
	return;
}

# Reports: no process has taken the server with it.
sub never_restarted
{
	my ($self, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($self->_started, $self->{began}, "$name: the server never restarted");
}

# What must hold in the end: nothing crashed, and the sanitizers have nothing to say. leaks: they were looked for.
sub done
{
	my ($self, %given) = @_;
	my ($node, $sanitizer) = @$self{qw(node sanitizer)};
	$self->never_restarted('in all');
	unlike(slurp_file($node->logfile), qr/terminated by signal|reinitializing|could not clean up/, 'nothing crashed');
	$node->stop('fast');
	is(join("\n", $sanitizer->reports), '', 'AddressSanitizer and LeakSanitizer have nothing to say of crmsync');
	ok($sanitizer->finds_leaks, 'which it can: it found what PostgreSQL itself leaks') if $given{leaks};
	$self->start_again(leaks => 0);
	$self->{stage}->done;
	return;
}

1;
