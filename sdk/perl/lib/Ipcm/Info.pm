package Ipcm::Info;

# The info string, which identifies a bus: ["PROTOCOL","SERIALIZER","ROUTE"].

use strict;
use warnings;

use Ipcm::JSON   ();
use Ipcm::Kernel ();

our $VERSION = '0.1.0';

# native($info): the info as an array of text if this kit speaks with that bus itself; otherwise nothing: `ipcm bridge` does, and
# tells what is wrong with an info that is none. Takes a string, the array in it, or undef for $IPCM_INFO.
sub native {
    my ($info) = @_;
    $info //= $ENV{IPCM_INFO} // return;
    if (!ref $info) {
        utf8::encode($info) if $info =~ /[^\x00-\xff]/;
        $info = eval { Ipcm::JSON::decode_json($info) };
    }
    return if ref $info ne 'ARRAY' || @$info != 3 || grep { !defined || !length } @$info;
    my ($protocol, $serializer, $route) = @$info;
    $serializer = $serializer->[0] if ref $serializer eq 'ARRAY' && @$serializer == 1;
    return if grep { ref } $protocol, $serializer, $route;
    $protocol   =~ s/\AIPC::Manager::Client:://;
    $serializer =~ s/\AIPC::Manager::Serializer:://;
    return $protocol eq 'ConnectionUnix' && $serializer eq 'JSON' && Ipcm::Kernel::is_known() ? [ $protocol, $serializer, $route ] : undef;
}

1;
