//! Finishing in software what an egress port cannot do itself: checksums, segmentation, single buffers.
//!
//! In: an owned frame with its offload state, what the port can do, a pool to take buffers from. Out: the frames to
//! transmit, given to `emit` in order. The kernel ports and vhost-user guests hand over frames of up to 64 KiB with
//! partial checksums; most leave through a port that takes them as they are, and for those [`finish`] is three tests.
//!
//! | file | does |
//! |---|---|
//! | [`checksum`] | completes a partial checksum across all segments |
//! | [`segment`] | cuts a TCP or UDP frame into frames of the path's size (GSO) |
//! | [`fragment`] | cuts an IPv4 packet into fragments |
//! | [`linearize`] | copies a chain into one buffer |
//!
//! Nothing here allocates memory other than buffers of the pool, and nothing trusts a length that a header states.

pub mod checksum;
pub mod fragment;
mod headers;
pub mod linearize;
pub mod segment;

use shunt_ffi::offload::{BadOffload, Checksum, Gso, GsoKind};
use shunt_ffi::{Mbuf, Mempool, mempool};

use crate::drop::DropReason;

/// What an egress port does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressCapabilities {
    /// Completes partial TCP and UDP checksums.
    pub checksum: bool,
    /// Cuts, or takes whole, large TCP frames over IPv4. Of use only together with `checksum`.
    pub tso4: bool,
    /// The same over IPv6.
    pub tso6: bool,
    /// The same for UDP over either.
    pub uso: bool,
    /// Takes frames of more than one buffer.
    pub multi_segment: bool,
}

impl EgressCapabilities {
    /// True when the port takes a frame with this segmentation state as it is.
    #[inline]
    fn segments(self, gso: Gso) -> bool {
        let kind = match gso.kind {
            GsoKind::TcpV4 => self.tso4,
            GsoKind::TcpV6 => self.tso6,
            GsoKind::Udp => self.uso,
        };
        kind && self.checksum
    }
}

/// Why a frame, or the rest of it, was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// The offload state does not fit the headers: the sender lied, or made something that cannot be cut.
    #[error("offload state does not fit the frame")]
    BadOffload,
    /// The frame would be cut into more than [`segment::MAX_SEGMENTS`] or [`fragment::MAX_FRAGMENTS`] pieces.
    #[error("frame would be cut into too many segments")]
    TooManySegments,
    /// The pool is exhausted. What was emitted before stays emitted.
    #[error("no buffers left")]
    NoBuffers,
    /// The port takes single buffers only and the frame, or one segment of it, is longer than one.
    #[error("frame is longer than a buffer")]
    TooLongForBuffer,
}

impl OffloadError {
    /// The reason by which the frame is counted.
    pub const fn reason(self) -> DropReason {
        match self {
            Self::BadOffload => DropReason::BadOffload,
            Self::TooManySegments => DropReason::TooManySegments,
            Self::NoBuffers => DropReason::NoBuffers,
            Self::TooLongForBuffer => DropReason::TooLongForBuffer,
        }
    }
}

impl From<BadOffload> for OffloadError {
    fn from(_: BadOffload) -> Self {
        Self::BadOffload
    }
}

/// Length in bytes, Ethernet header included, of the longest frame that becomes of this one on its way: its own length,
/// or that of a full segment when it is to be cut. This is what a port's maximum limits, whoever does the cutting.
///
/// Cost: one test for a frame without state. Fails when a frame to be cut does not carry the headers it should.
#[inline]
pub fn longest_segment(frame: &Mbuf) -> Result<u32, OffloadError> {
    if !frame.needs_offload() {
        return Ok(frame.len());
    }
    segment::longest(frame)
}

/// How many frames become of this one on its way, or one more: it may be a large send. No more than
/// [`segment::MAX_SEGMENTS`].
pub fn pieces(frame: &Mbuf) -> u32 {
    // What the state says wrongly is dropped where it is finished.
    let gso = frame.offload().ok().and_then(|state| state.gso);
    let pieces = |gso: Gso| frame.len().div_ceil(u32::from(gso.size).max(1));
    gso.map_or(1, |gso| pieces(gso).min(segment::MAX_SEGMENTS as u32))
}

/// Finishes whatever the egress port cannot do and gives each resulting frame to `emit`, in order.
///
/// After an error the rest of the frame is freed. Only [`OffloadError::NoBuffers`] can come after frames were emitted,
/// and only for a frame that takes more than 64 buffers: every other error is found before the first.
#[inline]
pub fn finish(
    frame: Mbuf,
    can: EgressCapabilities,
    pool: Mempool,
    emit: &mut impl FnMut(Mbuf),
) -> Result<(), OffloadError> {
    if !frame.needs_offload() && (can.multi_segment || frame.segment_count() == 1) {
        emit(frame);
        return Ok(());
    }
    finish_in_software(frame, can, pool, emit)
}

/// The rest of [`finish`]; kept out of line so that the common case stays small where it is inlined.
#[inline(never)]
fn finish_in_software(
    mut frame: Mbuf,
    can: EgressCapabilities,
    pool: Mempool,
    emit: &mut impl FnMut(Mbuf),
) -> Result<(), OffloadError> {
    let state = frame.offload()?;
    let one_buffer = can.multi_segment || frame.segment_count() == 1;
    match (state.gso, state.checksum) {
        // A port that segments but takes no chains gets segments too: they need no buffer of 64 KiB.
        (Some(gso), _) if !can.segments(gso) || !one_buffer => {
            return segment::segment(&frame, pool, can, emit);
        }
        // Before linearising: then the copy has no state left to carry.
        (None, Checksum::Partial { .. }) if !can.checksum => checksum::complete(&mut frame)?,
        _ => {}
    }
    let frame = if one_buffer { frame } else { linearize::linearize(&frame, pool)? };
    emit(frame);
    Ok(())
}

/// Bytes that a fresh buffer of `pool` holds. A DPDK buffer with its headroom is at most 65,535 bytes long.
#[inline]
fn room(pool: Mempool) -> usize {
    usize::from(pool.data_room().min(u16::MAX - mempool::HEADROOM))
}

#[cfg(test)]
mod tests;
