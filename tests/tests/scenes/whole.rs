//! Large sends between pods of two nodes: whole on every port of the switch, whole on the wire where the physical network takes them
//! so, and cut by the uplink's device where it must be.

use shunt_tests::iperf::Tcp;
use shunt_tests::ovs;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::scene::{self, Scene};
use shunt_tests::{Iperf, Running, require};

const FROM: &str = "pod-9-60";
const TO: (&str, &str) = ("pod-6-10", "10.20.6.10");
/// Ports on the way of the data: node, port, and the counters of that direction.
const WAY: [(&str, &str, &str); 4] = [
    ("node1", "upvx4279f78e5dc", "rx"),
    ("node1", "bond0", "tx"),
    ("node2", "bond0", "rx"),
    ("node2", "upvx6f1b2c3d4e5", "tx"),
];
/// Of the uplinks, and the Ethernet header that a capture counts with it.
const MTU: u64 = 1500;
const LONGEST: u64 = MTU + 14;

/// Frames and bytes that a port has carried.
#[track_caller]
fn carried(scene: &Scene, (node, port, direction): (&str, &str, &str)) -> (u64, u64) {
    let count = |what: &str| scene.node(node).counter(port, &format!("{direction}_{what}")).unwrap();
    (count("packets"), count("bytes"))
}

/// The mean length of what each port of the way carries during a second of TCP, in bytes.
#[track_caller]
fn mean_lengths(scene: &Scene) -> [u64; 4] {
    let before = WAY.map(|port| carried(scene, port));
    let mut iperf = Iperf::serve(scene.place(TO.0), TO.1).unwrap();
    let result = iperf.tcp(scene.place(FROM), &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
    assert!(result.bytes > 10_000_000, "{result:?}\n{}", scene.state());
    let after = WAY.map(|port| carried(scene, port));
    std::array::from_fn(|at| (after[at].1 - before[at].1) / (after[at].0 - before[at].0).max(1))
}

/// Shows the tunnel packets of node 1 on the physical switch's end of its cable that are longer, or not longer, than a frame may be.
#[track_caller]
fn watch(scene: &Scene, filter: &str) -> Running {
    let words = ["tcpdump", "-i", "node1.bond0", "-Q", "in", "-nn", "-l", "--immediate-mode", "-c", "1"];
    let filter = format!("udp dst port 4789 and {filter} {LONGEST}");
    let capture = scene.fabric().unwrap().netns().spawn(&[&words[..], &[&filter]].concat()).unwrap();
    capture.stderr().wait_for("listening on", 0, PATIENCE).unwrap();
    capture
}

#[test]
fn large_sends_stay_whole_until_the_uplink_must_cut_them() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("ethtool"), shuntd());
    let scene = scene::make("overlay-vxlan").unwrap_or_else(|error| panic!("{error}"));
    super::answered(&scene, FROM, TO.1);

    // The physical network is kernels that take a large UDP send whole: nobody cuts.
    let (mut longer, mut whole) = (watch(&scene, "len >"), watch(&scene, "len <="));
    let means = mean_lengths(&scene);
    assert!(means.iter().all(|mean| *mean > 4 * MTU), "{WAY:?}: {means:?}");
    longer.wait(PATIENCE).unwrap();
    // Acknowledgements and the first segments of a connection: the filter sees both.
    whole.wait(PATIENCE).unwrap();

    // A device that cannot: the switch hands it over whole as before, and the wire has nothing longer than a frame.
    ovs::plain(&scene.node("node1").netns, "bond0").unwrap();
    let (longer, mut whole) = (watch(&scene, "len >"), watch(&scene, "len <="));
    let means = mean_lengths(&scene);
    assert!(means[..2].iter().all(|mean| *mean > 4 * MTU), "{WAY:?}: {means:?}");
    assert!(means[2] <= LONGEST, "{WAY:?}: {means:?}");
    whole.wait(PATIENCE).unwrap();
    assert_eq!(longer.stdout().text(0), "", "longer than the MTU on the wire");
}
