#!/usr/bin/perl
# The reference itself, if PERL5LIB has IPC::Manager. Its standard input and output are those of foreign.py.
#   ipc_manager.pl INFO NAME        joins an existing bus; --resume INFO NAME: as a peer that has suspended itself
#   ipc_manager.pl --owner INFO     makes a bus and an Echo service 'perl' on it, and prints {"info": INFO, "joined": PID}. At the end of stdin it shuts the
#                                   bus down and prints {"seconds": N, "error": the error of the sanity check or the shutdown, or null}. Without a route in
#                                   INFO, the reference chooses one
#   ipc_manager.pl --create INFO    makes the store of a bus
#   ipc_manager.pl --drop INFO      drops every table of that database whose name begins with ipcm
#   ipc_manager.pl --read SERIALIZER  reads one value from stdin, and prints it as JSON
# The user of a server comes from PGUSER and so on, not from this program.
use strict;
use warnings;
use IO::Select;
use IPC::Manager qw(ipcm_connect ipcm_reconnect ipcm_service ipcm_spawn);
use JSON::PP;
use Time::HiRes qw(time);

my $json = JSON::PP->new->ascii->allow_nonref->allow_blessed->convert_blessed;
$| = 1;
my $what = $ARGV[0] =~ /^--/ ? shift @ARGV : '';

sub spawn {
    my ($protocol, $serializer, $route) = @{$json->decode($_[0])};
    return ipcm_spawn(protocol => $protocol, serializer => $serializer, $route ? (route => $route) : (), @_[1 .. $#_]);
}

if ($what eq '--read') {
    my $class = "IPC::Manager::Serializer::$ARGV[0]";
    eval "require $class" or die $@;
    local $/;
    print $json->encode($class->deserialize(scalar <STDIN>));
    exit 0;
}
if ($what eq '--create') {
    spawn($ARGV[0], guard => 0);
    exit 0;
}
if ($what eq '--drop') {
    require DBI;
    my $db = DBI->connect($json->decode($ARGV[0])->[2], '', '', {RaiseError => 1, PrintWarn => 0});
    # Sorted by name, because ipcm_messages refers to ipcm_peers and must be dropped first.
    $db->do("DROP TABLE $_") for sort map { /(ipcm\w*)\W*$/ ? $1 : () } $db->tables(undef, undef, 'ipcm%', 'TABLE');
    exit 0;
}
if ($what eq '--owner') {
    my $spawn = spawn($ARGV[0], do_sanity_check => 1);
    ipcm_service('perl', class => 'IPC::Manager::Service::Echo', ipcm_info => $spawn->info, watch_pids => [$$]);
    my $owner = ipcm_connect('owner', $spawn->info);
    $owner->peer_active('perl', 20) or die "its own service does not start";
    $owner->disconnect;
    print $json->encode({info => $spawn->info, joined => $$}), "\n";
    1 while sysread(STDIN, my $ignored, 4096);
    my $began = time;
    my $ok = eval { $spawn->shutdown; 1 };
    print $json->encode({seconds => time - $began, error => $ok ? undef : "$@"}), "\n";
    exit 0;
}

my ($info, $name) = @ARGV;
my $client = $what eq '--resume' ? ipcm_reconnect($name, $info) : ipcm_connect($name, $info);
print $json->encode({joined => $$}), "\n";
# A peer that has returned reads its kept messages before it asks for its handles. On MessageFiles, the first read of the reference looks into the mailbox
# only if there is no watch yet (Client/MessageFiles.pm: init, message_files); with a watch it waits for the next message.
print $json->encode({%$_}), "\n" for $what eq '--resume' ? $client->get_messages : ();
my $orders = '';
while (1) {
    # The reference looks five times a second, even if no handle is ready.
    my @sources = $client->have_handles_for_select ? $client->handles_for_select : ();
    my @ready = IO::Select->new(\*STDIN, grep { defined } @sources)->can_read(0.2);
    print $json->encode({%$_}), "\n" for $client->get_messages;
    next unless grep { $_ == \*STDIN } @ready;
    sysread(STDIN, $orders, 1 << 20, length $orders) or last;
    while ($orders =~ s/^(.*)\n//) {
        my $order = $json->decode($1);
        if (exists $order->{suspend}) {
            $client->suspend(expires_in => $order->{suspend});
            exit 0;
        }
        if (defined $order->{to}) { $client->send_message($order->{to}, $order->{content}) }
        else                      { $client->broadcast($order->{content}) }
    }
}
$client->disconnect(sub { });
