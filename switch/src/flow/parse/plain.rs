//! The straight way: TCP or UDP over IPv4 without options or IPv6 without extension headers, not a fragment, all of it
//! sound. What is anything else is left to `deep`, which asks the same questions one by one.
//!
//! Cost: one bounds check for the IP header and the ports, a dozen comparisons, the stores of the key.

use super::Layout;
use crate::flow::key::{Depth, FlowKey, L3, L4, Marks};
use crate::wire::protocol::{TCP, UDP};

/// Bytes of an IPv4 header without options.
const IPV4: usize = 20;
/// Version 4, five words of header.
const VERSION_IHL: u8 = 0x45;
/// "More fragments" and the fragment offset, without the two other flags.
const FRAGMENT_BITS: u16 = 0x3fff;
/// Bytes of an IPv6 header.
const IPV6: usize = 40;
/// Bytes of a UDP header; of a TCP header they hold the ports.
const PORTS: usize = 8;

/// A frame from its IP header on.
#[derive(Clone, Copy)]
pub(super) struct Rest<'f> {
    /// The bytes at hand.
    bytes: &'f [u8],
    /// All bytes.
    len: usize,
    /// Offset in the frame.
    at: usize,
}

impl<'f> Rest<'f> {
    /// What is behind the first `at` bytes; `None` when they are not all at hand.
    #[inline]
    pub(super) fn behind(data: &'f [u8], len: u32, at: usize) -> Option<Self> {
        let bytes = data.get(at..)?;
        Some(Self { bytes, len: (len as usize).max(data.len()).saturating_sub(at), at })
    }

    #[inline]
    fn layout(self, header: usize) -> Layout {
        Layout { l3: self.at as u16, l4: (self.at + header) as u16 }
    }

    /// That a header of `header` bytes is at hand, and the ports where `depth` asks for them.
    #[inline]
    fn holds(self, header: usize, depth: Depth) -> bool {
        self.bytes.len() >= if depth == Depth::Transport { header + PORTS } else { header }
    }
}

/// Completes `link`, the part of the key before the IP header, into `key`; `None`, and `key` untouched, for all that is
/// not plain.
#[inline(always)]
pub(super) fn ipv4(packet: Rest<'_>, link: FlowKey, mut marks: Marks, key: &mut FlowKey) -> Option<Layout> {
    if !packet.holds(IPV4, marks.depth) {
        return None;
    }
    let &[version_ihl, class, a, b, _, _, c, d, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        packet.bytes.first_chunk::<IPV4>()?;
    let total = usize::from(u16::from_be_bytes([a, b]));
    let payload = total.checked_sub(IPV4)?;
    if version_ihl != VERSION_IHL || u16::from_be_bytes([c, d]) & FRAGMENT_BITS != 0 || total > packet.len {
        return None;
    }
    marks.l3 = L3::Ipv4;
    marks.ttl_expired = ttl <= 1;
    let (class, ports) = above(packet.bytes.get(IPV4..)?, payload, protocol, class, &mut marks)?;
    let mut plain = link;
    plain.set_ipv4(u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([d0, d1, d2, d3]));
    plain.set_ports(ports.0, ports.1);
    plain.set_facts(protocol, class, marks);
    *key = plain;
    Some(packet.layout(IPV4))
}

/// The same for IPv6.
#[inline(always)]
pub(super) fn ipv6(packet: Rest<'_>, link: FlowKey, mut marks: Marks, key: &mut FlowKey) -> Option<Layout> {
    if !packet.holds(IPV6, marks.depth) {
        return None;
    }
    let (&[version_class, class_label, _, _, a, b, protocol, hop_limit], addresses) =
        packet.bytes.first_chunk::<IPV6>()?.split_first_chunk()?;
    let payload = usize::from(u16::from_be_bytes([a, b]));
    // At every depth: what is behind an extension header decides on the protocol.
    let plain = version_class >> 4 == 6 && matches!(protocol, TCP | UDP);
    if !plain || payload > packet.len.checked_sub(IPV6)? {
        return None;
    }
    marks.l3 = L3::Ipv6;
    marks.ttl_expired = hop_limit <= 1;
    let class = version_class << 4 | class_label >> 4;
    let (class, ports) = above(packet.bytes.get(IPV6..)?, payload, protocol, class, &mut marks)?;
    let mut plain = link;
    plain.set_ipv6(*addresses.first_chunk()?, *addresses.last_chunk()?);
    plain.set_ports(ports.0, ports.1);
    plain.set_facts(protocol, class, marks);
    *key = plain;
    Some(packet.layout(IPV6))
}

/// Traffic class and ports, as far as the depth in `marks` asks for them.
#[inline(always)]
fn above(
    transport: &[u8],
    payload: usize,
    protocol: u8,
    class: u8,
    marks: &mut Marks,
) -> Option<(u8, (u16, u16))> {
    if marks.depth != Depth::Transport {
        return Some((0, (0, 0)));
    }
    let &[a, b, c, d, e, f, _, _] = transport.first_chunk::<PORTS>()?;
    match protocol {
        UDP => {
            let length = usize::from(u16::from_be_bytes([e, f]));
            if length < 8 || length > payload {
                return None;
            }
        }
        TCP => {
            let &[.., offset, _, _, _, _, _, _, _] = transport.first_chunk::<20>()?;
            let length = usize::from(offset >> 4) * 4;
            if length < 20 || length > payload {
                return None;
            }
        }
        _ => return None,
    }
    marks.l4 = L4::Known;
    Some((class, (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))))
}
