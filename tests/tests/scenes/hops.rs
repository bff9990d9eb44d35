//! `traceroute` out of pods: over VXLAN, between overlay and underlay, and through a masquerade.

use shunt_tests::ovs::DAEMON;
use shunt_tests::require;
use shunt_tests::scene;
use shunt_tests::traceroute::{Probe, traceroute};

/// Every node is the gateway: its address is the one hop, wherever the other end is.
#[test]
fn traceroute_shows_a_distributed_gateway_once() {
    require!(root(), tool("traceroute"), shuntd());
    let scene = scene::make("overlay-geneve").unwrap_or_else(|error| panic!("{error}"));
    for (gateway, to) in [
        ("10.16.0.1", "10.17.0.2"),
        ("10.16.0.1", "10.17.0.3"),
        ("fd00:10:16::1", "fd00:10:17::2"),
        ("fd00:10:16::1", "fd00:10:17::3"),
    ] {
        super::answered(&scene, "pod_a", to);
        let hops = traceroute(scene.place("pod_a"), to, Probe::Udp).unwrap();
        assert_eq!(hops, [gateway, to], "{}", scene.state());
    }
}

#[test]
fn traceroute_shows_the_nodes_and_routers_on_the_way() {
    require!(root(), tool("ethtool"), tool("traceroute"), file(DAEMON), shuntd());
    let scene = scene::make("overlay-underlay").unwrap_or_else(|error| panic!("{error}"));
    for (from, way) in [
        // The node's own gateway, the other node, its pod.
        ("pod-9-60", &["169.254.1.1", "10.20.6.0", "10.20.6.10"][..]),
        ("pod-6-10", &["169.254.1.1", "10.20.9.0", "10.20.9.60"]),
        // An underlay pod by its node, which takes what is for the overlay.
        ("pod_a", &["10.186.155.1", "10.20.6.0", "10.20.6.10"]),
        // With the node's address: what the physical router answers finds its way back to the pod.
        ("pod-9-60", &["169.254.1.1", "10.186.152.254", "8.8.8.8"]),
    ] {
        let to = way[way.len() - 1];
        super::answered(&scene, from, to);
        for probe in [Probe::Udp, Probe::Icmp, Probe::Tcp(80)] {
            let hops = traceroute(scene.place(from), to, probe).unwrap();
            assert_eq!(hops, way, "{from} to {to}, {probe:?}\n{}", scene.state());
        }
    }
}
