//! Fragments through the forwarder of a masqueraded network: the same topology as the tests of connections have.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use shunt_ffi::Burst;
use shunt_tests::frames::cut::{cut, join, piece};
use shunt_tests::frames::{Body, Frame, Ipv4, Payload, Piece as Part4, Transport};

use super::super::connect::tests::{INSIDE, MASQUERADE, OUTSIDE, gateway_mac, masqueraded, station};
use super::super::tests::{forwarder, pool};
use super::*;
use crate::flow::execute;
use crate::state::{Limits, Size, Table};

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// Out of that port, as these bytes.
    Out(usize, Vec<u8>),
    Lost(DropReason),
    Waits,
}

struct Lab {
    forwarder: Forwarder,
    topology: Topology,
    now: u32,
}

impl Lab {
    fn new() -> Self {
        let table = Table::new(Size { capacity: 1024, threads: 2, limits: Limits::NONE }, 3).unwrap();
        Self { forwarder: forwarder(4096), topology: masqueraded(Arc::new(table)), now: 0 }
    }

    fn send(&mut self, side: usize, bytes: &[u8]) -> Sent {
        let Self { forwarder, topology, now } = self;
        let (port, counters) = (PortId::new(side).unwrap(), WorkerCounters::new());
        let (inlet, changed) = (topology.inlet(port), topology.stamps().ingress(port));
        let scene =
            Scene { topology, port, inlet, ours: counters.port(port), now: *now, changed, storm: None };
        let (mut flows, mut burst) = ([Flow::default()], Burst::new());
        burst.push(pool().frame(bytes).unwrap()).unwrap();
        forwarder.parse(&scene, &burst, &mut flows);
        forwarder.find(&mut flows);
        let [flow] = flows;
        let mut frame = burst.pop().unwrap();
        assert!(forwarder.hit(&scene, &flow, &mut frame).is_none(), "no fragment is ever cached");
        let Err(decided) = forwarder.miss(&scene, &flow, &mut frame) else {
            panic!("a decision about a fragment was kept")
        };
        if matches!(decided.part, Part::Awaits) {
            forwarder.finish(&scene, &decided, &flow, frame);
            let lost = scene.ours.drops(DropReason::FragmentRoom) == 1;
            return if lost { Sent::Lost(DropReason::FragmentRoom) } else { Sent::Waits };
        }
        match decided.actions.verdict {
            Verdict::Drop(reason) | Verdict::Reject(reason, _) => return Sent::Lost(reason),
            _ => {}
        }
        let Verdict::Port(to) = decided.actions.verdict else { panic!("{:?}", decided.actions) };
        forwarder.track(&scene, &decided.actions, &flow, &frame).unwrap();
        execute::edit(&decided.actions, flow.layout, topology.rewrites(), &mut frame).unwrap();
        Sent::Out(to.index(), frame.to_vec())
    }

    /// Tries again what waits; how many packets were sent out of `port`, which has no queue here, and says so.
    fn retry(&mut self, port: usize) -> u64 {
        let port = PortId::new(port).unwrap();
        let counters = self.forwarder.counters.clone();
        let before = counters.port(port).drops(DropReason::EgressDown);
        self.forwarder.retry(&self.topology, self.now, &counters);
        counters.port(port).drops(DropReason::EgressDown) - before
    }
}

/// A datagram of 3,000 bytes from a pod, whose frame is longer than any link takes.
fn datagram(from: [u8; 4], to: [u8; 4], ports: (u16, u16), side: usize) -> Vec<u8> {
    let ip = Ipv4 {
        source: from,
        destination: to,
        class: 0,
        ttl: 64,
        id: 0,
        whole: false,
        piece: Part4::default(),
        options: 0,
    };
    let transport = Transport::Udp(ports.0, ports.1, true);
    let payload = Payload { transport, data: (0..=255).cycle().take(3000).collect() };
    let (dst, src) = (gateway_mac(side).bytes(), [2, 0, 0, 0, side as u8, from[3]]);
    Frame { dst, src, body: Body::Ipv4(ip, payload), ..Frame::plain() }.bytes()
}

fn to_world(pod: u8, port: u16) -> Vec<u8> {
    datagram(station(INSIDE, pod).0, station(OUTSIDE, 1).0, (port, 53), INSIDE)
}

/// Source, destination and ports of a datagram whose checksums are right.
fn sound(frame: &[u8]) -> ([u8; 4], [u8; 4], (u16, u16)) {
    let packet = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4") };
    let Some(etherparse::TransportSlice::Udp(udp)) = &packet.transport else { panic!("not UDP") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(udp.checksum(), udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap());
    (header.source, header.destination, (udp.source_port(), udp.destination_port()))
}

#[test]
fn all_fragments_of_a_datagram_are_translated_alike_in_both_directions() {
    let mut lab = Lab::new();
    let out = |sent: Sent, side: usize| match sent {
        Sent::Out(to, bytes) if to == side => bytes,
        other => panic!("{other:?}"),
    };
    let pieces = cut(&to_world(1, 5000), 1024, 77);
    let sent: Vec<_> = pieces.iter().map(|piece| out(lab.send(INSIDE, piece), OUTSIDE)).collect();
    let (source, destination, ports) = sound(&join(&sent).unwrap());
    assert_eq!((source, destination, ports), (MASQUERADE, station(OUTSIDE, 1).0, (5000, 53)));
    let answer = datagram(destination, MASQUERADE, (53, 5000), OUTSIDE);
    let back: Vec<_> =
        cut(&answer, 1024, 78).iter().map(|piece| out(lab.send(OUTSIDE, piece), INSIDE)).collect();
    assert_eq!(sound(&join(&back).unwrap()), (destination, station(INSIDE, 1).0, (53, 5000)));
    assert_eq!(lab.forwarder.counters.flows.entered.get(), 0);
}

#[test]
fn later_fragments_of_two_datagrams_between_the_same_hosts_are_not_confused() {
    let mut lab = Lab::new();
    let pieces = [(1, 5000), (2, 5000)].map(|(pod, port)| cut(&to_world(pod, port), 1024, 77));
    let mut sent = [Vec::new(), Vec::new()];
    // By turns; both have the same address outside then, and the second got another port.
    for number in 0..pieces[0].len() {
        for (pieces, sent) in pieces.iter().zip(&mut sent) {
            let Sent::Out(OUTSIDE, bytes) = lab.send(INSIDE, &pieces[number]) else { panic!("lost") };
            sent.push(bytes);
        }
    }
    let ports = sent.map(|sent| sound(&join(&sent).unwrap()).2.0);
    assert_eq!(ports[0], 5000);
    assert_ne!(ports[1], 5000);
}

#[test]
fn later_fragments_wait_for_the_first_one() {
    let mut lab = Lab::new();
    let pieces = cut(&to_world(1, 5000), 1024, 77);
    assert_eq!(lab.send(INSIDE, &pieces[2]), Sent::Waits);
    assert_eq!(lab.send(INSIDE, &pieces[1]), Sent::Waits);
    assert_eq!((lab.retry(OUTSIDE), lab.forwarder.lingering.len()), (0, 2));
    assert!(matches!(lab.send(INSIDE, &pieces[0]), Sent::Out(OUTSIDE, _)));
    assert_eq!((lab.retry(OUTSIDE), lab.forwarder.lingering.len()), (2, 0));
    assert_eq!(lab.topology.fragments().unwrap().open(0), 0);
}

#[test]
fn what_waits_in_vain_is_given_up() {
    let mut lab = Lab::new();
    let later = &cut(&to_world(1, 5000), 1024, 77)[1];
    assert_eq!(lab.send(INSIDE, later), Sent::Waits);
    let ours = lab.forwarder.counters.clone();
    let lost = || ours.port(PortId::new(INSIDE).unwrap()).drops(DropReason::FragmentNoFirst);
    lab.now = 1;
    assert_eq!((lab.retry(OUTSIDE), lost(), lab.forwarder.lingering.len()), (0, 0, 1));
    lab.now = 2;
    assert_eq!((lab.retry(OUTSIDE), lost(), lab.forwarder.lingering.len()), (0, 1, 0));
    // The queue it came by goes.
    assert_eq!(lab.send(INSIDE, &cut(&to_world(1, 5000), 1024, 78)[1]), Sent::Waits);
    lab.forwarder.forget_lingering(&lab.topology, PortId::new(INSIDE).unwrap());
    assert_eq!((lost(), lab.forwarder.is_holding()), (2, false));
}

#[test]
fn fragments_that_are_not_sound_are_refused_by_name() {
    let mut lab = Lab::new();
    let frame = to_world(1, 5000);
    let bytes = [7; 1024];
    let lost = |lab: &mut Lab, frame: &[u8]| match lab.send(INSIDE, frame) {
        Sent::Lost(reason) => reason,
        other => panic!("{other:?}"),
    };
    let pieces = cut(&frame, 1024, 1);
    assert!(matches!(lab.send(INSIDE, &pieces[0]), Sent::Out(..)));
    assert_eq!(lost(&mut lab, &pieces[0]), DropReason::FragmentDuplicate);
    assert_eq!(lost(&mut lab, &piece(&frame, &bytes, 1000, true, 1)), DropReason::FragmentOverlap);
    assert_eq!(lost(&mut lab, &pieces[1]), DropReason::FragmentOverlap);
    assert_eq!(lost(&mut lab, &piece(&frame, &frame[34..40], 0, true, 2)), DropReason::FragmentTiny);
    // Half of a TCP header.
    let mut tcp = piece(&frame, &frame[34..50], 0, true, 3);
    tcp[23] = 6;
    assert_eq!(lost(&mut lab, &tcp), DropReason::FragmentTiny);
    assert_eq!(lost(&mut lab, &piece(&frame, &bytes[..9], 64, true, 4)), DropReason::FragmentUnfit);
    assert_eq!(lost(&mut lab, &piece(&frame, &bytes, 65_000, false, 5)), DropReason::FragmentUnfit);
    // TCP fragments of a connection that nobody has opened.
    let mut later = piece(&frame, &bytes, 1024, true, 6);
    later[23] = 6;
    assert_eq!(lab.send(INSIDE, &later), Sent::Waits);
}

#[test]
fn a_sender_elsewhere_has_no_part_in_a_datagram() {
    let mut lab = Lab::new();
    let pieces = cut(&to_world(1, 5000), 1024, 77);
    assert!(matches!(lab.send(INSIDE, &pieces[0]), Sent::Out(..)));
    // The same addresses by the other port: it neither gets the ports nor ends the datagram.
    let mut forged = pieces[1].clone();
    forged[..6].copy_from_slice(&gateway_mac(OUTSIDE).bytes());
    assert_eq!(lab.send(OUTSIDE, &forged), Sent::Waits);
    assert!(matches!(lab.send(INSIDE, &pieces[1]), Sent::Out(..)));
    assert!(matches!(lab.send(INSIDE, &pieces[2]), Sent::Out(..)));
}

#[test]
fn a_source_that_sends_later_ones_only_takes_no_room_from_others() {
    let mut lab = Lab::new();
    let later = |pod: u8, id: u32| cut(&to_world(pod, 5000), 1024, id).remove(1);
    let room = (0..200).take_while(|id| lab.send(INSIDE, &later(1, *id)) == Sent::Waits).count();
    assert!((1..100).contains(&room), "{room}");
    assert_eq!(lab.send(INSIDE, &later(1, 999)), Sent::Lost(DropReason::FragmentRoom));
    assert_eq!(lab.send(INSIDE, &later(2, 1)), Sent::Waits);
    // Those of the other one pass as before.
    let pieces = cut(&to_world(2, 5001), 1024, 2);
    assert!(pieces.iter().all(|piece| matches!(lab.send(INSIDE, piece), Sent::Out(OUTSIDE, _))));
}

/// What a sender makes of a datagram.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// The fragment of that number, of those there are.
    Sound(usize),
    /// Bytes at any offset, in units of eight, that are not the datagram's.
    Forged { start: u16, units: u16, more: bool },
}

fn pieces() -> impl Strategy<Value = (u8, Made, usize)> {
    let made = prop_oneof![
        12 => any::<usize>().prop_map(Made::Sound),
        1 => (0_u16..600, 1_u16..40, any::<bool>())
            .prop_map(|(start, units, more)| Made::Forged { start, units, more }),
    ];
    (1_u8..4, made, 0_usize..2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Fragments of any sizes, in any order, again, overlapping, at two workers: what of a datagram comes out is translated as its first
    /// fragment is, and is the datagram again when all of it does. Each that waits goes on or is given up, once.
    #[test]
    fn what_comes_out_is_what_was_sent(
        every in prop::sample::select(vec![8_usize, 64, 256, 1024, 1480]),
        sent in prop::collection::vec(pieces(), 1..250),
    ) {
        let mut lab = Lab::new();
        // They share the topology.
        let mut others = forwarder(4096);
        let cuts: HashMap<u8, Vec<Vec<u8>>> =
            (1..4).map(|pod| (pod, cut(&to_world(pod, 5000 + u16::from(pod)), every, 77))).collect();
        let mut out: HashMap<u8, Vec<Vec<u8>>> = HashMap::new();
        let mut forged = BTreeSet::new();
        let mut sound_ones: HashMap<u8, BTreeSet<usize>> = HashMap::new();
        let (mut waiting, mut went) = (0, 0);
        for (pod, made, worker) in sent {
            let (all, ours) = (&cuts[&pod], sound_ones.entry(pod).or_default());
            // Behind the last one the same number is another datagram's.
            if ours.len() == all.len() { continue }
            let frame = match made {
                // The first ones more often: most datagrams have more fragments than are sent here.
                Made::Sound(number) => {
                    let number = number % all.len().min(12);
                    ours.insert(number);
                    all[number].clone()
                }
                Made::Forged { start, units, more } => {
                    forged.insert(pod);
                    let whole = to_world(pod, 5000 + u16::from(pod));
                    piece(&whole, &vec![9; usize::from(units) * 8], usize::from(start) * 8, more || start == 0, 77)
                }
            };
            if worker == 1 { std::mem::swap(&mut lab.forwarder, &mut others) }
            match lab.send(INSIDE, &frame) {
                Sent::Out(to, bytes) => {
                    prop_assert_eq!((to, &bytes[26..30]), (OUTSIDE, &MASQUERADE[..]));
                    out.entry(pod).or_default().push(bytes);
                }
                Sent::Waits => waiting += 1,
                Sent::Lost(reason) => {
                    let name = reason.name();
                    let why = ["overlap", "duplicate", "too_many", "no_first", "room", "tiny"];
                    prop_assert!(why.iter().any(|why| name == format!("fragment_{why}")), "{name}");
                }
            }
            went += lab.retry(OUTSIDE);
            if worker == 1 { std::mem::swap(&mut lab.forwarder, &mut others) }
            prop_assert!(lab.forwarder.lingering.len() <= 128 && others.lingering.len() <= 128, "of one port");
        }
        for (pod, pieces) in &out {
            // A first one that was forged has other ports.
            if forged.contains(pod) { continue }
            let ports = pieces.iter().filter(|piece| piece[20] & 0x1f == 0 && piece[21] == 0);
            prop_assert!(ports.clone().count() <= 1, "no duplicate comes out");
            for first in ports {
                prop_assert_eq!(&first[36..38], &53_u16.to_be_bytes());
            }
            if let Some(whole) = join(pieces) {
                let (source, _, ports) = sound(&whole);
                prop_assert_eq!((source, ports.0), (MASQUERADE, 5000 + u16::from(*pod)));
            }
        }
        // Nothing waits for ever.
        lab.now = 5;
        for _ in 0..64 {
            went += lab.retry(OUTSIDE);
            std::mem::swap(&mut lab.forwarder, &mut others);
        }
        prop_assert!(!lab.forwarder.is_holding() && !others.is_holding());
        let lost: u64 = [&lab.forwarder, &others]
            .iter()
            .map(|forwarder| {
                let ours = forwarder.counters.port(PortId::new(INSIDE).unwrap());
                let reasons = [
                    DropReason::FragmentNoFirst,
                    DropReason::FragmentOverlap,
                    DropReason::FragmentTooMany,
                    DropReason::FragmentBusy,
                ];
                reasons.iter().map(|reason| ours.drops(*reason)).sum::<u64>()
            })
            .sum();
        prop_assert_eq!(waiting, went + lost);
    }
}
