//! One frame: an owned chain of DPDK buffers.

use std::ptr::NonNull;

use crate::mempool::{HEADROOM, Mempool};
use crate::sys;

/// An owned frame (`rte_mbuf` chain). Dropping it returns every segment to its pool; transmitting moves it away.
///
/// Invariants, upheld by every constructor in this crate: the chain is well formed (`nb_segs`, `pkt_len` and the
/// `next` links agree), every segment's data lies inside its buffer, and nobody else holds a reference to it.
#[repr(transparent)]
#[derive(Debug)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an mbuf is plain memory with one owner; its pool is thread-safe.
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` only reads.
unsafe impl Sync for Mbuf {}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        let mut pointer = self.0.as_ptr();
        // SAFETY: we own the whole chain and give it up here.
        unsafe { sys::rte_pktmbuf_free_bulk(&mut pointer, 1) };
    }
}

impl Mbuf {
    /// Takes ownership of a raw chain.
    ///
    /// # Safety
    /// `raw` must be a well-formed chain that nobody else refers to.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Self {
        Self(raw)
    }

    /// Gives up ownership; the caller must free or transmit the chain.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<sys::rte_mbuf> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    #[inline]
    pub(crate) fn raw(&self) -> &sys::rte_mbuf {
        // SAFETY: the pointer is valid and unaliased for writing while we are borrowed.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(crate) fn raw_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: as for `raw`, and `&mut self` makes the access exclusive.
        unsafe { self.0.as_mut() }
    }

    /// Bytes in the whole frame.
    #[inline]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a frame is never asked whether it is empty, only how long it is"
    )]
    pub fn len(&self) -> u32 {
        self.raw().pkt_len
    }

    /// Number of segments; at least 1.
    #[inline]
    pub fn segment_count(&self) -> u16 {
        self.raw().nb_segs
    }

    /// Bytes of the first segment: the headers live here.
    #[inline]
    pub fn data(&self) -> &[u8] {
        segment_bytes(self.raw())
    }

    /// Bytes of the first segment, for rewriting headers.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        segment_bytes_mut(self.raw_mut())
    }

    /// All segments in order.
    pub fn segments(&self) -> Segments<'_> {
        Segments { next: Some(self.raw()) }
    }

    /// Calls `visit` with the bytes of each segment in order.
    pub fn for_each_segment_mut(&mut self, mut visit: impl FnMut(&mut [u8])) {
        let mut next = Some(self.0);
        while let Some(mut segment) = next {
            // SAFETY: links of a well-formed chain we own exclusively; one segment is borrowed at a time.
            let segment = unsafe { segment.as_mut() };
            visit(segment_bytes_mut(segment));
            next = NonNull::new(segment.next);
        }
    }

    /// Asks the processor to fetch the buffer descriptor.
    #[inline]
    pub fn prefetch_descriptor(&self) {
        prefetch(self.0.as_ptr().cast());
    }

    /// Asks the processor to fetch the first bytes of the frame.
    #[inline]
    pub fn prefetch_data(&self) {
        let raw = self.raw();
        prefetch(raw.buf_addr.cast::<u8>().wrapping_add(usize::from(raw.data_off)));
    }

    /// Asks the processor for the first bytes of the frame, to write them: another core may have the line.
    #[inline]
    pub fn prefetch_data_to_write(&self) {
        let raw = self.raw();
        let address = raw.buf_addr.cast::<u8>().wrapping_add(usize::from(raw.data_off));
        // SAFETY: a prefetch never faults, whatever the address, and where there is no such instruction it is none. By hand,
        // because the compiler makes a prefetch for reading of it at the level that we build for.
        unsafe {
            core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
        }
    }

    /// Free bytes in front of the frame.
    #[inline]
    pub fn headroom(&self) -> u16 {
        self.raw().data_off
    }

    /// Free bytes behind the last byte of the *first* segment.
    #[inline]
    pub fn tailroom(&self) -> u16 {
        let raw = self.raw();
        raw.buf_len - raw.data_off - raw.data_len
    }

    /// Makes room for `count` bytes in front and returns the first segment; the new bytes hold what was there before.
    /// `None`, and no change, when the headroom is too small.
    #[inline]
    pub fn prepend(&mut self, count: u16) -> Option<&mut [u8]> {
        let raw = self.raw_mut();
        raw.data_off = raw.data_off.checked_sub(count)?;
        raw.data_len += count;
        raw.pkt_len += u32::from(count);
        Some(segment_bytes_mut(raw))
    }

    /// Removes `count` bytes from the front. `None`, and no change, when the first segment is shorter.
    #[inline]
    pub fn trim_front(&mut self, count: u16) -> Option<()> {
        let raw = self.raw_mut();
        raw.data_len = raw.data_len.checked_sub(count)?;
        raw.data_off += count;
        raw.pkt_len -= u32::from(count);
        Some(())
    }

    /// Appends `bytes` to the first segment of a single-segment frame; `None`, and no change, when they do not fit or
    /// the frame has more segments.
    pub fn append_slice(&mut self, bytes: &[u8]) -> Option<()> {
        let count = u16::try_from(bytes.len()).ok()?;
        if self.segment_count() != 1 || count > self.tailroom() {
            return None;
        }
        let raw = self.raw_mut();
        let end = usize::from(raw.data_off) + usize::from(raw.data_len);
        // SAFETY: `end + count <= buf_len` was checked by `tailroom`; source and buffer cannot overlap because the
        // frame is borrowed exclusively.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), raw.buf_addr.cast::<u8>().add(end), bytes.len())
        };
        raw.data_len += count;
        raw.pkt_len += u32::from(count);
        Some(())
    }

    /// Shortens a single-segment frame to `count` bytes; longer or multi-segment frames are left alone (`None`).
    pub fn truncate(&mut self, count: u16) -> Option<()> {
        if self.segment_count() != 1 || count > self.raw().data_len {
            return None;
        }
        let raw = self.raw_mut();
        raw.data_len = count;
        raw.pkt_len = u32::from(count);
        Some(())
    }

    /// Makes the frame consist of `bytes`: further segments are freed, the headroom is that of a new buffer.
    /// `None`, and no change, when `bytes` do not fit into the first buffer.
    pub fn replace(&mut self, bytes: &[u8]) -> Option<()> {
        let raw = self.raw_mut();
        let headroom = HEADROOM.min(raw.buf_len);
        if bytes.len() > usize::from(raw.buf_len - headroom) {
            return None;
        }
        let rest = std::mem::replace(&mut raw.next, std::ptr::null_mut());
        raw.nb_segs = 1;
        raw.data_off = headroom;
        raw.data_len = 0;
        raw.pkt_len = 0;
        if let Some(mut rest) = NonNull::new(rest) {
            // SAFETY: the second segment heads the rest of a chain we own; its own count covers what is linked behind
            // it only in the first segment, and freeing walks the links.
            unsafe {
                rest.as_mut().nb_segs = 1;
                sys::rte_pktmbuf_free_bulk(&mut rest.as_ptr(), 1);
            }
        }
        self.append_slice(bytes)
    }

    /// Links the segments of `tail` behind this frame; `None` (and `tail` is freed) when the chain would get too long.
    pub fn chain(&mut self, tail: Mbuf) -> Option<()> {
        let (segments, bytes) = (tail.segment_count(), tail.len());
        let total = self.segment_count().checked_add(segments)?;
        let pkt_len = self.raw().pkt_len.checked_add(bytes)?;
        let tail = tail.into_raw();
        let mut last = self.0;
        // SAFETY: walking links of a chain we own exclusively.
        while let Some(next) = NonNull::new(unsafe { last.as_ref() }.next) {
            last = next;
        }
        // SAFETY: `last` is our last segment, `tail` is owned and now becomes part of this chain.
        unsafe { last.as_mut() }.next = tail.as_ptr();
        let raw = self.raw_mut();
        raw.nb_segs = total;
        raw.pkt_len = pkt_len;
        Some(())
    }

    /// A deep copy in buffers of `pool`, offload state included; `None` when the pool is exhausted.
    pub fn deep_copy(&self, pool: Mempool) -> Option<Mbuf> {
        // SAFETY: reads our chain, allocates from a pool that is never freed; the result is a fresh exclusive chain.
        let copy = unsafe { sys::rte_pktmbuf_copy(self.0.as_ptr(), pool.as_ptr(), 0, u32::MAX) };
        // SAFETY: as above.
        NonNull::new(copy).map(|copy| unsafe { Mbuf::from_raw(copy) })
    }

    /// The whole frame as bytes; for tests, captures and the control side, it allocates.
    pub fn to_vec(&self) -> Vec<u8> {
        self.segments().flatten().copied().collect()
    }
}

/// Iterator over the segments of a frame.
#[expect(missing_debug_implementations, reason = "raw DPDK structures do not print")]
pub struct Segments<'a> {
    next: Option<&'a sys::rte_mbuf>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let segment = self.next?;
        // SAFETY: links of a well-formed chain, borrowed for 'a.
        self.next = unsafe { segment.next.as_ref() };
        Some(segment_bytes(segment))
    }
}

#[inline]
fn segment_bytes(raw: &sys::rte_mbuf) -> &[u8] {
    // SAFETY: the chain invariant says `data_off + data_len <= buf_len`, and buffers are initialised memory.
    unsafe {
        std::slice::from_raw_parts(
            raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)),
            usize::from(raw.data_len),
        )
    }
}

#[inline]
fn segment_bytes_mut(raw: &mut sys::rte_mbuf) -> &mut [u8] {
    // SAFETY: as for `segment_bytes`; the segment is borrowed exclusively.
    unsafe {
        std::slice::from_raw_parts_mut(
            raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)),
            usize::from(raw.data_len),
        )
    }
}

#[inline]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast()) };
}
