//! What was counted at ports. Workers count by slot and never set a counter back; here a slot's counts become those of the port that has
//! it now, and what ports have counted that are gone is kept by their names, so that a port that is removed and added again, or reset,
//! goes on where it was in [`metrics`](crate::metrics).

use std::collections::{HashMap, VecDeque};

use shunt_config::PortName;

use super::Control;
use super::ports::PortState;
use crate::counters::PortCounters;
use crate::drop::{DropReason, REASONS};
use crate::ids::PortId;

/// Ports that are remembered after they are gone; the one that went first is forgotten first.
const REMEMBERED: usize = 4096;

/// What was counted at a port, or at several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received frames that the switch itself took.
    pub taken: u64,
    /// Times that a receive queue gave a whole burst.
    pub full_bursts: u64,
    /// Frames lost below the switch.
    pub missed: u64,
    /// Times the device went away.
    pub deaths: u64,
    /// Frames dropped, by [`DropReason`].
    pub drops: [u64; REASONS],
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 0,
            tx_bytes: 0,
            taken: 0,
            full_bursts: 0,
            missed: 0,
            deaths: 0,
            drops: [0; REASONS],
        }
    }
}

impl Totals {
    /// Adds what one worker counted in a slot.
    pub(super) fn count(&mut self, counters: &PortCounters) {
        self.rx_packets += counters.rx_packets.get();
        self.rx_bytes += counters.rx_bytes.get();
        self.tx_packets += counters.tx_packets.get();
        self.tx_bytes += counters.tx_bytes.get();
        self.taken += counters.taken.get();
        self.full_bursts += counters.full_bursts.get();
        for (sum, reason) in self.drops.iter_mut().zip(DropReason::ALL) {
            *sum += counters.drops(*reason);
        }
    }

    fn each(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        // No `..`: a new counter must be dealt with here.
        let Self { rx_packets, rx_bytes, tx_packets, tx_bytes, taken, full_bursts, missed, deaths, drops } =
            self;
        *rx_packets = with(*rx_packets, other.rx_packets);
        *rx_bytes = with(*rx_bytes, other.rx_bytes);
        *tx_packets = with(*tx_packets, other.tx_packets);
        *tx_bytes = with(*tx_bytes, other.tx_bytes);
        *taken = with(*taken, other.taken);
        *full_bursts = with(*full_bursts, other.full_bursts);
        *missed = with(*missed, other.missed);
        *deaths = with(*deaths, other.deaths);
        for (sum, more) in drops.iter_mut().zip(other.drops) {
            *sum = with(*sum, more);
        }
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.each(other, |sum, more| sum + more);
    }

    /// Takes `base` off.
    fn since(mut self, base: &Self) -> Self {
        self.each(base, u64::saturating_sub);
        self
    }

    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }
}

/// What ports have counted that are gone.
#[derive(Debug, Default)]
pub(super) struct Departed {
    by_name: HashMap<PortName, Totals>,
    order: VecDeque<PortName>,
    all: Totals,
}

impl Departed {
    /// Keeps what a port has counted that goes.
    pub(super) fn keep(&mut self, name: &PortName, totals: &Totals) {
        self.all.add(totals);
        self.order.retain(|known| known != name);
        self.order.push_back(name.clone());
        self.by_name.entry(name.clone()).or_default().add(totals);
        if self.order.len() > REMEMBERED
            && let Some(first) = self.order.pop_front()
        {
            self.by_name.remove(&first);
        }
    }

    /// What earlier ports of that name have counted.
    pub(super) fn of(&self, name: &PortName) -> Option<&Totals> {
        self.by_name.get(name)
    }

    /// What all of them have counted.
    pub(super) fn all(&self) -> &Totals {
        &self.all
    }
}

impl Control {
    /// What was counted in a slot since the daemon started.
    pub(super) fn slot_totals(&self, id: PortId) -> Totals {
        let mut totals = Totals::default();
        self.workers.iter().for_each(|worker| totals.count(worker.counters.port(id)));
        totals
    }

    /// What was counted at a port since it was added, of what it lost below the switch only what devices counted that went away.
    pub(super) fn totals(&self, port: &PortState) -> Totals {
        let counted = self.slot_totals(port.id).since(&port.base);
        Totals { missed: port.missed, deaths: port.deaths, ..counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: u64) -> Totals {
        let mut totals = Totals { rx_packets: count, missed: 2 * count, ..Totals::default() };
        totals.drops[REASONS - 1] = 3 * count;
        totals
    }

    #[test]
    fn a_port_goes_on_where_the_last_one_of_its_name_was() {
        let name = |text: &str| PortName::new(text).unwrap();
        let mut departed = Departed::default();
        departed.keep(&name("a"), &some(1));
        departed.keep(&name("b"), &some(10));
        departed.keep(&name("a"), &some(100));
        assert_eq!(departed.of(&name("a")), Some(&some(101)));
        assert_eq!((departed.of(&name("c")), departed.all()), (None, &some(111)));
    }

    #[test]
    fn those_that_went_first_are_forgotten_first_and_stay_in_the_sum() {
        let name = |number: usize| PortName::new(&format!("p{number}")).unwrap();
        let mut departed = Departed::default();
        for number in 0..=REMEMBERED {
            departed.keep(&name(number), &some(1));
            if number % 512 == 0 {
                departed.keep(&name(0), &some(0));
            }
        }
        assert_eq!((departed.of(&name(1)), departed.by_name.len()), (None, REMEMBERED));
        assert!(departed.of(&name(0)).is_some() && departed.of(&name(2)).is_some());
        assert_eq!(departed.all(), &some(REMEMBERED as u64 + 1));
    }

    #[test]
    fn a_slot_that_was_used_before_begins_at_nothing() {
        let counters = PortCounters::default();
        let counted = || {
            let mut totals = Totals::default();
            totals.count(&counters);
            totals
        };
        counters.rx_packets.add(5);
        counters.drop(DropReason::ALL[REASONS - 1], 7);
        let base = counted();
        assert_eq!(counted().since(&base), Totals::default());
        counters.rx_packets.add(1);
        counters.drop(DropReason::ALL[REASONS - 1], 2);
        let now = counted().since(&base);
        assert_eq!((now.rx_packets, now.drops[REASONS - 1]), (1, 2));
    }
}
