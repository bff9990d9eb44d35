//! How many connections a zone and a source address may have: one sender cannot take all of the table.
//!
//! Zones are counted exactly. Sources are counted in two rows of counters, each source in one place of either row, found by
//! hash; what counts is the smaller of the two. Memory is thus fixed however many sources there are, and a source is
//! counted too high only while it shares *both* places with busy ones (of 1,000 sources at their limit, with 65,536 places a
//! row: one other source in 4,000).

use super::atomic::{AtomicU64, Cells, Ordering, cells};
use super::tuple::{Seed, Tuple};

/// Zones are 16-bit numbers.
#[cfg(not(feature = "loom"))]
const ZONES: usize = 1 << 16;
#[cfg(feature = "loom")]
const ZONES: usize = 1;
/// A row has a place for every eighth connection, between these.
#[cfg(not(feature = "loom"))]
const PLACES: (usize, usize) = (1 << 10, 1 << 16);
#[cfg(feature = "loom")]
const PLACES: (usize, usize) = (1, 1);
/// Attempts at a place that others change all the time.
const ATTEMPTS: u32 = 16;
const ONE: u64 = 1;
const ONE_HALF_OPEN: u64 = 1 << 32;

/// The most that is allowed; `u32::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of a zone.
    pub zone: u32,
    /// Connections from a source address, per zone.
    pub source: u32,
    /// Handshakes of TCP and SCTP under way in a zone.
    pub zone_half_open: u32,
    /// Handshakes of TCP and SCTP under way from a source address, per zone.
    pub source_half_open: u32,
    /// Connections that a source address opens in a second of the workers' clock, per zone.
    pub source_rate: u32,
    /// Connections from a source address while less than an eighth of the table is free: the last places are for those who
    /// have few.
    pub source_when_tight: u32,
}

impl Limits {
    /// None at all.
    pub const NONE: Self = Self {
        zone: u32::MAX,
        source: u32::MAX,
        zone_half_open: u32::MAX,
        source_half_open: u32::MAX,
        source_rate: u32::MAX,
        source_when_tight: u32::MAX,
    };

    /// What is fair in a table of `capacity` connections when nothing is configured: half of it for a source, an eighth for its
    /// handshakes, a 64th when it is nearly full; zones without limit.
    pub fn fair(capacity: usize) -> Self {
        let part = |divisor: usize| (capacity / divisor).clamp(1, u32::MAX as usize) as u32;
        Self { source: part(2), source_half_open: part(8), source_when_tight: part(64), ..Self::NONE }
    }
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// [`Limits::zone`].
    #[error("the zone has as many connections as it may")]
    Zone,
    /// [`Limits::source`].
    #[error("the source address has as many connections as it may")]
    Source,
    /// [`Limits::zone_half_open`].
    #[error("the zone has as many handshakes under way as it may")]
    ZoneHalfOpen,
    /// [`Limits::source_half_open`].
    #[error("the source address has as many handshakes under way as it may")]
    SourceHalfOpen,
    /// [`Limits::source_rate`].
    #[error("the source address opened as many connections in this second as it may")]
    SourceRate,
    /// [`Limits::source_when_tight`].
    #[error("the table is nearly full and the source address has many connections")]
    SourceWhenTight,
}

/// The limits in force: the control thread may set others at any time. (No atomics of loom's: nothing is decided by their order.)
#[derive(Debug)]
pub(super) struct InForce([std::sync::atomic::AtomicU32; 6]);

impl InForce {
    pub(super) fn new(limits: &Limits) -> Self {
        let cells = Self(Default::default());
        cells.set(limits);
        cells
    }

    pub(super) fn set(&self, limits: &Limits) {
        let Limits { zone, source, zone_half_open, source_half_open, source_rate, source_when_tight } =
            *limits;
        let all = [zone, source, zone_half_open, source_half_open, source_rate, source_when_tight];
        for (cell, limit) in self.0.iter().zip(all) {
            cell.store(limit, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn get(&self) -> Limits {
        let [zone, source, zone_half_open, source_half_open, source_rate, source_when_tight] =
            std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed));
        Limits { zone, source, zone_half_open, source_half_open, source_rate, source_when_tight }
    }
}

/// Connections, and handshakes under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All.
    pub connections: u32,
    /// Those whose handshake is not complete.
    pub half_open: u32,
}

impl Count {
    fn of(word: u64) -> Self {
        Self { connections: word as u32, half_open: (word >> 32) as u32 }
    }

    /// Of two counts that are both too high the better.
    fn smaller(self, other: Self) -> Self {
        Self {
            connections: self.connections.min(other.connections),
            half_open: self.half_open.min(other.half_open),
        }
    }
}

/// The counters.
#[derive(Debug)]
pub(super) struct Counters {
    zones: Cells<AtomicU64>,
    rows: [Cells<AtomicU64>; 2],
    /// By the same places: a second, and how many were opened in it.
    opened: [Cells<AtomicU64>; 2],
    seed: Seed,
}

impl Counters {
    /// For a table of `capacity` connections; `None` when there is not so much memory.
    pub(super) fn new(capacity: usize, seed: u64) -> Option<Self> {
        let places = (capacity / 8).next_power_of_two().clamp(PLACES.0, PLACES.1);
        let row = |len| cells(len, || AtomicU64::new(0));
        let rows = || Some([row(places)?, row(places)?]);
        Some(Self { zones: row(ZONES)?, rows: rows()?, opened: rows()?, seed: Seed::new(!seed) })
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        (self.zones.len() + 4 * self.rows[0].len()) * size_of::<AtomicU64>()
    }

    fn zone_of(&self, tuple: &Tuple) -> &AtomicU64 {
        &self.zones[usize::from(tuple.zone()) % ZONES]
    }

    /// The source's places in both rows.
    fn places_of(&self, tuple: &Tuple) -> [usize; 2] {
        let [zone, high, low] = tuple.source_words();
        let hash = self.seed.hash(&Tuple::from_words([zone, high, low, 0, 0]));
        let mask = self.rows[0].len() - 1;
        [hash as usize & mask, (hash >> 32) as usize & mask]
    }

    fn source_of(&self, tuple: &Tuple) -> [&AtomicU64; 2] {
        let [first, second] = self.places_of(tuple);
        [&self.rows[0][first], &self.rows[1][second]]
    }

    /// Counts one more that the source opens in second `now`; false when it is one too many. It has as many as the emptier of
    /// its places says.
    fn opens(&self, tuple: &Tuple, limit: u32, now: u32) -> bool {
        let [first, second] = self.places_of(tuple);
        let first = opens(&self.opened[0][first], limit, now);
        opens(&self.opened[1][second], limit, now) || first
    }

    /// Counts a new connection, unless that would be one too many. `tight`: little of the table is free.
    pub(super) fn enter(
        &self,
        original: &Tuple,
        half_open: bool,
        limits: &Limits,
        tight: bool,
        now: u32,
    ) -> Result<(), Limit> {
        let step = ONE + if half_open { ONE_HALF_OPEN } else { 0 };
        let [first, second] = self.source_of(original);
        let places = [self.zone_of(original), first, second];
        // Added first and judged after: of two at once for the last place both may be refused, never both let in.
        let [zone, first, second] = places.map(|place| Count::of(place.fetch_add(step, Ordering::Relaxed)));
        let source = first.smaller(second);
        let refused = if zone.connections >= limits.zone {
            Some(Limit::Zone)
        } else if half_open && zone.half_open >= limits.zone_half_open {
            Some(Limit::ZoneHalfOpen)
        } else if source.connections >= limits.source {
            Some(Limit::Source)
        } else if half_open && source.half_open >= limits.source_half_open {
            Some(Limit::SourceHalfOpen)
        } else if tight && source.connections >= limits.source_when_tight {
            Some(Limit::SourceWhenTight)
        } else if limits.source_rate != u32::MAX && !self.opens(original, limits.source_rate, now) {
            Some(Limit::SourceRate)
        } else {
            None
        };
        match refused {
            None => Ok(()),
            Some(limit) => {
                self.subtract(original, step);
                Err(limit)
            }
        }
    }

    /// A connection has ended.
    pub(super) fn leave(&self, original: &Tuple, half_open: bool) {
        self.subtract(original, ONE + if half_open { ONE_HALF_OPEN } else { 0 });
    }

    /// Its handshake has ended.
    pub(super) fn settle(&self, original: &Tuple) {
        self.subtract(original, ONE_HALF_OPEN);
    }

    fn subtract(&self, original: &Tuple, step: u64) {
        let [first, second] = self.source_of(original);
        for place in [self.zone_of(original), first, second] {
            place.fetch_sub(step, Ordering::Relaxed);
        }
    }

    /// Of a zone.
    pub(super) fn zone(&self, zone: u16) -> Count {
        Count::of(self.zones[usize::from(zone) % ZONES].load(Ordering::Relaxed))
    }

    /// Of the source of `tuple`, or more.
    pub(super) fn source(&self, tuple: &Tuple) -> Count {
        let [first, second] = self.source_of(tuple).map(|place| Count::of(place.load(Ordering::Relaxed)));
        first.smaller(second)
    }

    /// Of all zones.
    pub(super) fn total(&self) -> (u64, u64) {
        self.zones.iter().map(|zone| Count::of(zone.load(Ordering::Relaxed))).fold((0, 0), |sum, zone| {
            (sum.0 + u64::from(zone.connections), sum.1 + u64::from(zone.half_open))
        })
    }
}

/// Counts one more in second `now`, unless there are `limit` already.
fn opens(place: &AtomicU64, limit: u32, now: u32) -> bool {
    for _ in 0..ATTEMPTS {
        let word = place.load(Ordering::Relaxed);
        let (second, count) = ((word >> 32) as u32, word as u32);
        let next = match now.wrapping_sub(second).cast_signed() {
            1.. => u64::from(now) << 32 | 1,
            // Another worker's clock may be ahead: then it is that second.
            _ if count >= limit => return false,
            _ => word + 1,
        };
        if place.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return true;
        }
    }
    // So many at once that one more or less does not matter.
    true
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::state::tuple::Parts;
    use crate::state::{ConnRef, Direction, Insert, New, Removal, Segment, Size, Stock, Table, Tracked, tcp};
    use crate::wire::protocol::TCP;

    fn syn(zone: u16, host: u8, port: u16) -> New {
        let original = Tuple::new(&Parts {
            zone,
            protocol: TCP,
            source: [10, 0, 0, host].into(),
            destination: [10, 1, 0, 1].into(),
            source_port: port,
            destination_port: 80,
        })
        .unwrap();
        let segment = Segment { flags: 2, sequence: 99, ..Segment::default() };
        let opening = tcp::open(&segment, false).unwrap();
        New { original, reply: original.reversed(), opening, rule: 0, now: 1 }
    }

    fn establish(table: &Table, conn: ConnRef) {
        let mut segment = Segment { flags: 0x12, acknowledgement: 100, ..Segment::default() };
        assert!(matches!(table.track(conn, Direction::Reply, 1, &segment), Tracked::Valid(_)));
        (segment.flags, segment.sequence, segment.acknowledgement) = (0x10, 100, 1);
        assert!(matches!(table.track(conn, Direction::Original, 1, &segment), Tracked::Valid(_)));
    }

    /// Inserts from `host` until it is refused.
    fn fill(table: &Table, stock: &mut Stock, zone: u16, host: u8) -> (Vec<ConnRef>, Insert) {
        let mut made = Vec::new();
        loop {
            match table.insert(stock, &syn(zone, host, made.len() as u16)) {
                Insert::Created(conn) => made.push(conn),
                refused => return (made, refused),
            }
        }
    }

    #[test]
    fn each_limit_is_reached_exactly_and_a_place_comes_back() {
        let cases = [
            (Limits { zone: 9, ..Limits::NONE }, Limit::Zone, true),
            (Limits { source: 9, ..Limits::NONE }, Limit::Source, false),
            (Limits { zone_half_open: 9, ..Limits::NONE }, Limit::ZoneHalfOpen, true),
            (Limits { source_half_open: 9, ..Limits::NONE }, Limit::SourceHalfOpen, false),
        ];
        for (limits, limit, of_zone) in cases {
            let table = Table::new(Size { capacity: 64, threads: 1, limits }, 4).unwrap();
            let mut stock = Stock::default();
            let (made, refused) = fill(&table, &mut stock, 1, 1);
            assert_eq!((made.len(), refused), (9, Insert::OverLimit(limit)));
            assert_eq!(table.zone_count(1), Count { connections: 9, half_open: 9 });
            // Others are refused only when the zone is full; other zones never.
            let other = table.insert(&mut stock, &syn(1, 2, 1));
            assert_eq!(matches!(other, Insert::Created(_)), !of_zone, "{limit:?}");
            assert!(matches!(table.insert(&mut stock, &syn(2, 1, 1)), Insert::Created(_)));
            let half_open = matches!(limit, Limit::ZoneHalfOpen | Limit::SourceHalfOpen);
            if half_open {
                establish(&table, made[3]);
            } else {
                assert!(matches!(table.remove(&mut stock, made[3]), Removal::Removed(_)));
            }
            let port = 500;
            assert!(matches!(table.insert(&mut stock, &syn(1, 1, port)), Insert::Created(_)), "{limit:?}");
            assert_eq!(table.insert(&mut stock, &syn(1, 1, port + 1)), Insert::OverLimit(limit));
        }
    }

    #[test]
    fn the_last_places_are_for_those_who_have_few() {
        let limits = Limits { source_when_tight: 5, ..Limits::NONE };
        let table = Table::new(Size { capacity: 4096, threads: 1, limits }, 4).unwrap();
        let mut stock = Stock::default();
        let (made, refused) = fill(&table, &mut stock, 1, 1);
        assert_eq!(refused, Insert::OverLimit(Limit::SourceWhenTight));
        assert!((4096 * 6 / 8..=4096).contains(&made.len()), "{}", made.len());
        for host in 2..12 {
            assert_eq!(fill(&table, &mut stock, 1, host).0.len(), 5);
        }
        // Those that are there live on.
        assert!(made.iter().all(|conn| table.is_live(*conn)));
    }

    #[test]
    fn a_source_opens_so_many_in_a_second_and_as_many_in_the_next() {
        let limits = Limits { source_rate: 10, ..Limits::NONE };
        let table = Table::new(Size { capacity: 4096, threads: 1, limits }, 4).unwrap();
        let mut stock = Stock::default();
        let open = |stock: &mut Stock, host: u8, now: u32| {
            let mut made = 0;
            for port in 0..100 {
                let new = New { now, ..syn(1, host, port + 100 * now as u16) };
                match table.insert(stock, &new) {
                    Insert::Created(_) => made += 1,
                    refused => assert_eq!(refused, Insert::OverLimit(Limit::SourceRate)),
                }
            }
            made
        };
        for now in [5, 6, 9] {
            assert_eq!(open(&mut stock, 1, now), 10, "second {now}");
        }
        assert_eq!(open(&mut stock, 2, 9), 10, "another source");
        // A worker whose clock is a second behind gets no more out of it.
        assert_eq!(open(&mut stock, 1, 8), 0);
        // None of those that were refused is counted.
        assert_eq!(table.count().0, 40);
        table.set_limits(&Limits { source_rate: 15, ..limits });
        assert_eq!(open(&mut stock, 1, 20), 15);
    }

    #[test]
    fn counts_come_back_to_nothing() {
        let table = Table::new(Size { capacity: 512, threads: 1, limits: Limits::NONE }, 4).unwrap();
        let mut stock = Stock::default();
        let made: Vec<_> = (0..200)
            .map(|number| match table.insert(&mut stock, &syn(number % 3, number as u8, number)) {
                Insert::Created(conn) => conn,
                refused => panic!("{refused:?}"),
            })
            .collect();
        for (number, conn) in made.iter().enumerate() {
            if number % 2 == 0 {
                establish(&table, *conn);
            }
        }
        assert_eq!(table.count(), (200, 100));
        for conn in made {
            table.remove(&mut stock, conn);
        }
        assert_eq!(table.count(), (0, 0));
        assert_eq!(table.source_count(&syn(0, 0, 0).original), Count::default());
    }
}
