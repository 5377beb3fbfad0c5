package Ipcm::Parameters;

# The parameters of a service, and the command line that carries them (docs/boot.md, "Parameters").

use strict;
use warnings;

use Fcntl         qw(O_APPEND O_CREAT O_NOCTTY O_NONBLOCK O_RDONLY O_WRONLY);
use IO::Handle    ();
use JSON::PP      ();
use POSIX         ();
use Ipcm::Entries ();
use Ipcm::Error   ();
use Ipcm::Near    ();

our $VERSION = '0.1.0';

my @REQUIRED = qw(ipcm name class ipcm_info);
my @KNOWN    = (@REQUIRED, qw(args watch_pids interval spin intercept_errors expose_error_details secret redirect exec));

# command_line(@words): ready_fd, params_fd, params; or nothing if it is none.
sub command_line {
    my (@words) = @_;
    my %line;
    while (defined(my $word = shift @words)) {
        if ($word =~ /\A--(ready|params)-fd(?:=(.*))?\z/s) {
            my ($key, $value) = ("$1_fd", $2 // shift @words // '');
            return if $value !~ /\A[0-9]{1,6}\z/;
            $line{$key} = 0 + $value;
        }
        elsif ($word !~ /\A-/ && !exists $line{params}) { $line{params} = $word }
        else                                            { return }
    }
    return \%line if exists $line{params} != exists $line{params_fd};
    return;
}

sub _refuse { my ($key, $expected) = @_; Ipcm::Error->throw(usage => "parameters: '$key': expected $expected") }

sub _is_bool   { return ref $_[0] eq 'JSON::PP::Boolean' }
sub _is_number { return !ref $_[0] && $_[0] =~ /\A-?[0-9]/ && $_[0] =~ /\A[-+0-9.eE]+\z/ }

# checked($whole): the parameters. Throws a usage error that names the key.
sub checked {
    my ($whole) = @_;
    for my $key (sort keys %$whole) {
        next if grep { $_ eq $key } @KNOWN;
        Ipcm::Error->throw(usage => "parameters: unknown key '$key'" . Ipcm::Near::hint($key, @KNOWN));
    }
    exists $whole->{$_} or Ipcm::Error->throw(usage => "parameters: '$_' is missing") for @REQUIRED;
    my %given = map { $_ => $whole->{$_} } grep { defined $whole->{$_} } keys %$whole;
    Ipcm::Error->throw(usage => "parameters: 'ipcm': this program speaks version 1 of the boot contract; launcher and program are of different releases")
        if !_is_number($given{ipcm} // '') || $given{ipcm} != 1;
    for my $key (qw(name class)) { _refuse($key, 'a string, not empty') if !defined $given{$key} || ref $given{$key} || $given{$key} eq '' }
    if (!eval { Ipcm::Entries::check_peer_name($given{name}); 1 }) {
        my $error = $@;
        Ipcm::Error->throw(usage => "parameters: 'name': " . $error->message);
    }
    for my $key (qw(intercept_errors expose_error_details secret)) { _refuse($key, 'true or false') if exists $given{$key} && !_is_bool($given{$key}) }
    for my $key (qw(interval spin)) {
        my $is_right = !exists $given{$key} || (_is_number($given{$key}) && $given{$key} > 0 && ($key ne 'spin' || $given{$key} <= 1));
        _refuse($key, 'seconds, more than 0' . ($key eq 'spin' ? ' and at most one' : '')) if !$is_right;
    }
    my $pids = $given{watch_pids} // [];
    _refuse('watch_pids', 'an array of process ids') if ref $pids ne 'ARRAY' || grep { !defined || ref || !/\A[1-9][0-9]{0,9}\z/ || $_ >= 2**31 } @$pids;
    my $redirect = $given{redirect} // {};
    _refuse('redirect', 'an object') if ref $redirect ne 'HASH';
    for my $key (sort keys %$redirect) {
        Ipcm::Error->throw(usage => "parameters: 'redirect': unknown key '$key'") if $key !~ /\A(?:stdin|stdout|stderr|inherited)\z/;
        my $is_right = defined $redirect->{$key} && ($key eq 'inherited' ? _is_bool($redirect->{$key}) : !ref $redirect->{$key});
        _refuse("redirect.$key", $key eq 'inherited' ? 'true or false' : 'a path, or &N') if !$is_right;
    }
    return \%given;
}

# redirect($streams): for launchers that have not done it themselves. Throws a usage error.
sub redirect {
    my ($streams) = @_;
    my $number = -1;
    for my $key (qw(stdin stdout stderr)) {
        $number++;
        my $target = ($streams // {})->{$key};
        next if !length($target // '');
        if ($target =~ /\A&/) {
            my ($from) = $target =~ /\A&([0-9]{1,6})\z/;
            defined $from && POSIX::dup2($from, $number) or Ipcm::Error->throw(usage => "parameters: 'redirect.$key': '$target' is no open descriptor");
            next;
        }
        utf8::encode($target);
        # A FIFO without a reader is refused.
        sysopen my $opened, $target, ($number ? O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK : O_RDONLY) | O_NOCTTY, 0666
            or Ipcm::Error->throw(usage => "parameters: 'redirect.$key': '$target' can't be opened: $!");
        $opened->blocking(1);
        POSIX::dup2(fileno $opened, $number);
    }
    return;
}

1;
