//! Comparing eight 16-bit numbers at once (SSE2, which every x86-64 processor has).

use std::arch::x86_64::{__m128i, _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi16};

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
    }
}
