//! What the library's callbacks (control side) and the queues (workers) share of one port.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use crossbeam::utils::CachePadded;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::VhostEvent;
use super::features::GuestOffloads;
use super::gate::{Gate, Line};
use super::regions::Regions;
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
    /// The front end's socket, for messages.
    pub(super) path: String,
    /// Read by every worker per burst, written only when a guest comes, goes or is being changed.
    pub(super) line: CachePadded<Line>,
    /// Raised whenever workers are let in: rings, memory and features may be others than before.
    pub(super) epoch: AtomicU32,
    offloads: AtomicU32,
    /// What the library has mapped of the guest's memory.
    pub(super) regions: Regions,
    /// Whose turn it is with the rings the guest receives on; used only while there are several transmit queues.
    turns: Box<[CachePadded<AtomicBool>]>,
    pub(super) rx: Box<[CachePadded<RxState>]>,
    pub(super) tx: Box<[CachePadded<TxState>]>,
    pub(super) events: Box<dyn Fn(VhostEvent) + Send + Sync>,
    control: Mutex<Control>,
    /// Wakes the relay: the port is closed, or memory was lost.
    pub(super) nudge: EventFd,
    /// Never raised: for waits that nothing may cut short.
    pub(super) never: EventFd,
    pub(super) stop: AtomicBool,
    /// Why the guest is to be disconnected, if it is ([`Harm`]).
    harm: AtomicU8,
}

/// What a guest did that it may not do to a running worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Harm {
    None = 0,
    /// Memory that it shared is gone.
    MemoryLost = 1,
    /// A write to its call descriptor blocked.
    WorkerBlocked = 2,
}

/// What only the control side knows. Workers never lock it.
#[derive(Debug)]
pub(super) struct Control {
    /// The library's number of the one connection, from its start to its end.
    pub(super) connection: Option<i32>,
    /// The device runs: between `new_device` and `destroy_device`.
    pub(super) running: bool,
    /// The relay is changing something; workers stay out.
    pub(super) paused: bool,
    /// Rings the library reported ready, by ring number.
    pub(super) ready: Vec<bool>,
}

/// One of our receive queues, that is, one ring the guest sends on.
pub(super) struct RxState {
    pub(super) gate: Gate,
    pub(super) enabled: AtomicBool,
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
    pub(super) too_long: Counter,
    pub(super) no_buffers: Counter,
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
        let ready = vec![false; usize::from(pairs) * 2];
        Ok(Self {
            path,
            line: CachePadded::new(Line::new()),
            epoch: AtomicU32::new(0),
            offloads: AtomicU32::new(0),
            regions: Regions::default(),
            turns: (0..pairs).map(|_| CachePadded::new(AtomicBool::new(false))).collect(),
            rx,
            tx,
            events,
            control: Mutex::new(Control { connection: None, running: false, paused: false, ready }),
            nudge: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            never: EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?,
            stop: AtomicBool::new(false),
            harm: AtomicU8::new(Harm::None as u8),
        })
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps workers out until [`resume`](Self::resume), whatever the library reports; returns when nobody is inside.
    pub(super) fn pause(&self) {
        self.control().paused = true;
        self.close();
    }

    /// Ends a [`pause`](Self::pause).
    pub(super) fn resume(&self) {
        let mut control = self.control();
        control.paused = false;
        self.open_if_ready(&control);
    }

    /// Lets workers in when a device runs and nobody keeps them out.
    pub(super) fn open_if_ready(&self, control: &Control) {
        if let Some(vid) = control.connection
            && control.running
            && !control.paused
            && self.harm() == Harm::None
        {
            self.epoch.fetch_add(1, Ordering::Relaxed);
            self.line.open(vid);
            // A worker that looked in vain while the line was closed may be asleep, with the guest's kicks off.
            for queue in &self.rx {
                queue.wake.raise();
            }
        }
    }

    /// Reports the start (with its number) or the end of the library's connection.
    pub(super) fn set_connection(&self, vid: Option<i32>) {
        let mut control = self.control();
        control.connection = vid;
        control.ready.fill(false);
    }

    /// Ends the guest for what it did. Called from a signal handler too: atomics and one `write`.
    pub(super) fn end_guest(&self, harm: Harm) {
        self.harm.store(harm as u8, Ordering::Release);
        self.line.close();
        let _ = self.nudge.write(1);
    }

    pub(super) fn harm(&self) -> Harm {
        match self.harm.load(Ordering::Acquire) {
            1 => Harm::MemoryLost,
            2 => Harm::WorkerBlocked,
            _ => Harm::None,
        }
    }

    pub(super) fn forgive(&self) {
        self.harm.store(Harm::None as u8, Ordering::Release);
    }

    /// All gates, in a fixed order.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.rx.iter().map(|queue| &queue.gate).chain(self.tx.iter().map(|queue| &queue.gate))
    }

    /// Takes back what [`nudge`](Self::nudge) was raised for, unless the port is being closed.
    pub(super) fn hear_nudge(&self) {
        if !self.stop.load(Ordering::Acquire) {
            let _ = self.nudge.read();
        }
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

    /// Waits until nobody else sends to `ring` of the guest. The time is a burst of another worker's; should the guest
    /// make that one wait in its call, [`super::watch`] ends it.
    #[inline]
    pub(super) fn turn(&self, ring: u16) -> Option<Turn<'_>> {
        if self.tx.len() < 2 {
            return None;
        }
        let taken = &self.turns[usize::from(ring / 2)];
        while taken.swap(true, Ordering::Acquire) {
            while taken.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
        Some(Turn(taken))
    }

    /// Keeps workers out of the device and waits for those inside.
    pub(super) fn close(&self) {
        self.line.close();
        self.gates().for_each(Gate::wait_empty);
    }

    /// Spreads our transmit queues over the rings the guest receives on.
    pub(super) fn route(&self, ready: &[bool]) {
        let rings: Vec<u32> = (0..self.pairs())
            .map(guest_rx_ring)
            .filter(|&ring| ready[usize::from(ring)])
            .map(u32::from)
            .collect();
        for (index, queue) in self.tx.iter().enumerate() {
            let ring = if rings.is_empty() { NO_RING } else { rings[index % rings.len()] };
            queue.ring.store(ring, Ordering::Relaxed);
        }
    }
}

/// The right to send to a ring, until it is dropped.
pub(super) struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("State").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}
