//! How many frames are due: a pure function of the time, so that a generator that was held up catches up.

use std::time::Duration;

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Evenly, so many frames a second.
    Rate(f64),
    /// So many frames at once, each time `gap` has passed.
    Burst {
        /// Frames.
        frames: u32,
        /// From the start of one to the start of the next.
        gap: Duration,
    },
    /// As fast as the device takes them: what it does not take is sent later, so nothing is lost before it is sent.
    Fastest,
}

impl Load {
    /// Frames a second that are asked for.
    pub fn frames_per_second(self) -> Option<f64> {
        match self {
            Self::Rate(rate) => Some(rate),
            Self::Burst { frames, gap } => Some(f64::from(frames) / gap.as_secs_f64()),
            Self::Fastest => None,
        }
    }
}

/// A load on a clock.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    load: Load,
    /// Frames a cycle, or cycles from burst to burst.
    scale: f64,
}

impl Pace {
    /// For a clock of `hz` cycles a second.
    pub fn new(load: Load, hz: u64) -> Self {
        let scale = match load {
            Load::Rate(rate) => rate / hz as f64,
            Load::Burst { gap, .. } => (gap.as_secs_f64() * hz as f64).max(1.0),
            Load::Fastest => 0.0,
        };
        Self { load, scale }
    }

    /// Frames that should have been sent `cycles` after the start.
    #[inline]
    pub fn due(&self, cycles: u64) -> u64 {
        match self.load {
            Load::Rate(_) => (cycles as f64 * self.scale) as u64,
            Load::Burst { frames, .. } => ((cycles as f64 / self.scale) as u64 + 1) * u64::from(frames),
            Load::Fastest => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_rate_is_due_evenly() {
        let pace = Pace::new(Load::Rate(1_000.0), 1_000_000);
        assert_eq!([0, 999, 1_000, 1_000_000].map(|cycles| pace.due(cycles)), [0, 0, 1, 1_000]);
    }

    #[test]
    fn bursts_are_due_whole_from_the_start() {
        let load = Load::Burst { frames: 32, gap: Duration::from_millis(1) };
        let pace = Pace::new(load, 1_000_000);
        assert_eq!([0, 999, 1_000, 2_500].map(|cycles| pace.due(cycles)), [32, 32, 64, 96]);
        assert_eq!(load.frames_per_second(), Some(32_000.0));
        assert_eq!(Pace::new(Load::Fastest, 1).due(0), u64::MAX);
    }
}
