//! The tables of the running topology, to be read off the control thread.
//!
//! The tables are shared (`Arc`), so a [`Picture`] costs the control thread a copy of names and pointers however large they
//! are; whoever asked makes rows of it on a thread of his own. The rows are what `shunt route`, `neigh` and `dump-flows`
//! print and what JSON shows.

use std::collections::HashSet;
use std::net::IpAddr;

use serde::Serialize;

use super::Control;
use super::flows::words;
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::Place;
use crate::table::fib::{Route, Row};
use crate::topology::tunnels::Overlay;
use crate::topology::{Network, Port, Router, Topology};
use crate::wire::ethernet::Mac;

/// Ports, networks and routers of one topology.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Generation of the topology.
    pub generation: u64,
    /// The second on the workers' clock in which it was taken.
    pub now: u32,
    /// All ports in the order of their slots.
    pub ports: Vec<Port>,
    /// All networks, by id.
    pub networks: Vec<Network>,
    /// All routers, by id.
    pub routers: Vec<Router>,
    /// The overlays among the networks.
    pub overlays: Vec<Overlay>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteEntry {
    /// Router.
    pub router: String,
    /// Prefix.
    pub to: String,
    /// `link`, `via`, `blackhole` or `unreachable`.
    pub kind: &'static str,
    /// Next router; empty unless `via`.
    pub via: String,
    /// Network it leads into; empty when it leads nowhere.
    pub network: String,
    /// Port behind which the address of a host route is, when it is known.
    pub port: String,
    /// The router's own address there.
    pub source: String,
    /// The next router is in no subnet of the network.
    pub onlink: bool,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeighborEntry {
    /// Network.
    pub network: String,
    /// IP address.
    pub address: String,
    /// MAC address.
    pub mac: String,
    /// Port behind which its MAC address is, when it is known.
    pub port: String,
    /// Given by configuration.
    pub fixed: bool,
    /// An address of the switch itself.
    pub own: bool,
    /// Seconds since it was confirmed.
    pub age: u32,
}

/// Why there is no route to be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// There is no such router.
    #[error("there is no router {0:?}; {1}")]
    NoRouter(String, String),
    /// There is no such network.
    #[error("there is no network {0:?}; {1}")]
    NoNetwork(String, String),
    /// No router, or no single one, has a route to the address.
    #[error("{0} is unreachable: {1} has no route to it")]
    NoRoute(IpAddr, String),
    /// It must be said whose route is meant.
    #[error("there are several routers ({0}); say whose route with `table NAME`")]
    WhichRouter(String),
    /// Nothing is routed.
    #[error("there is no router; nothing is routed")]
    Unrouted,
}

impl Control {
    /// The tables as the workers see them now.
    pub fn picture(&self) -> Picture {
        Picture::of(self.publisher.current(), self.now())
    }
}

fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) }
}

impl Picture {
    /// That of `topology` in second `now` of the workers' clock.
    pub fn of(topology: &Topology, now: u32) -> Self {
        Self {
            generation: topology.generation(),
            now,
            ports: topology.ports().cloned().collect(),
            networks: topology.networks().to_vec(),
            routers: topology.routers().to_vec(),
            overlays: topology.networks().iter().filter_map(|it| topology.overlay(it.id)).cloned().collect(),
        }
    }

    /// The port in a slot.
    pub fn port(&self, id: PortId) -> Option<&Port> {
        let at = self.ports.binary_search_by_key(&id, |port| port.id).ok()?;
        self.ports.get(at)
    }

    /// A network.
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(id.index())
    }

    /// The networks that are meant by a name: all by the empty one.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn networks_named(&self, name: &str) -> Result<Vec<&Network>, PictureError> {
        let wanted = |network: &&Network| name.is_empty() || network.name.as_str() == name;
        let meant: Vec<&Network> = self.networks.iter().filter(wanted).collect();
        if meant.is_empty() && !name.is_empty() {
            let all = names(self.networks.iter().map(|network| network.name.as_str()));
            return Err(PictureError::NoNetwork(name.to_owned(), all));
        }
        Ok(meant)
    }

    /// What makes a network an overlay.
    pub fn overlay(&self, id: NetworkId) -> Option<&Overlay> {
        self.overlays.iter().find(|overlay| overlay.planned.network == id)
    }

    /// The port behind which a station of a network is.
    pub fn behind(&self, network: &Network, mac: Mac) -> Option<&Port> {
        match network.fdb.get(mac)?.place() {
            Place::Port(port) => self.port(port),
            Place::Peer(_) => None,
        }
    }

    /// The routes of one router or of all, by router and prefix.
    ///
    /// # Errors
    /// There is no such router.
    pub fn routes(&self, router: &str) -> Result<Vec<RouteEntry>, PictureError> {
        let meant = self.routers_named(router)?;
        Ok(meant.iter().flat_map(|router| router.fib.iter().map(|row| self.route(router, row))).collect())
    }

    fn routers_named(&self, name: &str) -> Result<Vec<&Router>, PictureError> {
        let meant: Vec<&Router> =
            self.routers.iter().filter(|router| name.is_empty() || router.name.as_str() == name).collect();
        if meant.is_empty() && !name.is_empty() {
            let all = names(self.routers.iter().map(|router| router.name.as_str()));
            return Err(PictureError::NoRouter(name.to_owned(), all));
        }
        Ok(meant)
    }

    /// The route that a packet to `address` takes, with the longest matching prefix.
    ///
    /// # Errors
    /// There is no such router, it is not clear whose route is meant, or there is none.
    pub fn route_to(&self, router: &str, address: IpAddr) -> Result<RouteEntry, PictureError> {
        let meant = self.routers_named(router)?;
        let [router] = meant[..] else {
            let Some(first) = meant.first() else { return Err(PictureError::Unrouted) };
            let rest = meant.iter().skip(1).map(|router| format!(", {}", router.name));
            return Err(PictureError::WhichRouter(rest.fold(first.name.to_string(), |all, one| all + &one)));
        };
        let holds = router.fib.iter().filter(|row| row.prefix.contains(&address));
        match holds.max_by_key(|row| row.prefix.prefix_len()) {
            Some(row) => Ok(self.route(router, row)),
            None => Err(PictureError::NoRoute(address, format!("router {}", router.name))),
        }
    }

    fn route(&self, router: &Router, row: &Row) -> RouteEntry {
        let (kind, network, via) = match row.route {
            Route::Connected(network) => ("link", self.network(network), None),
            Route::Via(network, via) => ("via", self.network(network), Some(via)),
            Route::Blackhole => ("blackhole", None, None),
            Route::Unreachable => ("unreachable", None, None),
        };
        let gateway = network.and_then(|network| network.gateway.as_ref());
        let host = row.prefix.prefix_len() == row.prefix.max_prefix_len();
        let port = network.filter(|_| host && via.is_none()).and_then(|network| {
            self.behind(network, network.neighbors.get(row.prefix.addr()).filter(|it| !it.own)?.mac)
        });
        let inside = gateway.and_then(|gateway| gateway.source_for(via.unwrap_or(row.prefix.addr())));
        let same = |address: &&IpAddr| address.is_ipv4() == row.prefix.addr().is_ipv4();
        let any = || gateway?.addresses.iter().map(|(address, _)| address).find(same).copied();
        RouteEntry {
            router: router.name.to_string(),
            to: row.prefix.to_string(),
            kind,
            via: via.map_or_else(String::new, |via| via.to_string()),
            network: network.map_or_else(String::new, |network| network.name.to_string()),
            port: port.map_or_else(String::new, |port| port.name.to_string()),
            source: inside.or_else(any).map_or_else(String::new, |source| source.to_string()),
            onlink: via.is_some() && inside.is_none(),
        }
    }

    /// The neighbours of one network or of all, by network and address.
    ///
    /// # Errors
    /// There is no such network.
    pub fn neighbors(&self, network: &str) -> Result<Vec<NeighborEntry>, PictureError> {
        let mut rows = Vec::new();
        for network in self.networks_named(network)? {
            let mut known: Vec<_> = network.neighbors.iter().collect();
            known.sort_by_key(|row| row.address);
            rows.extend(known.into_iter().map(|row| {
                NeighborEntry {
                    network: network.name.to_string(),
                    address: row.address.to_string(),
                    mac: words::mac(row.neighbor.mac),
                    port: self
                        .behind(network, row.neighbor.mac)
                        .map_or_else(String::new, |port| port.name.to_string()),
                    fixed: row.neighbor.fixed,
                    own: row.neighbor.own,
                    age: if row.neighbor.fixed { 0 } else { self.now.saturating_sub(row.last_seen) },
                }
            }));
        }
        Ok(rows)
    }

    /// The next hops that routes name, with their networks.
    pub fn hops(&self) -> HashSet<(NetworkId, IpAddr)> {
        let routes = self.routers.iter().flat_map(|router| router.fib.iter());
        let hop = |row: &Row| match row.route {
            Route::Via(network, address) => Some((network, address)),
            Route::Connected(_) | Route::Blackhole | Route::Unreachable => None,
        };
        routes.filter_map(hop).collect()
    }
}

impl Picture {
    /// True when rules of `other` name the same networks, ports and routers by the same numbers.
    pub fn numbers_as(&self, other: &Self) -> bool {
        let ports = |picture: &Self| -> Vec<_> {
            picture.ports.iter().map(|port| (port.id, port.name.clone())).collect()
        };
        let networks =
            |picture: &Self| -> Vec<_> { picture.networks.iter().map(|it| it.name.clone()).collect() };
        let routers =
            |picture: &Self| -> Vec<_> { picture.routers.iter().map(|it| it.name.clone()).collect() };
        ports(self) == ports(other) && networks(self) == networks(other) && routers(self) == routers(other)
    }
}
