//! From a key to what is done with it: the flow cache's entry while it is right, the stages otherwise.

use shunt_ffi::Mbuf;

use super::gather::Part;
use super::{Flow, Forwarder, Scene, connect};
use crate::flow::actions::Edits;
use crate::flow::cache::{Entry, Place};
use crate::flow::key::Fragment;
use crate::flow::{Actions, FlowKey};
use crate::pipeline::{self, Ingress, Opens, Packet, Question, Silent, Teach, ingress};
use crate::topology::stamps::Dependencies;

/// What the stages decided.
pub(super) struct Decision {
    pub(super) actions: Actions,
    rests_on: Dependencies,
    pub(super) question: Option<Question>,
    /// The decision holds for all frames of the flow.
    pub(super) keep: bool,
    /// What the frame is of its datagram.
    pub(super) part: Part,
}

impl Decision {
    /// One that rests on nothing, for one frame.
    pub(super) fn alone(actions: Actions) -> Self {
        Self { actions, rests_on: Dependencies::NONE, question: None, keep: false, part: Part::Whole }
    }
}

/// What the stages say of a frame, before anything comes of it.
pub(super) struct Judged {
    pub(super) decision: Decision,
    /// The connection that the packet opens: then the decision is one for packets of that connection.
    pub(super) opens: Option<Opens>,
    /// What the frame teaches besides its source.
    teach: Teach,
}

impl Forwarder {
    /// Where the flow's actions are, if there are any and they are still right.
    #[inline(always)]
    pub(super) fn hit(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &mut Mbuf) -> Option<Place> {
        let place = self.cache.confirm(flow.place, flow.hash, &flow.key)?;
        let generation = scene.topology.generation() as u32;
        let entry = self.cache.at(place)?;
        let mut learn = entry.second != scene.now;
        // That its connection lives is found out when the packet is counted there; that it is the right one, once a second.
        let edits = entry.actions.edits;
        if edits.meets(Edits::TRACK.and(Edits::STRANGER))
            && (learn || edits.has(Edits::STRANGER))
            && !Self::is_joined(scene, &entry.actions, &flow.key)
        {
            return None;
        }
        if entry.generation != generation {
            let stamps = scene.topology.stamps();
            if stamps.newest(&entry.rests_on).max(scene.changed) > entry.generation {
                self.counters.flows.stale.add(1);
                return None;
            }
            learn |= stamps.source(&entry.rests_on) > entry.generation;
            entry.generation = generation;
        }
        if learn {
            scene.topology.activity().note(&entry.rests_on, scene.now);
            self.cache.note_second(place, scene.now);
            self.learn(scene, &flow.key);
        }
        if self.verify != 0 {
            self.unverified += 1;
            if self.unverified >= self.verify {
                self.unverified = 0;
                self.verify(scene, flow, place, frame)?;
            }
        }
        Some(place)
    }

    /// The same for a flow that the second pass did not find: an earlier frame of the burst may have been its first one.
    #[inline(never)]
    fn hit_late(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &mut Mbuf) -> Option<Place> {
        let flow = Flow { place: self.cache.find(flow.hash), ..*flow };
        let place = self.hit(scene, &flow, frame)?;
        self.counters.flows.hits.add(1);
        Some(place)
    }

    /// Decides a cached flow anew. `None`, and the entry is gone, when the decision is another one: that is a defect of the
    /// switch, which is counted and shown by `shunt show workers`.
    #[cold]
    fn verify(&mut self, scene: &Scene<'_>, flow: &Flow, place: Place, frame: &mut Mbuf) -> Option<()> {
        let mut packet = Packet::new(frame, &flow.key, flow.layout, scene.now);
        let anew = pipeline::run(scene.topology, &mut packet, &mut Silent);
        self.counters.flows.verified.add(1);
        let cached = self.cache.at(place)?.actions;
        if packet.is_cacheable() && anew == cached {
            return Some(());
        }
        // Its connection may have ended meanwhile, by another's doing.
        if !Self::is_joined(scene, &cached, &flow.key) {
            return None;
        }
        self.counters.flows.unsound.add(1);
        self.cache.remove(place);
        None
    }

    /// A frame whose flow the cache does not have: by the stages, and the decision is entered. It comes back when it is
    /// for this frame alone, or there is no place for it.
    #[inline(never)]
    pub(super) fn miss(
        &mut self,
        scene: &Scene<'_>,
        flow: &Flow,
        frame: &mut Mbuf,
    ) -> Result<Place, Decision> {
        if self.entered
            && flow.place == Place::NONE
            && let Some(place) = self.hit_late(scene, flow, frame)
        {
            return Ok(place);
        }
        let decided = self.decide(scene, flow, frame);
        let kept = self.keep(scene, flow, &decided);
        self.entered |= kept.is_some();
        kept.ok_or(decided)
    }

    /// Enters a decision; `None` when it is for this frame alone, or there is no place for it.
    pub(super) fn keep(&mut self, scene: &Scene<'_>, flow: &Flow, decided: &Decision) -> Option<Place> {
        self.counters.flows.missed.add(1);
        if !decided.keep {
            return None;
        }
        let entry = Entry {
            key: flow.key,
            packets: 0,
            bytes: 0,
            generation: scene.topology.generation() as u32,
            second: scene.now,
            rests_on: decided.rests_on,
            actions: decided.actions,
        };
        let place = self.cache.enter(flow.hash, entry)?;
        self.counters.flows.entered.add(1);
        Some(place)
    }

    /// Walks the stages, and tells the control thread what the frame teaches.
    #[inline]
    pub(super) fn decide(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &mut Mbuf) -> Decision {
        if flow.key.marks().fragment != Fragment::Whole
            && let Some(decided) = self.decide_part(scene, flow, frame)
        {
            return decided;
        }
        self.decide_whole(scene, flow, frame)
    }

    /// [`Forwarder::decide`] for what is no fragment, or one whose key has the ports of its first one.
    #[inline]
    pub(super) fn decide_whole(&mut self, scene: &Scene<'_>, flow: &Flow, frame: &mut Mbuf) -> Decision {
        if scene.inlet.tracks && connect::may_reopen(flow, frame) {
            self.make_way(scene, flow, frame);
        }
        let Judged { mut decision, opens, teach } = judge(scene, flow, frame);
        if decision.actions.edits.has(Edits::TRACK) {
            self.counters.connections.found.add(1);
        }
        if let Some(opens) = opens {
            self.connect(scene, flow, frame, &opens, &mut decision);
        }
        scene.topology.activity().note(&decision.rests_on, scene.now);
        match teach {
            Teach::Nothing => self.learn(scene, &flow.key),
            lesson => self.teach(scene, &flow.key, |_| lesson),
        }
        decision
    }

    #[inline]
    fn learn(&mut self, scene: &Scene<'_>, key: &FlowKey) {
        self.teach(scene, key, |ingress| ingress::learn(ingress, key, scene.now));
    }

    #[inline]
    fn teach(&mut self, scene: &Scene<'_>, key: &FlowKey, lesson: impl Fn(&Ingress<'_>) -> Teach) {
        // What came in where it may not teaches nothing.
        if let Ok(ingress) = Ingress::of(scene.topology, key) {
            self.teacher.teach(scene.topology, &ingress, key.src(), lesson(&ingress));
        }
    }
}

/// What the stages say of a frame.
#[inline]
pub(super) fn judge(scene: &Scene<'_>, flow: &Flow, frame: &mut Mbuf) -> Judged {
    let mut packet = Packet::new(frame, &flow.key, flow.layout, scene.now);
    let actions = pipeline::run(scene.topology, &mut packet, &mut Silent);
    let decision = Decision {
        actions,
        rests_on: packet.rests_on,
        question: packet.question,
        keep: packet.is_cacheable(),
        part: Part::Whole,
    };
    Judged { decision, opens: packet.opens, teach: packet.teach }
}
