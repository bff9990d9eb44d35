//! The way back: a train whose pieces are one large send becomes that large send again.
//!
//! In: a frame that the terminator has opened, with the offload state of a large UDP send around the tunnel. Out: the same
//! buffers with the tunnel header and the headers of all pieces but the first taken out, checksum partial, to be cut at the
//! pieces' size. Cost: one pass for the checksums, one move of the payload.
//!
//! Joined is what generic receive offload joins in Linux (`tcp_gro_receive`, `skb_gro_receive`): pieces of one connection in
//! order, whole, right checksums, whose headers differ only in length, identification, sequence number and checksum. Cutting
//! gives them again, but for the IPv4 identification, which says nothing in packets that are not fragments (RFC 6864 section 4.1).

use shunt_ffi::Mbuf;
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload, TCP_CHECKSUM, UDP_CHECKSUM};

use crate::drop::DropReason;
use crate::encap::{Inner, decapsulate};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, Mac};
use crate::wire::protocol::{TCP, UDP};

/// Bytes of tunnel header with options (Geneve: 260 at most, we send 16) and inner headers that are compared at most.
const MAX_HEADERS: usize = 160;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP_MIN: usize = 20;
const UDP_HEADER: usize = 8;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

/// How long the datagrams of the train are that `frame`, which holds `inner`, is; `None` when it is none: one tunnel packet.
#[inline]
pub fn datagram(frame: &Mbuf, inner: &Inner) -> Option<u16> {
    if !frame.needs_offload() {
        return None;
    }
    let Ok(Offload { checksum: Checksum::Partial { start, .. }, gso: Some(gso) }) = frame.offload() else {
        return None;
    };
    (start < inner.offset && gso.kind == GsoKind::Udp).then_some(gso.size)
}

/// Makes of a train of datagrams of `size` bytes the large send inside it, out of the tunnel; false, and no change, when its
/// pieces are not one: then they must be cut apart.
///
/// # Errors
/// As [`decapsulate()`]; the frame is then of no more use.
pub fn join(frame: &mut Mbuf, inner: &Inner, size: u16) -> Result<bool, DropReason> {
    let Some(shape) = Shape::read(frame, inner, size) else { return Ok(false) };
    let Some(flags) = shape.check(frame) else { return Ok(false) };
    frame.clear_offload();
    decapsulate(frame, inner, Mac(0), Mac(0))?;
    let (first, keep) = (shape.headers + shape.payload, shape.payload);
    frame.remove_repeated(first, shape.tunnel + shape.headers, keep).ok_or(DropReason::TunnelBadHeader)?;
    shape.finish(frame, flags).ok_or(DropReason::BadOffload)?;
    Ok(true)
}

/// What the first piece says of all.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Where the first piece begins in the frame.
    start: usize,
    /// Bytes of its tunnel header.
    tunnel: usize,
    /// Bytes of its headers, Ethernet to transport.
    headers: usize,
    /// Bytes of payload of all pieces but the last.
    payload: usize,
    /// Bytes of all pieces.
    all: usize,
    v6: bool,
    protocol: u8,
    /// Where the transport header begins in a piece.
    l4: usize,
}

impl Shape {
    /// Reads the first piece; `None` for what is never joined.
    fn read(frame: &Mbuf, inner: &Inner, size: u16) -> Option<Self> {
        let Ok(Offload { checksum: Checksum::Partial { start, .. }, .. }) = frame.offload() else {
            return None;
        };
        let tunnel = inner.offset.checked_sub(start)?.checked_sub(UDP_HEADER as u16)?;
        let piece = usize::from(size.checked_sub(tunnel)?);
        let all = usize::from(inner.length);
        let at = usize::from(inner.offset);
        if inner.ip != 0 || piece >= all || at + all != frame.len() as usize {
            return None;
        }
        let data = frame.data().get(at..)?;
        let &[first, .., next] = data.get(ethernet::HEADER..)?.first_chunk::<10>()?;
        let ethertype = u16::from_be_bytes(*data.get(12..)?.first_chunk()?);
        let (v6, length, protocol) = match (ethertype, first) {
            (ethernet::IPV4, 0x45) => (false, IPV4, next),
            (ethernet::IPV6, 0x60..=0x6f) => (true, IPV6, *data.get(ethernet::HEADER + 6)?),
            _ => return None,
        };
        // A fragment is no piece of a large send.
        let fragment = u16::from_be_bytes(*data.get(ethernet::HEADER + 6..)?.first_chunk()?) & 0x3fff;
        let l4 = ethernet::HEADER + length;
        let transport = match protocol {
            TCP => usize::from(*data.get(l4 + 12)? >> 4) * 4,
            UDP => UDP_HEADER,
            _ => return None,
        };
        let headers = l4 + transport;
        let sound = transport >= if protocol == TCP { TCP_MIN } else { UDP_HEADER };
        let (tunnel, payload) = (usize::from(tunnel), piece.checked_sub(headers).filter(|bytes| *bytes > 0)?);
        if !sound || !v6 && fragment != 0 || tunnel + headers > MAX_HEADERS || headers > data.len() {
            return None;
        }
        Some(Self { start: at, tunnel, headers, payload, all, v6, protocol, l4 })
    }

    /// Looks at every piece; the TCP flags of the joined send, or `None` when one does not fit the others.
    fn check(&self, frame: &Mbuf) -> Option<u8> {
        let stride = self.tunnel + self.headers + self.payload;
        let (mut first, mut flags, mut index) = ([0; MAX_HEADERS], 0, 0);
        // Each piece with its tunnel header: those of the first are in front of it.
        let end = self.start + self.all;
        let mut at = self.start - self.tunnel;
        while at < end {
            let mut block = [0; MAX_HEADERS];
            let length = stride.min(end - at);
            let payload = length.checked_sub(self.tunnel + self.headers).filter(|bytes| *bytes > 0)?;
            let block = block.get_mut(..self.tunnel + self.headers)?;
            read(frame, at, block)?;
            let piece = block.get_mut(self.tunnel..)?;
            if !self.is_whole(frame, at + self.tunnel, piece, payload) {
                return None;
            }
            let own = self.neutralize(piece, index * self.payload)?;
            if index == 0 {
                first.get_mut(..block.len())?.copy_from_slice(block);
                flags = own;
            } else if first.get(..block.len())? != block || own & CWR != 0 {
                return None;
            }
            let last = at + length == end;
            if own & (SYN | RST | URG) != 0
                || !last && own & (FIN | PSH) != 0
                || (own ^ flags) & !(FIN | PSH | CWR) != 0
            {
                return None;
            }
            flags |= own;
            at += length;
            index += 1;
        }
        Some(flags)
    }

    /// The piece is exactly as long as its headers say, and its checksums are right.
    fn is_whole(&self, frame: &Mbuf, at: usize, headers: &[u8], payload: usize) -> bool {
        let Some(ip) = headers.get(ethernet::HEADER..self.l4) else { return false };
        let word = |from: usize| {
            ip.get(from..).and_then(<[u8]>::first_chunk).map_or(0, |two| u16::from_be_bytes(*two))
        };
        let transport = self.headers - self.l4 + payload;
        let fits = match self.v6 {
            false => usize::from(word(2)) == IPV4 + transport && Sum::new().bytes(ip).value() == 0xffff,
            true => usize::from(word(4)) == transport,
        };
        let udp = headers.get(self.l4 + 4..).and_then(<[u8]>::first_chunk::<4>);
        let Some(&[high, low, check_high, check_low]) = udp else { return false };
        if self.protocol == UDP
            && (usize::from(u16::from_be_bytes([high, low])) != transport
                || [check_high, check_low] == [0, 0])
        {
            return false;
        }
        let pseudo = self.pseudo(ip, transport);
        let start = at + self.l4;
        fits && sum(frame, start, start + transport, pseudo).value() == 0xffff
    }

    /// The pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) for `length` bytes of transport.
    fn pseudo(&self, ip: &[u8], length: usize) -> Sum {
        let addresses = if self.v6 { 8..40 } else { 12..20 };
        // A train is shorter than 64 KiB.
        Sum::new()
            .bytes(ip.get(addresses).unwrap_or_default())
            .word(u16::from(self.protocol))
            .word(length as u16)
    }

    /// Clears what may differ between pieces; `sent` bytes of payload are in those before. The TCP flags.
    fn neutralize(&self, headers: &mut [u8], sent: usize) -> Option<u8> {
        let (link, transport) = headers.split_at_mut_checked(self.l4)?;
        let ip = link.get_mut(ethernet::HEADER..)?;
        if self.v6 {
            ip.get_mut(4..6)?.fill(0);
        } else {
            // Length and identification; header checksum.
            ip.get_mut(2..6)?.fill(0);
            ip.get_mut(10..12)?.fill(0);
        }
        if self.protocol == UDP {
            transport.get_mut(4..8)?.fill(0);
            return Some(0);
        }
        let sequence = transport.get_mut(4..8)?.first_chunk_mut::<4>()?;
        *sequence = u32::from_be_bytes(*sequence).wrapping_sub(sent as u32).to_be_bytes();
        transport.get_mut(16..18)?.fill(0);
        Some(std::mem::take(transport.get_mut(13)?))
    }

    /// Makes the headers of the first piece those of all.
    fn finish(&self, frame: &mut Mbuf, flags: u8) -> Option<()> {
        let length = frame.len() as usize - self.l4;
        let headers = frame.data_mut().get_mut(..self.headers)?;
        let (link, transport) = headers.split_at_mut_checked(self.l4)?;
        let ip = link.get_mut(ethernet::HEADER..)?;
        if self.v6 {
            ip.get_mut(4..6)?.copy_from_slice(&(length as u16).to_be_bytes());
        } else {
            ip.get_mut(2..4)?.copy_from_slice(&((IPV4 + length) as u16).to_be_bytes());
            ip.get_mut(10..12)?.fill(0);
            let checksum = Sum::new().bytes(ip).checksum();
            ip.get_mut(10..12)?.copy_from_slice(&checksum.to_be_bytes());
        }
        let pseudo = self.pseudo(ip, length).value();
        let (offset, kind) = match (self.protocol, self.v6) {
            (TCP, false) => (TCP_CHECKSUM, GsoKind::TcpV4),
            (TCP, true) => (TCP_CHECKSUM, GsoKind::TcpV6),
            _ => (UDP_CHECKSUM, GsoKind::Udp),
        };
        if self.protocol == TCP {
            *transport.get_mut(13)? = flags;
        } else {
            transport.get_mut(4..6)?.copy_from_slice(&(length as u16).to_be_bytes());
        }
        let field = usize::from(offset);
        transport.get_mut(field..field + 2)?.copy_from_slice(&pseudo.to_be_bytes());
        let checksum = Checksum::Partial { start: self.l4 as u16, offset };
        let gso = Some(Gso { kind, size: self.payload as u16 });
        frame.set_offload(Offload { checksum, gso }).ok()
    }
}

/// Copies what begins at `at` of the frame, wherever its buffers end.
fn read(frame: &Mbuf, at: usize, mut to: &mut [u8]) -> Option<()> {
    let mut skip = at;
    for segment in frame.segments() {
        let here = segment.get(skip.min(segment.len())..).unwrap_or_default();
        skip = skip.saturating_sub(segment.len());
        let count = here.len().min(to.len());
        let (now, later) = to.split_at_mut(count);
        now.copy_from_slice(here.get(..count)?);
        to = later;
        if to.is_empty() {
            return Some(());
        }
    }
    None
}

/// Adds the bytes of the frame from `start` to `end` to `sum`.
fn sum(frame: &Mbuf, start: usize, end: usize, mut sum: Sum) -> Sum {
    let mut at = 0;
    for segment in frame.segments() {
        let within = |offset: usize| offset.saturating_sub(at).min(segment.len());
        sum = sum.bytes(segment.get(within(start)..within(end)).unwrap_or_default());
        at += segment.len();
        if at >= end {
            break;
        }
    }
    sum
}
