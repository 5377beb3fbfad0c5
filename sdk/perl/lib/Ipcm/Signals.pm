package Ipcm::Signals;

# SIGTERM and SIGINT of a service.
#
# Perl runs a handler between two of its operations. A signal that comes just before select() begins to wait would have its handler run
# after the next event only. So while the loop waits, and only then, the handler runs at once, and writes into a pipe that the
# loop waits for as well.

use strict;
use warnings;

use IO::Handle ();
use POSIX      ();

our $VERSION = '0.1.0';

my @SIGNALS = (POSIX::SIGTERM(), POSIX::SIGINT());

# new($code): the code is called once, at a point where Perl code can run.
sub new {
    my ($class, $code) = @_;
    pipe my $reads, my $writes or die "a pipe can't be made: $!\n";
    $_->blocking(0) for $reads, $writes;
    my $self = bless { reads => $reads, code => $code }, $class;
    my $came = sub { $self->_call };
    my $wake = sub { local $!; syswrite $writes, "\0" };
    my $none = POSIX::SigSet->new;
    $self->{between} = POSIX::SigAction->new($came, $none, 0);
    $self->{between}->safe(1);
    $self->{waiting} = POSIX::SigAction->new($wake, $none, 0);
    POSIX::sigaction($_, $self->{between}) for @SIGNALS;
    return $self;
}

sub handle { $_[0]{reads} }

sub expect {
    my ($self) = @_;
    POSIX::sigaction($_, $self->{waiting}) for @SIGNALS;
    return;
}

sub handled {
    my ($self) = @_;
    POSIX::sigaction($_, $self->{between}) for @SIGNALS;
    $self->_call if sysread $self->{reads}, my $bytes, 64;
    return;
}

sub _call {
    my ($self) = @_;
    my $code = delete $self->{code};
    $code->() if $code;
    return;
}

1;
