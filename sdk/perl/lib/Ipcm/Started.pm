package Ipcm::Started;

# A service that this program has started, by `ipcm start`.

use strict;
use warnings;

use POSIX        ();
use Ipcm::Bridge ();
use Ipcm::Bus    ();
use Ipcm::Error  ();
use Ipcm::JSON   qw(decode_json encode_json);

our $VERSION = '0.1.0';

sub start {
    my ($class, $kind, %how) = @_;
    my ($name, $args, $boot, $bus, $timeout) = delete @how{qw(name args boot bus timeout)};
    my $has_args = defined $args;
    Ipcm::Bus::_no_more(start => %how);
    $name //= $kind;
    my @words = ('start', Ipcm::Bus::_octets($kind), '--name', Ipcm::Bus::_octets($name));
    push @words, '--args', encode_json($args) if $has_args;
    push @words, '--boot', $boot if defined $boot;
    push @words, '--timeout', $timeout if defined $timeout;
    my $told = decode_json(_run(Ipcm::Bus::info_text($bus), @words));
    my $self = bless { name => $name, pid => $told->{pid}, info => Ipcm::Bus::info_text($bus), owner => $$ }, $class;
    $self->{bus} = Ipcm::Bus->connect(bus => $bus);
    return $self;
}

sub name    { $_[0]{name} }
sub pid     { $_[0]{pid} }
sub request { my ($self, @call) = @_; return $self->{bus}->request($self->{name}, @call) }
sub ask     { my ($self, @call) = @_; return $self->{bus}->ask($self->{name}, @call) }
sub send    { my ($self, @call) = @_; return $self->{bus}->send($self->{name}, @call) }

sub keep { my ($self) = @_; $self->{is_over} = 1; return $self }

sub stop {
    my ($self) = @_;
    return if $self->{is_over}++ || $self->{owner} != $$;
    _run($self->{info}, 'stop', '--', Ipcm::Bus::_octets($self->{name}));
    $self->{bus}->close;
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' && !$self->{bus};
    local ($@, $!, $?);
    eval { $self->stop };
    return;
}

# Runs `ipcm --json WORDS`, and returns what it prints.
sub _run {
    my ($info, @words) = @_;
    my $command = Ipcm::Bridge::command();
    open my $errors, '+>', undef or Ipcm::Error->throw(system => "a temporary file can't be made: $!");
    pipe my $reads, my $writes or Ipcm::Error->throw(system => "a pipe can't be made: $!");
    my $pid = fork // Ipcm::Error->throw(system => "a process for the command '$command' can't be made: $!");
    if (!$pid) {
        $ENV{IPCM_INFO} = $info if defined $info;
        open STDIN, '<', '/dev/null';
        POSIX::dup2(fileno $writes, 1);
        POSIX::dup2(fileno $errors, 2);
        { no warnings 'exec'; exec { $command } $command, '--json', @words }
        syswrite $errors, "the command '$command' can't be started: $!; install ipcm, or set \$IPCM to its path\n";
        POSIX::_exit(127);
    }
    close $writes;
    my $printed = do { local $/; readline $reads } // '';
    local $?;
    waitpid $pid, 0;
    return $printed if !$?;
    seek $errors, 0, 0;
    my $text = do { local $/; readline $errors } // '';
    my ($last) = $text =~ /([^\n]*)\s*\z/;
    my $told = eval { decode_json($last) };
    die Ipcm::Error->from_line($told) if ref $told eq 'HASH' && defined $told->{error};
    utf8::decode($text);
    $text =~ s/\s+\z//;
    Ipcm::Error->throw(launch => "ipcm $words[0]: " . (length $text ? $text : "status $?"));
}

1;

__END__

=encoding utf8

=head1 NAME

Ipcm::Started - a service that this program has started

=head1 SYNOPSIS

    my $up = Ipcm->start('up', boot => './up.pl');
    print $up->request('hi', timeout => 5), "\n";

=head1 DESCRIPTION

The service ends with C<stop>, or with this object. If the program is killed, the service stays until its bus is removed.

=head1 METHODS

C<name>, C<pid>; C<request>, C<ask>, C<send> as those of L<Ipcm::Bus> without the name of the receiver; C<stop>; C<keep>: the service outlives the object.

=cut
