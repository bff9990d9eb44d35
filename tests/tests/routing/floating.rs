//! Floating addresses, each of which stands for one pod, both ways; and the pool that other pods leave with.

use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Iperf, require};

use crate::lab::{Places, Sniffer, apply, config, echo, routed, until_answered};
use crate::node::{Kind, Node, Pod};

/// Two pods of network 1, and a station of network 2 without any route.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Tap, 1), (Kind::Veth, 2)];
/// Stand for the first pod, in the subnet of network 2, over IPv4 and IPv6.
const FLOATING: [&str; 2] = ["10.0.2.77", "fd00:2::77"];
const POOLED: [&str; 2] = ["10.0.2.78", "fd00:2::78"];
const POOL: &str = "snat_pool = [\"10.0.2.78\", \"fd00:2::78\"]\n";

fn told(node: &Node, router: &str) {
    let text = config("", &node.pods, PLACES)
        .replacen("name = \"common\"\n", &format!("name = \"common\"\n{router}"), 1)
        .replacen("name = \"net1\"\n", "name = \"net1\"\nmasquerade = true\n", 1);
    apply(node, &text);
}

fn address(pod: &Pod, family: usize) -> &str {
    [&pod.v4, &pod.v6][family]
}

/// Who the echo requests of `pod` to `outside` seem to come from.
fn seen_as(pod: &Pod, outside: &Pod, family: usize) -> String {
    let sniffer = Sniffer::on(outside);
    assert!(echo(pod, address(outside, family), 64));
    if family == 0 {
        let request = sniffer.wait(|frame| frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 8);
        return request[26..30].iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    }
    let request = sniffer.wait(|frame| frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 128);
    let source: [u8; 16] = request[22..38].try_into().unwrap();
    std::net::Ipv6Addr::from(source).to_string()
}

#[test]
fn a_floating_address_stands_for_its_pod_both_ways() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = routed(PLACES, "");
    let [a, tap, outside] = &node.pods[..] else { unreachable!("three pods") };
    for family in ["-4", "-6"] {
        outside.netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    let rule = |family: usize| {
        format!("{{ external = \"{}\", internal = \"{}\" }}", FLOATING[family], address(a, family))
    };
    told(&node, &format!("floating_ips = [{}, {}]\n{POOL}", rule(0), rule(1)));
    for family in [0, 1] {
        let (floating, pooled) = (FLOATING[family], POOLED[family]);
        let (own, beyond) = (address(a, family), address(outside, family));
        until_answered(&node, outside, floating);
        until_answered(&node, a, beyond);
        until_answered(&node, tap, beyond);
        assert_eq!(
            (seen_as(a, outside, family), seen_as(tap, outside, family)),
            (floating.into(), pooled.into())
        );
        // From inside, and from the pod itself, it is the same pod.
        for pod in [tap, a] {
            assert!(echo(pod, floating, 64), "{} to {floating}: {:?}", pod.port, node.drops());
        }
        let mut server = Iperf::serve(&a.netns, own).unwrap().known_as(floating);
        for reverse in [false, true] {
            let carried = server.tcp(&outside.netns, &Tcp { seconds: 1, reverse, ..Tcp::default() }).unwrap();
            assert!(carried.gbits > 0.01, "{floating}, reverse {reverse}: {carried:?}");
            let load = Udp { seconds: 1, mbits: 20, reverse, ..Udp::default() };
            let carried = server.udp(&outside.netns, &load).unwrap();
            assert_eq!(carried.lost_on_the_way(), 0, "{floating}, reverse {reverse}: {carried:?}");
        }
        let listed = node.cli(&format!("conntrack -L -p tcp -d {floating}"));
        let answers = format!("src={own} dst={beyond} sport=5201");
        assert!(!listed.is_empty() && listed.lines().all(|line| line.contains(&answers)), "{listed}");
        // Who leaves with an address of the pool is answered there, over TCP and UDP.
        let mut server = Iperf::serve(&outside.netns, beyond).unwrap();
        let carried = server.tcp(&tap.netns, &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
        assert!(carried.gbits > 0.01, "{pooled}: {carried:?}");
        let carried = server.udp(&tap.netns, &Udp { seconds: 1, mbits: 20, ..Udp::default() }).unwrap();
        assert_eq!(carried.lost_on_the_way(), 0, "{pooled}: {carried:?}");
        let listed = node.cli(&format!("conntrack -L -p tcp -s {}", address(tap, family)));
        let answers = format!("src={beyond} dst={pooled} sport=5201");
        assert!(!listed.is_empty() && listed.lines().all(|line| line.contains(&answers)), "{listed}");
    }
    // With the address its connections go, too.
    told(&node, POOL);
    for family in [0, 1] {
        let floating = FLOATING[family];
        assert!(!echo(outside, floating, 64));
        assert_eq!(node.cli(&format!("conntrack -L -d {floating}")), "");
        assert_eq!(seen_as(a, outside, family), POOLED[family]);
    }
}
