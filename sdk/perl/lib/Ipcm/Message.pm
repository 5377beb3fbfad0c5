package Ipcm::Message;

use strict;
use warnings;

our $VERSION = '0.1.0';

sub new          { my ($class, %fields) = @_; return bless {%fields}, $class }
sub content      { $_[0]{content} }
sub from         { $_[0]{from} }
sub id           { $_[0]{id} }
sub bus          { $_[0]{bus} }
sub is_broadcast { $_[0]{is_broadcast} ? 1 : 0 }

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Message - a general message that a peer has sent

=head1 METHODS

C<content> (any JSON value, as Perl data), C<from> (the name of the sender), C<is_broadcast>, C<id>, and C<bus>, on which it came.

=cut
