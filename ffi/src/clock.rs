//! The time-stamp counter: the cheapest clock of the data path (about 9 ns in a virtual machine, so it is read per
//! burst, never per packet).

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Cycles of the time-stamp counter since an arbitrary start.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: `rdtsc` exists on every x86-64 processor and has no precondition.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Frequency of the time-stamp counter in Hz, measured once against the monotonic clock (takes about 20 ms then).
pub fn tsc_hz() -> u64 {
    static HZ: OnceLock<u64> = OnceLock::new();
    *HZ.get_or_init(|| {
        let (started, first) = (Instant::now(), tsc());
        std::thread::sleep(Duration::from_millis(20));
        let (elapsed, cycles) = (started.elapsed(), tsc() - first);
        (cycles as f64 / elapsed.as_secs_f64()) as u64
    })
}

/// Cycles in `duration`.
pub fn cycles(duration: Duration) -> u64 {
    (duration.as_secs_f64() * tsc_hz() as f64) as u64
}

/// Duration of `cycles`.
pub fn duration(cycles: u64) -> Duration {
    Duration::from_secs_f64(cycles as f64 / tsc_hz() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_and_durations_agree() {
        let hz = tsc_hz();
        assert!(hz > 500_000_000, "a {hz} Hz time-stamp counter is not believable");
        let back = duration(cycles(Duration::from_millis(10)));
        assert!(back.abs_diff(Duration::from_millis(10)) < Duration::from_micros(1));
    }
}
