//! Reference 003: three nodes, subnets that switch by MAC address over Geneve, and a gateway that every node answers for.

use super::check::{answers, silence, streams};
use super::{Builder, Pod, Scene};
use crate::{Interface, LabError};

/// What Geneve over IPv4 leaves of 1500.
const MTU: u32 = 1450;
const SUBNET_A: &[&str] = &["default via 10.16.0.1", "default via fd00:10:16::1"];
const SUBNET_B: &[&str] = &["default via 10.17.0.1", "default via fd00:10:17::1"];

/// Name, host end, node, MAC address, addresses, routes.
type Place = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const PODS: [Place; 6] = [
    ("pod_a", "veth_pod_a", "node1", "aa:bb:cc:dd:ee:02", &["10.16.0.2/16", "fd00:10:16::2/64"], SUBNET_A),
    ("pod_b", "veth_pod_b", "node2", "aa:bb:cc:dd:ee:03", &["10.16.0.3/16", "fd00:10:16::3/64"], SUBNET_A),
    ("pod_c", "veth_pod_c", "node1", "aa:bb:cc:dd:17:02", &["10.17.0.2/16", "fd00:10:17::2/64"], SUBNET_B),
    ("pod_d", "veth_pod_d", "node3", "aa:bb:cc:dd:17:03", &["10.17.0.3/16", "fd00:10:17::3/64"], SUBNET_B),
    ("pod_e", "veth_pod_e", "node2", "aa:bb:cc:dd:18:09", &["10.16.0.9/16", "fd00:10:16::9/64"], &[]),
    ("pod_f", "veth_pod_f", "node3", "aa:bb:cc:dd:18:0a", &["10.16.0.10/16", "fd00:10:16::a/64"], &[]),
];

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("overlay-geneve");
    build.node("node1", include_str!("../../scenes/overlay-geneve/node1.toml"))?;
    build.node("node2", include_str!("../../scenes/overlay-geneve/node2.toml"))?;
    build.node("node3", include_str!("../../scenes/overlay-geneve/node3.toml"))?;
    build.bridge()?;
    for node in ["node1", "node2", "node3"] {
        build.cable(node, &Interface { name: "ens33", ..Interface::default() }, &[])?;
    }
    // A host outside, which knows no route to the overlay.
    build.machine("outside", false)?;
    let addrs = &["10.184.134.7/24", "fd00:184::7/64"];
    build.cable("outside", &Interface { addrs, ..Interface::default() }, &[])?;
    for (name, device, node, mac, addrs, routes) in PODS {
        build.pod(&Pod { name, node, device, mac: Some(mac), addrs, mtu: MTU, routes })?;
    }
    let checks = vec![
        streams("pod_a", "10.16.0.3", "pod_b"),
        streams("pod_b", "fd00:10:16::2", "pod_a"),
        answers("pod_a", "10.17.0.2", "pod_c, in the other subnet on the same node"),
        streams("pod_a", "10.17.0.3", "pod_d"),
        streams("pod_d", "fd00:10:16::3", "pod_b"),
        answers("pod_e", "10.16.0.10", "pod_f, in its own subnet of the same addresses"),
        silence("pod_a", "10.16.0.9", "pod_e, in a subnet without a router"),
        silence("pod_f", "10.16.0.2", "pod_a, from a subnet without a router"),
    ];
    build.finish(
        checks,
        &[
            "exec pod_a ping 10.16.0.3",
            "exec switch tcpdump -nn -e -i br0 udp port 6081",
            "shunt node1 trace --in veth_pod_a ip4.dst==10.17.0.3",
            "shunt node2 show fdb",
        ],
    )
}
