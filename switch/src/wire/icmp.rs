//! ICMP (RFC 792, RFC 1812 section 4.3) and ICMPv6 (RFC 4443), as far as a router speaks them: errors about packets, and
//! the answer to an echo request.
//!
//! Pure functions over bytes. They are written by hand because the packet that an error quotes must be quoted as it came,
//! bit for bit (RFC 792, RFC 4443 section 2.4 c): a library that makes headers from fields would write new ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::{Sum, transport_v6, update16};
use super::ethernet::{self, Mac};
use super::protocol::{ICMP, ICMPV6};

/// Longest Ethernet header of a frame that is answered: two tags.
const LINK: usize = ethernet::HEADER + 8;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// Type, code, checksum and four bytes that depend on the type.
const HEADER: usize = 8;
/// Longest packet with an error over IPv4: what every host takes (RFC 1812 section 4.3.2.3).
pub const LONGEST_V4: usize = 576;
/// The same over IPv6: the smallest MTU (RFC 4443 section 2.4 c).
pub const LONGEST_V6: usize = 1280;
/// TTL of what the switch sends itself.
const TTL: u8 = 64;
/// Internetwork control (RFC 1812 section 4.3.2.5).
const CLASS: u8 = 0xc0;
/// "Don't fragment": an error is no longer than any path takes, and needs no identification (RFC 6864 section 4.1).
const DONT_FRAGMENT: u8 = 0x40;
/// IPv4 source routes, loose and strict (RFC 791 section 3.1).
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No route leads to the destination.
    NoRoute,
    /// The destination does not answer to its address.
    NoHost,
    /// The destination does not know the protocol.
    NoProtocol,
    /// Nobody listens on the port.
    NoPort,
    /// A rule forbids it.
    Prohibited,
    /// The TTL or hop limit is used up.
    Expired,
    /// Longer than the next network takes: its MTU, bytes.
    TooBig(u16),
}

impl Error {
    /// What it says, in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::NoRoute => "no route",
            Self::NoHost => "host unreachable",
            Self::NoProtocol => "protocol unreachable",
            Self::NoPort => "port unreachable",
            Self::Prohibited => "prohibited",
            Self::Expired => "time exceeded",
            Self::TooBig(_) => "packet too big, with the MTU",
        }
    }

    /// Type, code and the four bytes behind the checksum in ICMP (RFC 792, RFC 1191 section 4, RFC 1812 section 5.2.7.1).
    const fn v4(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (3, 0, 0),
            Self::NoHost => (3, 1, 0),
            Self::NoProtocol => (3, 2, 0),
            Self::NoPort => (3, 3, 0),
            Self::TooBig(mtu) => (3, 4, mtu as u32),
            Self::Prohibited => (3, 13, 0),
            Self::Expired => (11, 0, 0),
        }
    }

    /// The same in ICMPv6 (RFC 4443 section 3).
    const fn v6(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (1, 0, 0),
            Self::Prohibited => (1, 1, 0),
            Self::NoHost => (1, 3, 0),
            Self::NoPort => (1, 4, 0),
            Self::TooBig(mtu) => (2, 0, mtu as u32),
            Self::Expired => (3, 0, 0),
            // Unrecognized next header, at its place in a header without extensions.
            Self::NoProtocol => (4, 1, 6),
        }
    }
}

/// True when a message of this type is an error, which no error may be sent about (RFC 1812 section 4.3.2.7), or one that
/// is not known to be none.
#[must_use]
pub const fn is_error_v4(kind: u8) -> bool {
    // Echo, router discovery, timestamp, information and mask: requests and replies.
    !matches!(kind, 0 | 8 | 9 | 10 | 13..=18)
}

/// The same for ICMPv6 (RFC 4443 section 2.4 e): errors, and redirects.
#[must_use]
pub const fn is_error_v6(kind: u8) -> bool {
    kind < 128 || kind == 137
}

/// The Ethernet header that an error gets.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// That of the frame which the error is about, tags included.
    pub header: &'a [u8],
    /// Destination in place of the one in `header`.
    pub to: Mac,
    /// Source in place of the one in `header`.
    pub from: Mac,
}

/// A whole frame with an error in it.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: [u8; LINK + LONGEST_V6],
    len: usize,
}

impl Frame {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Starts with the link header; `None` when it is none.
    fn behind(link: &Link<'_>) -> Option<Self> {
        let header = link.header;
        let mut frame = Self { bytes: [0; LINK + LONGEST_V6], len: header.len() };
        frame.bytes.get_mut(..header.len())?.copy_from_slice(header);
        ethernet::set_addresses(&mut frame.bytes, link.to, link.from);
        (ethernet::HEADER..=LINK).contains(&header.len()).then_some(frame)
    }

    /// Copies `packet`, whose first bytes may lie in several pieces, as far as `room` goes; its length.
    fn quote<'a>(&mut self, at: usize, room: usize, packet: impl Iterator<Item = &'a [u8]>) -> usize {
        let mut quoted = 0;
        for piece in packet {
            let take = piece.len().min(room - quoted);
            let (Some(to), Some(from)) =
                (self.bytes.get_mut(at + quoted..at + quoted + take), piece.get(..take))
            else {
                break;
            };
            to.copy_from_slice(from);
            quoted += take;
        }
        quoted
    }
}

/// A frame that tells `to` what is wrong with its `packet`, from `from`, an address of the switch. `length` is how long the
/// packet says it is, bytes: what is behind is padding.
///
/// `None` when `link` has no Ethernet header.
pub fn error_v4<'a>(
    error: Error,
    link: &Link<'_>,
    (from, to): (Ipv4Addr, Ipv4Addr),
    packet: impl Iterator<Item = &'a [u8]>,
    length: usize,
) -> Option<Frame> {
    let mut frame = Frame::behind(link)?;
    let at = link.header.len();
    let quoted = frame.quote(at + IPV4 + HEADER, length.min(LONGEST_V4 - IPV4 - HEADER), packet);
    frame.len = at + IPV4 + HEADER + quoted;
    let (header, message) = frame.bytes.get_mut(at..frame.len)?.split_first_chunk_mut::<IPV4>()?;
    header[0] = 0x45;
    header[1] = CLASS;
    header[2..4].copy_from_slice(&((IPV4 + HEADER + quoted) as u16).to_be_bytes());
    header[6] = DONT_FRAGMENT;
    header[8] = TTL;
    header[9] = ICMP;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = Sum::new().bytes(header).checksum();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let start = message.first_chunk_mut::<HEADER>()?;
    *start = first_bytes(error.v4());
    let sum = Sum::new().bytes(message).checksum();
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(frame)
}

/// The same for IPv6.
pub fn error_v6<'a>(
    error: Error,
    link: &Link<'_>,
    (from, to): (Ipv6Addr, Ipv6Addr),
    packet: impl Iterator<Item = &'a [u8]>,
    length: usize,
) -> Option<Frame> {
    let mut frame = Frame::behind(link)?;
    let at = link.header.len();
    let quoted = frame.quote(at + IPV6 + HEADER, length.min(LONGEST_V6 - IPV6 - HEADER), packet);
    frame.len = at + IPV6 + HEADER + quoted;
    let (header, message) = frame.bytes.get_mut(at..frame.len)?.split_first_chunk_mut::<IPV6>()?;
    header[0] = 0x60 | CLASS >> 4;
    header[4..6].copy_from_slice(&((HEADER + quoted) as u16).to_be_bytes());
    header[6] = ICMPV6;
    header[7] = TTL;
    header[8..24].copy_from_slice(&from.octets());
    header[24..40].copy_from_slice(&to.octets());
    let start = message.first_chunk_mut::<HEADER>()?;
    *start = first_bytes(error.v6());
    let sum = transport_v6(&from.octets(), &to.octets(), ICMPV6, message);
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(frame)
}

fn first_bytes((kind, code, rest): (u8, u8, u32)) -> [u8; HEADER] {
    let [a, b, c, d] = rest.to_be_bytes();
    [kind, code, 0, 0, a, b, c, d]
}

/// Turns the IPv4 `packet` with an echo request into the reply (RFC 792, RFC 1122 section 3.2.2.6): only the headers are
/// written, so that the rest of the message may lie elsewhere. Its checksum stays as right or wrong as it was.
///
/// `None`, and no change, when it is no echo request, or came by a source route, which is not reversed.
pub fn echo_v4(packet: &mut [u8]) -> Option<()> {
    let length = usize::from(*packet.first()? & 0x0f) * 4;
    let (header, message) = packet.split_at_mut_checked(length)?;
    let (fixed, options) = header.split_first_chunk_mut::<IPV4>()?;
    let message = message.first_chunk_mut::<HEADER>()?;
    if message[..2] != [8, 0] || has_source_route(options) {
        return None;
    }
    let (source, destination): ([u8; 4], [u8; 4]) =
        (*fixed[12..].first_chunk()?, *fixed[16..].first_chunk()?);
    fixed[12..16].copy_from_slice(&destination);
    fixed[16..20].copy_from_slice(&source);
    // Addresses that change places do not change the sum.
    let old = u16::from_be_bytes([fixed[8], fixed[9]]);
    fixed[8] = TTL;
    let sum = u16::from_be_bytes([fixed[10], fixed[11]]);
    let sum = update16(sum, old, u16::from_be_bytes([TTL, fixed[9]]));
    fixed[10..12].copy_from_slice(&sum.to_be_bytes());
    reply(message, 0);
    Some(())
}

/// The same for IPv6 (RFC 4443 section 4.2), whose message is behind `header` bytes. `None` also with extension headers.
pub fn echo_v6(packet: &mut [u8], header: usize) -> Option<()> {
    if header != IPV6 {
        return None;
    }
    let (fixed, message) = packet.split_first_chunk_mut::<IPV6>()?;
    let message = message.first_chunk_mut::<HEADER>()?;
    if message[..2] != [128, 0] {
        return None;
    }
    let (source, destination): ([u8; 16], [u8; 16]) =
        (*fixed[8..].first_chunk()?, *fixed[24..].first_chunk()?);
    fixed[8..24].copy_from_slice(&destination);
    fixed[24..40].copy_from_slice(&source);
    fixed[7] = TTL;
    reply(message, 129);
    Some(())
}

/// Makes a request a reply.
fn reply(message: &mut [u8; HEADER], kind: u8) {
    let old = u16::from_be_bytes([message[0], message[1]]);
    message[0] = kind;
    let sum = u16::from_be_bytes([message[2], message[3]]);
    let sum = update16(sum, old, u16::from_be_bytes([kind, message[1]]));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// True when IPv4 options hold a source route, or are not sound.
fn has_source_route(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        match (*kind, rest) {
            (0, _) => return false,
            (1, rest) => options = rest,
            (kind, _) if SOURCE_ROUTES.contains(&kind) => return true,
            (_, [length, ..]) if *length >= 2 && usize::from(*length) <= options.len() => {
                options = options.get(usize::from(*length)..).unwrap_or_default();
            }
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests;
