//! Reference 000: pods of two nodes in one subnet of the physical network, no encapsulation, every packet is routed.

use super::check::{answers, streams};
use super::router::{self, Vlan};
use super::{Builder, Pod, Scene};
use crate::{Interface, LabError};

const LEGS: [Vlan; 1] = [Vlan { device: "vlan.100", tag: "tag=100", addrs: &["192.168.1.1/24"] }];

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("underlay-routed");
    build.node("node1", include_str!("../../scenes/underlay-routed/node1.toml"))?;
    build.node("node2", include_str!("../../scenes/underlay-routed/node2.toml"))?;
    build.vlan_switch()?;
    for node in ["node1", "node2"] {
        build.cable(node, &Interface { name: "eth0", ..Interface::default() }, &["trunks=100"])?;
    }
    router::add(&mut build, &LEGS)?;
    let pods = [
        ("pod_a", "node1", "veth_pod_a", "aa:bb:cc:dd:ee:20", "192.168.1.20/24"),
        ("pod_b", "node2", "veth_pod_b", "aa:bb:cc:dd:ee:21", "192.168.1.21/24"),
    ];
    for (name, node, device, mac, address) in pods {
        let routes = &["default via 192.168.1.1"];
        build.pod(&Pod { name, node, device, mac: Some(mac), addrs: &[address], routes, mtu: 1500 })?;
    }
    let checks = vec![
        streams("pod_a", "192.168.1.21", "pod_b"),
        streams("pod_b", "192.168.1.20", "pod_a"),
        answers("pod_a", "192.168.1.1", "the physical router"),
        answers("pod_b", "8.8.8.8", "a machine outside"),
        answers("internet", "192.168.1.20", "pod_a, from outside"),
    ];
    build.finish(
        checks,
        &[
            "exec pod_a ping 192.168.1.21",
            "exec switch tcpdump -nn -e -i node1.eth0",
            "shunt node1 trace --in veth_pod_a ip4.dst==192.168.1.21",
            "exec pod_a ip neigh",
        ],
    )
}
