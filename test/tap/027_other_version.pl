# The library is newer than the SQL objects of a database: its worker touches nothing and says that an update is
# needed, until there was one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;

my $stage = CrmSync::EndToEnd->new('other_version');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my $mailbox = 'user1@example.test';
my $waits = 'waiting for ALTER EXTENSION UPDATE';
sub state { return $stage->sql('SELECT crmsync.worker_state()') }
sub messages { return scalar(() = slurp_file($node->logfile) =~ /crmsync is of version 0\.9 in this database/g) }
$stage->make_crm;
$stage->add_people(1, 3, $mailbox);
$stage->settles('the worker works');
my $version = $stage->sql("SELECT extversion FROM pg_extension WHERE extname = 'crmsync'");

# As after an update of the packages and a restart.
$stage->sql("UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'crmsync'");
$node->restart;
$stage->until_true(sub { $stage->answers && main::state() eq $waits }, 'the worker waits');
is($stage->status('state, last_error'), "waiting|worker: $waits", 'status says so');
is($stage->sql('SELECT name, message, hint FROM crmsync.alerts'), "|worker: $waits|ALTER EXTENSION crmsync UPDATE;", 'and alerts, with what to do');
$exchange->forget_journal;
$stage->sql("UPDATE crm.person SET first_name = 'Changed' WHERE id = 1");
my (undef, undef, $said) = $node->psql('postgres', "SELECT * FROM crmsync.sync('people', wait => '3 s')");
like($said, qr/no worker runs in this database: $waits/, 'so does who waits for it');
is(main::state() . ' ' . messages() . ' ' . scalar($exchange->journal), "$waits 1 0", 'it says so once, and does nothing');

# Another version that does not fit either.
$stage->sql("SET client_min_messages = error; ALTER EXTENSION crmsync UPDATE TO '0.9'");
$stage->until_true(sub { main::state() eq $waits && messages() == 2 }, 'ALTER EXTENSION has it look again');
$stage->sql("UPDATE pg_extension SET extversion = '$version' WHERE extname = 'crmsync'");
$stage->until_true(sub { main::state() eq 'running' }, 'it fits: the worker works');
$stage->settles('what has changed meanwhile');
is($exchange->records($mailbox)->{1}{'contacts:GivenName'}, 'Changed', 'arrives');

$stage->sql("UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'crmsync'");
$node->restart;
$stage->until_true(sub { $stage->answers && main::state() eq $waits }, 'a worker that waits');
$stage->sql('SET client_min_messages = error; DROP EXTENSION crmsync CASCADE');
$stage->until_true(sub { $stage->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'crmsync worker'") eq '0' }, 'ends with the extension');

$stage->done;
