//! Large tables of fixed size: one allocation, asked for in transparent huge pages, touched in full when it is made.
//!
//! A table of a million flows is some 130 MiB; in 4 KiB pages nearly every access would miss the TLB. The kernel gives
//! huge pages where it has them (`madvise(2)`, `MADV_HUGEPAGE`) and small ones where not; nothing else changes.

use std::alloc::{Layout, alloc, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Size and alignment of a huge page on x86-64.
const HUGE_PAGE: usize = 2 << 20;

/// A slice of `T` on the heap that never grows. Elements have no destructor: they are plain words or atomics.
pub struct Region<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a region owns its elements like a boxed slice.
unsafe impl<T: Send> Send for Region<T> {}
// SAFETY: as above; `&Region` gives out `&T` only.
unsafe impl<T: Sync> Sync for Region<T> {}

impl<T: Copy> Region<T> {
    /// `len` copies of `value`; every page is touched now, so that no later access faults. `None` when there is not so
    /// much memory.
    pub fn filled(len: usize, value: T) -> Option<Self> {
        Self::made(len, || value)
    }
}

impl<T> Region<T> {
    /// `len` elements, each what `make` makes: for atomics, which are not `Copy`. Otherwise as [`Region::filled`]. `T` may
    /// not need a destructor; that is checked when it is compiled.
    pub fn made(len: usize, mut make: impl FnMut() -> T) -> Option<Self> {
        const { assert!(!std::mem::needs_drop::<T>(), "nobody would drop the elements") };
        let Some(layout) = Self::layout(len)? else { return Some(Self { start: NonNull::dangling(), len }) };
        // SAFETY: the layout has a size above 0.
        let start = NonNull::new(unsafe { alloc(layout) })?.cast::<T>();
        if layout.align() == HUGE_PAGE {
            // SAFETY: advice about memory that was just allocated and belongs to nobody else. Its refusal costs speed only.
            unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        for index in 0..len {
            // SAFETY: `index < len`, inside the allocation; the old bytes are nobody's. Should `make` panic, the memory is
            // leaked, and elements have no destructor.
            unsafe { start.add(index).write(make()) };
        }
        Some(Self { start, len })
    }

    /// The layout of `len` elements: `None` when the size overflows, `Some(None)` when it is 0.
    #[expect(clippy::option_option, reason = "the two absences mean different things, and it is private")]
    fn layout(len: usize) -> Option<Option<Layout>> {
        let layout = Layout::array::<T>(len).ok()?;
        if layout.size() == 0 {
            return Some(None);
        }
        let align = if layout.size() >= HUGE_PAGE { HUGE_PAGE } else { layout.align().max(64) };
        Some(Some(layout.align_to(align).ok()?.pad_to_align()))
    }

    /// Asks the processor to fetch the cache line of element `index`; nothing when there is no such element.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        if let Some(element) = self.get(index) {
            crate::mbuf::prefetch(std::ptr::from_ref(element).cast());
        }
    }

    /// The same for cache line `line` of an element that starts one.
    #[inline]
    pub fn prefetch_line(&self, index: usize, line: usize) {
        if let Some(element) = self.get(index) {
            crate::mbuf::prefetch(std::ptr::from_ref(element).cast::<u8>().wrapping_add(64 * line));
        }
    }

    /// The same for an element of two cache lines.
    #[inline]
    pub fn prefetch_pair(&self, index: usize) {
        if let Some(element) = self.get(index) {
            let line = std::ptr::from_ref(element).cast::<u8>();
            crate::mbuf::prefetch(line);
            crate::mbuf::prefetch(line.wrapping_add(64));
        }
    }
}

impl<T> Drop for Region<T> {
    fn drop(&mut self) {
        if let Some(Some(layout)) = Self::layout(self.len) {
            // SAFETY: allocated in `filled` with this very layout, freed once.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

impl<T> Deref for Region<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were written in `filled`; the borrow of `self` covers them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Region<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> std::fmt::Debug for Region<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Region({} x {} bytes)", self.len, size_of::<T>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_there_and_aligned_at_every_size() {
        for len in [0, 1, 63, 4096, 70_000] {
            let mut region = Region::filled(len, [7_u64; 8]).unwrap();
            assert_eq!(region.len(), len);
            assert!(region.iter().all(|element| *element == [7; 8]));
            if let Some(last) = region.last_mut() {
                last[7] = 9;
            }
            region.prefetch(len);
            region.prefetch_pair(0);
            assert!(len == 0 || (region.as_ptr() as usize).is_multiple_of(64));
            assert_eq!(region.iter().flatten().filter(|word| **word == 9).count(), usize::from(len > 0));
        }
        assert!(Region::filled(usize::MAX / 4, 0_u64).is_none());
    }

    #[test]
    fn elements_need_not_be_copies() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let mut next = 0;
        let region = Region::made(1000, || {
            next += 1;
            AtomicU32::new(next)
        })
        .unwrap();
        region[7].store(5, Ordering::Relaxed);
        let sum: u32 = region.iter().map(|element| element.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 1000 * 1001 / 2 - 8 + 5);
    }
}
