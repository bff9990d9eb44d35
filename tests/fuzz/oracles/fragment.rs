//! What must hold of what is read from the IP header of a fragment, by which datagrams are told apart: for any bytes whatever.

use shunt_switch::wire::fragment::{Piece, Unfit, read};

/// Panics when a property does not hold; `packet` begins with an IP header. True when it is a fragment that fits a datagram.
pub(crate) fn check(packet: &[u8]) -> bool {
    let found = read(packet);
    // Fewer bytes say the same or that they do not suffice.
    for cut in 0..packet.len().min(400) {
        let short = read(&packet[..cut]);
        assert!(short == found || short == Err(Unfit), "{cut}: {short:?} and {found:?}");
    }
    let Ok(piece) = found else { return false };
    let Piece { id, start, end, more } = piece;
    assert!(start < end && start % 8 == 0 && (!more || end % 8 == 0), "{piece:?}");
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (offset, has_more, length) = match packet[0] >> 4 {
        4 => {
            assert_eq!(id, u32::from(word(4)));
            ((word(6) & 0x1fff) * 8, word(6) & 0x2000 != 0, word(2) - u16::from(packet[0] & 15) * 4)
        }
        6 => {
            let at = fragment_header(packet);
            assert_eq!(id, u32::from(word(at + 4)) << 16 | u32::from(word(at + 6)));
            (word(at + 2) & !7, word(at + 2) & 1 != 0, word(4) - (at + 8 - 40) as u16)
        }
        other => panic!("version {other}"),
    };
    assert_eq!((start, end - start, more), (offset, length, has_more));
    true
}

/// Where the fragment header of an IPv6 packet is that has one (RFC 8200 section 4).
fn fragment_header(packet: &[u8]) -> usize {
    let (mut kind, mut at) = (packet[6], 40);
    while kind != 44 {
        let length = usize::from(packet[at + 1]);
        let skip = match kind {
            0 | 43 | 60 => (length + 1) * 8,
            51 => (length + 2) * 4,
            other => panic!("a fragment behind {other}"),
        };
        (kind, at) = (packet[at], at + skip);
    }
    at
}
