use std::sync::{Arc, OnceLock};

use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};

use super::*;
use crate::flow::Depth;
use crate::flow::parse::parse;
use crate::ids::NetworkId;
use crate::table::fdb::Fdb;
use crate::table::fib::Fib;
use crate::table::neighbor::NeighborTable;
use crate::topology::{Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology};
use crate::wire::ethernet::Mac;

const GATEWAY: Mac = Mac::from_bytes([2, 0, 0, 0, 0xff, 1]);

fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 64 };
        let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
        Mempool::new(eal, "reporter", 256, 2048).expect("memory for a small pool")
    })
}

/// One network with a gateway that has these addresses.
fn topology(addresses: &[(&str, u8)]) -> Topology {
    let addresses = addresses.iter().map(|(address, len)| (address.parse().unwrap(), *len)).collect();
    let network = PlannedNetwork {
        fdb: Arc::new(Fdb::build([].into_iter())),
        neighbors: Arc::new(NeighborTable::build([].into_iter())),
        gateway: Some(Gateway { mac: GATEWAY, addresses, router: RouterId::FIRST }),
        ..PlannedNetwork::plain(shunt_config::NetworkName::new("n").unwrap())
    };
    let port = Port {
        max_frame: 1522,
        ..Port::plain(PortId::new(0).unwrap(), shunt_config::PortName::new("p").unwrap(), NetworkId::new(0))
    };
    let router = PlannedRouter {
        name: shunt_config::RouterName::new("r").unwrap(),
        fib: Arc::new(Fib::build(Vec::new())),
    };
    Topology::build(
        1,
        &Plan { networks: vec![network], routers: vec![router], ports: vec![port], ..Plan::default() },
    )
}

const BOTH: &[(&str, u8)] = &[("10.0.9.1", 24), ("10.0.1.1", 24), ("fd00:1::1", 64)];

/// An IPv4 packet to the gateway.
fn v4(source: [u8; 4], destination: [u8; 4], protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [GATEWAY.bytes().as_slice(), &[2, 0, 0, 0, 0, 9], &[8, 0]].concat();
    let mut header = vec![0x45, 0, 0, 20 + payload.len() as u8, 0, 1, 0, 0, 64, protocol, 0, 0];
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    frame.extend(header);
    frame.extend([source, destination].concat());
    frame.extend(payload);
    frame
}

fn v6(source: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [GATEWAY.bytes().as_slice(), &[2, 0, 0, 0, 0, 9], &[0x86, 0xdd]].concat();
    frame.extend([0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64]);
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    frame.extend([address(source), address("fd00:1::1")].concat());
    frame.extend(payload);
    frame
}

/// What answers the frame, and the frame that is sent.
fn said(topology: &Topology, bytes: &[u8], answer: Answer) -> Option<(Reply, Vec<u8>)> {
    told(topology, bytes, answer, None)
}

/// The same of a frame that came in the tunnel of a peer.
fn told(topology: &Topology, bytes: &[u8], answer: Answer, peer: Option<u16>) -> Option<(Reply, Vec<u8>)> {
    let port = PortId::new(0).unwrap();
    let (key, layout) = parse(bytes, bytes.len() as u32, port, Depth::Network).unwrap();
    let ingress = Ingress { peer, ..Ingress::of(topology, &key).unwrap() };
    let reply = Reply::to(answer, &ingress, &key, layout, bytes)?;
    let mut frame = pool().frame(bytes).unwrap();
    reply.write(&ingress, &key, layout, &mut frame)?;
    Some((reply, frame.to_vec()))
}

const POD: [u8; 4] = [10, 0, 1, 7];
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];
/// From port 9 to port 80, a header of twenty bytes.
const SYN: [u8; 20] = [0, 9, 0, 80, 0, 0, 3, 232, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
const DATAGRAM: [u8; 8] = [0, 9, 0, 9, 0, 8, 0, 0];

#[test]
fn the_gateway_speaks_with_its_address_in_the_senders_subnet() {
    let topology = topology(BOTH);
    let (reply, frame) = said(&topology, &v4(POD, OUTSIDE, UDP, 0, &DATAGRAM), Answer::NoRoute).unwrap();
    assert_eq!(reply, Reply::Error(icmp::Error::NoRoute));
    assert_eq!(frame[..12], [[2, 0, 0, 0, 0, 9], GATEWAY.bytes()].concat());
    assert_eq!((&frame[26..30], &frame[30..34]), (&[10, 0, 1, 1][..], &POD[..]));
    // One from elsewhere gets the first address of the family.
    let (_, frame) =
        said(&topology, &v4([172, 16, 0, 1], OUTSIDE, UDP, 0, &DATAGRAM), Answer::NoRoute).unwrap();
    assert_eq!(frame[26..30], [10, 0, 9, 1]);
    let (reply, frame) = said(&topology, &v6("fd00:1::7", UDP, &DATAGRAM), Answer::Expired).unwrap();
    assert_eq!((reply, frame[54], frame[55]), (Reply::Error(icmp::Error::Expired), 3, 0));
}

#[test]
fn who_is_behind_a_peer_hears_it_from_an_address_that_this_node_alone_has() {
    let source = |addresses, peer| {
        let frame = v4(POD, OUTSIDE, UDP, 0, &DATAGRAM);
        told(&topology(addresses), &frame, Answer::Expired, peer).unwrap().1[26..30].to_vec()
    };
    let l3 = &[("169.254.1.1", 32), ("fd00:1::1", 128), ("10.20.6.0", 32)][..];
    assert_eq!((source(l3, None), source(l3, Some(0))), (vec![169, 254, 1, 1], vec![10, 20, 6, 0]));
    // A subnet's gateway, without and with `node_ips`.
    let l2 = &[("10.0.1.1", 24), ("10.0.2.1", 24)][..];
    assert_eq!((source(l2, None), source(l2, Some(0))), (vec![10, 0, 1, 1], vec![10, 0, 1, 1]));
    assert_eq!(source(&[l2, &[("10.0.2.9", 32)]].concat(), Some(0)), [10, 0, 2, 9]);
}

#[test]
fn an_address_of_the_switch_answers_echoes_and_says_that_nobody_is_there() {
    let topology = topology(BOTH);
    let own = |protocol, payload: &[u8]| {
        said(&topology, &v4(POD, [10, 0, 1, 1], protocol, 0, payload), Answer::Own).map(|(reply, _)| reply)
    };
    assert_eq!(own(ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]), Some(Reply::Echo));
    assert_eq!(own(ICMP, &[0, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(own(UDP, &DATAGRAM), Some(Reply::Error(icmp::Error::NoPort)));
    assert_eq!(own(TCP, &SYN), Some(Reply::Reset));
    assert_eq!(own(TCP, &[0; 20]), None, "no sound header");
    assert_eq!(own(47, &[0; 8]), Some(Reply::Error(icmp::Error::NoProtocol)));
    let v6 = |protocol, payload: &[u8]| {
        said(&topology, &v6("fd00:1::7", protocol, payload), Answer::Own).map(|(reply, _)| reply)
    };
    assert_eq!(v6(ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]), Some(Reply::Echo));
    assert_eq!(v6(ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0]), None);
    // ICMP is no protocol of IPv6, and the other way round.
    assert_eq!(v6(ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]), Some(Reply::Error(icmp::Error::NoProtocol)));
    // Of an echo request that came in pieces nobody has the whole.
    let first = v4(POD, [10, 0, 1, 1], ICMP, 0x2000, &[8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(said(&topology, &first, Answer::Own), None);
}

#[test]
fn tcp_is_reset_where_nobody_answers_and_where_a_policy_says_no() {
    let topology = topology(BOTH);
    for answer in [Answer::Own, Answer::Prohibited] {
        let (reply, frame) = said(&topology, &v4(POD, OUTSIDE, TCP, 0, &SYN), answer).unwrap();
        assert_eq!((reply, frame.len(), frame[47]), (Reply::Reset, 54, 0x14));
        // In the name of whom the segment was for.
        assert_eq!((&frame[26..30], &frame[30..34]), (&OUTSIDE[..], &POD[..]));
        assert_eq!(frame[..12], [[2, 0, 0, 0, 0, 9], GATEWAY.bytes()].concat());
        let (reply, frame) = said(&topology, &v6("fd00:1::7", TCP, &SYN), answer).unwrap();
        assert_eq!((reply, frame.len(), frame[67]), (Reply::Reset, 74, 0x14));
        let mut reset = SYN;
        reset[13] = 4;
        assert_eq!(
            said(&topology, &v4(POD, OUTSIDE, TCP, 0, &reset), answer),
            None,
            "a reset is not answered"
        );
        assert_eq!(said(&topology, &v4([127, 0, 0, 1], OUTSIDE, TCP, 0, &SYN), answer), None, "to nobody");
    }
    // What is no refusal is told as before.
    let (reply, _) = said(&topology, &v4(POD, OUTSIDE, TCP, 0, &SYN), Answer::NoRoute).unwrap();
    assert_eq!(reply, Reply::Error(icmp::Error::NoRoute));
    let (reply, _) = said(&topology, &v4(POD, OUTSIDE, UDP, 0, &DATAGRAM), Answer::Prohibited).unwrap();
    assert_eq!(reply, Reply::Error(icmp::Error::Prohibited));
}

#[test]
fn nobody_is_told_of_errors_later_fragments_and_senders_that_are_nobody() {
    let topology = topology(BOTH);
    let told = |bytes: Vec<u8>| said(&topology, &bytes, Answer::Expired).is_some();
    let from = |source| told(v4(source, OUTSIDE, UDP, 0, &DATAGRAM));
    assert!(from(POD) && told(v4(POD, OUTSIDE, UDP, 0x2000, &DATAGRAM)));
    assert!(!told(v4(POD, OUTSIDE, UDP, 5, &DATAGRAM)), "a later fragment");
    for kind in [3, 4, 5, 11, 12] {
        assert!(!told(v4(POD, OUTSIDE, ICMP, 0, &[kind, 0, 0, 0, 0, 0, 0, 0])), "ICMP type {kind}");
    }
    assert!(told(v4(POD, OUTSIDE, ICMP, 0, &[8, 0, 0, 0, 0, 0, 0, 0])));
    assert!(!told(v4(POD, OUTSIDE, ICMP, 0, &[])), "ICMP without a type");
    let nobody =
        [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4], [10, 0, 1, 1], [10, 0, 1, 255]];
    for source in nobody {
        assert!(!from(source), "{source:?}");
    }
    assert!(!told(v4(POD, [224, 0, 0, 9], UDP, 0, &DATAGRAM)) && !told(v4(POD, [255; 4], UDP, 0, &DATAGRAM)));
    let mut broadcast = v4(POD, OUTSIDE, UDP, 0, &DATAGRAM);
    broadcast[..6].fill(0xff);
    assert!(!told(broadcast), "a broadcast on the link");
    let v6 = |source, protocol, payload: &[u8]| told(v6(source, protocol, payload));
    assert!(v6("fd00:1::7", UDP, &DATAGRAM) && v6("fd00:1::7", ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]));
    assert!(!v6("fd00:1::7", ICMPV6, &[2, 0, 0, 0, 0, 0, 0, 0]));
    for source in ["::", "::1", "ff02::1", "fd00:1::1"] {
        assert!(!v6(source, UDP, &DATAGRAM), "{source}");
    }
}

#[test]
fn a_gateway_without_an_address_of_the_family_is_silent() {
    let topology = topology(&[("10.0.1.1", 24)]);
    assert!(said(&topology, &v6("fd00:1::7", UDP, &DATAGRAM), Answer::Expired).is_none());
    assert!(said(&topology, &v4(POD, OUTSIDE, UDP, 0, &DATAGRAM), Answer::Expired).is_some());
}

#[test]
fn a_rate_lets_its_burst_through_and_then_one_at_a_time() {
    let rate = Rate { interval: 100, burst: 300 };
    let mut until = 0;
    let mut sent = |now| match rate.take(until, now) {
        Some(next) => {
            until = next;
            true
        }
        None => false,
    };
    assert_eq!([1_000, 1_000, 1_000, 1_000].map(&mut sent), [true, true, true, false]);
    assert_eq!([1_099, 1_101, 1_102, 1_201].map(&mut sent), [false, true, false, true]);
    // Silence fills the bucket again, and no more than that.
    assert_eq!([9_000, 9_000, 9_000, 9_000].map(&mut sent), [true, true, true, false]);
}

#[test]
fn a_port_has_a_limit_of_its_own_so_that_others_still_hear() {
    let (far, huge) = (1 << 40, 1 << 62);
    let rate = |count| Rate { interval: far, burst: far * count };
    let mut limiter = Limiter::new(Rate { interval: huge, burst: huge }, rate(20));
    let [noisy, quiet] = [0, 1].map(|index| PortId::new(index).unwrap());
    let from = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n));
    let noise = (0..1_000).filter(|n| limiter.allows(noisy, from(*n))).count();
    assert_eq!(noise, 20);
    assert!(limiter.allows(quiet, from(5_000)) || limiter.allows(quiet, from(5_001)));
    assert!(!limiter.allows(quiet, from(5_000)), "one sender has one message");
}
