//! The checksum over a tunnel packet: UDP's with its pseudo header (RFC 768, RFC 8200 section 8.1), or GRE's (RFC 2784
//! section 2.1). Cost: a pass over the packet.

use std::ops::Range;

use shunt_ffi::Mbuf;
use shunt_ffi::offload::Checksum;

use crate::wire::checksum::Sum;
use crate::wire::protocol::UDP;

/// What a checksum covers, in offsets from the start of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where both addresses of the pseudo header are; GRE has none.
    pub(super) addresses: Option<Range<usize>>,
}

/// True when the checksum need not be looked at: a device has done it, or the packet comes from a kernel of this node that has
/// left it, or the one inside, to others.
pub(super) fn is_vouched_for(frame: &Mbuf, covered: &Covered) -> bool {
    match frame.offload().map(|state| state.checksum) {
        Ok(Checksum::Complete) => false,
        // Devices know no checksum of GRE: what they vouch for is inside.
        Ok(Checksum::Valid) => covered.addresses.is_some(),
        // A state that is not sound is found by whoever uses it next.
        Ok(Checksum::Partial { .. }) | Err(_) => true,
    }
}

/// True when the checksum is right.
pub(super) fn holds(frame: &Mbuf, covered: &Covered) -> bool {
    let mut sum = Sum::new();
    if let Some(addresses) = &covered.addresses {
        let Some(addresses) = frame.data().get(addresses.clone()) else { return false };
        // The length fits: UDP's field has 16 bits.
        sum = sum.bytes(addresses).word(u16::from(UDP)).word((covered.end - covered.start) as u16);
    }
    let mut at = 0;
    for segment in frame.segments() {
        let within = |offset: usize| offset.saturating_sub(at).min(segment.len());
        sum = sum.bytes(segment.get(within(covered.start)..within(covered.end)).unwrap_or_default());
        at += segment.len();
    }
    sum.value() == 0xffff
}
