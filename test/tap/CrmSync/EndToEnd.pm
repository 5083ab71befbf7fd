# A cluster with crmsync preloaded, a stand-in Exchange server and a CRM between them: what the
# end-to-end tests begin with, wait with and look at.
package CrmSync::EndToEnd;

use strict;
use warnings;

use Cwd qw(abs_path);

use CrmSync::Session;
use CrmSync::StandIn;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep time);

my $user = 'service@example.test';
my $worker = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'crmsync worker'";

# new($name, conf => settings, init => {for the cluster's init}, exchange => [options of the stand-in],
#     cluster => {for the cluster's new}, environment => {of the server when it is started here})
# The mailboxes are user1@example.test .. user4@example.test unless the options say otherwise.
sub new
{
	my ($class, $name, %given) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %{ $given{cluster} // {} });
	$node->init(allows_streaming => 1, %{ $given{init} // {} });
	mkdir $node->basedir . '/secrets', 0700;
	my $secrets = abs_path($node->basedir . '/secrets');
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'crmsync'
crmsync.secret_directory = '$secrets'
max_prepared_transactions = 5
@{[ $given{conf} // '' ]}
CONF
	my $environment = $given{environment} // {};
	{
		local @ENV{ keys %$environment } = values %$environment;
		$node->start;
	}
	my $exchange = CrmSync::StandIn->new($node->basedir . '/exchange', @{ $given{exchange} // [ '--mailboxes', 4 ] });
	my $self = bless { node => $node, exchange => $exchange, secrets => $secrets }, $class;
	$self->secret('exchange', 'secret');
	$self->sql('CREATE EXTENSION crmsync');
	return $self;
}

sub node { return $_[0]{node} }
sub exchange { return $_[0]{exchange} }

sub secret
{
	my ($self, $name, $value) = @_;
	PostgreSQL::Test::Utils::append_to_file("$self->{secrets}/$name", "$value\n");
	chmod 0600, "$self->{secrets}/$name";
	return "file:$name";
}

# ---- SQL

sub sql
{
	my ($self, $statements) = @_;
	my $session = $self->{sessions}{ $self->{node}->name } //= CrmSync::Session->new($self->{node});
	return $session->sql($statements);
}

# For what must be alone with the database.
sub leave { my ($self) = @_; $_->leave for values %{ $self->{sessions} }; return }

# What a statement that must fail says, with detail and hint.
sub error
{
	my ($self, $statements) = @_;
	my ($status, undef, $said) = $self->{node}->psql('postgres', "\\set VERBOSITY verbose\n$statements");
	return $status == 0 ? 'no error' : $said;
}

sub psql_file
{
	my ($self, $file, %variables) = @_;
	my @set = map { ('-v', "$_=$variables{$_}") } sort keys %variables;
	my $statements = PostgreSQL::Test::Utils::slurp_file($file);
	my ($status, undef, $said) = $self->{node}->psql('postgres', $statements, extra_params => [ '-q', @set ], on_error_stop => 1);
	die "$file: $said" if $status != 0;
	return;
}

# ---- a CRM of two tables

# Statements run as crm_owner: the tables, without the link.
sub make_tables
{
	my ($self) = @_;
	$self->sql(<<'SQL');
CREATE ROLE crm_owner LOGIN;
CREATE SCHEMA crm AUTHORIZATION crm_owner;
SET ROLE crm_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, first_name text, last_name text, phone text, email text, remark text);
CREATE TABLE crm.audience (record integer, mailbox text, PRIMARY KEY (record, mailbox));
SQL
	return;
}

# Rows that are made of users' items say in whose mailbox (column made_in), and belong there.
sub share_new_rows
{
	my ($self) = @_;
	$self->sql(<<'SQL');
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 100;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD made_in text;
CREATE FUNCTION crm.share() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO crm.audience VALUES (NEW.id, NEW.made_in);
    RETURN NULL;
END;
$$;
CREATE TRIGGER share AFTER INSERT ON crm.person FOR EACH ROW WHEN (NEW.made_in IS NOT NULL) EXECUTE FUNCTION crm.share();
SQL
	return;
}

sub make_target
{
	my ($self, %given) = @_;
	my $url = $given{url} // $self->{exchange}->url;
	my $secret = $given{secret} // 'file:exchange';
	my $options = $given{options} // '{}';
	my $name = $given{name} // 'exchange';
	$self->sql("SELECT crmsync.create_target('$name', 'ews', '$url', auth => 'basic', username => '$user', secret => '$secret', options => '$options')");
	return;
}

# make_link(more => further arguments of create_link, before => statements before it is enabled)
sub make_link
{
	my ($self, %given) = @_;
	my $more = $given{more} ? ", $given{more}" : '';
	my $before = $given{before} // '';
	$self->sql(<<"SQL");
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience'$more);
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'last_name', 'surname');
SELECT crmsync.map('people', 'phone', 'business_phone');
SELECT crmsync.map('people', 'email', 'email_1');
$before
SELECT crmsync.enable_link('people');
SQL
	return;
}

sub make_crm
{
	my ($self, %given) = @_;
	$self->make_tables;
	$self->make_target(options => $given{options});
	$self->make_link(%given);
	return;
}

# People FIRST..LAST in the given mailboxes.
sub add_people
{
	my ($self, $first, $last, @mailboxes) = @_;
	my $in = join ', ', map { "'$_'" } @mailboxes;
	$self->sql(<<"SQL");
BEGIN;
INSERT INTO crm.person (id, first_name, last_name, phone, email)
SELECT i, 'First' || i, 'Last' || i, '+49 30 ' || i, 'person' || i || '\@example.com' FROM generate_series($first, $last) i;
INSERT INTO crm.audience SELECT i, m FROM generate_series($first, $last) i, unnest(ARRAY[$in]::text[]) m;
COMMIT;
SQL
	return;
}

# Another link beside the one of make_crm: NAME for so many rows of a table crm.NAME, all in one mailbox.
# make_another($name, $count, $mailbox, table => its SQL, audience => query, crm => what is mapped)
sub make_another
{
	my ($self, $name, $count, $mailbox, %given) = @_;
	my $table = $given{table} // "CREATE TABLE crm.$name (id integer PRIMARY KEY, first_name text);";
	my $audience = $given{audience} // "SELECT id AS record, '$mailbox' AS mailbox FROM crm.$name";
	my $crm = $given{crm} // 'first_name';
	$self->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
$table
INSERT INTO crm.$name SELECT i, 'First' || i FROM generate_series(1, $count) i;
CREATE VIEW crm.${name}_audience AS $audience;
RESET ROLE;
SELECT crmsync.create_link('$name', 'exchange', 'contact', 'crm.$name', audience => 'crm.${name}_audience');
SELECT crmsync.map('$name', '$crm', 'given_name');
SELECT crmsync.enable_link('$name');
SQL
	return;
}

# ---- the sample CRM

sub make_sample_crm
{
	my ($self) = @_;
	$self->sql('CREATE ROLE crm_owner LOGIN; GRANT CREATE ON DATABASE postgres TO crm_owner');
	for my $file ('sample/schema.sql', 'sample/generate.sql')
	{
		$self->sql("SET ROLE crm_owner;\n" . PostgreSQL::Test::Utils::slurp_file($file));
	}
	return;
}

sub link_sample_crm
{
	my ($self) = @_;
	$self->psql_file('sample/contacts.sql', exchange_url => $self->{exchange}->url, exchange_user => $user, exchange_secret => 'file:exchange');
	return;
}

# ---- waiting

# sync($link, $limit): waits; returns (pending, failed).
sub sync
{
	my ($self, $link, $limit) = @_;
	$link //= 'people';
	$limit //= '20 s';
	return split /\|/, $self->sql("SELECT pending, failed FROM crmsync.sync('$link', wait => '$limit')");
}

# Waits and reports: all was carried out and nothing failed. What became pending while sync waited, by a
# comparison under way, was not what it waited for: it is asked again.
sub settles
{
	my ($self, $name, $link, $limit) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $until = time + 20;
	my $left;
	do { $left = join ' ', $self->sync($link, $limit) } until $left =~ /^0 / || time > $until;
	is($left, '0 0', $name) or diag($self->sql('SELECT * FROM crmsync.status; SELECT * FROM crmsync.alerts; SELECT * FROM crmsync.failures LIMIT 5'));
	return;
}

# Does something in the CRM and waits until it is carried out.
sub change
{
	my ($self, $statements, $link) = @_;
	$self->sql($statements);
	return $self->sync($link);
}

sub until_true
{
	my ($self, $condition, $name, $limit) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $started = time;
	$limit //= 20;
	my $holds;
	my $pause = 0.05;
	while (!($holds = $condition->()) && time - $started < $limit)
	{
		sleep $pause;
		$pause *= 1.2 if $pause < 0.3;
	}
	return ok($holds, sprintf('%s (%.2f s)', $name, time - $started));
}

# Reports: changes of person 1 of make_crm arrive in the mailbox as if nothing else were going on, the
# longest of some within so many seconds.
sub goes_on
{
	my ($self, $mailbox, $while, $limit) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$limit //= 3;
	my @took;
	for (1 .. 5)
	{
		my $name = 'Name' . ++$self->{changes};
		my $started = time;
		$self->sql("UPDATE crm.person SET first_name = '$name' WHERE id = 1");
		sleep 0.03 while $self->{exchange}->records($mailbox)->{1}{'contacts:GivenName'} ne $name && time - $started < 30;
		push @took, time - $started;
	}
	@took = sort { $a <=> $b } @took;
	return cmp_ok($took[4], '<', $limit, sprintf('%s: another link goes on (%.2f s, at most %.2f s)', $while, $took[2], $took[4]));
}

# What a psql of its own prints, nothing where the server does not answer: of one that goes away while psql is told
# what to ask the modules die.
sub _try { my ($self, $statement) = @_; my (undef, $said) = eval { $self->{node}->psql('postgres', $statement) }; return $said // '' }

# Whether the server answers, and whether it has another worker than this one.
sub answers { my ($self) = @_; return $self->_try('SELECT 1') eq '1' }
sub has_another_worker { my ($self, $killed) = @_; my $pid = $self->_try($worker); return $pid =~ /^\d+$/ && $pid != $killed }

# ---- looking

sub status { my ($self, $column, $link) = @_; $link //= 'people'; return $self->sql("SELECT $column FROM crmsync.status WHERE link = '$link'") }
sub target { my ($self, $column) = @_; return $self->sql("SELECT $column FROM crmsync.targets WHERE name = 'exchange'") }
sub failures { my ($self) = @_; return $self->sql("SELECT coalesce(string_agg(record || ' ' || code, ', ' ORDER BY record::integer), 'none') FROM crmsync.failures") }

# Resync and withdraw have done what they were asked for.
sub nothing_to_repair { my ($self) = @_; return $self->sql('SELECT NOT EXISTS (SELECT FROM crmsync.request) AND NOT EXISTS (SELECT FROM crmsync.repair)') eq 't' }
sub worker_pid { my ($self) = @_; return $self->sql($worker) }

# ---- what must hold after every test

# Nobody was mailed, one request at a time in a mailbox, every request impersonates and is anchored
# where it goes, none broke the schema, and no process of the server died (panics: it was made to).
sub done
{
	my ($self, %given) = @_;
	my $exchange = $self->{exchange};
	my @bodies = $exchange->bodies;
	my $to_somebody = grep { my $body = $_; grep { $_ ne 'SendToNone' } $body =~ /\bSend[A-Za-z]+="([^"]*)"/g } @bodies;
	my $disposed = grep { /MessageDisposition="(?!SaveOnly")/ } @bodies;
	my $attendees = grep { /Attendees|Recipients/ } @bodies;
	my @requests = grep { $_->{operation} ne '-' } $exchange->whole_journal;
	my $looked_at = @bodies || !@requests ? 'looked at' : 'seen by nobody';
	is("$looked_at $to_somebody $disposed $attendees", 'looked at 0 0 0', 'nobody was mailed: SendToNone, SaveOnly, no attendees in ' . @bodies . ' requests');
	my @strayed = grep { $_->{mailbox} ne '-' && $_->{anchor} ne $_->{mailbox} } @requests;
	is(scalar @strayed, 0, 'X-AnchorMailbox names the mailbox of every request');
	my @crowded = grep { $_->{most_in_flight} > 1 } @{ $exchange->get('mailboxes') };
	is(join(' ', map { $_->{address} } @crowded), '', 'at most one request at a time in a mailbox');
	my @invalid = grep { $_->{code} eq 'ErrorSchemaValidation' && $_->{fault} eq '-' } @requests;
	is(scalar @invalid, 0, 'every request follows the schema' . (CrmSync::StandIn::schema() ? '' : ' as the stand-in knows it'));
	my @crashes = PostgreSQL::Test::Utils::slurp_file($self->{node}->logfile) =~ /(.*(?:was terminated by signal|PANIC|TRAP).*)/g;
	@crashes = grep { !/signal 9/ && !($given{panics} && /PANIC:|signal 6/) } @crashes;
	is(join("\n", @crashes), '', 'nothing crashed');
	$self->{node}->stop('fast');
	$exchange->stop;
	done_testing();
	return;
}

1;
