//! Adaptive polling: an idle worker blocks until a port has something for it.

use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use shunt_ffi::Burst;

use super::Worker;
use super::forward::Flows;

/// Descriptors one worker waits for; queues beyond that are found by the timer.
const DESCRIPTORS: usize = 256;
/// Longest sleep while packets are held: they are asked for again, and given up, once a second. That their neighbour has
/// answered is rung by the control thread.
const HOLDING: Duration = Duration::from_millis(100);

impl Worker {
    /// Sleeps until a frame, a command, or, while a queue cannot wake us or packets are held, the longest sleep.
    ///
    /// Order matters: notifications on, then one more poll, then sleep. A frame that arrives after that poll finds the
    /// notification on; one that arrived before is found by the poll.
    pub(super) fn sleep(&mut self, burst: &mut Burst, flows: &mut Flows, now: u32) {
        for slot in &mut self.rx {
            slot.rx.notify(true);
        }
        let late = self.poll(burst, flows, now).frames;
        if late > 0 {
            self.counters.time.packets.add(late as u64);
        } else if !self.inbox.pending() {
            self.block();
        }
        for slot in &mut self.rx {
            slot.rx.notify(false);
        }
    }

    fn block(&mut self) {
        let Self { topology, rx, inbox, settings, counters, forwarder } = self;
        counters.time.sleeps.add(1);
        let wanted = PollFlags::POLLIN;
        let mut descriptors: [PollFd<'_>; DESCRIPTORS] =
            std::array::from_fn(|_| PollFd::new(inbox.wake_fd(), wanted));
        let mut used = 1;
        let mut blind = false;
        for slot in rx.iter() {
            match slot.rx.wake_fd() {
                Some(fd) if used < DESCRIPTORS && !slot.down => {
                    descriptors[used] = PollFd::new(fd, wanted);
                    used += 1;
                }
                _ => blind = true,
            }
        }
        let blind = blind.then_some(settings.max_sleep);
        let holding = forwarder.is_holding().then_some(HOLDING);
        let longest = [blind, holding].into_iter().flatten().min();
        let timeout = longest.map(TimeSpec::from_duration);
        topology.offline(|| {
            // An interrupted sleep is a short sleep.
            let _ = ppoll(&mut descriptors[..used], timeout, None);
        });
    }
}
