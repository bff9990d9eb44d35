use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use shunt_ffi::offload::Offload;

use super::model::{Field, Flow, Network, sum, verified};
use super::*;
use crate::offload::checksum::complete;

#[test]
fn complete_equals_the_model() {
    let pool = pool("complete", 1000, 2048);
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    let payload = prop::collection::vec(any::<u8>(), 0..4000);
    let cuts = prop::collection::vec(0usize..300, 0..30);
    proptest!(config, |((flow, payload, extra, cuts) in (Flow::any(), payload, 0usize..100, cuts))| {
        let mut frame = chain(pool, &flow.large(&payload), flow.headers() + extra, &cuts);
        complete(&mut frame).unwrap();
        prop_assert!(frame.to_vec() == flow.large(&payload), "a frame without state is left alone");

        frame.set_offload(flow.gso(100)).unwrap();
        prop_assert_eq!(complete(&mut frame), Err(BadOffload));
        prop_assert!(frame.to_vec() == flow.large(&payload), "a frame to be cut is left alone");

        frame.set_offload(Offload { checksum: flow.partial(), gso: None }).unwrap();
        prop_assert_eq!(longest_segment(&frame), Ok(frame.len()));
        complete(&mut frame).unwrap();
        prop_assert!(frame.to_vec() == flow.segment(&payload, 0, 0, true, Field::Whole));
        prop_assert_eq!(frame.offload(), Ok(Offload::default()));
        prop_assert!(verified(&frame.to_vec()).map_err(TestCaseError::fail)? == payload);
        drop(frame);
        prop_assert_eq!(pool.available(), 1000);
    });
}

/// The one payload in 65,536 whose UDP checksum is zero must not look like "no checksum"; TCP has no such rule.
#[test]
fn zero_checksums() {
    let pool = pool("zero", 100, 2048);
    let mut runner = TestRunner::deterministic();
    let (mut udp, mut tcp) = (0, 0);
    while udp < 20 || tcp < 20 {
        let flow = Flow::any().new_tree(&mut runner).unwrap().current();
        let mut payload = b"any payload will do, of odd length or even".to_vec();
        payload.extend([0, 0]);
        let at = payload.len() - 2;
        let offset = flow.start() + usize::from(flow.checksum_offset());
        let before = flow.segment(&payload, 0, 0, true, Field::Whole);
        let checksum = u16::from_be_bytes([before[offset], before[offset + 1]]);
        // The last word takes up what is missing to a sum of all ones.
        payload[at..].copy_from_slice(&checksum.to_be_bytes());
        let wanted = if flow.is_tcp() { 0 } else { 0xffff };
        let mut frame = chain(pool, &flow.large(&payload), flow.headers() + 3, &[1, 2, 5]);
        frame.set_offload(Offload { checksum: flow.partial(), gso: None }).unwrap();
        complete(&mut frame).unwrap();
        let bytes = frame.to_vec();
        assert_eq!(u16::from_be_bytes([bytes[offset], bytes[offset + 1]]), wanted);
        if let Network::V4 { .. } = flow.network {
            let ip = 14 + flow.tags.len() * 4;
            assert_eq!(sum(&bytes[ip..flow.start()]), 0xffff, "the network header is not touched");
        }
        if flow.is_tcp() { tcp += 1 } else { udp += 1 }
    }
}
