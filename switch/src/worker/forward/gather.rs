//! Fragments, where connections are kept: each is decided with the protocol and ports of its datagram's first fragment, so that
//! all of a datagram are translated, let through or refused alike ([`crate::state::fragments`]).
//!
//! A decision about a fragment is never kept: the key in the cache would be that of all later fragments between two hosts.
//! Cost: what is no fragment pays one comparison on the slow path, and nothing when its flow is cached; a fragment walks the
//! stages.

use shunt_ffi::Mbuf;

use super::resolve::Decision;
use super::{Flow, Forwarder, Scene};
use crate::counters::WorkerCounters;
use crate::drop::DropReason;
use crate::flow::key::{Fragment, L4};
use crate::flow::{Actions, Verdict};
use crate::ids::PortId;
use crate::pipeline::{Ingress, conntrack};
use crate::state::Fragments;
use crate::state::fragments::{Identity, Refused, Upper};
use crate::topology::Topology;
use crate::wire::fragment::{self, Piece};
use crate::worker::fragments::Waiting;

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// All of it, or that does not matter here.
    Whole,
    /// A later one, decided as the first one's ports say.
    Later(Upper),
    /// A later one whose first one has not come.
    Awaits,
}

/// Where a packet came in, as a number of its own.
fn place(ingress: &Ingress<'_>) -> u64 {
    let by = match ingress.peer {
        Some(peer) => 1 << 16 | u64::from(peer),
        None => ingress.port.id.index() as u64,
    };
    (ingress.network.id.index() as u64) << 32 | by
}

/// What is told of a fragment that its datagram does not take.
fn reason(refused: Refused) -> DropReason {
    match refused {
        Refused::Overlap => DropReason::FragmentOverlap,
        Refused::Duplicate => DropReason::FragmentDuplicate,
        Refused::TooMany => DropReason::FragmentTooMany,
        Refused::Forgotten => DropReason::FragmentNoFirst,
        Refused::Busy => DropReason::FragmentBusy,
    }
}

/// Which bytes of which datagram a fragment has.
fn read(ingress: &Ingress<'_>, flow: &Flow, frame: &Mbuf) -> Result<(Identity, Piece), DropReason> {
    let packet = frame.data().get(usize::from(flow.layout.l3)..).unwrap_or_default();
    let piece = fragment::read(packet).map_err(|_| DropReason::FragmentUnfit)?;
    Ok((Identity::new(&flow.key, place(ingress), piece.id), piece))
}

/// Notes a fragment; which part of its datagram it is.
fn note(
    fragments: &Fragments,
    ingress: &Ingress<'_>,
    flow: &Flow,
    frame: &Mbuf,
    now: u32,
) -> Result<Part, DropReason> {
    let marks = flow.key.marks();
    let is_first = marks.fragment == Fragment::First;
    if is_first && marks.l4 == L4::Malformed {
        return Err(DropReason::FragmentTiny);
    }
    let (identity, piece) = read(ingress, flow, frame)?;
    let first = is_first.then(|| Upper::of(&flow.key));
    match fragments.note(&identity, &piece, first, now) {
        Ok(_) if is_first => Ok(Part::Whole),
        Ok(Some(upper)) => Ok(Part::Later(upper)),
        Ok(None) => Ok(Part::Awaits),
        Err(refused) => Err(reason(refused)),
    }
}

impl Forwarder {
    /// Decides about a fragment; `None` where fragments are packets like any other.
    #[cold]
    pub(super) fn decide_part(
        &mut self,
        scene: &Scene<'_>,
        flow: &Flow,
        frame: &mut Mbuf,
    ) -> Option<Decision> {
        let fragments = scene.topology.fragments()?;
        let ingress = Ingress::of(scene.topology, &flow.key).ok()?;
        if !conntrack::may_track(scene.topology, &ingress, &flow.key) {
            return None;
        }
        let part = match note(fragments, &ingress, flow, frame, scene.now) {
            Ok(part) => part,
            Err(reason) => return Some(Decision::alone(Actions::unchanged(Verdict::Drop(reason)))),
        };
        let mut decided = match part {
            Part::Whole => self.decide_whole(scene, flow, frame),
            Part::Later(upper) => self.decide_whole(scene, &completed(flow, upper), frame),
            Part::Awaits => Decision::alone(Actions::unchanged(Verdict::Drop(DropReason::FragmentNoFirst))),
        };
        (decided.keep, decided.part) = (false, part);
        Some(decided)
    }

    /// Carries out what was decided for a part of a datagram.
    #[cold]
    pub(super) fn finish_part(&mut self, scene: &Scene<'_>, decided: &Decision, flow: &Flow, frame: Mbuf) {
        match decided.part {
            Part::Whole => self.conclude(scene, decided, flow, frame),
            Part::Later(upper) => self.conclude(scene, decided, &completed(flow, upper), frame),
            Part::Awaits => self.linger(scene, flow, frame),
        }
    }

    /// Keeps a later fragment until its first one comes.
    fn linger(&mut self, scene: &Scene<'_>, flow: &Flow, frame: Mbuf) {
        let read = Ingress::of(scene.topology, &flow.key).and_then(|ingress| read(&ingress, flow, &frame));
        let identity = match read {
            Ok((identity, _)) => identity,
            Err(reason) => return self.lose(scene, reason, &frame),
        };
        let Flow { key, layout, .. } = *flow;
        let numbering = scene.topology.numbering();
        let waiting = Waiting { frame, port: scene.port, identity, key, layout, numbering, since: scene.now };
        if let Some(lost) = self.lingering.keep(waiting) {
            forget(scene.topology, &identity, scene.now);
            self.lose(scene, DropReason::FragmentRoom, &lost.frame);
        }
        self.count_held();
    }

    /// Sends on the fragments whose first one has come, and gives up those that have waited for too long.
    #[cold]
    pub(in crate::worker) fn retry_lingering(
        &mut self,
        topology: &Topology,
        now: u32,
        counters: &WorkerCounters,
    ) {
        let news = topology.fragments().map_or(0, Fragments::news);
        let due = self.lingering.due(news, now);
        for _ in 0..due {
            let Some(waiting) = self.lingering.next() else { break };
            let (port, inlet) = (waiting.port, topology.inlet(waiting.port));
            let ours = counters.port(port);
            let changed = topology.stamps().ingress(port);
            let scene = Scene { topology, port, inlet, ours, now, changed, storm: None };
            if !inlet.up {
                self.lose(&scene, DropReason::IngressDown, &waiting.frame);
                continue;
            }
            let known = match topology.fragments() {
                Some(fragments) if waiting.numbering == topology.numbering() => {
                    fragments.settle(&waiting.identity, now)
                }
                _ => Err(Refused::Forgotten),
            };
            match known {
                Ok(Some(upper)) => self.go_on(&scene, upper, waiting),
                Ok(None) if waiting.is_over(now) => {
                    forget(topology, &waiting.identity, now);
                    self.lose(&scene, DropReason::FragmentNoFirst, &waiting.frame);
                }
                Ok(None) => self.lingering.put_back(waiting),
                Err(refused) => self.lose(&scene, reason(refused), &waiting.frame),
            }
        }
        if due > 0 {
            self.output.flush();
            self.count_held();
        }
    }

    /// Decides about a fragment that has waited.
    fn go_on(&mut self, scene: &Scene<'_>, upper: Upper, waiting: Waiting) {
        let Waiting { mut frame, key, layout, .. } = waiting;
        let flow = completed(&Flow { key, layout, ..Flow::default() }, upper);
        let decided = self.decide_whole(scene, &flow, &mut frame);
        self.conclude(scene, &decided, &flow, frame);
    }

    /// Gives up the fragments that came in by `port`, whose queue goes.
    pub(in crate::worker) fn forget_lingering(&mut self, topology: &Topology, port: PortId) {
        while let Some(waiting) = self.lingering.take_of(port) {
            forget(topology, &waiting.identity, waiting.since);
            self.counters.port(port).drop(DropReason::FragmentNoFirst, 1);
        }
        self.count_held();
    }
}

/// The same with what its first fragment said.
fn completed(flow: &Flow, upper: Upper) -> Flow {
    Flow { key: upper.complete(&flow.key), ..*flow }
}

fn forget(topology: &Topology, identity: &Identity, now: u32) {
    if let Some(fragments) = topology.fragments() {
        fragments.forget(identity, now);
    }
}

#[cfg(test)]
mod tests;
