//! The rules once more, naively: a list of connections, and for each packet the ways it may go, in the words of docs/services.md,
//! docs/connections.md and docs/policies.md. Where a choice is free (a backend, a port) there are several. What services say is
//! in [`super::services`], how a packet goes on from there in [`super::way`].

use std::collections::HashMap;
use std::net::IpAddr;

use super::frames::{Segment, Talk};
use super::lives::Life;
use super::places;
use super::way::{forward, hairpin, onward};
use super::world::World;
use crate::drop::DropReason;

/// A packet that a station sends: to the router, or straight to a station of its network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) station: usize,
    pub(super) straight: Option<usize>,
    pub(super) talk: Talk,
    pub(super) segment: Segment,
    /// It comes in fragments.
    pub(super) pieces: bool,
}

/// What made a connection, and what it rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rests {
    /// A service sent it to its backend.
    pub(super) service: bool,
    /// A floating address, and the station it stood for.
    pub(super) floating: Option<(IpAddr, IpAddr)>,
    /// A single port sent it inside.
    pub(super) forward: bool,
    pub(super) leaves: Leaves,
}

/// What gave a connection the address that it leaves with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leaves {
    /// The router, the floating address of its station, or nobody.
    #[default]
    AsElse,
    Pooled,
    /// Its prefix.
    Sourced,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) original: Talk,
    pub(super) reply: Talk,
    pub(super) rests: Rests,
    pub(super) life: Life,
    /// Second of the last packet.
    pub(super) last: u32,
    /// First sequence numbers of both sides.
    pub(super) first: (u32, u32),
    /// Both sides have spoken.
    pub(super) both: bool,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// To that station, as this. `routed`: by the router, not bridged.
    Out { to: usize, talk: Talk, routed: bool },
    /// Answered by the switch itself.
    Echoed,
    /// Dropped, and the sender hears that nobody is there.
    Refused(DropReason),
    /// Dropped; the sender may be told.
    Lost(DropReason),
}

/// The port that the sender of a new connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Its own if nobody is answered in the same way; another one otherwise.
    Own,
    /// The same, but no well-known one.
    Shared,
    /// The same, but one of [`places::PORTS`].
    Ranged,
}

/// A connection that is opened on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opens {
    pub(super) from: From,
    /// Its sender gets an address of the pool.
    pub(super) pooled: bool,
    pub(super) rests: Rests,
    /// A client of a service that is to stay, and his backend.
    pub(super) stays: Option<(Client, Backend)>,
}

/// A service's port, and who uses it.
pub(super) type Client = (usize, usize, IpAddr);
pub(super) type Backend = (IpAddr, u16);

#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) end: End,
    pub(super) opens: Option<Opens>,
    /// The backend that was chosen for it.
    pub(super) backend: Option<Backend>,
}

/// What the model remembers.
#[derive(Default)]
pub(super) struct Model {
    pub(super) open: Vec<Connection>,
    /// Which backend clients are to stay with, and until when.
    pub(super) stays: HashMap<Client, (Backend, u32)>,
}

/// A packet on its way through the rules: what it has become so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub(super) talk: Talk,
    pub(super) rests: Rests,
    pub(super) stays: Option<(Client, Backend)>,
    /// Its receiver was changed.
    pub(super) sent_on: bool,
    /// Its sender was changed.
    pub(super) guised: bool,
    /// It must leave with an address of this node.
    pub(super) masked: bool,
}

impl Model {
    /// The connection that a packet belongs to, what it becomes, and whether it is an answer.
    pub(super) fn find(&self, talk: &Talk) -> Option<(usize, Talk, bool)> {
        self.open.iter().enumerate().find_map(|(at, it)| match () {
            () if it.original == *talk => Some((at, it.reply.back(), false)),
            () if it.reply == *talk => Some((at, it.original.back(), true)),
            () => None,
        })
    }

    /// True when no connection has packets of that kind.
    pub(super) fn is_free(&self, talk: &Talk) -> bool {
        self.find(talk).is_none()
    }

    /// The ways that a packet may go; `looks`: there are policies about somebody.
    pub(super) fn ways(&self, world: &World, looks: bool, sent: &Sent, now: u32) -> Vec<Way> {
        let routed = sent.straight.is_none();
        let tracks = world.tracks(looks, routed);
        let draft = Draft {
            talk: sent.talk,
            rests: Rests::default(),
            stays: None,
            sent_on: false,
            guised: false,
            masked: false,
        };
        if let Some((_, talk, answers)) = self.find(&sent.talk).filter(|_| tracks) {
            return vec![onward(world, looks, sent, Draft { talk, ..draft }, Some(answers))];
        }
        if routed && let Some(ways) = self.by_service(world, looks, sent, draft, now) {
            return ways;
        }
        if routed && let Some(station) = world.floating {
            let pair = (places::floating(sent.talk.is_v6()), places::address(station, sent.talk.is_v6()));
            if sent.talk.to == pair.0 {
                let mut draft = Draft { sent_on: true, ..draft };
                draft.talk.to = pair.1;
                draft.rests.floating = Some(pair);
                let draft = hairpin(sent, draft);
                return vec![onward(world, looks, sent, draft, None)];
            }
        }
        if routed && let Some(station) = forward(world, &sent.talk) {
            let mut draft = Draft { sent_on: true, ..draft };
            (draft.talk.to, draft.talk.ports.1) = station;
            draft.rests.forward = true;
            let draft = hairpin(sent, draft);
            return vec![onward(world, looks, sent, draft, None)];
        }
        vec![onward(world, looks, sent, draft, None)]
    }

    /// Where an error goes that the receiver of a packet of a connection sends back, and about which packet it is then: the one
    /// that its sender has sent. `answers`: about an answer. Policies let errors about known connections pass.
    pub(super) fn complains(world: &World, it: &Connection, answers: bool, sent: &Sent) -> (End, Talk) {
        let (about, back) = match answers {
            false => (it.original, it.original.back()),
            true => (it.reply, it.reply.back()),
        };
        let talk = Talk { from: back.from, to: back.to, ..sent.talk };
        let draft = Draft {
            talk,
            rests: Rests::default(),
            stays: None,
            sent_on: false,
            guised: false,
            masked: false,
        };
        (onward(world, false, sent, draft, Some(!answers)).end, about)
    }
}
