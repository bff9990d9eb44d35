//! Soundness: whatever happened before, to the topology and in the cache, a hit gives what the stages give now, and both
//! give what a naive model, written from the rules and without tables, says.

mod model;

use std::sync::{Arc, OnceLock};

use crossbeam::channel;
use proptest::prelude::*;
use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};

use super::*;
use crate::flow::FlowCache;
use crate::pipeline::{self, Packet, Silent};
use model::{At, Change, Frame, Sent, World, change, sent};

pub(super) fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 64 };
        let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
        Mempool::new(eal, "soundness", 1024, 2048).expect("memory for a small pool")
    })
}

/// A forwarder without queues: decisions are looked at, nothing is sent.
pub(super) fn forwarder(entries: usize) -> Forwarder {
    let counters = Arc::new(WorkerCounters::new());
    let (send, _) = channel::bounded(1);
    let teacher = Teacher::new(send, counters.clone());
    Forwarder::new(
        pool(),
        teacher,
        FlowCache::new(entries, 10, true, 1).unwrap(),
        0,
        Openings::new(0, 1, 1),
        counters,
    )
}

/// What the cache gives for a frame, and what the stages give for a copy of it, each with the frame as edited; `None` when
/// the frame may not come in at all.
type Outcome = (Actions, Result<(), DropReason>, Vec<u8>);

fn both(
    forwarder: &mut Forwarder,
    world: &World,
    port: PortId,
    bytes: &[u8],
    now: u32,
) -> Option<(Outcome, Outcome)> {
    let topology = &world.topology;
    let inlet = topology.inlet(port);
    if !inlet.up {
        return None;
    }
    let counters = WorkerCounters::new();
    let changed = topology.stamps().ingress(port);
    let scene = Scene { topology, port, inlet, ours: counters.port(port), now, changed, storm: None };
    let mut flows = [Flow::default()];
    let mut burst = Burst::new();
    burst.push(pool().frame(bytes).unwrap()).unwrap();
    forwarder.parse(&scene, &burst, &mut flows);
    forwarder.find(&mut flows);
    let [flow] = flows;
    let mut frame = burst.pop().unwrap();
    let mut fresh = pool().frame(bytes).unwrap();
    match flow.state {
        State::New => {}
        State::Bad(reason) if reason != DropReason::Runt => {
            let refused = |frame: &Mbuf| (Actions::unchanged(Verdict::Drop(reason)), Ok(()), frame.to_vec());
            return Some((refused(&frame), refused(&fresh)));
        }
        _ => return None,
    }
    assert!(
        forwarder.open(&scene, &flow, &mut frame) && forwarder.open(&scene, &flow, &mut fresh),
        "no congestion here"
    );
    let edited = |actions: Actions, mut frame: Mbuf| {
        let done = execute::edit(&actions, flow.layout, topology.rewrites(), &mut frame);
        (actions, done, frame.to_vec())
    };

    let mut packet = Packet::new(&mut fresh, &flow.key, flow.layout, now);
    let uncached = pipeline::run(topology, &mut packet, &mut Silent);
    let keep = packet.is_cacheable();

    let cached = match forwarder.hit(&scene, &flow, &mut frame) {
        Some(place) => {
            assert!(keep, "a decision that holds for one frame only was in the cache: {uncached:?}");
            forwarder.cache.at(place).unwrap().actions
        }
        None => match forwarder.miss(&scene, &flow, &mut frame) {
            Ok(place) => forwarder.cache.at(place).unwrap().actions,
            Err(decided) => decided.actions,
        },
    };
    Some((edited(cached, frame), edited(uncached, fresh)))
}

/// The frame as edited, with the source port of a tunnel as the model has it: which one it is, is not the model's business.
fn without_port((actions, _, mut bytes): Outcome) -> Vec<u8> {
    if actions.edits.has(Edits::ENCAP) && !matches!(actions.verdict, Verdict::Drop(_)) {
        let at = if bytes[12..14] == [0x81, 0] { 38 } else { 34 };
        assert!(bytes[at] >= 0xc0, "source ports of tunnels are dynamic ones (RFC 7348 section 5)");
        bytes[at..at + 2].copy_from_slice(&[0xc0, 0]);
    }
    bytes
}

#[derive(Clone, Debug)]
enum Event {
    Change(Change),
    Sent(u8, Sent),
    /// Seconds pass.
    Wait(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => change().prop_map(Event::Change),
        12 => (0_u8..model::PORTS, sent()).prop_map(|(port, sent)| Event::Sent(port, sent)),
        1 => (1_u32..20).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn cached_uncached_and_model_agree(
        entries in prop::sample::select(vec![0_usize, 16, 64, 4096]),
        events in prop::collection::vec(event(), 1..400),
    ) {
        let mut forwarder = forwarder(entries);
        let mut world = World::default();
        let mut now = 0;
        for event in events {
            match event {
                Event::Change(change) => world.apply(&change),
                Event::Wait(seconds) => now += seconds,
                Event::Sent(port, sent) => {
                    let port = PortId::new(usize::from(port)).unwrap();
                    let bytes = sent.bytes();
                    let Some((cached, uncached)) = both(&mut forwarder, &world, port, &bytes, now) else {
                        prop_assert!(bytes.len() < 14 || !world.is_up(port), "refused: {sent:?}");
                        continue;
                    };
                    prop_assert_eq!(&cached, &uncached, "cache and stages differ for {:?}", sent);
                    if let Some(expected) = world.expects(port, &sent) {
                        let came = (uncached.0.verdict, without_port(uncached));
                        prop_assert_eq!(came, expected, "the model differs for {:?}", sent);
                    }
                }
            }
        }
    }
}

/// The property above would pass with a cache that keeps nothing; this one says that it does keep.
#[test]
fn changes_elsewhere_leave_a_flow_in_the_cache_and_changes_of_its_own_do_not() {
    let mut forwarder = forwarder(64);
    let mut world = World::default();
    let port = PortId::new(0).unwrap();
    let frame = Frame::between_stations(0, 1);
    let missed = |forwarder: &Forwarder| forwarder.counters.flows.missed.get();
    let send = |forwarder: &mut Forwarder, world: &World| {
        let outcomes = both(forwarder, world, port, &frame.bytes(), 0);
        assert!(outcomes.is_some_and(|(cached, uncached)| cached == uncached));
    };
    send(&mut forwarder, &world);
    assert_eq!(missed(&forwarder), 1);
    send(&mut forwarder, &world);
    world.apply(&Change::Station { network: 2, station: 5, at: Some(At::Port(4)) });
    world.apply(&Change::Station { network: 2, station: 5, at: None });
    send(&mut forwarder, &world);
    assert_eq!(missed(&forwarder), 1, "changes in another network made the flow doubtful");
    world.apply(&Change::Station { network: 0, station: 1, at: Some(At::Port(2)) });
    send(&mut forwarder, &world);
    assert_eq!(missed(&forwarder), 2, "the destination moved, and the flow did not");
}
