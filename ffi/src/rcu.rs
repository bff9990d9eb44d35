//! Publication of immutable snapshots: quiescent-state-based reclamation (QSBR) with a fixed set of readers.
//!
//! - Publishing is one pointer swap. A reader pays one load to get the snapshot and one store per loop iteration to say
//!   that it holds no reference any more ([`Reader::quiescent`]); there is no read-modify-write and no reference count.
//! - Retired snapshots are freed by the publisher, in [`Publisher::reclaim`], and never by a reader.
//! - A reader that sleeps goes offline ([`Reader::offline`]), so a sleeping worker delays nobody.
//!
//! Why it is right: the publisher swaps the pointer *before* it raises the epoch, so a reader that has seen epoch `e`
//! can only load the snapshot of `e` or a later one. A reader announces `e` with release order after its last use of an
//! older snapshot, and the publisher reads the announcement with acquire order before it frees. Going online again is
//! the one place where a store must not pass a later load (Dekker), hence its two sequentially consistent fences.
//! `tests::loom` checks the protocol in all interleavings (`scripts/ci.sh loom`).

#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU64, Ordering, fence},
};

use std::marker::PhantomData;

use crossbeam::utils::CachePadded;

/// What a reader announces while it holds nothing and promises to touch nothing.
const OFFLINE: u64 = u64::MAX;

struct Shared<T> {
    current: AtomicPtr<T>,
    /// Raised by one after each swap of `current`.
    epoch: CachePadded<AtomicU64>,
    /// The newest epoch each reader has announced, or [`OFFLINE`].
    seen: Box<[CachePadded<AtomicU64>]>,
    _owns: PhantomData<T>,
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        #[cfg(loom)]
        let current = self.current.load(Ordering::Relaxed);
        #[cfg(not(loom))]
        let current = *self.current.get_mut();
        // SAFETY: publisher and readers are gone (this is the last Arc), so nobody refers to the snapshot; it came
        // from `Box::into_raw`.
        drop(unsafe { Box::from_raw(current) });
    }
}

/// The only writer. Lives on the control thread.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    /// Snapshots not freed yet, with the epoch every reader must have seen first; oldest first.
    retired: Vec<(u64, Box<T>)>,
}

/// One reader. Lives on one worker; `&mut` makes sure that no snapshot reference outlives a quiescent point.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    index: usize,
}

/// A publisher of `first` (epoch 0) and `readers` readers, all online.
pub fn channel<T: Send + Sync>(first: Box<T>, readers: usize) -> (Publisher<T>, Vec<Reader<T>>) {
    let seen = (0..readers).map(|_| CachePadded::new(AtomicU64::new(0))).collect();
    let shared = Arc::new(Shared {
        current: AtomicPtr::new(Box::into_raw(first)),
        epoch: CachePadded::new(AtomicU64::new(0)),
        seen,
        _owns: PhantomData,
    });
    let readers = (0..readers).map(|index| Reader { shared: shared.clone(), index }).collect();
    (Publisher { shared, retired: Vec::new() }, readers)
}

// SAFETY: the publisher owns boxed snapshots and shares `T` with readers on other threads.
unsafe impl<T: Send + Sync> Send for Publisher<T> {}
// SAFETY: a reader hands out `&T` on its thread and never frees one while another reader exists.
unsafe impl<T: Send + Sync> Send for Reader<T> {}

impl<T: Send + Sync> Publisher<T> {
    /// Makes `next` the snapshot that readers get from now on; returns its epoch. Wait-free.
    pub fn publish(&mut self, next: Box<T>) -> u64 {
        let old = self.shared.current.swap(Box::into_raw(next), Ordering::AcqRel);
        let epoch = self.shared.epoch.load(Ordering::Relaxed) + 1;
        self.shared.epoch.store(epoch, Ordering::Release);
        // SAFETY: `old` came from `Box::into_raw` and left `current` just now; readers may still look at it, so it is
        // only kept here until `reclaim` has seen them all pass.
        self.retired.push((epoch, unsafe { Box::from_raw(old) }));
        // Pairs with the fence in `Reader::online`: a reader that we find offline below sees the new pointer.
        fence(Ordering::SeqCst);
        epoch
    }

    /// The newest epoch published.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Relaxed)
    }

    /// True when no reader can still use a snapshot older than `epoch`.
    pub fn passed(&self, epoch: u64) -> bool {
        self.slowest() >= epoch
    }

    /// The newest epoch reader `index` has announced; `None` while it is offline.
    pub fn seen(&self, index: usize) -> Option<u64> {
        let seen = self.shared.seen[index].load(Ordering::Acquire);
        (seen != OFFLINE).then_some(seen)
    }

    /// Frees every retired snapshot that no reader can still use; returns how many are still waiting.
    pub fn reclaim(&mut self) -> usize {
        let slowest = self.slowest();
        let free = self.retired.iter().take_while(|(epoch, _)| *epoch <= slowest).count();
        self.retired.drain(..free);
        self.retired.len()
    }

    /// The snapshot published last.
    pub fn current(&self) -> &T {
        // SAFETY: only `publish` replaces the pointer, it needs `&mut self`, and `current` is never freed before.
        unsafe { &*self.shared.current.load(Ordering::Relaxed) }
    }

    fn slowest(&self) -> u64 {
        self.shared.seen.iter().map(|seen| seen.load(Ordering::Acquire)).min().unwrap_or(OFFLINE)
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        // Readers may still be looking: leak rather than free under them. A daemon joins its workers first, and then
        // every reader is offline.
        let slowest =
            self.shared.seen.iter().map(|seen| seen.load(Ordering::Acquire)).min().unwrap_or(OFFLINE);
        for (epoch, snapshot) in self.retired.drain(..) {
            if epoch > slowest {
                std::mem::forget(snapshot);
            }
        }
    }
}

impl<T: Send + Sync> Reader<T> {
    /// The newest snapshot. The borrow ends before the next [`Reader::quiescent`].
    #[inline]
    pub fn get(&self) -> &T {
        // SAFETY: the pointer is valid when loaded, and the publisher does not free it until this reader announces a
        // later epoch or goes offline, both of which need `&mut self` and thus the end of this borrow.
        unsafe { &*self.shared.current.load(Ordering::Acquire) }
    }

    /// Announces that no reference is held; returns the epoch from now on in force. Once per loop iteration.
    #[inline]
    pub fn quiescent(&mut self) -> u64 {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        self.shared.seen[self.index].store(epoch, Ordering::Release);
        epoch
    }

    /// The newest epoch published, for a sleeper that wants to know whether it must wake.
    #[inline]
    pub fn newest(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    /// Runs `sleep` offline: the publisher does not wait for this reader meanwhile.
    pub fn offline<R>(&mut self, sleep: impl FnOnce() -> R) -> R {
        self.shared.seen[self.index].store(OFFLINE, Ordering::Release);
        let result = sleep();
        self.online();
        result
    }

    fn online(&mut self) {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        // Release: the publisher may free by this announcement alone what we read before we slept.
        self.shared.seen[self.index].store(epoch, Ordering::Release);
        // And it must be visible before the next load of the pointer; pairs with the fence in `publish`.
        fence(Ordering::SeqCst);
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.shared.seen[self.index].store(OFFLINE, Ordering::Release);
    }
}

impl<T> std::fmt::Debug for Publisher<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Publisher({} retired)", self.retired.len())
    }
}

impl<T> std::fmt::Debug for Reader<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Reader({})", self.index)
    }
}

#[cfg(all(test, loom))]
mod tests {
    //! A snapshot whose drop writes to a loom cell: loom reports a read that races with the drop.
    use super::*;
    use loom::cell::UnsafeCell;

    struct Snapshot(UnsafeCell<u64>);

    impl Snapshot {
        fn boxed(value: u64) -> Box<Self> {
            Box::new(Self(UnsafeCell::new(value)))
        }

        fn read(&self) -> u64 {
            // SAFETY: loom checks exactly this: no write may run at the same time.
            self.0.with(|value| unsafe { *value })
        }
    }

    impl Drop for Snapshot {
        fn drop(&mut self) {
            // SAFETY: as above, loom panics when a reader is still inside.
            self.0.with_mut(|value| unsafe { *value = u64::MAX });
        }
    }

    // SAFETY: the point of the test is to let loom find out.
    unsafe impl Sync for Snapshot {}
    // SAFETY: as above.
    unsafe impl Send for Snapshot {}

    #[test]
    fn readers_never_see_a_freed_snapshot() {
        loom::model(|| {
            let (mut publisher, mut readers) = channel(Snapshot::boxed(0), 1);
            let mut reader = readers.remove(0);
            let thread = loom::thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let seen = reader.get().read();
                    assert!(seen >= last && seen != u64::MAX);
                    last = seen;
                    reader.quiescent();
                }
            });
            publisher.publish(Snapshot::boxed(1));
            publisher.reclaim();
            publisher.publish(Snapshot::boxed(2));
            publisher.reclaim();
            thread.join().unwrap();
            assert_eq!(publisher.reclaim(), 0);
        });
    }

    #[test]
    fn a_reader_that_wakes_gets_a_live_snapshot() {
        loom::model(|| {
            let (mut publisher, mut readers) = channel(Snapshot::boxed(0), 1);
            let mut reader = readers.remove(0);
            let thread = loom::thread::spawn(move || {
                reader.offline(|| ());
                assert_ne!(reader.get().read(), u64::MAX);
                reader.offline(|| ());
                assert_ne!(reader.get().read(), u64::MAX);
            });
            publisher.publish(Snapshot::boxed(1));
            publisher.reclaim();
            thread.join().unwrap();
        });
    }

    #[test]
    fn an_acknowledged_publication_is_in_force() {
        loom::model(|| {
            let (mut publisher, mut readers) = channel(Snapshot::boxed(0), 1);
            let mut reader = readers.remove(0);
            let thread = loom::thread::spawn(move || {
                let epoch = reader.quiescent();
                let seen = reader.get().read();
                assert!(seen >= epoch, "announced {epoch} but read {seen}");
            });
            publisher.publish(Snapshot::boxed(1));
            thread.join().unwrap();
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn retired_snapshots_wait_for_the_slowest_reader() {
        let (mut publisher, mut readers) = channel(Box::new(0_u32), 2);
        let epoch = publisher.publish(Box::new(1));
        assert!(!publisher.passed(epoch));
        readers[0].quiescent();
        assert_eq!(publisher.reclaim(), 1);
        readers[1].quiescent();
        assert!(publisher.passed(epoch));
        assert_eq!(publisher.reclaim(), 0);
        assert_eq!(*readers[1].get(), 1);
    }

    #[test]
    fn a_sleeping_or_gone_reader_delays_nobody() {
        let (mut publisher, mut readers) = channel(Box::new(0_u32), 2);
        drop(readers.pop());
        readers[0].offline(|| {
            let epoch = publisher.publish(Box::new(1));
            assert!(publisher.passed(epoch));
            assert_eq!(publisher.reclaim(), 0);
        });
        assert_eq!(*readers[0].get(), 1);
    }
}
