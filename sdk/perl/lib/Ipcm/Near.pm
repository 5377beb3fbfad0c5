package Ipcm::Near;

# The nearest name, for errors about a name that does not exist.

use strict;
use warnings;

use List::Util qw(min);

our $VERSION = '0.1.0';

# hint($name, @names): "; did you mean 'x'?" for the nearest of the names, or an empty text.
sub hint {
    my ($name, @names) = @_;
    my ($least, $near) = (1 + int length($name) / 3, undef);
    for my $other (sort @names) {
        next if abs(length($other) - length $name) > $least;
        my $distance = _distance($name, $other);
        ($least, $near) = ($distance - 1, $other) if $distance <= $least;
    }
    return defined $near ? "; did you mean '$near'?" : '';
}

# The count of characters to insert, remove or replace.
sub _distance {
    my ($one, $other) = @_;
    my @row = 0 .. length $other;
    for my $at (1 .. length $one) {
        my @next = ($at);
        for my $by (1 .. length $other) {
            my $is_other = substr($one, $at - 1, 1) ne substr $other, $by - 1, 1;
            push @next, min($row[ $by - 1 ] + $is_other, $row[$by] + 1, $next[-1] + 1);
        }
        @row = @next;
    }
    return $row[-1];
}

1;
