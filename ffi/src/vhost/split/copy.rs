//! Copies of short frames: a few wide moves in line, exactly as long as the frame, so that nothing that a buffer held before
//! gets to a guest.

use std::ptr::copy_nonoverlapping;

/// Copies `length` bytes.
///
/// # Safety
/// Both sides have `length` bytes and do not overlap. A guest may change its side meanwhile: its bytes are taken as they
/// come, none of them is read twice with the same meaning.
#[inline]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: all places lie within `length` bytes.
    unsafe {
        match length {
            32..=64 => ends::<32>(from, to, length),
            65..=128 => {
                chunk::<64>(from, to);
                ends::<32>(from.add(length - 64), to.add(length - 64), 64);
            }
            _ => copy_nonoverlapping(from, to, length),
        }
    }
}

/// The first and the last `N` bytes of `length`, which may overlap.
///
/// # Safety
/// As for [`copy`], and `length >= N`.
#[inline]
unsafe fn ends<const N: usize>(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: both pieces lie within `length` bytes.
    unsafe {
        chunk::<N>(from, to);
        chunk::<N>(from.add(length - N), to.add(length - N));
    }
}

/// # Safety
/// As for [`copy`], for `N` bytes.
#[inline]
unsafe fn chunk<const N: usize>(from: *const u8, to: *mut u8) {
    // SAFETY: `N` bytes on both sides, of any alignment.
    unsafe { to.cast::<[u8; N]>().write_unaligned(from.cast::<[u8; N]>().read_unaligned()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_so_many_bytes_are_copied() {
        let from: Vec<u8> = (0..2000_u32).map(|at| (at % 251 + 1) as u8).collect();
        for length in (0..300).chain([1514, 2000]) {
            let mut to = vec![0; 2100];
            // SAFETY: both are long enough, and two allocations.
            unsafe { copy(from.as_ptr(), to[50..].as_mut_ptr(), length) };
            assert_eq!(to[50..50 + length], from[..length]);
            assert!(to[..50].iter().chain(&to[50 + length..]).all(|&byte| byte == 0), "{length}");
        }
    }
}
