package Ipcm::Boot;

# The boot contract from the side of a native service (docs/boot.md): what the process inherits, its owners, and how it says "ready".

use strict;
use warnings;

use Errno            ();
use Fcntl            qw(F_SETFD FD_CLOEXEC);
use IO::Handle       ();
use POSIX            ();
use Socket           qw(AF_UNIX SOCK_DGRAM pack_sockaddr_un);
use Ipcm::Error      ();
use Ipcm::Info       ();
use Ipcm::JSON       ();
use Ipcm::Kernel     ();
use Ipcm::Parameters ();
use Ipcm::Streams    ();
use Ipcm::Wire       ();

our $VERSION = '0.1.0';

use constant LARGEST => 256 * 1024 * 1024;

# take(@arguments): a service of the launcher, or nothing if `ipcm bridge` speaks with that bus; it then finds all descriptors as they were.
# Throws a usage error for bad parameters, after it has told the launcher.
sub take {
    my ($class, @arguments) = @_;
    return if !Ipcm::Kernel::is_known();
    my $line = Ipcm::Parameters::command_line(@arguments) or return;
    my $text = $line->{params} // _read_parameters($line->{params_fd}) // return;
    my $whole = eval { Ipcm::JSON::decode_json($text) };
    my $info = ref $whole eq 'HASH' && Ipcm::Info::native($whole->{ipcm_info}) or return;
    my $self = bless { info => $info, owners => [] }, $class;
    $self->{ready} = _own($line->{ready_fd}) if defined $line->{ready_fd};
    my $leash = ($ENV{IPCM_LEASH_FD} // '') =~ /\A([0-9]{1,6})\z/ ? _own($1) : undef;
    my $notify = delete $ENV{NOTIFY_SOCKET};
    my ($period, $pid) = delete @ENV{qw(WATCHDOG_USEC WATCHDOG_PID)};
    if (!$self->{ready} && length($notify // '')) {
        $self->{notify} = $notify;
        $self->{watchdog} = $period / 2e6 if ($period // '') =~ /\A[1-9][0-9]*\z/ && ($pid // $$) eq $$;
    }
    if (!eval { $self->{parameters} = Ipcm::Parameters::checked($whole); Ipcm::Parameters::redirect($whole->{redirect}); 1 }) {
        my $error = $@;
        $self->failed($error->message);
        die $error;
    }
    $self->_watch_owners($leash);
    return $self;
}

# by_hand($info, $name): a service that nobody has launched.
sub by_hand {
    my ($class, $info, $name) = @_;
    return bless { info => $info, owners => [], parameters => { name => $name, class => $name } }, $class;
}

# The text from a descriptor, to its end. A pool may fill the pipe much later: so the end of the launcher ends the waiting, too. Afterwards the
# descriptor has the same text once more, for the bridge.
sub _read_parameters {
    my ($fd) = @_;
    open my $source, '<&', $fd or return;
    my @watched = $source;
    if (($ENV{IPCM_LEASH_FD} // '') =~ /\A([0-9]{1,6})\z/ && open my $leash, '<&', $1) { push @watched, $leash }
    my $text = '';
    while (length $text <= LARGEST) {
        my @ready = Ipcm::Streams::await(undef, undef, @watched);
        exit 64 if !grep { $_ == $source } @ready;    # the launcher ended before it sent them
        sysread $source, $text, 1 << 20, length $text or last;
    }
    my $copy = Ipcm::Kernel::memory() or return;
    syswrite $copy, $text;
    sysseek $copy, 0, 0;
    POSIX::dup2(fileno $copy, $fd);
    return $text;
}

# A copy of an inherited descriptor that programs which this one starts do not get.
sub _own {
    my ($fd) = @_;
    my $own;
    open $own, '>&', $fd or open $own, '<&', $fd or return;
    if ($fd <= 2) {
        open my $null, '+<', '/dev/null' or return;
        POSIX::dup2(fileno $null, $fd);
    }
    return $own;
}

sub _watch_owners {
    my ($self, $leash) = @_;
    my $leashed = 0;
    if ($leash) {
        push @{ $self->{owners} }, $leash;
        open my $facts, '<', '/proc/self/fdinfo/' . fileno $leash or return;
        ($leashed) = map { /\APid:\s*([0-9]+)/ ? $1 : () } <$facts>;
        return if !$leashed;    # a launcher in another pid namespace: its numbers mean nothing here
    }
    for my $pid (grep { $_ != $leashed } @{ $self->{parameters}{watch_pids} // [] }) {
        my $process = Ipcm::Kernel::process($pid);
        if (!$process) {    # it has ended: so does this
            pipe $process, my $closed;
        }
        push @{ $self->{owners} }, $process;
    }
    return;
}

sub info         { $_[0]{info} }
sub name         { $_[0]{parameters}{name} }
sub class        { $_[0]{parameters}{class} }
sub args         { $_[0]{parameters}{args} }
sub parameters   { $_[0]{parameters} }         # all that were given
sub watchdog     { $_[0]{watchdog} }           # seconds between calls of alive()
sub owners       { @{ $_[0]{owners} } }        # readable when such a process has ended
sub hides_errors { my $expose = $_[0]{parameters}{expose_error_details}; return defined $expose && !$expose }

# ready($name): false if the launcher has ended: then nobody knows of this service.
sub ready {
    my ($self, $name) = @_;
    return 0 if !$self->_write('{"ready":true,"name":' . Ipcm::Wire::json_ascii($name) . qq(,"pid":$$}\n));
    $self->_tell("READY=1\nSTATUS=serving\n");
    return 1;
}

sub failed {
    my ($self, $error, $has_joined) = @_;
    $self->_write('{"ready":false,"error":' . Ipcm::Wire::json_ascii("$error") . ($has_joined ? ',"phase":"start"}' : '}'));
    $self->_tell('STATUS=' . $error =~ s/\n/ /gr . "\nSTOPPING=1\n");
    return;
}

sub stopping { $_[0]->_tell("STOPPING=1\n") }
sub alive    { $_[0]->_tell("WATCHDOG=1\n") }

sub _write {
    my ($self, $text) = @_;
    my $pipe = delete $self->{ready} or return 1;
    local $SIG{PIPE} = 'IGNORE';
    my $sent = syswrite $pipe, $text;
    return defined $sent && $sent == length $text;
}

sub _tell {
    my ($self, $state) = @_;
    my $address = $self->{notify} // return;
    utf8::encode($state);
    socket my $one, AF_UNIX, SOCK_DGRAM, 0 or return;
    send $one, $state, 0, pack_sockaddr_un($address =~ s/\A\@/\0/r);
    return;
}

1;
