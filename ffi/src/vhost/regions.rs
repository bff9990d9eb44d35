//! Guest memory as workers see it: which of the guest's addresses are mapped, and where.
//!
//! The relay writes the table while workers are outside; a worker copies it when the port's epoch has changed, and looks
//! addresses up in its copy. Cost of a look-up: one compare while addresses stay in one region, as they do.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::sys;

/// Regions a front end may share (`VHOST_MEMORY_MAX_NREGIONS` of the library).
pub(super) const MOST: usize = 8;

/// One mapped region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapped {
    /// Where the guest sees it.
    pub(super) guest: u64,
    /// Bytes; neither end overflows.
    pub(super) size: u64,
    /// Where we see it.
    pub(super) host: u64,
}

impl Mapped {
    /// Distance of `at` from `start`, when `length` bytes from there lie inside.
    #[inline]
    fn offset(&self, start: u64, at: u64, length: u64) -> Option<u64> {
        let offset = at.wrapping_sub(start);
        (offset <= self.size && self.size - offset >= length).then_some(offset)
    }
}

/// The table of a port.
#[derive(Debug, Default)]
pub(super) struct Regions {
    count: AtomicUsize,
    words: [[AtomicU64; 3]; MOST],
}

impl Regions {
    /// Forgets all. Control side, while nobody is inside.
    pub(super) fn clear(&self) {
        self.count.store(0, Ordering::Relaxed);
    }

    /// What the library has mapped. Control side, while nobody is inside; the line's opening publishes it.
    pub(super) fn set(&self, table: &[sys::rte_vhost_mem_region]) {
        for (words, region) in self.words.iter().zip(table) {
            let [guest, size, host] = words;
            guest.store(region.guest_phys_addr, Ordering::Relaxed);
            size.store(region.size, Ordering::Relaxed);
            host.store(region.host_user_addr, Ordering::Relaxed);
        }
        // A table that is longer than any can be is none.
        self.count.store(if table.len() > MOST { 0 } else { table.len() }, Ordering::Relaxed);
    }

    /// A worker's copy; taken inside the gate.
    pub(super) fn map(&self) -> Map {
        let mut regions = [Mapped::default(); MOST];
        let count = self.count.load(Ordering::Relaxed).min(MOST);
        for (region, words) in regions.iter_mut().zip(&self.words).take(count) {
            let [guest, size, host] = words.each_ref().map(|word| word.load(Ordering::Relaxed));
            *region = Mapped { guest, size, host };
        }
        Map { regions, last: 0 }
    }
}

/// A worker's copy of the table. Unused places are regions of no bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map {
    regions: [Mapped; MOST],
    /// Where the last address was found.
    last: usize,
}

impl Map {
    /// Where `length` bytes (at least one) at the guest's `address` are, all in one region.
    #[inline]
    pub(super) fn find(&mut self, address: u64, length: u64) -> Option<*mut u8> {
        let region = &self.regions[self.last];
        match region.offset(region.guest, address, length) {
            Some(offset) => Some((region.host + offset) as *mut u8),
            None => self.search(address, length),
        }
    }

    #[cold]
    fn search(&mut self, address: u64, length: u64) -> Option<*mut u8> {
        let fits = |region: &Mapped| region.offset(region.guest, address, length);
        let (index, offset) =
            self.regions.iter().enumerate().find_map(|(index, region)| Some((index, fits(region)?)))?;
        self.last = index;
        Some((self.regions[index].host + offset) as *mut u8)
    }

    /// True when `length` bytes at our own address `at` are the guest's memory.
    pub(super) fn holds(&self, at: u64, length: u64) -> bool {
        self.regions.iter().any(|region| region.offset(region.host, at, length).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(regions: &[(u64, u64, u64)]) -> Map {
        let table: Vec<_> = regions
            .iter()
            .map(|&(guest, size, host)| sys::rte_vhost_mem_region {
                guest_phys_addr: guest,
                size,
                host_user_addr: host,
                ..Default::default()
            })
            .collect();
        let regions = Regions::default();
        regions.set(&table);
        regions.map()
    }

    #[test]
    fn bytes_are_found_in_their_region_only() {
        let mut map =
            map(&[(0x1000, 0x1000, 0xa000), (0x2000, 0x100, 0x10_0000), (u64::MAX - 99, 99, 0x20_0000)]);
        let mut at = |address, length| map.find(address, length).map(|pointer| pointer as u64);
        assert_eq!(at(0x1000, 0x1000), Some(0xa000));
        assert_eq!(at(0x20ff, 1), Some(0x10_00ff));
        assert_eq!(at(0x1fff, 1), Some(0xafff));
        assert_eq!(at(u64::MAX - 1, 1), Some(0x20_0000 + 98));
        for (address, length) in [
            (0xfff, 1),
            (0x1fff, 2),
            (0x20ff, 2),
            (0x2100, 1),
            (0, 1),
            (u64::MAX, 1),
            (u64::MAX - 1, 2),
            (0x1000, u64::MAX),
            (0x1001, u64::MAX),
        ] {
            assert_eq!(at(address, length), None, "{address:x} {length:x}");
        }
        assert!(map.holds(0xa000, 0x1000) && !map.holds(0xa000, 0x1001) && !map.holds(0x1000, 1));
    }

    #[test]
    fn no_table_and_one_too_long_hold_nothing() {
        assert_eq!(Regions::default().map().find(0, 1), None);
        let mut long = map(&[(0, 0x1000, 0xa000); MOST + 1]);
        assert_eq!(long.find(0, 1), None);
    }
}
