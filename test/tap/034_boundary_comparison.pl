# The same as 030, for a comparison, which is a worker of its own: the calls with odd numbers, and those that LeakSanitizer
# looks at.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::FailingComparisons;
use CrmSync::Sanitizer;
use Test::More;

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

my $comparison = CrmSync::FailingComparisons->new('boundary_comparison');
my $calls = $comparison->calls;
my $leak_step = $CrmSync::FailingComparisons::leak_step;
$comparison->fail_each(1, 2, left_out => $leak_step);
$calls->start_again(leaks => 1);
$comparison->fail_each($leak_step, $leak_step);
$calls->done(leaks => 1);
