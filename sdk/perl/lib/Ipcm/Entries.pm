package Ipcm::Entries;

# The files of a bus that is a directory, by name and kind (docs/bus.md, "Files"). Nothing else is ever removed. Names are octets.

use strict;
use warnings;

use Digest::SHA    qw(sha256_hex);
use File::Basename qw(basename);
use Cwd            ();
use Ipcm::Error    ();

our $VERSION = '0.1.0';

my $MARK       = qr/\A(?:\.info|\.info\.closed|\.found|\.\.info\.pend|\.\.found\.pend|\.owner(?:\..+)?)\z/s;
my $HIDDEN     = qr/\A(?:\..+\.(?:lock|lock\..+|log|log\.1|params|obituary|pend|pin)|\.journal|\.given)\z/s;
my $UNFINISHED = qr/\A\..+\.pend\z/s;
my $BESIDE     = qr/\A.+\.(?:pid|name|resume|stats|suspend)(?:\.pend)?\z/s;

use constant LONGEST_ADDRESS => 104;

sub may_be_endpoint { return $_[0] =~ /\A[^._]/ && $_[0] !~ /\.(?:pend|pid|name|resume|stats|suspend)\z/ }
sub is_hashed       { return length $_[0] == 42 && $_[0] =~ /\Ah-/ }
sub is_mark         { return $_[0] =~ $MARK }

# check_peer_name($name): throws a usage error for a name that no peer may have.
sub check_peer_name {
    my ($name) = @_;
    Ipcm::Error->throw(usage => 'the name of a peer is a string and not empty') if !defined $name || ref $name || $name eq '';
    Ipcm::Error->throw(usage => "the name '$name' may not be used: names do not begin with '_', contain no NUL, and are not '0'")
        if $name eq '0' || $name =~ /\A_|\0/;
    return;
}

# disk_name($name, $route): the name of a peer's files on a bus with that route.
sub disk_name {
    my ($name, $route) = @_;
    utf8::encode($name);
    return $name if length $name <= LONGEST_ADDRESS - 2 - length $route && $name !~ /\Ah-|[\x00-\x1f\/\\]/ && may_be_endpoint($name);
    return 'h-' . substr sha256_hex($name), 0, 40;
}

# The facts of a file are those of lstat().
sub is_trusted  { my ($facts, $directory) = @_; return $facts->[4] == $directory->[4] || $facts->[4] == 0 || $facts->[4] == $> }
sub is_regular  { return ($_[0][2] & 0170000) == 0100000 }
sub is_socket   { return ($_[0][2] & 0170000) == 0140000 }
sub is_endpoint { my ($facts) = @_; return is_socket($facts) || (is_regular($facts) && $facts->[7] == 0) }

# is_known($file, $facts, $directory): whether an entry is one that ConnectionUnix puts into its directory.
sub is_known {
    my ($file, $facts, $directory) = @_;
    return 1 if !@$facts;    # it was removed just now
    return 0 if !is_trusted($facts, $directory);
    return 1 if $file =~ $UNFINISHED && is_endpoint($facts);    # its maker was killed before it gave the endpoint its name
    return is_regular($facts) if $file =~ $MARK || $file =~ $HIDDEN || $file =~ $BESIDE;
    return $file =~ /\A[^._]/ && is_endpoint($facts);
}

sub is_named_by_the_reference {
    my ($route) = @_;
    return basename(Cwd::realpath($route) // $route) =~ /\APerlIPCManager-[0-9]+-[A-Za-z0-9_]{6}\z/;
}

1;
