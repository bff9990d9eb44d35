//! Checksums that a kernel left for us and that DPDK's transmit fields cannot express: finished in software.
//!
//! Cost: one pass over the frame. It happens for protocols other than TCP and UDP (SCTP, and the inner packet of a tunnel
//! that a pod itself builds), never on the path of ordinary traffic.

use crate::mbuf::Mbuf;

/// Ones' complement sum of 16-bit words in memory order (RFC 1071), not folded. An odd last byte counts as if a zero
/// byte followed.
fn ones_sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    let mut sum: u64 =
        words.by_ref().map(|word| u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))).sum();
    let mut last = [0; 4];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(last));
    sum
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Ones' complement sum of `bytes`, folded, in memory order: write it with `to_ne_bytes`.
pub(crate) fn sum_of(bytes: &[u8]) -> u16 {
    fold(ones_sum(bytes))
}

/// Sum of the pseudo header of the IP packet that begins with `ip` (RFC 9293 section 3.1, RFC 8200 section 8.1), in
/// memory order. `ip` holds at least the fixed part of its header.
pub(crate) fn pseudo_header(ip: &[u8], v6: bool, protocol: u8, length: u32) -> u16 {
    let addresses = if v6 { &ip[8..40] } else { &ip[12..20] };
    let [a, b, c, d] = length.to_be_bytes();
    fold(ones_sum(addresses) + ones_sum(&[a, b, c, d, 0, protocol]))
}

/// Calls `visit` with the frame's bytes from `start` on, segment by segment.
fn tail_of(frame: &Mbuf, start: usize, mut visit: impl FnMut(&[u8])) {
    let mut skip = start;
    for segment in frame.segments() {
        let taken = skip.min(segment.len());
        skip -= taken;
        visit(&segment[taken..]);
    }
}

/// Finishes a partial Internet checksum: the sum over `start..` goes to `start + offset`; a zero result is written as
/// 0xffff, as `skb_checksum_help` does (for UDP a zero means "none", RFC 768; elsewhere both are the same number).
///
/// `None`, and no change, when the field is not inside the first segment.
pub(crate) fn complete_internet(frame: &mut Mbuf, start: usize, offset: usize) -> Option<()> {
    frame.data().get(start + offset..start + offset + 2)?;
    let (mut sum, mut odd) = (0, false);
    tail_of(frame, start, |bytes| {
        let part = fold(ones_sum(bytes));
        // Bytes at an odd distance from the start belong to the other half of their word (RFC 1071 section 2 B).
        sum += u64::from(if odd { part.swap_bytes() } else { part });
        odd ^= bytes.len() % 2 == 1;
    });
    let checksum = match !fold(sum) {
        0 => 0xffff,
        checksum => checksum,
    };
    frame.data_mut()[start + offset..start + offset + 2].copy_from_slice(&checksum.to_ne_bytes());
    Some(())
}

/// Finishes an SCTP checksum (CRC32c over the packet with a zero field, RFC 9260 appendix A) at `start + 8`.
///
/// `None`, and no change, when the field is not inside the first segment.
pub(crate) fn complete_sctp(frame: &mut Mbuf, start: usize) -> Option<()> {
    let field = start + 8..start + 12;
    frame.data_mut().get_mut(field.clone())?.fill(0);
    let mut crc = u32::MAX;
    tail_of(frame, start, |bytes| {
        for byte in bytes {
            crc = crc >> 8 ^ CRC32C[usize::from(crc as u8 ^ byte)];
        }
    });
    frame.data_mut()[field].copy_from_slice(&(!crc).to_le_bytes());
    Some(())
}

/// CRC32c (Castagnoli, reflected polynomial 0x82f63b78), one entry per byte value.
static CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_matches_the_example_of_rfc_1071() {
        let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(ones_sum(&words)).to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn sum_does_not_depend_on_where_it_is_cut() {
        let bytes: Vec<u8> = (0..251u32).map(|n| (n * 37 % 256) as u8).collect();
        let whole = fold(ones_sum(&bytes));
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let tail = fold(ones_sum(tail));
            let tail = if cut % 2 == 1 { tail.swap_bytes() } else { tail };
            assert_eq!(fold(ones_sum(head) + u64::from(tail)), whole, "cut at {cut}");
        }
    }

    #[test]
    fn crc32c_check_value() {
        let crc =
            b"123456789".iter().fold(u32::MAX, |crc, byte| crc >> 8 ^ CRC32C[usize::from(crc as u8 ^ byte)]);
        assert_eq!(!crc, 0xe306_9283);
    }
}
