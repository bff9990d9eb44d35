//! A small world that changes, frames that may cross it, and the rules once more, written naively.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::{self, Fdb, Place};
use crate::table::fib::{self, Fib, Route};
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::topology::{Gateway, Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology, Vlans};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::Mac;

/// Networks 0 and 1 are routed between each other, network 2 is a bridge.
const NETWORKS: usize = 3;
/// Two for each network, at first.
pub(super) const PORTS: u8 = 6;
const STATIONS: u8 = 6;

fn port_id(port: u8) -> PortId {
    PortId::new(usize::from(port)).unwrap()
}

fn station_mac(station: u8) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 1, station])
}

fn gateway_mac(network: usize) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 0xff, network as u8])
}

fn subnet(network: usize) -> [u8; 3] {
    [10, 0, network as u8]
}

fn host(network: usize, last: u8) -> Ipv4Addr {
    let [a, b, c] = subnet(network);
    Ipv4Addr::new(a, b, c, last)
}

/// The outside: reached by a route, if there is one.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// What may happen to the world.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Station { network: usize, station: u8, port: Option<u8> },
    Neighbor { network: usize, last: u8, station: Option<u8> },
    Up { port: u8, up: bool },
    Move { port: u8, network: usize },
    Vlans { port: u8, vlans: Option<Trunk> },
    Outside(Option<u8>),
    FullKey(bool),
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    let network = 0..NETWORKS;
    prop_oneof![
        4 => (network.clone(), 0..STATIONS, prop::option::weighted(0.8, 0..PORTS))
            .prop_map(|(network, station, port)| Change::Station { network, station, port }),
        4 => (0_usize..2, 2_u8..6, prop::option::weighted(0.8, 0..STATIONS))
            .prop_map(|(network, last, station)| Change::Neighbor { network, last, station }),
        2 => (0..PORTS, any::<bool>()).prop_map(|(port, up)| Change::Up { port, up }),
        1 => (0..PORTS, network).prop_map(|(port, network)| Change::Move { port, network }),
        2 => (0..PORTS, prop::option::weighted(0.7, trunk())).prop_map(|(port, vlans)| Change::Vlans { port, vlans }),
        1 => prop::option::of(2_u8..6).prop_map(Change::Outside),
        1 => any::<bool>().prop_map(Change::FullKey),
    ]
}

/// The VLANs of a port: that of network `n` is `100 + n`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trunk {
    native: Option<usize>,
    tagged: [bool; NETWORKS],
}

fn trunk() -> impl Strategy<Value = Trunk> {
    (prop::option::of(0..NETWORKS), any::<[bool; NETWORKS]>()).prop_map(|(native, mut tagged)| {
        // A network is there once.
        if let Some(native) = native {
            tagged[native] = false;
        }
        Trunk { native, tagged }
    })
}

fn vid(network: usize) -> u16 {
    100 + network as u16
}

impl Trunk {
    fn vlans(self) -> Vlans {
        let tagged = (0..NETWORKS).filter(|network| self.tagged[*network]);
        Vlans {
            untagged: self.native.map(|network| NetworkId(network as u16)),
            tagged: tagged.map(|network| (vid(network), NetworkId(network as u16))).collect(),
            service: false,
        }
    }

    fn network(self, tci: Option<u16>) -> Option<usize> {
        match tci.map(|tci| tci & 0xfff) {
            None | Some(0) => self.native,
            Some(tag) => (0..NETWORKS).find(|network| self.tagged[*network] && vid(*network) == tag),
        }
    }
}

/// A frame to be sent.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    dst: Mac,
    src: Mac,
    to: Ipv4Addr,
    ttl: u8,
    ports: (u16, u16),
    /// What is wrong with it, or special about it.
    twist: Twist,
}

#[derive(Clone, Debug)]
enum Twist {
    None,
    Tag(u16, bool),
    Truncate(usize),
    Flip(usize, u8),
    Pad(usize),
}

pub(super) fn frame() -> impl Strategy<Value = Frame> {
    let mac = prop_oneof![
        6 => (0..STATIONS).prop_map(station_mac),
        3 => (0..NETWORKS).prop_map(gateway_mac),
        1 => Just(Mac::BROADCAST),
        1 => Just(Mac::from_bytes([0x33, 0x33, 0, 0, 0, 1])),
    ];
    let to = prop_oneof![
        6 => (0_usize..2, 1_u8..6).prop_map(|(network, last)| host(network, last)),
        1 => Just(OUTSIDE),
        1 => prop::sample::select(vec![Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 5), Ipv4Addr::UNSPECIFIED]),
    ];
    let twist = prop_oneof![
        12 => Just(Twist::None),
        1 => (any::<u16>(), any::<bool>()).prop_map(|(tci, service)| Twist::Tag(tci, service)),
        3 => (0..NETWORKS, any::<u16>()).prop_map(|(network, rest)| Twist::Tag(rest & 0xf000 | vid(network), false)),
        1 => any::<u16>().prop_map(|rest| Twist::Tag(rest & 0xf000, false)),
        1 => (0_usize..60).prop_map(Twist::Truncate),
        3 => (0_usize..46, any::<u8>()).prop_map(|(at, value)| Twist::Flip(at, value)),
        1 => (1_usize..40).prop_map(Twist::Pad),
    ];
    let ttl = prop::sample::select(vec![0_u8, 1, 2, 64, 255]);
    (mac.clone(), mac, to, ttl, (1_u16..4, 1_u16..4), twist)
        .prop_map(|(dst, src, to, ttl, ports, twist)| Frame { dst, src, to, ttl, ports, twist })
}

impl Frame {
    /// A plain one from one station to another.
    pub(super) fn between_stations(from: u8, to: u8) -> Self {
        let (dst, src) = (station_mac(to), station_mac(from));
        Self { dst, src, to: host(0, 3), ttl: 64, ports: (1, 1), twist: Twist::None }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.dst.bytes(), self.src.bytes()].concat();
        if let Twist::Tag(tci, service) = self.twist {
            bytes.extend(if service { [0x88, 0xa8] } else { [0x81, 0] });
            bytes.extend(tci.to_be_bytes());
        }
        bytes.extend([8, 0]);
        let mut ip = vec![0x45, 0, 0, 36, 0, 0, 0, 0, self.ttl, 17, 0, 0, 10, 0, 0, 99];
        ip.extend(self.to.octets());
        let sum = Sum::new().bytes(&ip).checksum();
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(ip);
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend([0, 16, 0, 0]);
        bytes.extend(*b"payload!");
        match self.twist {
            Twist::Truncate(len) => bytes.truncate(len),
            Twist::Flip(at, value) => bytes[at] ^= value,
            Twist::Pad(count) => bytes.extend(std::iter::repeat_n(0, count)),
            Twist::None | Twist::Tag(..) => {}
        }
        bytes
    }

    fn is_plain(&self) -> bool {
        matches!(self.twist, Twist::None | Twist::Pad(_) | Twist::Tag(..))
    }
}

/// The world as it is now, and its topology.
pub(super) struct World {
    stations: [BTreeMap<u8, u8>; NETWORKS],
    neighbors: [BTreeMap<u8, u8>; 2],
    ports: Vec<(usize, bool, Option<Trunk>)>,
    /// The last byte of the neighbour in network 1 by which the outside is reached.
    outside: Option<u8>,
    fib: Arc<Fib>,
    full_key: bool,
    pub(super) topology: Topology,
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self {
            stations: std::array::from_fn(|network| {
                (0..STATIONS).map(|station| (station, network as u8 * 2 + station % 2)).collect()
            }),
            neighbors: std::array::from_fn(|_| (2..6).map(|last| (last, last)).collect()),
            ports: (0..PORTS).map(|port| (usize::from(port) / 2, true, None)).collect(),
            outside: None,
            fib: fib(None),
            full_key: false,
            topology: Topology::empty(),
        };
        world.publish();
        world
    }
}

fn fib(outside: Option<u8>) -> Arc<Fib> {
    let connected = |network: usize| fib::Row {
        prefix: format!("{}/24", host(network, 0)).parse().unwrap(),
        route: Route::Connected(NetworkId(network as u16)),
    };
    let mut rows = vec![connected(0), connected(1)];
    if let Some(last) = outside {
        let route = Route::Via(NetworkId(1), host(1, last).into());
        rows.push(fib::Row { prefix: "0.0.0.0/0".parse().unwrap(), route });
    }
    Arc::new(Fib::build(rows))
}

impl World {
    pub(super) fn is_up(&self, port: PortId) -> bool {
        self.ports[port.index()].1
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match *change {
            Change::Station { network, station, port } => {
                let stations = &mut self.stations[network];
                match port {
                    Some(port) => stations.insert(station, port),
                    None => stations.remove(&station),
                };
            }
            Change::Neighbor { network, last, station } => {
                let neighbors = &mut self.neighbors[network];
                match station {
                    Some(station) => neighbors.insert(last, station),
                    None => neighbors.remove(&last),
                };
            }
            Change::Up { port, up } => self.ports[usize::from(port)].1 = up,
            Change::Move { port, network } => {
                self.ports[usize::from(port)].0 = network;
                // As the control thread does: what was behind the port is forgotten.
                self.stations.iter_mut().for_each(|stations| stations.retain(|_, behind| *behind != port));
            }
            Change::Vlans { port, vlans } => self.ports[usize::from(port)].2 = vlans,
            Change::Outside(last) => {
                if last != self.outside {
                    self.outside = last;
                    self.fib = fib(last);
                }
            }
            Change::FullKey(full) => self.full_key = full,
        }
        self.publish();
    }

    fn publish(&mut self) {
        let networks = (0..NETWORKS).map(|network| {
            let stations = self.stations[network].iter().map(|(station, port)| fdb::Row {
                mac: station_mac(*station),
                place: Place::Port(port_id(*port)),
                fixed: false,
                last_seen: 0,
            });
            let known =
                self.neighbors.get(network).into_iter().flatten().map(|(last, station)| neighbor::Row {
                    address: host(network, *last).into(),
                    neighbor: Neighbor { mac: station_mac(*station), own: false, fixed: false },
                    last_seen: 0,
                });
            let own = (network < 2).then(|| neighbor::Row {
                address: host(network, 1).into(),
                neighbor: Neighbor { mac: gateway_mac(network), own: true, fixed: true },
                last_seen: 0,
            });
            let rows: Vec<_> = own.into_iter().chain(known).collect();
            PlannedNetwork {
                name: shunt_config::NetworkName::new(&format!("n{network}")).unwrap(),
                fdb: Arc::new(Fdb::build(stations)),
                neighbors: Arc::new(NeighborTable::build(rows.into_iter())),
                gateway: (network < 2).then(|| Gateway {
                    mac: gateway_mac(network),
                    addresses: [(IpAddr::from(host(network, 1)), 24)].into(),
                    router: RouterId(0),
                }),
            }
        });
        let ports = self.ports.iter().enumerate().map(|(port, (network, up, trunk))| Port {
            id: PortId::new(port).unwrap(),
            name: shunt_config::PortName::new(&format!("p{port}")).unwrap(),
            network: NetworkId(*network as u16),
            vlans: trunk.map(Trunk::vlans),
            up: *up,
            max_frame: 1514,
            l3: None,
        });
        let router =
            PlannedRouter { name: shunt_config::RouterName::new("r").unwrap(), fib: self.fib.clone() };
        let plan = Plan {
            networks: networks.collect(),
            routers: vec![router],
            ports: ports.collect(),
            full_key: self.full_key,
            rewrites: Arc::default(),
        };
        let next = Topology::build(self.topology.generation() + 1, &plan).following(&self.topology);
        self.topology = next;
    }

    /// What the rules say of a frame: where to and what it looks like then. `None` where this model has no opinion.
    pub(super) fn expects(&self, port: PortId, frame: &Frame) -> Option<(Verdict, Vec<u8>)> {
        if !frame.is_plain() {
            return None;
        }
        let (home, _, trunk) = self.ports[port.index()];
        let tag = match frame.twist {
            Twist::Tag(tci, service) => Some((tci, service)),
            _ => None,
        };
        let mut bytes = frame.bytes();
        let (network, tci) = match (trunk, tag) {
            (None, None) => (home, None),
            // Payload: this model knows nothing of it.
            (None, Some(_)) | (Some(_), Some((_, true))) => return None,
            (Some(trunk), tag) => match trunk.network(tag.map(|(tci, _)| tci)) {
                Some(network) => (network, tag.map(|(tci, _)| tci)),
                None => return Some((Verdict::Drop(DropReason::VlanMismatch), bytes)),
            },
        };
        let arrived = bytes.clone();
        if tci.is_some() {
            bytes.drain(12..16);
        }
        let mut through = network;
        let verdict = match self.decide(network, port, frame) {
            Ok((verdict, None)) => verdict,
            Ok((verdict, Some((into, dst, src)))) => {
                through = into;
                bytes[..6].copy_from_slice(&dst.bytes());
                bytes[6..12].copy_from_slice(&src.bytes());
                bytes[22] -= 1;
                bytes[24..26].fill(0);
                let sum = Sum::new().bytes(&bytes[14..34]).checksum();
                bytes[24..26].copy_from_slice(&sum.to_be_bytes());
                verdict
            }
            Err(DropReason::NeighborUnresolved) => return None,
            Err(reason) => return Some((Verdict::Drop(reason), arrived)),
        };
        if let Verdict::Port(to) = verdict
            && let Some(trunk) = self.ports[to.index()].2
            && trunk.tagged[through]
        {
            let new = tci.unwrap_or_default() & 0xf000 | vid(through);
            bytes.splice(12..12, [[0x81, 0], new.to_be_bytes()].concat());
        }
        Some((verdict, bytes))
    }

    /// Verdict, and where to and the new addresses when the frame is routed.
    fn decide(
        &self,
        network: usize,
        port: PortId,
        frame: &Frame,
    ) -> Result<(Verdict, Option<(usize, Mac, Mac)>), DropReason> {
        let behind = |network: usize, mac: Mac| {
            self.stations[network]
                .iter()
                .find(|(station, _)| station_mac(**station) == mac)
                .map(|(_, port)| *port)
        };
        if frame.src.is_group() {
            return Err(DropReason::SourceIsGroup);
        }
        if network < 2 && frame.src == gateway_mac(network) {
            return Err(DropReason::SourceIsGateway);
        }
        if network == 2 || frame.dst != gateway_mac(network) {
            return match behind(network, frame.dst) {
                Some(to) if port_id(to) == port => Err(DropReason::SamePort),
                Some(to) => Ok((Verdict::Port(port_id(to)), None)),
                None => Ok((Verdict::Flood(NetworkId(network as u16)), None)),
            };
        }
        if frame.to.is_loopback()
            || frame.to.is_broadcast()
            || frame.to.is_multicast()
            || frame.to.is_unspecified()
        {
            return Err(DropReason::NotRoutable);
        }
        if frame.to == host(network, 1) {
            return Err(DropReason::ForSwitch);
        }
        if frame.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let connected = (0..2).find(|network| frame.to.octets()[..3] == subnet(*network));
        let (through, last) = match (connected, self.outside) {
            (Some(network), _) => (network, frame.to.octets()[3]),
            (None, Some(last)) => (1, last),
            (None, None) => return Err(DropReason::NoRoute),
        };
        if last == 1 {
            return Err(DropReason::ForSwitch);
        }
        let station = self.neighbors[through].get(&last).ok_or(DropReason::NeighborUnresolved)?;
        let mac = station_mac(*station);
        let verdict = match behind(through, mac) {
            Some(to) => Verdict::Port(port_id(to)),
            None => Verdict::FloodInto(NetworkId(through as u16)),
        };
        Ok((verdict, Some((through, mac, gateway_mac(through)))))
    }
}
