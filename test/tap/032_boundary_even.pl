# The other half of 030: the calls with even numbers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::FailingWorkers;
use CrmSync::Sanitizer;
use Test::More;

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

my $workers = CrmSync::FailingWorkers->new('boundary_even');
$workers->fail_each(2, 2, left_out => $CrmSync::FailingWorkers::leak_step);
$workers->calls->done;
