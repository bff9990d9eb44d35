//! What one node alone has in an overlay, of whose gateway all nodes have the address: to that other nodes answer.

use std::net::IpAddr;

use crate::ids::NetworkId;
use crate::wire::ethernet::Mac;

/// The addresses of this node in an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEnd {
    /// The overlay.
    pub network: NetworkId,
    /// The Ethernet address that frames to it come with; `None` in an L3 overlay, whose gateway is this node's alone.
    pub mac: Option<Mac>,
    /// At least one.
    pub addresses: Box<[IpAddr]>,
}

impl OwnEnd {
    /// The address of the family of `other`.
    pub fn like(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == other.is_ipv4())
    }

    /// `ends` at the places of their networks, of which there are `networks`.
    pub(super) fn by_network(ends: &[Self], networks: usize) -> Box<[Option<Self>]> {
        let mut places: Box<[Option<Self>]> = (0..networks).map(|_| None).collect();
        for end in ends {
            if let Some(place) = places.get_mut(end.network.index()) {
                *place = Some(end.clone());
            }
        }
        places
    }
}
