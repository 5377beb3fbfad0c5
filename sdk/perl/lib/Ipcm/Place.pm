package Ipcm::Place;

# A name on a ConnectionUnix bus that this process holds: its lock, its socket, and its files. Made by Ipcm::Route::claim().

use strict;
use warnings;

use IO::Handle    ();
use Socket        qw(AF_UNIX SOCK_STREAM);
use Ipcm::Entries ();
use Ipcm::Error   ();

our $VERSION = '0.1.0';

sub new {
    my ($class, $route, $name, $file, $lock) = @_;
    return bless { route => $route, name => $name, file => $file, lock => $lock }, $class;
}

sub file { $_[0]{file} }

# listen(): the socket, which does not block.
sub listen {
    my ($self) = @_;
    my $route = $self->{route};
    # Between bind() and listen() a caller is refused, and would take this process for a dead one. So the socket gets its name when it listens.
    my $pending = $route->pending;
    my $listener;
    my $is_done = socket($listener, AF_UNIX, SOCK_STREAM, 0) && bind($listener, $route->address($pending)) && CORE::listen($listener, 4096)
        && link $route->at($pending), $route->at($self->{file});
    my $why = "$!";
    $route->unlink($pending);
    Ipcm::Error->throw(bus => "the bus '$route->{path}' can't be joined: no socket for '$self->{name}': $why") if !$is_done;
    $listener->blocking(0);
    $self->{inode} = $route->stat($self->{file})->[1];
    return $listener;
}

# announce(): tells the bus that this peer can receive now.
sub announce {
    my ($self) = @_;
    my ($route, $file, $name) = @$self{qw(route file name)};
    utf8::encode($name);
    $route->write("$file.name", $name) if Ipcm::Entries::is_hashed($file);
    $route->write("$file.pid", $$);
    return;
}

# is_lost(): whether another process has removed or replaced this place.
sub is_lost {
    my ($self) = @_;
    my $route = $self->{route};
    my ($here, @there) = ($route->facts, stat $route->path);
    return 1 if !$here->[3] || !@there || $there[0] != $here->[0] || $there[1] != $here->[1];
    my $now = $route->stat($self->{file});
    return !@$now || $now->[1] != ($self->{inode} // -1);
}

# vacate($counts): gives the name up, and removes its files, except the statistics.
sub vacate {
    my ($self, $counts) = @_;
    my ($route, $file, $lock) = @$self{qw(route file lock)};
    $route->write_statistics($file, $counts) if $counts;
    if (!$self->is_lost) {
        return $lock->put_back($$) if !$route->unlink($file);    # the next process that lists the bus tries again
        $route->unlink("$file.pid");
    }
    elsif ($route->noted_pid($file) == $$) { $route->unlink("$file.pid") }    # not that of a successor
    $route->unlink("$file.name") if !$counts;
    return $lock->release;
}

# let_go(): in a forked child, closes the lock file. The lock of the parent is not touched.
sub let_go { my ($self) = @_; return $self->{lock}->let_go }

1;
