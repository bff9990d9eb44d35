//! The switch of these tests: its networks, its pods and its policies.

use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::Cluster;

use crate::flow::execute::Rewrites;
use crate::ids::{NetworkId, PortId};
use crate::policy::Resolver;
use crate::policy::tests::arbitrary::ADDRESSES;
use crate::state::{Limits, Size, Table};
use crate::table::fdb::{self, Fdb, Place as At};
use crate::table::fib::{self, Fib, Route};
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::table::policy::Policies;
use crate::topology::{Gateway, Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology};
use crate::wire::ethernet::Mac;

const NETWORKS: usize = 4;
const ENDS: usize = 10;
const OUTSIDE: usize = 3;

/// Port of an address, by its place in [`ADDRESSES`]; those outside share one.
pub(super) fn port_of(place: usize) -> usize {
    (place % 11).min(ENDS - 1)
}

pub(super) fn network_of(place: usize) -> usize {
    port_of(place) / 3
}

pub(super) fn address(place: usize) -> IpAddr {
    ADDRESSES[place].parse().unwrap()
}

pub(super) fn mac(place: usize) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 1, (place % 11) as u8])
}

pub(super) fn gateway_mac(network: usize) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 0xfe, network as u8])
}

fn prefixes(network: usize) -> [String; 2] {
    match network {
        OUTSIDE => ["192.0.2.0/24".into(), "2001:db8::/64".into()],
        inside => [format!("10.0.{}.0/24", inside + 1), format!("fd00::{}:0/112", inside + 1)],
    }
}

fn gateway_addresses(network: usize) -> [(IpAddr, u8); 2] {
    match network {
        OUTSIDE => [("192.0.2.254".parse().unwrap(), 24), ("2001:db8::fe".parse().unwrap(), 64)],
        inside => [
            (format!("10.0.{}.254", inside + 1).parse().unwrap(), 24),
            (format!("fd00::{}:fe", inside + 1).parse().unwrap(), 112),
        ],
    }
}

fn network(number: usize, policies: Option<&Arc<Policies>>) -> PlannedNetwork {
    let here: Vec<usize> = (0..ADDRESSES.len()).filter(|place| network_of(*place) == number).collect();
    let stations: Vec<_> = here
        .iter()
        .map(|place| fdb::Row {
            mac: mac(*place),
            place: At::Port(PortId::new(port_of(*place)).unwrap()),
            fixed: true,
            last_seen: 0,
        })
        .collect();
    let own = gateway_addresses(number);
    let neighbors: Vec<_> = here
        .iter()
        .map(|place| (address(*place), Neighbor { mac: mac(*place), own: false, fixed: true }))
        .chain(own.map(|(own, _)| (own, Neighbor { mac: gateway_mac(number), own: true, fixed: true })))
        .map(|(address, neighbor)| neighbor::Row { address, neighbor, last_seen: 0 })
        .collect();
    PlannedNetwork {
        fdb: Arc::new(Fdb::build(stations.into_iter())),
        neighbors: Arc::new(NeighborTable::build(neighbors.into_iter())),
        gateway: Some(Gateway { mac: gateway_mac(number), addresses: own.into(), router: RouterId::FIRST }),
        zone: 7,
        tracks_bridged: policies.is_some(),
        policies: policies.cloned(),
        ..PlannedNetwork::plain(shunt_config::NetworkName::new(&format!("n{number}")).unwrap())
    }
}

/// The switch, its policies and its connections.
pub(super) struct Site {
    resolver: Resolver,
    connections: Arc<Table>,
    fib: Arc<Fib>,
    pub(super) topology: Topology,
    generation: u64,
}

impl Site {
    pub(super) fn new(cluster: &Arc<Cluster>) -> Self {
        let size = Size { capacity: 1024, threads: 2, limits: Limits::NONE };
        let connected = |number: usize| {
            prefixes(number).map(|prefix| fib::Row {
                prefix: prefix.parse().unwrap(),
                route: Route::Connected(NetworkId::new(number)),
            })
        };
        let beyond = ["198.51.100.0/24", "2001:db8:1::/48"].map(|prefix| fib::Row {
            prefix: prefix.parse().unwrap(),
            route: Route::Connected(NetworkId::new(OUTSIDE)),
        });
        let mut site = Self {
            resolver: Resolver::default(),
            connections: Arc::new(Table::new(size, 3).unwrap()),
            fib: Arc::new(Fib::build((0..NETWORKS).flat_map(connected).chain(beyond))),
            topology: Topology::empty(),
            generation: 0,
        };
        site.follow(cluster);
        site
    }

    pub(super) fn follow(&mut self, cluster: &Arc<Cluster>) {
        self.resolver.follow(cluster);
        let policies = self.resolver.table();
        let port = |number: usize| Port {
            max_frame: 1522,
            ..Port::plain(
                PortId::new(number).unwrap(),
                shunt_config::PortName::new(&format!("p{number}")).unwrap(),
                NetworkId::new(number / 3),
            )
        };
        let plan = Plan {
            networks: (0..NETWORKS).map(|number| network(number, policies.as_ref())).collect(),
            routers: vec![PlannedRouter {
                name: shunt_config::RouterName::new("r").unwrap(),
                fib: self.fib.clone(),
            }],
            ports: (0..ENDS).map(port).collect(),
            rewrites: Arc::new(Rewrites {
                connections: Some(self.connections.clone()),
                ..Rewrites::default()
            }),
            ..Plan::default()
        };
        self.generation += 1;
        let next = Topology::build(self.generation, &plan);
        self.topology = next.following(&self.topology);
    }
}
