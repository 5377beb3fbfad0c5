package TestBus;

# A bus of its own for a test, and the end of each test in every case.

use strict;
use warnings;

use Exporter   qw(import);
use File::Temp qw(tempdir);
use Test::More ();

our @EXPORT = qw(subtest need_ipcm new_bus remove_bus forget_bus ipcm error_of $PLACE);
our $PLACE;

use constant HANG => 60 * ($ENV{IPCM_TEST_PATIENCE} // 1);    # seconds; only ends a hang

# As that of Test::More, but its tests are not indented, which readers of TAP such as meson do not know; it ends in every case.
sub subtest {
    my ($name, $code) = @_;
    local $SIG{ALRM} = sub { die "'$name' hangs\n" };
    alarm HANG;
    Test::More::note($name);
    eval { $code->(); 1 } or Test::More::fail("$name: " . ($@ =~ s{\s+\z}{}r));
    alarm 0;
    return;
}

my $owner = $$;
my @buses;

# Skips the whole test if there is no `ipcm`.
sub need_ipcm {
    $ENV{IPCM} = $ENV{IPCM_TEST_IPCM} if defined $ENV{IPCM_TEST_IPCM};
    $ENV{IPCM_BOOT} = $ENV{IPCM_TEST_BOOT} if defined $ENV{IPCM_TEST_BOOT};
    my $wanted = $ENV{IPCM} // 'ipcm';
    my ($found) = grep { -x && !-d } $wanted =~ m{/} ? $wanted : map { "$_/$wanted" } split /:/, $ENV{PATH};
    Test::More::plan skip_all => "the command '$wanted' is not here; build ipcm, and set \$IPCM to its path" if !defined $found;
    $ENV{IPCM} = $found;
    $PLACE = tempdir('ipcm-perl-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    @ENV{qw(TMPDIR XDG_RUNTIME_DIR XDG_STATE_HOME)} = ($PLACE) x 3;
    return;
}

sub ipcm {
    my (@words) = @_;
    open my $out, '-|', $ENV{IPCM}, @words or die "$ENV{IPCM}: $!\n";
    my $text = do { local $/; readline $out } // '';
    close $out or die "ipcm @words: status $?\n";
    return $text;
}

# new_bus($protocol, @options): makes a bus, and sets $IPCM_INFO.
sub new_bus {
    my ($protocol, @options) = @_;
    my ($info) = ipcm('bus', 'new', '--protocol', $protocol, @options, '--json') =~ /"info":(\[.*?\]|"(?:[^"\\]|\\.)*")/ or die 'no info';
    $ENV{IPCM_INFO} = $info;
    push @buses, $info;
    return $info;
}

# The bus was removed by the test.
sub forget_bus { pop @buses; return }

sub remove_bus { ipcm('--bus', pop @buses, 'bus', 'rm'); return }

# The error object that a call throws.
sub error_of {
    my ($code) = @_;
    my $value = eval { $code->(); 1 };
    return $value ? undef : $@;
}

END {
    if ($$ == $owner) {
        local $?;
        alarm 0;
        eval { remove_bus() } while @buses;
    }
}

1;
