//! Ports are preserved, spread, used up to the last, and never given twice.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::*;
use crate::state::tuple::Parts;
use crate::state::{Limits, Opening, Size, Tuple, sctp};
use crate::wire::protocol::{ICMP, SCTP, UDP};
use proptest::prelude::*;

fn table(threads: usize) -> Table {
    Table::new(Size { capacity: 4096, threads, limits: Limits::NONE }, 9).expect("memory for a small table")
}

/// A connection of host `host` to the server, masqueraded.
fn masqueraded(host: u8, port: u16, protocol: u8) -> New {
    let (source_port, destination_port) = if protocol == ICMP { (port, 8 << 8) } else { (port, 53) };
    let original = Tuple::new(&Parts {
        zone: 0,
        protocol,
        source: [10, 0, 0, host].into(),
        destination: [192, 0, 2, 1].into(),
        source_port,
        destination_port,
    })
    .expect("one family");
    let reply = original.with_source([198, 51, 100, 1].into()).reversed();
    let opening = match protocol {
        SCTP => sctp::open(&init(), false),
        _ => Opening::untracked(&original),
    };
    New { original, reply, opening: opening.expect("it may open"), rule: 0, now: 5 }
}

/// An INIT that offers the tag 7.
fn init() -> sctp::Packet {
    let packet = [0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 7];
    sctp::Packet::read(&packet, 32).expect("it is sound")
}

/// The port or identifier that the connection is translated to.
fn port_of(table: &Table, conn: ConnRef) -> u16 {
    let connection = table.get(conn).expect("it is live");
    let sent = connection.path(crate::state::Direction::Original).1;
    assert_eq!(sent.source(), std::net::IpAddr::from([198, 51, 100, 1]));
    sent.source_port()
}

#[test]
fn a_free_port_is_preserved_and_a_taken_one_is_not() {
    for protocol in [UDP, SCTP, ICMP] {
        let (table, mut stock) = (table(1), Stock::default());
        let mut share = Share::new(DEFAULT_RANGE, 0, 2, 1);
        let mut ports = Vec::new();
        for host in 0..3 {
            let new = masqueraded(host, 40_000, protocol);
            let Ok(Translated::Created(conn)) = share.insert(&table, &mut stock, &new) else {
                panic!("refused")
            };
            ports.push(port_of(&table, conn));
        }
        assert_eq!(ports[0], 40_000);
        // Of the first worker of two: the lower half.
        assert!(ports[1..].iter().all(|port| (1024..33_280).contains(port)), "{ports:?}");
        // Another destination shares the port.
        let mut new = masqueraded(4, 40_000, protocol);
        new.original = new.original.with_destination([192, 0, 2, 2].into());
        new.reply = new.reply.with_source([192, 0, 2, 2].into());
        let Ok(Translated::Created(conn)) = share.insert(&table, &mut stock, &new) else { panic!("refused") };
        assert_eq!(port_of(&table, conn), 40_000);
    }
}

#[test]
fn all_ports_are_used_and_then_it_is_exhausted() {
    for (workers, worker) in [(1, 0), (3, 1), (64, 9)] {
        let (table, mut stock) = (table(1), Stock::default());
        let mut share = Share::new(5000..=5099, worker, workers, 77);
        let mut ports = HashSet::new();
        for host in 0..100 {
            let new = masqueraded(host, 7, UDP);
            let Ok(Translated::Created(conn)) = share.insert(&table, &mut stock, &new) else {
                panic!("refused")
            };
            assert!(ports.insert(port_of(&table, conn)));
        }
        assert_eq!(ports, (5000..5100).collect());
        let refused = share.insert(&table, &mut stock, &masqueraded(100, 7, UDP));
        assert_eq!(refused, Err(Refused::Exhausted));
        assert_eq!(table.count().0, 100);
    }
}

#[test]
fn without_ports_one_connection_is_all() {
    let (table, mut stock) = (table(1), Stock::default());
    let mut share = Share::new(DEFAULT_RANGE, 0, 1, 3);
    let gre = |host| {
        let mut new = masqueraded(host, 0, 47);
        new.original = new.original.with_destination_port(0);
        new.reply = new.reply.with_source_port(0);
        new
    };
    assert!(matches!(share.insert(&table, &mut stock, &gre(1)), Ok(Translated::Created(_))));
    assert_eq!(share.insert(&table, &mut stock, &gre(2)), Err(Refused::Exhausted));
}

#[test]
fn workers_at_once_never_get_the_same_port() {
    const WORKERS: usize = 4;
    let table = table(WORKERS);
    let made = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (table, made) = (&table, &made);
            scope.spawn(move || {
                // So few ports that each meets the others all the time.
                let mut share = Share::new(2000..=2299, worker, WORKERS, worker as u64);
                let mut stock = Stock::default();
                for number in 0..300_u16 {
                    let new = masqueraded(worker as u8, 10_000 + number, UDP);
                    let result = loop {
                        match share.insert(table, &mut stock, &new) {
                            Err(Refused::Busy) => std::thread::yield_now(),
                            result => break result,
                        }
                    };
                    match result {
                        Ok(Translated::Created(conn)) => {
                            let other = made.lock().unwrap().insert(port_of(table, conn), (worker, number));
                            assert_eq!(other, None);
                        }
                        Err(Refused::Exhausted) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    let made = made.into_inner().unwrap();
    assert_eq!((made.len(), table.count().0), (300, 300));
}

proptest! {
    #[test]
    fn candidates_are_in_the_range_and_every_own_port_is_one(
        start: u16, len in 0_u16..600, workers in 1_usize..9, worker in 0_usize..8, preserved: u16, random: u64,
    ) {
        let worker = worker % workers;
        let range = start..=start.saturating_add(len);
        let candidates: Vec<u16> = Share::new(range.clone(), worker, workers, random).candidates(preserved).collect();
        prop_assert!(candidates.iter().all(|port| range.contains(port)));
        prop_assert!(!range.contains(&preserved) || candidates[0] == preserved);
        prop_assert!(candidates.len() <= 1 + 2 * TRIES as usize);
        if range.len() <= TRIES as usize {
            let all: HashSet<u16> = candidates.into_iter().collect();
            prop_assert_eq!(all.len(), range.len());
        }
    }

    #[test]
    fn shares_are_the_whole_range_and_none_is_in_two(start: u16, len in 0_u16..600, workers in 1_usize..9) {
        let range = start..=start.saturating_add(len);
        let mut ports = Vec::new();
        for worker in 0..workers {
            let share = Share::new(range.clone(), worker, workers, 1);
            ports.extend((0..share.own).map(|port| share.first + (share.own_first + port) as u16));
        }
        prop_assert_eq!(ports, range.collect::<Vec<_>>());
    }
}
