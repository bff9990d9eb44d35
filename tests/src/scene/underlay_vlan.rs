//! The flat layer 2 of reference 002: three nodes on trunks of VLANs 1155 to 1158, one physical router that joins these.

use super::check::{answers, silence, streams};
use super::router::{self, Vlan};
use super::{Builder, Pod, Scene};
use crate::{Interface, LabError};

const TRUNK: &[&str] = &["trunks=1155,1156,1157,1158"];

pub(super) const VLANS: [Vlan; 4] = [
    Vlan { device: "vlan.1155", tag: "tag=1155", addrs: &["10.186.155.30/27", "fd00:1155::30/64"] },
    Vlan { device: "vlan.1156", tag: "tag=1156", addrs: &["10.186.156.30/27", "fd00:1156::30/64"] },
    Vlan { device: "vlan.1157", tag: "tag=1157", addrs: &["10.186.157.30/27", "fd00:1157::30/64"] },
    Vlan { device: "vlan.1158", tag: "tag=1158", addrs: &["10.186.158.30/27", "fd00:1158::30/64"] },
];

/// Name, node's number, VLAN less 1000, last part of the address: as in the drawing.
const PODS: [(&str, u8, u8, u8); 15] = [
    ("a1", 1, 155, 6),
    ("a2", 1, 155, 7),
    ("b1", 1, 156, 6),
    ("c1", 1, 157, 6),
    ("d1", 1, 158, 6),
    ("a3", 2, 155, 8),
    ("b2", 2, 156, 7),
    ("b3", 2, 156, 8),
    ("c2", 2, 157, 7),
    ("d2", 2, 158, 7),
    ("a4", 3, 155, 9),
    ("b4", 3, 156, 9),
    ("c3", 3, 157, 8),
    ("c4", 3, 157, 9),
    ("d3", 3, 158, 8),
];

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("underlay-vlan");
    build.node("node1", include_str!("../../scenes/underlay-vlan/node1.toml"))?;
    build.node("node2", include_str!("../../scenes/underlay-vlan/node2.toml"))?;
    build.node("node3", include_str!("../../scenes/underlay-vlan/node3.toml"))?;
    build.vlan_switch()?;
    for node in ["node1", "node2", "node3"] {
        build.cable(node, &Interface { name: "bond0", ..Interface::default() }, TRUNK)?;
    }
    router::add(&mut build, &VLANS)?;
    for (name, node, vlan, last) in PODS {
        let mac = format!("02:00:11:{}:{node:02x}:{last:02x}", vlan - 100);
        let (v4, v6) = (format!("10.186.{vlan}.{last}/27"), format!("fd00:1{vlan}::{last}/64"));
        // The last pod of VLAN 1158 thinks that it is in 1155, too.
        let addrs: &[&str] = if name == "d3" { &[&v4, &v6, "10.186.155.20/27"] } else { &[&v4, &v6] };
        let via = (format!("default via 10.186.{vlan}.30"), format!("default via fd00:1{vlan}::30"));
        let (node, device) = (format!("node{node}"), format!("veth_{name}"));
        let routes = &[via.0.as_str(), via.1.as_str()];
        build.pod(&Pod { name, node: &node, device: &device, mac: Some(&mac), addrs, routes, mtu: 1500 })?;
    }
    let checks = vec![
        answers("a1", "10.186.155.7", "a2, same VLAN and node"),
        streams("a1", "10.186.155.8", "a3"),
        answers("a4", "fd00:1155::6", "a1, same VLAN over IPv6"),
        streams("c2", "10.186.157.9", "c4"),
        answers("a1", "10.186.155.30", "the router"),
        answers("a1", "10.186.156.6", "b1, another VLAN on the same node: by the router"),
        streams("d1", "10.186.156.9", "b4"),
        answers("d3", "fd00:1155::6", "a1, another VLAN over IPv6"),
        answers("b3", "8.8.8.8", "a machine outside"),
        answers("internet", "10.186.155.8", "a3, from outside"),
        silence("a1", "10.186.155.20", "d3, which has an address of VLAN 1155 but is in 1158"),
    ];
    build.finish(
        checks,
        &[
            "exec a1 ping 10.186.155.8",
            "exec router tcpdump -nn -e -i vlan.1155",
            "exec switch tcpdump -nn -e -i node1.bond0",
            "shunt node1 show fdb",
        ],
    )
}
