package Ipcm::Log;

# Keeps the log of a native service bounded (docs/boot.md, "Logs"): beyond 768 KiB, its text moves to the older file, `NAME.log.1`.

use strict;
use warnings;

use Fcntl        qw(O_CREAT O_NOFOLLOW O_TRUNC O_WRONLY);
use Ipcm::Poller ();

our $VERSION = '0.1.0';

use constant { SIZE => 768 * 1024, PAUSE => 0.1 };

sub new { my ($class, $handle) = @_; return bless { handle => $handle, next => 0 }, $class }

# look(): to be called often; looks at most once in 100 ms.
sub look {
    my ($self) = @_;
    my $now = Ipcm::Poller::now();
    return if $now < $self->{next};
    $self->{next} = $now + PAUSE;
    my $handle = $self->{handle};
    return if (-s $handle // 0) <= SIZE;
    my $path = readlink('/proc/self/fd/' . fileno $handle) // return;
    open my $log, '<:raw', $path or return;
    sysopen my $older, "$path.1", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600 or return;
    sysread $log, my $text, 1024 * 1024;
    syswrite $older, $text;
    truncate $handle, 0;
    return;
}

1;
