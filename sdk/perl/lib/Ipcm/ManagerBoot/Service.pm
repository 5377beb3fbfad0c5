package Ipcm::ManagerBoot::Service;

# The class of IPC::Manager that Ipcm::ManagerBoot serves, with what the boot contract adds: readiness, the leash, signals, the reason of a failure.
# A process has one such class.

use strict;
use warnings;

use Ipcm::Streams ();

our $VERSION = '0.1.0';
our @ISA;    # the class that is served

my $boot;

# wrap($class, $boot): from now on an object of this package is one of that class.
sub wrap {
    my ($package, $class, $its_boot) = @_;
    @ISA  = ($class);
    $boot = $its_boot;
    return;
}

sub run {
    my ($self) = @_;
    $self->_join;
    local @SIG{qw(TERM INT)} = map { $self->_ending($_) } qw(TERM INT);
    my $status;
    my $has_run = eval { $status = $self->SUPER::run; 1 };
    my $error = $@;
    $self->_leave;
    return $status if $has_run;
    $error = $self->{_IPCM_START_ERROR} if defined $self->{_IPCM_START_ERROR};
    $boot->fail(Ipcm::ManagerBoot::THREW(), $error, $boot->is_starting);
    return;
}

# A client that IPC::Manager refuses, since another peer has the name, would remove the files of that peer when it is destroyed.
sub _join {
    my ($self) = @_;
    require IPC::Manager::Client;
    no warnings 'redefine';
    local *IPC::Manager::Client::DESTROY = sub { };
    eval { $self->client; 1 } or $boot->fail(Ipcm::ManagerBoot::UNAVAILABLE(), "service '" . $self->name . "' can't join the bus: $@");
    # From here on its watches see the messages that come while it starts; IPC::Manager does not look for older ones.
    $self->client->handles_for_select if $self->client->have_handles_for_select;
    return;
}

# Messages that nobody will read are no error at its end. IPC::Manager itself leaves the file with its process id behind.
sub _leave {
    my ($self) = @_;
    my $client = $self->client;
    eval { $client->disconnect(sub { }); 1 } or warn $@;
    eval { $client->clear_pid } if $client->can('clear_pid');
    return;
}

sub run_on_start {
    my ($self, @arguments) = @_;
    # With intercept_errors, IPC::Manager keeps the text to itself.
    eval { $self->SUPER::run_on_start(@arguments); 1 } or do {
        $self->{_IPCM_START_ERROR} = $@;
        die $@;
    };
    if (!$boot->tell_ready($self->name)) {
        $self->_leave;
        $boot->fail(Ipcm::ManagerBoot::SYSTEM_FAILED(), 'the launcher has ended during the start');
    }
    return;
}

# A medium without handles is looked at five times a second; with the leash alone, the messages would never be read.
sub select_handles {
    my ($self) = @_;
    my @handles = $self->SUPER::select_handles;
    return @handles ? (@handles, $boot->leash // ()) : ();
}

# The loop asks this each time that it has waited.
sub terminated {
    my ($self) = @_;
    my $status = $self->SUPER::terminated;
    return $status if defined $status || $$ != $self->pid || !$boot->leash || !Ipcm::Streams::await(0, undef, $boot->leash);
    return $self->terminate(0);
}

# Without this, a class that does not expect to be ended between two messages would die of it.
sub run_on_unhandled {
    my ($self, $activity) = @_;
    my %rest = %$activity;
    delete $rest{terminated};
    return %rest ? $self->SUPER::run_on_unhandled(\%rest) : ();
}

# Workers and services that this one has forked inherit the handler, and end as they would without it.
sub _ending {
    my ($self, $signal) = @_;
    return sub {
        return $self->terminate(0) if $$ == $self->pid;
        $SIG{$signal} = 'DEFAULT';
        kill $signal => $$;
    };
}

1;
