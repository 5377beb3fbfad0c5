#!/usr/bin/perl
# The reference itself, where PERL5LIB has IPC::Manager. It speaks as foreign.py does, on its standard input and output.
#   ipc_manager.pl INFO NAME        a peer on a bus that is there
#   ipc_manager.pl --owner PROTOCOL a bus of its own and its Echo service 'perl' on it: {"info": INFO, "joined": PID}. When stdin ends it takes the bus down,
#                                   and tells {"seconds": N, "error": what its sanity check or the shutdown said, or null}
use strict;
use warnings;
use IO::Select;
use IPC::Manager qw(ipcm_connect ipcm_service ipcm_spawn);
use JSON::PP;
use Time::HiRes qw(time);

my $json = JSON::PP->new->ascii->allow_nonref->allow_blessed->convert_blessed;
$| = 1;

if ($ARGV[0] eq '--owner') {
    my $spawn = ipcm_spawn(protocol => $ARGV[1], serializer => 'JSON', do_sanity_check => 1);
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
my $client = ipcm_connect($name, $info);
print $json->encode({joined => $$}), "\n";
my $orders = '';
while (1) {
    # The reference turns five times a second, whatever its handles say.
    my @sources = $client->have_handles_for_select ? $client->handles_for_select : ();
    my @ready = IO::Select->new(\*STDIN, grep { defined } @sources)->can_read(0.2);
    print $json->encode({%$_}), "\n" for $client->get_messages;
    next unless grep { $_ == \*STDIN } @ready;
    sysread(STDIN, $orders, 1 << 20, length $orders) or last;
    while ($orders =~ s/^(.*)\n//) {
        my $order = $json->decode($1);
        if (defined $order->{to}) { $client->send_message($order->{to}, $order->{content}) }
        else                      { $client->broadcast($order->{content}) }
    }
}
$client->disconnect(sub { });
