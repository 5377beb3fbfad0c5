#!/usr/bin/env perl
# The client of the conformance suite, with the Perl kit: perl_client.pl INFO.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../../sdk/perl/lib";
use Ipcm;
use Ipcm::JSON qw(decode_json encode_json);

my ($info) = @ARGV;
my ($bus, $leaves);
my %KIND = (Remote => 'RemoteError', Usage => 'UsageError', Bus => 'BusError');

sub tell_line { print encode_json($_[0]), "\n" }

sub error_of {
    my ($order, $error) = @_;
    die $error if !ref $error;
    my ($kind) = ref($error) =~ /(\w+)\z/;
    return { tag => $order->{tag}, error => $KIND{$kind} // $kind, text => $error->message };
}

# Replies once the answer is there; further lines are obeyed meanwhile.
sub reply_later {
    my ($order, $pending, $value_of) = @_;
    $pending->when_done(sub {
        tell_line(defined $pending->error ? error_of($order, $pending->error) : { tag => $order->{tag}, ok => $value_of->($pending->get) });
    });
    return;
}

my %op = (
    connect => sub {
        my ($order) = @_;
        $bus = Ipcm->connect(bus => $info, defined $order->{name} ? (as => $order->{name}) : ());
        $bus->on(message => sub {
            my ($message) = @_;
            my $broadcast = $message->is_broadcast ? Ipcm->true : Ipcm->false;
            tell_line({ message => { from => $message->from, content => $message->content, broadcast => $broadcast } });
        });
        return $bus->name;
    },
    request => sub {
        my ($order) = @_;
        my @limit = defined $order->{timeout} ? (timeout => $order->{timeout}) : ();
        reply_later($order, $bus->ask(@$order{qw(to content)}, @limit), sub { $_[0] });
        return;
    },
    large => sub {
        my ($order) = @_;
        my $text = '0123456789abcdef' x ($order->{size} / 16);
        reply_later($order, $bus->ask($order->{to}, { do => 'echo', value => $text }), sub { $_[0] eq $text ? Ipcm->true : Ipcm->false });
        return;
    },
    send      => sub { $bus->send(@{ $_[0] }{qw(to content)}); Ipcm->true },
    broadcast => sub { $bus->broadcast($_[0]{content})->{sent} },
    peers     => sub { [ $bus->peers ] },
    watch     => sub {
        for my $kind (qw(join leave)) {
            $bus->on($kind => sub { tell_line({ event => $kind, peer => $_[0] }) });
        }
        return Ipcm->true;
    },
    leave => sub {
        $bus->close;
        $leaves = 1;
        return Ipcm->true;
    },
);

sub obey {
    my ($order) = @_;
    my $code = $op{ $order->{op} } or return tell_line({ tag => $order->{tag}, error => 'unsupported', text => $order->{op} });
    my $value = eval { $code->($order) };
    if    (ref $@ || length $@) { tell_line(error_of($order, $@)) }
    elsif (defined $value)      { tell_line({ tag => $order->{tag}, ok => $value }) }
    return;
}

STDOUT->autoflush(1);
STDIN->blocking(0);
my $unread = '';
obey(decode_json(scalar readline_waiting()));

# The first line is `connect`: there is no loop before it.
sub readline_waiting {
    STDIN->blocking(1);
    until ($unread =~ /\n/) { sysread(STDIN, $unread, 65536, length $unread) or exit 0 }
    STDIN->blocking(0);
    return substr $unread, 0, index($unread, "\n") + 1, '';
}

sub obey_lines {
    while (!$leaves && (my $end = index $unread, "\n") >= 0) { obey(decode_json(substr $unread, 0, $end + 1, '')) }
    $bus->stop if $leaves;
    return;
}

exit 0 if !$bus;
obey_lines();
$bus->watch(\*STDIN, sub {
    my $got = sysread STDIN, $unread, 65536, length $unread;
    return $bus->stop if defined $got && $got == 0;
    obey_lines();
});
$bus->run if !$leaves;
