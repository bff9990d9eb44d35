//! What the connection table costs: `cargo bench -p shunt-bench --bench connections`.
//!
//! Lookups go to random connections all over the table, each only when the one before has its result. `touch` is what a
//! packet of a cached flow costs, the counts included. A sweep goes by slices; what is printed is the median and the longest slice.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shunt_switch::state::tuple::Parts;
use shunt_switch::state::{
    ByZone, ConnRef, Direction, Insert, Limits, New, Opening, Removal, Size, Stock, Table, Touch, Tuple,
};

/// Lookups of one pass.
const LOOKUPS: usize = 1 << 16;
/// Connections that come and go together.
const BATCH: usize = 200;
/// Slots of a sweep's slice, as the control thread's.
const SLICE: usize = 2_048;
/// Tables by how many connections are in them.
const COUNTS: [(&str, usize); 3] = [("1k", 1_000), ("100k", 100_000), ("1M", 1_000_000)];

/// Connection number `number`: 250 ports of each host, to one server.
fn tuple(number: usize) -> Tuple {
    Tuple::new(&Parts {
        zone: 1,
        protocol: 17,
        source: Ipv4Addr::from_bits(0x0a00_0000 + (number / 250) as u32).into(),
        destination: Ipv4Addr::new(10, 255, 0, 1).into(),
        source_port: 1024 + (number % 250) as u16,
        destination_port: 53,
    })
    .expect("one family")
}

fn new(number: usize) -> New {
    let original = tuple(number);
    let opening = Opening::untracked(&original).expect("UDP may open");
    New { original, reply: original.reversed(), opening, rule: 0, now: 1 }
}

/// A table with `count` connections, and room for `capacity`.
fn filled(count: usize, capacity: usize) -> (Table, Stock, Vec<ConnRef>) {
    let table = Table::new(Size { capacity, threads: 1, limits: Limits::NONE }, 0x5eed).expect("memory");
    let mut stock = Stock::default();
    let conns = (0..count)
        .map(|number| match table.insert(&mut stock, &new(number)) {
            Insert::Created(conn) => conn,
            refused => panic!("{refused:?} at {number}"),
        })
        .collect();
    (table, stock, conns)
}

/// Numbers below `count` in random order.
fn random(count: usize) -> Vec<usize> {
    let mut state = 1_u64;
    (0..LOOKUPS)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % count
        })
        .collect()
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connections");
    group.sample_size(20);
    for (name, count) in COUNTS {
        let (table, _, conns) = filled(count, count);
        eprintln!("{name}: {:.1} bytes a connection", table.bytes() as f64 / count as f64);
        let order = random(count);
        let tuples: Vec<Tuple> = order.iter().map(|number| tuple(*number).reversed()).collect();
        group.throughput(Throughput::Elements(LOOKUPS as u64));
        group.bench_function(format!("{name} lookup"), |bencher| {
            bencher.iter(|| {
                let nothing = black_box(0);
                tuples.iter().fold(0_u32, |last, tuple| {
                    let tuple = tuple.with_source_port(tuple.source_port() ^ (last as u16 & nothing));
                    table.lookup(&tuple).map_or(0, |found| found.conn.numbers().0)
                })
            });
        });
        let mut now = 2;
        group.bench_function(format!("{name} touch"), |bencher| {
            bencher.iter(|| {
                now += 1;
                order
                    .iter()
                    .filter(|number| {
                        table.touch(conns[**number], Direction::Reply, now / 1000, 1, 1000) == Touch::Done
                    })
                    .count()
            });
        });
    }
    group.finish();
}

fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connections");
    group.sample_size(20);
    for (name, count) in COUNTS {
        let (table, mut stock, conns) = filled(count, 2 * count);
        drop(conns);
        let mut number = count;
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(format!("{name} insert and remove"), |bencher| {
            bencher.iter(|| {
                // A batch comes, then goes: no slot is used twice in a row.
                let made: [ConnRef; BATCH] = std::array::from_fn(|_| {
                    number += 1;
                    match table.insert(&mut stock, &new(number)) {
                        Insert::Created(conn) => conn,
                        refused => panic!("{refused:?}"),
                    }
                });
                for conn in made {
                    assert!(matches!(table.remove(&mut stock, conn), Removal::Removed(_)));
                }
            });
        });
    }
    group.finish();
}

/// The slices of a sweep over each table, of which none ends and then all.
fn sweeps(_: &mut Criterion) {
    for (name, count) in COUNTS {
        let (table, mut stock, _) = filled(count, count);
        for (what, now) in [("none ends", 2), ("all end", 1000)] {
            let (mut from, mut slices, mut ended) = (Some(0), Vec::new(), 0);
            while let Some(start) = from {
                let slice = Instant::now();
                let swept = table.sweep(&mut stock, start, SLICE, now, &ByZone::default(), |_| ());
                slices.push(slice.elapsed());
                ended += swept.ended;
                from = swept.next;
            }
            slices.sort_unstable();
            let (all, longest) =
                (slices.iter().sum::<Duration>(), slices.last().copied().unwrap_or_default());
            eprintln!(
                "sweep of {name}, {what}: {all:?}, slices of {SLICE} slots: median {:?}, longest {longest:?}; {ended} ended",
                slices[slices.len() / 2]
            );
        }
    }
}

criterion_group!(connections, lookups, changes, sweeps);
criterion_main!(connections);
