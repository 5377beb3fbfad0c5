package Ipcm::Watch;

# inotify: reports changes of directories and files.

use strict;
use warnings;

use Ipcm::Kernel ();

our $VERSION = '0.1.0';

use constant {
    # Files of a directory come, go, or are closed after writing: the death of a peer closes its lock file.
    CONTENTS => 0x8 | 0x40 | 0x80 | 0x100 | 0x200,    # IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE
    # The file is moved, or loses a name.
    ITSELF => 0x4 | 0x400 | 0x800,                    # IN_ATTRIB, IN_DELETE_SELF, IN_MOVE_SELF
    MASK_ADD => 0x2000_0000,
};

# new(): nothing, with $!, if the user has no watches left.
sub new {
    my ($class) = @_;
    my $handle = Ipcm::Kernel::inotify() // return;
    return bless { handle => $handle }, $class;
}

sub handle { $_[0]{handle} }
sub add    { my ($self, $path, $events) = @_; return Ipcm::Kernel::inotify_add($self->{handle}, $path, $events | MASK_ADD) }

# drain(): whether something has changed since the last call.
sub drain {
    my ($self) = @_;
    my $found = 0;
    $found = 1 while sysread $self->{handle}, my $events, 65536;
    return $found;
}

1;
