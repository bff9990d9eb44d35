//! What putting frames into tunnels and taking them out costs by itself, with warm caches: `cargo bench -p shunt-bench --bench tunnels`.
//!
//! Each step is first run under the counting allocator: one that allocates is a failure, not a slow result. A push is measured
//! with the removal of its headers (two stores), so that one buffer serves all rounds; a decapsulation with putting them back.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shunt_ffi::alloc_count::{CountingAllocator, allocations};
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::offload::{Checksum, Offload};
use shunt_ffi::{Mbuf, Mempool};
use shunt_switch::encap::terminator::Row;
use shunt_switch::encap::{Dscp, Encap, Opening, Outer, Payload, Template, Terminator, decapsulate};
use shunt_switch::wire::ethernet::Mac;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Networks, and peers of each: a cluster of 256 nodes with 64 overlays.
const NETWORKS: u32 = 64;
const PEERS: u8 = 255;

fn end(v6: bool, last: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(10, 186, 152, last).into()
    }
}

fn template(encap: Encap, v6: bool, udp_checksum: bool) -> Template {
    let outer = Outer {
        dst: Mac(0x02),
        src: Mac(0x04),
        tag: None,
        local: end(v6, 2),
        remote: end(v6, 1),
        ttl: Outer::TTL,
        dscp: Dscp::Fixed(0),
        port: encap.udp_port().unwrap_or(0),
        udp_checksum,
    };
    encap.template(&outer).expect("a sound tunnel")
}

fn terminator(v6: bool) -> Terminator {
    let rows: Vec<Row> = (1..=NETWORKS)
        .map(|vni| Row {
            local: end(v6, 1),
            encap: Encap::Vxlan { vni },
            port: 4789,
            zero_checksum: true,
            binding: vni as u16,
            peers: (2..=PEERS).map(|last| (end(v6, last), u16::from(last))).collect(),
        })
        .collect();
    Terminator::build(&rows)
}

/// UDP over IPv4, 64 bytes with the check sequence that a wire would add.
fn frame() -> Vec<u8> {
    let mut frame =
        vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0];
    frame.extend([10, 0, 1, 10, 10, 0, 2, 10, 4, 0, 0x13, 0x88, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}

fn pool() -> Mempool {
    let memory = Memory::Ordinary { megabytes: 64 };
    let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
    Mempool::new(eal, "tunnels", 256, 2048).expect("memory for a small pool")
}

/// Measures `step`, which must not allocate.
fn measure(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    step: &mut dyn FnMut(),
) {
    step();
    let before = allocations();
    (0..100).for_each(|_| step());
    assert_eq!(allocations(), before, "{name} allocates");
    group.bench_function(name, |bencher| bencher.iter(&mut *step));
}

fn push(criterion: &mut Criterion, pool: Mempool) {
    let mut group = criterion.benchmark_group("encap push");
    group.throughput(Throughput::Elements(1));
    let vxlan = Encap::Vxlan { vni: 2 };
    let cases = [
        ("vxlan over ipv4", vxlan, false, false),
        ("vxlan over ipv4, udp checksum", vxlan, false, true),
        ("vxlan over ipv6", vxlan, true, false),
        ("geneve with ovn's option", Encap::Geneve { vni: 2, ovn: Some(1) }, false, false),
        ("gre with ethernet", Encap::Gre { key: Some(1), payload: Payload::Ethernet }, false, false),
    ];
    for (name, encap, v6, udp_checksum) in cases {
        let template = template(encap, v6, udp_checksum);
        let mut buffer = pool.frame(&frame()).expect("a free buffer");
        let mut entropy = 0_u16;
        measure(&mut group, name, &mut || {
            entropy = entropy.wrapping_add(1);
            black_box(&template).push(entropy, &mut buffer).expect("room");
            black_box(buffer.data());
            buffer.trim_front(template.len() as u16).expect("what was put there");
        });
    }
    let template = template(vxlan, false, false);
    let mut buffer = pool.frame(&frame()).expect("a free buffer");
    let state = Offload { checksum: Checksum::Partial { start: 34, offset: 6 }, gso: None };
    buffer.set_offload(state).expect("a UDP packet");
    measure(&mut group, "vxlan over ipv4, partial checksum inside", &mut || {
        black_box(&template).push(7, &mut buffer).expect("room");
        black_box(buffer.data());
        buffer.trim_front(50).expect("what was put there");
        buffer.move_transport(-50).expect("what was added");
    });
    group.finish();
}

/// A frame from one of the peers, in one of the networks.
fn wrapped(pool: Mempool, encap: Encap, v6: bool, udp_checksum: bool) -> Mbuf {
    let mut buffer = pool.frame(&frame()).expect("a free buffer");
    template(encap, v6, udp_checksum).push(9, &mut buffer).expect("room");
    buffer
}

fn open(criterion: &mut Criterion, pool: Mempool) {
    let mut group = criterion.benchmark_group("terminator open");
    group.throughput(Throughput::Elements(1));
    let (v4, v6) = (terminator(false), terminator(true));
    let vxlan = Encap::Vxlan { vni: 33 };
    let cases = [
        ("vxlan over ipv4", &v4, wrapped(pool, vxlan, false, false), true),
        ("vxlan over ipv4, udp checksum", &v4, wrapped(pool, vxlan, false, true), true),
        ("vxlan over ipv6", &v6, wrapped(pool, vxlan, true, false), true),
        ("not ours", &v4, pool.frame(&frame()).expect("a free buffer"), false),
        ("unknown vni", &v4, wrapped(pool, Encap::Vxlan { vni: 99 }, false, false), false),
    ];
    for (name, terminator, buffer, opens) in &cases {
        assert_eq!(matches!(terminator.open_frame(buffer, 14), Opening::Inner(_)), *opens, "{name}");
        measure(&mut group, name, &mut || {
            black_box(black_box(*terminator).open_frame(black_box(buffer), 14));
        });
    }
    group.finish();
}

fn take_out(criterion: &mut Criterion, pool: Mempool) {
    let mut group = criterion.benchmark_group("decapsulate");
    group.throughput(Throughput::Elements(1));
    let mut buffer = wrapped(pool, Encap::Vxlan { vni: 33 }, false, false);
    let Opening::Inner(inner) = terminator(false).open_frame(&buffer, 14) else { panic!("not opened") };
    measure(&mut group, "vxlan over ipv4", &mut || {
        decapsulate(&mut buffer, black_box(&inner), Mac(2), Mac(4)).expect("what was opened");
        black_box(buffer.data());
        buffer.prepend(inner.offset).expect("what was taken off");
    });
    group.finish();
}

fn tunnels(criterion: &mut Criterion) {
    let pool = pool();
    push(criterion, pool);
    open(criterion, pool);
    take_out(criterion, pool);
}

criterion_group!(benches, tunnels);
criterion_main!(benches);
