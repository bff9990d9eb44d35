//! The record of a connection: three cache lines of atomics.
//!
//! A packet of a cached flow needs one of them, that of its direction ([`Way`]): what it is translated to, its count, and
//! whether the connection is there. The two ways lie apart because both directions count; so the connection's life, which both
//! change, is where replies find it, and original packets have a copy of it, the *echo*. The third line is for who looks
//! closer: TCP's numbers, once a second. While the slot is free nobody but its owner writes to it; while it holds a
//! connection the tuples, `created` and `rule` do not change.
//!
//! A reader takes the generation, then what it wants, then the generation again: when both are the same odd number, all of
//! it belongs to one connection (a sequence lock whose writer is whoever reuses the slot). The life and the echo are each the
//! lock of their line. The echo is live only while the life is, and follows it within the time of whoever changes it: a
//! packet may for some nanoseconds be taken as if it had come before the change.

use std::num::NonZeroU32;

use super::atomic::{AtomicU32, AtomicU64, Ordering, Word, fence};
use super::connection::{ConnRef, Connection, Direction, Life, Nat, State, Traffic};
use super::tcp::Opening;
use super::tuple::Tuple;

#[derive(Debug)]
#[repr(C)]
pub(super) struct Record {
    /// Of replies: the original packets' tuple, the life.
    answered: Way,
    /// Of original packets: the replies' tuple, the echo.
    sent: Way,
    rest: Rest,
}

/// What packets of one direction need.
#[derive(Debug)]
#[repr(C, align(64))]
struct Way {
    /// What packets of the other direction come with.
    back: [AtomicU64; 5],
    life: Word,
    /// Bytes of this direction.
    bytes: AtomicU64,
    /// Packets of this direction, the low half.
    packets: AtomicU32,
    /// Second of the last packet of this direction.
    seen: AtomicU32,
}

/// What is looked at now and then.
#[derive(Debug)]
#[repr(C, align(64))]
struct Rest {
    created: AtomicU32,
    rule: AtomicU32,
    /// Next slot of the same chain, plus one, while the slot is free.
    next: AtomicU32,
    /// First slot of the chain below, plus one, while the slot is free and the first of a chain.
    below: AtomicU32,
    /// TCP window scales (RFC 7323 section 2), the replier's in the second byte.
    scales: AtomicU32,
    /// High halves of the packets, by direction.
    packets: [AtomicU32; 2],
    numbers: [Numbers; 2],
}

/// What is known of one side's sequence numbers, or of the tags that it sends with.
#[derive(Debug)]
pub(super) struct Numbers {
    /// TCP: the highest sequence number it is known to have reached, plus one. SCTP: [`super::sctp::Tags::held`].
    pub(super) end: AtomicU32,
    /// TCP: the highest acknowledgement it is known to have sent. SCTP: [`super::sctp::Tags::offered`].
    pub(super) ack: AtomicU32,
    /// TCP: the largest window it is known to have offered, bytes.
    pub(super) window: AtomicU32,
    /// TCP: low half of the *other* side's byte count when `ack` was noted.
    pub(super) mark: AtomicU32,
}

/// Cache lines of a record.
#[cfg(not(feature = "loom"))]
pub(super) const LINES: usize = 3;
#[cfg(not(feature = "loom"))]
const _: () = assert!(size_of::<Record>() == LINES * 64);

/// The cache line of a record that packets of `direction` need.
#[cfg(not(feature = "loom"))]
pub(super) const fn line(direction: Direction) -> usize {
    const LINE: usize = 64;
    match direction {
        Direction::Original => std::mem::offset_of!(Record, sent) / LINE,
        Direction::Reply => std::mem::offset_of!(Record, answered) / LINE,
    }
}

impl Numbers {
    fn new() -> Self {
        let word = || AtomicU32::new(0);
        Self { end: word(), ack: word(), window: word(), mark: word() }
    }

    fn reset(&self) {
        for word in [&self.end, &self.ack, &self.window, &self.mark] {
            word.store(0, Ordering::Relaxed);
        }
    }
}

impl Way {
    fn new() -> Self {
        Self {
            back: std::array::from_fn(|_| AtomicU64::new(0)),
            life: Word::new(0),
            bytes: AtomicU64::new(0),
            packets: AtomicU32::new(0),
            seen: AtomicU32::new(0),
        }
    }

    /// The life, or the echo, and all that was written before it became so.
    #[inline]
    fn life(&self) -> Life {
        Life(self.life.load(Ordering::Acquire))
    }

    /// What packets of the other direction come with, while the connection is `generation`, which [`Way::life`] has just said.
    #[inline]
    fn back(&self, generation: NonZeroU32) -> Option<Tuple> {
        let back = self.tuple();
        self.is_still(generation).then_some(back)
    }

    /// Of use only when it is known whose it is.
    #[inline]
    fn tuple(&self) -> Tuple {
        Tuple::from_words(std::array::from_fn(|at| self.back[at].load(Ordering::Relaxed)))
    }

    /// True when no connection but `generation` has been in the slot since it was loaded with [`Way::life`].
    #[inline]
    fn is_still(&self, generation: NonZeroU32) -> bool {
        fence(Ordering::Acquire);
        Life(self.life.load(Ordering::Relaxed)).generation() == generation.get()
    }

    /// Fills it for a new connection, all but the life.
    fn occupy(&self, back: &Tuple, now: u32) {
        for (word, value) in self.back.iter().zip(back.words()) {
            word.store(*value, Ordering::Relaxed);
        }
        self.bytes.store(0, Ordering::Relaxed);
        self.packets.store(0, Ordering::Relaxed);
        self.seen.store(now, Ordering::Relaxed);
    }
}

impl Record {
    /// A free slot.
    pub(super) fn new() -> Self {
        let word = || AtomicU32::new(0);
        Self {
            answered: Way::new(),
            sent: Way::new(),
            rest: Rest {
                created: word(),
                rule: word(),
                next: word(),
                below: word(),
                scales: word(),
                packets: [word(), word()],
                numbers: [Numbers::new(), Numbers::new()],
            },
        }
    }

    /// What packets of `direction` need.
    #[inline]
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Original => &self.sent,
            Direction::Reply => &self.answered,
        }
    }

    /// The life as it is now, and all that was written before it became so.
    #[inline]
    pub(super) fn life(&self) -> Life {
        self.answered.life()
    }

    /// The same as packets of `direction` see it, in their own line: for original ones the echo.
    #[inline]
    pub(super) fn life_seen_by(&self, direction: Direction) -> Life {
        self.way(direction).life()
    }

    /// Second of the last packet of `direction`.
    #[inline]
    pub(super) fn seen_by(&self, direction: Direction) -> u32 {
        self.way(direction).seen.load(Ordering::Relaxed)
    }

    /// Second of the last packet.
    pub(super) fn seen(&self) -> u32 {
        self.seen_by(Direction::Original).max(self.seen_by(Direction::Reply))
    }

    /// Notes that packets of `direction` come in second `now`.
    #[inline]
    pub(super) fn see(&self, direction: Direction, now: u32) {
        self.way(direction).seen.store(now, Ordering::Relaxed);
    }

    /// Counts packets of `direction`. Plain loads and stores: one direction of a flow comes from one queue and thus one worker;
    /// should two ever count at once, one of the two counts is lost.
    #[inline]
    pub(super) fn count(&self, direction: Direction, packets: u32, bytes: u32) {
        let way = self.way(direction);
        way.bytes.store(way.bytes.load(Ordering::Relaxed) + u64::from(bytes), Ordering::Relaxed);
        let (low, full) = way.packets.load(Ordering::Relaxed).overflowing_add(packets);
        way.packets.store(low, Ordering::Relaxed);
        if full {
            self.carry(direction);
        }
    }

    /// Once in 2^32 packets. Who lists the connection in between sees so many too few.
    #[cold]
    fn carry(&self, direction: Direction) {
        let high = &self.rest.packets[direction.index()];
        high.store(high.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Bytes that were sent in `direction`.
    pub(super) fn bytes(&self, direction: Direction) -> u64 {
        self.way(direction).bytes.load(Ordering::Relaxed)
    }

    fn traffic(&self, direction: Direction) -> Traffic {
        let high = self.rest.packets[direction.index()].load(Ordering::Relaxed);
        let low = self.way(direction).packets.load(Ordering::Relaxed);
        Traffic { packets: u64::from(high) << 32 | u64::from(low), bytes: self.bytes(direction) }
    }

    /// What packets of the other direction than `direction` of the connection `conn` come with; `None` when it is gone.
    #[inline]
    pub(super) fn back(&self, conn: ConnRef, direction: Direction) -> Option<Tuple> {
        if self.life_seen_by(direction).is(conn) {
            self.answered_by(conn.generation, direction)
        } else {
            None
        }
    }

    /// The same, of the connection `generation`, which [`Record::life_seen_by`] has just said of this direction.
    #[inline]
    pub(super) fn answered_by(&self, generation: NonZeroU32, direction: Direction) -> Option<Tuple> {
        self.way(direction).back(generation)
    }

    /// The generation of the connection in the slot, when its packets of `direction` come with `tuple`.
    #[inline]
    pub(super) fn matches(&self, direction: Direction, tuple: &Tuple) -> Option<NonZeroU32> {
        let generation = self.life().live()?;
        let held = &self.way(direction.other()).back;
        let same = held.iter().zip(tuple.words()).all(|(held, word)| held.load(Ordering::Relaxed) == *word);
        (same && self.answered.is_still(generation)).then_some(generation)
    }

    /// Fills a free slot, which is the caller's, and makes it live.
    pub(super) fn occupy(
        &self,
        original: &Tuple,
        reply: &Tuple,
        opening: &Opening,
        rule: u32,
        now: u32,
    ) -> NonZeroU32 {
        let free = Life(self.answered.life.load(Ordering::Relaxed)).generation();
        // Who reads a word written below sees that the slot was free before.
        fence(Ordering::Release);
        self.answered.occupy(original, now);
        self.sent.occupy(reply, now);
        let rest = &self.rest;
        rest.created.store(now, Ordering::Relaxed);
        rest.rule.store(rule, Ordering::Relaxed);
        rest.scales.store(u32::from(opening.scale), Ordering::Relaxed);
        rest.packets.iter().for_each(|high| high.store(0, Ordering::Relaxed));
        rest.numbers.iter().for_each(Numbers::reset);
        let opener = self.numbers(Direction::Original);
        opener.end.store(opening.end, Ordering::Relaxed);
        opener.ack.store(opening.ack, Ordering::Relaxed);
        opener.window.store(opening.window, Ordering::Relaxed);
        if opening.offered != 0 {
            self.numbers(Direction::Reply).ack.store(opening.offered, Ordering::Relaxed);
        }
        let generation = NonZeroU32::new(free.wrapping_add(1)).unwrap_or(NonZeroU32::MIN);
        let life = Life::new(generation.get(), opening.state, opening.marks);
        // The echo first: who finds the connection alive finds its echo, too.
        self.sent.life.store(life.0, Ordering::Release);
        self.answered.life.store(life.0, Ordering::Release);
        generation
    }

    /// Makes the life `next`, of the same connection, if it is `life` still, and the echo with it. False, and nothing has changed, when
    /// somebody else was faster.
    pub(super) fn change(&self, life: Life, next: Life) -> bool {
        if self.answered.life.compare_exchange(life.0, next.0, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        // Two that change it at once must not leave the echo of the earlier one behind. Each exchange is made even when there seems
        // to be nothing to do: only so does one of the two see what the other has done.
        loop {
            let (echo, now) = (self.sent.life(), self.life());
            if echo.generation() != next.generation() || now.generation() != next.generation() {
                // Ended meanwhile: the echo is the next one's.
                return true;
            }
            let echoed = self.sent.life.compare_exchange(echo.0, now.0, Ordering::AcqRel, Ordering::Acquire);
            if echoed.is_ok() && self.life() == now {
                return true;
            }
        }
    }

    /// Ends the connection `conn`; the slot is then nobody's but the caller's. `None` when it has ended before; else its last life.
    pub(super) fn vacate(&self, conn: ConnRef) -> Option<Life> {
        let mut life = self.life();
        loop {
            if !life.is(conn) {
                return None;
            }
            let free = Life::new(conn.generation.get().wrapping_add(1), State::default(), Default::default());
            // A worker may change the state meanwhile: each such change makes one more round, and nobody's packets wait.
            match self.answered.life.compare_exchange(life.0, free.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // Exchanged, not stored: so that what a late change did to it comes before all that the next connection does.
                    self.sent.life.swap(free.0, Ordering::AcqRel);
                    return Some(life);
                }
                Err(now) => life = Life(now),
            }
        }
    }

    /// Second when it was made.
    pub(super) fn created(&self) -> u32 {
        self.rest.created.load(Ordering::Relaxed)
    }

    /// The original tuple; of use only when it is known whose it is.
    pub(super) fn original(&self) -> Tuple {
        self.answered.tuple()
    }

    /// What is known of the sequence numbers of the side that sends in `direction`.
    pub(super) fn numbers(&self, direction: Direction) -> &Numbers {
        &self.rest.numbers[direction.index()]
    }

    /// TCP window scales, the replier's in the second byte.
    pub(super) fn scales(&self) -> &AtomicU32 {
        &self.rest.scales
    }

    /// The links of a free slot: the next slot of the same chain, and the first one of the chain below, each plus one.
    pub(super) fn links(&self) -> (&AtomicU32, &AtomicU32) {
        (&self.rest.next, &self.rest.below)
    }

    /// A copy, when it is still the connection `conn`.
    pub(super) fn copy(&self, conn: ConnRef) -> Option<Connection> {
        let life = self.life();
        if !life.is(conn) {
            return None;
        }
        let (original, reply) = (self.original(), self.sent.tuple());
        let copy = Connection {
            conn,
            original,
            reply,
            state: life.state(),
            marks: life.marks(),
            nat: Nat::default(),
            created: self.created(),
            seen: self.seen(),
            rule: self.rest.rule.load(Ordering::Relaxed),
            traffic: [Direction::Original, Direction::Reply].map(|direction| self.traffic(direction)),
        };
        self.answered
            .is_still(conn.generation)
            .then(|| Connection { nat: Nat::of(&original, &reply), ..copy })
    }
}
