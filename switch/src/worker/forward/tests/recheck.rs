//! The sampled re-check: a cached decision that the stages do not share is counted and gone, and the frame goes by the stages.

use super::*;
use crate::flow::cache::Entry;

const PORT: usize = 0;

/// One frame of the flow, the whole way; its port's counters are the worker's.
fn send(forwarder: &mut Forwarder, world: &World, bytes: &[u8]) {
    let counters = forwarder.counters.clone();
    let mut burst = Burst::new();
    burst.push(pool().frame(bytes).unwrap()).unwrap();
    let port = (PortId::new(PORT).unwrap(), &Bucket::of(1));
    forwarder.forward(&world.topology, port, &mut burst, &mut Flows::default(), 0, &counters);
}

/// Makes the one decision in the cache another one.
fn spoil(forwarder: &mut Forwarder, key: &FlowKey) {
    let hash = forwarder.cache.hash(key);
    let found = forwarder.cache.find(hash);
    let place = forwarder.cache.confirm(found, hash, key).expect("the flow is in the cache");
    forwarder.cache.at(place).unwrap().actions = Actions::unchanged(Verdict::Drop(DropReason::StormLimit));
}

/// The flow's entries.
fn cached(cache: &FlowCache) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(8);
    cache.dump(0, usize::MAX, 0, &mut entries);
    entries
}

#[test]
fn a_cached_decision_that_the_stages_do_not_share_is_counted_and_not_followed() {
    let (mut forwarder, world) = (forwarder(64), World::default());
    let counters = forwarder.counters.clone();
    let flows = &counters.flows;
    let denied = || counters.port(PortId::new(PORT).unwrap()).drops(DropReason::StormLimit);
    let bytes = Frame::between_stations(0, 1).bytes();
    send(&mut forwarder, &world, &bytes);
    let [entry] = cached(&forwarder.cache)[..] else { panic!("one flow is in the cache") };
    let (key, right) = (entry.key, entry.actions);
    assert!(matches!(right.verdict, Verdict::Port(_)), "{right:?}");

    // Nobody looks: what the cache says is done.
    spoil(&mut forwarder, &key);
    send(&mut forwarder, &world, &bytes);
    assert_eq!((denied(), flows.hits.get(), flows.verified.get(), flows.unsound.get()), (1, 1, 0, 0));

    // Each hit is decided anew: this one is none, its entry is the stages' now.
    forwarder.verify = 1;
    send(&mut forwarder, &world, &bytes);
    assert_eq!((flows.verified.get(), flows.unsound.get()), (1, 1));
    assert_eq!((denied(), flows.hits.get(), flows.missed.get()), (1, 1, 2), "the frame went by the stages");
    let [entry] = cached(&forwarder.cache)[..] else { panic!("the wrong entry is gone") };
    assert_eq!((entry.actions, entry.packets), (right, 1), "a new entry, with a count of its own");

    // And the next one agrees.
    send(&mut forwarder, &world, &bytes);
    assert_eq!((flows.verified.get(), flows.unsound.get(), flows.hits.get(), denied()), (2, 1, 2, 1));
}

#[test]
fn one_hit_in_so_many_is_decided_anew() {
    let (mut forwarder, world) = (forwarder(64), World::default());
    let counters = forwarder.counters.clone();
    let bytes = Frame::between_stations(0, 1).bytes();
    forwarder.verify = 4;
    for _ in 0..=40 {
        send(&mut forwarder, &world, &bytes);
    }
    assert_eq!((counters.flows.hits.get(), counters.flows.verified.get()), (40, 10));
    assert_eq!(counters.flows.unsound.get(), 0);
}

/// The wrong entry is gone before the frame goes by the stages: also when their decision is one that is not kept.
#[test]
fn a_hit_that_is_found_wrong_is_none() {
    let (mut forwarder, world) = (forwarder(64), World::default());
    let bytes = Frame::between_stations(0, 1).bytes();
    send(&mut forwarder, &world, &bytes);
    let [entry] = cached(&forwarder.cache)[..] else { panic!("one flow is in the cache") };
    spoil(&mut forwarder, &entry.key);
    forwarder.verify = 1;
    let (topology, port, counters) = (&world.topology, PortId::new(PORT).unwrap(), WorkerCounters::new());
    let changed = topology.stamps().ingress(port);
    let ours = counters.port(port);
    let scene = Scene { topology, port, inlet: topology.inlet(port), ours, now: 0, changed, storm: None };
    let (mut burst, mut flows) = (Burst::new(), [Flow::default()]);
    burst.push(pool().frame(&bytes).unwrap()).unwrap();
    forwarder.parse(&scene, &burst, &mut flows);
    forwarder.find(&mut flows);
    let mut frame = burst.pop().unwrap();
    assert_eq!(forwarder.hit(&scene, &flows[0], &mut frame), None);
    assert_eq!(cached(&forwarder.cache).len(), 0, "the wrong entry is still there");
}
