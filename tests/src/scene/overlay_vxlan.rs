//! The overlay of reference 002 (and 004): three nodes, pods with /32 addresses and the gateway 169.254.1.1, VXLAN between them.

use super::check::{answers, dropped, streams};
use super::{Builder, Pod, Scene};
use crate::{Interface, LabError};

/// Name, host end, node, MAC address, address.
pub(super) const PODS: [(&str, &str, &str, &str, &str); 4] = [
    ("pod-9-41", "upvx59cca7c21fa", "node1", "3e:7c:ce:00:09:29", "10.20.9.41/32"),
    ("pod-9-60", "upvx4279f78e5dc", "node1", "3e:7c:ce:00:09:3c", "10.20.9.60/32"),
    ("pod-6-10", "upvx6f1b2c3d4e5", "node2", "3e:7c:ce:00:06:0a", "10.20.6.10/32"),
    ("pod-4-5", "upvx04a5b6c7d8e", "node3", "3e:7c:ce:00:04:05", "10.20.4.5/32"),
];

/// The others that the reference lists on that node.
const MORE: [(&str, &str, &str, &str, &str); 5] = [
    ("pod-9-72", "upvx9e4d48a9851", "node1", "3e:7c:ce:00:09:48", "10.20.9.72/32"),
    ("pod-9-73", "upvxa892bdffd39", "node1", "3e:7c:ce:00:09:49", "10.20.9.73/32"),
    ("pod-9-74", "upvx7c566f2b768", "node1", "3e:7c:ce:00:09:4a", "10.20.9.74/32"),
    ("pod-9-75", "upvx2e08d01829e", "node1", "3e:7c:ce:00:09:4b", "10.20.9.75/32"),
    ("pod-9-101", "upvx1cd518c52ac", "node1", "3e:7c:ce:00:09:65", "10.20.9.101/32"),
];

/// As a CNI writes them; the gateway is on the link, whatever the pod's prefix says.
const ROUTES: &[&str] = &["169.254.1.1 scope link", "default via 169.254.1.1"];

/// Pods of an L3 overlay on these nodes.
pub(super) fn pods(build: &mut Builder, nodes: &[&str]) -> Result<(), LabError> {
    let there = PODS.iter().filter(|(_, _, node, ..)| nodes.contains(node));
    some_pods(build, &there.map(|(name, ..)| *name).collect::<Vec<_>>())
}

/// These pods of it.
pub(super) fn some_pods(build: &mut Builder, names: &[&str]) -> Result<(), LabError> {
    for (name, device, node, mac, address) in
        PODS.into_iter().chain(MORE).filter(|(name, ..)| names.contains(name))
    {
        let (mac, addrs) = (Some(mac), &[address][..]);
        build.pod(&Pod { name, node, device, mac, addrs, mtu: 1450, routes: ROUTES })?;
    }
    Ok(())
}

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("overlay-vxlan");
    build.node("node1", include_str!("../../scenes/overlay-vxlan/node1.toml"))?;
    build.node("node2", include_str!("../../scenes/overlay-vxlan/node2.toml"))?;
    build.node("node3", include_str!("../../scenes/overlay-vxlan/node3.toml"))?;
    build.bridge()?;
    for node in ["node1", "node2", "node3"] {
        build.cable(node, &Interface { name: "bond0", ..Interface::default() }, &[])?;
    }
    // The physical gateway, where nothing of the overlay may turn up.
    build.machine("gateway", true)?;
    build.cable("gateway", &Interface { addrs: &["10.186.152.254/24"], ..Interface::default() }, &[])?;
    pods(&mut build, &["node1", "node2", "node3"])?;
    some_pods(&mut build, &MORE.map(|(name, ..)| name))?;
    let checks = vec![
        answers("pod-9-60", "169.254.1.1", "its gateway, which is the switch"),
        answers("pod-9-60", "10.20.9.0", "the VTEP of its node"),
        answers("pod-9-60", "10.20.6.0", "the VTEP of another node"),
        answers("pod-9-60", "10.20.9.41", "pod-9-41 of the same node, without a tunnel"),
        streams("pod-9-60", "10.20.6.10", "pod-6-10"),
        streams("pod-6-10", "10.20.9.60", "pod-9-60"),
        streams("pod-4-5", "10.20.6.10", "pod-6-10"),
        answers("pod-9-41", "10.20.4.5", "pod-4-5"),
        answers("pod-9-60", "10.20.9.72", "pod-9-72, one of seven pods of the node"),
        answers("pod-9-72", "10.20.9.73", "pod-9-73"),
        answers("pod-9-73", "10.20.9.74", "pod-9-74"),
        answers("pod-9-74", "10.20.9.75", "pod-9-75"),
        answers("pod-9-75", "10.20.9.101", "pod-9-101"),
        answers("pod-9-101", "10.20.9.41", "pod-9-41"),
        answers("pod-6-10", "10.20.9.72", "pod-9-72, from another node"),
        answers("pod-6-10", "10.20.9.73", "pod-9-73"),
        answers("pod-6-10", "10.20.9.74", "pod-9-74"),
        answers("pod-6-10", "10.20.9.75", "pod-9-75"),
        answers("pod-9-101", "10.20.6.10", "pod-6-10"),
        dropped("pod-9-60", "10.20.3.5", "no node has that prefix", "node1", "overlay_unreachable"),
        dropped("pod-9-60", "10.20.9.61", "no pod has that address", "node1", "overlay_unreachable"),
    ];
    build.finish(
        checks,
        &[
            "exec pod-9-60 ping 10.20.6.10",
            "exec switch tcpdump -nn -e -i br0 udp port 4789",
            "shunt node1 trace --in upvx4279f78e5dc ip4.dst==10.20.6.10",
            "shunt node1 show drops",
        ],
    )
}
