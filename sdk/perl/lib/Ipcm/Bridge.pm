package Ipcm::Bridge;

# The process `ipcm bridge`, and the lines between it and this program (docs/bridge.md).

use strict;
use warnings;

use Errno        qw(EAGAIN EINTR EWOULDBLOCK);
use Fcntl        qw(F_GETFD F_SETFD FD_CLOEXEC);
use IO::Handle   ();
use POSIX        ();
use Socket       qw(AF_UNIX MSG_NOSIGNAL PF_UNSPEC SOCK_STREAM);
use Time::HiRes  ();
use Ipcm::Error  ();
use Ipcm::JSON   qw(decode_json encode_json);
use Ipcm::Streams ();

our $VERSION = '0.1.0';

use constant { CHUNK => 256 * 1024, PATIENCE => 10 };

# The path of the command: $IPCM, or `ipcm` on $PATH.
sub command { length($ENV{IPCM} // '') ? $ENV{IPCM} : 'ipcm' }

# new(words => […], bus => INFO, boot => […]): `boot` are the boot arguments of this process, if it was started as a service.
sub new {
    my ($class, %how) = @_;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or Ipcm::Error->throw(system => "a socket can't be made: $!");
    pipe my $told, my $tell or Ipcm::Error->throw(system => "a pipe can't be made: $!");
    my @words = (command(), 'bridge', @{ $how{words} }, '--fds', join(',', (fileno $theirs) x 2), $how{boot} ? ('--', @{ $how{boot} }) : ());
    my $pid = fork // Ipcm::Error->throw(system => "a process for the bridge can't be made: $!");
    if (!$pid) {
        $ENV{IPCM_INFO} = $how{bus} if defined $how{bus};
        fcntl $theirs, F_SETFD, 0;
        if (!$how{boot}) {
            open STDIN,  '<', '/dev/null';
            open STDOUT, '>', '/dev/null';
        }
        { no warnings 'exec'; exec { $words[0] } @words }
        syswrite $tell, "$!";
        POSIX::_exit(127);
    }
    close $_ for $theirs, $tell;
    my $self = bless { fh => $ours, pid => $pid, owner => $$, unread => '', searched => 0 }, $class;
    if (length(my $why = do { local $/; readline $told } // '')) {
        waitpid $pid, 0;
        Ipcm::Error->throw(bus => "the command '$words[0]' can't be started: $why; install ipcm, or set \$IPCM to its path");
    }
    $ours->blocking(0);
    return $self;
}

sub fh      { $_[0]{fh} }
sub is_over { $_[0]{is_over} }
sub is_own  { $_[0]{owner} == $$ }

# put($line): writes a line, and reads meanwhile what comes, since the bridge does not read while its output waits.
sub put {
    my ($self, $line) = @_;
    Ipcm::Error->throw(bus => 'this process was forked from the one that has joined; it must connect itself') if !$self->is_own;
    Ipcm::Error->throw(bus => 'the bus was left, or the bridge has ended') if $self->{is_over};
    my $octets = encode_json($line) . "\n";
    {
        local $self->{is_writing} = 1;
        $self->_write($octets);
    }
    my $deferred = delete $self->{deferred};
    $deferred->() if $deferred;
    return;
}

sub _write {
    my ($self, $octets) = @_;
    for (my $at = 0; $at < length $octets;) {
        my $sent = send $self->{fh}, substr($octets, $at, CHUNK), MSG_NOSIGNAL;
        if    (defined $sent) { $at += $sent }
        elsif ($! == EAGAIN || $! == EWOULDBLOCK) {
            vec(my $reads = '', fileno $self->{fh}, 1) = 1;
            my $writes = $reads;
            $self->fill if select($reads, $writes, undef, undef) > 0 && vec $reads, fileno $self->{fh}, 1;
        }
        elsif ($! != EINTR) { return }    # the end of its output tells why
    }
    return;
}
sub is_writing { $_[0]{is_writing} }

# defer($code): once the line is written.
sub defer { my ($self, $code) = @_; $self->{deferred} = $code; return }

# fill(): reads what has come. Never waits.
sub fill {
    my ($self) = @_;
    return if $self->{is_over};
    my $got = sysread $self->{fh}, $self->{unread}, CHUNK, length $self->{unread};
    $self->{is_over} = 1 if defined $got ? $got == 0 : $! != EAGAIN && $! != EWOULDBLOCK && $! != EINTR;
    return;
}

# next_line(): the next line that has come completely, or nothing.
sub next_line {
    my ($self) = @_;
    my $end = index $self->{unread}, "\n", $self->{searched};
    if ($end < 0) {
        $self->{searched} = length $self->{unread};
        return;
    }
    $self->{searched} = 0;
    return decode_json(substr $self->{unread}, 0, $end + 1, '');
}

# hold(): the bridge itself holds messages back while this program does not read.
sub hold { return }

# taken(), note_failure(): the bridge itself answers `ipcm inspect`.
sub taken        { return }
sub note_failure { return }

# let_go(): in a forked child, closes its copy.
sub let_go { my ($self) = @_; close $self->{fh}; $self->{is_over} = 1; return }

# finish(): reads to the end of the bridge, which was told to leave, and reaps it.
sub finish {
    my ($self) = @_;
    return if !$self->{pid} || !$self->is_own;
    shutdown $self->{fh}, 1;
    my $until = Time::HiRes::time() + PATIENCE;
    while (!$self->{is_over}) {
        my $rest = $until - Time::HiRes::time();
        if ($rest <= 0) {
            kill KILL => $self->{pid};
            last;
        }
        Ipcm::Streams::await($rest, undef, $self->{fh});
        $self->fill;
        1 while defined $self->next_line;
    }
    local ($?, $!);
    waitpid delete $self->{pid}, 0;
    close $self->{fh};
    $self->{is_over} = 1;
    return;
}

1;
