//! Port kinds: one file and one enum variant each. [`open`] turns a validated configuration into queues for the workers
//! and a [`Device`] for the control thread.
//!
//! A worker sees only [`RxQueue`] and [`TxQueue`]: one `match` per burst, no virtual call.

mod ethdev;

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use shunt_config::MacAddr;
use shunt_ffi::eal::Eal;
use shunt_ffi::ethdev::{EthRxQueue, EthTxQueue};
use shunt_ffi::{Burst, Mempool};

use crate::offload::EgressCapabilities;
use crate::topology::L3Interface;

/// What came of asking a queue for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many frames were appended to the burst.
    Frames(usize),
    /// The device is gone; the queue will never deliver again.
    Gone,
}

/// A receive queue, owned by exactly one worker.
#[derive(Debug)]
pub enum RxQueue {
    /// A DPDK device.
    Ethdev(EthRxQueue),
}

impl RxQueue {
    /// Appends up to `max` frames to `burst`.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst, max: usize) -> Received {
        match self {
            Self::Ethdev(queue) => Received::Frames(queue.receive(burst, max)),
        }
    }

    /// The descriptor that becomes readable when a frame arrives; `None` when only polling can tell.
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Ethdev(_) => None,
        }
    }

    /// Turns the other side's notifications on (before sleeping; poll once more afterwards) or off.
    pub fn notify(&mut self, enabled: bool) {
        match self {
            Self::Ethdev(_) => {
                let _ = enabled;
            }
        }
    }
}

/// A transmit queue of one worker.
#[derive(Debug)]
pub enum TxQueue {
    /// A DPDK device.
    Ethdev(EthTxQueue, EgressCapabilities),
    /// A queue that several workers share, because the device has fewer queues than there are workers. The lock is
    /// held for one burst; a worker that finds it taken counts that and waits for the other's burst to end.
    Shared(Arc<Mutex<TxQueue>>, EgressCapabilities),
}

/// What came of handing frames to a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames that left; the rest is still in the burst.
    pub frames: usize,
    /// The lock of a shared queue was taken when we came.
    pub contended: bool,
}

impl TxQueue {
    /// Sends from the front of `burst`; what does not fit stays in it.
    #[inline]
    pub fn transmit(&mut self, burst: &mut Burst) -> Sent {
        match self {
            Self::Ethdev(queue, _) => Sent { frames: queue.transmit(burst), contended: false },
            Self::Shared(queue, _) => match queue.try_lock() {
                Ok(mut queue) => queue.transmit(burst),
                Err(_) => {
                    let mut queue = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
        }
    }
}

/// The control thread's side of an open port. Dropping it and all queues closes the device.
#[derive(Debug)]
pub enum Device {
    /// A DPDK device.
    Ethdev(shunt_ffi::ethdev::EthDevice),
}

/// What the control thread reports of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Carrier, or the other side attached.
    pub link: bool,
    /// Frames lost below us: in the kernel's socket, the NIC's ring.
    pub missed: u64,
    /// One line about the device: driver, MAC, queues.
    pub about: String,
}

impl Device {
    /// Current state.
    pub fn status(&self) -> DeviceStatus {
        match self {
            Self::Ethdev(device) => ethdev::status(device),
        }
    }
}

/// An open port.
#[derive(Debug)]
pub struct Opened {
    /// Receive queues, as many as configured.
    pub rx: Vec<RxQueue>,
    /// One transmit queue for each worker.
    pub tx: Vec<TxQueue>,
    /// For the control thread.
    pub device: Device,
    /// Longest frame the port takes, Ethernet header included.
    pub max_frame: u32,
    /// Set for L3 ports.
    pub l3: Option<L3Interface>,
}

/// Where a port is opened.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// DPDK runs.
    pub eal: Eal,
    /// Buffers for received frames.
    pub pool: Mempool,
    /// Number of workers.
    pub workers: usize,
}

/// Why a port did not open. One line that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("port `{port}`: {message}")]
pub struct OpenError {
    /// The port.
    pub port: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Opens `port` with the given MTU.
pub fn open(site: &Site, port: &shunt_config::Port, mtu: u16) -> Result<Opened, OpenError> {
    use shunt_config::PortKind;
    let result = match &port.kind {
        PortKind::Dpdk { devargs } => ethdev::open(site, port, devargs, mtu),
        other => Err(format!("kind `{}` is not built in", other.name())),
    };
    result.map_err(|message| OpenError { port: port.name.to_string(), message })
}

/// Bytes a frame has beyond its IP packet: Ethernet header and two VLAN tags.
pub(crate) const FRAME_OVERHEAD: u32 = 14 + 8;

/// The MAC address the switch uses for an L3 port that has none configured: locally administered, from the port's name.
pub(crate) fn derived_mac(name: &str) -> MacAddr {
    // FNV-1a: stable over restarts and versions, which a std hasher is not.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let [a, b, c, d, e, ..] = hash.to_le_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

/// Gives every worker a transmit queue: its own where the device has enough, else a shared one.
pub(crate) fn spread(queues: Vec<TxQueue>, workers: usize) -> Vec<TxQueue> {
    if queues.len() >= workers {
        return queues.into_iter().take(workers).collect();
    }
    let shared: Vec<(Arc<Mutex<TxQueue>>, EgressCapabilities)> = queues
        .into_iter()
        .map(|queue| {
            let can = queue.capabilities();
            (Arc::new(Mutex::new(queue)), can)
        })
        .collect();
    (0..workers)
        .map(|worker| {
            let (queue, can) = &shared[worker % shared.len()];
            TxQueue::Shared(queue.clone(), *can)
        })
        .collect()
}
