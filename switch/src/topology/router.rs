//! Routing between networks: a router joins the networks that name it, with a gateway in each.

use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{IpNet, RouterName};

use crate::table::fib::Fib;
use crate::wire::ethernet::Mac;

/// Index of a router in its topology; not stable across topologies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouterId(pub(crate) u16);

impl RouterId {
    /// The first router of a plan.
    pub const FIRST: Self = Self(0);

    /// Index into the topology's routers.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A router. The networks that its [`Fib`] names are those whose gateway names it, in the same topology.
#[derive(Clone, Debug)]
pub struct Router {
    /// Index.
    pub id: RouterId,
    /// Name, for people.
    pub name: RouterName,
    /// Its routes: the subnets of its gateways and those that configuration gives.
    pub fib: Arc<Fib>,
}

/// A router in a [`Plan`](super::Plan); its index is its id.
#[derive(Clone, Debug)]
pub struct PlannedRouter {
    /// Name.
    pub name: RouterName,
    /// Its routes; they name networks by their index in the same plan.
    pub fib: Arc<Fib>,
}

/// What a network has of its router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// MAC address: of frames to be routed the destination, of routed frames the source.
    pub mac: Mac,
    /// The router's addresses in the network, each with the length of its subnet's prefix. Subnets do not overlap.
    pub addresses: Arc<[(IpAddr, u8)]>,
    /// The router.
    pub router: RouterId,
}

impl Gateway {
    /// Our address in the subnet of `target`: the sender of an ARP request or neighbour solicitation for it.
    pub fn source_for(&self, target: IpAddr) -> Option<IpAddr> {
        let same = |&&(address, len): &&(IpAddr, u8)| {
            IpNet::new(address, len).is_ok_and(|subnet| subnet.contains(&target))
        };
        self.addresses.iter().find(same).map(|(address, _)| *address)
    }

    /// One of our addresses: in the subnet of `to`, or at least of its family.
    pub fn own(&self, to: IpAddr) -> Option<IpAddr> {
        let all = || self.addresses.iter().map(|(address, _)| *address);
        self.source_for(to).or_else(|| all().find(|address| address.is_ipv4() == to.is_ipv4()))
    }

    /// True when `address` is one of ours.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_of_a_request_is_in_the_subnet_of_its_target() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let addresses = [(address("10.0.1.1"), 24), (address("10.0.2.1"), 24), (address("fd00:1::1"), 64)];
        let gateway = Gateway { mac: Mac(2), addresses: addresses.into(), router: RouterId(0) };
        assert_eq!(gateway.source_for(address("10.0.2.200")), Some(address("10.0.2.1")));
        assert_eq!(gateway.source_for(address("fd00:1::9")), Some(address("fd00:1::1")));
        assert_eq!(gateway.source_for(address("fd00:2::9")), None);
        assert_eq!(gateway.source_for(address("10.0.3.1")), None);
        assert!(gateway.owns(address("10.0.1.1")) && !gateway.owns(address("10.0.1.2")));
    }
}
