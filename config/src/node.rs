//! `[node]`: who this node is among others, as far as services care.

use std::ops::RangeInclusive;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::{Key, key};
use crate::range;
use crate::section::Section;
use crate::service::endpoint::label;

/// The node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// What endpoints of services call it (`metadata.name` of the Node).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The zone it is in (label `topology.kubernetes.io/zone`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Ports that services may have at the node's own addresses.
    #[serde(serialize_with = "range::write")]
    pub node_ports: RangeInclusive<u16>,
}

impl Default for Node {
    fn default() -> Self {
        Node { name: None, zone: None, node_ports: 30_000..=32_767 }
    }
}

pub(crate) const KEYS: &[Key] = &[
    key("name", &[], "string", "none", "what `node` of endpoints calls this node"),
    key("zone", &[], "string", "none", "the zone it is in: endpoints whose `zones` have it are preferred"),
    key(
        "node_ports",
        &[],
        "string, two ports",
        "\"30000-32767\"",
        "ports that services may have at the node's own addresses (`node_port`)",
    ),
];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Node, Reported> {
    let default = Node::default();
    let name = section.optional("name", label);
    let zone = section.optional("zone", label);
    let node_ports = section.or("node_ports", default.node_ports, range::ports("30000-32767"));
    section.refuse_others(None);
    Ok(Node { name: name?, zone: zone?, node_ports: node_ports? })
}
