//! Tunnels of each kind cut and put together again, and hostile bytes.

use proptest::prelude::*;

use super::*;
use crate::Mempool;
use crate::eal::{Eal, EalOptions, Memory};

const PAYLOAD: usize = 9001;

fn pools() -> Pools {
    use std::sync::OnceLock;
    static POOLS: OnceLock<Pools> = OnceLock::new();
    *POOLS.get_or_init(|| {
        let eal = Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 64 }, pci: false }).unwrap();
        let small = Mempool::new(eal, "small", 511, 2048).unwrap();
        Pools { small, large: Mempool::new(eal, "large", 63, 16384).unwrap() }
    })
}

fn ip(v6: bool, protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    if v6 {
        packet.extend([0x60, 0, 0, 0]);
        packet.extend((rest.len() as u16).to_be_bytes());
        packet.extend([protocol, 64]);
        packet.extend((1..=32).map(|at| at * 3));
    } else {
        packet.extend([0x45, 0]);
        packet.extend((20 + rest.len() as u16).to_be_bytes());
        packet.extend([0xff, 0xfe, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    packet.extend(rest);
    packet
}

fn ethernet(v6: bool, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    frame.extend(rest);
    frame
}

fn udp(checksum: bool, rest: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x12, 0x34, 0x12, 0xb5];
    datagram.extend((8 + rest.len() as u16).to_be_bytes());
    datagram.extend([0, u8::from(checksum)]);
    datagram.extend(rest);
    datagram
}

/// FIN, PSH, ACK and CWR set; sequence number near its end.
fn tcp(payload: usize) -> Vec<u8> {
    let mut segment = vec![0, 80, 0, 81, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 1, 0x50, 0x99, 1, 0, 0, 0, 0, 0];
    segment.extend((0..payload).map(|at| (at * 7) as u8));
    segment
}

/// A frame and what is in it.
struct Tunnel {
    name: &'static str,
    frame: Vec<u8>,
    /// Offset of the payload.
    payload: usize,
    outer_udp: bool,
    outer_v6: bool,
    inner_v6: bool,
    inner_udp: bool,
}

fn tunnels(payload: usize) -> Vec<Tunnel> {
    let mut tunnels = Vec::new();
    for (outer_v6, inner_v6, inner_udp) in
        [(false, false, false), (false, true, false), (true, false, true), (true, true, true)]
    {
        let inner = if inner_udp {
            let datagram = udp(true, &(0..payload).map(|at| (at * 7) as u8).collect::<Vec<_>>());
            ip(inner_v6, UDP, &datagram)
        } else {
            ip(inner_v6, headers::TCP, &tcp(payload))
        };
        let mut add = |name, protocol, between: &[u8], framed: bool| {
            let mut rest = between.to_vec();
            rest.extend(if framed { ethernet(inner_v6, &inner) } else { inner.clone() });
            let outer_udp = protocol == UDP;
            for checksum in if outer_udp { &[false, true][..] } else { &[false][..] } {
                let rest = if outer_udp { udp(*checksum, &rest) } else { rest.clone() };
                let frame = ethernet(outer_v6, &ip(outer_v6, protocol, &rest));
                let payload = frame.len() - payload;
                tunnels.push(Tunnel { name, frame, payload, outer_udp, outer_v6, inner_v6, inner_udp });
            }
        };
        add("vxlan", UDP, &[8, 0, 0, 0, 0, 0, 5, 0], true);
        add("geneve", UDP, &[2, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 1, 9, 9, 9, 9], true);
        add("fou", UDP, &[], false);
        add("gre", GRE, &[0, 0, 8, 0], false);
        add("keyed gretap", GRE, &[0x20, 0, 0x65, 0x58, 1, 2, 3, 4], true);
        add("ip in ip", if inner_v6 { IPV6_IN_IP } else { IPIP }, &[], false);
    }
    tunnels
}

impl Tunnel {
    /// Offset of the inner transport header.
    fn start(&self) -> usize {
        self.payload - if self.inner_udp { 8 } else { 20 }
    }

    fn gso(&self, size: u16) -> Gso {
        let kind = match (self.inner_udp, self.inner_v6) {
            (true, _) => GsoKind::Udp,
            (false, true) => GsoKind::TcpV6,
            (false, false) => GsoKind::TcpV4,
        };
        Gso { kind, size }
    }

    fn cut(&self, size: u16) -> Vec<Vec<u8>> {
        let field = if self.inner_udp { 6 } else { 16 };
        let frame = pools().small.frame(&self.frame).unwrap();
        let mut cutter = Cutter::new(frame, self.start() as u16, field, self.gso(size)).unwrap();
        let mut segments = Vec::new();
        while !cutter.is_done() {
            segments.push(cutter.next(pools()).unwrap().to_vec());
        }
        segments
    }
}

/// Length fields and checksums of the IP packet at `at` and its transport hold, a zero UDP checksum aside.
fn check(name: &str, segment: &[u8], at: usize, v6: bool, start: usize, protocol: Option<u8>) {
    let header = &segment[at..];
    let length =
        usize::from(u16::from_be_bytes(if v6 { [header[4], header[5]] } else { [header[2], header[3]] }));
    assert_eq!(length + if v6 { 40 } else { 0 }, segment.len() - at, "{name}: ip length");
    assert!(v6 || sum_of(&header[..20]) == 0xffff, "{name}: ip checksum");
    let Some(protocol) = protocol else { return };
    let transport = &segment[start..];
    if protocol == UDP {
        assert_eq!(
            usize::from(u16::from_be_bytes([transport[4], transport[5]])),
            transport.len(),
            "{name}: udp length"
        );
    }
    if protocol != UDP || transport[6..8] != [0, 0] {
        let pseudo = pseudo_header(header, v6, protocol, transport.len() as u32);
        let mut whole = transport.to_vec();
        whole.splice(0..0, pseudo.to_ne_bytes());
        assert_eq!(sum_of(&whole), 0xffff, "{name}: transport checksum");
    }
}

#[test]
fn every_tunnel_is_cut_into_packets_that_hold() {
    for size in [1400, 1448, 4000, 9000] {
        for tunnel in tunnels(PAYLOAD) {
            let (name, payload, start) = (tunnel.name, tunnel.payload, tunnel.start());
            let segments = tunnel.cut(size);
            assert_eq!(segments.len(), PAYLOAD.div_ceil(usize::from(size)));
            let inner_at = start - if tunnel.inner_v6 { 40 } else { 20 };
            let outer_start = 14 + if tunnel.outer_v6 { 40 } else { 20 };
            for (number, segment) in segments.iter().enumerate() {
                let inner = if tunnel.inner_udp { UDP } else { headers::TCP };
                check(name, segment, inner_at, tunnel.inner_v6, start, Some(inner));
                check(name, segment, 14, tunnel.outer_v6, outer_start, tunnel.outer_udp.then_some(UDP));
                if tunnel.outer_udp {
                    let none = |frame: &[u8]| frame[outer_start + 6..outer_start + 8] == [0, 0];
                    assert_eq!(none(segment), none(&tunnel.frame), "{name}: a checksum came or went");
                }
                if !tunnel.inner_udp {
                    let tcp = &segment[start..];
                    let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
                    assert_eq!(
                        sequence,
                        0xffff_fff0u32.wrapping_add(number as u32 * u32::from(size)),
                        "{name}"
                    );
                    let (first, last) = (number == 0, number + 1 == segments.len());
                    let flags = 0x10 | if first { CWR } else { 0 } | if last { FIN | PSH } else { 0 };
                    assert_eq!(tcp[13], flags, "{name}");
                }
                if !tunnel.outer_v6 {
                    assert_eq!(
                        segment[18..20],
                        0xfffeu16.wrapping_add(number as u16).to_be_bytes(),
                        "{name}: ip id"
                    );
                }
            }
            let together: Vec<u8> =
                segments.iter().flat_map(|segment| &segment[payload..]).copied().collect();
            assert!(together == tunnel.frame[payload..], "{name}: payload changed");
        }
    }
}

#[test]
fn what_differs_between_segments_in_an_unknown_way_is_refused() {
    let inner = ip(false, headers::TCP, &tcp(3000));
    let refused = |protocol: u8, between: &[u8], why: &str| {
        let mut rest = between.to_vec();
        rest.extend(&inner);
        let frame = ethernet(false, &ip(false, protocol, &rest));
        let start = (frame.len() - 3020) as u16;
        let frame = pools().small.frame(&frame).unwrap();
        let gso = Gso { kind: GsoKind::TcpV4, size: 1400 };
        assert!(Cutter::new(frame, start, 16, gso).is_err(), "{why}");
    };
    refused(GRE, &[0x80, 0, 8, 0, 0, 0, 0, 0], "a gre checksum");
    refused(GRE, &[0x10, 0, 8, 0, 0, 0, 0, 0], "a gre sequence number");
    refused(99, &[], "an unknown protocol");
    let nested = udp(false, &ethernet(false, &ip(false, UDP, &udp(false, &[8, 0, 0, 0, 0, 0, 1, 0]))));
    refused(UDP, &nested, "a tunnel in a tunnel");
}

#[test]
fn with_no_buffers_left_nothing_is_lost() {
    let tunnel = tunnels(PAYLOAD).swap_remove(0);
    let frame = pools().small.frame(&tunnel.frame).unwrap();
    let mut cutter = Cutter::new(frame, tunnel.start() as u16, 16, tunnel.gso(1400)).unwrap();
    let mut hoard = Vec::new();
    while let Some(frame) = pools().small.alloc() {
        hoard.push(frame);
    }
    assert!(cutter.next(pools()).is_none());
    drop(hoard);
    let mut together: Vec<u8> = Vec::new();
    while !cutter.is_done() {
        together.extend(&cutter.next(pools()).unwrap().to_vec()[tunnel.payload..]);
    }
    assert!(together == tunnel.frame[tunnel.payload..]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    /// Whatever bytes: refused, or cut into pieces that hold the same payload.
    #[test]
    fn any_bytes_are_refused_or_cut(
        which in any::<prop::sample::Index>(),
        noise in proptest::collection::vec((0..120usize, any::<u8>()), 0..4),
        start in prop_oneof![4 => Just(None), 1 => (0..400u16).prop_map(Some)],
        kind in prop_oneof![Just(GsoKind::TcpV4), Just(GsoKind::TcpV6), Just(GsoKind::Udp)],
        size in prop_oneof![200..3000u16, any::<u16>()],
        keep in prop_oneof![4 => Just(usize::MAX), 1 => 1..400usize],
    ) {
        let all = tunnels(700);
        let tunnel = which.get(&all);
        let mut bytes = tunnel.frame.clone();
        for (at, byte) in noise {
            bytes[at] = byte;
        }
        bytes.truncate(keep);
        let start = start.unwrap_or(tunnel.start() as u16);
        let field = if kind == GsoKind::Udp { 6 } else { 16 };
        let frame = pools().small.frame(&bytes).unwrap();
        if let Ok(mut cutter) = Cutter::new(frame, start, field, Gso { kind, size }) {
            let mut count = 0;
            while !cutter.is_done() {
                prop_assert!(cutter.next(pools()).is_some());
                count += 1;
                prop_assert!(count <= bytes.len());
            }
        }
    }
}
