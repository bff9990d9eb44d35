//! Which rows traffic rests on at present, by slot ([`super::stamps`]): a worker notes the slots of a flow's decision once a
//! second, the control thread asks whether a neighbour is worth keeping. Two rows that share a slot cost a needless probe.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::stamps::{Dependencies, SLOTS, neighbor_slot};
use crate::ids::NetworkId;

/// The second on the workers' clock in which each slot was last used. Shared by all topologies, so it is written by all
/// workers: plain stores, and only when the second has changed.
#[derive(Debug)]
pub struct Activity {
    seconds: Box<[AtomicU32]>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { seconds: (0..SLOTS).map(|_| AtomicU32::new(0)).collect() }
    }
}

impl Activity {
    /// Notes that a decision is in use in second `now`.
    #[inline]
    pub fn note(&self, rests_on: &Dependencies, now: u32) {
        for slot in rests_on.decided_by() {
            if let Some(second) = self.seconds.get(usize::from(slot))
                && second.load(Ordering::Relaxed) != now
            {
                second.store(now, Ordering::Relaxed);
            }
        }
    }

    /// The second in which packets to the neighbour `address` were last forwarded; it may be a later one, and 0 is never.
    pub fn neighbor(&self, network: NetworkId, address: IpAddr) -> u32 {
        let slot = usize::from(neighbor_slot(network, address));
        self.seconds.get(slot).map_or(0, |second| second.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_in_use_when_a_decision_rested_on_it() {
        let activity = Activity::default();
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let mut rests_on = Dependencies::NONE;
        rests_on.neighbor(NetworkId(1), address("10.0.0.1"));
        rests_on.neighbor(NetworkId(1), address("fd00::1"));
        activity.note(&rests_on, 7);
        let used = |network, text| activity.neighbor(NetworkId(network), address(text));
        assert_eq!(
            [used(1, "10.0.0.1"), used(1, "fd00::1"), used(2, "10.0.0.1"), used(1, "10.0.0.2")],
            [7, 7, 0, 0]
        );
        activity.note(&rests_on, 9);
        assert_eq!(used(1, "10.0.0.1"), 9);
        activity.note(&Dependencies::NONE, 11);
        assert_eq!(used(1, "10.0.0.1"), 9);
    }
}
