//! What a worker sees of a port: its queues.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use shunt_ffi::Burst;
use shunt_ffi::ethdev::{EthRxQueue, EthTxQueue};
use shunt_ffi::kernel::packet::{PacketRxQueue, PacketTxQueue};
use shunt_ffi::kernel::tap::{TapRxQueue, TapTxQueue};
use shunt_ffi::kernel::{self, Gone};
use shunt_ffi::vhost::{VhostRxQueue, VhostTxQueue};

use super::{af_xdp, bond, memif, vhost};
use crate::offload::EgressCapabilities;

/// What came of asking a queue for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many frames were appended to the burst.
    Frames(usize),
    /// Nothing can come at present: the interface is down. Asking again is cheap, waiting for it is not possible.
    Down,
    /// The device is gone; the queue will never deliver again.
    Gone,
    /// As `Frames`, and some of what came was not traffic.
    Sifted(bond::Sifted),
}

impl From<Result<usize, Gone>> for Received {
    #[inline]
    fn from(outcome: Result<usize, Gone>) -> Self {
        match outcome {
            Ok(count) => Self::Frames(count),
            Err(Gone::Down) => Self::Down,
            Err(Gone::Deleted) => Self::Gone,
        }
    }
}

/// A receive queue, owned by exactly one worker.
#[derive(Debug)]
pub enum RxQueue {
    /// A DPDK device.
    Ethdev(EthRxQueue),
    /// The host end of a veth.
    Packet(PacketRxQueue),
    /// A TAP or TUN interface.
    Tap(TapRxQueue),
    /// A vhost-user guest.
    Vhost(VhostRxQueue),
    /// A queue of a kernel device, by AF_XDP.
    Xdp(af_xdp::XdpRxQueue),
    /// Memory shared with another process.
    Memif(memif::MemifRxQueue),
    /// A queue of a member of a bond.
    Bond(Box<bond::BondRxQueue>),
}

impl RxQueue {
    /// Appends up to `max` frames to `burst`.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst, max: usize) -> Received {
        match self {
            Self::Ethdev(queue) => Received::Frames(queue.receive(burst, max)),
            Self::Packet(queue) => queue.receive(burst, max).into(),
            Self::Tap(queue) => queue.receive(burst, max).into(),
            Self::Vhost(queue) => Received::Frames(queue.receive(burst, max)),
            Self::Xdp(queue) => queue.receive(burst, max),
            Self::Memif(queue) => queue.receive(burst, max),
            Self::Bond(queue) => queue.receive(burst, max),
        }
    }

    /// The descriptor that becomes readable when a frame arrives; `None` when only polling can tell.
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Ethdev(_) | Self::Memif(_) => None,
            Self::Packet(queue) => Some(queue.wake_fd()),
            Self::Tap(queue) => Some(queue.wake_fd()),
            Self::Vhost(queue) => Some(queue.wake_fd()),
            Self::Xdp(queue) => Some(queue.wake_fd()),
            Self::Bond(queue) => queue.wake_fd(),
        }
    }

    /// Turns the other side's notifications on (before sleeping; poll once more afterwards) or off.
    pub fn notify(&mut self, enabled: bool) {
        match self {
            // Level-triggered, or without notification.
            Self::Ethdev(_) | Self::Packet(_) | Self::Tap(_) | Self::Memif(_) => {}
            Self::Vhost(queue) => queue.set_notify(enabled),
            Self::Xdp(queue) if !enabled => queue.woken(),
            Self::Xdp(_) => {}
            Self::Bond(queue) => queue.notify(enabled),
        }
    }
}

/// A transmit queue of one worker.
#[derive(Debug)]
pub enum TxQueue {
    /// A DPDK device.
    Ethdev(EthTxQueue, EgressCapabilities),
    /// The host end of a veth.
    Packet(PacketTxQueue),
    /// A TAP or TUN interface, and whether it takes large UDP sends whole.
    Tap(TapTxQueue, bool),
    /// A vhost-user guest.
    Vhost(VhostTxQueue),
    /// A queue of a kernel device, by AF_XDP.
    Xdp(af_xdp::XdpTxQueue),
    /// A queue that several workers share, because the device has fewer queues than there are workers. The lock is
    /// held for one burst; a worker that finds it taken counts that and waits for the other's burst to end.
    Shared(Arc<Mutex<TxQueue>>, EgressCapabilities),
    /// The members of a bond.
    Bond(Box<bond::BondTxQueue>),
}

/// What came of handing frames to a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames that left; the rest is still in the burst.
    pub frames: usize,
    /// Frames the port took out of the burst and freed, because it can never send them.
    pub refused: usize,
    /// Nobody is there to take them: no guest attached, interface down or gone.
    pub down: bool,
    /// The lock of a shared queue was taken when we came.
    pub contended: bool,
}

impl From<Result<kernel::Sent, Gone>> for Sent {
    #[inline]
    fn from(outcome: Result<kernel::Sent, Gone>) -> Self {
        match outcome {
            Ok(done) => Self { frames: done.sent, refused: done.refused, ..Self::default() },
            Err(_) => Self { down: true, ..Self::default() },
        }
    }
}

impl TxQueue {
    /// Sends from the front of `burst`; what does not fit stays in it.
    #[inline]
    pub fn transmit(&mut self, burst: &mut Burst) -> Sent {
        match self {
            Self::Ethdev(queue, _) => {
                let frames = queue.transmit(burst);
                // Asked only when it took too little: a full queue and a lost carrier are different losses.
                Sent { frames, down: !burst.is_empty() && !queue.link_up(), ..Sent::default() }
            }
            Self::Xdp(queue) => queue.transmit(burst),
            Self::Bond(queue) => queue.transmit(burst),
            Self::Packet(queue) => queue.transmit(burst).into(),
            Self::Tap(queue, _) => queue.transmit(burst).into(),
            Self::Vhost(queue) => {
                let down = !queue.is_up();
                Sent { frames: queue.transmit(burst), down, ..Sent::default() }
            }
            Self::Shared(queue, _) => match queue.try_lock() {
                Ok(mut queue) => queue.transmit(burst),
                Err(_) => {
                    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    Sent { contended: true, ..queue.transmit(burst) }
                }
            },
        }
    }

    /// What the port finishes by itself right now (a vhost guest's abilities change when it attaches).
    #[inline]
    pub fn capabilities(&self) -> EgressCapabilities {
        match self {
            Self::Ethdev(_, can) | Self::Shared(_, can) => *can,
            Self::Packet(queue) => EgressCapabilities { uso: queue.uso(), ..KERNEL },
            Self::Tap(_, uso) => EgressCapabilities { uso: *uso, ..KERNEL },
            Self::Vhost(queue) => vhost::capabilities(queue.offloads()),
            Self::Xdp(_) => af_xdp::XdpTxQueue::capabilities(),
            Self::Bond(queue) => queue.capabilities(),
        }
    }
}

/// The kernel takes everything unfinished, in as many pieces as there are.
const KERNEL: EgressCapabilities =
    EgressCapabilities { checksum: true, tso4: true, tso6: true, uso: true, multi_segment: true };
