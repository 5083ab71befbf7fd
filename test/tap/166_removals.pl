# An administrator who removes a link, or what is known of a record, and has not committed: what other links
# have to do is done meanwhile, and where he takes it back nothing was missed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('removals');
my ($node, $exchange) = ($stage->node, $stage->exchange);
my ($one, $two, $three) = map { "user$_\@example.test" } 1 .. 3;
$stage->make_crm;
$stage->add_people(1, 5, $one);
$stage->settles('people are there');
$stage->make_another('other', 30, $two);
$stage->settles('and what another link has', 'other');
# A link whose source has the triggers of the first.
$stage->sql(<<"SQL");
SET ROLE crm_owner;
CREATE TABLE crm.copied AS SELECT i AS record, '$three' AS mailbox FROM generate_series(1, 8) i;
RESET ROLE;
SET client_min_messages = error;
SELECT crmsync.create_link('copies', 'exchange', 'contact', 'crm.person', audience => 'crm.copied');
SELECT crmsync.map('copies', m.crm, m.property) FROM crmsync.mappings m WHERE m.link = 'people';
SELECT crmsync.enable_link('copies');
SQL
$stage->settles('and copies', 'copies');

my $administering = $node->background_psql('postgres');
sub removes { my ($call) = @_; $administering->query_safe("SET client_min_messages = error; BEGIN; SELECT crmsync.$call"); return }
sub link_goes { my ($link) = @_; return $stage->until_true(sub { $stage->sql("SELECT count(*) FROM crmsync.links WHERE name = '$link'") eq '0' }, "$link goes") }
sub name_in { my ($mailbox, $record) = @_; return ($exchange->records($mailbox)->{$record} // {})->{'contacts:GivenName'} // 'none' }

# ---- with outcomes to come
for (['ROLLBACK', 40], ['COMMIT', 50])
{
	my ($end, $last) = @$_;
	$exchange->inject('delay', operation => 'CreateItem', mailbox => $two, seconds => 3);
	$stage->sql("INSERT INTO crm.other SELECT i, 'New' FROM generate_series($last - 9, $last) i");
	$stage->until_true(sub { name_in($two, $last) eq 'New' }, 'creates that are not answered yet');
	removes("drop_link('other')");
	$stage->goes_on($one, 'their link is dropped');
	sleep 3;
	$stage->goes_on($one, 'they have been answered');
	$administering->query_safe($end);
	if ($end eq 'ROLLBACK')
	{
		is(join(' ', $stage->change("UPDATE crm.other SET first_name = 'Newer' WHERE id = $last", 'other')), '0 0', 'taken back: the link goes on');
		is(name_in($two, $last), 'Newer', 'with what was made');
		is(scalar(my @items = $exchange->items($two)), 40, 'and makes nothing twice');
		is($stage->status('last_error', 'other'), '', 'it has met no error');
	}
	else
	{
		link_goes('other');
		$stage->goes_on($one, 'it is gone');
	}
}

# ---- a record that is forgotten while it changes
$exchange->inject('item', operation => 'CreateItem', mailbox => $three, code => 'ErrorInvalidPropertySet', count => 0);
$stage->sql("INSERT INTO crm.person (id, first_name) VALUES (8, 'Refused')");
$stage->until_true(sub { $stage->failures eq '8 ErrorInvalidPropertySet' }, 'a record that was refused');
$exchange->calm;
removes("forget('copies', '8')");
$stage->sql("UPDATE crm.person SET first_name = 'Taken' WHERE id = 8");
$stage->goes_on($one, 'it is forgotten, and changes');
is(name_in($three, 8), 'none', 'its link waits');
$administering->query_safe('COMMIT');
$stage->settles('and goes on', 'copies');
is(name_in($three, 8), 'Taken', 'with what has changed');

# ---- with changes that are those of another link, too
removes("drop_link('copies')");
$stage->goes_on($one, 'a link with the same trigger is dropped');
$stage->add_people(6, 7, $one);
$stage->settles('people are added');
is(name_in($three, 6), 'none', 'of whom that link hears nothing');
$administering->query_safe('ROLLBACK');
$stage->settles('taken back: it is waited for', 'copies');
is(name_in($three, $_), "First$_", "what was missed is found: $_") for 6, 7;
is(name_in($three, 1), name_in($one, 1), 'and what was changed');
removes("drop_link('copies')");
$stage->goes_on($one, 'it is dropped again');
$administering->query_safe('COMMIT');
link_goes('copies');
$stage->goes_on($one, 'it is gone');
is($stage->sql('SELECT missed FROM crmsync.log_position'), '{}', 'and nothing is missed any more');

$administering->quit;
$stage->done;
