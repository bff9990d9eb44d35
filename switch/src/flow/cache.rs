//! The flow cache of one worker: what was decided for a key, so that the next frame of the flow needs no stage.
//!
//! Fixed memory: [`ENTRY_BYTES`] for each flow, no allocation after [`FlowCache::new`]. Each key has two buckets of
//! [`WAYS`] entries; a 16-bit tag of each entry lies apart, so that a search reads one or two lines of tags and then,
//! nearly always, the one right entry. So does the second of its last frame, so that who looks for a place need not read
//! sixteen entries. Nothing here is shared: a hit costs no atomic instruction.
//!
//! **Who gets a place**: an empty one, else that of the entry that was silent for longest, if it had no frame in this second.
//! When all 16 places are busy, a new flow displaces one only now and then ([`DISPLACE`]): with more live
//! flows than places, those that are in stay and are served, instead of all chasing each other.
//!
//! **When it does not pay**: if of [`WINDOW`] lookups fewer than one in [`PAYS`] hit, only one miss in [`DISPLACE`] is
//! entered during the next window.

use shunt_ffi::{Region, lanes};

use super::actions::{Actions, Verdict};
use super::hash::Seed;
use super::key::FlowKey;
use crate::drop::DropReason;
use crate::topology::stamps::Dependencies;

/// Entries in a bucket.
pub const WAYS: usize = 8;
/// Bytes that one flow takes.
pub const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<u16>();
/// Of so many unwelcome flows one gets a place.
const DISPLACE: u32 = 16;
/// A flow goes to its second bucket when its first has no more empty places than this, and the second has more.
const RESERVE: u32 = 2;
/// Lookups after which the hit rate is judged.
const WINDOW: u32 = 4096;
/// A cache pays when at least one lookup in so many hits.
const PAYS: u32 = 8;

/// One flow: exactly two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Entry {
    /// What identifies it.
    pub key: FlowKey,
    /// Frames so far.
    pub packets: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Low half of the generation under which the actions were last found right.
    pub generation: u32,
    /// Second of the last frame, on the workers' clock.
    pub second: u32,
    /// What the decision rests on.
    pub rests_on: Dependencies,
    /// What is done.
    pub actions: Actions,
}

const _: () = assert!(size_of::<Entry>() == 128);

/// Where a key was found, or where the search for it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Default for Place {
    fn default() -> Self {
        Self::NONE
    }
}

impl Place {
    /// No entry has the key's tag.
    pub const NONE: Self = Self(u32::MAX);

    #[inline]
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The cache.
#[derive(Debug)]
pub struct FlowCache {
    tags: Region<[u16; WAYS]>,
    /// Low half of each entry's second.
    seconds: Region<[u16; WAYS]>,
    entries: Region<Entry>,
    buckets: usize,
    seed: Seed,
    idle: u32,
    lookups: u32,
    hits: u32,
    /// Misses that are entered: one in so many.
    enter_every: u32,
    /// Few are entered, and fewer displaced, while entering does not pay.
    back_off: bool,
    skipped: u32,
    turn: u32,
}

/// There is not so much memory.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no memory for a flow cache of {entries} entries ({} MiB)", (entries * ENTRY_BYTES) >> 20)]
pub struct NoMemory {
    entries: usize,
}

impl FlowCache {
    /// An empty cache for at least `entries` flows (rounded up to a power of two, at least two buckets; 0 makes a cache
    /// that is off). A flow that was silent for `idle` seconds may lose its place. Without `back_off` every flow is entered,
    /// whatever it displaces.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn new(entries: usize, idle: u32, back_off: bool, seed: u64) -> Result<Self, NoMemory> {
        let buckets = if entries == 0 { 0 } else { entries.div_ceil(WAYS).next_power_of_two().max(2) };
        let empty = Entry {
            key: FlowKey::default(),
            packets: 0,
            bytes: 0,
            generation: 0,
            second: 0,
            rests_on: Dependencies::NONE,
            actions: Actions::unchanged(Verdict::Drop(DropReason::IngressDown)),
        };
        let missing = NoMemory { entries };
        Ok(Self {
            tags: Region::filled(buckets, [0; WAYS]).ok_or(missing)?,
            seconds: Region::filled(buckets, [0; WAYS]).ok_or(missing)?,
            entries: Region::filled(buckets * WAYS, empty).ok_or(missing)?,
            buckets,
            seed: Seed::new(seed),
            idle: idle.max(1),
            lookups: 0,
            hits: 0,
            enter_every: 1,
            back_off,
            skipped: 0,
            turn: 0,
        })
    }

    /// True when flows are cached at all.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.buckets != 0
    }

    /// Number of places.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// The hash that the other functions want.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.seed.hash(key)
    }

    /// The key's first and second bucket. They differ: the second is the first with some bits flipped, never none.
    #[inline]
    fn buckets_of(&self, hash: u64) -> (usize, usize) {
        let mask = self.buckets.wrapping_sub(1);
        let first = hash as usize & mask;
        (first, (first ^ ((hash >> 32) as usize | 1)) & mask)
    }

    /// A tag is never 0, which marks an empty place.
    #[inline]
    fn tag(hash: u64) -> u16 {
        (hash >> 48) as u16 | 1
    }

    /// Fetches the tags that a search with this hash will read.
    #[inline]
    pub fn prefetch_tags(&self, hash: u64) {
        self.tags.prefetch(self.buckets_of(hash).0);
    }

    /// The first entry with the right tag, by tags alone, and fetches it.
    #[inline]
    pub fn find(&self, hash: u64) -> Place {
        let (first, second) = self.buckets_of(hash);
        let tag = Self::tag(hash);
        for bucket in [first, second] {
            if let Some(tags) = self.tags.get(bucket)
                && let Some(way) = lanes::position(tags, tag)
            {
                let place = bucket * WAYS + way;
                self.entries.prefetch_pair(place);
                return Place(place as u32);
            }
        }
        Place::NONE
    }

    /// The actions at `found`, before it is sure that they are those of the key: only for fetching what they name.
    #[inline]
    pub fn peek(&self, found: Place) -> Option<&Actions> {
        Some(&self.entries.get(found.index())?.actions)
    }

    /// The entry of `key`, whose search by tags gave `found`. Counts the lookup.
    #[inline]
    pub fn confirm(&mut self, found: Place, hash: u64, key: &FlowKey) -> Option<Place> {
        self.lookups += 1;
        let sure = match self.entries.get(found.index()) {
            Some(entry) if entry.key == *key => Some(found),
            Some(_) => self.search(hash, key),
            None => None,
        };
        self.hits += u32::from(sure.is_some());
        sure
    }

    /// The whole search: for keys that share a tag, and for keys entered since [`FlowCache::find`].
    #[cold]
    fn search(&self, hash: u64, key: &FlowKey) -> Option<Place> {
        let (first, second) = self.buckets_of(hash);
        let tag = Self::tag(hash);
        for bucket in [first, second] {
            let mut ways = lanes::matches(self.tags.get(bucket)?, tag);
            while ways != 0 {
                let place = bucket * WAYS + ways.trailing_zeros() as usize;
                if self.entries.get(place)?.key == *key {
                    return Some(Place(place as u32));
                }
                ways &= ways - 1;
            }
        }
        None
    }

    /// The actions at `place`, which a search or [`FlowCache::enter`] has given.
    #[inline]
    pub fn actions(&self, place: Place) -> Actions {
        self.entries[place.index()].actions
    }

    /// Notes that the flow at `place` has a frame in second `now`: the first one of that second.
    #[inline]
    pub fn note_second(&mut self, place: Place, now: u32) {
        if let Some(entry) = self.entries.get_mut(place.index()) {
            entry.second = now;
        }
        if let Some(seconds) = self.seconds.get_mut(place.index() / WAYS) {
            seconds[place.index() % WAYS] = now as u16;
        }
    }

    /// The entry at `place`.
    #[inline]
    pub fn at(&mut self, place: Place) -> Option<&mut Entry> {
        self.entries.get_mut(place.index())
    }

    /// Enters a decision, if there is a place for it; see the module's text. The caller has looked the key up in vain;
    /// it may have been entered since, by an earlier frame of the same burst.
    pub fn enter(&mut self, hash: u64, entry: Entry) -> Option<Place> {
        if !self.is_on() {
            return None;
        }
        if self.lookups >= WINDOW {
            let pays = self.hits >= self.lookups / PAYS;
            self.enter_every = if pays || !self.back_off { 1 } else { DISPLACE };
            (self.lookups, self.hits) = (0, 0);
        }
        self.skipped += 1;
        if self.skipped < self.enter_every {
            return None;
        }
        self.skipped = 0;
        let place = match self.search(hash, &entry.key) {
            Some(place) => place.index(),
            None => self.place_for(hash, entry.second)?,
        };
        *self.tags.get_mut(place / WAYS)?.get_mut(place % WAYS)? = Self::tag(hash);
        *self.seconds.get_mut(place / WAYS)?.get_mut(place % WAYS)? = entry.second as u16;
        *self.entries.get_mut(place)? = entry;
        Some(Place(place as u32))
    }

    /// Where a new flow may go.
    fn place_for(&mut self, hash: u64, now: u32) -> Option<usize> {
        let (first, second) = self.buckets_of(hash);
        let empty =
            |bucket: usize| self.tags.get(bucket).map_or(0, |tags| lanes::matches(tags, 0).count_ones());
        // The first bucket costs a search less; the emptier one lets more flows in.
        let (here, there) = (empty(first), empty(second));
        let bucket = if here > RESERVE || here >= there { first } else { second };
        if here.max(there) > 0 {
            let way = lanes::position(self.tags.get(bucket)?, 0)?;
            return Some(bucket * WAYS + way);
        }
        // Right for eighteen hours; what is silent for longer has to wait for its turn once in that time.
        let quietest = |bucket: usize| Some(lanes::farthest_behind(self.seconds.get(bucket)?, now as u16));
        let (here, there) = (quietest(first)?, quietest(second)?);
        let (bucket, (silence, way)) = if here.0 >= there.0 { (first, here) } else { (second, there) };
        if silence != 0 {
            return Some(bucket * WAYS + way);
        }
        self.turn = self.turn.wrapping_add(1);
        let bucket = if self.turn & 8 == 0 { first } else { second };
        let displaces = !self.back_off || self.turn.is_multiple_of(DISPLACE);
        displaces.then_some(bucket * WAYS + (self.turn / DISPLACE) as usize % WAYS)
    }

    /// Forgets the entry at `place`, when it is that of `key`.
    pub fn forget(&mut self, place: Place, key: &FlowKey) {
        if self.entries.get(place.index()).is_some_and(|entry| entry.key == *key) {
            self.remove(place);
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, place: Place) {
        if let Some(tags) = self.tags.get_mut(place.index() / WAYS) {
            tags[place.index() % WAYS] = 0;
        }
    }

    /// Forgets everything. Takes time in proportion to the size; needed once in 2^32 generations.
    pub fn clear(&mut self) {
        self.tags.fill([0; WAYS]);
    }

    /// Copies live entries (not silent for the idle timeout at second `now`) from place `from` on to `into`, as many as
    /// fit its capacity, and looks at `budget` places at most. Returns where to go on; `None` at the end.
    pub fn dump(&self, from: usize, budget: usize, now: u32, into: &mut Vec<Entry>) -> Option<usize> {
        let end = self.entries.len().min(from.saturating_add(budget));
        for place in from..end {
            if into.len() == into.capacity() {
                return Some(place);
            }
            let tag = self.tags.get(place / WAYS).map_or(0, |tags| tags[place % WAYS]);
            let live = |entry: &&Entry| tag != 0 && now.saturating_sub(entry.second) < self.idle;
            if let Some(entry) = self.entries.get(place).filter(live) {
                into.push(*entry);
            }
        }
        (end < self.entries.len()).then_some(end)
    }
}

#[cfg(test)]
mod tests;
