//! What a pod's kernel makes of the switch's ICMP messages.

use crate::node::Pod;

/// Connects a socket and says a word: an error that comes by ICMP is the next call's.
const CONNECT: &str = r#"
use strict; use Socket qw(:DEFAULT getaddrinfo);
my ($to, $kind) = @ARGV; my $type = $kind eq "SOCK_STREAM" ? SOCK_STREAM : SOCK_DGRAM;
my ($error, $found) = getaddrinfo($to, "9999", { socktype => $type, flags => Socket::AI_NUMERICHOST });
die $error if $error;
socket(my $s, $found->{family}, $type, 0) or die "socket: $!";
$SIG{ALRM} = sub { print "timed out\n"; exit };
alarm 5;
connect($s, $found->{addr}) or do { print "$!\n"; exit };
send($s, "x", 0) or do { print "$!\n"; exit };
defined(recv($s, my $answer, 9, 0)) or do { print "$!\n"; exit };
print "answered\n";
"#;

/// What becomes of a connection from the pod to port 9999 of `to`.
#[track_caller]
pub(crate) fn connect(from: &Pod, to: &str, kind: &str) -> String {
    let argv = ["perl", "-e", CONNECT, to, kind];
    from.netns.cmd(&argv).env("LC_ALL", "C").check().unwrap().stdout.to_lowercase()
}

/// What `ping` with these arguments says about one request.
#[track_caller]
pub(crate) fn ping(from: &Pod, args: &[&str]) -> String {
    let argv = [&["ping", "-n", "-c", "1", "-W", "2"], args].concat();
    from.netns.cmd(&argv).env("LC_ALL", "C").run().unwrap().stdout
}

/// Sends datagrams that no router passes on: IP_TTL (option 2 at level 0) is 1. What comes back is an error of the next send.
const DIE: &str = r#"
use strict; use Socket;
my ($to, $count) = @ARGV;
socket(my $s, PF_INET, SOCK_DGRAM, 0) or die "socket: $!";
setsockopt($s, 0, 2, pack("i", 1)) or die "ttl: $!";
my $there = sockaddr_in(9, inet_aton($to));
for (1 .. $count) { send($s, "x", 0, $there) }
"#;

/// Sends so many datagrams with a TTL of 1 as fast as they go.
#[track_caller]
pub(crate) fn die(from: &Pod, to: &str, count: u32) {
    from.netns.exec(&["perl", "-e", DIE, to, &count.to_string()]).unwrap();
}
