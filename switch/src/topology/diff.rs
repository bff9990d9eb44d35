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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Depth;
    use crate::ids::{NetworkId, PortId};
    use crate::table::{fdb::Fdb, fib::Fib, neighbor::NeighborTable};
    use crate::topology::{Answers, Crossing, Plan, PlannedNetwork, PlannedRouter, RouterId};
    use crate::wire::ethernet::Mac;

    fn plan(networks: &[&str], ports: &[(&str, usize, u16, bool)]) -> Plan {
        let fdb = Arc::new(Fdb::build([].into_iter()));
        let neighbors = Arc::new(NeighborTable::default());
        let network = |name: &&str| PlannedNetwork {
            name: NetworkName::new(name).unwrap(),
            fdb: fdb.clone(),
            neighbors: neighbors.clone(),
            gateway: None,
            answers: Answers::Own,
            demux: None,
            host: None,
            mtu: 1500,
            mss_clamp: false,
            masquerade: false,
            closed: false,
            zone: 0,
            tracks_bridged: false,
            policies: None,
            storm_limit: 0,
            forward_control: false,
            meter: None,
            crossing: Crossing::default(),
        };
        let port = |&(name, slot, network, up): &(&str, usize, u16, bool)| Port {
            id: PortId::new(slot).unwrap(),
            name: PortName::new(name).unwrap(),
            network: NetworkId(network),
            vlans: None,
            up,
            max_frame: 1514,
            l3: None,
            identity: None,
            guarded: false,
            mirror: None,
            meter: None,
        };
        let (networks, ports) = (networks.iter().map(network).collect(), ports.iter().map(port).collect());
        Plan { networks, ports, ..Plan::default() }
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
    fn routers_and_gateways_are_compared_by_what_they_mean() {
        let fib = || Arc::new(Fib::build([]));
        let router = |name: &str| PlannedRouter { name: RouterName::new(name).unwrap(), fib: fib() };
        let gateway = |router| Gateway {
            mac: Mac(2),
            addresses: [("10.0.0.1".parse().unwrap(), 24)].into(),
            router: RouterId(router),
        };
        let mut old = plan(&["blue", "red"], &[]);
        old.routers = vec![router("a"), router("b")];
        old.networks[0].gateway = Some(gateway(1));
        // `a` goes, so `b` moves from index 1 to 0 and blue's gateway is the same; `c` comes, and red gets a gateway.
        let mut new = old.clone();
        new.routers.remove(0);
        new.routers.push(router("c"));
        new.networks[0].gateway = Some(gateway(0));
        new.networks[1].gateway = Some(gateway(1));
        let name = |text: &str| RouterName::new(text).unwrap();
        let topologies = (Topology::build(1, &old), Topology::build(2, &new));
        assert_eq!(
            diff(&topologies.0, &topologies.1),
            [
                Change::RouterRemoved(name("a")),
                Change::RouterAdded(name("c")),
                Change::GatewayChanged(NetworkName::new("red").unwrap()),
            ]
        );
        let mut rebuilt = new.clone();
        rebuilt.routers[0].fib = fib();
        let rebuilt = Topology::build(3, &rebuilt);
        assert_eq!(diff(&topologies.1, &rebuilt), [Change::RoutesRebuilt(name("b"))]);
        assert_eq!(rebuilt.router(RouterId(1)).unwrap().name, name("c"));
    }

    #[test]
    fn a_network_is_looked_into_as_deep_as_its_stages_read() {
        let mut routed = plan(&["routed", "bridge"], &[]);
        routed.routers =
            vec![PlannedRouter { name: RouterName::new("r").unwrap(), fib: Arc::new(Fib::build([])) }];
        routed.networks[0].gateway = Some(Gateway { mac: Mac(2), addresses: [].into(), router: RouterId(0) });
        let depths = |plan: &Plan| {
            let topology = Topology::build(1, plan);
            topology.networks().iter().map(|network| (network.has_l3, network.depth)).collect::<Vec<_>>()
        };
        assert_eq!(depths(&routed), [(true, Depth::Network), (false, Depth::Ethernet)]);
        routed.full_key = true;
        assert_eq!(depths(&routed), [(true, Depth::Transport), (false, Depth::Transport)]);
    }

    #[test]
    fn only_ports_that_are_up_are_members() {
        let topology =
            Topology::build(1, &plan(&["n"], &[("a", 5, 0, true), ("b", 3, 0, false), ("c", 1, 0, true)]));
        let members: Vec<usize> =
            topology.networks()[0].members.iter().map(|member| member.port.index()).collect();
        assert_eq!(members, [1, 5]);
    }
}
