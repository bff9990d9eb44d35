//! One split ring in the guest's memory (virtio 1.1, 2.6), read and written with the guest as a possible enemy.
//!
//! Every word of the guest's is read once and volatile: what was checked is what is used. Nothing read here is believed:
//! an index is masked, an address looked up, by whoever uses it.

use std::sync::atomic::{AtomicU16, Ordering, fence};

use crate::sys;

use super::super::gate::Inside;
use super::super::regions::Map;
use super::super::watch;

/// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
const NO_INTERRUPT: u16 = 1;

/// A descriptor, as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) length: u32,
    pub(super) flags: u16,
}

impl Descriptor {
    /// `VIRTQ_DESC_F_NEXT`.
    pub(super) const NEXT: u16 = 1;
    /// `VIRTQ_DESC_F_WRITE`: the device writes it.
    pub(super) const WRITE: u16 = 2;
    /// `VIRTQ_DESC_F_INDIRECT`.
    pub(super) const INDIRECT: u16 = 4;
    const ANY: u16 = Self::NEXT | Self::WRITE | Self::INDIRECT;

    /// A buffer to read, alone.
    #[inline]
    pub(super) fn is_lone_read(self) -> bool {
        self.flags & Self::ANY == 0
    }

    /// A buffer to write, alone.
    #[inline]
    pub(super) fn is_lone_write(self) -> bool {
        self.flags & Self::ANY == Self::WRITE
    }
}

/// Where a ring is. Valid for one epoch of its port, and only inside the gate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    number: u16,
    /// Entries less one; the ring has a power of two of them.
    mask: u16,
    /// The guest says by index when to call it (`VIRTIO_RING_F_EVENT_IDX`).
    event_idx: bool,
    descriptors: *const [u64; 2],
    available: *const u16,
    used: *mut u8,
}

// SAFETY: plain addresses of memory that is mapped for the whole process; who may follow them is the gate's business.
unsafe impl Send for Ring {}

/// What the library knows of a ring: the next entry to take and the next to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) available: u16,
    pub(super) used: u16,
}

impl Ring {
    /// The ring's addresses, when it is one that can be worked with: split, whole inside of `map`, and aligned.
    pub(super) fn of(inside: &Inside<'_>, number: u16, event_idx: bool, map: &Map) -> Option<Self> {
        let mut ring = sys::rte_vhost_vring::default();
        // SAFETY: writes the structure; the device lives while we are inside. It takes no lock.
        if unsafe { sys::rte_vhost_get_vhost_vring(inside.vid, number, &mut ring) } != 0 {
            return None;
        }
        // SAFETY: unions of pointers.
        let (descriptors, available, used) = unsafe {
            (
                ring.__bindgen_anon_1.desc as u64,
                ring.__bindgen_anon_2.avail as u64,
                ring.__bindgen_anon_3.used as u64,
            )
        };
        let entries = ring.size;
        let event = if event_idx { 2 } else { 0 };
        let parts = [
            (descriptors, 16 * u64::from(entries), 16),
            (available, 4 + 2 * u64::from(entries) + event, 2),
            // Entries of 8 bytes behind 4: aligned to 4 (virtio 1.1, 2.6).
            (used, 4 + 8 * u64::from(entries) + event, 4),
        ];
        let good = |&(at, size, align): &(u64, u64, u64)| at.is_multiple_of(align) && map.holds(at, size);
        (entries.is_power_of_two() && parts.iter().all(good)).then(|| Self {
            number,
            mask: entries - 1,
            event_idx,
            descriptors: descriptors as *const [u64; 2],
            available: available as *const u16,
            used: used as *mut u8,
        })
    }

    #[inline]
    pub(super) fn base(&self, inside: &Inside<'_>) -> Option<Base> {
        let mut base = Base { available: 0, used: 0 };
        // SAFETY: two writable integers; the device lives while we are inside.
        let got = unsafe {
            sys::rte_vhost_get_vring_base(inside.vid, self.number, &mut base.available, &mut base.used)
        };
        (got == 0).then_some(base)
    }

    #[inline]
    pub(super) fn set_base(&self, inside: &Inside<'_>, base: Base) {
        // SAFETY: the device lives while we are inside, and nobody else uses the ring meanwhile.
        unsafe { sys::rte_vhost_set_vring_base(inside.vid, self.number, base.available, base.used) };
    }

    /// Entries that the guest has made available since `base`, at most as many as the ring has.
    #[inline]
    pub(super) fn waiting(&self, base: Base) -> usize {
        // SAFETY: the second word of the ring's available part, aligned to 2 (`of`).
        let index = unsafe { AtomicU16::from_ptr(self.available.add(1).cast_mut()) }.load(Ordering::Acquire);
        usize::from(index.wrapping_sub(base.available)).min(usize::from(self.mask) + 1)
    }

    /// The head that available entry `position` names; may be any number.
    #[inline]
    pub(super) fn head(&self, position: u16) -> u16 {
        // SAFETY: the masked entry lies inside the available part (`of`).
        unsafe { self.available.add(2 + usize::from(position & self.mask)).read_volatile() }
    }

    #[inline]
    pub(super) fn has(&self, head: u16) -> bool {
        head <= self.mask
    }

    /// Reads a descriptor, once.
    #[inline]
    pub(super) fn descriptor(&self, head: u16) -> Descriptor {
        // SAFETY: the masked entry lies inside the table (`of`), which is aligned to 16.
        let [address, rest] = unsafe { self.descriptors.add(usize::from(head & self.mask)).read_volatile() };
        Descriptor { address, length: rest as u32, flags: (rest >> 32) as u16 }
    }

    /// Gives `head` back at used entry `position`. An entry that says so already, as it does when frames are of one length
    /// and the guest goes round its buffers in order, is left alone: its line stays in the guest's cache.
    #[inline]
    pub(super) fn give_back(&self, position: u16, head: u16, length: u32) {
        let entry = u64::from(head) | u64::from(length) << 32;
        let at = self.used.wrapping_add(4 + 8 * usize::from(position & self.mask)).cast::<[u32; 2]>();
        // SAFETY: the masked entry lies inside the used part (`of`), which is aligned to 4.
        unsafe {
            let [id, old] = at.read_volatile();
            if u64::from(id) | u64::from(old) << 32 != entry {
                at.write_volatile([u32::from(head), length]);
            }
        }
    }

    /// Tells the guest of all entries given back before, and the library where the ring stands.
    #[inline]
    pub(super) fn publish(&self, inside: &Inside<'_>, base: Base) {
        // SAFETY: the second word of the used part, aligned to 4 (`of`).
        unsafe { AtomicU16::from_ptr(self.used.add(2).cast()) }.store(base.used, Ordering::Release);
        self.set_base(inside, base);
    }

    /// Calls the guest if it wants to be called for what was published before.
    #[inline]
    pub(super) fn call(&self, inside: &Inside<'_>) {
        if !self.event_idx {
            // Publish, then look: the guest does it the other way round, so one of us sees the other.
            fence(Ordering::SeqCst);
            // SAFETY: the first word of the available part.
            if unsafe { self.available.read_volatile() } & NO_INTERRUPT != 0 {
                return;
            }
        }
        watch::beware();
        // SAFETY: the device lives while we are inside. The library looks at the same words and at the event index.
        unsafe { sys::rte_vhost_vring_call(inside.vid, self.number) };
    }
}
