//! Two ends that do as RFC 9260 says, over a network that loses and doubles packets on either side of the switch: none of
//! theirs is ever refused, and the switch ends up where they do.

use std::collections::VecDeque;

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nothing,
    CookieWait,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownAckSent,
    Done,
}

/// One end. What it owes the other is said again at every turn until it is answered.
struct End {
    direction: Direction,
    at: At,
    /// What its packets carry.
    tag: u32,
    /// INITs that it has sent.
    inits: u32,
}

impl End {
    /// What it says, unasked, at its turn. `closes`: it wants to end the association.
    fn turn(&mut self, closes: bool) -> Option<Packet> {
        let tag = self.tag;
        let says = |chunk| Some(packet(tag, &[chunk]));
        match self.at {
            // Two at most, as of more answers than two the tracker may have forgotten the one that counts.
            At::CookieWait if self.inits < 2 => {
                self.inits += 1;
                Some(init(CLIENTS))
            }
            At::CookieEchoed => says(Chunk::CookieEcho),
            At::Established if closes => {
                self.at = At::ShutdownSent;
                says(Chunk::Shutdown)
            }
            At::Established => says(Chunk::Other),
            At::ShutdownSent => says(Chunk::Shutdown),
            At::ShutdownAckSent => says(Chunk::ShutdownAck),
            At::CookieWait | At::Nothing | At::Done => None,
        }
    }

    /// What it answers.
    fn hear(&mut self, heard: &Packet, next_tag: &mut u32) -> Option<Packet> {
        let says = |tag, chunk| Some(packet(tag, &[chunk]));
        match (heard.first(), self.at) {
            // A server keeps nothing: each answer offers another tag. The cookie is that tag, by which the COOKIE ECHO comes.
            (Chunk::Init(tag), At::Nothing | At::Established) if self.direction == S => {
                *next_tag += 1;
                says(tag, Chunk::InitAck(*next_tag))
            }
            (Chunk::Init(_), At::ShutdownAckSent) => says(self.tag, Chunk::ShutdownAck),
            (Chunk::InitAck(tag), At::CookieWait) => {
                (self.at, self.tag) = (At::CookieEchoed, tag);
                says(tag, Chunk::CookieEcho)
            }
            (Chunk::CookieEcho, At::Nothing) => {
                (self.at, self.tag) = (At::Established, CLIENTS);
                says(self.tag, Chunk::CookieAck)
            }
            (Chunk::CookieEcho, At::Established | At::ShutdownSent) => says(self.tag, Chunk::CookieAck),
            (Chunk::CookieAck, At::CookieEchoed) => {
                self.at = At::Established;
                None
            }
            (Chunk::Shutdown, At::Established | At::ShutdownSent | At::ShutdownAckSent) => {
                self.at = At::ShutdownAckSent;
                says(self.tag, Chunk::ShutdownAck)
            }
            (Chunk::ShutdownAck, At::ShutdownSent | At::ShutdownAckSent) => {
                self.at = At::Done;
                says(self.tag, Chunk::ShutdownComplete(false))
            }
            // It knows nothing of it any more.
            (Chunk::ShutdownAck, At::Done) => says(heard.tag, Chunk::ShutdownComplete(true)),
            (Chunk::ShutdownComplete(_), At::ShutdownAckSent) => {
                self.at = At::Done;
                None
            }
            _ => None,
        }
    }
}

/// One event: who has its turn, and what becomes of its packet before and behind the switch.
type Event = (bool, u8, u8);

/// How often a packet gets through: mostly once. An INIT is not doubled: each copy would get another answer (see [`End::turn`]).
fn copies(luck: u8, packet: &Packet) -> usize {
    match luck {
        0..2 => 0,
        2..4 if packet.tag != 0 => 2,
        _ => 1,
    }
}

fn run(events: &[Event], closer: Direction) -> Result<(), TestCaseError> {
    let mut association: Option<Association> = None;
    let end = |direction, at| End { direction, at, tag: 0, inits: 0 };
    let mut ends = [end(C, At::CookieWait), end(S, At::Nothing)];
    // From each end to the switch, in order.
    let mut under_way: [VecDeque<Packet>; 2] = Default::default();
    let mut next_tag = SERVERS;
    // After so many events of luck there is none any more: everything gets through.
    let calm = std::iter::repeat_n([(true, 9, 9), (false, 9, 9)], 60).flatten();
    for (number, (client, before, behind)) in events.iter().copied().chain(calm).enumerate() {
        let direction = if client { C } else { S };
        let from = direction.index();
        if under_way[from].is_empty() {
            under_way[from].extend(ends[from].turn(direction == closer && number > events.len() / 2));
        }
        let Some(sent) = under_way[from].pop_front() else { continue };
        for _ in 0..copies(before, &sent) {
            let step = match association {
                None => Step::To(known(&sent)),
                Some(known) => known.step(direction, &sent),
            };
            let Step::To(next) = step else {
                return Err(TestCaseError::fail(format!("{direction:?} {sent:?}: {step:?}")));
            };
            association = Some(next);
            for _ in 0..copies(behind, &sent) {
                let to = direction.other().index();
                let answer = ends[to].hear(&sent, &mut next_tag);
                under_way[to].extend(answer);
            }
        }
    }
    if ends.iter().all(|end| end.at == At::Done) {
        prop_assert_eq!(association.map(|known| known.state), Some(Closed));
    } else {
        // Both INITs, or all answers to them, were lost.
        prop_assert_eq!((ends[0].at, ends[0].inits), (At::CookieWait, 2), "{:?}", ends[1].at);
    }
    Ok(())
}

proptest! {
    #[test]
    fn nothing_that_honest_ends_send_is_refused(
        events in prop::collection::vec((any::<bool>(), 0_u8..10, 0_u8..10), 0..120), server_closes: bool,
    ) {
        run(&events, if server_closes { S } else { C })?;
    }
}
