//! When what a decision rests on last changed: so that a new topology makes exactly those cached flows doubtful whose
//! decision it may change, and not all.
//!
//! Rows of the tables share [`SLOTS`] slots by a hash of (network, row); a slot holds the generation in which one of its
//! rows last changed. A cached flow names up to four slots ([`Dependencies`]). Besides there is one generation for each
//! port, for what every decision about a frame from there rests on: the port itself and its networks. A flow compiled in generation `g` is
//! still right when none of them is newer than `g`. Two rows that share a slot cost a needless second look at a flow,
//! never a wrong one.
//!
//! Generations are compared as 32-bit numbers; whoever keeps one must forget it when the high half of
//! [`Topology::generation`] changes. Cost of a publication: one pass over the tables that are not the same `Arc`.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Network, Port, RouterId, Topology};
use crate::ids::{MAX_PORTS, NetworkId, PortId};
use crate::wire::ethernet::Mac;

/// Slots for rows; a power of two. 16 KiB: it stays in the first-level cache beside everything else.
const SLOTS: usize = 4096;
/// The slot of nothing: it never changes.
const NEVER: u16 = 0;
/// The slot that changes with every publication, for a decision that rests on more than fits.
const ALWAYS: u16 = 1;
const FIRST: u16 = 2;

/// On what a decision rests: up to three slots, and that of the frame's source, which teaches rather than decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependencies([u16; 4]);

/// Place of the source's slot.
const SOURCE: usize = 3;

impl Dependencies {
    /// Rests on ingress port and network alone.
    pub const NONE: Self = Self([NEVER; 4]);

    /// The frame came from this station: when its row changes, what the frame teaches is to be looked at again.
    #[inline]
    pub fn source(&mut self, network: NetworkId, mac: Mac) {
        self.0[SOURCE] = slot(network, mac.0, 0);
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

    #[inline]
    fn add(&mut self, new: u16) {
        for held in &mut self.0[..SOURCE] {
            if *held == NEVER || *held == new {
                *held = new;
                return;
            }
        }
        self.0[0] = ALWAYS;
    }
}

/// All generations of one topology.
#[derive(Clone, Debug)]
pub struct Stamps {
    slots: Box<[u32; SLOTS]>,
    ports: Box<[u32; MAX_PORTS]>,
}

impl Stamps {
    /// Everything is as new as `generation`.
    pub fn all(generation: u64) -> Self {
        let generation = generation as u32;
        let mut slots = Box::new([generation; SLOTS]);
        slots[usize::from(NEVER)] = 0;
        Self { slots, ports: Box::new([generation; MAX_PORTS]) }
    }

    /// The newest change of a port and its networks: older decisions about its frames are doubtful.
    #[inline]
    pub fn ingress(&self, port: PortId) -> u32 {
        self.ports.get(port.index()).copied().unwrap_or(u32::MAX)
    }

    /// The newest change of the rows that a decision rests on.
    #[inline]
    pub fn newest(&self, rests_on: &Dependencies) -> u32 {
        self.at(rests_on.0[0]).max(self.at(rests_on.0[1])).max(self.at(rests_on.0[2]))
    }

    /// The newest change of the row of the frame's source.
    #[inline]
    pub fn source(&self, rests_on: &Dependencies) -> u32 {
        self.at(rests_on.0[SOURCE])
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
        if !same_networks || !same_era || !same_tags(old, new) {
            return Self::all(new.generation());
        }
        let mut stamps = old.stamps().clone();
        let generation = new.generation() as u32;
        stamps.slots[usize::from(ALWAYS)] = generation;
        let mut changed = vec![false; new.networks().len()];
        for (before, after) in old.networks().iter().zip(new.networks()) {
            changed[after.id.index()] = !decides_alike(old, before, new, after);
            if !Arc::ptr_eq(&before.fdb, &after.fdb) {
                stamps.compare_stations(before, after, generation);
            }
            if !Arc::ptr_eq(&before.neighbors, &after.neighbors) {
                stamps.compare_neighbors(before, after, generation);
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
            let touched = |port: &Port| port.attachments().any(|(network, _)| changed[network.index()]);
            if !same || after.is_some_and(touched) {
                *stamp = generation;
            }
        }
        stamps
    }

    fn compare_stations(&mut self, before: &Network, after: &Network, generation: u32) {
        let mut note = |mac: Mac| self.slots[usize::from(slot(after.id, mac.0, 0))] = generation;
        for entry in after.fdb.iter() {
            if before.fdb.get(entry.mac()).map(|old| old.place()) != Some(entry.place()) {
                note(entry.mac());
            }
        }
        before.fdb.iter().filter(|old| after.fdb.get(old.mac()).is_none()).for_each(|old| note(old.mac()));
    }

    fn compare_neighbors(&mut self, before: &Network, after: &Network, generation: u32) {
        let mut note = |address| self.slots[usize::from(neighbor_slot(after.id, address))] = generation;
        for row in after.neighbors.iter() {
            if before.neighbors.get(row.address) != Some(row.neighbor) {
                note(row.address);
            }
        }
        for row in before.neighbors.iter().filter(|old| after.neighbors.get(old.address).is_none()) {
            note(row.address);
        }
    }
}

/// True when frames from a port are told apart in the same way.
fn same_ingress(before: &Port, after: &Port) -> bool {
    before.name == after.name
        && before.network == after.network
        && before.vlans == after.vlans
        && before.l3 == after.l3
}

/// True when no port has come into a VLAN, gone out of one or changed its tag there: tags are part of decisions about frames
/// that leave by the port, wherever they come from.
fn same_tags(old: &Topology, new: &Topology) -> bool {
    let vlans = |topology: &'_ Topology, id| topology.port(id).and_then(|port| port.vlans.clone());
    let tagged = |port: &&Port| port.vlans.is_some();
    old.ports().filter(tagged).all(|port| {
        let after = new.port(port.id);
        after.is_none() || vlans(new, port.id) == port.vlans
    }) && new.ports().filter(tagged).all(|port| {
        let before = old.port(port.id);
        before.is_none() || vlans(old, port.id) == port.vlans
    })
}

/// True when what all decisions in a network rest on is the same: its depth, its gateway, the routes behind it.
fn decides_alike(old: &Topology, before: &Network, new: &Topology, after: &Network) -> bool {
    before.depth == after.depth
        && before.has_l3 == after.has_l3
        && before.gateway == after.gateway
        && match (&before.gateway, &after.gateway) {
            (Some(one), Some(other)) => routes_alike(old, one.router, new, other.router),
            _ => true,
        }
}

/// True when two routers have the same routes and the same gateways in all networks.
fn routes_alike(old: &Topology, before: RouterId, new: &Topology, after: RouterId) -> bool {
    let (Some(one), Some(other)) = (old.router(before), new.router(after)) else { return false };
    let gateways = |topology: &'_ Topology, router: RouterId| -> Vec<_> {
        let all = topology.networks().iter().map(|network| network.gateway.clone());
        all.filter(|gateway| gateway.as_ref().is_some_and(|gateway| gateway.router == router)).collect()
    };
    Arc::ptr_eq(&one.fib, &other.fib) && gateways(old, before) == gateways(new, after)
}

#[inline]
fn slot(network: NetworkId, low: u64, high: u64) -> u16 {
    let mixed =
        (low ^ high.rotate_left(29) ^ (network.index() as u64) << 50).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> (64 - SLOTS.trailing_zeros())) as u16).max(FIRST)
}

#[inline]
fn neighbor_slot(network: NetworkId, address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(address) => slot(network, u64::from(address.to_bits()) << 8 | 4, 0),
        IpAddr::V6(address) => slot(network, address.to_bits() as u64, (address.to_bits() >> 64) as u64 ^ 6),
    }
}
