//! Pools of frame buffers (`rte_pktmbuf_pool_create`).
//!
//! A pool lives until the process ends: frames, queues and drivers refer to it from many places, and there is one per
//! daemon. That is why [`Mempool`] is `Copy` and has no drop.

use std::ffi::CString;
use std::ptr::NonNull;

use crate::burst::Burst;
use crate::eal::Eal;
use crate::error::DpdkError;
use crate::mbuf::Mbuf;
use crate::sys;

/// Bytes before the frame in each buffer, for pushing headers (`RTE_PKTMBUF_HEADROOM`).
pub const HEADROOM: u16 = 128;

/// Buffers that each registered thread keeps for itself.
const CACHE: u32 = 256;

/// A pool of equal buffers.
#[derive(Clone, Copy, Debug)]
pub struct Mempool {
    pool: NonNull<sys::rte_mempool>,
    data_room: u16,
}

// SAFETY: rte_mempool is a multi-producer multi-consumer structure by default flags; every function called on it here
// is thread-safe, and it is never freed.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool of `count` buffers, each with `data_room` bytes behind the headroom.
    pub fn new(_eal: Eal, name: &str, count: u32, data_room: u16) -> Result<Self, DpdkError> {
        let name = CString::new(name).map_err(|_| DpdkError {
            function: "rte_pktmbuf_pool_create",
            errno: libc::EINVAL,
            text: "name holds a NUL byte".into(),
        })?;
        let cache = CACHE.min(count / 4);
        // A buffer's length is 16 bits, headroom included.
        let data_room = data_room.min(u16::MAX - HEADROOM);
        let room = data_room + HEADROOM;
        // SAFETY: EAL runs (we hold an `Eal`), the name is NUL-terminated and copied.
        let pool =
            unsafe { sys::rte_pktmbuf_pool_create(name.as_ptr(), count, cache, 0, room, sys::SOCKET_ID_ANY) };
        match NonNull::new(pool) {
            Some(pool) => Ok(Self { pool, data_room }),
            None => Err(DpdkError::from_errno("rte_pktmbuf_pool_create")),
        }
    }

    /// Bytes a single buffer holds behind its headroom.
    pub fn data_room(self) -> u16 {
        self.data_room
    }

    /// Buffers in the pool right now (counts those in thread caches too); walks all caches, so not for the data path.
    pub fn available(self) -> u32 {
        // SAFETY: the pool is never freed.
        unsafe { sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }

    /// One empty frame, or `None` when the pool is exhausted.
    #[inline]
    pub fn alloc(self) -> Option<Mbuf> {
        let mut frame = std::ptr::null_mut();
        // SAFETY: writes one pointer on success (0), none otherwise.
        if unsafe { sys::shunt_pktmbuf_alloc_bulk(self.pool.as_ptr(), &mut frame, 1) } != 0 {
            return None;
        }
        // SAFETY: a freshly allocated mbuf has refcnt 1 and no other owner.
        NonNull::new(frame).map(|frame| unsafe { Mbuf::from_raw(frame) })
    }

    /// Appends `count` empty frames to `burst`; all or nothing. False when the pool is exhausted or the burst is full.
    #[inline]
    pub fn alloc_bulk(self, burst: &mut Burst, count: usize) -> bool {
        let spare = burst.spare_raw();
        if count > spare.len() {
            return false;
        }
        // SAFETY: `spare` has room for `count` pointers; the call writes all of them on success (0), none otherwise.
        if unsafe { sys::shunt_pktmbuf_alloc_bulk(self.pool.as_ptr(), spare.as_mut_ptr(), count as u32) } != 0
        {
            return false;
        }
        // SAFETY: the first `count` spare slots now hold exclusively owned mbufs.
        unsafe { burst.grow(count) };
        true
    }

    /// A frame that holds `bytes` in as many segments as it takes; `None` when the pool is exhausted.
    pub fn frame(self, bytes: &[u8]) -> Option<Mbuf> {
        let mut chunks = bytes.chunks(usize::from(self.data_room).max(1));
        let mut frame = self.alloc()?;
        frame.append_slice(chunks.next().unwrap_or(&[]))?;
        for chunk in chunks {
            let mut segment = self.alloc()?;
            segment.append_slice(chunk)?;
            frame.chain(segment)?;
        }
        Some(frame)
    }

    pub(crate) fn as_ptr(self) -> *mut sys::rte_mempool {
        self.pool.as_ptr()
    }
}
