//! Every scene of the lab: who can and who cannot talk, and what is particular to each.

use shunt_tests::frames::Frame;
use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::scene::{self, Scene};
use shunt_tests::{Ping, Wire, require};

const POD_A: [u8; 6] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 2];
const POD_B: [u8; 6] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 3];

#[track_caller]
fn up(name: &str) -> Scene {
    let scene = scene::make(name).unwrap_or_else(|error| panic!("{error}"));
    scene.assert_checks();
    scene
}

#[test]
fn same_node() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("perl"), shuntd());
    let scene = up("same-node");
    let node = scene.node("node1");
    // No tunnel, no uplink.
    let before = node.counter("eth0", "tx_packets").unwrap();
    let answers = Ping { count: 20, ..Ping::to("10.16.0.3") }.run(scene.place("pod_a")).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
    assert_eq!(node.counter("eth0", "tx_packets").unwrap(), before);

    // What arrives is what was sent, byte for byte.
    let mut a = Wire::on(scene.place("pod_a"), "eth0").unwrap();
    let b = Wire::on(scene.place("pod_b"), "eth0").unwrap();
    let frame = Frame { dst: POD_B, src: POD_A, ..Frame::plain() }.bytes();
    a.send(&frame).unwrap();
    let got = b.wait(PATIENCE, |got| got[..14] == frame[..14] && got[26..38] == frame[26..38]).unwrap();
    assert_eq!(got, frame);
}

#[test]
fn overlay_vxlan() {
    require!(root(), tool("iperf3"), shuntd());
    let scene = up("overlay-vxlan");
    let node = scene.node("node1");
    // Pods of one node reach each other without a tunnel.
    let before = node.counter("bond0", "tx_packets").unwrap();
    let answers = Ping { count: 20, ..Ping::to("10.20.9.41") }.run(scene.place("pod-9-60")).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
    let sent = node.counter("bond0", "tx_packets").unwrap() - before;
    assert!(sent < 10, "{sent} frames on the uplink");
    // What the overlay does not know is not sent by the default route.
    let gateway = Wire::on(scene.place("gateway"), "eth0").unwrap();
    let lost = Ping { count: 3, wait_ms: 200, ..Ping::to("10.20.3.5") }.run(scene.place("pod-9-60")).unwrap();
    assert_eq!(lost.received, 0);
    assert!(!gateway.seen().iter().any(|frame| frame.get(30..34) == Some(&[10, 20, 3, 5])));
}

#[test]
fn overlay_geneve() {
    require!(root(), tool("iperf3"), shuntd());
    up("overlay-geneve");
}

#[test]
fn underlay_routed() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = up("underlay-routed");
    // A hop each way: the packet is routed, though both pods are in one /24.
    let there = Wire::on(scene.place("pod_b"), "eth0").unwrap();
    let answers = Ping::to("192.168.1.21").run(scene.place("pod_a")).unwrap();
    assert_eq!(answers.received, 1);
    let echo =
        |frame: &[u8]| frame.get(12..14) == Some(&[8, 0]) && frame.get(26..30) == Some(&[192, 168, 1, 20]);
    let request = there.wait(PATIENCE, echo).unwrap();
    assert!(request[22] < 64, "TTL {}", request[22]);
}

#[test]
fn underlay_vlan() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), shuntd());
    up("underlay-vlan");
}

#[test]
fn production() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    up("production");
}
