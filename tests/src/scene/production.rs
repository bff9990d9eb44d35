//! Reference 002, whole: two nodes with overlay pods behind VXLAN, underlay pods that share one MAC address for each node, and the
//! host's planes `mgm`, `ctl` and `biz`, all on one uplink of two links by LACP; a physical switch and a
//! router.

use super::check::{answers, dropped, silence, streams};
use super::router::{self, Vlan};
use super::{Builder, Pod, Scene, overlay_vxlan};
use crate::LabError;

/// The links of each node's `bond0`.
const MEMBERS: [&str; 2] = ["ens5f0np0", "ens7f0np0"];

/// `ctl` is untagged on the uplinks.
const TRUNK: &[&str] = &["vlan_mode=native-untagged", "tag=152", "trunks=151,152,1155,1156,1157,1158"];

const LEGS: [Vlan; 5] = [
    Vlan { device: "ctl", tag: "tag=152", addrs: &["10.186.152.254/24"] },
    Vlan { device: "vlan.1155", tag: "tag=1155", addrs: &["10.186.155.30/27"] },
    Vlan { device: "vlan.1156", tag: "tag=1156", addrs: &["10.186.155.62/27"] },
    Vlan { device: "vlan.1157", tag: "tag=1157", addrs: &["10.186.155.94/27"] },
    Vlan { device: "vlan.1158", tag: "tag=1158", addrs: &["10.186.155.126/27"] },
];

const NODE1_MAC: &str = "8e:78:9c:32:b5:72";
const NODE2_MAC: &str = "30:b9:30:3d:84:8d";

/// Name, node, host end, shared MAC address, address, route.
const UNDERLAY: [(&str, &str, &str, &str, &str, &str); 5] = [
    ("pod_a", "node1", "veth_pod_a", NODE1_MAC, "10.186.155.6/27", "default via 10.186.155.30"),
    ("pod_b", "node1", "veth_pod_b", NODE1_MAC, "10.186.155.40/27", "default via 10.186.155.62"),
    ("pod_c", "node1", "veth_pod_c", NODE1_MAC, "10.186.155.41/27", "default via 10.186.155.62"),
    ("pod_d", "node2", "veth_pod_d", NODE2_MAC, "10.186.155.7/27", "default via 10.186.155.30"),
    ("pod_e", "node2", "veth_pod_e", NODE2_MAC, "10.186.155.70/27", "default via 10.186.155.94"),
];

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("production");
    build.node("node1", include_str!("../../scenes/production/node1.toml"))?;
    build.node("node2", include_str!("../../scenes/production/node2.toml"))?;
    build.vlan_switch()?;
    for node in ["node1", "node2"] {
        build.bond(node, "bond0", &MEMBERS, TRUNK)?;
    }
    router::add(&mut build, &LEGS)?;
    overlay_vxlan::pods(&mut build, &["node1", "node2"])?;
    for (name, node, device, mac, address, route) in UNDERLAY {
        let (mac, addrs, routes) = (Some(mac), &[address][..], &[route][..]);
        build.pod(&Pod { name, node, device, mac, addrs, routes, mtu: 1500 })?;
    }
    let checks = vec![
        // Overlay.
        answers("pod-9-60", "10.20.9.41", "pod-9-41 of the same node"),
        streams("pod-9-60", "10.20.6.10", "pod-6-10"),
        streams("pod-6-10", "10.20.9.60", "pod-9-60"),
        dropped("pod-9-60", "10.20.3.5", "no node has that prefix", "node1", "overlay_unreachable"),
        silence("internet", "10.20.9.60", "an overlay pod: the physical network has no route"),
        // Underlay.
        streams("pod_a", "10.186.155.7", "pod_d"),
        answers("pod_b", "10.186.155.41", "pod_c of the same node, VLAN and MAC address"),
        answers("pod_a", "10.186.155.40", "pod_b in another VLAN of the same node: by the router"),
        streams("pod_e", "10.186.155.6", "pod_a"),
        answers("pod_a", "8.8.8.8", "a machine outside"),
        answers("internet", "10.186.155.6", "pod_a, from outside"),
        // The host and its planes.
        answers("node1", "10.186.155.6", "its own underlay pod"),
        answers("pod_a", "10.186.155.1", "its own host"),
        answers("node1", "10.186.151.101", "the other node's management plane"),
        streams("node2", "10.186.151.114", "node1"),
        answers("node1", "10.186.152.101", "the other node's control plane"),
        answers("node2", "8.8.8.8", "a machine outside, by ctl"),
    ];
    build.finish(
        checks,
        &[
            "exec pod-9-60 ping 10.20.6.10",
            "exec pod_a ping 8.8.8.8",
            "exec node1 ip route",
            "exec switch tcpdump -nn -e -i node1.ens5f0np0",
            "shunt node1 show bonds",
            "shunt node1 show drops",
        ],
    )
}
