//! Address and port translation of one packet, with every checksum it touches brought up to date (RFC 1624, RFC 3022
//! section 4.2). The usual packet has a way of its own
//! (`straight.rs`); [`Translation`] is for every other.

use std::net::{Ipv4Addr, Ipv6Addr};

use shunt_ffi::Mbuf;
use shunt_ffi::offload::Checksum;

use crate::drop::DropReason;
use crate::flow::parse::Layout;
use crate::wire::checksum::{udp_field, update_bytes};
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};

/// New addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Source and destination of IPv4.
    V4(Option<Ipv4Addr>, Option<Ipv4Addr>),
    /// Source and destination of IPv6.
    V6(Option<Ipv6Addr>, Option<Ipv6Addr>),
}

/// What one packet gets instead of what it has. Ports are those of TCP and UDP; of ICMP echo messages the source port is the
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
}

impl Translation {
    /// Translates the packet in `frame`.
    #[inline(never)]
    pub(crate) fn apply(&self, layout: Layout, frame: &mut Mbuf) -> Result<(), DropReason> {
        let partial =
            matches!(frame.offload().map_err(|_| DropReason::BadOffload)?.checksum, Checksum::Partial { .. });
        let data = frame.data_mut();
        let l3 = usize::from(layout.l3);
        let transport = transport(data, layout, partial);
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
        for (place, port) in transport.ports.into_iter().zip([self.source, self.destination]) {
            let (Some(place), Some(port)) = (place, port) else { continue };
            let at = transport.at + place;
            let old = *data.get(at..).and_then(|rest| rest.first_chunk::<2>()).ok_or(bad)?;
            cover(data, Some(transport), &old, &port.to_be_bytes(), false).ok_or(bad)?;
            data.get_mut(at..at + 2).ok_or(bad)?.copy_from_slice(&port.to_be_bytes());
        }
        Ok(())
    }
}

/// The transport header, when the packet has one that a translation must bring up to date: not in later fragments.
fn transport(data: &[u8], layout: Layout, partial: bool) -> Option<Transport> {
    let (l3, at) = (usize::from(layout.l3), usize::from(layout.l4));
    if at == 0 {
        return None;
    }
    let v4 = data.get(l3)? >> 4 == 4;
    let header = |checksum, ports, pseudo, udp| Some(Transport { at, checksum, ports, pseudo, udp, partial });
    let protocol = if v4 { *data.get(l3 + 9)? } else { last_header(data, l3, at)? };
    match protocol {
        TCP => header(16, [Some(0), Some(2)], true, false),
        UDP => header(6, [Some(0), Some(2)], true, true),
        // Echo request and reply have an identifier (RFC 792, RFC 4443 section 4).
        ICMP => header(2, [matches!(data.get(at)?, 0 | 8).then_some(4), None], false, false),
        ICMPV6 => header(2, [matches!(data.get(at)?, 128 | 129).then_some(4), None], true, false),
        _ => None,
    }
}

/// The protocol at `end`, behind the extension headers (RFC 8200 section 4) of the packet at `l3`. The parser has found
/// them sound.
fn last_header(data: &[u8], l3: usize, end: usize) -> Option<u8> {
    let (mut protocol, mut at) = (*data.get(l3 + 6)?, l3 + 40);
    while at < end {
        let extension = data.get(at..)?.first_chunk::<2>()?;
        let length = match protocol {
            44 => 8,
            51 => (usize::from(extension[1]) + 2) * 4,
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        protocol = extension[0];
        at += length;
    }
    Some(protocol)
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
