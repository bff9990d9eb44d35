//! When what a decision rests on last changed: so that a new topology makes exactly those cached flows doubtful whose
//! decision it may change, and not all.
//!
//! Rows of the tables share [`SLOTS`] slots by a hash of (network, row); a slot holds the generation in which one of its
//! rows last changed. A cached flow names up to four slots ([`Dependencies`]). Besides there is one generation for each
//! port, for what every decision about a frame from there rests on: the port itself and its networks. A flow compiled in generation `g` is
//! still right when none of them is newer than `g`. Two rows that share a slot cost a needless second look at a flow,
//! never a wrong one. What policies say of the two ends of a connection has slots of its own, one for the addresses that
//! share a hash of 8 bits: a pod that comes, goes or gets other labels makes the decisions about its own packets doubtful,
//! and those about one pair of pods in a hundred besides.
//!
//! Generations are compared as 32-bit numbers; whoever keeps one must forget it when the high half of
//! [`Topology::generation`] changes. Cost of a publication: one pass over the tables that are not the same `Arc`.

use std::net::IpAddr;
use std::sync::Arc;

use super::tunnels::Overlay;
use super::{Network, Port, RouterId, Topology};
use crate::ids::{MAX_PORTS, NetworkId, PortId};
use crate::table::fdb::{Entry, Place};
use crate::table::neighbor::Neighbor;
use crate::table::service::Services;
use crate::wire::ethernet::Mac;

/// Slots for rows; a power of two. 16 KiB: it stays in the first-level cache beside everything else.
pub(super) const SLOTS: usize = 4096;
/// The slot of nothing: it never changes.
const NEVER: u16 = 0;
/// The slot that changes with every publication, for a decision that rests on more than fits.
const ALWAYS: u16 = 1;
const FIRST: u16 = 2;

/// On what a decision rests: up to three slots, that of the frame's source, which teaches rather than decides, and those of the
/// policies about the two ends. Four times 12 bits, then twice 8: there is no room for more beside a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependencies(u64);

/// Bits of a slot.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();
/// Place of the source's slot.
const SOURCE: u32 = 3;
/// Where the slots of policies begin.
const ENDS: u32 = 4 * SLOT_BITS;
/// Slots of policies: the first is nobody's.
const POLICY_SLOTS: usize = 256;
/// High half of the rows of tunnels, of what is behind peers, and of services; no IPv6 prefix is as small.
const TUNNEL: u64 = 1;
const PEER: u64 = 2;
const SERVICE: u64 = 3;

const _: () = assert!(ENDS + 2 * 8 == u64::BITS && POLICY_SLOTS == 1 << 8);

impl Dependencies {
    /// Rests on ingress port and network alone.
    pub const NONE: Self = Self(0);

    /// The frame came from this station: when its row changes, what the frame teaches is to be looked at again.
    #[inline]
    pub fn source(&mut self, network: NetworkId, mac: Mac) {
        self.put(SOURCE, slot(network, mac.0, 0));
    }

    /// The decision has asked for the row of a station.
    #[inline]
    pub fn station(&mut self, network: NetworkId, mac: Mac) {
        self.add(slot(network, mac.0, 0));
    }

    /// The decision has asked for the row of a neighbour.
    #[inline]
    pub fn neighbor(&mut self, network: NetworkId, address: IpAddr) {
        self.add(neighbor_slot(network, address));
    }

    /// The decision has asked for the way of a tunnel.
    #[inline]
    pub fn tunnel(&mut self, network: NetworkId, peer: u16) {
        self.add(slot(network, u64::from(peer), TUNNEL));
    }

    /// The decision has asked for what is behind a peer.
    #[inline]
    pub fn peer(&mut self, network: NetworkId, peer: u16) {
        self.add(slot(network, u64::from(peer), PEER));
    }

    /// The decision has refused a packet for what a service is at present: the one of that number at a router. A connection that
    /// it has opened rests on itself.
    #[inline]
    pub fn service(&mut self, router: RouterId, number: u32) {
        self.add(service_slot(router, number));
    }

    /// The decision has asked what policies know of the two ends of a connection.
    #[inline]
    pub fn policy(&mut self, client: IpAddr, server: IpAddr) {
        let ends = u64::from(policy_slot(client)) | u64::from(policy_slot(server)) << 8;
        match self.0 >> ENDS {
            0 => self.0 |= ends << ENDS,
            held if held == ends => {}
            // Of another connection's, too: more than fits.
            _ => self.put(0, ALWAYS),
        }
    }

    /// True when the decision may rest on what policies know of `address`.
    pub fn has_policy(&self, address: IpAddr) -> bool {
        self.policies().contains(&policy_slot(address))
    }

    /// The slots of the rows that the decision rests on.
    #[inline]
    pub(super) fn decided_by(&self) -> impl Iterator<Item = u16> {
        let slots = [self.slot(0), self.slot(1), self.slot(2)];
        slots.into_iter().filter(|slot| *slot >= FIRST)
    }

    #[inline]
    fn slot(&self, place: u32) -> u16 {
        (self.0 >> (place * SLOT_BITS)) as u16 & (SLOTS - 1) as u16
    }

    #[inline]
    fn policies(&self) -> [u8; 2] {
        [(self.0 >> ENDS) as u8, (self.0 >> (ENDS + 8)) as u8]
    }

    #[inline]
    fn put(&mut self, place: u32, slot: u16) {
        let shift = place * SLOT_BITS;
        self.0 = self.0 & !(((SLOTS - 1) as u64) << shift) | u64::from(slot) << shift;
    }

    #[inline]
    fn add(&mut self, new: u16) {
        for place in 0..SOURCE {
            let held = self.slot(place);
            if held == NEVER || held == new {
                self.put(place, new);
                return;
            }
        }
        self.put(0, ALWAYS);
    }
}

/// All generations of one topology.
#[derive(Clone, Debug)]
pub struct Stamps {
    slots: Box<[u32; SLOTS]>,
    policies: Box<[u32; POLICY_SLOTS]>,
    ports: Box<[u32; MAX_PORTS]>,
}

impl Stamps {
    /// Everything is as new as `generation`.
    pub fn all(generation: u64) -> Self {
        let generation = generation as u32;
        let mut slots = Box::new([generation; SLOTS]);
        slots[usize::from(NEVER)] = 0;
        let mut policies = Box::new([generation; POLICY_SLOTS]);
        policies[usize::from(NEVER)] = 0;
        Self { slots, policies, ports: Box::new([generation; MAX_PORTS]) }
    }

    /// The newest change of a port and its networks: older decisions about its frames are doubtful.
    #[inline]
    pub fn ingress(&self, port: PortId) -> u32 {
        self.ports.get(port.index()).copied().unwrap_or(u32::MAX)
    }

    /// The newest change of the rows that a decision rests on.
    #[inline]
    pub fn newest(&self, rests_on: &Dependencies) -> u32 {
        let rows = self.at(rests_on.slot(0)).max(self.at(rests_on.slot(1))).max(self.at(rests_on.slot(2)));
        let [client, server] = rests_on.policies().map(|slot| self.policies[usize::from(slot)]);
        rows.max(client).max(server)
    }

    /// The newest change of the row of the frame's source.
    #[inline]
    pub fn source(&self, rests_on: &Dependencies) -> u32 {
        self.at(rests_on.slot(SOURCE))
    }

    #[inline]
    fn at(&self, slot: u16) -> u32 {
        self.slots[usize::from(slot) % SLOTS]
    }

    /// The stamps of `new`, which follows `old`.
    pub fn follow(old: &Topology, new: &Topology) -> Self {
        let same_networks = old.networks().len() == new.networks().len()
            && old.networks().iter().zip(new.networks()).all(|(old, new)| old.name == new.name);
        let same_era = old.generation() >> 32 == new.generation() >> 32;
        if !same_networks || !same_era || !same_tags(old, new) || !same_lengths(old, new) {
            return Self::all(new.generation());
        }
        let mut stamps = old.stamps().clone();
        let generation = new.generation() as u32;
        stamps.slots[usize::from(ALWAYS)] = generation;
        let mut changed = vec![false; new.networks().len()];
        for (before, after) in old.networks().iter().zip(new.networks()) {
            let overlays = (old.overlay(before.id), new.overlay(after.id));
            changed[after.id.index()] = !decides_alike(old, before, new, after) || !planned_alike(overlays);
            stamps.compare_tunnels(after.id, overlays, generation);
            if !Arc::ptr_eq(&before.fdb, &after.fdb) {
                stamps.compare_stations(before, after, generation);
            }
            if !Arc::ptr_eq(&before.neighbors, &after.neighbors) {
                stamps.compare_neighbors(before, after, generation);
            }
        }
        stamps.compare_policies(old, new, generation);
        // Where they do not stand alike, all of the router's networks have changed.
        for router in new.routers().iter().map(|router| router.id) {
            let pair = old.services(router).zip(new.services(router));
            let pair = pair.filter(|(before, after)| before.stands_like(after));
            if let Some((before, after)) = pair {
                for number in before.differing(after) {
                    stamps.slots[usize::from(service_slot(router, number))] = generation;
                }
            }
        }
        for (index, stamp) in stamps.ports.iter_mut().enumerate() {
            let Some(id) = PortId::new(index) else { continue };
            let (before, after) = (old.port(id), new.port(id));
            let same = match (before, after) {
                (None, None) => continue,
                (Some(before), Some(after)) => same_ingress(before, after),
                _ => false,
            };
            // What comes in may belong to an overlay that the port's network carries.
            let touched = |port: &Port| {
                port.attachments().any(|(network, _)| {
                    let carries = |id: &NetworkId| changed[id.index()];
                    changed[network.index()]
                        || new.carried(network).chain(old.carried(network)).any(|id| carries(&id))
                })
            };
            if !same || after.is_some_and(touched) {
                *stamp = generation;
            }
        }
        stamps
    }

    /// Pods that policies see otherwise. The networks that ask at all have mostly one table in common.
    fn compare_policies(&mut self, old: &Topology, new: &Topology, generation: u32) {
        let mut last = None;
        for (before, after) in old.networks().iter().zip(new.networks()) {
            let (Some(before), Some(after)) = (&before.policies, &after.policies) else { continue };
            let pair = (Arc::as_ptr(before), Arc::as_ptr(after));
            if pair.0 == pair.1 || last == Some(pair) {
                continue;
            }
            last = Some(pair);
            before.compare(after, |address| self.policies[usize::from(policy_slot(address))] = generation);
        }
    }

    fn compare_stations(&mut self, before: &Network, after: &Network, generation: u32) {
        let mut note = |mac: Mac, places: [Option<Place>; 2]| {
            self.slots[usize::from(slot(after.id, mac.0, 0))] = generation;
            for place in places.into_iter().flatten() {
                if let Place::Peer(peer) = place {
                    self.slots[usize::from(slot(after.id, u64::from(peer), PEER))] = generation;
                }
            }
        };
        for entry in after.fdb.iter() {
            let old = before.fdb.get(entry.mac()).map(Entry::place);
            if old != Some(entry.place()) {
                note(entry.mac(), [old, Some(entry.place())]);
            }
        }
        for old in before.fdb.iter().filter(|old| after.fdb.get(old.mac()).is_none()) {
            note(old.mac(), [Some(old.place()), None]);
        }
    }

    fn compare_tunnels(
        &mut self,
        network: NetworkId,
        (before, after): (Option<&Overlay>, Option<&Overlay>),
        generation: u32,
    ) {
        let count = |overlay: Option<&Overlay>| overlay.map_or(0, |overlay| overlay.tunnels.len());
        for peer in (0..=u16::MAX).take(count(before).max(count(after))) {
            let tunnel =
                |overlay: Option<&Overlay>| overlay.and_then(|overlay| overlay.tunnel(peer)).cloned();
            if tunnel(before) != tunnel(after) {
                self.slots[usize::from(slot(network, u64::from(peer), TUNNEL))] = generation;
            }
        }
    }

    fn compare_neighbors(&mut self, before: &Network, after: &Network, generation: u32) {
        let mut note = |address, neighbors: [Option<Neighbor>; 2]| {
            self.slots[usize::from(neighbor_slot(after.id, address))] = generation;
            for neighbor in neighbors.into_iter().flatten() {
                for fdb in [&before.fdb, &after.fdb] {
                    if let Some(Place::Peer(peer)) = fdb.get(neighbor.mac).map(Entry::place) {
                        self.slots[usize::from(slot(after.id, u64::from(peer), PEER))] = generation;
                    }
                }
            }
        };
        for row in after.neighbors.iter() {
            let old = before.neighbors.get(row.address);
            if old != Some(row.neighbor) {
                note(row.address, [old, Some(row.neighbor)]);
            }
        }
        for row in before.neighbors.iter().filter(|old| after.neighbors.get(old.address).is_none()) {
            note(row.address, [Some(row.neighbor), None]);
        }
    }
}

/// True when frames from a port are told apart in the same way.
fn same_ingress(before: &Port, after: &Port) -> bool {
    before.name == after.name
        && before.network == after.network
        && before.vlans == after.vlans
        && before.l3 == after.l3
        && before.identity == after.identity
}

/// True when no port has come into a VLAN, gone out of one or changed its tag there: tags are part of decisions about frames
/// that leave by the port, wherever they come from.
fn same_tags(old: &Topology, new: &Topology) -> bool {
    old.ports().all(|port| new.port(port.id).is_none_or(|after| after.vlans == port.vlans))
}

/// True when every port takes as long frames as before: the longest packet is part of decisions about what is routed to it.
fn same_lengths(old: &Topology, new: &Topology) -> bool {
    old.ports().all(|port| new.port(port.id).is_none_or(|after| after.max_frame == port.max_frame))
}

/// True when what all decisions in a network rest on is the same: its depth, its gateway, the routes behind it.
fn decides_alike(old: &Topology, before: &Network, new: &Topology, after: &Network) -> bool {
    before.depth == after.depth
        && before.has_l3 == after.has_l3
        && before.zone == after.zone
        && before.tracks_bridged == after.tracks_bridged
        && match (&before.policies, &after.policies) {
            (None, None) => true,
            // What they say of pods has slots of its own.
            (Some(before), Some(after)) => before.has_node_of(after),
            _ => false,
        }
        && before.answers == after.answers
        && before.demux == after.demux
        && before.gateway == after.gateway
        && before.host == after.host
        && before.crossing == after.crossing
        && match (&before.gateway, &after.gateway) {
            (Some(one), Some(other)) => routes_alike(old, one.router, new, other.router),
            _ => true,
        }
}

/// True when frames out of an overlay's tunnels are told apart in the same way.
fn planned_alike((before, after): (Option<&Overlay>, Option<&Overlay>)) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => {
            Arc::ptr_eq(&before.planned, &after.planned) || before.planned == after.planned
        }
        _ => false,
    }
}

/// True when services stand at the same addresses and ports.
fn services_alike(old: Option<&Arc<Services>>, new: Option<&Arc<Services>>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old.stands_like(new),
        _ => false,
    }
}

/// True when two routers have the same routes and static translations, services at the same addresses, and the same gateways and MTU in all networks.
fn routes_alike(old: &Topology, before: RouterId, new: &Topology, after: RouterId) -> bool {
    let (Some(one), Some(other)) = (old.router(before), new.router(after)) else { return false };
    let gateways = |topology: &'_ Topology, router: RouterId| -> Vec<_> {
        let joins =
            |network: &&Network| network.gateway.as_ref().is_some_and(|gateway| gateway.router == router);
        let joined = topology.networks().iter().filter(joins);
        joined
            .map(|network| {
                let switches = (network.mss_clamp, network.masquerade, network.closed);
                let switches = (switches, network.crossing.clone());
                (network.gateway.clone(), network.host, network.mtu, switches)
            })
            .collect()
    };
    let services = services_alike(old.services(before), new.services(after));
    services
        && old.ends == new.ends
        && old.management(before) == new.management(after)
        && old.nat(before) == new.nat(after)
        && Arc::ptr_eq(&one.fib, &other.fib)
        && gateways(old, before) == gateways(new, after)
}

#[inline]
fn slot(network: NetworkId, low: u64, high: u64) -> u16 {
    let mixed =
        (low ^ high.rotate_left(29) ^ (network.index() as u64) << 50).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> (64 - SLOTS.trailing_zeros())) as u16).max(FIRST)
}

#[inline]
fn service_slot(router: RouterId, number: u32) -> u16 {
    slot(NetworkId::new(router.index()), u64::from(number), SERVICE)
}

#[inline]
pub(super) fn neighbor_slot(network: NetworkId, address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(address) => slot(network, u64::from(address.to_bits()) << 8 | 4, 0),
        IpAddr::V6(address) => slot(network, address.to_bits() as u64, (address.to_bits() >> 64) as u64 ^ 6),
    }
}

/// Never 0, the slot of nobody.
#[inline]
fn policy_slot(address: IpAddr) -> u8 {
    let mixed = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()) << 8 | 4,
        IpAddr::V6(address) => address.to_bits() as u64 ^ (address.to_bits() >> 64) as u64 ^ 6,
    };
    ((mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).max(1)
}
