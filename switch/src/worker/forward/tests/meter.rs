//! How many floods a port has left, naively: a second's worth of time that each flood takes its share of, and that fills again
//! as time passes. When exactly the worker looked at its clock is not known, so what is left is known within bounds.

use std::ops::RangeInclusive;

/// Time that is left, in cycles of the time-stamp counter: at least and at most.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    left: (u64, u64),
    /// When it was looked at last, between these two.
    seen: RangeInclusive<u64>,
    second: u64,
}

impl Meter {
    /// A full one, on a counter that counts `second` a second.
    pub(super) fn new(second: u64) -> Self {
        Self { left: (second, second), seen: 0..=0, second }
    }

    /// Whether a flood was right to pass, or not to, which was decided at some moment of `at`.
    pub(super) fn agrees(&mut self, passed: bool, limit: u32, at: RangeInclusive<u64>) -> bool {
        let (soonest, latest) = (at.start() - self.seen.end(), at.end() - self.seen.start());
        let low = self.second.min(self.left.0 + soonest);
        let high = self.second.min(self.left.1.saturating_add(latest));
        let price = self.second / u64::from(limit);
        self.seen = at;
        self.left = match passed {
            true => (low.saturating_sub(price), high.saturating_sub(price)),
            false => (low, high),
        };
        if passed { high >= price } else { low < price }
    }
}
