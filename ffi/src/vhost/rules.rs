//! What a front end may ask for, and when: everything that reaches the vhost library has passed here.
//!
//! The library (22.11) trusts its front end in places where a hostile container is on the other side. Each rule names
//! the hole it closes:
//!
//! - a ring's size is given before its address and not changed afterwards: the library sizes its own tables by the former
//!   and the guest's by the latter, and indexes both by whatever size was said last;
//! - `GET_VRING_BASE` frees these tables, so the size has to be given again;
//! - the ring format is fixed before the first size: split and packed rings share the tables;
//! - a packed ring's index lies inside the ring when it is started, and is said anew after a stop;
//! - the three parts of a ring lie inside the memory table;
//! - memory is a regular file on tmpfs or hugetlbfs and as large as claimed: a file system served by the guest could
//!   stall a worker in a page fault (that a file may shrink later is the business of [`super::fault`]);
//! - descriptors to kick and call are eventfds: writing to anything else may block;
//! - requests for crash recovery, post-copy, IOMMU and configuration are refused: they size copies by the guest's word.
//!
//! Pure: no socket, no library.

use std::os::fd::AsFd;

use super::memory::{self, Region};
use super::wire::{MAX_FDS, Message, request};

/// Largest ring (virtio 1.1, 2.6 and 2.7).
const MAX_RING: u32 = 32_768;
/// `VIRTIO_NET_F_MQ`.
const MQ: u64 = 1 << 22;
/// `VIRTIO_RING_F_EVENT_IDX`.
const EVENT_IDX: u64 = 1 << 29;
/// `VIRTIO_F_RING_PACKED`.
const PACKED: u64 = 1 << 34;
/// `VHOST_F_LOG_ALL`: the one bit that changes while a guest runs (live migration).
const LOG_ALL: u64 = 1 << 26;
/// `VHOST_USER_VRING_NOFD_MASK`.
const NO_FD: u64 = 1 << 8;

/// Protocol features that are offered: MQ, LOG_SHMFD, RARP, REPLY_ACK, NET_MTU, STATUS.
pub(super) const PROTOCOL_FEATURES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 16;

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Give it to the library and its answer back; it changes nothing.
    Ask,
    /// Give it to the library while no worker is inside.
    Change,
    /// The same, and it has an answer of its own.
    ChangeAndAnswer,
    /// Answer this number ourselves.
    Answer(u64),
    /// Nothing to do.
    Ignore,
}

/// Why a front end is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("request {0} is unknown or was not offered")]
    Request(u32),
    #[error("request {0} has the wrong size or number of descriptors")]
    Shape(u32),
    #[error("ring {0} does not exist here")]
    Ring(u32),
    #[error("ring {ring} cannot have {entries} entries")]
    RingSize { ring: u32, entries: u32 },
    #[error("ring {0} is started before it has a size, or changes it while it has an address")]
    RingOrder(u32),
    #[error("ring {0} does not lie in the memory table")]
    RingAddress(u32),
    #[error("ring {0} starts outside of itself")]
    RingBase(u32),
    #[error("features changed while rings are set up")]
    Features,
    #[error("a memory region is empty, overflows, overlaps the end of its file, or is no shared memory file")]
    Memory,
    #[error("a kick or call descriptor is no eventfd")]
    NotEventfd,
}

#[derive(Clone, Copy, Debug)]
struct Ring {
    entries: Option<u32>,
    /// Where it starts; `None` after a stop, because the library keeps the old value.
    base: Option<u32>,
    addressed: bool,
    started: bool,
}

impl Ring {
    const FRESH: Self = Self { entries: None, base: Some(0), addressed: false, started: false };
    const STOPPED: Self = Self { base: None, ..Self::FRESH };

    /// The library uses a packed ring's start index as it comes.
    fn base_fits(&self, packed: bool) -> bool {
        match (self.entries, self.base) {
            (Some(entries), Some(base)) => !packed || base & 0x7fff < entries,
            _ => !packed,
        }
    }
}

/// What a connection has set up so far.
#[derive(Debug)]
pub(super) struct Rules {
    pairs: u16,
    features: u64,
    rings: Vec<Ring>,
    memory: Vec<Region>,
}

impl Rules {
    /// A fresh connection to a port of `pairs` queue pairs.
    pub(super) fn new(pairs: u16) -> Self {
        Self { pairs, features: 0, rings: vec![Ring::FRESH; usize::from(pairs) * 2], memory: Vec::new() }
    }

    /// Judges a message and remembers what it sets up.
    pub(super) fn check(&mut self, message: &Message) -> Result<Verdict, Refusal> {
        let kind = message.request;
        let shape = Refusal::Shape(kind);
        let takes_fds = matches!(
            kind,
            request::SET_MEM_TABLE
                | request::SET_LOG_BASE
                | request::SET_LOG_FD
                | request::SET_VRING_KICK
                | request::SET_VRING_CALL
                | request::SET_VRING_ERR
        );
        if !takes_fds && !message.fds.is_empty() {
            return Err(shape);
        }
        let long = |at| message.u64_at(at).ok_or(shape);
        match kind {
            request::GET_FEATURES | request::GET_PROTOCOL_FEATURES | request::GET_STATUS => Ok(Verdict::Ask),
            request::GET_QUEUE_NUM => Ok(Verdict::Answer(self.pairs.into())),
            request::SET_OWNER => Ok(Verdict::Change),
            request::SET_FEATURES => self.features(long(0)?),
            request::SET_PROTOCOL_FEATURES
            | request::SEND_RARP
            | request::NET_SET_MTU
            | request::SET_STATUS => long(0).map(|_| Verdict::Change),
            request::SET_MEM_TABLE => self.memory_table(message),
            request::SET_LOG_BASE => {
                let [fd] = &message.fds[..] else { return Err(shape) };
                // The library maps `size` bytes at the offset and then adds the offset again.
                if long(8)? != 0 || !memory::holds(fd.as_fd(), long(0)?) {
                    return Err(Refusal::Memory);
                }
                Ok(Verdict::ChangeAndAnswer)
            }
            // Descriptors the library closes unused, and a request the protocol tells us to ignore.
            request::SET_LOG_FD | request::SET_VRING_ERR | request::RESET_OWNER => Ok(Verdict::Ignore),
            request::SET_VRING_NUM => self.ring_size(message),
            request::SET_VRING_ADDR => self.ring_address(message),
            request::SET_VRING_BASE => self.ring_base(message),
            request::GET_VRING_BASE => {
                *self.ring(message.u32_at(0).ok_or(shape)?)?.1 = Ring::STOPPED;
                Ok(Verdict::ChangeAndAnswer)
            }
            request::SET_VRING_ENABLE => {
                self.ring(message.u32_at(0).ok_or(shape)?)?;
                message.u32_at(4).ok_or(shape).map(|_| Verdict::Change)
            }
            request::SET_VRING_KICK | request::SET_VRING_CALL => self.notifier(message),
            other => Err(Refusal::Request(other)),
        }
    }

    fn ring(&mut self, index: u32) -> Result<(u32, &mut Ring), Refusal> {
        self.rings.get_mut(index as usize).map(|ring| (index, ring)).ok_or(Refusal::Ring(index))
    }

    fn packed(&self) -> bool {
        self.features & PACKED != 0
    }

    fn features(&mut self, features: u64) -> Result<Verdict, Refusal> {
        let set_up = self.rings.iter().any(|ring| ring.entries.is_some());
        if set_up && (features ^ self.features) & !LOG_ALL != 0 {
            return Err(Refusal::Features);
        }
        if features & MQ == 0 {
            // The library then forgets all rings but the first two.
            for ring in self.rings.iter_mut().skip(2) {
                *ring = Ring::STOPPED;
            }
        }
        self.features = features;
        Ok(Verdict::Change)
    }

    fn memory_table(&mut self, message: &Message) -> Result<Verdict, Refusal> {
        let shape = Refusal::Shape(message.request);
        let count = message.u32_at(0).ok_or(shape)? as usize;
        if count == 0
            || count > MAX_FDS
            || message.fds.len() != count
            || message.payload.len() < 8 + count * 32
        {
            return Err(shape);
        }
        let mut regions = Vec::with_capacity(count);
        for (index, fd) in message.fds.iter().enumerate() {
            let word = |field: usize| message.u64_at(8 + index * 32 + field * 8).ok_or(shape);
            let region = Region { guest: word(0)?, size: word(1)?, user: word(2)? };
            let end = word(3)?.checked_add(region.size).ok_or(Refusal::Memory)?;
            if !region.is_sane() || !memory::holds(fd.as_fd(), end) {
                return Err(Refusal::Memory);
            }
            regions.push(region);
        }
        self.memory = regions;
        Ok(Verdict::Change)
    }

    fn ring_size(&mut self, message: &Message) -> Result<Verdict, Refusal> {
        let shape = Refusal::Shape(message.request);
        let packed = self.packed();
        let entries = message.u32_at(4).ok_or(shape)?;
        let (index, ring) = self.ring(message.u32_at(0).ok_or(shape)?)?;
        if entries == 0 || entries > MAX_RING || (!packed && !entries.is_power_of_two()) {
            return Err(Refusal::RingSize { ring: index, entries });
        }
        if ring.addressed && ring.entries != Some(entries) {
            return Err(Refusal::RingOrder(index));
        }
        ring.entries = Some(entries);
        Ok(Verdict::Change)
    }

    fn ring_base(&mut self, message: &Message) -> Result<Verdict, Refusal> {
        let shape = Refusal::Shape(message.request);
        let packed = self.packed();
        let base = message.u32_at(4).ok_or(shape)?;
        let (index, ring) = self.ring(message.u32_at(0).ok_or(shape)?)?;
        ring.base = Some(base);
        if ring.started && !ring.base_fits(packed) {
            return Err(Refusal::RingBase(index));
        }
        Ok(Verdict::Change)
    }

    /// Kick (which starts the ring) and call descriptors.
    fn notifier(&mut self, message: &Message) -> Result<Verdict, Refusal> {
        let shape = Refusal::Shape(message.request);
        let packed = self.packed();
        let word = message.u64_at(0).ok_or(shape)?;
        let (index, ring) = self.ring((word & 0xff) as u32)?;
        match (&message.fds[..], word & NO_FD != 0) {
            ([], true) => {}
            ([fd], false) if memory::is_eventfd(fd.as_fd()) => {}
            ([_], false) => return Err(Refusal::NotEventfd),
            _ => return Err(shape),
        }
        if message.request == request::SET_VRING_KICK {
            if ring.entries.is_none() {
                return Err(Refusal::RingOrder(index));
            }
            if !ring.base_fits(packed) {
                return Err(Refusal::RingBase(index));
            }
            ring.started = true;
        }
        Ok(Verdict::Change)
    }

    fn ring_address(&mut self, message: &Message) -> Result<Verdict, Refusal> {
        let shape = Refusal::Shape(message.request);
        let index = message.u32_at(0).ok_or(shape)?;
        let address = |at| message.u64_at(at).ok_or(shape);
        // struct vhost_vring_addr: index, flags, descriptors, used, available, log.
        let (descriptors, used, available) = (address(8)?, address(16)?, address(24)?);
        let entries = self.ring(index)?.1.entries.ok_or(Refusal::RingOrder(index))?;
        let entries = u64::from(entries);
        let parts = if self.packed() {
            [(descriptors, 16 * entries), (used, 4), (available, 4)]
        } else {
            // Each with the event word that may follow (virtio 1.1, 2.6.6 and 2.6.8).
            let event = if self.features & EVENT_IDX != 0 { 2 } else { 0 };
            [
                (descriptors, 16 * entries),
                (used, 4 + 8 * entries + event),
                (available, 4 + 2 * entries + event),
            ]
        };
        let inside = |&(at, size): &(u64, u64)| self.memory.iter().any(|region| region.holds_user(at, size));
        if !parts.iter().all(inside) {
            return Err(Refusal::RingAddress(index));
        }
        self.ring(index)?.1.addressed = true;
        Ok(Verdict::Change)
    }
}

#[cfg(test)]
mod tests;
