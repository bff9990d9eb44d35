//! Tuples of parsed packets, their reverse, what is quoted of them, and translations there and back.

use super::*;
use crate::flow::parse::parse;
use crate::ids::PortId;
use crate::state::quoted::Quoted;
use crate::wire::checksum::Sum;
use proptest::prelude::*;

const V4_HEADER: usize = 20;
const ROUTING_HEADER: u8 = 43;

/// The IP packet with this tuple and a transport header of 20 bytes.
fn packet(tuple: &Tuple) -> Vec<u8> {
    let Parts { protocol, source, destination, source_port, destination_port, .. } = tuple.parts();
    let mut transport = vec![0_u8; 20];
    let (a, b) = match tuple.echo() {
        Some(kind) => (kind, 0),
        None => (source_port, destination_port),
    };
    transport[..2].copy_from_slice(&a.to_be_bytes());
    transport[2..4].copy_from_slice(&b.to_be_bytes());
    match protocol {
        TCP => transport[12] = 5 << 4,
        UDP => transport[5] = 20,
        _ if tuple.echo().is_some() => transport[4..6].copy_from_slice(&source_port.to_be_bytes()),
        _ => {}
    }
    let mut bytes = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0];
            header.extend([source.octets(), destination.octets()].concat());
            let sum = Sum::new().bytes(&header).checksum();
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(header.len(), V4_HEADER);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = vec![0x60, 0, 0, 0, 0, 20, protocol, 64];
            [header, source.octets().to_vec(), destination.octets().to_vec()].concat()
        }
        _ => unreachable!("a tuple is of one family"),
    };
    bytes.extend(transport);
    bytes
}

fn key(packet: &[u8], depth: Depth) -> FlowKey {
    let ethertype: [u8; 2] = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ethertype[..], packet].concat();
    parse(&frame, frame.len() as u32, PortId::FIRST, depth).expect("a sound frame").0
}

fn address() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(a, b)| (Ipv4Addr::from_bits(a).into(), Ipv4Addr::from_bits(b).into())),
        any::<(u128, u128)>()
            .prop_map(|(a, b)| (Ipv6Addr::from_bits(a).into(), Ipv6Addr::from_bits(b).into())),
    ]
}

/// A tuple of any sort that can be tracked.
fn tuple() -> impl Strategy<Value = Tuple> {
    let kind = prop::sample::select(vec![TCP, UDP, SCTP, ICMP, 47, 50]);
    (address(), any::<(u16, u16)>(), any::<u16>(), kind, any::<bool>()).prop_map(
        |((source, destination), ports, zone, protocol, request)| {
            let (protocol, ports) = match (protocol, source.is_ipv4(), request) {
                (ICMP, true, true) => (ICMP, (ports.0, ECHO_REQUEST_V4)),
                (ICMP, true, false) => (ICMP, (ports.0, ECHO_REPLY_V4)),
                (ICMP, false, true) => (ICMPV6, (ports.0, ECHO_REQUEST_V6)),
                (ICMP, false, false) => (ICMPV6, (ports.0, ECHO_REPLY_V6)),
                (47 | 50, ..) => (protocol, (0, 0)),
                _ => (protocol, ports),
            };
            let parts = Parts {
                zone,
                protocol,
                source,
                destination,
                source_port: ports.0,
                destination_port: ports.1,
            };
            Tuple::new(&parts).expect("one family")
        },
    )
}

/// What a translation makes of a tuple, field by field as the edit does it to a packet.
fn applied(translation: Option<Translation>, tuple: Tuple) -> Tuple {
    let Some(translation) = translation else {
        return tuple;
    };
    let mut parts = tuple.parts();
    let (source, destination) = match translation.addresses {
        Addresses::V4(a, b) => (a.map(IpAddr::V4), b.map(IpAddr::V4)),
        Addresses::V6(a, b) => (a.map(IpAddr::V6), b.map(IpAddr::V6)),
    };
    parts.source = source.unwrap_or(parts.source);
    parts.destination = destination.unwrap_or(parts.destination);
    parts.source_port = translation.source.unwrap_or(parts.source_port);
    parts.destination_port = translation.destination.unwrap_or(parts.destination_port);
    Tuple::new(&parts).expect("one family")
}

proptest! {
    #[test]
    fn parts_come_back_and_the_reverse_is_its_own_inverse(tuple in tuple()) {
        prop_assert_eq!(Tuple::new(&tuple.parts()), Some(tuple));
        let back = tuple.reversed();
        prop_assert_eq!(back.reversed(), tuple);
        prop_assert_eq!((back.source(), back.destination()), (tuple.destination(), tuple.source()));
        prop_assert_eq!((back.zone(), back.protocol()), (tuple.zone(), tuple.protocol()));
        if tuple.echo().is_some() {
            prop_assert_eq!(back.source_port(), tuple.source_port());
            prop_assert_ne!(back.may_open(), tuple.may_open());
        } else {
            let ports = (tuple.destination_port(), tuple.source_port());
            prop_assert_eq!((back.source_port(), back.destination_port()), ports);
            prop_assert!(tuple.may_open());
        }
        prop_assert_eq!(Tuple::from_words(*tuple.words()), tuple);
    }

    #[test]
    fn a_parsed_packet_has_the_tuple_it_was_made_of(tuple in tuple()) {
        let packet = packet(&tuple);
        prop_assert_eq!(Tuple::of(&key(&packet, Depth::Transport), tuple.zone()), Some(tuple));
        prop_assert_eq!(Tuple::of(&key(&packet, Depth::Network), tuple.zone()), None);
    }

    #[test]
    fn an_error_quotes_the_same_tuple(tuple in tuple(), cut in 0_usize..70) {
        let packet = packet(&tuple);
        let header = packet.len() - 20;
        let quoted = Tuple::quoted(&packet[..cut.min(packet.len())], tuple.zone());
        let needs = match tuple.protocol() {
            TCP | UDP | SCTP => 4,
            ICMP | ICMPV6 => 6,
            _ => 0,
        };
        let expected = (cut >= header + needs).then_some(Quoted { tuple, l4: header });
        prop_assert_eq!(quoted, expected);
    }

    #[test]
    fn no_quoted_bytes_are_too_bad(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 4_u8..7) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }
        if let Some(quoted) = Tuple::quoted(&bytes, 1) {
            prop_assert!(quoted.tuple.zone() == 1 && quoted.l4 >= V4_HEADER);
        }
    }

    #[test]
    fn translated_there_and_back_is_the_same(original in tuple(), other in tuple(), ports: (u16, u16)) {
        // A connection through source and destination NAT at once.
        let mut sent = original;
        if other.is_v4() == original.is_v4() {
            sent = sent.with_source(other.source()).with_destination(other.destination());
        }
        if original.has_ports() {
            sent = sent.with_source_port(ports.0);
        }
        if original.has_ports() && original.echo().is_none() {
            sent = sent.with_destination_port(ports.1);
        }
        let reply = sent.reversed();
        prop_assert_eq!(applied(original.translation(&reply.reversed()), original), sent);
        prop_assert_eq!(applied(reply.translation(&original.reversed()), reply), original.reversed());
        prop_assert_eq!(original.translation(&original), None);
    }

    #[test]
    fn similar_tuples_spread_over_the_buckets(number: u64) {
        let seed = Seed::new(number);
        let mut buckets = [0_u32; 256];
        for flow in 0..16_384_u32 {
            let tuple = Tuple::new(&Parts {
                zone: 1,
                protocol: UDP,
                source: Ipv4Addr::from_bits(0x0a00_0002 + flow % 64).into(),
                destination: Ipv4Addr::new(10, 0, 1, 1).into(),
                source_port: 1024 + (flow / 64) as u16,
                destination_port: 53,
            })
            .unwrap();
            buckets[(seed.hash(&tuple) >> 56) as usize] += 1;
        }
        // 64 expected, standard deviation 8: six of them either way.
        prop_assert!(buckets.iter().all(|count| (16..=112).contains(count)), "{:?}", buckets);
    }
}

#[test]
fn what_has_no_connection_has_no_tuple() {
    let tcp = Tuple::new(&Parts {
        zone: 3,
        protocol: TCP,
        source: Ipv4Addr::new(10, 0, 0, 1).into(),
        destination: Ipv4Addr::new(10, 0, 0, 2).into(),
        source_port: 1000,
        destination_port: 80,
    })
    .unwrap();
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = packet(&tcp);
        edit(&mut packet);
        (Tuple::of(&key(&packet, Depth::Transport), 3), Tuple::quoted(&packet, 3).map(|quoted| quoted.tuple))
    };
    assert_eq!(edited(&|_| ()), (Some(tcp), Some(tcp)));
    assert_eq!(edited(&|packet| packet[6] = 0x20), (Some(tcp), Some(tcp)), "first fragment");
    assert_eq!(edited(&|packet| packet[7] = 5), (None, None), "later fragment");
    assert_eq!(edited(&|packet| packet[0] = 0x44), (None, None), "header too short");
    assert_eq!(edited(&|packet| packet[32] = 0x40).0, None, "TCP header too short");
    // ICMP: time exceeded has no connection, nor has an echo of another code.
    for (kind, code) in [(11, 0), (8, 1), (13, 0)] {
        let icmp = edited(&|packet| {
            packet[9] = ICMP;
            (packet[20], packet[21]) = (kind, code);
        });
        assert_eq!(icmp, (None, None), "{kind}/{code}");
    }
}

#[test]
fn a_quoted_ipv6_packet_may_have_extension_headers() {
    let tuple = Tuple::new(&Parts {
        zone: 0,
        protocol: UDP,
        source: "fd00::1".parse().unwrap(),
        destination: "fd00::2".parse().unwrap(),
        source_port: 5000,
        destination_port: 53,
    })
    .unwrap();
    let plain = packet(&tuple);
    let with = |first: u8, extensions: &[u8]| {
        let mut bytes = [&plain[..40], extensions, &plain[40..]].concat();
        bytes[6] = first;
        Tuple::quoted(&bytes, 0)
    };
    let hop = [ROUTING_HEADER, 0, 0, 0, 0, 0, 0, 0];
    let routing = [44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let first_fragment = [UDP, 0, 0, 1, 0, 0, 0, 9];
    let chain = [&hop[..], &routing, &first_fragment].concat();
    assert_eq!(with(0, &chain), Some(Quoted { tuple, l4: 72 }));
    let later_fragment = [UDP, 0, 0, 9, 0, 0, 0, 9];
    assert_eq!(with(44, &later_fragment), None);
    // Extension headers without end.
    assert_eq!(with(0, &[0_u8; 8 * 12]), None);
}
