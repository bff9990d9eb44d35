//! Policers: how much may come in by a port, or into a network, in a second; what is more is dropped before anything is done with it.
//!
//! A meter by time for frames and one for bits (the generic cell rate algorithm, ITU-T I.371 annex A), as storm control has; but all
//! workers share it, so that what it allows is what all queues of a port, and all ports of a network, have together. No lock: each
//! worker adds to two numbers. A topology that follows another one goes on with its meters. Cost, for a frame of a port that is
//! policed: two atomic additions; a reading of the time-stamp counter for the burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shunt_config::Police;

/// What may come at once after silence is this part of what may come in a second, and one frame.
const AT_ONCE: u64 = 10;

/// One policer.
#[derive(Debug)]
pub struct Meter {
    rates: Police,
    /// The moment, on the time-stamp counter, at which all frames that have passed are paid for.
    frames: AtomicU64,
    /// The same for bits.
    bits: AtomicU64,
}

/// Meters are the same when they allow the same.
impl PartialEq for Meter {
    fn eq(&self, other: &Self) -> bool {
        self.rates == other.rates
    }
}

impl Eq for Meter {}

impl Meter {
    /// One that is full; `None` where there is no limit.
    pub fn of(rates: Police) -> Option<Arc<Self>> {
        let meter = Self { rates, frames: AtomicU64::new(0), bits: AtomicU64::new(0) };
        rates.is_on().then(|| Arc::new(meter))
    }

    /// Goes on with the meter `before` where that allows the same.
    pub(super) fn follow(now: &mut Option<Arc<Self>>, before: Option<&Arc<Self>>) {
        if let (Some(now), Some(before)) = (now, before)
            && *now == *before
        {
            *now = before.clone();
        }
    }

    /// Whether a frame may pass that becomes `frames` on the wire with `bits` in all: a large send may overdraw, and those behind it
    /// wait for it to be paid. `now` is on the time-stamp counter, which counts `second` a second.
    #[inline]
    pub fn take(&self, frames: u32, bits: u64, now: u64, second: u64) -> bool {
        let Police { police_frames, police_bits } = self.rates;
        let meters =
            [(&self.frames, u64::from(police_frames), u64::from(frames)), (&self.bits, police_bits, bits)];
        let limited = || meters.iter().filter(|(_, rate, _)| *rate != 0);
        let overdrawn =
            |paid: &AtomicU64| paid.load(Ordering::Relaxed).saturating_sub(now) > second / AT_ONCE;
        if limited().any(|(paid, ..)| overdrawn(paid)) {
            return false;
        }
        for (paid, rate, amount) in limited() {
            let price = second.saturating_mul(*amount) / rate;
            let pay = |paid: u64| Some(paid.max(now).saturating_add(price));
            // It is never refused.
            let _ = paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 2_000_000_000;

    fn meter(police_frames: u32, police_bits: u64) -> Arc<Meter> {
        Meter::of(Police { police_frames, police_bits }).unwrap()
    }

    /// How many of `offered` frames of 1,000 bits pass, `every` so many cycles.
    fn passed(meter: &Meter, start: u64, offered: u64, every: u64) -> u64 {
        (0..offered).filter(|n| meter.take(1, 1_000, start + n * every, SECOND)).count() as u64
    }

    #[test]
    fn a_tenth_at_once_and_the_rate_from_then_on() {
        let meter = meter(1_000, 0);
        assert_eq!(passed(&meter, SECOND, 5_000, 0), 101);
        // Ten times too much for ten seconds.
        let count = passed(&meter, SECOND, 100_000, SECOND / 10_000);
        assert!((9_990..=10_001).contains(&count), "{count}");
        assert_eq!(passed(&meter, 20 * SECOND, 5_000, 0), 101, "silence fills it again");
    }

    #[test]
    fn bits_and_frames_each_have_their_limit() {
        assert_eq!(passed(&meter(0, 1_000_000), SECOND, 5_000, 0), 101);
        assert_eq!(passed(&meter(1_000, 500_000), SECOND, 5_000, 0), 51, "the lower one counts");
        assert_eq!(passed(&meter(500, 1_000_000), SECOND, 5_000, 0), 51);
        // What one refuses the other is not charged for.
        let both = meter(1_000, 500_000);
        passed(&both, SECOND, 5_000, 0);
        assert_eq!(both.frames.load(Ordering::Relaxed), SECOND + 51 * SECOND / 1_000);
    }

    #[test]
    fn the_slowest_rate_lets_one_through_and_no_limit_is_no_meter() {
        // One at once, and one a second from then on, a tenth of one early.
        assert_eq!(passed(&meter(1, 0), SECOND, 50, SECOND / 10), 6);
        assert!(Meter::of(Police::default()).is_none());
        assert_eq!(passed(&meter(u32::MAX, 0), SECOND, 5_000, 0), 5_000);
    }

    #[test]
    fn a_large_send_counts_as_what_becomes_of_it() {
        let meter = meter(100, 0);
        assert!(meter.take(45, 0, SECOND, SECOND));
        assert!(!meter.take(1, 0, SECOND + SECOND / 5, SECOND), "0.45 s are owed, of which 0.1 may be");
        assert!(meter.take(1, 0, SECOND + SECOND * 36 / 100, SECOND));
    }

    #[test]
    fn a_meter_that_allows_the_same_goes_on() {
        let (old, mut same, mut other) = (meter(1, 0), Some(meter(1, 0)), Some(meter(2, 0)));
        Meter::follow(&mut same, Some(&old));
        Meter::follow(&mut other, Some(&old));
        assert!(Arc::ptr_eq(&same.unwrap(), &old) && !Arc::ptr_eq(&other.unwrap(), &old));
    }
}
