//! The world as it is now, and its topology.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::change::{Change, Trunk};
use super::{
    At, DEMUX, JOINED, MTU, NETWORKS, OVERLAYS, PEERS, PORTS, SHARED, STATIONS, TRANSPORT, gateway_mac, host,
    is_overlay, peer_address, port_id, router, station_mac, twin, vni,
};
use crate::encap::{Dscp, Encap};
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::{self, Fdb, Place};
use crate::table::fib::{self, Fib, Route};
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::topology::tunnels::PlannedPeer;
use crate::topology::{
    Answers, Crossing, Demux, Gateway, Identity, Plan, PlannedNetwork, PlannedOverlay, PlannedRouter, Port,
    RouterId, Topology,
};
use crate::wire::ethernet::Mac;

/// A port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    pub(super) home: usize,
    pub(super) up: bool,
    pub(super) trunk: Option<Trunk>,
    /// Its senders are held against [`identity`].
    pub(super) checks: bool,
}

/// All that may change, as a change says it.
pub(in super::super) struct World {
    /// Where each station of a network is, and whether configuration says so.
    pub(super) stations: [BTreeMap<u8, (At, bool)>; NETWORKS],
    /// By the last byte of the address: the station, and whether configuration says so.
    pub(super) neighbors: [BTreeMap<u8, (u8, bool)>; NETWORKS],
    /// By the last byte of the address: the port of a station of the demux network.
    pub(super) children: BTreeMap<u8, u8>,
    pub(super) peers: [bool; PEERS as usize],
    pub(super) ports: Vec<Attached>,
    /// The last byte of the neighbour in network 1 by which the outside is reached.
    pub(super) outside: Option<u8>,
    fib: Arc<Fib>,
    /// Of the transport's router.
    transport: Arc<Fib>,
    /// The ports to the node's own stack.
    pub(super) hosts: [Option<u8>; NETWORKS],
    pub(super) answers: [Answers; NETWORKS],
    pub(super) storm: [u32; NETWORKS],
    pub(super) local_route: [bool; NETWORKS],
    pub(super) admits: bool,
    full_key: bool,
    pub(in super::super) topology: Topology,
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self {
            stations: std::array::from_fn(|network| {
                let at = |station: u8| match is_overlay(network) && station >= 4 {
                    true => (At::Peer(station - 4), false),
                    false => (At::Port(network as u8 * 2 + station % 2), false),
                };
                (0..STATIONS).map(|station| (station, at(station))).collect()
            }),
            neighbors: std::array::from_fn(|_| (2..6).map(|last| (last, (last, false))).collect()),
            children: [(4, 10), (5, 11)].into(),
            peers: [true; PEERS as usize],
            ports: (0..PORTS)
                .map(|port| Attached { home: usize::from(port) / 2, up: true, trunk: None, checks: false })
                .collect(),
            outside: None,
            fib: fib(None),
            transport: Arc::new(Fib::build(connected(TRANSPORT))),
            hosts: [None; NETWORKS],
            answers: [Answers::Own; NETWORKS],
            storm: [0; NETWORKS],
            local_route: [false; NETWORKS],
            admits: false,
            full_key: false,
            topology: Topology::empty(),
        };
        world.publish();
        world
    }
}

fn fib(outside: Option<u8>) -> Arc<Fib> {
    let mut rows: Vec<_> = JOINED.into_iter().flat_map(connected).collect();
    if let Some(last) = outside {
        for (prefix, via) in [("0.0.0.0/0", host(1, last).into()), ("::/0", twin(host(1, last)).into())] {
            rows.push(fib::Row { prefix: prefix.parse().unwrap(), route: Route::Via(NetworkId(1), via) });
        }
    }
    Arc::new(Fib::build(rows))
}

/// The routes to a network's subnets.
fn connected(network: usize) -> [fib::Row; 2] {
    let subnet = host(network, 0);
    [format!("{subnet}/24"), format!("{}/64", twin(subnet))].map(|prefix| fib::Row {
        prefix: prefix.parse().unwrap(),
        route: Route::Connected(NetworkId(network as u16)),
    })
}

/// Who may send behind a port, if that is checked: every other station of the network it is in at first, with the address of
/// the same number.
pub(super) fn identity(port: u8) -> Vec<(Mac, Vec<Ipv4Addr>)> {
    let network = usize::from(port) / 2;
    let lasts = (0..STATIONS).filter(|last| last % 2 == port % 2);
    if network == DEMUX {
        return vec![(SHARED, lasts.map(|last| host(network, last)).collect())];
    }
    lasts.map(|last| (station_mac(last), vec![host(network, last)])).collect()
}

/// An address and its twin.
fn both(address: Ipv4Addr) -> [IpAddr; 2] {
    [address.into(), twin(address).into()]
}

/// The name in the MAC table of a station of the demux network.
fn name_of(last: u8) -> Mac {
    Mac::from_bytes([0x06, 0x64, 0, 0, 0, last])
}

impl World {
    pub(in super::super) fn is_up(&self, port: PortId) -> bool {
        self.ports[port.index()].up
    }

    pub(in super::super) fn apply(&mut self, change: &Change) {
        match *change {
            Change::Station { network, station, at, fixed } => {
                put(&mut self.stations[network], station, at.map(|at| (at, fixed)));
            }
            Change::Neighbor { network, last, station, fixed } => {
                // In a demux network only its own stations are given.
                let fixed = fixed && network != DEMUX;
                put(&mut self.neighbors[network], last, station.map(|station| (station, fixed)));
            }
            Change::Child { last, port } => put(&mut self.children, last, port),
            Change::Peer { peer, known } => self.peers[usize::from(peer)] = known,
            Change::Up { port, up } => self.ports[usize::from(port)].up = up,
            Change::Move { port, network } => {
                self.ports[usize::from(port)].home = network;
                // As the control thread does: what was behind the port is forgotten.
                self.stations
                    .iter_mut()
                    .for_each(|stations| stations.retain(|_, (at, _)| *at != At::Port(port)));
            }
            Change::Vlans { port, vlans } => self.ports[usize::from(port)].trunk = vlans,
            Change::Checks { port, checks } => self.ports[usize::from(port)].checks = checks,
            Change::Outside(last) => {
                if last != self.outside {
                    self.outside = last;
                    self.fib = fib(last);
                }
            }
            Change::Host { network, port } => self.hosts[network] = port,
            Change::Admits(admits) => self.admits = admits,
            Change::FullKey(full) => self.full_key = full,
            Change::Answers { network, answers } => self.answers[network] = answers,
            Change::LocalRoute { network, on } => self.local_route[network] = on,
            Change::Storm { network, limit } => self.storm[network] = limit,
        }
        self.publish();
    }

    fn publish(&mut self) {
        let port = |(number, port): (usize, &Attached)| Port {
            vlans: port.trunk.map(Trunk::vlans),
            up: port.up,
            identity: port.checks.then(|| {
                let stations = identity(number as u8).into_iter();
                let addresses = |list: Vec<Ipv4Addr>| list.into_iter().flat_map(both).collect();
                Arc::new(Identity::new(stations.map(|(mac, list)| (mac, addresses(list)))))
            }),
            ..Port::plain(
                PortId::new(number).unwrap(),
                shunt_config::PortName::new(&format!("p{number}")).unwrap(),
                NetworkId(port.home as u16),
            )
        };
        let router = |name, fib| PlannedRouter { name: shunt_config::RouterName::new(name).unwrap(), fib };
        let plan = Plan {
            networks: (0..NETWORKS).map(|network| self.network(network)).collect(),
            routers: vec![router("r", self.fib.clone()), router("t", self.transport.clone())],
            ports: self.ports.iter().enumerate().map(port).collect(),
            full_key: self.full_key,
            overlays: OVERLAYS.into_iter().map(|network| Arc::new(self.overlay(network))).collect(),
            rewrites: Arc::default(),
            ..Plan::default()
        };
        let next = Topology::build(self.topology.generation() + 1, &plan).following(&self.topology);
        self.topology = next;
    }

    fn network(&self, network: usize) -> PlannedNetwork {
        let children = self.children.iter().filter(|_| network == DEMUX);
        let station = |mac, place, fixed| fdb::Row { mac, place, fixed, last_seen: 0 };
        let stations = self.stations[network].iter().map(|(number, (at, fixed))| {
            let place = match at {
                At::Port(port) => Place::Port(port_id(*port)),
                At::Peer(peer) => Place::Peer((*peer).into()),
            };
            station(station_mac(*number), place, *fixed)
        });
        let named =
            children.clone().map(|(last, port)| station(name_of(*last), Place::Port(port_id(*port)), true));
        let stations: Vec<_> = stations.chain(named).collect();
        let neighbor = |last, mac, own, fixed| {
            let row = move |address| neighbor::Row {
                address,
                neighbor: Neighbor { mac, own, fixed },
                last_seen: 0,
            };
            both(host(network, last)).map(row)
        };
        let own = router(network).map(|_| neighbor(1, gateway_mac(network), true, true));
        let named = children.map(|(last, _)| neighbor(*last, name_of(*last), false, true));
        let known = self.neighbors[network].iter().filter(|(last, _)| self.child(network, **last).is_none());
        let known = known.map(|(last, (number, fixed))| neighbor(*last, station_mac(*number), false, *fixed));
        let neighbors: Vec<_> = own.into_iter().chain(named).chain(known).flatten().collect();
        let host_port = self.hosts[network].map(port_id);
        PlannedNetwork {
            fdb: Arc::new(Fdb::build(stations.into_iter())),
            neighbors: Arc::new(NeighborTable::build(neighbors.into_iter())),
            gateway: router(network).map(|router| Gateway {
                mac: gateway_mac(network),
                addresses: both(host(network, 1)).into_iter().zip([24, 64]).collect(),
                router: RouterId(router),
            }),
            answers: self.answers[network],
            demux: (network == DEMUX).then_some(Demux { mac: SHARED, host: host_port }),
            host: host_port,
            mtu: MTU,
            storm_limit: self.storm[network],
            crossing: Crossing { local_route: self.local_route[network], ..Crossing::default() },
            ..PlannedNetwork::plain(shunt_config::NetworkName::new(&format!("n{network}")).unwrap())
        }
    }

    fn overlay(&self, network: usize) -> PlannedOverlay {
        PlannedOverlay {
            network: NetworkId(network as u16),
            transport: NetworkId(TRANSPORT as u16),
            locals: [host(TRANSPORT, 1).into()].into(),
            encap: Encap::Vxlan { vni: vni(network) },
            port: 4789,
            dscp: Dscp::Fixed(0),
            udp_checksum: None,
            peers: (0..PEERS)
                .map(|peer| {
                    let address = peer_address(peer).into();
                    self.peers[usize::from(peer)].then_some(PlannedPeer { address })
                })
                .collect(),
            flood: false,
            learning: false,
            admits_underlays: self.admits,
        }
    }

    /// The port of the demux network's station with that address.
    pub(super) fn child(&self, network: usize, last: u8) -> Option<u8> {
        self.children.get(&last).copied().filter(|_| network == DEMUX)
    }

    /// Where the station is that has a MAC address.
    pub(super) fn place(&self, network: usize, mac: Mac) -> Option<At> {
        let found = self.stations[network].iter().find(|(station, _)| station_mac(**station) == mac);
        found.map(|(_, (at, _))| *at)
    }

    /// Floods a second that each port may cause in the network of that number.
    pub(in super::super) fn storm_limit(&self, network: NetworkId) -> u32 {
        self.storm[network.index()]
    }
}

fn put<V>(map: &mut BTreeMap<u8, V>, key: u8, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
