//! What one topology has that another has not, in an order in which it can be reported and acted on.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use shunt_config::{NetworkName, PortName, RouterName};

use super::{Gateway, Network, Port, Topology};

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
    /// The network's gateway came, went, or has other addresses or another router.
    GatewayChanged(NetworkName),
    /// The router is gone.
    RouterRemoved(RouterName),
    /// A new router.
    RouterAdded(RouterName),
    /// The router's routes were rebuilt.
    RoutesRebuilt(RouterName),
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
            Self::GatewayChanged(network) => write!(out, "gateway of network {network} changed"),
            Self::RouterRemoved(router) => write!(out, "router {router} removed"),
            Self::RouterAdded(router) => write!(out, "router {router} added"),
            Self::RoutesRebuilt(router) => write!(out, "routes of router {router} rebuilt"),
            Self::PortAdded(port) => write!(out, "port {port} added"),
            Self::PortChanged(port) => write!(out, "port {port} changed"),
        }
    }
}

/// The changes that lead from `old` to `new`: removals before additions, routers before the networks they join, networks
/// before the ports they hold.
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
    routers(old, new, &mut changes);
    for network in new.networks() {
        match old_networks.get(&network.name) {
            None => changes.push(Change::NetworkAdded(network.name.clone())),
            Some(before) => {
                if !(Arc::ptr_eq(&before.fdb, &network.fdb)
                    && Arc::ptr_eq(&before.neighbors, &network.neighbors))
                {
                    changes.push(Change::TablesRebuilt(network.name.clone()));
                }
                if !same_gateway(old, before, new, network) {
                    changes.push(Change::GatewayChanged(network.name.clone()));
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

fn routers(old: &Topology, new: &Topology, changes: &mut Vec<Change>) {
    let named = |topology: &'_ Topology, name: &RouterName| {
        topology.routers().iter().find(|router| router.name == *name).map(|router| router.fib.clone())
    };
    let gone = old.routers().iter().filter(|router| named(new, &router.name).is_none());
    changes.extend(gone.map(|router| Change::RouterRemoved(router.name.clone())));
    for router in new.routers() {
        match named(old, &router.name) {
            None => changes.push(Change::RouterAdded(router.name.clone())),
            Some(before) if !Arc::ptr_eq(&before, &router.fib) => {
                changes.push(Change::RoutesRebuilt(router.name.clone()))
            }
            Some(_) => {}
        }
    }
}

/// Compares gateways by what they mean: a router's number may differ between topologies, its name may not.
fn same_gateway(old: &Topology, before: &Network, new: &Topology, after: &Network) -> bool {
    let router = |topology: &Topology, gateway: &Gateway| {
        topology.router(gateway.router).map(|router| router.name.clone())
    };
    match (&before.gateway, &after.gateway) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.mac == b.mac && a.addresses == b.addresses && router(old, a) == router(new, b)
        }
        _ => false,
    }
}

/// Compares ports by what they mean: a network's number may differ between topologies, its name may not.
fn differs(old: &Topology, before: &Port, new: &Topology, after: &Port) -> bool {
    let name =
        |topology: &Topology, port: &Port| topology.network(port.network).map(|network| network.name.clone());
    let renumbered = Port { network: before.network, ..after.clone() };
    *before != renumbered || name(old, before) != name(new, after)
}
