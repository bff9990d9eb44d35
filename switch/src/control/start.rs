//! Starting: DPDK with whatever memory there is, the buffer pool, the workers.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel;
use nix::unistd::gettid;
use shunt_config::{Config, Hugepages, Poll};
use shunt_ffi::eal::{Eal, EalError, EalOptions, Memory};
use shunt_ffi::{DpdkError, MAX_BURST, Mempool, rcu};

use super::cores::{self, Others};
use super::{Control, WorkerLink, learn, overlay, ports, publish};
use crate::counters::WorkerCounters;
use crate::flow::FlowCache;
use crate::flow::cache::NoMemory;
use crate::port::Site;
use crate::state::table::NoTable;
use crate::topology::Topology;
use crate::worker::{Settings, Worker, mailbox};

/// Lessons that may be under way from all workers together.
const LESSONS: usize = 4096;
/// Bytes of a buffer besides its data room: descriptor, headroom, pool bookkeeping.
const BUFFER_OVERHEAD: u64 = 128 + 128 + 64;
/// Data room of a buffer for the bulk of a kernel port's large sends (up to 64 KiB).
const LARGE_ROOM: u16 = 32 << 10;
/// MiB that DPDK itself needs (drivers, rings, vhost).
const DPDK_MEGABYTES: u32 = 64;

/// Why the switch did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// DPDK refused.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// Hugepages are required and there are too few.
    #[error(
        "{needed} free 2 MiB hugepages are needed, there are {free}; reserve them with `sysctl vm.nr_hugepages={needed}` or set `hugepages = \"auto\"` under [memory]"
    )]
    Hugepages {
        /// Needed.
        needed: u64,
        /// There are.
        free: u64,
    },
    /// The pool could not be made.
    #[error("no memory for {mbufs} buffers: {source}; lower `mbufs` under [memory]")]
    Pool {
        /// Asked for.
        mbufs: u32,
        /// DPDK's error.
        source: DpdkError,
    },
    /// The flow caches do not fit into memory.
    #[error("{0}; lower `entries` under [flow_cache]")]
    Flows(#[from] NoMemory),
    /// The connection table does not fit into memory.
    #[error("{0}; lower `capacity` under [connections]")]
    Connections(#[from] NoTable),
    /// A configured core is not on this machine.
    #[error(
        "core {core} in `cores` under [workers] is not available to this process; available: {available:?}"
    )]
    Core {
        /// Asked for.
        core: u16,
        /// There are.
        available: Vec<usize>,
    },
    /// The system refused a thread or a descriptor.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its error.
        source: std::io::Error,
    },
}

impl Control {
    /// Starts DPDK and the workers of `config`; its networks and ports are applied separately
    /// ([`Control::apply_at_start`]).
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let cores = cores::pick(config)?;
        let others = Others::than(&cores);
        leave_workers_alone(others);
        let memory = pick_memory(config)?;
        let pci = config
            .ports
            .iter()
            .flat_map(|port| {
                std::iter::once(&port.kind).chain(port.kind.members().iter().map(|member| &member.kind))
            })
            .any(|kind| matches!(kind, shunt_config::PortKind::Dpdk { devargs } if is_pci(devargs)));
        let eal = Eal::start(&EalOptions { memory, pci })?;
        leave_workers_alone(others);
        let (mbufs, size) = (config.memory.mbufs, config.memory.mbuf_size);
        let pool =
            Mempool::new(eal, "frames", mbufs, size).map_err(|source| StartError::Pool { mbufs, source })?;

        let large = Mempool::new(eal, "large", large_buffers(mbufs), LARGE_ROOM)
            .map_err(|source| StartError::Pool { mbufs: large_buffers(mbufs), source })?;

        let (publisher, readers) = rcu::channel(Box::new(Topology::empty()), cores.len());
        let (send_lesson, lessons) = channel::bounded(LESSONS);
        let settings = Settings {
            burst: usize::from(config.workers.burst).min(MAX_BURST),
            adaptive: config.workers.poll == Poll::Adaptive,
            idle_after: config.workers.idle_after,
            max_sleep: config.workers.max_sleep,
            verify: config.flow_cache.verify,
            place: (0, cores.len()),
            seed: 0,
        };
        let idle = u32::try_from(config.flow_cache.idle_timeout.as_secs()).unwrap_or(u32::MAX);
        let mut workers = Vec::with_capacity(cores.len());
        for (index, (core, topology)) in cores.iter().copied().zip(readers).enumerate() {
            let system = |what| move |source| StartError::System { what, source };
            let (mail, inbox) = mailbox::mailbox().map_err(system("an event descriptor"))?;
            let counters = Arc::new(WorkerCounters::new());
            let cache =
                FlowCache::new(config.flow_cache.capacity(), idle, config.flow_cache.back_off, seed())?;
            let cache_capacity = cache.capacity();
            let worker = Worker::new(
                Settings { place: (index, cores.len()), seed: seed(), ..settings },
                topology,
                pool,
                cache,
                inbox,
                send_lesson.clone(),
                counters.clone(),
            );
            let told = counters.clone();
            let body = move || {
                told.time.thread.set(gettid().as_raw() as u64);
                run(worker, eal, core);
            };
            let thread = std::thread::Builder::new()
                .name(format!("shunt-worker-{index}"))
                .spawn(body)
                .map_err(system("a thread"))?;
            workers.push(WorkerLink { core, mail, counters, cache_capacity, thread: Some(thread) });
        }
        let mut connections = super::connections::Connections::default();
        connections.provide(config, workers.len(), seed())?;
        let hugepages = matches!(memory, Memory::Hugepages { .. });
        tracing::info!(workers = workers.len(), ?cores, hugepages, mbufs, "switch started");
        let base = Config {
            routers: Vec::new(),
            networks: Vec::new(),
            ports: Vec::new(),
            services: Vec::new(),
            cluster: Arc::default(),
            ..config.clone()
        };
        Ok(Self {
            config: Arc::new(base),
            site: Site { eal, pool, large, workers: cores.len() },
            hugepages,
            workers,
            publisher,
            routers: Vec::new(),
            domains: super::domains::Domains::default(),
            ports: ports::Ports::default(),
            cramped: BTreeSet::new(),
            departed: super::totals::Departed::default(),
            peers: overlay::Numbers::default(),
            peer_files: super::peer_files::PeerFiles::default(),
            learned: learn::Learned::default(),
            lessons,
            voice: super::voice::Voice::default(),
            connections,
            zones: super::connections::Zones::default(),
            services: super::services::Tables::default(),
            policies: super::policies::Policies::default(),
            announcer: super::announce::Announcer::default(),
            pulse: super::doctor::Pulse::default(),
            reports: publish::Reports::default(),
            kept: None,
            captures: 0,
            started: Instant::now(),
        })
    }
}

/// From here on the calling thread, and what it starts, runs on no worker's core.
fn leave_workers_alone(others: nix::Result<Others>) {
    if let Err(error) = others.and_then(Others::keep_to) {
        tracing::warn!(%error, "the other threads may run on the workers' cores, which delays packets now and then");
    }
}

/// The body of a worker thread.
fn run(worker: Worker, eal: Eal, core: Option<usize>) {
    if let Some(id) = core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        tracing::warn!(core = id, "the worker could not be pinned; it runs wherever the system puts it");
    }
    // Without the registration allocations miss the per-thread cache and take the pool's ring: slower, still right.
    let registered = eal.register_thread();
    if let Err(error) = &registered {
        tracing::warn!(%error, "worker without a buffer cache");
    }
    worker.run();
}

/// Hugepages when there are enough free ones and they are not forbidden, else ordinary pages.
fn pick_memory(config: &Config) -> Result<Memory, StartError> {
    let per_buffer = u64::from(config.memory.mbuf_size) + BUFFER_OVERHEAD;
    let large = u64::from(large_buffers(config.memory.mbufs)) * (u64::from(LARGE_ROOM) + BUFFER_OVERHEAD);
    let pools = (u64::from(config.memory.mbufs) * per_buffer + large).div_ceil(1 << 20) as u32;
    let megabytes = pools + pools / 8 + DPDK_MEGABYTES;
    let needed = u64::from(megabytes).div_ceil(2);
    let free = free_hugepages();
    match config.memory.hugepages {
        Hugepages::Require if free < needed => Err(StartError::Hugepages { needed, free }),
        Hugepages::Require | Hugepages::Auto if free >= needed => Ok(Memory::Hugepages { megabytes }),
        // Ordinary memory is address space until it is used, so a generous figure costs nothing.
        _ => Ok(Memory::Ordinary { megabytes: megabytes + 256 }),
    }
}

/// Large buffers for each so many ordinary ones.
fn large_buffers(mbufs: u32) -> u32 {
    (mbufs / 16).clamp(512, 8192)
}

/// Free 2 MiB hugepages; 0 when the kernel has none.
fn free_hugepages() -> u64 {
    fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// True for device arguments that begin with a PCI address (`0000:03:00.0` or `03:00.0`).
fn is_pci(devargs: &str) -> bool {
    let name = devargs.split(',').next().unwrap_or_default();
    let name = name.strip_prefix("pci:").unwrap_or(name);
    name.contains(':') && name.contains('.') && name.starts_with(|first: char| first.is_ascii_hexdigit())
}

/// A number that nobody outside knows: the standard library's hash keys are random for each process.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::is_pci;

    #[test]
    fn pci_addresses_are_told_from_virtual_devices() {
        assert!(is_pci("0000:03:00.0"));
        assert!(is_pci("03:00.1,txq_inline=128"));
        assert!(!is_pci("net_pcap0,rx_pcap=a:b.pcap"));
        assert!(!is_pci("net_null0"));
    }
}
