//! Durations of what the control thread does, over the life of the daemon.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Upper ends of the intervals in which durations are given out, nanoseconds: 1, 2, 5, 10, ... us, to 10 s.
const ENDS: [u64; 22] = {
    let mut ends = [0; 22];
    let (mut at, mut power) = (0, 1_000);
    while at < ends.len() {
        ends[at] = power * [1, 2, 5][at % 3];
        if at % 3 == 2 {
            power *= 10;
        }
        at += 1;
    }
    ends
};
/// Longest that is told from longer ones, nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// Decimal digits that are kept of each.
const DIGITS: u8 = 2;

/// Durations, each to a hundredth of itself, and their exact sum.
#[derive(Clone, Debug)]
pub struct Durations {
    histogram: Histogram<u64>,
    sum: Duration,
}

impl Default for Durations {
    fn default() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds in order, and two digits");
        Self { histogram, sum: Duration::ZERO }
    }
}

impl Durations {
    /// Notes one.
    pub(super) fn note(&mut self, duration: Duration) {
        self.histogram.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(LONGEST));
        self.sum += duration;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// How many fell into each interval: its end in seconds, the last without end.
    pub fn intervals(&self) -> Vec<(f64, u64)> {
        let upto = |end: &u64| (*end as f64 / 1e9, self.histogram.count_between(0, *end));
        let all = (f64::INFINITY, self.count());
        let mut below = 0;
        let each = |(end, upto)| (end, upto - std::mem::replace(&mut below, upto));
        ENDS.iter().map(upto).chain([all]).map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_falls_into_its_interval_once() {
        let mut durations = Durations::default();
        for nanos in [0, 700, 1_500, 4_000, 9_990_000_000, 30_000_000_000, 3_600_000_000_000] {
            durations.note(Duration::from_nanos(nanos));
        }
        let intervals = durations.intervals();
        let count = |end: f64| intervals.iter().find(|(at, _)| *at == end).map(|(_, count)| *count);
        let ends = [1e-6, 2e-6, 5e-6, 10.0, f64::INFINITY];
        assert_eq!(ends.map(count), [2, 1, 1, 1, 2].map(Some));
        assert_eq!(intervals.iter().map(|(_, count)| count).sum::<u64>(), durations.count());
        assert!(intervals.is_sorted_by(|a, b| a.0 < b.0) && intervals.len() == ENDS.len() + 1);
        assert_eq!(durations.sum(), Duration::from_nanos(3_639_990_006_200));
    }
}
