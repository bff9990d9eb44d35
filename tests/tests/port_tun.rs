//! Port kind `tun`: no Ethernet header in the pod; the switch speaks ARP and neighbour discovery for it.

mod node;

use node::{Kind, Node, Plan, traffic};
use shunt_tests::{Ping, require};

#[test]
fn two_tun_pods_exchange_everything() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Tun, Kind::Tun], ..Plan::default() });
    traffic::all(&node.pods[0], &node.pods[1]).unwrap();
    assert_only_unresolved(&node);
}

#[test]
fn a_tun_pod_and_an_ethernet_pod_exchange_everything() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Tun, Kind::Veth], ..Plan::default() });
    let [tun, veth] = &node.pods[..] else { unreachable!("two pods") };
    // The first packet towards an unknown neighbour gives way to the question for it: let that be over.
    resolve(tun, &veth.v4);
    resolve(tun, &veth.v6);
    traffic::all(tun, veth).unwrap();
    assert_only_unresolved(&node);
    // It is an L3 device for the pod: no Ethernet address.
    let shown = tun.netns.exec(&["ip", "link", "show", "dev", "eth0"]).unwrap().stdout;
    assert!(shown.contains("link/none"), "{shown}");
}

#[test]
fn the_switch_answers_arp_with_the_configured_address() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan {
        pods: &[Kind::Veth],
        tail: "[[port]]\nname = \"l3\"\nkind = \"tun\"\naddresses = [\"10.0.0.9/24\"]\n\
               peer_mac = \"02:00:00:00:00:09\"\n",
        ..Plan::default()
    });
    let pod = &node.pods[0];
    let answers = Ping { count: 3, ..Ping::to("10.0.0.9") }.run(&pod.netns).unwrap();
    let neighbors = pod.netns.exec(&["ip", "neigh", "show", "10.0.0.9"]).unwrap().stdout;
    assert!(neighbors.contains("02:00:00:00:00:09"), "{neighbors}");
    // 10.0.0.9 is an address of the node itself: its own stack is the other side.
    assert!(answers.received >= 2, "{answers:?}");
    node.wait_learned("02:00:00:00:00:09", &["l3"]);
}

#[test]
fn jumbo_packets_pass() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Tun, Kind::Tun], mtu: 9000, ..Plan::default() });
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    let answers = Ping { count: 5, size: 9000 - 28, whole: true, ..Ping::to(&b.v4) }.run(&a.netns).unwrap();
    assert_eq!(answers.received, 5, "{answers:?}");
    traffic::tcp(a, b).unwrap();
}

/// Pings until an answer comes.
#[track_caller]
fn resolve(pod: &node::Pod, address: &str) {
    let answers = Ping { count: 10, interval_ms: 100, ..Ping::to(address) }.run(&pod.netns).unwrap();
    assert!(answers.received >= 8, "at most the first may wait for its neighbour: {answers:?}");
}

/// Nothing but packets that gave way to the question for their neighbour, and the answers to it.
#[track_caller]
fn assert_only_unresolved(node: &Node) {
    let drops = node.drops();
    // The switch has asked, so an ARP reply ends with it: the tun device takes only IP.
    let expected = |key: &str| key.ends_with(": neighbor_unresolved") || key.ends_with(": not_ip");
    let other: Vec<_> = drops.iter().filter(|(key, _)| !expected(key)).collect();
    assert!(other.is_empty(), "{drops:?}");
    let few: u64 = drops.values().sum();
    assert!(few <= 8, "{drops:?}");
}
