package Ipcm::Obituary;

# The obituary of a service that died (docs/bus.md, "Obituaries"), as a process writes it that only finds its files.

use strict;
use warnings;

use Fcntl       qw(O_CREAT O_EXCL O_NOFOLLOW O_NONBLOCK O_RDONLY O_WRONLY);
use Time::HiRes ();
use Ipcm::Wire  ();

our $VERSION = '0.1.0';

use constant LONGEST_LAST_WORDS => 4096;

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
    return $text;
}

# keep_unknown($route, $file, $name, $class, $pid): notes that a service has died, unless its obituary stands there: another process may have
# known how it ended. $file is its name on disk.
sub keep_unknown {
    my ($route, $file, $name, $class, $pid) = @_;
    return if $route->facts->[4] != $> || @{ $route->stat('.info.closed') };    # the bus of another user, or one that is being removed
    my %told = (name => $name, class => $class, ended => Time::HiRes::time(), unknown => 'no process that could know its exit status saw it end');
    $told{pid} = $pid if $pid > 0;
    my $words = _end_of_log($route->at(".$file.log"));
    $told{last_words} = $words if length $words;
    my $pending = $route->at($route->pending);
    sysopen my $made, $pending, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600 or return;    # the bus is being removed, or the disk is full
    my $text = Ipcm::Wire::json_ascii(\%told);
    my $is_whole = (syswrite($made, $text) // 0) == length $text;
    close $made;
    link $pending, $route->at(".$file.obituary") if $is_whole;    # it fails if there is one
    unlink $pending;
    return;
}

1;
