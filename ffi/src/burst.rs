//! A burst: up to [`MAX_BURST`] owned frames in a fixed array, the unit of receive and transmit.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use crate::mbuf::Mbuf;
use crate::sys;

/// Frames a [`Burst`] holds at most.
pub const MAX_BURST: usize = 64;

/// Owned frames in order of arrival. Dropping it frees them in one call.
pub struct Burst {
    frames: [MaybeUninit<Mbuf>; MAX_BURST],
    len: usize,
}

impl Burst {
    /// An empty burst.
    pub const fn new() -> Self {
        Self { frames: [const { MaybeUninit::uninit() }; MAX_BURST], len: 0 }
    }

    /// True when no further frame fits.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == MAX_BURST
    }

    /// Appends a frame; gives it back when the burst is full.
    #[inline]
    pub fn push(&mut self, frame: Mbuf) -> Result<(), Mbuf> {
        match self.frames.get_mut(self.len) {
            Some(slot) => {
                slot.write(frame);
                self.len += 1;
                Ok(())
            }
            None => Err(frame),
        }
    }

    /// Takes the last frame.
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: slots below the old length are initialised; the length no longer covers this one.
        Some(unsafe { self.frames[self.len].assume_init_read() })
    }

    /// Frees all frames.
    #[inline]
    pub fn clear(&mut self) {
        if self.len > 0 {
            let count = std::mem::take(&mut self.len);
            // SAFETY: the first `count` slots hold owned chains (Mbuf is a transparent pointer), given up here.
            unsafe { sys::rte_pktmbuf_free_bulk(self.frames.as_mut_ptr().cast(), count as u32) };
        }
    }

    /// Takes all frames in order; frames not taken from the iterator are freed.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        let end = std::mem::take(&mut self.len);
        Drain { burst: self, next: 0, end }
    }

    /// Forgets the first `count` frames (a driver owns them now) and moves the rest to the front.
    ///
    /// # Safety
    /// `count <= len`, and somebody else owns the first `count` frames.
    #[inline]
    pub(crate) unsafe fn forget_front(&mut self, count: usize) {
        debug_assert!(count <= self.len);
        let left = self.len - count;
        if left > 0 && count > 0 {
            self.frames.copy_within(count..self.len);
        }
        self.len = left;
    }

    /// Frees the first `count` frames (the kernel has copied them) and moves the rest to the front.
    #[inline]
    pub(crate) fn free_front(&mut self, count: usize) {
        let count = count.min(self.len);
        if count > 0 {
            // SAFETY: the first `count` slots hold owned chains, given up here and forgotten right after.
            unsafe {
                sys::rte_pktmbuf_free_bulk(self.frames.as_mut_ptr().cast(), count as u32);
                self.forget_front(count);
            }
        }
    }

    /// The unused slots as raw pointers, for a driver to write to; follow with [`Burst::grow`].
    #[inline]
    pub(crate) fn spare_raw(&mut self) -> &mut [*mut sys::rte_mbuf] {
        let spare = &mut self.frames[self.len..];
        // SAFETY: `MaybeUninit<Mbuf>` has the layout of a pointer, and null pointers may be written to it.
        unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast(), spare.len()) }
    }

    /// Counts `count` more slots as filled.
    ///
    /// # Safety
    /// The next `count` slots hold exclusively owned, well-formed chains.
    #[inline]
    pub(crate) unsafe fn grow(&mut self, count: usize) {
        debug_assert!(self.len + count <= MAX_BURST);
        self.len += count;
    }

    /// The frames as raw pointers, for a transmit function.
    #[inline]
    pub(crate) fn raw(&mut self) -> &mut [*mut sys::rte_mbuf] {
        // SAFETY: the first `len` slots are initialised `Mbuf`s, each a transparent pointer.
        unsafe { std::slice::from_raw_parts_mut(self.frames.as_mut_ptr().cast(), self.len) }
    }
}

/// Moves slots without running destructors.
trait CopyWithin {
    fn copy_within(&mut self, range: std::ops::Range<usize>);
}

impl CopyWithin for [MaybeUninit<Mbuf>; MAX_BURST] {
    #[inline]
    fn copy_within(&mut self, range: std::ops::Range<usize>) {
        let count = range.len();
        assert!(range.end <= MAX_BURST);
        // SAFETY: both ranges lie inside the array (checked); `copy` allows overlap and MaybeUninit has no destructor.
        unsafe { std::ptr::copy(self.as_ptr().add(range.start), self.as_mut_ptr(), count) };
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Deref for Burst {
    type Target = [Mbuf];

    #[inline]
    fn deref(&self) -> &[Mbuf] {
        // SAFETY: the first `len` slots are initialised.
        unsafe { std::slice::from_raw_parts(self.frames.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Burst {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first `len` slots are initialised, and we are borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.frames.as_mut_ptr().cast(), self.len) }
    }
}

impl std::fmt::Debug for Burst {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Burst({} frames)", self.len)
    }
}

/// See [`Burst::drain`].
#[derive(Debug)]
pub struct Drain<'a> {
    burst: &'a mut Burst,
    next: usize,
    end: usize,
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        // SAFETY: slots `next..end` are initialised and the burst's length is 0, so nobody else takes them.
        Some(unsafe { self.burst.frames[index].assume_init_read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    #[inline]
    fn drop(&mut self) {
        for _ in self.by_ref() {}
    }
}
