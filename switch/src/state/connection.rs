//! What a connection is: states, marks, and the copy of a record that is given out.

use std::num::NonZeroU32;

use super::tuple::Tuple;

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// As its first packet.
    Original = 0,
    /// The other way.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[inline]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }

    /// 0 or 1, for arrays of both.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    #[inline]
    pub(super) const fn of(index: usize) -> Self {
        if index == 0 { Self::Original } else { Self::Reply }
    }
}

/// A connection that was in the table, and still is as long as [`super::Table::is_live`] says so. A flow cache entry holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnRef {
    pub(super) slot: u32,
    /// Of the slot; odd, so never 0. A stale reference is taken for a live one only after the slot was reused 2^31 times.
    pub(super) generation: NonZeroU32,
}

impl ConnRef {
    /// The slot and the generation, for showing.
    pub const fn numbers(self) -> (u32, u32) {
        (self.slot, self.generation.get())
    }
}

/// Where a connection is in its life, by the names that conntrack(8) prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// UDP, ICMP echo or another protocol: packets one way only so far.
    #[default]
    Unreplied = 0,
    /// The same, packets both ways.
    Replied = 1,
    /// TCP: a SYN was seen.
    SynSent = 2,
    /// TCP: a SYN from each side, none acknowledged (simultaneous open, RFC 9293 section 3.5).
    SynSent2 = 3,
    /// TCP: a SYN was acknowledged.
    SynRecv = 4,
    /// TCP: both SYNs were acknowledged.
    Established = 5,
    /// TCP: a FIN was seen.
    FinWait = 6,
    /// TCP: that FIN was acknowledged.
    CloseWait = 7,
    /// TCP: a FIN from each side, not both acknowledged.
    LastAck = 8,
    /// TCP: both FINs were acknowledged.
    TimeWait = 9,
    /// TCP: reset.
    Close = 10,
    /// SCTP (RFC 9260 section 4): aborted, or a SHUTDOWN COMPLETE was seen.
    SctpClosed = 11,
    /// SCTP: an INIT was seen.
    SctpCookieWait = 12,
    /// SCTP: a COOKIE ECHO was seen.
    SctpCookieEchoed = 13,
    /// SCTP: that COOKIE ECHO was acknowledged, or a HEARTBEAT.
    SctpEstablished = 14,
    /// SCTP: a SHUTDOWN of the original direction was seen.
    SctpShutdownSent = 15,
    /// SCTP: the same of the other direction.
    SctpShutdownRecd = 16,
    /// SCTP: that SHUTDOWN was acknowledged.
    SctpShutdownAckSent = 17,
    /// SCTP: a HEARTBEAT was seen, and nothing before it: another path of an association, or one that is older than its record.
    SctpHeartbeatSent = 18,
}

/// All states, in the order of their numbers.
pub const STATES: [State; 19] = [
    State::Unreplied,
    State::Replied,
    State::SynSent,
    State::SynSent2,
    State::SynRecv,
    State::Established,
    State::FinWait,
    State::CloseWait,
    State::LastAck,
    State::TimeWait,
    State::Close,
    State::SctpClosed,
    State::SctpCookieWait,
    State::SctpCookieEchoed,
    State::SctpEstablished,
    State::SctpShutdownSent,
    State::SctpShutdownRecd,
    State::SctpShutdownAckSent,
    State::SctpHeartbeatSent,
];

impl State {
    /// The name that conntrack(8) prints; `None` for protocols of which it prints none.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Unreplied | Self::Replied => return None,
            Self::SynSent => "SYN_SENT",
            Self::SynSent2 => "SYN_SENT2",
            Self::SynRecv => "SYN_RECV",
            Self::Established | Self::SctpEstablished => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SctpClosed => "CLOSED",
            Self::SctpCookieWait => "COOKIE_WAIT",
            Self::SctpCookieEchoed => "COOKIE_ECHOED",
            Self::SctpShutdownSent => "SHUTDOWN_SENT",
            Self::SctpShutdownRecd => "SHUTDOWN_RECD",
            Self::SctpShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::SctpHeartbeatSent => "HEARTBEAT_SENT",
        })
    }

    /// True for TCP.
    #[inline]
    pub const fn is_tcp(self) -> bool {
        self as u8 >= Self::SynSent as u8 && self as u8 <= Self::Close as u8
    }

    /// True for SCTP.
    #[inline]
    pub const fn is_sctp(self) -> bool {
        self as u8 >= Self::SctpClosed as u8
    }

    /// True while a handshake of TCP or SCTP is under way.
    #[inline]
    pub const fn is_half_open(self) -> bool {
        matches!(
            self,
            Self::SynSent
                | Self::SynSent2
                | Self::SynRecv
                | Self::SctpCookieWait
                | Self::SctpCookieEchoed
                | Self::SctpHeartbeatSent
        )
    }

    /// True when nothing of worth is lost with it: not answered yet, or on its way out. Under pressure these go first.
    #[inline]
    pub const fn is_fleeting(self) -> bool {
        !matches!(
            self,
            Self::Replied | Self::Established | Self::FinWait | Self::CloseWait | Self::SctpEstablished
        )
    }

    #[inline]
    pub(super) const fn from_bits(bits: u8) -> Self {
        if (bits as usize) < STATES.len() { STATES[bits as usize] } else { Self::Close }
    }
}

/// What is translated, by the direction of the first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nat {
    /// Source address, port or echo identifier.
    pub source: bool,
    /// Destination address or port.
    pub destination: bool,
}

impl Nat {
    /// What is translated when packets with `original` are answered by packets with `reply`.
    pub fn of(original: &Tuple, reply: &Tuple) -> Self {
        let sent = reply.reversed();
        let source = original.with_destination(sent.destination());
        let source = if original.echo().is_some() {
            source
        } else {
            source.with_destination_port(sent.destination_port())
        };
        let destination = original.with_source(sent.source()).with_source_port(sent.source_port());
        Self { source: source != sent, destination: destination != sent }
    }

    /// True when neither is.
    pub const fn is_none(self) -> bool {
        !self.source && !self.destination
    }
}

/// Marks of a connection, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks(pub(super) u16);

impl Marks {
    /// A packet of the reply direction was seen (conntrack(8): without it `[UNREPLIED]`).
    pub const REPLIED: Self = Self(1);
    /// Traffic both ways, not given up early (conntrack(8): `[ASSURED]`).
    pub const ASSURED: Self = Self(1 << 1);
    /// Every packet must be looked at, also those of a cached flow: the next one may change the state.
    pub const WATCH: Self = Self(1 << 2);
    /// Counted as half-open.
    pub const HALF_OPEN: Self = Self(1 << 3);
    /// Picked up in the middle: no SYN was seen, window scales are not known.
    pub const PICKED_UP: Self = Self(1 << 4);
    /// Closed by an RST in the window, but not at its exact place (RFC 5961 section 3.2): it may live on.
    pub const DOUBTFUL: Self = Self(1 << 5);
    /// SCTP: a COOKIE ECHO of the original direction was seen, with a tag that is not in force yet; shifted by one, of the other.
    pub(super) const ECHOED: Self = Self(1 << 8);
    /// TCP: a SYN of the original direction was seen; shifted by one, of the other.
    pub(super) const SYN: Self = Self(1 << 8);
    /// TCP: that SYN was acknowledged.
    pub(super) const SYN_ACKED: Self = Self(1 << 10);
    /// TCP: a FIN of the original direction was seen.
    pub(super) const FIN: Self = Self(1 << 12);
    /// TCP: that FIN was acknowledged.
    pub(super) const FIN_ACKED: Self = Self(1 << 14);

    /// True when all of `other` are among these.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not among `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// One of the marks of TCP or SCTP, of the packets that go in `direction`.
    #[inline]
    pub(super) const fn of(self, direction: Direction) -> Self {
        Self(self.0 << direction as u16)
    }
}

/// The word of a record that changes as one: generation, state, marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life(pub(super) u64);

impl Life {
    #[inline]
    pub(super) const fn new(generation: u32, state: State, marks: Marks) -> Self {
        Self((generation as u64) << 32 | (marks.0 as u64) << 8 | state as u64)
    }

    /// Odd while the slot holds a connection.
    #[inline]
    pub(super) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(super) const fn state(self) -> State {
        State::from_bits(self.0 as u8)
    }

    #[inline]
    pub(super) const fn marks(self) -> Marks {
        Marks((self.0 >> 8) as u16)
    }

    /// The live generation; `None` when the slot is free.
    #[inline]
    pub(super) const fn live(self) -> Option<NonZeroU32> {
        if self.generation() & 1 == 0 { None } else { NonZeroU32::new(self.generation()) }
    }

    /// True when it is the life of `conn`.
    #[inline]
    pub(super) const fn is(self, conn: ConnRef) -> bool {
        self.generation() == conn.generation.get()
    }

    /// The same connection in another state.
    #[inline]
    pub(super) const fn with(self, state: State, marks: Marks) -> Self {
        Self::new(self.generation(), state, marks)
    }
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Packets; large sends count once.
    pub packets: u64,
    /// Bytes from the IP header on.
    pub bytes: u64,
}

/// A copy of a connection's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// What it was copied from.
    pub conn: ConnRef,
    /// Packets of the original direction, before translation.
    pub original: Tuple,
    /// Packets of the reply direction, before translation.
    pub reply: Tuple,
    /// Where it is in its life.
    pub state: State,
    /// Its marks.
    pub marks: Marks,
    /// What is translated.
    pub nat: Nat,
    /// Second on the workers' clock when it was made.
    pub created: u32,
    /// Second of the last packet.
    pub seen: u32,
    /// What made it, as the maker numbers its rules.
    pub rule: u32,
    /// Traffic of both directions, by [`Direction::index`].
    pub traffic: [Traffic; 2],
}

impl Connection {
    /// The tuple that packets of `direction` come with, and the one that they are sent on with.
    #[inline]
    pub fn path(&self, direction: Direction) -> (Tuple, Tuple) {
        match direction {
            Direction::Original => (self.original, self.reply.reversed()),
            Direction::Reply => (self.reply, self.original.reversed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tuple::Parts;
    use crate::wire::protocol::{ICMP, TCP};

    #[test]
    fn states_and_lives_survive_their_bits() {
        for (number, state) in STATES.into_iter().enumerate() {
            assert_eq!((state as usize, State::from_bits(number as u8)), (number, state));
            let marks = Marks::ASSURED.and(Marks::FIN_ACKED.of(Direction::Reply));
            let life = Life::new(u32::MAX, state, marks);
            assert_eq!((life.generation(), life.state(), life.marks()), (u32::MAX, state, marks));
            assert_eq!(Life::new(4, state, marks).live(), None);
        }
        assert_eq!(size_of::<Option<ConnRef>>(), 8);
    }

    #[test]
    fn what_is_translated_shows_in_the_reply() {
        let tuple = |protocol, ports: (u16, u16)| {
            let [source, destination] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
            let (source_port, destination_port) = ports;
            Tuple::new(&Parts { zone: 0, protocol, source, destination, source_port, destination_port })
                .unwrap()
        };
        let original = tuple(TCP, (1000, 80));
        let other = "10.0.0.9".parse().unwrap();
        let nat = |reply: Tuple| {
            let nat = Nat::of(&original, &reply);
            (nat.source, nat.destination)
        };
        let reply = original.reversed();
        assert_eq!(nat(reply), (false, false));
        assert_eq!(nat(reply.with_source(other)), (false, true));
        assert_eq!(nat(reply.with_source_port(8080)), (false, true));
        assert_eq!(nat(reply.with_destination(other)), (true, false));
        assert_eq!(nat(reply.with_destination_port(1001)), (true, false));
        assert_eq!(nat(reply.with_destination(other).with_source(other)), (true, true));
        let ping = tuple(ICMP, (7, 8 << 8));
        let nat = Nat::of(&ping, &ping.reversed().with_source_port(8));
        assert!(nat.source && !nat.destination);
        assert!(Nat::of(&ping, &ping.reversed()).is_none());
    }
}
