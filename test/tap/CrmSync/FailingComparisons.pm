# A comparison whose guarded calls fail, each of them: the odd ones in 034, which looks for leaks too, the even ones in 035.
package CrmSync::FailingComparisons;

use strict;
use warnings;

use CrmSync::FailingCalls;
use CrmSync::FailingRuns;
use Test::More;

my $one = 'user1@example.test';

# One call in so many is tried with LeakSanitizer, the others without.
our $leak_step = 11;

# new($name): a CrmSync::FailingRuns. The resident worker has started before: its calls do not fail.
sub new
{
	my ($class, $name) = @_;
	my $calls = CrmSync::FailingCalls->new($name);
	my $stage = $calls->stage;
	$stage->make_crm;
	$stage->add_people(1, 3, $one);
	$stage->settles('before', 'people', '60 s');
	return CrmSync::FailingRuns->new(
		'comparison', $calls,
		process => 'crmsync comparison',
		work => "UPDATE crmsync.link_state SET comparison = 'everything', comparison_asked = comparison_asked + 1;",
		ask => 'SELECT crmsync.wake()',
		done => 'SELECT comparison IS NULL FROM crmsync.link_state',
		right => sub {
			$stage->settles($_[0], 'people', '60 s');
			is($stage->exchange->show($one), '1:First1 2:First2 3:First3', "$_[0]: every contact, once");
		});
}

1;
