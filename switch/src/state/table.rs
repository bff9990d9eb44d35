//! The connection table: one for all workers, fixed memory, no lock that anybody waits for.
//!
//! A lookup takes no lock (`bucket.rs` and `record.rs` say why it is right). An insertion holds the home buckets of its two
//! tuples, the lower one first, for some hundred nanoseconds; who finds one held for longer is told [`Insert::Busy`] instead
//! of waiting. Two connections never share a tuple, in whatever direction.

use super::atomic::{Cells, cells};
use super::bucket::{Bucket, Held, Spot, WAYS};
use super::connection::{ConnRef, Connection, Direction, Marks};
use super::events::{Change, Events};
use super::limits::{Count, Counters, InForce, Limit, Limits};
use super::record::Record;
use super::slots::{CHAIN, Free, Stock};
use super::tcp::Opening;
use super::tuple::{Seed, Tuple};

/// How full the index is at capacity. Then one connection in a million finds no place for one of its two entries (simulated,
/// with ten million replacements); at 60 % it is one in 7,000.
const LOAD: (usize, usize) = (1, 2);
/// Most connections that a table can have: slots are 32-bit numbers, and one more must fit.
pub const MAX_CAPACITY: usize = 1 << 30;

/// The table.
#[derive(Debug)]
pub struct Table {
    pub(super) buckets: Cells<Bucket>,
    pub(super) records: Cells<Record>,
    pub(super) counters: Counters,
    free: Free,
    seed: Seed,
    limits: InForce,
    loose: std::sync::atomic::AtomicBool,
    pub(super) events: Events,
    capacity: usize,
}

/// How large a table is, and what is allowed in it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections that it holds at least.
    pub capacity: usize,
    /// Threads that enter and remove connections, the control thread among them: each has a [`Stock`].
    pub threads: usize,
    /// Who may have how many.
    pub limits: Limits,
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTable {
    /// There is not so much memory.
    #[error("no memory for a table of {capacity} connections ({} MiB): lower the number of connections", bytes >> 20)]
    NoMemory {
        /// What was asked for.
        capacity: usize,
        /// What that takes.
        bytes: usize,
    },
    /// More than [`MAX_CAPACITY`].
    #[error("a table of {0} connections is too large: {MAX_CAPACITY} is the most")]
    TooLarge(usize),
}

/// A connection, and the direction in which a packet belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The connection.
    pub conn: ConnRef,
    /// The packet's direction.
    pub direction: Direction,
}

/// A connection to be entered.
#[derive(Clone, Copy, Debug)]
pub struct New {
    /// What packets of its first packet's direction come with.
    pub original: Tuple,
    /// What the answers come with: `original.reversed()`, or of what `original` is translated to.
    pub reply: Tuple,
    /// How it starts, from [`super::tcp::open`], [`super::sctp::open`] or [`Opening::untracked`].
    pub opening: Opening,
    /// What made it, for people.
    pub rule: u32,
    /// Second on the workers' clock.
    pub now: u32,
}

/// What became of a [`New`] one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// It is in the table.
    Created(ConnRef),
    /// There is one with its original tuple, in that direction: another worker was first.
    Exists(Found),
    /// Another connection has its reply tuple: try another port.
    Clash,
    /// No slot, or no place in the index, is free.
    Full,
    /// Its source or zone has as many as it may.
    OverLimit(Limit),
    /// Somebody else was at the same place all the time: try with the next packet.
    Busy,
}

/// What became of a connection that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone; as it was at the end.
    Removed(Connection),
    /// It was gone before.
    Gone,
    /// Somebody else was at the same place all the time: try later.
    Busy,
}

impl Table {
    /// An empty table. `seed` is a random number; it keeps tenants from aiming at one bucket.
    ///
    /// # Errors
    /// It would be too large, or there is not so much memory.
    pub fn new(size: Size, seed: u64) -> Result<Self, NoTable> {
        let capacity = size.capacity.max(1);
        if capacity > MAX_CAPACITY {
            return Err(NoTable::TooLarge(capacity));
        }
        let slots = capacity + size.threads * 2 * CHAIN;
        let buckets = (2 * slots * LOAD.1).div_ceil(WAYS * LOAD.0).max(2);
        let bytes = slots * size_of::<Record>() + buckets * size_of::<Bucket>();
        let missing = NoTable::NoMemory { capacity, bytes };
        let records = cells(slots, Record::new).ok_or(missing)?;
        Ok(Self {
            free: Free::all(&records),
            buckets: cells(buckets, Bucket::new).ok_or(missing)?,
            counters: Counters::new(capacity, seed).ok_or(missing)?,
            records,
            seed: Seed::new(seed),
            limits: InForce::new(&size.limits),
            loose: true.into(),
            events: Events::default(),
            capacity,
        })
    }

    /// Sets other limits: for connections to come. Who has more than he may keeps them.
    pub fn set_limits(&self, limits: &Limits) {
        self.limits.set(limits);
    }

    /// Whether TCP connections may be picked up in the middle.
    #[inline]
    pub fn is_loose(&self) -> bool {
        self.loose.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sets what [`Table::is_loose`] returns; true at first, as with Linux (`nf_conntrack_tcp_loose`).
    pub fn set_loose(&self, loose: bool) {
        self.loose.store(loose, std::sync::atomic::Ordering::Relaxed);
    }

    /// Connections that it holds at least.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of memory that it takes, all of it from the start.
    pub fn bytes(&self) -> usize {
        let index = self.buckets.len() * size_of::<Bucket>();
        self.records.len() * size_of::<Record>() + index + self.counters.bytes()
    }

    /// Connections in it, and handshakes under way. Adds up all zones: for listing, not for packets.
    pub fn count(&self) -> (u64, u64) {
        self.counters.total()
    }

    /// Those of a zone.
    pub fn zone_count(&self, zone: u16) -> Count {
        self.counters.zone(zone)
    }

    /// Those from the source address of `tuple` in its zone, or somewhat more (see [`super::limits`]).
    pub fn source_count(&self, tuple: &Tuple) -> Count {
        self.counters.source(tuple)
    }

    /// Free slots that are in no thread's stock: when it comes near 0, new connections will be refused.
    #[inline]
    pub fn free(&self) -> usize {
        self.free.count()
    }

    /// The hash that [`Table::prefetch`] and [`Table::find`] want.
    #[inline]
    pub fn hash(&self, tuple: &Tuple) -> u64 {
        self.seed.hash(tuple)
    }

    #[inline]
    fn spot(&self, hash: u64) -> Spot {
        Spot::new(hash, self.buckets.len())
    }

    /// Fetches what a search with this hash reads first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        #[cfg(not(feature = "loom"))]
        self.buckets.prefetch(self.spot(hash).home);
        #[cfg(feature = "loom")]
        let _ = hash;
    }

    /// Fetches what [`Table::touch`] and [`Table::back`] read of the connection in `slot`.
    #[inline]
    pub fn prefetch_record(&self, slot: u32, direction: Direction) {
        #[cfg(not(feature = "loom"))]
        {
            self.records.prefetch_line(slot as usize, super::record::line(direction));
        }
        #[cfg(feature = "loom")]
        let _ = (slot, direction);
    }

    /// Fetches the records that a search with this hash is likely to look at, whole: their packets are not of cached flows.
    #[inline]
    pub fn prefetch_candidates(&self, hash: u64) {
        #[cfg(not(feature = "loom"))]
        {
            let spot = self.spot(hash);
            let slots = self.buckets.get(spot.home).into_iter().flat_map(|home| home.candidates(spot));
            slots.for_each(|(_, slot)| self.prefetch_whole(slot));
        }
        #[cfg(feature = "loom")]
        let _ = hash;
    }

    /// Fetches all of the connection in `slot`: for packets that change it, and before another one is written there.
    #[inline]
    pub fn prefetch_whole(&self, slot: u32) {
        #[cfg(not(feature = "loom"))]
        (0..super::record::LINES).for_each(|line| self.records.prefetch_line(slot as usize, line));
        #[cfg(feature = "loom")]
        let _ = slot;
    }

    /// The connection that a packet with `tuple` belongs to.
    #[inline]
    pub fn lookup(&self, tuple: &Tuple) -> Option<Found> {
        self.find(self.hash(tuple), tuple)
    }

    /// [`Table::lookup`] with the hash at hand.
    #[inline]
    pub fn find(&self, hash: u64, tuple: &Tuple) -> Option<Found> {
        let spot = self.spot(hash);
        let home = self.buckets.get(spot.home)?;
        // Before the entries: what spilled later was entered later.
        let spilled = home.has_spilled();
        let found = self.search(home, spot, tuple);
        if found.is_some() || !spilled {
            return found;
        }
        self.search(self.buckets.get(spot.second)?, spot, tuple)
    }

    #[inline]
    fn search(&self, bucket: &Bucket, spot: Spot, tuple: &Tuple) -> Option<Found> {
        bucket.candidates(spot).find_map(|(direction, slot)| {
            let generation = self.records.get(slot as usize)?.matches(direction, tuple)?;
            Some(Found { conn: ConnRef { slot, generation }, direction })
        })
    }

    #[inline]
    pub(super) fn record(&self, conn: ConnRef) -> Option<&Record> {
        self.records.get(conn.slot as usize)
    }

    /// The connection in `slot`, when its generation ends in these 16 bits. One load.
    ///
    /// For who has no room for a whole [`ConnRef`]: 2^16 connections later there is another one that looks the same, so
    /// look at its tuple, too, more often than that.
    #[inline]
    pub fn resume(&self, slot: u32, generation: u16) -> Option<ConnRef> {
        let live = self.records.get(slot as usize)?.life().live()?;
        (live.get() as u16 == generation).then_some(ConnRef { slot, generation: live })
    }

    /// True while the connection is in the table. One load.
    #[inline]
    pub fn is_live(&self, conn: ConnRef) -> bool {
        self.record(conn).is_some_and(|record| record.life().is(conn))
    }

    /// [`Table::resume`] and [`Table::back`] at once.
    #[inline]
    pub fn resume_back(&self, slot: u32, generation: u16, direction: Direction) -> Option<Tuple> {
        let record = self.records.get(slot as usize)?;
        let live = record.life_seen_by(direction).live().filter(|live| live.get() as u16 == generation)?;
        record.answered_by(live, direction)
    }

    /// What its packets of the other direction than `direction` come with; `None` when it is gone. Reversed, it is what those
    /// of `direction` are sent on with.
    #[inline]
    pub fn back(&self, conn: ConnRef, direction: Direction) -> Option<Tuple> {
        self.record(conn)?.back(conn, direction)
    }

    /// A copy of it; `None` when it is gone.
    pub fn get(&self, conn: ConnRef) -> Option<Connection> {
        self.record(conn)?.copy(conn)
    }

    /// Enters a connection, both directions at once. Takes a bounded number of steps.
    pub fn insert(&self, stock: &mut Stock, new: &New) -> Insert {
        let hashes = (self.hash(&new.original), self.hash(&new.reply));
        let (original, reply) = (self.spot(hashes.0), self.spot(hashes.1));
        // What is to be written comes at once, not one line after the other.
        self.prefetch(hashes.0);
        self.prefetch(hashes.1);
        if let Some(slot) = stock.next() {
            self.prefetch_whole(slot);
        }
        let Some(mut homes) = self.hold(original.home, reply.home) else {
            return Insert::Busy;
        };
        if let Some(found) = self.find(hashes.0, &new.original) {
            return Insert::Exists(found);
        }
        if self.find(hashes.1, &new.reply).is_some() {
            return Insert::Clash;
        }
        let half_open = new.opening.marks.has(Marks::HALF_OPEN);
        let tight = self.free.count() < self.capacity / 8;
        if let Err(limit) = self.counters.enter(&new.original, half_open, &self.limits.get(), tight, new.now)
        {
            return Insert::OverLimit(limit);
        }
        let Some(slot) = self.free.take(&self.records, stock) else {
            self.counters.leave(&new.original, half_open);
            return Insert::Full;
        };
        let record = &self.records[slot as usize];
        let generation = record.occupy(&new.original, &new.reply, &new.opening, new.rule, new.now);
        let conn = ConnRef { slot, generation };
        let first = original.entry(Direction::Original, slot);
        if homes.original().enter(&self.buckets[original.second], first) {
            // What answers itself has one tuple and one entry.
            let second = reply.entry(Direction::Reply, slot);
            if new.original == new.reply || homes.reply().enter(&self.buckets[reply.second], second) {
                self.tell(Change::New, conn);
                return Insert::Created(conn);
            }
            homes.original().clear(&self.buckets[original.second], first);
        }
        record.vacate(conn);
        self.counters.leave(&new.original, half_open);
        self.free.give(&self.records, stock, slot);
        Insert::Full
    }

    /// Removes a connection. Any thread may; of several at once one does.
    pub fn remove(&self, stock: &mut Stock, conn: ConnRef) -> Removal {
        let Some(last) = self.get(conn) else {
            return Removal::Gone;
        };
        let hashes = (self.hash(&last.original), self.hash(&last.reply));
        let (original, reply) = (self.spot(hashes.0), self.spot(hashes.1));
        self.prefetch(hashes.0);
        self.prefetch(hashes.1);
        let Some(mut homes) = self.hold(original.home, reply.home) else {
            return Removal::Busy;
        };
        let record = &self.records[conn.slot as usize];
        let Some(life) = record.vacate(conn) else {
            return Removal::Gone;
        };
        let entry = original.entry(Direction::Original, conn.slot);
        homes.original().clear(&self.buckets[original.second], entry);
        if last.original != last.reply {
            homes.reply().clear(&self.buckets[reply.second], reply.entry(Direction::Reply, conn.slot));
        }
        drop(homes);
        self.counters.leave(&last.original, life.marks().has(Marks::HALF_OPEN));
        self.free.give(&self.records, stock, conn.slot);
        let last = Connection { state: life.state(), marks: life.marks(), ..last };
        if self.events.are_watched() {
            self.events.tell(Change::Destroy, last);
        }
        Removal::Removed(last)
    }

    /// Tells who watches of a connection that is in the table.
    #[inline]
    pub(super) fn tell(&self, change: Change, conn: ConnRef) {
        if self.events.are_watched()
            && let Some(connection) = self.get(conn)
        {
            self.events.tell(change, connection);
        }
    }

    /// Who watches what happens to connections.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Takes back all slots of a stock, for other threads to use.
    pub fn return_stock(&self, stock: &mut Stock) {
        self.free.give_all(&self.records, stock);
    }

    /// Holds the home buckets of a connection's tuples, the lower one first, so that no two threads wait for each other.
    fn hold(&self, original: usize, reply: usize) -> Option<Homes<'_>> {
        let lower = self.buckets.get(original.min(reply))?.hold()?;
        if original == reply {
            return Some(Homes { lower, upper: None, original_is_lower: true });
        }
        let upper = self.buckets.get(original.max(reply))?.hold()?;
        Some(Homes { lower, upper: Some(upper), original_is_lower: original < reply })
    }
}

/// The held home buckets of a connection's tuples, which may be the same.
struct Homes<'t> {
    lower: Held<'t>,
    upper: Option<Held<'t>>,
    original_is_lower: bool,
}

impl<'t> Homes<'t> {
    fn original(&mut self) -> &mut Held<'t> {
        match &mut self.upper {
            Some(upper) if !self.original_is_lower => upper,
            _ => &mut self.lower,
        }
    }

    fn reply(&mut self) -> &mut Held<'t> {
        match &mut self.upper {
            Some(upper) if self.original_is_lower => upper,
            _ => &mut self.lower,
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
