# Items that we make and their users delete before the folder is read again: no server names them, and they
# are found all the same, without looking at the others.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;
use Time::HiRes qw(sleep);

my $stage = CrmSync::EndToEnd->new('unseen', conf => 'restart_after_crash = on');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two) = ('user1@example.test', 'user2@example.test');

sub user { my ($does, $person, %more) = @_; return $exchange->act($one, $does, match => { 'contacts:EmailAddress/EmailAddress1' => "person$person\@example.com" }, folder => 'contacts', %more) }
sub is_there { my ($person, $mailbox) = @_; return exists $exchange->records($mailbox // $one)->{$person} ? 1 : 0 }
sub readings { return scalar grep { $_->{operation} eq 'SyncFolderItems' && $_->{mailbox} eq $one } $exchange->journal }
sub people { return $stage->sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM crm.person WHERE id < 100") }
sub alter { my ($settings) = @_; $stage->sql("SET client_min_messages = error; SELECT crmsync.alter_link('people', $settings); SELECT crmsync.enable_link('people')"); $stage->settles("now $settings"); return }

# The folders are read once a day, or every second.
sub interval { my ($interval) = @_; $stage->sql("SELECT crmsync.alter_link('people', inbound_interval => '$interval')"); return }

# People are made, and what their user does has happened before the next reading.
sub between_readings
{
	my ($name, $first, $last, $does) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	interval('1 day');
	sleep 1.5;
	$exchange->forget_journal;
	$stage->add_people($first, $last, $one, $two);
	# Not by sync, which would have the folders read.
	$stage->until_true(sub { is_there($last, $one) && is_there($last, $two) }, "$name: they are made", 20);
	$does->();
	is(readings(), 0, "$name: and nothing has been read meanwhile");
	interval('1 s');
	return;
}

$stage->make_crm(more => "on_target_delete => 'recreate', direction => 'both', inbound_interval => '1 s'");
$stage->add_people(90, 91, $one, $two);
$stage->settles('a link');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE sync_state IS NOT NULL AND listing IS NULL AND unnamed_since IS NULL') eq '2' }, 'its folders are read');

# ---- found
between_readings('deleted', 1, 3, sub { user('delete', 2) });
$stage->until_true(sub { is_there(2) }, 'what its user deletes at once is made again', 20);
is($exchange->requests('GetItem'), 1, 'which asks for that item, and for nothing else');
is($stage->sql("SELECT count(*) FROM crmsync.history WHERE action = 'create' AND mailbox <> '$two'"), '6', 'and only that one is made again');
interval('1 day');
sleep 1.5;
user('delete', 2);
interval('1 s');
my $made = $exchange->requests('CreateItem');
$stage->until_true(sub { $exchange->requests('CreateItem') > $made }, 'it is made once more', 20);
user('delete', 2);
$stage->until_true(sub { is_there(2) }, 'and again when he deletes it as soon as it is there', 20);
between_readings('moved', 4, 6, sub { user('move', 5, to => 'deleteditems') });
$stage->until_true(sub { is_there(5) }, 'so is what he throws away', 20);
between_readings('both left', 7, 9, sub { });
my $before = readings();
$stage->until_true(sub { readings() > $before + 1 }, 'where all is as it was', 20);
is($exchange->requests('GetItem'), 0, 'nothing is fetched');
$stage->until_true(sub { $stage->sql('SELECT count(*) FROM crmsync.mailbox WHERE unnamed_since IS NOT NULL') eq '0' }, 'and nothing is waited for any more');

# ---- named by several pages
between_readings('pages', 101, 700, sub { user('delete', $_) for 101, 650 });
$stage->until_true(sub { is_there(101) && is_there(650) }, 'of many items, named by several pages', 30);
is($exchange->requests('GetItem'), 1, 'just two are asked for');

# ---- the worker dies meanwhile
between_readings('killed', 10, 12, sub { user('delete', 11) });
kill 'KILL', $stage->worker_pid;
$stage->until_true(sub { $stage->answers }, 'the server is back');
$stage->until_true(sub { is_there(11) }, 'it is found after a crash of the worker, too', 20);
$stage->settles('after it');
is($stage->sql("SELECT count(*) FROM crmsync.items WHERE mailbox = '$one' AND state = 'linked'"), '614', 'everything else is as it was');

# ---- the other policies
alter("on_target_delete => 'delete'");
between_readings('delete', 20, 21, sub { $stage->sql("DELETE FROM crm.audience WHERE mailbox = '$two' AND record = 20"); $stage->until_true(sub { !is_there(20, $two) }, 'of one mailbox alone', 20); user('delete', 20) });
$stage->until_true(sub { people() !~ /\b20\b/ }, 'delete: the record goes in the CRM', 20);
alter("on_target_delete => 'unlink'");
between_readings('unlink', 30, 31, sub { user('delete', 30) });
$stage->until_true(sub { $stage->sql("SELECT state FROM crmsync.items WHERE record = '30' AND mailbox = '$one'") eq 'gone' }, 'unlink: it is known to be gone', 20);

# ---- a link that only writes, and reads to know what is no longer there
alter("on_target_delete => 'recreate', direction => 'outbound'");
between_readings('outbound', 40, 41, sub { user('delete', 40) });
$stage->until_true(sub { is_there(40) }, 'outbound: it is made again', 20);

$stage->done;
