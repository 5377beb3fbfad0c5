package Ipcm::Route;

# The directory of a ConnectionUnix bus: its files, and which peers live. Names of files are octets, names of peers are characters.

use strict;
use warnings;

use Errno           qw(EAGAIN ECONNREFUSED ENOENT EPERM);
use Fcntl           qw(O_CREAT O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_RDONLY O_TRUNC O_WRONLY);
use POSIX           ();
use Socket          qw(AF_UNIX SOCK_STREAM pack_sockaddr_un);
use Time::HiRes     ();
use IO::Handle      ();
use Ipcm::Entries   ();
use Ipcm::Error     ();
use Ipcm::JSON      ();
use Ipcm::Lock      ();
use Ipcm::Obituary  ();
use Ipcm::Place     ();
use Ipcm::Poller    ();
use Ipcm::Streams   ();
use Ipcm::Watch     ();
use Ipcm::Wire      ();

our $VERSION = '0.1.0';

use constant CLEARING_TIME => 0.1;    # seconds

# new($path): throws a bus error if there is no bus, or if others can write to it.
sub new {
    my ($class, $path) = @_;
    utf8::encode($path);
    sysopen my $directory, $path, O_RDONLY | O_DIRECTORY
        or Ipcm::Error->throw(bus => "there is no bus at '$path': $!; its owner may have taken it down");
    my $self = bless { path => $path, directory => $directory }, $class;
    # All files are reached through the open directory: a path could lead to another one by now.
    $self->{at} = '/proc/self/fd/' . fileno $directory;
    $self->{is_marked} = $self->_expect_bus;
    return $self;
}

sub path      { $_[0]{path} }
sub is_marked { $_[0]{is_marked} }
sub at        { return "$_[0]{at}/$_[1]" }
sub stat      { my ($self, $file) = @_; return [ lstat $self->at($file) ] }
sub facts     { return [ CORE::stat $_[0]{directory} ] }
sub disk_name { my ($self, $peer) = @_; return Ipcm::Entries::disk_name($peer, $self->{path}) }
sub pending   { return '.' . lc(substr Ipcm::Wire::new_id(), -12) . '.pend' }
sub close     { my ($self) = @_; CORE::close($self->{directory}); return }

# address($file): the address of a socket, however long the route is.
sub address {
    my ($self, $file) = @_;
    my $path = "$self->{path}/$file";
    return pack_sockaddr_un(length $path < 108 ? $path : $self->at($file));
}

sub files {
    my ($self) = @_;
    opendir my $listing, "$self->{at}/." or return;
    return grep { $_ ne '.' && $_ ne '..' } readdir $listing;
}

sub _expect_bus {
    my ($self) = @_;
    my ($facts, $begin) = ($self->facts, "there is no bus at '$self->{path}': ");
    my $refuse = sub { Ipcm::Error->throw(bus => $begin . $_[0]) };
    $refuse->("the directory belongs to user $facts->[4]") if $facts->[4] != $> && $> != 0;
    $refuse->('other users can write to the directory; a bus has mode 0700') if $facts->[2] & 0022;
    my $mark = $self->stat('.info');
    return 1 if @$mark && Ipcm::Entries::is_regular($mark);
    my $closed = $self->stat('.info.closed');
    $refuse->('it is being taken down') if @$closed && Ipcm::Entries::is_regular($closed);
    return 0 if Ipcm::Entries::is_named_by_the_reference($self->{path});
    my @files = $self->files;
    my ($stranger) = grep { !$self->_is_known($_) } @files;
    $refuse->("it has no mark, and '$stranger' in it is no file of a bus; `ipcm bus new` makes one") if defined $stranger;
    $refuse->('it is empty, and open to other users') if !@files && $facts->[2] & 0077;
    return 0;
}

sub _is_known { my ($self, $file) = @_; return Ipcm::Entries::is_known($file, $self->stat($file), $self->facts) }

# read($file, $most): the octets of a plain file of a user that can be trusted, or nothing.
sub read {
    my ($self, $file, $most) = @_;
    sysopen my $opened, $self->at($file), O_RDONLY | O_NOFOLLOW | O_NONBLOCK or return;
    my $facts = [ CORE::stat $opened ];
    return if !Ipcm::Entries::is_regular($facts) || !Ipcm::Entries::is_trusted($facts, $self->facts);
    my $octets = '';
    while (length $octets < $most && sysread $opened, $octets, $most - length $octets, length $octets) { }
    return $octets;
}

# write($file, $octets): the file appears when it is complete. Throws a bus error.
sub write {
    my ($self, $file, $octets) = @_;
    my $pending = $self->at(".$file.pend");
    my $opened;
    my $is_done = sysopen($opened, $pending, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644)
        && (syswrite($opened, $octets) // -1) == length $octets && CORE::close($opened) && rename $pending, $self->at($file);
    Ipcm::Error->throw(bus => "the file '$file' of the bus '$self->{path}' can't be written: $!") if !$is_done;
    return;
}

# unlink($file): whether the file is gone.
sub unlink { my ($self, $file) = @_; return CORE::unlink($self->at($file)) || $! == ENOENT }

# endpoint($peer): the facts of a peer's endpoint, or nothing.
sub endpoint {
    my ($self, $peer) = @_;
    my $facts = $self->stat($self->disk_name($peer));
    return @$facts && Ipcm::Entries::is_endpoint($facts) && Ipcm::Entries::is_trusted($facts, $self->facts) ? $facts : undef;
}

sub is_trusted_user { my ($self, $user) = @_; return $user == $self->facts->[4] || $user == 0 || $user == $> }

# ---- which peers live

# noted_pid($file): the process that a peer has noted; 0: none.
sub noted_pid { my ($self, $file) = @_; my ($pid) = ($self->read("$file.pid", 64) // '') =~ /\A\s*([0-9]{1,9})\s*\z/; return $pid // 0 }

# start_time($pid): when a process began, Unix seconds; 0: unknown.
sub start_time {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/stat" or return 0;
    my $text = do { local $/; readline $file } // '';
    my $ticks = (split ' ', $text =~ s/.*\)//sr)[19];
    return 0 if !defined $ticks;
    return Time::HiRes::time() - Time::HiRes::clock_gettime(7) + $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());    # CLOCK_BOOTTIME
}

# Whether a peer without a lock lives. Its pid is a claim; its endpoint shows more.
sub _foreign_lives {
    my ($self, $file, $pid) = @_;
    my $noted   = [ Time::HiRes::lstat($self->at("$file.pid")) ];
    my $is_there = $pid != $$ && (kill(0, $pid) || $! == EPERM);
    return 1 if $is_there && (!@$noted || start_time($pid) <= $noted->[9] + 0.02);
    socket my $one, AF_UNIX, SOCK_STREAM, 0 or return 1;
    $one->blocking(0);
    return 1 if connect $one, $self->address($file);
    return $! != ECONNREFUSED && $! != ENOENT;
}

# The peer with that file: pid, and whether it has a lock; nothing if it is dead or gone.
sub _peer {
    my ($self, $file) = @_;
    my $lock = Ipcm::Lock::look($self->at(".$file.lock"));
    return $lock->{clearing} ? undef : { pid => $lock->{pid}, has_lock => 1 } if $lock->{held};
    my $pid = $self->noted_pid($file);
    return if $lock->{exists} && ($pid == 0 || $pid == $lock->{written_by});
    return { pid => 0, has_lock => 0 } if $pid == 0;    # a foreign peer that is joining
    return $self->_foreign_lives($file, $pid) ? { pid => $pid, has_lock => 0 } : undef;
}

sub _real_name {
    my ($self, $file) = @_;
    my $name = Ipcm::Entries::is_hashed($file) ? $self->read("$file.name", 4096) : $file;
    utf8::decode($name) if defined $name;
    return $name;
}

# peers(): the peers that live, by name. Removes the files of dead ones, as every peer of ipcm does.
sub peers {
    my ($self) = @_;
    my (%found, $directory);
    for my $file (grep { Ipcm::Entries::may_be_endpoint($_) } $self->files) {
        my $facts = $self->stat($file);
        $directory //= $self->facts;
        next if !@$facts || !Ipcm::Entries::is_endpoint($facts) || !Ipcm::Entries::is_trusted($facts, $directory);
        my $peer = $self->_peer($file);
        if (!$peer) {
            $self->_clear_leftovers($file);
            next;
        }
        my $name = $self->_real_name($file) // next;    # it is joining or leaving
        $found{$name} = $peer;
    }
    return \%found;
}

# is_leftover($file, $lock): whether its peer is dead. This process holds the lock of the name.
sub is_leftover {
    my ($self, $file, $lock) = @_;
    my $pid = $self->noted_pid($file);
    return 1 if $lock->left && ($pid == 0 || $pid == $lock->left_by);
    return $pid != 0 && !$self->_foreign_lives($file, $pid);
}

sub remove_all_of {
    my ($self, $file) = @_;
    return 0 if $self->_is_known($file) && !$self->unlink($file);
    for my $beside (map { "$file.$_" } qw(pid name suspend stats resume)) { $self->unlink($beside) if $self->_is_known($beside) }
    return 1;
}

sub _clear_leftovers {
    my ($self, $file) = @_;
    my $path   = $self->at(".$file.lock");
    my $before = Ipcm::Lock::look($path);    # its note goes with the next line
    # The lock is held meanwhile, so that no peer takes the name in between.
    my ($lock) = Ipcm::Lock->acquire($path, Ipcm::Lock::CLEARING, first => Ipcm::Lock::TAIL);
    return if !$lock;
    my $is_leftover = $self->is_leftover($file, $lock);
    if ($is_leftover && $lock->left && $lock->left_by == $before->{written_by} && $before->{note} ne '' && $before->{note} ne Ipcm::Lock::CLEARING) {
        my $name = $self->_real_name($file) // '';
        Ipcm::Obituary::keep_unknown($self, $file, $name, $before->{note}, $before->{written_by}) if length $name;
    }
    if   ($is_leftover && !$self->remove_all_of($file)) { $lock->put_back($self->noted_pid($file)) }
    else                                                { $lock->release }
    return;
}

# ---- a place of one's own

# claim($name, $note): takes a name, and returns the place. The note is the class of a service, which answers `ipcm inspect`; '' for clients. Throws an error: the name is taken, or no name; the bus is gone.
sub claim {
    my ($self, $name, $note) = @_;
    Ipcm::Entries::check_peer_name($name);
    my $file = $self->disk_name($name);
    my $lock = $self->_lock($file, $name, $note);
    my $is_ours = eval {
        Ipcm::Error->throw(bus => "there is no bus at '$self->{path}': it is being taken down") if $self->{is_marked} && !@{ $self->stat('.info') };
        if (@{ $self->stat($file) }) {
            $self->_taken($name, $self->noted_pid($file)) if !$self->is_leftover($file, $lock);
            $self->remove_all_of($file);
        }
        $self->unlink(".$file.obituary") if length $note;    # that of its predecessor: it tells how the latest process of a name died
        1;
    };
    return Ipcm::Place->new($self, $name, $file, $lock) if $is_ours;
    my $error = $@;
    if   ($lock->left) { $lock->put_back($lock->left_by) }
    else               { $lock->release }
    die $error;
}

sub _taken {
    my ($self, $name, $pid) = @_;
    my $who = $pid ? "process $pid" : 'another process';
    Ipcm::Error->throw(taken => "the name '$name' is in use on the bus $self->{path}, by $who; choose another name, or end that one first");
}

sub _lock {
    my ($self, $file, $name, $note) = @_;
    my $path = $self->at(".$file.lock");
    my @told = ($path, $note, inspects => length $note);
    my ($lock, $holder) = Ipcm::Lock->acquire(@told);
    return $lock if $lock;
    $self->_taken($name, $holder) if !Ipcm::Lock::look($path)->{clearing};
    # Another process removes the files of a dead peer of that name. The directory reports the end of that.
    my $until = Ipcm::Poller::now() + CLEARING_TIME;
    my $watch = Ipcm::Watch->new;
    $self->_taken($name, $holder) if !$watch || !$watch->add("$self->{at}/.", Ipcm::Watch::CONTENTS);
    while (!$lock) {
        my $facts = Ipcm::Lock::look($path);
        if ($facts->{held}) {
            my $rest = $until - Ipcm::Poller::now();
            $self->_taken($name, $facts->{pid}) if !$facts->{clearing} || !Ipcm::Streams::await($rest > 0 ? $rest : 0, undef, $watch->handle);
        }
        $watch->drain;
        ($lock) = Ipcm::Lock->acquire(@told);
    }
    return $lock;
}

# ---- statistics, which the sanity check of the reference compares

sub read_statistics {
    my ($self, $file) = @_;
    my $told = eval { Ipcm::JSON::decode_json($self->read("$file.stats", 1 << 20) // '{}') };
    my %counts = (sent => {}, read => {});
    for my $way (keys %counts) {
        my $of = ref $told eq 'HASH' ? $told->{$way} : undef;
        next if ref $of ne 'HASH';
        $counts{$way}{$_} = 0 + $of->{$_} for grep { defined $of->{$_} && !ref $of->{$_} && $of->{$_} =~ /\A[0-9]+\z/ } keys %$of;
    }
    return \%counts;
}

sub write_statistics {
    my ($self, $file, $counts) = @_;
    eval { $self->write("$file.stats", Ipcm::Wire::json_ascii($counts)) };    # the bus is being removed, or the disk is full
    return;
}

# ---- the end of the bus

# is_orphaned(): whether the owner of the bus is dead, or the directory was removed.
sub is_orphaned {
    my ($self) = @_;
    return 1 if !$self->facts->[3];
    my $owner = Ipcm::Lock::look($self->at('.owner'));
    return $owner->{exists} && !$owner->{held};
}

# remove_if_orphaned(): the last service that leaves removes a bus whose owner is dead.
sub remove_if_orphaned {
    my ($self) = @_;
    return if !$self->facts->[3] || !$self->is_orphaned || %{ $self->peers };
    rename $self->at('.info'), $self->at('.info.closed') or return;    # another process removes it, or it is none of ipcm
    # A peer that joins now finds the mark closed; one that has joined before holds its lock.
    if (grep { Ipcm::Lock::look($self->at($_))->{held} } grep { /\.lock\z/ || $_ eq '.owner' } $self->files) {
        rename $self->at('.info.closed'), $self->at('.info');
        return;
    }
    my $was_found = @{ $self->stat('.found') };
    my @known = grep { $self->_is_known($_) } $self->files;
    $self->unlink($_) for grep { !Ipcm::Entries::is_mark($_) } @known;
    $self->unlink($_) for grep { Ipcm::Entries::is_mark($_) } @known;
    rmdir $self->{path} if !$was_found;    # entries that belong to no bus stay
    return;
}

1;
