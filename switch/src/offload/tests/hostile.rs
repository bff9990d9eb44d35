use std::cell::Cell;

use proptest::prelude::*;
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload};

use super::model::{Flow, Network, Transport, verified};
use super::*;
use crate::offload::segment::MAX_SEGMENTS;

/// What noise is made to begin with behind its addresses, to look like a link header or half of one.
const LINKS: [&[u8]; 6] = [
    &[],
    &[8, 0],
    &[0x86, 0xdd],
    &[0x81, 0, 0, 9, 8, 0],
    &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 9, 0x86, 0xdd],
    &[0x81],
];

#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Overwrites a byte of the first buffer, mostly in the headers.
    Byte { at: usize, value: u8 },
    /// Takes bytes away from the front.
    Trim(u16),
    /// Adds whatever lay in the headroom.
    Prepend(u16),
}

fn lie() -> impl Strategy<Value = Lie> {
    let value = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x45), Just(0x60), Just(6), Just(17)];
    prop_oneof![
        12 => (prop_oneof![3 => 12usize..120, 1 => 0usize..600], value).prop_map(|(at, value)| Lie::Byte { at, value }),
        1 => (0u16..200).prop_map(Lie::Trim),
        1 => (0u16..128).prop_map(Lie::Prepend),
    ]
}

fn state() -> impl Strategy<Value = Offload> {
    let kind = prop_oneof![Just(GsoKind::TcpV4), Just(GsoKind::TcpV6), Just(GsoKind::Udp)];
    let size = prop_oneof![Just(1u16), 1u16..2000, any::<u16>()];
    let gso = prop::option::of((kind, size).prop_map(|(kind, size)| Gso { kind, size }));
    let offset = prop_oneof![4 => Just(6u16), 4 => Just(16u16), 1 => any::<u16>()];
    let start = prop_oneof![4 => 34u16..110, 2 => 0u16..700, 1 => any::<u16>()];
    let partial = (start, offset).prop_map(|(start, offset)| Checksum::Partial { start, offset });
    let checksum = prop_oneof![1 => Just(Checksum::Complete), 1 => Just(Checksum::Valid), 6 => partial];
    (checksum, gso).prop_map(|(checksum, gso)| Offload { checksum, gso })
}

fn capabilities() -> impl Strategy<Value = EgressCapabilities> {
    any::<[bool; 5]>().prop_map(|[checksum, tso4, tso6, uso, multi_segment]| EgressCapabilities {
        checksum,
        tso4,
        tso6,
        uso,
        multi_segment,
    })
}

/// Whatever a guest hands over: no panic, no leak, a bounded number of frames, and what was cut is right.
fn check(frame: Mbuf, can: EgressCapabilities, pool: Mempool, cut: &Cell<u32>) -> Result<(), TestCaseError> {
    let (length, gso) = (frame.len(), frame.offload().ok().and_then(|state| state.gso));
    let longest = longest_segment(&frame);
    let (frames, result) = finished(frame, can, pool);
    prop_assert!(frames.len() <= MAX_SEGMENTS);
    if result.is_ok() && gso.is_some() {
        prop_assert!(
            frames
                .iter()
                .all(|frame| frame.len() == length || longest.is_ok_and(|longest| frame.len() <= longest))
        );
    }
    for mut frame in frames {
        let state = frame.offload();
        prop_assert!(frame.segment_count() == 1 || can.multi_segment);
        if let (Some(_), Ok(Offload { gso: None, .. })) = (gso, state) {
            // Cut by us: the headers were found sound, so everybody must find the segments sound.
            checksum::complete(&mut frame).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let bytes = frame.to_vec();
            if let Err(error) = verified(&bytes) {
                prop_assert!(beyond_etherparse(&bytes), "{} {:02x?}", error, bytes);
            }
            cut.set(cut.get() + 1);
        }
    }
    Ok(())
}

/// Extension headers in an order or number that `etherparse` does not follow, though a receiver may.
fn beyond_etherparse(frame: &[u8]) -> bool {
    let at = 14
        + frame[12..]
            .chunks(4)
            .take(2)
            .take_while(|tag| matches!(tag[..2], [0x81, 0] | [0x88, 0xa8]))
            .count()
            * 4;
    matches!(frame.get(at - 2..at), Some([0x86, 0xdd])) && matches!(frame.get(at + 6), Some(0 | 43 | 60))
}

#[test]
fn lying_frames_do_no_harm() {
    let pool = pool("liars", 1000, 2048);
    let config = ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() };
    let payload = prop::collection::vec(any::<u8>(), 0..3000);
    let lies = prop::collection::vec(lie(), 0..4);
    let case = (
        Flow::any(),
        payload,
        0usize..50,
        prop_oneof![Just(1u16), 1u16..3000],
        lies,
        capabilities(),
        any::<bool>(),
    );
    let cut = Cell::new(0);
    proptest!(config, |((flow, payload, extra, size, lies, can, gso) in case)| {
        let mut frame = chain(pool, &flow.large(&payload), flow.headers() + extra, &[700]);
        let state = if gso { flow.gso(size) } else { Offload { checksum: flow.partial(), gso: None } };
        frame.set_offload(state).unwrap();
        for lie in lies {
            match lie {
                Lie::Byte { at, value } => frame.data_mut().get_mut(at).into_iter().for_each(|byte| *byte = value),
                Lie::Trim(count) => drop(frame.trim_front(count)),
                Lie::Prepend(count) => drop(frame.prepend(count)),
            }
        }
        check(frame, can, pool, &cut)?;
        prop_assert_eq!(pool.available(), 1000);
    });
    let cut = cut.get();
    assert!(cut > 1000, "only {cut} segments: most frames should still be cut");
}

/// Each check of the headers by itself: the frame is cut as it is, and refused with one byte changed.
#[test]
fn one_wrong_byte_is_refused() {
    let pool = pool("refused", 100, 2048);
    let tcp = || Transport::Tcp { options: vec![], seq: 1, flags: 0x10 };
    let v4 = || Network::V4 { options: vec![], id: 1 };
    let routing = |kind, left| (43, [&[2, kind, left, 0, 0, 0, 0][..], &[30; 16]].concat());
    let v6 = |extensions| Network::V6 { extensions, last: [30; 16] };
    let cases = [
        // EtherType; version; header length; more fragments; fragment offset; protocol; TCP header length.
        (Flow::plain(v4(), tcp()), vec![(12, 0x09), (13, 0x06), (14, 0x55), (14, 0x44), (14, 0x46)]),
        (Flow::plain(v4(), tcp()), vec![(20, 0x60), (21, 1), (23, 17), (46, 0x40), (46, 0x00), (46, 0xf0)]),
        (Flow::plain(v4(), Transport::Udp), vec![(14, 0x65), (21, 1), (23, 6)]),
        // Version; a protocol before the end, a fragment, an authentication header, nothing behind the header.
        (Flow::plain(v6(vec![]), tcp()), vec![(14, 0x50), (20, 17), (20, 0), (20, 60)]),
        (Flow::plain(v6(vec![routing(4, 1)]), Transport::Udp), vec![(20, 17), (20, 44), (20, 51), (20, 59)]),
        // Next header of the extension; its length; a routing type that nobody knows.
        (
            Flow::plain(v6(vec![routing(2, 1)]), tcp()),
            vec![(54, 17), (55, 0), (55, 1), (55, 3), (55, 255), (56, 3)],
        ),
    ];
    for (flow, lies) in cases {
        let cut = |lie: Option<(usize, u8)>| {
            let mut frame = chain(pool, &flow.large(&[5; 500]), flow.headers(), &[]);
            frame.set_offload(flow.gso(200)).unwrap();
            if let Some((at, value)) = lie {
                assert_ne!(frame.data()[at], value);
                frame.data_mut()[at] = value;
            }
            let (frames, result) = finished(frame, EgressCapabilities::default(), pool);
            (frames.len(), result)
        };
        assert_eq!(cut(None), (3, Ok(())));
        for lie in lies {
            assert_eq!(cut(Some(lie)), (0, Err(OffloadError::BadOffload)), "{flow:?} with {lie:?}");
        }
    }
    // The type does not matter once the last hop is reached.
    let flow = Flow::plain(v6(vec![routing(3, 0)]), tcp());
    let mut frame = chain(pool, &flow.large(&[5; 500]), flow.headers(), &[]);
    frame.set_offload(flow.gso(200)).unwrap();
    assert_eq!(finished(frame, EgressCapabilities::default(), pool).1, Ok(()));
    assert_eq!(pool.available(), 100);
}

#[test]
fn random_bytes_do_no_harm() {
    let pool = pool("noise", 1000, 2048);
    let config = ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() };
    let noise = prop_oneof![5 => prop::collection::vec(any::<u8>(), 80..400), 1 => prop::collection::vec(any::<u8>(), 0..80)];
    let bytes = (noise, prop::sample::select(&LINKS[..])).prop_map(|(mut bytes, ethertype)| {
        bytes.iter_mut().skip(12).zip(ethertype).for_each(|(byte, value)| *byte = *value);
        bytes
    });
    let first = prop_oneof![2 => 80usize..400, 1 => 0usize..80];
    let case = (bytes, state(), first, capabilities());
    let accepted = Cell::new(0);
    proptest!(config, |((bytes, state, first, can) in case)| {
        let mut frame = chain(pool, &bytes, first, &[3, 50]);
        let stated = frame.set_offload(state).is_ok() && frame.needs_offload();
        accepted.set(accepted.get() + u32::from(stated));
        check(frame, can, pool, &Cell::new(0))?;
        prop_assert_eq!(pool.available(), 1000);
    });
    let accepted = accepted.get();
    assert!(accepted > 300, "only {accepted} states were accepted");
}
