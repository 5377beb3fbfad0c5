package Ipcm::Pending;

use strict;
use warnings;

our $VERSION = '0.1.0';

# For this kit itself: Ipcm::Bus makes them, and settles them.
sub new { my ($class, $bus) = @_; return bless { bus => $bus, then => [] }, $class }

sub is_done { $_[0]{is_done} ? 1 : 0 }
sub error   { $_[0]{error} }

sub get {
    my ($self) = @_;
    $self->{bus}->_await(sub { $self->{is_done} }) if !$self->{is_done};
    die $self->{error} if defined $self->{error};
    return $self->{value};
}

sub when_done {
    my ($self, $code) = @_;
    if   ($self->{is_done}) { $self->{later}->($self, $code) }
    else                    { push @{ $self->{then} }, $code }
    return $self;
}

# settle($later, $value, $error): $later gets this object and each function that waits, to be called from the loop.
sub settle {
    my ($self, $later, $value, $error) = @_;
    return if $self->{is_done};
    @$self{qw(is_done value error later)} = (1, $value, $error, $later);
    delete $self->{bus};
    $later->($self, $_) for splice @{ $self->{then} };
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Pending - a request whose answer may still be on its way

=head1 SYNOPSIS

    my @pending = map { $bus->ask(up => $_) } qw(a b c);    # three requests at once
    my @answers = map { $_->get } @pending;

    $bus->ask(up => 'hi')->when_done(sub { print $_[0]->error // $_[0]->get });

=head1 METHODS

=over

=item get

Waits for the answer and returns it, or throws an L<Ipcm::Error>.

=item when_done($code)

Calls the code from the loop (C<run>, C<dispatch>) once the answer or the error is there, with this object.

=item is_done, error

=back

=cut
