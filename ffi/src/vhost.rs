//! vhost-user ports: virtual machines (virtio-net by QEMU) and containers with DPDK (virtio-user).
//!
//! Built on DPDK's `librte_vhost`. [`VhostPort::open`] gives the port and its queues; the queues exist from the start and
//! are simply idle while no guest is attached. Guests come, go, crash, come back and change their queues at any time.
//!
//! ```text
//! front end --socket--> relay (one thread per port, checks every request) --private socket--> librte_vhost's thread
//!     |                   | closes the gate while the library changes something                  | callbacks
//!  shared memory          v                                                                      v
//!     +---------------> gate <--- worker: queues (enqueue, dequeue, kick) <---- which rings, which offloads
//! ```
//!
//! | module | what it answers |
//! |---|---|
//! | `gate` | when does a guest's memory go away, and who is still using it |
//! | `relay`, `wire`, `rules`, `memory` | what may a front end ask for (it is hostile), and how it reaches the library |
//! | `driver`, `callbacks`, `state` | the library's side: devices, rings, what workers are told |
//! | `queue` | bursts: which way they go, what is counted |
//! | `split`, `regions` | the straight way: plain frames by a ring of our own reading, everything else by the library |
//! | `landing`, `inspect`, `apart` | the library's way: where frames are put, what is dropped, and what it gets wrong about checksums |
//! | `wake` | how a worker sleeps |
//! | `fault`, `watch` | a guest that takes its memory away, or makes a worker wait |
//!
//! Cost beside the library's own copy: about 20 cycles per burst and two loads per received frame.
//!
//! What the library (22.11) does not pass on: an unfinished checksum that is not TCP or UDP directly behind one optional
//! VLAN tag and an IP header without IPv6 extensions (such frames arrive with the checksum unfinished and unmarked),
//! ECN in segmentation, and UDP segmentation.

mod apart;
mod callbacks;
mod driver;
mod error;
mod fault;
mod features;
mod gate;
mod inspect;
mod landing;
mod memory;
mod queue;
mod regions;
mod relay;
mod rules;
mod socket;
mod split;
mod state;
mod wake;
mod watch;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::eal::Eal;
use crate::mempool::Mempool;

pub use error::VhostError;
pub use features::GuestOffloads;
pub use queue::{VhostRxQueue, VhostTxQueue};

use driver::Driver;
use gate::Visits;
use landing::Landing;
use relay::{Front, Relay};
use socket::SocketFile;
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
    /// Queue pairs the guest may have; the front end is told, and refused more.
    pub queues: u16,
    /// Transmit queues made, one for each worker. They share the rings the guest receives on, as many as it has
    /// enabled; two on one ring take turns (the library locks it).
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
    /// Frames of the guest dropped: longer than an IP packet can be.
    pub rx_too_long: u64,
    /// Frames of the guest dropped: the pool ran out of buffers in the middle of them.
    pub rx_no_buffers: u64,
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
    relay: Option<JoinHandle<()>>,
    /// The socket file, in server mode.
    file: Option<SocketFile>,
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
        let landings = (0..options.queues)
            .map(|_| Landing::new(options.pool))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| VhostError::Landing { path: options.path.clone(), source })?;
        let front = socket::open(options)?;
        let path = || options.path.clone();
        let descriptors = |source| VhostError::Descriptors { path: path(), source };
        fault::install().map_err(descriptors)?;
        watch::install().map_err(descriptors)?;
        let state = Arc::new(
            State::new(path(), options.queues, options.tx_queues, Box::new(events)).map_err(descriptors)?,
        );
        watch::add(&state);
        let file = matches!(front, Front::Listen(_)).then(|| SocketFile::of(&options.path));
        let mut port = VhostPort { state: state.clone(), relay: None, file };
        let relay = Relay { state: state.clone(), front, driver: Driver::new(options)? };
        let thread = std::thread::Builder::new().name("shunt-vhost".into()).stack_size(256 << 10);
        port.relay = Some(thread.spawn(move || relay.run()).map_err(descriptors)?);
        let rx = landings
            .into_iter()
            .zip(0..options.queues)
            .map(|(landing, pair)| VhostRxQueue {
                state: state.clone(),
                pair,
                landing,
                pool: options.pool,
                notify: false,
                way: Box::default(),
                visits: Visits::default(),
            })
            .collect();
        let tx = (0..usize::from(options.tx_queues))
            .map(|index| VhostTxQueue {
                state: state.clone(),
                index,
                way: Box::default(),
                visits: Visits::default(),
            })
            .collect();
        Ok(VhostOpened { port, rx, tx })
    }

    /// True while a guest is attached.
    pub fn is_attached(&self) -> bool {
        self.state.control().running
    }

    /// True in server mode when somebody has removed the socket file, or put another in its place: who is attached stays so, nobody
    /// else can come.
    pub fn is_out_of_reach(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !file.is_there())
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
            sum.rx_too_long += queue.counters.too_long.get();
            sum.rx_no_buffers += queue.counters.no_buffers.get();
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
        self.state.stop.store(true, Ordering::Release);
        let _ = self.state.nudge.write(1);
        if let Some(relay) = self.relay.take() {
            let _ = relay.join();
        }
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}
