//! Soundness with state: services, masquerading, static translations and policies at once, over topologies that change, with
//! workers that share their connections, against a naive model. Three switches that differ in what must not matter (a large cache that is verified, a tiny one, none; the
//! hashes of their tables; services made from those before, or anew) must do the same, byte for byte.
//!
//! | module | holds |
//! |---|---|
//! | [`places`] | who is where |
//! | [`world`] | what the switch is told, and what may change |
//! | [`frames`], [`sctp`], [`pieces`] | packets, and what they are in |
//! | [`switch`] | the switch under test |
//! | [`model`], [`services`], [`way`] | the rules |
//! | [`lives`] | how far connections have come, and what is due next |
//! | [`keeping`] | which of them go on after a change |
//! | [`events`] | what may happen |
//! | [`play`] | rounds of it |
//! | [`judge`] | what was seen of a packet, against the rules |
//! | [`ledger`] | what must hold of the table of connections |

mod events;
mod frames;
mod judge;
mod keeping;
mod ledger;
mod lives;
mod model;
mod pieces;
mod places;
mod play;
mod sctp;
mod services;
mod switch;
mod way;
mod world;

use proptest::prelude::*;

use crate::drop::DropReason;
use crate::wire::protocol::SCTP;
use events::Event;
use frames::Talk;
use lives::{Does, Life};
use play::Round;
use world::{Change, World};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cached_uncached_and_the_rules_agree_with_state(
        world in world::world(),
        events in prop::collection::vec(events::event(), 1..200),
    ) {
        let mut round = Round::new(world);
        for event in &events {
            round.play(event)?;
        }
        round.end()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Endpoints may stop being ready, terminate, weigh nothing and come back, others come; other services come and go; what is
    /// masqueraded, where routes lead and which MAC addresses stations have may change.
    #[test]
    fn established_traffic_survives_whatever_leaves_its_backend_alive(
        world in world::world(),
        clients in prop::collection::vec(events::client(), 1..30),
        changes in prop::collection::vec(world::harmless(), 1..30),
    ) {
        let services = [world.services[0].clone(), world.services[1].clone(), None];
        let mut round = Round::new(World { services, cluster: Default::default(), ..world });
        for client in &clients {
            round.play(client)?;
        }
        for event in [Event::Back as fn(usize) -> Event, Event::On, Event::Back] {
            for which in 0..round.model.open.len() {
                round.play(&event(which))?;
            }
        }
        let established = round.established();
        for change in &changes {
            round.change(change, false);
            for talk in &established {
                prop_assert!(round.talks(talk)?, "{:?} did not survive {:?}", talk, change);
            }
        }
        round.end()?;
    }
}

/// The property above says nothing of what never happens in it.
#[test]
fn rounds_come_across_every_rule() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        if judge::WANTED.iter().all(|name| seen.contains(name)) {
            return;
        }
        let world = world::world().new_tree(&mut runner).unwrap().current();
        let events = prop::collection::vec(events::event(), 200).new_tree(&mut runner).unwrap().current();
        let mut round = Round::new(world);
        for event in &events {
            round.play(event).unwrap_or_else(|error| panic!("{event:?}: {error}"));
            if matches!(event, Event::Wait(_)) {
                round.check().unwrap();
            }
        }
        round.end().unwrap();
        seen.append(&mut round.seen);
    }
    panic!("only these happened: {seen:?}");
}

/// One that leaves with its station's floating address makes way for a single port, like any that it is not about.
#[test]
fn connections_end_where_a_port_comes_to_lead_inside() {
    let mut round = Round::new(World { floating: Some(0), ..World::default() });
    round.say(0, 5000, places::lent(false), 5353);
    assert_eq!(round.model.open[0].reply.to, places::floating(false));
    round.change(&Change::Forward(Some(2)), false);
    round.check().unwrap();
    assert!(round.model.open.is_empty());
    round.say(0, 5000, places::lent(false), 5353);
    assert_eq!(round.model.open[0].reply.from, places::address(2, false));
    round.end().unwrap();
}

/// Nor do those stay whose address the pool, or their prefix, has no more; others do.
#[test]
fn connections_end_with_the_address_of_the_pool_and_of_their_prefix() {
    let pool = [true, false];
    let mut round = Round::new(World { masquerade: [true, false], pool, ..World::default() });
    let outside = places::address(places::UPLINK, false);
    round.say(0, 5000, outside, 80);
    assert_eq!(round.model.open[0].reply.to, places::pool(0, false));
    round.change(&Change::Pool([true; 2]), false);
    round.check().unwrap();
    assert_eq!(round.model.open.len(), 1, "it stays with the one that it has");
    round.change(&Change::Pool([false, true]), false);
    round.check().unwrap();
    assert!(round.model.open.is_empty());
    round.change(&Change::Sourced([true; 2]), false);
    round.say(1, 5000, outside, 80);
    assert_eq!(round.model.open[0].reply.to, places::sourced(1, false));
    round.change(&Change::Sourced([true, false]), false);
    round.check().unwrap();
    assert!(round.model.open.is_empty());
    round.end().unwrap();
}

/// What a worker has cached is of an association that another one has replaced since, and whose successor has ended, too: the INIT
/// of the next one goes its way at once.
#[test]
fn an_init_is_not_lost_to_two_associations_that_have_ended() {
    let mut round = Round::new(World { floating: Some(0), ..World::default() });
    let (from, to) = (places::address(3, false), places::floating(false));
    round.by(0);
    round.first(Talk { protocol: SCTP, from, to, ports: (5000, 2905) }).unwrap();
    round.by(1);
    let ends = [Does::GoesOn, Does::GoesOn, Does::GoesOn, Does::GoesOn, Does::Resets];
    round.converse(0, &[&ends[..], &[Does::GoesOn]].concat()).unwrap();
    round.converse(0, &ends).unwrap();
    assert_eq!(round.model.open[0].life, Life::Closed);
    round.by(0);
    let original = round.model.open[0].original;
    round.first(original).unwrap();
    assert!(round.passed);
    round.end().unwrap();
}

/// A pool's address has no station behind it: what is no answer is not sent to all of the network, with our own address as its
/// sender and its receiver.
#[test]
fn what_comes_to_the_pool_and_is_no_answer_is_refused() {
    let masquerade = [true, false];
    let mut round = Round::new(World { pool: [true; 2], masquerade, ..World::default() });
    let to = places::pool(0, false);
    round.say(places::UPLINK, 5000, to, 80);
    assert_eq!(round.seen.last(), Some(&DropReason::ForSwitch.name()));
    assert_eq!(round.seen.len(), 1);
    round.end().unwrap();
}

/// The reason for a drop that was found out about a backend is not kept for longer than the backend.
#[test]
fn another_backend_is_tried_as_soon_as_there_is_one() {
    let [lost, found] = [places::far(false), places::address(1, false)];
    let [service, other] = [lost, found].map(|backend| world::plain(0, &[backend]));
    let world = World { services: [Some(service.clone()), None, None], ..World::default() };
    let mut round = Round::new(world);
    let front = service.cluster_ips[0];
    for _ in 0..3 {
        round.say(3, 5000, front, 53);
    }
    assert_eq!(round.seen, ["no_route"].into());
    round.change(&Change::Service(0, Some(other.clone())), false);
    round.say(3, 5000, front, 53);
    assert!(round.seen.contains("to a service"));
    // The same of a connection that there is, while there is no way to its backend.
    round.change(&Change::Service(0, Some(service)), false);
    round.change(&Change::DefaultRoute(true), false);
    round.say(3, 5000, front, 53);
    round.change(&Change::DefaultRoute(false), false);
    for _ in 0..3 {
        round.say(3, 5000, front, 53);
    }
    assert_eq!((round.model.open.len(), round.model.open[0].reply.from), (1, lost));
    round.change(&Change::Service(0, Some(other)), false);
    round.say(3, 5000, front, 53);
    assert_eq!((round.model.open.len(), round.model.open[0].reply.from), (1, found));
    round.end().unwrap();
}

/// A connection ends when the floating address that it has is taken back, whatever else it goes by, and so does one that was
/// under way to such an address before that stood for somebody.
#[test]
fn connections_end_with_their_floating_address() {
    let world = World { floating: Some(0), default_route: true, ..World::default() };
    let services = [Some(world::plain(0, &[places::address(places::OTHER, false)])), None, None];
    let mut round = Round::new(World { services, ..world });
    round.say(0, 5000, world::addresses(0, false)[0], 53);
    assert_eq!(round.model.open[0].reply.to, places::floating(false));
    round.change(&Change::Floating(Some(1)), false);
    round.check().unwrap();
    assert!(round.model.open.is_empty());
    round.change(&Change::Masquerade(0, true), false);
    round.change(&Change::Floating(None), false);
    round.say(0, 5000, places::floating(false), 80);
    assert_eq!(round.model.open[0].reply.to, places::gateway(places::OUTSIDE, false));
    round.change(&Change::Floating(Some(3)), false);
    round.check().unwrap();
    round.say(0, 5000, places::floating(false), 80);
    assert_eq!(round.model.open[0].reply.from, places::address(3, false));
    round.end().unwrap();
}
