//! The flow key: every header field on which a stage may decide, in 64 bytes.
//!
//! Stages read header fields from here and nowhere else. A key that was filled only as deep as the network's stages read
//! ([`Depth`]) has zeros in the other fields, so two frames with equal keys get equal decisions *by construction*: what is
//! not in the key cannot be read. Whoever needs more of a frame than the key has (ARP, neighbour discovery) takes the
//! frame itself and thereby makes it uncacheable, see [`crate::pipeline::Packet::look_inside`].
//!
//! | word | bits 63..48 | 47..32 | 31..16 | 15..0 |
//! |---|---|---|---|---|
//! | 0 | EtherType behind the tags | destination MAC | | |
//! | 1 | ingress port | source MAC | | |
//! | 2 | outer TCI | inner TCI | source port, ICMP type and code | destination port, ICMP identifier |
//! | 3 | overlay that it was unwrapped into | peer that sent it | protocol, traffic class | [`Marks`] |
//! | 4, 5 | source address: IPv6 in network order, IPv4 in the low half of word 4 | | | |
//! | 6, 7 | destination address, the same way | | | |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ids::PortId;
use crate::wire::ethernet::Mac;

/// How deep the stages of a network look into a frame; each depth includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Depth {
    /// Ethernet addresses and EtherType: an L2 network. VLAN tags are payload.
    #[default]
    Ethernet = 0,
    /// Also VLAN tags, IP addresses, protocol, TTL class and fragment state: routing.
    Network = 1,
    /// Also traffic class, ports and ICMP type: policy, services, connections.
    Transport = 2,
}

/// What is behind the Ethernet header and its tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum L3 {
    /// Not IP, or not looked at.
    #[default]
    Other = 0,
    /// A sound IPv4 header.
    Ipv4 = 1,
    /// A sound IPv6 header and extension chain.
    Ipv6 = 2,
    /// The EtherType says IP, but the header is not sound: wrong version, a length that does not fit the frame.
    Malformed = 3,
}

/// What is behind the IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum L4 {
    /// No transport header that the switch knows, one that is in another fragment, or not looked at.
    #[default]
    Other = 0,
    /// Ports of TCP, UDP or SCTP; type, code and identifier of ICMP.
    Known = 1,
    /// A known protocol whose header does not fit the packet, or is cut off in a first fragment (RFC 1858, RFC 7112).
    Malformed = 2,
}

/// Fragment state of an IP packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// Not fragmented.
    #[default]
    Whole = 0,
    /// Offset 0, more to come: has the transport header.
    First = 1,
    /// Any later fragment.
    Later = 2,
}

/// The small facts about a frame, one bit field each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How deep the frame was parsed.
    pub depth: Depth,
    /// VLAN tags in front of the EtherType, 0 to 2. A third tag is the EtherType of an unknown payload.
    pub tags: u8,
    /// The outer tag is a service tag (802.1ad, TPID 0x88a8). The inner one's TPID is not in the key: nobody decides by it.
    pub service_tag: bool,
    /// Network layer.
    pub l3: L3,
    /// Transport layer.
    pub l4: L4,
    /// Fragment state.
    pub fragment: Fragment,
    /// TTL or hop limit is 0 or 1: a router may not pass it on (RFC 1812 section 5.3.1).
    pub ttl_expired: bool,
    /// The IPv4 header has options or the IPv6 packet has extension headers.
    pub options: bool,
    /// A later fragment that was given protocol and ports of its datagram's first one ([`crate::state::fragments`]).
    pub gathered: bool,
}

impl Marks {
    /// The 16 bits in word 3.
    #[inline(always)]
    pub const fn bits(self) -> u16 {
        self.depth as u16
            | (self.tags as u16 & 3) << 2
            | (self.service_tag as u16) << 4
            | (self.l3 as u16) << 5
            | (self.l4 as u16) << 7
            | (self.fragment as u16) << 9
            | (self.ttl_expired as u16) << 11
            | (self.options as u16) << 12
            | (self.gathered as u16) << 13
    }

    /// The marks behind the 16 bits.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self {
            depth: match bits & 3 {
                0 => Depth::Ethernet,
                1 => Depth::Network,
                _ => Depth::Transport,
            },
            tags: (bits >> 2) as u8 & 3,
            service_tag: bits & 1 << 4 != 0,
            l3: match bits >> 5 & 3 {
                0 => L3::Other,
                1 => L3::Ipv4,
                2 => L3::Ipv6,
                _ => L3::Malformed,
            },
            l4: match bits >> 7 & 3 {
                0 => L4::Other,
                1 => L4::Known,
                _ => L4::Malformed,
            },
            fragment: match bits >> 9 & 3 {
                0 => Fragment::Whole,
                1 => Fragment::First,
                _ => Fragment::Later,
            },
            ttl_expired: bits & 1 << 11 != 0,
            options: bits & 1 << 12 != 0,
            gathered: bits & 1 << 13 != 0,
        }
    }
}

const LOW_48: u64 = 0xffff_ffff_ffff;

/// The key. `Copy`, one cache line, compared and hashed as eight words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct FlowKey {
    words: [u64; 8],
}

impl FlowKey {
    /// A key with the Ethernet header alone.
    #[inline]
    pub fn ethernet(port: PortId, dst: Mac, src: Mac, ethertype: u16) -> Self {
        let mut words = [0; 8];
        words[0] = dst.0 | u64::from(ethertype) << 48;
        words[1] = src.0 | (port.index() as u64) << 48;
        Self { words }
    }

    /// The key as words, for hashing.
    #[inline]
    pub fn words(&self) -> &[u64; 8] {
        &self.words
    }

    /// Destination address of the frame.
    #[inline]
    pub fn dst(&self) -> Mac {
        Mac(self.words[0] & LOW_48)
    }

    /// Source address of the frame.
    #[inline]
    pub fn src(&self) -> Mac {
        Mac(self.words[1] & LOW_48)
    }

    /// EtherType behind the tags; at [`Depth::Ethernet`] that of the frame, which may be a tag's.
    #[inline]
    pub fn ethertype(&self) -> u16 {
        (self.words[0] >> 48) as u16
    }

    /// Slot of the ingress port.
    #[inline]
    pub fn port(&self) -> usize {
        (self.words[1] >> 48) as usize
    }

    /// Tag control information (802.1Q clause 9.6) of outer and inner tag; 0 where there is none.
    #[inline]
    pub fn vlan(&self) -> (u16, u16) {
        ((self.words[2] >> 48) as u16, (self.words[2] >> 32) as u16)
    }

    /// Sets EtherType and tags.
    #[inline]
    pub fn set_vlan(&mut self, ethertype: u16, outer: u16, inner: u16) {
        self.words[0] = self.words[0] & LOW_48 | u64::from(ethertype) << 48;
        self.words[2] = self.words[2] & 0xffff_ffff | u64::from(outer) << 48 | u64::from(inner) << 32;
    }

    /// Source and destination port; of ICMP, (type << 8 | code) and the identifier of an echo message or 0.
    #[inline]
    pub fn ports(&self) -> (u16, u16) {
        ((self.words[2] >> 16) as u16, self.words[2] as u16)
    }

    /// Sets what [`FlowKey::ports`] returns.
    #[inline]
    pub fn set_ports(&mut self, src: u16, dst: u16) {
        self.words[2] = self.words[2] & !0xffff_ffff | u64::from(src) << 16 | u64::from(dst);
    }

    /// For a frame that came in a tunnel: the overlay's binding (never 0) and the number of the peer that sent it.
    #[inline]
    pub fn tunnel(&self) -> Option<(u16, u16)> {
        let binding = (self.words[3] >> 48) as u16;
        (binding != 0).then_some((binding, (self.words[3] >> 32) as u16))
    }

    /// Sets what [`FlowKey::tunnel`] returns.
    #[inline]
    pub fn set_tunnel(&mut self, binding: u16, peer: u16) {
        self.words[3] = self.words[3] & 0xffff_ffff | u64::from(binding) << 48 | u64::from(peer) << 32;
    }

    /// Protocol behind the IP header and its extension headers (IANA protocol numbers).
    #[inline]
    pub fn protocol(&self) -> u8 {
        (self.words[3] >> 24) as u8
    }

    /// DSCP and ECN: IPv4 type of service, IPv6 traffic class.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.words[3] >> 16) as u8
    }

    /// The small facts.
    #[inline]
    pub fn marks(&self) -> Marks {
        Marks::from_bits(self.words[3] as u16)
    }

    /// Sets protocol, traffic class and marks.
    #[inline(always)]
    pub fn set_facts(&mut self, protocol: u8, traffic_class: u8, marks: Marks) {
        self.words[3] = self.words[3] & !0xffff_ffff
            | u64::from(protocol) << 24
            | u64::from(traffic_class) << 16
            | u64::from(marks.bits());
    }

    /// Sets both addresses of an IPv4 packet.
    #[inline]
    pub fn set_ipv4(&mut self, src: u32, dst: u32) {
        self.words[4] = u64::from(src);
        self.words[6] = u64::from(dst);
    }

    /// Sets both addresses of an IPv6 packet, each as its 16 bytes.
    #[inline]
    pub fn set_ipv6(&mut self, src: [u8; 16], dst: [u8; 16]) {
        let halves = |bytes: [u8; 16]| {
            let value = u128::from_be_bytes(bytes);
            ((value >> 64) as u64, value as u64)
        };
        (self.words[4], self.words[5]) = halves(src);
        (self.words[6], self.words[7]) = halves(dst);
    }

    /// Source and destination address; `None` when the frame is not (sound) IP or was not looked at so deep.
    #[inline]
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self.marks().l3 {
            L3::Ipv4 => Some((
                Ipv4Addr::from_bits(self.words[4] as u32).into(),
                Ipv4Addr::from_bits(self.words[6] as u32).into(),
            )),
            L3::Ipv6 => {
                let join =
                    |high: u64, low: u64| Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
                Some((join(self.words[4], self.words[5]).into(), join(self.words[6], self.words[7]).into()))
            }
            L3::Other | L3::Malformed => None,
        }
    }

    /// The destination address as a number, IPv4 in the low 32 bits; meaningless unless the frame is IP.
    #[inline]
    pub fn destination_bits(&self) -> u128 {
        match self.marks().l3 {
            L3::Ipv6 => u128::from(self.words[6]) << 64 | u128::from(self.words[7]),
            _ => u128::from(self.words[6]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_one_cache_line() {
        assert_eq!(size_of::<FlowKey>(), 64);
        assert_eq!(align_of::<FlowKey>(), 64);
    }

    fn marks() -> impl Strategy<Value = Marks> {
        let small = (0_u8..3, 0_u8..3, any::<bool>(), 0_u8..4, 0_u8..3, 0_u8..3);
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        (small, flags).prop_map(
            |((depth, tags, service_tag, l3, l4, fragment), (ttl_expired, options, gathered))| Marks {
                depth: [Depth::Ethernet, Depth::Network, Depth::Transport][usize::from(depth)],
                tags,
                service_tag,
                l3: [L3::Other, L3::Ipv4, L3::Ipv6, L3::Malformed][usize::from(l3)],
                l4: [L4::Other, L4::Known, L4::Malformed][usize::from(l4)],
                fragment: [Fragment::Whole, Fragment::First, Fragment::Later][usize::from(fragment)],
                ttl_expired,
                options,
                gathered,
            },
        )
    }

    proptest! {
        #[test]
        fn marks_survive_their_bits(marks in marks()) {
            prop_assert_eq!(Marks::from_bits(marks.bits()), marks);
        }

        #[test]
        fn every_field_comes_back_and_disturbs_no_other(
            port in 0_usize..1024, dst in 0..=LOW_48, src in 0..=LOW_48, ethertype: u16, outer: u16, inner: u16,
            ports: (u16, u16), tunnel: (u16, u16), facts: (u8, u8), mut marks in marks(), addresses: ([u8; 16], [u8; 16]),
        ) {
            marks.l3 = L3::Ipv6;
            let mut key = FlowKey::ethernet(PortId::new(port).unwrap(), Mac(dst), Mac(src), 0);
            key.set_ipv6(addresses.0, addresses.1);
            key.set_facts(facts.0, facts.1, marks);
            key.set_ports(ports.0, ports.1);
            key.set_vlan(ethertype, outer, inner);
            key.set_tunnel(tunnel.0, tunnel.1);
            prop_assert_eq!((key.port(), key.dst(), key.src()), (port, Mac(dst), Mac(src)));
            prop_assert_eq!(key.tunnel(), (tunnel.0 != 0).then_some(tunnel));
            prop_assert_eq!((key.ethertype(), key.vlan(), key.ports()), (ethertype, (outer, inner), ports));
            prop_assert_eq!((key.protocol(), key.traffic_class(), key.marks()), (facts.0, facts.1, marks));
            let both = (Ipv6Addr::from(addresses.0).into(), Ipv6Addr::from(addresses.1).into());
            prop_assert_eq!(key.addresses(), Some(both));
            prop_assert_eq!(key.destination_bits(), u128::from_be_bytes(addresses.1));
        }
    }
}
