//! Where the headers of a frame that is to be cut lie, checked against its bytes.
//!
//! In: the first segment and the offload state. Out: offsets that are known to lie inside the first segment, so that
//! [`segment`](super::segment) can patch every copy of the headers. The state and the headers must agree in full: a
//! state that names bytes inside a tunnel, a fragment or an unknown extension is refused, not guessed at.

use shunt_ffi::offload::{BadOffload, GsoKind, TCP_CHECKSUM, UDP_CHECKSUM};

use crate::wire::checksum::Sum;
use crate::wire::protocol::{TCP, UDP};

const VLAN: u16 = 0x8100;
const VLAN_SERVICE: u16 = 0x88a8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Tags that the offload state can express (`shunt_ffi::offload` counts as many).
const MAX_TAGS: usize = 2;

const TCP_MIN: usize = 20;
const UDP_LEN: usize = 8;
const IPV4_MIN: usize = 20;
/// Length of the fixed IPv6 header.
pub(super) const IPV6_LEN: usize = 40;

/// IPv6 extension headers that may precede a transport header and whose length is in units of 8 bytes
/// (RFC 8200 section 4). A fragment cannot be cut again, and an authentication header covers what we would change.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

/// The network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    V4,
    V6,
}

/// The transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// The transport that frames of this kind carry.
    #[inline]
    pub(super) fn of(kind: GsoKind) -> Self {
        match kind {
            GsoKind::TcpV4 | GsoKind::TcpV6 => Self::Tcp,
            GsoKind::Udp => Self::Udp,
        }
    }

    /// Offset of the checksum field from the start of the header.
    #[inline]
    pub(super) fn checksum(self) -> u16 {
        match self {
            Self::Tcp => TCP_CHECKSUM,
            Self::Udp => UDP_CHECKSUM,
        }
    }

    /// Length of the header that begins at `l4`; `None` when it is too short to be one or does not lie inside `data`.
    #[inline]
    pub(super) fn length(self, data: &[u8], l4: usize) -> Option<usize> {
        let length = match self {
            Self::Tcp => usize::from(*data.get(l4 + 12)? >> 4) * 4,
            Self::Udp => UDP_LEN,
        };
        let shortest = if self == Self::Tcp { TCP_MIN } else { UDP_LEN };
        (length >= shortest && l4 + length <= data.len()).then_some(length)
    }

    fn protocol(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }
}

/// Offsets from the start of the frame, all inside the first segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headers {
    pub(super) network: Network,
    pub(super) transport: Transport,
    /// The network header.
    pub(super) l3: usize,
    /// The transport header: `start` of the offload state.
    pub(super) l4: usize,
    /// The first byte of payload.
    pub(super) end: usize,
    /// Addresses and protocol of the pseudo header; the length is still to be added.
    pub(super) pseudo: Sum,
}

impl Headers {
    /// Reads the headers of `data`, whose transport header the offload state says begins at `start`.
    pub(super) fn read(data: &[u8], start: u16, kind: GsoKind) -> Result<Self, BadOffload> {
        Self::find(data, usize::from(start), kind).ok_or(BadOffload)
    }

    fn find(data: &[u8], l4: usize, kind: GsoKind) -> Option<Self> {
        let (l3, ethertype) = link(data)?;
        let transport = Transport::of(kind);
        let protocol = transport.protocol();
        let header = data.get(l3..l4)?;
        let (network, pseudo) = match (ethertype, kind) {
            (IPV4, GsoKind::TcpV4 | GsoKind::Udp) => (Network::V4, v4(header, protocol)?),
            (IPV6, GsoKind::TcpV6 | GsoKind::Udp) => (Network::V6, v6(header, protocol)?),
            _ => return None,
        };
        let end = l4 + transport.length(data, l4)?;
        Some(Self { network, transport, l3, l4, end, pseudo })
    }
}

/// Offset of the network header behind up to [`MAX_TAGS`] VLAN tags, and its EtherType.
fn link(data: &[u8]) -> Option<(usize, u16)> {
    let mut at = 12;
    for _ in 0..MAX_TAGS {
        if !matches!(word(data, at)?, VLAN | VLAN_SERVICE) {
            break;
        }
        at += 4;
    }
    Some((at + 2, word(data, at)?))
}

/// Checks an IPv4 header that must fill `header` exactly.
fn v4(header: &[u8], protocol: u8) -> Option<Sum> {
    let fixed: &[u8; IPV4_MIN] = header.first_chunk()?;
    let length = usize::from(fixed[0] & 0x0f) * 4;
    // More-fragments or an offset: a fragment.
    let fragment = word(fixed, 6)? & 0x3fff != 0;
    if fixed[0] >> 4 != 4 || length != header.len() || fragment || fixed[9] != protocol {
        return None;
    }
    let addresses = &fixed[12..20];
    Some(Sum::new().bytes(addresses).word(u16::from(protocol)))
}

/// Checks an IPv6 header with its extensions, which must fill `header` exactly.
fn v6(header: &[u8], protocol: u8) -> Option<Sum> {
    let fixed: &[u8; IPV6_LEN] = header.first_chunk()?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let (source, mut destination) = (&fixed[8..24], &fixed[24..40]);
    let (mut next, mut at) = (fixed[6], IPV6_LEN);
    while at < header.len() {
        let extension = header.get(at..)?;
        let length = usize::from(*extension.get(1)?) * 8 + 8;
        let extension = extension.get(..length)?;
        match next {
            HOP_BY_HOP | DESTINATION => {}
            ROUTING => destination = final_destination(extension, destination)?,
            _ => return None,
        }
        (next, at) = (extension[0], at + length);
    }
    (next == protocol).then(|| Sum::new().bytes(source).bytes(destination).word(u16::from(protocol)))
}

/// The address that the pseudo header takes when a routing header is present (RFC 8200 section 8.1).
fn final_destination<'a>(routing: &'a [u8], destination: &'a [u8]) -> Option<&'a [u8]> {
    let (kind, segments_left) = (routing[2], routing[3]);
    match kind {
        _ if segments_left == 0 => Some(destination),
        // Mobile IPv6 (RFC 6275 section 6.4): one address, the home address.
        2 => routing.get(8..24),
        // Segment routing (RFC 8754 section 2): the list is in reverse order.
        4 => routing.get(8..24),
        _ => None,
    }
}

#[inline]
fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
