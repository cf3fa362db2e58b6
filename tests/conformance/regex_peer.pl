# All matches of each case, for test_regex.py. A line of input is "flags pattern text", the last two in hexadecimal UTF-8. A
# line of output has each match as begin and end in bytes and its groups in hexadecimal, "-" when unset: "0-2,61,- 5-6,-,62".
use strict;
use warnings;
no warnings qw(regexp);
use feature 'unicode_strings';

sub bytes {
    my ($text) = @_;
    utf8::encode($text);
    return $text;
}

while (my $line = <STDIN>) {
    chomp $line;
    my ($flags, $pattern, $text) = split / /, $line, 3;
    ($pattern, $text) = map { my $chars = pack 'H*', $_; utf8::decode($chars); utf8::upgrade($chars); $chars } $pattern, $text;
    $flags =~ tr/-//d;
    my $regex = eval { qr/(?$flags:$pattern)/ };
    if (!defined $regex) {
        print "error\n";
        next;
    }
    my @found;
    while ($text =~ /$regex/g) {
        my @parts = join '-', map { length bytes(substr $text, 0, $_) } $-[0], $+[0];
        for my $i (1 .. $#-, $#- + 1 .. $#+) {
            push @parts, defined $-[$i] ? unpack 'H*', bytes(substr $text, $-[$i], $+[$i] - $-[$i]) : '-';
        }
        push @found, join ',', @parts;
    }
    print "@found\n";
}
