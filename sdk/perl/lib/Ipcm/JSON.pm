package Ipcm::JSON;

# JSON in plain Perl. JSON::PP reads strings character by character, so a few MiB take it seconds, and it prints numbers with 15 digits,
# which changes them. Here the regular expressions do the work, and each double survives the way there and back.

use strict;
use warnings;
no warnings 'recursion';
no if "$]" >= 5.036, warnings => 'experimental::builtin';

use B               ();
use Exporter        qw(import);
use JSON::PP        ();
use Ipcm::Error     ();

our $VERSION   = '0.1.0';
our @EXPORT_OK = qw(decode_json encode_json);

use constant MAX_DEPTH => 2000;

my $IS_NUMBER = B::SVp_IOK() | B::SVp_NOK();
my $IS_STRING = B::SVf_POK();
my $is_bool   = "$]" >= 5.036 ? \&builtin::is_bool : sub { 0 };

my %PLAIN  = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t", '"' => '"', '\\' => '\\', '/' => '/');
my %ESCAPE = ((map { chr($_) => sprintf '\\u%04x', $_ } 0 .. 31), "\b" => '\b', "\f" => '\f', "\n" => '\n', "\r" => '\r', "\t" => '\t',
    '"' => '\"', '\\' => '\\\\');

# ---- values to text

sub encode_json {
    my ($value) = @_;
    my $text = _text_of($value, 0);
    utf8::encode($text);
    return $text;
}

sub _text_of {
    my ($value, $depth) = @_;
    return 'null' if !defined $value;
    _refuse("the content is nested more than ${\MAX_DEPTH} deep") if $depth > MAX_DEPTH;
    if (my $kind = ref $value) {
        return '[' . join(',', map { _text_of($_, $depth + 1) } @$value) . ']' if $kind eq 'ARRAY';
        return '{' . join(',', map { _quote($_) . ':' . _text_of($value->{$_}, $depth + 1) } sort keys %$value) . '}' if $kind eq 'HASH';
        return $$value ? 'true' : 'false' if $kind eq 'JSON::PP::Boolean' || ($kind eq 'SCALAR' && defined $$value && $$value =~ /\A[01]\z/);
        return _text_of($value->TO_JSON, $depth + 1) if UNIVERSAL::can($value, 'TO_JSON');
        _refuse("a content consists of scalars, arrays, hashes and booleans; found a $kind");
    }
    return $value ? 'true' : 'false' if $is_bool->($value);
    my $flags = B::svref_2object(\$value)->FLAGS;
    return _quote($value) if $flags & $IS_STRING || !($flags & $IS_NUMBER);
    return $flags & B::SVf_IOK() ? sprintf $value < 0 ? '%d' : '%u', $value : _number($value);
}

sub _number {
    my ($value) = @_;
    for my $digits (15, 17, 21) {
        my $text = sprintf "%.${digits}g", $value;
        return $text if $text =~ /\A-?[0-9]/ && $text == $value;
    }
    _refuse("JSON has no number $value");
}

sub _quote {
    my ($text) = @_;
    $text = "$text";
    $text =~ s/(["\\\x00-\x1f])/$ESCAPE{$1}/g;
    $text =~ s/([\x{d800}-\x{dfff}])/sprintf '\\u%04x', ord $1/ge if utf8::is_utf8($text);
    _refuse('a text has a character above U+10FFFF') if utf8::is_utf8($text) && $text =~ /[^\x{0}-\x{10ffff}]/;
    return qq("$text");
}

sub _refuse { die Ipcm::Error->of(usage => "$_[0]; this can't be sent") }

# ---- text to values

sub decode_json {
    my ($text) = @_;
    utf8::decode($text) if $text =~ /[^\x00-\x7f]/;
    pos($text) = 0;
    my $value = _value(\$text, 0);
    $text =~ /\G[ \t\r\n]*/gc;
    _broken(\$text, 'the end') if pos $text < length $text;
    return $value;
}

sub _value {
    my ($text, $depth) = @_;
    for ($$text) {
        /\G[ \t\r\n]*/gc;
        return _string($text) if /\G"/gc;
        return 0 + $1         if /\G(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)/gc;
        return _array($text, $depth)  if /\G\[/gc;
        return _object($text, $depth) if /\G\{/gc;
        return $JSON::PP::true  if /\Gtrue/gc;
        return $JSON::PP::false if /\Gfalse/gc;
        return undef if /\Gnull/gc;    ## no critic: this is the value
    }
    return _broken($text, 'a value');
}

sub _array {
    my ($text, $depth) = @_;
    _broken($text, 'less depth') if $depth >= MAX_DEPTH;
    my @values;
    return \@values if $$text =~ /\G[ \t\r\n]*\]/gc;
    while (1) {
        push @values, _value($text, $depth + 1);
        return \@values if $$text =~ /\G[ \t\r\n]*\]/gc;
        $$text =~ /\G[ \t\r\n]*,/gc or _broken($text, "',' or ']'");
    }
}

sub _object {
    my ($text, $depth) = @_;
    _broken($text, 'less depth') if $depth >= MAX_DEPTH;
    my %values;
    return \%values if $$text =~ /\G[ \t\r\n]*\}/gc;
    while (1) {
        $$text =~ /\G[ \t\r\n]*"/gc or _broken($text, 'a key');
        my $key = _string($text);
        $$text =~ /\G[ \t\r\n]*:/gc or _broken($text, "':'");
        $values{$key} = _value($text, $depth + 1);
        return \%values if $$text =~ /\G[ \t\r\n]*\}/gc;
        $$text =~ /\G[ \t\r\n]*,/gc or _broken($text, "',' or '}'");
    }
}

# The rest of a string: to the next quote with an even number of backslashes before it.
sub _string {
    my ($text) = @_;
    my $begin  = pos $$text;
    my $end    = $begin;
    while (1) {
        $end = index $$text, '"', $end;
        _broken($text, "'\"'") if $end < 0;
        my $slash = $end;
        $slash-- while substr($$text, $slash - 1, 1) eq '\\';
        last if ($end - $slash) % 2 == 0;
        $end++;
    }
    pos($$text) = $end + 1;
    my $string = substr $$text, $begin, $end - $begin;
    return $string if $string !~ /[\\\x00-\x1f]/;
    $string =~ s{\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.)|[\x00-\x1f]}{
        defined $1 ? chr(0x10000 + ((hex($1) - 0xd800) << 10) + hex($2) - 0xdc00)
        : defined $3 ? chr hex $3
        : defined $4 && exists $PLAIN{$4} ? $PLAIN{$4}
        : _broken($text, 'a string without control characters and with the escapes of JSON')
    }ges;
    utf8::upgrade($string) if $string =~ /[^\x00-\x7f]/;    # otherwise uc() and patterns would not know 'ä'
    return $string;
}

sub _broken {
    my ($text, $wanted) = @_;
    die Ipcm::Error->of(protocol => sprintf 'the text is no JSON: expected %s at character %d', $wanted, pos($$text) // 0);
}

1;
