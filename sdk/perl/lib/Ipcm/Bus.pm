package Ipcm::Bus;

use strict;
use warnings;

use Scalar::Util  qw(blessed weaken);
use Time::HiRes   ();
use Ipcm::Bridge  ();
use Ipcm::Bytes   ();
use Ipcm::Error   ();
use Ipcm::Info    ();
use Ipcm::JSON    qw(decode_json encode_json);
use Ipcm::Message ();
use Ipcm::Pending ();
use Ipcm::Streams ();

our $VERSION = '0.1.0';

use constant MOST_UNREAD => 10_000;    # messages; further ones wait at their senders

my %EVENTS = map { $_ => 1 } qw(message join leave end);

sub connect {
    my ($class, %how) = @_;
    my ($as, $bus, $again) = delete @how{qw(as bus reconnect)};
    _no_more(connect => %how);
    Ipcm::Error->throw(usage => 'reconnect needs the name that the messages are kept for') if $again && !defined $as;
    my $self = $class->_new(_channel($as, $bus, $again));
    $self->_await(sub { defined $self->{name} });
    return $self;
}

# ---- for this kit itself

sub _new {
    my ($class, $bridge) = @_;
    return bless { bridge => $bridge, pending => {}, last => 0, events => [], inbox => [], on => {}, watched => {}, timers => [] }, $class;
}

# What is between this object and the bus: this process speaks ConnectionUnix itself; `ipcm bridge` does on all other protocols.
sub _channel {
    my ($as, $bus, $again) = @_;
    if (my $info = Ipcm::Info::native($bus)) {
        require Ipcm::Native;
        return Ipcm::Native->new(info => $info, name => $as);
    }
    my @words = (defined $as ? ('--as', _octets($as)) : (), $again ? '--reconnect' : ());
    return Ipcm::Bridge->new(words => \@words, bus => info_text($bus));
}

# info_text($bus): an info, which is a string or the array in it, as octets for the environment.
sub info_text {
    my ($bus) = @_;
    return ref $bus eq 'ARRAY' ? encode_json($bus) : $bus;
}

sub _octets {
    my ($text) = @_;
    utf8::encode($text);
    return $text;
}

sub _no_more {
    my ($call, %left) = @_;
    my @keys = sort keys %left or return;
    Ipcm::Error->throw(usage => "$call() has no option '$keys[0]'");
}

sub _carried {
    my ($content) = @_;
    return blessed $content && $content->isa('Ipcm::Bytes') ? (bytes => $content->base64) : (content => $content);
}

sub _content_in {
    my ($line) = @_;
    return exists $line->{bytes} ? Ipcm::Bytes->from_base64($line->{bytes}) : $line->{content};
}

# ---- calls

sub name { $_[0]{name} }
sub info { $_[0]{info} }

sub ask {
    my ($self, $to, $content, %how) = @_;
    my $timeout = delete $how{timeout};
    _no_more(request => %how);
    return $self->_begin({ op => 'request', to => "$to", _carried($content), defined $timeout ? (timeout => 0 + $timeout) : () });
}

sub request {
    my ($self, @call) = @_;
    return $self->ask(@call)->get;
}

sub send {
    my ($self, $to, $content) = @_;
    return $self->_begin({ op => 'send', to => "$to", _carried($content) })->get->{message};
}

sub broadcast {
    my ($self, $content) = @_;
    my $done = $self->_begin({ op => 'broadcast', _carried($content) })->get;
    return { map { $_ => $done->{$_} } qw(sent left failed) };
}

sub peers {
    my ($self) = @_;
    return sort @{ $self->_begin({ op => 'peers' })->get->{peers} };
}

sub suspend {
    my ($self, %how) = @_;
    my $expires = delete $how{expires};
    _no_more(suspend => %how);
    $self->_begin({ op => 'suspend', defined $expires ? (expires => 0 + $expires) : () })->get;
    return;
}

sub reconnect {
    my ($self) = @_;
    $self->_begin({ op => 'reconnect' })->get;
    return;
}

sub on {
    my ($self, $event, $code) = @_;
    Ipcm::Error->throw(usage => "there is no event '$event'; there are " . join ', ', sort keys %EVENTS) if !$EVENTS{$event};
    $self->{on}{$event} = $code;
    $self->_watch_peers if $event eq 'join' || $event eq 'leave';
    push @{ $self->{events} }, map { $self->_event(message => $_) } splice @{ $self->{inbox} } if $event eq 'message';
    return $self;
}

sub receive {
    my ($self, %how) = @_;
    my $timeout = delete $how{timeout};
    _no_more(receive => %how);
    $self->_await(sub { @{ $self->{inbox} } }, defined $timeout ? Time::HiRes::time() + $timeout : undef)
        or Ipcm::Error->throw(timeout => "no message has come within $timeout s");
    return shift @{ $self->{inbox} };
}

sub close {
    my ($self) = @_;
    my $bridge = $self->{bridge} or return;
    return $bridge->let_go if !$bridge->is_own;
    return if $self->{is_closed}++;
    eval { $bridge->put({ op => 'leave' }) };
    $bridge->finish;
    $self->_over('it was left by this program');
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($@, $!, $?);
    eval { $self->close };
    return;
}

# ---- the loop

sub watch {
    my ($self, $handle, $code) = @_;
    my $number = fileno $handle;
    if   ($code) { $self->{watched}{$number} = [ $handle, $code ] }
    else         { delete $self->{watched}{$number} }
    return $self;
}

sub after {
    my ($self, $seconds, $code) = @_;
    my $at = Time::HiRes::time() + $seconds;
    @{ $self->{timers} } = sort { $a->[0] <=> $b->[0] } @{ $self->{timers} }, [ $at, $code ];
    return $self;
}

sub run {
    my ($self) = @_;
    local $self->{runs} = 1;
    $self->_turn while $self->{runs} && !$self->{is_over};
    $self->dispatch;
    return;
}

sub stop { my ($self) = @_; $self->{runs} = 0; return }

sub fh { $_[0]{bridge}->fh }

sub dispatch {
    my ($self) = @_;
    $self->_read;
    while (my $event = shift @{ $self->{events} }) { $self->_guard($event) }
    return;
}

sub _turn {
    my ($self) = @_;
    $self->_read;
    if (!@{ $self->{events} } && !$self->{is_over}) {
        my $timers = $self->{timers};
        my $rest = @$timers ? $timers->[0][0] - Time::HiRes::time() : undef;
        my @others = map { $_->[0] } values %{ $self->{watched} };
        my @ready = Ipcm::Streams::await(defined $rest && $rest < 0 ? 0 : $rest, $self->{signals}, $self->fh, @others);
        for my $number (map { fileno $_ } @ready) {
            my $watch = $self->{watched}{$number} or next;
            push @{ $self->{events} }, $watch->[1];
        }
        while (@$timers && $timers->[0][0] <= Time::HiRes::time()) { push @{ $self->{events} }, (shift @$timers)->[1] }
    }
    $self->dispatch;
    return;
}

# Waits until the condition holds, without calling functions of the program. Returns whether it holds.
sub _await {
    my ($self, $is_so, $until) = @_;
    while (1) {
        $self->_read;
        return 1 if $is_so->();
        die $self->{reason} if $self->{is_over};
        my $rest = defined $until ? $until - Time::HiRes::time() : undef;
        return 0 if defined $rest && $rest <= 0;
        Ipcm::Streams::await($rest, $self->{signals}, $self->fh);
    }
}

# What a function throws that nobody waits for ends run(), as it would end any loop of the program.
sub _guard { my ($self, $event) = @_; $event->(); return }

# ---- lines

sub _begin {
    my ($self, $line) = @_;
    my $id = ++$self->{last};
    my $pending = $self->{pending}{$id} = Ipcm::Pending->new($self);
    if (!eval { $self->{bridge}->put({ %$line, id => $id }); 1 }) {
        my $error = $@;
        delete $self->{pending}{$id};
        die $error;
    }
    return $pending;
}

sub _watch_peers {
    my ($self) = @_;
    $self->_begin({ op => 'watch' })->get if !$self->{watches_peers}++;
    return;
}

sub _read {
    my ($self) = @_;
    return if $self->{is_over};
    my $bridge = $self->{bridge};
    $bridge->hold(@{ $self->{inbox} } + @{ $self->{events} } >= MOST_UNREAD);
    $bridge->fill;
    while (defined(my $line = $bridge->next_line)) { $self->_take($line) }
    $self->_over($self->{end} ? $self->{end}{why} : 'the bridge to the bus has ended') if $bridge->is_over && !$self->{is_over};
    return;
}

sub _take {
    my ($self, $line) = @_;
    my $type = $line->{type};
    if ($type eq 'response')   { $self->_settle($line, _content_in($line)) }
    elsif ($type eq 'done')    { $self->_settle($line, $line) }
    elsif ($type eq 'error')   { $self->_failed($line) }
    elsif ($type eq 'message') { $self->_received($line) }
    elsif ($type eq 'joined')  { @$self{qw(name info)} = ($line->{name}, decode_json(_octets($line->{bus}))) }
    elsif ($type eq 'end')     { $self->{end} = $line }
    elsif ($type eq 'peers') {
        for my $peer (sort keys %{ $line->{delta} }) {
            push @{ $self->{events} }, $self->_event($line->{delta}{$peer} > 0 ? 'join' : 'leave', $peer);
        }
    }
    return;
}

sub _received {
    my ($self, $line) = @_;
    my $message = Ipcm::Message->new(content => _content_in($line), from => $line->{from}, id => $line->{message}, is_broadcast => $line->{broadcast});
    if   ($self->{on}{message}) { push @{ $self->{events} }, $self->_event(message => $message) }
    else                        { push @{ $self->{inbox} }, $message }
    return;
}

# A call of the program's function for an event, if it has one by then.
sub _event {
    my ($self, $event, @what) = @_;
    weaken($self);    # an event that nobody has fetched must not keep the bus open
    return sub {
        my $code = $self && $self->{on}{$event} or return;
        $code->(@what, $self);
    };
}

sub _settle {
    my ($self, $line, $value, $error) = @_;
    my $pending = delete $self->{pending}{ $line->{id} // '' } or return;
    my $events = $self->{events};
    $pending->settle(sub { my ($done, $code) = @_; push @$events, sub { $code->($done) } }, $value, $error);
    return;
}

sub _failed {
    my ($self, $line) = @_;
    my $error = Ipcm::Error->from_line($line);
    if    (defined $line->{id})      { $self->_settle($line, undef, $error) }
    elsif (!defined $self->{name})   { $self->{reason} = $error }    # it can't join
    return;
}

sub _over {
    my ($self, $why) = @_;
    $self->{is_over} = 1;
    $self->{reason} //= Ipcm::Error->of(bus => "the bus was left: $why");
    $self->_settle({ id => $_ }, undef, $self->{reason}) for sort { $a <=> $b } keys %{ $self->{pending} };
    push @{ $self->{events} }, $self->_event(end => $why);
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Bus - a member of a bus

=head1 SYNOPSIS

    my $bus = Ipcm->connect(as => 'me');
    print $bus->request(up => 'hi', timeout => 5), "\n";

    $bus->on(message => sub { my ($message) = @_; print $message->from, "\n" });
    $bus->on(join => sub { my ($peer) = @_; print "$peer has joined\n" });
    $bus->run;

=head1 CALLS

They throw an L<Ipcm::Error>. While one of them waits, the functions of C<on> are not called: what comes meanwhile is kept for the loop.

=over

=item request($peer, $content, timeout => $seconds)

Asks, waits and returns the answer. Without C<timeout> it waits as long as the receiver lives.

=item ask($peer, $content, timeout => $seconds)

Asks, and returns an L<Ipcm::Pending> at once. Many may be open.

=item send($peer, $content), broadcast($content)

Send a message. C<broadcast> returns a hash: the names C<sent> and C<left>, and C<failed> (name and reason).

=item receive(timeout => $seconds)

Waits for a general message and returns it, an L<Ipcm::Message>. For programs that have no function for messages.

=item peers

The sorted names of the others.

=item suspend(expires => $seconds), reconnect

On a durable bus: leaves, and the bus keeps the messages for this name; joins again.

=item close

Leaves the bus. The end of the object does it, too.

=item name, info

=back

=head1 THE LOOP

=over

=item on($event => $code)

C<message> (an L<Ipcm::Message>), C<join> and C<leave> (the name of a peer; one that died has left), C<end> (why this member has left the bus). The bus is the last argument.

=item run, stop

C<run> calls these functions until C<stop> or the end of the bus.

=item watch($handle, $code), after($seconds, $code)

Call code when a handle is readable (until C<watch($handle)>), and once after a time.

=item fh, dispatch

For other event loops: when C<fh> is readable, and after other calls of this bus, call C<dispatch>. It does not wait.

=back

=cut
