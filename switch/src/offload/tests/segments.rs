use std::cell::Cell;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use shunt_ffi::offload::{Checksum, Offload};

use super::model::{Field, Flow, verified};
use super::*;
use crate::offload::segment::{MAX_SEGMENTS, segment};

/// A payload in which every byte differs from its neighbours and from those 256 further on.
fn bytes(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|at| (at as u8).wrapping_mul(7).wrapping_add((at >> 8) as u8) ^ seed).collect()
}

/// What [`segment`] must say about a frame it is given.
fn expected_error(
    flow: &Flow,
    payload: usize,
    size: u16,
    room: usize,
    can: EgressCapabilities,
) -> Option<OffloadError> {
    let longest = flow.headers() + usize::from(size).min(payload);
    let link = 14 + flow.tags.len() * 4;
    if payload.div_ceil(usize::from(size)) > MAX_SEGMENTS {
        Some(OffloadError::TooManySegments)
    } else if longest - link > 65_535 {
        Some(OffloadError::BadOffload)
    } else if longest > room && !can.multi_segment {
        Some(OffloadError::TooLongForBuffer)
    } else {
        None
    }
}

#[test]
fn segments_equal_the_model() {
    let large = pool("large", 600, 2048);
    let small = pool("small", 2000, 256);
    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() };
    let payloads =
        prop_oneof![4 => 0usize..6000, 2 => 6000usize..66_000, 1 => Just(65_483usize), 1 => Just(66_000)];
    let sizes = prop_oneof![4 => 200u16..1600, 2 => 1u16..200, 1 => 1600u16..=u16::MAX, 1 => Just(u16::MAX)];
    let cuts = prop::collection::vec(0usize..500, 0..20);
    let case = (Flow::any(), payloads, sizes, 0usize..300, cuts, any::<[bool; 3]>(), any::<u8>());
    let cut_frames = Cell::new(0u32);
    proptest!(config, |((flow, length, size, extra, cuts, [checksum, multi_segment, tiny], seed) in case)| {
        let payload = bytes(length, seed);
        let to = if tiny { small } else { large };
        let before = (large.available(), small.available());
        let mut frame = chain(large, &flow.large(&payload), flow.headers() + extra, &cuts);
        frame.set_offload(flow.gso(size)).unwrap();
        let can = EgressCapabilities { checksum, multi_segment, ..Default::default() };

        let longest = (flow.headers() + length.min(usize::from(size))) as u32;
        prop_assert_eq!(longest_segment(&frame), Ok(longest));
        let mut segments = Vec::new();
        let result = segment(&frame, to, can, &mut |segment| segments.push(segment));
        drop(frame);
        let error = expected_error(&flow, length, size, room(to), can);
        prop_assert_eq!(result.err(), error);
        if error.is_some() {
            prop_assert!(segments.is_empty());
        } else {
            let field = if checksum { Field::Partial } else { Field::Whole };
            let expected = flow.cut(&payload, usize::from(size), field);
            prop_assert_eq!(segments.len(), expected.len());
            let mut reassembled = Vec::new();
            for (segment, expected) in segments.iter_mut().zip(&expected) {
                prop_assert!(segment.to_vec() == *expected, "segment differs from the model");
                let buffers = expected.len().div_ceil(room(to));
                prop_assert_eq!(usize::from(segment.segment_count()), buffers);
                let state = if checksum { flow.partial() } else { Checksum::Complete };
                prop_assert_eq!(segment.offload(), Ok(Offload { checksum: state, gso: None }));
                checksum::complete(segment).unwrap();
                reassembled.extend(verified(&segment.to_vec()).map_err(TestCaseError::fail)?);
            }
            prop_assert!(reassembled == payload);
            cut_frames.set(cut_frames.get() + 1);
        }
        drop(segments);
        prop_assert_eq!((large.available(), small.available()), before);
    });
    let cut = cut_frames.get();
    assert!(cut > 500, "only {cut} frames were cut: the cases are not what they should be");
}

/// A guest that asks for tiny segments gets [`MAX_SEGMENTS`] of them at most, and none of what asks for more.
#[test]
fn segments_are_bounded() {
    let pool = pool("bounded", 300, 2048);
    let flow = Flow::any().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    for (length, size) in [(MAX_SEGMENTS, 1), (MAX_SEGMENTS * 500, 500), (MAX_SEGMENTS * 500 - 499, 500)] {
        for (length, fits) in [(length, true), (length + size, false)] {
            let mut frame = chain(pool, &flow.large(&bytes(length, 0)), flow.headers(), &[]);
            frame.set_offload(flow.gso(size as u16)).unwrap();
            let (segments, result) = finished(frame, EgressCapabilities::default(), pool);
            let wanted = if fits { (MAX_SEGMENTS, Ok(())) } else { (0, Err(OffloadError::TooManySegments)) };
            assert_eq!((segments.len(), result), wanted, "{length} bytes by {size}");
        }
    }
    assert_eq!(pool.available(), 300);
}

/// Every number of free buffers from none to enough: what was emitted is right, the rest is an error, nothing leaks.
#[test]
fn exhausted_pools_leak_nothing() {
    let source = pool("source", 300, 2048);
    let flow = Flow::any().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let payload = bytes(40_000, 3);
    // 100 segments in one buffer each, and 20 in eight or nine: more than one bulk allocation in both.
    for (name, count, room, size) in [("one", 128u32, 2048, 400u16), ("many", 256, 256, 2000)] {
        let to = pool(name, count, room);
        let expected = flow.cut(&payload, usize::from(size), Field::Whole);
        let needed: usize = expected.iter().map(|segment| segment.len().div_ceil(usize::from(room))).sum();
        assert!(needed > shunt_ffi::MAX_BURST && needed <= count as usize, "{needed} buffers of {count}");
        let can = EgressCapabilities { multi_segment: true, ..Default::default() };
        for free in 0..=needed {
            let held: Vec<Mbuf> = (free..count as usize).map(|_| to.alloc().unwrap()).collect();
            assert_eq!(to.available() as usize, free);
            let mut frame = chain(source, &flow.large(&payload), flow.headers(), &[]);
            frame.set_offload(flow.gso(size)).unwrap();
            let (segments, result) = finished(frame, can, to);
            assert_eq!(result.is_ok(), free == needed, "{free} of {needed}");
            if free < needed {
                assert_eq!(result, Err(OffloadError::NoBuffers));
                assert!(
                    segments.is_empty() || free >= shunt_ffi::MAX_BURST,
                    "a train that fits one bulk is whole or not"
                );
            }
            for (segment, expected) in segments.iter().zip(&expected) {
                assert!(segment.to_vec() == *expected);
            }
            drop(segments);
            assert_eq!(to.available() as usize, free);
            drop(held);
        }
    }
    assert_eq!(source.available(), 300);
}
