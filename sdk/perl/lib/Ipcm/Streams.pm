package Ipcm::Streams;

# Waiting for descriptors, and the streams that a launcher passes on.

use strict;
use warnings;

use Fcntl qw(F_SETFD FD_CLOEXEC);
use IO::Handle ();
use POSIX ();

our $VERSION = '0.1.0';

# await($seconds, $signals, @handles): waits until a handle is readable, or a signal has come, or the time is over (undef: no limit).
# Returns the handles that are readable.
sub await {
    my ($seconds, $signals, @handles) = @_;
    my $wanted = '';
    vec($wanted, fileno $_, 1) = 1 for @handles, $signals ? $signals->handle : ();
    $signals->expect if $signals;
    my $found = select my $readable = $wanted, undef, undef, $seconds;
    $signals->handled if $signals;
    return $found > 0 ? grep { vec $readable, fileno $_, 1 } @handles : ();
}

# inherited(@arguments): the descriptors of the boot contract that only the bridge needs.
sub inherited {
    my (@arguments) = @_;
    my %numbers;
    for my $at (0 .. $#arguments) {
        my ($value) = $arguments[$at] =~ /\A--(?:ready|params)-fd(?:=(.*))?\z/s or next;
        $value //= $arguments[ $at + 1 ] // '';
        $numbers{$value} = 1 if $value =~ /\A[0-9]+\z/ && $value > 2;
    }
    for my $text (@ENV{qw(IPCM_LEASH_FD IPCM_ORIG_IO_FDS)}) {
        $numbers{$_} = 1 for grep { /\A[0-9]+\z/ && $_ > 2 } split /,/, $text // '';
    }
    return sort { $a <=> $b } keys %numbers;
}

# new(): takes the boot contract's streams over from the environment, once the bridge has its own copies.
sub new {
    my ($class, @arguments) = @_;
    # As long as this process had them too, its launcher would not notice the bridge's end.
    POSIX::close($_) for inherited(@arguments);
    my (@moves, $log);
    if (($ENV{IPCM_STDERR_FD} // '') =~ /\A([0-9]+)\z/) { push @moves, [ $1, 2 ] }
    if (($ENV{IPCM_LOG_FD} // '') =~ /\A([0-9]+)((?:,[0-9]+)+)\z/) {
        $log = $1;
        push @moves, map { [ $log, $_ ] } grep { length } split /,/, $2;
    }
    delete @ENV{qw(IPCM_LEASH_FD IPCM_STDERR_FD IPCM_LOG_FD IPCM_ORIG_IO_FDS IPCM_PARAMS_WHOLE)};
    my %kept;
    for my $from (map { $_->[0] } @moves) {
        next if $from <= 2 || $kept{$from};
        open $kept{$from}, '>>&=', $from or next;
        fcntl $kept{$from}, F_SETFD, FD_CLOEXEC;
    }
    return bless { moves => \@moves, kept => \%kept, log => defined $log ? $kept{$log} : undef }, $class;
}

# move(): the service is about to be ready: from now on its output goes to its log, and no longer to the launcher.
sub move {
    my ($self) = @_;
    $_->flush for \*STDOUT, \*STDERR;
    POSIX::dup2(@$_) for @{ $self->{moves} };
    @$self{qw(moves kept)} = ([], {});
    return;
}

# log(): the log of the service, or nothing.
sub log { $_[0]{log} }

1;
