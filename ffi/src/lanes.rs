//! Comparing eight 16-bit numbers at once (SSE2, and SSE4.1, which DPDK asks for, too).

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi16, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_minpos_epu16, _mm_movemask_epi8,
    _mm_packs_epi16, _mm_set1_epi16, _mm_setzero_si128, _mm_sub_epi16,
};

/// Where `wanted` is among `lanes`: the first place that has it, or `None`.
///
/// The compiler makes a loop over the lanes into some thirty instructions; this is five.
#[inline]
pub fn position(lanes: &[u16; 8], wanted: u16) -> Option<usize> {
    // SAFETY: reads the 16 bytes of `lanes`, at any alignment; SSE2 is part of the target.
    let mask = unsafe {
        let held = _mm_loadu_si128(lanes.as_ptr().cast::<__m128i>());
        _mm_movemask_epi8(_mm_cmpeq_epi16(held, _mm_set1_epi16(wanted.cast_signed())))
    };
    // Two bits for each lane.
    (mask != 0).then(|| mask.trailing_zeros() as usize / 2)
}

/// The lanes that hold `wanted`: bit 0 is the first.
#[inline]
pub fn matches(lanes: &[u16; 8], wanted: u16) -> u8 {
    // SAFETY: reads the 16 bytes of `lanes`, at any alignment; SSE2 is part of the target.
    let mask = unsafe {
        let held = _mm_loadu_si128(lanes.as_ptr().cast::<__m128i>());
        let equal = _mm_cmpeq_epi16(held, _mm_set1_epi16(wanted.cast_signed()));
        _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128()))
    };
    mask as u8
}

/// How far the lane that is farthest behind `now` is behind it, all counting modulo 2^16, and which one it is.
#[inline]
pub fn farthest_behind(lanes: &[u16; 8], now: u16) -> (u16, usize) {
    // SAFETY: reads the 16 bytes of `lanes`, at any alignment; SSE4.1 is part of the target.
    let found = unsafe {
        let held = _mm_loadu_si128(lanes.as_ptr().cast::<__m128i>());
        // There is an instruction for the smallest: of what is left to 2^16 - 1.
        let left = _mm_sub_epi16(held, _mm_set1_epi16(now.wrapping_add(1).cast_signed()));
        _mm_cvtsi128_si32(_mm_minpos_epu16(left)).cast_unsigned()
    };
    (!(found as u16), (found >> 16) as usize & 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_loop(lanes: [u16; 8], other: u16, at in 0_usize..8) {
            prop_assert_eq!(position(&lanes, other), lanes.iter().position(|lane| *lane == other));
            prop_assert_eq!(position(&lanes, lanes[at]), lanes.iter().position(|lane| *lane == lanes[at]));
        }

        #[test]
        fn matches_are_those_of_a_loop(few in prop::array::uniform8(0_u16..4), wanted in 0_u16..4) {
            let one = |at: usize| u8::from(few[at] == wanted) << at;
            prop_assert_eq!(matches(&few, wanted), (0..8).map(one).sum::<u8>());
        }

        #[test]
        fn the_farthest_behind_is_that_of_a_loop(lanes: [u16; 8], now: u16) {
            let behind = |at: usize| now.wrapping_sub(lanes[at]);
            let most = (0..8).map(behind).max().unwrap();
            let (found, at) = farthest_behind(&lanes, now);
            prop_assert_eq!((found, behind(at)), (most, most));
        }
    }
}
