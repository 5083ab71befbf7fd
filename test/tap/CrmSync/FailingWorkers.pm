# A worker whose guarded calls fail one after the other, in its start and a whole cycle: a create, an update, a delete
# and a comparison.
package CrmSync::FailingWorkers;

use strict;
use warnings;

use CrmSync::FailingCalls;
use Test::More;
use Time::HiRes qw(sleep time);

my ($one, $two) = ('user1@example.test', 'user2@example.test');

# One call in so many is tried with LeakSanitizer, the others without.
our $leak_step = 7;

# new($name): see CrmSync::FailingCalls.
sub new
{
	my ($class, $name) = @_;
	my $calls = CrmSync::FailingCalls->new($name);
	my $stage = $calls->stage;
	$stage->make_crm(more => "options => '{\"max_deletes\": 100000, \"max_delete_percent\": 100}'");
	$stage->add_people(1, 3, $one, $two);
	$stage->settles('before', 'people', '60 s');
	return bless { stage => $stage, calls => $calls, made => 1000 }, $class;
}

sub calls { return $_[0]{calls} }

# Ends the worker and has a new one started at once, that fails at its n-th call (0: at none).
sub _new_worker_fails_at
{
	my ($self, $n, $more) = @_;
	my $calls = $self->{calls};
	$calls->fail_at($n, $more);
	my $limit = time + 60;
	# One that is just starting is not to be seen there yet.
	until ($calls->ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'crmsync worker'; SELECT crmsync.worker_state()") =~ /waiting after a failure$/)
	{
		die 'the worker does not end' if time > $limit;
		sleep 0.02;
	}
	$calls->new_lines;
	# What the last error was about must not wait, either.
	$calls->ask('UPDATE crmsync.link_state SET attempts = 0, next_attempt = NULL; SELECT pg_reload_conf()');
	return;
}

sub _change
{
	my ($self, $n) = @_;
	my $made = ++$self->{made};
	return "BEGIN; UPDATE crm.person SET first_name = 'Call $n' WHERE id = 1; DELETE FROM crm.person WHERE id = $made - 1; "
		  . "INSERT INTO crm.person (id, first_name) VALUES ($made, 'New'); INSERT INTO crm.audience VALUES ($made, '$one'); "
		  . "UPDATE crmsync.link_state SET comparison = 'everything'; COMMIT; ";
}

# True when the injected error came; false when all was carried out without it.
sub _fails_at
{
	my ($self, $n) = @_;
	my $calls = $self->{calls};
	my $done = "SELECT NOT EXISTS (SELECT FROM crmsync.pending) AND NOT EXISTS (SELECT FROM crmsync.item WHERE state = 'leaving') "
	  . "AND crmsync.is_consumed(pg_current_snapshot()) AND (SELECT comparison IS NULL FROM crmsync.link_state) AND crmsync.worker_state() = 'running'";
	for my $look (1 .. 12000)
	{
		return 1 if $calls->new_lines =~ /guarded call $n fails/;
		return 0 if $look % 50 == 0 && $calls->ask($done) eq 't';
		sleep 0.01;
	}
	die "neither an error nor an end with call $n: " . $calls->ask('SELECT crmsync.worker_state()');
}

sub _all_is_right
{
	my ($self, $n) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	$self->_new_worker_fails_at(0);
	$self->{stage}->settles("up to call $n: all is carried out", 'people', '30 s');
	is($self->{stage}->exchange->show($one), "1:Call $n 2:First2 3:First3 $self->{made}:New", "up to call $n: once");
	return;
}

# See CrmSync::FailingCalls: in the start of a worker and a whole cycle.
sub fail_each
{
	my ($self, $first, $step, %given) = @_;
	return $self->{calls}->fail_each(
		'a worker', $first, $step, %given,
		least => 50,
		every => 50,
		fails_at => sub {
			$self->_new_worker_fails_at($_[0], $self->_change($_[0]));
			return $self->_fails_at($_[0]);
		},
		right => sub { $self->_all_is_right($_[0]) });
}

1;
