//! Buffers of one AF_XDP device: a pool of its own, because the driver loses some.
//!
//! When an attempt to open fails the driver keeps the buffers meant for the kernel; when it is closed the kernel's rings
//! do, and a NIC's own ring whatever it holds. From the switch's pool they would be missing for ever. A pool of the
//! device's own is thrown away after the former, and serves the next device of its size after the latter, as long as it
//! has enough left.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::eal::Eal;
use crate::error::DpdkError;
use crate::mempool::Mempool;
use crate::sys;

/// Pools of devices that are closed. Frames of theirs may still be on their way through other ports.
static RETIRED: Mutex<Vec<(Mempool, u32)>> = Mutex::new(Vec::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A pool that one device uses.
#[derive(Debug)]
pub(super) struct OwnPool {
    pool: Mempool,
    count: u32,
    /// No buffer was outstanding when the device took it.
    whole: bool,
}

impl OwnPool {
    /// A retired pool of `count` buffers of `room` bytes that has most of them, or a new one.
    pub(super) fn take(eal: Eal, count: u32, room: u16) -> Result<Self, DpdkError> {
        let mut retired = RETIRED.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(pool, size): &(Mempool, u32)| {
            *size == count && pool.data_room() == room && pool.available() >= count - count / 4
        };
        if let Some(place) = retired.iter().position(fits) {
            let (pool, count) = retired.swap_remove(place);
            return Ok(Self { pool, count, whole: pool.available() == count });
        }
        drop(retired);
        let name = format!("af_xdp-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Ok(Self { pool: Mempool::new(eal, &name, count, room)?, count, whole: true })
    }

    pub(super) fn handle(&self) -> Mempool {
        self.pool
    }

    /// After the device was closed: frames may be under way, so the pool stays.
    pub(super) fn retire(self) {
        RETIRED.lock().unwrap_or_else(PoisonError::into_inner).push((self.pool, self.count));
    }

    /// After the device did not open: what is missing now is lost, and with the pool it comes back.
    pub(super) fn discard(self) {
        if self.whole {
            // SAFETY: no buffer was outstanding before, and without a queue none can have become a frame. The handle
            // has not left this module and the failed device, which is closed.
            unsafe { sys::rte_mempool_free(self.pool.as_ptr()) };
        } else {
            self.retire();
        }
    }
}
