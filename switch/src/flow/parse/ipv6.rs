//! The IPv6 header and its extension headers (RFC 8200 sections 3 and 4; authentication header: RFC 4302).
//!
//! The chain ends at the first header that is not hop-by-hop, routing, destination options, fragment or authentication:
//! its number is the protocol. A later fragment ends it too: what follows is the middle of something.
//!
//! Cost: bounded by [`MAX_EXTENSIONS`] reads.

use super::bytes::{Bytes, Refused};
use super::deep::Ip;
use crate::flow::key::{FlowKey, Fragment};

/// Bytes of the fixed header.
const HEADER: usize = 40;
/// A packet with more extension headers is taken for malformed: RFC 8200 names six kinds, one of which may come twice.
const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Reads the header at offset `at` and its extensions, and sets the addresses when all of them are sound.
pub(super) fn read(frame: Bytes<'_>, at: usize, key: &mut FlowKey) -> Result<Ip, Refused> {
    let header = frame.read::<HEADER>(at)?;
    let [version_class, class_label, _, _, a, b, protocol, hop_limit, ..] = *header;
    if version_class >> 4 != 6 {
        return Err(Refused::Malformed);
    }
    let l4 = at + HEADER;
    let room = frame.behind(l4);
    let payload = match usize::from(u16::from_be_bytes([a, b])) {
        // A packet too large for the field (RFC 2675, Linux "BIG TCP"): the frame's length is the packet's.
        0 if room > usize::from(u16::MAX) => room,
        payload => payload,
    };
    if payload > room {
        return Err(Refused::Malformed);
    }
    let mut ip = Ip {
        l4,
        payload,
        protocol,
        traffic_class: version_class << 4 | class_label >> 4,
        fragment: Fragment::Whole,
        ttl_expired: hop_limit <= 1,
        options: false,
    };
    extensions(frame.cut(l4, payload), &mut ip)?;
    let address = |from: usize| {
        header.get(from..).and_then(<[u8]>::first_chunk::<16>).copied().ok_or(Refused::Malformed)
    };
    key.set_ipv6(address(8)?, address(24)?);
    Ok(ip)
}

/// Moves `ip` behind the extension headers; `packet` ends where the packet does.
fn extensions(packet: Bytes<'_>, ip: &mut Ip) -> Result<(), Refused> {
    for passed in 0..=MAX_EXTENSIONS {
        let kind = ip.protocol;
        if !matches!(kind, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return Ok(());
        }
        // Hop-by-hop options come directly behind the fixed header and nowhere else (RFC 8200 section 4.1).
        if passed == MAX_EXTENSIONS || kind == HOP_BY_HOP && passed > 0 {
            break;
        }
        let &[next, length, offset_high, offset_low, ..] = packet.read::<8>(ip.l4)?;
        let length = match kind {
            FRAGMENT => 8,
            // In words of four bytes, less two; the header has twelve bytes at least (RFC 4302 section 2.2).
            AUTHENTICATION if length == 0 => break,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        packet.expect(ip.l4, length)?;
        ip.payload = ip.payload.checked_sub(length).ok_or(Refused::Malformed)?;
        ip.l4 += length;
        ip.protocol = next;
        ip.options = true;
        if kind == FRAGMENT {
            match (offset_high, offset_low & 0xf8, offset_low & 1) {
                // All of the packet in one fragment (RFC 6946): nothing is missing.
                (0, 0, 0) => {}
                (0, 0, _) => ip.fragment = Fragment::First,
                _ => {
                    ip.fragment = Fragment::Later;
                    return Ok(());
                }
            }
        }
    }
    Err(Refused::Malformed)
}
