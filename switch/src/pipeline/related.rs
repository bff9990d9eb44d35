//! Table 4 for ICMP errors: an error about a packet of a connection is translated as that packet was, outside and inside, so
//! that path MTU discovery and traceroute work through a translation (RFC 5508 section 4.2, RFC 4443 section 2.4).
//!
//! The frame itself is rewritten, so the decision is for it alone.

use shunt_ffi::Mbuf;

use super::packet::{Known, Packet};
use crate::flow::FlowKey;
use crate::flow::execute::Translation;
use crate::flow::key::{Fragment, L3, L4};
use crate::flow::parse::Layout;
use crate::offload;
use crate::state::tuple::Parts;
use crate::state::{Table, Tuple};
use crate::wire::checksum::Sum;
use crate::wire::protocol::{ICMP, ICMPV6};

/// Bytes of an ICMP header; the quoted packet is behind it.
const HEADER: usize = 8;
/// Offset of the checksum in it.
const CHECKSUM: usize = 2;

/// True for an ICMP message that quotes the packet it is about: unreachable, source quench, time exceeded, parameter
/// problem (RFC 792); every ICMPv6 error (RFC 4443 section 2.1).
#[inline]
pub fn is_error(key: &FlowKey) -> bool {
    let marks = key.marks();
    if marks.l4 != L4::Known || marks.fragment != Fragment::Whole {
        return false;
    }
    let kind = key.ports().0 >> 8;
    match (key.protocol(), marks.l3) {
        (ICMP, L3::Ipv4) => matches!(kind, 3 | 4 | 11 | 12),
        (ICMPV6, L3::Ipv6) => matches!(kind, 1..128),
        _ => false,
    }
}

/// The connection of the packet that the error in `packet` quotes; the frame is then translated. `None`, and the frame as it
/// was, when it quotes no known connection, too little, or its checksum is wrong.
pub fn translate(packet: &mut Packet<'_>, table: &Table, zone: u16) -> Option<Known> {
    let is_v4 = packet.key().marks().l3 == L3::Ipv4;
    let (frame, layout) = packet.look_inside();
    if frame.segment_count() != 1 || offload::checksum::complete(frame).is_err() {
        return None;
    }
    let (l4, end) = (usize::from(layout.l4), end(frame, layout, is_v4)?);
    let inner = l4 + HEADER;
    let message = frame.data().get(l4..end)?;
    if sum(frame, layout, is_v4, message)?.value() != u16::MAX {
        return None;
    }
    let quoted = Tuple::quoted(frame.data().get(inner..end)?, zone)?;
    let found = table.lookup(&quoted.tuple.reversed())?;
    let (from, to) = table.get(found.conn)?.path(found.direction);
    let known = Known { found, to };
    let Some(translation) = quoted.tuple.translation(&to.reversed()) else { return Some(known) };
    let inside = Layout { l3: u16::try_from(inner).ok()?, l4: u16::try_from(inner + quoted.l4).ok()? };
    translation.apply(inside, frame).ok()?;
    if let Some(translation) = outside(packet.key(), &from, &to) {
        translation.apply(layout, packet.look_inside().0).ok()?;
    }
    let (frame, _) = packet.look_inside();
    frame.data_mut().get_mut(l4 + CHECKSUM..)?.first_chunk_mut::<2>()?.fill(0);
    let checksum = sum(frame, layout, is_v4, frame.data().get(l4..end)?)?.checksum();
    *frame.data_mut().get_mut(l4 + CHECKSUM..)?.first_chunk_mut::<2>()? = checksum.to_be_bytes();
    Some(known)
}

/// What the error's own addresses become: those of the connection as the connection says, a router's stays. `None` when
/// neither changes.
fn outside(key: &FlowKey, from: &Tuple, to: &Tuple) -> Option<Translation> {
    let (source, destination) = key.addresses()?;
    let (zone, protocol) = (from.zone(), key.protocol());
    let own =
        Tuple::new(&Parts { zone, protocol, source, destination, source_port: 0, destination_port: 0 })?;
    let mut translated = own;
    if source == from.source() {
        translated = translated.with_source(to.source());
    }
    if destination == from.destination() {
        translated = translated.with_destination(to.destination());
    }
    own.translation(&translated)
}

/// The end of the packet, whose header was found sound: what is behind is padding.
fn end(frame: &Mbuf, layout: Layout, is_v4: bool) -> Option<usize> {
    let l3 = usize::from(layout.l3);
    let header = frame.data().get(l3..)?.first_chunk::<6>()?;
    let said = |high, low| usize::from(u16::from_be_bytes([high, low]));
    let length = if is_v4 { said(header[2], header[3]) } else { said(header[4], header[5]) + 40 };
    Some(l3 + length)
}

/// The sum over an ICMP message, of ICMPv6 with the pseudo header (RFC 4443 section 2.3).
fn sum(frame: &Mbuf, layout: Layout, is_v4: bool, message: &[u8]) -> Option<Sum> {
    if is_v4 {
        return Some(Sum::default().bytes(message));
    }
    let header = frame.data().get(usize::from(layout.l3)..)?;
    let address = |at: usize| header.get(at..)?.first_chunk::<16>().copied();
    Some(Sum::pseudo_v6(address(8)?, address(24)?, ICMPV6, u32::try_from(message.len()).ok()?).bytes(message))
}
