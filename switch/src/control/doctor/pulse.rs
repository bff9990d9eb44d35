//! When ports last received something, and when they last dropped something for each reason: marks that the control thread
//! makes once a second out of the workers' counters, so that no worker writes down a time.
//!
//! Cost: one load for each port, reason and worker, once a second; 0.2 ms with 1,000 ports and two workers.

use std::time::{Duration, Instant};

use crate::control::Control;
use crate::control::ports::PortState;
use crate::drop::{DropReason, REASONS};
use crate::ids::PortId;

/// How often marks are made, and so how exact they are.
const EVERY: Duration = Duration::from_secs(1);

/// What was counted, and in which second of the workers' clock it was last seen to grow.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    count: u64,
    at: Option<u32>,
}

impl Mark {
    fn see(&mut self, count: u64, now: u32) {
        // Less than before: counted anew, for the port was opened anew.
        if count > self.count {
            self.at = Some(now);
        }
        self.count = count;
    }
}

/// The marks of one port.
#[derive(Clone, Debug)]
struct Beat {
    /// Since when the port is what it is: another port in the same slot begins anew.
    since: Instant,
    received: Mark,
    drops: Box<[Mark]>,
}

/// A reason for which a port dropped something lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) reason: DropReason,
    /// Frames since the port was opened.
    pub(super) count: u64,
    /// Seconds since the counter last grew.
    pub(super) age: u32,
}

/// The marks of all ports, by slot.
#[derive(Debug, Default)]
pub(in crate::control) struct Pulse {
    beats: Vec<Option<Beat>>,
    last: Option<Instant>,
}

impl Pulse {
    /// Seconds since `port` last received something; `None` when it never has.
    pub(super) fn received(&self, port: PortId, now: u32) -> Option<u32> {
        let at = self.beats.get(port.index())?.as_ref()?.received.at?;
        Some(now.saturating_sub(at))
    }

    /// Why `port` dropped something within the last `within` seconds.
    pub(super) fn dropped(&self, port: PortId, now: u32, within: u32) -> Vec<Dropped> {
        let Some(Some(beat)) = self.beats.get(port.index()) else { return Vec::new() };
        let lately = DropReason::ALL.iter().zip(&beat.drops).filter_map(|(reason, mark)| {
            let age = now.saturating_sub(mark.at?);
            (age <= within).then_some(Dropped { reason: *reason, count: mark.count, age })
        });
        lately.collect()
    }
}

impl Control {
    /// Makes the marks once a second.
    pub(in crate::control) fn follow_pulse(&mut self) {
        if self.pulse.last.is_none_or(|last| last.elapsed() >= EVERY) {
            self.take_pulse();
        }
    }

    /// Makes the marks now.
    pub(super) fn take_pulse(&mut self) {
        let now = self.now();
        let mut pulse = std::mem::take(&mut self.pulse);
        pulse.last = Some(Instant::now());
        for port in self.ports.iter() {
            let index = port.id.index();
            if pulse.beats.len() <= index {
                pulse.beats.resize(index + 1, None);
            }
            let Some(place) = pulse.beats.get_mut(index) else { continue };
            if place.as_ref().is_some_and(|beat| beat.since != port.since) {
                *place = None;
            }
            let beat = place.get_or_insert_with(|| Beat {
                since: port.since,
                received: Mark::default(),
                drops: vec![Mark::default(); REASONS].into(),
            });
            self.feel(port, beat, now);
        }
        self.pulse = pulse;
    }

    fn feel(&self, port: &PortState, beat: &mut Beat, now: u32) {
        let received = self.workers.iter().map(|worker| worker.counters.port(port.id).rx_packets.get()).sum();
        beat.received.see(received, now);
        for (reason, mark) in DropReason::ALL.iter().zip(&mut beat.drops) {
            let counters = self.workers.iter().map(|worker| worker.counters.port(port.id));
            mark.see(counters.map(|counters| counters.drops(*reason)).sum(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_the_second_of_the_last_growth() {
        let mut mark = Mark::default();
        mark.see(0, 5);
        assert_eq!(mark.at, None, "nothing was counted");
        mark.see(3, 6);
        mark.see(3, 7);
        assert_eq!((mark.count, mark.at), (3, Some(6)));
        mark.see(1, 8);
        assert_eq!((mark.count, mark.at), (1, Some(6)), "counted anew is no growth");
        mark.see(2, 9);
        assert_eq!(mark.at, Some(9));
    }

    #[test]
    fn what_is_long_ago_is_not_lately() {
        let port = PortId::FIRST;
        let mut drops = vec![Mark::default(); REASONS];
        drops[DropReason::NoRoute as usize] = Mark { count: 4, at: Some(70) };
        drops[DropReason::TxFull as usize] = Mark { count: 9, at: Some(10) };
        let received = Mark { count: 1, at: Some(95) };
        let beat = Beat { since: Instant::now(), received, drops: drops.into() };
        let pulse = Pulse { beats: vec![Some(beat)], last: None };
        assert_eq!(pulse.received(port, 100), Some(5));
        let lately = pulse.dropped(port, 100, 30);
        assert_eq!(lately, [Dropped { reason: DropReason::NoRoute, count: 4, age: 30 }]);
        assert_eq!(pulse.received(PortId::new(7).unwrap(), 100), None, "no port was ever there");
    }
}
