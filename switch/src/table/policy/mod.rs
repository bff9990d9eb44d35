//! Who may talk to whom: the policies of the cluster, resolved to addresses.
//!
//! An address leads to the [`Identity`] of its pod: of which sets of pods it is a member, and the policies that are about
//! it, one [`Side`] for each direction. A new connection is judged by the sides of its two ends: each a list of rules that
//! belong to this pod alone, so the cost does not grow with the policies of the cluster. Pods that the same selectors
//! choose share an identity, and sides are shared between identities.
//!
//! | file | holds |
//! |---|---|
//! | `rule` | one rule: peers, ports, what it says |
//! | `side` | all rules about a pod in one direction, and how they decide |
//! | `compare` | of which pods two tables say something else |
//!
//! Cost of a lookup: a binary search by address. Built by [`crate::policy::Resolver`].

mod compare;
mod rule;
mod side;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::IpNet;

use crate::ids::PortId;

pub use rule::{Action, Peers, Ports, Rule};
pub use side::{Chapter, Judgement, Side, Tier};

/// A direction, as a pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What it receives.
    Ingress,
    /// What it sends.
    Egress,
}

impl Direction {
    /// As policies have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// What policies know of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Numbers of the sets of pods that it is in, in order.
    pub sets: Box<[u32]>,
    /// Its ports that rules name.
    pub ports: Box<[NamedPort]>,
    /// About what it receives; `None`: no policy is.
    pub ingress: Option<Arc<Side>>,
    /// About what it sends.
    pub egress: Option<Arc<Side>>,
}

impl Identity {
    /// True when some policy is about the pod.
    #[inline]
    pub fn is_subject(&self) -> bool {
        self.ingress.is_some() || self.egress.is_some()
    }

    /// What policies say about one direction.
    #[inline]
    pub fn side(&self, direction: Direction) -> Option<&Side> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// A port that a pod gives a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// The name's number.
    pub name: u32,
    /// IANA protocol number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// What a packet is to a rule.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'t> {
    /// Address of the other end.
    pub peer: IpAddr,
    /// Its pod, when it is one that rules know.
    pub peer_identity: Option<&'t Identity>,
    /// The pod that the packet goes to: ports are called what it calls them.
    pub receiver: Option<&'t Identity>,
    /// IANA protocol number.
    pub protocol: u8,
    /// Destination port; `None` where there is none, or it is not known.
    pub port: Option<u16>,
}

/// The immutable table.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Addresses and the places of their identities, by address.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u32)]>,
    identities: Box<[Arc<Identity>]>,
    /// The node's own addresses, in order.
    node: Box<[IpAddr]>,
    /// The ports by which the node's own stack sends, in order.
    node_ports: Box<[PortId]>,
}

impl Policies {
    /// Builds the table of identities by address, and of the node's own addresses: those of its kernel, which always reaches
    /// its pods and is reached by them.
    pub fn build(
        rows: impl IntoIterator<Item = (IpAddr, u32)>,
        identities: Box<[Arc<Identity>]>,
        node: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (address, identity) in rows {
            match address {
                IpAddr::V4(address) => v4.push((address.to_bits(), identity)),
                IpAddr::V6(address) => v6.push((address.to_bits(), identity)),
            }
        }
        v4.sort_unstable();
        v4.dedup_by_key(|row| row.0);
        v6.sort_unstable();
        v6.dedup_by_key(|row| row.0);
        let mut node: Vec<IpAddr> = node.into_iter().collect();
        node.sort_unstable();
        node.dedup();
        Self { v4: v4.into(), v6: v6.into(), identities, node: node.into(), node_ports: Box::default() }
    }

    /// The same with the ports by which the node's own stack sends.
    #[must_use]
    pub fn with_node_ports(mut self, ports: &BTreeSet<PortId>) -> Self {
        self.node_ports = ports.iter().copied().collect();
        self
    }

    /// What is known of the pod that has `address`.
    #[inline]
    pub fn get(&self, address: IpAddr) -> Option<&Identity> {
        let place = match address {
            IpAddr::V4(address) => {
                let at = self.v4.binary_search_by_key(&address.to_bits(), |row| row.0).ok()?;
                self.v4.get(at)?.1
            }
            IpAddr::V6(address) => {
                let at = self.v6.binary_search_by_key(&address.to_bits(), |row| row.0).ok()?;
                self.v6.get(at)?.1
            }
        };
        self.identities.get(place as usize).map(Arc::as_ref)
    }

    /// True when some policy is about a pod with an address in `prefix`.
    pub fn has_subject_in(&self, prefix: IpNet) -> bool {
        fn any<T: Copy + Ord>(rows: &[(T, u32)], first: T, last: T, is: impl Fn(u32) -> bool) -> bool {
            let from = rows.partition_point(|row| row.0 < first);
            rows.iter().skip(from).take_while(|row| row.0 <= last).any(|row| is(row.1))
        }
        let is = |place: u32| self.identities.get(place as usize).is_some_and(|it| it.is_subject());
        match prefix {
            IpNet::V4(net) => any(&self.v4, net.network().to_bits(), net.broadcast().to_bits(), is),
            IpNet::V6(net) => any(&self.v6, net.network().to_bits(), net.broadcast().to_bits(), is),
        }
    }

    /// True for an address of the node itself.
    #[inline]
    pub fn is_node(&self, address: IpAddr) -> bool {
        self.node.binary_search(&address).is_ok()
    }

    /// True for a port by which the node's own stack sends.
    #[inline]
    pub fn is_node_port(&self, port: PortId) -> bool {
        self.node_ports.binary_search(&port).is_ok()
    }

    /// All addresses with what is known of their pods, by address.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Identity)> {
        let v4 = self.v4.iter().map(|(address, at)| (IpAddr::from(address.to_be_bytes()), at));
        let v6 = self.v6.iter().map(|(address, at)| (IpAddr::from(address.to_be_bytes()), at));
        v4.chain(v6).filter_map(|(address, at)| Some((address, self.identities.get(*at as usize)?.as_ref())))
    }

    /// Number of addresses.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// True when there is no address.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
