//! The record of a connection: three cache lines of atomics.
//!
//! A packet of a cached flow needs two of them: line 0, with the connection's life, and the one in which its direction is
//! counted. What it is translated to is in one of the two: original packets count beside the reply's tuple, replies get the
//! original one. TCP's numbers are looked at once a second. While the slot is
//! free nobody but its owner writes to it; while it holds a connection the tuples, `created` and `rule` do not change.
//!
//! A reader takes the generation, then what it wants, then the generation again: when both are the same odd number, all of
//! it belongs to one connection (a sequence lock whose writer is whoever reuses the slot).

use std::num::NonZeroU32;

use super::atomic::{AtomicU32, AtomicU64, Ordering, Word, fence};
use super::connection::{ConnRef, Connection, Direction, Life, Nat, State, Traffic};
use super::tcp::Opening;
use super::tuple::Tuple;

#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Record {
    original: [AtomicU64; 5],
    pub(super) life: Word,
    pub(super) seen: AtomicU32,
    created: AtomicU32,
    rule: AtomicU32,
    /// Next slot of the same chain, plus one, while the slot is free.
    pub(super) next: AtomicU32,

    reply: [AtomicU64; 5],
    sent: Count,
    /// First slot of the chain below, plus one, while the slot is free and the first of a chain.
    pub(super) below: AtomicU32,
    /// TCP window scales (RFC 7323 section 2), the replier's in the second byte.
    pub(super) scales: AtomicU32,

    answered: Count,
    pub(super) numbers: [Numbers; 2],
    _spare: [AtomicU64; 2],
}

/// What was sent in one direction.
#[derive(Debug)]
pub(super) struct Count {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// What is known of one side's sequence numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    /// TCP: the highest sequence number it is known to have reached, plus one.
    pub(super) end: AtomicU32,
    /// TCP: the highest acknowledgement it is known to have sent.
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

/// The cache line of a record in which packets of `direction` are counted.
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

impl Count {
    fn new() -> Self {
        Self { packets: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Adds to the counts. A plain load and store: one direction of a flow comes from one queue and thus one worker; should
    /// two ever count at once, one of the two counts is lost.
    #[inline]
    pub(super) fn add(&self, packets: u32, bytes: u32) {
        self.packets.store(self.packets.load(Ordering::Relaxed) + u64::from(packets), Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + u64::from(bytes), Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn traffic(&self) -> Traffic {
        Traffic { packets: self.packets.load(Ordering::Relaxed), bytes: self.bytes() }
    }

    fn reset(&self) {
        self.packets.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

impl Record {
    /// A free slot.
    pub(super) fn new() -> Self {
        let words = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            original: words(),
            life: Word::new(0),
            seen: AtomicU32::new(0),
            created: AtomicU32::new(0),
            rule: AtomicU32::new(0),
            next: AtomicU32::new(0),
            reply: words(),
            sent: Count::new(),
            below: AtomicU32::new(0),
            scales: AtomicU32::new(0),
            answered: Count::new(),
            numbers: [Numbers::new(), Numbers::new()],
            _spare: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The life as it is now, and all that was written before it became so.
    #[inline]
    pub(super) fn life(&self) -> Life {
        Life(self.life.load(Ordering::Acquire))
    }

    /// What was sent in `direction`.
    #[inline]
    pub(super) fn count(&self, direction: Direction) -> &Count {
        match direction {
            Direction::Original => &self.sent,
            Direction::Reply => &self.answered,
        }
    }

    /// What packets of the other direction than `direction` of the connection `conn` come with; `None` when it is gone.
    #[inline]
    pub(super) fn back(&self, conn: ConnRef, direction: Direction) -> Option<Tuple> {
        if self.life().is(conn) { self.answered_by(conn.generation, direction) } else { None }
    }

    /// The same, of the connection `generation`, which [`Record::life`] has just said.
    #[inline]
    pub(super) fn answered_by(&self, generation: NonZeroU32, direction: Direction) -> Option<Tuple> {
        let back = match direction {
            Direction::Original => &self.reply,
            Direction::Reply => &self.original,
        };
        let back = Tuple::from_words(std::array::from_fn(|at| back[at].load(Ordering::Relaxed)));
        self.is_still(generation).then_some(back)
    }

    /// True when no connection but `generation` has been in the slot since it was loaded with [`Record::life`].
    #[inline]
    pub(super) fn is_still(&self, generation: NonZeroU32) -> bool {
        fence(Ordering::Acquire);
        Life(self.life.load(Ordering::Relaxed)).generation() == generation.get()
    }

    /// The generation of the connection in the slot, when its packets of `direction` come with `tuple`.
    #[inline]
    pub(super) fn matches(&self, direction: Direction, tuple: &Tuple) -> Option<NonZeroU32> {
        let generation = self.life().live()?;
        let held = match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        };
        let same = held.iter().zip(tuple.words()).all(|(held, word)| held.load(Ordering::Relaxed) == *word);
        (same && self.is_still(generation)).then_some(generation)
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
        let free = Life(self.life.load(Ordering::Relaxed)).generation();
        // Who reads a word written below sees that the slot was free before.
        fence(Ordering::Release);
        for (words, tuple) in [(&self.original, original), (&self.reply, reply)] {
            for (word, value) in words.iter().zip(tuple.words()) {
                word.store(*value, Ordering::Relaxed);
            }
        }
        self.seen.store(now, Ordering::Relaxed);
        self.created.store(now, Ordering::Relaxed);
        self.rule.store(rule, Ordering::Relaxed);
        self.scales.store(u32::from(opening.scale), Ordering::Relaxed);
        for count in [&self.sent, &self.answered] {
            count.reset();
        }
        for numbers in &self.numbers {
            numbers.reset();
        }
        let opener = &self.numbers[Direction::Original.index()];
        opener.end.store(opening.end, Ordering::Relaxed);
        opener.ack.store(opening.ack, Ordering::Relaxed);
        opener.window.store(opening.window, Ordering::Relaxed);
        let generation = NonZeroU32::new(free.wrapping_add(1)).unwrap_or(NonZeroU32::MIN);
        let life = Life::new(generation.get(), opening.state, opening.marks);
        self.life.store(life.0, Ordering::Release);
        generation
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
            match self.life.compare_exchange(life.0, free.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(life),
                Err(now) => life = Life(now),
            }
        }
    }

    /// Second when it was made.
    pub(super) fn created(&self) -> u32 {
        self.created.load(Ordering::Relaxed)
    }

    /// The original tuple; of use only when it is known whose it is.
    pub(super) fn original(&self) -> Tuple {
        Tuple::from_words(std::array::from_fn(|at| self.original[at].load(Ordering::Relaxed)))
    }

    /// A copy, when it is still the connection `conn`.
    pub(super) fn copy(&self, conn: ConnRef) -> Option<Connection> {
        let life = self.life();
        if !life.is(conn) {
            return None;
        }
        let original = self.original();
        let reply = Tuple::from_words(std::array::from_fn(|at| self.reply[at].load(Ordering::Relaxed)));
        let copy = Connection {
            conn,
            original,
            reply,
            state: life.state(),
            marks: life.marks(),
            nat: Nat::default(),
            created: self.created.load(Ordering::Relaxed),
            seen: self.seen.load(Ordering::Relaxed),
            rule: self.rule.load(Ordering::Relaxed),
            traffic: [self.sent.traffic(), self.answered.traffic()],
        };
        self.is_still(conn.generation).then(|| Connection { nat: Nat::of(&original, &reply), ..copy })
    }
}
