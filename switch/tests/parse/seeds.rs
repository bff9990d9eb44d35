//! The fuzzer's seeds, and the replay of everything it starts from or has found.
//!
//! The seeds are what the builders make of the list here. After a change of the list:
//! `SHUNT_WRITE_SEEDS=1 cargo nextest run -p shunt-switch --test parse seeds`.

use std::fs;
use std::path::{Path, PathBuf};

use shunt_tests::frames::{
    Body, CUSTOMER_TAG, Extension, Frame, Ipv4, Ipv6, Payload, Piece, SERVICE_TAG, Transport,
};

use super::oracle;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(name).join("parse")
}

fn frames() -> Vec<(&'static str, Frame)> {
    let plain = Frame::plain;
    let Body::Ipv4(ip4, _) = plain().body else { unreachable!() };
    let ip6 =
        Ipv6 { source: [0xfd; 16], destination: [0xfc; 16], class: 0xb8, hop_limit: 64, extensions: vec![] };
    let v4 = |transport, data| Frame {
        body: Body::Ipv4(ip4.clone(), Payload { transport, data: vec![0x5a; data] }),
        ..plain()
    };
    let v4_as = |ip: Ipv4, transport| Frame {
        body: Body::Ipv4(ip, Payload { transport, data: vec![0x5a; 8] }),
        ..plain()
    };
    let v6 = |extensions, transport| Frame {
        body: Body::Ipv6(Ipv6 { extensions, ..ip6.clone() }, Payload { transport, data: vec![0x5a; 8] }),
        ..plain()
    };
    let tcp = Transport::Tcp(40_000, 443, 0x12, 5);
    let udp = Transport::Udp(40_000, 53, true);
    let (first, later) = (Piece { offset: 0, more: true }, Piece { offset: 185, more: false });
    let chain = vec![
        Extension::HopByHop(0),
        Extension::Destination(1),
        Extension::Routing(2),
        Extension::Authentication(3),
        Extension::Fragment(Piece::default()),
    ];
    vec![
        ("plain-udp", plain()),
        ("plain-tcp", v4(tcp, 6)),
        ("plain-sctp", v4(Transport::Sctp(5000, 38_412), 4)),
        ("icmp-echo", v4(Transport::Icmp(8, 0, 7), 32)),
        ("icmp-too-big", v4(Transport::Icmp(3, 4, 0), 28)),
        ("odd-protocol", v4(Transport::Other(253), 20)),
        ("padded", Frame { padding: vec![0; 20], ..v4(tcp, 0) }),
        ("options", v4_as(Ipv4 { options: 10, ..ip4.clone() }, udp)),
        ("expired", v4_as(Ipv4 { ttl: 1, ..ip4.clone() }, udp)),
        ("first-fragment", v4_as(Ipv4 { piece: first, whole: false, ..ip4.clone() }, udp)),
        ("later-fragment", v4_as(Ipv4 { piece: later, whole: false, ..ip4.clone() }, udp)),
        ("v6-tcp", v6(vec![], tcp)),
        ("v6-udp", v6(vec![], udp)),
        ("v6-echo", v6(vec![], Transport::Icmp(128, 0, 7))),
        ("v6-neighbor", v6(vec![], Transport::Icmp(135, 0, 0))),
        ("v6-chain", v6(chain, tcp)),
        ("v6-first-fragment", v6(vec![Extension::Fragment(first)], udp)),
        ("v6-later-fragment", v6(vec![Extension::Fragment(later)], udp)),
        ("v6-too-long-chain", v6(vec![Extension::Destination(0); 9], udp)),
        ("arp", Frame { body: Body::Other(0x0806, vec![1; 28]), padding: vec![0; 18], ..plain() }),
        ("one-tag", Frame { tags: vec![(CUSTOMER_TAG, 100)], ..plain() }),
        ("two-tags", Frame { tags: vec![(SERVICE_TAG, 100), (CUSTOMER_TAG, 200)], ..v6(vec![], tcp) }),
        ("three-tags", Frame { tags: vec![(CUSTOMER_TAG, 1); 3], ..plain() }),
        ("length-field", Frame { body: Body::Other(46, vec![0x42; 46]), ..plain() }),
    ]
}

/// Name and bytes of each seed: the control word of `oracle::check`, and a frame.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds: Vec<_> = frames()
        .into_iter()
        .enumerate()
        .map(|(index, (name, frame))| {
            let split = (14 + 4 * index) as u8;
            (name, [&[split, 0, 0, index as u8][..], &frame.bytes()].concat())
        })
        .collect();
    // A GSO frame too large for its length field: 70 KiB follow, the length is 0.
    let mut big = [&[54, 0, 70, 1][..], &Frame::plain().bytes()].concat();
    big[oracle::CONTROL + 16..oracle::CONTROL + 18].fill(0);
    seeds.push(("big-tcp", big));
    seeds.push(("runt", [&[7, 0, 0, 1][..], &[2; 13]].concat()));
    seeds
}

#[test]
fn seeds_are_what_the_builders_make() {
    let directory = directory("seeds");
    let seeds = seeds();
    if std::env::var_os("SHUNT_WRITE_SEEDS").is_some() {
        for (name, bytes) in &seeds {
            fs::write(directory.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in &seeds {
        assert_eq!(fs::read(directory.join(name)).ok().as_ref(), Some(bytes), "seed {name} is stale");
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), seeds.len(), "a file that no builder makes");
}

/// Every seed, every crash that was ever found, each split everywhere.
#[test]
fn seeds_and_crashes_pass() {
    let mut replayed = 0;
    for name in ["seeds", "crashes"] {
        for entry in fs::read_dir(directory(name)).into_iter().flatten() {
            let mut input = fs::read(entry.unwrap().path()).unwrap();
            oracle::check(&input);
            if input.len() < oracle::CONTROL {
                continue;
            }
            for split in 0..=(input.len() - oracle::CONTROL) as u16 {
                input[..2].copy_from_slice(&split.to_le_bytes());
                oracle::check(&input);
            }
            replayed += 1;
        }
    }
    assert!(replayed >= seeds().len());
}
