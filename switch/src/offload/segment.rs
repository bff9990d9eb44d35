//! Generic segmentation offload in software: one large TCP or UDP frame becomes frames of the path's size.
//!
//! Follows what `tcp_gso_segment`, `__udp_gso_segment` and `inet_gso_segment`/`ipv6_gso_segment` of Linux put on the
//! wire. Cost: one buffer and one copy of the headers per segment, one copy of the payload, and one pass over it for
//! the checksum while it is still in the first-level cache.

use shunt_ffi::mbuf::Segments;
use shunt_ffi::offload::{Checksum, Gso, Offload};
use shunt_ffi::{Burst, MAX_BURST, Mbuf, Mempool};

use super::checksum::{sum_from, write};
use super::headers::{Headers, IPV6_LEN, Network, Transport};
use super::{EgressCapabilities, OffloadError, room};
use crate::wire::checksum::Sum;

/// Most segments that one frame is cut into. A hostile guest may ask for segments of one byte: 65,000 buffers and some
/// milliseconds of a worker for one frame. 128 lets a 64 KiB frame through at the MSS of the smallest MTU that every
/// IPv4 host must take (576 - 40 = 536 gives 123) and is Linux's own bound for UDP (`UDP_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: usize = 128;

const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

/// Cuts `frame` and gives the segments to `emit` in order.
///
/// Lengths come from the frame's buffers, never from its headers; IPv4 identification, TCP sequence numbers and flags,
/// lengths and checksums are set for each segment, everything else is copied. The transport checksum is computed, or
/// left partial when the port completes it. The pseudo header is summed afresh: what the sender left in the checksum
/// field differs between operating systems (with or without the length) and may be a lie.
///
/// Segments take one buffer when they fit, else a chain if the port takes chains.
/// [`OffloadError::NoBuffers`] may come after some segments were emitted, once a frame takes more than
/// [`MAX_BURST`] buffers; all other errors come before the first. The caller still has the frame.
pub fn segment(
    frame: &Mbuf,
    pool: Mempool,
    can: EgressCapabilities,
    emit: &mut impl FnMut(Mbuf),
) -> Result<(), OffloadError> {
    let Offload { checksum: Checksum::Partial { start, .. }, gso: Some(gso) } = frame.offload()? else {
        return Err(OffloadError::BadOffload);
    };
    let headers = Headers::read(frame.data(), start, gso.kind)?;
    let plan = Plan::new(frame.len() as usize - headers.end, gso, &headers, room(pool), can)?;
    let mut buffers = Buffers::new(pool, plan.buffers);
    let mut payload = Payload::new(frame, headers.end);
    let first = Fields::read(frame.data(), &headers);
    let offset = headers.transport.checksum();

    for index in 0..plan.segments {
        let length = plan.length(index);
        let mut segment = buffers.take()?;
        segment.append_slice(&frame.data()[..headers.end]).ok_or(OffloadError::TooLongForBuffer)?;
        payload.copy(length, &mut segment, &mut buffers)?;

        let bytes = headers.end - headers.l4 + length;
        let last = index + 1 == plan.segments;
        first.write(segment.data_mut(), &headers, &Place { index, sent: index * plan.size, length, last });
        // The length of one segment fits 16 bits: `Plan::new` checked it.
        let pseudo = headers.pseudo.word(bytes as u16);
        finish_checksum(&mut segment, start, offset, pseudo, can.checksum)?;
        emit(segment);
    }
    Ok(())
}

/// See [`super::longest_segment`].
pub(crate) fn longest(frame: &Mbuf) -> Result<u32, OffloadError> {
    let Offload { checksum: Checksum::Partial { start, .. }, gso: Some(gso) } = frame.offload()? else {
        return Ok(frame.len());
    };
    let transport = Transport::of(gso.kind);
    let header = transport.length(frame.data(), usize::from(start)).ok_or(OffloadError::BadOffload)?;
    Ok(frame.len().min(u32::from(start) + header as u32 + u32::from(gso.size)))
}

/// How a payload is cut.
struct Plan {
    segments: usize,
    /// Payload bytes of each segment but the last.
    size: usize,
    payload: usize,
    /// Buffers for all segments together.
    buffers: usize,
}

impl Plan {
    fn new(
        payload: usize,
        gso: Gso,
        headers: &Headers,
        room: usize,
        can: EgressCapabilities,
    ) -> Result<Self, OffloadError> {
        let size = usize::from(gso.size).min(payload).max(1);
        let segments = payload.div_ceil(size).max(1);
        if segments > MAX_SEGMENTS {
            return Err(OffloadError::TooManySegments);
        }
        // IPv4's total length and IPv6's payload length are 16 bits wide.
        if headers.end - headers.l3 + size > usize::from(u16::MAX) {
            return Err(OffloadError::BadOffload);
        }
        let buffers_of = |length: usize| (headers.end + length).div_ceil(room);
        if headers.end > room || (!can.multi_segment && headers.end + size > room) {
            return Err(OffloadError::TooLongForBuffer);
        }
        let mut plan = Self { segments, size, payload, buffers: 0 };
        plan.buffers = buffers_of(size) * (segments - 1) + buffers_of(plan.length(segments - 1));
        Ok(plan)
    }

    /// Payload bytes of segment `index`.
    fn length(&self, index: usize) -> usize {
        self.size.min(self.payload - index * self.size)
    }
}

/// Buffers taken from the pool in bulk: exactly as many as the plan says; what is left over goes back on drop.
pub(super) struct Buffers {
    pool: Mempool,
    ready: Burst,
    /// Buffers still to be taken from the pool.
    left: usize,
}

impl Buffers {
    /// Will take `count` buffers.
    pub(super) fn new(pool: Mempool, count: usize) -> Self {
        Self { pool, ready: Burst::new(), left: count }
    }

    #[inline]
    pub(super) fn take(&mut self) -> Result<Mbuf, OffloadError> {
        if let Some(buffer) = self.ready.pop() {
            return Ok(buffer);
        }
        let count = self.left.min(MAX_BURST);
        if !self.pool.alloc_bulk(&mut self.ready, count) {
            return Err(OffloadError::NoBuffers);
        }
        self.left -= count;
        self.ready.pop().ok_or(OffloadError::NoBuffers)
    }
}

/// The bytes of the frame behind its headers, read once from front to back.
pub(super) struct Payload<'a> {
    /// What is left of the current source segment.
    rest: &'a [u8],
    segments: Segments<'a>,
}

impl<'a> Payload<'a> {
    /// What is behind `headers` bytes, which lie in the first segment: the caller has checked it.
    pub(super) fn new(frame: &'a Mbuf, headers: usize) -> Self {
        let mut segments = frame.segments();
        let rest = segments.next().and_then(|first| first.get(headers..)).unwrap_or(&[]);
        Self { rest, segments }
    }

    /// Appends the next `length` bytes to `segment`, in further buffers once its own is full.
    #[inline]
    pub(super) fn copy(
        &mut self,
        length: usize,
        segment: &mut Mbuf,
        buffers: &mut Buffers,
    ) -> Result<(), OffloadError> {
        let mut left = length - self.fill(segment, length)?;
        while left > 0 {
            let mut buffer = buffers.take()?;
            left -= self.fill(&mut buffer, left)?;
            segment.chain(buffer).ok_or(OffloadError::TooLongForBuffer)?;
        }
        Ok(())
    }

    /// Appends up to `length` bytes to one buffer, as many as it holds, and returns their number.
    #[inline]
    fn fill(&mut self, buffer: &mut Mbuf, length: usize) -> Result<usize, OffloadError> {
        let wanted = length.min(usize::from(buffer.tailroom()));
        let mut left = wanted;
        while left > 0 {
            if self.rest.is_empty() {
                // A chain shorter than its own length: the state is not what the frame is.
                self.rest = self.segments.next().ok_or(OffloadError::BadOffload)?;
                continue;
            }
            let (now, later) = self.rest.split_at(left.min(self.rest.len()));
            buffer.append_slice(now).ok_or(OffloadError::TooLongForBuffer)?;
            (self.rest, left) = (later, left - now.len());
        }
        Ok(wanted)
    }
}

/// One segment among its siblings.
struct Place {
    index: usize,
    /// Payload bytes in the segments before.
    sent: usize,
    /// Payload bytes of this one.
    length: usize,
    last: bool,
}

/// The fields of the large frame that differ between its segments; zero where a header has no such field.
struct Fields {
    /// IPv4 identification.
    id: u16,
    /// Sum of the IPv4 header without its length, identification and checksum (RFC 1624: adding a complement takes a
    /// word away); those of a segment are two additions then.
    ip: Sum,
    /// TCP sequence number.
    seq: u32,
    /// TCP flags, the eight of byte 13.
    flags: u8,
}

impl Fields {
    fn read(data: &[u8], headers: &Headers) -> Self {
        let (l3, l4) = (headers.l3, headers.l4);
        let word = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
        let (id, ip) = match headers.network {
            Network::V4 => {
                let (length, id, checksum) = (word(l3 + 2), word(l3 + 4), word(l3 + 10));
                (id, Sum::new().bytes(&data[l3..l4]).word(!length).word(!id).word(!checksum))
            }
            Network::V6 => (0, Sum::new()),
        };
        let (seq, flags) = match headers.transport {
            Transport::Tcp => {
                (u32::from_be_bytes([data[l4 + 4], data[l4 + 5], data[l4 + 6], data[l4 + 7]]), data[l4 + 13])
            }
            Transport::Udp => (0, 0),
        };
        Self { id, ip, seq, flags }
    }

    /// Sets the fields in a copy of the headers; the transport checksum is left for later.
    #[inline]
    fn write(&self, data: &mut [u8], headers: &Headers, place: &Place) {
        let (l3, l4) = (headers.l3, headers.l4);
        // Fits: `Plan::new` checked the longest.
        let length = (headers.end - l3 + place.length) as u16;
        match headers.network {
            Network::V4 => {
                let id = self.id.wrapping_add(place.index as u16);
                put(data, l3 + 2, length.to_be_bytes());
                put(data, l3 + 4, id.to_be_bytes());
                put(data, l3 + 10, self.ip.word(length).word(id).checksum().to_be_bytes());
            }
            Network::V6 => put(data, l3 + 4, (length - IPV6_LEN as u16).to_be_bytes()),
        }
        match headers.transport {
            Transport::Tcp => {
                put(data, l4 + 4, self.seq.wrapping_add(place.sent as u32).to_be_bytes());
                // The end of the data is said once, on the last; congestion was reduced once, on the first.
                let not_last = if place.last { 0 } else { TCP_FIN | TCP_PSH };
                let not_first = if place.index == 0 { 0 } else { TCP_CWR };
                data[l4 + 13] = self.flags & !(not_last | not_first);
            }
            Transport::Udp => put(data, l4 + 4, ((headers.end - l4 + place.length) as u16).to_be_bytes()),
        }
    }
}

/// Completes the transport checksum, or leaves it partial for the port: `pseudo` is the whole pseudo header.
#[inline]
fn finish_checksum(
    segment: &mut Mbuf,
    start: u16,
    offset: u16,
    pseudo: Sum,
    partial: bool,
) -> Result<(), OffloadError> {
    let field = usize::from(start) + usize::from(offset);
    if partial {
        put(segment.data_mut(), field, pseudo.value().to_be_bytes());
        segment.set_offload(Offload { checksum: Checksum::Partial { start, offset }, gso: None })?;
    } else {
        put(segment.data_mut(), field, [0, 0]);
        let sum = sum_from(segment, usize::from(start), pseudo).ok_or(OffloadError::BadOffload)?;
        write(segment.data_mut(), start, offset, sum)?;
    }
    Ok(())
}

/// Writes a field of a header that [`Headers::read`] found to lie inside the first segment.
#[inline]
fn put<const N: usize>(data: &mut [u8], at: usize, bytes: [u8; N]) {
    data[at..at + N].copy_from_slice(&bytes);
}
