//! Overlay pods and underlay pods of two nodes talk to each other (rows A2b of docs/rows.md): delivered on the node, or through the tunnel,
//! with their own addresses or the node's, and left to the physical router where that is asked for.

use super::check::{answers, silence, streams};
use super::router::{self, Vlan};
use super::{Builder, Pod, Scene, overlay_vxlan};
use crate::{Interface, LabError};

/// `ctl` is untagged on the uplinks.
const TRUNK: &[&str] = &["vlan_mode=native-untagged", "tag=152", "trunks=152,1155,1156"];

const LEGS: [Vlan; 3] = [
    Vlan { device: "ctl", tag: "tag=152", addrs: &["10.186.152.254/24"] },
    Vlan { device: "vlan.1155", tag: "tag=1155", addrs: &["10.186.155.30/27"] },
    Vlan { device: "vlan.1156", tag: "tag=1156", addrs: &["10.186.155.62/27"] },
];

const NODE1_MAC: &str = "8e:78:9c:32:b5:72";
const NODE2_MAC: &str = "30:b9:30:3d:84:8d";

/// Name, node, host end, shared MAC address, address, routes.
type Station =
    (&'static str, &'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

/// Pod D has a route to the overlay of its own.
const UNDERLAY: [Station; 3] = [
    ("pod_a", "node1", "veth_pod_a", NODE1_MAC, "10.186.155.6/27", &["default via 10.186.155.30"]),
    ("pod_b", "node1", "veth_pod_b", NODE1_MAC, "10.186.155.40/27", &["default via 10.186.155.62"]),
    (
        "pod_d",
        "node2",
        "veth_pod_d",
        NODE2_MAC,
        "10.186.155.7/27",
        &["default via 10.186.155.30", "10.20.0.0/16 via 169.254.2.1 onlink"],
    ),
];

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("overlay-underlay");
    build.node("node1", include_str!("../../scenes/overlay-underlay/node1.toml"))?;
    build.node("node2", include_str!("../../scenes/overlay-underlay/node2.toml"))?;
    build.vlan_switch()?;
    for node in ["node1", "node2"] {
        build.cable(node, &Interface { name: "bond0", ..Interface::default() }, TRUNK)?;
    }
    router::add(&mut build, &LEGS)?;
    overlay_vxlan::some_pods(&mut build, &["pod-9-60", "pod-6-10"])?;
    for (name, node, device, mac, address, routes) in UNDERLAY {
        let (mac, addrs) = (Some(mac), &[address][..]);
        build.pod(&Pod { name, node, device, mac, addrs, routes, mtu: 1500 })?;
    }
    let checks = vec![
        // On one node, by the node: both ways, though pod_a sends to the physical router's MAC address.
        streams("pod-9-60", "10.186.155.6", "pod_a"),
        streams("pod_a", "10.20.9.60", "pod-9-60"),
        // To the other node through the tunnel, answers included.
        streams("pod_a", "10.20.6.10", "pod-6-10"),
        streams("pod-6-10", "10.186.155.6", "pod_a"),
        answers("pod-9-60", "10.186.155.7", "pod_d, an underlay pod of the other node"),
        // By a route of its own.
        streams("pod_d", "10.20.6.10", "pod-6-10"),
        answers("pod_d", "10.20.9.60", "pod-9-60 of the other node"),
        // With the node's address, into the VLAN that is not paired.
        streams("pod-9-60", "10.186.155.40", "pod_b"),
        // Another segment of the same node, by the node; its answers come back by the router.
        answers("pod_a", "10.186.155.40", "pod_b"),
        // What is not asked for is left to the physical router, which knows no overlay.
        silence("pod_b", "10.20.9.60", "pod-9-60: the physical router has no route to the overlay"),
        // The node in its VLANs, and all else as before.
        answers("pod_a", "10.186.155.1", "its node"),
        answers("pod_a", "10.186.155.30", "the physical router"),
        answers("pod_a", "10.186.155.7", "pod_d of the same VLAN"),
        streams("pod_a", "8.8.8.8", "internet"),
        answers("internet", "10.186.155.6", "pod_a, from outside"),
        answers("pod-9-60", "8.8.8.8", "a machine outside, with the node's address"),
        silence("internet", "10.20.9.60", "an overlay pod: the physical network has no route"),
    ];
    build.finish(
        checks,
        &[
            "exec pod_a ping 10.20.9.60",
            "shunt node1 trace --in eth0@pod_a ip4.dst==10.20.6.10",
            "exec router tcpdump -nn -e -i vlan.1155",
        ],
    )
}
