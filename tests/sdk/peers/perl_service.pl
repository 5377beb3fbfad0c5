#!/usr/bin/env perl
# The service of the conformance suite, with the Perl kit.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../../sdk/perl/lib";
use Ipcm;

my (%held, @messages, %seen, @waiting);

# Answers a request once its condition holds.
sub when {
    my ($request, $is_so, $answer) = @_;
    push @waiting, [ $request, $is_so, $answer ];
    note();
    return $request->later;
}

sub note {
    my @rest;
    for my $one (splice @waiting) {
        my ($request, $is_so, $answer) = @$one;
        if   ($is_so->()) { $request->answer($answer->()) }
        else              { push @rest, $one }
    }
    push @waiting, @rest;
    return;
}

my %do = (
    echo => sub { $_[0]{value} },
    fail => sub { die "$_[0]{text}\n" },
    print => sub {
        print "$_[0]{text}\n";
        print STDERR "$_[0]{text}\n";
        return Ipcm->true;
    },
    pid  => sub { $$ },
    args => sub { length(($_[2]->args // {})->{big} // '') },
    die  => sub { kill KILL => $$ },
    send => sub {
        $_[2]->send(@{ $_[0] }{qw(to content)});
        return Ipcm->true;
    },
    broadcast => sub {
        $_[2]->broadcast($_[0]{content});
        return Ipcm->true;
    },
    ask  => sub { $_[2]->ask(@{ $_[0] }{qw(to content)}) },
    hold => sub {
        push @{ $held{ $_[0]{key} } }, $_[1];
        return $_[1]->later;
    },
    release => sub {
        my ($order) = @_;
        $_->answer($order->{value}) for @{ delete $held{ $order->{key} } // [] };
        return Ipcm->true;
    },
    messages => sub {
        my ($order, $request) = @_;
        return when($request, sub { @messages >= $order->{count} }, sub { \@messages });
    },
    saw => sub {
        my ($order, $request) = @_;
        return when($request, sub { ($seen{ $order->{peer} } // '') eq $order->{kind} }, sub { Ipcm->true });
    },
);

Ipcm->serve(
    start => sub {
        my $args = $_[0]->args // {};
        die "$args->{fail}\n" if $args->{fail};
        if ($args->{gate}) {
            open my $gate, '<', $args->{gate} or die "$args->{gate}: $!\n";
            1 while defined readline $gate;
        }
    },
    message => sub {
        my ($message) = @_;
        push @messages,
            { from => $message->from, content => $message->content, broadcast => $message->is_broadcast ? Ipcm->true : Ipcm->false };
        note();
    },
    join    => sub { $seen{ $_[0] } = 'join';  note() },
    leave   => sub { $seen{ $_[0] } = 'leave'; note() },
    request => sub {
        my ($request, $service) = @_;
        my $code = $do{ $request->content->{do} } or die 'unknown order ' . $request->content->{do} . "\n";
        return $code->($request->content, $request, $service);
    },
);
