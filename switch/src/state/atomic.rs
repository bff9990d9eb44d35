//! The atomics of the connection table: the processor's, or loom's in its model checks (feature `loom`).

#[cfg(feature = "loom")]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(feature = "loom"))]
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A large array that never grows: in huge pages, or on the heap in model checks, whose atomics are no plain words.
#[cfg(not(feature = "loom"))]
pub(super) type Cells<T> = shunt_ffi::Region<T>;
#[cfg(feature = "loom")]
pub(super) type Cells<T> = Box<[T]>;

/// `len` cells; `None` when there is not so much memory.
#[cfg(not(feature = "loom"))]
pub(super) fn cells<T>(len: usize, make: impl FnMut() -> T) -> Option<Cells<T>> {
    shunt_ffi::Region::made(len, make)
}

/// `len` cells.
#[cfg(feature = "loom")]
pub(super) fn cells<T>(len: usize, mut make: impl FnMut() -> T) -> Option<Cells<T>> {
    Some((0..len).map(|_| make()).collect())
}

/// Lets another thread go on: a hint to the processor, a switch in a model check.
#[inline]
pub(super) fn pause() {
    #[cfg(feature = "loom")]
    loom::thread::yield_now();
    #[cfg(not(feature = "loom"))]
    std::hint::spin_loop();
}
