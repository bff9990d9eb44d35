//! Frames on their way into tunnels and out of them, as far as that is more than running actions: large sends, which go in and
//! come out as trains ([`crate::encap::train`]), and copies for all peers.

use shunt_ffi::Mbuf;

use super::{Flow, Forwarder, Scene};
use crate::drop::DropReason;
use crate::encap::train;
use crate::encap::{self, Entropy, Template};
use crate::flow::actions::Edits;
use crate::flow::execute::vlan;
use crate::flow::{Actions, Verdict, execute};
use crate::ids::NetworkId;
use crate::offload::segment::segment;
use crate::offload::{self, EgressCapabilities};
use crate::topology::tunnels::Blocked;
use crate::wire::ethernet::Mac;

impl Forwarder {
    /// Takes the outer headers off a frame that came in a tunnel; false when it is dropped, or has gone its way in pieces.
    #[inline(always)]
    pub(super) fn open(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &mut Mbuf) -> bool {
        let Some(inner) = &flow.inner else { return true };
        if let Some(size) = train::join::datagram(frame, inner) {
            return self.open_train(scene, flow, size, frame);
        }
        match encap::decapsulate(frame, inner, Mac(0), Mac(0)) {
            Ok(()) => true,
            Err(reason) => {
                scene.ours.drop(reason, 1);
                false
            }
        }
    }

    /// Several tunnel packets in one frame. They become one large send, or are opened one by one.
    #[inline(never)]
    fn open_train(&mut self, scene: &Scene<'_>, flow: &Flow, size: u16, frame: &mut Mbuf) -> bool {
        let Some(inner) = &flow.inner else { return true };
        match train::join::join(frame, inner, size) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(reason) => {
                scene.ours.drop(reason, 1);
                return false;
            }
        }
        // The state of the outer datagrams vouches for them, as it did for the train.
        let can = EgressCapabilities { checksum: true, multi_segment: true, ..EgressCapabilities::default() };
        let pool = self.pool;
        if let Err(error) = segment(frame, pool, can, &mut |datagram| self.alone(scene, datagram)) {
            scene.ours.drop(error.reason(), 1);
        }
        false
    }

    /// A frame on its way into a tunnel that somebody still has to finish. A large send is cut, since no port cuts inside of a
    /// tunnel; the pieces travel as a train where the port takes one. A partial checksum is carried through.
    #[inline(never)]
    pub(super) fn wrap_unfinished(
        &mut self,
        scene: &Scene<'_>,
        actions: &Actions,
        flow: &Flow,
        mut frame: Mbuf,
    ) {
        let rewrites = scene.topology.rewrites();
        let pool = self.pool;
        let template = rewrites.templates.get(usize::from(actions.template)).filter(|it| it.takes_trains());
        if let (Verdict::Port(to), Some(template)) = (actions.verdict, template)
            && frame.offload().is_ok_and(|state| state.gso.is_some())
            && self.output.takes_trains(to)
        {
            if let Err(reason) = self.send_train(scene, actions, flow, template, &mut frame) {
                self.lose(scene, reason, &frame);
            }
            return;
        }
        let can = EgressCapabilities { checksum: true, multi_segment: true, ..EgressCapabilities::default() };
        let finished = offload::finish(frame, can, pool, &mut |mut frame| match execute::edit(
            actions,
            flow.layout,
            rewrites,
            &mut frame,
        ) {
            Ok(()) => self.depart(scene, actions, flow, frame),
            Err(reason) => self.lose(scene, reason, &frame),
        });
        if let Err(error) = finished {
            scene.ours.drop(error.reason(), 1);
        }
    }

    fn send_train(
        &mut self,
        scene: &Scene<'_>,
        actions: &Actions,
        flow: &Flow,
        template: &Template,
        frame: &mut Mbuf,
    ) -> Result<(), DropReason> {
        let inner = Actions { edits: actions.edits.without(Edits::ENCAP), ..*actions };
        execute::edit(&inner, flow.layout, scene.topology.rewrites(), frame)?;
        let entropy = actions.entropy.at(vlan::edited(&inner, flow.layout), frame.data());
        let pool = self.pool;
        train::wrap(frame, template, entropy, pool, &mut |train| self.depart(scene, actions, flow, train))
    }

    /// Sends a copy of a frame to every peer of an overlay that floods (head-end replication).
    #[inline(never)]
    pub(super) fn flood_peers(
        &mut self,
        scene: &Scene<'_>,
        network: NetworkId,
        actions: &Actions,
        flow: &Flow,
        frame: &Mbuf,
    ) {
        let Some(overlay) = scene.topology.overlay(network).filter(|overlay| overlay.planned.flood) else {
            return;
        };
        for tunnel in overlay.tunnels.iter().flatten() {
            let Some(copy) = frame.deep_copy(self.pool) else {
                return scene.ours.drop(DropReason::NoBuffers, 1);
            };
            match tunnel.way {
                Ok(way) => {
                    let edits = actions.edits.and(Edits::ENCAP);
                    let verdict = Verdict::Port(way.port);
                    let template = way.template;
                    let entropy = Entropy::of(&flow.key);
                    let actions = Actions { verdict, edits, template, entropy, ..*actions };
                    self.execute(scene, &actions, flow, copy);
                }
                Err(Blocked::By(reason)) => self.lose(scene, reason, &copy),
                Err(Blocked::Unresolved(question)) => {
                    self.lose(scene, DropReason::NeighborUnresolved, &copy);
                    self.ask(scene.topology, &question);
                }
            }
        }
    }
}
