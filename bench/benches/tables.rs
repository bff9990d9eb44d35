//! What the tables of a large node cost: 100,000 routes, 1,000 pods, 1,000 other nodes, and a route that changes, from the
//! configuration to the workers: `cargo bench -p shunt-bench --bench tables`.
//!
//! Lookups go to random addresses all over the table, each only when the one before has its result, which is the time to
//! wait for one route; and once more without waiting, as for the packets of a burst.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shunt_bench::nodes::{cluster, destinations, routes_v4, routes_v6};
use shunt_config::{Config, StaticRoute};
use shunt_ffi::alloc_count::{CountingAllocator, allocations};
use shunt_switch::control::Control;
use shunt_switch::table::fib::{Change, Fib, Route, Row};
use shunt_switch::topology::{Plan, Topology, diff};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ROUTES: usize = 100_000;
/// Lookups of one pass: each to another address.
const LOOKUPS: usize = 1 << 16;

/// Something that is known only when the route is.
fn result(route: Option<Route>) -> u32 {
    match route {
        Some(Route::Via(_, IpAddr::V4(hop))) => hop.to_bits(),
        Some(Route::Via(network, _) | Route::Connected(network)) => network.index() as u32,
        Some(Route::Blackhole | Route::Unreachable) => 1,
        None => 2,
    }
}

/// One lookup after the other.
fn pass(fib: &Fib, addresses: &[IpAddr]) -> u32 {
    // Nothing, but the compiler does not know.
    let nothing = black_box(0);
    addresses.iter().fold(0, |last, address| {
        let wait = last & nothing;
        let route = match address {
            IpAddr::V4(address) => fib.get_v4(Ipv4Addr::from_bits(address.to_bits() ^ wait)),
            IpAddr::V6(address) => fib.get_v6(Ipv6Addr::from_bits(address.to_bits() ^ u128::from(wait))),
        };
        result(route)
    })
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fib");
    group.sample_size(20);
    for (family, rows) in [("v4", routes_v4(ROUTES)), ("v6", routes_v6(ROUTES))] {
        let fib = Fib::build(rows.iter().copied());
        let (read, all) = fib.bytes();
        eprintln!("{family}: {} prefixes, lookups read {read} bytes, {all} with the rows", fib.len());
        let addresses = destinations(&rows, LOOKUPS);
        let before = allocations();
        black_box(pass(&fib, &addresses));
        assert_eq!(allocations(), before, "a lookup allocates");
        group.bench_function(format!("{family} build"), |bencher| {
            bencher.iter(|| Fib::build(rows.iter().copied()));
        });
        group.throughput(Throughput::Elements(LOOKUPS as u64));
        group.bench_function(format!("{family} lookup"), |bencher| bencher.iter(|| pass(&fib, &addresses)));
        group.bench_function(format!("{family} lookup, none waits for another"), |bencher| {
            bencher.iter(|| addresses.iter().fold(0, |sum, address| sum ^ result(fib.get(*address))));
        });
        group.throughput(Throughput::Elements(1));
        let mut turn = 0;
        let mut change = || {
            // Another part of the table each time; 7,919 is prime.
            turn += 7_919;
            let Row { prefix, .. } = rows[turn % rows.len()];
            [Change { prefix, route: Some(Route::Blackhole).filter(|_| turn % 2 == 0) }]
        };
        group.bench_function(format!("{family} change"), |bencher| {
            bencher.iter_batched(&mut change, |change| fib.changed(&change), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn publications(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topology");
    group.sample_size(20);
    group.bench_function("1,000 pods and nodes, tables and all", |bencher| {
        bencher.iter(|| Topology::build(1, &cluster()));
    });
    let mut plan = cluster();
    group.bench_function("the same, tables known", |bencher| bencher.iter(|| Topology::build(1, &plan)));
    let rows = routes_v4(ROUTES);
    plan.routers[0].fib = {
        let known = plan.routers[0].fib.iter().copied().collect::<Vec<_>>();
        Fib::build(known.into_iter().chain(rows.iter().copied())).into()
    };
    let running = Topology::build(1, &plan);
    let mut turn = 0;
    group.bench_function("one route of 100,000 changes", |bencher| {
        bencher.iter(|| {
            turn += 7_919;
            let change = Change { prefix: rows[turn % rows.len()].prefix, route: Some(Route::Blackhole) };
            let fib = plan.routers[0].fib.changed(&[change]).into();
            let mut routers = plan.routers.clone();
            routers[0].fib = fib;
            let plan = Plan { routers, ..plan.clone() };
            let next = Topology::build(2, &plan).following(&running);
            (diff(&running, &next).len(), next)
        });
    });
    group.finish();
}

/// A node whose router has all the routes, of which number `turn` goes nowhere.
fn node(rows: &[Row], turn: usize) -> Config {
    const TEXT: &str = "[memory]\nhugepages = \"never\"\nmbufs = 4096\n[workers]\npoll = \"adaptive\"\n[flow_cache]\nentries = 1024\n\
        [[router]]\nname = \"r\"\n[[network]]\nname = \"n\"\nrouter = \"r\"\ngateways = [\"172.16.0.1/16\"]\n";
    let mut config = shunt_config::parse(TEXT, "node").expect("a good configuration");
    let via = IpAddr::from([172, 16, 0, 7]);
    let route = |(number, row): (usize, &Row)| StaticRoute {
        to: row.prefix,
        via: Some(via).filter(|_| number != turn),
        blackhole: number == turn,
    };
    config.routers[0].routes = rows.iter().enumerate().map(route).collect();
    config
}

/// From a configuration that differs in one route to the moment at which every worker goes by it: comparing the two, making the
/// tables, the swap, and waiting for the workers.
fn from_configuration_to_workers(criterion: &mut Criterion) {
    let mut rows = routes_v4(ROUTES);
    rows.sort_by_key(|row| row.prefix);
    rows.dedup_by_key(|row| row.prefix);
    let first = node(&rows, 0);
    let mut control = Control::start(&first).expect("it starts without privileges");
    let errors = control.apply_at_start(&first);
    assert!(errors.is_empty(), "{errors:?}");
    let running = control.spawn().expect("a thread");
    let handle = running.handle();
    let mut group = criterion.benchmark_group("publish");
    group.sample_size(20);
    let mut turn = 0;
    group.bench_function("one route of 100,000, from configuration to all workers", |bencher| {
        let next = || {
            turn += 7_919;
            node(&rows, turn % rows.len())
        };
        let apply = |next: Config| {
            // What is left of the old one is not part of it.
            let applied =
                handle.call(move |control| (control.apply(&next).map(|applied| applied.generation), next));
            applied.expect("the control thread runs").0.expect("it is applied")
        };
        bencher.iter_batched(next, apply, BatchSize::PerIteration);
    });
    group.finish();
    running.stop();
}

criterion_group!(tables, routes, publications, from_configuration_to_workers);
criterion_main!(tables);
