//! Several tunnel packets in one large UDP send that are no one send inside: a program with a UDP socket makes them (`UDP_SEGMENT`),
//! the kernel hands them over whole, and each is opened by itself.

use shunt_tests::{Interface, Netns, Shuntd, Veth};

use super::far::Fdb;
use super::near;
use super::plan::{Kind, Side, Transport};
use super::talk::{echo_requests, until_answered};

const PACKETS: u64 = 10;

/// Echo requests in VXLAN, all by one call; ends when as many answers have come.
const SEND: &str = r#"
use strict; use Socket;
my ($count) = @ARGV;
sub sum { my $s = 0; $s += $_ for unpack("n*", $_[0]); $s = ($s & 0xffff) + ($s >> 16) while $s >> 16; return ~$s & 0xffff }
socket(my $s, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
bind($s, pack_sockaddr_in(4789, inet_aton("192.0.2.2"))) or die "bind: $!";
my $train = "";
for my $n (1 .. $count) {
    my $echo = pack("CCnnn", 8, 0, 0, 77, $n) . chr($n) x 64;
    substr($echo, 2, 2) = pack("n", sum($echo));
    my $ip = pack("CCnnnCCna4a4", 0x45, 0, 20 + length($echo), $n, 0, 64, 1, 0, inet_aton("10.50.0.2"), inet_aton("10.50.0.1"));
    substr($ip, 10, 2) = pack("n", sum($ip));
    my $ethernet = pack("H12H12n", "020000500001", "020000500002", 0x0800);
    $train .= pack("NN", 0x08000000, 2 << 8) . $ethernet . $ip . $echo;
}
setsockopt($s, 17, 103, pack("i", length($train) / $count)) or die "UDP_SEGMENT: $!";
defined(send($s, $train, 0, pack_sockaddr_in(4789, inet_aton("192.0.2.1")))) or die "send: $!";
for (1 .. $count) { defined(recv($s, my $answer, 2000, 0)) or die "recv: $!" }
"#;

/// All of them reach the pod.
pub(crate) fn of_packets_that_are_not_one_send() {
    let (node, pod, far) = (Netns::new().unwrap(), Netns::new().unwrap(), Netns::new().unwrap());
    let uplink = Interface { name: "uplink", addrs: &["192.0.2.2/24"], ..Interface::default() };
    // Both end with their namespaces.
    std::mem::forget(Veth::pair("uplink", Some(&node), &far, &uplink).unwrap());
    let address = format!("{}/24", Side::Near.inner_v4());
    let inside =
        Interface { mac: Some(Side::Near.mac()), addrs: &[&address], mtu: 1450, ..Interface::default() };
    std::mem::forget(Veth::pair("pod", Some(&node), &pod, &inside).unwrap());
    let fdb = Fdb::Static { mac: Side::Far.mac() };
    let shuntd = Shuntd::start_in(&node, &near::config(Kind::Vxlan, Transport::V4, fdb, "")).unwrap();
    let state = || shuntd.cli_text(&["show", "drops"]).unwrap_or_else(|error| error.to_string());
    // The transport network's own addresses answer once all ports are open.
    until_answered(&far, Side::Near.outer(Transport::V4), &state);
    let received = || -> u64 {
        let ports = shuntd.cli(&["show", "ports", "--json"]).unwrap();
        let row = ports.as_array().into_iter().flatten().find(|row| row["name"] == "uplink").unwrap();
        row["rx_packets"].as_u64().unwrap()
    };
    let (heard, before) = (echo_requests(&pod), received());
    far.exec(&["perl", "-e", SEND, &PACKETS.to_string()]).unwrap();
    assert_eq!(echo_requests(&pod), heard + PACKETS, "{}", state());
    assert!(received() - before < PACKETS, "they came one by one, which is not what this test is about");
}
