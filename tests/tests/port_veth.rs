//! Port kind `veth`: kernel stacks on both sides, nothing changed inside the pods.

mod node;

use node::{Kind, Node, Plan, traffic};
use shunt_tests::{Ping, require};

#[test]
fn pods_exchange_everything() {
    require!(root(), tool("iperf3"), tool("perl"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], ..Plan::default() });
    traffic::all(&node.pods[0], &node.pods[1]).unwrap();
    node.assert_no_drops();
}

#[test]
fn the_switch_alone_forwards() {
    require!(root(), tool("nft"), shuntd());
    let mut node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], ..Plan::default() });
    traffic::ping(&node.pods[0], &node.pods[1], 5, 56).unwrap();
    for kind in ["bridge", "openvswitch"] {
        let devices = node.netns.exec(&["ip", "-o", "link", "show", "type", kind]).unwrap().stdout;
        assert_eq!(devices, "", "{kind}");
    }
    let rules = node.netns.exec(&["nft", "list", "ruleset"]).unwrap().stdout;
    assert_eq!(rules, "", "tables of iptables would be among them");
    node.shuntd.kill();
    let answers =
        Ping { count: 5, wait_ms: 200, ..Ping::to(&node.pods[1].v4) }.run(&node.pods[0].netns).unwrap();
    assert_eq!((answers.sent, answers.received), (5, 0), "{answers:?}");
}

#[test]
fn large_sends_pass_whole_and_the_pod_keeps_its_offloads() {
    require!(root(), tool("iperf3"), tool("ethtool"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], ..Plan::default() });
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    traffic::tcp(a, b).unwrap();
    for (name, port) in node.ports() {
        // Half of the frames are acknowledgements of 66 bytes; segments of 1514 could not reach this mean.
        let mean = port.rx_bytes / port.rx_packets;
        assert!(mean > 1600, "{name}: frames of {mean} bytes: {port:?}");
    }
    let features = a.netns.exec(&["ethtool", "-k", "eth0"]).unwrap().stdout;
    for feature in ["tx-checksumming: on", "tcp-segmentation-offload: on", "generic-segmentation-offload: on"]
    {
        assert!(features.contains(feature), "{features}");
    }
}

#[test]
fn jumbo_frames_pass() {
    require!(root(), tool("iperf3"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], mtu: 9000, ..Plan::default() });
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    for size in [8000, 9000 - 28] {
        let answers = Ping { count: 5, size, whole: true, ..Ping::to(&b.v4) }.run(&a.netns).unwrap();
        assert_eq!(answers.received, 5, "{size}: {answers:?}");
    }
    traffic::tcp(a, b).unwrap();
    traffic::thrice(|| traffic::udp(a, b, 8900)).unwrap();
    node.assert_no_drops();
}

#[test]
fn a_port_added_by_hand_works_and_one_removed_does_not() {
    require!(root(), shuntd());
    let mut node = Node::start(&Plan { pods: &[Kind::Veth], ..Plan::default() });
    let late = node::Pod::new(Kind::Veth, 2, 1500, false, &node.netns);
    node.cli("port add pod2 kind=veth device=h-pod2 network=default");
    traffic::ping(&node.pods[0], &late, 20, 56).unwrap();
    node.cli("port del pod2");
    let answers = Ping { wait_ms: 200, ..Ping::to(&late.v4) }.run(&node.pods[0].netns).unwrap();
    assert_eq!(answers.received, 0, "{answers:?}");
    assert!(!node.ports().contains_key("pod2"));
    node.pods.push(late);
}
