//! Kernel ports: frames exchanged with network interfaces of the kernel, 64 KiB segmentation frames whole and checksums
//! still partial, by the virtio-net header. This is what lets TCP between containers run at the speed of a bridge.
//!
//! | module | what it is |
//! |---|---|
//! | [`packet`] | the host end of a veth (or any Ethernet interface), by AF_PACKET |
//! | [`tap`] | an interface of our own: TAP (Ethernet) or TUN (IP), moved into a pod's namespace |
//! | `vnet_hdr`, `headers`, `checksum` | the virtio-net header, and what it cannot say finished in software |
//! | `tunnel` | large sends inside a pod's own tunnel, which the header cannot say either: cut in software |
//! | `landing`, `gather` | received frames scattered into pool buffers, sent frames gathered from them |
//! | [`xdp`] | what DPDK's AF_XDP driver does not tell: queues, sockets, losses |
//! | `link`, `netns` | names, addresses, MTU and namespaces of interfaces, for the control thread |
//! | `setting` | what was set on an interface, and setting it again |
//!
//! Queues have the shape of those in [`crate::ethdev`]: receive appends to a burst; transmit takes what it sent (or
//! refused) out of it and leaves the rest. A receive costs one system call for each [`packet`] batch or [`tap`] frame,
//! and copies each byte once; so does a transmit. Nothing is allocated after a queue was made.

mod checksum;
pub mod error;
mod gather;
mod headers;
mod landing;
mod link;
mod netns;
pub mod packet;
mod setting;
pub mod tap;
mod tunnel;
mod vnet_hdr;
pub mod xdp;

pub use error::KernelError;
pub use gather::MAX_SEGMENTS;
pub use landing::{MAX_FRAME, Pools};
pub use link::MAX_MTU;
pub use setting::Lost;

/// Bytes after which a receive call ends even if it could return more frames: what a worker receives should still be in
/// its L2 cache when it is sent. Without this limit, bursts of 64 KiB frames cost a third of the throughput.
pub const BURST_BYTES: usize = 256 << 10;

/// The interface behind a queue cannot be used. Not an event but a state: it is returned by every call until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// Administratively down; it works again once it is up, nothing has to be reopened.
    #[error("interface is down; set it up")]
    Down,
    /// Deleted, with its namespace or by itself. The queue is dead: close the port and open it again when the
    /// interface is back.
    #[error("interface was deleted; the port opens again when it is back")]
    Deleted,
}

/// What a transmit call did with the front of the burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames handed to the kernel.
    pub sent: usize,
    /// Frames freed because they can never be sent here; [`TxStatistics`] says why. The caller counts them as drops.
    pub refused: usize,
}

/// Counters of one receive queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxStatistics {
    /// Frames dropped because their virtio-net header did not fit them.
    pub undecodable: u64,
    /// Frames dropped because they were longer than [`MAX_FRAME`] (the pod has BIG TCP on).
    pub truncated: u64,
    /// Frames whose checksum was finished in software, since no device could be told of it.
    pub completed: u64,
    /// Large sends inside a pod's own tunnel, cut in software.
    pub cut: u64,
    /// Receive calls that ended because the pool had too few buffers; the frames stayed in the kernel's queue.
    pub no_buffer: u64,
}

/// Counters of one transmit queue: refused frames by reason, and how often the kernel had no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxStatistics {
    /// Frames with more than [`MAX_SEGMENTS`] segments.
    pub too_many_segments: u64,
    /// Frames whose offload state did not fit them.
    pub bad_offload: u64,
    /// Frames that are not IP, on a TUN port.
    pub not_ip: u64,
    /// Frames that the kernel refused: longer than the interface's MTU and not to be cut, or found wrong.
    pub by_kernel: u64,
    /// Transmit calls that ended because the kernel had no room; the frames stayed in the burst.
    pub full: u64,
}

impl TxStatistics {
    fn count(&mut self, refusal: gather::Refusal) {
        match refusal {
            gather::Refusal::TooManySegments => self.too_many_segments += 1,
            gather::Refusal::BadOffload => self.bad_offload += 1,
            gather::Refusal::NotIp => self.not_ip += 1,
            gather::Refusal::ByKernel => self.by_kernel += 1,
        }
    }
}
