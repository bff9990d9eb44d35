//! The port by which the node's own stack and pods reach each other (`ovn-k8s-mp0` of OVN-Kubernetes), as a router has it.

use std::net::IpAddr;

use crate::ids::{NetworkId, PortId};

/// The management port of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Management {
    /// The port.
    pub port: PortId,
    /// The network that it is in.
    pub network: NetworkId,
    /// The addresses that the node's own stack has there.
    pub addresses: Box<[IpAddr]>,
    /// What leaves the node goes by it, and what comes for services (gateway mode `local`).
    pub leads_out: bool,
}

impl Management {
    /// The node's address there of the family of `other`.
    pub fn like(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == other.is_ipv4())
    }
}
