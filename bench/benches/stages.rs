//! What each step of the data path costs by itself, with warm caches: `cargo bench -p shunt-bench`.
//!
//! Each step is first run under the counting allocator: one that allocates is a failure, not a slow result.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shunt_ffi::alloc_count::{CountingAllocator, allocations};
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::{Mbuf, Mempool};
use shunt_switch::flow::cache::Entry;
use shunt_switch::flow::execute::{self, Rewrites};
use shunt_switch::flow::parse::{Layout, parse, parse_into};
use shunt_switch::flow::{Depth, FlowCache, FlowKey};
use shunt_switch::ids::{NetworkId, PortId};
use shunt_switch::pipeline::{self, Packet, Silent};
use shunt_switch::table::fdb::{self, Fdb, Place};
use shunt_switch::table::fib::{self, Fib, Route};
use shunt_switch::table::neighbor::{self, Neighbor, NeighborTable};
use shunt_switch::topology::{Gateway, Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology};
use shunt_switch::wire::ethernet::Mac;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const HOSTS: u8 = 250;
const FLOWS: usize = 1024;

fn port(index: usize) -> PortId {
    PortId::new(index).expect("a small number")
}

fn station(host: u8) -> Mac {
    Mac::from_bytes([2, 0, 0, 2, 0, host])
}

fn gateway_mac(network: u8) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 0, 0xfe - network])
}

/// Two routed networks, 250 stations in the second.
fn topology(full_key: bool) -> Topology {
    let gateway = |network: u8, address: &str| Gateway {
        mac: gateway_mac(network),
        addresses: [(address.parse::<IpAddr>().expect("an address"), 24)].into(),
        router: RouterId::FIRST,
    };
    let network = |name: &str, gateway: Gateway, hosts: u8| {
        let stations: Vec<_> = (1..=hosts)
            .map(|host| fdb::Row {
                mac: station(host),
                place: Place::Port(port(1)),
                fixed: true,
                last_seen: 0,
            })
            .collect();
        let neighbors: Vec<_> = (1..=hosts)
            .map(|host| neighbor::Row {
                address: IpAddr::from([10, 0, 2, host]),
                neighbor: Neighbor { mac: station(host), own: false, fixed: true },
                last_seen: 0,
            })
            .collect();
        PlannedNetwork {
            fdb: Arc::new(Fdb::build(stations.into_iter())),
            neighbors: Arc::new(NeighborTable::build(neighbors.into_iter())),
            gateway: Some(gateway),
            ..PlannedNetwork::plain(shunt_config::NetworkName::new(name).expect("a name"))
        }
    };
    let networks =
        vec![network("left", gateway(0, "10.0.1.1"), 0), network("right", gateway(1, "10.0.2.254"), HOSTS)];
    let ports = ["in", "out"].into_iter().enumerate().map(|(index, name)| Port {
        ..Port::plain(port(index), shunt_config::PortName::new(name).expect("a name"), NetworkId::new(index))
    });
    let prefix = |text: &str| text.parse().expect("a prefix");
    let rows = [
        fib::Row { prefix: prefix("10.0.1.0/24"), route: Route::Connected(NetworkId::new(0)) },
        fib::Row { prefix: prefix("10.0.2.0/24"), route: Route::Connected(NetworkId::new(1)) },
    ];
    let name = shunt_config::RouterName::new("r").expect("a name");
    let routers = vec![PlannedRouter { name, fib: Arc::new(Fib::build(rows)) }];
    let plan = Plan { networks, routers, ports: ports.collect(), full_key, ..Plan::default() };
    Topology::build(1, &plan)
}

/// Frame number `flow`: UDP over IPv4 to one of the hosts, by the gateway.
fn frame(flow: usize) -> Vec<u8> {
    let mut frame = [gateway_mac(0).bytes(), [2, 0, 0, 0, 0, 1]].concat();
    frame.extend([8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 1, 10, 10, 0, 2]);
    frame.push((flow % usize::from(HOSTS)) as u8 + 1);
    frame.extend((1024 + flow as u16).to_be_bytes());
    frame.extend([0x13, 0x88, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// Runs `step` some times and fails when it allocates.
fn allocates_nothing(name: &str, mut step: impl FnMut()) {
    step();
    let before = allocations();
    (0..100).for_each(|_| step());
    assert_eq!(allocations(), before, "{name} allocates");
}

fn tables(criterion: &mut Criterion) {
    let topology = topology(false);
    let right = topology.network(NetworkId::new(1)).expect("network 1");
    let fib = &topology.router(RouterId::FIRST).expect("router 0").fib;
    let mut group = criterion.benchmark_group("tables");
    let mut host = 0_u8;
    let mut next = move || {
        host = host % HOSTS + 1;
        host
    };
    let mut measure = |name: &str, step: &mut dyn FnMut(u8)| {
        allocates_nothing(name, || step(next()));
        group.bench_function(name, |bencher| bencher.iter(|| step(next())));
    };
    measure("fdb", &mut |host| {
        black_box(right.fdb.get(station(black_box(host))));
    });
    measure("neighbor", &mut |host| {
        black_box(right.neighbors.get(IpAddr::from([10, 0, 2, black_box(host)])));
    });
    measure("fib", &mut |host| {
        black_box(fib.get(IpAddr::from([10, 0, 2, black_box(host)])));
    });
    group.finish();
}

fn parser(criterion: &mut Criterion) {
    let frame = frame(7);
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for depth in [Depth::Ethernet, Depth::Network, Depth::Transport] {
        let mut key = FlowKey::default();
        let name = format!("{depth:?}");
        let mut step = || {
            black_box(parse_into(black_box(&frame), frame.len() as u32, port(0), depth, &mut key)).ok();
        };
        allocates_nothing(&name, &mut step);
        group.bench_function(name, |bencher| bencher.iter(&mut step));
    }
    group.finish();
}

/// Keys of all flows.
fn keys() -> Vec<(FlowKey, Layout)> {
    (0..FLOWS)
        .map(|flow| {
            let frame = frame(flow);
            parse(&frame, frame.len() as u32, port(0), Depth::Transport).expect("a sound frame")
        })
        .collect()
}

fn cache(criterion: &mut Criterion) {
    let topology = topology(true);
    let pool = pool();
    let keys = keys();
    let decide = |flow: usize, buffer: &mut Mbuf| {
        let (key, layout) = &keys[flow];
        let mut packet = Packet::new(buffer, key, *layout, 0);
        let actions = pipeline::run(&topology, &mut packet, &mut Silent);
        (actions, packet.rests_on)
    };
    let mut buffer = pool.frame(&frame(0)).expect("a free buffer");
    let mut cache = FlowCache::new(4096, 10, true, 1).expect("little memory");
    let entry = |flow: usize, buffer: &mut Mbuf| {
        let (actions, rests_on) = decide(flow, buffer);
        Entry { key: keys[flow].0, packets: 0, bytes: 0, generation: 1, second: 0, rests_on, actions }
    };
    for (flow, (key, _)) in keys.iter().enumerate() {
        let hash = cache.hash(key);
        cache.enter(hash, entry(flow, &mut buffer));
    }

    let mut group = criterion.benchmark_group("flow");
    group.throughput(Throughput::Elements(1));
    let mut flow = 0;
    let mut next = move || {
        flow = (flow + 1) % FLOWS;
        flow
    };
    let mut hit = || {
        let key = &keys[next()].0;
        let hash = cache.hash(key);
        let found = cache.find(hash);
        black_box(cache.confirm(found, hash, key));
    };
    allocates_nothing("hit", &mut hit);
    group.bench_function("hit", |bencher| bencher.iter(&mut hit));

    let mut flow = 0;
    let mut decide_next = || {
        flow = (flow + 1) % FLOWS;
        black_box(decide(flow, &mut buffer));
    };
    allocates_nothing("decide (L3)", &mut decide_next);
    group.bench_function("decide (L3)", |bencher| bencher.iter(&mut decide_next));

    let (actions, _) = decide(0, &mut pool.frame(&frame(0)).expect("a free buffer"));
    let (none, layout) = (Rewrites::default(), keys[0].1);
    let mut edited = pool.frame(&frame(0)).expect("a free buffer");
    allocates_nothing("edit", || execute::edit(&actions, layout, &none, &mut edited).expect("a sound frame"));
    group.bench_function("edit (MACs, TTL)", |bencher| {
        bencher.iter_batched_ref(
            || pool.frame(&frame(0)).expect("a free buffer"),
            |buffer| execute::edit(&actions, layout, &none, buffer),
            // The pool has 8,192 buffers.
            BatchSize::NumIterations(1000),
        );
    });
    group.finish();
}

fn pool() -> Mempool {
    let memory = Memory::Ordinary { megabytes: 64 };
    let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
    Mempool::new(eal, "stages", 8192, 2048).expect("memory for a small pool")
}

criterion_group!(stages, tables, parser, cache);
criterion_main!(stages);
