//! Outer headers, prebuilt: written as they are, then the fields that depend on the frame are patched.
//!
//! In: the frame that goes into the tunnel, a number that tells its flow apart ([`super::Entropy::at`]). Out: the same buffer with
//! the headers in its headroom. Cost: one 64-byte copy and five small stores, nothing is read back.
//!
//! Patched: lengths, IPv4 checksum (RFC 1624), traffic class (ECN, and DSCP if inherited: RFC 6040 section 4.1), UDP source
//! port or IPv6 flow label. The UDP checksum is 0, which means none (RFC 7348 section 5, over IPv6 RFC 6935 section 5), unless
//! the tunnel is to have one: then it is computed, in one pass over the packet, or over the headers alone of a packet whose
//! own checksum is unfinished.
//!
//! Offload state: a partial checksum of the inner packet is carried through, so that the egress port or the next kernel
//! finishes it. A frame still to be cut (GSO) must be cut before, or goes in as a train ([`super::train`]).

use shunt_ffi::Mbuf;
use shunt_ffi::offload::{Checksum, UDP_CHECKSUM};
use thiserror::Error;

use super::{Payload, ecn, outer};
use crate::drop::DropReason;
use crate::offload::checksum::{complete, sum_from, write};
use crate::wire::checksum::Sum;
use crate::wire::ethernet;

/// Bytes that are copied at once: they hold the outer IP header and what is behind it.
const TAIL: usize = 64;
/// Place for the part of the Ethernet header that is in front of those.
const FRONT: usize = 24;
/// First source port of tunnels; there are 2^14 of them (RFC 7348 section 5, RFC 6335 section 6).
const FIRST_PORT: u16 = 0xc000;

/// The headers cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// IP header and what is behind it are longer than 64 bytes, or the Ethernet header longer than 24.
    #[error("outer headers of {0} bytes are too long")]
    TooLong(usize),
    /// One end is an IPv4 and the other an IPv6 address.
    #[error("local and remote address are not of the same IP version")]
    Families,
    /// A network identifier has 24 bits, and 0 is none.
    #[error("network identifier {0} is not within 1 to 16777215")]
    Vni(u32),
    /// A DSCP has six bits.
    #[error("dscp {0} is not within 0 to 63")]
    Dscp(u8),
}

/// Prebuilt outer headers of one tunnel: two cache lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Template {
    /// The last 64 bytes of the headers; shorter ones are at the end.
    tail: [u8; TAIL],
    /// What is in front of them, at the end too.
    front: [u8; FRONT],
    /// Sum of the IPv4 header for an empty payload; not used with IPv6.
    sum: u32,
    /// The IP header's length field for an empty payload.
    ip_length: u16,
    /// The UDP header's length field for an empty payload.
    udp_length: u16,
    /// Bytes of all headers.
    len: u8,
    /// Where the IP header begins in `tail`.
    ip: u8,
    /// Where the UDP header begins in `tail`; 0 when there is none.
    udp: u8,
    /// Which field says what IP version is inside.
    version: Version,
    /// Which bits of the inner traffic class become outer ones.
    inherited: u8,
    /// The other bits.
    class: u8,
    ipv6: bool,
    udp_checksum: bool,
    payload: Payload,
    /// Ethernet frames, no UDP checksum: nothing but the common steps.
    plain: bool,
}

/// The field that tells which version the inner IP packet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The tunnel carries Ethernet frames.
    None,
    /// The IP header's protocol field: IP in IP.
    Protocol,
    /// The GRE header's protocol type: an EtherType.
    EtherType,
}

/// What a template is made of.
pub(super) struct Parts<'a> {
    /// Outer Ethernet header with its tag.
    pub(super) link: &'a [u8],
    /// Outer IP header without lengths and checksum.
    pub(super) ip: &'a [u8],
    /// All behind it.
    pub(super) behind: &'a [u8],
    /// What is behind it begins with a UDP header.
    pub(super) udp: bool,
    /// It is to have a checksum.
    pub(super) udp_checksum: bool,
    /// See [`Template::inherited`].
    pub(super) inherited: u8,
    pub(super) payload: Payload,
    pub(super) version: Version,
}

impl Template {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, TemplateError> {
        let within = parts.ip.len() + parts.behind.len();
        let all = parts.link.len() + within;
        if within > TAIL || all > TAIL + FRONT {
            return Err(TemplateError::TooLong(all));
        }
        let mut block = [0; FRONT + TAIL];
        let headers = [parts.link, parts.ip, parts.behind].concat();
        block[FRONT + TAIL - all..].copy_from_slice(&headers);
        let ip = TAIL - within;
        let udp = if parts.udp { TAIL - parts.behind.len() } else { 0 };
        let (mut front, mut tail) = ([0; FRONT], [0; TAIL]);
        front.copy_from_slice(&block[..FRONT]);
        tail.copy_from_slice(&block[FRONT..]);
        let ipv6 = parts.ip.len() == outer::IPV6;
        let class = if ipv6 { tail[ip] << 4 | tail[ip + 1] >> 4 } else { tail[ip + 1] };
        let ip_length = (if ipv6 { parts.behind.len() } else { within }) as u16;
        let sum = Sum::new().bytes(parts.ip).word(ip_length).value();
        Ok(Self {
            tail,
            front,
            sum: u32::from(sum),
            ip_length,
            udp_length: parts.behind.len() as u16,
            len: all as u8,
            ip: ip as u8,
            udp: udp as u8,
            version: parts.version,
            inherited: parts.inherited,
            class,
            ipv6,
            udp_checksum: parts.udp_checksum,
            payload: parts.payload,
            plain: parts.payload == Payload::Ethernet && !parts.udp_checksum,
        })
    }

    /// Bytes of the headers.
    #[expect(clippy::len_without_is_empty, reason = "a template is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// What the tunnel carries.
    pub fn payload(&self) -> Payload {
        self.payload
    }

    /// The headers for an empty payload, as bytes: for traces and tests.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.front.as_slice(), &self.tail].concat();
        bytes.drain(..FRONT + TAIL - self.len());
        bytes
    }

    /// Puts the headers in front of `frame`. Of a tunnel that carries IP packets, the frame's own Ethernet header goes first.
    ///
    /// `entropy` is the flow's ([`super::Entropy::at`]): 14 bits of it choose the UDP source port (49152 to 65535), all are the
    /// flow label over IPv6.
    ///
    /// # Errors
    /// `TunnelNotSegmented` for a frame that is still to be cut, `NotIp` when the tunnel carries IP and this is something
    /// else, `TooLong`, `NoHeadroom`, `BadOffload`. The frame is then of no more use.
    #[inline]
    pub fn push(&self, entropy: u16, frame: &mut Mbuf) -> Result<(), DropReason> {
        if !self.plain || frame.needs_offload() {
            return self.push_unusual(entropy, frame);
        }
        let class = ecn::traffic_class(frame.data());
        self.prepend(entropy, class, frame)
    }

    /// True when the pieces of a large send may share one outer header ([`super::train`]): over UDP, Ethernet inside.
    #[inline]
    pub fn takes_trains(&self) -> bool {
        self.udp != 0 && self.payload == Payload::Ethernet
    }

    /// What is behind the UDP header: the same in front of every frame of the tunnel. Nothing without UDP.
    pub(super) fn tunnel_header(&self) -> &[u8] {
        let udp = usize::from(self.udp);
        let behind = if udp == 0 { TAIL } else { udp + outer::UDP_HEADER };
        self.tail.get(behind..).unwrap_or_default()
    }

    /// As [`Template::push`], for a train: the UDP checksum is left to whoever cuts it. Returns where the UDP header begins.
    pub(super) fn push_train(&self, entropy: u16, class: u8, frame: &mut Mbuf) -> Result<u16, DropReason> {
        self.prepend(entropy, class, frame)?;
        let start = self.len() - usize::from(self.udp_length);
        let pseudo = self.pseudo_header(frame, start)?.value();
        let field = start + usize::from(UDP_CHECKSUM);
        let field = frame.data_mut().get_mut(field..field + 2).ok_or(DropReason::TooLong)?;
        field.copy_from_slice(&pseudo.to_be_bytes());
        Ok(start as u16)
    }

    /// Tunnels of IP packets or with a UDP checksum, and frames with offload state.
    #[inline(never)]
    fn push_unusual(&self, entropy: u16, frame: &mut Mbuf) -> Result<(), DropReason> {
        let class = ecn::traffic_class(frame.data());
        let link = match self.payload {
            Payload::Ethernet => None,
            Payload::Ip => Some(ecn::ip(frame.data()).ok_or(DropReason::NotIp)?),
        };
        let removed = link.map_or(0, |(at, _)| at as u16);
        if let Some((at, ethertype)) = link {
            unpad(frame, at, ethertype)?;
        }
        if frame.needs_offload() {
            let state = frame.offload().map_err(|_| DropReason::BadOffload)?;
            if state.gso.is_some() {
                return Err(DropReason::TunnelNotSegmented);
            }
            let growth = i16::from(self.len) - removed as i16;
            // Some headers are longer than the state can say.
            if frame.move_transport(growth).is_err() {
                complete(frame).map_err(|_| DropReason::BadOffload)?;
            }
        }
        if let Some((_, ethertype)) = link {
            frame.trim_front(removed).ok_or(DropReason::Runt)?;
            self.prepend(entropy, class, frame)?;
            self.tell_version(ethertype, frame)?;
        } else {
            self.prepend(entropy, class, frame)?;
        }
        if self.udp_checksum { self.sum_datagram(frame) } else { Ok(()) }
    }

    /// Writes the headers and patches what depends on the frame.
    #[inline(always)]
    fn prepend(&self, entropy: u16, class: u8, frame: &mut Mbuf) -> Result<(), DropReason> {
        let payload = u16::try_from(frame.len()).map_err(|_| DropReason::TooLong)?;
        let ip_length = self.ip_length.checked_add(payload).ok_or(DropReason::TooLong)?;
        let spare = TAIL.wrapping_sub(usize::from(self.len));
        // More room than the headers need is taken and given back: a copy of fixed size is two or three instructions.
        if spare < TAIL
            && let Some(data) = frame.prepend(TAIL as u16)
        {
            let tail = data.first_chunk_mut::<TAIL>().ok_or(DropReason::NoHeadroom)?;
            *tail = self.tail;
            self.patch(tail, ip_length, payload, entropy, class).ok_or(DropReason::NoHeadroom)?;
            return frame.trim_front(spare as u16).ok_or(DropReason::NoHeadroom);
        }
        self.prepend_exactly(ip_length, payload, entropy, class, frame)
    }

    /// Long headers, and frames with little headroom.
    #[inline(never)]
    fn prepend_exactly(
        &self,
        ip_length: u16,
        payload: u16,
        entropy: u16,
        class: u8,
        frame: &mut Mbuf,
    ) -> Result<(), DropReason> {
        let len = self.len();
        let data = frame.prepend(len as u16).ok_or(DropReason::NoHeadroom)?;
        let mut tail = self.tail;
        self.patch(&mut tail, ip_length, payload, entropy, class).ok_or(DropReason::NoHeadroom)?;
        let (front, short) = (len.saturating_sub(TAIL), TAIL.saturating_sub(len));
        let (before, behind) = data.split_at_mut_checked(front).ok_or(DropReason::NoHeadroom)?;
        before.copy_from_slice(self.front.get(FRONT - front..).ok_or(DropReason::NoHeadroom)?);
        let headers = tail.get(short..).ok_or(DropReason::NoHeadroom)?;
        behind.get_mut(..headers.len()).ok_or(DropReason::NoHeadroom)?.copy_from_slice(headers);
        Ok(())
    }

    #[inline(always)]
    fn patch(
        &self,
        tail: &mut [u8; TAIL],
        ip_length: u16,
        payload: u16,
        entropy: u16,
        class: u8,
    ) -> Option<()> {
        let inherited = class & self.inherited;
        let ip = tail.get_mut(usize::from(self.ip)..)?.first_chunk_mut::<12>()?;
        if self.ipv6 {
            let word = 6 << 28 | u32::from(self.class | inherited) << 20 | u32::from(entropy);
            *ip.first_chunk_mut()? = word.to_be_bytes();
            [ip[4], ip[5]] = ip_length.to_be_bytes();
        } else {
            ip[1] = self.class | inherited;
            [ip[2], ip[3]] = ip_length.to_be_bytes();
            // The sum grows by what the two words grew (RFC 1624 equation 3); three 16-bit numbers need one fold and a carry.
            let sum = self.sum + u32::from(payload) + u32::from(inherited);
            let sum = (sum & 0xffff) + (sum >> 16);
            [ip[10], ip[11]] = (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes();
        }
        if self.udp != 0 {
            let udp = tail.get_mut(usize::from(self.udp)..)?.first_chunk_mut::<8>()?;
            [udp[0], udp[1]] = (FIRST_PORT | entropy).to_be_bytes();
            [udp[4], udp[5]] = self.udp_length.wrapping_add(payload).to_be_bytes();
        }
        Some(())
    }

    /// Writes which IP version is inside. The template has that of IPv4.
    fn tell_version(&self, ethertype: u16, frame: &mut Mbuf) -> Result<(), DropReason> {
        if ethertype != ethernet::IPV6 {
            return Ok(());
        }
        let shift = self.len().saturating_sub(TAIL);
        let ip = (usize::from(self.ip) + shift).saturating_sub(TAIL.saturating_sub(self.len()));
        let header = frame.data_mut().get_mut(ip..).ok_or(DropReason::NoHeadroom)?;
        match (self.version, self.ipv6) {
            (Version::None, _) => {}
            (Version::EtherType, ipv6) => {
                let at = if ipv6 { outer::IPV6 } else { outer::IPV4 } + 2;
                let field = header.get_mut(at..at + 2).ok_or(DropReason::NoHeadroom)?;
                field.copy_from_slice(&ethertype.to_be_bytes());
            }
            (Version::Protocol, true) => {
                *header.get_mut(6).ok_or(DropReason::NoHeadroom)? = outer::IPV6_IN_IP
            }
            (Version::Protocol, false) => {
                let header = header.first_chunk_mut::<12>().ok_or(DropReason::NoHeadroom)?;
                let old = u16::from_be_bytes([header[8], header[9]]);
                header[9] = outer::IPV6_IN_IP;
                let new = u16::from_be_bytes([header[8], header[9]]);
                let checksum = u16::from_be_bytes([header[10], header[11]]);
                [header[10], header[11]] = crate::wire::checksum::update16(checksum, old, new).to_be_bytes();
            }
        }
        Ok(())
    }

    /// Computes the UDP checksum of the whole packet: in one pass over it, or over the headers alone when the inner checksum is
    /// still to be finished (local checksum offload, Linux's `lco_csum`).
    fn sum_datagram(&self, frame: &mut Mbuf) -> Result<(), DropReason> {
        let start = self.len() - usize::from(self.udp_length);
        let pseudo = self.pseudo_header(frame, start)?;
        let state = frame.offload().map_err(|_| DropReason::BadOffload)?;
        let sum = match state.checksum {
            Checksum::Partial { start: inner, offset } => {
                sum_unfinished(frame.data(), start, (inner, offset), pseudo).ok_or(DropReason::BadOffload)?
            }
            _ => sum_from(frame, start, pseudo).ok_or(DropReason::TooLong)?,
        };
        write(frame.data_mut(), start as u16, UDP_CHECKSUM, sum).map_err(|_| DropReason::TooLong)
    }

    /// The pseudo header of the UDP datagram at `start`, which goes to the end of the frame.
    fn pseudo_header(&self, frame: &Mbuf, start: usize) -> Result<Sum, DropReason> {
        let length = frame.len() - start as u32;
        let ip = frame.data().get(..start).ok_or(DropReason::TooLong)?;
        // The addresses are the last thing in either header.
        let addresses = if self.ipv6 { 32 } else { 8 };
        let addresses = ip.get(start - addresses..).ok_or(DropReason::TooLong)?;
        Ok(Sum::new().bytes(addresses).word(u16::from(crate::wire::protocol::UDP)).word(length as u16))
    }
}

/// Adds to `sum` what the bytes from `start` on will sum up to when the checksum at `inner` (start of its transport header,
/// and the field's offset there) is finished: whatever the payload, all from that header on is then the complement of what
/// stands in the field now.
fn sum_unfinished(data: &[u8], start: usize, inner: (u16, u16), sum: Sum) -> Option<Sum> {
    let (inner, offset) = (usize::from(inner.0), usize::from(inner.1));
    let field = data.get(inner + offset..)?.first_chunk::<2>()?;
    Some(sum.bytes(data.get(start..inner)?).bytes(&field.map(|byte| !byte)))
}

/// Cuts off what is behind the IP packet at offset `at`: the padding of a short Ethernet frame is not part of it.
fn unpad(frame: &mut Mbuf, at: usize, ethertype: u16) -> Result<(), DropReason> {
    let header = frame.data().get(at..).and_then(<[u8]>::first_chunk::<6>).ok_or(DropReason::BadIpHeader)?;
    let (least, length) = match ethertype {
        ethernet::IPV4 => (outer::IPV4, usize::from(u16::from_be_bytes([header[2], header[3]]))),
        _ => (outer::IPV6, outer::IPV6 + usize::from(u16::from_be_bytes([header[4], header[5]]))),
    };
    let end = at + length;
    if length < least || end > frame.len() as usize {
        return Err(DropReason::BadIpHeader);
    }
    // Only short frames are padded, and those are in one piece. More behind a chain is carried, and the receiver cuts it.
    if end < frame.len() as usize && frame.segment_count() == 1 {
        frame.truncate(end as u16).ok_or(DropReason::BadIpHeader)?;
    }
    Ok(())
}
