# Every call from C++ into PostgreSQL may fail. This and 032 make each of them fail, one after the other, in
# the start of a worker and a whole cycle of it: nothing crashes, nothing is lost or done twice, and
# AddressSanitizer finds nothing to say. Here are those with odd numbers.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::FailingWorkers;
use CrmSync::Sanitizer;
use Test::More;

plan skip_all => 'crmsync was not built with SANITIZE=1 beside the build under test' if !CrmSync::Sanitizer::build();

my $workers = CrmSync::FailingWorkers->new('boundary');
$workers->fail_each(1, 2, left_out => $CrmSync::FailingWorkers::leak_step);
$workers->calls->done;
