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

/// A word that threads meet at: one that some of them change by compare-and-swap.
#[cfg(not(feature = "loom"))]
pub(super) type Word = AtomicU64;
#[cfg(feature = "loom")]
pub(super) use word::Word;

#[cfg(feature = "loom")]
mod word {
    //! Loom looks for conflicts with the last access to a word only, so a thread's own load hides from it that its
    //! compare-and-swap right after conflicts with what another thread loaded before: it would leave those
    //! interleavings out. Hence each access is also one to a word that they all have in common, which orders nothing.

    use super::{AtomicU64, Ordering};

    loom::lazy_static! {
        static ref MEETING: AtomicU64 = AtomicU64::new(0);
    }

    #[derive(Debug)]
    pub(in super::super) struct Word(AtomicU64);

    impl Word {
        pub(in super::super) fn new(value: u64) -> Self {
            Self(AtomicU64::new(value))
        }

        fn meet(&self) -> &AtomicU64 {
            MEETING.fetch_add(1, Ordering::Relaxed);
            &self.0
        }

        pub(in super::super) fn load(&self, order: Ordering) -> u64 {
            self.meet().load(order)
        }

        pub(in super::super) fn store(&self, value: u64, order: Ordering) {
            self.meet().store(value, order);
        }

        pub(in super::super) fn swap(&self, value: u64, order: Ordering) -> u64 {
            self.meet().swap(value, order)
        }

        pub(in super::super) fn compare_exchange(
            &self,
            old: u64,
            new: u64,
            done: Ordering,
            failed: Ordering,
        ) -> Result<u64, u64> {
            self.meet().compare_exchange(old, new, done, failed)
        }

        pub(in super::super) fn compare_exchange_weak(
            &self,
            old: u64,
            new: u64,
            done: Ordering,
            failed: Ordering,
        ) -> Result<u64, u64> {
            self.compare_exchange(old, new, done, failed)
        }
    }
}
