//! What each worker received, sent and dropped, at all ports together.

use serde::Serialize;

use super::super::totals::Totals;
use crate::counters::WorkerCounters;
use crate::drop::DropReason;
use crate::ids::{MAX_PORTS, PortId};

/// What one worker carried since it started, also at ports that are gone: over all workers it adds up to what all ports have counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Carried {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent; a large send is one.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received frames that the switch itself took.
    pub taken: u64,
    /// Frames dropped, by reason; only reasons that happened.
    pub drops: Vec<WorkerDrop>,
}

/// Frames that one worker dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerDrop {
    /// Stable name of the reason.
    pub reason: &'static str,
    /// Frames.
    pub count: u64,
}

impl Carried {
    /// Reads the counters of every slot, some 0.1 ms.
    pub(super) fn of(counters: &WorkerCounters) -> Self {
        let mut totals = Totals::default();
        (0..MAX_PORTS).filter_map(PortId::new).for_each(|slot| totals.count(counters.port(slot)));
        let drops = DropReason::ALL.iter().map(|reason| (reason.name(), totals.dropped(*reason)));
        let drops = drops.filter(|(_, count)| *count > 0);
        Self {
            rx_packets: totals.rx_packets,
            rx_bytes: totals.rx_bytes,
            tx_packets: totals.tx_packets,
            tx_bytes: totals.tx_bytes,
            taken: totals.taken,
            drops: drops.map(|(reason, count)| WorkerDrop { reason, count }).collect(),
        }
    }
}
