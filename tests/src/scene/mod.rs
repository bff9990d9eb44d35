//! Whole scenes of the reference documents: nodes with a daemon each, pods, a physical switch, routers, and who reaches whom.
//!
//! A scene is one file here that says what stands around the nodes, and one configuration for each node under `tests/scenes/`,
//! as an operator would write it. Tests ([`Scene::check`]) and `scripts/lab` use the same code. Names and addresses are those of the
//! reference documents. Everything is a guard: a scene that is dropped leaves nothing.
//!
//! | part | file |
//! |---|---|
//! | what a scene is made of, and the order in which it comes up | [`build`] |
//! | the physical switch | [`fabric`] |
//! | who can and who cannot talk | [`check`] |

pub mod build;
pub mod check;
pub mod fabric;

mod overlay_geneve;
mod overlay_underlay;
mod overlay_vxlan;
mod ovn_kubernetes;
mod production;
mod router;
mod same_node;
mod underlay_routed;
mod underlay_vlan;

use crate::{LabError, Netns, Shuntd};

pub use build::{Builder, Pod};
pub use check::{Check, Outcome, Reach};
pub use fabric::Fabric;

/// Makes a scene.
pub type Make = fn() -> Result<Scene, LabError>;

/// All scenes: name, one line about it, how it is made.
pub const ALL: &[(&str, &str, Make)] = &[
    ("same-node", "two pods of one node and one beside them (reference 001)", same_node::make),
    ("overlay-vxlan", "three nodes, /32 pods behind VXLAN (references 002, 004)", overlay_vxlan::make),
    (
        "overlay-geneve",
        "three nodes, subnets over Geneve with a distributed gateway (003)",
        overlay_geneve::make,
    ),
    (
        "ovn-kubernetes",
        "two nodes, br-ex, Geneve and the management port ovn-k8s-mp0 (003)",
        ovn_kubernetes::make,
    ),
    ("underlay-routed", "two nodes, routed pods in VLAN 100 (000)", underlay_routed::make),
    ("underlay-vlan", "three nodes on trunks of VLANs 1155 to 1158 and a router (002)", underlay_vlan::make),
    (
        "overlay-underlay",
        "two nodes whose overlay pods and VLAN pods reach each other (rows A2b)",
        overlay_underlay::make,
    ),
    ("production", "reference 002 whole: overlay, underlay, the host's planes", production::make),
];

/// A scene that is up. Fields are dropped in this order: daemons, then what they are connected to.
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// Nodes in the order of the scene.
    pub nodes: Vec<Node>,
    /// Everything else with a network stack: pods, routers, machines outside.
    pub stations: Vec<Station>,
    /// Who reaches whom.
    pub checks: Vec<Check>,
    /// Command lines to try, `scripts/lab NAME` before each.
    pub hints: &'static [&'static str],
    fabric: Option<Fabric>,
}

/// A node: a namespace with a daemon in it. Programs in the namespace are the node's host.
pub struct Node {
    /// Its name in the scene.
    pub name: &'static str,
    /// The switch.
    pub shuntd: Shuntd,
    /// Where it and the host are.
    pub netns: Netns,
}

/// A network stack that is no node.
pub struct Station {
    /// Its name in the scene.
    pub name: &'static str,
    /// Its namespace.
    pub netns: Netns,
}

/// Makes the scene of that name.
///
/// # Errors
/// There is none, or a step of it fails.
pub fn make(name: &str) -> Result<Scene, LabError> {
    let known = || ALL.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
    let (.., make) = ALL
        .iter()
        .find(|(known, ..)| *known == name)
        .ok_or_else(|| LabError::Missing(format!("no scene {name}; there are {}", known())))?;
    make()
}

impl Scene {
    /// The namespace of a pod, another station, or a node's host.
    ///
    /// # Panics
    /// The scene has nobody of that name.
    #[track_caller]
    pub fn place(&self, name: &str) -> &Netns {
        let stations = self.stations.iter().map(|station| (station.name, &station.netns));
        let nodes = self.nodes.iter().map(|node| (node.name, &node.netns));
        let mut found = stations.chain(nodes).filter(|(known, _)| *known == name).map(|(_, netns)| netns);
        found.next().unwrap_or_else(|| panic!("scene {} has no {name}", self.name))
    }

    /// A node.
    ///
    /// # Panics
    /// The scene has no node of that name.
    #[track_caller]
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// The physical switch, where the scene has one.
    pub fn fabric(&self) -> Option<&Fabric> {
        self.fabric.as_ref()
    }
}

impl Node {
    /// How often frames were dropped for `reason`, over all ports.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn dropped(&self, reason: &str) -> Result<u64, LabError> {
        let rows = self.shuntd.cli(&["show", "drops", "--json"])?;
        let rows = rows.as_array().into_iter().flatten();
        Ok(rows.filter(|row| row["reason"] == reason).filter_map(|row| row["count"].as_u64()).sum())
    }

    /// A counter of a port (`rx_packets`, `tx_packets`, `drops`).
    ///
    /// # Errors
    /// The daemon does not answer, or has no such port or counter.
    pub fn counter(&self, port: &str, counter: &str) -> Result<u64, LabError> {
        let rows = self.shuntd.cli(&["show", "ports", "--json"])?;
        let row = rows.as_array().into_iter().flatten().find(|row| row["name"] == port);
        row.and_then(|row| row[counter].as_u64())
            .ok_or_else(|| LabError::Parse { what: "the counter of a port", text: rows.to_string() })
    }
}
