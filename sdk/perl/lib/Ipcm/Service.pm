package Ipcm::Service;

use strict;
use warnings;

use parent 'Ipcm::Bus';

use File::Basename qw(basename);
use IO::Handle     ();
use Scalar::Util   qw(blessed weaken);
use Ipcm::Boot     ();
use Ipcm::Error    ();
use Ipcm::Info     ();
use Ipcm::Log      ();
use Ipcm::Request  ();
use Ipcm::Signals  ();
use Ipcm::Streams  ();

our $VERSION = '0.1.0';

use constant { USAGE => 64, SERVICE_THREW => 70 };

my $serving;    # the service that this process is

my %HANDLERS = map { $_ => 1 } qw(request message join leave start stop);

# Whether a launcher has started this program as a service (docs/boot.md).
sub _is_boot { return !!grep({ /\A--(?:ready|params)-fd/ } @_) || (@_ == 1 && $_[0] =~ /\A\s*\{/) }

# serve(%handlers): is the service until its end, and ends the process with its status.
sub serve {
    my ($class, %how) = @_;
    my ($name, $bus) = delete @how{qw(name bus)};
    my %handlers = map { $_ => delete $how{$_} } grep { $HANDLERS{$_} } keys %how;
    Ipcm::Bus::_no_more(serve => %how);
    my @boot = _is_boot(@ARGV) ? @ARGV : ();
    STDOUT->autoflush(1);    # what it prints is in its log at once
    $name //= basename($0) =~ s/\.p[lm]\z//r;
    my ($self, $streams) = @boot ? $class->_launched(@boot) : $class->_new(_by_hand($name, $bus));
    $serving = $self;
    $self->{handlers} = \%handlers;
    $self->{signals} = Ipcm::Signals->new(sub { $self->_asked_to_end });
    $self->_start($streams) && $self->run;
    exit $self->_finish;
}

# A service that nobody has launched.
sub _by_hand {
    my ($name, $bus) = @_;
    my $info = Ipcm::Info::native($bus) or return Ipcm::Bridge->new(words => [ '--serve', '--name', Ipcm::Bus::_octets($name) ], bus => Ipcm::Bus::info_text($bus));
    require Ipcm::Native;
    utf8::decode($name);
    return Ipcm::Native->new(info => $info, name => $name, boot => Ipcm::Boot->by_hand($info, $name));
}

# The service that a launcher has asked for, and the streams that its launcher passes on.
sub _launched {
    my ($class, @boot) = @_;
    my $boot = eval { Ipcm::Boot->take(@boot) };
    if (my $error = $@) {
        _log('ipcm: ' . Ipcm::Error->text_of($error));
        exit USAGE;
    }
    return ($class->_new(Ipcm::Bridge->new(words => ['--serve'], boot => \@boot)), Ipcm::Streams->new(@boot)) if !$boot;
    require Ipcm::Native;
    my $streams = Ipcm::Streams->new(@boot);
    my $self = $class->_new(Ipcm::Native->new(info => $boot->info, name => $boot->name, boot => $boot));
    $self->{log} = Ipcm::Log->new($streams->log) if $streams->log;
    $self->_beat($boot) if $boot->watchdog;
    return ($self, $streams);
}

sub _beat {
    my ($self, $boot) = @_;
    $self->after($boot->watchdog, sub { $boot->alive; $self->_beat($boot) });
    return;
}

sub class { $_[0]{class} }
sub args  { $_[0]{args} }

# end($status): leaves the bus, once the running function has returned and its answer is sent; the process ends with this status.
sub end {
    my ($self, $status) = @_;
    push @{ $self->{events} }, sub { $self->_leave($status // 0) };
    return;
}

sub _leave {
    my ($self, $status) = @_;
    $self->{bridge}->put({ op => 'leave', status => 0 + $status });
    return;
}

sub _asked_to_end {
    my ($self) = @_;
    # In the middle of a line: a moment later.
    if   ($self->{bridge}->is_writing) { $self->{bridge}->defer(sub { $self->_asked_to_end }) }
    else                               { eval { $self->_leave(0) } }
    return;
}

# Returns whether the service serves.
sub _start {
    my ($self, $streams) = @_;
    my $handlers = $self->{handlers};
    my $is_ready = eval {
        $self->_await(sub { defined $self->{name} });
        $handlers->{start}->($self) if $handlers->{start};
        $self->on($_ => $handlers->{$_}) for grep { $handlers->{$_} } qw(message join leave);
        $streams->move if $streams;
        $self->_begin({ op => 'ready' })->get;
        1;
    };
    return 1 if $is_ready;
    my $error = $@;
    return 0 if $self->{is_over};    # it could not join, and the bridge has told the launcher
    _log($error);
    eval { $self->{bridge}->put({ op => 'fail', error => Ipcm::Error->text_of($error) }) };
    eval { $self->_await(sub { $self->{is_over} }) };
    return 0;
}

# A function of the program has called exit(). Of a program behind a bridge, that learns the status from the process.
END {
    my $status = $?;
    if ($serving && !$serving->{is_over} && $serving->{bridge}->is_own && $serving->{bridge}->isa('Ipcm::Native')) {
        local ($@, $!, $?);
        eval { $serving->_leave($status) };
    }
}

# It must not wait for the bridge: that waits for the end of this process.
sub _finish {
    my ($self) = @_;
    my $end = $self->{end};
    _log("ipcm: service '" . ($self->{name} // '') . "': " . $self->{reason}->message) if !$end || (!defined $self->{name} && $end->{status});
    if (my $stop = $self->{handlers}{stop}) {
        $self->_guard(sub { $stop->($self) });
    }
    $self->{is_closed} = 1;
    return $end ? $end->{status} : SERVICE_THREW;
}

sub _take {
    my ($self, $line) = @_;
    @$self{qw(class args)} = @$line{qw(class args)} if $line->{type} eq 'joined';
    return $self->SUPER::_take($line) if $line->{type} ne 'request';
    my $request =
        Ipcm::Request->new(content => Ipcm::Bus::_content_in($line), from => $line->{from}, number => $line->{request}, bus => $self);
    push @{ $self->{events} }, sub { $self->_handle($request) };
    return;
}

sub _received {
    my ($self, $line) = @_;
    return $self->SUPER::_received($line) if $self->{on}{message} || $self->{handlers}{message};
    return $self->{bridge}->taken;    # nobody reads it
}

sub receive {
    my ($self, @how) = @_;
    my $message = $self->SUPER::receive(@how);
    $self->{bridge}->taken;
    return $message;
}

sub _event {
    my ($self, $event, @what) = @_;
    my $call = $self->SUPER::_event($event, @what);
    return $call if $event ne 'message';
    weaken($self);
    return sub { $self->{bridge}->taken if $self; $call->() };
}

sub _handle {
    my ($self, $request) = @_;
    $self->{bridge}->taken(1);
    my $answer = eval {
        my $code = $self->{handlers}{request} or Ipcm::Error->throw(usage => "service '$self->{name}' takes no requests");
        my $found = $code->($request, $self);
        my $is_later = $request->{is_later} || $request->is_answered;
        if (!$is_later && blessed $found && $found->isa('Ipcm::Pending')) {
            $request->later;
            $found->when_done(sub {
                my ($pending) = @_;
                my $error = $pending->error;
                defined $error ? $request->fail(Ipcm::Error->text_of($error)) : $request->answer($pending->get);
            });
            $is_later = 1;
        }
        $request->answer($found) if !$is_later;
        1;
    };
    return if $answer;
    my $error = $@;
    _log($error);
    eval { $request->fail(Ipcm::Error->text_of($error)) } if !$request->is_answered && !$self->{is_over};
    return;
}

sub _answer {
    my ($self, $request, $content) = @_;
    $self->_close($request, { op => 'answer', request => $request->{number}, Ipcm::Bus::_carried($content) });
    return;
}

sub _refuse {
    my ($self, $request, $text) = @_;
    $self->_close($request, { op => 'error', request => $request->{number}, error => "$text" });
    return;
}

# Without an id, the bridge tells only of an answer that it can't send: the requester gets that as the error then.
sub _close {
    my ($self, $request, $line) = @_;
    Ipcm::Error->throw(usage => 'the request was answered already') if $request->is_answered;
    $self->{bridge}->put($line);
    $request->{is_answered} = 1;
    return;
}

# An error of a function that nobody waits for is a line in the log; the service goes on.
sub _guard {
    my ($self, $event) = @_;
    if (!eval { $event->(); 1 }) {
        my $error = $@;
        $self->{bridge}->note_failure(Ipcm::Error->text_of($error));
        _log($error);
    }
    $self->{log}->look if $self->{log};
    return;
}

sub _log {
    my ($text) = @_;
    $text = "$text";
    utf8::encode($text) if !grep { $_ eq 'utf8' } PerlIO::get_layers(*STDERR);
    warn $text =~ /\n\z/ ? $text : "$text\n";
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Service - a program that answers requests

=head1 SYNOPSIS

    use Ipcm;
    Ipcm->serve(
        start   => sub { my ($service) = @_; open_database($service->args) },
        request => sub { my ($request, $service) = @_; uc $request->content },
    );

=head1 FUNCTIONS

Those that C<< Ipcm->serve >> takes:

=over

=item request($request, $service)

Returns the answer; undef is null. If it dies, the requester gets the text, without the place in the program, and the log has all of it. It may return an
L<Ipcm::Pending> (the answer of another service), or C<< $request->later >>; then the service answers others meanwhile. See L<Ipcm::Request>.

=item message($message, $service), join($peer, $service), leave($peer, $service)

General messages, and peers that come and go.

=item start($service)

Before the service is ready. If it dies, the start has failed for this reason.

=item stop($service)

After it has left the bus, which a launched service has two seconds for.

=back

Further options: C<name> and C<bus>, for a service that nobody has launched. Without them it has the name of its file, on C<$IPCM_INFO>.

=head1 METHODS

Those of L<Ipcm::Bus>, and C<class> and C<args>, as the launcher has chosen them; C<end($status)> leaves the bus and ends the process with this status.
On ConnectionUnix, C<exit> in a function does so, too, at once and without C<stop>. A status other than 0 is kept in an obituary: C<ipcm ps -a>.

One function runs at a time. A call that waits, such as C<request>, holds up the requests of others: C<ask> does not.

=cut
