package Ipcm::Inspection;

# What a native service has done so far, and the facts that it tells to `ipcm inspect` (docs/bus.md, "Inspection").

use strict;
use warnings;

use List::Util  qw(sum0);
use Time::HiRes ();
use Ipcm::JSON  ();
use Ipcm::Wire  ();

our $VERSION = '0.1.0';

use constant { LARGEST_ARGS => 64 * 1024, LONGEST_FAILURE => 3 * 1024 };

# new($boot): `boot`, an Ipcm::Boot, has its parameters.
sub new {
    my ($class, $boot) = @_;
    return bless { boot => $boot, requests => 0, answered => 0, failed => 0, waiting => 0 }, $class;
}

# came(): a request or a message was read from the bus. taken($is_request): the service handles it now.
sub came  { $_[0]{waiting}++; return }
sub taken { my ($self, $is_request) = @_; $self->{waiting}--; $self->{requests}++ if $is_request; return }

sub answered { $_[0]{answered}++; return }
sub failed   { $_[0]{failed}++; return }
sub is_ready { $_[0]{ready} = Time::HiRes::time(); return }

# note_failure($text): the last error of a handler.
sub note_failure {
    my ($self, $text) = @_;
    $text = substr $text, 0, LONGEST_FAILURE;
    $text =~ s/\n/ /g;
    $text =~ s/[^[:print:]]/\x{fffd}/g;
    $self->{last_failure} = { text => $text, time => Time::HiRes::time() };
    return;
}

# The parameters without those that have their default values. undef: they are secret.
sub _parameters {
    my ($self) = @_;
    my $given = $self->{boot}->parameters;
    return undef if $given->{secret};    ## no critic: this is the value
    my %shown = map { $_ => $given->{$_} } grep { $given->{$_} } qw(interval spin intercept_errors expose_error_details);
    $shown{watch_pids} = $given->{watch_pids} if @{ $given->{watch_pids} // [] };
    return \%shown if !defined $given->{args};
    # The arguments of a start may have more levels, and half of a surrogate pair.
    my $text = eval { Ipcm::Wire::json_ascii([ [ $given->{args} ] ]) };
    if   (defined $text && length $text <= LARGEST_ARGS + length '[[]]') { $shown{args} = $given->{args} }
    else                                                                 { $shown{args_bytes} = length Ipcm::JSON::encode_json($given->{args}) }
    return \%shown;
}

# facts($started, $counts): the answer, as JSON. $started: the start of this process, Unix seconds; 0: unknown. $counts: the statistics of the member.
sub facts {
    my ($self, $started, $counts) = @_;
    my $open = $self->{requests} - $self->{answered} - $self->{failed};
    return Ipcm::Wire::json_ascii({
        name  => $self->{boot}->name,
        class => $self->{boot}->class,
        pid   => 0 + $$,
        $started ? (started => $started) : (),
        (map { $self->{$_} ? ($_ => $self->{$_}) : () } qw(ready last_failure)),
        requests   => { answered => $self->{answered}, failed => $self->{failed}, open => $open > 0 ? $open : 0 },
        messages   => { received => sum0(values %{ $counts->{read} }), sent => sum0(values %{ $counts->{sent} }), waiting => $self->{waiting} },
        parameters => $self->_parameters,
    });
}

1;
