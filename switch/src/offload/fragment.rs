//! Fragmentation of IPv4 (RFC 791 section 3.2): one packet becomes packets no longer than the next network's MTU.
//!
//! As `ip_do_fragment` of Linux does it for a packet that is forwarded. Cost: one buffer for each fragment, one copy of the
//! packet.

use shunt_ffi::offload::Checksum;
use shunt_ffi::{Mbuf, Mempool};

use super::segment::{Buffers, Payload};
use super::{OffloadError, room};
use crate::wire::checksum::Sum;

/// Most fragments that one packet is cut into. It lets the longest packet through where the MTU is what every host must take
/// (65,515 bytes in fragments of 552 of 576); a tiny MTU is no way to make a worker busy.
pub const MAX_FRAGMENTS: usize = 128;

const IPV4: usize = 20;
const LONGEST_HEADER: usize = 60;
/// Bits of the word with the flags and the fragment offset, which counts in units of 8 bytes.
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
const UNIT: usize = 8;
/// The bit of an option's type that says it is in every fragment (RFC 791 section 3.1).
const COPIED: u8 = 0x80;

/// An IPv4 header as all fragments but the first have it.
struct Header {
    bytes: [u8; LONGEST_HEADER],
    len: usize,
}

impl Header {
    /// Of the options in `first` those that are to be copied.
    fn later(first: &[u8]) -> Option<Self> {
        let (fixed, mut options) = first.split_at_checked(IPV4)?;
        let mut header = Self { bytes: [0; LONGEST_HEADER], len: IPV4 };
        header.bytes.get_mut(..IPV4)?.copy_from_slice(fixed);
        while let [kind, rest @ ..] = options {
            let length = match (*kind, rest) {
                (0, _) => break,
                (1, _) => 1,
                (_, [length, ..]) if *length >= 2 => usize::from(*length),
                // Nobody could read what is behind it.
                _ => break,
            };
            let Some((option, behind)) = options.split_at_checked(length) else { break };
            if kind & COPIED != 0 {
                header.bytes.get_mut(header.len..header.len + length)?.copy_from_slice(option);
                header.len += length;
            }
            options = behind;
        }
        // The rest of the last word is zero: the end of the options.
        header.len = header.len.next_multiple_of(4);
        *header.bytes.first_mut()? = 0x40 | (header.len / 4) as u8;
        Some(header)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Cuts the IPv4 packet that begins `l3` bytes into `frame` into packets of at most `mtu` bytes and gives each, in a frame
/// with the same Ethernet header and tags, to `emit` in order. A fragment is cut further in the same way.
///
/// # Errors
/// [`OffloadError::BadOffload`] for a packet that must not be cut or whose checksum or segmentation is not finished, or
/// whose header is not sound. [`OffloadError::TooManySegments`]. [`OffloadError::NoBuffers`], also after some fragments.
/// The caller still has the frame.
pub fn fragment(
    frame: &Mbuf,
    l3: usize,
    mtu: u16,
    pool: Mempool,
    emit: &mut impl FnMut(Mbuf),
) -> Result<(), OffloadError> {
    if matches!(frame.offload()?.checksum, Checksum::Partial { .. }) {
        return Err(OffloadError::BadOffload);
    }
    let packet = Packet::read(frame, l3).ok_or(OffloadError::BadOffload)?;
    let (link, first) = (packet.link, packet.header);
    let later = Header::later(first).ok_or(OffloadError::BadOffload)?;
    // The first has the longest header; all but the last are multiples of the unit.
    let size = usize::from(mtu).saturating_sub(first.len()) / UNIT * UNIT;
    if size == 0 {
        return Err(OffloadError::BadOffload);
    }
    let count = packet.payload.div_ceil(size);
    if count > MAX_FRAGMENTS {
        return Err(OffloadError::TooManySegments);
    }
    let buffers_of = |payload: usize| (link.len() + first.len() + payload).div_ceil(room(pool));
    let last = packet.payload - size * (count - 1);
    let mut buffers = Buffers::new(pool, buffers_of(size) * (count - 1) + buffers_of(last));
    let mut payload = Payload::new(frame, l3 + first.len());
    for index in 0..count {
        let is_last = index + 1 == count;
        let header = if index == 0 { first } else { later.bytes() };
        let length = if is_last { last } else { size };
        let mut fragment = buffers.take()?;
        fragment.append_slice(link).ok_or(OffloadError::TooLongForBuffer)?;
        fragment.append_slice(header).ok_or(OffloadError::TooLongForBuffer)?;
        let more = if is_last { packet.flags & MORE_FRAGMENTS } else { MORE_FRAGMENTS };
        // The parser has checked the packet's length: offsets stay below 2^13 units.
        let offset = (packet.flags & OFFSET) + (index * size / UNIT) as u16;
        let fields = fragment.data_mut().get_mut(l3..).ok_or(OffloadError::TooLongForBuffer)?;
        finish(fields, header.len(), header.len() + length, more | offset & OFFSET);
        payload.copy(length, &mut fragment, &mut buffers)?;
        emit(fragment);
    }
    Ok(())
}

/// Writes length, fragment word and checksum of a header of `length` bytes.
fn finish(header: &mut [u8], length: usize, total: usize, word: u16) {
    let Some(header) = header.get_mut(..length) else { return };
    let Some(fixed) = header.first_chunk_mut::<IPV4>() else { return };
    fixed[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    fixed[6..8].copy_from_slice(&word.to_be_bytes());
    fixed[10..12].fill(0);
    let sum = Sum::new().bytes(header).checksum();
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The packet to cut.
struct Packet<'a> {
    link: &'a [u8],
    header: &'a [u8],
    /// Flags and fragment offset.
    flags: u16,
    /// Bytes behind the header, at least one.
    payload: usize,
}

impl<'a> Packet<'a> {
    /// `None` when it is no sound IPv4 packet that may be cut.
    fn read(frame: &'a Mbuf, l3: usize) -> Option<Self> {
        let (link, packet) = frame.data().split_at_checked(l3)?;
        let fixed: &[u8; IPV4] = packet.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let header = packet.get(..usize::from(fixed[0] & 0x0f) * 4).filter(|header| header.len() >= IPV4)?;
        let (total, flags) = (usize::from(word(2)), word(6));
        let sound = fixed[0] >> 4 == 4 && total <= frame.len() as usize - l3 && total > header.len();
        let fits = usize::from(flags & OFFSET) * UNIT + total <= usize::from(u16::MAX) + header.len();
        (sound && fits && flags & DONT_FRAGMENT == 0).then(|| Self {
            link,
            header,
            flags,
            payload: total - header.len(),
        })
    }
}
