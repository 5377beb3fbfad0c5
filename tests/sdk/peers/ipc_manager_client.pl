#!/usr/bin/env perl
# The client of the conformance suite, with a handle of IPC::Manager itself: ipc_manager_client.pl INFO.
use strict;
use warnings;
use IO::Select;
use JSON::PP;
use IPC::Manager::Serializer::JSON;
use IPC::Manager::Service::Handle;
use Time::HiRes qw(time);

my ($info) = @ARGV;
my ($handle, %known, %watched, @open);
my $true = IPC::Manager::Serializer::JSON->deserialize('true');

sub tell_line { print IPC::Manager::Serializer::JSON->serialize($_[0]), "\n" }

# An error of IPC::Manager is a text.
sub error_of {
    my ($order, $text) = @_;
    my $kind = $text =~ /timed out/ ? 'Timeout' : $text =~ /went away|not a valid message recipient|does not exist|refused|unknown peer/i ? 'PeerGone' : 'BusError';
    return { tag => $order->{tag}, error => $kind, text => $text };
}

# Replies once the answer is there; further lines are obeyed meanwhile.
sub ask {
    my ($order, $content, $value_of) = @_;
    my $id = $handle->send_request($order->{to}, $content);
    push @open, { id => $id, order => $order, value_of => $value_of, $order->{timeout} ? (until => time + $order->{timeout}) : () };
    return;
}

# await_response() with a limit of 0 looks once: it returns an answer, or dies because of the limit or the end of the peer.
sub look_at_open {
    my @rest;
    for my $one (splice @open) {
        my $found = eval { $handle->await_response($one->{id}, 0) };
        my $error = $@;
        if ($found) {
            my $text = $found->{ipcm_error};
            tell_line(defined $text ? { tag => $one->{order}{tag}, error => 'RemoteError', text => $text }
                : { tag => $one->{order}{tag}, ok => $one->{value_of}->($found->{response}) });
        }
        elsif ($error =~ /timed out/ && !($one->{until} && $one->{until} <= time)) { push @rest, $one }
        else                                                                        { tell_line(error_of($one->{order}, $error)) }
    }
    push @open, @rest;
}

my %op = (
    connect => sub {
        my ($order) = @_;
        # A handle is made for one service, and can ask any.
        $handle = IPC::Manager::Service::Handle->new(service_name => 'any', ipcm_info => $info, defined $order->{name} ? (name => $order->{name}) : ());
        $handle->client;
        return $handle->name;
    },
    request => sub { my ($order) = @_; ask($order, $order->{content}, sub { $_[0] }) },
    large   => sub {
        my ($order) = @_;
        my $text = '0123456789abcdef' x ($order->{size} / 16);
        ask($order, { do => 'echo', value => $text }, sub { $_[0] eq $text ? $true : JSON::PP::false });
    },
    send      => sub { $handle->client->send_message(@{ $_[0] }{qw(to content)}); $true },
    broadcast => sub { $handle->client->broadcast($_[0]{content}); $true },
    peers     => sub { [ sort $handle->client->peers ] },
    watch     => sub {
        %known = map { $_ => 1 } $handle->client->peers;
        $watched{on} = 1;
        return $true;
    },
    leave => sub {
        $handle->client->disconnect(sub { });
        $watched{left} = 1;
        return $true;
    },
);

sub obey {
    my ($order) = @_;
    my $code = $op{ $order->{op} } or return tell_line({ tag => $order->{tag}, error => 'unsupported', text => $order->{op} });
    my $value = eval { $code->($order) };
    if    (length $@)      { tell_line(error_of($order, $@)) }
    elsif (defined $value) { tell_line({ tag => $order->{tag}, ok => $value }) }
}

STDOUT->autoflush(1);
my $unread = '';
until ($watched{left}) {
    my @sources = $handle && $handle->client->have_handles_for_select ? $handle->client->handles_for_select : ();
    my @ready = IO::Select->new(\*STDIN, grep { defined } @sources)->can_read($handle ? 0.05 : undef);
    if (grep { $_ == \*STDIN } @ready) {
        sysread STDIN, $unread, 65536, length $unread or last;
        while (!$watched{left} && $unread =~ s/\A(.*)\n//) { obey(IPC::Manager::Serializer::JSON->deserialize($1)) }
        last if $watched{left};
    }
    next if !$handle;
    $handle->poll(0);
    look_at_open();
    for my $message (map { $_ // () } $handle->messages) {
        tell_line({ message => { from => $message->from, content => $message->content, broadcast => $message->broadcast ? $true : JSON::PP::false } });
    }
    next if !$watched{on};
    my %now = map { $_ => 1 } $handle->client->peers;
    for my $peer (sort keys %{ { %now, %known } }) {
        tell_line({ event => $now{$peer} ? 'join' : 'leave', peer => $peer }) if !$now{$peer} != !$known{$peer};
    }
    %known = %now;
}
