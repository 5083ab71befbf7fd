# An update needs no restart of the server: the engine works with the preloaded library of before, whose
# interface is of the oldest version that it can work with.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;

# Hands out the interface as the older library had it.
my $older = PostgreSQL::Test::Utils::tempdir() . '/older';
append_to_file("$older.c", <<'C');
#include "postgres.h"
#include "fmgr.h"
#include "preload/interface.h"

PG_MODULE_MAGIC;

void _PG_init(void);
void _PG_init(void)
{
	static CrmsyncPreload older;
	void **variable = find_rendezvous_variable(CRMSYNC_RENDEZVOUS);

	memcpy(&older, *variable, offsetof(CrmsyncPreload, is_held));
	older.version = CRMSYNC_OLDEST_INTERFACE_VERSION;
	*variable = &older;
}
C
chomp(my $headers = `$ENV{PG_CONFIG} --includedir-server`);
system_or_bail('cc', '-shared', '-fPIC', "-I$headers", "-I$FindBin::RealBin/../../src", '-o', "$older.so", "$older.c");

my $stage = CrmSync::EndToEnd->new('older_library', conf => "shared_preload_libraries = 'crmsync, $older.so'");
my $mailbox = 'user1@example.test';
$stage->make_crm;
$stage->add_people(1, 5, $mailbox);
$stage->settles('the worker works');
my $compared = "SELECT comparison IS NULL FROM crmsync.link_state";
$stage->sql("SELECT crmsync.request_comparison(id, 'everything'), crmsync.wake() FROM crmsync.link");
$stage->until_true(sub { $stage->sql($compared) eq 't' }, 'and so does a comparison');
is(scalar(keys %{ $stage->exchange->records($mailbox) }), 5, 'all have arrived');

$stage->done;
