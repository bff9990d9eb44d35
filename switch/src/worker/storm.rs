//! Storm control: how many frames a port may have flooded (`storm_limit` of a bridge).
//!
//! A bucket for each receive queue, since nothing but its worker touches that: a port with several queues has the limit
//! in equal parts, rounded up, so that all together flood no more than was allowed, whoever serves them. Frames of one flow
//! are of one queue and get its part. Asked only where a frame is flooded; a limit costs one reading of the time-stamp
//! counter there.

use std::cell::Cell;

/// How many of a port's floods are allowed: frames that it may send at once, and a second, of those that one receive queue
/// takes.
///
/// It is a meter by time (the generic cell rate algorithm, ITU-T I.371 annex A): what is kept is the moment at which all
/// that was flooded is paid for. So networks with different limits share the bucket of the port that floods into them.
#[derive(Debug)]
pub(super) struct Bucket {
    /// On the time-stamp counter.
    paid: Cell<u64>,
    /// Queues of the port.
    queues: u32,
}

impl Bucket {
    /// That of one of `queues` receive queues, full.
    pub(super) fn of(queues: usize) -> Self {
        Self { paid: Cell::new(0), queues: u32::try_from(queues).unwrap_or(u32::MAX).max(1) }
    }

    /// Whether one frame more may be flooded into a network that allows `limit` a second for each port (0: any number).
    /// `frames` is what it becomes on the wire: a large send may overdraw, and those behind it wait for it to be paid.
    ///
    /// `now` is on the time-stamp counter, which counts `second` a second.
    pub(super) fn take(&self, limit: u32, frames: u32, now: u64, second: u64) -> bool {
        if limit == 0 {
            return true;
        }
        let share = u64::from(limit.div_ceil(self.queues));
        let price = second / share;
        let paid = self.paid.get().max(now);
        // A second's worth may be owed.
        if paid - now + price > second {
            return false;
        }
        self.paid.set(paid.saturating_add(price.saturating_mul(u64::from(frames))));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 2_000_000_000;

    /// How many of `offered` frames, `every` so many cycles from `start` on, are flooded.
    fn passed(bucket: &Bucket, limit: u32, start: u64, offered: u64, every: u64) -> u64 {
        (0..offered).filter(|n| bucket.take(limit, 1, start + n * every, SECOND)).count() as u64
    }

    #[test]
    fn a_second_s_worth_at_once_and_that_many_a_second_from_then_on() {
        let bucket = Bucket::of(1);
        let now = 7 * SECOND;
        assert_eq!(passed(&bucket, 100, now, 1_000, 0), 100);
        // Ten times too much for ten seconds.
        assert_eq!(passed(&bucket, 100, now, 10_000, SECOND / 1_000), 999);
        // What was refused is not owed: after a second of silence all is as at first.
        assert_eq!(passed(&bucket, 100, now + 12 * SECOND, 1_000, 0), 100);
    }

    #[test]
    fn what_is_below_the_limit_passes_whole_and_no_limit_passes_all() {
        assert_eq!(passed(&Bucket::of(1), 100, 0, 5_000, SECOND / 99), 5_000);
        assert_eq!(passed(&Bucket::of(1), 0, 0, 5_000, 0), 5_000);
        // Faster than the counter counts.
        assert_eq!(passed(&Bucket::of(1), u32::MAX, 0, 5_000, 0), 5_000);
        assert_eq!(passed(&Bucket::of(1), 1, 0, 5_000, SECOND / 10), 500);
    }

    #[test]
    fn queues_share_the_limit() {
        let queues: Vec<Bucket> = (0..3).map(|_| Bucket::of(3)).collect();
        let each = queues.iter().map(|bucket| passed(bucket, 100, 0, 1_000, 0));
        assert_eq!(each.collect::<Vec<_>>(), [34, 34, 34]);
        assert_eq!(passed(&Bucket::of(16), 1, 0, 10, 0), 1, "a limit is never none");
    }

    #[test]
    fn a_large_send_counts_as_what_becomes_of_it() {
        let bucket = Bucket::of(1);
        assert!(bucket.take(10, 45, 0, SECOND));
        // 4.5 seconds are owed, of which one may be.
        assert!(!bucket.take(10, 1, 3 * SECOND, SECOND));
        assert!(bucket.take(10, 1, 36 * SECOND / 10, SECOND));
    }

    #[test]
    fn networks_with_different_limits_share_the_port_s_second() {
        let bucket = Bucket::of(1);
        assert_eq!(passed(&bucket, 100, 0, 50, 0), 50, "half a second");
        assert_eq!(passed(&bucket, 10, 0, 100, 0), 5, "the other half");
        assert_eq!(passed(&bucket, 100, 0, 100, 0), 0);
    }
}
