//! A round: what stations send and what changes meanwhile, through all switches and past the model.

use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;

use super::frames::{REQUEST, ROUTED, Segment, TTL, Talk, Wire, complaint};
use super::model::{Backend, Client, Connection, End, From, Life, Model, Opens, Sent, Way, due, goes_on};
use super::places::{self, STATIONS, address, gateway, gateway_mac, network_of};
use super::switch::{Make, Seen, Switch, station_mac};
use super::world::{self, Change, SERVICES, World};
use super::{ledger, world as of};
use crate::drop::DropReason;
use crate::wire::ethernet::Mac;
use crate::wire::protocol::{ICMP, TCP, UDP};

/// Whom a station speaks to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// A service: its number, by which kind of address, and which of its ports; none is one that it does not have.
    Service(usize, usize, Option<usize>),
    /// A station, at a port.
    Station(usize, u16),
    Floating(u16),
    Far,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Station, protocol, family, port, whom.
    Open(usize, u8, bool, u16, To),
    /// The one who opened the connection of that number sends on.
    On(usize),
    /// The other end answers.
    Back(usize),
    /// One side resets the connection.
    Reset(usize, bool),
    /// The receiver of a packet, or of an answer, complains that nobody is there.
    Complain(usize, bool),
    /// One side sends a packet of a connection that is no more.
    Stray(usize, bool),
    /// The connection of that number is ended by hand.
    End(usize),
    /// Seconds pass, and what was silent for too long is ended.
    Wait(u32),
    /// Something changes; connections are gone through at once, or only later.
    Change(Change, bool),
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        8 => (0..SERVICES, 0..4_usize, prop::option::weighted(0.95, 0..2_usize))
            .prop_map(|(number, kind, port)| To::Service(number, kind, port)),
        2 => (0..STATIONS, select(&[80_u16, 81, 53][..])).prop_map(|(station, port)| To::Station(station, port)),
        1 => select(&[80_u16, 81][..]).prop_map(To::Floating),
        1 => Just(To::Far),
    ]
}

fn open() -> impl Strategy<Value = Event> {
    let protocol = select(&[TCP, TCP, UDP, UDP, UDP, ICMP][..]);
    // Few ports, so that connections meet; 80 is one that servers answer from, 700 a well-known one.
    let port = select(&[5000_u16, 5000, 5001, 5002, 80, 700][..]);
    (0..STATIONS, protocol, prop::bool::weighted(0.4), port, to())
        .prop_map(|(station, protocol, v6, port, to)| Event::Open(station, protocol, v6, port, to))
}

/// A client of one of the first two services.
pub(super) fn client() -> impl Strategy<Value = Event> {
    let (from, kind) = ((0..STATIONS, any::<bool>(), 5000_u16..5003), (0..2_usize, 0..4_usize));
    (from, kind, 0..2_usize).prop_map(|((station, v6, port), (number, kind), at)| {
        let protocol = if at == 0 { TCP } else { UDP };
        Event::Open(station, protocol, v6, port, To::Service(number, kind, Some(at)))
    })
}

/// What stations do, and time.
pub(super) fn traffic() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => open(),
        6 => any::<usize>().prop_map(Event::On),
        8 => any::<usize>().prop_map(Event::Back),
        1 => any::<(usize, bool)>().prop_map(|(which, side)| Event::Reset(which, side)),
        1 => any::<(usize, bool)>().prop_map(|(which, side)| Event::Stray(which, side)),
        2 => any::<(usize, bool)>().prop_map(|(which, side)| Event::Complain(which, side)),
        1 => any::<usize>().prop_map(Event::End),
        2 => select(&[0_u32, 1, 1, 2, 12, 31, 61][..]).prop_map(Event::Wait),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => traffic(),
        1 => (of::change(), any::<bool>()).prop_map(|(change, late)| Event::Change(change, late)),
    ]
}

/// All switches, the model, and what is known of the past.
pub(super) struct Round {
    pub(super) world: World,
    pub(super) switches: Vec<Switch>,
    pub(super) model: Model,
    pub(super) now: u32,
    /// What the first packet of ended connections came with, and what answered it.
    past: Vec<(Talk, Talk)>,
    /// Connections are yet to be gone through.
    unclean: bool,
    /// TCP connections so far: each has numbers of its own.
    numbers: u32,
    /// Packets so far.
    sent: u32,
    /// What was chosen for whom among which backends.
    chosen: HashMap<(Vec<Backend>, Talk, bool), Backend>,
    /// The last packet came through.
    passed: bool,
    /// What happened, by name.
    pub(super) seen: std::collections::BTreeSet<&'static str>,
}

type Outcome = Result<(), TestCaseError>;

impl Round {
    pub(super) fn new(world: World) -> Self {
        let makes = [
            Make { entries: 4096, verify: 1, seed: 3, forgets: false },
            Make { entries: 16, verify: 0, seed: 4, forgets: false },
            Make { entries: 0, verify: 0, seed: 5, forgets: true },
        ];
        Self {
            switches: makes.into_iter().map(|make| Switch::new(make, &world)).collect(),
            world,
            model: Model::default(),
            now: 0,
            past: Vec::new(),
            unclean: false,
            numbers: 0,
            sent: 0,
            chosen: HashMap::new(),
            passed: false,
            seen: Default::default(),
        }
    }

    pub(super) fn play(&mut self, event: &Event) -> Outcome {
        match *event {
            Event::Open(station, protocol, v6, port, to) => self.open(station, protocol, v6, port, to),
            Event::On(which) => self.go_on(which, false, false),
            Event::Back(which) => self.go_on(which, true, false),
            Event::Reset(which, side) => self.go_on(which, side, true),
            Event::Stray(which, side) => self.stray(which, side),
            Event::Complain(which, side) => self.complain(which, side),
            Event::End(which) => {
                if let Some(at) = pick(&self.model.open, which) {
                    let ended = self.model.open.remove(at);
                    self.switches.iter_mut().for_each(|switch| switch.end(&ended.original.tuple()));
                    self.past.push((ended.original, ended.reply));
                }
                Ok(())
            }
            Event::Wait(seconds) => {
                self.clean();
                self.wait(seconds);
                Ok(())
            }
            Event::Change(ref change, late) => {
                self.change(change, late);
                Ok(())
            }
        }
    }

    pub(super) fn change(&mut self, change: &Change, late: bool) {
        self.clean();
        self.unclean = self.world.apply(change);
        self.switches.iter_mut().for_each(|switch| switch.follow(&self.world));
        if !late {
            self.clean();
        }
    }

    /// Goes through all connections, as the control thread does after a change.
    fn clean(&mut self) {
        if std::mem::take(&mut self.unclean) {
            self.switches.iter_mut().for_each(Switch::clean);
            let world = self.world.clone();
            self.forget(|it| goes_on(&world, it));
        }
    }

    fn wait(&mut self, seconds: u32) {
        self.now += seconds;
        let now = self.now;
        self.switches.iter_mut().for_each(|switch| switch.sweep(now));
        self.forget(|it| now - it.last < it.patience());
    }

    fn forget(&mut self, keeps: impl Fn(&Connection) -> bool) {
        let gone = self.model.open.iter().filter(|it| !keeps(it)).map(|it| (it.original, it.reply));
        self.past.extend(gone);
        self.model.open.retain(keeps);
    }

    fn open(&mut self, station: usize, protocol: u8, v6: bool, port: u16, to: To) -> Outcome {
        let (to, at) = match to {
            To::Service(number, kind, which) => {
                let ports = which.map(|which| world::ports(number)[which]);
                let address = world::addresses(number, v6).get(kind).copied();
                match address {
                    Some(address) => (address, ports.map_or(7, |(_, port, _)| port)),
                    None => {
                        (gateway(network_of(station), v6), ports.map_or(7, |(_, _, node_port)| node_port))
                    }
                }
            }
            To::Station(station, port) => (address(station, v6), port),
            To::Floating(port) => (places::floating(v6), port),
            To::Far => (places::far(v6), 443),
        };
        let ports = (port, if protocol == ICMP { REQUEST } else { at });
        let talk = Talk { protocol, from: address(station, v6), to, ports };
        let known = self.model.find(&talk);
        if let Some((at, _, answers)) = known {
            return self.go_on(at, answers, false);
        }
        self.first(talk)
    }

    /// A datagram of IPv4.
    pub(super) fn say(&mut self, station: usize, port: u16, to: IpAddr, at: u16) {
        let talk = Talk { protocol: UDP, from: address(station, false), to, ports: (port, at) };
        self.send(talk, Segment::default()).unwrap();
    }

    /// A first packet: of TCP a SYN.
    fn first(&mut self, talk: Talk) -> Outcome {
        self.numbers += 1;
        let sequence = self.numbers * 100_000;
        let syn = talk.protocol == TCP;
        self.send(talk, Segment { syn, sequence: if syn { sequence } else { 0 }, ..Segment::default() })
    }

    /// The next packet of a connection, from one side.
    fn go_on(&mut self, which: usize, answers: bool, resets: bool) -> Outcome {
        let Some(at) = pick(&self.model.open, which) else { return Ok(()) };
        let it = self.model.open[at];
        if it.life == Life::Closed && !answers {
            return self.first(it.original);
        }
        match due(&it, answers, resets) {
            Some((segment, _)) => self.send(if answers { it.reply } else { it.original }, segment),
            None => Ok(()),
        }
    }

    /// Connections that both sides have spoken in, by what their first packets came with.
    pub(super) fn established(&self) -> Vec<Talk> {
        self.model.open.iter().filter(|it| it.both && it.life != Life::Closed).map(|it| it.original).collect()
    }

    /// Sends a packet of a connection each way: true when both came through, as of the connection.
    pub(super) fn talks(&mut self, original: &Talk) -> Result<bool, TestCaseError> {
        for answers in [false, true] {
            let Some((at, _, false)) = self.model.find(original) else { return Ok(false) };
            self.passed = false;
            self.go_on(at, answers, false)?;
            if !self.passed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn stray(&mut self, which: usize, answers: bool) -> Outcome {
        let Some(at) = pick(&self.past, which) else { return Ok(()) };
        let talk = if answers { self.past[at].1 } else { self.past[at].0 };
        if let Some((at, _, answers)) = self.model.find(&talk) {
            return self.go_on(at, answers, false);
        }
        match talk.protocol {
            UDP => self.send(talk, Segment::default()),
            TCP if !answers => {
                self.numbers += 1;
                let acknowledges = Some(self.numbers * 100_000 + 50_001);
                self.send(
                    talk,
                    Segment { sequence: self.numbers * 100_000 + 1, acknowledges, ..Segment::default() },
                )
            }
            ICMP if !answers => self.send(talk, Segment::default()),
            _ => Ok(()),
        }
    }

    /// The receiver of a packet sends an error about it back.
    fn complain(&mut self, which: usize, answers: bool) -> Outcome {
        let Some(at) = pick(&self.model.open, which) else { return Ok(()) };
        let it = self.model.open[at];
        let got = if answers { it.original.back() } else { it.reply.back() };
        let talk = Talk { protocol: ICMP, from: got.to, to: got.from, ports: (0, 0) };
        let Some((sent, macs)) = self.between(talk, Segment::default()) else { return Ok(()) };
        let error = complaint(macs, TTL, (talk.from, talk.to), got);
        let seen = self.through(sent.station, &error, 1, &talk)?;
        let (end, about) = match self.is_tracked(&sent) {
            true => Model::complains(&self.world, &it, answers, &sent),
            // Nobody looks at it, and both are of one network.
            false => match sent.straight {
                Some(to) => (End::Out { to, talk, routed: false }, got),
                None => return Ok(()),
            },
        };
        match end {
            End::Out { to, talk, routed } => {
                let (from, ttl) = match routed {
                    true => (gateway_mac(network_of(to)), ROUTED),
                    false => (macs.0, TTL),
                };
                let meant = complaint((from, station_mac(to, &self.world)), ttl, (talk.from, talk.to), about);
                prop_assert_eq!(&seen.out, &[(to, meant)], "an error about {:?}, {:?}", got, seen.lost);
                self.seen.insert("an error");
            }
            End::Lost(reason) | End::Refused(reason) => {
                prop_assert_eq!(
                    (&seen.lost[..], seen.out.len()),
                    (&[reason][..], 0),
                    "an error about {:?}",
                    got
                );
            }
            End::Echoed => panic!("an error is not answered"),
        }
        Ok(())
    }

    /// Sends a packet through every switch; they and the model must agree.
    fn send(&mut self, talk: Talk, segment: Segment) -> Outcome {
        let Some((sent, macs)) = self.between(talk, segment) else { return Ok(()) };
        let wire = Wire { macs, ttl: TTL, talk, segment };
        // Some come twice in one burst, as retransmissions may.
        self.sent += 1;
        let copies = if segment.reset { 1 } else { 1 + usize::from(self.sent.is_multiple_of(3)) };
        let seen = self.through(sent.station, &wire.bytes(), copies, &talk)?;
        self.judge(&sent, &seen)
    }

    /// Who sends a packet, and from which MAC address to which; `None` when nobody does, or to himself.
    fn between(&self, talk: Talk, segment: Segment) -> Option<(Sent, (Mac, Mac))> {
        let station = self.world.home(talk.from)?;
        let near = places::subnet_of(talk.to) == Some(network_of(station));
        let straight = self.world.home(talk.to).filter(|_| near);
        if straight == Some(station) {
            return None;
        }
        let receiver = straight.map_or(gateway_mac(network_of(station)), |to| station_mac(to, &self.world));
        Some((Sent { station, straight, talk, segment }, (station_mac(station, &self.world), receiver)))
    }

    /// A frame through every switch, which must do the same with it.
    fn through(
        &mut self,
        station: usize,
        bytes: &[u8],
        copies: usize,
        talk: &Talk,
    ) -> Result<Seen, TestCaseError> {
        let now = self.now;
        let mut all = self.switches.iter_mut().map(|switch| switch.send(station, bytes, copies, now));
        let seen = all.next().unwrap();
        for (number, other) in all.enumerate() {
            prop_assert_eq!(&seen, &other, "switch {} differs from the first for {:?}", number + 1, talk);
        }
        let unsound = self.switches[0].unsound();
        prop_assert_eq!(unsound, 0, "the cache had another decision than the stages for {:?}", talk);
        Ok(seen)
    }

    /// Holds what was seen against the model, and notes what follows from it.
    fn judge(&mut self, sent: &Sent, seen: &Seen) -> Outcome {
        let looks = self.switches[0].looks();
        // A connection that has ended makes way for the next.
        if sent.segment.syn
            && let Some((at, _, false)) = self.model.find(&sent.talk)
            && self.model.open[at].life == Life::Closed
        {
            let ended = self.model.open.remove(at);
            self.past.push((ended.original, ended.reply));
            self.seen.insert("reopened");
        }
        let ways = self.model.ways(&self.world, looks, sent, self.now);
        let fitting: Vec<&Way> = ways.iter().filter(|way| self.fits(way, sent, seen)).collect();
        prop_assert!(
            !fitting.is_empty(),
            "the model differs for {:?}: {:?} {}, not one of {:?}\nconnections {:?}\nworld {:?}",
            sent,
            seen.lost,
            told(seen),
            ways,
            self.model.open,
            self.world
        );
        self.note(sent, &ways, *fitting[0], fitting.len() == 1, seen)
    }

    /// True when what was seen is what a way says.
    fn fits(&self, way: &Way, sent: &Sent, seen: &Seen) -> bool {
        let back = seen.out.iter().all(|(port, _)| *port == sent.station) && seen.out.len() < 2;
        match way.end {
            End::Lost(reason) => seen.lost == [reason] && back,
            End::Refused(reason) => {
                seen.lost == [reason] && back && seen.out.len() == 1 && says_no(sent, seen)
            }
            End::Echoed => {
                let is_answer = |(_, bytes): &(usize, Vec<u8>)| {
                    Wire::read(bytes).is_some_and(|wire| wire.talk == sent.talk.back())
                };
                seen.lost.is_empty() && back && seen.out.iter().any(is_answer)
            }
            End::Out { to, talk, routed } => {
                let [(port, bytes)] = &seen.out[..] else { return false };
                let Some(wire) = Wire::read(bytes) else { return false };
                let gateway =
                    if routed { gateway_mac(network_of(to)) } else { station_mac(sent.station, &self.world) };
                let macs = (gateway, station_mac(to, &self.world));
                let ttl = if routed { ROUTED } else { TTL };
                seen.lost.is_empty()
                    && *port == to
                    && (wire.macs, wire.ttl, wire.segment) == (macs, ttl, sent.segment)
                    && match way.opens {
                        None => wire.talk == talk,
                        Some(opens) => self.opens_so(talk, &opens, wire.talk),
                    }
            }
        }
    }

    /// True when a connection that the model would send on as `talk` may have become `came`.
    fn opens_so(&self, talk: Talk, opens: &Opens, came: Talk) -> bool {
        let mut meant = talk;
        if opens.pooled && places::pool().contains(&came.from) {
            meant.from = came.from;
        } else if opens.pooled {
            return false;
        }
        let own = meant.ports.0 >= 1024 || opens.from == From::Own;
        if own && self.model.is_free(&meant.back()) {
            return came == meant;
        }
        meant.ports.0 = came.ports.0;
        came == meant && came.ports.0 >= 1024 && self.model.is_free(&came.back())
    }

    /// What follows for the model from a packet that went a way; `sure`: no other way would have looked the same.
    fn note(&mut self, sent: &Sent, ways: &[Way], way: Way, sure: bool, seen: &Seen) -> Outcome {
        self.seen.insert(match way.end {
            End::Out { routed: true, .. } => "routed",
            End::Out { .. } => "bridged",
            End::Echoed => "echoed",
            End::Refused(reason) | End::Lost(reason) => reason.name(),
        });
        self.passed = matches!(way.end, End::Out { .. });
        if !self.passed {
            return Ok(());
        }
        let came = Wire::read(&seen.out[0].1).unwrap().talk;
        if let Some((at, _, answers)) = self.model.find(&sent.talk) {
            // A packet that is not looked up leaves its connection as it is.
            if way.opens.is_none() && came == self.model.find(&sent.talk).unwrap().1 && self.is_tracked(sent)
            {
                let it = &mut self.model.open[at];
                let next = due(it, answers, sent.segment.reset).map(|(_, life)| life);
                (it.last, it.both) = (self.now, it.both || answers);
                it.life = next.unwrap_or(it.life);
                self.seen.insert(if answers { "answered" } else { "went on" });
            }
            return Ok(());
        }
        let Some(opens) = way.opens else { return Ok(()) };
        if let Some(backend) = way.backend.filter(|_| sure) {
            self.is_steady(sent, ways, &opens, backend)?;
        }
        if let Some((client, backend)) = opens.stays {
            self.model.stays.insert(client, (backend, self.now + of::STAYS as u32));
            self.seen.insert("stays");
        }
        self.seen.insert(
            match (opens.rests.service, opens.rests.floating, came.ports.0 == sent.talk.ports.0) {
                (true, None, true) => "to a service",
                (true, None, false) => "to a service from another port",
                (true, Some(_), _) => "to a service with a floating address",
                (false, Some(_), true) => "with a floating address",
                (false, Some(_), false) => "with a floating address from another port",
                (false, None, true) => "opened",
                (false, None, false) => "opened from another port",
            },
        );
        let life = match (sent.talk.protocol, sent.segment.syn) {
            (TCP, true) => Life::SynSent,
            (TCP, false) => Life::Established,
            _ => Life::Unreplied,
        };
        let yours = match sent.segment.acknowledges {
            Some(next) => next - 1,
            None => sent.segment.sequence + 50_000,
        };
        let mine = sent.segment.sequence - u32::from(sent.talk.protocol == TCP && !sent.segment.syn);
        self.model.open.push(Connection {
            original: sent.talk,
            reply: came.back(),
            rests: opens.rests,
            life,
            last: self.now,
            first: (mine, yours),
            both: false,
        });
        Ok(())
    }

    /// Of the same backends the same one is chosen for the same connection, or client that stays.
    fn is_steady(&mut self, sent: &Sent, ways: &[Way], opens: &Opens, backend: Backend) -> Outcome {
        let mut all: Vec<Backend> = ways.iter().filter_map(|way| way.backend).collect();
        if all.len() < 2 {
            return Ok(());
        }
        all.sort_unstable();
        let sticky: Option<Client> = opens.stays.map(|(client, _)| client);
        let talk = match sticky {
            Some(_) => Talk { to: sent.talk.from, ports: (0, 0), protocol: 0, ..sent.talk },
            None => sent.talk,
        };
        let before = self.chosen.insert((all, talk, sticky.is_some()), backend);
        let _ = before.map(|before| prop_assert_eq_outcome(before, backend, sent)).transpose()?;
        Ok(())
    }

    /// True when connections are looked for, for such a packet.
    fn is_tracked(&self, sent: &Sent) -> bool {
        let world = &self.world;
        let bridged = self.switches[0].looks()
            || world.services.iter().any(Option::is_some)
            || world.floating.is_some();
        bridged || sent.straight.is_none() && world.masquerade != [false; 2]
    }

    /// Everything that must hold of the tables at any time.
    pub(super) fn check(&mut self) -> Outcome {
        for switch in &self.switches {
            ledger::check(&switch.table, &switch.rows(), &self.model.open)?;
        }
        Ok(())
    }

    /// Lets all connections end, after which nothing may be left.
    pub(super) fn end(&mut self) -> Outcome {
        self.check()?;
        self.clean();
        self.wait(1_000_000);
        prop_assert!(self.model.open.is_empty());
        for switch in &mut self.switches {
            prop_assert_eq!(switch.rows(), []);
            ledger::is_empty(&switch.table)?;
            let free = switch.free();
            prop_assert_eq!(free, 1024 + 2 * 2 * 64, "every slot is free again");
        }
        Ok(())
    }
}

fn prop_assert_eq_outcome(before: Backend, backend: Backend, sent: &Sent) -> Outcome {
    prop_assert_eq!(before, backend, "another backend for {:?}", sent);
    Ok(())
}

/// One of them.
fn pick<T>(all: &[T], which: usize) -> Option<usize> {
    (!all.is_empty()).then(|| which % all.len())
}

/// True when the answer says that nobody is there: of TCP a reset, of all else an ICMP error.
fn says_no(sent: &Sent, seen: &Seen) -> bool {
    seen.out.iter().all(|(_, bytes)| match (Wire::read(bytes), sent.talk.protocol) {
        (Some(wire), TCP) => wire.talk == sent.talk.back() && wire.segment.reset,
        (answer, TCP) => answer.is_some(),
        (answer, _) => answer.is_none(),
    })
}

/// What went out, for people.
fn told(seen: &Seen) -> String {
    seen.out.iter().map(|(port, bytes)| format!("[{port}: {:?}]", Wire::read(bytes))).collect()
}

/// The reasons that rounds must come across.
pub(super) const WANTED: &[&str] = &[
    "routed",
    "bridged",
    "echoed",
    "answered",
    "went on",
    "reopened",
    "an error",
    "stays",
    "to a service",
    "to a service from another port",
    "to a service with a floating address",
    "with a floating address",
    "opened",
    "opened from another port",
    DropReason::ServiceNoPort.name(),
    DropReason::ServiceNoEndpoints.name(),
    DropReason::ServiceNoneHere.name(),
    DropReason::ServiceSourceRefused.name(),
    DropReason::PolicyEgress.name(),
    DropReason::PolicyIngress.name(),
    DropReason::OverlayNotReachable.name(),
    DropReason::ForSwitch.name(),
    DropReason::NoRoute.name(),
];
