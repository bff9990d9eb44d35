//! Completing a partial checksum in software.
//!
//! Reads the checksum state; writes the checksum field, clears the state. Cost: one pass over the transport bytes.

use shunt_ffi::Mbuf;
use shunt_ffi::offload::{BadOffload, Checksum, UDP_CHECKSUM};

use crate::wire::checksum::{Sum, udp_field};

/// Computes the checksum that the frame's sender left out, as virtio-net defines it: the ones' complement sum from
/// `start` to the end of the frame, which includes the pseudo-header sum that stands in the field.
///
/// A frame without such state is left alone. Fails, and changes nothing, for a frame that is still to be cut (see
/// [`segment`](super::segment)) and for state that does not fit the frame.
pub fn complete(frame: &mut Mbuf) -> Result<(), BadOffload> {
    let state = frame.offload()?;
    if state.gso.is_some() {
        return Err(BadOffload);
    }
    let Checksum::Partial { start, offset } = state.checksum else {
        return Ok(());
    };
    let sum = sum_from(frame, usize::from(start), Sum::new()).ok_or(BadOffload)?;
    write(frame.data_mut(), start, offset, sum)?;
    frame.clear_offload();
    Ok(())
}

/// Adds all bytes of the frame from `start` on to `sum`; `None` when `start` lies behind the first segment.
#[inline]
pub(crate) fn sum_from(frame: &Mbuf, start: usize, sum: Sum) -> Option<Sum> {
    let mut segments = frame.segments();
    let sum = sum.bytes(segments.next()?.get(start..)?);
    Some(segments.fold(sum, Sum::bytes))
}

/// Writes the complement of `sum` into the checksum field, in UDP's form when the field's offset is UDP's.
#[inline]
pub(crate) fn write(data: &mut [u8], start: u16, offset: u16, sum: Sum) -> Result<(), BadOffload> {
    let checksum = sum.checksum();
    let checksum = if offset == UDP_CHECKSUM { udp_field(checksum) } else { checksum };
    let at = usize::from(start) + usize::from(offset);
    data.get_mut(at..at + 2).ok_or(BadOffload)?.copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}
