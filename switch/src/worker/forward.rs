//! One burst, from received frames to transmit buffers: keys, cache, the stages for what the cache does not have, actions.
//!
//! Three passes, so that the memory one frame needs is fetched while others are worked on: parse and hash all, find the
//! entries of all by their tags, then confirm and run. Frames of one flow that follow each other run as a group: one
//! search, one look at the generation, one update of the entry's counters.

mod connect;
pub(crate) mod fit;
mod gather;
mod hold;
#[cfg(any(test, fuzzing))]
pub mod hostile;
mod originate;
mod police;
mod resolve;
mod say;
mod tunnel;

use std::sync::Arc;

use shunt_ffi::{Burst, MAX_BURST, Mbuf, Mempool, clock};

use super::asker::Asker;
use super::capture::Point;
use super::fragments::Lingering;
use super::held::Held;
use super::output::Output;
use super::reporter::{Reply, Reporter};
use super::storm::Bucket;
use super::teacher::Teacher;
use crate::counters::{PortCounters, WorkerCounters};
use crate::drop::DropReason;
use crate::encap::{Entropy, Inner};
use crate::flow::actions::Edits;
use crate::flow::cache::Place;
use crate::flow::parse::{Layout, Unparsed, parse_frame, parse_into};
use crate::flow::{Actions, Answer, Depth, FlowCache, FlowKey, Verdict, execute};
use crate::ids::{NetworkId, PortId};
use crate::offload::{self, linearize::linearize};
use crate::pipeline::Ingress;
use crate::topology::{Inlet, Topology};
pub(super) use connect::Openings;
use gather::Part;
use resolve::Decision;

/// What one worker needs to forward.
#[derive(Debug)]
pub(super) struct Forwarder {
    pub(super) output: Output,
    pub(super) teacher: Teacher,
    pub(super) cache: FlowCache,
    asker: Asker,
    pub(super) held: Held,
    lingering: Lingering,
    openings: Openings,
    reporter: Reporter,
    pool: Mempool,
    counters: Arc<WorkerCounters>,
    /// One hit in so many is decided anew and compared; 0 for none.
    verify: u32,
    unverified: u32,
    /// High half of the generations in the cache.
    era: u32,
    /// A flow of this burst was entered since the second pass.
    entered: bool,
}

/// What is known of the frames of one burst; kept by the worker from burst to burst, so that it need not be made anew.
#[derive(Debug)]
pub(super) struct Flows(Box<[Flow; MAX_BURST]>);

impl Default for Flows {
    fn default() -> Self {
        Self(Box::new([Flow::default(); MAX_BURST]))
    }
}

/// Whether the frame may be flooded into `network`, as often as its port has flooded before. What comes out of a tunnel
/// ([`Verdict::FloodLocal`]) is of an overlay, which has no limit.
#[inline(never)]
fn may_flood(scene: &Scene<'_>, network: NetworkId, frame: &Mbuf) -> bool {
    let limit = scene.topology.network(network).map_or(0, |network| network.storm_limit);
    let Some(bucket) = scene.storm.filter(|_| limit != 0) else { return true };
    bucket.take(limit, offload::pieces(frame), clock::tsc(), clock::tsc_hz())
}

/// What is known of one frame of the burst.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    key: FlowKey,
    hash: u64,
    layout: Layout,
    /// What is to be taken out of the frame first, when it came in a tunnel.
    inner: Option<Inner>,
    place: Place,
    state: State,
}

impl Flow {
    /// The outer header says that the frame met congestion (RFC 3168 section 5).
    #[inline]
    fn is_congested(&self) -> bool {
        const CONGESTED: u8 = 0b11;
        self.inner.is_some_and(|inner| inner.ecn == CONGESTED)
    }
}

/// The key of a frame that came in no tunnel.
#[inline(always)]
fn plain(frame: &Mbuf, port: PortId, depth: Depth, flow: &mut Flow) -> Result<Layout, Unparsed> {
    flow.inner = None;
    parse_into(frame.data(), frame.len(), port, depth, &mut flow.key)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Look it up.
    #[default]
    New,
    /// The same key as the frame before.
    Same,
    /// Not to be parsed.
    Bad(DropReason),
    /// The headers are in several segments.
    Split,
}

/// The burst's surroundings.
#[derive(Clone, Copy)]
struct Scene<'t> {
    topology: &'t Topology,
    port: PortId,
    inlet: Inlet,
    ours: &'t PortCounters,
    /// Second on the workers' clock.
    now: u32,
    /// The newest change of the port and its networks.
    changed: u32,
    /// What the queue may flood. A packet that has waited for its next hop has none: few of them wait.
    storm: Option<&'t Bucket>,
}

impl Forwarder {
    pub(super) fn new(
        pool: Mempool,
        teacher: Teacher,
        cache: FlowCache,
        verify: u32,
        openings: Openings,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        Self {
            output: Output::new(pool, counters.clone()),
            teacher,
            cache,
            asker: Asker::default(),
            held: Held::default(),
            lingering: Lingering::default(),
            openings,
            reporter: Reporter::new(counters.clone()),
            pool,
            counters,
            verify,
            unverified: 0,
            era: 0,
            entered: false,
        }
    }

    /// Carries a burst from a queue of `port` to the transmit queues. Not inlined: its instructions are counted by its name
    /// (`scripts/ci.sh instructions`).
    #[inline(never)]
    pub(super) fn forward(
        &mut self,
        topology: &Topology,
        (port, storm): (PortId, &Bucket),
        burst: &mut Burst,
        flows: &mut Flows,
        now: u32,
        counters: &WorkerCounters,
    ) {
        let ours = counters.port(port);
        ours.rx_packets.add(burst.len() as u64);
        if self.output.taps.are_on() {
            self.output.taps.burst(port, Point::Ingress, burst);
        }
        let inlet = topology.inlet(port);
        if !inlet.up {
            ours.rx_bytes.add(burst.iter().map(|frame| u64::from(frame.len())).sum());
            ours.drop(DropReason::IngressDown, burst.len() as u64);
            if self.output.taps.are_on() {
                self.output.taps.burst(port, Point::Drop(DropReason::IngressDown), burst);
            }
            burst.clear();
            return;
        }
        if inlet.police {
            self.police(topology, port, ours, burst);
        }
        if inlet.mirror
            && let Some(mirror) = topology.port(port).and_then(|port| port.mirror)
        {
            for frame in burst.iter() {
                self.output.copy(topology, mirror.to, frame);
            }
        }
        let era = (topology.generation() >> 32) as u32;
        if era != self.era {
            self.cache.clear();
            self.era = era;
        }
        let changed = topology.stamps().ingress(port);
        let scene = Scene { topology, port, inlet, ours, now, changed, storm: Some(storm) };
        let flows = flows.0.get_mut(..burst.len()).unwrap_or_default();
        ours.rx_bytes.add(self.parse(&scene, burst, flows));
        if self.cache.is_on() {
            self.find(flows);
            if inlet.tracks {
                self.fetch_connections(&scene, flows);
            }
            self.run_cached(&scene, burst, flows);
        } else {
            self.run_uncached(&scene, burst, flows);
        }
        self.output.flush();
    }

    /// First pass: keys, hashes, tags on their way. Returns the bytes of the burst.
    #[inline]
    fn parse(&self, scene: &Scene<'_>, burst: &Burst, flows: &mut [Flow]) -> u64 {
        for frame in burst.iter() {
            frame.prefetch_data();
        }
        let port = scene.port;
        if scene.inlet.opens
            && let Some(openers) = scene.topology.openers(port)
        {
            return self.keys(burst, flows, |frame, flow| {
                openers.parse_into(frame, port, &mut flow.key, &mut flow.inner)
            });
        }
        // The depth is the same for the whole burst: one loop for each, so that none asks for every frame.
        match scene.inlet.depth {
            Depth::Ethernet => {
                self.keys(burst, flows, |frame, flow| plain(frame, port, Depth::Ethernet, flow))
            }
            Depth::Network => self.keys(burst, flows, |frame, flow| plain(frame, port, Depth::Network, flow)),
            Depth::Transport => {
                self.keys(burst, flows, |frame, flow| plain(frame, port, Depth::Transport, flow))
            }
        }
    }

    #[inline(always)]
    fn keys(
        &self,
        burst: &Burst,
        flows: &mut [Flow],
        parse: impl Fn(&Mbuf, &mut Flow) -> Result<Layout, Unparsed>,
    ) -> u64 {
        let mut bytes = 0;
        for (frame, flow) in burst.iter().zip(flows) {
            bytes += u64::from(frame.len());
            match parse(frame, flow) {
                Ok(layout) => {
                    flow.hash = self.cache.hash(&flow.key);
                    flow.layout = layout;
                    flow.state = State::New;
                    self.cache.prefetch_tags(flow.hash);
                }
                Err(Unparsed::Runt) => flow.state = State::Bad(DropReason::Runt),
                Err(Unparsed::Split) => flow.state = State::Split,
                Err(Unparsed::Refused(reason)) => flow.state = State::Bad(reason),
            }
        }
        bytes
    }

    /// Second pass: frames that continue the flow of the one before are told, the entries of the others are on their way.
    /// (Keys are compared here and not when they are made: a wide load right behind narrow stores would wait for them.)
    #[inline]
    fn find(&self, flows: &mut [Flow]) {
        let mut before: Option<&Flow> = None;
        for flow in flows.iter_mut() {
            if flow.state == State::New {
                match before {
                    Some(last) if last.hash == flow.hash && last.key == flow.key && !flow.is_congested() => {
                        flow.state = State::Same;
                        flow.place = Place::NONE;
                    }
                    _ => flow.place = self.cache.find(flow.hash),
                }
                // What met congestion may be dropped for that, and stands alone.
                before = if flow.is_congested() { None } else { Some(flow) };
            } else {
                before = None;
            }
        }
    }

    /// Third pass.
    #[inline]
    fn run_cached(&mut self, scene: &Scene<'_>, burst: &mut Burst, flows: &[Flow]) {
        self.entered = false;
        let mut frames = burst.drain();
        let mut rest = flows;
        while let Some((flow, behind)) = rest.split_first() {
            let Some(mut frame) = frames.next() else { break };
            rest = behind;
            if !matches!(flow.state, State::New | State::Same) {
                self.refuse(scene, flow.state, frame);
                continue;
            }
            if !self.open(scene, flow, &mut frame) {
                continue;
            }
            let (place, missed) = match self.hit(scene, flow, &mut frame) {
                Some(place) => (place, 0),
                None => match self.miss(scene, flow, &mut frame) {
                    Ok(place) => (place, 1),
                    Err(decided) => {
                        self.finish(scene, &decided, flow, frame);
                        continue;
                    }
                },
            };
            // Copied here once, and handed on in no wrapper: each further copy right behind it would wait for the store buffer.
            let actions = self.cache.actions(place);
            let (mut packets, mut bytes) = (1, u64::from(frame.len()));
            self.execute(scene, &actions, flow, frame);
            while let Some((next, behind)) = rest.split_first()
                && next.state == State::Same
                && let Some(mut frame) = frames.next()
            {
                rest = behind;
                if !self.open(scene, next, &mut frame) {
                    continue;
                }
                packets += 1;
                bytes += u64::from(frame.len());
                self.execute(scene, &actions, next, frame);
            }
            if let Some(entry) = self.cache.at(place) {
                entry.packets += packets;
                entry.bytes += bytes;
            }
            self.counters.flows.hits.add(packets - missed);
        }
    }

    /// All frames by the stages.
    fn run_uncached(&mut self, scene: &Scene<'_>, burst: &mut Burst, flows: &[Flow]) {
        for (flow, mut frame) in flows.iter().zip(burst.drain()) {
            match flow.state {
                State::New | State::Same => {
                    if !self.open(scene, flow, &mut frame) {
                        continue;
                    }
                    let decided = self.decide(scene, flow, &mut frame);
                    self.finish(scene, &decided, flow, frame);
                }
                state => self.refuse(scene, state, frame),
            }
        }
    }

    /// Carries out what was decided for one frame.
    #[inline]
    fn finish(&mut self, scene: &Scene<'_>, decided: &Decision, flow: &Flow, frame: Mbuf) {
        match decided.part {
            Part::Whole => self.conclude(scene, decided, flow, frame),
            Part::Later(_) | Part::Awaits => self.finish_part(scene, decided, flow, frame),
        }
    }

    /// Carries out what the stages decided for one frame, whose flow has the key that they saw.
    #[inline]
    fn conclude(&mut self, scene: &Scene<'_>, decided: &Decision, flow: &Flow, frame: Mbuf) {
        match decided.question {
            None => self.execute(scene, &decided.actions, flow, frame),
            Some(question) => self.hold(scene, question, flow, frame),
        }
    }

    /// A packet that goes nowhere, and whose sender is to hear of it.
    #[cold]
    fn reject(&mut self, scene: &Scene<'_>, reason: DropReason, answer: Answer, flow: &Flow, frame: Mbuf) {
        // What answers a request of the switch's own is not lost.
        if answer == Answer::Own && self.output.taps.are_on() && self.output.taps.hear(scene.port, &frame) {
            return;
        }
        let said = self.answer(scene, flow, frame, |ingress, data| {
            Reply::to(answer, ingress, &flow.key, flow.layout, data)
        });
        // An echo request that is answered is not lost.
        if said != Some(Reply::Echo) {
            scene.ours.drop(reason, 1);
        }
    }

    /// Sends back what `choose` says, if anything; returns what was sent.
    #[cold]
    fn answer(
        &mut self,
        scene: &Scene<'_>,
        flow: &Flow,
        frame: Mbuf,
        choose: impl Fn(&Ingress<'_>, &[u8]) -> Option<Reply>,
    ) -> Option<Reply> {
        let ingress = Ingress::of(scene.topology, &flow.key).ok()?;
        let reply = choose(&ingress, frame.data())?;
        let frame = self.reporter.speak(reply, &ingress, &flow.key, flow.layout, frame)?;
        self.send_back(scene, &ingress, flow, frame)?;
        Some(reply)
    }

    /// Sends an answer that a stage has made of a frame: ARP and ND.
    #[cold]
    #[inline(never)]
    fn reply(&mut self, scene: &Scene<'_>, flow: &Flow, frame: Mbuf) {
        let ingress = Ingress::of(scene.topology, &flow.key).ok();
        if ingress.and_then(|ingress| self.send_back(scene, &ingress, flow, frame)).is_none() {
            scene.ours.drop(DropReason::NeighborUnresolved, 1);
        }
    }

    /// Sends an answer where the question came from: what came in a tunnel goes back into it. `None` when that has no way at present.
    #[cold]
    fn send_back(
        &mut self,
        scene: &Scene<'_>,
        ingress: &Ingress<'_>,
        flow: &Flow,
        mut frame: Mbuf,
    ) -> Option<()> {
        let Some(peer) = ingress.peer else {
            self.output.send(scene.topology, scene.port, frame);
            return Some(());
        };
        let way = scene.topology.overlay(ingress.network.id)?.tunnel(peer)?.way.ok()?;
        let wrapped = Actions {
            edits: Edits::ENCAP,
            template: way.template,
            entropy: Entropy::of(&flow.key).without_ports(),
            ..Actions::unchanged(Verdict::Port(way.port))
        };
        execute::edit(&wrapped, flow.layout, scene.topology.rewrites(), &mut frame).ok()?;
        self.output.send(scene.topology, way.port, frame);
        Some(())
    }

    /// Runs actions on a frame.
    #[inline(always)]
    fn execute(&mut self, scene: &Scene<'_>, actions: &Actions, flow: &Flow, mut frame: Mbuf) {
        if actions.edits.has(Edits::TRACK) {
            match self.follow(scene, actions, flow, frame) {
                Some(rest) => frame = rest,
                None => return,
            }
        }
        self.edit_and_send(scene, actions, flow, frame);
    }

    /// Runs actions on a frame that its connection has been told of.
    #[inline(always)]
    fn edit_and_send(&mut self, scene: &Scene<'_>, actions: &Actions, flow: &Flow, mut frame: Mbuf) {
        if let Verdict::Flood(network) | Verdict::FloodInto(network) = actions.verdict {
            if !may_flood(scene, network, &frame) {
                return self.lose(scene, DropReason::StormLimit, &frame);
            }
            self.flood_peers(scene, network, actions, flow, &frame);
        }
        if !actions.edits.is_none() {
            if fit::is_unusual(actions, flow.layout, &frame) {
                match self.fit(scene, actions, flow, frame) {
                    Some(fits) => frame = fits,
                    None => return,
                }
            }
            if actions.edits.has(Edits::ENCAP) && frame.needs_offload() {
                return self.wrap_unfinished(scene, actions, flow, frame);
            }
            if let Err(reason) = execute::edit(actions, flow.layout, scene.topology.rewrites(), &mut frame) {
                return self.lose(scene, reason, &frame);
            }
        }
        self.depart(scene, actions, flow, frame);
    }

    /// Sends an edited frame to where its verdict says.
    #[inline(always)]
    fn depart(&mut self, scene: &Scene<'_>, actions: &Actions, flow: &Flow, frame: Mbuf) {
        match actions.verdict {
            Verdict::Port(to) => self.output.send(scene.topology, to, frame),
            Verdict::Flood(network) | Verdict::FloodLocal(network) => {
                self.output.flood(scene.topology, network, Some(scene.port), actions.tci, frame);
            }
            Verdict::FloodInto(network) => {
                self.output.flood(scene.topology, network, None, actions.tci, frame);
            }
            Verdict::Reply => self.reply(scene, flow, frame),
            Verdict::Consume => scene.ours.taken.add(1),
            Verdict::Drop(reason) => self.lose(scene, reason, &frame),
            Verdict::Reject(reason, answer) => self.reject(scene, reason, answer, flow, frame),
        }
    }

    /// Counts a frame that is dropped, and shows it to who watches.
    #[inline(always)]
    fn lose(&self, scene: &Scene<'_>, reason: DropReason, frame: &Mbuf) {
        scene.ours.drop(reason, 1);
        if self.output.taps.are_on() {
            self.output.taps.dropped(scene.port, reason, frame);
        }
    }

    /// A frame that could not be parsed as it lies.
    #[cold]
    fn refuse(&mut self, scene: &Scene<'_>, state: State, frame: Mbuf) {
        let State::Split = state else {
            let State::Bad(reason) = state else { return };
            return self.lose(scene, reason, &frame);
        };
        // A chain with its headers cut up is something only a guest makes. It costs the guest a copy.
        match linearize(&frame, self.pool) {
            Ok(frame) => self.alone(scene, frame),
            Err(_) => self.lose(scene, DropReason::HeadersSplit, &frame),
        }
    }

    /// A frame that was not received as it is: parsed and decided by itself.
    fn alone(&mut self, scene: &Scene<'_>, mut frame: Mbuf) {
        let openers = scene.topology.openers(scene.port);
        match parse_frame(openers, &frame, scene.port, scene.inlet.depth) {
            Ok((key, layout, inner)) => {
                let flow = Flow { key, layout, inner, ..Flow::default() };
                if !self.open(scene, &flow, &mut frame) {
                    return;
                }
                let decided = self.decide(scene, &flow, &mut frame);
                self.finish(scene, &decided, &flow, frame);
            }
            Err(Unparsed::Refused(reason)) => self.lose(scene, reason, &frame),
            Err(_) => self.lose(scene, DropReason::HeadersSplit, &frame),
        }
    }
}

#[cfg(test)]
mod tests;
