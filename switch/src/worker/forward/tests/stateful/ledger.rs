//! What must hold of a connection table as a whole, at any time.

use std::collections::{BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::model;
use super::places::{self, STATIONS, ZONE};
use crate::state::{Connection, Direction, Found, State, Table, Tuple};

/// No two connections have a tuple in common, each is found by both of its own, counts are right, and they are those of the
/// model.
pub(super) fn check(
    table: &Table,
    rows: &[Connection],
    open: &[model::Connection],
) -> Result<(), TestCaseError> {
    let mut tuples: HashSet<Tuple> = HashSet::new();
    let mut sources: HashMap<std::net::IpAddr, (Tuple, u32)> = HashMap::new();
    let mut half_open = 0;
    for row in rows {
        for (tuple, direction) in [(row.original, Direction::Original), (row.reply, Direction::Reply)] {
            prop_assert!(tuples.insert(tuple), "two connections have {:?}", tuple.parts());
            prop_assert_eq!(table.lookup(&tuple), Some(Found { conn: row.conn, direction }));
        }
        sources.entry(row.original.source()).or_insert((row.original, 0)).1 += 1;
        half_open += u32::from(matches!(
            row.state,
            State::SynSent
                | State::SynSent2
                | State::SynRecv
                | State::SctpCookieWait
                | State::SctpCookieEchoed
        ));
    }
    let all = rows.len() as u32;
    prop_assert_eq!(table.count(), (all.into(), half_open.into()));
    let zone = table.zone_count(ZONE);
    prop_assert_eq!((zone.connections, zone.half_open), (all, half_open));
    for (tuple, count) in sources.values() {
        prop_assert!(
            table.source_count(tuple).connections >= *count,
            "counted too low: {:?}",
            tuple.source()
        );
    }
    let held: BTreeSet<_> = rows.iter().map(|row| (key(&row.original), key(&row.reply))).collect();
    let meant: BTreeSet<_> =
        open.iter().map(|it| (key(&it.original.tuple()), key(&it.reply.tuple()))).collect();
    let of_model: Vec<_> = meant.difference(&held).collect();
    let of_table: Vec<_> = held.difference(&meant).collect();
    prop_assert!(
        of_model.is_empty() && of_table.is_empty(),
        "only in the model: {of_model:?}, only in the table: {of_table:?}"
    );
    Ok(())
}

fn key(tuple: &Tuple) -> (u8, std::net::IpAddr, u16, std::net::IpAddr, u16) {
    let parts = tuple.parts();
    (parts.protocol, parts.source, parts.source_port, parts.destination, parts.destination_port)
}

/// Nothing is counted any more.
pub(super) fn is_empty(table: &Table) -> Result<(), TestCaseError> {
    let mut counts = vec![table.zone_count(ZONE)];
    for station in 0..STATIONS {
        for v6 in [false, true] {
            let (from, to) = (places::address(station, v6), places::far(v6));
            let talk = super::frames::Talk { protocol: crate::wire::protocol::UDP, from, to, ports: (1, 1) };
            counts.push(table.source_count(&talk.tuple()));
        }
    }
    prop_assert_eq!(table.count(), (0, 0));
    prop_assert!(counts.iter().all(|count| (count.connections, count.half_open) == (0, 0)), "{counts:?}");
    Ok(())
}
