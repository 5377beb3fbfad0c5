package Ipcm::Poller;

# What a native member waits for, behind one handle: descriptors, and moments of the monotonic clock.

use strict;
use warnings;

use Time::HiRes   ();
use Ipcm::Error   ();
use Ipcm::Kernel  ();

our $VERSION = '0.1.0';

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub new {
    my ($class) = @_;
    my $epoll = Ipcm::Kernel::epoll() // Ipcm::Error->throw(system => "an epoll descriptor can't be made: $!");
    my $timer = Ipcm::Kernel::timer() // Ipcm::Error->throw(system => "a timer can't be made: $!");
    my $self = bless { epoll => $epoll, timer => $timer, codes => {}, events => {}, due => {}, last => 0 }, $class;
    $self->set($timer, sub { });
    return $self;
}

# fh(): readable when ready() has something to do.
sub fh { $_[0]{epoll} }

# set($handle, $when_readable, $when_writable): either may be undef; with none, the handle is left alone from now on. This must come
# before the handle is closed: a forked child may hold a copy, and the kernel would go on to report it.
sub set {
    my ($self, $handle, $reads, $writes) = @_;
    my $fd = fileno $handle;
    my $events = ($reads ? Ipcm::Kernel::READS : 0) | ($writes ? Ipcm::Kernel::WRITES : 0);
    my $before = $self->{events}{$fd} // 0;
    if ($events) { @{ $self->{codes}{$fd} }[ 0, 1 ] = ($reads, $writes) }
    else         { delete $self->{codes}{$fd} }
    return if $events == $before;
    $self->{events}{$fd} = $events;
    delete $self->{events}{$fd} if !$events;
    my $operation = !$before ? Ipcm::Kernel::EPOLL_ADD : $events ? Ipcm::Kernel::EPOLL_MOD : Ipcm::Kernel::EPOLL_DEL;
    Ipcm::Kernel::epoll_set($self->{epoll}, $operation, $fd, $events) or Ipcm::Error->throw(system => "descriptor $fd can't be watched: $!");
    return;
}

# at($moment, $code): returns a key for forget().
sub at {
    my ($self, $moment, $code) = @_;
    my $key = ++$self->{last};
    $self->{due}{$key} = [ $moment, $code ];
    $self->_arm($moment) if !defined $self->{armed} || $moment < $self->{armed};
    return $key;
}

# The timer stays as it is: if it comes too early, nothing is due.
sub forget { my ($self, $key) = @_; delete $self->{due}{ $key // '' }; return }

sub _arm {
    my ($self, $moment) = @_;
    $self->{armed} = $moment;
    Ipcm::Kernel::timer_set($self->{timer}, $moment) or Ipcm::Error->throw(system => "a timer can't be set: $!");
    return;
}

# ready(): calls the code of what has happened. Never waits.
sub ready {
    my ($self) = @_;
    for my $found (Ipcm::Kernel::epoll_ready($self->{epoll})) {
        my ($fd, $events) = @$found;
        my $codes = $self->{codes}{$fd} or next;    # an earlier one has closed it
        $codes->[0]->() if $codes->[0] && $events & ~Ipcm::Kernel::WRITES;
        $codes = $self->{codes}{$fd} or next;
        $codes->[1]->() if $codes->[1] && $events & ~Ipcm::Kernel::READS;
    }
    $self->_call_due if defined $self->{armed} && now() >= $self->{armed};
    return;
}

sub _call_due {
    my ($self) = @_;
    sysread $self->{timer}, my $count, 8;
    my ($due, $now) = ($self->{due}, now());
    my @now = sort { $a <=> $b } grep { $due->{$_}[0] <= $now } keys %$due;
    delete $self->{armed};
    for my $one (map { delete $due->{$_} // () } @now) { $one->[1]->() }
    my ($next) = sort { $a <=> $b } map { $_->[0] } values %$due;
    $self->_arm($next) if defined $next && (!defined $self->{armed} || $next < $self->{armed});
    return;
}

sub close {
    my ($self) = @_;
    CORE::close($self->{$_}) for qw(epoll timer);
    %$self = (codes => {}, events => {}, due => {}, epoll => $self->{epoll}, timer => $self->{timer});
    return;
}

1;
