//! vhost-user ports: virtual machines (virtio-net by QEMU) and containers with DPDK (virtio-user).
//!
//! Built on DPDK's `librte_vhost`. [`VhostPort::open`] gives the port and its queues; the queues exist from the start and
//! are simply idle while no guest is attached. Guests come, go, crash, come back and change their queues at any time.

mod callbacks;
mod error;
mod features;
mod gate;
mod inspect;
mod queue;
mod socket;
mod state;
mod wake;

use std::ffi::CString;
use std::sync::Arc;

use crate::eal::Eal;
use crate::mempool::Mempool;
use crate::sys;

pub use error::VhostError;
pub use features::GuestOffloads;
pub use queue::{VhostRxQueue, VhostTxQueue};

use state::State;

/// Which side makes the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VhostMode {
    /// We listen; the guest's front end connects (and connects again after we restart only if it is told to).
    Server,
    /// The front end listens; we connect, and again whenever it comes back. Traffic survives our own restart.
    Client,
}

/// What to open and how.
#[derive(Clone, Debug)]
pub struct VhostOptions {
    /// The socket.
    pub path: String,
    /// Who listens.
    pub mode: VhostMode,
    /// Queue pairs served; a guest with more is not served on the others.
    pub queues: u16,
    /// Transmit queues made; any number may share the guest's.
    pub tx_queues: u16,
    /// Offer TCP segmentation in both directions.
    pub tso: bool,
    /// Offer mergeable receive buffers.
    pub mergeable: bool,
    /// Where received frames are stored.
    pub pool: Mempool,
}

/// What happened to the guest. Reported on the library's thread: take it and return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VhostEvent {
    /// A guest is attached and its first queues are enabled.
    Attached {
        /// Queue pairs it receives on now.
        queues: u16,
        /// Negotiated virtio features.
        features: u64,
        /// The MTU its front end asked for.
        mtu: Option<u16>,
        /// NUMA node of the device.
        numa: Option<u32>,
    },
    /// The guest is gone; no worker touches its memory any more.
    Detached,
    /// The guest switched a queue while attached.
    QueueEnabled {
        /// Queue pair.
        pair: u16,
        /// True for the ring the guest receives on, false for the one it sends on.
        guest_receives: bool,
        /// New state.
        on: bool,
    },
}

/// Counters of a port, all queues together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostStatistics {
    /// Frames received from the guest.
    pub rx_frames: u64,
    /// Frames of the guest dropped: shorter than an Ethernet header.
    pub rx_short: u64,
    /// Frames of the guest dropped: offload state that contradicts the headers.
    pub rx_bad_offload: u64,
    /// Frames given to the guest.
    pub tx_frames: u64,
    /// Frames offered while nobody received (a frame offered again counts again).
    pub tx_link_down: u64,
    /// Frames the guest had no buffers for (a frame offered again counts again).
    pub tx_ring_full: u64,
    /// Frames dropped because no buffer of the guest is that large.
    pub tx_too_large: u64,
}

/// The port: control thread only. Dropping it detaches the guest and removes the socket; its queues stay valid and idle.
#[derive(Debug)]
pub struct VhostPort {
    state: Arc<State>,
    path: CString,
}

/// An opened port with all its queues.
#[derive(Debug)]
pub struct VhostOpened {
    /// The control side.
    pub port: VhostPort,
    /// One per queue pair.
    pub rx: Vec<VhostRxQueue>,
    /// As many as asked for.
    pub tx: Vec<VhostTxQueue>,
}

impl VhostPort {
    /// Opens the socket. `events` is called on a thread of the vhost library and must not block.
    pub fn open(
        _eal: Eal,
        options: &VhostOptions,
        events: impl Fn(VhostEvent) + Send + Sync + 'static,
    ) -> Result<VhostOpened, VhostError> {
        let path = socket::check(options)?;
        let fail = |function| VhostError::Library { path: options.path.clone(), function };
        let state = State::new(options.path.clone(), options.queues, options.tx_queues, Box::new(events))
            .map_err(|source| VhostError::Descriptors { path: options.path.clone(), source })?;
        let state = Arc::new(state);
        if !callbacks::add_port(&state) {
            return Err(VhostError::Busy { path: options.path.clone() });
        }
        // Larger frames than a buffer go into one external buffer of at most 64 KiB. The alternative, chains, has no limit: one
        // hostile descriptor of a gigabyte would copy until the pool is empty.
        let mut flags = u64::from(sys::RTE_VHOST_USER_LINEARBUF_SUPPORT | sys::RTE_VHOST_USER_EXTBUF_SUPPORT);
        if options.mode == VhostMode::Client {
            flags |= u64::from(sys::RTE_VHOST_USER_CLIENT);
        }
        // SAFETY: EAL runs; NUL-terminated, copied.
        if unsafe { sys::rte_vhost_driver_register(path.as_ptr(), flags) } != 0 {
            callbacks::remove_port(&state);
            return Err(fail("rte_vhost_driver_register"));
        }
        // From here on the port's drop undoes everything.
        let port = VhostPort { state: state.clone(), path };
        let disabled = features::disabled(options.tso, options.mergeable, options.queues);
        // SAFETY: NUL-terminated path of the driver registered above.
        if unsafe { sys::rte_vhost_driver_disable_features(port.path.as_ptr(), disabled) } != 0 {
            return Err(fail("rte_vhost_driver_disable_features"));
        }
        // SAFETY: as above; the table is static.
        if unsafe { sys::rte_vhost_driver_callback_register(port.path.as_ptr(), &callbacks::OPERATIONS.0) } != 0 {
            return Err(fail("rte_vhost_driver_callback_register"));
        }
        // SAFETY: as above.
        if unsafe { sys::rte_vhost_driver_start(port.path.as_ptr()) } != 0 {
            return Err(fail("rte_vhost_driver_start"));
        }
        let rx = (0..options.queues)
            .map(|pair| VhostRxQueue { state: state.clone(), pair, pool: options.pool, notify: false, told: 0 })
            .collect();
        let tx = (0..usize::from(options.tx_queues)).map(|index| VhostTxQueue { state: state.clone(), index }).collect();
        Ok(VhostOpened { port, rx, tx })
    }

    /// True while a guest is attached.
    pub fn is_attached(&self) -> bool {
        self.state.line.is_open()
    }

    /// What the attached guest accepts.
    pub fn offloads(&self) -> GuestOffloads {
        self.state.offloads()
    }

    /// Counters since the port was opened.
    pub fn statistics(&self) -> VhostStatistics {
        let mut sum = VhostStatistics::default();
        for queue in &self.state.rx {
            sum.rx_frames += queue.counters.frames.get();
            sum.rx_short += queue.counters.short.get();
            sum.rx_bad_offload += queue.counters.bad_offload.get();
        }
        for queue in &self.state.tx {
            sum.tx_frames += queue.counters.frames.get();
            sum.tx_link_down += queue.counters.link_down.get();
            sum.tx_ring_full += queue.counters.ring_full.get();
            sum.tx_too_large += queue.counters.too_large.get();
        }
        sum
    }
}

impl Drop for VhostPort {
    fn drop(&mut self) {
        // No lock of ours is held: the call waits for callbacks, and these take the registry.
        // SAFETY: NUL-terminated path of a driver registered in `open`.
        unsafe { sys::rte_vhost_driver_unregister(self.path.as_ptr()) };
        callbacks::remove_port(&self.state);
    }
}
