//! What each stage of the slow path costs by itself, with warm tables: `cargo bench -p shunt-bench --bench pipeline`.
//!
//! Every stage is called with a packet of its own, whose making (`packet`) is in each figure. What a stage does is looked at first, so
//! that none is measured that turns away at its door; one that allocates is a failure.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use shunt_config::{Config, RouterName, Service, ServiceEndpoint, ServiceName, ServicePort, ServiceProtocol};
use shunt_ffi::alloc_count::{CountingAllocator, allocations};
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::{Mbuf, Mempool};
use shunt_switch::flow::execute::Rewrites;
use shunt_switch::flow::parse::{Layout, parse};
use shunt_switch::flow::{Depth, FlowKey, Verdict};
use shunt_switch::ids::{NetworkId, PortId};
use shunt_switch::pipeline::{
    Ingress, Next, Packet, Silent, conntrack, host, ingress, lookup, nexthop, policy, route, service, spoof,
};
use shunt_switch::policy::Resolver;
use shunt_switch::state::{Insert, Limits, New, Opening, Size, Stock, Table, Tuple};
use shunt_switch::table::fdb::{self, Fdb, Place};
use shunt_switch::table::fib::{self, Fib, Route};
use shunt_switch::table::neighbor::{self, Neighbor, NeighborTable};
use shunt_switch::table::service::{Services, Site};
use shunt_switch::topology::{
    Gateway, Identity, Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology,
};
use shunt_switch::wire::ethernet::Mac;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Stations and services: 10.0.2.n and 10.96.0.n.
const HOSTS: u8 = 250;
const FLOWS: usize = 1024;
const ZONE: u16 = 1;
/// The pods' port, the stations', another pod's, the node's.
const PORTS: [(&str, usize); 4] = [("pod", 0), ("stations", 1), ("other", 0), ("node", 0)];

fn port(index: usize) -> PortId {
    PortId::new(index).expect("a small number")
}

fn station(network: u8, host: u8) -> Mac {
    Mac::from_bytes([2, 0, 0, network, 0, host])
}

fn gateway_mac(network: u8) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 0, 0xfe - network])
}

/// Policies about the pod that sends: it may send to the stations, by a rule of several.
const CLUSTER: &str = "
[[namespace]]
name = \"x\"
labels = { team = \"a\" }
[[pod]]
namespace = \"x\"
name = \"sender\"
labels = { app = \"a\" }
addresses = [\"10.0.1.10\"]
[[policy]]
namespace = \"x\"
name = \"egress\"
pod_selector = { match_labels = { app = \"a\" } }
policy_types = [\"egress\"]
egress = [
    { ports = [{ port = 443 }], to = [{ ip_block = { cidr = \"192.0.2.0/24\" } }] },
    { ports = [{ protocol = \"udp\", port = 5000 }], to = [{ ip_block = { cidr = \"10.0.2.0/24\" } }] },
]
";

fn network(name: &str, number: u8, stations_at: usize) -> PlannedNetwork {
    let last = if number == 1 { 1 } else { 254 };
    let gateway = Gateway {
        mac: gateway_mac(number),
        addresses: [(IpAddr::from([10, 0, number, last]), 24)].into(),
        router: RouterId::FIRST,
    };
    let hosts = 2..=HOSTS;
    let stations = hosts.clone().map(|host| fdb::Row {
        mac: station(number, host),
        place: Place::Port(port(stations_at)),
        fixed: true,
        last_seen: 0,
    });
    let neighbors = hosts.map(|host| neighbor::Row {
        address: IpAddr::from([10, 0, number, host]),
        neighbor: Neighbor { mac: station(number, host), own: false, fixed: true },
        last_seen: 0,
    });
    PlannedNetwork {
        fdb: Arc::new(Fdb::build(stations)),
        neighbors: Arc::new(NeighborTable::build(neighbors)),
        gateway: Some(gateway),
        zone: ZONE,
        tracks_bridged: true,
        ..PlannedNetwork::plain(shunt_config::NetworkName::new(name).expect("a name"))
    }
}

fn services() -> Services {
    let all: Vec<_> = (1..=HOSTS)
        .map(|number| {
            let name = ServiceName::new(&format!("x/s{number}")).expect("a name");
            let port = ServicePort {
                name: String::new(),
                protocol: ServiceProtocol::Udp,
                port: 5000,
                node_port: None,
            };
            let endpoints = (2..12).map(|host| ServiceEndpoint {
                port: Some(8080),
                ..ServiceEndpoint::new(IpAddr::from([10, 0, 2, host]))
            });
            Arc::new(Service {
                cluster_ips: vec![IpAddr::from([10, 96, 0, number])],
                ports: vec![port],
                endpoints: endpoints.collect(),
                ..Service::new(name, RouterName::new("r").expect("a name"))
            })
        })
        .collect();
    Services::build(&all, &[], &Site::default(), None)
}

/// Two routed networks with connections, services and policies; the flows to the stations are known connections when `known`.
fn topology(known: bool) -> Topology {
    let cluster: Config = shunt_config::parse(CLUSTER, "bench").expect("a sound configuration");
    let mut resolver = Resolver::default();
    resolver.follow(&cluster.cluster);
    let policies = resolver.table();
    assert!(policies.is_some(), "the policy is about somebody");
    let left = PlannedNetwork { policies: policies.clone(), host: Some(port(3)), ..network("left", 1, 2) };
    let right = PlannedNetwork { policies, ..network("right", 2, 1) };
    let ports = PORTS.iter().enumerate().map(|(index, (name, network))| Port {
        ..Port::plain(
            port(index),
            shunt_config::PortName::new(name).expect("a name"),
            NetworkId::new(*network),
        )
    });
    let connected = |prefix: &str, network| fib::Row {
        prefix: prefix.parse().expect("a prefix"),
        route: Route::Connected(NetworkId::new(network)),
    };
    let fib = Fib::build([connected("10.0.1.0/24", 0), connected("10.0.2.0/24", 1)]);
    let name = RouterName::new("r").expect("a name");
    let table =
        Table::new(Size { capacity: 4 * FLOWS, threads: 1, limits: Limits::NONE }, 1).expect("memory");
    if known {
        let mut stock = Stock::default();
        for flow in 0..FLOWS {
            let (key, _) = key(&routed(flow));
            let original = Tuple::of(&key, ZONE).expect("UDP has connections");
            let opening = Opening::untracked(&original).expect("UDP may open");
            let new = New { original, reply: original.reversed(), opening, rule: 0, now: 0 };
            assert!(matches!(table.insert(&mut stock, &new), Insert::Created(_)));
        }
    }
    let plan = Plan {
        networks: vec![left, right],
        routers: vec![PlannedRouter { name, fib: Arc::new(fib) }],
        ports: ports.collect(),
        rewrites: Arc::new(Rewrites { connections: Some(Arc::new(table)), ..Rewrites::default() }),
        services: vec![Some(Arc::new(services()))],
        full_key: true,
        ..Plan::default()
    };
    Topology::build(1, &plan)
}

/// UDP of the pod, flow number `flow`.
fn frame(flow: usize, dst: Mac, to: [u8; 4]) -> Vec<u8> {
    let mut frame = [dst.bytes(), station(1, 10).bytes()].concat();
    frame.extend([8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 1, 10]);
    frame.extend(to);
    frame.extend((1024 + flow as u16).to_be_bytes());
    frame.extend([0x13, 0x88, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}

fn host_of(flow: usize) -> u8 {
    (flow % usize::from(HOSTS - 1)) as u8 + 2
}

/// To a station of the other network.
fn routed(flow: usize) -> Vec<u8> {
    frame(flow, gateway_mac(1), [10, 0, 2, host_of(flow)])
}

/// To one of its own.
fn bridged(flow: usize) -> Vec<u8> {
    frame(flow, station(1, host_of(flow)), [10, 0, 1, host_of(flow)])
}

/// To a service.
fn served(flow: usize) -> Vec<u8> {
    frame(flow, gateway_mac(1), [10, 96, 0, host_of(flow) - 1])
}

/// To the node.
fn noded(flow: usize) -> Vec<u8> {
    frame(flow, gateway_mac(1), [10, 0, 1, 1])
}

fn key(frame: &[u8]) -> (FlowKey, Layout) {
    parse(frame, frame.len() as u32, port(0), Depth::Transport).expect("a sound frame")
}

/// Measures one stage over the flows that `make` makes; true is what it returns when it did its work.
fn stage(
    group: &mut BenchmarkGroup<'_, WallTime>,
    (name, topology, buffer): (&str, &Topology, &mut Mbuf),
    make: fn(usize) -> Vec<u8>,
    step: impl Fn(&Ingress<'_>, &mut Packet<'_>) -> bool,
) {
    let keys: Vec<_> = (0..FLOWS).map(|flow| key(&make(flow))).collect();
    let ingress = Ingress::of(topology, &keys[0].0).expect("its port is up");
    let mut flow = 0;
    let mut next = || {
        flow = (flow + 1) % FLOWS;
        let (key, layout) = &keys[flow];
        let mut packet = Packet::new(buffer, key, *layout, 0);
        let done = step(black_box(&ingress), &mut packet);
        black_box(&packet.actions);
        done
    };
    assert!((0..FLOWS).all(|_| next()), "{name} does not do its work");
    let before = allocations();
    (0..FLOWS).for_each(|_| assert!(black_box(next())));
    assert_eq!(allocations(), before, "{name} allocates");
    group.bench_function(name, |bencher| bencher.iter(&mut next));
}

fn stages(criterion: &mut Criterion) {
    let memory = Memory::Ordinary { megabytes: 64 };
    let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
    let pool = Mempool::new(eal, "pipeline", 1024, 2048).expect("memory for a small pool");
    let (fresh, known) = (topology(false), topology(true));
    let identity = Identity::new([(station(1, 10), [IpAddr::from([10, 0, 1, 10])].into())]);
    let mut buffer = pool.frame(&routed(0)).expect("a free buffer");
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Elements(1));
    let t = &fresh;
    let mut measure =
        |name, topology, make: fn(usize) -> Vec<u8>, step: &dyn Fn(&Ingress<'_>, &mut Packet<'_>) -> bool| {
            stage(&mut group, (name, topology, &mut buffer), make, step);
        };
    measure("packet", t, routed, &|_, _| true);
    measure("0 ingress", t, routed, &|at, packet| {
        ingress::admit(t, at, packet, &mut Silent) == Ok(Next::Continue)
    });
    measure("0 spoof", t, routed, &|at, packet| spoof::check(at, &identity, packet).is_ok());
    measure("4 conntrack, new", t, routed, &|at, packet| {
        conntrack::find(t, at, packet, &mut Silent);
        packet.connection.is_none()
    });
    measure("4 conntrack, known", &known, routed, &|at, packet| {
        conntrack::find(&known, at, packet, &mut Silent);
        packet.connection.is_some()
    });
    measure("6 service", t, served, &|at, packet| {
        service::translate(t, at, packet, &mut Silent).is_ok() && packet.opens.is_some()
    });
    measure("8 policy", t, routed, &|at, packet| {
        policy::check(at, packet, &mut Silent).is_ok() && packet.opens.is_some()
    });
    measure("16 lookup", t, bridged, &|at, packet| {
        lookup::lookup(t, at, packet, &mut Silent) == Ok(Next::Done(Verdict::Port(port(2))))
    });
    measure("16 route", t, routed, &|at, packet| {
        route::route(t, at, packet, &mut Silent).is_ok_and(|hop| hop.network == NetworkId::new(1))
    });
    measure("16 route, 17 next-hop", t, routed, &|at, packet| {
        let Ok(hop) = route::route(t, at, packet, &mut Silent) else { return false };
        nexthop::resolve(t, at, &hop, packet, &mut Silent)
            .is_ok_and(|(_, next)| next == Next::Done(Verdict::Port(port(1))))
    });
    measure("16 host", t, noded, &|at, packet| {
        host::deliver(t, at, at.network, packet, &mut Silent) == Ok(Verdict::Port(port(3)))
    });
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
