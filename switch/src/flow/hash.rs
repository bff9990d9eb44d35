//! Hash of a flow key: folded multiplication over its eight words, seeded at start.
//!
//! The seed makes it hard for a tenant to aim many flows at one bucket. It would not help him much: a flow that finds no
//! room walks the slow path, at a bounded cost, and disturbs nobody else's place for long (see [`super::cache`]).
//! Cost: four multiplications that run side by side.

use super::key::FlowKey;

/// The seed of one cache.
#[derive(Clone, Copy, Debug)]
pub struct Seed([u64; 8]);

impl Seed {
    /// A seed spread from one number.
    pub fn new(number: u64) -> Self {
        Self(spread(number))
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        let words = key.words();
        let pair = |first: usize| fold(words[first] ^ self.0[first], words[first + 1] ^ self.0[first + 1]);
        fold(pair(0) ^ pair(4).rotate_left(17), (pair(2) ^ pair(6).rotate_left(17)) | 1)
    }
}

/// Words without visible order, made of one number (splitmix64): the seed of a hash.
pub(crate) fn spread<const WORDS: usize>(number: u64) -> [u64; WORDS] {
    let mut state = number;
    std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    })
}

/// High and low half of the product, mixed: every bit of both factors goes into every bit of the result.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PortId;
    use crate::wire::ethernet::Mac;

    #[test]
    fn similar_keys_spread_over_the_buckets() {
        let seed = Seed::new(7);
        let mut buckets = [0_u32; 1024];
        for flow in 0..65_536_u32 {
            let mut key = FlowKey::ethernet(
                PortId::new(1).unwrap(),
                Mac(0xfe00_0000_0002),
                Mac(0x0100_0000_0002),
                0x0800,
            );
            key.set_ipv4(0x0a00_010a, 0x0a00_0200 + flow % 250);
            key.set_ports(1024 + (flow / 250) as u16, 5000);
            buckets[(seed.hash(&key) & 1023) as usize] += 1;
        }
        // 64 expected, standard deviation 8: six of them either way.
        assert!(buckets.iter().all(|count| (16..=112).contains(count)), "{buckets:?}");
    }
}
