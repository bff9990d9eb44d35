//! What arrived in a trial: lost, duplicated and reordered frames, and times on the way.
//!
//! Frames are sent in bursts of one time, and mostly arrive as they were sent. So those that follow each other (next number,
//! same time) are a run, which is noted at once: a generator that is slower than the switch measures itself.

use super::latency::Times;
use super::stamp::Stamp;
use super::tracker::{Tracker, Verdict};

/// What has arrived so far.
#[derive(Debug)]
pub struct Arrivals {
    /// Frames by their numbers.
    pub tracker: Tracker,
    /// Times of the first round of the flows.
    pub cold: Times,
    /// Times of all others.
    pub warm: Times,
    /// Frames of the first round.
    pub cold_count: u64,
    /// Frames with a stamp of an earlier trial.
    pub stale: u64,
    /// Frames without a stamp.
    pub unstamped: u64,
}

/// What a burst is noted against.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The trial, modulo 256.
    pub trial: u8,
    /// Frames of the first round.
    pub round: u64,
    /// Numbers given out so far.
    pub sent: u64,
    /// When the burst was received.
    pub now: u64,
}

/// Frames that follow each other, from the first on.
#[derive(Clone, Copy)]
struct Run {
    first: Stamp,
    count: u64,
}

impl Arrivals {
    /// Nothing yet, on a clock of `hz` cycles a second.
    pub fn new(hz: u64) -> Self {
        Self {
            tracker: Tracker::default(),
            cold: Times::new(hz),
            warm: Times::new(hz),
            cold_count: 0,
            stale: 0,
            unstamped: 0,
        }
    }

    /// Forgets everything; allocates nothing.
    pub fn reset(&mut self) {
        self.tracker.reset();
        self.cold.reset();
        self.warm.reset();
        (self.cold_count, self.stale, self.unstamped) = (0, 0, 0);
    }

    /// Takes note of a burst, of at most 64 frames: their stamps in the order they came; `None` for one that has none.
    #[inline]
    pub fn note(&mut self, stamps: impl Iterator<Item = Option<Stamp>>, look: Look) {
        let mut run: Option<Run> = None;
        for stamp in stamps {
            match (stamp, &mut run) {
                (Some(stamp), Some(run)) if stamp == run.first.later(run.count) => run.count += 1,
                (Some(first), _) => {
                    let before = run.replace(Run { first, count: 1 });
                    self.end(before, look);
                }
                (None, _) => self.unstamped += 1,
            }
        }
        self.end(run, look);
    }

    #[inline]
    fn end(&mut self, run: Option<Run>, look: Look) {
        let Some(Run { first, count }) = run else { return };
        if first.trial != look.trial {
            self.stale += count;
        } else if let Some(number) = self.tracker.record_next(first.sequence, count, look.sent) {
            self.fresh(number, count, first.age(look.now), look.round);
        } else {
            for stamp in (0..count).map(|ahead| first.later(ahead)) {
                if let Verdict::Fresh(number) = self.tracker.record(stamp.sequence, look.sent) {
                    self.fresh(number, 1, stamp.age(look.now), look.round);
                }
            }
        }
    }

    /// `count` frames from `number` on, all of one age.
    #[inline]
    fn fresh(&mut self, number: u64, count: u64, age: u64, round: u64) {
        let cold = round.saturating_sub(number).min(count);
        if cold > 0 {
            self.cold_count += cold;
            self.cold.record(age, cold);
        }
        if count > cold {
            self.warm.record(age, count - cold);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HZ: u64 = 1_000_000_000;
    const SENT: u64 = 300;
    const ROUND: u64 = 40;
    const TRIAL: u8 = 7;

    /// What became of the frames, one by one.
    fn told(arrivals: &Arrivals) -> impl PartialEq + std::fmt::Debug + use<> {
        let tracker = &arrivals.tracker;
        (
            [tracker.received, tracker.duplicates, tracker.reordered, tracker.late, tracker.foreign],
            [arrivals.cold_count, arrivals.stale, arrivals.unstamped],
            [arrivals.cold.told(), arrivals.warm.told()],
        )
    }

    /// Frames of some bursts: a few that follow each other, then somewhere else.
    fn frames() -> impl Strategy<Value = Vec<Option<Stamp>>> {
        let run = (0_u64..SENT + 5, 1_u64..70, 0_u64..3, prop::sample::select(vec![TRIAL, TRIAL, TRIAL, 6]));
        let run = run.prop_map(|(first, count, time, trial)| {
            (first..first + count).map(|number| Some(Stamp::new(trial, number, 1000 * time))).collect()
        });
        let none = Just(vec![None]);
        prop::collection::vec(prop_oneof![8 => run, 1 => none], 1..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_burst_is_noted_as_its_frames_are_one_by_one(frames in frames(), from_start in any::<bool>()) {
            let look = Look { trial: TRIAL, round: ROUND, sent: SENT, now: 5_000 };
            let (mut whole, mut single) = (Arrivals::new(HZ), Arrivals::new(HZ));
            // In order as most frames are, or as the frames come.
            let first = if from_start { 100 } else { 0 };
            let start = (0..first).map(|number| Some(Stamp::new(TRIAL, number, number / 32)));
            let frames: Vec<_> = start.chain(frames).collect();
            for burst in frames.chunks(64) {
                whole.note(burst.iter().copied(), look);
            }
            for frame in &frames {
                single.note(std::iter::once(*frame), look);
            }
            prop_assert_eq!(told(&whole), told(&single));
            // The single ones against the tracker alone, which has a naive model.
            let mut tracker = Tracker::default();
            for stamp in frames.iter().flatten().filter(|stamp| stamp.trial == TRIAL) {
                tracker.record(stamp.sequence, SENT);
            }
            let counts = |tracker: &Tracker| (tracker.received, tracker.duplicates, tracker.reordered, tracker.foreign);
            prop_assert_eq!(counts(&tracker), counts(&single.tracker));
            whole.reset();
            prop_assert_eq!(told(&whole), told(&Arrivals::new(HZ)));
        }
    }
}
