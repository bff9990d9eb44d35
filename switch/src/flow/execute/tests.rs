//! Oracles: `etherparse`, which reads every packet back and computes every checksum anew; a bitwise CRC32c for SCTP, which it
//! does not know; and identities.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use etherparse::{IpNumber, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::offload::{Checksum as State, Offload};

use super::translate::Addresses;
use super::*;
use crate::drop::DropReason;
use crate::encap::Entropy;
use crate::flow::Depth;
use crate::flow::actions::Verdict;
use crate::flow::parse::parse;
use crate::ids::PortId;
use crate::state::Tuple;
use crate::state::tuple::Parts;
use crate::wire::checksum::Sum;
use crate::wire::crc32c::tests::of_packet;
use crate::wire::ethernet::Mac;
use crate::wire::protocol::{ICMP, SCTP, TCP, UDP};

fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 64 };
        let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
        Mempool::new(eal, "edits", 256, 2048).expect("memory for a small pool")
    })
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    Udp,
    Sctp,
    Echo,
}

#[derive(Clone, Debug)]
struct Sample {
    kind: Kind,
    v6: bool,
    tag: bool,
    addresses: ([u8; 16], [u8; 16]),
    ports: (u16, u16),
    payload: Vec<u8>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let kind = prop::sample::select(vec![Kind::Tcp, Kind::Udp, Kind::Sctp, Kind::Echo]);
    let payload = prop::collection::vec(any::<u8>(), 0..60);
    (kind, any::<bool>(), any::<bool>(), any::<([u8; 16], [u8; 16])>(), any::<(u16, u16)>(), payload)
        .prop_map(|(kind, v6, tag, addresses, ports, payload)| Sample {
            kind,
            v6,
            tag,
            addresses,
            ports,
            payload,
        })
}

impl Sample {
    fn bytes(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let (a, b) = self.addresses;
        let [a4, b4] = [a, b].map(|address| [address[0], address[1], address[2], address[3]]);
        let ip = match (self.tag, self.v6) {
            (false, false) => link.ipv4(a4, b4, 64),
            (false, true) => link.ipv6(a, b, 64),
            (true, false) => link.single_vlan(etherparse::VlanId::try_new(100).unwrap()).ipv4(a4, b4, 64),
            (true, true) => link.single_vlan(etherparse::VlanId::try_new(100).unwrap()).ipv6(a, b, 64),
        };
        let mut bytes = Vec::new();
        let (source, destination) = self.ports;
        match self.kind {
            Kind::Tcp => ip.tcp(source, destination, 7, 1024).write(&mut bytes, &self.payload),
            Kind::Udp => ip.udp(source, destination).write(&mut bytes, &self.payload),
            Kind::Sctp => ip.write(&mut bytes, IpNumber::SCTP, &sctp(self.ports, &self.payload)),
            Kind::Echo if self.v6 => ip.icmpv6_echo_request(source, 3).write(&mut bytes, &self.payload),
            Kind::Echo => ip.icmpv4_echo_request(source, 3).write(&mut bytes, &self.payload),
        }
        .unwrap();
        bytes
    }
}

/// An SCTP packet with its checksum.
fn sctp((source, destination): (u16, u16), chunks: &[u8]) -> Vec<u8> {
    let mut packet =
        [&source.to_be_bytes(), &destination.to_be_bytes(), [7; 4].as_slice(), &[0; 4], chunks].concat();
    let checksum = of_packet(&packet);
    packet[8..12].copy_from_slice(&checksum);
    packet
}

/// True when every checksum in the packet is the one that `etherparse` computes.
fn checksums_hold(bytes: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let payload = packet.ip_payload().unwrap().payload;
    let pseudo = |protocol: u8| match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
            Sum::pseudo_v4(ip.header().source(), ip.header().destination(), protocol, payload.len() as u16)
        }
        NetSlice::Ipv6(ip) => {
            Sum::pseudo_v6(ip.header().source(), ip.header().destination(), protocol, payload.len() as u32)
        }
        NetSlice::Arp(_) => unreachable!(),
    };
    let Some(transport) = &packet.transport else {
        let _ = pseudo(SCTP);
        return payload[8..12] == of_packet(payload);
    };
    let whole = match transport {
        TransportSlice::Tcp(_) => pseudo(6),
        TransportSlice::Udp(_) => pseudo(17),
        TransportSlice::Icmpv6(_) => pseudo(58),
        // No pseudo header; the IP header's checksum is looked at all the same.
        TransportSlice::Icmpv4(_) | TransportSlice::Igmp(_) => {
            let _ = pseudo(1);
            Sum::new()
        }
    };
    whole.bytes(payload).value() == 0xffff
}

fn layout(bytes: &[u8]) -> Layout {
    parse(bytes, bytes.len() as u32, PortId::new(0).unwrap(), Depth::Transport).unwrap().1
}

/// Gives the IPv4 header in `header` a TTL, and the checksum that goes with it.
fn set_ttl(header: &mut [u8], ttl: u8) {
    header[TTL] = ttl;
    header[CHECKSUM..][..2].fill(0);
    let checksum = Sum::new().bytes(&header[..20]).checksum();
    header[CHECKSUM..][..2].copy_from_slice(&checksum.to_be_bytes());
}

fn with(edits: Edits) -> Actions {
    Actions { edits, ..Actions::unchanged(Verdict::Consume) }
}

fn translation(
    v6: bool,
    to: ([u8; 16], [u8; 16]),
    ports: (Option<u16>, Option<u16>),
    both: bool,
) -> Translation {
    let addresses = if v6 {
        Addresses::V6(Some(Ipv6Addr::from(to.0)), both.then(|| Ipv6Addr::from(to.1)))
    } else {
        let short = |bytes: [u8; 16]| Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
        Addresses::V4(Some(short(to.0)), both.then(|| short(to.1)))
    };
    Translation { addresses, source: ports.0, destination: ports.1 }
}

/// The partial state that a kernel would give the frame, and the field as a kernel leaves it.
fn make_partial(frame: &mut Mbuf, sample: &Sample, layout: Layout) {
    let (offset, protocol) = match sample.kind {
        Kind::Tcp => (16, 6),
        Kind::Udp => (6, 17),
        Kind::Sctp | Kind::Echo => return,
    };
    let bytes = frame.to_vec();
    let (l3, l4) = (usize::from(layout.l3), usize::from(layout.l4));
    let length = bytes.len() - l4;
    let sum = if sample.v6 {
        let at = |from: usize| -> [u8; 16] { bytes[l3 + from..l3 + from + 16].try_into().unwrap() };
        Sum::pseudo_v6(at(8), at(24), protocol, length as u32)
    } else {
        let at = |from: usize| -> [u8; 4] { bytes[l3 + from..l3 + from + 4].try_into().unwrap() };
        Sum::pseudo_v4(at(12), at(16), protocol, length as u16)
    };
    let field = l4 + usize::from(offset);
    frame.data_mut()[field..field + 2].copy_from_slice(&sum.value().to_be_bytes());
    frame.set_offload(Offload { checksum: State::Partial { start: layout.l4, offset }, gso: None }).unwrap();
}

/// Completes what [`make_partial`] left open.
fn complete(frame: &mut Mbuf) {
    let State::Partial { start, offset } = frame.offload().unwrap().checksum else { return };
    let (start, field) = (usize::from(start), usize::from(start + offset));
    let sum = Sum::new().bytes(&frame.to_vec()[start..]).checksum();
    frame.data_mut()[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    frame.clear_offload();
}

/// In what a packet is unlike most.
#[derive(Clone, Copy, Debug)]
enum Unlike {
    Partial,
    Unsummed,
    Pieces,
}

impl Unlike {
    /// The frames that the packet of `sample` in `bytes` comes as.
    fn pieces(self, mut bytes: Vec<u8>, sample: &Sample, id: u32) -> Vec<Vec<u8>> {
        match self {
            Self::Unsummed if matches!(sample.kind, Kind::Udp) => {
                let at = usize::from(layout(&bytes).l4) + 6;
                bytes[at..at + 2].fill(0);
                vec![bytes]
            }
            Self::Partial | Self::Unsummed => vec![bytes],
            // A TCP header fits into the first.
            Self::Pieces => shunt_tests::frames::cut::cut(&bytes, 24, id),
        }
    }
}

proptest! {
    #[test]
    fn the_checksum_follows_the_ttl(mut header: [u8; 20], ttl in 1_u8..) {
        header[TTL] = ttl;
        [header[CHECKSUM], header[CHECKSUM + 1]] = [0, 0];
        let checksum = Sum::new().bytes(&header).checksum();
        [header[CHECKSUM], header[CHECKSUM + 1]] = checksum.to_be_bytes();
        decrement_ttl(Some(&mut header)).unwrap();
        prop_assert_eq!(header[TTL], ttl - 1);
        prop_assert_eq!(Sum::new().bytes(&header).value(), 0xffff);
    }

    #[test]
    fn a_translated_packet_is_the_packet_that_was_meant(
        sample in sample(), to: ([u8; 16], [u8; 16]), ports: (Option<u16>, Option<u16>), both: bool, partial: bool,
    ) {
        let bytes = sample.bytes();
        let layout = layout(&bytes);
        let mut frame = pool().frame(&bytes).unwrap();
        if partial {
            make_partial(&mut frame, &sample, layout);
        }
        let rewrites = Rewrites { translations: [translation(sample.v6, to, ports, both)].into(), ..Rewrites::default() };
        edit(&with(Edits::TRANSLATE), layout, &rewrites, &mut frame).unwrap();
        complete(&mut frame);
        let edited = frame.to_vec();
        prop_assert!(checksums_hold(&edited));
        let destination = if both { to.1 } else { sample.addresses.1 };
        let echo = matches!(sample.kind, Kind::Echo);
        let meant = Sample {
            addresses: (to.0, destination),
            ports: (
                ports.0.unwrap_or(sample.ports.0),
                if echo { sample.ports.1 } else { ports.1.unwrap_or(sample.ports.1) },
            ),
            ..sample
        };
        prop_assert_eq!(edited, meant.bytes());
    }

    /// The way of the usual packet comes to what the way for every packet does, or leaves it alone.
    #[test]
    fn the_usual_packet_is_translated_as_every_other(
        sample in sample(), to: ([u8; 4], [u8; 4]), ports: (u16, u16), unsummed: bool, partial: bool,
        routed: bool, ttl in 0_u8..3,
    ) {
        let mut bytes = sample.bytes();
        let layout = layout(&bytes);
        let protocol = match sample.kind {
            Kind::Tcp => TCP,
            Kind::Udp => UDP,
            Kind::Sctp => SCTP,
            Kind::Echo => ICMP,
        };
        if unsummed && matches!(sample.kind, Kind::Udp) {
            bytes[usize::from(layout.l4) + 6..][..2].fill(0);
        }
        let mut actions = with(if routed { Edits::TTL } else { Edits::NONE });
        if routed {
            actions.set_macs(Mac(0x0200_0000_0003), Mac(0x0200_0000_0004));
        }
        if !sample.v6 {
            set_ttl(&mut bytes[usize::from(layout.l3)..], ttl);
        }
        let [mut one, mut other] = [(), ()].map(|()| pool().frame(&bytes).unwrap());
        if partial {
            make_partial(&mut one, &sample, layout);
        }
        let translated = Tuple::new(&Parts {
            zone: 1,
            protocol,
            source: to.0.into(),
            destination: to.1.into(),
            source_port: ports.0,
            destination_port: if matches!(sample.kind, Kind::Echo) { 8 << 8 } else { ports.1 },
        }).unwrap();
        // A TTL of 0 is nothing usual: where it is decremented, it stays.
        let usual = !(sample.v6 || partial || matches!(sample.kind, Kind::Sctp | Kind::Echo) || routed && ttl == 0);
        let before = one.to_vec();
        prop_assert_eq!(straight::rewrite(&translated.reversed(), &actions, layout, &mut one), usual);
        if usual {
            let [source, destination] = [to.0, to.1].map(|address| Some(address.into()));
            let (source_port, destination_port) = (Some(ports.0), Some(ports.1));
            let translation = Translation {
                addresses: Addresses::V4(source, destination), source: source_port, destination: destination_port,
            };
            translation.apply(layout, &mut other).unwrap();
            edit_headers(&actions, layout, other.data_mut()).unwrap();
            prop_assert_eq!(one.to_vec(), other.to_vec());
        } else {
            prop_assert_eq!(one.to_vec(), before);
        }
    }

    #[test]
    fn there_and_back_is_where_it_was(sample in sample(), to: ([u8; 16], [u8; 16]), ports: (u16, u16)) {
        let bytes = sample.bytes();
        let layout = layout(&bytes);
        let there = translation(sample.v6, to, (Some(ports.0), Some(ports.1)), true);
        let back = translation(sample.v6, sample.addresses, (Some(sample.ports.0), Some(sample.ports.1)), true);
        let rewrites = Rewrites { translations: [there, back].into(), ..Rewrites::default() };
        let mut frame = pool().frame(&bytes).unwrap();
        for translation in 0..2 {
            let actions = Actions { translation, ..with(Edits::TRANSLATE) };
            edit(&actions, layout, &rewrites, &mut frame).unwrap();
        }
        prop_assert_eq!(frame.to_vec(), bytes);
    }

    /// The same of what is left to the port to finish, of what has no checksum, and of what comes in pieces: the first of them
    /// has the ports, and the checksum of all. In between it is what was meant.
    #[test]
    fn there_and_back_is_where_it_was_in_whatever_state(
        sample in sample(), to: ([u8; 16], [u8; 16]), ports: (u16, u16),
        state in prop::sample::select(vec![Unlike::Partial, Unlike::Unsummed, Unlike::Pieces]), id: u32,
    ) {
        let sample = Sample { tag: false, ..sample };
        let echo = matches!(sample.kind, Kind::Echo);
        let meant = Sample { addresses: to, ports: (ports.0, if echo { sample.ports.1 } else { ports.1 }), ..sample.clone() };
        let [bytes, meant] = [&sample, &meant].map(|it| state.pieces(it.bytes(), &sample, id));
        let there = translation(sample.v6, to, (Some(ports.0), Some(ports.1)), true);
        let back = translation(sample.v6, sample.addresses, (Some(sample.ports.0), Some(sample.ports.1)), true);
        let mut translated = Vec::new();
        for bytes in &bytes {
            let layout = layout(bytes);
            let mut frame = pool().frame(bytes).unwrap();
            if matches!(state, Unlike::Partial) {
                make_partial(&mut frame, &sample, layout);
            }
            let before = (frame.to_vec(), frame.offload().unwrap());
            if let Err(reason) = there.apply(layout, &mut frame) {
                // Ports are in the CRC32c of SCTP, which is of the whole packet: a first piece goes nowhere rather than wrong.
                prop_assert!(matches!((&sample.kind, &state), (Kind::Sctp, Unlike::Pieces)), "{reason:?}");
                prop_assert_eq!((reason, frame.to_vec()), (DropReason::FragmentChecksum, before.0));
                return Ok(());
            }
            let mut copy = pool().frame(&frame.to_vec()).unwrap();
            copy.set_offload(frame.offload().unwrap()).unwrap();
            complete(&mut copy);
            translated.push(copy.to_vec());
            back.apply(layout, &mut frame).unwrap();
            prop_assert_eq!((frame.to_vec(), frame.offload().unwrap()), before);
        }
        prop_assert_eq!(translated, meant);
    }

    #[test]
    fn a_tag_comes_and_goes_and_the_offload_state_follows(sample in sample(), tci: u16, service: bool, partial: bool) {
        let bytes = sample.bytes();
        let mut frame = pool().frame(&bytes).unwrap();
        if partial {
            make_partial(&mut frame, &sample, layout(&bytes));
        }
        let before = (frame.to_vec(), frame.offload().unwrap());
        let push = if service { Edits::PUSH_VLAN.and(Edits::SERVICE_TAG) } else { Edits::PUSH_VLAN };
        edit(&Actions { tci, ..with(push) }, Layout::default(), &Rewrites::default(), &mut frame).unwrap();
        let tagged = frame.to_vec();
        let tpid = if service { [0x88, 0xa8] } else { [0x81, 0] };
        prop_assert_eq!(&tagged[..12], &bytes[..12]);
        prop_assert_eq!(&tagged[12..16], &[tpid, tci.to_be_bytes()].concat());
        prop_assert_eq!(&tagged[16..], &before.0[12..]);
        if let State::Partial { start, .. } = before.1.checksum {
            let moved = matches!(frame.offload().unwrap().checksum, State::Partial { start: now, .. } if now == start + 4);
            prop_assert!(moved);
        }
        edit(&with(Edits::POP_VLAN), Layout::default(), &Rewrites::default(), &mut frame).unwrap();
        prop_assert_eq!((frame.to_vec(), frame.offload().unwrap()), before);
    }

    #[test]
    fn a_tunnel_tells_flows_apart_whatever_becomes_of_the_tag(sample in sample(), tci: u16) {
        let bytes = sample.bytes();
        let (key, layout) = parse(&bytes, bytes.len() as u32, PortId::new(0).unwrap(), Depth::Network).unwrap();
        let entropy = Entropy::of(&key);
        let both = Edits::POP_VLAN.and(Edits::PUSH_VLAN);
        for edits in if sample.tag { [Edits::POP_VLAN, both] } else { [Edits::NONE, Edits::PUSH_VLAN] } {
            let actions = Actions { tci, ..with(edits) };
            let mut frame = pool().frame(&bytes).unwrap();
            edit(&actions, layout, &Rewrites::default(), &mut frame).unwrap();
            prop_assert_eq!(
                entropy.at(vlan::edited(&actions, layout), frame.data()),
                entropy.at(layout, &bytes)
            );
        }
    }
}

#[test]
fn what_cannot_be_edited_is_dropped_with_its_reason() {
    let frame = |bytes: &[u8]| pool().frame(bytes).unwrap();
    let none = Rewrites::default();
    let run = |edits: Edits, mut frame: Mbuf| edit(&with(edits), Layout::default(), &none, &mut frame);
    assert_eq!(run(Edits::POP_VLAN, frame(&[0; 60])), Err(DropReason::NoTag));
    assert_eq!(
        run(Edits::POP_VLAN, frame(&[[0_u8; 12].as_slice(), &[0x81, 0, 0]].concat())),
        Err(DropReason::NoTag)
    );
    assert_eq!(run(Edits::TRANSLATE, frame(&[0; 60])), Err(DropReason::NoRewrite));
    assert_eq!(run(Edits::ENCAP, frame(&[0; 60])), Err(DropReason::NoRewrite));
    assert_eq!(run(Edits::TTL, frame(&[0; 11])), Err(DropReason::BadIpHeader));
    assert_eq!(run(Edits::HOP_LIMIT, frame(&[0; 5])), Err(DropReason::BadIpHeader));
    assert_eq!(run(Edits::MACS, frame(&[0; 11])), Err(DropReason::Runt));
    let mut full = frame(&[0; 60]);
    while full.prepend(1).is_some() {}
    assert_eq!(run(Edits::PUSH_VLAN, full), Err(DropReason::NoHeadroom));
}

/// A translation to other ports, of either family.
fn renaming(v6: bool) -> Rewrites {
    let there = translation(v6, ([9; 16], [8; 16]), (Some(61_000), Some(38_412)), true);
    Rewrites { translations: [there].into(), ..Rewrites::default() }
}

fn long_sctp(v6: bool) -> Sample {
    let payload = (0..5000_u32).map(|at| (at * at) as u8).collect();
    Sample { kind: Kind::Sctp, v6, tag: false, addresses: ([1; 16], [2; 16]), ports: (5000, 2905), payload }
}

#[test]
fn sctp_in_several_buffers_gets_the_checksum_of_all_of_it() {
    for v6 in [false, true] {
        let sample = long_sctp(v6);
        let bytes = sample.bytes();
        // What is behind the packet is padding, and counts in no checksum.
        for padding in [0, 7] {
            let mut frame = pool().frame(&[bytes.as_slice(), &vec![0xee; padding]].concat()).unwrap();
            assert!(frame.segment_count() > 1);
            edit(&with(Edits::TRANSLATE), layout(&bytes), &renaming(v6), &mut frame).unwrap();
            let meant = Sample { addresses: ([9; 16], [8; 16]), ports: (61_000, 38_412), ..sample.clone() };
            assert_eq!(frame.to_vec()[..bytes.len()], meant.bytes());
        }
    }
}

#[test]
fn a_wrong_checksum_of_sctp_stays_as_wrong_as_it_was() {
    for v6 in [false, true] {
        let mut bytes = long_sctp(v6).bytes();
        let at = usize::from(layout(&bytes).l4);
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
        let mut frame = pool().frame(&bytes).unwrap();
        edit(&with(Edits::TRANSLATE), layout(&bytes), &renaming(v6), &mut frame).unwrap();
        let mut edited = frame.to_vec();
        assert_ne!(edited[at + 8..at + 12], of_packet(&edited[at..]));
        edited[last] ^= 4;
        assert_eq!(edited[at + 8..at + 12], of_packet(&edited[at..]));
    }
}

#[test]
fn a_first_fragment_of_sctp_keeps_its_ports_or_goes_nowhere() {
    let mut v4 = long_sctp(false).bytes();
    v4[20] |= 0x20;
    set_ttl(&mut v4[14..], 64);
    // A fragment header (RFC 8200 section 4.5) with "more fragments", and one that has none: that is the whole packet.
    let v6 = |more: u8| {
        let bytes = long_sctp(true).bytes();
        let mut cut = [&bytes[..54], &[132, 0, 0, more, 0, 0, 0, 1], &bytes[54..]].concat();
        cut[20] = 44;
        let length = cut.len() as u16 - 54;
        cut[18..20].copy_from_slice(&length.to_be_bytes());
        cut
    };
    for (bytes, is_v6, expected) in [
        (v4, false, Err(DropReason::FragmentChecksum)),
        (v6(1), true, Err(DropReason::FragmentChecksum)),
        (v6(0), true, Ok(())),
    ] {
        let layout = layout(&bytes);
        let mut frame = pool().frame(&bytes).unwrap();
        assert_eq!(edit(&with(Edits::TRANSLATE), layout, &renaming(is_v6), &mut frame), expected);
        let edited = frame.to_vec();
        if expected.is_err() {
            assert_eq!(edited, bytes, "nothing was begun");
        } else {
            let packet = &edited[usize::from(layout.l4)..];
            assert_eq!(packet[8..12], of_packet(packet));
        }
        // Addresses are in no checksum of SCTP.
        let moved = translation(is_v6, ([9; 16], [8; 16]), (None, None), true);
        let rewrites = Rewrites { translations: [moved].into(), ..Rewrites::default() };
        let mut frame = pool().frame(&bytes).unwrap();
        assert_eq!(edit(&with(Edits::TRANSLATE), layout, &rewrites, &mut frame), Ok(()));
        assert_eq!(frame.to_vec()[usize::from(layout.l4)..], bytes[usize::from(layout.l4)..]);
    }
}
