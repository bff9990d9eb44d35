//! The straight way for frames through a split ring: one buffer of the guest's for one frame, no unfinished checksum.
//!
//! What is not like that (chains of descriptors, indirect tables, frames longer than a buffer, offload state, packed rings,
//! a guest that migrates) is left to the vhost library, in its place in the ring. That works because there is one state:
//! where a ring stands is asked of the library before each burst and told it after, so either can go on where the other
//! stopped, and what the library tells a front end is true.
//!
//! Why it is faster than the library: what costs is lines of cache that two cores want. Used entries and headers that are
//! right already are not written, and the loops are short enough for the processor to have many lines under way at once
//! (asking for them ahead gained nothing).
//!
//! Cost: two calls of the library per burst; docs/performance.md has the figures.

mod copy;
mod give;
mod ring;
mod take;

use crate::sys;

use super::gate::Inside;
use super::regions::Map;
use super::state::State;

use ring::Ring;

/// Bytes of the header in front of each frame (`virtio_net_hdr_mrg_rxbuf`; virtio 1.1, 5.1.6). Guests older than
/// virtio 1.0 without mergeable buffers have one of 10, and the library.
const HEADER: u32 = 12;
/// Frames a burst takes or gives.
pub(super) const BURST: usize = 32;

/// `VIRTIO_NET_F_MRG_RXBUF`.
const MRG_RXBUF: u64 = 1 << 15;
/// `VHOST_F_LOG_ALL`: every write to the guest's memory is to be noted.
const LOG_ALL: u64 = 1 << 26;
/// `VIRTIO_RING_F_EVENT_IDX`.
const EVENT_IDX: u64 = 1 << 29;
/// `VIRTIO_F_VERSION_1`.
const VERSION_1: u64 = 1 << 32;
/// `VIRTIO_F_RING_PACKED`.
const PACKED: u64 = 1 << 34;

/// Why a burst ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is left to do: no frame, or no room.
    Done,
    /// The next one is for the library.
    Library,
}

/// A ring on the straight way, as it is in one epoch of its port.
#[derive(Debug)]
pub(super) struct Straight {
    ring: Ring,
    map: Map,
    /// Bursts that go to the library at once.
    rest: u8,
}

/// Bursts left to the library after one that began with a frame for it: a guest that sends such frames sends many.
const REST: u8 = 15;

impl Straight {
    /// For the ring `number` in this epoch; `None` when it is the library's altogether.
    pub(super) fn new(inside: &Inside<'_>, state: &State, number: u16) -> Option<Self> {
        let mut features = 0;
        // SAFETY: a writable integer; the device lives while we are inside.
        if unsafe { sys::rte_vhost_get_negotiated_features(inside.vid, &mut features) } != 0
            || features & (PACKED | LOG_ALL) != 0
            || features & (MRG_RXBUF | VERSION_1) == 0
        {
            return None;
        }
        let map = state.regions.map();
        let ring = Ring::of(inside, number, features & EVENT_IDX != 0, &map)?;
        Some(Self { ring, map, rest: 0 })
    }

    /// False while the library has the next bursts.
    #[inline]
    fn begins(&mut self) -> bool {
        let begins = self.rest == 0;
        self.rest = self.rest.saturating_sub(1);
        begins
    }
}
