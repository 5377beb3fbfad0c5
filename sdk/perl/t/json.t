use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More import => ['!subtest'];
use TestBus;
use JSON::PP ();
use Ipcm::JSON qw(decode_json encode_json);

sub round { return decode_json(encode_json($_[0])) }
sub why { my ($code) = @_; return eval { $code->(); 1 } ? '' : $@ }

subtest 'text has one encoding, and its characters survive' => sub {
    my $text = "a\0\x01\n\t\"\\/\x7f\x80ü€\x{2028}\x{fffd}\x{1F600} \\ud800";
    is round($text), $text;
    is round({ $text => $text })->{$text}, $text, 'as a key, too';
    is encode_json('ü'), "\"\xc3\xbc\"";
    is encode_json("\xfc"), "\"\xc3\xbc\"", 'whether or not Perl keeps it as UTF-8';
    is decode_json("\"\xc3\xbc\""), 'ü';
    is decode_json('"\ud83d\ude00\u00fc\/"'), "\x{1F600}ü/";
    is uc(decode_json('"\u00e4"')), 'Ä', 'and its letters are letters';
    is decode_json('"' . '\\\\' x 3 . '\""'), '\\\\\\"', 'quotes after backslashes';
    is decode_json(JSON::PP->new->allow_nonref->utf8->encode($text)), $text, 'JSON::PP writes, we read';
    is(JSON::PP->new->allow_nonref->utf8->decode(encode_json($text)), $text, 'we write, JSON::PP reads');
};

subtest 'numbers keep their value and stay numbers' => sub {
    for my $number (0, -1, 2**53 - 1, 0.1, -2.5e-300, 1.7976931348623157e308, 18446744073709551615, -9223372036854775807, 1 / 3) {
        my $text = encode_json($number);
        unlike $text, qr/"/, "$text is a number";
        ok round($number) == $number, "$text keeps its value";
    }
    my ($number, $string) = (5, '7');
    my @used = ("$number", $string + 1);
    is encode_json([ '007', $string, 0 + $string ]), '["007","7",7]';
    is encode_json(['1e3']), '["1e3"]';
    like why(sub { encode_json(9**9**9) }), qr/JSON has no number/;
};

subtest 'structures, booleans and null' => sub {
    is encode_json([ undef, \1, \0, JSON::PP::true(), JSON::PP::false(), {}, [] ]), '[null,true,false,true,false,{},[]]';
    is encode_json({ b => 1, a => [ {} ] }), '{"a":[{}],"b":1}';
    my $value = decode_json(' { "a" : [ true , null , { } ] } ');
    ok $value->{a}[0] && JSON::PP::is_bool($value->{a}[0]), 'a boolean is one of JSON::PP';
    is $value->{a}[1], undef;
    my $deep = 1;
    $deep = [$deep] for 1 .. 1000;
    is encode_json(round($deep)), encode_json($deep), '1000 arrays in each other';
};

subtest 'what is no JSON is refused' => sub {
    for my $text ('', '[1', '{"a"}', '"\x"', '01', '[1]x', "\"\n\"", '{"a":1,}', '[1,]', 'nul', '+1', '.5', '"', '"\\"', '[' x 5000) {
        like why(sub { decode_json($text) }), qr/the text is no JSON/, 'refused: ' . substr $text, 0, 20;
    }
};

subtest 'what JSON can not carry is refused' => sub {
    like why(sub { encode_json([ sub { 1 } ]) }), qr/found a CODE/;
    like why(sub { encode_json(bless {}, 'Some::Class') }), qr/found a Some::Class/;
    my $loop = [];
    push @$loop, $loop;
    like why(sub { encode_json($loop) }), qr/nested more than/;
    @$loop = ();
};

subtest 'a large text is read at the speed of index()' => sub {
    my $text = 'x' x (16 << 20);
    ok round($text) eq $text;
};

done_testing;
