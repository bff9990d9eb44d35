//! One buffer out of many, for ports that take no chains.
//!
//! Cost: one buffer and one copy of the frame.

use shunt_ffi::{Mbuf, Mempool};

use super::{OffloadError, room};

/// A copy of the frame in a single buffer of `pool`, offload state included.
///
/// Fails with [`OffloadError::TooLongForBuffer`] or [`OffloadError::NoBuffers`], and with [`OffloadError::BadOffload`]
/// for a state that does not fit the frame; the caller still has the frame.
pub fn linearize(frame: &Mbuf, pool: Mempool) -> Result<Mbuf, OffloadError> {
    if frame.len() as usize > room(pool) {
        return Err(OffloadError::TooLongForBuffer);
    }
    let state = frame.offload()?;
    let mut whole = pool.alloc().ok_or(OffloadError::NoBuffers)?;
    for segment in frame.segments() {
        whole.append_slice(segment).ok_or(OffloadError::TooLongForBuffer)?;
    }
    whole.set_offload(state)?;
    Ok(whole)
}
