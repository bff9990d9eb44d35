//! From the guest: frames of one buffer each.

use crate::mempool::Mempool;
use crate::sys;

use super::super::gate::Inside;
use super::copy::copy;
use super::ring::Base;
use super::{BURST, End, HEADER, Straight};

/// Shortest frame that is taken here; the library and [`super::super::inspect`] deal with shorter ones.
const ETHERNET: u32 = 14;

/// A frame in the guest's memory.
#[derive(Clone, Copy)]
struct Place {
    head: u16,
    /// The frame without its header.
    length: u32,
    at: *const u8,
}

const NOWHERE: Place = Place { head: 0, length: 0, at: std::ptr::null() };

impl Straight {
    /// Takes frames into the front of `frames`, and says how many and why not more.
    #[inline]
    pub(in super::super) fn take(
        &mut self,
        inside: &Inside<'_>,
        pool: Mempool,
        frames: &mut [*mut sys::rte_mbuf],
    ) -> (usize, End) {
        if !self.begins() {
            return (0, End::Library);
        }
        let Some(base) = self.ring.base(inside) else { return (0, End::Library) };
        let waiting = self.ring.waiting(base).min(frames.len()).min(BURST);
        if waiting == 0 {
            return (0, End::Done);
        }
        let mut places = [NOWHERE; BURST];
        let found = self.locate(base, &mut places[..waiting], u32::from(pool.data_room()));
        let plain = places[..found].iter().take_while(|place| is_plain(place)).count();
        if plain == 0 {
            self.rest = super::REST;
            return (0, End::Library);
        }
        // SAFETY: room for `plain` pointers; the pool is never freed.
        if unsafe { sys::shunt_pktmbuf_alloc_bulk(pool.as_ptr(), frames.as_mut_ptr(), plain as u32) } != 0 {
            return (0, End::Done);
        }
        for (index, (place, frame)) in places[..plain].iter().zip(frames).enumerate() {
            // SAFETY: a buffer of our own, just allocated; the place has `length` bytes behind its header, in memory that is
            // mapped while we are inside (`locate`), and the buffer has room for them.
            unsafe {
                let frame = &mut **frame;
                frame.data_len = place.length as u16;
                frame.pkt_len = place.length;
                let to = frame.buf_addr.cast::<u8>().add(usize::from(frame.data_off));
                copy(place.at.add(HEADER as usize), to, place.length as usize);
            }
            self.ring.give_back(base.used.wrapping_add(index as u16), place.head, 0);
        }
        let count = plain as u16;
        let next =
            Base { available: base.available.wrapping_add(count), used: base.used.wrapping_add(count) };
        self.ring.publish(inside, next);
        self.ring.call(inside);
        (plain, if plain < waiting { End::Library } else { End::Done })
    }

    /// Finds the frames of the next entries, up to the first that is not one buffer.
    #[inline]
    fn locate(&mut self, base: Base, places: &mut [Place], room: u32) -> usize {
        for (index, place) in places.iter_mut().enumerate() {
            place.head = self.ring.head(base.available.wrapping_add(index as u16));
            let descriptor = self.ring.descriptor(place.head);
            let length = descriptor.length.wrapping_sub(HEADER);
            let fits = self.ring.has(place.head)
                && descriptor.is_lone_read()
                && descriptor.length >= HEADER + ETHERNET
                && length <= room;
            let at = if fits { self.map.find(descriptor.address, descriptor.length.into()) } else { None };
            let Some(at) = at else { return index };
            (place.length, place.at) = (length, at);
        }
        places.len()
    }
}

/// True when the header asks for nothing: neither an unfinished checksum nor segmentation. Read once; what it says later
/// does not matter.
#[inline]
fn is_plain(place: &Place) -> bool {
    // SAFETY: the header lies in front of the frame, in memory that is mapped while we are inside; flags and kind of
    // segmentation are its first two bytes.
    unsafe { place.at.cast::<[u8; 2]>().read_volatile() == [0; 2] }
}
