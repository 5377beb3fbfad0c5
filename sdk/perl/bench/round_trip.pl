#!/usr/bin/env perl
# How long does a request take: this kit as a native peer, beside the same kit through `ipcm bridge`?
#
#   ipcm session -- sh -c 'ipcm start echo && perl sdk/perl/bench/round_trip.pl'
#
# The two clients take turns, so that both meet the same noise of the machine; each figure is the median of the rounds.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Time::HiRes qw(time);
use Ipcm;
use Ipcm::Bridge;

my ($rounds, $requests) = ($ENV{ROUNDS} // 15, $ENV{REQUESTS} // 400);

my $native = Ipcm->connect;
die "the bus of \$IPCM_INFO is not native\n" if !$native->{bridge}->isa('Ipcm::Native');
my $bridged = Ipcm::Bus->_new(Ipcm::Bridge->new(words => []));
my %client = (native => $native, bridge => $bridged);

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ] }

printf "Perl %vd; microseconds a request, median of %d rounds of %d\n", $^V, $rounds, $requests;
for my $size (64, 4096) {
    my ($content, %times) = 'x' x $size;
    for (1 .. $rounds) {
        for my $name (sort keys %client) {
            my $begin = time;
            $client{$name}->request(echo => $content, timeout => 5) for 1 .. $requests;
            push @{ $times{$name} }, (time - $begin) / $requests * 1e6;
        }
    }
    my %middle = map { $_ => median(@{ $times{$_} }) } keys %times;
    printf "%5d B  native %6.1f   bridge %6.1f   ratio %.2f\n", $size, @middle{qw(native bridge)}, $middle{bridge} / $middle{native};
}
