//! The table against a naive one, and what is promised when it is full.

use std::collections::HashMap;

use super::*;
use crate::state::connection::State;
use crate::state::timeouts::{ByZone, Timeouts};
use crate::state::tuple::Parts;
use crate::wire::protocol::UDP;
use proptest::prelude::*;

fn table(capacity: usize, limits: Limits) -> Table {
    Table::new(Size { capacity, threads: 1, limits }, 0x5eed).expect("memory for a small table")
}

/// UDP from host `source`, port `port`, to the one server.
fn udp(source: u8, port: u16) -> Tuple {
    Tuple::new(&Parts {
        zone: 1,
        protocol: UDP,
        source: [10, 0, 0, source].into(),
        destination: [10, 0, 1, 1].into(),
        source_port: port,
        destination_port: 53,
    })
    .expect("one family")
}

fn new(original: Tuple, reply: Tuple, now: u32) -> New {
    New { original, reply, opening: Opening::untracked(&original).expect("UDP may open"), rule: 7, now }
}

/// What the table is compared with.
#[derive(Default)]
struct Model {
    tuples: HashMap<Tuple, (ConnRef, Direction)>,
    live: HashMap<ConnRef, (Tuple, Tuple)>,
}

impl Model {
    fn remove(&mut self, conn: ConnRef) -> bool {
        let Some((original, reply)) = self.live.remove(&conn) else {
            return false;
        };
        self.tuples.remove(&original);
        self.tuples.remove(&reply);
        true
    }
}

#[derive(Clone, Debug)]
enum Do {
    /// Host, port, and the port that it is translated to.
    Insert(u8, u16, Option<u16>),
    Remove(usize),
    /// Seconds that pass before a sweep.
    Sweep(u32),
}

fn step() -> impl Strategy<Value = Do> {
    prop_oneof![
        8 => (0_u8..4, 0_u16..12, prop::option::of(0_u16..12)).prop_map(|(host, port, to)| Do::Insert(host, port, to)),
        3 => any::<prop::sample::Index>().prop_map(|at| Do::Remove(at.index(64))),
        1 => (0_u32..40).prop_map(Do::Sweep),
    ]
}

proptest! {
    #[test]
    fn it_is_a_map_of_both_tuples(steps in prop::collection::vec(step(), 1..200)) {
        let (table, mut stock, mut model) = (table(64, Limits::NONE), Stock::default(), Model::default());
        let (mut refs, mut now) = (Vec::new(), 100);
        for step in steps {
            match step {
                Do::Insert(host, port, to) => {
                    let original = udp(host, port);
                    // All translated ones share one address.
                    let sent = to.map_or(original, |to| original.with_source([10, 9, 9, 9].into()).with_source_port(to));
                    let reply = sent.reversed();
                    let expected = (model.tuples.get(&original), model.tuples.contains_key(&reply));
                    match table.insert(&mut stock, &new(original, reply, now)) {
                        Insert::Created(conn) => {
                            prop_assert_eq!(expected, (None, false));
                            model.tuples.insert(original, (conn, Direction::Original));
                            model.tuples.insert(reply, (conn, Direction::Reply));
                            model.live.insert(conn, (original, reply));
                            refs.push((conn, now));
                        }
                        Insert::Exists(found) => {
                            prop_assert_eq!(expected.0, Some(&(found.conn, found.direction)));
                        }
                        Insert::Clash => prop_assert!(expected.0.is_none() && expected.1),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Do::Remove(at) => {
                    let Some((conn, _)) = refs.get(at % refs.len().max(1)).copied() else { continue };
                    let removed = matches!(table.remove(&mut stock, conn), Removal::Removed(_));
                    prop_assert_eq!(removed, model.remove(conn));
                }
                Do::Sweep(seconds) => {
                    now += seconds;
                    let mut from = Some(0);
                    while let Some(start) = from {
                        let swept = table.sweep(&mut stock, start, 50, now, &ByZone::default(), |last| {
                            assert!(model.remove(last.conn));
                        });
                        prop_assert_eq!(swept.busy, 0);
                        from = swept.next;
                    }
                    let young = |created: u32| now - created < Timeouts::default().udp;
                    prop_assert!(refs.iter().all(|(conn, created)| !model.live.contains_key(conn) || young(*created)));
                }
            }
        }
        for (tuple, (conn, direction)) in &model.tuples {
            prop_assert_eq!(table.lookup(tuple), Some(Found { conn: *conn, direction: *direction }));
        }
        for (conn, _) in refs {
            prop_assert_eq!(table.is_live(conn), model.live.contains_key(&conn));
            let copy = table.get(conn).map(|copy| (copy.original, copy.reply));
            prop_assert_eq!(copy, model.live.get(&conn).copied());
        }
        for (host, port) in (0..5).flat_map(|host| (0..13).map(move |port| (host, port))) {
            let tuple = udp(host, port);
            prop_assert_eq!(table.lookup(&tuple).is_some(), model.tuples.contains_key(&tuple));
        }
        prop_assert_eq!(table.count().0, model.live.len() as u64);
        let mut listed = Vec::with_capacity(1000);
        prop_assert_eq!(table.list(0, 1000, &mut listed), None);
        prop_assert_eq!(listed.len(), model.live.len());
        prop_assert!(listed.iter().all(|conn| model.live.contains_key(&conn.conn) && conn.rule == 7));
    }
}

#[test]
fn it_holds_what_it_is_made_for_and_refuses_the_rest() {
    const CAPACITY: usize = 20_000;
    let (table, mut stock) = (table(CAPACITY, Limits::NONE), Stock::default());
    let tuple = |number: usize| udp((number >> 16) as u8, number as u16);
    let mut refs = Vec::new();
    for number in 0..CAPACITY + 2 * CHAIN {
        let original = tuple(number);
        match table.insert(&mut stock, &new(original, original.reversed(), 1)) {
            Insert::Created(conn) => refs.push(conn),
            refused => panic!("{refused:?} at {number}"),
        }
    }
    let more = tuple(CAPACITY + 2 * CHAIN);
    assert_eq!(table.insert(&mut stock, &new(more, more.reversed(), 1)), Insert::Full);
    assert_eq!((table.free(), table.count().0 as usize), (0, refs.len()));
    // Those that are there live on, and one that goes makes room for another.
    for (number, conn) in refs.iter().enumerate() {
        assert_eq!(table.lookup(&tuple(number)).map(|found| found.conn), Some(*conn));
        let reply = table.lookup(&tuple(number).reversed());
        assert_eq!(reply, Some(Found { conn: *conn, direction: Direction::Reply }));
    }
    assert!(
        matches!(table.remove(&mut stock, refs[77]), Removal::Removed(last) if last.state == State::Unreplied)
    );
    assert_eq!(table.remove(&mut stock, refs[77]), Removal::Gone);
    let Insert::Created(conn) = table.insert(&mut stock, &new(more, more.reversed(), 1)) else {
        panic!("no room")
    };
    assert_eq!(conn.slot, refs[77].slot);
    assert!(table.is_live(conn) && !table.is_live(refs[77]));
    // Everything back: nothing is lost on the way.
    for conn in refs.iter().chain([&conn]) {
        table.remove(&mut stock, *conn);
    }
    table.return_stock(&mut stock);
    assert_eq!((table.free(), table.count()), (CAPACITY + 2 * CHAIN, (0, 0)));
}

#[test]
fn a_connection_takes_less_than_256_bytes() {
    let table = table(1_000_000, Limits::NONE);
    let each = table.bytes() as f64 / table.capacity() as f64;
    assert!(each <= 256.0, "{each}");
}

#[test]
fn what_answers_itself_is_one_entry() {
    let (table, mut stock) = (table(8, Limits::NONE), Stock::default());
    let tuple = udp(1, 53).with_source([10, 0, 1, 1].into());
    assert_eq!(tuple, tuple.reversed());
    let Insert::Created(conn) = table.insert(&mut stock, &new(tuple, tuple, 1)) else { panic!("no room") };
    assert_eq!(table.lookup(&tuple), Some(Found { conn, direction: Direction::Original }));
    assert!(matches!(table.remove(&mut stock, conn), Removal::Removed(_)));
    assert_eq!(table.lookup(&tuple), None);
}

#[test]
fn a_table_that_cannot_be_made_says_so() {
    let made = |capacity| Table::new(Size { capacity, threads: 1, limits: Limits::NONE }, 1).map(|_| ());
    assert_eq!(made(MAX_CAPACITY + 1), Err(NoTable::TooLarge(MAX_CAPACITY + 1)));
    assert_eq!(made(0), Ok(()));
}

/// Threads that enter, look up, touch, remove and sweep at once: each checks what is its own, and in the end nothing is left over.
#[test]
fn threads_at_once_keep_their_connections() {
    const THREADS: u8 = 4;
    let table = Table::new(Size { capacity: 2000, threads: 5, limits: Limits::NONE }, 11).unwrap();
    let all = table.free();
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (table, done) = (&table, &done);
            scope.spawn(move || {
                let mut stock = Stock::default();
                let mut random = u64::from(thread) + 1;
                let mut mine: HashMap<u16, Option<ConnRef>> = HashMap::new();
                for _ in 0..60_000 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let port = (random >> 20) as u16 % 400;
                    let original = udp(thread, port);
                    // All threads' connections go by one address: their replies differ in the port alone.
                    let sent = original
                        .with_source([10, 9, 9, 9].into())
                        .with_source_port(u16::from(thread) * 400 + port);
                    match mine.get(&port).copied().flatten() {
                        None => match table.insert(&mut stock, &new(original, sent.reversed(), 1)) {
                            Insert::Created(conn) => {
                                mine.insert(port, Some(conn));
                            }
                            Insert::Busy => {}
                            other => panic!("{other:?}"),
                        },
                        Some(conn) => {
                            let found = Some(Found { conn, direction: Direction::Original });
                            assert_eq!(table.lookup(&original), found);
                            assert_eq!(table.lookup(&sent.reversed()).map(|found| found.conn), Some(conn));
                            // Its reply tuple is taken, whoever asks.
                            let thief = table.insert(&mut stock, &new(udp(thread, 1000), sent.reversed(), 1));
                            assert!(matches!(thief, Insert::Clash | Insert::Busy), "{thief:?}");
                            match table.remove(&mut stock, conn) {
                                Removal::Removed(last) => {
                                    assert_eq!((last.original, last.reply), (original, sent.reversed()));
                                    mine.insert(port, None);
                                }
                                Removal::Busy => {}
                                Removal::Gone => panic!("somebody else removed it"),
                            }
                        }
                    }
                }
                for conn in mine.into_values().flatten() {
                    while table.remove(&mut stock, conn) == Removal::Busy {}
                }
                table.return_stock(&mut stock);
                done.fetch_add(1, std::sync::atomic::Ordering::Release);
            });
        }
        // The control thread: its sweep ends nothing here, its lists hold no connection of two tuples' halves.
        let mut stock = Stock::default();
        let mut rows = Vec::with_capacity(4096);
        while done.load(std::sync::atomic::Ordering::Acquire) < usize::from(THREADS) {
            rows.clear();
            table.list(0, usize::MAX, &mut rows);
            for row in &rows {
                let host = row.original.parts().source;
                let port = row.reply.destination_port();
                let std::net::IpAddr::V4(host) = host else { panic!("IPv4 only") };
                assert_eq!(u16::from(host.octets()[3]), port / 400, "{row:?}");
            }
            table.sweep(&mut stock, 0, usize::MAX, 1, &ByZone::default(), |last| panic!("{last:?}"));
        }
    });
    assert_eq!((table.free(), table.count()), (all, (0, 0)));
}
