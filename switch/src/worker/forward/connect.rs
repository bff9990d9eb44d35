//! Connections, from a worker's side: opened for packets of which the stages say that they open one, and told of every
//! packet that belongs to one.

use shunt_ffi::Mbuf;

use super::resolve::Decision;
use super::{Flow, Forwarder, Scene};
use crate::drop::DropReason;
use crate::flow::actions::Edits;
use crate::flow::key::{L3, TcpClass};
use crate::flow::parse::Layout;
use crate::flow::{Actions, FlowKey, Verdict};
use crate::pipeline::{Opens, conntrack};
use crate::state::{
    Direction, Found, Insert, New, Opening, Removal, Segment, Table, Touch, Tracked, Tuple, tcp,
};
use crate::wire::protocol::{SCTP, TCP};

/// Ports that are tried for one connection. With nine ports of ten in use one connection of 850 is refused.
const TRIES: u32 = 64;
/// Ports that a packet may get where the sender's own is not free (RFC 4787 section 4.2.2, without the well-known ones).
const PORTS: (u16, u16) = (1024, u16::MAX);
/// The same for an address that the node's own stack uses, too: above Linux's `ip_local_port_range`, so that they never meet.
const BESIDE_THE_NODE: (u16, u16) = (61_000, u16::MAX);

/// What becomes of a packet of a known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    /// It is counted.
    GoesOn,
    /// It opens another connection in place of its own, which has ended and is gone now.
    Reopens,
}

impl Forwarder {
    /// Makes a decision for a packet that opens a connection one for packets of that connection; or a drop.
    #[inline]
    pub(super) fn connect(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &Mbuf, decided: &mut Decision) {
        if let Some(opens) = decided.opens.take() {
            self.open_connection(scene, flow, frame, &opens, decided);
        }
    }

    #[inline(never)]
    fn open_connection(
        &mut self,
        scene: &Scene<'_>,
        flow: &Flow,
        frame: &Mbuf,
        opens: &Opens,
        decided: &mut Decision,
    ) {
        let entered = first_step(flow, frame, &opens.tuple)
            .and_then(|opening| self.enter(scene.topology.connections(), opens, opening, scene.now));
        match entered {
            Ok(found) => conntrack::join(&mut decided.actions, found),
            Err(reason) => {
                decided.actions = Actions::unchanged(Verdict::Drop(reason));
                decided.keep = false;
            }
        }
    }

    /// Enters a connection into the table, with the first port that is free.
    fn enter(
        &mut self,
        table: Option<&Table>,
        opens: &Opens,
        opening: Opening,
        now: u32,
    ) -> Result<Found, DropReason> {
        let table = table.ok_or(DropReason::ConnectionGone)?;
        let original = opens.tuple;
        let translated = original.with_source(opens.source);
        // The checksum of SCTP is not one that can be brought up to date (RFC 9260 section 6.8): its ports stay.
        let fixed = !original.has_ports() || original.protocol() == SCTP;
        let keeps = fixed || !opens.shared;
        let (low, high) = match (original.echo(), opens.shared) {
            (Some(_), false) => (0, u16::MAX),
            (_, true) => BESIDE_THE_NODE,
            (None, false) => PORTS,
        };
        for attempt in 0..if fixed { 1 } else { TRIES } {
            let port = match attempt {
                0 if keeps => original.source_port(),
                _ => self.draw(low, high),
            };
            let reply = translated.with_source_port(port).reversed();
            match table.insert(&mut self.stock, &New { original, reply, opening, rule: 0, now }) {
                Insert::Created(conn) => return Ok(Found { conn, direction: Direction::Original }),
                Insert::Exists(found) => return Ok(found),
                Insert::Clash => {}
                Insert::Full => return Err(DropReason::ConnectionsFull),
                Insert::OverLimit(_) => return Err(DropReason::ConnectionLimit),
                Insert::Busy => return Err(DropReason::ConnectionBusy),
            }
        }
        Err(DropReason::MasqueradePorts)
    }

    /// A random number of a range, ends included (xorshift64*).
    fn draw(&mut self, low: u16, high: u16) -> u16 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let drawn = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let span = u64::from(high - low) + 1;
        low + (drawn * span >> 32) as u16
    }

    /// Tells the connection that `actions` name of a packet.
    #[inline]
    pub(super) fn track(
        &mut self,
        scene: &Scene<'_>,
        actions: &Actions,
        flow: &Flow,
        frame: &Mbuf,
    ) -> Result<Track, DropReason> {
        let gone = DropReason::ConnectionGone;
        let (conn, direction) = scene.topology.rewrites().joined(actions).ok_or(gone)?;
        let table = scene.topology.connections().ok_or(gone)?;
        let bytes = frame.len() - u32::from(flow.layout.l3);
        let is_data = flow.key.marks().tcp == TcpClass::Data;
        match table.touch(conn, direction, scene.now, 1, bytes) {
            Touch::Done if is_data => return Ok(Track::GoesOn),
            Touch::Done | Touch::Look => {}
            Touch::Gone => return Err(gone),
        }
        let segment = segment(&flow.key, flow.layout, frame).ok_or(DropReason::InvalidState)?;
        match table.track(conn, direction, scene.now, &segment) {
            Tracked::Valid(_) => Ok(Track::GoesOn),
            Tracked::Invalid(_) => Err(DropReason::InvalidState),
            Tracked::Gone => Err(gone),
            Tracked::Reopens => match table.remove(&mut self.stock, conn) {
                Removal::Removed(_) | Removal::Gone => Ok(Track::Reopens),
                Removal::Busy => Err(DropReason::ConnectionBusy),
            },
        }
    }

    /// A packet whose connection is gone, or has made way for the one that it opens: once more by the stages.
    #[cold]
    pub(super) fn decide_anew(&mut self, scene: &Scene<'_>, flow: &Flow, mut frame: Mbuf) {
        let decided = self.decide(scene, flow, &mut frame);
        self.finish(scene, &decided, flow, frame);
    }

    /// True when `actions` name no connection, or one that lives and, if `exactly`, is the one of `key`.
    #[inline]
    pub(super) fn is_joined(scene: &Scene<'_>, actions: &Actions, key: &FlowKey, exactly: bool) -> bool {
        if !actions.edits.has(Edits::TRACK) {
            return true;
        }
        let Some((conn, direction)) = scene.topology.rewrites().joined(actions) else { return false };
        if !exactly {
            return true;
        }
        let held = scene.topology.connections().and_then(|table| table.get(conn));
        held.is_some_and(|held| {
            let (from, _) = held.path(direction);
            Tuple::of(key, from.zone()) == Some(from) && zone(scene, key) == Some(from.zone())
        })
    }
}

/// The zone of the network that a packet came in by.
fn zone(scene: &Scene<'_>, key: &FlowKey) -> Option<u16> {
    crate::pipeline::Ingress::of(scene.topology, key).ok()?.network.zone
}

/// How a connection starts whose first packet this is.
fn first_step(flow: &Flow, frame: &Mbuf, tuple: &Tuple) -> Result<Opening, DropReason> {
    if tuple.protocol() != TCP {
        return Opening::untracked(tuple).map_err(|_| DropReason::InvalidState);
    }
    let segment = segment(&flow.key, flow.layout, frame).ok_or(DropReason::InvalidState)?;
    // As Linux by default: connections that are under way when the switch starts go on.
    tcp::open(&segment, true).map_err(|_| DropReason::InvalidState)
}

/// The TCP header of a packet; `None` when it has none that is sound.
fn segment(key: &FlowKey, layout: Layout, frame: &Mbuf) -> Option<Segment> {
    let data = frame.data();
    let (l3, l4) = (usize::from(layout.l3), usize::from(layout.l4));
    let header = data.get(l3..)?.first_chunk::<6>()?;
    let said = |high, low| u32::from(u16::from_be_bytes([high, low]));
    let said = match key.marks().l3 {
        L3::Ipv4 => said(header[2], header[3]),
        L3::Ipv6 => said(header[4], header[5]) + 40,
        L3::Other | L3::Malformed => return None,
    };
    let there = frame.len().checked_sub(u32::from(layout.l3))?;
    // A large send may be longer than its header can say; what is behind any other packet is padding.
    let large = frame.offload().ok()?.gso.is_some();
    let packet = if large { there } else { there.min(said) };
    Segment::read(data.get(l4..)?, packet.checked_sub((l4 - l3) as u32)?)
}

#[cfg(test)]
mod tests;
