//! Reference 001: two pods of one node in one network, no tunnel, nothing on the uplink. A third pod is in a network of its own.

use super::check::{answers, dropped, silence, streams};
use super::{Builder, Pod, Scene};
use crate::{Interface, LabError};

const CONFIG: &str = include_str!("../../scenes/same-node/node1.toml");

pub(super) fn make() -> Result<Scene, LabError> {
    let mut build = Builder::new("same-node");
    build.node("node1", CONFIG)?;
    build.bridge()?;
    build.cable("node1", &Interface { name: "eth0", ..Interface::default() }, &[])?;
    build.pod(&Pod {
        name: "pod_a",
        node: "node1",
        device: "veth_pod_a",
        mac: Some("aa:bb:cc:dd:ee:02"),
        addrs: &["10.16.0.2/16", "fd00:10:16::2/64"],
        routes: &["default via 10.16.0.1", "default via fd00:10:16::1"],
        ..Pod::default()
    })?;
    build.pod(&Pod {
        name: "pod_b",
        node: "node1",
        device: "veth_pod_b",
        mac: Some("aa:bb:cc:dd:ee:03"),
        addrs: &["10.16.0.3/16", "fd00:10:16::3/64"],
        routes: &["default via 10.16.0.1", "default via fd00:10:16::1"],
        ..Pod::default()
    })?;
    build.pod(&Pod {
        name: "pod_c",
        node: "node1",
        device: "veth_pod_c",
        addrs: &["10.16.0.4/16", "10.17.0.4/16"],
        ..Pod::default()
    })?;
    let checks = vec![
        answers("pod_a", "10.16.0.1", "its gateway, which is the switch"),
        answers("pod_b", "fd00:10:16::1", "its gateway, which is the switch"),
        streams("pod_a", "10.16.0.3", "pod_b"),
        streams("pod_b", "fd00:10:16::2", "pod_a"),
        silence("pod_a", "10.16.0.4", "pod_c, which is in another network"),
        silence("pod_c", "10.16.0.2", "pod_a, from another network"),
        dropped("pod_a", "10.17.0.4", "no route leads to pod_c's network", "node1", "no_route"),
    ];
    build.finish(
        checks,
        &[
            "exec pod_a ping 10.16.0.3",
            "shunt node1 show ports",
            "shunt node1 show fdb",
            "shunt node1 trace --in veth_pod_a ip4.dst==10.16.0.3",
        ],
    )
}
