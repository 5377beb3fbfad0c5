#!/usr/bin/env perl
# The service of the tests: what it does depends on the request.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Ipcm;

my (@held, $last);
Ipcm->serve(
    start => sub {
        my ($service) = @_;
        print "a stray line\n";
        die $service->args->{fail} . "\n" if ref $service->args && defined $service->args->{fail};
    },
    message => sub { my ($message) = @_; $last = [ $message->from, $message->content, $message->is_broadcast ] },
    stop    => sub { print "it has stopped\n" },
    request => sub {
        my ($request, $service) = @_;
        my $order = $request->content;
        my $do = ref $order eq 'HASH' ? $order->{do} : '';
        if ($do eq 'fail')    { die "it failed: ä €\n" }
        if ($do eq 'croak')   { die 'at a place in the program' }
        if ($do eq 'pid')     { return $$ }
        if ($do eq 'args')    { return [ $service->class, $service->args ] }
        if ($do eq 'last')    { return $last }
        if ($do eq 'ask')     { return $service->ask($order->{to}, $order->{content}, timeout => 20) }
        if ($do eq 'wait')    { return $service->request($order->{to}, $order->{content}, timeout => 20) }
        if ($do eq 'twice')   { $request->answer(1); $request->answer(2); }
        if ($do eq 'code')    { return sub { 1 } }
        if ($do eq 'hold')    { push @held, $request; return $request->later }
        if ($do eq 'release') { $_->answer('released') for splice @held; return 1 }
        if ($do eq 'drop')    { return $request->later }
        if ($do eq 'after')   { $service->after($order->{seconds}, sub { $request->answer('later') }); return $request->later }
        if ($do eq 'end')     { $service->end(3); return 1 }
        if ($do eq 'exit')    { exit $order->{status} }
        if ($do eq 'wide')    { warn "in the log: ä €\n"; return 1 }
        return { from => $request->from, content => $order };
    },
);
