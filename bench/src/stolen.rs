//! What the machine takes from a thread that does nothing but read the clock: the part of a stall that is nobody's fault here.
//!
//! A hypervisor that runs something else on the processor, and the kernel's own interrupts, show as gaps between two readings.
//! `/proc/stat` counts only what the hypervisor admits to.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use shunt_ffi::clock;

use crate::cores;
use crate::figure::Sample;
use crate::stop;

/// A gap that counts as one: a reading takes some 10 ns.
const GAP: Duration = Duration::from_micros(2);
/// As long as the bar of a stall.
const LONG: Duration = Duration::from_micros(50);
/// Between two looks at whether the user wants to stop.
const SLICE: Duration = Duration::from_millis(100);

/// Reads the clock on `core` for `time`: the longest gap in microseconds, and how many and how much there were.
///
/// # Errors
/// There is no such core, or the user interrupts.
pub fn gaps(core: usize, time: Duration) -> Result<Sample> {
    thread::scope(|scope| scope.spawn(|| watch(core, time)).join())
        .map_err(|_| anyhow!("the clock's reader panicked"))?
}

fn watch(core: usize, time: Duration) -> Result<Sample> {
    cores::pin_self(core)?;
    let (gap, long, slice) = (clock::cycles(GAP), clock::cycles(LONG), clock::cycles(SLICE));
    let mut seen = Gaps::default();
    let mut last = clock::tsc();
    let end = last + clock::cycles(time);
    while last < end {
        stop::check()?;
        // What the look cost is nobody's gap.
        last = clock::tsc();
        let until = last + slice;
        while last < until {
            let now = clock::tsc();
            let length = now - last;
            last = now;
            if length > gap {
                seen.note(length, long);
            }
        }
    }
    Ok(seen.sample(time))
}

/// In cycles.
#[derive(Default)]
struct Gaps {
    worst: u64,
    total: u64,
    long: u32,
}

impl Gaps {
    fn note(&mut self, length: u64, long: u64) {
        self.worst = self.worst.max(length);
        self.total += length;
        self.long += u32::from(length > long);
    }

    fn sample(&self, time: Duration) -> Sample {
        let seconds = time.as_secs_f64();
        let beside = vec![
            ("gaps above 50 us a second", f64::from(self.long) / seconds),
            ("time in gaps %", clock::duration(self.total).as_secs_f64() / seconds * 100.0),
        ];
        Sample::new(clock::duration(self.worst).as_secs_f64() * 1e6, beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_the_value_and_long_ones_are_counted() {
        let mut seen = Gaps::default();
        let us = |us| clock::cycles(Duration::from_micros(us));
        for length in [3, 80, 51, 10] {
            seen.note(us(length), us(50));
        }
        let sample = seen.sample(Duration::from_secs(2));
        assert!((sample.value - 80.0).abs() < 0.1, "{sample:?}");
        assert_eq!(sample.beside[0], ("gaps above 50 us a second", 1.0));
        assert!((sample.beside[1].1 - 144e-6 / 2.0 * 100.0).abs() < 1e-5, "{sample:?}");
    }

    #[test]
    fn a_thread_that_reads_the_clock_is_interrupted_no_longer_than_it_reads() {
        let sample = gaps(0, Duration::from_millis(200)).unwrap();
        assert!(sample.value < 200e3 && sample.beside[1].1 <= 100.0, "{sample:?}");
    }
}
