//! `return = "gateway"`: what underlay pods of another node have sent through the tunnel is answered by the underlay.

use shunt_tests::iperf::Tcp;
use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::scene::{self, Scene};
use shunt_tests::{Iperf, Ping, Wire, require};

/// The underlay pod of node 1, the overlay pod of node 2, and who has the answers' frames.
const UNDER: [u8; 4] = [10, 186, 155, 6];
const OVER: [u8; 4] = [10, 20, 6, 10];
const NODE2: [u8; 6] = [0x30, 0xb9, 0x30, 0x3d, 0x84, 0x8d];

const NODES: [(&str, &str); 2] = [
    ("node1", include_str!("../../scenes/overlay-underlay/node1.toml")),
    ("node2", include_str!("../../scenes/overlay-underlay/node2.toml")),
];

/// Both nodes know nothing of each other's underlay pods; node 2 has `returns` and these further routes.
#[track_caller]
fn apply(scene: &Scene, returns: &str, routes: &str) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in NODES {
        let file = dir.path().join(name);
        let text = text
            .replacen(", \"10.186.155.7/32\"", "", 1)
            .replacen(", \"10.186.155.6/32\"", "", 1)
            .replacen("return = \"symmetric\"", &format!("return = \"{returns}\""), 1);
        let more = format!("via = \"10.186.152.254\" }}{routes}]");
        let text =
            if name == "node2" { text.replacen("via = \"10.186.152.254\" }]", &more, 1) } else { text };
        std::fs::write(&file, text).unwrap();
        scene.node(name).shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    }
}

/// An IPv4 packet from and to these behind `at` bytes of headers.
fn is(frame: &[u8], at: usize, from: [u8; 4], to: [u8; 4]) -> bool {
    frame.get(at - 2..at) == Some(&[8, 0]) && frame.get(at + 12..at + 20) == Some(&[from, to].concat()[..])
}

/// The same in VXLAN, by the untagged `ctl`.
fn tunnelled(frame: &[u8], from: [u8; 4], to: [u8; 4]) -> bool {
    frame.get(36..38) == Some(&[0x12, 0xb5]) && is(frame, 64, from, to)
}

/// The same in VLAN 1155.
fn tagged(frame: &[u8], from: [u8; 4], to: [u8; 4]) -> bool {
    frame.get(12..16) == Some(&[0x81, 0, 4, 0x83]) && is(frame, 18, from, to)
}

#[track_caller]
fn all_answered(scene: &Scene, from: &str, to: &str) {
    super::answered(scene, from, to);
    let answers = Ping { count: 20, wait_ms: 2000, ..Ping::to(to) }.run(scene.place(from)).unwrap();
    assert_eq!((answers.received, answers.duplicates), (20, 0), "{from} to {to}: {answers:?}");
}

#[test]
fn answers_to_underlay_pods_leave_by_the_underlay_where_that_is_asked_for() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = scene::make("overlay-underlay").unwrap_or_else(|error| panic!("{error}"));
    let (under, over) = ("10.186.155.6", "10.20.6.10");

    // Who is no peer's is believed to nobody by default.
    apply(&scene, "symmetric", "");
    let lost = Ping { count: 3, wait_ms: 300, ..Ping::to(over) }.run(scene.place("pod_a")).unwrap();
    assert_eq!(lost.received, 0, "{lost:?}");
    assert!(scene.node("node2").dropped("tunnel_inner_source").unwrap() >= 3, "{}", scene.state());

    // Directly in the VLAN: out through the tunnel, back without it, and past the physical router.
    apply(&scene, "gateway", "");
    let fabric = scene.fabric().unwrap().netns();
    let [from1, from2] = ["node1.bond0", "node2.bond0"].map(|port| Wire::on(fabric, port).unwrap());
    let [pod, router] = [("pod_a", "eth0"), ("router", "vlan.1155")]
        .map(|(place, device)| Wire::on(scene.place(place), device).unwrap());
    all_answered(&scene, "pod_a", over);
    all_answered(&scene, "pod-6-10", under);
    for (server, at, client) in [("pod-6-10", over, "pod_a"), ("pod_a", under, "pod-6-10")] {
        let mut iperf = Iperf::serve(scene.place(server), at).unwrap();
        let load = Tcp { seconds: 1, ..Tcp::default() };
        let carried = iperf.tcp(scene.place(client), &load).unwrap();
        assert!(carried.bytes > 1_000_000, "{client} to {at}: {carried:?}\n{}", scene.state());
    }
    from1.wait(PATIENCE, |frame| tunnelled(frame, UNDER, OVER)).unwrap();
    from2.wait(PATIENCE, |frame| tagged(frame, OVER, UNDER)).unwrap();
    let answer = pod.wait(PATIENCE, |frame| is(frame, 14, OVER, UNDER)).unwrap();
    assert_eq!(answer[6..12], NODE2, "whose frame it is");
    assert!(!from1.seen().iter().any(|frame| tagged(frame, UNDER, OVER)), "past the tunnel");
    assert!(!from2.seen().iter().any(|frame| tunnelled(frame, OVER, UNDER)), "back in the tunnel");
    let by_router = |frame: &Vec<u8>| is(frame, 14, OVER, UNDER) || is(frame, 14, UNDER, OVER);
    assert!(!router.seen().iter().any(by_router));

    // As the routes say: a route of its own leads to the physical router, which brings it back into the VLAN.
    let rp_filter = "net/ipv4/conf/vlan.1155/rp_filter=0";
    scene.place("router").exec(&["sysctl", "-qw", "net/ipv4/conf/all/rp_filter=0", rp_filter]).unwrap();
    apply(&scene, "gateway", ", { to = \"10.186.155.6/32\", via = \"10.186.155.30\" }");
    all_answered(&scene, "pod_a", over);
    let passed = router.wait(PATIENCE, |frame| is(frame, 14, OVER, UNDER)).unwrap();
    assert_eq!(passed[6..12], NODE2);
}
