//! Finding frames whose TCP or UDP checksum their sender left to a device that was never there.
//!
//! A kernel hands a frame to a veth with the pseudo-header sum in the checksum field and the rest to be done by the
//! receiver; it says so in a field of its own that AF_XDP does not carry. The bytes tell as well: the field *equals* the
//! pseudo-header sum. A finished checksum equals it once in 65,536 frames, and finishing that one again yields the same
//! checksum (the rest of the sum is then zero or minus zero), so a wrong guess changes nothing.
//!
//! In: a received frame in one buffer. Out: the same with [`Checksum::Partial`] set, so that a port which can leave the
//! work to somebody else does, and any other finishes it. Looked at: Ethernet with up to two VLAN tags, IPv4 with
//! options, IPv6 without extension headers, no fragments, no padding behind the packet. Not found: SCTP, and the inner
//! packet of a tunnel that the pod itself makes.
//!
//! Cost: see `docs/ports/af_xdp.md`. Only queues of software devices pay it: a NIC has verified what it delivers.

use shunt_ffi::Mbuf;
use shunt_ffi::offload::{Checksum, Offload, TCP_CHECKSUM, UDP_CHECKSUM};

use crate::wire::checksum::Sum;
use crate::wire::ethernet::{IPV4, IPV6};
use crate::wire::protocol::{TCP, UDP};

const CTAG: u16 = 0x8100;
const STAG: u16 = 0x88a8;
const IPV4_MIN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const TCP_MIN: usize = 20;

/// Marks the frame when its checksum is partial.
#[inline]
pub(super) fn mark(frame: &mut Mbuf) {
    if let Some(checksum) = find(frame.data()) {
        // It fails for headers longer than the state can express: then nobody can finish them either, and the frame
        // goes on as it came.
        let _ = frame.set_offload(Offload { checksum, gso: None });
    }
}

/// The state of a frame whose checksum field holds the pseudo-header sum.
#[inline]
fn find(data: &[u8]) -> Option<Checksum> {
    let (l3, ethertype) = network(data)?;
    let packet = data.get(l3..)?;
    let (header, protocol, pseudo) = match ethertype {
        IPV4 => v4(packet)?,
        IPV6 => v6(packet)?,
        _ => return None,
    };
    let (offset, shortest) = match protocol {
        TCP => (TCP_CHECKSUM, TCP_MIN),
        UDP => (UDP_CHECKSUM, UDP_LEN),
        _ => return None,
    };
    let message = packet.get(header..)?;
    if message.len() < shortest {
        return None;
    }
    let field = word(message, usize::from(offset))?;
    // UDP's "no checksum" is zero, and so is no sum of a pseudo header: its protocol is not.
    (pseudo.word(message.len() as u16).value() == field)
        .then_some(Checksum::Partial { start: (l3 + header) as u16, offset })
}

/// Offset of the network header and its EtherType.
#[inline]
fn network(data: &[u8]) -> Option<(usize, u16)> {
    let mut at = 12;
    let mut ethertype = word(data, at)?;
    for _ in 0..2 {
        if !matches!(ethertype, CTAG | STAG) {
            break;
        }
        at += 4;
        ethertype = word(data, at)?;
    }
    Some((at + 2, ethertype))
}

/// Header length, protocol and pseudo header (without the length) of an IPv4 packet that fills `packet`.
#[inline]
fn v4(packet: &[u8]) -> Option<(usize, u8, Sum)> {
    let header: &[u8; IPV4_MIN] = packet.first_chunk()?;
    let fragment = word(header, 6)? & 0x3fff != 0;
    let whole = usize::from(word(header, 2)?) == packet.len();
    if header[0] >> 4 != 4 || fragment || !whole {
        return None;
    }
    let length = usize::from(header[0] & 0x0f) * 4;
    let pseudo = Sum::new().bytes(&header[12..20]).word(u16::from(header[9]));
    (length >= IPV4_MIN).then_some((length, header[9], pseudo))
}

/// The same of an IPv6 packet without extension headers.
#[inline]
fn v6(packet: &[u8]) -> Option<(usize, u8, Sum)> {
    let header: &[u8; IPV6_LEN] = packet.first_chunk()?;
    if header[0] >> 4 != 6 || usize::from(word(header, 4)?) + IPV6_LEN != packet.len() {
        return None;
    }
    Some((IPV6_LEN, header[6], Sum::new().bytes(&header[8..40]).word(u16::from(header[6]))))
}

#[inline]
fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
