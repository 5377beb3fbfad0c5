package Ipcm::Bytes;

use strict;
use warnings;

use MIME::Base64 ();
use overload '""' => sub { ${ $_[0] } }, fallback => 1;

our $VERSION = '0.1.0';

sub new         { my ($class, $octets) = @_; return bless \$octets, $class }
sub from_base64 { my ($class, $text) = @_; return $class->new(MIME::Base64::decode_base64($text)) }
sub octets      { ${ $_[0] } }
sub base64      { MIME::Base64::encode_base64(${ $_[0] }, '') }

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Bytes - a content that is bytes, on a bus with the serializer Cereal

=head1 SYNOPSIS

    $bus->send(store => Ipcm::Bytes->new($octets));

=head1 METHODS

C<octets> returns them; as a string, the object is its octets.

=cut
