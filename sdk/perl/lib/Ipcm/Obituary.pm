package Ipcm::Obituary;

# The obituary of a service that died (docs/bus.md, "Obituaries"), as two processes write it: the service itself before it leaves with a
# status other than 0, and one that only finds the files of a dead service. No failure is reported: nothing else shall fail for it.

use strict;
use warnings;

use Fcntl       qw(O_CREAT O_EXCL O_NOFOLLOW O_NONBLOCK O_RDONLY O_WRONLY);
use Time::HiRes ();
use Ipcm::Wire  ();

our $VERSION = '0.1.0';

use constant { LONGEST_LAST_WORDS => 4096, MOST => 256 };

sub _end_of_log {
    my ($path) = @_;
    sysopen my $log, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK or return '';
    my $size = -s $log;
    sysseek $log, $size > LONGEST_LAST_WORDS ? $size - LONGEST_LAST_WORDS : 0, 0;
    sysread $log, my $text, LONGEST_LAST_WORDS;
    $text =~ s/\A[^\n]*\n// if $size > LONGEST_LAST_WORDS;    # only its end
    utf8::decode($text) or $text =~ s/[^\x00-\x7f]/\x{fffd}/g;
    $text =~ s/[^\n[:print:]]/\x{fffd}/g;
    $text =~ s/\A\n+|\n+\z//g;
    utf8::encode($text);
    $text = substr $text, -(LONGEST_LAST_WORDS) if length $text > LONGEST_LAST_WORDS;    # a replaced byte is longer now
    $text =~ s/\A[\x80-\xbf]+//;
    utf8::decode($text);
    return $text;
}

# Writes a complete file under a hidden name. Returns its path, or nothing: there can't be one.
sub _pending {
    my ($route, $file, $told) = @_;
    return if $route->facts->[4] != $> || @{ $route->stat('.info.closed') };    # the bus of another user, or one that is being removed
    my $words = _end_of_log($route->at(".$file.log"));
    my $text = Ipcm::Wire::json_ascii({ %$told, ended => Time::HiRes::time(), length $words ? (last_words => $words) : () });
    my $pending = $route->at($route->pending);
    sysopen my $made, $pending, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600 or return;    # the bus is being removed, or the disk is full
    return $pending if (syswrite($made, $text) // 0) == length $text && close $made;
    unlink $pending;
    return;
}

# The oldest make room.
sub _keep_few {
    my ($route) = @_;
    my @files = grep { /\A\..+\.obituary\z/s } $route->files;
    return if @files <= MOST;
    my %modified = map { $_ => (Time::HiRes::lstat($route->at($_)))[9] // 0 } @files;
    $route->unlink($_) for (sort { $modified{$a} <=> $modified{$b} } @files)[ 0 .. $#files - MOST ];
    return;
}

# keep_status($route, $file, \%who, $status): notes that this process, which still holds the lock of its name, is about to exit with that status.
# Nobody else can have written about its end. $file is its name on disk; %who has the keys name and class.
sub keep_status {
    my ($route, $file, $who, $status) = @_;
    my $started = Ipcm::Route::start_time($$);
    my $pending = _pending($route, $file, { %$who, pid => 0 + $$, $started ? (started => $started) : (), status => 0 + $status }) // return;
    rename $pending, $route->at(".$file.obituary") or unlink $pending;
    return _keep_few($route);
}

# keep_unknown($route, $file, $name, $class, $pid): notes that a service has died, unless its obituary stands there: another process may have
# known how it ended. $file is its name on disk.
sub keep_unknown {
    my ($route, $file, $name, $class, $pid) = @_;
    my %told = (name => $name, class => $class, unknown => 'no process that could know its exit status saw it end', $pid > 0 ? (pid => $pid) : ());
    my $pending = _pending($route, $file, \%told) // return;
    link $pending, $route->at(".$file.obituary");    # it fails if there is one
    unlink $pending;
    return _keep_few($route);
}

1;
