//! Zones: who talks to whom is known for each router by itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;
use shunt_tests::frames::{Body, Frame, Ipv4, Ipv6, Payload, Piece, Transport};
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Shuntd, Wire, require};

use crate::wires;

const CONFIG: &str = include_str!("zones.toml");
/// Of network 60 the pod, of network 61 who it talks to and who masquerades it: the addresses of both families.
const POD: End = ([10, 60, 0, 1], 0x60, 1);
const WORLD: End = ([10, 61, 0, 1], 0x61, 1);
const ROUTER: End = ([10, 61, 0, 254], 0x61, 0xfe);

/// An IPv4 address; of the IPv6 address the second byte of the second word, and the last one.
type End = ([u8; 4], u8, u8);

fn v6((_, subnet, last): End) -> [u8; 16] {
    [0xfd, 0, 0, subnet, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fn bytes(end: End, is_v6: bool) -> Vec<u8> {
    if is_v6 { v6(end).to_vec() } else { end.0.to_vec() }
}

/// A datagram with a word by which it is known.
fn datagram(from: End, to: End, ports: (u16, u16), word: &[u8; 4], is_v6: bool) -> Vec<u8> {
    let payload = Payload { transport: Transport::Udp(ports.0, ports.1, true), data: word.repeat(8) };
    let body = if is_v6 {
        let (source, destination) = (v6(from), v6(to));
        Body::Ipv6(Ipv6 { source, destination, class: 0, hop_limit: 64, extensions: vec![] }, payload)
    } else {
        let (source, destination, piece) = (from.0, to.0, Piece::default());
        let ip = Ipv4 { source, destination, class: 0, ttl: 64, id: 0, whole: true, piece, options: 0 };
        Body::Ipv4(ip, payload)
    };
    let of = |subnet: u8| ([2, 0, 0, 0, subnet, 0xfe], [2, 0, 0, subnet, 0, 1]);
    let (dst, src) = of(from.1);
    Frame { dst, src, body, ..Frame::plain() }.bytes()
}

fn has_word(frame: &[u8], word: &[u8; 4], is_v6: bool) -> bool {
    let at = if is_v6 { 62 } else { 42 };
    frame.get(at..at + 4) == Some(&word[..])
}

/// Waits for the datagram with that word: its addresses and ports.
#[track_caller]
fn arrives(wire: &Wire, word: &[u8; 4], is_v6: bool) -> (Vec<u8>, Vec<u8>, (u16, u16)) {
    let frame = wire.wait(PATIENCE, |frame| has_word(frame, word, is_v6)).unwrap();
    let (source, destination, ports) = if is_v6 { (22, 38, 54) } else { (26, 30, 34) };
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (frame[source..destination].to_vec(), frame[destination..ports].to_vec(), (port(ports), port(ports + 2)))
}

#[test]
fn zones() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let names = ["red-pod", "red-world", "blue-pod", "blue-world"];
    for is_v6 in [false, true] {
        let (_places, shuntd, [mut red_pod, mut red_world, mut blue_pod, mut blue_world]) =
            wires::start(CONFIG, names);
        let (router, world, pod_sees) = (bytes(ROUTER, is_v6), bytes(WORLD, is_v6), bytes(POD, is_v6));
        // The same packet in both: neither keeps the other from its port.
        let sides = [
            (&mut red_pod, &mut red_world, b"red!", b"REDS"),
            (&mut blue_pod, &mut blue_world, b"blue", b"BLUE"),
        ];
        for (inside, outside, asks, answers) in sides {
            inside.send(&datagram(POD, WORLD, (5000, 53), asks, is_v6)).unwrap();
            assert_eq!(arrives(outside, asks, is_v6), (router.clone(), world.clone(), (5000, 53)));
            outside.send(&datagram(WORLD, ROUTER, (53, 5000), answers, is_v6)).unwrap();
            assert_eq!(arrives(inside, answers, is_v6), (world.clone(), pod_sees.clone(), (53, 5000)));
        }
        let has = |wire: &Wire, word: &[u8; 4]| wire.seen().iter().any(|frame| has_word(frame, word, is_v6));
        assert!(!has(&red_world, b"blue") && !has(&red_pod, b"BLUE"));
        assert!(!has(&blue_world, b"red!") && !has(&blue_pod, b"REDS"));
        let list = shuntd.cli_text(&["conntrack", "-L", "-p", "udp"]).unwrap();
        let there = match is_v6 {
            true => "src=fd00:60::1 dst=fd00:61::1 sport=5000 dport=53",
            false => "src=10.60.0.1 dst=10.61.0.1 sport=5000 dport=53",
        };
        let mut zones: Vec<_> = list
            .lines()
            .filter(|line| line.contains(there))
            .filter_map(|line| line.split(' ').find(|word| word.starts_with("zone=")))
            .collect();
        zones.sort_unstable();
        zones.dedup();
        assert_eq!((list.lines().count(), zones.len()), (2, 2), "{list}");
        let statistics = shuntd.cli_text(&["conntrack", "-S"]).unwrap();
        for router in ["red", "blue"] {
            let line = format!("router={router} entries=1 half_open=0");
            assert!(statistics.contains(&line), "{statistics}");
        }
    }
}

fn text(end: End, is_v6: bool) -> String {
    if is_v6 { Ipv6Addr::from(v6(end)).to_string() } else { Ipv4Addr::from(end.0).to_string() }
}

/// What the list says of each zone's connection: how long it may still be silent.
fn remaining(shuntd: &Shuntd, is_v6: bool) -> Vec<u64> {
    let ours = |row: &&Value| row["original"]["source"] == text(POD, is_v6);
    let rows = shuntd.cli(&["conntrack", "-L", "-p", "udp", "-o", "json"]).unwrap();
    rows.as_array().into_iter().flatten().filter(ours).filter_map(|row| row["remaining"].as_u64()).collect()
}

/// One router's connections are forgotten soon, the other's are not; and the other way round, while they live.
#[test]
fn zone_based_timeout_policy() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let names = ["red-pod", "red-world", "blue-pod", "blue-world"];
    let with = |router: &str| {
        let section = format!("name = \"{router}\"\n");
        CONFIG.replacen(
            &section,
            &format!("{section}timeouts = {{ udp_timeout = \"1s\", udp_timeout_stream = \"1s\" }}\n"),
            1,
        )
    };
    for is_v6 in [false, true] {
        let (_places, shuntd, [mut red_pod, red_world, mut blue_pod, blue_world]) =
            wires::start(&with("red"), names);
        let left = |router: &str| {
            let gone = |_: &Value| {
                let statistics = shuntd.cli_text(&["conntrack", "-S"]).unwrap();
                !statistics.contains(&format!("router={router} entries="))
            };
            shuntd.cli_until(&["show", "topology", "--json"], PATIENCE, gone).unwrap();
            remaining(&shuntd, is_v6)
        };
        red_pod.send(&datagram(POD, WORLD, (5000, 53), b"red!", is_v6)).unwrap();
        blue_pod.send(&datagram(POD, WORLD, (5000, 53), b"blue", is_v6)).unwrap();
        arrives(&red_world, b"red!", is_v6);
        arrives(&blue_world, b"blue", is_v6);
        // The defaults are half a minute.
        let blue = left("red");
        assert!(blue.len() == 1 && (2..=30).contains(&blue[0]), "{blue:?}");
        red_pod.send(&datagram(POD, WORLD, (5000, 53), b"more", is_v6)).unwrap();
        arrives(&red_world, b"more", is_v6);
        let file = shuntd.dir().join("blue.toml");
        std::fs::write(&file, with("blue")).unwrap();
        shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
        let red = left("blue");
        assert!(red.len() == 1 && (2..=30).contains(&red[0]), "{red:?}");
    }
}
