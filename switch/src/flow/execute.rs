//! Running the edits of compiled [`Actions`] on a frame.
//!
//! The frame's offload state needs no change for what is edited here: neither MAC addresses nor the TTL are part of a
//! transport checksum or of its pseudo header.

use shunt_ffi::Mbuf;

use super::actions::{Actions, Edits};
use super::parse::Layout;
use crate::drop::DropReason;

/// Offset of the TTL and of the header checksum in an IPv4 header (RFC 791 section 3.1).
const TTL: usize = 8;
const CHECKSUM: usize = 10;
/// Offset of the hop limit in an IPv6 header (RFC 8200 section 3).
const HOP_LIMIT: usize = 7;

/// Makes all edits. A frame that does not have what is to be edited is dropped.
#[inline]
pub fn edit(actions: &Actions, layout: Layout, frame: &mut Mbuf) -> Result<(), DropReason> {
    let data = frame.data_mut();
    if actions.edits.has(Edits::TTL) {
        decrement_ttl(data.get_mut(usize::from(layout.l3)..)).ok_or(DropReason::BadIpHeader)?;
    }
    if actions.edits.has(Edits::HOP_LIMIT) {
        let limit = data.get_mut(usize::from(layout.l3) + HOP_LIMIT).ok_or(DropReason::BadIpHeader)?;
        *limit = limit.saturating_sub(1);
    }
    if actions.edits.has(Edits::MACS) {
        let addresses = data.first_chunk_mut::<12>().ok_or(DropReason::Runt)?;
        *addresses = actions.macs;
    }
    Ok(())
}

/// Decrements the TTL and adds to the checksum what the header lost (RFC 1624; a TTL of 0 stays).
#[inline]
fn decrement_ttl(header: Option<&mut [u8]>) -> Option<()> {
    let header = header?.first_chunk_mut::<{ CHECKSUM + 2 }>()?;
    if header[TTL] == 0 {
        return Some(());
    }
    header[TTL] -= 1;
    let sum = u32::from(u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]])) + 0x0100;
    // The one's complement sum of RFC 1624 equation 3 with m - m' = 0x0100.
    let folded = (sum & 0xffff) + (sum >> 16);
    [header[CHECKSUM], header[CHECKSUM + 1]] = (folded as u16).to_be_bytes();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::Sum;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_checksum_follows_the_ttl(mut header: [u8; 20], ttl in 1_u8..) {
            header[TTL] = ttl;
            [header[CHECKSUM], header[CHECKSUM + 1]] = [0, 0];
            let checksum = Sum::new().bytes(&header).checksum();
            [header[CHECKSUM], header[CHECKSUM + 1]] = checksum.to_be_bytes();
            decrement_ttl(Some(&mut header)).unwrap();
            prop_assert_eq!(header[TTL], ttl - 1);
            prop_assert_eq!(Sum::new().bytes(&header).value(), 0xffff);
        }
    }
}
