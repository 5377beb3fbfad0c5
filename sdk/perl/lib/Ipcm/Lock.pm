package Ipcm::Lock;

# Record locks on lock files, which prove that a peer lives (docs/bus.md, "Files").
#
# A record lock has two traps. It does not exclude the process that holds it, and the close of any descriptor of the same file in that process
# drops it. So this module keeps a list of the files that this process holds, and never opens one of them again.

use strict;
use warnings;

use Errno qw(EACCES EAGAIN EEXIST ENOENT);
use Fcntl qw(F_GETLK F_SETLK F_UNLCK F_WRLCK O_CREAT O_EXCL O_NOFOLLOW O_NONBLOCK O_RDONLY O_RDWR SEEK_SET);
use Ipcm::Error ();
use Ipcm::JSON  ();
use Ipcm::Wire  ();

our $VERSION = '0.1.0';

# The first locked byte: a peer locks the whole file; a process that removes leftovers, all but the first byte.
use constant { WHOLE => 0, TAIL => 1, CLEARING => '(clearing up)' };

my $FLOCK = 's s x4 q q i x4';    # struct flock: type, whence, start, length (0: to the end), pid
my (%held, $held_by);

# The locks that this process holds: a forked child holds none.
sub _held {
    if (($held_by // 0) != $$) { %held = (); $held_by = $$ }
    return \%held;
}

# The first locked byte and the pid of the holder (0: in another pid namespace), or nothing.
sub _holder {
    my ($handle) = @_;
    my $asked = pack $FLOCK, F_WRLCK, SEEK_SET, 0, 0, 0;
    fcntl $handle, F_GETLK, $asked or return;
    my ($kind, undef, $start, undef, $pid) = unpack $FLOCK, $asked;
    return if $kind == F_UNLCK;
    return ($start, $pid > 0 ? $pid : 0);
}

sub _note {
    my ($handle) = @_;
    sysseek $handle, 0, 0;
    sysread $handle, my $text, 4096;
    my $told = eval { Ipcm::JSON::decode_json($text) };
    return (0, '') if ref $told ne 'HASH';    # incomplete, or not ours; the lock itself still counts
    my ($pid, $note) = @$told{qw(pid note)};
    return (defined $pid && !ref $pid && $pid =~ /\A[0-9]{1,9}\z/ ? 0 + $pid : 0, defined $note && !ref $note ? $note : '');
}

# look($path): the state of a lock file: exists, held, pid (of the holder, by the kernel), clearing; written_by and note, from the file.
sub look {
    my ($path) = @_;
    my @there = lstat $path;
    return {} if !@there || ($there[2] & 0170000) != 0100000;
    if (my $own = _held()->{"$there[0]:$there[1]"}) {
        return { exists => 1, held => 1, by_us => 1, pid => $$, clearing => $own->{first} == TAIL, written_by => $$, note => '' };
    }
    # For reading only: the close of a file that was open for writing would wake all that watch the directory.
    sysopen my $handle, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK or return {};
    my @holder = _holder($handle);
    my ($pid, $note) = _note($handle);
    return { exists => 1, held => scalar @holder, pid => $holder[1] // $pid, clearing => @holder && $holder[0] > 0, written_by => $pid, note => $note };
}

# acquire($path, $note, first => WHOLE, inspects => 0): takes the lock, and writes the note. `inspects`: the holder announces that it answers
# `ipcm inspect`. Returns the lock; or nothing and the pid of another holder (0: unknown). Throws an error.
sub acquire {
    my ($class, $path, $note, %how) = @_;
    my $first = $how{first} // WHOLE;
    while (1) {
        return (undef, $$) if look($path)->{by_us};
        my $flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
        my $is_fresh = sysopen my $handle, $path, $flags | O_CREAT | O_EXCL, 0600;
        if (!$is_fresh) {
            Ipcm::Error->throw(bus => "the lock file '$path' can't be made: $!") if $! != EEXIST;
            if (!sysopen $handle, $path, $flags) {
                next if $! == ENOENT;
                Ipcm::Error->throw(bus => "the lock file '$path' can't be opened: $!");
            }
        }
        if (!fcntl $handle, F_SETLK, pack $FLOCK, F_WRLCK, SEEK_SET, $first, 0, 0) {
            Ipcm::Error->throw(bus => "the lock file '$path' can't be locked: $!") if $! != EAGAIN && $! != EACCES;
            return (undef, (_holder($handle))[1] // 0);
        }
        # The former holder may have removed the file between open and lock: then this one has no name any more.
        my ($device, $inode) = stat $handle;
        my @now = lstat $path;
        next if !@now || $now[0] != $device || $now[1] != $inode;
        my $left_by = $is_fresh ? 0 : (_note($handle))[0];
        my $self = bless
            { path => $path, handle => $handle, key => "$device:$inode", first => $first, left => !$is_fresh, left_by => $left_by, owner => $$ }, $class;
        _held()->{ $self->{key} } = { first => $first };
        $self->_write($$, $note, $how{inspects});
        return ($self);
    }
}

sub left    { $_[0]{left} }       # whether the file was there without a holder
sub left_by { $_[0]{left_by} }    # the pid in it

sub _write {
    my ($self, $pid, $note, $inspects) = @_;
    my $handle = $self->{handle};
    truncate $handle, 0;
    sysseek $handle, 0, 0;
    return syswrite $handle, '{"pid":' . $pid . ',"note":' . Ipcm::Wire::json_ascii("$note") . ($inspects ? ',"inspect":1}' : '}');
}

# release(): removes the file, then releases the lock.
sub release {
    my ($self) = @_;
    my @there = lstat $self->{path};
    unlink $self->{path} if @there && "$there[0]:$there[1]" eq $self->{key};
    return $self->let_go;
}

# put_back($pid): releases the lock, and leaves the file as a dead peer with that pid leaves it.
sub put_back {
    my ($self, $pid) = @_;
    $self->_write($pid, '');
    return $self->let_go;
}

# let_go(): closes the file. In a forked child this leaves the lock of the parent alone.
sub let_go {
    my ($self) = @_;
    my $handle = delete $self->{handle} or return;
    close $handle;
    delete _held()->{ $self->{key} } if $self->{owner} == $$;
    return;
}

1;
