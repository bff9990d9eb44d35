//! What an IP header says of a fragment: which datagram it is of, and which bytes of it (RFC 791 section 3.1, RFC 8200
//! section 4.5).
//!
//! Cost: two reads for IPv4; for IPv6 one for each extension header in front of the fragment header.

const IPV4: usize = 20;
const IPV6: usize = 40;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_V4: u16 = 0x1fff;
const OFFSET_V6: u16 = 0xfff8;
/// Extension headers that are skipped at most, as the parser of flow keys does.
const EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// Bytes of the fragment header.
const FRAGMENT_HEADER: usize = 8;
/// Longest datagram, bytes: of IPv4 with its header, of IPv6 what can be cut.
const LONGEST: usize = u16::MAX as usize;

/// One fragment of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Identification: the same in all fragments of a datagram.
    pub id: u32,
    /// Offset of its first byte in what was cut.
    pub start: u16,
    /// Offset behind its last byte.
    pub end: u16,
    /// Others follow: it does not end the datagram.
    pub more: bool,
}

/// A fragment that fits into no datagram: it is empty, reaches beyond the longest datagram there is, or is followed by others
/// though its length is no multiple of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// The fragment whose IP header `packet` starts with.
///
/// # Errors
/// It fits into no datagram, or its headers are not all there.
pub fn read(packet: &[u8]) -> Result<Piece, Unfit> {
    match packet.first().map(|first| first >> 4) {
        Some(4) => v4(packet),
        Some(6) => v6(packet).ok_or(Unfit)?,
        _ => Err(Unfit),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

fn v4(packet: &[u8]) -> Result<Piece, Unfit> {
    let header = packet.first_chunk::<IPV4>().ok_or(Unfit)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let payload = total.checked_sub(length).ok_or(Unfit)?;
    let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
    piece(id, usize::from(flags & OFFSET_V4) * 8, payload, flags & MORE_FRAGMENTS != 0, LONGEST - length)
}

fn v6(packet: &[u8]) -> Option<Result<Piece, Unfit>> {
    let header = packet.first_chunk::<IPV6>()?;
    let end = IPV6 + usize::from(word(header, 4)?);
    let (mut protocol, mut at) = (header[6], IPV6);
    for _ in 0..EXTENSIONS {
        let extension = packet.get(at..)?.first_chunk::<FRAGMENT_HEADER>()?;
        at += match protocol {
            FRAGMENT => {
                let offset = u16::from_be_bytes([extension[2], extension[3]]);
                let id = u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]);
                let payload = end.checked_sub(at + FRAGMENT_HEADER)?;
                return Some(piece(id, usize::from(offset & OFFSET_V6), payload, offset & 1 != 0, LONGEST));
            }
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(extension[1]) + 1) * 8,
            AUTHENTICATION => (usize::from(extension[1]) + 2) * 4,
            _ => return None,
        };
        protocol = extension[0];
    }
    None
}

fn piece(id: u32, start: usize, payload: usize, more: bool, longest: usize) -> Result<Piece, Unfit> {
    let end = start + payload;
    if payload == 0 || end > longest || more && !payload.is_multiple_of(8) {
        return Err(Unfit);
    }
    Ok(Piece { id, start: start as u16, end: end as u16, more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An IPv4 header with one word of options.
    fn header_v4(total: u16, flags: u16) -> Vec<u8> {
        let mut header = vec![0x46, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 17];
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[6..8].copy_from_slice(&flags.to_be_bytes());
        header.extend([0; 14]);
        header
    }

    /// An IPv6 header, destination options of 16 bytes, a fragment header.
    fn header_v6(payload: u16, offset: u16) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0];
        header.extend((payload + 24).to_be_bytes());
        header.extend([DESTINATION, 64]);
        header.extend([0; 32]);
        header.extend([FRAGMENT, 1]);
        header.extend([0; 14]);
        header.extend([17, 0]);
        header.extend(offset.to_be_bytes());
        header.extend([0xde, 0xad, 0xbe, 0xef]);
        header
    }

    #[test]
    fn both_versions_say_which_bytes_they_have() {
        assert_eq!(
            read(&header_v4(24 + 80, MORE_FRAGMENTS | 10)),
            Ok(Piece { id: 0x1234, start: 80, end: 160, more: true })
        );
        assert_eq!(read(&header_v4(24 + 7, 10)), Ok(Piece { id: 0x1234, start: 80, end: 87, more: false }));
        assert_eq!(
            read(&header_v6(80, 80 | 1)),
            Ok(Piece { id: 0xdead_beef, start: 80, end: 160, more: true })
        );
        assert_eq!(read(&header_v6(7, 80)), Ok(Piece { id: 0xdead_beef, start: 80, end: 87, more: false }));
    }

    #[test]
    fn what_fits_into_no_datagram_is_refused() {
        for unfit in [
            header_v4(24, 10),                       // empty
            header_v4(24 + 81, MORE_FRAGMENTS | 10), // no whole units, and not the last
            header_v4(24 + 1480, 0x1fff),            // the "ping of death"
            header_v4(20, 10),                       // shorter than its header
            header_v6(0, 8),
            header_v6(81, 80 | 1),
            header_v6(16, 0xfff8),
            header_v6(80, 80)[..60].to_vec(), // cut off
            header_v4(100, 1)[..16].to_vec(),
            Vec::new(),
        ] {
            assert_eq!(read(&unfit), Err(Unfit), "{unfit:02x?}");
        }
        // The longest there is.
        assert!(read(&header_v4(24 + 1471, 8005)).is_ok_and(|piece| usize::from(piece.end) == LONGEST - 24));
        assert!(read(&header_v6(7, 0xfff8)).is_ok_and(|piece| usize::from(piece.end) == LONGEST));
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..120), version in 4_u8..7) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() { *first = version << 4 | *first & 0x0f }
            if let Ok(piece) = read(&bytes) {
                prop_assert!(piece.start < piece.end && piece.start % 8 == 0);
                prop_assert!(!piece.more || piece.end % 8 == 0);
            }
        }
    }
}
