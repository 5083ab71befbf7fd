# A worker whose guarded calls fail one after the other, in its start and a whole cycle: a create, an update, a delete
# and a comparison; both_ways: also what a user has changed, made and deleted, in an item and in a child row, what both
# sides have changed, and what is brought back.
package CrmSync::FailingWorkers;

use strict;
use warnings;

use CrmSync::FailingCalls;
use Test::More;
use Time::HiRes qw(sleep time);

my ($one, $two) = ('user1@example.test', 'user2@example.test');

# One call in so many is tried with LeakSanitizer, the others without.
our $leak_step = 20;

# new($name, both_ways => true): see CrmSync::FailingCalls.
sub new
{
	my ($class, $name, %given) = @_;
	my $calls = CrmSync::FailingCalls->new($name);
	my $stage = $calls->stage;
	my $self = bless { stage => $stage, calls => $calls, made => 1000, both_ways => $given{both_ways} }, $class;
	my $options = "options => '{\"max_deletes\": 100000, \"max_delete_percent\": 100}'";
	$stage->make_tables;
	$stage->make_target;
	if ($self->{both_ways})
	{
		$stage->share_new_rows;
		$stage->sql('SET ROLE crm_owner; CREATE TABLE crm.number (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person_id integer REFERENCES crm.person ON DELETE CASCADE, value text)');
		$stage->make_link(
			more => "$options, direction => 'both', match_on => '{surname}', on_target_delete => 'delete', inbound_interval => '1 day'",
			before => "SELECT crmsync.map('people', 'made_in', '\@mailbox'); SELECT crmsync.map_child('people', 'crm.number', 'person_id', '{\"value\": \"home_phone\"}');");
	}
	else
	{
		$stage->make_link(more => $options);
	}
	$stage->add_people(1, 3, $one, $two);
	$stage->settles('before', 'people', '60 s');
	return $self;
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
	$calls->ask('UPDATE crmsync.link_state SET attempts = 0, next_attempt = NULL, comparison_attempts = 0, comparison_next_attempt = NULL; SELECT pg_reload_conf()');
	return;
}

# What users do. What they made the last time and nobody has read yet is not there to be deleted.
sub _users_change
{
	my ($self, $n) = @_;
	my $exchange = $self->{stage}->exchange;
	$exchange->act($one, 'update', match => { 'contacts:Surname' => 'Last2' }, folder => 'contacts',
		set => { 'contacts:PhoneNumber/BusinessPhone' => "user $n", 'contacts:PhoneNumber/HomePhone' => "home $n" });
	$exchange->act($one, 'update', match => { 'contacts:Surname' => 'Last1' }, folder => 'contacts', set => { 'contacts:GivenName' => "Theirs $n" });
	$exchange->act($one, 'create', folder => 'contacts', set => { 'contacts:GivenName' => 'Made', 'contacts:Surname' => "Made $n" });
	$exchange->act($one, 'delete', match => { 'contacts:Surname' => $self->{users_own} }, folder => 'contacts') if $self->{users_own};
	$self->{users_own} = "Made $n";
	return;
}

sub _change
{
	my ($self, $n) = @_;
	$self->_users_change($n) if $self->{both_ways};
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
	$done .= " AND NOT EXISTS (SELECT FROM crmsync.arrival) AND (SELECT array_agg(p.last_name) = '{$self->{users_own}}' FROM crm.person p WHERE p.last_name LIKE 'Made%') "
	  . "AND (SELECT phone = 'user $n' FROM crm.person WHERE id = 2)" if $self->{both_ways};
	for my $look (1 .. 12000)
	{
		return 1 if $calls->new_lines =~ /guarded call $n fails/;
		return 0 if $look % ($self->{both_ways} ? 10 : 50) == 0 && $calls->ask($done) eq 't';
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
	if (!$self->{both_ways})
	{
		is($self->{stage}->exchange->show($one), "1:Call $n 2:First2 3:First3 $self->{made}:New", "up to call $n: once");
		return;
	}
	my $people = $self->{stage}->sql("SELECT string_agg(concat_ws(' ', p.first_name, p.last_name, p.phone, (SELECT string_agg(value, '+') FROM crm.number WHERE person_id = p.id)), ', ' ORDER BY p.id) FROM crm.person p WHERE p.id <= 3 OR p.last_name LIKE 'Made%'");
	is($people, "Call $n Last1 +49 30 1, First2 Last2 user $n home $n, First3 Last3 +49 30 3, Made Made $n", "up to call $n: the CRM has it, once");
	my @items = map { $_->{properties} } $self->{stage}->exchange->items($one);
	is(join(', ', sort map { join ' ', map { $_ // () } @$_{qw(contacts:GivenName contacts:Surname)} } @items), "Call $n Last1, First2 Last2, First3 Last3, Made Made $n, New", "up to call $n: so has the mailbox");
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
