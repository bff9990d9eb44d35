//! Zones: who talks to whom is known for each router by itself.

use shunt_tests::frames::{Body, Frame, Ipv4, Payload, Piece, Transport};
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Wire, require};

use crate::wires;

const CONFIG: &str = include_str!("zones.toml");
const POD: [u8; 4] = [10, 60, 0, 1];
const WORLD: [u8; 4] = [10, 61, 0, 1];
const ROUTER: [u8; 4] = [10, 61, 0, 254];

/// A datagram with a word by which it is known.
fn datagram(source: [u8; 4], destination: [u8; 4], ports: (u16, u16), word: &[u8; 4]) -> Vec<u8> {
    let piece = Piece::default();
    let ip = Ipv4 { source, destination, class: 0, ttl: 64, id: 0, whole: true, piece, options: 0 };
    let payload = Payload { transport: Transport::Udp(ports.0, ports.1, true), data: word.repeat(8) };
    let of = |gateway: u8, station: u8| ([2, 0, 0, 0, gateway, 0xfe], [2, 0, 0, station, 0, 1]);
    let (dst, src) = if source == POD { of(0x60, 0x60) } else { of(0x61, 0x61) };
    Frame { dst, src, body: Body::Ipv4(ip, payload), ..Frame::plain() }.bytes()
}

/// Waits for the datagram with that word: its addresses and ports.
#[track_caller]
fn arrives(wire: &Wire, word: &[u8; 4]) -> (Vec<u8>, Vec<u8>, (u16, u16)) {
    let frame = wire.wait(PATIENCE, |frame| frame.get(42..46) == Some(&word[..])).unwrap();
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (frame[26..30].to_vec(), frame[30..34].to_vec(), (port(34), port(36)))
}

#[test]
fn zones() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let names = ["red-pod", "red-world", "blue-pod", "blue-world"];
    let (_places, shuntd, [mut red_pod, mut red_world, mut blue_pod, mut blue_world]) =
        wires::start(CONFIG, names);
    // The same packet in both: neither keeps the other from its port.
    let sides = [
        (&mut red_pod, &mut red_world, b"red!", b"REDS"),
        (&mut blue_pod, &mut blue_world, b"blue", b"BLUE"),
    ];
    for (pod, world, asks, answers) in sides {
        pod.send(&datagram(POD, WORLD, (5000, 53), asks)).unwrap();
        assert_eq!(arrives(world, asks), (ROUTER.to_vec(), WORLD.to_vec(), (5000, 53)));
        world.send(&datagram(WORLD, ROUTER, (53, 5000), answers)).unwrap();
        assert_eq!(arrives(pod, answers), (WORLD.to_vec(), POD.to_vec(), (53, 5000)));
    }
    let has =
        |wire: &Wire, word: &[u8; 4]| wire.seen().iter().any(|frame| frame.get(42..46) == Some(&word[..]));
    assert!(!has(&red_world, b"blue") && !has(&red_pod, b"BLUE"));
    assert!(!has(&blue_world, b"red!") && !has(&blue_pod, b"REDS"));
    let list = shuntd.cli_text(&["conntrack", "-L", "-p", "udp"]).unwrap();
    let there = "src=10.60.0.1 dst=10.61.0.1 sport=5000 dport=53";
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
        assert!(statistics.contains(&format!("router={router} entries=1 half_open=0")), "{statistics}");
    }
}
