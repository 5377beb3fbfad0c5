#!/usr/bin/env perl
# The service of the conformance suite: a class of IPC::Manager itself, under the boot contract.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../../sdk/perl/lib";
use Ipcm::ManagerBoot;

package Conformance {
    use Object::HashBase qw(<name <orig_io <ipcm_info <redirect intercept_errors expose_error_details watch_pids pid fail gate big);
    use Role::Tiny::With;
    use IPC::Manager::Serializer::JSON;

    my (%held, @messages, %seen, @waiting);
    my $true  = IPC::Manager::Serializer::JSON->deserialize('true');
    my $false = IPC::Manager::Serializer::JSON->deserialize('false');

    sub run_on_start {
        my ($self) = @_;
        die "$self->{fail}\n" if $self->{fail};
        if ($self->{gate}) {
            open my $gate, '<', $self->{gate} or die "$self->{gate}: $!\n";
            1 while defined readline $gate;
        }
    }

    sub run_on_general_message {
        my ($self, $message) = @_;
        return if $message->is_terminate;
        push @messages, { from => $message->from, content => $message->content, broadcast => $message->broadcast ? $true : $false };
        $self->note;
    }

    sub run_on_peer_delta {
        my ($self, $delta) = @_;
        $seen{$_} = $delta->{$_} > 0 ? 'join' : 'leave' for keys %$delta;
        $self->note;
    }

    # Answers a request once its condition holds.
    sub when {
        my ($self, $answer, $is_so, $value) = @_;
        push @waiting, [ $answer, $is_so, $value ];
        $self->note;
        return;
    }

    sub note {
        my ($self) = @_;
        my @rest;
        for my $one (splice @waiting) {
            my ($answer, $is_so, $value) = @$one;
            if   ($is_so->()) { $answer->($value->()) }
            else              { push @rest, $one }
        }
        push @waiting, @rest;
    }

    my %do = (
        echo => sub { $_[1]{value} },
        fail => sub { die "$_[1]{text}\n" },
        print => sub {
            STDOUT->autoflush(1);
            print "$_[1]{text}\n";
            print STDERR "$_[1]{text}\n";
            return $true;
        },
        pid       => sub { $$ },
        args      => sub { length($_[0]{big} // '') },
        die       => sub { kill KILL => $$ },
        send      => sub { $_[0]->client->send_message(@{ $_[1] }{qw(to content)}); $true },
        broadcast => sub { $_[0]->client->broadcast($_[1]{content}); $true },
        ask       => sub {
            my ($self, $order, $answer) = @_;
            $self->send_request(@$order{qw(to content)}, sub { $answer->(@{ $_[0] }{qw(response ipcm_error)}) });
            return;
        },
        hold    => sub { push @{ $held{ $_[1]{key} } }, $_[2]; return },
        release => sub {
            my ($self, $order) = @_;
            # A requester that has left is no error.
            eval { $_->($order->{value}) } for @{ delete $held{ $order->{key} } // [] };
            return $true;
        },
        messages => sub {
            my ($self, $order, $answer) = @_;
            return $self->when($answer, sub { @messages >= $order->{count} }, sub { \@messages });
        },
        saw      => sub {
            my ($self, $order, $answer) = @_;
            return $self->when($answer, sub { ($seen{ $order->{peer} } // '') eq $order->{kind} }, sub { $true });
        },
    );

    sub handle_request {
        my ($self, $request, $message) = @_;
        my $order = $request->{request};
        my $code = $do{ $order->{do} } or die "unknown order $order->{do}\n";
        my ($peer, $id) = ($message->from, $request->{ipcm_request_id});
        return $code->($self, $order, sub { $self->send_response($peer, $id, @_) });
    }

    with 'IPC::Manager::Role::Service';
}

Ipcm::ManagerBoot->run(conformance => 'Conformance');
