//! The life of a TCP connection as a router between the two sees it (RFC 9293 section 3.3.2, RFC 5961).
//!
//! Pure functions: what was known, and a segment, give what is known then. The state is not walked by a table but follows
//! from what was seen: whose SYN, whose FIN, and which of them the other side has acknowledged ([`derive()`]).
//!
//! # What is caught
//! - Flags that no sound sender sets together, where they are looked at (SYN, FIN and RST of any kind always are).
//! - A SYN, ACK or RST of the handshake that does not acknowledge what was sent.
//! - FIN and RST outside of the receiver's window. Its lower end is the last acknowledgement that was noted, at most a second
//!   ago while packets flow; its width is the window the receiver has offered *and all bytes that have passed since*. So a
//!   blind attacker who must hit it has the receiver's chance of being hit, and some more for a second's bytes.
//! - An RST in the window but not at the expected number ends the connection only until the next segment passes: who has
//!   really reset answers that with another RST (RFC 5961 section 3.2).
//!
//! # What is not
//! Data segments of an established connection are not checked one by one (they pass by the flow cache): neither their
//! numbers nor a missing ACK flag. Their receiver does (RFC 9293 section 3.10.7.4).

use super::connection::{Direction, Marks, State};
use super::tuple::Tuple;
use crate::wire::protocol::{SCTP, TCP};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const HEADER: usize = 20;
/// Window scale option (RFC 7323 section 2.2): kind, length 3, shift.
const SCALE: u8 = 3;
/// The largest shift (RFC 7323 section 2.3).
const LARGEST_SCALE: u8 = 14;
/// The shift that is supposed when the handshake was not seen: what most stacks offer.
const USUAL_SCALE: u8 = 7;
/// A scale byte with this bit says that the option was there.
const HAS_SCALE: u8 = 0x80;
/// Data in a SYN (RFC 7413) that need not be acknowledged with it, bytes at most.
const FAST_OPEN: u32 = 9000;

/// The fields of a TCP header that a tracker wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The flags byte.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Window field, not scaled.
    pub window: u16,
    /// The shift that a SYN offers; `None` without the option.
    pub scale: Option<u8>,
    /// Bytes of data.
    pub payload: u32,
}

impl Segment {
    /// Reads the header at the start of `bytes`, of a segment that is `length` bytes long, header and data. `None` when the
    /// header is not all there or not sound. An option list that is not sound is read as far as it is.
    pub fn read(bytes: &[u8], length: u32) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let offset = usize::from(header[12] >> 4) * 4;
        let payload = length.checked_sub(offset as u32)?;
        if offset < HEADER {
            return None;
        }
        let word = |at: usize| header.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let flags = header[13];
        let options = bytes.get(HEADER..offset.min(bytes.len())).unwrap_or_default();
        Some(Self {
            flags,
            sequence: word(4)?,
            acknowledgement: word(8)?,
            window: u16::from_be_bytes([header[14], header[15]]),
            scale: if flags & SYN == 0 { None } else { scale(options) },
            payload,
        })
    }

    /// True when no flag contradicts another: one of SYN, FIN and RST at most, FIN with ACK, and none but SYN and RST without ACK.
    #[inline]
    pub fn is_sound(&self) -> bool {
        match self.flags & (FIN | SYN | RST) {
            SYN | RST => true,
            FIN | 0 => self.acknowledges(),
            _ => false,
        }
    }

    #[inline]
    pub(super) fn is_syn(&self) -> bool {
        self.flags & SYN != 0
    }

    #[inline]
    fn is_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    #[inline]
    fn is_reset(&self) -> bool {
        self.flags & RST != 0
    }

    #[inline]
    pub(super) fn acknowledges(&self) -> bool {
        self.flags & ACK != 0
    }

    /// The window scale that a SYN offers, as [`Side::scale`].
    pub(super) fn scale_byte(&self) -> u8 {
        self.scale.map_or(0, |shift| shift | HAS_SCALE)
    }

    /// The number behind its last one: SYN and FIN take one each (RFC 9293 section 3.4).
    #[inline]
    pub(super) fn end(&self) -> u32 {
        let flags = u32::from(self.is_syn()) + u32::from(self.is_fin());
        self.sequence.wrapping_add(self.payload).wrapping_add(flags)
    }
}

/// The shift that a SYN's options offer.
fn scale(mut options: &[u8]) -> Option<u8> {
    while let [kind, rest @ ..] = options {
        match (*kind, rest) {
            (0, _) => return None,
            (1, rest) => options = rest,
            (SCALE, [3, shift, ..]) => return Some((*shift).min(LARGEST_SCALE)),
            (_, [length, ..]) if *length >= 2 => options = options.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
    None
}

/// Why a packet is part of no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// TCP flags that contradict each other.
    #[error("TCP flags that no sound sender sets together")]
    Flags,
    /// It is no first packet, and of no connection that is known.
    #[error("not the first packet of a connection, and of none that is known")]
    NotFirst,
    /// A TCP segment or an SCTP chunk that is not due in this state.
    #[error("a TCP segment or an SCTP chunk that is not due in this state of the connection")]
    Unexpected,
    /// Its numbers are not those of the connection.
    #[error("TCP sequence or acknowledgement number outside of the window")]
    OutOfWindow,
    /// SCTP: its verification tag is not that of the association.
    #[error("an SCTP verification tag that is not the association's")]
    Tag,
}

/// How a connection starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub(super) state: State,
    pub(super) marks: Marks,
    pub(super) end: u32,
    pub(super) ack: u32,
    pub(super) window: u32,
    pub(super) scale: u8,
    /// SCTP: the tag that answers are to carry; `end` is that of the packet itself.
    pub(super) offered: u32,
}

impl Opening {
    /// Of everything but TCP and SCTP.
    pub fn untracked(tuple: &Tuple) -> Result<Self, Invalid> {
        if !tuple.may_open() || matches!(tuple.protocol(), TCP | SCTP) {
            return Err(Invalid::NotFirst);
        }
        Ok(Self {
            state: State::Unreplied,
            marks: Marks::WATCH,
            end: 0,
            ack: 0,
            window: 0,
            scale: 0,
            offered: 0,
        })
    }

    /// Where it starts.
    pub const fn state(&self) -> State {
        self.state
    }
}

/// How a TCP connection starts whose first segment this is. `loose`: a connection that is under way is picked up in the
/// middle (as Linux's `nf_conntrack_tcp_loose`, which is on by default).
///
/// # Errors
/// It is no first segment: neither a SYN nor, when `loose`, one with ACK alone.
pub fn open(segment: &Segment, loose: bool) -> Result<Opening, Invalid> {
    if !segment.is_sound() {
        return Err(Invalid::Flags);
    }
    let opening = Opening {
        state: State::SynSent,
        marks: Marks::SYN.of(Direction::Original).and(Marks::WATCH).and(Marks::HALF_OPEN),
        end: segment.end(),
        ack: if segment.acknowledges() { segment.acknowledgement } else { 0 },
        window: u32::from(segment.window),
        scale: segment.scale_byte(),
        offered: 0,
    };
    match segment.flags & (FIN | SYN | RST | ACK) {
        SYN => Ok(opening),
        ACK if loose => Ok(Opening {
            state: State::Established,
            marks: Marks::PICKED_UP
                .and(Marks::WATCH)
                .and(Marks::SYN.of(Direction::Original))
                .and(Marks::SYN.of(Direction::Reply))
                .and(Marks::SYN_ACKED.of(Direction::Reply)),
            window: u32::from(segment.window) << USUAL_SCALE,
            ..opening
        }),
        _ => Err(Invalid::NotFirst),
    }
}

/// What is known of one side's sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// The highest number it is known to have reached, plus one.
    pub(super) end: u32,
    /// The highest acknowledgement it is known to have sent.
    pub(super) ack: u32,
    /// The largest window it is known to have offered, bytes.
    pub(super) window: u32,
    /// Bytes it has sent since the other side's `ack` was noted, headers and all.
    pub(super) unseen: u32,
    /// Its scale byte.
    pub(super) scale: u8,
}

/// What a segment does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It belongs to it; this is how it goes on. `note`: its numbers are worth remembering.
    To { state: State, marks: Marks, note: bool },
    /// It opens a new connection in place of this one, which has ended.
    Reopens,
    /// It does not belong to it.
    Invalid(Invalid),
}

/// The step of a segment that goes in `direction`.
pub(super) fn step(
    state: State,
    marks: Marks,
    direction: Direction,
    segment: &Segment,
    sides: &[Side; 2],
) -> Step {
    if !segment.is_sound() {
        return Step::Invalid(Invalid::Flags);
    }
    let seen = Seen {
        state,
        marks,
        direction,
        segment,
        from: &sides[direction.index()],
        to: &sides[direction.other().index()],
    };
    let step = if segment.is_reset() {
        seen.reset()
    } else if segment.is_syn() {
        seen.syn()
    } else if state.is_half_open() {
        seen.handshake()
    } else {
        seen.established(marks)
    };
    match step {
        Step::To { state, mut marks, note } => {
            if direction == Direction::Reply {
                marks = marks.and(Marks::REPLIED);
            }
            if state == State::Established && marks.has(Marks::REPLIED) {
                marks = marks.and(Marks::ASSURED);
            }
            // A connection that was picked up is watched until both sides' numbers are known.
            let both = Marks::SYN_ACKED.of(Direction::Original).and(Marks::SYN_ACKED.of(Direction::Reply));
            let calm = state == State::Established && marks.has(Marks::REPLIED) && marks.has(both);
            marks = if calm { marks.without(Marks::WATCH) } else { marks.and(Marks::WATCH) };
            marks = if state.is_half_open() {
                marks.and(Marks::HALF_OPEN)
            } else {
                marks.without(Marks::HALF_OPEN)
            };
            Step::To { state, marks, note }
        }
        step => step,
    }
}

/// The state that follows from what was seen.
fn derive(marks: Marks) -> State {
    let both = |mark: Marks| (marks.has(mark.of(Direction::Original)), marks.has(mark.of(Direction::Reply)));
    match (both(Marks::FIN), both(Marks::FIN_ACKED)) {
        ((true, true), (true, true)) => return State::TimeWait,
        ((true, true), _) => return State::LastAck,
        ((true, false), (acked, _)) | ((false, true), (_, acked)) => {
            return if acked { State::CloseWait } else { State::FinWait };
        }
        ((false, false), _) => {}
    }
    match (both(Marks::SYN), both(Marks::SYN_ACKED)) {
        (_, (true, true)) => State::Established,
        _ if marks.has(Marks::PICKED_UP) => State::Established,
        (_, (true, _) | (_, true)) => State::SynRecv,
        ((true, true), _) => State::SynSent2,
        _ => State::SynSent,
    }
}

/// True when `number` is `start` or up to `width` behind it.
fn within(number: u32, start: u32, width: u32) -> bool {
    number.wrapping_sub(start) <= width
}

/// A segment and what was known when it came.
struct Seen<'a> {
    state: State,
    marks: Marks,
    direction: Direction,
    segment: &'a Segment,
    /// Its sender.
    from: &'a Side,
    /// Its receiver.
    to: &'a Side,
}

impl Seen<'_> {
    fn unchanged(&self) -> Step {
        Step::To { state: self.state, marks: self.marks, note: false }
    }

    fn to(marks: Marks) -> Step {
        Step::To { state: derive(marks), marks, note: true }
    }

    /// The lowest number that its receiver waits for, as far as is known.
    fn expected(&self) -> u32 {
        if self.marks.has(Marks::SYN_ACKED.of(self.direction)) { self.to.ack } else { self.from.end }
    }

    /// How far behind [`Seen::expected`] a number may be.
    fn width(&self) -> u32 {
        self.to.window.max(1).saturating_add(self.from.unseen)
    }

    /// How far behind what the other side is known to have sent an acknowledgement may be.
    fn ack_width(&self) -> u32 {
        self.from.window.saturating_add(self.to.unseen)
    }

    /// True when it acknowledges the other side's SYN: exactly, or also data behind it.
    fn acknowledges_syn(&self) -> bool {
        let first = self.to.end.wrapping_sub(FAST_OPEN);
        let width = self.ack_width().saturating_add(FAST_OPEN);
        self.segment.acknowledges() && within(self.segment.acknowledgement, first, width)
    }

    fn syn(&self) -> Step {
        let (own, other) = (self.direction, self.direction.other());
        match self.state {
            State::TimeWait | State::Close if !self.segment.acknowledges() => match own {
                Direction::Original => Step::Reopens,
                Direction::Reply => Step::Invalid(Invalid::Unexpected),
            },
            _ if !self.state.is_half_open() => self.unchanged(),
            // Again, after it was answered: the answer was lost.
            _ if self.marks.has(Marks::SYN_ACKED.of(own)) && !self.segment.acknowledges() => self.unchanged(),
            _ if !self.segment.acknowledges() => Self::to(self.marks.and(Marks::SYN.of(own))),
            _ if !self.marks.has(Marks::SYN.of(other)) => Step::Invalid(Invalid::Unexpected),
            _ if !self.acknowledges_syn() => Step::Invalid(Invalid::OutOfWindow),
            _ => Self::to(self.marks.and(Marks::SYN.of(own)).and(Marks::SYN_ACKED.of(other))),
        }
    }

    fn reset(&self) -> Step {
        let close = |marks| Step::To { state: State::Close, marks, note: false };
        match (self.state, self.direction) {
            (State::TimeWait, _) => self.unchanged(),
            (State::SynSent, Direction::Reply) if self.acknowledges_syn() => close(self.marks),
            (State::SynSent, Direction::Reply) => Step::Invalid(Invalid::OutOfWindow),
            // To a server that still has an older connection, and has said so.
            (State::SynSent, Direction::Original) if self.segment.sequence != self.from.end => {
                self.unchanged()
            }
            _ => {
                let (number, expected) = (self.segment.sequence, self.expected());
                // The next number that the receiver waits for, or would if nothing was lost.
                if number == expected || number == self.from.end {
                    return close(self.marks.without(Marks::DOUBTFUL));
                }
                match within(number, expected, self.width()) {
                    true => close(self.doubtful()),
                    false => Step::Invalid(Invalid::OutOfWindow),
                }
            }
        }
    }

    /// The marks of a connection that may not have ended. One that has ended for certain stays so.
    fn doubtful(&self) -> Marks {
        let ended = self.state == State::Close && !self.marks.has(Marks::DOUBTFUL);
        if ended { self.marks } else { self.marks.and(Marks::DOUBTFUL) }
    }

    /// Neither SYN nor RST, while the handshake is under way.
    fn handshake(&self) -> Step {
        let (own, other) = (self.direction, self.direction.other());
        if !self.marks.has(Marks::SYN.of(other)) {
            return Step::Invalid(Invalid::Unexpected);
        }
        if !self.marks.has(Marks::SYN.of(own)) {
            // A server that still has an older connection: its client will reset that (RFC 9293 section 3.5.1).
            return self.unchanged();
        }
        if self.acknowledges_syn() {
            return self.established(self.marks.and(Marks::SYN_ACKED.of(other)));
        }
        Step::Invalid(Invalid::OutOfWindow)
    }

    /// Neither SYN nor RST, with `marks` from the handshake.
    fn established(&self, mut marks: Marks) -> Step {
        let (own, other) = (self.direction, self.direction.other());
        if self.state == State::Close && !marks.has(Marks::DOUBTFUL) {
            return self.unchanged();
        }
        marks = marks.without(Marks::DOUBTFUL);
        if marks.has(Marks::PICKED_UP) && !marks.has(Marks::SYN_ACKED.of(other)) {
            // The first segment of the other side: its numbers must fit those that were seen.
            let near = self.segment.acknowledgement.wrapping_sub(self.to.end).cast_signed().unsigned_abs();
            if near > self.width().max(1 << 20) {
                return Step::Invalid(Invalid::OutOfWindow);
            }
            marks = marks.and(Marks::SYN_ACKED.of(other));
        }
        let first_fin = self.segment.is_fin() && !marks.has(Marks::FIN.of(own));
        if first_fin {
            let last = self.segment.end().wrapping_sub(1);
            if !within(last, self.expected(), self.width()) {
                return Step::Invalid(Invalid::OutOfWindow);
            }
            marks = marks.and(Marks::FIN.of(own));
        }
        let acknowledged = within(self.segment.acknowledgement, self.to.end, self.ack_width());
        if marks.has(Marks::FIN.of(other)) && acknowledged {
            marks = marks.and(Marks::FIN_ACKED.of(other));
        }
        Step::To { state: derive(marks), marks, note: first_fin || self.is_near() }
    }

    /// True when its numbers are believable: only then they are remembered, or a forged segment would move the window.
    fn is_near(&self) -> bool {
        let forward = within(self.segment.end(), self.expected(), self.width());
        forward || within(self.from.end, self.segment.end(), self.width())
    }
}

/// The shift of a window that `from` offers outside of a SYN.
pub(super) fn shift(marks: Marks, from: &Side, to: &Side) -> u8 {
    if marks.has(Marks::PICKED_UP) {
        return USUAL_SCALE;
    }
    // Only when both have offered (RFC 7323 section 2.2).
    if from.scale & to.scale & HAS_SCALE == 0 { 0 } else { from.scale & !HAS_SCALE }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
