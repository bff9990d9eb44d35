//! How long the worker's iterations take: a frame that comes in waits at most for the end of the iteration under way, and then takes
//! one more until it is sent. From the time stamps that the loop takes anyway, once per iteration.
//!
//! Cost: a comparison for every iteration; for one with frames a multiplication and two counters.

use std::time::Duration;

use shunt_ffi::clock;

use crate::counters::LoopCounters;

/// An iteration that takes longer makes frames late: the latency at which reference 001 looks for a lack of CPU time.
pub const LATE: Duration = Duration::from_millis(5);

/// From cycles to nanoseconds, and which are too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Nanoseconds per cycle, as a fraction of 2^32.
    scale: u64,
    /// [`LATE`] in cycles.
    late: u64,
}

impl Pace {
    /// For the time-stamp counter of this machine.
    pub(super) fn new() -> Self {
        let scale = (1_000_000_000_u128 << 32) / u128::from(clock::tsc_hz().max(1));
        Self { scale: scale as u64, late: clock::cycles(LATE) }
    }

    /// Notes an iteration of `spent` cycles with frames, in which a queue gave a whole burst or not.
    #[inline]
    pub(super) fn busy(self, time: &LoopCounters, spent: u64, full: bool) {
        time.latency.note(self.nanos(spent));
        time.full.add(u64::from(full));
    }

    /// Notes an iteration of `spent` cycles, with frames or without: what came meanwhile has waited.
    #[inline]
    pub(super) fn any(self, time: &LoopCounters, spent: u64) {
        if spent > self.late {
            late(time, spent);
        }
    }

    #[inline]
    fn nanos(self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.scale)) >> 32) as u64
    }
}

#[cold]
fn late(time: &LoopCounters, spent: u64) {
    time.late.add(1);
    time.worst_late_cycles.raise_to(spent);
    time.last_late_cycles.set(time.total_cycles.get());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_become_nanoseconds() {
        let pace = Pace::new();
        for wanted in [100, 5_000_000, 60_000_000_000] {
            let found = pace.nanos(clock::cycles(Duration::from_nanos(wanted)));
            assert!(found.abs_diff(wanted) <= 2 + wanted / 100_000, "{wanted} became {found}");
        }
    }

    #[test]
    fn only_what_is_too_long_is_late() {
        let (pace, time) = (Pace::new(), LoopCounters::default());
        let limit = clock::cycles(LATE);
        time.total_cycles.set(7);
        for spent in [0, 1, limit, limit + 1, 3 * limit, 2 * limit] {
            pace.any(&time, spent);
        }
        let (late, worst, last) = (&time.late, &time.worst_late_cycles, &time.last_late_cycles);
        assert_eq!((late.get(), worst.get(), last.get()), (3, 3 * limit, 7));
    }
}
