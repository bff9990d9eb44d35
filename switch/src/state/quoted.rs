//! The packet that an ICMP error quotes: what connection the error is about (RFC 5508 section 4, RFC 4443 section 2.4 c).
//!
//! Every length is checked against the bytes at hand: the quoted headers' own words say how long the packet was, not how
//! much of it is quoted.

use super::tuple::{Parts, Tuple};
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

const IPV4: usize = 20;
const IPV6: usize = 40;
/// Extension headers that are skipped at most (RFC 8200 section 4.1 has fewer).
const EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// Offset and "more fragments" of an IPv4 header, without the latter (RFC 791 section 3.1).
const OFFSET_V4: u16 = 0x1fff;
/// Offset in the fragment header (RFC 8200 section 4.5).
const OFFSET_V6: u16 = !7;

/// A quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its tuple, as the packet was when the error was made. The error goes the other way: the connection and the direction
    /// that it travels in are those of `tuple.reversed()`.
    pub tuple: Tuple,
    /// Offset of its transport header from the start of its IP header.
    pub l4: usize,
}

impl Tuple {
    /// The packet quoted in an ICMP error that came in `zone`: `bytes` start with the quoted IP header.
    ///
    /// `None` when it belongs to no connection by itself (as for [`Tuple::of`]) or too little of it is quoted: ports, or the
    /// first six bytes of an echo message.
    pub fn quoted(bytes: &[u8], zone: u16) -> Option<Quoted> {
        match bytes.first()? >> 4 {
            4 => v4(bytes, zone),
            6 => v6(bytes, zone),
            _ => None,
        }
    }
}

fn v4(bytes: &[u8], zone: u16) -> Option<Quoted> {
    let header = bytes.first_chunk::<IPV4>()?;
    let l4 = usize::from(header[0] & 0x0f) * 4;
    if l4 < IPV4 || u16::from_be_bytes([header[6], header[7]]) & OFFSET_V4 != 0 {
        return None;
    }
    let address = |at: usize| header.get(at..)?.first_chunk::<4>().map(|bytes| (*bytes).into());
    let (source, destination) = (address(12)?, address(16)?);
    behind(
        bytes,
        l4,
        Parts { zone, protocol: header[9], source, destination, source_port: 0, destination_port: 0 },
    )
}

fn v6(bytes: &[u8], zone: u16) -> Option<Quoted> {
    let header = bytes.first_chunk::<IPV6>()?;
    let address = |at: usize| header.get(at..)?.first_chunk::<16>().map(|bytes| (*bytes).into());
    let (source, destination) = (address(8)?, address(24)?);
    let (mut protocol, mut at) = (header[6], IPV6);
    for _ in 0..EXTENSIONS {
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => |units: usize| (units + 1) * 8,
            AUTHENTICATION => |units: usize| (units + 2) * 4,
            FRAGMENT => |_| 8,
            _ => break,
        };
        let extension = bytes.get(at..)?.first_chunk::<4>()?;
        if protocol == FRAGMENT && u16::from_be_bytes([extension[2], extension[3]]) & OFFSET_V6 != 0 {
            return None;
        }
        protocol = extension[0];
        at += length(usize::from(extension[1]));
    }
    if matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT) {
        return None;
    }
    behind(bytes, at, Parts { zone, protocol, source, destination, source_port: 0, destination_port: 0 })
}

/// What is behind the IP header of `parts`; `None` when not even that is quoted whole, with its options or extensions.
fn behind(bytes: &[u8], l4: usize, mut parts: Parts) -> Option<Quoted> {
    let transport = bytes.get(l4..)?;
    let v4 = parts.source.is_ipv4();
    match (parts.protocol, v4) {
        (TCP | UDP | SCTP, _) => {
            let &[a, b, c, d] = transport.first_chunk()?;
            (parts.source_port, parts.destination_port) =
                (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        }
        (ICMP, true) | (ICMPV6, false) => {
            let &[kind, code, _, _, a, b] = transport.first_chunk()?;
            (parts.source_port, parts.destination_port) =
                (u16::from_be_bytes([a, b]), u16::from_be_bytes([kind, code]));
            let tuple = Tuple::new(&parts)?;
            return tuple.echo().map(|_| Quoted { tuple, l4 });
        }
        // A transport header that is not all there tells no more than the addresses do.
        _ => {}
    }
    Some(Quoted { tuple: Tuple::new(&parts)?, l4 })
}
