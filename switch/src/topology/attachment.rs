//! How ports and networks are joined: by which tag a frame of a port belongs to which network, and with which tag the
//! frames of a network leave by a port (IEEE 802.1Q clause 6.9).
//!
//! A VLAN of a bridge is a network of its own. A port that takes notice of tags has [`Vlans`]; to any other port tags are
//! payload. Between ingress and egress a frame of a VLAN has no tag: the stages take it off and put another on only where
//! the two sides differ.

use crate::ids::{NetworkId, PortId};

/// The bits of a TCI that are the VLAN identifier (IEEE 802.1Q clause 9.6); the others are priority and drop eligibility.
const VID: u16 = 0x0fff;

/// A tag without its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// VLAN identifier, 1 to 4094.
    pub vid: u16,
    /// A service tag (802.1ad, TPID 0x88a8) and not a customer tag (802.1Q, 0x8100).
    pub service: bool,
}

/// The VLANs of a port that takes notice of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vlans {
    /// Network of untagged and priority-tagged frames; `None` refuses them.
    pub untagged: Option<NetworkId>,
    /// Networks of tagged frames, by VLAN identifier in ascending order.
    pub tagged: Box<[(u16, NetworkId)]>,
    /// The port's tags are service tags; customer tags are payload.
    pub service: bool,
}

impl Vlans {
    /// The network of a frame with the TCI `outer` of a tag of the port's kind, or without one.
    #[inline]
    pub fn network(&self, outer: Option<u16>) -> Option<NetworkId> {
        match outer.map(|tci| tci & VID) {
            // IEEE 802.1Q clause 6.9: the null VID carries a priority and no VLAN.
            None | Some(0) => self.untagged,
            Some(vid) => {
                let at = self.tagged.binary_search_by_key(&vid, |(vid, _)| *vid).ok()?;
                self.tagged.get(at).map(|(_, network)| *network)
            }
        }
    }

    /// All networks that the port is attached to, each with the tag it has there.
    pub fn attachments(&self) -> impl Iterator<Item = (NetworkId, Option<Tag>)> + '_ {
        let tag = |vid| Tag { vid, service: self.service };
        let tagged = self.tagged.iter().map(move |(vid, network)| (*network, Some(tag(*vid))));
        self.untagged.map(|network| (network, None)).into_iter().chain(tagged)
    }
}

/// A port of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The port.
    pub port: PortId,
    /// The tag that the network's frames have there.
    pub tag: Option<Tag>,
}

/// `tci` with another VLAN identifier: priority and drop eligibility stay.
#[inline]
pub const fn retagged(tci: u16, tag: Tag) -> u16 {
    tci & !VID | tag.vid & VID
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_belongs_to_the_network_of_its_tag() {
        let vlans = Vlans {
            untagged: Some(NetworkId(9)),
            tagged: [(100, NetworkId(1)), (1155, NetworkId(2))].into(),
            service: false,
        };
        assert_eq!(vlans.network(None), Some(NetworkId(9)));
        assert_eq!(vlans.network(Some(0xe000)), Some(NetworkId(9)), "a priority tag is no VLAN");
        assert_eq!(vlans.network(Some(0xf000 | 100)), Some(NetworkId(1)), "priority does not matter");
        assert_eq!(vlans.network(Some(1155)), Some(NetworkId(2)));
        assert_eq!(vlans.network(Some(1156)), None);
        assert_eq!(Vlans { untagged: None, ..vlans }.network(Some(0)), None);
    }

    #[test]
    fn priority_survives_another_vlan() {
        assert_eq!(retagged(0xb064, Tag { vid: 1155, service: false }), 0xb000 | 1155);
    }
}
