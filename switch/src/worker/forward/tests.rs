//! Soundness: whatever happened before, to the topology and in the cache, a hit gives what the stages give now, and both
//! give what a naive model, written from the rules and without tables, says.

mod hostile;
mod meter;
mod model;
mod policy;
mod recheck;
mod stateful;

use std::sync::{Arc, OnceLock};

use crossbeam::channel;
use proptest::prelude::*;
use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};

use super::*;
use crate::flow::FlowCache;
use crate::pipeline::{self, Packet, Silent};
use meter::Meter;
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

/// What is to be done with a frame, and the frame as edited.
type Outcome = (Actions, Result<(), DropReason>, Vec<u8>);

/// Whether a flood was let through, and the time-stamp counter before and after that was decided.
type Flood = (bool, std::ops::RangeInclusive<u64>);

/// What the cache gives for a frame, and what the stages give for a copy of it; and what becomes of a third, if it is to be
/// flooded.
struct Outcomes {
    cached: Outcome,
    uncached: Outcome,
    flood: Option<(NetworkId, Flood)>,
}

/// `None` when the frame may not come in at all.
fn outcomes(
    forwarder: &mut Forwarder,
    world: &World,
    (port, storm): (PortId, &Bucket),
    bytes: &[u8],
    now: u32,
) -> Option<Outcomes> {
    let topology = &world.topology;
    let inlet = topology.inlet(port);
    if !inlet.up {
        return None;
    }
    // Made once: there is one of everything for every port.
    let counters = forwarder.counters.clone();
    let changed = topology.stamps().ingress(port);
    let scene = Scene { topology, port, inlet, ours: counters.port(port), now, changed, storm: Some(storm) };
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
            return Some(Outcomes { cached: refused(&frame), uncached: refused(&fresh), flood: None });
        }
        _ => return None,
    }
    let mut thrown = pool().frame(bytes).unwrap();
    for frame in [&mut frame, &mut fresh, &mut thrown] {
        assert!(forwarder.open(&scene, &flow, frame), "no congestion here");
    }
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
    let flooded = match cached.verdict {
        Verdict::Flood(network) | Verdict::FloodInto(network) => Some(network),
        _ => None,
    };
    let flood = flooded.map(|network| {
        let refused = || counters.port(port).drops(DropReason::StormLimit);
        let (before, refused_before) = (clock::tsc(), refused());
        forwarder.execute(&scene, &cached, &flow, thrown);
        let passed = refused() == refused_before;
        (network, (passed, before..=clock::tsc()))
    });
    Some(Outcomes { cached: edited(cached, frame), uncached: edited(uncached, fresh), flood })
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
        play(entries, events, &mut |_, _| {})?;
    }
}

/// A port's floods, by the worker and by the naive meter.
struct Floods(Bucket, Meter);

/// Plays `events`, and says `seen` of each verdict that the model had an opinion about, whether it is IPv6, and of floods that were refused.
fn play(
    entries: usize,
    events: Vec<Event>,
    seen: &mut impl FnMut(Verdict, bool),
) -> Result<(), TestCaseError> {
    let (mut forwarder, mut world, mut now) = (forwarder(entries), World::default(), 0);
    let floods = |_| Floods(Bucket::of(1), Meter::new(clock::tsc_hz()));
    let mut floods: Vec<Floods> = (0..model::PORTS).map(floods).collect();
    for event in events {
        let (port, sent) = match event {
            Event::Change(change) => {
                world.apply(&change);
                continue;
            }
            Event::Wait(seconds) => {
                now += seconds;
                continue;
            }
            Event::Sent(port, sent) => (PortId::new(usize::from(port)).unwrap(), sent),
        };
        let bytes = sent.bytes();
        let Floods(bucket, meter) = &mut floods[port.index()];
        let Some(outcomes) = outcomes(&mut forwarder, &world, (port, bucket), &bytes, now) else {
            prop_assert!(bytes.len() < 14 || !world.is_up(port), "refused: {sent:?}");
            continue;
        };
        let Outcomes { cached, uncached, flood } = outcomes;
        prop_assert_eq!(&cached, &uncached, "cache and stages differ for {:?}", sent);
        if let Some(expected) = world.expects(port, &sent) {
            seen(expected.0, sent.is_six());
            let came = (uncached.0.verdict, without_port(uncached));
            prop_assert_eq!(came, expected, "the model differs for {:?}", sent);
        }
        if let Some((network, (passed, at))) = flood {
            let limit = world.storm_limit(network);
            let right = if limit == 0 { passed } else { meter.agrees(passed, limit, at) };
            prop_assert!(right, "a flood into {network:?}, limit {limit}, passed: {passed}");
            if !passed {
                seen(Verdict::Drop(DropReason::StormLimit), sent.is_six());
            }
        }
    }
    Ok(())
}

/// The property above says nothing of what never happens in it.
#[test]
fn the_model_speaks_of_every_rule() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    /// Enough for what happens rarely.
    const MOST: usize = 2_000;
    let in_both = [
        "reply",
        "port",
        "flood",
        "spoofed_ip",
        "spoofed_arp",
        "for_switch",
        "ttl_exceeded",
        "no_route",
        "not_routable",
        "no_station",
        "tunnel_inner_source",
    ];
    let wanted = [
        "reply",
        "consume",
        "port",
        "flood",
        "flood into",
        "flood local",
        "spoofed_mac",
        "spoofed_ip",
        "spoofed_arp",
        "no_station",
        "storm_limit",
        "same_port",
        "vlan_mismatch",
        "source_is_group",
        "source_is_gateway",
        "not_for_gateway",
        "for_switch",
        "ttl_exceeded",
        "no_route",
        "not_routable",
        "no_fdb_entry",
        "tunnel_unknown_peer",
        "tunnel_unknown_vni",
        "tunnel_inner_source",
        "split_horizon",
    ];
    let mut runner = TestRunner::deterministic();
    let mut missing: std::collections::BTreeSet<_> =
        wanted.map(|name| (name, false)).into_iter().chain(in_both.map(|name| (name, true))).collect();
    for _ in 0..MOST {
        if missing.is_empty() {
            break;
        }
        let events = prop::collection::vec(event(), 400).new_tree(&mut runner).unwrap().current();
        play(64, events, &mut |verdict, six| {
            let name = match verdict {
                Verdict::Drop(reason) | Verdict::Reject(reason, _) => reason.name(),
                Verdict::Reply => "reply",
                Verdict::Consume => "consume",
                Verdict::Port(_) => "port",
                Verdict::Flood(_) => "flood",
                Verdict::FloodInto(_) => "flood into",
                Verdict::FloodLocal(_) => "flood local",
            };
            missing.remove(&(name, false));
            missing.remove(&(name, six));
        })
        .unwrap();
    }
    assert!(missing.is_empty(), "{missing:?} never happened; true: not with IPv6");
}

/// In the demux network one station hears what is asked of it, and everybody what is for everybody; the switch itself answers for
/// its gateway. So the model says, too.
#[test]
fn a_solicitation_is_heard_by_the_station_that_is_asked_for() {
    let (mut forwarder, world) = (forwarder(64), World::default());
    let port = |number| PortId::new(number).unwrap();
    let bucket = Bucket::of(1);
    let mut verdict = |sent: &Sent| {
        let outcomes = outcomes(&mut forwarder, &world, (port(10), &bucket), &sent.bytes(), 0).unwrap();
        assert_eq!(outcomes.cached, outcomes.uncached);
        assert_eq!(world.expects(port(10), sent).unwrap().0, outcomes.uncached.0.verdict);
        outcomes.uncached.0.verdict
    };
    assert_eq!(verdict(&Sent::solicitation(5, false)), Verdict::Port(port(11)));
    assert_eq!(verdict(&Sent::solicitation(4, false)), Verdict::Drop(DropReason::SamePort));
    assert_eq!(verdict(&Sent::solicitation(1, false)), Verdict::Reply);
    assert_eq!(verdict(&Sent::solicitation(1, true)), Verdict::Reply);
    for (last, is_probe) in [(5, true), (4, true), (9, false)] {
        assert!(matches!(verdict(&Sent::solicitation(last, is_probe)), Verdict::Flood(_)), "{last}");
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
    let bucket = Bucket::of(1);
    let send = |forwarder: &mut Forwarder, world: &World| {
        let outcomes = outcomes(forwarder, world, (port, &bucket), &frame.bytes(), 0);
        assert!(outcomes.is_some_and(|outcomes| outcomes.cached == outcomes.uncached));
    };
    let station = |network, station, at| Change::Station { network, station, at, fixed: false };
    send(&mut forwarder, &world);
    assert_eq!(missed(&forwarder), 1);
    send(&mut forwarder, &world);
    world.apply(&station(2, 5, Some(At::Port(4))));
    world.apply(&station(2, 5, None));
    send(&mut forwarder, &world);
    assert_eq!(missed(&forwarder), 1, "changes in another network made the flow doubtful");
    world.apply(&station(0, 1, Some(At::Port(2))));
    send(&mut forwarder, &world);
    assert_eq!(missed(&forwarder), 2, "the destination moved, and the flow did not");
}
