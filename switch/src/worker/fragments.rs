//! Later fragments that wait for their first one, which says what they are of: who sends the last fragment first, or whose
//! fragments come by two queues, loses nothing.
//!
//! They wait at the worker that got them; that the first one has come, at whichever worker, is known from
//! [`Fragments::news`](crate::state::Fragments::news). Room is bounded four ways, so that a sender of later fragments that never get
//! a first one costs some buffers and takes no room from others. All memory is taken at start.

use std::collections::VecDeque;
use std::net::IpAddr;

use shunt_ffi::Mbuf;

use crate::flow::FlowKey;
use crate::flow::parse::Layout;
use crate::ids::PortId;
use crate::state::fragments::Identity;

/// Fragments held by one worker, and their bytes.
const ROOM: usize = 256;
const BYTES: usize = 512 << 10;
/// Of these, fragments that came in by one port, and those from one address: of the largest datagram at an MTU of 1,280.
const PER_PORT: usize = 128;
const PER_SOURCE: usize = 64;
/// Seconds on the workers' clock after which a fragment is given up. Fragments of a datagram are sent one after the other:
/// what has not come by then is lost.
const PATIENCE: u32 = 2;
/// Fragments that are asked for between two rounds of the receive queues: what a sender who makes news all the time costs others
/// is less than a microsecond in each.
const AT_ONCE: usize = 8;

/// A later fragment, as it came in, out of its tunnel.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: Mbuf,
    /// Where it came in.
    pub(super) port: PortId,
    /// Which datagram it is of.
    pub(super) identity: Identity,
    pub(super) key: FlowKey,
    pub(super) layout: Layout,
    /// [`Topology::numbering`](crate::topology::Topology::numbering) for which the network in the key is right.
    pub(super) numbering: u64,
    /// Second on the workers' clock in which it came.
    pub(super) since: u32,
}

impl Waiting {
    /// True when its first one will not come any more.
    pub(super) fn is_over(&self, now: u32) -> bool {
        now.wrapping_sub(self.since) >= PATIENCE
    }

    fn source(&self) -> Option<IpAddr> {
        self.key.addresses().map(|(source, _)| source)
    }
}

/// The later fragments that one worker holds, oldest first.
#[derive(Debug)]
pub(super) struct Lingering {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The news and the second for which they were last asked for.
    asked: (u32, u32),
    /// How many of them, from the front, have not been asked for since.
    due: usize,
}

impl Default for Lingering {
    fn default() -> Self {
        Self { waiting: VecDeque::with_capacity(ROOM), bytes: 0, asked: (0, 0), due: 0 }
    }
}

impl Lingering {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps a fragment; it comes back when there is no room for it.
    pub(super) fn keep(&mut self, fragment: Waiting) -> Option<Waiting> {
        let length = fragment.frame.len() as usize;
        let of_port = self.waiting.iter().filter(|other| other.port == fragment.port).count();
        let of_source = self.waiting.iter().filter(|other| other.source() == fragment.source()).count();
        let full = self.waiting.len() == ROOM || self.bytes + length > BYTES;
        if full || of_port >= PER_PORT || of_source >= PER_SOURCE {
            return Some(fragment);
        }
        self.bytes += length;
        self.waiting.push_back(fragment);
        None
    }

    /// How many are to be asked for now: all, in turns, when there is news or another second.
    pub(super) fn due(&mut self, news: u32, now: u32) -> usize {
        if self.asked != (news, now) {
            self.asked = (news, now);
            self.due = self.waiting.len();
        }
        let turn = self.due.min(AT_ONCE).min(self.waiting.len());
        self.due -= turn;
        turn
    }

    /// The oldest, to be asked for; one that must wait on comes back by [`Lingering::put_back`].
    pub(super) fn next(&mut self) -> Option<Waiting> {
        let fragment = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(fragment.frame.len() as usize);
        Some(fragment)
    }

    /// Takes one back: behind the others, which are asked for first.
    pub(super) fn put_back(&mut self, fragment: Waiting) {
        debug_assert!(self.waiting.len() < ROOM, "more came back than was taken");
        self.bytes += fragment.frame.len() as usize;
        self.waiting.push_back(fragment);
    }

    /// Takes one out that came in by `port`, whose queue goes.
    pub(super) fn take_of(&mut self, port: PortId) -> Option<Waiting> {
        let at = self.waiting.iter().position(|fragment| fragment.port == port)?;
        let fragment = self.waiting.remove(at)?;
        self.bytes = self.bytes.saturating_sub(fragment.frame.len() as usize);
        Some(fragment)
    }
}

#[cfg(test)]
mod tests;
