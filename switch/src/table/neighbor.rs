//! The neighbours of one network: IP address -> MAC address, for packets that are routed into the network and for those of
//! an L3 port, which have no Ethernet header of their own.
//!
//! Open addressing as in [`super::fdb`], two rows to a cache line; a lookup is two multiplications and, nearly always, one
//! line. Tenants choose their addresses, so the place of a row depends on a number drawn for each table: nobody can make
//! rows collide. The table is immutable but for each row's `last_seen`, which workers write at most once a second.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::flow::hash::fold;
use crate::wire::ethernet::Mac;

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The MAC address.
    pub mac: Mac,
    /// The switch itself answers for it: it is the address of a gateway or of an L3 port.
    pub own: bool,
    /// Given by configuration: traffic cannot change it and it does not age. True of all own ones.
    pub fixed: bool,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The address.
    pub address: IpAddr,
    /// What is known of it.
    pub neighbor: Neighbor,
    /// When it was last confirmed by ARP or ND, in seconds on the workers' clock; unused for fixed rows.
    pub last_seen: u32,
}

/// Half a cache line, so that no row lies in two.
#[derive(Debug)]
#[repr(C, align(32))]
struct Slot {
    /// The address as a number, IPv4 in the low 32 bits of `low`.
    high: u64,
    low: u64,
    /// MAC address in the low 48 bits, [`USED`] and the other marks above.
    word: u64,
    last_seen: AtomicU32,
}

const USED: u64 = 1 << 48;
const V6: u64 = 1 << 49;
const OWN: u64 = 1 << 50;
const FIXED: u64 = 1 << 51;
const MAC: u64 = USED - 1;

/// An address as the table has it: number and family mark.
#[inline]
fn key(address: IpAddr) -> (u64, u64, u64) {
    match address {
        IpAddr::V4(address) => (0, u64::from(address.to_bits()), USED),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            ((bits >> 64) as u64, bits as u64, USED | V6)
        }
    }
}

impl Slot {
    #[inline]
    fn is(&self, (high, low, marks): (u64, u64, u64)) -> bool {
        self.high == high && self.low == low && self.word & (USED | V6) == marks
    }

    fn address(&self) -> IpAddr {
        match self.word & V6 {
            0 => Ipv4Addr::from_bits(self.low as u32).into(),
            _ => Ipv6Addr::from_bits(u128::from(self.high) << 64 | u128::from(self.low)).into(),
        }
    }

    #[inline]
    fn neighbor(&self) -> Neighbor {
        Neighbor { mac: Mac(self.word & MAC), own: self.word & OWN != 0, fixed: self.word & FIXED != 0 }
    }
}

/// An immutable neighbour table.
#[derive(Debug)]
pub struct NeighborTable {
    slots: Box<[Slot]>,
    shift: u32,
    seed: u64,
    len: usize,
}

impl Default for NeighborTable {
    fn default() -> Self {
        Self::build([].into_iter())
    }
}

impl NeighborTable {
    /// Builds the table; of rows with the same address the first wins.
    pub fn build(rows: impl ExactSizeIterator<Item = Row>) -> Self {
        let capacity = (rows.len() * 2).next_power_of_two().max(16);
        let empty = || Slot { high: 0, low: 0, word: 0, last_seen: AtomicU32::new(0) };
        let mut table = Self {
            slots: std::iter::repeat_with(empty).take(capacity).collect(),
            shift: 64 - capacity.trailing_zeros(),
            // The standard library draws its own keys at random; this is one number of them.
            seed: RandomState::new().hash_one(capacity),
            len: 0,
        };
        for row in rows {
            let key = key(row.address);
            let mut index = table.home(key);
            while table.slots[index].word != 0 && !table.slots[index].is(key) {
                index = (index + 1) & (capacity - 1);
            }
            if table.slots[index].word == 0 {
                let Neighbor { mac, own, fixed } = row.neighbor;
                let marks = key.2 | if own { OWN } else { 0 } | if own || fixed { FIXED } else { 0 };
                let word = mac.0 & MAC | marks;
                let last_seen = AtomicU32::new(row.last_seen);
                table.slots[index] = Slot { high: key.0, low: key.1, word, last_seen };
                table.len += 1;
            }
        }
        table
    }

    #[inline]
    fn home(&self, (high, low, _): (u64, u64, u64)) -> usize {
        // Odd factors keep one half from hiding the other.
        let mixed = fold(high ^ self.seed, 0x9e37_79b9_7f4a_7c15) ^ low;
        (fold(mixed ^ self.seed.rotate_left(32), 0xd6e8_feb8_6659_fd93) >> self.shift) as usize
    }

    #[inline]
    fn slot(&self, address: IpAddr) -> Option<&Slot> {
        let key = key(address);
        let mask = self.slots.len() - 1;
        let mut index = self.home(key);
        // Ends: at least half of the slots are empty.
        loop {
            let slot = &self.slots[index & mask];
            if slot.is(key) {
                return Some(slot);
            }
            if slot.word == 0 {
                return None;
            }
            index += 1;
        }
    }

    /// The neighbour with `address`.
    #[inline]
    pub fn get(&self, address: IpAddr) -> Option<Neighbor> {
        self.slot(address).map(Slot::neighbor)
    }

    /// Notes that ARP or ND confirmed the row of `address` in second `now`; writes only when the second has changed.
    #[inline]
    pub fn touch(&self, address: IpAddr, now: u32) {
        if let Some(slot) = self.slot(address)
            && slot.last_seen.load(Ordering::Relaxed) != now
        {
            slot.last_seen.store(now, Ordering::Relaxed);
        }
    }

    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Row> {
        self.slots.iter().filter(|slot| slot.word != 0).map(|slot| Row {
            address: slot.address(),
            neighbor: slot.neighbor(),
            last_seen: slot.last_seen.load(Ordering::Relaxed),
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Few distinct addresses, so that there are duplicates; IPv4 ones and the IPv6 ones with the same number.
    fn address() -> impl Strategy<Value = IpAddr> {
        (0_u32..100, 0_u8..3).prop_map(|(number, family)| match family {
            0 => Ipv4Addr::from_bits(number).into(),
            1 => Ipv6Addr::from_bits(number.into()).into(),
            _ => Ipv6Addr::from_bits(u128::from(number) << 64).into(),
        })
    }

    fn row() -> impl Strategy<Value = Row> {
        (address(), 0..=MAC, any::<bool>(), any::<bool>(), any::<u32>()).prop_map(
            |(address, mac, own, fixed, last_seen)| Row {
                address,
                neighbor: Neighbor { mac: Mac(mac), own, fixed: own || fixed },
                last_seen,
            },
        )
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(rows in prop::collection::vec(row(), 0..200), asked in prop::collection::vec(address(), 50)) {
            let table = NeighborTable::build(rows.iter().copied());
            let mut model: HashMap<IpAddr, Row> = HashMap::new();
            for row in rows {
                model.entry(row.address).or_insert(row);
            }
            prop_assert_eq!(table.len(), model.len());
            let listed: HashMap<IpAddr, Row> = table.iter().map(|row| (row.address, row)).collect();
            prop_assert_eq!(&listed, &model);
            for address in asked {
                prop_assert_eq!(table.get(address), model.get(&address).map(|row| row.neighbor));
            }
        }
    }

    #[test]
    fn a_confirmation_changes_one_row_only() {
        let row = |address: &str| Row {
            address: address.parse().unwrap(),
            neighbor: Neighbor { mac: Mac(2), own: false, fixed: false },
            last_seen: 1,
        };
        let table = NeighborTable::build([row("10.0.0.1"), row("::a00:1")].into_iter());
        table.touch("10.0.0.1".parse().unwrap(), 7);
        table.touch("10.0.0.9".parse().unwrap(), 7);
        let seen: HashMap<IpAddr, u32> = table.iter().map(|row| (row.address, row.last_seen)).collect();
        assert_eq!(seen, [("10.0.0.1".parse().unwrap(), 7), ("::a00:1".parse().unwrap(), 1)].into());
    }

    #[test]
    fn a_row_is_half_a_cache_line() {
        assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (32, 32));
    }
}
