package Ipcm::Request;

use strict;
use warnings;

use parent 'Ipcm::Message';

our $VERSION = '0.1.0';

sub is_answered { $_[0]{is_answered} ? 1 : 0 }

# The handler has returned, and its value is not the answer.
sub later { my ($self) = @_; $self->{is_later} = 1; return $self }

sub answer {
    my ($self, $content) = @_;
    $self->{bus}->_answer($self, $content);
    return;
}

sub fail {
    my ($self, $text) = @_;
    $self->{bus}->_refuse($self, $text);
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{is_answered} || !$self->{is_later} || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($@, $!, $?);
    eval { $self->fail('the service has dropped the request without an answer') };
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Request - what a peer asks a service

=head1 SYNOPSIS

    Ipcm->serve(request => sub {
        my ($request, $service) = @_;
        $service->after(2, sub { $request->answer('two seconds later') });
        return $request->later;
    });

=head1 METHODS

C<content>, C<from>, C<bus> (the service), and:

=over

=item later

Says that the answer comes later; a handler returns it. The service answers other requests meanwhile. A request that nothing refers to any more, and that has
no answer, fails.

=item answer($content), fail($text)

Answers it, once. A requester that has left is no error.

=item is_answered

=back

=cut
