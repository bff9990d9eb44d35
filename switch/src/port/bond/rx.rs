//! A receive queue of one member, on a worker: what is of slow protocols goes to the bond's thread, what comes over a member from which
//! nothing is to be taken is dropped, all else is the bond's traffic.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;
use shunt_ffi::{Burst, MAX_BURST, clock};

use super::share::{Counts, Share};
use crate::port::{Received, RxQueue};
use crate::wire::ethernet::HEADER;
use crate::wire::lacp::{self, MESSAGE};

/// Messages a second that one queue passes on: three hundred times what a partner may send, and little enough for whoever must hear
/// them.
const PER_SECOND: u32 = 300;

/// A message of slow protocols, on its way to the bond's thread. All of it lies in here: the worker allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// The member that heard it.
    pub member: usize,
    bytes: [u8; MESSAGE],
    len: usize,
}

impl Heard {
    /// What was said, without the Ethernet header.
    pub(super) fn message(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn of(member: usize, frame: &[u8]) -> Self {
        let message = frame.get(HEADER..).unwrap_or_default();
        let len = message.len().min(MESSAGE);
        let mut bytes = [0; MESSAGE];
        bytes[..len].copy_from_slice(&message[..len]);
        Self { member, bytes, len }
    }
}

/// What a look at a burst found beside traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// Frames of traffic; they are in the burst.
    pub frames: u8,
    /// Messages of the bond's own protocol.
    pub taken: u8,
    /// Frames that were dropped, because nothing is to be taken from the member.
    pub refused: u8,
    /// Bytes of both.
    pub bytes: u32,
}

// It travels in registers, as the answer of every other port does.
const _: () = assert!(size_of::<Received>() <= 16 && MAX_BURST <= u8::MAX as usize);

/// See the module's text.
#[derive(Debug)]
pub struct BondRxQueue {
    pub(super) queue: Box<RxQueue>,
    pub(super) member: usize,
    pub(super) share: Arc<Share>,
    pub(super) hears: Sender<Heard>,
    /// Until when the messages of this second are paid for, on the time-stamp counter.
    paid: u64,
}

impl BondRxQueue {
    pub(super) fn new(queue: RxQueue, member: usize, share: Arc<Share>, hears: Sender<Heard>) -> Self {
        Self { queue: Box::new(queue), member, share, hears, paid: 0 }
    }

    /// As [`RxQueue::receive`]. Not inlined: other ports shall not pay for it.
    #[inline(never)]
    pub(crate) fn receive(&mut self, burst: &mut Burst, max: usize) -> Received {
        let before = burst.len();
        match self.queue.receive(burst, max) {
            Received::Frames(0) => Received::Frames(0),
            Received::Frames(count) => {
                Counts::add(&self.share.counts(self.member).rx, count);
                let collects = self.share.collects(self.member);
                // Nearly always all is traffic, and stays where it is.
                if collects && !burst[before..].iter().any(|frame| lacp::is_slow(frame.data())) {
                    return Received::Frames(count);
                }
                self.sift(burst, before, collects)
            }
            // The bond lives on without this member.
            Received::Down | Received::Gone | Received::Sifted(_) => {
                self.share.suspend(self.member);
                Received::Down
            }
        }
    }

    /// Takes what is not traffic out of the burst, from `before` on.
    #[cold]
    fn sift(&mut self, burst: &mut Burst, before: usize, collects: bool) -> Received {
        let mut kept = Burst::new();
        let mut sifted = Sifted::default();
        for (index, frame) in burst.drain().enumerate() {
            let slow = index >= before && lacp::is_slow(frame.data());
            if index < before || collects && !slow {
                sifted.frames += u8::from(index >= before);
                // There is as much room as there was.
                let _ = kept.push(frame);
                continue;
            }
            sifted.bytes = sifted.bytes.saturating_add(frame.len());
            if slow {
                sifted.taken += 1;
                self.pass_on(frame.data());
            } else {
                sifted.refused += 1;
            }
        }
        for frame in kept.drain() {
            let _ = burst.push(frame);
        }
        Counts::add(&self.share.counts(self.member).refused, usize::from(sifted.refused));
        Received::Sifted(sifted)
    }

    /// A partner says little; who says more is not listened to.
    fn pass_on(&mut self, frame: &[u8]) {
        let (now, second) = (clock::tsc(), clock::cycles(Duration::from_secs(1)));
        let due = self.paid.max(now) + second / u64::from(PER_SECOND);
        let heard = due - now <= second && self.hears.try_send(Heard::of(self.member, frame)).is_ok();
        if heard {
            self.paid = due;
        } else {
            Counts::add(&self.share.counts(self.member).unheard, 1);
        }
    }

    /// As [`RxQueue::wake_fd`].
    pub(crate) fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.wake_fd()
    }

    /// As [`RxQueue::notify`].
    pub(crate) fn notify(&mut self, enabled: bool) {
        self.queue.notify(enabled);
    }
}
