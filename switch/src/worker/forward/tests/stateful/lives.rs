//! How far connections have come, and what is due next: what an end would send, and what its connection is then.

use super::frames::Segment;
use super::model::Connection;
use super::sctp;
use crate::wire::protocol::{ICMP, SCTP, TCP};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Unreplied,
    Replied,
    /// A SYN, or an INIT.
    SynSent,
    /// It was answered.
    SynReceived,
    /// SCTP: a COOKIE ECHO.
    Echoed,
    Established,
    /// Who has sent a FIN, and whose was acknowledged: of the one who opened it, and of the other.
    Ending {
        fins: [bool; 2],
        acknowledged: [bool; 2],
    },
    Closed,
}

/// What one side does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    GoesOn,
    Resets,
    /// Says that it has nothing more to say.
    Finishes,
}

impl Life {
    /// True when a SYN of the one who opened it makes another one in its place.
    pub(super) fn makes_way(self) -> bool {
        matches!(self, Self::Closed | Self::Ending { fins: [true, true], acknowledged: [true, true] })
    }
}

impl Connection {
    /// Seconds of silence after which it is forgotten (those of Linux).
    pub(super) fn patience(&self) -> u32 {
        if self.original.protocol == SCTP {
            return match self.life {
                Life::Established => 210,
                Life::Closed => 10,
                _ => 3,
            };
        }
        match self.life {
            Life::Unreplied => 30,
            Life::Replied if self.original.protocol == ICMP => 30,
            Life::Replied | Life::SynSent => 120,
            Life::SynReceived | Life::Echoed => 60,
            Life::Established => 432_000,
            Life::Ending { fins: [true, true], acknowledged: [true, true] } => 120,
            Life::Ending { fins: [true, true], .. } => 30,
            // One has finished; the other one has said that it knows, or has not.
            Life::Ending { fins, acknowledged } if fins == acknowledged => 60,
            Life::Ending { .. } => 120,
            Life::Closed => 10,
        }
    }
}

/// The packet of a connection that is due next, in a direction; and what the connection is then.
pub(super) fn due(it: &Connection, answers: bool, does: Does) -> Option<(Segment, Life)> {
    if it.original.protocol == SCTP {
        return due_of_sctp(it, answers, does);
    }
    if it.original.protocol != TCP {
        return Some((Segment::default(), if answers { Life::Replied } else { it.life }));
    }
    let (mine, yours) = if answers { (it.first.1, it.first.0) } else { it.first };
    let syn = Segment { syn: true, sequence: mine, ..Segment::default() };
    let go = Segment { sequence: mine + 1, acknowledges: Some(yours + 1), ..Segment::default() };
    let (fins, acknowledged) = match it.life {
        Life::SynSent if !answers => return Some((syn, Life::SynSent)),
        Life::SynSent => return Some((Segment { acknowledges: Some(yours + 1), ..syn }, Life::SynReceived)),
        Life::SynReceived if answers => {
            return Some((Segment { acknowledges: Some(yours + 1), ..syn }, Life::SynReceived));
        }
        Life::SynReceived => return Some((go, Life::Established)),
        Life::Established => ([false; 2], [false; 2]),
        Life::Ending { fins, acknowledged } => (fins, acknowledged),
        // Another one in its place: see `play`.
        Life::Closed | Life::Unreplied | Life::Replied | Life::Echoed => return None,
    };
    let (own, other) = (usize::from(answers), usize::from(!answers));
    // A FIN takes a number.
    let go = Segment {
        sequence: go.sequence + u32::from(fins[own]),
        acknowledges: go.acknowledges.map(|next| next + u32::from(fins[other])),
        ..go
    };
    match does {
        Does::Resets if it.both && !it.life.makes_way() => {
            return Some((Segment { reset: true, ..go }, Life::Closed));
        }
        // Again, when it has said so before.
        Does::Finishes if it.both => {
            let mut next = (fins, acknowledged);
            next.0[own] = true;
            next.1[other] |= fins[other];
            let sequence = go.sequence - u32::from(fins[own]);
            let life = Life::Ending { fins: next.0, acknowledged: next.1 };
            return Some((Segment { fin: true, sequence, ..go }, life));
        }
        _ => {}
    }
    let mut acknowledged = acknowledged;
    acknowledged[other] |= fins[other];
    let life = match fins {
        [false, false] => Life::Established,
        _ => Life::Ending { fins, acknowledged },
    };
    Some((go, life))
}

/// The same of SCTP, of which both sides have told a tag.
fn due_of_sctp(it: &Connection, answers: bool, does: Does) -> Option<(Segment, Life)> {
    let (own, others) = if answers { (it.first.1, it.first.0) } else { it.first };
    let says = |chunk| Segment { chunk, tag: others, ..Segment::default() };
    Some(match (it.life, answers) {
        (Life::SynSent, false) => (sctp::init(own), Life::SynSent),
        (Life::SynSent | Life::SynReceived, true) => {
            (Segment { sequence: own, ..says(sctp::INIT_ACK) }, Life::SynReceived)
        }
        (Life::SynReceived | Life::Echoed, false) => (says(sctp::COOKIE_ECHO), Life::Echoed),
        (Life::Echoed, true) => (says(sctp::COOKIE_ACK), Life::Established),
        (Life::Established, _) if does == Does::Resets => {
            (Segment { reset: true, ..says(sctp::ABORT) }, Life::Closed)
        }
        (Life::Established, _) => (says(sctp::DATA), Life::Established),
        _ => return None,
    })
}
