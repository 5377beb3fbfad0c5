package Ipcm::Link;

# One connection to a peer: a stream socket that carries frames in both directions, without blocking. Its owner is Ipcm::Links.

use strict;
use warnings;

use Errno        qw(EAGAIN EINTR EWOULDBLOCK);
use Socket       qw(MSG_NOSIGNAL SOL_SOCKET SO_PEERCRED);
use Ipcm::Error  ();
use Ipcm::Kernel ();
use Ipcm::Wire   ();

our $VERSION = '0.1.0';

use constant {
    HIGH => 1024 * 1024,          # from this many queued bytes on, senders wait
    MOST => 128 * 1024 * 1024,    # the limit of queued bytes; a peer that reads so little is cut off, or refused further messages
    CHUNK => 256 * 1024,
    SO_PEERPIDFD => 77,           # Linux 6.5
};

# new($stream, $peer): the peer is unknown (undef) until a caller has greeted.
sub new {
    my ($class, $stream, $peer) = @_;
    return bless { stream => $stream, peer => $peer, is_ours => defined $peer, calls => {}, unread => '', queue => '', waiters => [], is_open => 1 }, $class;
}

# credentials(): the process and the user on the other end. Process 0: in another pid namespace.
sub credentials {
    my ($self) = @_;
    return unpack 'i i', getsockopt($self->{stream}, SOL_SOCKET, SO_PEERCRED) // pack 'i i', 0, -1;
}

# process(): a handle that is readable when the process on the other end has ended; or nothing.
sub process {
    my ($self) = @_;
    my $told = getsockopt $self->{stream}, SOL_SOCKET, SO_PEERPIDFD;
    if (defined $told) {
        open my $handle, '<&=', unpack 'i', $told or return;
        return $handle;
    }
    my ($pid) = $self->credentials;
    return $pid > 0 ? Ipcm::Kernel::process($pid) : undef;
}

# flush($octets): sends the queue and these octets, as much as the socket takes. Returns false, with $!, if the peer has closed.
sub flush {
    my ($self, $octets) = @_;
    if ($self->{queue} eq '' && defined $octets) { $self->{queue} = $octets }
    else                                         { $self->{queue} .= $octets // '' }
    while (length $self->{queue}) {
        my $sent = send $self->{stream}, substr($self->{queue}, 0, CHUNK), MSG_NOSIGNAL;
        if (!defined $sent) {
            next if $! == EINTR;
            last if $! == EAGAIN || $! == EWOULDBLOCK;
            return 0;
        }
        substr $self->{queue}, 0, $sent, '';
    }
    if (@{ $self->{waiters} } && length $self->{queue} <= HIGH) { $_->() for splice @{ $self->{waiters} } }
    return 1;
}

# fill(): reads once. Returns the count of octets: 0 at the end of the connection; undef: nothing has come.
sub fill {
    my ($self) = @_;
    my $got = sysread $self->{stream}, $self->{unread}, CHUNK, length $self->{unread};
    return $got if defined $got;
    return $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR ? undef : 0;
}

# next_payload(): that of the next frame that has come completely, or nothing. Throws a protocol error for a length above the limit.
sub next_payload {
    my ($self) = @_;
    my $have = length $self->{unread};
    return if $have < 4;
    my $size = unpack 'N', $self->{unread};
    die Ipcm::Error->of(protocol => "it announced a message of $size bytes, beyond the limit of " . Ipcm::Wire::LARGEST) if $size > Ipcm::Wire::LARGEST;
    return if $have < 4 + $size;
    substr $self->{unread}, 0, 4, '';
    return substr $self->{unread}, 0, $size, '';
}

# close(): a forked child may hold a copy; shutdown() ends the connection all the same.
sub close {
    my ($self) = @_;
    $self->{is_open} = 0;
    shutdown $self->{stream}, 2;
    return $self->let_go;
}

# let_go(): in a forked child, closes the copies only.
sub let_go {
    my ($self) = @_;
    CORE::close($self->{stream});
    CORE::close($_) for grep { defined } delete $self->{process};
    return;
}

1;
