//! Packets whose next hop is being asked for: they wait for the answer instead of being lost, so that a new neighbour costs
//! no first packet (RFC 1122 section 2.3.2.2, RFC 4861 section 7.2.2).
//!
//! A held packet is decided anew when the topology changes, since that is how an answer arrives, and once a second, when
//! its question is asked again. Room is bounded three ways, so that a tenant who sends to addresses that do not exist costs
//! a few buffers and takes no room from the others. All memory is taken at start.

use std::collections::VecDeque;

use shunt_ffi::Mbuf;

use crate::flow::FlowKey;
use crate::flow::parse::Layout;
use crate::ids::PortId;
use crate::pipeline::Question;

/// Packets held by one worker.
const ROOM: usize = 64;
/// Of these, packets that came in by one port.
const PER_PORT: usize = 16;
/// Packets for one neighbour; a further one takes the place of the oldest.
const PER_NEIGHBOR: usize = 3;
/// Seconds on the workers' clock after which a packet is given up: three questions, one second apart (RFC 4861
/// section 10, `MAX_MULTICAST_SOLICIT`).
const PATIENCE: u32 = 3;

/// A packet as it came in, out of its tunnel.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: Mbuf,
    /// Where it came in.
    pub(super) port: PortId,
    /// Whom it waits for.
    pub(super) question: Question,
    /// Of a packet that came in a tunnel, or is a later fragment, which it does not show any more: its key and layout.
    pub(super) opened: Option<Opened>,
    /// Second on the workers' clock in which it came.
    pub(super) since: u32,
}

impl Waiting {
    /// True when nobody has answered for so long that nobody will.
    pub(super) fn is_over(&self, now: u32) -> bool {
        now.wrapping_sub(self.since) >= PATIENCE
    }

    fn waits_for(&self, question: &Question) -> bool {
        self.question.network == question.network && self.question.target == question.target
    }
}

/// What a packet that came in a tunnel, or is a later fragment, was found to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) key: FlowKey,
    pub(super) layout: Layout,
    /// [`Topology::numbering`](crate::topology::Topology::numbering) for which the network in the key is right.
    pub(super) numbering: u64,
}

/// The packets that one worker holds, oldest first.
#[derive(Debug)]
pub(super) struct Held {
    packets: VecDeque<Waiting>,
    /// The topology and the second in which they were last tried.
    tried: (u64, u32),
}

impl Default for Held {
    fn default() -> Self {
        Self { packets: VecDeque::with_capacity(ROOM), tried: (0, 0) }
    }
}

/// What is to be done with the held packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// They wait on.
    Nothing,
    /// The topology has changed: their neighbour may be known.
    Retry,
    /// A second has passed: besides, they ask again.
    AskAgain,
}

impl Held {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether the packets are to be tried again under the topology of `generation` in second `now`; the answer is given
    /// once.
    pub(super) fn due(&mut self, generation: u64, now: u32) -> Due {
        let (known, second) = std::mem::replace(&mut self.tried, (generation, now));
        match (second != now, known != generation) {
            (true, _) => Due::AskAgain,
            (false, true) => Due::Retry,
            (false, false) => Due::Nothing,
        }
    }

    /// Holds a packet that was just decided under the topology of `generation`. Returns the one that had to go: an older
    /// one for the same neighbour, or this one when there is no room.
    pub(super) fn hold(&mut self, packet: Waiting, generation: u64, now: u32) -> Option<Waiting> {
        if self.packets.is_empty() {
            self.tried = (generation, now);
        }
        let same = |held: &Waiting| held.waits_for(&packet.question);
        if self.packets.iter().filter(|held| same(held)).count() >= PER_NEIGHBOR {
            let oldest = self.packets.iter().position(same).and_then(|at| self.packets.remove(at));
            self.packets.push_back(packet);
            return oldest;
        }
        let of_port = self.packets.iter().filter(|held| held.port == packet.port).count();
        if self.packets.len() == ROOM || of_port >= PER_PORT {
            return Some(packet);
        }
        self.packets.push_back(packet);
        None
    }

    /// The oldest packet, to be tried; one that must wait on comes back by [`Held::put_back`].
    pub(super) fn next(&mut self) -> Option<Waiting> {
        self.packets.pop_front()
    }

    /// Takes a packet back that [`Held::next`] gave: behind the others, which are tried after it and come back after it.
    pub(super) fn put_back(&mut self, packet: Waiting) {
        debug_assert!(self.packets.len() < ROOM, "more came back than was taken");
        self.packets.push_back(packet);
    }

    /// Gives up what came in by `port`, whose queue goes; returns how many.
    pub(super) fn forget(&mut self, port: PortId) -> usize {
        let before = self.packets.len();
        self.packets.retain(|packet| packet.port != port);
        before - self.packets.len()
    }
}

#[cfg(test)]
mod tests;
