//! The IPv4 header (RFC 791 section 3.1), with options.

use super::bytes::{Bytes, Refused};
use super::deep::Ip;
use crate::flow::key::{FlowKey, Fragment};

/// Bytes without options.
const HEADER: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Reads the header at offset `at` and sets the addresses when it is sound.
pub(super) fn read(frame: Bytes<'_>, at: usize, key: &mut FlowKey) -> Result<Ip, Refused> {
    let &[version_ihl, traffic_class, a, b, _, _, c, d, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        frame.read::<HEADER>(at)?;
    let header = usize::from(version_ihl & 0x0f) * 4;
    if version_ihl >> 4 != 4 || header < HEADER {
        return Err(Refused::Malformed);
    }
    let room = frame.behind(at);
    let total = match usize::from(u16::from_be_bytes([a, b])) {
        // A segmentation offload frame too large for the field (Linux "BIG TCP"): the frame's length is the packet's.
        0 if room > usize::from(u16::MAX) => room,
        total => total,
    };
    if total > room {
        return Err(Refused::Malformed);
    }
    let payload = total.checked_sub(header).ok_or(Refused::Malformed)?;
    frame.expect(at, header)?;
    let flags = u16::from_be_bytes([c, d]);
    key.set_ipv4(u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([d0, d1, d2, d3]));
    Ok(Ip {
        l4: at + header,
        payload,
        protocol,
        traffic_class,
        fragment: match (flags & OFFSET, flags & MORE_FRAGMENTS) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        },
        ttl_expired: ttl <= 1,
        options: header > HEADER,
    })
}
