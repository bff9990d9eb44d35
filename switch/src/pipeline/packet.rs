//! One frame on its way through the stages.

use std::net::IpAddr;

use shunt_ffi::Mbuf;

use crate::drop::DropReason;
use crate::flow::actions::Actions;
use crate::flow::parse::Layout;
use crate::flow::{Answer, FlowKey, Verdict};
use crate::ids::NetworkId;
use crate::state::affinity::Client;
use crate::state::ports::Span;
use crate::state::{Found, Tuple};
use crate::topology::stamps::Dependencies;
use crate::wire::ethernet::Mac;

/// What a frame teaches the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teach {
    /// Nothing new.
    Nothing,
    /// The source address is behind the ingress port.
    Source,
    /// An IP address belongs to a MAC address (and the source address is behind the ingress port).
    Neighbor(IpAddr, Mac),
}

/// A neighbour to be asked for its MAC address, in place of a packet that is lost for want of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where it should be.
    pub network: NetworkId,
    /// Who is asked for.
    pub target: IpAddr,
    /// Our address there, of the same family.
    pub source: IpAddr,
    /// Our MAC address there.
    pub mac: Mac,
}

/// A connection as a packet of it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The connection and the packet's direction.
    pub found: Found,
    /// What the packet is translated to.
    pub to: Tuple,
}

/// A connection to be opened by a packet's worker: the stages change nothing. Each of them may add to it; without
/// translations it is opened for its answers to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opens {
    /// What the packet comes with.
    pub tuple: Tuple,
    /// Who gets it instead of whom it was sent to.
    pub destination: Option<Target>,
    /// Who it seems to come from.
    pub source: Option<Guise>,
    /// Number of the stage that made it, if not table 17.
    pub rule: u32,
    /// Which backend its client is to stay with.
    pub stays: Option<Stays>,
}

/// A client of a service, and the backend that he is to stay with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stays {
    /// The client.
    pub client: Client,
    /// Low half of the backend's id.
    pub backend: u32,
    /// For how long from now on.
    pub seconds: u32,
}

/// A new destination, of the packet's address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` leaves the packet's.
    pub port: Option<u16>,
}

/// A new source, of the packet's address family. A port is chosen with it: the packet's own, if nobody has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guise {
    /// Its address.
    pub address: IpAddr,
    /// The node's own stack has that address, too, and chooses ports of its own.
    pub shared: bool,
    /// It is the sender's alone: its port stays, whatever it is, unless another connection is answered in the same way.
    pub keeps_port: bool,
    /// Which ports it may have, if the router says so; an echo's identifier is none.
    pub ports: Option<Span>,
}

impl Guise {
    /// The router's own address towards some network, which the node's own stack has, too, when it is `shared`.
    pub fn own(address: IpAddr, shared: bool) -> Self {
        Self { address, shared, keeps_port: false, ports: None }
    }
}

impl Opens {
    /// Without translations.
    pub fn plain(tuple: Tuple) -> Self {
        Self { tuple, destination: None, source: None, rule: 0, stays: None }
    }

    /// What the packet becomes, but for a port that is to be chosen.
    pub fn translated(&self) -> Tuple {
        let mut to = self.tuple;
        if let Some(target) = self.destination {
            to = to.with_destination(target.address);
            // Of an echo it is the type, which stays.
            if let Some(port) = target.port.filter(|_| to.echo().is_none()) {
                to = to.with_destination_port(port);
            }
        }
        match self.source {
            Some(guise) => to.with_source(guise.address),
            None => to,
        }
    }
}

/// A frame and what the stages have found out about it.
///
/// Stages decide by [`Packet::key`] and the topology alone and write what is to be done into [`Packet::actions`]; so the
/// decision can be kept for all frames with that key. A stage that must see more takes the frame by
/// [`Packet::look_inside`]: then the decision holds for this frame only.
#[derive(Debug)]
pub struct Packet<'f> {
    key: &'f FlowKey,
    layout: Layout,
    frame: &'f mut Mbuf,
    inside: bool,
    /// Seconds on the workers' clock.
    pub now: u32,
    /// Destination address as the next stage is to see it: a frame of an L3 port gets its own first.
    pub dst: Mac,
    /// The connection that it belongs to, when table 4 has found one.
    pub connection: Option<Known>,
    /// The connection that it opens, if it gets to where it goes.
    pub opens: Option<Opens>,
    /// What it opens leaves with an address of this node, whatever network it leaves by: set by table 6.
    pub masquerades: bool,
    /// The node's own stack passes it on, and decides about it: set by table 6, or by table 4 of what it has passed on before.
    pub by_host: bool,
    /// What is to be done.
    pub actions: Actions,
    /// Rows that were asked for.
    pub rests_on: Dependencies,
    /// What the control thread should learn from it.
    pub teach: Teach,
    /// Whom to ask, when it is lost for want of a MAC address.
    pub question: Option<Question>,
    /// What its sender is told when it is dropped.
    pub answer: Option<Answer>,
}

impl<'f> Packet<'f> {
    /// A frame with its key; `key` and `layout` come from [`crate::flow::parse::parse`] of this frame.
    #[inline]
    pub fn new(frame: &'f mut Mbuf, key: &'f FlowKey, layout: Layout, now: u32) -> Self {
        Self {
            dst: key.dst(),
            key,
            layout,
            frame,
            inside: false,
            now,
            connection: None,
            opens: None,
            masquerades: false,
            by_host: false,
            actions: Actions::unchanged(Verdict::Consume),
            rests_on: Dependencies::NONE,
            teach: Teach::Nothing,
            question: None,
            answer: None,
        }
    }

    /// The header fields that stages may decide by.
    #[inline]
    pub fn key(&self) -> &'f FlowKey {
        self.key
    }

    /// Destination address of an IP packet, as its connection has it or the one that it opens.
    #[inline]
    pub fn destination(&self) -> Option<IpAddr> {
        if let Some(known) = &self.connection {
            return Some(known.to.destination());
        }
        if let Some(target) = self.opens.as_ref().and_then(|opens| opens.destination) {
            return Some(target.address);
        }
        self.key.addresses().map(|(_, destination)| destination)
    }

    /// Destination port of a packet that has ports, as its connection has it or the one that it opens.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        if let Some(known) = &self.connection {
            return known.to.destination_port();
        }
        match &self.opens {
            Some(opens) => opens.translated().destination_port(),
            None => self.key.ports().1,
        }
    }

    /// The frame itself, to read what the key does not have, or to turn it into an answer. The decision is then not kept.
    #[inline]
    pub fn look_inside(&mut self) -> (&mut Mbuf, Layout) {
        self.inside = true;
        (self.frame, self.layout)
    }

    /// True when the decision holds for every frame with this key.
    #[inline]
    pub fn is_cacheable(&self) -> bool {
        !self.inside && self.question.is_none()
    }

    /// Says of a packet that goes nowhere whether the decision may be kept: not when that was found out about where its
    /// connection goes, which may end, or about the backend that a service has chosen for it, which may be another one next
    /// time. The decision would outlive both.
    #[cold]
    pub fn refused(&mut self) {
        let served = self.opens.is_some_and(|opens| opens.destination.is_some());
        if self.connection.is_some() || served {
            self.inside = true;
        }
    }

    /// Gives the packet up, and asks for the neighbour it is meant for. Every such packet asks anew (the worker limits the
    /// rate), so the decision is not kept.
    #[cold]
    pub fn ask(&mut self, question: Question) -> DropReason {
        self.question = Some(question);
        DropReason::NeighborUnresolved
    }

    /// Gives the packet up and tells its sender why. Decided by the key alone, so it holds for all packets of the flow; how
    /// many of them are answered is the worker's business.
    #[inline]
    pub fn reject(&mut self, reason: DropReason, answer: Answer) -> DropReason {
        self.answer = Some(answer);
        reason
    }
}
