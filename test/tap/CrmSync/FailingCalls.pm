# Has guarded calls of a server's workers fail, and watches in its log that they do.
package CrmSync::FailingCalls;

use strict;
use warnings;

# Of a server in which workers start by the thousand: the engine is there when they do.
sub settings { return "log_statement = none\nshared_preload_libraries = 'crmsync,crmsync_engine'" }

# new($stage, $sanitizer): the server of a CrmSync::EndToEnd that runs sanitized.
sub new
{
	my ($class, $stage, $sanitizer) = @_;
	return bless { node => $stage->node, sanitizer => $sanitizer }, $class;
}

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

# What the server has logged since the last call.
sub new_lines
{
	my ($self) = @_;
	seek $self->{log}, 0, 1;
	local $/;
	my $log = $self->{log};
	return <$log> // '';
}

# Starts the server again, with LeakSanitizer or without.
sub start_again
{
	my ($self, %given) = @_;
	$self->{node}->stop('fast');
	my $environment = $self->{sanitizer}->environment(%given);
	local @ENV{ keys %$environment } = values %$environment;
	$self->{node}->start;
	return;
}

1;
