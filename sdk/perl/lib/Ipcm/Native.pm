package Ipcm::Native;

# ConnectionUnix in plain Perl (docs/bus.md): what Ipcm::Bridge is on the other protocols, in this process. It takes the same lines, as data, and
# gives the same lines back (docs/bridge.md).

use strict;
use warnings;

use Scalar::Util     qw(weaken);
use Ipcm::Error      ();
use Ipcm::Inspection ();
use Ipcm::Link       ();
use Ipcm::Links      ();
use Ipcm::Obituary   ();
use Ipcm::Poller     ();
use Ipcm::Route      ();
use Ipcm::Streams    ();
use Ipcm::Watch      ();
use Ipcm::Wire       qw(frame is_true json_ascii new_id sender_of stamps);

our $VERSION = '0.1.0';

use constant { FLUSH_TIME => 2, BUS_UNAVAILABLE => 69 };

# new(info => […], name => $name, boot => $boot): with a name, the member has a place on the bus, and any peer can send to it. Otherwise it leaves
# no trace there. `boot`, an Ipcm::Boot, makes it a service. If it can't join, the first line tells why.
sub new {
    my ($class, %how) = @_;
    my $self = bless {
        %how, owner => $$, lines => [], calls => {}, requests => {}, last => 0, stamp => stamps(), counts => { sent => {}, read => {} },
        is_listed => defined $how{name},
    }, $class;
    $self->{name} //= "perl-$$-" . lc substr new_id(), -12;
    $self->{poller} = Ipcm::Poller->new;
    $self->{record} = Ipcm::Inspection->new($how{boot}) if $how{boot};
    if (eval { $self->_join; 1 }) {
        my %told = (type => 'joined', name => $self->{name}, bus => Ipcm::JSON::encode_json($how{info}));
        utf8::decode($told{bus});
        $self->_say(%told, $how{boot} ? (class => $how{boot}->class, args => $how{boot}->args) : ());
    }
    else {
        my $error = $self->_error_line($@);
        $self->{boot}->failed($error->{error}) if $self->{boot};
        $self->_say(%$error);
        $self->_over($error->{error}, $error->{kind} eq 'usage' ? 64 : BUS_UNAVAILABLE);
    }
    return $self;
}

sub _join {
    my ($self) = @_;
    my $route = $self->{route} = Ipcm::Route->new($self->{info}[2]);
    $self->{links} = Ipcm::Links->new($self->{name}, $route, $self->{poller}, $self);
    weaken(my $weak = $self);
    if ($self->{boot}) {
        $self->{poller}->set($_, sub { $weak->_leave('a process that it belongs to has ended', 0) }) for $self->{boot}->owners;
    }
    return if !$self->{is_listed};
    my $place = $route->claim($self->{name}, $self->{boot} ? $self->{boot}->class : '');
    my $is_done = eval {
        $self->{counts} = $route->read_statistics($place->file);
        my $listener = $place->listen;
        # A member that can't watch its place works all the same: it does not notice a removal.
        my $watch = $self->_watch;
        $watch->add($route->at($place->file), Ipcm::Watch::ITSELF) && $watch->add($route->at('.'), Ipcm::Watch::ITSELF) if $watch;
        $self->{links}->listen($listener);
        $place->announce;
        1;
    };
    if (!$is_done) {
        my $error = $@;
        $self->{links}->stop_listening;
        $place->vacate;
        die $error;
    }
    $self->{place} = $place;
    return;
}

# One for all: a user has 128 of them by default.
sub _watch {
    my ($self) = @_;
    return $self->{watch} if $self->{watch};
    my $watch = Ipcm::Watch->new or return;
    weaken($self);
    $self->{poller}->set($watch->handle, sub { $self->_changed });
    return $self->{watch} = $watch;
}

sub fh         { $_[0]{poller}->fh }
sub is_over    { $_[0]{is_over} }
sub is_own     { $_[0]{owner} == $$ }
sub is_writing { $_[0]{is_busy} }
sub hold       { my ($self, $is_held) = @_; $self->{links}->hold($is_held) if !$self->{is_over}; return }
sub next_line  { return shift @{ $_[0]{lines} } }

# defer($code): once the call that runs has returned.
sub defer { my ($self, $code) = @_; $self->{deferred} = $code; return }

sub _busy {
    my ($self, $code) = @_;
    my $error;
    {
        local $self->{is_busy} = 1;
        eval { $code->(); 1 } or $error = $@;
    }
    my $deferred = !$self->{is_busy} && delete $self->{deferred};
    $deferred->() if $deferred;
    die $error if defined $error;
    return;
}

# fill(): does what has come. Never waits.
sub fill {
    my ($self) = @_;
    return if $self->{is_over} || !$self->is_own;
    return $self->_busy(sub { $self->{poller}->ready });
}

my %OPERATION = map { $_ => __PACKAGE__->can("_op_$_") // die $_ } qw(request send broadcast answer error peers watch ready fail suspend reconnect leave);

# put($line): a wrong content is an error of the caller; other failures become lines.
sub put {
    my ($self, $line) = @_;
    Ipcm::Error->throw(bus => 'this process was forked from the one that has joined; it must connect itself') if !$self->is_own;
    Ipcm::Error->throw(bus => 'the bus was left') if $self->{is_over};
    Ipcm::Error->throw(usage => "bytes can't be sent on a bus with the serializer JSON; one with Cereal carries them") if exists $line->{bytes};
    my $content = exists $line->{content} ? json_ascii($line->{content}) : undef;
    return $self->_busy(sub {
        return if eval { $OPERATION{ $line->{op} }->($self, $line, $content); 1 };
        die $@ if !defined $line->{id};
        $self->_say(%{ $self->_error_line($@) }, id => $line->{id});
    });
}

# taken($is_request): the service begins to handle what a line has told. note_failure($text): one of its functions has failed.
sub taken        { my ($self, $is_request) = @_; $self->{record}->taken($is_request) if $self->{record}; return }
sub note_failure { my ($self, $text) = @_; $self->{record}->note_failure($text) if $self->{record}; return }

# finish(): nothing is left to do after `leave`.
sub finish { return }

# ---- lines

sub _say { my ($self, %line) = @_; push @{ $self->{lines} }, \%line; return }

sub _done { my ($self, $line, %more) = @_; $self->_say(type => 'done', id => $line->{id}, %more) if defined $line->{id}; return }

sub _error_line {
    my ($self, $error) = @_;
    $error = Ipcm::Error->of(system => Ipcm::Error->text_of($error)) if !ref $error;
    return { type => 'error', error => $error->message, kind => $error->kind, status => $error->status, taken => $error->isa('Ipcm::Error::NameTaken') };
}

sub complain {
    my ($self, $text) = @_;
    warn "ipcm: '$self->{name}': " . $text =~ s/[^[:print:]]/\x{fffd}/gr =~ s/[^\x00-\x7f]/?/gr . "\n" if $self->{boot};
    return;
}

# ---- sending

sub _message {
    my ($self, $peer, $content, $id, $is_broadcast) = @_;
    my $mark = $is_broadcast ? ',"broadcast":1' : '';
    return frame(qq({"id":"$id","from":) . json_ascii($self->{name}) . ',"to":' . json_ascii($peer) . ',' . $self->{stamp}->() . qq($mark,"content":$content}));
}

sub _count { my ($self, $way, $peer) = @_; $self->{counts}{$way}{$peer}++; return }

# Sends over the connection to a peer. Only sending shows that the peer has closed one; then a new one is tried, since the peer may have a
# successor of its name.
sub _send {
    my ($self, $peer, $octets) = @_;
    my $links = $self->{links};
    my $link  = $links->to($peer);
    if ($link) {
        Ipcm::Error->throw(bus => "nothing was sent to '$peer': it does not read, and " . length($link->{queue}) . ' bytes wait for it already')
            if length $link->{queue} > Ipcm::Link::MOST;
        $link = undef if !eval { $links->put($link, $octets); 1 };
    }
    if (!$link) {
        $link = $links->connect($peer);
        $links->put($link, $octets);
    }
    $self->_count(sent => $peer);
    return $link;
}

sub _op_request {
    my ($self, $line, $content) = @_;
    my ($id, $peer, $timeout) = (new_id(), @$line{qw(to timeout)});
    my $link = $self->_send($peer, $self->_message($peer, qq({"ipcm_request_id":"$id","request":$content}), $id));
    my $call = $self->{calls}{$id} = { id => $line->{id}, peer => $peer, link => $link };
    weaken($call->{link});
    $link->{calls}{$id} = 1;
    $self->{links}->watch_process($link);
    $self->{links}->want($link) if $self->{links}{is_held};    # the answer comes here
    return if !defined $timeout;
    weaken($self);
    $call->{timer} = $self->{poller}->at(Ipcm::Poller::now() + ($timeout > 0 ? $timeout : 0), sub {
        my $late = $self->_take_call($id) or return;
        my $error = Ipcm::Error->of(timeout => "'$peer' did not answer within $timeout s; its answer will be ignored");
        $self->_say(%{ $self->_error_line($error) }, id => $late->{id});
    });
    return;
}

# The open request with that id, which is not open any more.
sub _take_call {
    my ($self, $id) = @_;
    my $call = delete $self->{calls}{$id} or return;
    $self->{poller}->forget($call->{timer}) if $call->{timer};
    if (my $link = $call->{link}) {
        delete $link->{calls}{$id};
        $self->{links}->want($link) if $self->{links}{is_held};
    }
    return $call;
}

sub _op_send {
    my ($self, $line, $content) = @_;
    my $id = new_id();
    my $link = $self->_send($line->{to}, $self->_message($line->{to}, $content, $id));
    return $self->_done($line, message => $id) if length $link->{queue} <= Ipcm::Link::HIGH;
    weaken($self);
    push @{ $link->{waiters} }, sub { $self->_done($line, message => $id) if $self };    # the sender waits for its receiver
    return;
}

sub _op_broadcast {
    my ($self, $line, $content) = @_;
    my (@sent, @left, %failed);
    for my $peer ($self->_others) {
        if (eval { $self->_send($peer, $self->_message($peer, $content, new_id(), 1)); 1 }) { push @sent, $peer }
        elsif (ref $@ && $@->isa('Ipcm::Error::PeerGone'))                                   { push @left, $peer }
        else                                                                                 { $failed{$peer} = Ipcm::Error->text_of($@) }
    }
    return $self->_done($line, sent => \@sent, left => \@left, failed => \%failed);
}

sub _op_answer {
    my ($self, $line, $content) = @_;
    my $request = delete $self->{requests}{ $line->{request} } // return;
    if (eval { $self->_respond($request, qq("response":$content)); 1 }) {
        $self->{record}->answered;
        return $self->_done($line);
    }
    my $error = $@;
    $self->{record}->failed;
    # It is too large: the requester should not wait for it in vain.
    if (ref $error && $error->kind eq 'usage') {
        $self->note_failure('an answer could not be sent: ' . $error->message);
        $self->_refuse($request, $error->message);
    }
    return $self->_done($line);
}

sub _op_error {
    my ($self, $line) = @_;
    my $request = delete $self->{requests}{ $line->{request} } // return;
    $self->{record}->failed;
    $self->note_failure("the request $request->{id} of '$request->{from}' failed: $line->{error}");
    my $is_hidden = $self->{boot}->hides_errors;
    $self->_refuse($request, $is_hidden ? 'Internal service error' : $line->{error});
    return $self->_done($line);
}

sub _refuse {
    my ($self, $request, $text) = @_;
    $text =~ s/[\x{d800}-\x{dfff}]/\x{fffd}/g if utf8::is_utf8($text);
    my $words = json_ascii("$text");
    return eval { $self->_respond($request, qq("response":null,"ipcm_error":$words)); 1 };    # a requester that has left is no error
}

# An answer uses the connection of its request, if that is still open.
sub _respond {
    my ($self, $request, $content) = @_;
    my ($peer, $link) = @$request{qw(from link)};
    my $octets = $self->_message($peer, '{"ipcm_response_id":' . json_ascii($request->{id}) . ",$content}", new_id());
    return $self->_send($peer, $octets) if !$link || !$link->{is_open};
    if (length $link->{queue} > Ipcm::Link::MOST) {
        $self->complain("'$peer' was cut off: it does not read its answers");
        $self->{links}->close($link);
        Ipcm::Error->throw(gone => "'$peer' was cut off");
    }
    $self->{links}->put($link, $octets);
    return $self->_count(sent => $peer);
}

# ---- receiving: what Ipcm::Links reports

sub frame_came {
    my ($self, $link, $whole) = @_;
    my $content = $whole->{content};
    my $is_object = ref $content eq 'HASH';
    my $asked = $is_object && is_true($content->{ipcm_request_id}) ? $content->{ipcm_request_id} : undef;
    return $self->_answered($link, $content) if $is_object && !defined $asked && is_true($content->{ipcm_response_id});
    my $from = eval { sender_of($whole) };
    if (!defined $from) {
        # The reference ignores a late greeting, too.
        $self->complain("a message on the connection of '$link->{peer}' was dropped: " . $@->message) if keys %$whole != 1 || !exists $whole->{hello};
        return;
    }
    $self->_count(read => $from);
    if (defined $asked) {
        my $request = { from => $from, id => "$asked", link => $link };
        weaken($request->{link});
        return $self->_inspected($request) if $self->{record} && is_true($content->{ipcm_inspect});
        return $self->_asked($request, $content->{request});
    }
    if ($is_object && is_true($content->{terminate})) { return $self->_leave('it was told to leave the bus', 0) }
    my $id = $whole->{id};
    $self->{record}->came if $self->{record};
    $self->_say(type => 'message', message => defined $id && !ref $id && length $id ? $id : new_id(), from => $from,
        is_true($whole->{broadcast}) ? (broadcast => 1) : (), content => $content);
    return;
}

sub _asked {
    my ($self, $request, $content) = @_;
    if (!$self->{boot}) {
        $self->_refuse($request, "'$self->{name}' does not answer requests");
        return;
    }
    my $number = ++$self->{last};
    $self->{requests}{$number} = $request;
    $self->{record}->came;
    $self->_say(type => 'request', request => $number, from => $request->{from}, content => $content);
    return;
}

# Answered at once: also while a handler waits for another peer.
sub _inspected {
    my ($self, $request) = @_;
    my $facts = $self->{record}->facts(Ipcm::Route::start_time($$), $self->{counts});
    return if eval { $self->_respond($request, qq("response":$facts)); 1 };
    my $error = $@;
    $self->complain('its facts could not be sent: ' . Ipcm::Error->text_of($error)) if !ref $error || $error->kind ne 'gone';
    return;
}

sub _answered {
    my ($self, $link, $content) = @_;
    $self->_count(read => $link->{peer});
    my $call = $self->_take_call("$content->{ipcm_response_id}") or return;    # given up before, or never made here
    my $error = $content->{ipcm_error};
    if (is_true($error)) { $self->_say(%{ $self->_error_line(Ipcm::Error->of(answer => ref $error ? json_ascii($error) : "$error")) }, id => $call->{id}) }
    else                 { $self->_say(type => 'response', id => $call->{id}, from => $call->{peer}, content => $content->{response}) }
    return;
}

sub failed {
    my ($self, $calls, $error) = @_;
    for my $call (map { $self->_take_call($_) // () } @$calls) { $self->_say(%{ $self->_error_line($error) }, id => $call->{id}) }
    return;
}

# ---- peers

sub _others {
    my ($self) = @_;
    my $peers = $self->{route}->peers;
    delete $peers->{ $self->{name} } if $self->{is_listed};
    return sort keys %$peers;
}

sub _op_peers { my ($self, $line) = @_; return $self->_done($line, peers => [ $self->_others ]) }

sub _op_watch {
    my ($self, $line) = @_;
    my $watch = $self->_watch;
    Ipcm::Error->throw(bus => "peers can't be watched: $!; raise fs.inotify.max_user_instances")
        if !$watch || !$watch->add($self->{route}->at('.'), Ipcm::Watch::CONTENTS);
    $self->{foreign} = {};
    $self->{known} = $self->_look;
    return $self->_done($line);
}

# The names of the others. The death of a peer without a lock does not show in the directory; its process tells.
sub _look {
    my ($self) = @_;
    my $peers = $self->{route}->peers;
    delete $peers->{ $self->{name} } if $self->{is_listed};
    my %wanted = map { $_->{pid} => 1 } grep { !$_->{has_lock} && $_->{pid} > 0 } values %$peers;
    my $foreign = $self->{foreign};
    $self->_forget_foreign($_) for grep { !$wanted{$_} } keys %$foreign;
    weaken($self);
    for my $pid (grep { !$foreign->{$_} } keys %wanted) {
        my $process = $foreign->{$pid} = Ipcm::Kernel::process($pid) // next;
        $self->{poller}->set($process, sub { $self->_forget_foreign($pid); $self->_compare });
    }
    return { map { $_ => 1 } keys %$peers };
}

sub _forget_foreign {
    my ($self, $pid) = @_;
    my $process = delete $self->{foreign}{$pid} or return;
    $self->{poller}->set($process);
    close $process;
    return;
}

sub _compare {
    my ($self) = @_;
    my ($before, $now) = ($self->{known}, $self->_look);
    $self->{known} = $now;
    my %delta = ((map { $_ => 1 } grep { !$before->{$_} } keys %$now), map { $_ => -1 } grep { !$now->{$_} } keys %$before);
    $self->_say(type => 'peers', delta => \%delta) if %delta;
    return;
}

# The directory has changed, or the own place.
sub _changed {
    my ($self) = @_;
    return if !$self->{watch}->drain;
    if ($self->{place} && $self->{place}->is_lost) {
        my $place = $self->{route}->path . '/' . $self->{place}->file;
        return $self->_leave("its place on the bus is gone: '$place' was removed, moved or replaced by another process; start it again on a bus that is there", 0);
    }
    $self->_compare if $self->{known};
    return;
}

# ---- the start and the end

sub _op_ready {
    my ($self, $line) = @_;
    if (!$self->{boot} || $self->{boot}->ready($self->{name})) {
        $self->{record}->is_ready if $self->{record};
        return $self->_done($line);
    }
    return $self->_leave('its launcher ended before it was ready', 71);
}

sub _op_fail {
    my ($self, $line) = @_;
    $self->{boot}->failed($line->{error}, 1) if $self->{boot};
    return $self->_leave($line->{error}, 70);
}

sub _op_suspend {
    my ($self) = @_;
    Ipcm::Error->throw(bus => "'$self->{name}' can't suspend: protocol ConnectionUnix keeps no messages for an absent member; close, and connect again");
}

sub _op_reconnect {
    my ($self) = @_;
    Ipcm::Error->throw(bus => "'$self->{name}' is on the bus; on ConnectionUnix it never was suspended");
}

sub _op_leave { my ($self, $line) = @_; return $self->_leave('it was left by this program', $line->{status} // 0) }

# Sends what is queued, and leaves.
sub _leave {
    my ($self, $why, $status) = @_;
    return if $self->{is_over};
    $self->{boot}->stopping if $self->{boot};
    my $until = Ipcm::Poller::now() + FLUSH_TIME;
    my $links = $self->{links};
    $links->hold(1);
    while (my @full = grep { length $_->{queue} } $links->all) {
        my $rest = $until - Ipcm::Poller::now();
        if ($rest <= 0) {
            $self->complain('messages were lost: their receivers do not read');
            last;
        }
        my $wanted = '';
        vec($wanted, fileno $_->{stream}, 1) = 1 for @full;
        select undef, $wanted, undef, $rest;
        for my $link (@full) { $links->close($link) if !$link->flush }
    }
    $self->_keep_status($status);
    $self->_close;
    return $self->_over($why, $status);
}

# The process is about to exit with that status. Before it gives its name up: a successor of its name is alive.
sub _keep_status {
    my ($self, $status) = @_;
    my ($boot, $place) = @$self{qw(boot place)};
    my $seen = $status & 0xff;    # by its parent
    return if !$seen || !$boot || !$place || $place->is_lost;
    eval { Ipcm::Obituary::keep_status($self->{route}, $place->file, { name => $self->{name}, class => $boot->class }, $seen) };
    return;
}

sub _over {
    my ($self, $why, $status) = @_;
    $self->{is_over} = 1;
    return $self->_say(type => 'end', why => $why, status => $status);
}

sub _close {
    my ($self) = @_;
    my ($route, $place, $links) = @$self{qw(route place links)};
    my $counts = %{ $self->{counts}{sent} } || %{ $self->{counts}{read} } ? $self->{counts} : undef;
    my $is_orphaned = $route->is_orphaned;    # before leaving: a removal also removes the sign of it
    $links->stop_listening;
    if ($place) {
        $place->vacate($counts);
        $route->remove_if_orphaned if $is_orphaned;
    }
    elsif ($counts && !$route->is_marked) { $route->write_statistics($route->disk_name($self->{name}), $counts) }
    $links->close_all(Ipcm::Error->of(bus => 'the connection to the bus was closed by the own program'));
    $route->close;
    return;
}

# let_go(): in a forked child, closes its copies of everything: the member is that of the parent.
sub let_go {
    my ($self) = @_;
    return if $self->{is_over} || $self->is_own;
    $self->{is_over} = 1;
    $self->{links}->let_go;
    $self->{place}->let_go if $self->{place};
    close $self->{watch}->handle if $self->{watch};
    $self->{route}->close;
    $self->{poller}->close;
    return;
}

1;
