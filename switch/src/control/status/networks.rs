//! The networks and routers of the running topology as rows.

use serde::Serialize;

use crate::control::Control;
use crate::control::learn::NetworkLessons;
use crate::table::fib::Route;
use crate::topology::{Member, Network, Router, Topology};

/// Routes that are given of one router: what a person reads, and what fits a message.
const ROUTES_SHOWN: usize = 1_000;

/// A network of the running topology.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkRow {
    /// Name.
    pub name: String,
    /// Ports that are up.
    pub members: Vec<String>,
    /// MAC addresses known.
    pub macs: usize,
    /// Most it learns.
    pub mac_limit: u32,
    /// Addresses that turned up behind another port.
    pub mac_moves: u64,
    /// Addresses not learned because of a limit.
    pub mac_refused: u64,
    /// Neighbours known.
    pub neighbors: usize,
    /// Neighbours not learned because of a limit.
    pub neighbors_refused: u64,
    /// MTU.
    pub mtu: u16,
    /// Its router; empty when there is none.
    pub router: String,
    /// The router's addresses in it, with the length of their prefix.
    pub gateways: Vec<String>,
    /// The router's MAC address in it; empty when there is none.
    pub gateway_mac: String,
    /// Why what its `peers_file` says is not in force; empty when it is.
    pub peers_wrong: String,
}

/// A router of the running topology.
#[derive(Clone, Debug, Serialize)]
pub struct RouterRow {
    /// Name.
    pub name: String,
    /// Networks that it joins.
    pub networks: Vec<String>,
    /// Routes it has.
    pub route_count: usize,
    /// The first of them by prefix.
    pub routes: Vec<RouteRow>,
}

/// A route of the running topology.
#[derive(Clone, Debug, Serialize)]
pub struct RouteRow {
    /// Prefix.
    pub to: String,
    /// Next router; empty for subnets of the router's networks and for routes that lead nowhere.
    pub via: String,
    /// Network it leads into; empty when it leads nowhere.
    pub network: String,
    /// Leads nowhere, and the sender is told.
    pub unreachable: bool,
}

impl Control {
    /// The networks of `current` in the order of the configuration, then the VLANs of bridges that some port is in.
    pub(in crate::control) fn network_rows(&self, current: &Topology) -> Vec<NetworkRow> {
        let name = |member: &Member| {
            current.port(member.port).map_or_else(String::new, |port| port.name.to_string())
        };
        let rows = self.domains.iter().filter_map(|(id, domain)| {
            let config = self.config.networks.get(domain.network)?;
            let network = current.network(id).filter(|network| network.name == domain.name)?;
            if domain.vlan.is_some() && network.attached.is_empty() {
                return None;
            }
            let lessons = self.learned.get(&domain.name);
            Some(NetworkRow {
                name: domain.name.to_string(),
                members: network.members.iter().map(name).collect(),
                macs: network.fdb.len(),
                mac_limit: config.mac_limit,
                mac_moves: lessons.map_or(0, |lessons| lessons.moves),
                mac_refused: lessons.map_or(0, |lessons| lessons.refused),
                neighbors: network.neighbors.len(),
                neighbors_refused: lessons.map_or(0, NetworkLessons::neighbors_refused),
                mtu: self.network_mtu(config),
                router: network
                    .gateway
                    .as_ref()
                    .and(config.router.as_ref())
                    .map_or_else(String::new, ToString::to_string),
                gateways: match network.gateway {
                    Some(_) => config.gateways.iter().map(ToString::to_string).collect(),
                    None => Vec::new(),
                },
                gateway_mac: network
                    .gateway
                    .as_ref()
                    .map_or_else(String::new, |gateway| shunt_config::MacAddr::from(gateway.mac).to_string()),
                peers_wrong: self.peer_files.wrong(&domain.name),
            })
        });
        rows.collect()
    }
}

/// All routers.
pub(super) fn router_rows(topology: &Topology) -> Vec<RouterRow> {
    topology.routers().iter().map(|router| row(topology, router)).collect()
}

fn row(topology: &Topology, router: &Router) -> RouterRow {
    let joined =
        |network: &&Network| network.gateway.as_ref().is_some_and(|gateway| gateway.router == router.id);
    let name = |network: &Network| network.name.to_string();
    let routes = router.fib.iter().take(ROUTES_SHOWN).map(|row| {
        let (network, via) = match row.route {
            Route::Connected(network) => (Some(network), None),
            Route::Via(network, via) => (Some(network), Some(via)),
            Route::Blackhole | Route::Unreachable => (None, None),
        };
        RouteRow {
            to: row.prefix.to_string(),
            via: via.map_or_else(String::new, |via| via.to_string()),
            network: network.and_then(|id| topology.network(id)).map_or_else(String::new, name),
            unreachable: row.route == Route::Unreachable,
        }
    });
    RouterRow {
        name: router.name.to_string(),
        networks: topology.networks().iter().filter(joined).map(name).collect(),
        route_count: router.fib.len(),
        routes: routes.collect(),
    }
}
