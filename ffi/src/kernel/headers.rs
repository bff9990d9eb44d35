//! Where the transport header of a frame is, read from the frame's own bytes. Bounds-checked; one pass, no allocation.

/// IP protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(crate) const UDP: u8 = 17;
/// IP protocol number of IPv4 in IP.
pub(crate) const IPIP: u8 = 4;
/// IP protocol number of IPv6 in IP.
pub(crate) const IPV6_IN_IP: u8 = 41;
/// IP protocol number of SCTP.
pub(crate) const SCTP: u8 = 132;

/// Length of an Ethernet header without tags.
pub(crate) const ETHERNET: usize = 14;
/// EtherType of IPv4.
pub(crate) const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub(crate) const IPV6: u16 = 0x86dd;

const CTAG: u16 = 0x8100;
const STAG: u16 = 0x88a8;
/// IPv6 extension headers followed at most; more than any sane packet has.
const MAX_EXTENSIONS: usize = 8;

/// A transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Bytes from the start of the frame.
    pub(crate) offset: usize,
    /// IP protocol number.
    pub(crate) protocol: u8,
    /// Carried by IPv6.
    pub(crate) ipv6: bool,
}

/// Finds the outermost transport header of an Ethernet frame with up to two VLAN tags. `None` for anything that is not
/// IP, for fragments, and for headers that do not lie inside `data`.
pub(crate) fn transport(data: &[u8]) -> Option<Transport> {
    let at = network(data)?;
    match word(data, at - 2)? {
        IPV4 => ipv4(data, at),
        IPV6 => ipv6(data, at),
        _ => None,
    }
}

/// Offset of what follows the Ethernet header and up to two VLAN tags. `None` when they do not lie inside `data`.
pub(crate) fn network(data: &[u8]) -> Option<usize> {
    let mut at = ETHERNET - 2;
    for _ in 0..2 {
        match word(data, at)? {
            CTAG | STAG => at += 4,
            _ => break,
        }
    }
    Some(at + 2)
}

fn ipv4(data: &[u8], at: usize) -> Option<Transport> {
    let header = data.get(at..at + 20)?;
    let length = usize::from(header[0] & 0xf) * 4;
    let fragment = word(header, 6)? & 0x3fff != 0;
    if header[0] >> 4 != 4 || length < 20 || fragment {
        return None;
    }
    Some(Transport { offset: at + length, protocol: header[9], ipv6: false })
}

fn ipv6(data: &[u8], at: usize) -> Option<Transport> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;

    let header = data.get(at..at + 40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let (mut protocol, mut offset) = (header[6], at + 40);
    for _ in 0..MAX_EXTENSIONS {
        match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let extension = data.get(offset..offset + 2)?;
                protocol = extension[0];
                offset += (usize::from(extension[1]) + 1) * 8;
            }
            FRAGMENT => return None,
            _ => return Some(Transport { offset, protocol, ipv6: true }),
        }
    }
    None
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]))
}
