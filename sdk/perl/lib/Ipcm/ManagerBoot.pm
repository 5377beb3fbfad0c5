package Ipcm::ManagerBoot;

# A boot binary (docs/boot.md) whose services are classes of IPC::Manager. IPC::Manager is loaded only here.

use 5.026;
use strict;
use warnings;

use Fcntl      qw(F_SETFD FD_CLOEXEC);
use IO::Handle ();
use JSON::PP   ();
use POSIX      ();

use Ipcm::JSON    qw(decode_json encode_json);
use Ipcm::Streams ();

our $VERSION = '0.1.0';

use constant { BAD_PARAMETERS => 64, UNAVAILABLE => 69, THREW => 70, SYSTEM_FAILED => 71, UNKNOWN_CLASS => 127 };

my $CONTRACT = 1;
my %KEYS = map { $_ => 1 } qw(ipcm name class ipcm_info args watch_pids interval spin intercept_errors expose_error_details redirect exec);

# run(WORD => CLASS, …): is the service that the command line asks for, and ends the process with its status. WORD is the class in `ipcm start WORD`.
sub run {
    my ($package, %classes) = @_;
    my $self = bless { classes => \%classes }, $package;
    my $text = $self->_read_command_line(@ARGV);
    my $parameters = $self->_checked(eval { decode_json($text) });
    $self->_take_streams;
    my $class = $classes{ $parameters->{class} }
        // $self->fail(UNKNOWN_CLASS, "unknown class '$parameters->{class}'; it has: " . join ', ', sort keys %classes);
    my $is_loaded = eval {
        require IPC::Manager;
        require IPC::Manager::Service::State;
        my $file = $class =~ s{::}{/}gr . '.pm';
        # A class may be a part of the program that calls run().
        $class->can('new') or require $file;
        require Ipcm::ManagerBoot::Service;
        1;
    };
    $self->fail(THREW, "class $class can't be loaded: $@") if !$is_loaded;
    Ipcm::ManagerBoot::Service->wrap($class, $self);
    # From here on, the way of IPC::Manager's own exec: it reads the parameters from the command line, and makes the service.
    @ARGV = encode_json($self->_for_manager($parameters));
    eval { IPC::Manager::Service::State->import; 1 } or $self->fail(THREW, "class $class can't be made: $@");
    exit IPC::Manager::Service::State::_post_exec_run();
}

sub leash { $_[0]{leash} }

# fail($status, $reason, $has_joined): the launcher gets the reason, and the process ends.
sub fail {
    my ($self, $status, $reason, $has_joined) = @_;
    $reason =~ s/\s+\z//;
    warn "ipcm: $reason\n";
    if (my $ready = delete $self->{ready}) {
        local $SIG{PIPE} = 'IGNORE';
        syswrite $ready, encode_json({ ready => JSON::PP::false, error => $reason, $has_joined ? (phase => 'start') : () });
        close $ready;
    }
    exit $status;
}

# tell_ready($name): returns whether the launcher is there to read it.
sub tell_ready {
    my ($self, $name) = @_;
    delete($self->{streams})->move;
    my $ready = delete $self->{ready} or return 1;
    local $SIG{PIPE} = 'IGNORE';
    my $line = encode_json({ ready => JSON::PP::true, name => $name, pid => $$ }) . "\n";
    return (syswrite($ready, $line) // 0) == length $line && close $ready;
}

# Whether the launcher has not been told yet.
sub is_starting { exists $_[0]{ready} }

sub _read_command_line {
    my ($self, @words) = @_;
    my (%numbers, $text);
    while (defined(my $word = shift @words)) {
        if    ($word =~ /\A--(ready|params)-fd(?:=(.*))?\z/s) { $numbers{$1} = $2 // shift @words }
        elsif ($word eq '--list') { $self->_list(@words) }
        elsif ($word =~ /\A-/ || defined $text) { $self->fail(BAD_PARAMETERS, "the argument '$word' is unknown. Usage: $0 [--ready-fd N] [--params-fd M | PARAMS] | --list [--json]") }
        else { $text = $word }
    }
    $self->{ready} = $self->_handle('>', '--ready-fd', $numbers{ready}) if exists $numbers{ready};
    if (exists $numbers{params}) {
        my $from = $self->_handle('<', '--params-fd', $numbers{params});
        $text = do { local $/; readline $from };
    }
    return $text // $self->fail(BAD_PARAMETERS, "no parameters. Usage: $0 [--ready-fd N] [--params-fd M | PARAMS] | --list [--json]");
}

sub _list {
    my ($self, @words) = @_;
    my @names = sort keys %{ $self->{classes} };
    if (@words == 1 && $words[0] eq '--json') {
        print encode_json([ map { { name => $_, description => "the class $self->{classes}{$_} of IPC::Manager", args => [] } } @names ]), "\n";
    }
    else { print map { "$_\n" } @names }
    exit(close(STDOUT) ? 0 : 74);
}

# Takes over a descriptor that the launcher names, under a number above 2.
sub _handle {
    my ($self, $way, $option, $number) = @_;
    my $handle;
    (defined $number && $number =~ /\A[0-9]{1,9}\z/ && open $handle, "$way&", $number)
        or $self->fail(BAD_PARAMETERS, "$option: '" . ($number // '') . "' is not an open descriptor");
    if ($number > 2) { POSIX::close($number) }
    else {
        open my $nowhere, '+<', '/dev/null' or $self->fail(SYSTEM_FAILED, "/dev/null: $!");
        POSIX::dup2(fileno $nowhere, $number);
    }
    fcntl $handle, F_SETFD, FD_CLOEXEC;
    return $handle;
}

sub _checked {
    my ($self, $parameters) = @_;
    $self->fail(BAD_PARAMETERS, 'the parameters are not a JSON object') if ref $parameters ne 'HASH';
    for my $key (sort keys %$parameters) {
        $self->fail(BAD_PARAMETERS, "the parameter '$key' is unknown") if !$KEYS{$key};
    }
    for my $key (qw(ipcm name class ipcm_info)) {
        $self->fail(BAD_PARAMETERS, "the parameter '$key' is missing") if !defined $parameters->{$key};
    }
    $self->fail(BAD_PARAMETERS, "ipcm: this is contract $CONTRACT, and the launcher asks for '$parameters->{ipcm}'") if $parameters->{ipcm} ne $CONTRACT;
    for my $key (qw(name class)) {
        $self->fail(BAD_PARAMETERS, "$key: not a text") if ref $parameters->{$key} || !length $parameters->{$key};
    }
    $self->fail(BAD_PARAMETERS, "name: a name does not begin with '_'") if $parameters->{name} =~ /\A_/;
    my $pids = $parameters->{watch_pids} // [];
    $self->fail(BAD_PARAMETERS, 'watch_pids: not an array of process ids') if ref $pids ne 'ARRAY' || grep { ref || !/\A[1-9][0-9]{0,9}\z/ } @$pids;
    $self->fail(BAD_PARAMETERS, 'args: a class of IPC::Manager needs an object: its fields') if ref($parameters->{args} // {}) ne 'HASH';
    for my $key (qw(name class ipcm_info orig_io pid)) {
        $self->fail(BAD_PARAMETERS, "args: '$key' is not an argument") if exists $parameters->{args}{$key};
    }
    $self->fail(BAD_PARAMETERS, 'redirect: classes of IPC::Manager do not redirect their streams yet') if %{ $parameters->{redirect} // {} };
    return $parameters;
}

sub _take_streams {
    my ($self) = @_;
    my $leash = delete $ENV{IPCM_LEASH_FD};
    $self->{leash} = $self->_handle('<', 'IPCM_LEASH_FD', $leash) if defined $leash;
    $self->{streams} = Ipcm::Streams->new;
    return;
}

# The parameters as IPC::Manager names them.
sub _for_manager {
    my ($self, $parameters) = @_;
    my ($info, $pids) = @$parameters{qw(ipcm_info watch_pids)};
    return {
        %{ $parameters->{args} // {} },
        map({ exists $parameters->{$_} ? ($_ => $parameters->{$_}) : () } qw(name interval intercept_errors expose_error_details)),
        class     => 'Ipcm::ManagerBoot::Service',
        ipcm_info => ref $info ? encode_json($info) : $info,
        $pids ? (watch_pids => $pids) : (),
    };
}

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::ManagerBoot - classes of IPC::Manager as services of ipcm

=head1 SYNOPSIS

    #!/usr/bin/env perl
    use Ipcm::ManagerBoot;
    Ipcm::ManagerBoot->run(
        echo    => 'IPC::Manager::Service::Echo',
        greeter => 'My::Greeter',
    );

    $ ipcm start --boot ./services.pl greeter --name hello --args '{"word":"Hi"}'

=head1 DESCRIPTION

The program keeps the boot contract of ipcm: C<ipcm start>, C<ipcm run> and every other launcher start its services, as they start those of
C<ipcm-boot>, know when they are ready and why they are not, and end them. A class consumes the role C<IPC::Manager::Role::Service>. The arguments of
the service, a JSON object, become fields of its constructor.

Needs IPC::Manager 0.000038 or newer. The service speaks every protocol that IPC::Manager speaks on this machine.

A service that C<run_on_start> dies in does not start, and the launcher gets the reason. SIGTERM and SIGINT end a service as a terminate message does,
unless its class takes these signals itself. It ends once its launcher has ended.

C<redirect> is refused. C<spin> has no effect: IPC::Manager looks at its handles five times a second.

=cut
