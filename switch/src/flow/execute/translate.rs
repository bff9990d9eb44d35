//! Address and port translation of one packet, with every checksum it touches brought up to date (RFC 1624, RFC 3022
//! section 4.2). The usual packet has a way of its own
//! (`straight.rs`); [`Translation`] is for every other.

use std::net::{Ipv4Addr, Ipv6Addr};

use shunt_ffi::Mbuf;
use shunt_ffi::offload::Checksum;

use crate::drop::DropReason;
use crate::flow::parse::Layout;
use crate::wire::checksum::{udp_field, update_bytes};
use crate::wire::crc32c;
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Offset of the checksum in the header of SCTP (RFC 9260 section 3.1); no other protocol here has it there.
const SCTP_CHECKSUM: usize = 8;
/// Bytes of an IPv6 header.
const IPV6: usize = 40;
/// "More fragments" and the offset: IPv4 (RFC 791 section 3.1), IPv6 (RFC 8200 section 4.5).
const MORE_OR_OFFSET_V4: u16 = 0x3fff;
const MORE_OR_OFFSET_V6: u16 = 0xfff9;

/// New addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Source and destination of IPv4.
    V4(Option<Ipv4Addr>, Option<Ipv4Addr>),
    /// Source and destination of IPv6.
    V6(Option<Ipv6Addr>, Option<Ipv6Addr>),
}

/// What one packet gets instead of what it has. Ports are those of TCP, UDP and SCTP; of ICMP echo messages the source port is the
/// identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// New addresses.
    pub addresses: Addresses,
    /// New source port.
    pub source: Option<u16>,
    /// New destination port.
    pub destination: Option<u16>,
}

/// The transport header of a packet, as far as a translation is concerned.
struct Transport {
    /// Offset of the header in the frame.
    at: usize,
    /// Offset of the checksum field in the header.
    checksum: usize,
    /// Places of source and destination port in the header.
    ports: [Option<usize>; 2],
    /// The checksum covers the pseudo header.
    pseudo: bool,
    /// UDP: a field of 0 means that there is none.
    udp: bool,
    /// The field holds the pseudo header's sum only, not complemented.
    partial: bool,
    /// SCTP: a CRC32c, over a packet of so many bytes.
    crc: Option<u16>,
}

impl Translation {
    /// Translates the packet in `frame`.
    #[inline(never)]
    pub(crate) fn apply(&self, layout: Layout, frame: &mut Mbuf) -> Result<(), DropReason> {
        let partial =
            matches!(frame.offload().map_err(|_| DropReason::BadOffload)?.checksum, Checksum::Partial { .. });
        let data = frame.data_mut();
        let l3 = usize::from(layout.l3);
        let renamed = self.source.is_some() || self.destination.is_some();
        let transport = transport(data, layout, partial, renamed)?;
        let bad = DropReason::BadIpHeader;
        match self.addresses {
            Addresses::V4(source, destination) => {
                for (place, address) in [(12, source), (16, destination)] {
                    let Some(address) = address else { continue };
                    let new = address.octets();
                    let old = *data.get(l3 + place..).and_then(|rest| rest.first_chunk::<4>()).ok_or(bad)?;
                    patch(data, l3 + 10, &old, &new).ok_or(bad)?;
                    cover(data, transport.as_ref(), &old, &new, true).ok_or(bad)?;
                    data.get_mut(l3 + place..l3 + place + 4).ok_or(bad)?.copy_from_slice(&new);
                }
            }
            Addresses::V6(source, destination) => {
                for (place, address) in [(8, source), (24, destination)] {
                    let Some(address) = address else { continue };
                    let new = address.octets();
                    let old = *data.get(l3 + place..).and_then(|rest| rest.first_chunk::<16>()).ok_or(bad)?;
                    cover(data, transport.as_ref(), &old, &new, true).ok_or(bad)?;
                    data.get_mut(l3 + place..l3 + place + 16).ok_or(bad)?.copy_from_slice(&new);
                }
            }
        }
        let Some(transport) = &transport else { return Ok(()) };
        if let Some(length) = transport.crc {
            return self.rename_sctp(data, transport.at, length).ok_or(bad);
        }
        for (place, port) in transport.ports.into_iter().zip([self.source, self.destination]) {
            let (Some(place), Some(port)) = (place, port) else { continue };
            let at = transport.at + place;
            let old = *data.get(at..).and_then(|rest| rest.first_chunk::<2>()).ok_or(bad)?;
            cover(data, Some(transport), &old, &port.to_be_bytes(), false).ok_or(bad)?;
            data.get_mut(at..at + 2).ok_or(bad)?.copy_from_slice(&port.to_be_bytes());
        }
        Ok(())
    }

    /// New ports for the SCTP packet of `length` bytes at `at`. Its checksum covers no address.
    fn rename_sctp(&self, data: &mut [u8], at: usize, length: u16) -> Option<()> {
        let packet = data.get_mut(at..)?;
        let old = *packet.first_chunk::<4>()?;
        let mut new = old;
        for (place, port) in [(0, self.source), (2, self.destination)] {
            let Some(port) = port else { continue };
            new[place..place + 2].copy_from_slice(&port.to_be_bytes());
        }
        packet[..4].copy_from_slice(&new);
        // Of a packet that an ICMP error quotes, it may be cut off.
        if let Some(field) = packet.get_mut(SCTP_CHECKSUM..).and_then(<[u8]>::first_chunk_mut::<4>) {
            *field = crc32c::update_start(*field, length, old, new);
        }
        Some(())
    }
}

/// The transport header, when the packet has one that a translation must bring up to date: not in later fragments. `renamed`:
/// ports are to change.
fn transport(
    data: &[u8],
    layout: Layout,
    partial: bool,
    renamed: bool,
) -> Result<Option<Transport>, DropReason> {
    let l3 = usize::from(layout.l3);
    let Some(mut transport) = header(data, l3, usize::from(layout.l4), partial) else { return Ok(None) };
    if transport.checksum == SCTP_CHECKSUM {
        transport.crc = if renamed { Some(sctp_length(data, l3, transport.at, partial)?) } else { None };
    }
    Ok(Some(transport))
}

/// How long an SCTP packet is whose header is at `at`, header and chunks: what follows is padding.
fn sctp_length(data: &[u8], l3: usize, at: usize, partial: bool) -> Result<u16, DropReason> {
    // No port lets such a one in: it would have to be one sum for TCP and UDP and another for SCTP.
    if partial {
        return Err(DropReason::BadOffload);
    }
    let bad = DropReason::BadIpHeader;
    let ip = data.get(l3..).ok_or(bad)?;
    let [first, _, a, b, c, d, e, f] = *ip.first_chunk::<8>().ok_or(bad)?;
    let (end, in_pieces) = if first >> 4 == 4 {
        (usize::from(u16::from_be_bytes([a, b])), u16::from_be_bytes([e, f]) & MORE_OR_OFFSET_V4 != 0)
    } else {
        let (_, in_pieces) = last_header(data, l3, at).ok_or(bad)?;
        (usize::from(u16::from_be_bytes([c, d])) + IPV6, in_pieces)
    };
    if in_pieces {
        return Err(DropReason::FragmentChecksum);
    }
    (l3 + end).checked_sub(at).and_then(|length| u16::try_from(length).ok()).ok_or(bad)
}

/// The transport header at `at` of the packet at `l3`.
fn header(data: &[u8], l3: usize, at: usize, partial: bool) -> Option<Transport> {
    if at == 0 {
        return None;
    }
    let v4 = data.get(l3)? >> 4 == 4;
    let header = |checksum, ports, pseudo, udp| {
        Some(Transport { at, checksum, ports, pseudo, udp, partial, crc: None })
    };
    let protocol = if v4 { *data.get(l3 + 9)? } else { last_header(data, l3, at)?.0 };
    match protocol {
        SCTP => header(SCTP_CHECKSUM, [Some(0), Some(2)], false, false),
        TCP => header(16, [Some(0), Some(2)], true, false),
        UDP => header(6, [Some(0), Some(2)], true, true),
        // Echo request and reply have an identifier (RFC 792, RFC 4443 section 4).
        ICMP => header(2, [matches!(data.get(at)?, 0 | 8).then_some(4), None], false, false),
        ICMPV6 => header(2, [matches!(data.get(at)?, 128 | 129).then_some(4), None], true, false),
        _ => None,
    }
}

/// The protocol at `end`, behind the extension headers (RFC 8200 section 4) of the packet at `l3`, and whether it is a
/// fragment. The parser has found them sound.
fn last_header(data: &[u8], l3: usize, end: usize) -> Option<(u8, bool)> {
    let (mut protocol, mut at) = (*data.get(l3 + 6)?, l3 + IPV6);
    let mut in_pieces = false;
    while at < end {
        let extension = data.get(at..)?.first_chunk::<4>()?;
        let length = match protocol {
            44 => {
                in_pieces |= u16::from_be_bytes([extension[2], extension[3]]) & MORE_OR_OFFSET_V6 != 0;
                8
            }
            51 => (usize::from(extension[1]) + 2) * 4,
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        protocol = extension[0];
        at += length;
    }
    Some((protocol, in_pieces))
}

/// Brings the transport checksum up to date. A partial one holds the sum of the pseudo header: addresses are in it, ports
/// are not.
fn cover(
    data: &mut [u8],
    transport: Option<&Transport>,
    old: &[u8],
    new: &[u8],
    address: bool,
) -> Option<()> {
    let Some(transport) = transport else { return Some(()) };
    if address && !transport.pseudo || !address && transport.partial {
        return Some(());
    }
    let at = transport.at + transport.checksum;
    // Of a packet that an ICMP error quotes, it may be cut off.
    let Some(field) = data.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) else { return Some(()) };
    let held = u16::from_be_bytes(*field);
    if transport.udp && held == 0 && !transport.partial {
        return Some(());
    }
    let updated = if transport.partial {
        !update_bytes(!held, old, new)
    } else {
        let updated = update_bytes(held, old, new);
        if transport.udp { udp_field(updated) } else { updated }
    };
    *field = updated.to_be_bytes();
    Some(())
}

/// Brings the checksum field at `at` up to date.
fn patch(data: &mut [u8], at: usize, old: &[u8], new: &[u8]) -> Option<()> {
    let field = data.get_mut(at..)?.first_chunk_mut::<2>()?;
    *field = update_bytes(u16::from_be_bytes(*field), old, new).to_be_bytes();
    Some(())
}
