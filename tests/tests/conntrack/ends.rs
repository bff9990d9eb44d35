//! What runs in the pods of these scenarios, and what they are asked about.

use shunt_tests::Running;

use crate::node::{Node, PATIENCE, Pod};

/// Answers every HTTP request at port 80 of its argument with the address that asked.
const HTTP: &str = r#"
use strict; use IO::Socket::IP; $| = 1;
my $s = IO::Socket::IP->new(LocalHost => $ARGV[0], LocalPort => 80, Listen => 64, ReuseAddr => 1) or die "listen: $@";
print "ready\n";
while (my $c = $s->accept) {
    while (defined(my $line = <$c>)) { last if $line =~ /^\r?\n/ }
    my $body = $c->peerhost . "\n";
    print $c "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    close $c;
}
"#;

/// Sends a datagram to a port and prints what its socket hears of it.
pub(crate) const KNOCK: &str = r#"
use strict; use IO::Socket::IP;
my $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => 9, Proto => "udp") or die "socket: $!";
alarm 5;
$s->send("x") or die "send: $!";
defined($s->recv(my $data, 9)) ? print "answered\n" : print "heard: $!\n";
"#;

/// Sends one datagram each to so many ports from the first on.
pub(crate) const SPRAY: &str = r#"
use strict; use IO::Socket::IP;
my ($to, $first, $count) = @ARGV;
for my $port ($first .. $first + $count - 1) {
    my $s = IO::Socket::IP->new(PeerHost => $to, PeerPort => $port, Proto => "udp") or die "socket: $!";
    $s->send("x");
}
"#;

pub(crate) fn http(pod: &Pod, address: &str) -> Running {
    let server = pod.netns.spawn(&["perl", "-e", HTTP, address]).unwrap();
    server.expect("ready\n", 0, PATIENCE).unwrap();
    server
}

/// The address that the server of `to` saw, as curl got it.
#[track_caller]
pub(crate) fn seen_by(from: &Pod, to: &str) -> String {
    let got = from.netns.exec(&["curl", "-sS", "--max-time", "10", &url(to)]).unwrap();
    got.stdout.trim().to_owned()
}

/// True when the server of `to` answers within a second.
pub(crate) fn is_served(from: &Pod, to: &str) -> bool {
    let got = from.netns.cmd(&["curl", "-sS", "--max-time", "1", &url(to)]).run().unwrap();
    got.status.success()
}

fn url(host: &str) -> String {
    if host.contains(':') { format!("http://[{host}]/") } else { format!("http://{host}/") }
}

/// Sends one datagram each to so many ports of `to`.
#[track_caller]
pub(crate) fn spray(from: &Pod, to: &str, first: u16, count: u16) {
    let (first, count) = (first.to_string(), count.to_string());
    from.netns.exec(&["perl", "-e", SPRAY, to, &first, &count]).unwrap();
}

pub(crate) fn three(node: &Node) -> (&Pod, &Pod, &Pod) {
    let [a, b, outside] = &node.pods[..] else { unreachable!("three pods") };
    (a, b, outside)
}

/// The pod's address of that family.
pub(crate) fn own(pod: &Pod, v6: bool) -> &str {
    if v6 { &pod.v6 } else { &pod.v4 }
}

/// The number behind `name=` in what `conntrack -S` prints.
#[track_caller]
pub(crate) fn statistic(node: &Node, name: &str) -> u64 {
    let text = node.cli("conntrack -S");
    let words = text.lines().next().unwrap_or_default().split(' ');
    let found = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).next();
    found.map_or(0, |number| number.parse().unwrap())
}
