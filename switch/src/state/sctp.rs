//! The life of an SCTP association as a router between the two ends sees it (RFC 9260 sections 4, 5, 8.5 and 9).
//!
//! Pure functions: what was known, and a packet, give what is known then. States have the names that Linux's conntrack gives
//! them. An association is known by its verification tags: one that all packets of a direction carry, chosen by their
//! receiver and told in its INIT or INIT ACK.
//!
//! # What is caught
//! - Packets without a tag but INIT, INIT without the company it must not have (section 6.10), chunks of no length.
//! - Every packet whose tag is not that of its direction. ABORT and SHUTDOWN COMPLETE with the T bit carry the other one's.
//! - Chunks that are not due: data before a COOKIE ECHO, a COOKIE ACK without one, a SHUTDOWN ACK without a SHUTDOWN.
//!
//! # Tags that may yet count
//! Until the handshake is complete there are two candidates for each direction: an INIT or INIT ACK that is sent again may
//! say another one, and either may have arrived. Afterwards one is in force, and a second one is a candidate while an end that
//! has lost its memory begins anew (section 5.2.2): it counts from the COOKIE ACK on that answers a COOKIE ECHO with it, and
//! until then nothing of the association that is there changes.
//!
//! # What is not
//! Addresses within chunks. Each address of an end that has several is a connection of its own, which a HEARTBEAT opens.

mod packet;
mod tags;

use super::connection::{Direction, Marks, State};
use super::tcp::{Invalid, Opening};

use packet::is_reflected;
pub use packet::{Chunk, Packet};
pub(super) use tags::Tags;

const BOTH_ECHOED: Marks = Marks::ECHOED.of(Direction::Original).and(Marks::ECHOED.of(Direction::Reply));

/// How an association starts whose first packet this is. `loose`: one that is under way is picked up in the middle.
///
/// # Errors
/// It is no first packet: no INIT and no HEARTBEAT, nor, when `loose`, one of an association that lives.
pub fn open(packet: &Packet, loose: bool) -> Result<Opening, Invalid> {
    let opening = |state: State, marks: Marks| {
        let marks = marks.and(Marks::WATCH);
        Opening { state, marks, end: packet.tag, ack: 0, window: 0, scale: 0, offered: 0 }
    };
    match packet.first() {
        Chunk::Init(offered) => Ok(Opening { offered, ..opening(State::SctpCookieWait, Marks::HALF_OPEN) }),
        Chunk::Heartbeat => Ok(opening(State::SctpHeartbeatSent, Marks::HALF_OPEN)),
        Chunk::Other if loose => Ok(opening(State::SctpEstablished, Marks::PICKED_UP)),
        Chunk::Shutdown if loose => Ok(opening(State::SctpShutdownSent, Marks::PICKED_UP)),
        Chunk::ShutdownAck if loose => Ok(opening(State::SctpShutdownAckSent, Marks::PICKED_UP)),
        _ => Err(Invalid::NotFirst),
    }
}

/// What a packet does to an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It belongs to it; this is how it goes on.
    To(Association),
    /// It opens a new one in place of this one, which has ended.
    Reopens,
    /// It does not belong to it.
    Invalid(Invalid),
}

/// What is known of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Association {
    pub(super) state: State,
    pub(super) marks: Marks,
    /// Of both directions, by [`Direction::index`].
    pub(super) tags: [Tags; 2],
}

impl Association {
    /// The step of a packet that goes in `direction`.
    pub(super) fn step(mut self, direction: Direction, packet: &Packet) -> Step {
        if self.state == State::SctpClosed && packet.tag == 0 {
            return Step::Reopens;
        }
        let taken = self.check_tag(direction, packet).and_then(|()| {
            packet.chunks().iter().try_for_each(|chunk| self.take(direction, packet.tag, *chunk))
        });
        if let Err(invalid) = taken {
            return Step::Invalid(invalid);
        }
        if direction == Direction::Reply {
            self.marks = self.marks.and(Marks::REPLIED);
        }
        if self.state == State::SctpEstablished && self.marks.has(Marks::REPLIED) {
            self.marks = self.marks.and(Marks::ASSURED);
        }
        if !self.state.is_half_open() {
            self.marks = self.marks.without(Marks::HALF_OPEN);
        }
        Step::To(self)
    }

    fn tags(&mut self, direction: Direction) -> &mut Tags {
        &mut self.tags[direction.index()]
    }

    /// True while either of two candidates may come to be in force.
    fn is_fresh(&self) -> bool {
        matches!(self.state, State::SctpCookieWait | State::SctpCookieEchoed)
    }

    /// True where either of two candidates is one of the association: also where it has ended.
    fn is_either(&self) -> bool {
        self.is_fresh() || self.state == State::SctpClosed
    }

    /// That the packet has a tag of the association. One that was not there from the start tells the other side's tag by its
    /// first packet.
    fn check_tag(&mut self, direction: Direction, packet: &Packet) -> Result<(), Invalid> {
        let tag = packet.tag;
        let fits = match packet.first() {
            Chunk::Init(_) => true,
            _ if packet.chunks().iter().any(|chunk| is_reflected(*chunk)) => {
                self.tags(direction.other()).has(tag)
            }
            chunk => {
                let fresh = self.is_fresh();
                let either = self.is_either();
                let unknown = *self.tags(direction) == Tags::default();
                let tags = self.tags(direction);
                match chunk {
                    Chunk::InitAck(_) | Chunk::CookieEcho | Chunk::CookieAck | Chunk::Abort(_) => {
                        tags.has(tag)
                    }
                    // From an end that has not been told that the last association has ended (section 8.5.1 E).
                    Chunk::ShutdownAck if fresh => {
                        if !tags.has(tag) {
                            tags.held = tag;
                        }
                        true
                    }
                    _ if either => tags.has(tag),
                    _ if unknown => {
                        tags.held = tag;
                        true
                    }
                    _ => tag == tags.held,
                }
            }
        };
        if fits { Ok(()) } else { Err(Invalid::Tag) }
    }

    /// A new candidate for the tags of `direction`.
    fn offer(&mut self, direction: Direction, tag: u32) {
        let fresh = self.is_fresh();
        let chosen = self.marks.has(Marks::ECHOED.of(direction));
        let tags = self.tags(direction);
        match () {
            () if tag == tags.offered => {}
            // A late answer; its receiver may still go by it, when the cookie of the first one was too old.
            () if fresh && chosen => tags.held = tag,
            // The first and the newest: when several answers come at once, their receiver goes by the first.
            () if fresh && tags.held == 0 => *tags = Tags { held: tags.offered, offered: tag },
            () => tags.offered = tag,
        }
    }

    /// A chunk of a packet whose tag fits.
    fn take(&mut self, direction: Direction, tag: u32, chunk: Chunk) -> Result<(), Invalid> {
        use State::{
            SctpClosed, SctpCookieEchoed, SctpCookieWait, SctpEstablished, SctpHeartbeatSent,
            SctpShutdownAckSent, SctpShutdownRecd, SctpShutdownSent,
        };
        let ends = matches!(chunk, Chunk::Shutdown | Chunk::ShutdownAck);
        // Behind a COOKIE ECHO of who begins anew, or only says so.
        if ends && !self.is_either() && tag != self.tags(direction).held {
            return Err(Invalid::Tag);
        }
        self.state = match (chunk, self.state) {
            (Chunk::Init(offered), state) => self.init(direction, state, offered),
            (Chunk::InitAck(offered), state) => return self.init_ack(direction, tag, state, offered),
            (Chunk::CookieEcho, state) => return self.cookie_echo(direction, tag, state),
            (Chunk::CookieAck, state) => return self.cookie_ack(direction, tag, state),
            (Chunk::Abort(reflected), _) => return self.abort(direction, tag, reflected),
            (Chunk::ShutdownComplete(_), SctpShutdownAckSent) => SctpClosed,
            (Chunk::ShutdownComplete(_) | Chunk::Error, state) => state,
            (Chunk::ShutdownAck, SctpShutdownSent | SctpShutdownRecd) => SctpShutdownAckSent,
            // Its SHUTDOWN went by before the association was picked up.
            (Chunk::ShutdownAck, SctpEstablished) if self.marks.has(Marks::PICKED_UP) => SctpShutdownAckSent,
            (
                Chunk::ShutdownAck,
                state @ (SctpShutdownAckSent | SctpClosed | SctpCookieWait | SctpCookieEchoed),
            ) => state,
            (Chunk::ShutdownAck, _) => return Err(Invalid::Unexpected),
            // What is bundled with a chunk that is due, or sent by an end whose COOKIE ACK was lost.
            (_, SctpCookieWait) => return Err(Invalid::Unexpected),
            (Chunk::Shutdown, SctpEstablished) => match direction {
                Direction::Original => SctpShutdownSent,
                Direction::Reply => SctpShutdownRecd,
            },
            (Chunk::Shutdown, SctpHeartbeatSent) => return Err(Invalid::Unexpected),
            (Chunk::HeartbeatAck, SctpHeartbeatSent) if direction == Direction::Reply => SctpEstablished,
            (Chunk::Shutdown | Chunk::Heartbeat | Chunk::HeartbeatAck | Chunk::Other, state) => state,
        };
        Ok(())
    }

    fn init(&mut self, direction: Direction, state: State, offered: u32) -> State {
        let other = direction.other();
        match state {
            // Its cookie was too old (section 5.2.6), or it has begun anew.
            State::SctpCookieEchoed if !self.tags(other).has(offered) => {
                self.offer(other, offered);
                State::SctpCookieWait
            }
            State::SctpHeartbeatSent => {
                self.tags = [Tags::default(); 2];
                self.tags(other).offered = offered;
                State::SctpCookieWait
            }
            // Said again.
            State::SctpCookieEchoed => state,
            state => {
                self.marks = self.marks.without(BOTH_ECHOED);
                self.offer(other, offered);
                state
            }
        }
    }

    fn init_ack(
        &mut self,
        direction: Direction,
        tag: u32,
        state: State,
        offered: u32,
    ) -> Result<(), Invalid> {
        match state {
            State::SctpClosed | State::SctpHeartbeatSent => Err(Invalid::Unexpected),
            // A late one of the handshake that was: its receiver takes no notice (section 5.2.3).
            _ if !self.is_fresh() && tag != self.tags(direction).offered => Ok(()),
            _ => {
                self.offer(direction.other(), offered);
                Ok(())
            }
        }
    }

    fn cookie_echo(&mut self, direction: Direction, tag: u32, state: State) -> Result<(), Invalid> {
        match state {
            State::SctpClosed | State::SctpHeartbeatSent => Err(Invalid::Unexpected),
            // Of an end that has sent no INIT.
            _ if self.is_fresh() && *self.tags(direction.other()) == Tags::default() => {
                Err(Invalid::Unexpected)
            }
            State::SctpCookieWait | State::SctpCookieEchoed => {
                self.tags(direction).choose(tag);
                self.marks = self.marks.and(Marks::ECHOED.of(direction));
                self.state = State::SctpCookieEchoed;
                Ok(())
            }
            _ => {
                if tag == self.tags(direction).offered {
                    self.marks = self.marks.and(Marks::ECHOED.of(direction));
                }
                Ok(())
            }
        }
    }

    fn cookie_ack(&mut self, direction: Direction, tag: u32, state: State) -> Result<(), Invalid> {
        let fresh = match state {
            State::SctpCookieEchoed => true,
            State::SctpCookieWait | State::SctpHeartbeatSent | State::SctpClosed => {
                return Err(Invalid::Unexpected);
            }
            _ => false,
        };
        let tags = self.tags(direction);
        if !fresh && tag == tags.held {
            return Ok(());
        }
        tags.choose(tag);
        if !self.marks.has(Marks::ECHOED.of(direction.other())) {
            return Err(Invalid::Unexpected);
        }
        self.tags.iter_mut().for_each(Tags::settle);
        self.marks = self.marks.without(BOTH_ECHOED.and(Marks::PICKED_UP));
        self.state = State::SctpEstablished;
        Ok(())
    }

    fn abort(&mut self, direction: Direction, tag: u32, reflected: bool) -> Result<(), Invalid> {
        let whose = if reflected { direction.other() } else { direction };
        let either = self.is_either();
        let tags = self.tags(whose);
        // An end that begins anew is refused, and what is there goes on.
        if !either && tag != tags.held {
            tags.offered = 0;
            self.marks = self.marks.without(BOTH_ECHOED);
            return Ok(());
        }
        self.state = State::SctpClosed;
        Ok(())
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
