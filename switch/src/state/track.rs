//! What each packet does to its connection.
//!
//! A packet of a cached flow costs [`Table::touch`]: two loads, two counts and, once a second for each direction, a store.
//! It says [`Touch::Look`] when the packet's header must be seen: while a handshake or a close is under way, and once a second
//! of each direction of every TCP connection, to know about where its sequence numbers are. Then [`Table::track`] takes the
//! header. Segments with SYN, FIN or RST (all that are not [`crate::wire::tcp::is_data`]) always go there, and all packets
//! of SCTP to [`Table::track_sctp`]: each has a tag to be checked, and what moves the state may be bundled behind what does
//! not.

use super::atomic::{AtomicU32, Ordering};
use super::connection::{ConnRef, Direction, Life, Marks, State};
use super::events::Change;
use super::record::Record;
use super::sctp::{self, Association, Tags};
use super::table::Table;
use super::tcp::{self, Invalid, Segment, Side, Step};
use super::timeouts::ASSURED_AFTER;
use super::tuple::Tuple;
use crate::wire::protocol::UDP;

/// Attempts at a state that others change all the time. The packet passes without its step being taken after that; a
/// retransmission will take it.
const ATTEMPTS: u32 = 16;
/// Byte counts are remembered in units of so many bytes, as a power of two: 2^32 of them do not pass in a second.
const UNIT: u32 = 6;

/// What became of a packet of a known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// It is counted; nothing else is to be done.
    Done,
    /// It is counted, and is a TCP segment that must be shown to [`Table::track`], or a packet for [`Table::track_sctp`].
    Look,
    /// The connection is gone: decide anew.
    Gone,
}

/// What became of a TCP segment or an SCTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// It belongs to the connection, which is now in that state.
    Valid(State),
    /// It opens a new connection in place of this one: remove this one, and decide as for a first packet.
    Reopens,
    /// It does not belong to the connection: drop it.
    Invalid(Invalid),
    /// The connection is gone: decide anew.
    Gone,
}

/// A connection of which a packet needs nothing but to be counted and translated.
#[derive(Debug)]
pub struct Calm<'t> {
    record: &'t Record,
    direction: Direction,
    /// What its packets of the other direction come with: see [`Table::back`].
    pub back: Tuple,
}

impl Calm<'_> {
    /// Counts one packet. `bytes`: from the IP header on.
    #[inline]
    pub fn count(&self, bytes: u32) {
        self.record.count(self.direction, 1, bytes);
    }
}

impl Table {
    /// The connection in `slot`, as by [`Table::resume`], when it is calm: nothing about it changes by a packet without
    /// SYN, FIN and RST, and it has had one in this second. Then a count is all that [`Table::touch`] would do.
    #[inline]
    pub fn calm(&self, slot: u32, generation: u16, direction: Direction, now: u32) -> Option<Calm<'_>> {
        let record = self.records.get(slot as usize)?;
        let life = record.life_seen_by(direction);
        let live = life.live().filter(|live| live.get() as u16 == generation)?;
        if life.marks().has(Marks::WATCH) || record.seen_by(direction) != now {
            return None;
        }
        Some(Calm { record, direction, back: record.answered_by(live, direction)? })
    }

    /// Counts packets that go in `direction` and keeps the connection alive. `bytes`: from the IP header on, of all of them.
    #[inline]
    pub fn touch(&self, conn: ConnRef, direction: Direction, now: u32, packets: u32, bytes: u32) -> Touch {
        let Some(record) = self.record(conn) else {
            return Touch::Gone;
        };
        let life = record.life();
        if !life.is(conn) {
            return Touch::Gone;
        }
        record.count(direction, packets, bytes);
        let calm = !life.marks().has(Marks::WATCH);
        if calm && record.seen_by(direction) == now {
            return Touch::Done;
        }
        self.first_of_second(conn, record, life, direction, now)
    }

    /// The first packet of this second, or one of a connection that is watched.
    #[inline(never)]
    fn first_of_second(
        &self,
        conn: ConnRef,
        record: &Record,
        life: Life,
        direction: Direction,
        now: u32,
    ) -> Touch {
        if life.state().is_tcp() || life.state().is_sctp() {
            return Touch::Look;
        }
        record.see(direction, now);
        let marks = life.marks();
        if !marks.has(Marks::WATCH) {
            return Touch::Done;
        }
        // Replied is calm as soon as it is assured.
        let replied = marks.has(Marks::REPLIED) || direction == Direction::Reply;
        if replied {
            let old_enough = now.wrapping_sub(record.created()) >= ASSURED_AFTER;
            let mut next = marks.and(Marks::REPLIED);
            if old_enough {
                next = next.without(Marks::WATCH);
                // As Linux: what has no ports cannot be told apart well enough to be worth keeping.
                let assured = record.original().protocol() == UDP;
                next = if assured { next.and(Marks::ASSURED) } else { next };
            }
            let state = match life.state() {
                State::Unreplied => State::Replied,
                state => state,
            };
            let new = life.with(state, next);
            // Lost to another packet: the next one tries again.
            if new != life && record.change(life, new) {
                self.tell_update(conn, life, new);
            }
        }
        Touch::Done
    }

    /// Takes the step of a TCP segment. Call [`Table::touch`] first, for the bytes that it counts.
    pub fn track(&self, conn: ConnRef, direction: Direction, now: u32, segment: &Segment) -> Tracked {
        let Some(record) = self.record(conn) else {
            return Tracked::Gone;
        };
        for _ in 0..ATTEMPTS {
            let life = record.life();
            if !life.is(conn) {
                return Tracked::Gone;
            }
            let sides = record.sides();
            let step = tcp::step(life.state(), life.marks(), direction, segment, &sides);
            let (state, marks, note) = match step {
                Step::To { state, marks, note } => (state, marks, note),
                Step::Reopens => return Tracked::Reopens,
                Step::Invalid(invalid) => return Tracked::Invalid(invalid),
            };
            if note {
                // Before the state: who sees that a FIN was sent must see where it ends.
                record.note(direction, segment, marks, &sides);
            }
            if self.advance(conn, record, (life, life.with(state, marks)), direction, now) {
                return Tracked::Valid(state);
            }
        }
        Tracked::Valid(record.life().state())
    }

    /// True when [`Table::track`] would say [`Tracked::Reopens`] of the segment.
    pub fn reopens(&self, conn: ConnRef, direction: Direction, segment: &Segment) -> bool {
        let Some(record) = self.record(conn) else {
            return false;
        };
        let life = record.life();
        let step = || tcp::step(life.state(), life.marks(), direction, segment, &record.sides());
        life.is(conn) && life.state().is_tcp() && matches!(step(), Step::Reopens)
    }

    /// Takes the step of an SCTP packet. Call [`Table::touch`] first, for the bytes that it counts.
    pub fn track_sctp(
        &self,
        conn: ConnRef,
        direction: Direction,
        now: u32,
        packet: &sctp::Packet,
    ) -> Tracked {
        let Some(record) = self.record(conn) else {
            return Tracked::Gone;
        };
        for _ in 0..ATTEMPTS {
            let life = record.life();
            if !life.is(conn) {
                return Tracked::Gone;
            }
            let known = Association { state: life.state(), marks: life.marks(), tags: record.tags() };
            let next = match known.step(direction, packet) {
                sctp::Step::To(next) => next,
                sctp::Step::Reopens => return Tracked::Reopens,
                sctp::Step::Invalid(invalid) => return Tracked::Invalid(invalid),
            };
            if next.tags != known.tags {
                // Before the state: who sees that the handshake is complete must see the tags in force.
                record.note_tags(&known.tags, &next.tags);
            }
            if self.advance(conn, record, (life, life.with(next.state, next.marks)), direction, now) {
                return Tracked::Valid(next.state);
            }
        }
        Tracked::Valid(record.life().state())
    }

    /// Takes a connection from one life to the next; false when another packet was faster.
    #[inline]
    fn advance(
        &self,
        conn: ConnRef,
        record: &Record,
        (life, next): (Life, Life),
        direction: Direction,
        now: u32,
    ) -> bool {
        if next != life && !record.change(life, next) {
            return false;
        }
        if record.seen_by(direction) != now {
            record.see(direction, now);
        }
        self.tell_update(conn, life, next);
        if life.marks().has(Marks::HALF_OPEN) && !next.marks().has(Marks::HALF_OPEN) {
            self.counters.settle(&record.original());
        }
        true
    }

    /// Tells who watches, when more has changed than what is known to the table alone.
    #[inline]
    fn tell_update(&self, conn: ConnRef, before: Life, after: Life) {
        let shown = |life: Life| {
            let marks = life.marks();
            (life.state(), marks.has(Marks::REPLIED), marks.has(Marks::ASSURED))
        };
        if shown(before) != shown(after) {
            self.tell(Change::Update, conn);
        }
    }
}

impl Record {
    /// What is known of both sides' sequence numbers.
    fn sides(&self) -> [Side; 2] {
        let scales = self.scales().load(Ordering::Relaxed);
        [Direction::Original, Direction::Reply].map(|direction| {
            let (own, other) = (self.numbers(direction), self.numbers(direction.other()));
            let sent = (self.bytes(direction) >> UNIT) as u32;
            let units = sent.wrapping_sub(other.mark.load(Ordering::Relaxed));
            Side {
                end: own.end.load(Ordering::Relaxed),
                ack: own.ack.load(Ordering::Relaxed),
                window: own.window.load(Ordering::Relaxed),
                // One more for what the units cut off.
                unseen: units.saturating_add(1).saturating_mul(1 << UNIT),
                scale: (scales >> (8 * direction.index())) as u8,
            }
        })
    }

    /// The tags of both directions of an SCTP association.
    fn tags(&self) -> [Tags; 2] {
        [Direction::Original, Direction::Reply].map(|direction| {
            let numbers = self.numbers(direction);
            Tags { held: numbers.end.load(Ordering::Relaxed), offered: numbers.ack.load(Ordering::Relaxed) }
        })
    }

    /// Remembers tags that have changed; of the others another worker may know more.
    fn note_tags(&self, known: &[Tags; 2], tags: &[Tags; 2]) {
        for direction in [Direction::Original, Direction::Reply] {
            let numbers = self.numbers(direction);
            let (known, tags) = (known[direction.index()], tags[direction.index()]);
            if known.held != tags.held {
                numbers.end.store(tags.held, Ordering::Relaxed);
            }
            if known.offered != tags.offered {
                numbers.ack.store(tags.offered, Ordering::Relaxed);
            }
        }
    }

    /// Remembers the numbers of a segment that goes in `direction`.
    fn note(&self, direction: Direction, segment: &Segment, marks: Marks, sides: &[Side; 2]) {
        let (own, other) = (self.numbers(direction), self.bytes(direction.other()));
        let known = sides[direction.index()];
        let syn = segment.is_syn();
        if syn {
            let scale = segment.scale_byte();
            let place = 8 * direction.index();
            let scales = self.scales().load(Ordering::Relaxed) & !(0xff << place) | u32::from(scale) << place;
            self.scales().store(scales, Ordering::Relaxed);
            own.end.store(segment.end(), Ordering::Relaxed);
        } else {
            raise(&own.end, segment.end());
        }
        if segment.acknowledges() {
            // Before the first one there is nothing to be ahead of.
            if syn || known.ack == 0 {
                own.ack.store(segment.acknowledgement, Ordering::Relaxed);
            } else {
                raise(&own.ack, segment.acknowledgement);
            }
            own.mark.store((other >> UNIT) as u32, Ordering::Relaxed);
        }
        let shift = if syn { 0 } else { tcp::shift(marks, &known, &sides[direction.other().index()]) };
        let window = u32::from(segment.window) << shift;
        if window > known.window {
            own.window.store(window, Ordering::Relaxed);
        }
    }
}

/// Makes a sequence number `to`, when that is ahead of it.
fn raise(number: &AtomicU32, to: u32) {
    if to.wrapping_sub(number.load(Ordering::Relaxed)).cast_signed() > 0 {
        number.store(to, Ordering::Relaxed);
    }
}
