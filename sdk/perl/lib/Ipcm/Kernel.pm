package Ipcm::Kernel;

# The system calls of Linux that Perl has no function for. On failure a call returns nothing, with $! as Perl's own functions do.
# Descriptors that are made here are close-on-exec from birth, and are closed with their handle.

use strict;
use warnings;

use Config ();

our $VERSION = '0.1.0';

my %NUMBERS = (
    x86_64 => {
        epoll_create1 => 291, epoll_ctl => 233, epoll_pwait => 281, inotify_init1 => 294, inotify_add_watch => 254, timerfd_create => 283,
        timerfd_settime => 286, pidfd_open => 434, memfd_create => 319,
    },
    aarch64 => {
        epoll_create1 => 20, epoll_ctl => 21, epoll_pwait => 22, inotify_init1 => 26, inotify_add_watch => 27, timerfd_create => 85,
        timerfd_settime => 86, pidfd_open => 434, memfd_create => 279,
    },
);
my ($MACHINE) = $Config::Config{archname} =~ /\A(x86_64|aarch64)-/;
my $NUMBER = $NUMBERS{ $MACHINE // '' };

# struct epoll_event is packed on x86-64 alone: the events, and a number of ours.
my ($EVENT, $EVENT_SIZE) = ($MACHINE // '') eq 'x86_64' ? ('L Q', 12) : ('L x4 Q', 16);

use constant {
    CLOEXEC => 0x80000, NONBLOCK => 0x800,
    EPOLL_ADD => 1, EPOLL_DEL => 2, EPOLL_MOD => 3, READS => 1, WRITES => 4,
    CLOCK => 1,    # CLOCK_MONOTONIC
};

# is_known(): whether the numbers of this machine's calls are known. If not, the bridge speaks for this program.
sub is_known { return defined $NUMBER && $Config::Config{ivsize} == 8 }

sub _handle {
    my ($fd) = @_;
    return if $fd < 0;
    open my $handle, '<&=', $fd or return;
    return $handle;
}

sub epoll { return _handle(syscall $NUMBER->{epoll_create1}, CLOEXEC) }

# epoll_set($epoll, $operation, $fd, $events)
sub epoll_set {
    my ($epoll, $operation, $fd, $events) = @_;
    return syscall($NUMBER->{epoll_ctl}, fileno $epoll, $operation, $fd, pack $EVENT, $events, $fd) == 0;
}

# epoll_ready($epoll): pairs of a descriptor and its events. Never waits.
sub epoll_ready {
    my ($epoll) = @_;
    my $room = "\0" x ($EVENT_SIZE * 64);
    my $count = syscall $NUMBER->{epoll_pwait}, fileno $epoll, $room, 64, 0, 0, 8;
    return map { my ($events, $fd) = unpack $EVENT, substr $room, $_ * $EVENT_SIZE, $EVENT_SIZE; [ $fd, $events ] } 0 .. $count - 1;
}

sub timer { return _handle(syscall $NUMBER->{timerfd_create}, CLOCK, CLOEXEC | NONBLOCK) }

# timer_set($timer, $at): it becomes readable at that time of the monotonic clock, in seconds.
sub timer_set {
    my ($timer, $at) = @_;
    my $whole = int $at;
    my $time = pack 'q4', 0, 0, $whole, int(($at - $whole) * 1e9) + 1;
    return syscall($NUMBER->{timerfd_settime}, fileno $timer, 1, $time, 0) == 0;
}

sub inotify { return _handle(syscall $NUMBER->{inotify_init1}, CLOEXEC | NONBLOCK) }

sub inotify_add {
    my ($inotify, $path, $events) = @_;
    return syscall($NUMBER->{inotify_add_watch}, fileno $inotify, "$path", $events) >= 0;
}

# process($pid): a handle that is readable when the process has ended.
sub process { my ($pid) = @_; return _handle(syscall $NUMBER->{pidfd_open}, 0 + $pid, 0) }

# memory(): an anonymous file, for reading and writing.
sub memory {
    my $name = 'ipcm';    # syscall() takes no constant
    my $fd = syscall $NUMBER->{memfd_create}, $name, 1;
    return if $fd < 0;
    open my $handle, '+<&=', $fd or return;
    return $handle;
}

1;
