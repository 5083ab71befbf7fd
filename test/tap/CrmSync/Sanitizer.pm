# A PostgreSQL whose crmsync was built with SANITIZE=1, run under AddressSanitizer and LeakSanitizer.
package CrmSync::Sanitizer;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Copy qw(copy);
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Utils qw(slurp_file);

# AddressSanitizer asks for this symbol when it starts; glibc, which would translate the answer that
# there is none, cannot unlock yet what it locks for that, and hangs later. So there is one.
my $no_swift = 'char *swift_demangle(void); char *swift_demangle(void) { return 0; }';

# Where the sanitized libraries are, or undef when they were not built.
sub build
{
	my $build = $ENV{CRMSYNC_BUILD} // return;
	(my $sanitized = $build) =~ s{/(\d+)-[^/]*$}{/$1-sanitize};
	return -r "$sanitized/crmsync_engine.so" ? $sanitized : undef;
}

sub output_of { IPC::Run::run([@_], '>', \my $said) or die "@_ failed\n"; chomp $said; return $said }

# new($directory): everything goes below the directory. The test and its servers take the processor's time that others
# leave: they need most of it, and wait for nothing, while others mostly wait and look how long that takes.
sub new
{
	my ($class, $directory) = @_;
	POSIX::nice(5);
	my $self = bless { directory => $directory, reports => "$directory/report" }, $class;
	mkdir $directory;
	my $config = output_of('scripts/private-postgres', "$directory/postgresql", $ENV{PG_CONFIG} // 'pg_config');
	$self->{prefix} = dirname(dirname($config));
	my $library = output_of($config, '--pkglibdir');
	my $extension = output_of($config, '--sharedir') . '/extension';
	my $installed = output_of($ENV{PG_CONFIG} // 'pg_config', '--sharedir') . '/extension';
	unlink glob("$library/crmsync*.so"), glob("$extension/crmsync*");
	copy($_, $library) or die "$_: $!\n" for glob build() . '/crmsync*.so';
	chmod 0755, glob "$library/crmsync*.so";
	copy($_, $extension) or die "$_: $!\n" for glob "$installed/crmsync*";
	IPC::Run::run([ 'cc', '-shared', '-fPIC', '-x', 'c', '-', '-o', "$directory/no_swift.so" ], '<', \$no_swift) or die "no C compiler\n";
	return $self;
}

# For CrmSync::EndToEnd->new.
sub cluster { my ($self) = @_; return { install_path => $self->{prefix} } }

# Of the server. What AddressSanitizer finds crashes the process; a leak only leaves a report. What every
# process leaks is not worth naming functions for. Memory that was freed is kept from being used again for 8 MB, not
# 256: processes are many and short, and what costs most in them is the kernel's giving them pages. Who asked for memory
# is remembered by three frames, which take less time to find than thirty, where it is not needed for leaks.
sub environment
{
	my ($self, %given) = @_;
	my $runtime = output_of('clang++', '-print-file-name=libclang_rt.asan-' . output_of('uname', '-m') . '.so');
	my $symbolize = $given{leaks} ? 0 : 1;
	my $frames = $given{leaks} ? 30 : 3;
	return {
		LD_PRELOAD => "$runtime $self->{directory}/no_swift.so",
		ASAN_OPTIONS => "verify_asan_link_order=0:abort_on_error=1:detect_leaks=$given{leaks}:symbolize=$symbolize:"
		  . "quarantine_size_mb=8:thread_local_quarantine_size_kb=64:malloc_context_size=$frames:log_path=$self->{reports}",
		LSAN_OPTIONS => 'exitcode=0',
		UBSAN_OPTIONS => 'print_stacktrace=1:abort_on_error=1',
	};
}

# Reports that concern our libraries, wherever they are. PostgreSQL itself leaks on purpose what lives as long as the process.
sub reports
{
	my ($self) = @_;
	my @reports;
	for my $report (map { slurp_file($_) } glob "$self->{reports}.*")
	{
		push @reports, grep { m{/crmsync(_engine)?\.so} || /AddressSanitizer(?!: \d+ byte\(s\) leaked)/ } split /\n\n/, $report;
	}
	return @reports;
}

# Whether LeakSanitizer works here (it must be allowed to trace its own process): then it has found what
# every process of PostgreSQL leaks.
sub finds_leaks
{
	my ($self) = @_;
	return scalar grep { slurp_file($_) =~ /LeakSanitizer: detected memory leaks/ } glob "$self->{reports}.*";
}

1;
