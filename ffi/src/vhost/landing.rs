//! Where the library puts received frames: chains of buffers of the port's pool, limited in number.
//!
//! Neither of the library's own ways will do: an external buffer for a long frame is `rte_malloc`, with its lock, on the
//! worker; and a chain is as long as a hostile guest says, until the pool is empty. So the library allocates from a pool
//! of ours that passes the port's buffers on and counts them: `shim/landing.c`.
//!
//! Cost: a function call per burst; two stores per buffer that continues a frame.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::DpdkError;
use crate::mempool::Mempool;
use crate::sys;

use super::gate::Inside;
use super::queue::LIBRARY_BURST;

/// Longest frame a guest may send: an IP packet of 65,535 bytes (RFC 791, 3.1) behind an Ethernet header and two VLAN tags.
pub(super) const LONGEST: u32 = 65_535 + 14 + 8;

/// Smallest buffers there are (`memory.mbuf_size`).
const SMALLEST_BUFFER: u32 = 1024;
const _: () = assert!(LONGEST.div_ceil(SMALLEST_BUFFER) as usize <= crate::kernel::MAX_SEGMENTS);

/// A receive queue's landing. Freed on drop.
#[derive(Debug)]
pub(super) struct Landing(NonNull<sys::shunt_landing>);

// SAFETY: the object has no tie to a thread; one at a time uses it (`&mut`), and the pool behind it is thread-safe.
unsafe impl Send for Landing {}

impl Landing {
    /// A landing with enough buffers a burst for frames of [`LONGEST`] bytes only.
    pub(super) fn new(pool: Mempool) -> Result<Self, DpdkError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("landing{number}")).unwrap_or_default();
        let each = LONGEST.div_ceil(u32::from(pool.data_room()).max(1));
        // SAFETY: EAL runs (the port was opened with an `Eal`), the name is copied, the pool is never freed.
        let landing =
            unsafe { sys::shunt_landing_new(name.as_ptr(), pool.as_ptr(), each * LIBRARY_BURST as u32) };
        NonNull::new(landing).map(Self).ok_or_else(|| DpdkError::from_errno("rte_mempool_create_empty"))
    }

    /// `rte_vhost_dequeue_burst` into the front of `spare`.
    ///
    /// # Safety
    /// `spare` has room for `count` pointers; the frames that the result counts are the caller's.
    #[inline]
    pub(super) unsafe fn dequeue(
        &mut self,
        inside: &Inside<'_>,
        ring: u16,
        spare: *mut *mut sys::rte_mbuf,
        count: u16,
    ) -> sys::shunt_landed {
        // SAFETY: room per the contract; the device lives while we are inside; `&mut` keeps other threads out.
        unsafe { sys::shunt_landing_dequeue(self.0.as_ptr(), inside.vid, ring, spare, count) }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // SAFETY: made by `shunt_landing_new` and not freed before; nothing refers to it outside of a call.
        unsafe { sys::shunt_landing_free(self.0.as_ptr()) };
    }
}
