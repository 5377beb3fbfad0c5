package Ipcm;

use strict;
use warnings;

use JSON::PP      ();
use Ipcm::Bus     ();
use Ipcm::Bytes   ();
use Ipcm::Error   ();

our $VERSION = '0.1.0';

sub connect { my ($class, @how) = @_; return Ipcm::Bus->connect(@how) }

sub serve {
    my ($class, @how) = @_;
    require Ipcm::Service;
    return Ipcm::Service->serve(@how);
}

sub start {
    my ($class, @how) = @_;
    require Ipcm::Started;
    return Ipcm::Started->start(@how);
}

sub true  { return $JSON::PP::true }
sub false { return $JSON::PP::false }
sub bytes { my ($class, $octets) = @_; return Ipcm::Bytes->new($octets) }

1;

__END__

=encoding utf8

=head1 NAME

Ipcm - services and requests on a local message bus

=head1 SYNOPSIS

A service, C<up.pl>, which C<ipcm start up --boot ./up.pl> starts:

    #!/usr/bin/env perl
    use Ipcm;
    Ipcm->serve(request => sub { uc $_[0]->content });    # die: the requester gets the error

A program that asks it:

    use Ipcm;
    my $bus = Ipcm->connect(as => 'me');                   # the bus of $IPCM_INFO
    my $answer = $bus->request(up => 'hi', timeout => 5);

=head1 DESCRIPTION

On a bus with the protocol ConnectionUnix and the serializer JSON, this process is a peer itself. With every other protocol and serializer, the process C<ipcm bridge> does the
work, and this kit needs the command C<ipcm>, on C<$PATH> or in C<$IPCM>. It needs no module that Perl does not have.

=head1 CLASS METHODS

=over

=item connect(as => $name, bus => $info, reconnect => 1)

Joins a bus and returns an L<Ipcm::Bus>. Without C<as>, peers do not see this program. C<bus>: the info, a string or its array; the default is
C<$IPCM_INFO>. C<reconnect>: joins under a name that was suspended, or whose process died, and gets its messages.

=item serve(request => $code, …)

Makes this program a service, until its end: see L<Ipcm::Service>. It does not return. Started by C<ipcm start --boot>, the program keeps the boot contract.

=item start($class, name => $name, args => $args, boot => $path, bus => $info, timeout => $seconds)

Starts a service and returns an L<Ipcm::Started>.

=item true, false, bytes($octets)

Contents that Perl has no value for.

=back

=head1 CONTENT

A content is Perl data that JSON can carry: text, numbers, undef, arrays, hashes, C<< Ipcm->true >> and C<< Ipcm->false >> (or C<\1> and C<\0>; since Perl 5.36 also what C<!!1> and C<!!0> give).
Objects with C<TO_JSON> are what that returns. Booleans that arrive are those of L<JSON::PP>.

Text consists of characters, and is encoded once: decode what you have read from files, and encode what you print. A scalar is a number if it was made as one: C<0 + $text>,
C<"$number">.

=head1 ERRORS

Each call throws an L<Ipcm::Error>. A request fails at once if its receiver dies.

=head1 SEE ALSO

L<Ipcm::Bus>, L<Ipcm::Service>, L<Ipcm::Request>, L<Ipcm::Pending>, L<Ipcm::Error>

=cut
