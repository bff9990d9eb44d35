//! Small dense numbers that the data path uses instead of names.

use std::fmt;
use std::num::NonZeroU16;

/// Ports a daemon has at most; every per-port array has this many slots, so that a worker never allocates.
pub const MAX_PORTS: usize = 1024;

/// Slot of a port: `0..MAX_PORTS`. Reused after the port was removed and every worker has passed that publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(
    /// One more than the slot, so that an `Option` of it is no larger.
    NonZeroU16,
);

impl PortId {
    /// The first slot.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The id of slot `index`; `None` past the last slot.
    pub const fn new(index: usize) -> Option<Self> {
        if index >= MAX_PORTS {
            return None;
        }
        match NonZeroU16::new(index as u16 + 1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Index into per-port arrays; always below [`MAX_PORTS`].
    #[inline]
    pub const fn index(self) -> usize {
        (self.0.get() - 1) as usize
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.index())
    }
}

/// Index of a network in its topology; not stable across topologies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(pub(crate) u16);

impl NetworkId {
    /// The id of network number `index` of a plan, which has 65,536 at most.
    pub const fn new(index: usize) -> Self {
        Self(index as u16)
    }

    /// Index into the topology's networks.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
