//! TCP (RFC 9293), as far as a router writes it: the maximum segment size that a SYN announces.

use super::checksum::update16;

/// Bytes of a header without options.
const HEADER: usize = 20;
const CHECKSUM: usize = 16;
const FLAGS: usize = 13;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const END: u8 = 0;
const NOTHING: u8 = 1;
/// Maximum segment size (RFC 9293 section 3.7.1): kind, length 4, value.
const MSS: u8 = 2;

/// True when the first bytes of a TCP header say SYN.
#[inline]
#[must_use]
pub fn is_syn(header: &[u8]) -> bool {
    header.get(FLAGS).is_some_and(|flags| flags & SYN != 0)
}

/// True when the first bytes of a TCP header say SYN alone: a segment that opens a connection.
#[inline]
#[must_use]
pub fn opens(header: &[u8]) -> bool {
    header.get(FLAGS).is_some_and(|flags| flags & (FIN | SYN | RST | ACK) == SYN)
}

/// True when the first bytes of a TCP header say neither SYN, FIN nor RST: a segment that opens and ends nothing.
#[inline]
#[must_use]
pub fn is_data(header: &[u8]) -> bool {
    header.get(FLAGS).is_some_and(|flags| flags & (FIN | SYN | RST) == 0)
}

/// Lowers the maximum segment size in the options of the TCP header at the start of `segment` to `limit`, bytes; one that is
/// no larger stays. A checksum that is `partial` covers no header yet and is left alone. True when something was changed.
///
/// An option list that is not sound is read as far as it is.
pub fn clamp_mss(segment: &mut [u8], limit: u16, partial: bool) -> bool {
    let Some(at) = find_mss(segment) else { return false };
    let Some(field) = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) else { return false };
    let old = u16::from_be_bytes(*field);
    if old <= limit {
        return false;
    }
    *field = limit.to_be_bytes();
    if partial {
        return true;
    }
    // At an odd place its bytes are in the other halves of two words of the sum.
    let (old, new) = if at % 2 == 0 { (old, limit) } else { (old.swap_bytes(), limit.swap_bytes()) };
    if let Some(sum) = segment.get_mut(CHECKSUM..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *sum = update16(u16::from_be_bytes(*sum), old, new).to_be_bytes();
    }
    true
}

/// Where the value of the option is.
fn find_mss(segment: &[u8]) -> Option<usize> {
    let end = usize::from(*segment.get(12)? >> 4) * 4;
    let mut at = HEADER;
    // At most 40 bytes of options.
    while at < end {
        match *segment.get(at)? {
            END => return None,
            NOTHING => at += 1,
            kind => {
                let length = usize::from(*segment.get(at + 1)?);
                if length < 2 || at + length > end {
                    return None;
                }
                if kind == MSS && length == 4 {
                    return Some(at + 2);
                }
                at += length;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::Sum;
    use crate::wire::protocol::TCP;
    use proptest::prelude::*;

    fn sum(segment: &[u8]) -> Sum {
        Sum::pseudo_v4([10, 0, 0, 1], [10, 0, 0, 2], TCP, segment.len() as u16).bytes(segment)
    }

    /// A segment with these options, as many as fit, and a right checksum.
    fn segment(flags: u8, options: &[Vec<u8>], payload: &[u8]) -> Vec<u8> {
        let mut list: Vec<u8> = Vec::new();
        for option in options.iter().filter(|option| option.len() <= 40) {
            if list.len() + option.len() <= 40 {
                list.extend(option);
            }
        }
        list.resize(list.len().next_multiple_of(4), 0);
        let mut bytes = vec![0, 80, 1, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, flags, 4, 0, 0, 0, 0, 0];
        bytes[12] = ((HEADER + list.len()) as u8 / 4) << 4;
        bytes.extend(list);
        bytes.extend(payload);
        let checksum = sum(&bytes).checksum();
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn option() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => Just(vec![NOTHING]),
            1 => (3_u8..10, prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(kind, value)| {
                [vec![kind, value.len() as u8 + 2], value].concat()
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_too_large_becomes_the_limit_and_the_checksum_stays_right(
            before in prop::collection::vec(option(), 0..6), after in prop::collection::vec(option(), 0..4),
            mss: u16, limit: u16, payload in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let announced = [vec![MSS, 4], mss.to_be_bytes().to_vec()].concat();
            let has_it = before.iter().map(Vec::len).sum::<usize>() + 4 <= 40;
            let options = [before, vec![announced], after].concat();
            let old = segment(SYN, &options, &payload);
            let mut new = old.clone();
            prop_assert_eq!(clamp_mss(&mut new, limit, false), has_it && mss > limit);
            prop_assert_eq!(sum(&new).value(), 0xffff);
            if has_it {
                let at = find_mss(&new).unwrap();
                prop_assert_eq!(&new[at..at + 2], &mss.min(limit).to_be_bytes());
                new[at..at + 2].copy_from_slice(&mss.to_be_bytes());
            }
            new[16..18].copy_from_slice(&old[16..18]);
            prop_assert_eq!(new, old);
        }

        #[test]
        fn no_bytes_are_too_bad(mut bytes in prop::collection::vec(any::<u8>(), 0..80), limit: u16) {
            let (length, partial) = (bytes.len(), bytes.clone());
            clamp_mss(&mut bytes, limit, true);
            prop_assert_eq!(bytes.len(), length);
            // A partial checksum is not touched.
            if let (Some(old), Some(new)) = (partial.get(16..18), bytes.get(16..18)) {
                prop_assert_eq!(old, new);
            }
        }
    }

    #[test]
    fn a_syn_is_told_by_its_flag() {
        assert!(
            is_syn(&segment(SYN | 0x10, &[], &[])) && !is_syn(&segment(0x10, &[], &[])) && !is_syn(&[2; 13])
        );
    }

    #[test]
    fn what_opens_and_what_carries_data_is_told_by_three_flags() {
        for (flags, wanted) in [
            (0x00, (false, true)),
            (0x10, (false, true)),
            (0x18, (false, true)),
            (0xf8, (false, true)),
            (0x02, (true, false)),
            (0x12, (false, false)),
            (0xc2, (true, false)),
            (0x01, (false, false)),
            (0x11, (false, false)),
            (0x04, (false, false)),
            (0x14, (false, false)),
            (0x03, (false, false)),
            (0x06, (false, false)),
            (0x07, (false, false)),
        ] {
            let header = segment(flags, &[], &[]);
            assert_eq!((opens(&header), is_data(&header)), wanted, "flags {flags:#x}");
        }
        // Of what is cut off nothing is known.
        assert!(!opens(&[2; 13]) && !is_data(&[0; 13]));
    }
}
