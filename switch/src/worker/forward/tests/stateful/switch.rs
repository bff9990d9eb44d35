//! The switch under test: workers with their tables, driven as the workers' loops and the control thread drive them. The workers
//! share the connection table and take packets in turns, so that what one opens, moves on or ends, another one's cache has yet
//! to hear of. What they send is seen where it goes to the transmit queues.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam::channel;
use shunt_config::{FloatingIp, PortForward, Router, RouterName, Service, StaticSnat};
use shunt_ffi::ethdev::{EthDevice, EthOptions};

use super::super::*;
use super::places::{
    self, NETWORKS, OUTSIDE, ROUTER, STATIONS, UPLINK, ZONE, address, gateway, gateway_mac, network_id,
    network_of,
};
use super::world::{AREA, NODE, World};
use crate::flow::execute::Rewrites;
use crate::offload::EgressCapabilities;
use crate::pipeline::keep::{Standing, keeps};
use crate::policy::Resolver;
use crate::port::TxQueue;
use crate::state::{Affinity, ByZone, Connection, Fragments, Limits, Removal, Size, Stock, Table};
use crate::table::fdb::{self, Fdb, Place as At};
use crate::table::fib::{self, Fib, Route};
use crate::table::nat::Nat;
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::table::service::{Services, Site};
use crate::topology::{Crossing, Gateway, Plan, PlannedNetwork, PlannedRouter, Port, Topology};
use crate::wire::ethernet::Mac;
use crate::worker::capture::{Point, Ring, Tap};
use crate::worker::output::TxPort;

/// Frames that went out, with their ports.
type Out = Vec<(usize, Vec<u8>)>;

/// What became of a frame: frames that went out, and why it was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) out: Out,
    pub(super) lost: Vec<DropReason>,
}

/// What makes one switch unlike another: neither may show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make {
    /// Flows that the cache has room for.
    pub(super) entries: usize,
    /// Every so many hits one is decided anew and compared.
    pub(super) verify: u32,
    /// The hashes of its tables.
    pub(super) seed: u64,
    /// Its services are made anew for every topology, not from those before.
    pub(super) forgets: bool,
}

pub(super) const WORKERS: usize = 2;
/// Connections that there is room for.
pub(super) const CAPACITY: usize = 1024;

pub(super) struct Switch {
    make: Make,
    workers: Vec<Forwarder>,
    /// The one that takes all packets.
    pub(super) only: Option<usize>,
    pub(super) table: Arc<Table>,
    affinity: Arc<Affinity>,
    fragments: Arc<Fragments>,
    resolver: Resolver,
    services: Option<Arc<Services>>,
    fibs: [Arc<Fib>; 2],
    nat: Option<Arc<Nat>>,
    topology: Topology,
    stock: Stock,
    ring: Arc<Ring>,
    flows: Flows,
    counters: WorkerCounters,
    frames: u64,
}

/// A queue that takes everything, for all ports of all switches.
fn sink() -> TxQueue {
    static SINK: OnceLock<Arc<Mutex<TxQueue>>> = OnceLock::new();
    let can =
        EgressCapabilities { checksum: false, tso4: false, tso6: false, uso: false, multi_segment: false };
    let queue = SINK.get_or_init(|| {
        let pool = pool();
        let eal = Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 64 }, pci: false }).unwrap();
        let options = EthOptions {
            devargs: "net_null0,no-rx=1".to_owned(),
            rx_queues: 1,
            tx_queues: 1,
            mtu: None,
            descriptors: 512,
            tx_free_threshold: None,
            pool,
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

impl Switch {
    pub(super) fn new(make: Make, world: &World) -> Self {
        let ring = Arc::new(Ring::with_slots(64, 512));
        let size = Size { capacity: CAPACITY, threads: WORKERS + 1, limits: Limits::NONE };
        let mut switch = Self {
            make,
            only: None,
            workers: (0..WORKERS).map(|number| worker(number, &make, &ring)).collect(),
            table: Arc::new(Table::new(size, make.seed).unwrap()),
            affinity: Arc::new(Affinity::new(1024, make.seed).unwrap()),
            fragments: Arc::new(Fragments::new(make.seed)),
            resolver: Resolver::default(),
            services: None,
            fibs: [false, true].map(|default| Arc::new(fib(default))),
            nat: None,
            topology: Topology::empty(),
            stock: Stock::default(),
            ring,
            flows: Flows::default(),
            counters: WorkerCounters::new(),
            frames: 0,
        };
        switch.follow(world);
        switch
    }

    /// The next topology.
    pub(super) fn follow(&mut self, world: &World) {
        self.resolver.follow(&world.cluster);
        let policies = self.resolver.table();
        let mut services: Vec<&Arc<Service>> = world.services.iter().flatten().collect();
        if self.make.forgets {
            // In another order, too.
            services.reverse();
        }
        let own: Vec<_> = own_addresses().collect();
        let before = self.services.as_deref().filter(|_| !self.make.forgets);
        let any = !services.is_empty();
        self.services = any.then(|| Arc::new(Services::build(services, &own, &site(), before)));
        self.nat = nat(world).map(Arc::new);
        let bridged = policies.is_some() || self.services.is_some() || world.translates();
        let network = |number: usize| PlannedNetwork {
            tracks_bridged: bridged,
            policies: policies.clone(),
            ..network(number, world)
        };
        let plan = Plan {
            networks: (0..NETWORKS).map(network).collect(),
            routers: vec![PlannedRouter {
                name: RouterName::new("r").unwrap(),
                fib: self.fibs[usize::from(world.default_route)].clone(),
            }],
            ports: (0..STATIONS).map(port).collect(),
            rewrites: Arc::new(Rewrites {
                connections: Some(self.table.clone()),
                fragments: Some(self.fragments.clone()),
                ..Rewrites::default()
            }),
            services: vec![self.services.clone()],
            nat: vec![self.nat.clone()],
            affinity: Some(self.affinity.clone()),
            ..Plan::default()
        };
        let next = Topology::build(self.topology.generation() + 1, &plan);
        self.topology = next.following(&self.topology);
    }

    /// True while packets are looked at by policies.
    pub(super) fn looks(&self) -> bool {
        self.topology.networks()[0].policies.is_some()
    }

    /// Ends the connections that the last change leaves nowhere to go.
    pub(super) fn clean(&mut self) {
        let own: HashSet<IpAddr> = own_addresses().collect();
        for row in self.rows() {
            let standing =
                Standing { services: self.services.as_deref(), nat: self.nat.as_deref(), own: &own };
            if !keeps(&row, &standing) {
                assert!(matches!(self.table.remove(&mut self.stock, row.conn), Removal::Removed(_)));
            }
        }
    }

    /// Ends connections that were silent for too long.
    pub(super) fn sweep(&mut self, now: u32) {
        let swept = self.table.sweep(&mut self.stock, 0, 1 << 20, now, &ByZone::default(), |_| {});
        assert_eq!((swept.next, swept.busy), (None, 0));
    }

    pub(super) fn rows(&self) -> Vec<Connection> {
        let mut rows = Vec::with_capacity(2048);
        assert_eq!(self.table.list(0, 1 << 20, &mut rows), None);
        rows
    }

    /// Ends one connection, by what its first packet came with.
    pub(super) fn end(&mut self, original: &crate::state::Tuple) {
        let found = self.table.lookup(original).expect("it is known");
        assert!(matches!(self.table.remove(&mut self.stock, found.conn), Removal::Removed(_)));
    }

    /// Free slots, those of the stocks among them.
    pub(super) fn free(&mut self) -> usize {
        self.table.return_stock(&mut self.stock);
        for worker in &mut self.workers {
            self.table.return_stock(&mut worker.openings.stock);
        }
        self.table.free()
    }

    /// Decisions of the cache that were not those of the stages.
    pub(super) fn unsound(&self) -> u64 {
        self.workers.iter().map(|worker| worker.counters.flows.unsound.get()).sum()
    }

    /// One frame through all of a worker, or `copies` of it in one burst, of which each must fare like the others.
    pub(super) fn send(&mut self, station: usize, bytes: &[u8], copies: usize, now: u32) -> Seen {
        let (out, lost) = self.watch(station, |switch| switch.forward(station, bytes, copies, now));
        let each: Vec<_> = out.chunks(copies).collect();
        assert!(each.iter().all(|alike| alike.len() == copies && alike.iter().all(|it| *it == alike[0])));
        let mut seen =
            Seen { out: each.into_iter().map(|alike| alike[0].clone()).collect(), lost: Vec::new() };
        for (reason, count) in lost {
            assert_eq!(count, copies, "{reason:?}");
            seen.lost.push(reason);
        }
        seen
    }

    /// Fragments one after the other, each through one of the workers; then all workers look for those that wait. The reason of a
    /// drop is there once for each.
    pub(super) fn send_each(&mut self, station: usize, pieces: &[Vec<u8>], now: u32) -> Seen {
        let (out, lost) = self.watch(station, |switch| {
            pieces.iter().for_each(|piece| switch.forward(station, piece, 1, now));
            for worker in &mut switch.workers {
                worker.retry_lingering(&switch.topology, now, &switch.counters);
            }
        });
        let lost = lost.into_iter().flat_map(|(reason, count)| std::iter::repeat_n(reason, count));
        Seen { out, lost: lost.collect() }
    }

    /// A burst through the worker whose turn it is.
    fn forward(&mut self, station: usize, bytes: &[u8], copies: usize, now: u32) {
        self.frames += 1;
        // In turns that are neither regular nor by chance.
        let turn = self.only.unwrap_or((self.frames * 5 / 7) as usize % WORKERS);
        let worker = &mut self.workers[turn];
        // How often somebody may be told something goes by the clock: here nobody is told so much.
        if self.frames % 8 < 4 {
            worker.reporter = Reporter::new(worker.counters.clone());
        }
        let mut burst = Burst::new();
        for _ in 0..copies {
            burst.push(pool().frame(bytes).unwrap()).unwrap();
        }
        let bucket = Bucket::of(1);
        let port = (places::port(station), &bucket);
        worker.forward(&self.topology, port, &mut burst, &mut self.flows, now, &self.counters);
    }

    /// What went out while something was done for a station, and how much of what came from it was dropped, by reason.
    fn watch(&mut self, station: usize, act: impl FnOnce(&mut Self)) -> (Out, Vec<(DropReason, usize)>) {
        let from = places::port(station);
        let lost = |counters: &WorkerCounters| -> Vec<u64> {
            DropReason::ALL.iter().map(|reason| counters.port(from).drops(*reason)).collect()
        };
        let before = lost(&self.counters);
        act(self);
        let mut out = Vec::new();
        while let Some(copied) = self.ring.take() {
            if copied.point == Point::Egress {
                out.push((copied.port.index(), copied.bytes().to_vec()));
            }
            self.ring.give_back(copied);
        }
        let counts = before.iter().zip(lost(&self.counters)).map(|(before, after)| (after - before) as usize);
        let lost = DropReason::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect();
        (out, lost)
    }
}

fn worker(number: usize, make: &Make, ring: &Arc<Ring>) -> Forwarder {
    let counters = Arc::new(WorkerCounters::new());
    let (send, _) = channel::bounded(1);
    let teacher = Teacher::new(send, counters.clone());
    let cache = FlowCache::new(make.entries, 10, true, make.seed).unwrap();
    // The same ports by chance, in every switch.
    let openings = Openings::new(number, WORKERS, 1);
    let mut worker = Forwarder::new(pool(), teacher, cache, make.verify, openings, counters);
    for station in 0..STATIONS {
        worker.output.attach(places::port(station), Box::new(TxPort::new(sink())));
    }
    worker.output.taps.add(Tap { id: 1, port: None, echo: None, ring: ring.clone() });
    worker
}

pub(super) fn station_mac(station: usize, world: &World) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 1 + world.macs, station as u8])
}

/// Addresses at which node ports are.
pub(super) fn own_addresses() -> impl Iterator<Item = std::net::IpAddr> {
    (0..NETWORKS).flat_map(|network| [false, true].map(|v6| gateway(network, v6)))
}

fn site() -> Site {
    // Pods are of this node, whoever is outside is not.
    let pods = (0..STATIONS).filter(|station| network_of(*station) != OUTSIDE);
    let stations = pods.flat_map(|station| [false, true].map(|v6| address(station, v6))).collect();
    Site { node: Some(NODE.to_owned()), zone: Some(AREA.to_owned()), stations }
}

fn nat(world: &World) -> Option<Nat> {
    const FAMILIES: [bool; 2] = [false, true];
    let pair = |station: usize, v6: bool| FloatingIp {
        external: places::floating(v6),
        internal: address(station, v6),
    };
    let forwards = |station: usize, v6: bool| {
        places::forwards(v6).map(|(protocol, to, port, at)| PortForward {
            protocol,
            external: (to, port).into(),
            internal: (address(station, v6), at).into(),
        })
    };
    let of = |on: [bool; 2]| (0..2).filter(move |number| on[*number]);
    let both = |number: usize| FAMILIES.map(|v6| (number, v6));
    Nat::build(&Router {
        name: RouterName::new("r").unwrap(),
        routes: Default::default(),
        external_ips: Vec::new(),
        floating_ips: world.floating.into_iter().flat_map(|it| FAMILIES.map(|v6| pair(it, v6))).collect(),
        snat_pool: of(world.pool).flat_map(both).map(|(number, v6)| places::pool(number, v6)).collect(),
        snat_ports: world.ports.then_some(places::PORTS),
        port_forwards: world
            .forward
            .into_iter()
            .flat_map(|station| FAMILIES.into_iter().flat_map(move |v6| forwards(station, v6)))
            .collect(),
        static_snat: of(world.sourced)
            .flat_map(both)
            .map(|(number, v6)| StaticSnat {
                source: places::sources(number, v6),
                address: places::sourced(number, v6),
            })
            .collect(),
        timeouts: Default::default(),
        gateway_mode: Default::default(),
        management_port: None,
    })
}

fn fib(default: bool) -> Fib {
    let connected =
        (0..NETWORKS).flat_map(|network| [false, true].map(|v6| (network, v6))).map(|(network, v6)| {
            let route = Route::Connected(network_id(network));
            fib::Row { prefix: places::prefix(network, v6).parse().unwrap(), route }
        });
    let elsewhere =
        [("0.0.0.0/0", false), ("::/0", true)].into_iter().filter(|_| default).map(|(prefix, v6)| {
            let route = Route::Via(network_id(OUTSIDE), address(UPLINK, v6));
            fib::Row { prefix: prefix.parse().unwrap(), route }
        });
    Fib::build(connected.chain(elsewhere))
}

fn port(station: usize) -> Port {
    Port {
        max_frame: 1522,
        ..Port::plain(
            places::port(station),
            shunt_config::PortName::new(&format!("p{station}")).unwrap(),
            network_id(network_of(station)),
        )
    }
}

/// All of a network but what the tables decide.
fn network(number: usize, world: &World) -> PlannedNetwork {
    let here: Vec<usize> = (0..STATIONS).filter(|station| network_of(*station) == number).collect();
    let stations = here.iter().map(|station| fdb::Row {
        mac: station_mac(*station, world),
        place: At::Port(places::port(*station)),
        fixed: true,
        last_seen: 0,
    });
    let of = |address, mac, own| neighbor::Row {
        address,
        neighbor: Neighbor { mac, own, fixed: true },
        last_seen: 0,
    };
    let (mac, both) = (gateway_mac(number), [false, true]);
    let mut neighbors: Vec<_> = both.map(|v6| of(gateway(number, v6), mac, true)).into();
    for station in &here {
        neighbors.extend(both.map(|v6| of(address(*station, v6), station_mac(*station, world), false)));
    }
    if number == OUTSIDE {
        let other = station_mac(places::OTHER, world);
        neighbors.extend(both.into_iter().flat_map(places::lendable).map(|address| {
            let lent = world.lends(address);
            of(address, if lent { mac } else { other }, lent)
        }));
    }
    let own =
        [(gateway(number, false), 24), (gateway(number, true), if number == OUTSIDE { 64 } else { 112 })];
    PlannedNetwork {
        fdb: Arc::new(Fdb::build(stations.collect::<Vec<_>>().into_iter())),
        neighbors: Arc::new(NeighborTable::build(neighbors.into_iter())),
        gateway: Some(Gateway { mac, addresses: own.into(), router: ROUTER }),
        masquerade: world.masquerade.get(number).copied().unwrap_or(false),
        closed: number == 0 && world.closed,
        zone: ZONE,
        crossing: Crossing {
            snat: world
                .pair
                .into_iter()
                .filter(|(from, ..)| *from == number)
                .map(|(_, to, node)| (network_id(to), node))
                .collect(),
            local_route: false,
        },
        ..PlannedNetwork::plain(shunt_config::NetworkName::new(&format!("n{number}")).unwrap())
    }
}
