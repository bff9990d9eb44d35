//! Model checks of the connection table: all interleavings of two threads with at most two preemptions, and all values that
//! a relaxed load may see (`scripts/ci.sh loom`). The table is a tiny one, but its code is that of the real one.

use loom::sync::Arc;
use loom::thread;

use super::connection::{Direction, Marks, State};
use super::limits::Limits;
use super::record::Record;
use super::slots::Stock;
use super::table::{Found, Insert, New, Removal, Size, Table};
use super::tcp::{self, Opening, Segment};
use super::track::Tracked;
use super::tuple::{Parts, Tuple};
use crate::wire::protocol::{TCP, UDP};

/// Preemptions in one interleaving at most.
const BOUND: usize = 2;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(BOUND);
    builder.max_branches = 20_000;
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = runs.clone();
    builder.check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    // A model whose threads never meet proves nothing.
    let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
    println!("{runs} interleavings");
    assert!(runs > 20, "only {runs} interleavings");
}

fn table(threads: usize) -> Arc<Table> {
    // Seeds are fixed: which tuples share a bucket is the same in every run.
    Arc::new(Table::new(Size { capacity: 1, threads, limits: Limits::NONE }, 1).expect("memory"))
}

fn tuple(protocol: u8, host: u8, port: u16) -> Tuple {
    Tuple::new(&Parts {
        zone: 0,
        protocol,
        source: [10, 0, 0, host].into(),
        destination: [10, 0, 1, 1].into(),
        source_port: port,
        destination_port: 53,
    })
    .expect("one family")
}

fn udp(original: Tuple, reply: Tuple) -> New {
    New { original, reply, opening: Opening::untracked(&original).expect("UDP may open"), rule: 0, now: 1 }
}

/// What a SYN with number 100 opens.
fn half_open() -> New {
    let original = tuple(TCP, 1, 1);
    let syn = Segment { flags: 2, sequence: 100, ..Segment::default() };
    let opening = tcp::open(&syn, false).expect("a SYN opens");
    New { original, reply: original.reversed(), opening, rule: 0, now: 1 }
}

/// Inserts until nobody is in the way.
fn insert(table: &Table, stock: &mut Stock, new: &New) -> Insert {
    loop {
        match table.insert(stock, new) {
            Insert::Busy => thread::yield_now(),
            done => return done,
        }
    }
}

fn created(insert: Insert) -> super::ConnRef {
    let Insert::Created(conn) = insert else { panic!("{insert:?}") };
    conn
}

#[test]
fn two_that_want_one_translated_tuple_do_not_both_get_it() {
    check(|| {
        let table = table(2);
        let sent = tuple(UDP, 9, 5000);
        let other = table.clone();
        let thread = thread::spawn(move || {
            other.insert(&mut Stock::default(), &udp(tuple(UDP, 1, 1), sent.reversed()))
        });
        let mine = table.insert(&mut Stock::default(), &udp(tuple(UDP, 2, 1), sent.reversed()));
        let theirs = thread.join().unwrap();
        let found = table.lookup(&sent.reversed());
        match (mine, theirs) {
            (Insert::Created(conn), Insert::Clash | Insert::Busy)
            | (Insert::Clash | Insert::Busy, Insert::Created(conn)) => {
                assert_eq!(found, Some(Found { conn, direction: Direction::Reply }));
                assert_eq!(table.count(), (1, 0));
            }
            (Insert::Busy, Insert::Busy) => assert_eq!((found, table.count()), (None, (0, 0))),
            both => panic!("{both:?}"),
        }
    });
}

#[test]
fn two_that_see_the_first_packet_make_one_connection() {
    check(|| {
        let table = table(2);
        let original = tuple(UDP, 1, 1);
        let new = udp(original, original.reversed());
        let other = table.clone();
        let thread = thread::spawn(move || other.insert(&mut Stock::default(), &new));
        let mine = table.insert(&mut Stock::default(), &new);
        match (mine, thread.join().unwrap()) {
            (Insert::Created(conn), Insert::Exists(found))
            | (Insert::Exists(found), Insert::Created(conn)) => {
                assert_eq!(found, Found { conn, direction: Direction::Original });
            }
            (Insert::Created(_), Insert::Busy) | (Insert::Busy, Insert::Created(_)) => {}
            (Insert::Busy, Insert::Busy) => {}
            both => panic!("{both:?}"),
        }
    });
}

#[test]
fn what_is_there_is_found_while_others_come_and_go() {
    check(|| {
        let table = table(2);
        let mut stock = Stock::default();
        let (stays, goes) = (tuple(UDP, 1, 1), tuple(UDP, 2, 1));
        let conn = created(insert(&table, &mut stock, &udp(stays, stays.reversed())));
        let other = table.clone();
        let thread = thread::spawn(move || {
            let mut stock = Stock::default();
            let conn = created(insert(&other, &mut stock, &udp(goes, goes.reversed())));
            let removal = other.remove(&mut stock, conn);
            assert!(matches!(removal, Removal::Removed(_)), "{removal:?}");
        });
        assert_eq!(table.lookup(&stays), Some(Found { conn, direction: Direction::Original }));
        assert_eq!(table.lookup(&stays.reversed()), Some(Found { conn, direction: Direction::Reply }));
        if let Some(found) = table.lookup(&goes.reversed()) {
            assert_eq!(found.direction, Direction::Reply);
            // Removed by now, or what it was.
            assert!(table.get(found.conn).is_none_or(|copy| copy.original == goes));
        }
        thread.join().unwrap();
        assert_eq!((table.lookup(&goes), table.count()), (None, (1, 0)));
    });
}

#[test]
fn a_reused_slot_is_never_found_as_the_connection_before() {
    check(|| {
        let table = table(1);
        let mut stock = Stock::default();
        let (before, after) = (tuple(UDP, 1, 1), tuple(UDP, 2, 1));
        let conn = created(insert(&table, &mut stock, &udp(before, before.reversed())));
        let other = table.clone();
        let thread = thread::spawn(move || {
            assert!(matches!(other.remove(&mut stock, conn), Removal::Removed(_)));
            let next = created(insert(&other, &mut stock, &udp(after, after.reversed())));
            // The very same slot.
            assert_eq!(next.numbers(), (conn.numbers().0, conn.numbers().1 + 2));
        });
        if let Some(found) = table.lookup(&before) {
            assert_eq!(found, Found { conn, direction: Direction::Original });
        }
        if let Some(found) = table.lookup(&after) {
            assert_ne!(found.conn, conn);
        }
        thread.join().unwrap();
        assert!(!table.is_live(conn));
        assert_eq!(table.lookup(&before), None);
    });
}

#[test]
fn of_two_that_remove_a_connection_one_does() {
    check(|| {
        let table = table(2);
        let original = tuple(UDP, 1, 1);
        let mut stock = Stock::default();
        let conn = created(insert(&table, &mut stock, &udp(original, original.reversed())));
        let free = table.free();
        let other = table.clone();
        let thread = thread::spawn(move || {
            let mut stock = Stock::default();
            let removal = other.remove(&mut stock, conn);
            other.return_stock(&mut stock);
            removal
        });
        let mine = table.remove(&mut stock, conn);
        table.return_stock(&mut stock);
        match (mine, thread.join().unwrap()) {
            (Removal::Removed(_), Removal::Gone | Removal::Busy)
            | (Removal::Gone | Removal::Busy, Removal::Removed(_)) => {
                assert_eq!((table.free(), table.count()), (free + 1, (0, 0)));
            }
            (Removal::Busy, Removal::Busy) => assert!(table.is_live(conn)),
            both => panic!("{both:?}"),
        }
    });
}

#[test]
fn no_slot_is_given_twice() {
    check(|| {
        let table = table(2);
        let other = table.clone();
        let take = |table: &Table, host| {
            let original = tuple(UDP, host, 1);
            let mut stock = Stock::default();
            let conn = created(insert(table, &mut stock, &udp(original, original.reversed())));
            table.return_stock(&mut stock);
            conn
        };
        let thread = thread::spawn(move || take(&other, 1));
        let mine = take(&table, 2);
        let theirs = thread.join().unwrap();
        assert_ne!(mine.numbers().0, theirs.numbers().0);
        assert!(table.is_live(mine) && table.is_live(theirs));
    });
}

#[test]
fn a_step_of_a_removed_connection_changes_nothing() {
    check(|| {
        let table = table(1);
        let mut stock = Stock::default();
        let conn = created(insert(&table, &mut stock, &half_open()));
        let other = table.clone();
        let thread = thread::spawn(move || {
            let answer = Segment { flags: 4 | 16, acknowledgement: 101, ..Segment::default() };
            other.track(conn, Direction::Reply, 1, &answer)
        });
        assert!(matches!(table.remove(&mut stock, conn), Removal::Removed(_)));
        assert!(matches!(thread.join().unwrap(), Tracked::Gone | Tracked::Valid(State::Close)));
        assert!(!table.is_live(conn));
        // The half-open one is taken off once, by whoever was first.
        assert_eq!(table.count(), (0, 0));
    });
}

/// What packets of each direction know of the connection's life.
fn lives(table: &Table, conn: super::ConnRef) -> [super::connection::Life; 2] {
    let record = table.record(conn).expect("its slot");
    [Direction::Original, Direction::Reply].map(|direction| record.life_seen_by(direction))
}

#[test]
fn the_echo_is_the_life_when_all_is_quiet() {
    check(|| {
        let table = table(1);
        let conn = created(insert(&table, &mut Stock::default(), &half_open()));
        let other = table.clone();
        let thread = thread::spawn(move || {
            let answer = Segment { flags: 2 | 16, sequence: 7, acknowledgement: 101, ..Segment::default() };
            other.track(conn, Direction::Reply, 1, &answer)
        });
        // The same SYN once more, or a reset: each may come before the answer and after it.
        table.track(conn, Direction::Original, 1, &Segment { flags: 4, sequence: 101, ..Segment::default() });
        thread.join().unwrap();
        let [original, reply] = lives(&table, conn);
        assert_eq!((original.0, reply.is(conn)), (reply.0, true));
    });
}

#[test]
fn a_slot_that_is_reused_translates_nobody_elses_packets() {
    check(|| {
        let table = table(1);
        let mut stock = Stock::default();
        let (before, after) = (tuple(UDP, 1, 1), tuple(UDP, 2, 1));
        let conn = created(insert(&table, &mut stock, &udp(before, before.reversed())));
        let other = table.clone();
        let thread = thread::spawn(move || {
            assert!(matches!(other.remove(&mut stock, conn), Removal::Removed(_)));
            created(insert(&other, &mut stock, &udp(after, after.reversed())))
        });
        let (slot, generation) = conn.numbers();
        for (direction, back) in [(Direction::Original, before.reversed()), (Direction::Reply, before)] {
            let found = table.resume_back(slot, generation as u16, direction);
            assert!(found.is_none_or(|found| found == back), "{direction:?}: {found:?}");
        }
        let next = thread.join().unwrap();
        assert_eq!(lives(&table, next)[0].0, lives(&table, next)[1].0);
    });
}

#[test]
fn a_change_that_comes_too_late_does_not_bring_a_connection_back() {
    check(|| {
        // The record alone: with the table around it there are too many interleavings.
        let record = Arc::new(Record::new());
        let (before, after) = (tuple(UDP, 1, 1), tuple(UDP, 2, 1));
        let opening = Opening::untracked(&before).expect("UDP may open");
        let generation = record.occupy(&before, &before.reversed(), &opening, 0, 1);
        let conn = super::ConnRef { slot: 0, generation };
        let other = record.clone();
        let thread = thread::spawn(move || {
            assert!(other.vacate(conn).is_some());
            other.occupy(&after, &after.reversed(), &opening, 0, 1)
        });
        let life = record.life();
        if life.is(conn) {
            record.change(life, life.with(State::Replied, Marks::REPLIED));
        }
        let found = record.back(conn, Direction::Original);
        assert!(found.is_none_or(|found| found == before.reversed()), "{found:?}");
        let next = thread.join().unwrap();
        let lives = [Direction::Original, Direction::Reply].map(|direction| record.life_seen_by(direction));
        assert_eq!((lives[0].0, lives[0].live()), (lives[1].0, Some(next)));
    });
}
