//! The Ethernet header (IEEE 802.3 clause 3): destination, source, EtherType.

use shunt_config::MacAddr;

/// Bytes of the header without tags.
pub const HEADER: usize = 14;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// TPID of a customer tag (802.1Q clause 9.5).
pub const CUSTOMER_TAG: u16 = 0x8100;
/// TPID of a service tag (802.1ad).
pub const SERVICE_TAG: u16 = 0x88a8;

/// A MAC address as an integer, first byte of the address in the lowest bits: cheap to hash and to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac(pub u64);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac(0xffff_ffff_ffff);

    /// From the bytes of the address.
    #[inline]
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// The bytes of the address.
    #[inline]
    pub const fn bytes(self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// True for multicast and broadcast addresses (the I/G bit).
    #[inline]
    pub const fn is_group(self) -> bool {
        self.0 & 1 != 0
    }
}

impl From<MacAddr> for Mac {
    fn from(address: MacAddr) -> Self {
        Self::from_bytes(address.octets())
    }
}

impl From<Mac> for MacAddr {
    fn from(mac: Mac) -> Self {
        MacAddr(mac.bytes())
    }
}

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// EtherType, or the TPID of a tag.
    pub ethertype: u16,
}

/// Reads the header; `None` when the frame is shorter.
#[inline]
pub fn parse(frame: &[u8]) -> Option<Header> {
    let header: &[u8; HEADER] = frame.first_chunk()?;
    // Two overlapping 8-byte loads instead of twelve 1-byte ones.
    let low = u64::from_le_bytes(*header.first_chunk()?);
    let high = u64::from_le_bytes(*header.last_chunk()?);
    Some(Header {
        dst: Mac(low & 0xffff_ffff_ffff),
        src: Mac(high & 0xffff_ffff_ffff),
        ethertype: ((high >> 48) as u16).swap_bytes(),
    })
}

/// Writes both addresses; nothing when the frame is shorter than a header.
#[inline]
pub fn set_addresses(frame: &mut [u8], dst: Mac, src: Mac) {
    if let Some(header) = frame.first_chunk_mut::<HEADER>() {
        header[..6].copy_from_slice(&dst.bytes());
        header[6..12].copy_from_slice(&src.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_puts_them() {
        let frame = [1, 2, 3, 4, 5, 6, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x08, 0x06, 0xaa];
        let header = parse(&frame).unwrap();
        assert_eq!(header.dst.bytes(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(header.src.bytes(), [0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f]);
        assert_eq!(header.ethertype, ARP);
        assert!(header.dst.is_group() && !header.src.is_group());
        assert_eq!(parse(&frame[..13]), None);
    }
}
