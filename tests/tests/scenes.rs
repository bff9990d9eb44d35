//! Every scene of the lab: who can and who cannot talk, and what is particular to each.

use shunt_tests::frames::Frame;
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
