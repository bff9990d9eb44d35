//! Free slots: a stock for each thread, and a shared stack of chains that fills and empties the stocks.
//!
//! A chain is up to [`CHAIN`] free slots linked through their records. The stack is Treiber's, with a count in its head
//! against the ABA problem; one compare-and-swap moves a whole chain, so that threads meet there once in [`CHAIN`] connections.

use super::atomic::{AtomicU32, Cells, Ordering, Word};
use super::record::Record;

/// Slots that a chain has at most.
#[cfg(not(feature = "loom"))]
pub(super) const CHAIN: usize = 64;
#[cfg(feature = "loom")]
pub(super) const CHAIN: usize = 1;

/// One thread's stock of free slots: who enters connections or removes them needs one.
///
/// What is in it is nobody else's to use: a table has room for a full stock of each thread beyond its capacity. Give it back
/// with [`super::Table::return_stock`] before it is dropped, or its slots stay empty for ever.
#[derive(Debug)]
pub struct Stock {
    slots: Box<[u32; 2 * CHAIN]>,
    len: usize,
}

impl Default for Stock {
    fn default() -> Self {
        Self { slots: Box::new([0; 2 * CHAIN]), len: 0 }
    }
}

impl Stock {
    /// The slot that is taken next, when there is one at hand.
    #[inline]
    pub(super) fn next(&self) -> Option<u32> {
        self.slots.get(self.len.checked_sub(1)?).copied()
    }
}

/// The shared stack.
#[derive(Debug)]
pub(super) struct Free {
    /// A count that each change raises, and the first slot of the topmost chain, plus one.
    head: Word,
    /// Slots in it, about.
    count: AtomicU32,
}

impl Free {
    /// All of `records`.
    pub(super) fn all(records: &Cells<Record>) -> Self {
        let free = Self { head: Word::new(0), count: AtomicU32::new(0) };
        let mut chain = [0; CHAIN];
        // The lowest slots come off first.
        for start in (0..records.len()).step_by(CHAIN).rev() {
            let end = records.len().min(start + CHAIN);
            for (place, slot) in chain.iter_mut().zip(start..end) {
                *place = slot as u32;
            }
            free.push(records, &chain[..end - start]);
        }
        free
    }

    /// Slots that are free and in no stock; exact while nothing moves.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// A free slot; `None` when there is none.
    #[inline]
    pub(super) fn take(&self, records: &Cells<Record>, stock: &mut Stock) -> Option<u32> {
        if stock.len == 0 {
            self.pop(records, stock);
        }
        stock.len = stock.len.checked_sub(1)?;
        stock.slots.get(stock.len).copied()
    }

    /// Takes back a slot that holds no connection any more.
    #[inline]
    pub(super) fn give(&self, records: &Cells<Record>, stock: &mut Stock, slot: u32) {
        if stock.len == 2 * CHAIN {
            // The older half; what was used last is still in the cache.
            self.push(records, &stock.slots[..CHAIN]);
            stock.slots.copy_within(CHAIN.., 0);
            stock.len = CHAIN;
        }
        stock.slots[stock.len] = slot;
        stock.len += 1;
    }

    /// Empties a stock.
    pub(super) fn give_all(&self, records: &Cells<Record>, stock: &mut Stock) {
        for chain in stock.slots[..stock.len].chunks(CHAIN) {
            self.push(records, chain);
        }
        stock.len = 0;
    }

    fn push(&self, records: &Cells<Record>, chain: &[u32]) {
        let mut above = 0;
        for slot in chain.iter().rev() {
            records[*slot as usize].links().0.store(above, Ordering::Relaxed);
            above = *slot + 1;
        }
        if above == 0 {
            return;
        }
        let first = &records[above as usize - 1];
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            first.links().1.store(head as u32, Ordering::Relaxed);
            let new = next_count(head) | u64::from(above);
            match self.head.compare_exchange(head, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.count.fetch_add(chain.len() as u32, Ordering::Relaxed);
    }

    fn pop(&self, records: &Cells<Record>, stock: &mut Stock) {
        let mut head = self.head.load(Ordering::Acquire);
        let mut slot = loop {
            let Some(first) = (head as u32).checked_sub(1) else {
                return;
            };
            // May be of another chain by now: then the count has changed, and the exchange fails.
            let below = records[first as usize].links().1.load(Ordering::Relaxed);
            match self.head.compare_exchange(
                head,
                next_count(head) | u64::from(below),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break head as u32,
                Err(now) => head = now,
            }
        };
        while let Some(index) = slot.checked_sub(1) {
            stock.slots[stock.len] = index;
            stock.len += 1;
            slot = records[index as usize].links().0.load(Ordering::Relaxed);
        }
        self.count.fetch_sub(stock.len as u32, Ordering::Relaxed);
    }
}

fn next_count(head: u64) -> u64 {
    (head >> 32).wrapping_add(1) << 32
}
