package Ipcm::Error;

use strict;
use warnings;

use overload '""' => sub { $_[0]->message . $_[0]{where} }, bool => sub { 1 }, fallback => 1;

our $VERSION = '0.1.0';

@Ipcm::Error::Remote::ISA    = ('Ipcm::Error');
@Ipcm::Error::PeerGone::ISA  = ('Ipcm::Error');
@Ipcm::Error::Timeout::ISA   = ('Ipcm::Error');
@Ipcm::Error::Usage::ISA     = ('Ipcm::Error');
@Ipcm::Error::Launch::ISA    = ('Ipcm::Error');
@Ipcm::Error::Bus::ISA       = ('Ipcm::Error');
@Ipcm::Error::NameTaken::ISA = ('Ipcm::Error::Bus');

my %CLASS = (
    answer => 'Remote', gone => 'PeerGone', timeout => 'Timeout', usage => 'Usage', protocol => 'Usage', launch => 'Launch', bus => 'Bus',
    taken  => 'NameTaken',
);
my %STATUS = (answer => 1, usage => 2, protocol => 2, gone => 3, bus => 3, taken => 3, timeout => 4, launch => 5, system => 5);

# of($kind, $text, $status): an error with the place outside of this kit that called it.
sub of {
    my ($class, $kind, $text, $status) = @_;
    my $own  = $CLASS{$kind} ? "Ipcm::Error::$CLASS{$kind}" : 'Ipcm::Error';
    my $self = bless { message => $text, kind => $kind eq 'taken' ? 'bus' : $kind, status => $status // $STATUS{$kind} // 5 }, $own;
    $self->{where} = _where();
    return $self;
}

# from_line($line): the error that a line of the bridge, or of `ipcm --json`, describes.
sub from_line {
    my ($class, $line) = @_;
    return $class->of($line->{taken} ? 'taken' : $line->{kind} // 'system', $line->{error} // 'no reason was given', $line->{status});
}

sub _where {
    for (my $level = 1; my ($package, $file, $line) = caller $level; $level++) {
        return " at $file line $line.\n" if $package !~ /\AIpcm(?:\z|::)/;
    }
    return "\n";
}

sub message { $_[0]{message} }
sub kind    { $_[0]{kind} }
sub status  { $_[0]{status} }
sub throw   { my ($class, @more) = @_; die $class->of(@more) }

# text_of($error): what a requester gets to read of anything that was thrown: without the place in the program, which is for the log.
sub text_of {
    my ($class, $error) = @_;
    $error = ref $error && UNIVERSAL::can($error, 'message') ? $error->message : "$error";
    $error =~ s/ at \S[^\n]* line [0-9]+(?:, <[^>\n]*> (?:line|chunk) [0-9]+)?\.?\n?\z//;
    $error =~ s/\s+\z//;
    return length $error ? $error : 'the handler has failed without a text';
}

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Error - what the calls of Ipcm throw

=head1 SYNOPSIS

    my $answer = eval { $bus->request(up => 'hi', timeout => 5) };
    if (my $error = $@) {
        die $error if !ref $error || !$error->isa('Ipcm::Error::PeerGone');
        print 'nobody is there: ', $error->message, "\n";
    }

=head1 DESCRIPTION

C<message> is the text, C<kind> and C<status> are those of C<ipcm --json>. As a string, an error is its text and the place of the call, as with C<croak>.

=over

=item Ipcm::Error::Remote

The receiver answered with an error: its text.

=item Ipcm::Error::PeerGone

There is no such peer, or it ended before it answered.

=item Ipcm::Error::Timeout

A limit has passed.

=item Ipcm::Error::Bus, and below it Ipcm::Error::NameTaken

The bus can't be used or is gone; another process has the name.

=item Ipcm::Error::Usage

A wrong call, or a content that the bus can't carry.

=item Ipcm::Error::Launch

A service did not start.

=back

=cut
