//! Congestion marks of tunnels (RFC 6040): copied outward on the way in, combined on the way out.
//!
//! What is not IP has no marks: it goes in as Not-ECT, and comes out as it is (as in Linux, `include/net/inet_ecn.h`).

use crate::drop::DropReason;
use crate::wire::checksum::update16;
use crate::wire::ethernet;

/// TPIDs of a customer and of a service tag.
const TAGS: [u16; 2] = [ethernet::CUSTOMER_TAG, ethernet::SERVICE_TAG];
const TAG: usize = 4;
const MAX_TAGS: usize = 2;

/// The ECN field (RFC 3168 section 5): not capable.
const NOT_ECT: u8 = 0b00;
/// Capable; since RFC 8311 the mark of low latency transports.
const ECT_1: u8 = 0b01;
/// Capable.
const ECT_0: u8 = 0b10;
/// Congestion experienced.
const CE: u8 = 0b11;

/// The bits of the field in a traffic class.
pub(super) const FIELD: u8 = 0b11;

/// True when an outer field with this value may change or forbid what is inside.
#[inline(always)]
pub(super) const fn matters(outer: u8) -> bool {
    outer & ECT_1 != 0
}

/// Traffic class (DSCP and ECN) of the IP packet in an Ethernet frame; 0 when there is none. Cost without tags: one load.
#[inline(always)]
pub(super) fn traffic_class(frame: &[u8]) -> u8 {
    let Some(&[a, b, first, second]) = frame.get(12..).and_then(<[u8]>::first_chunk) else { return 0 };
    match u16::from_be_bytes([a, b]) {
        ethernet::IPV4 => second,
        ethernet::IPV6 => first << 4 | second >> 4,
        other if TAGS.contains(&other) => tagged_class(frame),
        _ => 0,
    }
}

#[cold]
fn tagged_class(frame: &[u8]) -> u8 {
    let class = || {
        let (at, ethertype) = ip(frame)?;
        let &[first, second] = frame.get(at..)?.first_chunk()?;
        Some(if ethertype == ethernet::IPV4 { second } else { first << 4 | second >> 4 })
    };
    class().unwrap_or(0)
}

/// Offset and EtherType of the IP packet in a frame with up to two tags; `None` when it is not IP.
pub(super) fn ip(frame: &[u8]) -> Option<(usize, u16)> {
    let mut at = 12;
    for _ in 0..=MAX_TAGS {
        let ethertype = u16::from_be_bytes(*frame.get(at..)?.first_chunk()?);
        if !TAGS.contains(&ethertype) {
            return matches!(ethertype, ethernet::IPV4 | ethernet::IPV6).then_some((at + 2, ethertype));
        }
        at += TAG;
    }
    None
}

/// Gives the IP packet in `frame` what the outer field says, as RFC 6040 section 4.2, figure 4.
///
/// # Errors
/// `TunnelEcn`: the outer packet met congestion, and the inner one is of a transport that would not hear of it.
#[cold]
pub(super) fn combine(outer: u8, frame: &mut [u8]) -> Result<(), DropReason> {
    let Some((at, ethertype)) = ip(frame) else { return Ok(()) };
    let Some(header) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<12>) else { return Ok(()) };
    let word = u16::from_be_bytes([header[0], header[1]]);
    // The field is in the lowest bits of byte 1, or four bits further up.
    let shift = if ethertype == ethernet::IPV4 { 0 } else { 4 };
    let inner = (word >> shift) as u8 & FIELD;
    let new = match (inner, outer & FIELD) {
        (NOT_ECT, CE) => return Err(DropReason::TunnelEcn),
        (ECT_0 | ECT_1, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        _ => return Ok(()),
    };
    let changed = word & !(u16::from(FIELD) << shift) | u16::from(new) << shift;
    [header[0], header[1]] = changed.to_be_bytes();
    if shift == 0 {
        let checksum = u16::from_be_bytes([header[10], header[11]]);
        [header[10], header[11]] = update16(checksum, word, changed).to_be_bytes();
    }
    Ok(())
}
