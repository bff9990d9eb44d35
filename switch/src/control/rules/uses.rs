//! Which rules the cached flows took.
//!
//! A cached flow has its key and its counters, not its way. The way is found again: the stages are walked with the key, and
//! an observer notes what they matched. A cached decision rests on the key alone (`Packet::is_cacheable`), so nothing of the
//! frame is needed. Cost: a walk of the slow path for each flow, on the control thread, between pieces of the dump.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use shunt_config::IpNet;
use shunt_ffi::Mbuf;

use crate::flow::cache::Entry;
use crate::flow::key::L3;
use crate::flow::parse::Layout;
use crate::ids::{NetworkId, PortId};
use crate::pipeline::{self, Ingress, Observe, Packet, Step, demux, lookup, nexthop};
use crate::table::fib::Route;
use crate::topology::{RouterId, Topology};
use crate::wire::ethernet::{self, Mac};

/// What a frame is, as table 0 tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Anything else.
    Other,
}

/// Which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RuleId {
    /// One that no cached flow takes: its frames are not cached, or dropped before.
    None,
    /// A port's, in one of its networks.
    Ingress(PortId, NetworkId, Family),
    /// A given station's, by IP address or for what is not IP.
    Sender(PortId, NetworkId, Mac, Option<IpAddr>),
    /// To a station that shares its MAC address.
    Shared(NetworkId, IpAddr),
    /// To the host that has that MAC address, too.
    SharedHost(NetworkId),
    /// To the router.
    Gateway(NetworkId),
    /// Group addresses.
    Group(NetworkId),
    /// A known station.
    Station(NetworkId, Mac),
    /// Unknown stations.
    Unknown(NetworkId),
    /// A prefix.
    Route(RouterId, IpNet),
    /// No prefix.
    NoRoute(RouterId),
    /// A neighbour.
    Neighbor(NetworkId, IpAddr),
    /// Unknown neighbours.
    NoNeighbor(NetworkId),
    /// A peer of an overlay.
    Tunnel(NetworkId, u16),
    /// A port's output.
    Output(PortId),
}

/// Frames and bytes by rule.
#[derive(Debug, Default)]
pub struct Uses {
    counts: HashMap<RuleId, (u64, u64)>,
    /// Lengths of the prefixes that each router has, the longest first, to find a route's prefix again.
    prefixes: Option<Prefixes>,
}

#[derive(Debug)]
struct Prefixes {
    generation: u64,
    known: HashSet<(RouterId, IpNet)>,
    lengths: Vec<(BTreeSet<u8>, BTreeSet<u8>)>,
}

impl Prefixes {
    fn of(topology: &Topology) -> Self {
        let (mut known, mut lengths) = (HashSet::new(), Vec::new());
        for router in topology.routers() {
            let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
            for row in router.fib.iter() {
                known.insert((router.id, row.prefix.trunc()));
                if row.prefix.addr().is_ipv4() { &mut v4 } else { &mut v6 }.insert(row.prefix.prefix_len());
            }
            lengths.push((v4, v6));
        }
        Self { generation: topology.generation(), known, lengths }
    }

    fn find(&self, router: RouterId, address: IpAddr) -> Option<IpNet> {
        let (v4, v6) = self.lengths.get(router.index())?;
        let lengths = if address.is_ipv4() { v4 } else { v6 };
        let holding = |len: &u8| Some(IpNet::new(address, *len).ok()?.trunc());
        lengths.iter().rev().filter_map(holding).find(|prefix| self.known.contains(&(router, *prefix)))
    }
}

impl Uses {
    /// What was counted for a rule.
    pub(super) fn of(&self, rule: &RuleId) -> (u64, u64) {
        self.counts.get(rule).copied().unwrap_or_default()
    }

    /// Counts what a port has sent, for its rule in table 20.
    pub(crate) fn sent(&mut self, port: PortId, packets: u64, bytes: u64) {
        self.counts.insert(RuleId::Output(port), (packets, bytes));
    }

    /// Adds the frames of a cached flow to the rules that it takes. `frame` is any frame: nothing of it is read.
    pub(crate) fn add(&mut self, topology: &Topology, entry: &Entry, frame: &mut Mbuf) {
        if self.prefixes.as_ref().is_none_or(|prefixes| prefixes.generation != topology.generation()) {
            self.prefixes = Some(Prefixes::of(topology));
        }
        let Ok(ingress) = Ingress::of(topology, &entry.key) else { return };
        let family = match (entry.key.marks().l3, entry.key.ethertype()) {
            (L3::Ipv4, _) | (L3::Other | L3::Malformed, ethernet::IPV4) => Family::Ipv4,
            (L3::Ipv6, _) | (L3::Other | L3::Malformed, ethernet::IPV6) => Family::Ipv6,
            _ => Family::Other,
        };
        let gateway = ingress.network.gateway.as_ref();
        let (port, network) = (ingress.port.id, ingress.network.id);
        let source = || entry.key.addresses().map(|(source, _)| source);
        let first = match &ingress.port.identity {
            Some(_) if ingress.peer.is_none() => RuleId::Sender(port, network, entry.key.src(), source()),
            _ => RuleId::Ingress(port, network, family),
        };
        let mut way = Way {
            rules: vec![first],
            shares: ingress.network.demux.is_some(),
            named: false,
            table: 0,
            network: ingress.network.id,
            router: gateway.map(|gateway| gateway.router),
            prefixes: self.prefixes.as_ref(),
        };
        let mut packet = Packet::new(frame, &entry.key, Layout::default(), entry.second);
        pipeline::run(topology, &mut packet, &mut way);
        for rule in way.rules {
            let (packets, bytes) = self.counts.entry(rule).or_default();
            *packets += entry.packets;
            *bytes += entry.bytes;
        }
    }
}

/// The observer: notes the rules.
struct Way<'p> {
    rules: Vec<RuleId>,
    table: u8,
    /// Its stations share a MAC address.
    shares: bool,
    /// What comes next is where one of them is.
    named: bool,
    network: NetworkId,
    router: Option<RouterId>,
    prefixes: Option<&'p Prefixes>,
}

impl Observe for Way<'_> {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Table(table, _) => self.table = table,
            Step::Matched(lookup::GROUP) => self.rules.push(RuleId::Group(self.network)),
            Step::Matched(lookup::GATEWAY) => self.rules.push(RuleId::Gateway(self.network)),
            Step::Matched(demux::TO_HOST) => self.rules.push(RuleId::SharedHost(self.network)),
            Step::Neighbor(address, Some(_)) if self.table == lookup::TABLE && self.shares => {
                self.rules.push(RuleId::Shared(self.network, address));
                // By the name that it has in the MAC table: no rule of its own.
                self.named = true;
            }
            Step::Station(..) if std::mem::take(&mut self.named) => {}
            Step::Station(.., mac, place) if self.table == lookup::TABLE => self.rules.push(match place {
                Some(_) => RuleId::Station(self.network, mac),
                None => RuleId::Unknown(self.network),
            }),
            Step::Route(_, address, route) => {
                let Some(router) = self.router else { return };
                let prefix = self.prefixes.and_then(|prefixes| prefixes.find(router, address));
                self.rules.push(match prefix {
                    Some(prefix) => RuleId::Route(router, prefix),
                    None => RuleId::NoRoute(router),
                });
                if let Some(Route::Connected(network) | Route::Via(network, _)) = route {
                    self.network = network;
                }
            }
            Step::Neighbor(address, mac) if self.table == nexthop::TABLE => self.rules.push(match mac {
                Some(_) => RuleId::Neighbor(self.network, address),
                None => RuleId::NoNeighbor(self.network),
            }),
            Step::Tunnel(_, overlay, tunnel) => {
                let peer = overlay.tunnels.iter().position(|it| it.as_ref() == Some(tunnel));
                if let Some(peer) = peer.and_then(|peer| u16::try_from(peer).ok()) {
                    self.rules.push(RuleId::Tunnel(overlay.planned.network, peer));
                }
            }
            _ => {}
        }
    }
}
