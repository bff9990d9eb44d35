//! A small world that changes, frames that may cross it, and the rules once more, written naively.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use crate::drop::DropReason;
use crate::encap::{Dscp, Encap};
use crate::flow::{Answer, Verdict};
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::{self, Fdb, Place};
use crate::table::fib::{self, Fib, Route};
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::topology::tunnels::PlannedPeer;
use crate::topology::{
    Answers, Crossing, Gateway, Plan, PlannedNetwork, PlannedOverlay, PlannedRouter, Port, RouterId, Topology, Vlans,
};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::Mac;

/// Networks 0, 1 and the overlay are routed between each other; the transport, which carries the overlay, has a router of
/// its own.
const NETWORKS: usize = 5;
const BRIDGE: usize = 2;
const TRANSPORT: usize = 3;
const OVERLAY: usize = 4;
const VNI: u32 = 7;
/// Nodes at the other end: number `n` has the address `.2 + n` in the transport.
const PEERS: u8 = 3;
/// Two for each network, at first.
pub(super) const PORTS: u8 = 10;
const STATIONS: u8 = 6;
/// Longer than any frame of this world.
const MTU: u16 = 1400;

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

/// The router of a network.
fn router(network: usize) -> Option<u16> {
    match network {
        BRIDGE => None,
        TRANSPORT => Some(1),
        _ => Some(0),
    }
}

/// The networks that the first router joins.
const JOINED: [usize; 3] = [0, 1, OVERLAY];

fn peer_address(peer: u8) -> Ipv4Addr {
    host(TRANSPORT, 2 + peer)
}

/// Where a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Port(u8),
    /// Of the overlay only.
    Peer(u8),
}

/// The outside: reached by a route, if there is one.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// What may happen to the world.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Station { network: usize, station: u8, at: Option<At> },
    Neighbor { network: usize, last: u8, station: Option<u8> },
    Peer { peer: u8, known: bool },
    Up { port: u8, up: bool },
    Move { port: u8, network: usize },
    Vlans { port: u8, vlans: Option<Trunk> },
    Outside(Option<u8>),
    FullKey(bool),
    Host { network: usize, port: Option<u8> },
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    let network = 0..NETWORKS;
    prop_oneof![
        4 => (network.clone(), 0..STATIONS, prop::option::weighted(0.8, (0..PORTS).prop_map(At::Port)))
            .prop_map(|(network, station, at)| Change::Station { network, station, at }),
        3 => (0..STATIONS, (0..PEERS).prop_map(At::Peer))
            .prop_map(|(station, at)| Change::Station { network: OVERLAY, station, at: Some(at) }),
        1 => (0..PEERS, any::<bool>()).prop_map(|(peer, known)| Change::Peer { peer, known }),
        4 => (prop::sample::select(vec![0, 1, TRANSPORT, OVERLAY]), 2_u8..6, prop::option::weighted(0.8, 0..STATIONS))
            .prop_map(|(network, last, station)| Change::Neighbor { network, last, station }),
        2 => (0..PORTS, any::<bool>()).prop_map(|(port, up)| Change::Up { port, up }),
        1 => (0..PORTS, network).prop_map(|(port, network)| Change::Move { port, network }),
        2 => (0..PORTS, prop::option::weighted(0.7, trunk())).prop_map(|(port, vlans)| Change::Vlans { port, vlans }),
        1 => prop::option::of(2_u8..6).prop_map(Change::Outside),
        1 => any::<bool>().prop_map(Change::FullKey),
        1 => (0_usize..2, prop::option::weighted(0.8, 0..PORTS))
            .prop_map(|(network, port)| Change::Host { network, port }),
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
    from: Ipv4Addr,
    to: Ipv4Addr,
    ttl: u8,
    ports: (u16, u16),
    /// What is wrong with it, or special about it.
    twist: Twist,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    Frame(Frame),
    /// A frame in a VXLAN packet of the transport.
    Wrapped {
        /// Last byte of the outer source and destination.
        ends: (u8, u8),
        vni: u32,
        dst: Mac,
        tag: Option<u16>,
        inner: Frame,
    },
}

pub(super) fn sent() -> impl Strategy<Value = Sent> {
    let dst = prop_oneof![8 => Just(gateway_mac(TRANSPORT)), 1 => (0..STATIONS).prop_map(station_mac)];
    let ends = (1_u8..7, prop_oneof![8 => Just(1_u8), 1 => 2_u8..6]);
    let vni = prop_oneof![8 => Just(VNI), 1 => Just(VNI + 1)];
    let tag = prop_oneof![3 => Just(None), 1 => Just(Some(vid(TRANSPORT))), 1 => Just(Some(vid(0)))];
    let wrapped = (ends, vni, dst, tag, frame()).prop_map(|(ends, vni, dst, tag, inner)| Sent::Wrapped {
        ends,
        vni,
        dst,
        tag,
        inner,
    });
    prop_oneof![2 => frame().prop_map(Sent::Frame), 1 => wrapped]
}

impl Sent {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Frame(frame) => frame.bytes(),
            Self::Wrapped { ends, vni, dst, tag, inner } => {
                let (from, to) = (host(TRANSPORT, ends.0), host(TRANSPORT, ends.1));
                let macs = (*dst, station_mac(5));
                wrap(macs, *tag, (from, to), *vni, &inner.bytes())
            }
        }
    }
}

/// A VXLAN packet by hand, its source port 49152.
fn wrap(
    (dst, src): (Mac, Mac),
    tag: Option<u16>,
    (from, to): (Ipv4Addr, Ipv4Addr),
    vni: u32,
    inner: &[u8],
) -> Vec<u8> {
    let mut bytes = [dst.bytes(), src.bytes()].concat();
    if let Some(tci) = tag {
        bytes.extend([0x81, 0]);
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend([8, 0]);
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
    ip[2..4].copy_from_slice(&(36 + inner.len() as u16).to_be_bytes());
    ip.extend([from.octets(), to.octets()].concat());
    let sum = Sum::new().bytes(&ip).checksum();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(ip);
    bytes.extend([0xc0, 0, 0x12, 0xb5]);
    bytes.extend((16 + inner.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 8, 0, 0, 0]);
    bytes.extend((vni << 8).to_be_bytes());
    bytes.extend(inner);
    bytes
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
        6 => (prop::sample::select(JOINED.to_vec()), 1_u8..6).prop_map(|(network, last)| host(network, last)),
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
    let from =
        (prop::sample::select(JOINED.to_vec()), 1_u8..6).prop_map(|(network, last)| host(network, last));
    let ttl = prop::sample::select(vec![0_u8, 1, 2, 64, 255]);
    (mac.clone(), mac, (from, to), ttl, (1_u16..4, 1_u16..4), twist)
        .prop_map(|(dst, src, (from, to), ttl, ports, twist)| Frame { dst, src, from, to, ttl, ports, twist })
}

impl Frame {
    /// A plain one from one station to another.
    pub(super) fn between_stations(from: u8, to: u8) -> Self {
        let (dst, src) = (station_mac(to), station_mac(from));
        Self { dst, src, from: host(0, 2), to: host(0, 3), ttl: 64, ports: (1, 1), twist: Twist::None }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.dst.bytes(), self.src.bytes()].concat();
        if let Twist::Tag(tci, service) = self.twist {
            bytes.extend(if service { [0x88, 0xa8] } else { [0x81, 0] });
            bytes.extend(tci.to_be_bytes());
        }
        bytes.extend([8, 0]);
        let mut ip = vec![0x45, 0, 0, 36, 0, 0, 0, 0, self.ttl, 17, 0, 0];
        ip.extend([self.from.octets(), self.to.octets()].concat());
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
    stations: [BTreeMap<u8, At>; NETWORKS],
    neighbors: [BTreeMap<u8, u8>; NETWORKS],
    peers: [bool; PEERS as usize],
    ports: Vec<(usize, bool, Option<Trunk>)>,
    /// The last byte of the neighbour in network 1 by which the outside is reached.
    outside: Option<u8>,
    fib: Arc<Fib>,
    /// The ports to the node's own stack.
    hosts: [Option<u8>; NETWORKS],
    full_key: bool,
    pub(super) topology: Topology,
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self {
            stations: std::array::from_fn(|network| {
                (0..STATIONS).map(|station| (station, At::Port(network as u8 * 2 + station % 2))).collect()
            }),
            neighbors: std::array::from_fn(|_| (2..6).map(|last| (last, last)).collect()),
            peers: [true; PEERS as usize],
            ports: (0..PORTS).map(|port| (usize::from(port) / 2, true, None)).collect(),
            outside: None,
            fib: fib(None),
            hosts: [None; NETWORKS],
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
    let mut rows: Vec<_> = JOINED.into_iter().map(connected).collect();
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
            Change::Station { network, station, at } => {
                let stations = &mut self.stations[network];
                match at {
                    Some(at) => stations.insert(station, at),
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
            Change::Peer { peer, known } => self.peers[usize::from(peer)] = known,
            Change::Up { port, up } => self.ports[usize::from(port)].1 = up,
            Change::Move { port, network } => {
                self.ports[usize::from(port)].0 = network;
                // As the control thread does: what was behind the port is forgotten.
                self.stations.iter_mut().for_each(|stations| stations.retain(|_, at| *at != At::Port(port)));
            }
            Change::Vlans { port, vlans } => self.ports[usize::from(port)].2 = vlans,
            Change::Outside(last) => {
                if last != self.outside {
                    self.outside = last;
                    self.fib = fib(last);
                }
            }
            Change::Host { network, port } => self.hosts[network] = port,
            Change::FullKey(full) => self.full_key = full,
        }
        self.publish();
    }

    fn publish(&mut self) {
        let networks = (0..NETWORKS).map(|network| {
            let stations = self.stations[network].iter().map(|(station, at)| fdb::Row {
                mac: station_mac(*station),
                place: match at {
                    At::Port(port) => Place::Port(port_id(*port)),
                    At::Peer(peer) => Place::Peer((*peer).into()),
                },
                fixed: false,
                last_seen: 0,
            });
            let known =
                self.neighbors.get(network).into_iter().flatten().map(|(last, station)| neighbor::Row {
                    address: host(network, *last).into(),
                    neighbor: Neighbor { mac: station_mac(*station), own: false, fixed: false },
                    last_seen: 0,
                });
            let own = router(network).map(|_| neighbor::Row {
                address: host(network, 1).into(),
                neighbor: Neighbor { mac: gateway_mac(network), own: true, fixed: true },
                last_seen: 0,
            });
            let rows: Vec<_> = own.into_iter().chain(known).collect();
            PlannedNetwork {
                name: shunt_config::NetworkName::new(&format!("n{network}")).unwrap(),
                fdb: Arc::new(Fdb::build(stations)),
                neighbors: Arc::new(NeighborTable::build(rows.into_iter())),
                gateway: router(network).map(|router| Gateway {
                    mac: gateway_mac(network),
                    addresses: [(IpAddr::from(host(network, 1)), 24)].into(),
                    router: RouterId(router),
                }),
                answers: Answers::Own,
                demux: None,
                host: self.hosts[network].map(port_id),
                mtu: MTU,
                mss_clamp: false,
                masquerade: false,
                zone: 0,
                tracks_bridged: false,
                storm_limit: 0,
                crossing: Crossing::default(),
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
            identity: None,
            mirror: None,
        });
        let router = |name, fib| PlannedRouter { name: shunt_config::RouterName::new(name).unwrap(), fib };
        let transport = fib::Row {
            prefix: format!("{}/24", host(TRANSPORT, 0)).parse().unwrap(),
            route: Route::Connected(NetworkId(TRANSPORT as u16)),
        };
        let overlay = PlannedOverlay {
            network: NetworkId(OVERLAY as u16),
            transport: NetworkId(TRANSPORT as u16),
            locals: [host(TRANSPORT, 1).into()].into(),
            encap: Encap::Vxlan { vni: VNI },
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
            admits_underlays: false,
        };
        let plan = Plan {
            networks: networks.collect(),
            routers: vec![router("r", self.fib.clone()), router("t", Arc::new(Fib::build([transport])))],
            ports: ports.collect(),
            full_key: self.full_key,
            overlays: vec![Arc::new(overlay)],
            rewrites: Arc::default(),
            ..Plan::default()
        };
        let next = Topology::build(self.topology.generation() + 1, &plan).following(&self.topology);
        self.topology = next;
    }

    /// What the rules say of a frame: where to and what it looks like then. `None` where this model has no opinion.
    pub(super) fn expects(&self, port: PortId, sent: &Sent) -> Option<(Verdict, Vec<u8>)> {
        match sent {
            Sent::Frame(frame) => self.expects_frame(port, frame),
            Sent::Wrapped { ends, vni, dst, tag, inner } => {
                let (network, _) = self.network(port, tag.map(|tci| (tci, false)))?.ok()?;
                if network != TRANSPORT || *dst != gateway_mac(TRANSPORT) || ends.1 != 1 {
                    return None;
                }
                let peer = ends.0.checked_sub(2).filter(|peer| self.knows(*peer));
                let reason = match peer {
                    _ if *vni != VNI => DropReason::TunnelUnknownVni,
                    None => DropReason::TunnelUnknownPeer,
                    _ if inner.bytes().len() < 14 => DropReason::TunnelBadHeader,
                    Some(peer) => return self.expects_inner(port, peer, inner),
                };
                Some((Verdict::Drop(reason), sent.bytes()))
            }
        }
    }

    fn knows(&self, peer: u8) -> bool {
        self.peers.get(usize::from(peer)) == Some(&true)
    }

    /// The network of a frame with that tag, and the tag it is in the switch without. `None` for tags that are payload.
    fn network(
        &self,
        port: PortId,
        tag: Option<(u16, bool)>,
    ) -> Option<Result<(usize, Option<u16>), DropReason>> {
        let (home, _, trunk) = self.ports[port.index()];
        match (trunk, tag) {
            (None, None) => Some(Ok((home, None))),
            (None, Some(_)) | (Some(_), Some((_, true))) => None,
            (Some(trunk), tag) => {
                let tci = tag.map(|(tci, _)| tci);
                Some(trunk.network(tci).map(|network| (network, tci)).ok_or(DropReason::VlanMismatch))
            }
        }
    }

    fn expects_frame(&self, port: PortId, frame: &Frame) -> Option<(Verdict, Vec<u8>)> {
        if !frame.is_plain() {
            return None;
        }
        let tag = match frame.twist {
            Twist::Tag(tci, service) => Some((tci, service)),
            _ => None,
        };
        let (network, tci) = match self.network(port, tag)? {
            Ok(found) => found,
            Err(reason) => return Some((Verdict::Drop(reason), frame.bytes())),
        };
        self.outcome(frame, network, tci, self.decide(network, Some(port), frame))
    }

    fn expects_inner(&self, port: PortId, peer: u8, frame: &Frame) -> Option<(Verdict, Vec<u8>)> {
        if !matches!(frame.twist, Twist::None | Twist::Pad(_)) {
            return None;
        }
        let _ = port;
        let decided = match self.speaks_through(peer, frame) {
            Ok(()) => self.decide(OVERLAY, None, frame),
            Err(reason) => Err(reason),
        };
        self.outcome(frame, OVERLAY, None, decided)
    }

    /// Whether `frame` may come from `peer`.
    fn speaks_through(&self, peer: u8, frame: &Frame) -> Result<(), DropReason> {
        if frame.src.is_group() {
            return Err(DropReason::SourceIsGroup);
        }
        if frame.src != gateway_mac(OVERLAY) && self.place(OVERLAY, frame.src) != Some(At::Peer(peer)) {
            return Err(DropReason::TunnelInnerSource);
        }
        let network = JOINED.into_iter().find(|network| frame.from.octets()[..3] == subnet(*network));
        let last = frame.from.octets()[3];
        let station = network.filter(|_| last != 1).and_then(|network| self.neighbors[network].get(&last));
        let owner =
            network.zip(station).and_then(|(network, station)| self.place(network, station_mac(*station)));
        if owner == Some(At::Peer(peer)) { Ok(()) } else { Err(DropReason::TunnelInnerSource) }
    }

    /// What becomes of a frame that came in with the tag `tci`, of which this was decided.
    fn outcome(
        &self,
        frame: &Frame,
        network: usize,
        tci: Option<u16>,
        decided: Result<Decided, DropReason>,
    ) -> Option<(Verdict, Vec<u8>)> {
        let arrived = frame.bytes();
        let mut bytes = arrived.clone();
        let decided = match decided {
            Ok(decided) => decided,
            Err(DropReason::NeighborUnresolved) => return None,
            Err(reason) => {
                let answer = match reason {
                    DropReason::NoRoute => Some(Answer::NoRoute),
                    DropReason::TtlExceeded => Some(Answer::Expired),
                    DropReason::ForSwitch => Some(Answer::Own),
                    DropReason::NoFdbEntry => Some(Answer::NoHost),
                    _ => None,
                };
                let verdict = answer.map_or(Verdict::Drop(reason), |answer| Verdict::Reject(reason, answer));
                return Some((verdict, arrived));
            }
        };
        if tci.is_some() {
            bytes.drain(12..16);
        }
        let mut through = network;
        if let Some((into, dst, src)) = decided.routed {
            through = into;
            bytes[..6].copy_from_slice(&dst.bytes());
            bytes[6..12].copy_from_slice(&src.bytes());
            bytes[22] -= u8::from(!decided.local);
            bytes[24..26].fill(0);
            let sum = Sum::new().bytes(&bytes[14..34]).checksum();
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        let tag = |port: u8, network: usize| {
            let trunk = self.ports[usize::from(port)].2?;
            trunk.tagged[network].then_some(vid(network))
        };
        let verdict = match decided.to {
            None if decided.routed.is_some() => Verdict::FloodInto(NetworkId(through as u16)),
            None if decided.from_peer => Verdict::FloodLocal(NetworkId(through as u16)),
            None => Verdict::Flood(NetworkId(through as u16)),
            Some(At::Port(port)) => {
                if let Some(vid) = tag(port, through) {
                    let new = tci.unwrap_or_default() & 0xf000 | vid;
                    bytes.splice(12..12, [[0x81, 0], new.to_be_bytes()].concat());
                }
                Verdict::Port(port_id(port))
            }
            Some(At::Peer(peer)) => {
                if !self.knows(peer) {
                    let reason = DropReason::TunnelUnknownPeer;
                    // A bridge tells nobody.
                    let told = decided.routed.map(|_| Verdict::Reject(reason, Answer::NoHost));
                    return Some((told.unwrap_or(Verdict::Drop(reason)), arrived));
                }
                // Unresolved: somebody is asked.
                let hop = station_mac(*self.neighbors[TRANSPORT].get(&(2 + peer))?);
                let At::Port(port) = self.place(TRANSPORT, hop)? else { return None };
                let macs = (hop, gateway_mac(TRANSPORT));
                let ends = (host(TRANSPORT, 1), peer_address(peer));
                bytes = wrap(macs, tag(port, TRANSPORT), ends, VNI, &bytes);
                Verdict::Port(port_id(port))
            }
        };
        Some((verdict, bytes))
    }

    fn place(&self, network: usize, mac: Mac) -> Option<At> {
        let found = self.stations[network].iter().find(|(station, _)| station_mac(**station) == mac);
        found.map(|(_, at)| *at)
    }

    /// Where a frame of `network` goes; `port` is `None` for one out of a tunnel.
    fn decide(&self, network: usize, port: Option<PortId>, frame: &Frame) -> Result<Decided, DropReason> {
        let from_peer = port.is_none();
        if frame.src.is_group() {
            return Err(DropReason::SourceIsGroup);
        }
        let routed = router(network).is_some();
        let is_node = self.hosts[network].map(port_id) == port;
        if routed && !from_peer && !is_node && frame.src == gateway_mac(network) {
            return Err(DropReason::SourceIsGateway);
        }
        if !routed || frame.dst != gateway_mac(network) {
            let to = if frame.dst.is_group() { None } else { self.place(network, frame.dst) };
            return match to {
                Some(At::Port(to)) if Some(port_id(to)) == port => Err(DropReason::SamePort),
                // A tunnel packet comes in by a port, too.
                Some(At::Peer(_)) if from_peer => Err(DropReason::SplitHorizon),
                to => Ok(Decided { to, routed: None, local: false, from_peer }),
            };
        }
        let to = frame.to;
        if to.is_loopback() || to.is_broadcast() || to.is_multicast() || to.is_unspecified() {
            return Err(DropReason::NotRoutable);
        }
        if to == host(network, 1) {
            let node = self.hosts[network].ok_or(DropReason::ForSwitch)?;
            let decided = Decided { to: Some(At::Port(node)), routed: None, local: true, from_peer };
            return if Some(port_id(node)) == port { Err(DropReason::SamePort) } else { Ok(decided) };
        }
        let joined: &[usize] = if network == TRANSPORT { &[TRANSPORT] } else { &JOINED };
        let connected = joined.iter().copied().find(|network| to.octets()[..3] == subnet(*network));
        if let Some(into) = connected.filter(|into| to == host(*into, 1)) {
            let (node, mac) = (self.hosts[into].ok_or(DropReason::ForSwitch)?, gateway_mac(into));
            let routed = Some((into, mac, mac));
            return Ok(Decided { to: Some(At::Port(node)), routed, local: true, from_peer });
        }
        if frame.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let (through, last) = match (connected, self.outside) {
            (Some(network), _) => (network, to.octets()[3]),
            (None, Some(last)) if network != TRANSPORT => (1, last),
            (None, _) => return Err(DropReason::NoRoute),
        };
        let station = self.neighbors[through].get(&last).ok_or(DropReason::NeighborUnresolved)?;
        let mac = station_mac(*station);
        let to = self.place(through, mac);
        match to {
            Some(At::Peer(_)) if from_peer && through == network => return Err(DropReason::SplitHorizon),
            None if through == OVERLAY => return Err(DropReason::NoFdbEntry),
            _ => {}
        }
        let routed = Some((through, mac, gateway_mac(through)));
        Ok(Decided { to, routed, local: false, from_peer })
    }
}

/// Where a frame goes.
struct Decided {
    /// `None` floods.
    to: Option<At>,
    /// Network it is routed into, and its new addresses.
    routed: Option<(usize, Mac, Mac)>,
    /// To the node itself: it loses no hop.
    local: bool,
    from_peer: bool,
}
