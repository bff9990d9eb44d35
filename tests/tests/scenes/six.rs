//! The scene `overlay-underlay` over IPv6: whose address a packet leaves with (`snat`), whom `local_route` serves, and which way answers
//! take (`return`).

use shunt_tests::iperf::Tcp;
use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::scene::{self, Scene};
use shunt_tests::{Iperf, Ping, Wire, require};

use super::{answered, dual};

/// A place, and its addresses.
pub(super) type Place = (&'static str, [&'static str; 2]);
/// Overlay pods of the two nodes.
pub(super) const OVER: [Place; 2] =
    [("pod-9-60", ["10.20.9.60", "fd00:20:0:9::60"]), ("pod-6-10", ["10.20.6.10", "fd00:20:0:6::10"])];
/// Underlay pods of the two nodes, in VLAN 1155.
pub(super) const UNDER: [Place; 2] =
    [("pod_a", ["10.186.155.6", "fd00:1155::6"]), ("pod_d", ["10.186.155.7", "fd00:1155::7"])];
/// That of node 1 in VLAN 1156, which is not paired with the overlay.
const APART: Place = ("pod_b", ["10.186.155.40", "fd00:1156::40"]);

const NODES: [(&str, &str); 2] = [
    ("node1", include_str!("../../scenes/overlay-underlay/node1.toml")),
    ("node2", include_str!("../../scenes/overlay-underlay/node2.toml")),
];

/// Both nodes with their configurations as `change` makes them.
#[track_caller]
pub(super) fn apply(scene: &Scene, change: impl Fn(String) -> String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in NODES {
        let file = dir.path().join(name);
        std::fs::write(&file, change(text.to_owned())).unwrap();
        scene.node(name).shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    }
}

/// The scene with both families, and `change` of its nodes besides.
#[track_caller]
pub(super) fn start(change: impl Fn(String) -> String) -> Scene {
    let scene = scene::make("overlay-underlay").unwrap_or_else(|error| panic!("{error}"));
    for (vlan, own) in [("vlan.1155", "fd00:1155::30/64"), ("vlan.1156", "fd00:1156::30/64")] {
        dual::give(scene.place("router"), vlan, own, None);
    }
    for ((name, [_, v6]), router) in
        [(UNDER[0], "fd00:1155::30"), (UNDER[1], "fd00:1155::30"), (APART, "fd00:1156::30")]
    {
        dual::give(scene.place(name), "eth0", &format!("{v6}/64"), Some(router));
    }
    // As over IPv4, one has a route to the overlay of its own.
    let own = ["ip", "route", "add", "fd00:20::/48", "via", "fd00:2::1", "dev", "eth0", "onlink"];
    scene.place(UNDER[1].0).exec(&own).unwrap();
    for (name, [_, v6]) in OVER {
        dual::give(scene.place(name), "eth0", &format!("{v6}/128"), Some("fd00:20::1"));
    }
    apply(&scene, |text| change(dual::with_v6(&text)));
    scene
}

fn octets(address: &str) -> [u8; 16] {
    address.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// An IPv6 packet from and to these behind `at` bytes of headers.
fn is(frame: &[u8], at: usize, from: &str, to: &str) -> bool {
    let ends = [octets(from), octets(to)].concat();
    frame.get(at - 2..at) == Some(&[0x86, 0xdd]) && frame.get(at + 8..at + 40) == Some(&ends[..])
}

/// The same in VXLAN, by the untagged `ctl`.
fn tunnelled(frame: &[u8], from: &str, to: &str) -> bool {
    frame.get(36..38) == Some(&[0x12, 0xb5]) && is(frame, 64, from, to)
}

/// The same in VLAN 1155.
fn tagged(frame: &[u8], from: &str, to: &str) -> bool {
    frame.get(12..16) == Some(&[0x81, 0, 4, 0x83]) && is(frame, 18, from, to)
}

/// All are answered, and `to` sees them come from `seen`.
#[track_caller]
fn seen_as(scene: &Scene, from: Place, to: Place, seen: &str) {
    let target = to.1[1];
    answered(scene, from.0, target);
    let wire = Wire::on(scene.place(to.0), "eth0").unwrap();
    let answers = Ping { count: 20, wait_ms: 2000, ..Ping::to(target) }.run(scene.place(from.0)).unwrap();
    assert_eq!((answers.received, answers.duplicates), (20, 0), "{} to {target}\n{}", from.0, scene.state());
    let request = |frame: &[u8]| {
        frame.get(12..14) == Some(&[0x86, 0xdd])
            && frame.get(20) == Some(&58)
            && frame.get(54) == Some(&128)
            && frame.get(38..54) == Some(&octets(target)[..])
    };
    let frame = wire.wait(PATIENCE, request).unwrap();
    assert_eq!(frame[22..38], octets(seen), "{} to {target}, which sees another than {seen}", from.0);
}

/// A second of TCP.
#[track_caller]
fn streams(scene: &Scene, from: Place, to: Place) {
    let mut iperf = Iperf::serve(scene.place(to.0), to.1[1]).unwrap();
    let carried = iperf.tcp(scene.place(from.0), &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
    assert!(carried.bytes > 1_000_000, "{} to {}: {carried:?}\n{}", from.0, to.0, scene.state());
}

#[test]
fn overlay_underlay_over_ipv6() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = start(|text| text);
    let router = Wire::on(scene.place("router"), "vlan.1155").unwrap();
    // Paired: with its own address, on the node and through the tunnel, whoever begins, by the physical router's MAC address or by a
    // route of the pod's own.
    for over in OVER {
        for under in UNDER {
            seen_as(&scene, over, under, over.1[1]);
            seen_as(&scene, under, over, under.1[1]);
        }
        streams(&scene, over, UNDER[0]);
        streams(&scene, UNDER[0], over);
    }
    // The physical router has seen none of it.
    let overlay = |frame: &Vec<u8>| {
        let part = |at: usize| frame.get(at..at + 6) == Some(&[0xfd, 0, 0, 0x20, 0, 0]);
        frame.get(12..14) == Some(&[0x86, 0xdd]) && (part(22) || part(38))
    };
    assert!(!router.seen().iter().any(overlay), "{}", scene.state());
    // What is on the node stays there.
    let node = scene.node("node1");
    let before = node.counter("bond0", "tx_packets").unwrap();
    seen_as(&scene, UNDER[0], OVER[0], UNDER[0].1[1]);
    let sent = node.counter("bond0", "tx_packets").unwrap() - before;
    assert!(sent < 10, "{sent} frames on the uplink");
    // Not paired: with the node's address in that VLAN; the other way only where the physical router knows one, which it does not.
    seen_as(&scene, OVER[0], APART, "fd00:1156::1");
    streams(&scene, OVER[0], APART);
    let lost = Ping { count: 2, wait_ms: 500, ..Ping::to(OVER[0].1[1]) }.run(scene.place(APART.0)).unwrap();
    assert_eq!(lost.received, 0, "{lost:?}");
    // `snat` "node" by name is the same as by `masquerade`; here pod_a is asked by the node in its VLAN. Without `local_route`, which
    // would send the pods' answers elsewhere.
    apply(&scene, |text| {
        dual::with_v6(&text).replacen("source = \"none\"", "source = \"node\"", 1).replacen(
            "local_route = true\n",
            "",
            1,
        )
    });
    seen_as(&scene, OVER[0], UNDER[0], "fd00:1155::1");
    streams(&scene, OVER[0], UNDER[0]);
    // And to the pod of the other node it is the node that asks, directly in the VLAN.
    apply(&scene, |text| {
        dual::with_v6(&text)
            .replacen("source = \"none\"", "source = \"node\"", 1)
            .replacen("local_route = true\n", "", 1)
            .replacen(", \"fd00:1155::7/128\"", "", 1)
    });
    seen_as(&scene, OVER[0], UNDER[1], "fd00:1155::1");
}

#[test]
fn answers_to_underlay_pods_over_ipv6_leave_as_is_asked_for() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let alone =
        |returns: &'static str| {
            move |text: String| {
                text.replacen(", \"fd00:1155::7/128\"", "", 1)
                    .replacen(", \"fd00:1155::6/128\"", "", 1)
                    .replacen("return = \"symmetric\"", &format!("return = \"{returns}\""), 1)
            }
        };
    let scene = start(alone("symmetric"));
    let (under, over) = (UNDER[0].1[1], OVER[1].1[1]);
    let lost = Ping { count: 3, wait_ms: 300, ..Ping::to(over) }.run(scene.place(UNDER[0].0)).unwrap();
    assert_eq!(lost.received, 0, "{lost:?}");
    assert!(scene.node("node2").dropped("tunnel_inner_source").unwrap() >= 3, "{}", scene.state());
    apply(&scene, |text| alone("gateway")(dual::with_v6(&text)));
    let fabric = scene.fabric().unwrap().netns();
    let [from1, from2] = ["node1.bond0", "node2.bond0"].map(|port| Wire::on(fabric, port).unwrap());
    seen_as(&scene, UNDER[0], OVER[1], under);
    seen_as(&scene, OVER[1], UNDER[0], over);
    streams(&scene, UNDER[0], OVER[1]);
    streams(&scene, OVER[1], UNDER[0]);
    from1.wait(PATIENCE, |frame| tunnelled(frame, under, over)).unwrap();
    from2.wait(PATIENCE, |frame| tagged(frame, over, under)).unwrap();
    assert!(!from1.seen().iter().any(|frame| tagged(frame, under, over)), "past the tunnel");
    assert!(!from2.seen().iter().any(|frame| tunnelled(frame, over, under)), "back in the tunnel");
}
