package Ipcm::Links;

# All connections of one member of a ConnectionUnix bus: those that it opens, and its callers.

use strict;
use warnings;

use Errno        qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Handle   ();
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX SOCK_STREAM SOL_SOCKET SO_SNDTIMEO);
use Ipcm::Entries ();
use Ipcm::Error  ();
use Ipcm::Link   ();
use Ipcm::Near   ();
use Ipcm::Poller ();
use Ipcm::Wire   qw(frame json_ascii json_value);

our $VERSION = '0.1.0';

use constant {
    GREETING_TIME => 10,    # seconds in which a caller must greet
    CONNECT_TIME  => 5,     # seconds that a connection waits for room in the queue of a listener
    MOST_SILENT   => 256,
};

# new($name, $route, $poller, $owner): the owner has the methods frame_came($link, $whole), failed($calls, $error), complain($text).
sub new {
    my ($class, $name, $route, $poller, $owner) = @_;
    my ($limit) = ($ENV{IPCM_INPUT_LIMIT} // '') =~ /\A([0-9]{1,6})\z/;
    my $self = bless { name => $name, route => $route, poller => $poller, owner => $owner, all => {}, to => {}, silent => [],
        limit => ($limit || 256) * 1024 * 1024 }, $class;
    weaken($self->{owner});
    return $self;
}

sub all { return values %{ $_[0]{all} } }

# to($peer): the connection that is used for sending to a peer, or nothing.
sub to { my ($self, $peer) = @_; return $self->{to}{$peer} }

# ---- opening

# listen($listener): accepts callers from now on.
sub listen {
    my ($self, $listener) = @_;
    $self->{listener} = $listener;
    weaken($self);
    $self->{poller}->set($listener, sub { $self->_accept });
    return;
}

sub stop_listening {
    my ($self) = @_;
    my $listener = delete $self->{listener} or return;
    $self->{poller}->set($listener);
    shutdown $listener, 2;    # a forked child may hold a copy
    CORE::close($listener);
    return;
}

# connect($peer): throws an error if there is none that can be reached.
sub connect {
    my ($self, $peer) = @_;
    my $route = $self->{route};
    my $facts = $route->endpoint($peer)
        or Ipcm::Error->throw(gone => "there is no peer '$peer' on the bus " . $route->path . Ipcm::Near::hint($peer, keys %{ $route->peers }));
    Ipcm::Error->throw(gone => "'$peer' does not listen, and has no connection open to '$self->{name}'") if !Ipcm::Entries::is_socket($facts);
    socket my $stream, AF_UNIX, SOCK_STREAM, 0 or Ipcm::Error->throw(system => "a socket can't be made: $!");
    my $address = $route->address($route->disk_name($peer));
    $stream->blocking(0);
    my $is_done = CORE::connect($stream, $address);
    if (!$is_done && ($! == EAGAIN || $! == EWOULDBLOCK)) {    # the queue of the listener is full
        setsockopt $stream, SOL_SOCKET, SO_SNDTIMEO, pack 'q q', CONNECT_TIME, 0;
        $stream->blocking(1);
        $is_done = CORE::connect($stream, $address);
        Ipcm::Error->throw(bus => "'$peer' takes no connection: its queue was full for ${\CONNECT_TIME} s")
            if !$is_done && ($! == EAGAIN || $! == EWOULDBLOCK);
        my $why = $!;
        $stream->blocking(0);
        $! = $why;
    }
    Ipcm::Error->throw(gone => "'$peer' can't be reached: its process is gone ($!)") if !$is_done;
    my $link = Ipcm::Link->new($stream, $peer);
    my (undef, $user) = $link->credentials;
    Ipcm::Error->throw(gone => "'$peer' can't be reached: user $user listens in its place") if !$route->is_trusted_user($user);
    $self->_add($link);
    $self->{to}{$peer} = $link;
    $self->put($link, frame('{"hello":' . json_ascii($self->{name}) . '}'));
    return $link;
}

sub _add {
    my ($self, $link) = @_;
    $self->{all}{ fileno $link->{stream} } = $link;
    $self->want($link);
    return;
}

sub _accept {
    my ($self) = @_;
    for (1 .. 64) {
        my $listener = $self->{listener} or return;
        if (!CORE::accept(my $stream, $listener)) {
            return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
            return $self->_accept_later("$!");
        }
        else {
            $stream->blocking(0);
            my $link = Ipcm::Link->new($stream);
            my (undef, $user) = $link->credentials;
            if ($user != $> && $user != 0) {
                $self->{owner}->complain("a caller of user $user was refused");
                next;
            }
            $self->_drop_silent('a caller that did not greet was dropped: too many of them wait') if @{ $self->{silent} } >= MOST_SILENT;
            push @{ $self->{silent} }, $link;
            weaken(my $links = $self);
            weaken(my $caller = $link);
            $link->{timer} = $self->{poller}->at(Ipcm::Poller::now() + GREETING_TIME, sub { $links->close($caller) if $links && $caller });
            $self->_add($link);
        }
    }
    return;
}

# After a failure such as EMFILE: the oldest silent caller gives way, and the next attempt comes a little later.
sub _accept_later {
    my ($self, $why) = @_;
    $self->{owner}->complain("callers have to wait: $why");
    $self->_drop_silent;
    $self->{poller}->set($self->{listener});
    weaken($self);
    $self->{poller}->at(Ipcm::Poller::now() + 0.1, sub { $self->listen($self->{listener}) if $self && $self->{listener} });
    return;
}

sub _drop_silent {
    my ($self, $why) = @_;
    for my $link (@{ $self->{silent} }) {
        $self->_receive($link);    # its greeting may have arrived
        next if defined $link->{peer} || !$link->{is_open};
        $self->{owner}->complain($why) if defined $why;
        return $self->close($link);
    }
    return;
}

sub _greeted {
    my ($self, $link, $whole) = @_;
    my $name = ref $whole eq 'HASH' ? $whole->{hello} : undef;
    die Ipcm::Error->of(protocol => 'it did not greet') if !defined $name || ref $name || $name eq '';
    $link->{peer} = $name;
    $self->_is_not_silent($link);
    # A connection that this member has opened stays the one for sending: messages must not overtake each other.
    my $before = $self->{to}{$name};
    $self->{to}{$name} = $link if !$before || !$before->{is_ours};
    return;
}

sub _is_not_silent {
    my ($self, $link) = @_;
    $self->{poller}->forget(delete $link->{timer} // return);
    @{ $self->{silent} } = grep { $_ != $link } @{ $self->{silent} };
    return;
}

# ---- sending

# put($link, $octets): throws an error if the peer has closed the connection.
sub put {
    my ($self, $link, $octets) = @_;
    my $before = length $link->{queue};
    if (!$link->flush($octets)) {
        my $why = "$!";
        $self->_read_rest($link);
        $self->close($link);
        Ipcm::Error->throw(gone => "'$link->{peer}' can't be reached: $why");
    }
    $self->want($link) if !!$before != !!length $link->{queue};
    return;
}

sub _flush {
    my ($self, $link) = @_;
    if (!$link->flush) {
        $self->_read_rest($link);
        return $self->close($link);
    }
    $self->want($link) if !length $link->{queue};
    return;
}

# ---- receiving

# want($link): reads from a connection, or stops to. While messages are held back, only connections are read on which an answer is due: a peer
# that has to wait for its turn fills its own queue.
sub want {
    my ($self, $link) = @_;
    return if !$link->{is_open};
    my $reads = !$self->{is_held} || %{ $link->{calls} };
    weaken($self);
    weaken($link);
    $self->{poller}->set(
        $link->{stream},
        $reads                  ? $link->{on_read}  //= sub { $self->_receive($link) if $link } : undef,
        length $link->{queue} ? $link->{on_write} //= sub { $self->_flush($link) if $link } : undef,
    );
    return;
}

sub hold {
    my ($self, $is_held) = @_;
    return if !!$self->{is_held} == !!$is_held;
    $self->{is_held} = $is_held;
    $self->want($_) for $self->all;
    return;
}

# Reads once. Returns whether something came.
sub _receive {
    my ($self, $link) = @_;
    my $got = $link->fill;
    if (defined $got && !$got) {
        $self->close($link);
        return 0;
    }
    while ($link->{is_open}) {
        my $payload;
        eval {
            $payload = $link->next_payload;
            $self->_take($link, $payload) if defined $payload;
            1;
        } or do {
            my $error = $@;
            die $error if !ref $error || !eval { $error->kind eq 'protocol' };
            $self->_cut_off($link, $error->message);
        };
        last if !defined $payload;
    }
    $self->_limit_input if $link->{is_open} && length $link->{unread} > Ipcm::Link::HIGH;
    return $link->{is_open} && $got;
}

sub _take {
    my ($self, $link, $payload) = @_;
    my $whole = json_value($payload);
    return $self->_greeted($link, $whole) if !defined $link->{peer};
    die Ipcm::Error->of(protocol => 'its message is no JSON object') if ref $whole ne 'HASH';
    $self->{owner}->frame_came($link, $whole);
    return;
}

sub _cut_off {
    my ($self, $link, $why) = @_;
    $self->{owner}->complain((defined $link->{peer} ? "'$link->{peer}'" : 'a caller') . " was cut off: $why");
    return $self->close($link);
}

sub _limit_input {
    my ($self) = @_;
    my ($sum, $largest) = (0, undef);
    for my $link ($self->all) {
        $sum += length $link->{unread};
        $largest = $link if !$largest || length $link->{unread} > length $largest->{unread};
    }
    my $limit = $self->{limit};
    $self->_cut_off($largest, "unfinished messages of all senders have more than $limit bytes (\$IPCM_INPUT_LIMIT, in MiB)") if $sum > $limit;
    return;
}

# ---- the end

# watch_process($link): a child of the peer may hold the connection open after the peer has died: its process tells.
sub watch_process {
    my ($self, $link) = @_;
    return if $link->{is_watched}++ || ($link->credentials)[0] == $$;
    my $process = $link->{process} = $link->process or return;
    weaken($self);
    weaken($link);
    $self->{poller}->set($process, sub {
        my $one = $link // return;    # it may end while its rest is read
        $self->_read_rest($one);
        $self->close($one, Ipcm::Error->of(gone => "'$one->{peer}' went away before it answered: its process has ended"));
    });
    return;
}

sub _gone {
    my ($self, $peer) = @_;
    return Ipcm::Error->of(gone => "'$peer' went away before it answered: it left the bus") if !$self->{route}->endpoint($peer);
    return Ipcm::Error->of(gone => "'$peer' closed the connection before it answered: its process has ended, or it cut this member off (see its log); "
        . "whether it has taken the request in can't be told");
}

# Reads what a peer sent before it left.
sub _read_rest { my ($self, $link) = @_; 1 while $link->{is_open} && $self->_receive($link); return }

# close($link, $why): its open requests fail.
sub close {
    my ($self, $link, $why) = @_;
    return if !$link->{is_open};
    delete $self->{all}{ fileno $link->{stream} };
    $self->{poller}->set($_) for grep { defined } $link->{stream}, $link->{process};
    $self->_is_not_silent($link);
    $link->close;
    my $peer = $link->{peer};
    if (defined $peer && ($self->{to}{$peer} // 0) == $link) {
        delete $self->{to}{$peer};
        my ($other) = grep { defined $_->{peer} && $_->{peer} eq $peer } $self->all;
        $self->{to}{$peer} = $other if $other;
    }
    my @calls = sort keys %{ $link->{calls} };
    $link->{calls} = {};
    $self->{owner}->failed(\@calls, $why // $self->_gone($peer)) if @calls;
    $_->() for splice @{ $link->{waiters} };
    return;
}

sub close_all { my ($self, $why) = @_; $self->close($_, $why) for $self->all; return }

# let_go(): in a forked child, closes the copies only.
sub let_go {
    my ($self) = @_;
    $_->let_go for $self->all;
    CORE::close(delete $self->{listener}) if $self->{listener};
    return;
}

1;
