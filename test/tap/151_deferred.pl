# A CRM whose constraints are deferred, as those of Django are: what comes in is checked at once, and what
# breaks one is parked alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('deferred');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';

sub user_makes { my (%set) = @_; return $exchange->act($one, 'create', folder => 'contacts', set => \%set) }
sub user { my ($does, $name, %set) = @_; return $exchange->act($one, $does, match => { 'contacts:GivenName' => $name }, folder => 'contacts', set => \%set) }
sub people { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', first_name, team, (SELECT e.email FROM crm.email e WHERE e.person = p.id)), ', ' ORDER BY first_name), 'nobody') FROM crm.person p") }
sub comes_in { my ($people, $what) = @_; $stage->until_true(sub { people() eq $people }, $what, 20) or diag(people(), ' <> ', failing()); return }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', record, code), ', ' ORDER BY record), 'nothing') FROM crmsync.failures") }

$stage->make_tables;
$stage->share_new_rows;
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE TABLE crm.team (name text PRIMARY KEY);
INSERT INTO crm.team VALUES ('A'), ('B');
ALTER TABLE crm.person ADD team text DEFAULT 'A' REFERENCES crm.team DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE crm.email (id serial PRIMARY KEY, person integer NOT NULL REFERENCES crm.person DEFERRABLE INITIALLY DEFERRED, email text);
CREATE TABLE crm.note (person integer REFERENCES crm.person DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX ON crm.email (person);
INSERT INTO crm.person (id, first_name) SELECT i, 'First' || i FROM generate_series(1, 5) i;
INSERT INTO crm.audience SELECT i, '$one' FROM generate_series(1, 5) i;
INSERT INTO crm.note VALUES (4);
SQL
$stage->make_target;
$stage->sql(<<'SQL');
SET client_min_messages = error;
SELECT crmsync.create_link('people', 'exchange', 'contact', 'crm.person', audience => 'crm.audience', direction => 'both', inbound_interval => '1 s', on_target_delete => 'delete');
SELECT crmsync.map('people', 'first_name', 'given_name');
SELECT crmsync.map('people', 'team', 'department');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SELECT crmsync.map_child('people', 'crm.email', 'person', '{"email": "email_1"}');
SELECT crmsync.enable_link('people');
SQL
$stage->settles('five people');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL') eq '1' && $stage->sql('SELECT count(*) FROM crmsync.arrival') eq '0' }, 'the mailbox is read', 30);

user('update', 'First1', 'contacts:Department' => 'B');
user('update', 'First2', 'contacts:Department' => 'Z');
user('update', 'First3', 'contacts:EmailAddress/EmailAddress1' => 'three@x');
comes_in('First1 B, First2 A, First3 A three@x, First4 A, First5 A', 'a change and a child row come in');
$stage->until_true(sub { failing() eq '2 23503' }, 'what breaks a constraint is parked', 20) or diag(failing());
user('update', 'First2', 'contacts:Department' => 'B');
$stage->until_true(sub { failing() eq 'nothing' }, 'until its user mends it', 20);
user_makes('contacts:GivenName' => 'New', 'contacts:Department' => 'A', 'contacts:EmailAddress/EmailAddress1' => 'new@x');
comes_in('First1 B, First2 B, First3 A three@x, First4 A, First5 A, New A new@x', 'so does what is new, with its child row');
$stage->until_true(sub { $stage->sql("SELECT bool_and(stamped) FROM crmsync.item") eq 't' }, 'and bears our stamp', 20);
user('delete', $_) for 'First4', 'First5';
comes_in('First1 B, First2 B, First3 A three@x, First4 A, New A new@x', 'so does a delete');
$stage->until_true(sub { failing() eq '4 23503' }, 'beside one that breaks a constraint', 20) or diag(failing());

$stage->done;
