package Ipcm::Wire;

# Messages and frames of ConnectionUnix (docs/bus.md). Pure texts, no descriptor.

use strict;
use warnings;

use Exporter    qw(import);
use Time::HiRes ();
use Ipcm::Error ();
use Ipcm::JSON  ();

our $VERSION   = '0.1.0';
our @EXPORT_OK = qw(frame is_true json_ascii json_value new_id sender_of stamps LARGEST);

use constant { LARGEST => 64 * 1024 * 1024, DEEPEST => 498 };    # two more levels stand around a content

# json_ascii($value): JSON in pure ASCII. Throws a usage error for what peers can't read.
sub json_ascii {
    my ($value) = @_;
    my $text = Ipcm::JSON::encode_json($value);
    _refuse('it has half of a surrogate pair, which is no Unicode text')
        if index($text, '\\ud') >= 0 && $text =~ /(?<!\\)(?:\\\\)*\\ud[89a-f]/;
    if ($text =~ /[^\x00-\x7e]/) {
        utf8::decode($text);
        $text =~ s/([^\x00-\x7e])/ord $1 < 0x10000 ? sprintf '\\u%04x', ord $1 : sprintf '\\u%04x\\u%04x', _pair(ord $1)/ge;
        utf8::downgrade($text);
    }
    _refuse('it has more than ' . DEEPEST . ' levels') if ($text =~ tr/[{//) > DEEPEST && _depth($text) > DEEPEST;
    return $text;
}

sub _pair { my $rest = $_[0] - 0x10000; return (0xd800 + ($rest >> 10), 0xdc00 + ($rest & 0x3ff)) }
sub _refuse { die Ipcm::Error->of(usage => "the content can't be sent: $_[0]") }

sub _depth {
    my ($text) = @_;
    $text =~ s/"(?:[^"\\]|\\.)*+"//gs;
    my ($deepest, $level) = (0, 0);
    while ($text =~ /([\[{])|[\]}]/g) {
        if   (defined $1) { $deepest = $level if ++$level > $deepest }
        else              { $level-- }
    }
    return $deepest;
}

# json_value($octets): throws a protocol error.
sub json_value {
    my ($octets) = @_;
    if ($octets =~ /[^\x00-\x7f]/) {
        my $copy = $octets;
        utf8::decode($copy) or die Ipcm::Error->of(protocol => 'the text is no UTF-8');
    }
    return Ipcm::JSON::decode_json($octets);
}

sub frame {
    my ($payload) = @_;
    _refuse('its message has ' . length($payload) . ' bytes, and the limit is ' . LARGEST) if length $payload > LARGEST;
    return pack('N', length $payload) . $payload;
}

my ($random, $random_of) = ('', 0);

sub _random {
    my ($size) = @_;
    if (length $random < $size || $random_of != $$) {    # not that of the parent
        open my $source, '<:raw', '/dev/urandom' or Ipcm::Error->throw(system => "/dev/urandom can't be opened: $!");
        sysread $source, $random, 1024;
        $random_of = $$;
    }
    return substr $random, 0, $size, '';
}

# new_id(): an upper-case UUID of version 7: they sort by time.
sub new_id {
    my ($high, $low) = unpack 'n Q', _random(10);
    my $milliseconds = int(Time::HiRes::time() * 1000);
    return sprintf '%08X-%04X-7%03X-%04X-%04X%08X', $milliseconds >> 16, $milliseconds & 0xffff, $high & 0xfff, 0x8000 | ($low >> 48) & 0x3fff,
        ($low >> 32) & 0xffff, $low & 0xffff_ffff;
}

# stamps(): a function that returns the two keys of the next message. Those of a sender rise: readers may sort by them.
sub stamps {
    my ($last, $order) = (0, 0);
    return sub {
        my $now = Time::HiRes::time();
        if   ($now - $last >= 0.00001) { ($last, $order) = ($now, 0) }
        else                           { $order++ }
        return sprintf '"stamp":%.5f,"stamp_ord":%d', $last, $order;
    };
}

# is_true($value): in the sense of Perl, which also JSON's false has.
sub is_true { my ($value) = @_; return defined $value && !!$value }

# sender_of($whole): the sender of a message, or a protocol error that says why it is none.
sub sender_of {
    my ($whole) = @_;
    my $from = $whole->{from};
    die Ipcm::Error->of(protocol => "it has no sender (key 'from')") if !defined $from || ref $from || $from eq '' || $from eq '0';
    die Ipcm::Error->of(protocol => 'it has no content') if !defined $whole->{content};
    my $stamp = $whole->{stamp} // 0;
    die Ipcm::Error->of(protocol => 'its stamp is no number') if ref $stamp || $stamp !~ /\A-?[0-9.]+(?:[eE][-+]?[0-9]+)?\z|\A\z/;
    return "$from";
}

1;
