# The same as 030, in both directions. Every eighteenth call fails, other ones each day; with CRMSYNC_EVERY_CALL=1 each of them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::FailingWorkers;
use CrmSync::Sanitizer;
use Test::More;

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

my $workers = CrmSync::FailingWorkers->new('boundary_both', both_ways => 1);
my $step = $ENV{CRMSYNC_EVERY_CALL} ? 1 : 18;
$workers->fail_each(1 + (gmtime)[7] % $step, $step);
$workers->calls->done;
