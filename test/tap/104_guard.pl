# The guard: what counts (a sliding hour, each mailbox by itself and the whole link, by number and by
# share), and by which ways so many records can go at once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('guard', exchange => [ '--mailboxes', 7 ]);
my $exchange = $stage->exchange;
my ($one, @five) = map { "user$_\@example.test" } 1 .. 6;
my $seven = 'user7@example.test';
$stage->make_target;
$stage->sql(<<'SQL');
CREATE ROLE crm_owner LOGIN;
CREATE SCHEMA crm AUTHORIZATION crm_owner;
SET ROLE crm_owner;
CREATE TABLE crm.person (id integer PRIMARY KEY, first_name text, last_name text, phone text, email text) PARTITION BY RANGE (id);
CREATE TABLE crm.low PARTITION OF crm.person FOR VALUES FROM (0) TO (1000);
CREATE TABLE crm.high PARTITION OF crm.person FOR VALUES FROM (1000) TO (2000);
CREATE TABLE crm.audience (record integer, mailbox text, PRIMARY KEY (record, mailbox));
SQL
$stage->make_link;

sub there { return join ' ', map { scalar keys %{ $exchange->records($_) } } @_ }
sub an_hour_later { $stage->sql("UPDATE crmsync.deletion SET minute = minute - interval '61 min'; SELECT crmsync.wake()"); return }
sub limits { my ($options) = @_; $stage->sql("SELECT crmsync.alter_link('people', options => '$options')"); return }
sub is_held
{
	my ($text, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $stage->until_true(sub { $stage->status("state || ' ' || last_error") eq "held $text wait for confirm_deletes" }, $name) || diag($stage->status("concat_ws(' ', state, last_error)"));
}

# ---- a sliding hour
$stage->add_people(1, 60, $one);
$stage->settles('sixty people');
$stage->sql('DELETE FROM crm.person WHERE id <= 15');
$stage->settles('a quarter goes');
$stage->sql('DELETE FROM crm.person WHERE id <= 25');
is_held('10 deletes in 1 mailboxes', 'ten more would be too many in an hour');
is(there($one), '45', 'they wait');
an_hour_later();
$stage->settles('an hour later');
is(there($one), '35', 'they go');

# ---- a number
an_hour_later();
limits('{"max_deletes": 7, "min_deletes": 1000}');
$stage->sql('DELETE FROM crm.person WHERE id <= 33');
is_held('8 deletes in 1 mailboxes', 'more than max_deletes, however small their share');
is(there($one), '35', 'they wait');
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (33, 'Back')");
$stage->settles('one comes back');
is(there($one), '28', 'and as many as max_deletes go');

# ---- a mailbox
an_hour_later();
limits('{"max_deletes": null, "max_delete_percent": null, "min_deletes": null}');
$stage->add_people(101, 140, @five);
$stage->settles('forty people in each of five mailboxes');
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$five[0]' AND record > 110");
is_held('30 deletes in 1 mailboxes', 'most of one mailbox, little of the link');
$stage->sql("DELETE FROM crm.audience WHERE mailbox = '$five[1]' AND record = 101");
$stage->until_true(sub { there(@five) eq '40 39 40 40 40' }, 'it waits there; in another mailbox a delete goes') or diag(there(@five));
is_held('30 deletes in 1 mailboxes', 'while that one is held');
$stage->sql("INSERT INTO crm.audience SELECT i, '$five[0]' FROM generate_series(111, 140) i");
$stage->settles('they are back');

# ---- the link
an_hour_later();
limits('{"max_delete_percent": 10}');
$stage->sql('DELETE FROM crm.audience WHERE record BETWEEN 111 AND 116');
is_held('30 deletes in 5 mailboxes', 'few of each mailbox, too many of the link');
is(there(@five), '40 39 40 40 40', 'they wait');
limits('{"max_delete_percent": null}');
$stage->settles('with another limit');
is(there(@five), '34 33 34 34 34', 'they go');

# ---- whatever takes them away
an_hour_later();
$stage->add_people(1001, 1060, $seven);
$stage->settles('sixty people of one partition');
$stage->sql('ALTER TABLE crm.person DETACH PARTITION crm.high');
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
is_held('60 deletes in 1 mailboxes', 'DETACH');
is(there($seven), '60', 'nothing goes');
$stage->sql('ALTER TABLE crm.person ATTACH PARTITION crm.high FOR VALUES FROM (1000) TO (2000)');
$stage->sql("SET client_min_messages = error; SELECT crmsync.enable_link('people')");
$stage->settles('attached again');
is(there($seven), '60', 'all is as it was');
$stage->sql('TRUNCATE crm.high');
is_held('60 deletes in 1 mailboxes', 'TRUNCATE');
is(there($seven), '60', 'nothing goes');

# ---- what waits as a whole, and is much, is not counted in every pass: a request ends that
$stage->sql("UPDATE crmsync.link_state SET recount = 'infinity'; SELECT crmsync.confirm_deletes('people')");
$stage->until_true(sub { there($seven) eq '0' }, 'confirmed, they go at once');
is($stage->sql('SELECT recount IS NULL FROM crmsync.link_state'), 't', 'and are counted as ever');

$stage->done;
