//! A port's queues, as a worker sees them: they exist from the start, guest or no guest.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::burst::{Burst, MAX_BURST};
use crate::mempool::Mempool;
use crate::sys;

use super::apart;
use super::features::GuestOffloads;
use super::gate::{Inside, Visits};
use super::inspect;
use super::landing::Landing;
use super::split::{self, End, Straight};
use super::state::{NO_RING, RxCounters, RxState, State, TxState, guest_tx_ring};
use super::watch;

/// Frames one call of the library takes or gives (`MAX_PKT_BURST` of `lib/vhost`).
pub(super) const LIBRARY_BURST: usize = 32;
/// The library may put an announcement of its own (RARP) in front, and then asks a packed ring for one frame less; it
/// cannot ask for none.
const SMALLEST: usize = 2;

/// Receives what the guest sends on one of its queues.
#[derive(Debug)]
pub struct VhostRxQueue {
    pub(super) state: Arc<State>,
    pub(super) pair: u16,
    pub(super) landing: Landing,
    pub(super) pool: Mempool,
    /// Whether the guest is asked to kick.
    pub(super) notify: bool,
    /// Boxed for its size; made with the queue, for workers do not allocate.
    pub(super) way: Box<Way>,
    pub(super) visits: Visits,
}

/// Sends to the guest.
#[derive(Debug)]
pub struct VhostTxQueue {
    pub(super) state: Arc<State>,
    pub(super) index: usize,
    /// Boxed for its size; made with the queue, for workers do not allocate.
    pub(super) way: Box<Way>,
    pub(super) visits: Visits,
}

/// How a queue's bursts get through the ring it has in this epoch of the port.
#[derive(Debug, Default)]
pub(super) struct Way {
    epoch: u32,
    ring: u16,
    /// `None`: all by the library, as the first burst of each epoch, which makes the library look at what has been changed
    /// (its own addresses; an announcement that it was asked for).
    straight: Option<Straight>,
    begun: bool,
}

impl Way {
    /// True when `ring` is new to the queue, or may be another than it was.
    #[inline]
    fn is_new(&mut self, state: &State, ring: u16) -> bool {
        let epoch = state.epoch.load(Ordering::Relaxed);
        if epoch == self.epoch && ring == self.ring {
            return false;
        }
        *self = Self { epoch, ring, straight: None, begun: false };
        true
    }

    /// The library has carried a burst.
    #[inline]
    fn begin(&mut self, inside: &Inside<'_>, state: &State) {
        if !std::mem::replace(&mut self.begun, true) {
            self.straight = Straight::new(inside, state, self.ring);
        }
    }
}

impl VhostRxQueue {
    fn shared(&self) -> &RxState {
        &self.state.rx[usize::from(self.pair)]
    }

    /// Appends up to `max` frames to `burst`; returns how many. 0 while no guest is attached, and when there is room for
    /// one frame only.
    ///
    /// Frames the guest had no right to send (shorter than an Ethernet header, offload state that contradicts the
    /// headers, longer than an IP packet can be) are dropped here and counted. A frame longer than a buffer is a chain.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst, max: usize) -> usize {
        let shared = &self.state.rx[usize::from(self.pair)];
        let spare = burst.spare_raw();
        let room = max.min(spare.len()).min(LIBRARY_BURST);
        if room < SMALLEST || !shared.enabled.load(Ordering::Acquire) {
            return 0;
        }
        let Some(inside) = shared.gate.enter(&self.state.line, &mut self.visits) else { return 0 };
        let ring = guest_tx_ring(self.pair);
        if self.way.is_new(&self.state, ring) {
            tell_guest(&inside, ring, self.notify);
        }
        let spare = &mut spare[..room];
        let (taken, end) = match &mut self.way.straight {
            Some(straight) => straight.take(&inside, self.pool, spare),
            None => (0, End::Library),
        };
        shared.counters.frames.add(taken);
        let mut good = taken;
        if end == End::Library && room - taken >= SMALLEST {
            good += dequeue(&inside, ring, &mut self.landing, &mut spare[taken..], &shared.counters);
            self.way.begin(&inside, &self.state);
        }
        drop(inside);
        // SAFETY: the first `good` slots hold the frames that were kept; the others were freed.
        unsafe { burst.grow(good) };
        good
    }

    /// A descriptor to wait on: readable when there may be frames, or the guest came, went or changed its queues. It
    /// stays the same for the life of the queue; [`set_notify`](Self::set_notify) clears it. A guest may have no kick
    /// descriptor (it then asks to be polled): its frames wait until something else wakes the worker.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.shared().wake.fd()
    }

    /// Asks the guest to kick (before sleeping) or not to (while polling, the initial setting).
    ///
    /// The race: the guest may have sent after the last poll and before it saw the request. So the order is
    /// `set_notify(true)`, one more [`receive`](Self::receive), and sleep only if that gave nothing.
    pub fn set_notify(&mut self, on: bool) {
        let shared = &self.state.rx[usize::from(self.pair)];
        if on {
            // Before the guest is told, so that a kick from here on is not forgotten.
            shared.wake.acknowledge();
        }
        self.notify = on;
        if shared.enabled.load(Ordering::Acquire)
            && let Some(inside) = shared.gate.enter(&self.state.line, &mut self.visits)
        {
            tell_guest(&inside, guest_tx_ring(self.pair), on);
        }
        // The store to the guest's memory must be seen before the poll that follows reads the ring.
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// A burst by the library, into the front of `spare`; returns how many frames are good.
fn dequeue(
    inside: &Inside<'_>,
    ring: u16,
    landing: &mut Landing,
    spare: &mut [*mut sys::rte_mbuf],
    counters: &RxCounters,
) -> usize {
    watch::beware();
    // SAFETY: the ring exists because it is enabled. The library locks the ring itself against its own control thread.
    let landed = unsafe { landing.dequeue(inside, ring, spare.as_mut_ptr(), spare.len() as u16) };
    if landed.refused | landed.exhausted != 0 {
        counters.too_long.add(usize::from(landed.refused));
        counters.no_buffers.add(usize::from(landed.exhausted));
    }
    // SAFETY: the library handed over so many exclusively owned, well-formed chains in the first slots.
    unsafe { inspect::keep_good(&mut spare[..usize::from(landed.frames)], counters) }
}

/// `rte_vhost_enable_guest_notification`; fails harmlessly while the ring is being set up (the epoch is raised
/// when it is ready).
fn tell_guest(inside: &Inside<'_>, ring: u16, on: bool) {
    // SAFETY: the device lives while we are inside; the call locks the ring.
    unsafe { sys::rte_vhost_enable_guest_notification(inside.vid, ring, i32::from(on)) };
}

impl VhostTxQueue {
    fn shared(&self) -> &TxState {
        &self.state.tx[self.index]
    }

    /// Sends from the front of `burst`; frames that did not fit stay in it. Returns how many left.
    ///
    /// Nothing leaves while no guest is attached or it has no receive queue enabled. Frames longer than anything the
    /// guest must have buffers for leave as drops when its ring refuses them, so they do not stop those behind them.
    #[inline]
    pub fn transmit(&mut self, burst: &mut Burst) -> usize {
        let shared = &self.state.tx[self.index];
        let ring = shared.ring.load(Ordering::Acquire);
        let inside =
            if ring == NO_RING { None } else { shared.gate.enter(&self.state.line, &mut self.visits) };
        let Some(inside) = inside else {
            shared.counters.link_down.add(burst.len());
            return 0;
        };
        let ring = ring as u16;
        self.way.is_new(&self.state, ring);
        let total = burst.len();
        let mut gone = 0;
        let mut too_large = 0;
        let turn = self.state.turn(ring);
        let frames = burst.raw();
        while gone < total {
            let batch = (total - gone).min(LIBRARY_BURST);
            let window = &mut frames[gone..gone + batch];
            let (sent, end) = match &mut self.way.straight {
                // SAFETY: owned frames, copied into the guest's memory; we have the ring to ourselves.
                Some(straight) => unsafe { straight.give(&inside, window) },
                None => (0, End::Library),
            };
            gone += sent;
            if sent == batch {
                continue;
            }
            if end == End::Library {
                let rest = &mut window[sent..];
                let sent = enqueue(&inside, ring, rest, self.state.offloads());
                self.way.begin(&inside, &self.state);
                gone += sent;
                if sent == rest.len() {
                    continue;
                }
            }
            // SAFETY: a live frame of ours.
            if unsafe { (*frames[gone]).pkt_len } <= self.state.offloads().sure_fit() {
                break;
            }
            too_large += 1;
            gone += 1;
        }
        drop(turn);
        drop(inside);
        if gone > 0 {
            burst.free_front(gone);
        }
        shared.counters.frames.add(gone - too_large);
        if gone < total {
            shared.counters.ring_full.add(total - gone);
        }
        if too_large > 0 {
            shared.counters.too_large.add(too_large);
        }
        gone
    }

    /// What the attached guest accepts right now; the rest is to be finished in software before [`transmit`](Self::transmit).
    #[inline]
    pub fn offloads(&self) -> GuestOffloads {
        self.state.offloads()
    }

    /// True while a guest is attached and receives.
    #[inline]
    pub fn is_up(&self) -> bool {
        self.state.line.is_open() && self.shared().ring.load(Ordering::Relaxed) != NO_RING
    }
}

/// A burst by the library, from the front of `frames`; returns how many left.
fn enqueue(
    inside: &Inside<'_>,
    ring: u16,
    frames: &mut [*mut sys::rte_mbuf],
    offloads: GuestOffloads,
) -> usize {
    watch::beware();
    // SAFETY: owned frames.
    let apart = if offloads.checksum { unsafe { apart::take(frames) } } else { 0 };
    // SAFETY: owned frames, read by the library and copied into the guest's memory; it keeps none of them. The device lives
    // while we are `inside`; the ring exists because it is enabled.
    let sent = usize::from(unsafe {
        sys::rte_vhost_enqueue_burst(inside.vid, ring, frames.as_mut_ptr(), frames.len() as u16)
    });
    if sent < frames.len() {
        // SAFETY: the same frames, those that stay with us, with the bits of those that were taken apart.
        unsafe { apart::join(&mut frames[sent..], apart >> sent) };
    }
    sent
}

const _: () =
    assert!(LIBRARY_BURST <= MAX_BURST && split::BURST <= LIBRARY_BURST && LIBRARY_BURST <= apart::MOST);
