//! Frames of many buffers: growing one at its end, and taking pieces out of one.
//!
//! Cost: [`Chain::append`] a few stores, however long the frame is; [`Mbuf::remove_repeated`] one move of the bytes behind
//! the first piece, no buffer is taken.

use std::ptr::NonNull;

use crate::mbuf::Mbuf;
use crate::sys;

/// A frame that grows at its end ([`Mbuf::chain`] walks to the end for each buffer).
#[derive(Debug)]
pub struct Chain {
    frame: Mbuf,
    /// Its last segment.
    last: NonNull<sys::rte_mbuf>,
}

impl Chain {
    /// Begins with the segments of `frame`.
    pub fn new(frame: Mbuf) -> Self {
        let last = last(NonNull::from(frame.raw()));
        Self { frame, last }
    }

    /// Links the segments of `tail` behind; `None` (and `tail` is freed) when there would be more than 65,535 of them.
    #[inline]
    pub fn append(&mut self, tail: Mbuf) -> Option<()> {
        let total = self.frame.segment_count().checked_add(tail.segment_count())?;
        let length = self.frame.len().checked_add(tail.len())?;
        let tail = tail.into_raw();
        // SAFETY: `last` is the last segment of the chain that we own exclusively; `tail` was owned and now is part of it.
        unsafe { self.last.as_mut() }.next = tail.as_ptr();
        let raw = self.frame.raw_mut();
        (raw.nb_segs, raw.pkt_len) = (total, length);
        self.last = last(tail);
        Some(())
    }

    /// Bytes so far.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "as of a frame")]
    pub fn len(&self) -> u32 {
        self.frame.len()
    }

    /// Segments so far.
    #[inline]
    pub fn segment_count(&self) -> u16 {
        self.frame.segment_count()
    }

    /// The frame.
    pub fn into_frame(self) -> Mbuf {
        self.frame
    }
}

// SAFETY: `last` leads into the chain that `frame` owns.
unsafe impl Send for Chain {}

/// The last segment of a chain.
fn last(mut segment: NonNull<sys::rte_mbuf>) -> NonNull<sys::rte_mbuf> {
    // SAFETY: links of a well-formed chain that the caller owns or borrows.
    while let Some(next) = NonNull::new(unsafe { segment.as_ref() }.next) {
        segment = next;
    }
    segment
}

/// A place in a chain: a segment and bytes into its data.
#[derive(Clone, Copy)]
struct Place {
    segment: NonNull<sys::rte_mbuf>,
    at: usize,
}

impl Place {
    /// Bytes from here to the end of the segment.
    fn room(self) -> usize {
        // SAFETY: a segment of a chain that the caller of this module's functions borrows exclusively.
        usize::from(unsafe { self.segment.as_ref() }.data_len).saturating_sub(self.at)
    }

    /// This place, or the start of the next segment that has data when nothing is left in this one; `None` at the end of the chain.
    fn settled(mut self) -> Option<Self> {
        while self.room() == 0 {
            // SAFETY: as in `room`.
            self = Self { segment: NonNull::new(unsafe { self.segment.as_ref() }.next)?, at: 0 };
        }
        Some(self)
    }

    /// The place `count` bytes further; `None` when the chain has fewer.
    fn further(mut self, mut count: usize) -> Option<Self> {
        loop {
            let step = count.min(self.room());
            self.at += step;
            count -= step;
            if count == 0 {
                return Some(self);
            }
            self = self.settled()?;
        }
    }

    fn pointer(self) -> *mut u8 {
        // SAFETY: `at` is at most `data_len`, so the pointer stays within the buffer or right behind it.
        unsafe {
            let raw = self.segment.as_ref();
            raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off) + self.at)
        }
    }
}

impl Mbuf {
    /// Keeps the first `first` bytes, takes the next `gap` bytes out, keeps the next `keep` bytes, takes `gap` out, and so on
    /// to the end, where the last piece may be shorter. Buffers that are no longer needed are freed. The offload state is
    /// left as it is.
    ///
    /// `None`, and no change, when nothing would be kept of a piece, or `first` or `keep` is 0.
    pub fn remove_repeated(&mut self, first: usize, gap: usize, keep: usize) -> Option<()> {
        let total = self.len() as usize;
        if first == 0 || keep == 0 || first > total {
            return None;
        }
        let behind = total - first;
        let (whole, part) = (behind / (gap + keep), behind % (gap + keep));
        if part != 0 && part <= gap {
            return None;
        }
        let kept = first + whole * keep + part.saturating_sub(gap);
        let start = Place { segment: NonNull::from(self.raw_mut()), at: 0 };
        let mut to = start.further(first)?;
        let mut from = to;
        let mut left = behind;
        while left > 0 {
            from = from.further(gap)?;
            let mut piece = keep.min(left - gap);
            left -= gap + piece;
            while piece > 0 {
                (from, to) = (from.settled()?, to.settled()?);
                let count = piece.min(from.room()).min(to.room());
                // SAFETY: both places have `count` bytes in their segments, and the chain is ours exclusively. `to` is at
                // or in front of `from`; where the two overlap, `copy` moves as if by way of another place.
                unsafe { std::ptr::copy(from.pointer(), to.pointer(), count) };
                from.at += count;
                to.at += count;
                piece -= count;
            }
        }
        self.shorten(kept);
        Some(())
    }

    /// Cuts the frame off behind its first `length` bytes, of which there are at least 1, and frees the buffers behind.
    fn shorten(&mut self, length: usize) {
        let mut segment = NonNull::from(self.raw_mut());
        let (mut left, mut count) = (length, 1);
        loop {
            // SAFETY: links of a well-formed chain we own exclusively.
            let raw = unsafe { segment.as_mut() };
            let here = usize::from(raw.data_len).min(left);
            left -= here;
            match NonNull::new(raw.next) {
                Some(next) if left > 0 => segment = next,
                rest => {
                    raw.data_len = here as u16;
                    raw.next = std::ptr::null_mut();
                    if let Some(mut rest) = rest {
                        // SAFETY: the rest of a chain that we own: cut off above, so freed once. Freeing walks the links.
                        unsafe {
                            rest.as_mut().nb_segs = 1;
                            sys::rte_pktmbuf_free_bulk(&mut rest.as_ptr(), 1);
                        }
                    }
                    break;
                }
            }
            count += 1;
        }
        let raw = self.raw_mut();
        (raw.nb_segs, raw.pkt_len) = (count, length as u32);
    }
}
