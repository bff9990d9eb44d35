//! What the library's callbacks (control side) and the queues (workers) share of one port.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::{fmt, io};

use crossbeam::utils::CachePadded;

use super::VhostEvent;
use super::features::GuestOffloads;
use super::gate::{Gate, Line};
use super::wake::Wake;

/// No guest ring to send to.
pub(super) const NO_RING: u32 = u32::MAX;

/// The guest's rings by number (virtio 1.1, 5.1.2): it receives on even ones and sends on odd ones.
pub(super) fn guest_rx_ring(pair: u16) -> u16 {
    pair * 2
}

/// See [`guest_rx_ring`].
pub(super) fn guest_tx_ring(pair: u16) -> u16 {
    pair * 2 + 1
}

pub(super) struct State {
    pub(super) path: String,
    /// Read by every worker per burst, written only when a guest comes or goes.
    pub(super) line: CachePadded<Line>,
    offloads: AtomicU32,
    pub(super) rx: Box<[CachePadded<RxState>]>,
    pub(super) tx: Box<[CachePadded<TxState>]>,
    pub(super) events: Box<dyn Fn(VhostEvent) + Send + Sync>,
}

/// One of our receive queues, that is, one ring the guest sends on.
pub(super) struct RxState {
    pub(super) gate: Gate,
    pub(super) enabled: AtomicBool,
    /// Raised whenever the ring is enabled: its notification setting must be made again.
    pub(super) generation: AtomicU32,
    pub(super) wake: Wake,
    pub(super) counters: RxCounters,
}

/// One of our transmit queues; several may feed the same ring of the guest.
pub(super) struct TxState {
    pub(super) gate: Gate,
    pub(super) ring: AtomicU32,
    pub(super) counters: TxCounters,
}

#[derive(Debug, Default)]
pub(super) struct RxCounters {
    pub(super) frames: Counter,
    pub(super) short: Counter,
    pub(super) bad_offload: Counter,
}

#[derive(Debug, Default)]
pub(super) struct TxCounters {
    pub(super) frames: Counter,
    pub(super) link_down: Counter,
    pub(super) ring_full: Counter,
    pub(super) too_large: Counter,
}

/// A counter with one writer: a plain add, readable from anywhere.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn add(&self, count: usize) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count as u64), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl State {
    pub(super) fn new(
        path: String,
        pairs: u16,
        tx_queues: u16,
        events: Box<dyn Fn(VhostEvent) + Send + Sync>,
    ) -> io::Result<Self> {
        let rx = (0..pairs)
            .map(|_| {
                Ok(CachePadded::new(RxState {
                    gate: Gate::new(),
                    enabled: AtomicBool::new(false),
                    generation: AtomicU32::new(0),
                    wake: Wake::new()?,
                    counters: RxCounters::default(),
                }))
            })
            .collect::<io::Result<_>>()?;
        let tx = (0..tx_queues)
            .map(|_| {
                CachePadded::new(TxState {
                    gate: Gate::new(),
                    ring: AtomicU32::new(NO_RING),
                    counters: TxCounters::default(),
                })
            })
            .collect();
        Ok(Self { path, line: CachePadded::new(Line::new()), offloads: AtomicU32::new(0), rx, tx, events })
    }

    pub(super) fn pairs(&self) -> u16 {
        self.rx.len() as u16
    }

    #[inline]
    pub(super) fn offloads(&self) -> GuestOffloads {
        GuestOffloads::from_bits(self.offloads.load(Ordering::Relaxed))
    }

    pub(super) fn set_offloads(&self, offloads: GuestOffloads) {
        self.offloads.store(offloads.to_bits(), Ordering::Relaxed);
    }

    /// Keeps workers out of the device and waits for those inside.
    pub(super) fn close(&self) {
        self.line.close();
        for queue in &self.rx {
            queue.gate.wait_empty();
        }
        for queue in &self.tx {
            queue.gate.wait_empty();
        }
    }

    /// Spreads our transmit queues over the rings the guest has enabled (bit `n` of `enabled`: pair `n`).
    pub(super) fn route(&self, enabled: &[bool]) {
        let rings: Vec<u32> =
            (0..self.pairs()).filter(|&pair| enabled[usize::from(pair)]).map(|pair| guest_rx_ring(pair).into()).collect();
        for (index, queue) in self.tx.iter().enumerate() {
            let ring = if rings.is_empty() { NO_RING } else { rings[index % rings.len()] };
            queue.ring.store(ring, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("State").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}
