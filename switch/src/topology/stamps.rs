//! When what a decision rests on last changed: so that a new topology makes exactly those cached flows doubtful whose
//! decision it may change, and not all.
//!
//! Rows of the tables share [`SLOTS`] slots by a hash of (network, row); a slot holds the generation in which one of its
//! rows last changed. A cached flow names up to four slots ([`Dependencies`]). Besides there is one generation for each
//! port, for what every decision about a frame from there rests on: the port itself and its networks. A flow compiled in
//! generation `g` is still right when none of them is newer than `g`. Two rows that share a slot cost a needless second look
//! at a flow, never a wrong one. What policies say of the two ends of a connection has slots of its own, one for the addresses that
//! share a hash of 8 bits: a pod that comes, goes or gets other labels makes the decisions about its own packets doubtful,
//! and those about one pair of pods in a hundred besides.
//!
//! Generations are compared as 32-bit numbers; whoever keeps one must forget it when the high half of
//! [`Topology::generation`](super::Topology::generation) changes. Cost of a publication: one pass over the tables that are not the same `Arc`.

mod follow;

use std::net::IpAddr;

use super::RouterId;
use crate::ids::{MAX_PORTS, NetworkId, PortId};
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
