//! Counters of one worker: written by that worker alone, read by the control thread at any time.
//!
//! Each is an atomic that its single writer updates by a plain load and store, so counting costs no locked instruction.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::drop::{DropReason, REASONS};
use crate::ids::{MAX_PORTS, PortId};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning worker calls this.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Replaces the value if `value` is larger. Only the owning worker calls this.
    #[inline]
    pub fn raise_to(&self, value: u64) {
        if value > self.0.load(Ordering::Relaxed) {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    /// Replaces the value. Only the owning worker calls this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker did with one port.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: Counter,
    /// Bytes received.
    pub rx_bytes: Counter,
    /// Frames sent; a large send is one frame.
    pub tx_packets: Counter,
    /// Bytes sent.
    pub tx_bytes: Counter,
    /// Received frames that the switch itself took: answers to its own questions.
    pub taken: Counter,
    /// Times that a receive queue gave as many frames as were asked for: more may have waited.
    pub full_bursts: Counter,
    drops: Drops,
}

/// One counter for each reason.
#[derive(Debug)]
struct Drops([Counter; REASONS]);

impl Default for Drops {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl PortCounters {
    /// Counts `count` frames dropped for `reason`.
    #[inline]
    pub fn drop(&self, reason: DropReason, count: u64) {
        self.drops.0[reason as usize].add(count);
    }

    /// Frames dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.0[reason as usize].get()
    }
}

/// Number of [`Latency`]'s buckets; the last one begins at half a second.
pub const LATENCIES: usize = 31;

/// Iterations by how long they took. Bucket `n` has those of more than 2^(n-1) and at most 2^n ns; the last one all that are longer.
#[derive(Debug, Default)]
pub struct Latency([Counter; LATENCIES]);

impl Latency {
    /// Counts an iteration. Only the owning worker calls this.
    #[inline]
    pub fn note(&self, nanos: u64) {
        let bits = u64::BITS - nanos.saturating_sub(1).leading_zeros();
        self.0[(bits as usize).min(LATENCIES - 1)].add(1);
    }

    /// The buckets.
    pub fn get(&self) -> [u64; LATENCIES] {
        std::array::from_fn(|bucket| self.0[bucket].get())
    }
}

/// What one worker did with its time. Cycles are those of [`shunt_ffi::clock::tsc`].
#[derive(Debug, Default)]
pub struct LoopCounters {
    /// Cycles since the worker started.
    pub total_cycles: Counter,
    /// Cycles in iterations that moved at least one frame.
    pub busy_cycles: Counter,
    /// Cycles asleep (adaptive polling).
    pub slept_cycles: Counter,
    /// Iterations of the loop.
    pub iterations: Counter,
    /// Of those that moved frames, how long they took.
    pub latency: Latency,
    /// Of those that moved frames, those in which a receive queue gave as many as were asked for.
    pub full: Counter,
    /// Iterations that took longer than [`LATE`](crate::worker::pace::LATE).
    pub late: Counter,
    /// The longest of these.
    pub worst_late_cycles: Counter,
    /// `total_cycles` when the last of these began.
    pub last_late_cycles: Counter,
    /// The system's number of the worker's thread; 0 before it runs.
    pub thread: Counter,
    /// Times the worker went to sleep.
    pub sleeps: Counter,
    /// Frames received.
    pub packets: Counter,
    /// Lessons (addresses seen) that found the channel to the control thread full.
    pub lessons_lost: Counter,
    /// ICMP errors and echo replies that the switch sent.
    pub replies: Counter,
    /// Those that it did not send, because their receivers had got enough.
    pub replies_limited: Counter,
    /// Packets that wait for the MAC address of their next hop, now.
    pub held: Counter,
    /// Times two workers wanted the same transmit queue at once.
    pub tx_contended: Counter,
    /// Generation of the topology the worker last ran.
    pub generation: Counter,
    /// Cycles of the iteration in which that topology was taken over.
    pub swap_cycles: Counter,
    /// Cycles of the iteration right before, which took nothing over: what is usual.
    pub cycles_before_swap: Counter,
    /// The longest such iteration since the counter was last read and reset.
    pub worst_swap_cycles: Counter,
}

/// What one worker's flow cache did.
#[derive(Debug, Default)]
pub struct FlowCounters {
    /// Frames whose flow was in the cache.
    pub hits: Counter,
    /// Frames that walked the stages although the cache is on.
    pub missed: Counter,
    /// Flows that were entered.
    pub entered: Counter,
    /// Frames whose flow was in the cache, but decided under a topology that has changed since.
    pub stale: Counter,
    /// Hits that were decided anew to check them (`flow_cache.verify`).
    pub verified: Counter,
    /// Of those, hits that the stages decided otherwise: a defect of the switch.
    pub unsound: Counter,
}

/// What one worker did with connections.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Packets that walked the stages and were of a known connection.
    pub found: Counter,
    /// Connections that it entered.
    pub opened: Counter,
}

/// All counters of one worker.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Its time.
    pub time: CachePadded<LoopCounters>,
    /// Its flow cache.
    pub flows: CachePadded<FlowCounters>,
    /// Its connections.
    pub connections: CachePadded<ConnectionCounters>,
    ports: Box<[CachePadded<PortCounters>]>,
}

impl WorkerCounters {
    /// Zeroed counters for [`MAX_PORTS`] ports.
    pub fn new() -> Self {
        Self {
            time: CachePadded::default(),
            flows: CachePadded::default(),
            connections: CachePadded::default(),
            ports: (0..MAX_PORTS).map(|_| CachePadded::default()).collect(),
        }
    }

    /// The counters of port `id`.
    #[inline]
    pub fn port(&self, id: PortId) -> &PortCounters {
        &self.ports[id.index()]
    }
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_with_its_power_of_two() {
        let bucket = |nanos| {
            let latency = Latency::default();
            latency.note(nanos);
            latency.get().iter().position(|count| *count == 1)
        };
        let cases = [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11), (1 << 29, 29)];
        for (nanos, wanted) in cases {
            assert_eq!(bucket(nanos), Some(wanted), "{nanos}");
        }
        for nanos in [(1 << 29) + 1, 1 << 30, u64::MAX] {
            assert_eq!(bucket(nanos), Some(LATENCIES - 1), "{nanos}");
        }
    }
}
