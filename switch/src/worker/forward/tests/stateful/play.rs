//! A round: what stations send and what changes meanwhile, through all switches and past the model.

use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::events::{Event, To};
use super::frames::{REQUEST, ROUTED, Segment, TTL, Talk, Wire, complaint};
use super::keeping::goes_on;
use super::ledger;
use super::lives::{Does, due};
use super::model::{Backend, Connection, End, Model, Sent};
use super::pieces::{self, ORDERS};
use super::places::{self, address, gateway, gateway_mac, network_of};
use super::sctp;
use super::switch::{CAPACITY, Make, Seen, Switch, WORKERS, station_mac};
use super::world::{self, Change, World};
use crate::drop::DropReason;
use crate::wire::ethernet::Mac;
use crate::wire::protocol::{ICMP, SCTP, TCP, UDP};

/// All switches, the model, and what is known of the past.
pub(super) struct Round {
    pub(super) world: World,
    pub(super) switches: Vec<Switch>,
    pub(super) model: Model,
    pub(super) now: u32,
    /// What the first packet of ended connections came with, and what answered it.
    pub(super) past: Vec<(Talk, Talk)>,
    /// Connections are yet to be gone through.
    unclean: bool,
    /// Connections of TCP and SCTP so far: each has numbers of its own.
    numbers: u32,
    /// Packets so far.
    sent: u32,
    /// What was chosen for whom among which backends.
    pub(super) chosen: HashMap<(Vec<Backend>, Talk, bool), Backend>,
    /// The last packet came through.
    pub(super) passed: bool,
    /// What happened, by name.
    pub(super) seen: std::collections::BTreeSet<&'static str>,
}

pub(super) type Outcome = Result<(), TestCaseError>;

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
            Event::On(which) => self.go_on(which, false, Does::GoesOn),
            Event::Back(which) => self.go_on(which, true, Does::GoesOn),
            Event::Dialogue(which, turns) => self.converse(which, &[Does::GoesOn; 5][..turns]),
            Event::Again(which) => {
                use Does::{Finishes, GoesOn, Resets};
                let sctp = pick(&self.model.open, which).map(|at| self.model.open[at].original.protocol)
                    == Some(SCTP);
                let ends = if sctp { [Resets, GoesOn] } else { [Finishes, Finishes] };
                let greets = [GoesOn; 4];
                self.converse(which, &[&greets[..], &ends, &[GoesOn; 2]].concat())
            }
            Event::Reset(which, side) => self.go_on(which, side, Does::Resets),
            Event::Finish(which, side) => self.go_on(which, side, Does::Finishes),
            Event::Pieces(which, side, order, again) => self.send_pieces(which, side, order, again),
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
            To::Forward(which, exact) => {
                let (_, external, port, _) = places::forwards(v6)[which];
                (external, if exact { port } else { port + 1 })
            }
            To::Lent(which, port) => {
                let all = places::lendable(v6);
                (all[which % all.len()], port)
            }
            To::Far => (places::far(v6), 443),
        };
        let ports = (port, if protocol == ICMP { REQUEST } else { at });
        let talk = Talk { protocol, from: address(station, v6), to, ports };
        let known = self.model.find(&talk);
        if let Some((at, _, answers)) = known {
            return self.go_on(at, answers, Does::GoesOn);
        }
        self.first(talk)
    }

    /// A datagram of IPv4.
    pub(super) fn say(&mut self, station: usize, port: u16, to: IpAddr, at: u16) {
        let talk = Talk { protocol: UDP, from: address(station, false), to, ports: (port, at) };
        self.send(talk, Segment::default()).unwrap();
    }

    /// A first packet: of TCP a SYN, of SCTP an INIT.
    pub(super) fn first(&mut self, talk: Talk) -> Outcome {
        self.numbers += 1;
        let sequence = self.numbers * 100_000;
        let segment = match talk.protocol {
            TCP => Segment { syn: true, sequence, ..Segment::default() },
            SCTP => sctp::init(sequence),
            _ => Segment::default(),
        };
        self.send(talk, segment)
    }

    /// The next packet of a connection, from one side.
    fn go_on(&mut self, which: usize, answers: bool, does: Does) -> Outcome {
        let Some(at) = pick(&self.model.open, which) else { return Ok(()) };
        let it = self.model.open[at];
        if it.life.makes_way() && !answers {
            return self.first(it.original);
        }
        match due(&it, answers, does) {
            Some((segment, _)) => self.send(if answers { it.reply } else { it.original }, segment),
            None => Ok(()),
        }
    }

    /// Both sides speak in turns, the one who was spoken to first.
    pub(super) fn converse(&mut self, which: usize, turns: &[Does]) -> Outcome {
        let Some(at) = pick(&self.model.open, which) else { return Ok(()) };
        let original = self.model.open[at].original;
        for (turn, does) in turns.iter().enumerate() {
            let Some((at, _, false)) = self.model.find(&original) else { return Ok(()) };
            self.go_on(at, turn % 2 == 0, *does)?;
        }
        Ok(())
    }

    /// Connections that both sides have spoken in, by what their first packets came with.
    pub(super) fn established(&self) -> Vec<Talk> {
        self.model.open.iter().filter(|it| it.both && !it.life.makes_way()).map(|it| it.original).collect()
    }

    /// Sends a packet of a connection each way: true when both came through, as of the connection.
    pub(super) fn talks(&mut self, original: &Talk) -> Result<bool, TestCaseError> {
        for answers in [false, true] {
            let Some((at, _, false)) = self.model.find(original) else { return Ok(false) };
            self.passed = false;
            self.go_on(at, answers, Does::GoesOn)?;
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
            return self.go_on(at, answers, Does::GoesOn);
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

    /// Sends a datagram of a connection, in fragments, through every switch: as a whole it must fare like any other.
    fn send_pieces(&mut self, which: usize, answers: bool, order: usize, again: bool) -> Outcome {
        let Some(at) = pick(&self.model.open, which) else { return Ok(()) };
        let it = self.model.open[at];
        if !matches!(it.original.protocol, UDP | ICMP) {
            return Ok(());
        }
        let talk = if answers { it.reply } else { it.original };
        let Some((sent, macs)) = self.between(talk, Segment::default()) else { return Ok(()) };
        let sent = Sent { pieces: true, ..sent };
        let wire = Wire { macs, ttl: TTL, talk, segment: Segment::default() };
        self.sent += 1;
        let whole = pieces::cut(&wire.bytes(), self.sent as u16);
        let pieces: Vec<_> = ORDERS[order].iter().map(|at| whole[*at].clone()).collect();
        let seen = self.each_through(sent.station, &pieces, &talk)?;
        let tracked = self.is_tracked(&sent);
        let all = seen.lost.len() == pieces.len() && seen.lost.iter().all(|reason| *reason == seen.lost[0]);
        let one = match seen.out.first() {
            Some((port, _)) if seen.lost.is_empty() => {
                prop_assert!(seen.out.iter().all(|(other, _)| other == port), "to several: {:?}", seen.out);
                let joined = pieces::join(seen.out.iter().map(|(_, bytes)| bytes.clone()).collect());
                prop_assert!(joined.is_some(), "not all of one datagram came out of {:?}: {:?}", talk, seen);
                Seen { out: joined.map(|whole| (*port, whole)).into_iter().collect(), lost: Vec::new() }
            }
            _ if all => Seen { lost: vec![seen.lost[0]], ..seen },
            _ => return Err(TestCaseError::fail(format!("not alike: {talk:?} {seen:?}"))),
        };
        self.judge(&sent, &one)?;
        self.seen.insert(if self.passed { "in fragments" } else { "fragments were dropped" });
        if again && tracked {
            // Late copies are no new datagram.
            let copies = self.each_through(sent.station, &pieces, &talk)?;
            let lost = [DropReason::FragmentDuplicate; 3];
            prop_assert_eq!(copies, Seen { out: Vec::new(), lost: lost.into() }, "of {:?}", talk);
        }
        Ok(())
    }

    /// Fragments through every switch, which must do the same with them.
    fn each_through(
        &mut self,
        station: usize,
        pieces: &[Vec<u8>],
        talk: &Talk,
    ) -> Result<Seen, TestCaseError> {
        let now = self.now;
        let mut all = self.switches.iter_mut().map(|switch| switch.send_each(station, pieces, now));
        let seen = all.next().unwrap();
        for (number, other) in all.enumerate() {
            prop_assert_eq!(&seen, &other, "switch {} differs for fragments of {:?}", number + 1, talk);
        }
        Ok(seen)
    }

    /// All packets from now on are taken by that worker.
    pub(super) fn by(&mut self, worker: usize) {
        self.switches.iter_mut().for_each(|switch| switch.only = Some(worker));
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
        Some((
            Sent { station, straight, talk, segment, pieces: false },
            (station_mac(station, &self.world), receiver),
        ))
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

    /// True when connections are looked for, for such a packet.
    pub(super) fn is_tracked(&self, sent: &Sent) -> bool {
        self.world.tracks(self.switches[0].looks(), sent.straight.is_none())
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
            prop_assert_eq!(free, CAPACITY + (WORKERS + 1) * 2 * 64, "every slot is free again");
        }
        Ok(())
    }
}

/// One of them.
fn pick<T>(all: &[T], which: usize) -> Option<usize> {
    (!all.is_empty()).then(|| which % all.len())
}
