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

# Runs the loop until the condition holds.
sub until_so {
    my ($bus, $is_so) = @_;
    $bus->_turn until $is_so->();
    return;
}

for my $protocol (qw(ConnectionUnix MessageFiles)) {
    new_bus($protocol);
    subtest "$protocol: a client asks a service, and a service asks another" => sub {
        my $service = Ipcm->start('any', name => 's', boot => $boot, args => { n => 1 }, timeout => 60);
        my $other   = Ipcm->start('any', name => 'o', boot => $boot, timeout => 60);
        my $bus     = Ipcm->connect(as => 'me');
        is $bus->name, 'me';
        is_deeply $bus->request(s => [ 1, 'ä' ]), { from => 'me', content => [ 1, 'ä' ] };
        is_deeply $bus->request(s => undef, timeout => 20), { from => 'me', content => undef };
        is_deeply $bus->request(s => { do => 'args' }), [ 'any', { n => 1 } ];
        is_deeply $bus->request(s => { do => $_, to => 'o', content => 'deep €' }), { from => 's', content => 'deep €' } for qw(ask wait);
        is_deeply [ grep { !/^ipcm-/ } $bus->peers ], [qw(o s)];
        is $service->request({ do => 'pid' }), $service->request({ do => 'pid' });
        $service->stop;
        $other->stop;
        $bus->close;
    };

    subtest "$protocol: messages and broadcasts arrive, and peers are seen to join and leave" => sub {
        my $one = Ipcm->connect(as => 'one');
        my @seen;
        $one->on(join => sub { push @seen, "+$_[0]" })->on(leave => sub { push @seen, "-$_[0]" });
        my $two = Ipcm->connect(as => 'two');
        until_so($one, sub { @seen });
        $one->send(two => { text => 'ö' });
        my $message = $two->receive;
        is_deeply [ $message->from, $message->content, $message->is_broadcast ], [ 'one', { text => 'ö' }, 0 ];
        my $got;
        $one->on(message => sub { $got = $_[0] });
        is_deeply $two->broadcast([2])->{sent}, ['one'];
        until_so($one, sub { $got });
        is_deeply [ $got->from, $got->content, $got->is_broadcast ], [ 'two', [2], 1 ];
        $two->close;
        until_so($one, sub { @seen == 2 });
        is_deeply \@seen, [qw(+two -two)];
        $one->close;
    };
    remove_bus();
}

new_bus('ConnectionUnix');

subtest 'each failure is an error of its own class, and has the place of the call' => sub {
    my $service = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
    my $bus     = Ipcm->connect(as => 'me');
    my $error   = error_of(sub { $bus->request(s => { do => 'fail' }) });
    isa_ok $error, 'Ipcm::Error::Remote';
    is $error->message, 'it failed: ä €';
    like "$error", qr/at \Q$0\E line /;
    is error_of(sub { $bus->request(s => { do => 'croak' }) })->message, 'at a place in the program', 'without the place in the service';
    like error_of(sub { $bus->request(s => { do => 'code' }) })->message, qr/found a CODE/, 'an answer that JSON can not carry';
    like error_of(sub { $bus->request(s => { do => 'drop' }) })->message, qr/dropped the request/;
    isa_ok error_of(sub { $bus->request(nobody => 1) }), 'Ipcm::Error::PeerGone';
    isa_ok error_of(sub { $bus->send(nobody => 1) }), 'Ipcm::Error::PeerGone';
    $error = error_of(sub { $bus->request(s => { do => 'hold' }, timeout => 0.05) });
    isa_ok $error, 'Ipcm::Error::Timeout';
    is $error->status, 4;
    isa_ok error_of(sub { $bus->request(s => sub { 1 }) }), 'Ipcm::Error::Usage';
    isa_ok error_of(sub { $bus->request(s => 1, timout => 1) }), 'Ipcm::Error::Usage';
    isa_ok error_of(sub { $bus->receive(timeout => 0.05) }), 'Ipcm::Error::Timeout';
    isa_ok error_of(sub { Ipcm->connect(as => 's') }), 'Ipcm::Error::NameTaken';
    isa_ok error_of(sub { Ipcm->connect(bus => [ 'ConnectionUnix', 'JSON', "$PLACE/nosuch" ]) }), 'Ipcm::Error::Bus';
    ok !error_of(sub { local $ENV{IPCM} = "$PLACE/none"; Ipcm->connect }), 'ConnectionUnix needs no command';
    isa_ok error_of(sub { local $ENV{IPCM} = "$PLACE/none"; Ipcm->connect(bus => [ 'MessageFiles', 'JSON', $PLACE ]) }), 'Ipcm::Error::Bus';
    $error = error_of(sub { Ipcm->start('any', name => 'f', boot => $boot, args => { fail => 'no licence' }, timeout => 60) });
    isa_ok $error, 'Ipcm::Error::Launch';
    like $error->message, qr/no licence/;
    is $bus->request(s => { do => 'twice' }), 1, 'the second answer is an error in the log';
    $service->stop;
    $bus->close;
    isa_ok error_of(sub { $bus->request(s => 1) }), 'Ipcm::Error::Bus';
};

subtest 'many requests are in flight, and answers come in any order' => sub {
    my $service = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
    my $held    = $service->ask({ do => 'hold' });
    my @pending = map { $service->ask($_) } 1 .. 500;
    is_deeply [ map { $_->get->{content} } @pending ], [ 1 .. 500 ];
    ok !$held->is_done;
    my $heard;
    $held->when_done(sub { $heard = $_[0]->get });
    $service->request({ do => 'release' });
    until_so($service->{bus}, sub { $heard });
    is $heard, 'released';
    is $service->request({ do => 'after', seconds => 0.01 }), 'later';
    my $large = 'ü€' x 50_000;
    ok $service->request($large)->{content} eq $large, 'a large text with wide characters';
    $service->stop;
};

subtest 'a service that is killed fails its requests' => sub {
    my $service = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
    my $held    = $service->ask({ do => 'hold' });
    kill KILL => $service->request({ do => 'pid' });
    isa_ok error_of(sub { $held->get }), 'Ipcm::Error::PeerGone';
    $service->keep;
};

subtest 'what a service prints is in its log alone' => sub {
    my $service = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
    is $service->request({ do => 'wide' }), 1;
    eval { $service->request({ do => 'fail' }) };
    $service->stop;
    my $log = ipcm('logs', 's');
    utf8::decode($log);
    like $log, qr/a stray line/;
    like $log, qr/in the log: ä €/;
    like $log, qr/it failed: ä €/;
    like $log, qr/it has stopped/;
};

subtest 'a service ends with its object, and with the status that it wants' => sub {
    my $bus = Ipcm->connect;
    { my $service = Ipcm->start('any', name => 's', boot => $boot, timeout => 60) }
    is_deeply [ grep { $_ eq 's' } $bus->peers ], [];
    my $pid = fork // die $!;
    if (!$pid) { open STDOUT, '>', '/dev/null'; exec $^X, $boot or die }
    my $joined;
    my $watcher = Ipcm->connect(as => 'watcher');
    $watcher->on(join => sub { $joined = 1 if $_[0] eq 'service' });
    until_so($watcher, sub { $joined }) if !grep { $_ eq 'service' } $watcher->peers;
    $watcher->request(service => { do => 'end' });
    waitpid $pid, 0;
    is $? >> 8, 3, 'started by hand, it has the name of its file';
};

subtest 'a signal that comes at any time ends a service' => sub {
    my $watcher = Ipcm->connect(as => 'watcher');
    for (1 .. 5) {
        my $pid = fork // die $!;
        if (!$pid) { open STDOUT, '>', '/dev/null'; exec $^X, $boot or die }
        my $joined;
        $watcher->on(join => sub { $joined = 1 if $_[0] eq 'service' });
        until_so($watcher, sub { $joined }) if !grep { $_ eq 'service' } $watcher->peers;
        $watcher->request(service => 1);
        kill TERM => $pid;
        waitpid $pid, 0;
        is $?, 0;
        my $left;
        $watcher->on(leave => sub { $left = 1 if $_[0] eq 'service' });
        until_so($watcher, sub { $left }) if grep { $_ eq 'service' } $watcher->peers;
    }
};

subtest 'a forked child does not disturb the connection' => sub {
    my $bus = Ipcm->connect(as => 'parent');
    my $pid = fork // die $!;
    if (!$pid) {
        my $refused = !eval { $bus->peers; 1 };
        undef $bus;
        require POSIX;
        POSIX::_exit($refused ? 0 : 1);
    }
    waitpid $pid, 0;
    is $?, 0, 'the child is refused';
    is_deeply [ grep { $_ eq 'parent' } Ipcm->connect->peers ], ['parent'], 'the parent is still there';
};
remove_bus();

new_bus('MessageFiles');
subtest 'a durable bus keeps messages while a client is away' => sub {
    my $one = Ipcm->connect(as => 'one');
    my $two = Ipcm->connect(as => 'two');
    $one->suspend;
    $two->send(one => 'kept');
    $one->reconnect;
    is $one->receive->content, 'kept';
};
remove_bus();

new_bus('ConnectionUnix', '--serializer', 'Cereal');
subtest 'bytes are a content of their own' => sub {
    my $echo = Ipcm->start('echo');
    my $got = $echo->request(Ipcm->bytes("\0\xff\n"));
    isa_ok $got, 'Ipcm::Bytes';
    is $got->octets, "\0\xff\n";
    $echo->stop;
};
remove_bus();

done_testing;
