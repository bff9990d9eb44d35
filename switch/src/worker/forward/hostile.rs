//! One worker's forwarding without the worker's thread, given whatever frames a tenant or a peer may send: the fuzz target `forward`, and
//! its seeds and crashes as tests.
//!
//! The topology is a real one, of `hostile.toml`, made by the control thread's code; every port's transmit queue is a device that takes
//! everything. A case is frames behind one another, each given twice, so that the second one meets what the first one left in the cache.

#[cfg(test)]
pub(super) mod watch;

use std::sync::{Arc, Mutex, OnceLock};

use crossbeam::channel;
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::ethdev::{EthDevice, EthOptions};
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload, TCP_CHECKSUM, UDP_CHECKSUM};

use super::*;
use crate::control::Control;
use crate::offload::EgressCapabilities;
use crate::port::TxQueue;
use crate::state::{Connection, Removal};
use crate::worker::output::TxPort;

/// Bytes in front of each frame.
///
/// | byte | is |
/// |---|---|
/// | 0 | bits 0 to 2: the port, in the order of `hostile.toml`; 3: the frame lies in two buffers; 4: its transport checksum is partial, 5: that of UDP; 6: it is to be cut, 7: over IPv6 |
/// | 1 | seconds that pass first |
/// | 2, 3 | length of the frame, little-endian: bits 0 to 10; 11 to 15: further bits of the port |
/// | 4 | where its transport header begins; where it is cut in two, in units of two bytes |
/// | 5 | bytes of a segment when it is to be cut, in units of 16 |
pub const CONTROL: usize = 6;
/// Frames of a case.
const MOST: usize = 24;
/// Between two cases: longer than anything waits.
const PAUSE: u32 = 64;

/// What one case did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Frames that were given to the worker.
    pub taken: u64,
    /// Frames that went out of a port.
    pub sent: u64,
    /// Of the frames given, those that the cache knew.
    pub hits: u64,
    /// Connections that were open at the end.
    pub connections: usize,
}

struct Hostile {
    forwarder: Forwarder,
    topology: &'static Topology,
    ports: Vec<PortId>,
    pool: Mempool,
    buffers: u32,
    flows: Flows,
    counters: Arc<WorkerCounters>,
    stock: crate::state::Stock,
    now: u32,
    #[cfg(test)]
    seen: Option<watch::Seen>,
}

/// Runs a case.
///
/// # Panics
/// When something panics, when a cached decision is not what the stages decide, when buffers are lost.
pub fn check(input: &[u8]) -> Done {
    Hostile::with(|hostile| hostile.play(input))
}

fn sink(eal: Eal, pool: Mempool, can: EgressCapabilities) -> TxQueue {
    static SINK: OnceLock<Arc<Mutex<TxQueue>>> = OnceLock::new();
    let queue = SINK.get_or_init(|| {
        let options = EthOptions {
            devargs: "net_null99,no-rx=1".to_owned(),
            rx_queues: 1,
            tx_queues: 1,
            mtu: None,
            descriptors: 512,
            pool,
            tx_free_threshold: None,
            interrupts: false,
        };
        let mut opened = EthDevice::open(eal, &options).expect("a null device needs nothing");
        let queue = TxQueue::Ethdev(opened.tx.remove(0), can);
        // It is open as long as the process runs.
        std::mem::forget(opened);
        Arc::new(Mutex::new(queue))
    });
    TxQueue::Shared(queue.clone(), can)
}

impl Hostile {
    /// The one node of the process.
    fn with<T>(use_it: impl FnOnce(&mut Self) -> T) -> T {
        static HOSTILE: OnceLock<Mutex<Hostile>> = OnceLock::new();
        let hostile = HOSTILE.get_or_init(|| Mutex::new(Hostile::new()));
        use_it(&mut hostile.lock().expect("no case before this one has panicked"))
    }

    fn new() -> Self {
        let config = shunt_config::parse(include_str!("hostile.toml"), "hostile.toml")
            .unwrap_or_else(|errors| panic!("{errors}"));
        let mut control = Control::start(&config).expect("EAL starts without privileges");
        let errors = control.apply_at_start(&config);
        assert!(errors.is_empty(), "{errors:?}");
        // As long as the process runs.
        let control: &'static Control = Box::leak(Box::new(control));
        let (topology, pool) = control.in_force();
        let eal = Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 64 }, pci: false })
            .expect("it has been started");
        let counters = Arc::new(WorkerCounters::new());
        let (send, _) = channel::bounded(1);
        let teacher = Teacher::new(send, counters.clone());
        let cache = FlowCache::new(256, 10, false, 1).expect("memory for few flows");
        let openings = Openings::new(0, 1, 1);
        let mut forwarder = Forwarder::new(pool, teacher, cache, 1, openings, counters.clone());
        let named = |port: &shunt_config::Port| {
            let known = |id: &PortId| topology.port(*id).is_some_and(|it| it.name == port.name);
            (0..crate::ids::MAX_PORTS).filter_map(PortId::new).find(known).expect("the port is there")
        };
        let ports: Vec<PortId> = config.ports.iter().map(named).collect();
        for (index, port) in ports.iter().enumerate() {
            let able = index % 2 == 0;
            let can =
                EgressCapabilities { checksum: able, tso4: able, tso6: able, uso: able, multi_segment: able };
            forwarder.output.attach(*port, Box::new(TxPort::new(sink(eal, pool, can))));
        }
        Self {
            forwarder,
            topology,
            ports,
            pool,
            buffers: pool.available(),
            flows: Flows::default(),
            counters,
            stock: Default::default(),
            now: 0,
            #[cfg(test)]
            seen: None,
        }
    }

    fn play(&mut self, input: &[u8]) -> Done {
        let before = self.done();
        let mut rest = input;
        for _ in 0..MOST {
            let Some((control, behind)) = rest.split_first_chunk::<CONTROL>() else { break };
            let length = usize::from(u16::from_le_bytes([control[2], control[3]])) % 2048;
            let (bytes, next) = behind.split_at(length.min(behind.len()));
            rest = next;
            self.now = self.now.wrapping_add(control[1].into());
            for _ in 0..2 {
                self.give(control, bytes);
            }
        }
        let after = self.done();
        self.end();
        Done {
            taken: after.taken - before.taken,
            sent: after.sent - before.sent,
            hits: after.hits - before.hits,
            connections: after.connections,
        }
    }

    fn done(&self) -> Done {
        let sum = |count: &dyn Fn(PortId) -> u64| self.ports.iter().map(|port| count(*port)).sum();
        Done {
            taken: sum(&|port| self.counters.port(port).rx_packets.get()),
            sent: sum(&|port| self.counters.port(port).tx_packets.get()),
            hits: self.counters.flows.hits.get(),
            connections: self.connections().len(),
        }
    }

    fn connections(&self) -> Vec<Connection> {
        let mut rows = Vec::with_capacity(2048);
        if let Some(table) = &self.topology.rewrites().connections {
            table.list(0, 1 << 20, &mut rows);
        }
        rows
    }

    /// One frame, alone in its burst.
    fn give(&mut self, control: &[u8; CONTROL], bytes: &[u8]) {
        let Some(frame) = self.frame(control, bytes) else { return };
        let further = usize::from(control[3] >> 3) << 3;
        let port = self.ports[(usize::from(control[0] & 7) | further) % self.ports.len()];
        #[cfg(test)]
        self.watch(port, bytes);
        let mut burst = Burst::new();
        if burst.push(frame).is_err() {
            return;
        }
        let bucket = Bucket::of(1);
        self.forwarder.retry(self.topology, self.now, &self.counters);
        let port = (port, &bucket);
        self.forwarder.forward(self.topology, port, &mut burst, &mut self.flows, self.now, &self.counters);
        assert!(burst.is_empty(), "a burst is carried whole");
        assert_eq!(self.counters.flows.unsound.get(), 0, "the cache said what the stages do not");
    }

    /// A frame as a port delivers it; one that says of itself what cannot be is none.
    fn frame(&self, control: &[u8; CONTROL], bytes: &[u8]) -> Option<Mbuf> {
        let (flags, start) = (control[0], u16::from(control[4]));
        let cut = if flags & 8 == 0 { bytes.len() } else { (usize::from(control[4]) * 2).min(bytes.len()) };
        let (first, second) = bytes.split_at(cut);
        let mut frame = self.pool.frame(first)?;
        if !second.is_empty() {
            frame.chain(self.pool.frame(second)?)?;
        }
        if flags & 0x10 != 0 {
            let kind = match (flags & 0x20 != 0, flags & 0x80 != 0) {
                (true, _) => GsoKind::Udp,
                (false, false) => GsoKind::TcpV4,
                (false, true) => GsoKind::TcpV6,
            };
            let offset = if flags & 0x20 != 0 { UDP_CHECKSUM } else { TCP_CHECKSUM };
            let size = u16::from(control[5]) * 16;
            let gso = (flags & 0x40 != 0).then_some(Gso { kind, size });
            frame.set_offload(Offload { checksum: Checksum::Partial { start, offset }, gso }).ok()?;
        }
        Some(frame)
    }

    /// Nothing is left of a case.
    fn end(&mut self) {
        self.now = self.now.wrapping_add(PAUSE);
        // What waits is asked for some at a time.
        for _ in 0..64 {
            self.forwarder.retry(self.topology, self.now, &self.counters);
            self.now = self.now.wrapping_add(1);
        }
        self.forwarder.output.flush();
        assert!(!self.forwarder.is_holding(), "something waits for ever");
        assert_eq!(self.pool.available(), self.buffers, "buffers were lost");
        if let Some(table) = &self.topology.rewrites().connections {
            for row in self.connections() {
                assert!(matches!(table.remove(&mut self.stock, row.conn), Removal::Removed(_)));
            }
            table.return_stock(&mut self.stock);
        }
        self.forwarder.cache.clear();
        self.forwarder.reporter = Reporter::new(self.counters.clone());
    }
}
