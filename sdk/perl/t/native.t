# ConnectionUnix in this process: the place on the bus, and peers that keep no rules.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Digest::SHA ();
use Fcntl ();
use IO::Socket::UNIX;
use POSIX ();
use Test::More import => ['!subtest'];
use TestBus;
use Ipcm;
use Ipcm::JSON qw(decode_json);

need_ipcm();
my $boot  = "$FindBin::Bin/service.pl";
my $route = decode_json(new_bus('ConnectionUnix'))->[2];

sub files {
    opendir my $listing, $route or die "$route: $!";
    return [ sort grep { !/\A\.{1,2}\z|\A\.(?:info|owner)/ } readdir $listing ];
}

sub caller_of { my ($name) = @_; return IO::Socket::UNIX->new(Peer => "$route/$name") // die "$name: $!" }
sub framed    { return pack('N', length $_[0]) . $_[0] }

# Whether the other end closes the connection.
sub is_closed_by_peer {
    my ($stream) = @_;
    my $got = sysread $stream, my $octets, 1;
    return !$got;
}

# Runs code in a child, and kills it once it has printed a line.
sub killed {
    my ($code) = @_;
    pipe my $reads, my $writes or die $!;
    my $pid = fork // die $!;
    if (!$pid) {
        $code->();
        syswrite $writes, "\n";
        sleep 600;
        POSIX::_exit(1);
    }
    close $writes;
    readline $reads;
    kill KILL => $pid;
    waitpid $pid, 0;
    return $pid;
}

# Starts the service as a launcher does. Returns its pid, and what it wrote when it was ready.
sub launched {
    my ($params, $through) = @_;
    utf8::encode($params);
    pipe my $reads, my $ready or die $!;
    pipe my $given, my $gives or die $!;
    my $pid = fork // die $!;
    if (!$pid) {
        open STDERR, '>', '/dev/null';
        open STDOUT, '>', '/dev/null';
        fcntl $_, Fcntl::F_SETFD(), 0 for $ready, $given;
        exec $^X, $boot, '--ready-fd', fileno $ready, $through ? ('--params-fd', fileno $given) : $params or POSIX::_exit(99);
    }
    close $_ for $ready, $given;
    syswrite $gives, $params if $through;
    close $gives;
    return ($pid, do { local $/; readline $reads } // '');
}

subtest 'a member with a name has a lock file and leaves nothing; one without leaves no trace' => sub {
    my $bus = Ipcm->connect(as => 'me');
    is_deeply files(), [ '.me.lock', 'me', 'me.pid' ], 'the files of a member';
    like ipcm('ps', '--json'), qr/"name":"me".*"pid":$$\b/, 'ipcm ps knows it';
    my $other = Ipcm->connect;
    is_deeply [ $other->peers ], ['me'], 'it is listed';
    is_deeply [ $bus->peers ], [], 'the other is not';
    like error_of(sub { Ipcm->connect(as => 'me') })->message, qr/'me' is in use.*process $$/, 'the name is taken in its own process, too';
    like ipcm('ps', '--json'), qr/"name":"me"/, 'and keeps its lock';
    like error_of(sub { $other->request(ne => 1) })->message, qr/no peer 'ne'.*did you mean 'me'/, 'the nearest name';
    $_->close for $other, $bus;
    is_deeply files(), [], 'nothing is left';
};

subtest 'a name that is no file name, and content that is not ASCII' => sub {
    my $bus = Ipcm->connect(as => 'a/b ü');
    my $other = Ipcm->connect;
    is_deeply [ $other->peers ], ['a/b ü'], 'the real name is listed';
    $other->send('a/b ü' => [ "\x{1f600}\x{7f}ä", 1.5, undef, Ipcm->true ]);
    is_deeply $bus->receive(timeout => 30)->content, [ "\x{1f600}\x{7f}ä", 1.5, undef, Ipcm->true ], 'the content arrives';
    isa_ok error_of(sub { $other->send('a/b ü' => "\x{d800}") }), 'Ipcm::Error::Usage', 'the error for half of a pair';
    my $deep = 1;
    $deep = [$deep] for 1 .. 499;
    isa_ok error_of(sub { $other->send('a/b ü' => $deep) }), 'Ipcm::Error::Usage', 'the error for too many levels';
    isa_ok error_of(sub { $other->send('a/b ü' => 'x' x (64 * 1024 * 1024)) }), 'Ipcm::Error::Usage', 'the error for too many bytes';
    $_->close for $bus, $other;
    is_deeply files(), ["h-" . substr(Digest::SHA::sha256_hex("a/b \xc3\xbc"), 0, 40) . '.name', "h-" . substr(Digest::SHA::sha256_hex("a/b \xc3\xbc"), 0, 40) . '.stats'],
        'its counts stay, under its name';
    unlink map { "$route/$_" } @{ files() };
};

subtest 'the files of a killed peer: a successor takes the name, and a listing removes them' => sub {
    for my $how ('takes', 'lists') {
        killed(sub { our $bus = Ipcm->connect(as => 'dead') });
        ok -S "$route/dead", "a stale socket ($how)";
        isa_ok error_of(sub { Ipcm->connect->send(dead => 1) }), 'Ipcm::Error::PeerGone', 'the error of a sender';
        if ($how eq 'takes') {
            my $next = Ipcm->connect(as => 'dead');
            is $next->name, 'dead', 'the name is free';
            $next->close;
        }
        else { is_deeply [ Ipcm->connect->peers ], [], 'nobody is listed' }
        is_deeply [ grep { !/stats/ } @{ files() } ], [], 'nothing is left';
    }
};

subtest 'a service survives callers that keep no rules, and its log says what they did' => sub {
    my $service = Ipcm->start('any', name => 's', boot => $boot, timeout => 60);
    my $hello = framed('{"hello":"bad"}');
    my %wrong = (
        'no greeting'                 => framed('{"content":1}'),
        'garbage'                     => framed("\xff\xfe garbage"),
        'no JSON'                     => $hello . framed('{"from":'),
        'no object'                   => $hello . framed('[1]'),
        'two GiB'                     => $hello . "\x80\0\0\0",
        'four GiB before a greeting'  => "\xff\xff\xff\xff",
        'garbage without a frame'     => "GET / HTTP/1.1\r\n\r\n",
    );
    for my $case (sort keys %wrong) {
        my $stream = caller_of('s');
        syswrite $stream, $wrong{$case};
        ok is_closed_by_peer($stream), "$case: the service closes the connection";
        is_deeply $service->request('x', timeout => 30)->{content}, 'x', "$case: and lives on";
    }
    my $half = caller_of('s');
    syswrite $half, $hello . pack('N', 1000) . '{"half":';
    is $service->request('x', timeout => 30)->{content}, 'x', 'half a frame holds up nobody';
    close $half;
    is $service->request('x', timeout => 30)->{content}, 'x', 'nor does its end';
    my $odd = caller_of('s');
    syswrite $odd, $hello . join '', map { framed($_) } '{}', '{"from":"bad"}', '{"from":"bad","content":null}', '{"from":[1],"content":1}',
        '{"from":"bad","content":1,"stamp":"x"}', '{"from":"bad","content":{"ipcm_response_id":"none","response":1}}',
        '{"id":"1","from":"bad","content":{"ipcm_request_id":"Q","request":"still here"}}';
    my ($head, $text);
    read $odd, $head, 4;
    read $odd, $text, unpack 'N', $head;
    is decode_json($text)->{content}{response}{content}, 'still here', 'incomplete messages are dropped alone';
    $service->stop;
    my $log = ipcm('logs', 's');
    like $log, qr/'bad' was cut off: it announced a message of 2147483648 bytes, beyond the limit/, 'the log has the length';
    like $log, qr/a caller was cut off: it did not greet/, 'and the missing greeting';
    like $log, qr/'bad' was dropped: it has no sender/, 'and the incomplete message';
};

subtest 'a requester that leaves, and a peer that closes in the middle of an answer' => sub {
    my $bus = Ipcm->connect(as => 'me');
    unlink "$route/fake", "$route/fake.pid";
    my $listener = IO::Socket::UNIX->new(Local => "$route/fake", Listen => 5) // die $!;
    my $asked = $bus->ask(fake => 1);
    my $stream = $listener->accept;
    syswrite $stream, pack('N', 100) . '{"id"';
    close $stream;
    my $error = error_of(sub { $asked->get });
    isa_ok $error, 'Ipcm::Error::PeerGone', 'the error of the request';
    like $error->message, qr/'fake' closed the connection before it answered/, 'its text';
    $asked = $bus->ask(fake => 1);
    $stream = $listener->accept;
    syswrite $stream, "\x80\0\0\0";
    isa_ok error_of(sub { $asked->get }), 'Ipcm::Error::PeerGone', 'the error after a length of two GiB';
    close $listener;
    unlink "$route/fake";
    $bus->close;
};

subtest 'the boot contract, from a launcher in Perl' => sub {
    my $info = $ENV{IPCM_INFO};
    for my $through (0, 1) {
        my ($pid, $line) = launched(qq({"ipcm":1,"name":"b","class":"any","ipcm_info":$info,"args":{"n":"ä"}}), $through);
        is $line, qq({"ready":true,"name":"b","pid":$pid}\n), 'the ready line' . ($through ? ', with parameters from a pipe' : '');
        my $bus = Ipcm->connect;
        is_deeply $bus->request(b => { do => 'args' }, timeout => 30), [ 'any', { n => 'ä' } ], 'its class and arguments';
        kill TERM => $pid;
        waitpid $pid, 0;
        is $?, 0, 'SIGTERM ends it';
    }
    my ($pid, $line) = launched(qq({"ipcm":1,"name":"b","class":"any","ipcm_info":$info,"intervall":1}));
    waitpid $pid, 0;
    is $? >> 8, 64, 'an unknown key is refused';
    like $line, qr/\A\{"ready":false,"error":"parameters: unknown key 'intervall'; did you mean 'interval'\?"\}\z/, 'with its name';
    my $holder = Ipcm->connect(as => 'b');
    ($pid, $line) = launched(qq({"ipcm":1,"name":"b","class":"any","ipcm_info":$info}));
    waitpid $pid, 0;
    is $? >> 8, 69, 'a name that is taken';
    like $line, qr/\A\{"ready":false,"error":"the name 'b' is in use/, 'the launcher gets the reason';
    $holder->close;
    my $owner = fork // die $!;
    if (!$owner) { sleep 600; POSIX::_exit(0) }
    ($pid, $line) = launched(qq({"ipcm":1,"name":"b","class":"any","ipcm_info":$info,"watch_pids":[$owner]}));
    like $line, qr/"ready":true/, 'ready with an owner';
    kill KILL => $owner;
    waitpid $_, 0 for $owner, $pid;
    is $?, 0, 'it ends with its owner';
};

subtest 'a service tells its facts, also while a handler waits, and its functions see nothing of that' => sub {
    my $service = Ipcm->start('any', name => 'f', boot => $boot, timeout => 60, args => { word => 'ä' });
    my $bus = Ipcm->connect(as => 'me');
    open my $lock, '<', "$route/.f.lock" or die $!;
    like readline $lock, qr/,"inspect":1\}\z/, 'it announces that in its lock file';
    $bus->request(f => 1);
    error_of(sub { $bus->request(f => { do => 'fail' }) });
    my $held = $bus->ask(f => { do => 'hold' });
    $bus->send(f => 'news');
    is_deeply $bus->request(f => { do => 'last' })->[1], 'news', 'it has handled all of them';
    my $facts = decode_json(ipcm('inspect', 'f', '--json'));
    is_deeply [ @$facts{qw(name class pid)} ], [ 'f', 'any', $service->pid ], 'who it is';
    is_deeply $facts->{requests}, { answered => 2, failed => 1, open => 1 }, 'its requests';
    is_deeply $facts->{messages}, { received => 6, sent => 3, waiting => 0 }, 'its messages, with this question';
    is_deeply $facts->{parameters}, { args => { word => 'ä' } }, 'its parameters';
    like $facts->{last_failure}{text}, qr/\Athe request \S+ of 'me' failed: it failed: ä €\z/, 'its last failure';
    ok $facts->{started} <= $facts->{ready} && $facts->{ready} <= $facts->{last_failure}{time} && $facts->{last_failure}{time} <= time + 1, 'its times';
    is_deeply $bus->request(f => { do => 'last' })->[1], 'news', 'no function has seen the question';
    my $asks = Ipcm->start('any', name => 'w', boot => $boot, timeout => 60);
    my $wait = $asks->ask({ do => 'wait', to => 'f', content => { do => 'hold' } });
    $asks->ask($_) for 1, 2;
    $asks->send('later');
    $facts = decode_json(ipcm('inspect', 'w', '--json'));
    is_deeply [ $facts->{requests}{open}, $facts->{messages}{waiting} ], [ 1, 3 ], 'a handler waits, and the rest waits for it';
    ok error_of(sub { ipcm('inspect', 'me') }), 'a client is not asked';
    $_->stop for $asks, $service;
    isa_ok error_of(sub { $held->get }), 'Ipcm::Error::PeerGone', 'the error of an open request';
    ipcm('start', 'any', '--name', 'x', '--secret', '--boot', $boot, '--args', '{"word":"a"}');
    is decode_json(ipcm('inspect', 'x', '--json'))->{parameters}, undef, 'secret parameters';
    ipcm('stop', 'x');
    $service = Ipcm->start('any', name => 'f', boot => $boot, timeout => 60, args => 'x' x 70_000);
    is_deeply decode_json(ipcm('inspect', 'f', '--json'))->{parameters}, { args_bytes => 70_002 }, 'long arguments';
    $service->stop;
    $bus->close;
};

subtest 'a service that ends by itself with a status other than 0 leaves an obituary' => sub {
    my $params = qq({"ipcm":1,"name":"b","class":"any","ipcm_info":$ENV{IPCM_INFO}});
    my $bus = Ipcm->connect;
    my $end_with = sub {
        my ($status, $order) = @_;
        my ($pid) = launched($params);
        ok !-e "$route/.b.obituary", 'that of its predecessor is gone';
        my $asked = $bus->ask(b => $order);
        waitpid $pid, 0;
        is $? >> 8, $status, "status $status";
        error_of(sub { $asked->get });
        return $pid;
    };
    my $pid = $end_with->(3, { do => 'end' });
    like ipcm('ps', '-a'), qr/^b .*exited with status 3/m, 'in the list';
    open my $file, '<', "$route/.b.obituary" or die $!;
    is +(stat $file)[2] & 07777, 0600, 'the mode of the file';
    my $told = decode_json(readline $file);
    is_deeply [ @$told{qw(name class pid status)} ], [ 'b', 'any', $pid, 3 ], 'its text';
    ok $told->{started} <= $told->{ended} && $told->{ended} <= time + 1, 'its times';
    $end_with->(4, { do => 'exit', status => 4 });
    like ipcm('ps', '-a'), qr/^b .*exited with status 4/m, 'of exit() in a function';
    is_deeply [ grep { !/obituary|stats|log/ } @{ files() } ], [], 'and it has left the bus';
    $end_with->(0, { do => 'exit', status => 0 });
    ok !-e "$route/.b.obituary", 'no obituary of a status of 0';
    ipcm('start', 'any', '--name', 'c', '--boot', $boot);
    $bus->request(c => { do => 'end' });
    is ipcm('wait', 'c', '--for', 'gone'), "'c' exited with status 3\n", 'it is told that waits';
    isa_ok error_of(sub { Ipcm->start('any', name => 'f', boot => $boot, args => { fail => 'no licence' }, timeout => 60) }), 'Ipcm::Error::Launch', 'the error of a start';
    like ipcm('ps', '-a'), qr/^f .*exited with status 70/m, 'a failed start is listed';
};

remove_bus();
done_testing;
