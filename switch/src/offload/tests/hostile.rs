use std::cell::Cell;

use proptest::prelude::*;
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload};

use super::model::{Flow, verified};
use super::*;
use crate::offload::segment::MAX_SEGMENTS;

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
    let start = prop_oneof![4 => 0u16..700, 1 => any::<u16>()];
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
        prop_assert!(frames.iter().all(|frame| frame.len() == length || longest.is_ok_and(|longest| frame.len() <= longest)));
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
    let at = 14 + frame[12..].chunks(4).take(2).take_while(|tag| matches!(tag[..2], [0x81, 0] | [0x88, 0xa8])).count() * 4;
    matches!(frame.get(at - 2..at), Some([0x86, 0xdd])) && matches!(frame.get(at + 6), Some(0 | 43 | 60))
}

#[test]
fn lying_frames_do_no_harm() {
    let pool = pool("liars", 1000, 2048);
    let config = ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() };
    let payload = prop::collection::vec(any::<u8>(), 0..3000);
    let lies = prop::collection::vec(lie(), 0..4);
    let case = (Flow::any(), payload, 0usize..50, prop_oneof![Just(1u16), 1u16..3000], lies, capabilities(), any::<bool>());
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

#[test]
fn random_bytes_do_no_harm() {
    let pool = pool("noise", 1000, 2048);
    let config = ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() };
    // Noise that starts like a frame gets further than noise.
    let ethertype = prop_oneof![Just([8u8, 0]), Just([0x86, 0xdd]), Just([0x81, 0]), any::<[u8; 2]>()];
    let bytes = (prop::collection::vec(any::<u8>(), 0..400), ethertype, any::<bool>()).prop_map(|(mut bytes, kind, tagged)| {
        for (at, value) in kind.into_iter().enumerate() {
            let at = if tagged { at + 16 } else { at + 12 };
            bytes.get_mut(at).into_iter().for_each(|byte| *byte = value);
        }
        bytes
    });
    let case = (bytes, state(), 0usize..400, capabilities());
    let accepted = Cell::new(0);
    proptest!(config, |((bytes, state, first, can) in case)| {
        let mut frame = chain(pool, &bytes, first, &[3, 50]);
        let stated = frame.set_offload(state).is_ok() && frame.needs_offload();
        accepted.set(accepted.get() + u32::from(stated));
        check(frame, can, pool, &Cell::new(0))?;
        prop_assert_eq!(pool.available(), 1000);
    });
    let accepted = accepted.get();
    assert!(accepted > 50, "only {accepted} states were accepted");
}
