use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use shunt_ffi::offload::{Checksum, Offload};

use super::model::{Field, Flow, Network, Transport, verified};
use super::*;

/// Every set of capabilities there is.
fn all() -> impl Iterator<Item = EgressCapabilities> {
    (0..32u8).map(|bits| EgressCapabilities {
        checksum: bits & 1 != 0,
        tso4: bits & 2 != 0,
        tso6: bits & 4 != 0,
        uso: bits & 8 != 0,
        multi_segment: bits & 16 != 0,
    })
}

/// What the port then does: this must turn what it was given into what should be on the wire.
fn transmit(frames: Vec<Mbuf>, can: EgressCapabilities, flow: &Flow) -> Vec<Vec<u8>> {
    let mut wire = Vec::new();
    for mut frame in frames {
        assert!(frame.segment_count() == 1 || can.multi_segment, "chain for a port that takes none");
        let state = frame.offload().expect("state that fits");
        assert!(can.checksum || !matches!(state.checksum, Checksum::Partial { .. }), "partial checksum");
        if let Some(gso) = state.gso {
            let able = match (&flow.transport, &flow.network) {
                (Transport::Udp, _) => can.uso,
                (_, Network::V4 { .. }) => can.tso4,
                (_, Network::V6 { .. }) => can.tso6,
            };
            assert!(able, "large frame for a port that cannot cut it");
            let bytes = frame.to_vec();
            wire.extend(flow.cut(&bytes[flow.headers()..], usize::from(gso.size), Field::Whole));
        } else {
            checksum::complete(&mut frame).unwrap();
            wire.push(frame.to_vec());
        }
    }
    wire
}

/// The contract of [`finish`], for each kind of state, chained or not, and all 32 sets of capabilities.
#[test]
fn ports_get_what_they_can_do() {
    let pool = pool("contract", 1000, 4096);
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    let payload = prop::collection::vec(any::<u8>(), 1..3000);
    proptest!(config, |((flow, payload, size) in (Flow::any(), payload, 100u16..1500))| {
        let whole = flow.segment(&payload, 0, 0, true, Field::Whole);
        let states = [
            (Offload::default(), &whole, vec![whole.clone()]),
            (Offload { checksum: Checksum::Valid, gso: None }, &whole, vec![whole.clone()]),
            (Offload { checksum: flow.partial(), gso: None }, &flow.large(&payload), vec![whole.clone()]),
            (flow.gso(size), &flow.large(&payload), flow.cut(&payload, usize::from(size), Field::Whole)),
        ];
        for can in all() {
            for chained in [false, true] {
                for (state, bytes, expected) in &states {
                    let mut frame = match chained {
                        true => chain(pool, bytes, flow.headers(), &[1, 99]),
                        false => chain(pool, bytes, bytes.len(), &[]),
                    };
                    frame.set_offload(*state).unwrap();
                    let (frames, result) = finished(frame, can, pool);
                    prop_assert_eq!(result, Ok(()));
                    if state.checksum == Checksum::Valid {
                        let kept = frames[0].offload().unwrap().checksum;
                        prop_assert_eq!(kept, Checksum::Valid, "a checksum that was checked stays so");
                    }
                    let wire = transmit(frames, can, &flow);
                    prop_assert!(wire == *expected, "{:?} with {:?}", state, can);
                    for frame in &wire {
                        verified(frame).map_err(TestCaseError::fail)?;
                    }
                }
            }
        }
        prop_assert_eq!(pool.available(), 1000);
    });
}

/// Chains that do not fit one buffer, for a port that takes no chains; and a pool without buffers for the copy.
#[test]
fn too_long_or_no_buffers() {
    let source = pool("from", 100, 2048);
    let to = pool("to", 4, 1000);
    let can = EgressCapabilities::default();
    for length in [64usize, 999, 1000, 1001, 9000] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let (frames, result) = finished(chain(source, &bytes, 60, &[]), can, to);
        if length <= 1000 {
            assert_eq!(result, Ok(()));
            assert_eq!((frames[0].segment_count(), frames[0].to_vec()), (1, bytes));
        } else {
            assert_eq!((frames.len(), result), (0, Err(OffloadError::TooLongForBuffer)));
        }
    }
    // A large frame in a chain, for a port that segments but takes no chains: cut, since no buffer holds it whole.
    let flow = Flow::any().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let payload = [7; 3000];
    let able = EgressCapabilities { checksum: true, tso4: true, tso6: true, uso: true, multi_segment: false };
    let mut frame = chain(source, &flow.large(&payload), flow.headers(), &[]);
    frame.set_offload(flow.gso(800)).unwrap();
    let (frames, result) = finished(frame, able, to);
    assert_eq!((frames.len(), result), (4, Ok(())));
    assert!(transmit(frames, able, &flow) == flow.cut(&payload, 800, Field::Whole));

    let held: Vec<Mbuf> = (0..4).map(|_| to.alloc().unwrap()).collect();
    let (frames, result) = finished(chain(source, &[0; 100], 60, &[]), can, to);
    assert_eq!((frames.len(), result), (0, Err(OffloadError::NoBuffers)));
    drop(held);
    assert_eq!((source.available(), to.available()), (100, 4));
}
