//! Connections, from a worker's side: opened for packets of which the stages say that they open one, and told of every
//! packet that belongs to one.

use std::ops::RangeInclusive;

use shunt_ffi::{MAX_BURST, Mbuf};

use super::resolve::Decision;
use super::{Flow, Forwarder, Scene, State, fit};
use crate::drop::DropReason;
use crate::flow::actions::Edits;
use crate::flow::cache::Place;
use crate::flow::key::{Fragment, L3};
use crate::flow::parse::Layout;
use crate::flow::{Actions, FlowKey, Verdict, execute};
use crate::pipeline::{Opens, conntrack};
use crate::state::ports::{DEFAULT_RANGE, Refused, Share, Translated};
use crate::state::{
    Direction, Found, Limit, New, Opening, Removal, Segment, Stock, Table, Touch, Tracked, Tuple, sctp, tcp,
};
use crate::wire;
use crate::wire::protocol::{SCTP, TCP};

/// Ports for an address that the node's own stack uses, too: above Linux's `ip_local_port_range`, so that they never meet.
const BESIDE_THE_NODE: RangeInclusive<u16> = 61_000..=u16::MAX;

/// Connections that may end within one packet's time before its sender has to try again: the one that is cached, and one that has taken
/// its place by way of another worker and makes way for what the packet opens; one more for what other workers do meanwhile.
const ENDS: usize = 3;

/// What a worker needs to open connections.
#[derive(Debug)]
pub(in crate::worker) struct Openings {
    /// Free slots of the table that are at hand.
    pub(super) stock: Stock,
    /// Ports of addresses that are the switch's alone.
    own: Share,
    /// Ports of addresses that the node has, too.
    shared: Share,
}

impl Openings {
    /// Of worker number `worker` of `workers`; `seed` is a random number.
    pub(in crate::worker) fn new(worker: usize, workers: usize, seed: u64) -> Self {
        let share = |range| Share::new(range, worker, workers, seed);
        Self { stock: Stock::default(), own: share(DEFAULT_RANGE), shared: share(BESIDE_THE_NODE) }
    }

    /// Enters a connection into the table, with a source port that is free.
    fn enter(
        &mut self,
        table: &Table,
        opens: &Opens,
        opening: Opening,
        now: u32,
    ) -> Result<Found, DropReason> {
        let (original, reply, rule) = (opens.tuple, opens.translated().reversed(), opens.rule);
        let new = New { original, reply, opening, rule, now };
        let shared = opens.source.is_some_and(|guise| guise.shared);
        // An echo's identifier is no port.
        let given = opens.source.and_then(|guise| guise.ports);
        let given = given.filter(|_| original.has_ports() && original.echo().is_none());
        let mut of_router = given.map(|ports| self.own.over(ports));
        let share = match &mut of_router {
            Some(share) => share,
            None if shared => &mut self.shared,
            None => &mut self.own,
        };
        let entered = match opens.source {
            Some(guise) if !guise.keeps_port => share.insert(table, &mut self.stock, &new),
            _ => share.insert_as_it_is(table, &mut self.stock, &new),
        };
        match entered {
            Ok(Translated::Created(conn)) => Ok(Found { conn, direction: Direction::Original }),
            Ok(Translated::Exists(found)) => Ok(found),
            Err(Refused::Exhausted) => Err(DropReason::MasqueradePorts),
            Err(Refused::Full) => Err(DropReason::ConnectionsFull),
            Err(Refused::OverLimit(limit)) => Err(match limit {
                Limit::Zone | Limit::ZoneHalfOpen => DropReason::ConnectionZone,
                Limit::SourceRate => DropReason::ConnectionRate,
                Limit::Source | Limit::SourceHalfOpen | Limit::SourceWhenTight => DropReason::ConnectionLimit,
            }),
            Err(Refused::Busy) => Err(DropReason::ConnectionBusy),
        }
    }
}

/// What becomes of a packet of a known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    /// It is counted.
    GoesOn,
    /// Its connection is gone, or has ended and made way for the one that the packet opens.
    Anew,
}

impl Forwarder {
    /// Between the second pass and the third: the connections of cached flows are on their way, of other packets what the
    /// search for theirs reads.
    #[inline(never)]
    pub(super) fn fetch_connections(&self, scene: &Scene<'_>, flows: &[Flow]) {
        let Some(table) = scene.topology.connections() else { return };
        let mut missed = false;
        for flow in flows.iter().filter(|flow| flow.state == State::New) {
            match self.cache.peek(flow.place) {
                Some(actions) if actions.edits.has(Edits::TRACK) => {
                    table.prefetch_record(actions.translation, execute::direction(actions));
                }
                Some(_) => {}
                None => missed = true,
            }
        }
        if missed {
            fetch_unknown(scene, table, flows);
        }
    }

    /// Makes a decision for a packet that opens a connection one for packets of that connection; or a drop.
    #[inline(never)]
    pub(super) fn connect(
        &mut self,
        scene: &Scene<'_>,
        flow: &Flow,
        frame: &Mbuf,
        opens: &Opens,
        decided: &mut Decision,
    ) {
        let table = scene.topology.connections().ok_or(DropReason::ConnectionGone);
        let entered = table.and_then(|table| {
            let opening = first_step(flow, frame, &opens.tuple, table.is_loose())?;
            self.openings.enter(table, opens, opening, scene.now)
        });
        match entered {
            Ok(found) => {
                self.counters.connections.opened.add(1);
                conntrack::join(&mut decided.actions, found);
                if let (Some(stays), Some(affinity)) = (&opens.stays, scene.topology.affinity()) {
                    affinity.put(
                        &stays.client,
                        stays.backend,
                        scene.now,
                        scene.now.saturating_add(stays.seconds),
                    );
                }
            }
            Err(reason) => {
                decided.actions = Actions::unchanged(Verdict::Drop(reason));
                decided.keep = false;
            }
        }
    }

    /// Tells the connection that `actions` name of a packet, which comes back when there is more to be done with it. Not inlined:
    /// what is not tracked must not pay for it.
    #[inline(never)]
    pub(super) fn follow(
        &mut self,
        scene: &Scene<'_>,
        actions: &Actions,
        flow: &Flow,
        mut frame: Mbuf,
    ) -> Option<Mbuf> {
        if let Verdict::Port(to) = actions.verdict
            && Self::is_usual(actions, flow, &frame)
            && scene.topology.rewrites().follow(actions, flow.layout, scene.now, &mut frame)
        {
            if actions.edits.has(Edits::ENCAP)
                && let Err(reason) =
                    execute::wrap(actions, flow.layout, scene.topology.rewrites(), &mut frame)
            {
                self.lose(scene, reason, &frame);
            } else {
                self.output.send(scene.topology, to, frame);
            }
            return None;
        }
        match self.track(scene, actions, flow, &frame) {
            Ok(Track::GoesOn) => return Some(frame),
            Ok(Track::Anew) => self.decide_anew(scene, flow, frame),
            Err(reason) => self.lose(scene, reason, &frame),
        }
        None
    }

    /// True for packets that fit, change nothing about their connection, and are sent on as routed ones are.
    #[inline(always)]
    pub(super) fn is_usual(actions: &Actions, flow: &Flow, frame: &Mbuf) -> bool {
        !actions.edits.without(Edits::TRACK.and(Edits::REPLY)).is_rare()
            && !fit::is_unusual(actions, flow.layout, frame)
            && is_data(flow, frame)
    }

    /// Tells a connection of a packet, whatever the packet is.
    #[inline(never)]
    pub(super) fn track(
        &mut self,
        scene: &Scene<'_>,
        actions: &Actions,
        flow: &Flow,
        frame: &Mbuf,
    ) -> Result<Track, DropReason> {
        let joined = scene.topology.rewrites().joined(actions);
        let (Some((conn, direction)), Some(table)) = (joined, scene.topology.connections()) else {
            return Ok(Track::Anew);
        };
        let bytes = frame.len() - u32::from(flow.layout.l3);
        let marks = flow.key.marks();
        let is_data = is_data(flow, frame);
        if !is_data {
            table.prefetch_whole(actions.translation);
        }
        match table.touch(conn, direction, scene.now, 1, bytes) {
            Touch::Done if is_data => return Ok(Track::GoesOn),
            // It has no transport header to be looked at.
            Touch::Done | Touch::Look if marks.fragment == Fragment::Later => return Ok(Track::GoesOn),
            Touch::Done | Touch::Look => {}
            Touch::Gone => return Ok(Track::Anew),
        }
        let unsound = DropReason::InvalidState;
        let tracked = if flow.key.protocol() == SCTP {
            let packet = chunks(&flow.key, flow.layout, frame).ok_or(unsound)?;
            table.track_sctp(conn, direction, scene.now, &packet)
        } else {
            let segment = segment(&flow.key, flow.layout, frame).ok_or(unsound)?;
            table.track(conn, direction, scene.now, &segment)
        };
        match tracked {
            Tracked::Valid(_) => Ok(Track::GoesOn),
            Tracked::Invalid(_) => Err(DropReason::InvalidState),
            Tracked::Gone => Ok(Track::Anew),
            Tracked::Reopens => match table.remove(&mut self.openings.stock, conn) {
                Removal::Removed(_) | Removal::Gone => Ok(Track::Anew),
                Removal::Busy => Err(DropReason::ConnectionBusy),
            },
        }
    }

    /// A decision in place of one whose connection is no more. What the cache has for the packet goes by that connection.
    #[inline(never)]
    pub(super) fn replace(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &mut Mbuf) -> Decision {
        // A fragment has been noted, and nothing is kept of it.
        if flow.place == Place::NONE || flow.key.marks().fragment != Fragment::Whole {
            return self.decide_whole(scene, flow, frame);
        }
        let decided = self.decide(scene, flow, frame);
        if self.keep(scene, flow, &decided).is_none() {
            self.cache.forget(flow.place, &flow.key);
        }
        decided
    }

    /// Lets a connection that has ended go, when the packet opens another one in its place: then the stages need not be asked
    /// twice.
    #[inline(never)]
    pub(super) fn make_way(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &Mbuf) {
        let Some(table) = scene.topology.connections() else { return };
        let tuple = zone(scene, &flow.key).and_then(|zone| Tuple::of(&flow.key, zone));
        let Some(found) = tuple.and_then(|tuple| table.lookup(&tuple)) else { return };
        if segment(&flow.key, flow.layout, frame)
            .is_some_and(|segment| table.reopens(found.conn, found.direction, &segment))
        {
            // Should that fail, the packet is refused later.
            let _ = table.remove(&mut self.openings.stock, found.conn);
        }
    }

    /// A packet whose connection is no more: once more by the stages.
    #[inline(never)]
    fn decide_anew(&mut self, scene: &Scene<'_>, flow: &Flow, mut frame: Mbuf) {
        for _ in 0..ENDS {
            let decided = self.replace(scene, flow, &mut frame);
            if let Some(question) = decided.question {
                return self.hold(scene, question, flow, frame);
            }
            let tracked = match decided.actions.edits.has(Edits::TRACK) {
                true => self.track(scene, &decided.actions, flow, &frame),
                false => Ok(Track::GoesOn),
            };
            match tracked {
                Ok(Track::GoesOn) => return self.edit_and_send(scene, &decided.actions, flow, frame),
                Ok(Track::Anew) => {}
                Err(reason) => return self.lose(scene, reason, &frame),
            }
        }
        self.lose(scene, DropReason::ConnectionGone, &frame);
    }

    /// True when `actions`, which concern connections, rest on there being none, and there is none; or name one that lives and is
    /// that of `key`; or when they concern none.
    #[inline(never)]
    pub(super) fn is_joined(scene: &Scene<'_>, actions: &Actions, key: &FlowKey) -> bool {
        if actions.edits.has(Edits::STRANGER) {
            // It may be the answer of a connection that the other end has opened since.
            let tuple = zone(scene, key).and_then(|zone| Tuple::of(key, zone));
            let table = scene.topology.connections();
            return tuple.zip(table).is_none_or(|(tuple, table)| table.lookup(&tuple).is_none());
        }
        if !actions.edits.has(Edits::TRACK) {
            return true;
        }
        let Some((conn, direction)) = scene.topology.rewrites().joined(actions) else { return false };
        let held = scene.topology.connections().and_then(|table| table.get(conn));
        held.is_some_and(|held| {
            let (from, _) = held.path(direction);
            Tuple::of(key, from.zone()) == Some(from) && zone(scene, key) == Some(from.zone())
        })
    }
}

/// For packets whose flows the cache does not have: buckets first, then the records that these name.
#[inline(never)]
fn fetch_unknown(scene: &Scene<'_>, table: &Table, flows: &[Flow]) {
    let mut hashes = [None; MAX_BURST];
    for (flow, hash) in flows.iter().zip(&mut hashes) {
        if flow.state == State::New && flow.place == Place::NONE {
            let tuple = zone(scene, &flow.key).and_then(|zone| Tuple::of(&flow.key, zone));
            *hash = tuple.map(|tuple| table.hash(&tuple));
            hash.iter().for_each(|hash| table.prefetch(*hash));
        }
    }
    hashes.into_iter().flatten().for_each(|hash| table.prefetch_candidates(hash));
}

/// The zone of the network that a packet came in by.
fn zone(scene: &Scene<'_>, key: &FlowKey) -> Option<u16> {
    crate::pipeline::Ingress::of(scene.topology, key).ok()?.network.zone
}

/// False for a TCP segment that opens or ends something: its connection looks at each. The flags are not in the key, so that all
/// segments of a connection are of one cached flow; whoever runs its actions asks here.
#[inline(always)]
fn is_data(flow: &Flow, frame: &Mbuf) -> bool {
    flow.key.protocol() != TCP || flow.layout.l4 == 0 || wire::tcp::is_data(transport_header(flow, frame))
}

/// True for a TCP segment that may open a connection where another one has ended.
#[inline]
pub(super) fn may_reopen(flow: &Flow, frame: &Mbuf) -> bool {
    flow.key.protocol() == TCP && flow.layout.l4 != 0 && wire::tcp::opens(transport_header(flow, frame))
}

/// The bytes at hand from the transport header on.
#[inline(always)]
fn transport_header<'f>(flow: &Flow, frame: &'f Mbuf) -> &'f [u8] {
    frame.data().get(usize::from(flow.layout.l4)..).unwrap_or_default()
}

/// How a connection starts whose first packet this is.
fn first_step(flow: &Flow, frame: &Mbuf, tuple: &Tuple, loose: bool) -> Result<Opening, DropReason> {
    let unsound = DropReason::InvalidState;
    let opening = match tuple.protocol() {
        TCP => tcp::open(&segment(&flow.key, flow.layout, frame).ok_or(unsound)?, loose),
        SCTP => sctp::open(&chunks(&flow.key, flow.layout, frame).ok_or(unsound)?, loose),
        _ => Opening::untracked(tuple),
    };
    opening.map_err(|_| unsound)
}

/// The TCP header of a packet; `None` when it has none that is sound.
fn segment(key: &FlowKey, layout: Layout, frame: &Mbuf) -> Option<Segment> {
    let (bytes, length) = transport(key, layout, frame)?;
    Segment::read(bytes, length)
}

/// The chunks of an SCTP packet, as far as they are at hand; `None` when they are not sound.
fn chunks(key: &FlowKey, layout: Layout, frame: &Mbuf) -> Option<sctp::Packet> {
    let (bytes, length) = transport(key, layout, frame)?;
    sctp::Packet::read(bytes, length)
}

/// The bytes at hand from a packet's transport header on, and how long the packet is from there.
fn transport<'f>(key: &FlowKey, layout: Layout, frame: &'f Mbuf) -> Option<(&'f [u8], u32)> {
    let data = frame.data();
    let (l3, l4) = (usize::from(layout.l3), usize::from(layout.l4));
    if l4 <= l3 {
        return None;
    }
    let header = data.get(l3..)?.first_chunk::<6>()?;
    let said = |high, low| u32::from(u16::from_be_bytes([high, low]));
    let said = match key.marks().l3 {
        L3::Ipv4 => said(header[2], header[3]),
        L3::Ipv6 => said(header[4], header[5]) + 40,
        L3::Other | L3::Malformed => return None,
    };
    let there = frame.len().checked_sub(u32::from(layout.l3))?;
    // A large send may be longer than its header can say; what is behind any other packet is padding.
    let large = there > u32::from(u16::MAX) && frame.offload().ok()?.gso.is_some();
    let packet = if large { there } else { there.min(said) };
    Some((data.get(l4..)?, packet.checked_sub((l4 - l3) as u32)?))
}

#[cfg(test)]
pub(super) mod tests;
