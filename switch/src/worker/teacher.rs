//! What traffic teaches, on its way to the control thread: a bounded channel, a filter against repetition, a count of
//! what did not fit. Never a lock.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::channel::Sender;
use shunt_ffi::clock;
use std::time::Duration;

use crate::counters::WorkerCounters;
use crate::ids::PortId;
use crate::pipeline::Teach;
use crate::wire::ethernet::Mac;

/// Something a frame taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Where the frame came in.
    pub port: PortId,
    /// Its source address.
    pub source: Mac,
    /// An IP address and the MAC address that has it.
    pub neighbor: Option<(IpAddr, Mac)>,
}

/// Remembered lessons; a power of two.
const RECENT: usize = 1024;
/// The same lesson is not sent again within this time: the control thread publishes what it learns well before.
const QUIET: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Teacher {
    lessons: Sender<Lesson>,
    recent: Box<[(u64, u64)]>,
    quiet: u64,
    counters: Arc<WorkerCounters>,
}

impl Teacher {
    pub(super) fn new(lessons: Sender<Lesson>, counters: Arc<WorkerCounters>) -> Self {
        Self { lessons, recent: vec![(0, 0); RECENT].into(), quiet: clock::cycles(QUIET), counters }
    }

    /// Sends what a frame from `port` with this source address teaches, if anything.
    #[inline]
    pub(super) fn teach(&mut self, port: PortId, source: Mac, teach: Teach) {
        match teach {
            Teach::Nothing => {}
            Teach::Source => self.send(Lesson { port, source, neighbor: None }),
            Teach::Neighbor(address, mac) => {
                self.send(Lesson { port, source: mac, neighbor: Some((address, mac)) });
            }
        }
    }

    #[cold]
    fn send(&mut self, lesson: Lesson) {
        // The port is part of the key, so that a station that moves is heard at once.
        // So is the address: a station with two of them is heard about both.
        let address = match lesson.neighbor {
            None => 0,
            Some((IpAddr::V4(address), _)) => u64::from(address.to_bits()) | 1 << 32,
            Some((IpAddr::V6(address), _)) => (address.to_bits() ^ address.to_bits() >> 64) as u64 | 1 << 33,
        };
        let key = (lesson.source.0 | (lesson.port.index() as u64) << 48) ^ address.rotate_left(24);
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - RECENT.trailing_zeros())) as usize;
        let now = clock::tsc();
        let (last, when) = self.recent[place];
        if last == key && now.wrapping_sub(when) < self.quiet {
            return;
        }
        if self.lessons.try_send(lesson).is_ok() {
            self.recent[place] = (key, now);
        } else {
            self.counters.time.lessons_lost.add(1);
        }
    }
}
