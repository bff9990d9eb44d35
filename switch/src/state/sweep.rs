//! Going through the table without stopping a worker: to end what was silent for too long, and to list.
//!
//! Both go by slots, in slices: a slice of 4,096 takes some 50 us of the caller's time, and workers notice nothing but
//! a bucket that is held while a connection of it is removed.

use super::atomic::Ordering;
use super::connection::{ConnRef, Connection};
use super::slots::Stock;
use super::table::{Removal, Table};
use super::timeouts::Timeouts;

/// What a slice of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Where the next slice starts; `None` at the end of the table.
    pub next: Option<usize>,
    /// Connections that are live after it, in the slots that were looked at.
    pub live: usize,
    /// Connections that were ended.
    pub ended: usize,
    /// Connections that could not be ended yet because somebody else was at the same place.
    pub busy: usize,
}

impl Table {
    /// Ends the connections in `budget` slots from `from` on that have been silent for too long at second `now` on the workers' clock.
    /// `ended` gets each as it was at the end.
    ///
    /// While less than an eighth of the table is free, connections that are not answered yet or on their way out get less time:
    /// the less the fuller it is, down to a second when a 32nd is free.
    pub fn sweep(
        &self,
        stock: &mut Stock,
        from: usize,
        budget: usize,
        now: u32,
        timeouts: &Timeouts,
        mut ended: impl FnMut(&Connection),
    ) -> Swept {
        let end = self.records.len().min(from.saturating_add(budget));
        let mut swept = Swept { next: (end < self.records.len()).then_some(end), ..Swept::default() };
        let hurry = self.hurry();
        for slot in from..end {
            let Some(record) = self.records.get(slot) else { break };
            let life = record.life();
            let Some(generation) = life.live() else { continue };
            let mut patience = timeouts.of(&record.original(), life.state());
            if life.state().is_fleeting() {
                patience = hurry.shorten(patience);
            }
            // A worker's clock may be ahead of the caller's.
            let silent = now.saturating_sub(record.seen.load(Ordering::Relaxed));
            if silent < patience {
                swept.live += 1;
                continue;
            }
            match self.remove(stock, ConnRef { slot: slot as u32, generation }) {
                Removal::Removed(last) => {
                    swept.ended += 1;
                    ended(&last);
                }
                Removal::Gone => {}
                Removal::Busy => swept.busy += 1,
            }
        }
        swept
    }

    /// Copies live connections from slot `from` on to `into`, as many as fit its capacity, and looks at `budget` slots at most.
    /// Returns where to go on; `None` at the end. A connection that lives all the time is in the list once; of those that
    /// come and go meanwhile some are.
    pub fn list(&self, from: usize, budget: usize, into: &mut Vec<Connection>) -> Option<usize> {
        let end = self.records.len().min(from.saturating_add(budget));
        for slot in from..end {
            if into.len() == into.capacity() {
                return Some(slot);
            }
            let record = self.records.get(slot)?;
            let Some(generation) = record.life().live() else { continue };
            into.extend(record.copy(ConnRef { slot: slot as u32, generation }));
        }
        (end < self.records.len()).then_some(end)
    }

    fn hurry(&self) -> Hurry {
        let (tight, tightest) = (self.capacity() / 8, self.capacity() / 32);
        let left = self.free().clamp(tightest, tight.max(tightest)) - tightest;
        Hurry { left: left as u64, of: (tight - tightest).max(1) as u64, is_on: self.free() < tight }
    }
}

/// By how much the patience with fleeting connections is shortened: to `left / of`.
#[derive(Clone, Copy, Debug)]
struct Hurry {
    left: u64,
    of: u64,
    is_on: bool,
}

impl Hurry {
    fn shorten(self, patience: u32) -> u32 {
        if !self.is_on {
            return patience;
        }
        ((u64::from(patience) * self.left / self.of) as u32).clamp(1, patience.max(1))
    }
}
