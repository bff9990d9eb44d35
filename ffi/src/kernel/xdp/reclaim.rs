//! Buffers that are in the rings of an AF_XDP socket when its device is closed: the driver forgets them.
//!
//! The rings are memory of the socket (`xsk_mmap`, net/xdp/xsk.c) and outlive the driver's own mapping of them, so we map
//! them once more and read what lies between consumer and producer. Not found: what a NIC in zero-copy mode has taken
//! out of the fill ring, and what is still in a packet under way to a pod (up to a ring each, mostly nothing).

use std::collections::HashSet;
use std::mem::{size_of, zeroed};
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mbuf::Mbuf;
use crate::mempool::Mempool;
use crate::sys;

/// Largest and smallest ring looked for, as binary logarithm. The driver's have 2,048 and 4,096 entries; below 512 a
/// ring could not be told from a smaller one, as both fill a page.
const ENTRIES: (u32, u32) = (16, 9);
/// Bits of an address in unaligned mode; the rest is an offset (`XSK_UNALIGNED_BUF_ADDR_MASK`).
const ADDRESS: u64 = (1 << 48) - 1;

/// Adds the buffers of `pool` that are in the socket's rings.
pub(super) fn outstanding(socket: RawFd, pool: Mempool, found: &mut HashSet<NonNull<sys::rte_mbuf>>) {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { zeroed() };
    let mut length = size_of::<libc::xdp_mmap_offsets>() as u32;
    let value = std::ptr::from_mut(&mut offsets).cast();
    // SAFETY: the kernel writes at most `length` bytes, the size of the structure.
    if unsafe { libc::getsockopt(socket, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, value, &mut length) } < 0 {
        return;
    }
    let descriptor = size_of::<libc::xdp_desc>();
    // In the order in which a received frame moves: what moves meanwhile is seen twice rather than not at all.
    let rings = [
        (libc::XDP_UMEM_PGOFF_FILL_RING as i64, offsets.fr, size_of::<u64>()),
        (libc::XDP_PGOFF_RX_RING, offsets.rx, descriptor),
        (libc::XDP_PGOFF_TX_RING, offsets.tx, descriptor),
        (libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64, offsets.cr, size_of::<u64>()),
    ];
    for (place, offsets, entry) in rings {
        if let Some(ring) = Ring::map(socket, place, offsets, entry) {
            found.extend(ring.addresses().into_iter().filter_map(|address| buffer(pool, address)));
        }
    }
}

/// Returns buffers to their pools.
///
/// # Safety
/// Nobody else refers to them.
pub(super) unsafe fn free(buffers: &HashSet<NonNull<sys::rte_mbuf>>) {
    for buffer in buffers {
        // SAFETY: upheld by the caller; `buffer()` has checked that it is one.
        drop(unsafe { Mbuf::from_raw(*buffer) });
    }
}

/// The buffer that the driver means by `address`: relative to the page that the pool's memory begins in.
fn buffer(pool: Mempool, address: u64) -> Option<NonNull<sys::rte_mbuf>> {
    let raw = pool.as_ptr();
    // SAFETY: the pool is alive; a pool that the driver took has one chunk of memory (it refuses others), which does
    // not change.
    let (start, length, header) = unsafe {
        let memory = (*raw).mem_list.stqh_first.as_ref()?;
        (memory.addr as u64, memory.len as u64, u64::from((*raw).header_size))
    };
    // SAFETY: plain library call.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let at = (start & !(page - 1)) + (address & ADDRESS) + header;
    let end = at.checked_add(size_of::<sys::rte_mbuf>() as u64)?;
    if at < start || end > start + length || !at.is_multiple_of(align_of::<sys::rte_mbuf>() as u64) {
        return None;
    }
    let candidate = NonNull::new(at as *mut sys::rte_mbuf)?;
    // SAFETY: inside the pool's memory and aligned, checked above; any bytes are valid in the fields read.
    let (owner, data) = unsafe { ((*candidate.as_ptr()).pool, (*candidate.as_ptr()).buf_addr as u64) };
    (owner == raw && data == end).then_some(candidate)
}

/// A ring of a socket, mapped for reading.
struct Ring {
    start: NonNull<u8>,
    length: usize,
    offsets: libc::xdp_ring_offset,
    entries: u32,
    entry: usize,
}

impl Ring {
    /// Maps the ring at `place`. Its size is not told, so the largest mapping that the kernel allows is taken.
    fn map(socket: RawFd, place: i64, offsets: libc::xdp_ring_offset, entry: usize) -> Option<Self> {
        (ENTRIES.1..=ENTRIES.0).rev().find_map(|shift| {
            let length = offsets.desc as usize + (entry << shift);
            // SAFETY: a new mapping that overlaps nothing; the kernel refuses one longer than the ring.
            let start = unsafe {
                libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, socket, place)
            };
            if start == libc::MAP_FAILED {
                return None;
            }
            let start = NonNull::new(start.cast::<u8>())?;
            Some(Self { start, length, offsets, entries: 1 << shift, entry })
        })
    }

    /// What lies between consumer and producer.
    fn addresses(&self) -> Vec<u64> {
        let index = |offset: u64| {
            // SAFETY: an aligned integer inside the mapping that the kernel may change meanwhile, hence atomic.
            unsafe { self.start.add(offset as usize).cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire)
        };
        let (consumer, producer) = (index(self.offsets.consumer), index(self.offsets.producer));
        let waiting = producer.wrapping_sub(consumer);
        if waiting > self.entries {
            return Vec::new();
        }
        let slot = |step: u32| {
            let number = consumer.wrapping_add(step) & (self.entries - 1);
            let offset = self.offsets.desc as usize + number as usize * self.entry;
            // SAFETY: `number` is below the number of entries, so the entry lies inside the mapping; its first word is
            // the address.
            unsafe { self.start.add(offset).cast::<u64>().read_volatile() }
        };
        (0..waiting).map(slot).collect()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: our own mapping, to which no reference is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
