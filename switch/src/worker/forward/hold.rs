//! Packets that wait for their next hop ([`super::super::held`]): held, asked for, tried again.

use shunt_ffi::Mbuf;

use super::resolve::{Judged, judge};
use super::{Flow, Forwarder, Scene};
use crate::counters::WorkerCounters;
use crate::drop::DropReason;
use crate::flow::Answer;
use crate::flow::parse::parse;
use crate::ids::PortId;
use crate::pipeline::Question;
use crate::topology::Topology;
use crate::worker::held::{Due, Opened, Waiting};
use crate::worker::reporter::Reply;

impl Forwarder {
    /// Keeps a packet until its next hop is known, and asks for that.
    #[cold]
    pub(super) fn hold(&mut self, scene: &Scene<'_>, question: Question, flow: &Flow, frame: Mbuf) {
        self.ask(scene.topology, &question);
        let Flow { key, layout, .. } = *flow;
        let numbering = scene.topology.numbering();
        // What the frame does not show: that it came in a tunnel, or of which ports its first fragment was.
        let hidden = flow.inner.is_some() || key.marks().gathered;
        let opened = hidden.then_some(Opened { key, layout, numbering });
        let packet = Waiting { frame, port: scene.port, question, opened, since: scene.now };
        if let Some(lost) = self.held.hold(packet, scene.topology.generation(), scene.now) {
            self.counters.port(lost.port).drop(DropReason::NeighborUnresolved, 1);
        }
        self.count_held();
    }

    /// True while packets wait for their next hop, or later fragments for their first one.
    #[inline]
    pub(in crate::worker) fn is_holding(&self) -> bool {
        !self.held.is_empty() || !self.lingering.is_empty()
    }

    /// Tries again what is held.
    #[cold]
    pub(in crate::worker) fn retry(&mut self, topology: &Topology, now: u32, counters: &WorkerCounters) {
        if !self.held.is_empty() {
            self.retry_held(topology, now, counters);
        }
        if !self.lingering.is_empty() {
            self.retry_lingering(topology, now, counters);
        }
    }

    /// Shows how many packets are held.
    pub(super) fn count_held(&self) {
        self.counters.time.held.set((self.held.len() + self.lingering.len()) as u64);
    }

    /// Asks for a neighbour, if it is not too early for that.
    pub(super) fn ask(&mut self, topology: &Topology, question: &Question) {
        if let Some(request) = self.asker.ask(question, self.pool) {
            self.output.flood(topology, question.network, None, 0, request);
        }
    }

    /// Decides the held packets anew, if that may say something new: those whose next hop is known by now go there, and
    /// those that have waited too long are dropped, and their senders told. Teaches nothing: what an old packet says of its sender may be wrong by
    /// now.
    #[cold]
    pub(in crate::worker) fn retry_held(&mut self, topology: &Topology, now: u32, counters: &WorkerCounters) {
        let due = self.held.due(topology.generation(), now);
        if due == Due::Nothing {
            return;
        }
        for _ in 0..self.held.len() {
            let Some(mut packet) = self.held.next() else { break };
            let (port, inlet, ours) = (packet.port, topology.inlet(packet.port), counters.port(packet.port));
            if !inlet.up {
                ours.drop(DropReason::IngressDown, 1);
                continue;
            }
            let frame = &mut packet.frame;
            // Networks may be looked into deeper than when it came.
            let parsed = match packet.opened {
                None => parse(frame.data(), frame.len(), port, inlet.depth).ok(),
                Some(Opened { key, layout, numbering }) if numbering == topology.numbering() => {
                    Some((key, layout))
                }
                Some(_) => None,
            };
            let Some((key, layout)) = parsed else {
                ours.drop(DropReason::NeighborUnresolved, 1);
                continue;
            };
            let flow = Flow { hash: self.cache.hash(&key), key, layout, ..Flow::default() };
            let changed = topology.stamps().ingress(port);
            let scene = Scene { topology, port, inlet, ours, now, changed, storm: None };
            let Judged { decision: mut decided, opens, .. } = judge(&scene, &flow, frame);
            if let Some(opens) = opens {
                self.connect(&scene, &flow, frame, &opens, &mut decided);
            }
            match decided.question {
                None => self.execute(&scene, &decided.actions, &flow, packet.frame),
                Some(_) if packet.is_over(now) => {
                    ours.drop(DropReason::NeighborUnresolved, 1);
                    self.answer(&scene, &flow, packet.frame, |ingress, data| {
                        Reply::to(Answer::NoHost, ingress, &key, layout, data)
                    });
                }
                Some(question) => {
                    if due == Due::AskAgain {
                        self.ask(topology, &question);
                    }
                    self.held.put_back(Waiting { question, ..packet });
                }
            }
        }
        self.output.flush();
        self.count_held();
    }

    /// Gives up the held packets that came in by `port`, whose queue goes.
    pub(in crate::worker) fn forget_held(&mut self, port: PortId) {
        let count = self.held.forget(port);
        self.count_held();
        self.counters.port(port).drop(DropReason::NeighborUnresolved, count as u64);
    }
}
