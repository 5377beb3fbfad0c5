#!/usr/bin/perl
# A peer in plain Perl, with the modules that Perl contains. Its standard input and output are those of foreign.py. It supports the protocols whose
# store these modules can open: ConnectionUnix, UnixSocket, MessageFiles, AtomicPipe.
#   foreign.pl INFO NAME
use strict;
use warnings;
use Errno qw(EAGAIN EWOULDBLOCK);
use Fcntl qw(O_RDWR O_WRONLY O_NONBLOCK);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX qw(mkfifo);
use Socket qw(SOCK_DGRAM SOCK_STREAM SOMAXCONN);
use Time::HiRes qw(time);

my $json = JSON::PP->new->ascii->allow_nonref;
my ($info, $name) = @ARGV;
my ($protocol, $serializer, $route) = map { s/.*:://r } @{$json->decode($info)};
die "serializer '$serializer'" unless $serializer eq 'JSON';
$| = 1;
$SIG{PIPE} = 'IGNORE';

my $path = "$route/$name";
my %counts = (sent => {}, read => {});

sub spit {
    my ($file, $data, $pending) = @_;
    open(my $out, '>:raw', $pending) or die "$pending: $!";
    print $out $data;
    close($out) or die "$pending: $!";
    rename($pending, $file) or die "$file: $!";
}

sub slurp {
    my ($file) = @_;
    open(my $in, '<:raw', $file) or return;
    local $/;
    return scalar <$in>;
}

sub uuid { uc join '-', map { join '', map { sprintf '%02x', int rand 256 } 1 .. $_ } 4, 2, 2, 2, 6 }

my ($last, $ord) = (0, 0);

# The order of the keys is that of Perl, and differs from message to message.
sub message {
    my ($to, $content, $broadcast) = @_;
    my $now = sprintf('%.5f', time);
    ($now, $ord) = $now <= $last ? ($last, $ord + 1) : ($now, 0);
    $last = $now;
    return {id => uuid(), from => $name, to => $to, stamp => $now + 0, stamp_ord => $ord, content => $content, ($broadcast ? (broadcast => 1) : ())};
}

sub peers {
    opendir(my $dir, $route) or return;
    my @found;
    for my $one (readdir $dir) {
        next if $one =~ /^[._]/ || $one =~ /\.(?:pid|name|resume|stats|suspend)$/ || $one eq $name;
        my $pid = slurp("$route/$one.pid") or next;
        push @found => $one if kill(0, $pid) || $!{EPERM};
    }
    return @found;
}

# The functions of each protocol: open, sources (returns the handles to wait on), take (returns the waiting messages), deliver, shut.
my (%open, %sources, %take, %deliver, %shut);

{
    my ($listener, %by_handle, %by_name);
    $open{ConnectionUnix} = sub {
        $listener = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => $path, Listen => SOMAXCONN) or die "$path: $!";
    };
    $sources{ConnectionUnix} = sub { ($listener, map { $_->{handle} } values %by_handle) };
    my $add = sub {
        my ($handle, $peer) = @_;
        my $one = {handle => $handle, unread => '', peer => $peer};
        $by_handle{fileno $handle} = $one;
        $by_name{$peer} = $one if defined $peer;
        return $one;
    };
    $take{ConnectionUnix} = sub {
        my @got;
        for my $handle (IO::Select->new($sources{ConnectionUnix}->())->can_read(0)) {
            if ($handle == $listener) {
                $add->(scalar $listener->accept);
                next;
            }
            my $one = $by_handle{fileno $handle};
            if (!sysread($handle, $one->{unread}, 1 << 20, length $one->{unread})) {
                delete $by_handle{fileno $handle};
                delete $by_name{$one->{peer}} if defined $one->{peer} && ($by_name{$one->{peer}} // 0) == $one;
                close($handle);
                next;
            }
            while (length $one->{unread} >= 4 && length $one->{unread} >= 4 + unpack('N', $one->{unread})) {
                my $told = $json->decode(substr $one->{unread}, 4, unpack('N', $one->{unread}));
                substr($one->{unread}, 0, 4 + unpack('N', $one->{unread})) = '';
                if (exists $told->{hello}) {
                    $one->{peer} = $told->{hello};
                    $by_name{$told->{hello}} = $one;
                }
                else { push @got => $told }
            }
        }
        return @got;
    };
    my $write = sub {
        my ($handle, $value) = @_;
        my $frame = pack('N/a*', $json->encode($value));
        while (length $frame) {
            my $done = syswrite($handle, $frame) // die "write: $!";
            substr($frame, 0, $done) = '';
        }
    };
    $deliver{ConnectionUnix} = sub {
        my ($peer, $message) = @_;
        if (!$by_name{$peer}) {
            my $handle = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$route/$peer") or die "$route/$peer: $!";
            $add->($handle, $peer);
            $write->($handle, {hello => $name});
        }
        $write->($by_name{$peer}{handle}, $message);
    };
    $shut{ConnectionUnix} = sub { unlink $path };
}

{
    my ($inbox, %outboxes);
    $open{UnixSocket} = sub { $inbox = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path) or die "$path: $!" };
    $sources{UnixSocket} = sub { ($inbox) };
    $take{UnixSocket} = sub {
        my @got;
        while (IO::Select->new($inbox)->can_read(0)) {
            defined($inbox->recv(my $text, 65536)) or die "recv: $!";
            push @got => $json->decode($text);
        }
        return @got;
    };
    $deliver{UnixSocket} = sub {
        my ($peer, $message) = @_;
        my $to = $outboxes{$peer} //= IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => "$route/$peer") or die "$route/$peer: $!";
        defined($to->send($json->encode($message))) or die "send to $peer: $!";
    };
    $shut{UnixSocket} = sub { unlink $path };
}

$open{MessageFiles} = sub { mkdir($path) or die "$path: $!" };
# Without a module for inotify there is nothing to wait on: the peer looks five times a second, as the reference does.
$sources{MessageFiles} = sub { () };
$take{MessageFiles} = sub {
    my @got;
    for my $file (glob "$path/*.ready") {
        push @got => $json->decode(slurp($file));
        unlink $file;
    }
    return @got;
};
$deliver{MessageFiles} = sub {
    my ($peer, $message) = @_;
    spit("$route/$peer/$message->{id}.ready", $json->encode($message), "$route/$peer/$message->{id}.pend");
};
$shut{MessageFiles} = sub {
    rename($path, "$route/_$name") or return;
    unlink glob "$route/_$name/*";
    rmdir "$route/_$name";
};

{
    my ($fifo, $unread, %parts) = (undef, '');
    $open{AtomicPipe} = sub {
        mkfifo($path, 0700) or die "$path: $!";
        sysopen($fifo, $path, O_RDWR | O_NONBLOCK) or die "$path: $!";
    };
    $sources{AtomicPipe} = sub { ($fifo) };
    $take{AtomicPipe} = sub {
        my @got;
        1 while sysread($fifo, $unread, 1 << 20, length $unread);
        $!{EAGAIN} || $!{EWOULDBLOCK} or die "$path: $!";
        while (length $unread >= 16) {
            my ($pid, $thread, $left, $size) = unpack('l l L L', $unread);
            last if length $unread < 16 + $size;
            $parts{"$pid:$thread"} .= substr($unread, 16, $size);
            substr($unread, 0, 16 + $size) = '';
            push @got => $json->decode(delete $parts{"$pid:$thread"}) if $left == 0;
        }
        return @got;
    };
    $deliver{AtomicPipe} = sub {
        my ($peer, $message) = @_;
        my @pieces = unpack('(a4080)*', $json->encode($message));
        sysopen(my $to, "$route/$peer", O_WRONLY) or die "$route/$peer: $!";
        syswrite($to, pack('l l L L', $$, 0, $#pieces - $_, length $pieces[$_]) . $pieces[$_]) // die "write: $!" for 0 .. $#pieces;
    };
    $shut{AtomicPipe} = sub { unlink $path };
}

$open{$protocol} or die "protocol '$protocol'";
$open{$protocol}->();
# The pid file announces the peer. It is written last, when the peer can receive.
spit("$path.pid", $$, "$path.pid.pend");
print $json->encode({joined => $$}), "\n";

my $orders = '';
while (1) {
    my @sources = $sources{$protocol}->();
    my @ready = IO::Select->new(\*STDIN, @sources)->can_read(@sources ? undef : 0.2);
    for my $message (sort { $a->{stamp} <=> $b->{stamp} || ($a->{stamp_ord} // 0) <=> ($b->{stamp_ord} // 0) } $take{$protocol}->()) {
        $counts{read}{$message->{from}}++;
        print $json->encode($message), "\n";
    }
    next unless grep { $_ == \*STDIN } @ready;
    sysread(STDIN, $orders, 1 << 20, length $orders) or last;
    while ($orders =~ s/^(.*)\n//) {
        my $order = $json->decode($1);
        for my $peer (defined $order->{to} ? $order->{to} : peers()) {
            $deliver{$protocol}->($peer, message($peer, $order->{content}, !defined $order->{to}));
            $counts{sent}{$peer}++;
        }
    }
}
$shut{$protocol}->();
spit("$path.stats", $json->encode(\%counts), "$path.stats.pend") if -d $route;
