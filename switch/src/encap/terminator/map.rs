//! A small immutable map of numbers: open addressing, seeded, at most half full.
//!
//! Who sends to us chooses the keys that are looked up, so the place of a row depends on a number drawn for each map.
//! Cost of a lookup: a multiplication and, nearly always, one line.

use std::hash::{BuildHasher, RandomState};

use crate::flow::hash::fold;

/// A key and its value. A value is never 0.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u128,
    value: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Map {
    slots: Box<[Slot]>,
    shift: u32,
    seed: u64,
}

impl Default for Map {
    fn default() -> Self {
        Self::build(&[])
    }
}

impl Map {
    /// Builds the map; of rows with the same key the first wins. Values are not 0.
    pub(super) fn build(rows: &[(u128, u64)]) -> Self {
        let capacity = (rows.len() * 2).next_power_of_two().max(4);
        let seed = RandomState::new().hash_one(capacity);
        let slots = vec![Slot::default(); capacity].into();
        let mut map = Self { slots, shift: 64 - capacity.trailing_zeros(), seed };
        for &(key, value) in rows {
            debug_assert_ne!(value, 0, "0 stands for an empty slot");
            let mut index = map.home(key);
            while map.slots[index].value != 0 && map.slots[index].key != key {
                index = (index + 1) & (capacity - 1);
            }
            if map.slots[index].value == 0 {
                map.slots[index] = Slot { key, value };
            }
        }
        map
    }

    #[inline(always)]
    fn home(&self, key: u128) -> usize {
        let low = fold(key as u64 ^ self.seed, 0x9e37_79b9_7f4a_7c15);
        // Keys of IPv4 tunnels have no high half: one multiplication then does, and the branch is always the same way.
        let mixed = match (key >> 64) as u64 {
            0 => low,
            high => fold(high ^ self.seed.rotate_left(32), 0xd6e8_feb8_6659_fd93) ^ low.rotate_left(29),
        };
        (mixed >> self.shift) as usize
    }

    /// The value of `key`; 0 when there is none.
    #[inline(always)]
    pub(super) fn get(&self, key: u128) -> u64 {
        let mask = self.slots.len() - 1;
        let mut index = self.home(key);
        // Ends: at least half of the slots are empty.
        while let Some(slot) = self.slots.get(index & mask) {
            if slot.value == 0 || slot.key == key {
                return slot.value;
            }
            index += 1;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn agrees_with_a_map(
            rows in prop::collection::vec(((0_u128..40, 0_u32..3), 1_u64..), 0..60),
            asked in prop::collection::vec((0_u128..50, 0_u32..3), 40),
        ) {
            let key = |(number, shift): (u128, u32)| number << (shift * 60);
            let rows: Vec<_> = rows.into_iter().map(|(at, value)| (key(at), value)).collect();
            let map = Map::build(&rows);
            let mut model = HashMap::new();
            for (key, value) in rows {
                model.entry(key).or_insert(value);
            }
            for at in asked {
                prop_assert_eq!(map.get(key(at)), model.get(&key(at)).copied().unwrap_or(0));
            }
        }
    }
}
