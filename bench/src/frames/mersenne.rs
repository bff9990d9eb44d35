//! The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), seeded and used as Python's `random` does, so that files are
//! the same whichever language made them.

const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// The generator.
pub(super) struct Mersenne {
    state: [u32; WORDS],
    next: usize,
}

impl Mersenne {
    /// As `random.Random(seed)`: the seed is a key of one word.
    pub(super) fn seeded(seed: u32) -> Self {
        let mut s = [0_u32; WORDS];
        s[0] = 19_650_218;
        let mix = |s: &[u32; WORDS], i: usize, by: u32| (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(by);
        for i in 1..WORDS {
            s[i] = mix(&s, i, 1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        let mut turn = |s: &mut [u32; WORDS], step: &dyn Fn(&[u32; WORDS], usize) -> u32| {
            s[i] = step(s, i);
            i += 1;
            if i == WORDS {
                s[0] = s[WORDS - 1];
                i = 1;
            }
        };
        for _ in 0..WORDS {
            turn(&mut s, &|s, i| (s[i] ^ mix(s, i, 1_664_525)).wrapping_add(seed));
        }
        for _ in 1..WORDS {
            turn(&mut s, &|s, i| (s[i] ^ mix(s, i, 1_566_083_941)).wrapping_sub(i as u32));
        }
        s[0] = 1 << 31;
        Self { state: s, next: WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let y = (self.state[i] & (1 << 31)) | (self.state[(i + 1) % WORDS] & !(1 << 31));
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + MIDDLE) % WORDS] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// A number below `limit`: as many bits as that has, drawn again until they fit.
    fn below(&mut self, limit: u32) -> u32 {
        let spare = limit.leading_zeros();
        loop {
            let drawn = self.word() >> spare;
            if drawn < limit {
                return drawn;
            }
        }
    }

    /// As `shuffle`.
    pub(super) fn shuffle(&mut self, items: &mut [u32]) {
        for i in (1..items.len()).rev() {
            let other = self.below(i as u32 + 1) as usize;
            items.swap(i, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mersenne;

    // What Python 3.11 prints for `random.Random(1)`.
    #[test]
    fn draws_and_shuffles_as_python_does() {
        let mut generator = Mersenne::seeded(1);
        assert_eq!(
            [generator.word(), generator.word(), generator.word()],
            [577_090_037, 2_444_712_010, 3_639_700_191]
        );
        let mut items: Vec<u32> = (0..10).collect();
        Mersenne::seeded(1).shuffle(&mut items);
        assert_eq!(items, [6, 8, 9, 7, 5, 3, 0, 4, 1, 2]);
    }
}
