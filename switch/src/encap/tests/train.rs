//! Large sends through a tunnel as trains. Oracles: cut apart, a train is the packets that pieces put in one by one make; joined,
//! it is the large send that went in; and one changed bit is enough not to be joined.

use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload, UDP_CHECKSUM};
use shunt_ffi::{Chain, Mbuf};

use proptest::prelude::*;

use super::offload::unfinished;
use super::samples::{Body, Sample};
use super::*;
use crate::encap::train::{join, wrap};
use crate::offload::EgressCapabilities;
use crate::offload::segment::segment;
use crate::wire::checksum::Sum;

/// Enough for the longest send three times over, and nobody else's.
fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 64 };
        let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
        Mempool::new(eal, "trains", 1024, 2048).expect("memory for a small pool")
    })
}

fn over_udp() -> [Encap; 3] {
    [
        Encap::Vxlan { vni: 2 },
        Encap::Geneve { vni: 5, ovn: None },
        Encap::Geneve { vni: 5, ovn: Some(geneve::ovn(3, 9)) },
    ]
}

/// A large send of `length` bytes in pieces of `size`.
fn large(body: Body, v6: bool, length: usize, size: u16) -> Mbuf {
    let payload = (0..length).map(|at| (at * 7 % 251) as u8).collect();
    let kind = match (body, v6) {
        (Body::Udp, _) => GsoKind::Udp,
        (_, false) => GsoKind::TcpV4,
        (_, true) => GsoKind::TcpV6,
    };
    let sample = Sample { body, v6, payload, ..Sample::udp() };
    unfinished(&sample, Some(Gso { kind, size }))
}

fn template(encap: Encap, v6: bool, udp_checksum: bool) -> Template {
    encap.template(&Outer { udp_checksum, ..outer(encap, v6) }).unwrap()
}

fn trains(frame: &Mbuf, template: &Template) -> Vec<Mbuf> {
    let mut trains = Vec::new();
    wrap(frame, template, 77, pool(), &mut |train| trains.push(train)).unwrap();
    trains
}

fn pieces(frame: &Mbuf) -> Vec<Mbuf> {
    let mut pieces = Vec::new();
    let can = EgressCapabilities { multi_segment: true, ..EgressCapabilities::default() };
    segment(frame, pool(), can, &mut |piece| pieces.push(piece)).unwrap();
    pieces
}

/// The same frame with its bytes in other buffers: of `first` bytes, then of the lengths that `cuts` gives in turn.
fn scattered(frame: &Mbuf, first: usize, cuts: &[usize]) -> Mbuf {
    let (bytes, state) = (frame.to_vec(), frame.offload().unwrap());
    let (head, mut rest) = bytes.split_at(first.min(bytes.len()));
    let mut chain = Chain::new(pool().frame(head).unwrap());
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        chain.append(pool().frame(now).unwrap()).unwrap();
        rest = later;
    }
    let mut frame = chain.into_frame();
    frame.set_offload(state).unwrap();
    frame
}

fn opened(encap: Encap, v6: bool, frame: &Mbuf) -> Inner {
    match Terminator::build(&[row(encap, v6)]).open_frame(frame, 14) {
        Opening::Inner(inner) => inner,
        other => panic!("{other:?}"),
    }
}

/// Clears what a cut outer header may have else than one written alone: identification and checksums, once they are right.
fn without_sums(mut packet: Vec<u8>, v6: bool, cut: bool) -> Vec<u8> {
    let udp = if v6 { 54 } else { 34 };
    if !v6 {
        assert_eq!(Sum::new().bytes(&packet[14..34]).value(), 0xffff, "the outer IP checksum is right");
        packet[18..20].fill(0);
        packet[24..26].fill(0);
    }
    if cut || packet[udp + 6..udp + 8] != [0, 0] {
        let addresses = if v6 { &packet[22..54] } else { &packet[26..34] };
        let length = (packet.len() - udp) as u16;
        let pseudo = Sum::new().bytes(addresses).word(17).word(length);
        assert_eq!(pseudo.bytes(&packet[udp..]).value(), 0xffff, "the outer UDP checksum is right");
    }
    packet[udp + 6..udp + 8].fill(0);
    packet
}

#[test]
fn cut_apart_a_train_is_what_its_pieces_are_one_by_one() {
    for encap in over_udp() {
        for (v6, udp_checksum) in [(false, false), (true, true), (true, false), (false, true)] {
            for (body, inner_v6) in
                [(Body::Tcp, false), (Body::Tcp, true), (Body::Udp, false), (Body::Udp, true)]
            {
                // Five and a bit, exactly two, and more than a train's buffers hold.
                for (length, size) in [(1_050, 200), (400, 200), (7_100, 100)] {
                    let template = template(encap, v6, udp_checksum);
                    let frame = large(body, inner_v6, length, size);
                    let trains = trains(&frame, &template);
                    let state = trains[0].offload().unwrap();
                    let start = if v6 { 54 } else { 34 };
                    assert_eq!(state.checksum, Checksum::Partial { start, offset: UDP_CHECKSUM });
                    assert_eq!(state.gso.unwrap().kind, GsoKind::Udp);
                    assert_eq!(trains.len(), length.div_ceil(usize::from(size)).div_ceil(64));
                    let cut = trains.iter().flat_map(|train| match train.offload().unwrap().gso {
                        Some(_) => {
                            pieces(train).iter().map(|it| without_sums(it.to_vec(), v6, true)).collect()
                        }
                        None => vec![without_sums(train.to_vec(), v6, false)],
                    });
                    let alone = pieces(&frame).into_iter().map(|mut piece| {
                        template.push(77, &mut piece).unwrap();
                        without_sums(piece.to_vec(), v6, false)
                    });
                    assert_eq!(cut.collect::<Vec<_>>(), alone.collect::<Vec<_>>(), "{encap:?} {body:?}");
                }
            }
        }
    }
}

#[test]
fn a_train_holds_no_more_than_an_ip_header_can_say() {
    let template = template(Encap::Vxlan { vni: 2 }, false, false);
    let frame = large(Body::Tcp, false, 65_000, 1_398);
    let trains = trains(&frame, &template);
    assert_eq!(trains.len(), 2);
    for train in &trains {
        assert!(train.len() <= 14 + 65_535, "{}", train.len());
        let said = u16::from_be_bytes(train.data()[16..18].try_into().unwrap());
        assert_eq!(u32::from(said) + 14, train.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn joined_a_train_is_the_large_send_and_one_changed_bit_keeps_it_apart(
        (kind, v6, inner_v6, udp) in (0usize..3, any::<bool>(), any::<bool>(), any::<bool>()),
        length in 201usize..4_000, first in 160usize..500,
        cuts in prop::collection::vec(40usize..900, 1..5), flipped in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let encap = over_udp()[kind];
        let free = pool().available();
        {
            let template = template(encap, v6, false);
            let frame = large(if udp { Body::Udp } else { Body::Tcp }, inner_v6, length, 200);
            let trains = trains(&frame, &template);
            prop_assert_eq!(trains.len(), 1);
            let mut train = scattered(&trains[0], first, &cuts);
            let inner = opened(encap, v6, &train);
            let size = join::datagram(&train, &inner).unwrap();

            // One bit behind the outer headers and the tunnel header that the terminator has read.
            let at = usize::from(inner.offset) + flipped.index(usize::from(inner.length));
            let mut bytes = train.to_vec();
            bytes[at] ^= 1 << bit;
            let state = train.offload().unwrap();
            let mut bad = pool().frame(&bytes).unwrap();
            bad.set_offload(state).unwrap();
            prop_assert_eq!(join::join(&mut bad, &inner, size), Ok(false), "byte {}", at);
            prop_assert_eq!((bad.to_vec(), bad.offload().unwrap()), (bytes, state));

            prop_assert_eq!(join::join(&mut train, &inner, size), Ok(true));
            prop_assert_eq!(train.to_vec(), frame.to_vec());
            prop_assert_eq!(train.offload().unwrap(), frame.offload().unwrap());
        }
        prop_assert_eq!(pool().available(), free, "no buffer is lost");
    }
}

#[test]
fn pieces_of_two_connections_or_out_of_order_are_not_joined() {
    let (encap, v6) = (Encap::Vxlan { vni: 2 }, false);
    let template = template(encap, v6, false);
    let train = |order: &[(u16, usize)]| {
        let mut chain: Option<Chain> = None;
        for (index, (port, number)) in order.iter().enumerate() {
            let sample =
                Sample { body: Body::Tcp, payload: vec![3; 600], ports: (*port, 80), ..Sample::udp() };
            let mut piece =
                pieces(&unfinished(&sample, Some(Gso { kind: GsoKind::TcpV4, size: 200 }))).remove(*number);
            if index > 0 {
                piece.prepend(8).unwrap()[..8].copy_from_slice(&[8, 0, 0, 0, 0, 0, 2, 0]);
            }
            match &mut chain {
                None => chain = Some(Chain::new(piece)),
                Some(chain) => chain.append(piece).unwrap(),
            }
        }
        let mut frame = chain.unwrap().into_frame();
        let size = 8 + 54 + 200;
        template.push(1, &mut frame).unwrap();
        let checksum = Checksum::Partial { start: 34, offset: UDP_CHECKSUM };
        frame.set_offload(Offload { checksum, gso: Some(Gso { kind: GsoKind::Udp, size }) }).unwrap();
        let inner = opened(encap, v6, &frame);
        let size = join::datagram(&frame, &inner).unwrap();
        join::join(&mut frame, &inner, size)
    };
    assert_eq!(train(&[(1, 0), (1, 1), (1, 2)]), Ok(true));
    assert_eq!(train(&[(1, 1), (1, 2)]), Ok(true));
    for order in [[(1, 0), (2, 1)], [(1, 1), (1, 0)], [(1, 0), (1, 0)], [(1, 0), (1, 2)], [(1, 2), (1, 2)]] {
        assert_eq!(train(&order), Ok(false), "{order:?}");
    }
}

#[test]
fn what_is_no_train_is_not_taken_for_one() {
    let (encap, v6) = (Encap::Vxlan { vni: 2 }, false);
    let mut frame = pool().frame(&Sample::udp().bytes()).unwrap();
    template(encap, v6, false).push(0, &mut frame).unwrap();
    let inner = opened(encap, v6, &frame);
    assert_eq!(join::datagram(&frame, &inner), None);
    // A large send inside, as a kernel's VXLAN device makes it.
    let mut frame = unfinished(&Sample { body: Body::Tcp, ..Sample::udp() }, None);
    template(encap, v6, false).push(0, &mut frame).unwrap();
    let checksum = frame.offload().unwrap().checksum;
    frame.set_offload(Offload { checksum, gso: Some(Gso { kind: GsoKind::TcpV4, size: 9 }) }).unwrap();
    assert_eq!(join::datagram(&frame, &opened(encap, v6, &frame)), None);
}
