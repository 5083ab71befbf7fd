# The other half of 034: the calls with even numbers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::FailingComparisons;
use CrmSync::Sanitizer;
use Test::More;

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

my $comparison = CrmSync::FailingComparisons->new('boundary_comparison_even');
$comparison->fail_each(2, 2, left_out => $CrmSync::FailingComparisons::leak_step);
$comparison->calls->done;
