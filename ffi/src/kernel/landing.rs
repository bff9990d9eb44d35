//! Where the next received frame lands: a chain's worth of empty pool buffers, kept between reads.
//!
//! The kernel does not say beforehand how long the next frame is, so every read offers room for the longest one
//! ([`MAX_FRAME`]). Buffers that a frame did not need stay for the next read; only what was used is taken from the pool
//! again. A 64-byte frame thus costs one buffer.

use std::ptr::NonNull;

use libc::iovec;

use super::vnet_hdr::VnetHdr;
use crate::mbuf::Mbuf;
use crate::mempool::Mempool;
use crate::sys;

/// The longest frame a kernel port receives: the largest IP packet, an Ethernet header and two VLAN tags.
pub const MAX_FRAME: usize = 65535 + 14 + 2 * 4;

/// Where frames are stored: every frame begins in a buffer of `small`; what does not fit there goes to buffers of
/// `large`.
///
/// Large buffers are what makes 64 KiB frames fast: each copy between kernel and user space restarts at every segment,
/// and a chain of 2 KiB buffers costs a quarter of the throughput. `large` may be the same pool as `small`.
#[derive(Clone, Copy, Debug)]
pub struct Pools {
    /// Headers and small frames.
    pub small: Mempool,
    /// The rest of large frames.
    pub large: Mempool,
}

impl Pools {
    /// Buffers that one frame of [`MAX_FRAME`] bytes takes from `large`.
    pub fn tails(self) -> usize {
        let (small, large) = (usize::from(self.small.data_room()), usize::from(self.large.data_room()));
        MAX_FRAME.saturating_sub(small).div_ceil(large.max(1))
    }

    /// A frame of `length` bytes, at most [`MAX_FRAME`], that hold what was in the buffers before. `None` when a pool is
    /// exhausted.
    pub(crate) fn empty(self, length: usize) -> Option<Mbuf> {
        let mut frame = self.small.alloc()?;
        let mut left = length - grow(&mut frame, length);
        while left > 0 {
            let mut tail = self.large.alloc()?;
            left -= grow(&mut tail, left);
            frame.chain(tail)?;
        }
        Some(frame)
    }
}

/// Buffers for one frame of up to [`MAX_FRAME`] bytes, with the scatter list that `readv` and `recvmsg` want.
pub(crate) struct Landing {
    pools: Pools,
    /// The first `missing` entries are stale, the others owned empty buffers. The first entry is a small one.
    segments: Box<[*mut sys::rte_mbuf]>,
    /// One entry for the virtio-net header, then one for each segment.
    iovecs: Box<[iovec]>,
    header: VnetHdr,
    missing: usize,
    room: usize,
}

// SAFETY: the pointers lead to buffers this value owns and to its own boxes; nothing is tied to a thread.
unsafe impl Send for Landing {}

impl Landing {
    /// Room for one frame, still without buffers: call [`Landing::refill`]. `header_len` is the size of the virtio-net
    /// header that comes in front.
    pub(crate) fn new(pools: Pools, header_len: usize) -> Self {
        assert!(header_len <= size_of::<VnetHdr>());
        let tails = pools.tails();
        let mut iovecs =
            vec![iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2 + tails].into_boxed_slice();
        iovecs[0].iov_len = header_len;
        Self {
            pools,
            segments: vec![std::ptr::null_mut(); 1 + tails].into_boxed_slice(),
            iovecs,
            header: VnetHdr::default(),
            missing: 1 + tails,
            room: usize::from(pools.small.data_room()) + tails * usize::from(pools.large.data_room()),
        }
    }

    /// Replaces the buffers that went away with the last frame. False, and the landing must not be used, when a pool
    /// has too few.
    #[inline]
    pub(crate) fn refill(&mut self) -> bool {
        if self.missing == 0 {
            return true;
        }
        let (head, tails) = self.segments[..self.missing].split_at_mut(1);
        if !tails.is_empty() && !take_from(self.pools.large, tails) {
            return false;
        }
        if !take_from(self.pools.small, head) {
            // SAFETY: buffers just allocated and used by nobody; `missing` still says that they are not here.
            unsafe { sys::rte_pktmbuf_free_bulk(tails.as_mut_ptr(), tails.len() as u32) };
            return false;
        }
        for (iovec, &segment) in self.iovecs[1..].iter_mut().zip(&self.segments[..self.missing]) {
            // SAFETY: a fresh mbuf that we own; its data starts behind the headroom, inside its buffer.
            unsafe {
                let segment = &*segment;
                iovec.iov_base = segment.buf_addr.cast::<u8>().add(usize::from(segment.data_off)).cast();
                iovec.iov_len = usize::from(segment.buf_len - segment.data_off);
            }
        }
        self.missing = 0;
        true
    }

    /// The scatter list for the kernel to write to: header first. Only for a filled landing, and only valid until the
    /// landing is moved or used otherwise.
    #[inline]
    pub(crate) fn iovecs(&mut self) -> &mut [iovec] {
        debug_assert_eq!(self.missing, 0);
        self.iovecs[0].iov_base = (&raw mut self.header).cast();
        &mut self.iovecs
    }

    /// The header that came with the frame just read.
    #[inline]
    pub(crate) fn header(&self) -> VnetHdr {
        self.header
    }

    /// Makes a frame of the first `length` bytes the kernel wrote behind the header. `None` for a length of zero or
    /// more than the landing's room.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Option<Mbuf> {
        debug_assert_eq!(self.missing, 0);
        if length == 0 || length > self.room {
            return None;
        }
        let mut left = length;
        let mut count = 0;
        let mut last: *mut sys::rte_mbuf = std::ptr::null_mut();
        while left > 0 {
            let segment = *self.segments.get(count)?;
            let here = left.min(self.iovecs[1 + count].iov_len);
            // SAFETY: `segment` and `last` are owned buffers of this landing (none is missing), `here` is within the
            // buffer's room, and the kernel has written that many bytes.
            unsafe {
                (*segment).data_len = here as u16;
                (*segment).next = std::ptr::null_mut();
                if !last.is_null() {
                    (*last).next = segment;
                }
            }
            last = segment;
            left -= here;
            count += 1;
        }
        let first = NonNull::new(*self.segments.first()?)?;
        // SAFETY: the first `count` buffers form a chain that leaves this landing here: `missing` says so.
        unsafe {
            (*first.as_ptr()).nb_segs = count as u16;
            (*first.as_ptr()).pkt_len = length as u32;
            self.missing = count;
            Some(Mbuf::from_raw(first))
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        for &mut segment in &mut self.segments[self.missing..] {
            if let Some(segment) = NonNull::new(segment) {
                // SAFETY: an owned empty buffer, as the pool gave it.
                drop(unsafe { Mbuf::from_raw(segment) });
            }
        }
    }
}

impl std::fmt::Debug for Landing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Landing({} of {} buffers)", self.segments.len() - self.missing, self.segments.len())
    }
}

/// Fills all of `wanted`, or nothing (false).
#[inline]
fn take_from(pool: Mempool, wanted: &mut [*mut sys::rte_mbuf]) -> bool {
    // SAFETY: room for that many pointers; the call writes all of them on success (0), none otherwise.
    unsafe { sys::shunt_pktmbuf_alloc_bulk(pool.as_ptr(), wanted.as_mut_ptr(), wanted.len() as u32) == 0 }
}

/// Makes an empty buffer a frame of up to `length` bytes; returns how many it has room for.
fn grow(frame: &mut Mbuf, length: usize) -> usize {
    let count = length.min(usize::from(frame.tailroom()));
    let raw = frame.raw_mut();
    // At most the tail room, which is within the buffer: buffers are initialised memory.
    (raw.data_len, raw.pkt_len) = (count as u16, count as u32);
    count
}
