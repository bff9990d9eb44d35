//! What is done to the frames of a flow: compiled once on the slow path, kept in the cache, run by
//! [`super::execute`] and the worker's output. `Copy`, 32 bytes, no reference into the topology but by index.

use crate::drop::DropReason;
use crate::encap::Entropy;
use crate::ids::{NetworkId, PortId};
use crate::wire::ethernet::Mac;

/// Where a frame goes in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out of one port.
    Port(PortId),
    /// Out of every port of this network but the one it came in by, and into its tunnels.
    Flood(NetworkId),
    /// The same without the tunnels: for what came out of one.
    FloodLocal(NetworkId),
    /// Out of every port of this network and into its tunnels: for what was routed there.
    FloodInto(NetworkId),
    /// Back out of the port it came in by: the switch rewrote it into an answer. Never cached.
    Reply,
    /// To the switch itself, which has taken from it what it wanted. Never cached.
    Consume,
    /// Nowhere.
    Drop(DropReason),
    /// Nowhere, and its sender hears of it by ICMP.
    Reject(DropReason, Answer),
}

/// What a sender is told of a packet that the switch does not pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No route leads to the destination.
    NoRoute,
    /// The destination's node or neighbour cannot be reached.
    NoHost,
    /// A rule forbids it.
    Prohibited,
    /// The TTL or hop limit is used up.
    Expired,
    /// The destination is the switch itself: it answers an echo request, and says of all else that nobody is there.
    Own,
}

impl Answer {
    /// What it is, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::NoRoute => "no route",
            Self::NoHost => "host unreachable",
            Self::Prohibited => "prohibited",
            Self::Expired => "time exceeded",
            Self::Own => "answer for an address of the switch",
        }
    }
}

/// Which edits are made, one bit each; they are made in the order of the constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits(u16);

impl Edits {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Lower the maximum segment size that a TCP SYN announces to what both networks take. Done before all others
    /// (`worker/forward/fit.rs`).
    pub const CLAMP_MSS: Self = Self(1);
    /// Rewrite IP addresses and ports as the translation says.
    pub const TRANSLATE: Self = Self(1 << 1);
    /// Decrement the TTL of IPv4.
    pub const TTL: Self = Self(1 << 2);
    /// Decrement the hop limit of IPv6.
    pub const HOP_LIMIT: Self = Self(1 << 3);
    /// Replace both MAC addresses.
    pub const MACS: Self = Self(1 << 4);
    /// Remove the outer VLAN tag.
    pub const POP_VLAN: Self = Self(1 << 5);
    /// Add an 802.1Q tag.
    pub const PUSH_VLAN: Self = Self(1 << 6);
    /// The tag to add is a service tag (802.1ad).
    pub const SERVICE_TAG: Self = Self(1 << 7);
    /// Put prebuilt outer headers in front.
    pub const ENCAP: Self = Self(1 << 8);
    /// The packet belongs to a connection: it is counted there, and translated as the connection says, in the place of
    /// [`Edits::TRANSLATE`].
    pub const TRACK: Self = Self(1 << 9);
    /// It goes in the connection's reply direction.
    pub const REPLY: Self = Self(1 << 10);
    /// The packet belongs to no connection, and the decision holds only as long as that is so: one that another packet opens may
    /// have it as its answer.
    pub const STRANGER: Self = Self(1 << 11);
    /// What is outside of the IP packet: of fragments each gets its own.
    pub const OUTER: Self = Self(Self::POP_VLAN.0 | Self::PUSH_VLAN.0 | Self::SERVICE_TAG.0 | Self::ENCAP.0);

    /// Both.
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when all of `other` are among these.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those that are not among `other`.
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are also among `other`.
    #[inline]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// True when more is edited than what routed packets get: TTL, MAC addresses, a tunnel's headers.
    #[inline]
    pub const fn is_rare(self) -> bool {
        let usual = Self::TTL.0 | Self::HOP_LIMIT.0 | Self::MACS.0 | Self::ENCAP.0;
        self.0 & !(usual | Self::CLAMP_MSS.0 | Self::STRANGER.0) != 0
    }

    /// True when nothing is edited.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 & !Self::STRANGER.0 == 0
    }

    /// True when one of `other` is among these.
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The compiled actions of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// Where to.
    pub verdict: Verdict,
    /// What is changed on the way.
    pub edits: Edits,
    /// Longest IP packet that the network it is routed into takes, bytes; 0: any.
    pub mtu: u16,
    /// New destination and source address, with [`Edits::MACS`].
    pub macs: [u8; 12],
    /// Tag control information of the tag to add, with [`Edits::PUSH_VLAN`]; of a flooded frame its priority bits, for
    /// the tags that it gets at some ports.
    pub tci: u16,
    /// Index of the header template, with [`Edits::ENCAP`].
    pub template: u16,
    /// What tells the flow apart inside a tunnel, with [`Edits::ENCAP`].
    pub entropy: Entropy,
    /// Index of the translation, with [`Edits::TRANSLATE`]; slot of the connection, with [`Edits::TRACK`].
    pub translation: u32,
    /// Low half of the connection's generation, with [`Edits::TRACK`].
    pub generation: u16,
}

impl Actions {
    /// Unchanged to where `verdict` says.
    #[inline]
    pub const fn unchanged(verdict: Verdict) -> Self {
        Self {
            verdict,
            edits: Edits::NONE,
            mtu: 0,
            macs: [0; 12],
            tci: 0,
            template: 0,
            entropy: Entropy::NONE,
            translation: 0,
            generation: 0,
        }
    }

    /// Longest packet from the IP header on that needs no second look, bytes.
    #[inline]
    pub const fn longest(&self) -> u32 {
        // 0 stands for any: then it is longer than a packet can be.
        self.mtu.wrapping_sub(1) as u32 + 1
    }

    /// Also gives the frame these addresses.
    #[inline]
    pub fn set_macs(&mut self, dst: Mac, src: Mac) {
        let (dst, src) = (dst.bytes(), src.bytes());
        self.macs[..6].copy_from_slice(&dst);
        self.macs[6..].copy_from_slice(&src);
        self.edits = self.edits.and(Edits::MACS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_half_a_cache_line() {
        assert!(size_of::<Actions>() <= 32, "{}", size_of::<Actions>());
    }

    #[test]
    fn a_packet_may_have_any_length_where_no_mtu_is_said() {
        let of = |mtu| Actions { mtu, ..Actions::unchanged(Verdict::Consume) }.longest();
        assert_eq!((of(0), of(68), of(u16::MAX)), (65_536, 68, 65_535));
    }

    #[test]
    fn edits_add_up() {
        let both = Edits::MACS.and(Edits::TTL);
        assert!(both.has(Edits::MACS) && both.has(Edits::TTL) && !both.has(Edits::ENCAP));
        assert!(Edits::NONE.is_none() && !both.is_none());
        assert!(both.meets(Edits::TTL) && !both.meets(Edits::ENCAP) && Edits::STRANGER.is_none());
        assert_eq!((both.without(Edits::TTL), both.only(Edits::TTL)), (Edits::MACS, Edits::TTL));
    }
}
