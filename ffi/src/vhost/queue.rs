//! A port's queues, as a worker sees them: they exist from the start, guest or no guest.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::burst::{Burst, MAX_BURST};
use crate::sys;

use super::apart;
use super::features::GuestOffloads;
use super::gate::{Inside, Visits};
use super::inspect;
use super::landing::Landing;
use super::state::{NO_RING, RxState, State, TxState, guest_tx_ring};

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
    /// Whether the guest is asked to kick, and the ring generation that was told so.
    pub(super) notify: bool,
    pub(super) told: u32,
    pub(super) visits: Visits,
}

/// Sends to the guest.
#[derive(Debug)]
pub struct VhostTxQueue {
    pub(super) state: Arc<State>,
    pub(super) index: usize,
    pub(super) visits: Visits,
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
        let generation = shared.generation.load(Ordering::Relaxed);
        if generation != self.told {
            self.told = generation;
            tell_guest(&inside, guest_tx_ring(self.pair), self.notify);
        }
        // SAFETY: `spare` has at least `room` slots; the ring exists because it is enabled. The library locks the ring itself
        // against its own control thread.
        let landed = unsafe {
            self.landing.dequeue(&inside, guest_tx_ring(self.pair), spare.as_mut_ptr(), room as u16)
        };
        drop(inside);
        if landed.refused | landed.exhausted != 0 {
            shared.counters.too_long.add(usize::from(landed.refused));
            shared.counters.no_buffers.add(usize::from(landed.exhausted));
        }
        let count = landed.frames;
        if count == 0 {
            return 0;
        }
        // SAFETY: the library handed over `count` exclusively owned, well-formed chains in the first slots.
        let good = unsafe { inspect::keep_good(&mut spare[..usize::from(count)], &shared.counters) };
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

/// `rte_vhost_enable_guest_notification`; fails harmlessly while the ring is being set up (the generation is raised
/// again when it is ready).
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
        let total = burst.len();
        let mut gone = 0;
        let mut too_large = 0;
        let unfinished = self.state.offloads().checksum;
        let frames = burst.raw();
        while gone < total {
            let batch = (total - gone).min(LIBRARY_BURST);
            let window = &mut frames[gone..gone + batch];
            // SAFETY: owned frames.
            let apart = if unfinished { unsafe { apart::take(window) } } else { 0 };
            // SAFETY: owned frames, read by the library and copied into the guest's memory; it keeps none of them. The
            // device lives while we are `inside`; the ring exists because it is enabled. Two queues may use one ring:
            // the library locks it.
            let sent = usize::from(unsafe {
                sys::rte_vhost_enqueue_burst(inside.vid, ring as u16, window.as_mut_ptr(), batch as u16)
            });
            gone += sent;
            if sent == batch {
                continue;
            }
            // SAFETY: the same frames, those that stay with us, with the bits of those that were taken apart.
            unsafe { apart::join(&mut window[sent..], apart >> sent) };
            // SAFETY: a live frame of ours.
            if unsafe { (*frames[gone]).pkt_len } <= self.state.offloads().sure_fit() {
                break;
            }
            too_large += 1;
            gone += 1;
        }
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

const _: () = assert!(LIBRARY_BURST <= MAX_BURST && LIBRARY_BURST <= apart::MOST);
