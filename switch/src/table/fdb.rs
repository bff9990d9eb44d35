//! The forwarding database of one network: MAC address -> port, or peer of its tunnel.
//!
//! Open addressing with linear probing at a load of at most one half; a lookup is one multiplication and, nearly always,
//! one cache line. Tenants choose their addresses, so the place of an entry depends on numbers drawn for each table: nobody
//! can make entries collide. The table is immutable but for each entry's `last_seen`, which the workers write at most once a
//! second (relaxed, no read-modify-write) and the control thread reads to age entries.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::flow::hash::fold;
use crate::ids::PortId;
use crate::wire::ethernet::Mac;

/// Where a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Behind a port of the switch.
    Port(PortId),
    /// Behind the peer of that number, at the other end of the network's tunnel.
    Peer(u16),
}

impl Place {
    /// The port; `None` when the station is at another node.
    #[inline]
    pub const fn port(self) -> Option<PortId> {
        match self {
            Self::Port(port) => Some(port),
            Self::Peer(_) => None,
        }
    }
}

/// Key of an empty slot: the all-zero address, which no station may use and no builder accepts.
const EMPTY: u64 = 0;

/// What is known of one address.
#[derive(Debug)]
pub struct Entry {
    mac: Mac,
    place: Place,
    fixed: bool,
    /// Seconds on the workers' clock; unused for fixed entries.
    last_seen: AtomicU32,
}

impl Entry {
    /// The address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Where it is.
    #[inline]
    pub fn place(&self) -> Place {
        self.place
    }

    /// True for an entry that configuration gave and traffic cannot move.
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// When traffic from the address was last seen, in seconds on the workers' clock.
    pub fn last_seen(&self) -> u32 {
        self.last_seen.load(Ordering::Relaxed)
    }

    /// Notes that the address is alive at second `now`; writes only when the second has changed.
    #[inline]
    pub fn touch(&self, now: u32) {
        if self.last_seen.load(Ordering::Relaxed) != now {
            self.last_seen.store(now, Ordering::Relaxed);
        }
    }
}

/// One row given to [`Fdb::build`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The address; rows with a group or zero address are left out.
    pub mac: Mac,
    /// Where it is.
    pub place: Place,
    /// Given by configuration.
    pub fixed: bool,
    /// Seconds on the workers' clock.
    pub last_seen: u32,
}

/// An immutable forwarding database.
#[derive(Debug)]
pub struct Fdb {
    slots: Box<[Entry]>,
    shift: u32,
    seed: [u64; 2],
    len: usize,
}

impl Fdb {
    /// Builds the table; of rows with the same address the first wins.
    pub fn build(rows: impl ExactSizeIterator<Item = Row>) -> Self {
        let capacity = (rows.len() * 2).next_power_of_two().max(16);
        let empty = || Entry { mac: Mac(EMPTY), place: NOWHERE, fixed: false, last_seen: AtomicU32::new(0) };
        // The standard library draws its own keys at random; these are two numbers of them.
        let keys = RandomState::new();
        let mut table = Self {
            slots: std::iter::repeat_with(empty).take(capacity).collect(),
            shift: 64 - capacity.trailing_zeros(),
            seed: [keys.hash_one(0), keys.hash_one(1) | 1],
            len: 0,
        };
        for row in rows.filter(|row| row.mac.0 != EMPTY && !row.mac.is_group()) {
            let mut index = table.home(row.mac);
            while table.slots[index].mac.0 != EMPTY && table.slots[index].mac != row.mac {
                index = (index + 1) & (capacity - 1);
            }
            if table.slots[index].mac.0 == EMPTY {
                let last_seen = AtomicU32::new(row.last_seen);
                table.slots[index] = Entry { mac: row.mac, place: row.place, fixed: row.fixed, last_seen };
                table.len += 1;
            }
        }
        table
    }

    #[inline]
    fn home(&self, mac: Mac) -> usize {
        (fold(mac.0 ^ self.seed[0], self.seed[1]) >> self.shift) as usize
    }

    /// The entry of `mac`.
    #[inline]
    pub fn get(&self, mac: Mac) -> Option<&Entry> {
        if mac.0 == EMPTY {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut index = self.home(mac);
        // Ends: at least half of the slots are empty.
        loop {
            let entry = &self.slots[index & mask];
            if entry.mac == mac {
                return Some(entry);
            }
            if entry.mac.0 == EMPTY {
                return None;
            }
            index += 1;
        }
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter(|entry| entry.mac.0 != EMPTY)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Placeholder of empty slots; never returned.
const NOWHERE: Place = Place::Peer(0);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn agrees_with_a_map(rows in prop::collection::vec((0_u64..200, 0_usize..8), 0..300), asked in prop::collection::vec(0_u64..400, 50)) {
            // Few distinct addresses, so that there are duplicates; even first bytes, so that none is a group address.
            let rows: Vec<Row> = rows
                .iter()
                .map(|&(mac, port)| Row { mac: Mac(mac << 1), place: Place::Port(PortId::new(port).unwrap()), fixed: false, last_seen: 7 })
                .collect();
            let table = Fdb::build(rows.iter().copied());
            let mut model = HashMap::new();
            for row in rows.iter().filter(|row| row.mac.0 != 0 && !row.mac.is_group()) {
                model.entry(row.mac).or_insert(row.place);
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.iter().count(), model.len());
            for mac in asked {
                prop_assert_eq!(table.get(Mac(mac << 1)).map(Entry::place), model.get(&Mac(mac << 1)).copied());
            }
        }
    }

    /// Addresses that would share one place, were it not for the seed.
    #[test]
    fn nobody_can_make_entries_collide() {
        let collide = |mac: &u64| mac.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52 == 0;
        let place = Place::Port(PortId::new(0).unwrap());
        let macs = (1_u64..).map(|number| number << 1).filter(|mac| *mac & 1 << 40 == 0 && collide(mac));
        let rows: Vec<Row> =
            macs.take(2_000).map(|mac| Row { mac: Mac(mac), place, fixed: false, last_seen: 0 }).collect();
        let table = Fdb::build(rows.iter().copied());
        let mask = table.slots.len() - 1;
        let away = |(index, entry): (usize, &Entry)| index.wrapping_sub(table.home(entry.mac)) & mask;
        let used = table.slots.iter().enumerate().filter(|(_, entry)| entry.mac.0 != EMPTY);
        assert_eq!(table.len(), 2_000);
        assert!(used.map(away).max().unwrap() < 200);
    }
}
