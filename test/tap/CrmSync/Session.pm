# Statements of a test: what psql -At would print of them.
package CrmSync::Session;

use strict;
use warnings;

use DBI;

# A statement by itself is carried out in a session that stays: tests look often, and a psql with a session
# of its own takes twenty times as long. What is more than one statement, or changes a session, gets its own.
my $single = qr/^\s*(?:SELECT|INSERT|UPDATE|DELETE)\b[^;\\]*;?\s*$/is;

# new(a PostgreSQL::Test::Cluster, database): postgres, unless another is given.
sub new
{
	my ($class, $node, $database) = @_;
	return bless { node => $node, database => $database // 'postgres' }, $class;
}

sub sql
{
	my ($self, $statements) = @_;
	return $self->{node}->safe_psql($self->{database}, $statements) if $statements !~ $single;
	my $statement = $self->_connection->prepare($statements, { pg_direct => 1 });
	$statement->execute;
	return '' if !$statement->{NUM_OF_FIELDS};
	return join "\n", map { join '|', map { $_ // '' } @$_ } @{ $statement->fetchall_arrayref };
}

# For what must be alone with its database.
sub leave
{
	my ($self) = @_;
	my $connection = delete $self->{connection};
	$connection->disconnect if $connection;
	return;
}

sub _connection
{
	my ($self) = @_;
	my $node = $self->{node};
	return $self->{connection} if $self->{connection} && $self->{connection}->ping > 0;
	$self->{connection} = DBI->connect(
		sprintf('dbi:Pg:dbname=%s;host=%s;port=%d;application_name=%s', $self->{database}, $node->host, $node->port, 'test'), '', '',
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoInactiveDestroy => 1, pg_bool_tf => 1, pg_expand_array => 0, pg_enable_utf8 => 0 });
	return $self->{connection};
}

1;
