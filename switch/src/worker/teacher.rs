//! What traffic teaches, on its way to the control thread: a bounded channel, a filter against repetition, a count of
//! what did not fit. Never a lock.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::channel::Sender;
use shunt_ffi::clock;
use std::time::Duration;

use crate::counters::WorkerCounters;
use crate::ids::NetworkId;
use crate::pipeline::{Ingress, Teach};
use crate::table::fdb::Place;
use crate::topology::Topology;
use crate::wire::ethernet::Mac;

/// Something a frame taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Where the frame came from.
    pub place: Place,
    /// The network it came into, as [`Topology::numbering`] of that number has it.
    pub network: NetworkId,
    /// See `network`.
    pub numbering: u64,
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

    /// Sends what a frame with this source address teaches, if anything.
    #[inline]
    pub(super) fn teach(&mut self, topology: &Topology, ingress: &Ingress<'_>, source: Mac, teach: Teach) {
        let (source, neighbor) = match teach {
            Teach::Nothing => return,
            Teach::Source => (source, None),
            Teach::Neighbor(address, mac) => (mac, Some((address, mac))),
        };
        let (place, network) = (ingress.place(), ingress.network.id);
        self.send(Lesson { place, network, numbering: topology.numbering(), source, neighbor });
    }

    #[cold]
    fn send(&mut self, lesson: Lesson) {
        // The place is part of the key, so that a station that moves is heard at once; and the network, in each of which
        // it may be another one.
        // So is the address: a station with two of them is heard about both.
        let address = match lesson.neighbor {
            None => 0,
            Some((IpAddr::V4(address), _)) => u64::from(address.to_bits()) | 1 << 32,
            Some((IpAddr::V6(address), _)) => (address.to_bits() ^ address.to_bits() >> 64) as u64 | 1 << 33,
        };
        let place = match lesson.place {
            Place::Port(port) => port.index() as u64,
            Place::Peer(peer) => u64::from(peer) | 1 << 17,
        };
        let network = (lesson.network.index() as u64).rotate_left(42);
        let key = (lesson.source.0 | place << 46) ^ address.rotate_left(24) ^ network;
        let slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - RECENT.trailing_zeros())) as usize;
        let now = clock::tsc();
        let (last, when) = self.recent[slot];
        if last == key && now.wrapping_sub(when) < self.quiet {
            return;
        }
        if self.lessons.try_send(lesson).is_ok() {
            self.recent[slot] = (key, now);
        } else {
            self.counters.time.lessons_lost.add(1);
        }
    }
}
