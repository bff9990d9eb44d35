//! What a network has of its own about traffic between it and the other networks of its router: overlay and underlay.

use std::sync::Arc;

use super::Network;
use crate::ids::NetworkId;

/// Rules for pairs of networks; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crossing {
    /// Networks into which packets go with the router's address there (`true`) or their own, whatever
    /// [`Network::masquerade`] says; a handful at most.
    pub snat: Arc<[(NetworkId, bool)]>,
    /// What stations send to another router's MAC address is routed here, when it is for an overlay of the router or for
    /// a station of this node.
    pub local_route: bool,
}

impl Crossing {
    /// True when some of what leaves the network gets the router's address.
    pub fn translates(&self) -> bool {
        self.snat.iter().any(|(_, node)| *node)
    }
}

impl Network {
    /// True when what goes from this network into `other` gets the router's address there.
    #[inline]
    pub fn is_translated_into(&self, other: &Network) -> bool {
        let pair = self.crossing.snat.iter().find(|(to, _)| *to == other.id);
        pair.map_or(self.masquerade && !other.masquerade, |(_, node)| *node)
    }
}
