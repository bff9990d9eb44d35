//! The index: where a tuple's record is.
//!
//! A bucket is one cache line: a control word and [`WAYS`] entries. Every tuple has a home bucket and a second one, where it
//! goes when the home is nearly full; its home's control word counts those. So a search reads one line, and another only
//! when that count is not 0.
//!
//! Entries are single words, are written where they stay, and are cleared when their connection ends: a search takes no lock
//! and never misses an entry that was there all the time. Who enters or clears a tuple holds its *home*: the same tuple
//! cannot be entered twice. The second bucket is not held: places in it are taken by compare-and-swap.

use super::atomic::{Ordering, Word, pause};
use super::connection::Direction;

/// Entries of a bucket.
#[cfg(not(feature = "loom"))]
pub(super) const WAYS: usize = 7;
/// Few, so that a model check ends.
#[cfg(feature = "loom")]
pub(super) const WAYS: usize = 2;
/// Attempts at a held bucket before the caller is told that it is busy: some 3 us.
#[cfg(not(feature = "loom"))]
const ATTEMPTS: u32 = 64;
#[cfg(feature = "loom")]
const ATTEMPTS: u32 = 2;
/// A home with fewer empty places than this gives a newcomer to its second bucket, if that has more.
const RESERVE: usize = 3;
const HELD: u64 = 1;
const ONE_SPILLED: u64 = 1 << 32;

/// A bucket.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Bit 0: held; upper half: how many tuples whose home it is are in their second bucket.
    control: Word,
    entries: [Word; WAYS],
}

#[cfg(not(feature = "loom"))]
const _: () = assert!(size_of::<Bucket>() == 64);

/// Where a tuple belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) home: usize,
    pub(super) second: usize,
    /// Upper half of its entry but for the direction.
    tag: u64,
}

impl Spot {
    /// Of a tuple with `hash`, among `buckets`.
    #[inline]
    pub(super) fn new(hash: u64, buckets: usize) -> Self {
        let buckets = buckets as u64;
        // Each from other bits: the home from the highest, the distance to the second from the lower half's highest.
        let home = ((hash >> 32) * buckets) >> 32;
        let distance = ((hash & 0xffff_ffff) * (buckets - 1)) >> 32;
        let second = home + 1 + distance;
        let second = if second >= buckets { second - buckets } else { second };
        Self { home: home as usize, second: second as usize, tag: (hash << 17 | 1 << 63) & !0x1_ffff_ffff }
    }

    /// The entry that says: this tuple, as packets of `direction` have it, is that of slot `slot`.
    #[inline]
    pub(super) fn entry(self, direction: Direction, slot: u32) -> u64 {
        self.tag | (direction as u64) << 32 | u64::from(slot)
    }

    /// The direction and slot of an entry, when it may be of this tuple.
    #[inline]
    fn read(self, entry: u64) -> Option<(Direction, u32)> {
        (entry & !0x1_ffff_ffff == self.tag)
            .then(|| (Direction::of((entry >> 32 & 1) as usize), entry as u32))
    }
}

/// A bucket that the caller holds.
#[derive(Debug)]
pub(super) struct Held<'b> {
    bucket: &'b Bucket,
    /// The control word to leave behind, without [`HELD`].
    control: u64,
}

impl Bucket {
    pub(super) fn new() -> Self {
        Self { control: Word::new(0), entries: std::array::from_fn(|_| Word::new(0)) }
    }

    /// Whether tuples at home here may be in their second bucket.
    #[inline]
    pub(super) fn has_spilled(&self) -> bool {
        self.control.load(Ordering::Acquire) >= ONE_SPILLED
    }

    /// The slots whose tuple may be that of `spot`.
    #[inline]
    pub(super) fn candidates(&self, spot: Spot) -> impl Iterator<Item = (Direction, u32)> + '_ {
        self.entries.iter().filter_map(move |entry| spot.read(entry.load(Ordering::Acquire)))
    }

    /// Takes hold of it; `None` when somebody else has held it all the time.
    #[inline]
    pub(super) fn hold(&self) -> Option<Held<'_>> {
        for _ in 0..ATTEMPTS {
            let control = self.control.load(Ordering::Relaxed);
            if control & HELD == 0
                && self
                    .control
                    .compare_exchange_weak(control, control | HELD, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return Some(Held { bucket: self, control });
            }
            pause();
        }
        None
    }

    fn empty(&self) -> usize {
        self.entries.iter().filter(|entry| entry.load(Ordering::Relaxed) == 0).count()
    }

    /// Takes an empty place for `entry`.
    fn put(&self, entry: u64) -> bool {
        self.entries.iter().any(|place| {
            place.load(Ordering::Relaxed) == 0
                && place.compare_exchange(0, entry, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    fn clear(&self, entry: u64) -> bool {
        let place = self.entries.iter().find(|place| place.load(Ordering::Relaxed) == entry);
        place.map(|place| place.store(0, Ordering::Release)).is_some()
    }
}

impl Held<'_> {
    /// Enters `entry`, whose home this is and whose second bucket `second` is; false when both are full.
    pub(super) fn enter(&mut self, second: &Bucket, entry: u64) -> bool {
        let here = self.bucket.empty();
        // The second one is looked at when that matters only: its line is seldom at hand.
        let home_first = here >= RESERVE || here >= second.empty();
        if home_first && self.bucket.put(entry) {
            return true;
        }
        // Counted first: who sees the entry must also see that he has to look there.
        self.control += ONE_SPILLED;
        self.bucket.control.store(self.control | HELD, Ordering::Release);
        if second.put(entry) {
            return true;
        }
        self.control -= ONE_SPILLED;
        self.bucket.put(entry)
    }

    /// Clears `entry` again.
    pub(super) fn clear(&mut self, second: &Bucket, entry: u64) {
        if !self.bucket.clear(entry) && second.clear(entry) {
            self.control -= ONE_SPILLED;
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bucket.control.store(self.control, Ordering::Release);
    }
}
