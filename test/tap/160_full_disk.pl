# A full disk: a commit that cannot write its change log fails as a whole; results that cannot be
# recorded are kept until there is space; a server that stops for want of it goes on afterwards.
# Nothing is lost and nothing is done twice.
use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# A disk that is full for whatever file has a path as the flag says, whoever runs the test: no file of
# that path can become longer.
my $place = abs_path(PostgreSQL::Test::Utils::tempdir());
my ($source, $library, $flag) = map { "$place/$_" } qw(full_disk.c full_disk.so full);
append_to_file($source, <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int full(int descriptor, off_t end)
{
	char link[64], path[4096] = "", wanted[4096] = "";
	struct stat status;
	const char *flag = getenv("FULL_DISK");
	FILE *file = flag ? fopen(flag, "r") : NULL;
	if (!file)
		return 0;
	int any = fscanf(file, "%4095s", wanted) == 1;
	fclose(file);
	snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
	if (!any || readlink(link, path, sizeof path - 1) < 0 || !strstr(path, wanted))
		return 0;
	if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) || end <= status.st_size)
		return 0;
	errno = ENOSPC;
	return 1;
}

#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static off_t length_of(const struct iovec *parts, int count)
{
	off_t length = 0;
	while (count-- > 0)
		length += parts++->iov_len;
	return length;
}

ssize_t pwrite(int d, const void *data, size_t size, off_t at) { return full(d, at + size) ? -1 : NEXT(pwrite)(d, data, size, at); }
ssize_t pwrite64(int d, const void *data, size_t size, off64_t at) { return full(d, at + size) ? -1 : NEXT(pwrite64)(d, data, size, at); }
ssize_t pwritev(int d, const struct iovec *parts, int count, off_t at) { return full(d, at + length_of(parts, count)) ? -1 : NEXT(pwritev)(d, parts, count, at); }
ssize_t pwritev64(int d, const struct iovec *parts, int count, off64_t at) { return full(d, at + length_of(parts, count)) ? -1 : NEXT(pwritev64)(d, parts, count, at); }
int posix_fallocate(int d, off_t at, off_t size) { return full(d, at + size) ? ENOSPC : NEXT(posix_fallocate)(d, at, size); }
int posix_fallocate64(int d, off64_t at, off64_t size) { return full(d, at + size) ? ENOSPC : NEXT(posix_fallocate64)(d, at, size); }
C
plan skip_all => 'no C compiler for the full disk' if system("cc -shared -fPIC -o $library $source -ldl 2>$place/cc.log") != 0;
$ENV{FULL_DISK} = $flag;

my $stage;
{
	local $ENV{LD_PRELOAD} = $library;
	$stage = CrmSync::EndToEnd->new('full_disk', conf => "restart_after_crash = on\nautovacuum = off\nmin_wal_size = 32MB");
}
my $exchange = $stage->exchange;
my $node = $stage->node;
my $one = 'user1@example.test';
$stage->make_crm;

sub disk_is_full
{
	my ($path) = @_;
	append_to_file("$flag.new", "$path\n");
	rename "$flag.new", $flag or die;
	return;
}
sub disk_has_space { unlink $flag; return }

# A part of the path of a relation's file.
sub file_of { return '/' . $stage->sql("SELECT pg_relation_filenode('$_[0]')") }

$stage->add_people(1, 100, $one);
$stage->settles('a hundred people');

# ---- the change log cannot grow
$stage->sql('TRUNCATE crmsync.change_log_0, crmsync.change_log_1');
disk_is_full(file_of('crmsync.change_log_0'));
my $said = $stage->error("UPDATE crm.person SET first_name = 'Lost' WHERE id <= 50");
like($said, qr/53100.*No space left on device/s, 'a commit whose change cannot be logged fails');
is($stage->sql("SELECT count(*) FROM crm.person WHERE first_name = 'Lost'"), '0', 'as a whole');
disk_has_space();
$stage->change("UPDATE crm.person SET first_name = 'Found' WHERE id <= 50");
is(scalar(grep { $_->{'contacts:GivenName'} eq 'Found' } values %{ $exchange->records($one) }), 50, 'with space again it goes out');

# ---- what was done cannot be recorded
my $worker = $stage->worker_pid;
disk_is_full(file_of('crmsync.item'));
$stage->add_people(1000, 1999, $one);
$stage->sync('people', '3 s');
cmp_ok($stage->sql("SELECT count(*) FROM crmsync.pending"), '>', 0, 'results that cannot be recorded are still to do');
like(slurp_file($node->logfile), qr/No space left on device/, 'the log says why');
is($stage->worker_pid, $worker, 'and the worker goes on');
disk_has_space();
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'with space again they are', 30);
is(scalar(keys %{ $exchange->records($one) }), 1100, 'and every contact is there once');
is($stage->failures, 'none', 'none has failed');

# ---- what is to be done cannot be noted
$stage->sql('TRUNCATE crmsync.pending');
disk_is_full(file_of('crmsync.pending'));
$stage->sql("UPDATE crm.person SET last_name = 'Noted'");
$stage->sync('people', '2 s');
disk_has_space();
$stage->until_true(sub { ($stage->sync('people', '5 s'))[0] == 0 }, 'changes that could not be noted', 30);
is(scalar(grep { $_->{'contacts:Surname'} ne 'Noted' } values %{ $exchange->records($one) }), 0, 'are all carried out');

# ---- no space for the write-ahead log: PostgreSQL stops, and recovers
disk_is_full('/pg_wal/');
my $last = 0;
for my $i (1 .. 40)
{
	my ($status) = $node->psql('postgres', "UPDATE crm.person SET phone = '$i' WHERE id = 1; SELECT pg_switch_wal()");
	last if $status != 0;
	$last = $i;
}
sleep 1;
disk_has_space();
# Whether it recovers by itself depends on the segments that are left.
if (($node->psql('postgres', 'SELECT true'))[0] != 0)
{
	$node->stop('immediate', fail_ok => 1);
	$node->start;
}
ok($node->poll_query_until('postgres', 'SELECT true'), "the server stops after $last commits, and is there again");
$stage->until_true(sub { my @left = eval { $stage->sync('people', '5 s') }; @left && $left[0] == 0 }, 'the worker, too', 40);
my $committed = $stage->sql('SELECT phone FROM crm.person WHERE id = 1');
cmp_ok($committed, '>=', $last, 'what was committed is there');
is($exchange->records($one)->{1}{'contacts:PhoneNumber/BusinessPhone'}, $committed, 'and in Exchange');
is(scalar(keys %{ $exchange->records($one) }), 1100, 'where every contact still is once');

$stage->done(panics => 1);
