//! The tuple: what tells one direction of a connection from all others, in 40 bytes.
//!
//! | word | bits 63..48 | 47..40 | 39..32 | 31..16 | 15..0 |
//! |---|---|---|---|---|---|
//! | 0 | zone | protocol | IP version | source port | destination port |
//! | 1, 2 | source address, as in [`FlowKey`]: IPv6 in network order, IPv4 in the low half of word 1 | | | | |
//! | 3, 4 | destination address, the same way | | | | |
//!
//! An ICMP echo message has its identifier as source port, in both directions, and type and code as destination port: a
//! request and a reply never share a tuple, and [`Tuple::reversed`] makes one of the other. Protocols without ports have
//! zeros there and are told apart by addresses alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::execute::{Addresses, Translation};
use crate::flow::hash::{fold, spread};
use crate::flow::key::{Depth, FlowKey, Fragment, L3, L4};
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

const ECHO_REPLY_V4: u16 = 0;
const ECHO_REQUEST_V4: u16 = 8 << 8;
const ECHO_REQUEST_V6: u16 = 128 << 8;
const ECHO_REPLY_V6: u16 = 129 << 8;
const V4: u64 = 4;
const V6: u64 = 6;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuple {
    words: [u64; 5],
}

const _: () = assert!(size_of::<Tuple>() == 40);

/// What a tuple is made of, for people and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Address space of its own: connections of different zones never meet.
    pub zone: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// Source port; of ICMP echo the identifier; 0 where there are no ports.
    pub source_port: u16,
    /// Destination port; of ICMP echo (type << 8 | code).
    pub destination_port: u16,
}

/// The seed of a table's hash: a tenant that does not know it cannot aim at one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Seed([u64; 6]);

impl Seed {
    /// A seed spread from one random number.
    pub fn new(number: u64) -> Self {
        Self(spread(number))
    }

    /// The hash of `tuple`: four folded multiplications. The last one is needed: many tuples differ in a port alone, and one
    /// multiplication of what differs in few bits leaves a pattern.
    #[inline]
    pub fn hash(&self, tuple: &Tuple) -> u64 {
        let words = &tuple.words;
        let source = fold(words[1] ^ self.0[1], words[2] ^ self.0[2]);
        let destination = fold(words[3] ^ self.0[3], words[4] ^ self.0[4]);
        let mixed = fold(words[0] ^ self.0[0] ^ source, destination.rotate_left(17) ^ self.0[5]);
        fold(mixed ^ self.0[0], 0x9e37_79b9_7f4a_7c15 ^ mixed.rotate_left(32))
    }
}

impl Tuple {
    /// The tuple of the packet with `key` in `zone`.
    ///
    /// `None` for what belongs to no connection by itself: what is not sound IP or was not parsed to
    /// [`Depth::Transport`], later fragments that have no ports yet, ICMP other than echo (errors: see [`super::quoted`]).
    #[inline]
    pub fn of(key: &FlowKey, zone: u16) -> Option<Self> {
        let marks = key.marks();
        let version = match marks.l3 {
            L3::Ipv4 => V4,
            L3::Ipv6 => V6,
            L3::Other | L3::Malformed => return None,
        };
        let lacks_ports = marks.fragment == Fragment::Later && !marks.gathered;
        if marks.depth != Depth::Transport || lacks_ports || marks.l4 == L4::Malformed {
            return None;
        }
        let protocol = key.protocol();
        let mut ports = (0, 0);
        if marks.l4 == L4::Known {
            ports = key.ports();
            if protocol == ICMP || protocol == ICMPV6 {
                ports = (ports.1, ports.0);
                echo_opposite(protocol, version, ports.1)?;
            }
        }
        let words = key.words();
        let first = first_word(zone, protocol, version, ports);
        Some(Self { words: [first, words[4], words[5], words[6], words[7]] })
    }

    /// A tuple of its parts; `None` when the addresses are of different families.
    pub fn new(parts: &Parts) -> Option<Self> {
        let (version, source, destination) = match (parts.source, parts.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                (V4, [u64::from(source.to_bits()), 0], [u64::from(destination.to_bits()), 0])
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => (V6, halves(source), halves(destination)),
            _ => return None,
        };
        let ports = (parts.source_port, parts.destination_port);
        let first = first_word(parts.zone, parts.protocol, version, ports);
        Some(Self { words: [first, source[0], source[1], destination[0], destination[1]] })
    }

    /// Its parts.
    pub fn parts(&self) -> Parts {
        Parts {
            zone: self.zone(),
            protocol: self.protocol(),
            source: self.source(),
            destination: self.destination(),
            source_port: self.source_port(),
            destination_port: self.destination_port(),
        }
    }

    /// The tuple of what is sent back. Its own inverse.
    #[inline]
    #[must_use]
    pub fn reversed(&self) -> Self {
        let [first, a, b, c, d] = self.words;
        let (source, destination) = (self.source_port(), self.destination_port());
        let ports = match echo_opposite(self.protocol(), first >> 32 & 0xff, destination) {
            Some(opposite) => (source, opposite),
            None => (destination, source),
        };
        let ports = u64::from(ports.0) << 16 | u64::from(ports.1);
        Self { words: [first & !0xffff_ffff | ports, c, d, a, b] }
    }

    /// True when a packet with it may be the first of a connection: an echo reply may not.
    #[inline]
    pub fn may_open(&self) -> bool {
        match self.echo() {
            Some(kind) => matches!(kind, ECHO_REQUEST_V4 | ECHO_REQUEST_V6),
            None => true,
        }
    }

    /// True when it has ports or an identifier that a translation may change: TCP, UDP, SCTP, ICMP echo.
    #[inline]
    pub fn has_ports(&self) -> bool {
        matches!(self.protocol(), TCP | UDP | SCTP) || self.echo().is_some()
    }

    /// Type and code, when it is ICMP echo.
    #[inline]
    pub fn echo(&self) -> Option<u16> {
        let version = self.words[0] >> 32 & 0xff;
        echo_opposite(self.protocol(), version, self.destination_port()).map(|_| self.destination_port())
    }

    /// The zone.
    #[inline]
    pub fn zone(&self) -> u16 {
        (self.words[0] >> 48) as u16
    }

    /// IANA protocol number.
    #[inline]
    pub fn protocol(&self) -> u8 {
        (self.words[0] >> 40) as u8
    }

    /// True for IPv4.
    #[inline]
    pub fn is_v4(&self) -> bool {
        self.words[0] >> 32 & 0xff == V4
    }

    /// Source port; of ICMP echo the identifier.
    #[inline]
    pub fn source_port(&self) -> u16 {
        (self.words[0] >> 16) as u16
    }

    /// Destination port; of ICMP echo (type << 8 | code).
    #[inline]
    pub fn destination_port(&self) -> u16 {
        self.words[0] as u16
    }

    /// Source address.
    pub fn source(&self) -> IpAddr {
        self.address(1)
    }

    /// Destination address.
    pub fn destination(&self) -> IpAddr {
        self.address(3)
    }

    /// The zone and the source address as three words, for counting by source.
    #[inline]
    pub(super) fn source_words(&self) -> [u64; 3] {
        [self.words[0] >> 32 & !0xff00, self.words[1], self.words[2]]
    }

    /// As words, for storing.
    #[inline]
    pub(super) fn words(&self) -> &[u64; 5] {
        &self.words
    }

    /// From the words of another.
    #[inline]
    pub(super) fn from_words(words: [u64; 5]) -> Self {
        Self { words }
    }

    /// Source address, destination address and both ports of the TCP or UDP packet that is answered with it, as they are in
    /// headers of IPv4.
    #[inline]
    pub(crate) fn answered_v4(&self) -> ([u8; 4], [u8; 4], [u8; 4]) {
        let bytes = |word: u64| (word as u32).to_be_bytes();
        let ports = (self.words[0] as u32).rotate_left(16).to_be_bytes();
        (bytes(self.words[3]), bytes(self.words[1]), ports)
    }

    /// The same from another sender; unchanged when `address` is of the other family.
    #[must_use]
    pub fn with_source(self, address: IpAddr) -> Self {
        Self::new(&Parts { source: address, ..self.parts() }).unwrap_or(self)
    }

    /// The same to another receiver; unchanged when `address` is of the other family.
    #[must_use]
    pub fn with_destination(self, address: IpAddr) -> Self {
        Self::new(&Parts { destination: address, ..self.parts() }).unwrap_or(self)
    }

    /// The same from another port, or with another echo identifier.
    #[inline]
    #[must_use]
    pub fn with_source_port(mut self, port: u16) -> Self {
        self.words[0] = self.words[0] & !0xffff_0000 | u64::from(port) << 16;
        self
    }

    /// The same to another port. Not for ICMP echo, which has its type there.
    #[inline]
    #[must_use]
    pub fn with_destination_port(mut self, port: u16) -> Self {
        self.words[0] = self.words[0] & !0xffff | u64::from(port);
        self
    }

    /// What makes a packet with this tuple one with the tuple `to`; `None` when they are the same. Both must be of one
    /// family and protocol.
    ///
    /// The packets of a connection's original direction go `original` -> `reply.reversed()`, those of the other direction
    /// `reply` -> `original.reversed()`.
    pub fn translation(&self, to: &Self) -> Option<Translation> {
        if self == to {
            return None;
        }
        let addresses = match (self.parts(), to.parts()) {
            (
                Parts { source: a, destination: b, .. },
                Parts { source: IpAddr::V4(c), destination: IpAddr::V4(d), .. },
            ) => Addresses::V4((a != c).then_some(c), (b != d).then_some(d)),
            (
                Parts { source: a, destination: b, .. },
                Parts { source: IpAddr::V6(c), destination: IpAddr::V6(d), .. },
            ) => Addresses::V6((a != c).then_some(c), (b != d).then_some(d)),
            _ => return None,
        };
        let (source, destination) = (to.source_port(), to.destination_port());
        Some(Translation {
            addresses,
            source: (self.source_port() != source).then_some(source),
            // Of an echo it is the type, which stays.
            destination: (self.destination_port() != destination && to.echo().is_none())
                .then_some(destination),
        })
    }

    fn address(&self, at: usize) -> IpAddr {
        let (high, low) = (self.words[at], self.words[at + 1]);
        match self.is_v4() {
            true => Ipv4Addr::from_bits(high as u32).into(),
            false => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
        }
    }
}

/// Type and code of what answers an echo message, or of what it answers; `None` when `kind` is not of an echo message.
#[inline]
fn echo_opposite(protocol: u8, version: u64, kind: u16) -> Option<u16> {
    match (protocol, version, kind) {
        (ICMP, V4, ECHO_REQUEST_V4) => Some(ECHO_REPLY_V4),
        (ICMP, V4, ECHO_REPLY_V4) => Some(ECHO_REQUEST_V4),
        (ICMPV6, V6, ECHO_REQUEST_V6) => Some(ECHO_REPLY_V6),
        (ICMPV6, V6, ECHO_REPLY_V6) => Some(ECHO_REQUEST_V6),
        _ => None,
    }
}

#[inline]
fn first_word(zone: u16, protocol: u8, version: u64, ports: (u16, u16)) -> u64 {
    let ports = u64::from(ports.0) << 16 | u64::from(ports.1);
    u64::from(zone) << 48 | u64::from(protocol) << 40 | version << 32 | ports
}

fn halves(address: Ipv6Addr) -> [u64; 2] {
    let bits = address.to_bits();
    [(bits >> 64) as u64, bits as u64]
}

#[cfg(test)]
mod tests;
