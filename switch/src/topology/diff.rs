//! What one topology has that another has not, in an order in which it can be reported and acted on.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use shunt_config::{NetworkName, PortName};

use super::{Port, Topology};

/// One difference between two topologies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The port is gone.
    PortRemoved(PortName),
    /// The network is gone.
    NetworkRemoved(NetworkName),
    /// A new network.
    NetworkAdded(NetworkName),
    /// The network's MAC table or neighbours were rebuilt.
    TablesRebuilt(NetworkName),
    /// A new port.
    PortAdded(PortName),
    /// The port is there with other attributes (slot, network, state, frame size).
    PortChanged(PortName),
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortRemoved(port) => write!(out, "port {port} removed"),
            Self::NetworkRemoved(network) => write!(out, "network {network} removed"),
            Self::NetworkAdded(network) => write!(out, "network {network} added"),
            Self::TablesRebuilt(network) => write!(out, "tables of network {network} rebuilt"),
            Self::PortAdded(port) => write!(out, "port {port} added"),
            Self::PortChanged(port) => write!(out, "port {port} changed"),
        }
    }
}

/// The changes that lead from `old` to `new`: removals before additions, networks before the ports they hold.
pub fn diff(old: &Topology, new: &Topology) -> Vec<Change> {
    let old_ports: HashMap<_, _> = old.ports().map(|port| (&port.name, port)).collect();
    let new_ports: HashSet<_> = new.ports().map(|port| &port.name).collect();
    let old_networks: HashMap<_, _> = old.networks().iter().map(|network| (&network.name, network)).collect();
    let new_networks: HashSet<_> = new.networks().iter().map(|network| &network.name).collect();

    let mut changes = Vec::new();
    let gone = old.ports().map(|port| &port.name).filter(|name| !new_ports.contains(name));
    changes.extend(gone.cloned().map(Change::PortRemoved));
    let gone = old.networks().iter().map(|network| &network.name).filter(|name| !new_networks.contains(name));
    changes.extend(gone.cloned().map(Change::NetworkRemoved));
    for network in new.networks() {
        match old_networks.get(&network.name) {
            None => changes.push(Change::NetworkAdded(network.name.clone())),
            Some(before) => {
                if !(Arc::ptr_eq(&before.fdb, &network.fdb)
                    && Arc::ptr_eq(&before.neighbors, &network.neighbors))
                {
                    changes.push(Change::TablesRebuilt(network.name.clone()));
                }
            }
        }
    }
    for port in new.ports() {
        match old_ports.get(&port.name) {
            None => changes.push(Change::PortAdded(port.name.clone())),
            Some(before) if differs(old, before, new, port) => {
                changes.push(Change::PortChanged(port.name.clone()))
            }
            Some(_) => {}
        }
    }
    changes
}

/// Compares ports by what they mean: a network's number may differ between topologies, its name may not.
fn differs(old: &Topology, before: &Port, new: &Topology, after: &Port) -> bool {
    let name =
        |topology: &Topology, port: &Port| topology.network(port.network).map(|network| network.name.clone());
    let renumbered = Port { network: before.network, ..after.clone() };
    *before != renumbered || name(old, before) != name(new, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NetworkId, PortId};
    use crate::table::{fdb::Fdb, neighbor::NeighborTable};
    use crate::topology::{Plan, PlannedNetwork};

    fn plan(networks: &[&str], ports: &[(&str, usize, u16, bool)]) -> Plan {
        let fdb = Arc::new(Fdb::build([].into_iter()));
        let neighbors = Arc::new(NeighborTable::default());
        let network = |name: &&str| PlannedNetwork {
            name: NetworkName::new(name).unwrap(),
            fdb: fdb.clone(),
            neighbors: neighbors.clone(),
        };
        let port = |&(name, slot, network, up): &(&str, usize, u16, bool)| Port {
            id: PortId::new(slot).unwrap(),
            name: PortName::new(name).unwrap(),
            network: NetworkId(network),
            up,
            max_frame: 1514,
            l3: None,
        };
        Plan { networks: networks.iter().map(network).collect(), ports: ports.iter().map(port).collect() }
    }

    #[test]
    fn removals_come_first_and_renumbering_is_no_change() {
        let shared = plan(&["blue", "red"], &[("a", 0, 0, true), ("b", 1, 1, true), ("c", 2, 1, true)]);
        let old = Topology::build(1, &shared);
        // `blue` goes, so `red` moves from index 1 to 0; the tables are the same objects.
        let mut next = shared.clone();
        next.networks.remove(0);
        next.ports.remove(0);
        for port in &mut next.ports {
            port.network = NetworkId(0);
        }
        next.ports[1].up = false;
        let new = Topology::build(2, &next);
        let name = |text: &str| PortName::new(text).unwrap();
        assert_eq!(
            diff(&old, &new),
            [
                Change::PortRemoved(name("a")),
                Change::NetworkRemoved(NetworkName::new("blue").unwrap()),
                Change::PortChanged(name("c")),
            ]
        );
        assert!(diff(&new, &new).is_empty());
    }

    #[test]
    fn only_ports_that_are_up_are_members() {
        let topology =
            Topology::build(1, &plan(&["n"], &[("a", 5, 0, true), ("b", 3, 0, false), ("c", 1, 0, true)]));
        let members: Vec<usize> = topology.networks()[0].members.iter().map(|port| port.index()).collect();
        assert_eq!(members, [1, 5]);
    }
}
