//! Reference 003, the part without connections: pods over Geneve, the node's own address on br-ex, and the management port `ovn-k8s-mp0`
//! by which programs of the node and pods reach each other.

use super::check::{answers, streams};
use super::{Builder, Pod, Scene};
use crate::{Interface, LabError};

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("ovn-kubernetes");
    build.node("node1", include_str!("../../scenes/ovn-kubernetes/node1.toml"))?;
    build.node("node2", include_str!("../../scenes/ovn-kubernetes/node2.toml"))?;
    build.bridge()?;
    for node in ["node1", "node2"] {
        build.cable(node, &Interface { name: "ens33", ..Interface::default() }, &[])?;
    }
    // A host outside, which knows no route to the overlay.
    build.machine("outside", false)?;
    build.cable("outside", &Interface { addrs: &["10.184.134.7/24"], ..Interface::default() }, &[])?;
    let pods = [
        ("pod_a", "node1", "veth_pod_a", "0a:58:0a:80:00:05", "10.128.0.5/23", "default via 10.128.0.1"),
        ("pod_b", "node2", "veth_pod_b", "0a:58:0a:82:00:05", "10.130.0.5/23", "default via 10.130.0.1"),
    ];
    for (name, node, device, mac, address, route) in pods {
        let (mac, addrs, routes) = (Some(mac), &[address][..], &[route][..]);
        build.pod(&Pod { name, node, device, mac, addrs, routes, mtu: 1450 })?;
    }
    let checks = vec![
        answers("pod_a", "10.128.0.1", "its gateway, which is the switch"),
        streams("pod_a", "10.130.0.5", "pod_b"),
        // The management port.
        streams("node1", "10.128.0.5", "pod_a"),
        streams("pod_a", "10.128.0.2", "node1"),
        answers("node1", "10.130.0.5", "a pod of the other node"),
        answers("pod_b", "10.128.0.2", "the other node, by its management port"),
        answers("node1", "10.130.0.2", "the other node's management port"),
        // Outside of the overlay.
        streams("node1", "10.184.134.83", "node2"),
        answers("pod_a", "10.184.134.82", "its node, by br-ex"),
    ];
    build.finish(
        checks,
        &[
            "exec node1 ping 10.130.0.5",
            "exec node1 ip route",
            "shunt node1 trace --in ovn-k8s-mp0 ip4.dst==10.130.0.5",
            "shunt node1 ping --from br-int -c 3 10.130.0.5",
        ],
    )
}
