//! Counting live connections by kind, in slices and without stopping a worker, as [`Table::sweep`] goes.

use std::collections::HashMap;
use std::net::IpAddr;

use super::connection::{ConnRef, Connection};
use super::table::Table;
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Names of the kinds of protocol that are told apart.
pub const PROTOCOLS: [&str; 6] = ["tcp", "udp", "icmp", "icmpv6", "sctp", "other"];
/// Translated source addresses that are told apart; connections of more are counted together.
pub const ADDRESSES: usize = 64;

/// Connections of one kind of protocol each, by [`PROTOCOLS`].
pub type ByProtocol = [u64; PROTOCOLS.len()];

/// How many connections there are of which kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub all: ByProtocol,
    /// Those whose destination is translated: of services and floating addresses.
    pub destination: ByProtocol,
    /// Those whose source is translated, by the address that they leave with.
    pub sources: HashMap<IpAddr, ByProtocol>,
    /// Those of addresses beyond [`ADDRESSES`].
    pub other_sources: ByProtocol,
}

impl Tally {
    fn add(&mut self, connection: &Connection) {
        let kind = match connection.original.protocol() {
            TCP => 0,
            UDP => 1,
            ICMP => 2,
            ICMPV6 => 3,
            SCTP => 4,
            _ => 5,
        };
        self.all[kind] += 1;
        if connection.nat.destination {
            self.destination[kind] += 1;
        }
        if connection.nat.source {
            let address = connection.reply.destination();
            let room = self.sources.len() < ADDRESSES || self.sources.contains_key(&address);
            let of = if room { self.sources.entry(address).or_default() } else { &mut self.other_sources };
            of[kind] += 1;
        }
    }
}

impl Table {
    /// Adds the live connections of `budget` slots from `from` on to `tally`. Returns where to go on; `None` at the end.
    pub fn tally(&self, from: usize, budget: usize, tally: &mut Tally) -> Option<usize> {
        let end = self.records.len().min(from.saturating_add(budget));
        for slot in from..end {
            let Some(record) = self.records.get(slot) else { break };
            let Some(generation) = record.life().live() else { continue };
            let copy = record.copy(ConnRef { slot: slot as u32, generation });
            copy.iter().for_each(|connection| tally.add(connection));
        }
        (end < self.records.len()).then_some(end)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::state::tuple::Parts;
    use crate::state::{Insert, Limits, New, Opening, Size, Stock, Tuple};

    fn tuple(protocol: u8, host: u8) -> Tuple {
        let source = [10, 0, 0, host].into();
        let destination = [10, 1, 0, 1].into();
        let (source_port, destination_port) = if protocol == ICMP { (7, 8 << 8) } else { (1000, 53) };
        Tuple::new(&Parts { zone: 0, protocol, source, destination, source_port, destination_port }).unwrap()
    }

    fn insert(table: &Table, stock: &mut Stock, original: Tuple, sent: Tuple) {
        // An association begins with a chunk of its own; what it is counted as does not depend on that.
        let opening = Opening::untracked(&tuple(UDP, 1)).unwrap();
        let new = New { original, reply: sent.reversed(), opening, rule: 0, now: 1 };
        assert!(matches!(table.insert(stock, &new), Insert::Created(_)));
    }

    #[test]
    fn by_protocol_and_by_what_is_translated() {
        let table = Table::new(Size { capacity: 512, threads: 1, limits: Limits::NONE }, 4).unwrap();
        let mut stock = Stock::default();
        for host in 0..ADDRESSES as u8 + 3 {
            let original = tuple(UDP, host);
            insert(&table, &mut stock, original, original.with_source([192, 0, 2, host].into()));
        }
        let ping = tuple(ICMP, 1);
        insert(&table, &mut stock, ping, ping);
        let asked = tuple(SCTP, 2);
        insert(&table, &mut stock, asked, asked.with_destination([10, 9, 0, 1].into()));

        let (mut tally, mut from, mut slices) = (Tally::default(), Some(0), 0);
        while let Some(start) = from {
            from = table.tally(start, 100, &mut tally);
            slices += 1;
        }
        assert!(slices > 5);
        let udp = |count| [0, count, 0, 0, 0, 0];
        assert_eq!(tally.all, [0, ADDRESSES as u64 + 3, 1, 0, 1, 0]);
        assert_eq!(tally.destination, [0, 0, 0, 0, 1, 0]);
        assert_eq!((tally.sources.len(), tally.other_sources), (ADDRESSES, udp(3)));
        assert!(tally.sources.values().all(|of| *of == udp(1)));
    }
}
