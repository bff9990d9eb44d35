//! Copies of frames for whoever watches (`shunt tcpdump`), from a worker to the control interface.
//!
//! All memory is made by the asker: a [`Ring`] of slots, each as long as the longest copy. A worker takes an empty slot,
//! copies, and hands it on; both ways are bounded queues without locks. When there is no empty slot the frame is counted as
//! lost to the watcher, never to its receiver. With nobody watching, a worker asks one flag per burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use shunt_ffi::{Burst, Mbuf, clock};

use crate::drop::DropReason;
use crate::ids::PortId;
use crate::wire::echo;

/// Captures at a time.
pub const MAX_CAPTURES: usize = 4;
/// Bytes that a ring takes, about: a second of 100,000 small frames, or two hundred large sends.
const RING_BYTES: usize = 16 << 20;
/// Slots of a ring, at least and at most.
const SLOTS: (usize, usize) = (256, 16_384);

/// Where a frame was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Received from the port, before any stage.
    Ingress,
    /// About to be handed to the port.
    Egress,
    /// Dropped, for this reason.
    Drop(DropReason),
}

/// A copy of a frame.
#[derive(Debug)]
pub struct Copied {
    /// Port it came in by, goes out of, or is counted as dropped at.
    pub port: PortId,
    /// Where.
    pub point: Point,
    /// When, in cycles of the time-stamp counter.
    pub tsc: u64,
    /// Its length on the wire, bytes; large sends whole.
    pub length: u32,
    taken: usize,
    buffer: Box<[u8]>,
}

impl Copied {
    /// The bytes that were copied.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.taken).unwrap_or_default()
    }
}

/// The slots of one capture, for all workers.
#[derive(Debug)]
pub struct Ring {
    empty: ArrayQueue<Copied>,
    full: ArrayQueue<Copied>,
    lost: AtomicU64,
}

impl Ring {
    /// A ring for copies of at most `snaplen` bytes.
    pub fn new(snaplen: usize) -> Self {
        Self::with_slots((RING_BYTES / snaplen.max(1)).clamp(SLOTS.0, SLOTS.1), snaplen)
    }

    /// A ring of so many slots.
    pub fn with_slots(slots: usize, snaplen: usize) -> Self {
        let ring =
            Self { empty: ArrayQueue::new(slots), full: ArrayQueue::new(slots), lost: AtomicU64::new(0) };
        for _ in 0..slots {
            let buffer = vec![0; snaplen].into();
            let unused = PortId::FIRST;
            let slot = Copied { port: unused, point: Point::Ingress, tsc: 0, length: 0, taken: 0, buffer };
            // There is room for each: the queue was made so long.
            let _ = ring.empty.push(slot);
        }
        ring
    }

    /// The oldest copy.
    pub fn take(&self) -> Option<Copied> {
        self.full.pop()
    }

    /// Gives the slot of a copy back.
    pub fn give_back(&self, copied: Copied) {
        // There is room for every slot there is.
        let _ = self.empty.push(copied);
    }

    /// Frames that found no empty slot.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn copy(&self, port: PortId, point: Point, tsc: u64, frame: &Mbuf) {
        let Some(mut slot) = self.empty.pop() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut taken = 0;
        for segment in frame.segments() {
            let room = slot.buffer.get_mut(taken..).unwrap_or_default();
            let count = segment.len().min(room.len());
            if let (Some(to), Some(from)) = (room.get_mut(..count), segment.get(..count)) {
                to.copy_from_slice(from);
            }
            taken += count;
        }
        (slot.port, slot.point, slot.tsc, slot.length, slot.taken) = (port, point, tsc, frame.len(), taken);
        let _ = self.full.push(slot);
    }
}

/// A worker's part in a capture.
#[derive(Clone, Debug)]
pub struct Tap {
    /// Number of the capture.
    pub id: u64,
    /// Only frames at this port.
    pub port: Option<PortId>,
    /// Only what comes back to echo requests of the switch's own with this identifier, where it arrives: nothing else.
    pub echo: Option<u16>,
    /// Where copies go.
    pub ring: Arc<Ring>,
}

impl Tap {
    /// True when a frame at `point` is wanted. Echo replies to the node's own stack, with which the switch shares its addresses, are
    /// met where they go out to it.
    fn wants(&self, point: Point, frame: &Mbuf) -> bool {
        self.echo.is_none_or(|ident| point == Point::Egress && echo::concerns(frame.data(), ident))
    }
}

/// The captures that a worker takes part in.
#[derive(Debug)]
pub(super) struct Taps(Vec<Tap>);

impl Taps {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(MAX_CAPTURES))
    }

    /// True while anybody watches.
    #[inline(always)]
    pub(super) fn are_on(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes part in another capture; the tap comes back when there are too many.
    pub(super) fn add(&mut self, tap: Tap) -> Option<Tap> {
        if self.0.len() == MAX_CAPTURES {
            return Some(tap);
        }
        self.0.push(tap);
        None
    }

    /// Ends a capture. The tap comes back: its memory is not freed here.
    pub(super) fn remove(&mut self, id: u64) -> Option<Tap> {
        let place = self.0.iter().position(|tap| tap.id == id)?;
        Some(self.0.swap_remove(place))
    }

    /// Copies the frames of a burst.
    #[cold]
    pub(super) fn burst(&self, port: PortId, point: Point, burst: &Burst) {
        let tsc = clock::tsc();
        for tap in self.0.iter().filter(|tap| tap.port.is_none_or(|only| only == port)) {
            for frame in burst.iter().filter(|frame| tap.wants(point, frame)) {
                tap.ring.copy(port, point, tsc, frame);
            }
        }
    }

    /// Copies a frame that is dropped.
    #[cold]
    pub(super) fn dropped(&self, port: PortId, reason: DropReason, frame: &Mbuf) {
        let tsc = clock::tsc();
        let wants = |tap: &&Tap| tap.echo.is_none() && tap.port.is_none_or(|only| only == port);
        for tap in self.0.iter().filter(wants) {
            tap.ring.copy(port, Point::Drop(reason), tsc, frame);
        }
    }

    /// Copies a frame for the switch itself that came in by `port`, for who waits for it; false when nobody does.
    #[cold]
    pub(super) fn hear(&self, port: PortId, frame: &Mbuf) -> bool {
        let tsc = clock::tsc();
        let mut heard = false;
        for tap in &self.0 {
            if tap.echo.is_some_and(|ident| echo::concerns(frame.data(), ident)) {
                tap.ring.copy(port, Point::Ingress, tsc, frame);
                heard = true;
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_as_many_slots_as_fit_its_memory() {
        assert_eq!(Ring::new(65_535).empty.len(), SLOTS.0);
        assert_eq!(Ring::new(4096).empty.len(), RING_BYTES / 4096);
        assert_eq!(Ring::new(64).empty.len(), SLOTS.1);
        let ring = Ring::new(65_535);
        assert!(ring.take().is_none() && ring.lost() == 0);
    }

    #[test]
    fn a_worker_takes_part_in_a_few_captures_and_gives_them_back() {
        let ring = Arc::new(Ring::new(64));
        let tap = |id| Tap { id, port: None, echo: None, ring: ring.clone() };
        let mut taps = Taps::new();
        assert!(!taps.are_on());
        for id in 0..MAX_CAPTURES as u64 {
            assert!(taps.add(tap(id)).is_none());
        }
        assert_eq!(taps.add(tap(9)).map(|tap| tap.id), Some(9));
        assert_eq!(taps.remove(2).map(|tap| tap.id), Some(2));
        assert!(taps.remove(2).is_none() && taps.are_on());
    }
}
