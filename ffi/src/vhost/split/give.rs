//! To the guest: frames that need one of its buffers each.

use crate::sys;

use super::super::gate::Inside;
use super::copy::copy;
use super::ring::Base;
use super::{BURST, End, HEADER, Straight};

/// Offload state that becomes part of the header.
const OFFLOADS: u64 = sys::SHUNT_TX_OFFLOAD_MASK;

/// A buffer of the guest's.
#[derive(Clone, Copy)]
struct Place {
    head: u16,
    at: *mut u8,
}

const NOWHERE: Place = Place { head: 0, at: std::ptr::null_mut() };

impl Straight {
    /// Copies frames from the front of `frames` to the guest, and says how many and why not more. Nobody else may use the
    /// ring meanwhile.
    ///
    /// # Safety
    /// Each slot holds a well-formed chain that nobody else changes.
    #[inline]
    pub(in super::super) unsafe fn give(
        &mut self,
        inside: &Inside<'_>,
        frames: &[*mut sys::rte_mbuf],
    ) -> (usize, End) {
        if !self.begins() {
            return (0, End::Library);
        }
        let Some(base) = self.ring.base(inside) else { return (0, End::Library) };
        let wanted = frames.len().min(BURST);
        let room = self.ring.waiting(base).min(wanted);
        if room == 0 {
            return (0, End::Done);
        }
        let mut places = [NOWHERE; BURST];
        // SAFETY: as for this function.
        let found = unsafe { self.locate_room(base, &frames[..room], &mut places) };
        if found == 0 {
            self.rest = super::REST;
            return (0, End::Library);
        }
        for (index, (place, frame)) in places[..found].iter().zip(frames).enumerate() {
            // SAFETY: a live frame of one segment; the place has room for it behind the header, in memory that is mapped while
            // we are inside (`locate_room`).
            let length = unsafe {
                let frame = &**frame;
                write_header(place.at);
                let from = frame.buf_addr.cast::<u8>().add(usize::from(frame.data_off));
                copy(from, place.at.add(HEADER as usize), usize::from(frame.data_len));
                HEADER + u32::from(frame.data_len)
            };
            self.ring.give_back(base.used.wrapping_add(index as u16), place.head, length);
        }
        let count = found as u16;
        let next =
            Base { available: base.available.wrapping_add(count), used: base.used.wrapping_add(count) };
        self.ring.publish(inside, next);
        self.ring.call(inside);
        (found, if found == room { End::Done } else { End::Library })
    }

    /// Finds a buffer for each of `frames`, up to the first frame or buffer that is the library's.
    ///
    /// # Safety
    /// As for [`give`](Self::give).
    #[inline]
    unsafe fn locate_room(
        &mut self,
        base: Base,
        frames: &[*mut sys::rte_mbuf],
        places: &mut [Place; BURST],
    ) -> usize {
        for (index, (place, frame)) in places.iter_mut().zip(frames).enumerate() {
            // SAFETY: a live frame, per the contract.
            let frame = unsafe { &**frame };
            place.head = self.ring.head(base.available.wrapping_add(index as u16));
            let descriptor = self.ring.descriptor(place.head);
            let length = HEADER + u32::from(frame.data_len);
            let fits = self.ring.has(place.head)
                && descriptor.is_lone_write()
                && descriptor.length >= length
                && frame.nb_segs == 1
                && frame.ol_flags & OFFLOADS == 0;
            let at = if fits { self.map.find(descriptor.address, length.into()) } else { None };
            let Some(at) = at else { return index };
            place.at = at;
        }
        frames.len()
    }
}

/// The header of a finished frame in one buffer (virtio 1.1, 5.1.6.4): zeroes, and 1 as the number of buffers. One that is
/// right already is left alone, as used entries are.
///
/// # Safety
/// `at` has the bytes of a header, mapped.
#[inline]
unsafe fn write_header(at: *mut u8) {
    const BUFFERS: u32 = 1 << 16;
    let (low, high) = (at.cast::<u64>(), at.wrapping_add(8).cast::<u32>());
    // SAFETY: 12 bytes per the contract, of any alignment; the guest may change them meanwhile, to its own harm.
    unsafe {
        if low.read_unaligned() != 0 {
            low.write_unaligned(0);
        }
        if high.read_unaligned() != BUFFERS {
            high.write_unaligned(BUFFERS);
        }
    }
}
