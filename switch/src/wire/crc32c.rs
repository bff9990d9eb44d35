//! The checksum of SCTP, CRC32c (RFC 9260 section 6.8 and appendix A), after a change near the start of a packet.
//!
//! A CRC is linear: what a change of four bytes does to it depends on the change and on the number of bytes behind, not on
//! what they are. So a new port costs two multiplications of polynomials over GF(2), however long the packet is and into
//! however many buffers it is cut, and a wrong checksum stays wrong.
//!
//! Polynomials are reflected, as the CRC itself: the highest bit of a word is the coefficient of x^0.

/// Castagnoli's polynomial, x^32 left out.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// x^(8 n) for the low byte of a length n, and x^(8 * 256 n) for its high byte.
static POWERS: [[u32; 256]; 2] = {
    let mut powers = [[ONE; 256]; 2];
    let mut at = 1;
    while at < 256 {
        powers[0][at] = times_x8(powers[0][at - 1]);
        at += 1;
    }
    let step = times_x8(powers[0][255]);
    let mut at = 1;
    while at < 256 {
        powers[1][at] = multiply(powers[1][at - 1], step);
        at += 1;
    }
    powers
};

/// `a` times x modulo the polynomial.
const fn times_x(a: u32) -> u32 {
    a >> 1 ^ (a & 1).wrapping_neg() & POLYNOMIAL
}

const fn times_x8(mut a: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        a = times_x(a);
        bit += 1;
    }
    a
}

/// The product modulo the polynomial.
#[inline]
const fn multiply(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, 0);
    while bit < 32 {
        product ^= (a << bit >> 31).wrapping_neg() & b;
        b = times_x(b);
        bit += 1;
    }
    product
}

/// The checksum field, as its bytes lie in the header, once the first four bytes of a packet of `length` bytes became `new`.
#[inline]
#[must_use]
pub fn update_start(field: [u8; 4], length: u16, old: [u8; 4], new: [u8; 4]) -> [u8; 4] {
    let change = u32::from_le_bytes(old) ^ u32::from_le_bytes(new);
    let [high, low] = length.to_be_bytes().map(usize::from);
    // As four bytes at the end it would be changed by x^32; `length - 4` bytes are behind it.
    let far = multiply(POWERS[0][low], POWERS[1][high]);
    (u32::from_le_bytes(field) ^ multiply(change, far)).to_le_bytes()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 9260 appendix A, bit by bit, as the bytes of the field.
    pub(crate) fn bitwise(bytes: impl IntoIterator<Item = u8>) -> [u8; 4] {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            }
        }
        (!crc).to_le_bytes()
    }

    /// Of an SCTP packet, whose own field counts as zero.
    pub(crate) fn of_packet(packet: &[u8]) -> [u8; 4] {
        bitwise(packet.iter().enumerate().map(|(at, byte)| if (8..12).contains(&at) { 0 } else { *byte }))
    }

    #[test]
    fn the_check_value_of_crc32c() {
        assert_eq!(u32::from_le_bytes(bitwise(*b"123456789")), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn it_is_the_checksum_of_the_changed_packet(
            mut packet in prop::collection::vec(any::<u8>(), 12..3000), new: [u8; 4], error: u32,
        ) {
            let wrong = |field: [u8; 4]| (u32::from_le_bytes(field) ^ error).to_le_bytes();
            let field = wrong(of_packet(&packet));
            let old = *packet.first_chunk().unwrap();
            packet[..4].copy_from_slice(&new);
            let updated = update_start(field, packet.len() as u16, old, new);
            // As wrong as it was, and right when it was right.
            prop_assert_eq!(updated, wrong(of_packet(&packet)));
            prop_assert_eq!(update_start(updated, packet.len() as u16, new, old), field);
        }
    }

    #[test]
    fn lengths_at_the_ends_of_the_tables() {
        for length in [12_usize, 255, 256, 257, 511, 512, 65_280, 65_534, 65_535] {
            let mut packet = vec![0x5a; length];
            let (field, old) = (of_packet(&packet), [0x5a; 4]);
            packet[..4].copy_from_slice(&[0, 1, 0xff, 2]);
            assert_eq!(
                update_start(field, length as u16, old, [0, 1, 0xff, 2]),
                of_packet(&packet),
                "{length}"
            );
        }
    }
}
