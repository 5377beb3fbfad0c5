# Peers that die and come back, and a bus that is removed.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More import => ['!subtest'];
use TestBus;
use Ipcm;

need_ipcm();
my $boot = "$FindBin::Bin/service.pl";

sub until_so {
    my ($bus, $is_so) = @_;
    $bus->_turn until $is_so->();
    return;
}

# Kills a service, and returns when the bus has seen it leave.
sub kill_service {
    my ($bus, $service, $name) = @_;
    my $left;
    $bus->on(leave => sub { $left = 1 if $_[0] eq $name });
    kill KILL => $bus->request($name => { do => 'pid' });
    until_so($bus, sub { $left });
    $service->keep;
    return;
}

for my $protocol (qw(ConnectionUnix MessageFiles)) {
    new_bus($protocol);

    subtest "$protocol: a client finds a service again that was killed and restarted" => sub {
        my $bus   = Ipcm->connect(as => 'me');
        my $first = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
        my $pid   = $bus->request(s => { do => 'pid' });
        my $held  = $bus->ask(s => { do => 'hold' });
        kill_service($bus, $first, 's');
        isa_ok error_of(sub { $held->get }), 'Ipcm::Error::PeerGone', 'the open request fails';
        isa_ok error_of(sub { $bus->request(s => 1) }), 'Ipcm::Error::PeerGone';
        my $second = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
        isnt $bus->request(s => { do => 'pid' }), $pid;
        $second->stop;
        $bus->close;
    };

    subtest "$protocol: a service goes on when the service that it asks is killed and restarted" => sub {
        my $bus   = Ipcm->connect(as => 'me');
        my $asker = Ipcm->start('any', name => 'asker', boot => $boot, timeout => 60);
        my $first = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
        my $ask   = { do => 'ask', to => 's', content => 'x' };
        my $got   = { from => 'asker', content => 'x' };
        is_deeply $bus->request(asker => $ask), $got;
        kill_service($bus, $first, 's');
        isa_ok error_of(sub { $bus->request(asker => $ask) }), 'Ipcm::Error::Remote', 'the handler gets the error, and its requester, too';
        my $second = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
        is_deeply $bus->request(asker => $ask), $got;
        $_->stop for $second, $asker;
        $bus->close;
    };

    subtest "$protocol: a service answers a client that was closed and is back under its name" => sub {
        my $service = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
        for my $number (1 .. 3) {
            my $bus = Ipcm->connect(as => 'me');
            is_deeply $bus->request(s => $number), { from => 'me', content => $number };
            $bus->close;
        }
        $service->stop;
    };
    remove_bus();

    subtest "$protocol: the removal of the bus ends a client with an error, and it joins the next bus" => sub {
        new_bus($protocol);
        my $bus     = Ipcm->connect(as => 'me');
        my $waiting = fork // die $!;
        if (!$waiting) { exec $ENV{IPCM}, 'bus', 'rm', $ENV{IPCM_INFO} or die }
        isa_ok error_of(sub { $bus->receive }), 'Ipcm::Error::Bus';
        isa_ok error_of(sub { $bus->request(s => 1) }), 'Ipcm::Error::Bus';
        waitpid $waiting, 0;
        is $?, 0;
        forget_bus();
        new_bus($protocol);
        my $next = Ipcm->connect(as => 'me');
        is_deeply [ $next->peers ], [];
        $next->close;
        remove_bus();
    };

    subtest "$protocol: the removal of the bus ends a service with status 0" => sub {
        new_bus($protocol);
        my $watcher = Ipcm->connect(as => 'watcher');
        my $joined;
        $watcher->on(join => sub { $joined = 1 if $_[0] eq 'service' });
        my $pid = fork // die $!;
        if (!$pid) { open STDOUT, '>', '/dev/null'; exec $^X, $boot or die }
        until_so($watcher, sub { $joined }) if !grep { $_ eq 'service' } $watcher->peers;
        is_deeply $watcher->request(service => 1), { from => 'watcher', content => 1 };
        $watcher->close;
        remove_bus();
        waitpid $pid, 0;
        is $?, 0;
    };
}

done_testing;
