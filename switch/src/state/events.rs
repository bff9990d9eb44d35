//! What happens to connections, for who watches (`shunt conntrack -E`): new ones, changes of state, ends.
//!
//! Whoever makes the change says so, a worker or the control thread, into a bounded queue for each watcher; a watcher who is too
//! slow loses events, which are counted, and nobody waits for him. With nobody watching, a change of state costs one load, and
//! other packets nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;

use super::connection::Connection;

/// Watchers at a time.
pub const WATCHERS: usize = 4;
/// Events that may wait for one: some ten milliseconds of them at the highest rate of new connections.
const ROOM: usize = 16_384;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was entered.
    New,
    /// Its state or one of the marks that conntrack(8) prints is another one.
    Update,
    /// It was removed; this is how it was.
    Destroy,
}

/// What happened to a connection, which is as it was right after (or, at its end, before).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// To which.
    pub connection: Connection,
}

/// The watchers of one table.
#[derive(Debug, Default)]
pub struct Events {
    watching: AtomicU32,
    places: [Place; WATCHERS],
}

#[derive(Debug, Default)]
struct Place {
    is_taken: AtomicBool,
    /// Made for the first watcher of the place, by the control thread.
    queue: OnceLock<ArrayQueue<Event>>,
    lost: AtomicU64,
}

impl Events {
    /// True while anybody watches.
    #[inline]
    pub(super) fn are_watched(&self) -> bool {
        self.watching.load(Ordering::Relaxed) != 0
    }

    /// Tells all watchers.
    #[cold]
    pub(super) fn tell(&self, change: Change, connection: Connection) {
        for place in self.places.iter().filter(|place| place.is_taken.load(Ordering::Acquire)) {
            let Some(queue) = place.queue.get() else { continue };
            if queue.push(Event { change, connection }).is_err() {
                place.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Begins to watch; the number of the place, or `None` when there are [`WATCHERS`] already. Takes the memory of the queue.
    pub fn watch(&self) -> Option<usize> {
        let free = |place: &Place| {
            place.is_taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let at = self.places.iter().position(free)?;
        let place = &self.places[at];
        let queue = place.queue.get_or_init(|| ArrayQueue::new(ROOM));
        // What came after the last watcher had gone.
        while queue.pop().is_some() {}
        place.lost.store(0, Ordering::Relaxed);
        self.watching.fetch_add(1, Ordering::Relaxed);
        Some(at)
    }

    /// Ends what [`Events::watch`] began.
    pub fn end(&self, place: usize) {
        if let Some(place) = self.places.get(place)
            && place.is_taken.swap(false, Ordering::AcqRel)
        {
            self.watching.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The oldest event for the watcher at `place`.
    pub fn next(&self, place: usize) -> Option<Event> {
        self.places.get(place)?.queue.get()?.pop()
    }

    /// Events that found no room for the watcher at `place`.
    pub fn lost(&self, place: usize) -> u64 {
        self.places.get(place).map_or(0, |place| place.lost.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::state::tuple::Parts;
    use crate::state::{
        ConnRef, Direction, Insert, Limits, New, Opening, Segment, Size, State, Stock, Table, Tuple, tcp,
    };
    use crate::wire::protocol::{TCP, UDP};

    fn table() -> Table {
        Table::new(Size { capacity: 32_768, threads: 1, limits: Limits::NONE }, 4).unwrap()
    }

    fn tuple(protocol: u8, number: u32) -> Tuple {
        let [_, a, b, c] = number.to_be_bytes();
        let (source, destination) = ([10, a, b, c].into(), [10, 1, 0, 1].into());
        Tuple::new(&Parts { zone: 0, protocol, source, destination, source_port: 9, destination_port: 53 })
            .unwrap()
    }

    fn open(table: &Table, stock: &mut Stock, original: Tuple, opening: Opening) -> ConnRef {
        let new = New { original, reply: original.reversed(), opening, rule: 0, now: 1 };
        let Insert::Created(conn) = table.insert(stock, &new) else { panic!("no room") };
        conn
    }

    fn open_udp(table: &Table, stock: &mut Stock, number: u32) -> ConnRef {
        let original = tuple(UDP, number);
        open(table, stock, original, Opening::untracked(&original).unwrap())
    }

    fn heard(table: &Table, place: usize) -> Vec<(Change, State)> {
        std::iter::from_fn(|| table.events().next(place))
            .map(|event| (event.change, event.connection.state))
            .collect()
    }

    #[test]
    fn a_connection_is_followed_from_its_first_packet_to_its_end() {
        let (table, mut stock) = (table(), Stock::default());
        open_udp(&table, &mut stock, 1);
        let place = table.events().watch().unwrap();
        let udp = open_udp(&table, &mut stock, 2);
        table.touch(udp, Direction::Original, 1, 1, 100);
        table.touch(udp, Direction::Reply, 1, 1, 100);
        table.touch(udp, Direction::Reply, 2, 1, 100);
        table.remove(&mut stock, udp);
        let states = [State::Unreplied, State::Replied, State::Replied];
        assert_eq!(
            heard(&table, place),
            [Change::New, Change::Update, Change::Destroy].into_iter().zip(states).collect::<Vec<_>>()
        );

        let syn = Segment { flags: 2, sequence: 99, ..Segment::default() };
        let tcp = open(&table, &mut stock, tuple(TCP, 1), tcp::open(&syn, false).unwrap());
        let answer = Segment { flags: 0x12, acknowledgement: 100, ..Segment::default() };
        table.track(tcp, Direction::Reply, 1, &answer);
        let ack = Segment { flags: 0x10, sequence: 100, acknowledgement: 1, ..Segment::default() };
        // The second one changes nothing.
        table.track(tcp, Direction::Original, 1, &ack);
        table.track(tcp, Direction::Original, 1, &ack);
        let wanted = [
            (Change::New, State::SynSent),
            (Change::Update, State::SynRecv),
            (Change::Update, State::Established),
        ];
        assert_eq!(heard(&table, place), wanted);
        table.events().end(place);
        table.remove(&mut stock, tcp);
        assert!(!table.events().are_watched() && heard(&table, place).is_empty());
    }

    #[test]
    fn a_slow_watcher_loses_events_that_are_counted_and_others_do_not() {
        let (table, mut stock) = (table(), Stock::default());
        let [slow, quick] = std::array::from_fn(|_| table.events().watch().unwrap());
        for number in 0..ROOM as u32 + 10 {
            open_udp(&table, &mut stock, number);
            assert_eq!(heard(&table, quick).len(), 1);
        }
        assert_eq!((table.events().lost(slow), table.events().lost(quick)), (10, 0));
        assert_eq!(heard(&table, slow).len(), ROOM);
        for _ in 2..WATCHERS {
            assert!(table.events().watch().is_some());
        }
        assert_eq!(table.events().watch(), None);
        table.events().end(slow);
        let again = table.events().watch().unwrap();
        assert_eq!((again, table.events().lost(again), heard(&table, again).len()), (slow, 0, 0));
    }
}
