//! Time on the way: a histogram with three digits (hdrhistogram), and what is told of it.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest time that is told apart, in nanoseconds: 10 s.
const LONGEST: u64 = 10_000_000_000;
const DIGITS: u8 = 3;
/// Points of a curve: shares of the frames, in steps that get finer towards the worst.
const CURVE: [f64; 20] = [
    0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995,
    0.9999, 1.0,
];

/// Collects times; recording allocates nothing.
#[derive(Debug)]
pub struct Times {
    nanoseconds: Histogram<u64>,
    per_cycle: f64,
}

/// What is told of the times, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Frames.
    pub frames: u64,
    /// Fastest.
    pub min_us: f64,
    /// Mean.
    pub mean_us: f64,
    /// Half of the frames took no longer.
    pub p50_us: f64,
    /// 90 of 100.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p99_9_us: f64,
    /// Slowest.
    pub max_us: f64,
    /// Pairs of a time and the share of the frames that took no longer.
    pub curve: Vec<(f64, f64)>,
}

impl Times {
    /// For a clock of `hz` cycles a second.
    pub fn new(hz: u64) -> Self {
        let nanoseconds =
            Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds that hdrhistogram allows");
        Self { nanoseconds, per_cycle: 1e9 / hz as f64 }
    }

    /// Takes note of `frames` frames that took so many cycles each; longer than 10 s counts as 10 s.
    #[inline]
    pub fn record(&mut self, cycles: u64, frames: u64) {
        self.nanoseconds.saturating_record_n((cycles as f64 * self.per_cycle) as u64, frames);
    }

    /// Forgets everything; allocates nothing.
    pub fn reset(&mut self) {
        self.nanoseconds.reset();
    }

    /// What is told; `None` when no frame came.
    pub fn told(&self) -> Option<Latency> {
        let times = &self.nanoseconds;
        if times.is_empty() {
            return None;
        }
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |share: f64| micros(times.value_at_quantile(share));
        Some(Latency {
            frames: times.len(),
            min_us: micros(times.min()),
            mean_us: times.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: micros(times.max()),
            curve: CURVE.iter().map(|share| (at(*share), *share)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_times() {
        let mut times = Times::new(1_000_000_000);
        assert_eq!(times.told(), None);
        (1..=1000).for_each(|micros| times.record(micros * 1000, 1));
        let told = times.told().unwrap();
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted * 0.002;
        assert!(
            near(told.p50_us, 500.0) && near(told.p99_us, 990.0) && near(told.p99_9_us, 999.0),
            "{told:?}"
        );
        assert!(near(told.min_us, 1.0) && near(told.max_us, 1000.0) && told.frames == 1000, "{told:?}");
        assert!(told.curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 < b.1), "{:?}", told.curve);
        times.record(u64::MAX, 1);
        assert!(times.told().unwrap().max_us <= 1.01 * LONGEST as f64 / 1e3);
        times.reset();
        assert_eq!(times.told(), None);
    }
}
