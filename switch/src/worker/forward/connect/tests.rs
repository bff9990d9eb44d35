//! Masquerading against a naive model of RFC 4787: a map from who talks to whom to the port it got outside.

mod tcp;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use shunt_ffi::Burst;

use super::super::tests::{forwarder, pool};
use super::*;
use crate::counters::WorkerCounters;
use crate::flow::execute::{self, Rewrites};
use crate::ids::{NetworkId, PortId};
use crate::pipeline::Guise;
use crate::state::ports::Span;
use crate::state::tuple::Parts;
use crate::state::{Fragments, Limits, Size, Stock};
use crate::table::fdb::{self, Fdb, Place};
use crate::table::fib::{self, Fib, Route};
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::topology::{Crossing, Gateway, Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology};
use crate::wire::ethernet::Mac;
use crate::wire::protocol::{ICMP, UDP};

pub(in crate::worker::forward) const INSIDE: usize = 0;
pub(in crate::worker::forward) const OUTSIDE: usize = 1;
const STATIONS: u8 = 4;
/// The router's address outside.
pub(in crate::worker::forward) const MASQUERADE: [u8; 4] = [10, 0, 1, 254];

pub(in crate::worker::forward) fn gateway_mac(network: usize) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 0xfe, network as u8])
}

pub(in crate::worker::forward) fn station(network: usize, last: u8) -> ([u8; 4], Mac) {
    ([10, 0, network as u8, last], Mac::from_bytes([2, 0, 0, 0, network as u8, last]))
}

/// What may change while conversations go on.
#[derive(Clone, Copy, Debug)]
struct World {
    /// The pods' network is masqueraded.
    masquerade: bool,
    /// But not towards the other one (`snat`).
    excepted: bool,
    /// There is a route to somewhere else.
    elsewhere: bool,
    /// Which MAC addresses those outside have.
    macs: u8,
}

const FIRST: World = World { masquerade: true, excepted: false, elsewhere: false, macs: 0 };

fn network(number: usize, world: World) -> PlannedNetwork {
    let last = 1..=STATIONS;
    let shift = if number == OUTSIDE { world.macs } else { 0 };
    let station = |number, last| {
        let (address, Mac(mac)) = station(number, last);
        (address, Mac(mac + (u64::from(shift) << 8)))
    };
    let stations = last.clone().map(|last| fdb::Row {
        mac: station(number, last).1,
        place: Place::Port(PortId::new(number).unwrap()),
        fixed: true,
        last_seen: 0,
    });
    let neighbors = last.map(|last| neighbor::Row {
        address: station(number, last).0.into(),
        neighbor: Neighbor { mac: station(number, last).1, own: false, fixed: true },
        last_seen: 0,
    });
    let own: IpAddr = [10, 0, number as u8, 254].into();
    PlannedNetwork {
        fdb: Arc::new(Fdb::build(stations.collect::<Vec<_>>().into_iter())),
        neighbors: Arc::new(NeighborTable::build(neighbors.collect::<Vec<_>>().into_iter())),
        gateway: Some(Gateway {
            mac: gateway_mac(number),
            addresses: [(own, 24)].into(),
            router: RouterId::FIRST,
        }),
        crossing: Crossing {
            snat: Arc::from_iter(
                (world.excepted && number == INSIDE).then_some((NetworkId::new(OUTSIDE), false)),
            ),
            ..Crossing::default()
        },
        masquerade: world.masquerade && number == INSIDE,
        zone: 7,
        ..PlannedNetwork::plain(shunt_config::NetworkName::new(&format!("n{number}")).unwrap())
    }
}

/// Pods behind port 0, the world behind port 1.
fn topology(table: Arc<Table>, world: World, before: &Topology) -> Topology {
    let port = |number: usize| Port {
        max_frame: 1522,
        ..Port::plain(
            PortId::new(number).unwrap(),
            shunt_config::PortName::new(&format!("p{number}")).unwrap(),
            NetworkId::new(number),
        )
    };
    let connected = |number: usize| fib::Row {
        prefix: format!("10.0.{number}.0/24").parse().unwrap(),
        route: Route::Connected(NetworkId::new(number)),
    };
    let both = [INSIDE, OUTSIDE];
    let elsewhere = fib::Row { prefix: "10.9.0.0/16".parse().unwrap(), route: Route::Blackhole };
    let routes = both.map(connected).into_iter().chain(world.elsewhere.then_some(elsewhere));
    let plan = Plan {
        networks: both.map(|number| network(number, world)).into(),
        routers: vec![PlannedRouter {
            name: shunt_config::RouterName::new("r").unwrap(),
            fib: Arc::new(Fib::build(routes)),
        }],
        ports: both.map(port).into(),
        rewrites: Arc::new(Rewrites {
            connections: Some(table),
            fragments: Some(Arc::new(Fragments::new(3))),
            ..Rewrites::default()
        }),
        ..Plan::default()
    };
    Topology::build(before.generation() + 1, &plan).following(before)
}

/// A topology with a masqueraded network, that has no predecessor.
pub(in crate::worker::forward) fn masqueraded(table: Arc<Table>) -> Topology {
    topology(table, FIRST, &Topology::empty())
}

fn datagram(from: [u8; 4], to: [u8; 4], ports: (u16, u16), side: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, side as u8, from[3]], gateway_mac(side).bytes())
        .ipv4(from, to, 64)
        .udp(ports.0, ports.1)
        .write(&mut bytes, b"what is said")
        .unwrap();
    bytes
}

/// What comes out where: source, destination, ports. All checksums must be right.
type Out = (PortId, IpAddr, IpAddr, (u16, u16));

/// One datagram through cache, stages, table and edits.
fn pass(
    forwarder: &mut Forwarder,
    topology: &Topology,
    side: usize,
    bytes: &[u8],
    now: u32,
) -> Result<Out, DropReason> {
    let (to, bytes) = carry(forwarder, topology, side, bytes, now)?;
    let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4") };
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("not UDP") };
    let header = ip.header().to_header();
    assert_eq!((header.header_checksum, header.time_to_live), (header.calc_header_checksum(), 63));
    let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
    assert_eq!(udp.checksum(), sum, "the UDP checksum is right");
    let (source, destination) = (ip.header().source_addr(), ip.header().destination_addr());
    Ok((to, source.into(), destination.into(), (udp.source_port(), udp.destination_port())))
}

/// One frame; where it comes out, and as what.
fn carry(
    forwarder: &mut Forwarder,
    topology: &Topology,
    side: usize,
    bytes: &[u8],
    now: u32,
) -> Result<(PortId, Vec<u8>), DropReason> {
    let port = PortId::new(side).unwrap();
    let (counters, changed) = (WorkerCounters::new(), topology.stamps().ingress(port));
    let scene = Scene {
        topology,
        port,
        inlet: topology.inlet(port),
        ours: counters.port(port),
        now,
        changed,
        storm: None,
    };
    let (mut flows, mut burst) = ([Flow::default()], Burst::new());
    burst.push(pool().frame(bytes).unwrap()).unwrap();
    forwarder.parse(&scene, &burst, &mut flows);
    forwarder.find(&mut flows);
    let [flow] = flows;
    let mut frame = burst.pop().unwrap();
    let mut actions = match forwarder.hit(&scene, &flow, &mut frame) {
        Some(place) => forwarder.cache.actions(place),
        None => match forwarder.miss(&scene, &flow, &mut frame) {
            Ok(place) => forwarder.cache.actions(place),
            Err(decided) => decided.actions,
        },
    };
    // As `follow`: the straight way, else the long one; anew when the connection was removed.
    let straight = actions.edits.has(Edits::TRACK)
        && Forwarder::is_usual(&actions, &flow, &frame)
        && topology.rewrites().follow(&actions, flow.layout, now, &mut frame);
    if actions.edits.has(Edits::TRACK)
        && !straight
        && forwarder.track(&scene, &actions, &flow, &frame) == Ok(Track::Anew)
    {
        actions = forwarder.replace(&scene, &flow, &mut frame).actions;
        if actions.edits.has(Edits::TRACK) {
            assert_eq!(forwarder.track(&scene, &actions, &flow, &frame), Ok(Track::GoesOn));
        }
    }
    let to = match actions.verdict {
        Verdict::Port(to) => to,
        Verdict::Drop(reason) | Verdict::Reject(reason, _) => return Err(reason),
        other => panic!("nothing here is flooded or answered: {other:?}"),
    };
    if !straight {
        execute::edit(&actions, flow.layout, topology.rewrites(), &mut frame)?;
    }
    Ok((to, frame.to_vec()))
}

/// The port that is spoken to.
const TO: u16 = 53;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A pod speaks to somebody: pod, its port, whom.
    Out(u8, u16, u8),
    /// Somebody answers the conversation of that number, of those there have been.
    Back(usize),
    /// Somebody knocks at a port, from a port of his own: he may be one who is asked, or will be.
    Knock(u8, u16, u16),
    /// The conversation of that number is ended by hand.
    End(usize),
    /// Seconds pass.
    Wait(u32),
    /// The world is another one.
    Change(World),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..=STATIONS, 5000_u16..5003, 1..=STATIONS).prop_map(|(pod, port, to)| Event::Out(pod, port, to)),
        6 => any::<usize>().prop_map(Event::Back),
        2 => (1..=STATIONS, 5000_u16..5006, prop::sample::select(vec![TO, 99]))
            .prop_map(|(from, port, own)| Event::Knock(from, port, own)),
        1 => any::<usize>().prop_map(Event::End),
        2 => (0_u32..3).prop_map(Event::Wait),
        1 => (prop::bool::weighted(0.8), prop::bool::weighted(0.2), any::<bool>(), 0_u8..3).prop_map(
            |(masquerade, excepted, elsewhere, macs)| Event::Change(World { masquerade, excepted, elsewhere, macs })
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Every packet of a conversation gets the port that its first one got, no two conversations with one station share a
    /// port, every answer finds back, and nobody else gets in: with a large cache, a tiny one, and none, and whatever changes around
    /// it. While nothing is masqueraded nobody asks for conversations; those there were go on when it is again.
    #[test]
    fn conversations_stay_apart_and_answers_find_back(
        entries in prop::sample::select(vec![0_usize, 16, 4096]),
        events in prop::collection::vec(event(), 1..300),
    ) {
        let size = Size { capacity: 1024, threads: 2, limits: Limits::NONE };
        let table = Arc::new(Table::new(size, 3).unwrap());
        let mut world = FIRST;
        let mut topology = self::topology(table.clone(), world, &Topology::empty());
        let (mut forwarder, mut stock, mut now) = (forwarder(entries), Stock::default(), 0);
        let (inside, outside) = (PortId::new(INSIDE).unwrap(), PortId::new(OUTSIDE).unwrap());
        // By pod, its port and whom it speaks to: the port outside.
        let mut model: HashMap<(u8, u16, u8), u16> = HashMap::new();
        let mut order: Vec<(u8, u16, u8)> = Vec::new();
        for event in events {
            match event {
                Event::Out(pod, port, to) => {
                    let (from, far) = (station(INSIDE, pod).0, station(OUTSIDE, to).0);
                    let sent = datagram(from, far, (port, TO), INSIDE);
                    let (out, source, destination, ports) = pass(&mut forwarder, &topology, INSIDE, &sent, now).unwrap();
                    prop_assert_eq!((out, destination, ports.1), (outside, far.into(), TO));
                    let known = model.contains_key(&(pod, port, to));
                    if !world.masquerade || world.excepted && !known {
                        prop_assert_eq!((source, ports.0), (from.into(), port), "as it came");
                        continue;
                    }
                    prop_assert_eq!(source, IpAddr::from(MASQUERADE));
                    match model.insert((pod, port, to), ports.0) {
                        Some(known) => prop_assert_eq!(ports.0, known, "its port stays"),
                        None => order.push((pod, port, to)),
                    }
                    let same = model.iter().filter(|(who, port)| who.2 == to && **port == ports.0).count();
                    prop_assert_eq!(same, 1, "a port is one conversation's");
                }
                Event::Back(index) if !order.is_empty() => {
                    let (pod, port, to) = order[index % order.len()];
                    let far = station(OUTSIDE, to).0;
                    let sent = datagram(far, MASQUERADE, (TO, model[&(pod, port, to)]), OUTSIDE);
                    let came = pass(&mut forwarder, &topology, OUTSIDE, &sent, now);
                    let back = Ok((inside, far.into(), station(INSIDE, pod).0.into(), (TO, port)));
                    prop_assert_eq!(came, if world.masquerade { back } else { Err(DropReason::ForSwitch) });
                }
                Event::Knock(from, port, own) => {
                    let far = station(OUTSIDE, from).0;
                    let sent = datagram(far, MASQUERADE, (own, port), OUTSIDE);
                    let asked = model.iter().find(|(who, seen)| who.2 == from && **seen == port && own == TO);
                    let meant = match asked.filter(|_| world.masquerade) {
                        Some(((pod, theirs, _), _)) => {
                            Ok((inside, far.into(), station(INSIDE, *pod).0.into(), (own, *theirs)))
                        }
                        None => Err(DropReason::ForSwitch),
                    };
                    prop_assert_eq!(pass(&mut forwarder, &topology, OUTSIDE, &sent, now), meant);
                }
                Event::End(index) if !order.is_empty() => {
                    let who = order.swap_remove(index % order.len());
                    model.remove(&who);
                    let mut rows = Vec::with_capacity(2048);
                    prop_assert_eq!(table.list(0, 1 << 20, &mut rows), None);
                    let (source, destination) = (station(INSIDE, who.0).0, station(OUTSIDE, who.2).0);
                    let meant = rows.iter().find(|row| {
                        let parts = row.original.parts();
                        (parts.source, parts.destination, parts.source_port)
                            == (IpAddr::from(source), IpAddr::from(destination), who.1)
                    });
                    let ended = table.remove(&mut stock, meant.unwrap().conn);
                    prop_assert!(matches!(ended, Removal::Removed(_)));
                }
                Event::Wait(seconds) => now += seconds,
                Event::Change(next) => {
                    world = next;
                    topology = self::topology(table.clone(), world, &topology);
                }
                Event::Back(_) | Event::End(_) => {}
            }
        }
    }
}

/// What a router says about ports is for TCP, UDP and SCTP that it masquerades, and for no longer than it says so.
#[test]
fn ports_of_the_router() {
    let size = Size { capacity: 1024, threads: 2, limits: Limits::NONE };
    let table = Arc::new(Table::new(size, 3).unwrap());
    let (near, far) = (station(INSIDE, 1).0, station(OUTSIDE, 1).0);
    let original = |protocol, ports: (u16, u16)| {
        let (source, destination, (source_port, destination_port)) = (near.into(), far.into(), ports);
        Tuple::new(&Parts { zone: 1, protocol, source, destination, source_port, destination_port }).unwrap()
    };
    let guise = |ports| Guise { ports, ..Guise::own([10, 0, 1, 99].into(), false) };
    let mut openings = Openings::new(1, 3, 7);
    let mut enter = |protocol, ports, span: Option<Span>| {
        let tuple = original(protocol, ports);
        let opens = Opens { source: Some(guise(span)), ..Opens::plain(tuple) };
        let opening = Opening::untracked(&tuple).unwrap();
        let found = openings.enter(&table, &opens, opening, 5)?;
        Ok::<_, DropReason>(table.get(found.conn).unwrap().path(Direction::Original).1.source_port())
    };
    let few = Some(Span { first: 40_000, last: 40_003 });
    let mut used: Vec<_> = (1..5).map(|port| enter(UDP, (port, 53), few).unwrap()).collect();
    used.sort_unstable();
    assert_eq!(used, [40_000, 40_001, 40_002, 40_003], "those of other workers, too");
    assert_eq!(enter(UDP, (5, 53), few), Err(DropReason::MasqueradePorts));
    assert_eq!(enter(UDP, (40_002, 54), few), Ok(40_002), "its own is one of them");
    assert_eq!(enter(ICMP, (5009, 8 << 8), few), Ok(5009), "an identifier is no port");
    assert_eq!(enter(UDP, (6000, 53), None), Ok(6000));
    let others = Some(Span { first: u16::MAX, last: u16::MAX });
    assert_eq!(enter(UDP, (5, 53), others), Ok(u16::MAX));
    assert_eq!(enter(UDP, (6, 53), others), Err(DropReason::MasqueradePorts));
}

/// Few ports for many connections: each has one, and what is one too many is refused until one ends.
#[test]
fn snat_with_port_range_with_exhaustion() {
    let size = Size { capacity: 1024, threads: 2, limits: Limits::NONE };
    let table = Arc::new(Table::new(size, 3).unwrap());
    let topology = masqueraded(table.clone());
    let (mut forwarder, mut stock) = (forwarder(4096), Stock::default());
    forwarder.openings.own = Share::new(34_567..=34_568, 0, 1, 1);
    let far = station(OUTSIDE, 1).0;
    let mut send = |pod: u8, port: u16, to: u16| {
        let sent = datagram(station(INSIDE, pod).0, far, (port, to), INSIDE);
        pass(&mut forwarder, &topology, INSIDE, &sent, 0).map(|(_, _, _, ports)| ports.0)
    };
    let mut ports = [send(1, 5000, 53).unwrap(), send(2, 5000, 53).unwrap()];
    ports.sort_unstable();
    assert_eq!(ports, [34_567, 34_568], "nobody's own port is in the range");
    assert_eq!(send(3, 5000, 53), Err(DropReason::MasqueradePorts));
    // To another port of the same station there are as many again; and who has one keeps it.
    assert!(send(3, 5000, 54).is_ok() && send(4, 5000, 54).is_ok());
    assert_eq!(send(1, 5001, 54), Err(DropReason::MasqueradePorts));
    assert!(send(1, 5000, 53).is_ok());
    let mut rows = Vec::with_capacity(64);
    table.list(0, 1 << 20, &mut rows);
    let first = rows.iter().find(|row| row.original.source() == IpAddr::from(station(INSIDE, 2).0)).unwrap();
    assert!(matches!(table.remove(&mut stock, first.conn), Removal::Removed(_)));
    assert!(send(3, 5000, 53).is_ok());
}
