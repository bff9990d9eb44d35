//! What became of a trial: frames counted, and what follows from the counts.

use std::time::Duration;

use super::latency::Latency;
use super::pace::Load;

/// Frames of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Numbered and given to the device.
    pub offered: u64,
    /// Taken by the device.
    pub sent: u64,
    /// Not taken, because its queue was full: lost.
    pub refused: u64,
    /// Received with a stamp of an earlier trial.
    pub stale: u64,
    /// Received without a stamp.
    pub unstamped: u64,
    /// Of the first round of the flows, received.
    pub cold: u64,
}

/// A part of a trial.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Frames offered.
    pub offered: u64,
    /// Different ones received.
    pub received: u64,
    /// Time on the way; `None` when nothing came, or frames carry no stamps.
    pub latency: Option<Latency>,
}

/// What became of a trial.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What was asked for.
    pub load: Load,
    /// Time of sending.
    pub length: Duration,
    /// Frames.
    pub count: Count,
    /// Different frames received.
    pub received: u64,
    /// Received again.
    pub duplicates: u64,
    /// Received after a later one.
    pub reordered: u64,
    /// Received too late to tell from a duplicate.
    pub late: u64,
    /// Received with a number that was not sent.
    pub foreign: u64,
    /// The first frame of each flow: what caches do not know yet.
    pub cold: Phase,
    /// All others.
    pub warm: Phase,
}

impl Trial {
    /// Frames that did not arrive.
    pub fn lost(&self) -> u64 {
        self.count.offered.saturating_sub(self.received)
    }

    /// Their share of what was offered.
    pub fn loss(&self) -> f64 {
        self.lost() as f64 / self.count.offered.max(1) as f64
    }

    /// Frames offered a second.
    pub fn offered_per_second(&self) -> f64 {
        self.count.offered as f64 / self.length.as_secs_f64()
    }

    /// Frames received for each second of sending.
    pub fn received_per_second(&self) -> f64 {
        self.received as f64 / self.length.as_secs_f64()
    }
}

/// How far a trial is.
#[derive(Clone, Copy, Debug)]
pub struct Sofar {
    /// Since its start.
    pub elapsed: Duration,
    /// Frames offered.
    pub offered: u64,
    /// Frames received.
    pub received: u64,
}
