//! Who is inside the vhost library: the protocol that lets a guest leave without pulling memory from under a worker.
//!
//! A worker enters before each burst call and leaves after it; the control side closes the line and waits until nobody
//! is inside. Each side first writes its own word and then reads the other's, with a full fence between (Dekker), so at
//! least one of them sees the other: either the worker finds the line closed, or the control side finds it inside and
//! waits. Cost for the worker: one locked exchange (about 20 cycles) per burst, nothing while no guest is attached.
//!
//! What a worker leaves at the gate says who it is and which of its visits this is, so that [`super::watch`] can tell a
//! worker that is stuck from one that comes often.
//!
//! `tests::loom` checks all interleavings (`scripts/ci.sh loom`).

#[cfg(loom)]
use loom::sync::atomic::{AtomicI32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering, fence};

const CLOSED: i32 = -1;

/// The device that workers may call the library with, or none.
#[derive(Debug)]
pub(super) struct Line(AtomicI32);

/// One worker's presence. One per queue object, because each of these has one user at a time (`&mut`).
/// 0: nobody; else the thread's number and, above it, the visit's.
#[derive(Debug)]
pub(super) struct Gate(AtomicU64);

/// Numbers the visits of a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Visits(u32);

/// Proof that the worker is inside: until it is dropped, `vid` names a living device.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    gate: &'a Gate,
    /// The device of the vhost library.
    pub(super) vid: i32,
}

impl Line {
    pub(super) fn new() -> Self {
        Self(AtomicI32::new(CLOSED))
    }

    /// Lets workers in. What was written before is visible to whoever enters.
    pub(super) fn open(&self, vid: i32) {
        self.0.store(vid, Ordering::Release);
    }

    /// True while workers may enter.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) != CLOSED
    }

    /// Lets nobody in from now on. Those inside are still inside: see [`Gate::wait_empty`].
    pub(super) fn close(&self) {
        self.0.store(CLOSED, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Goes inside, unless the line is closed.
    #[inline]
    pub(super) fn enter<'a>(&'a self, line: &Line, visits: &mut Visits) -> Option<Inside<'a>> {
        if !line.is_open() {
            return None;
        }
        visits.0 = visits.0.wrapping_add(1);
        self.announce(u64::from(this_thread()) | u64::from(visits.0) << 32);
        let vid = line.0.load(Ordering::Acquire);
        let inside = Inside { gate: self, vid };
        (vid != CLOSED).then_some(inside)
    }

    /// Store and full fence in one. Loom models fences, not the order of sequentially consistent accesses.
    #[inline]
    fn announce(&self, visit: u64) {
        #[cfg(not(loom))]
        self.0.swap(visit, Ordering::SeqCst);
        #[cfg(loom)]
        self.0.store(visit, Ordering::Relaxed);
        #[cfg(loom)]
        fence(Ordering::SeqCst);
        // On x86 the exchange is the fence; this only keeps the compiler from moving the load of the line up.
        #[cfg(not(loom))]
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    /// True while a worker is inside; call after [`Line::close`].
    pub(super) fn is_occupied(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// The visit that lasts, and whose it is.
    pub(super) fn visit(&self) -> Option<(u64, i32)> {
        let visit = self.0.load(Ordering::Relaxed);
        (visit != 0).then_some((visit, visit as u32 as i32))
    }

    /// Returns once nobody is inside; call after [`Line::close`]. A burst call takes microseconds, so spinning first
    /// is right; yielding afterwards lets a worker that shares our core finish.
    pub(super) fn wait_empty(&self) {
        let mut spins = 0_u32;
        while self.is_occupied() {
            spins = spins.saturating_add(1);
            if spins < 1000 {
                std::hint::spin_loop();
            } else {
                #[cfg(not(loom))]
                std::thread::yield_now();
                #[cfg(loom)]
                loom::thread::yield_now();
            }
        }
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.gate.0.store(0, Ordering::Release);
    }
}

/// The kernel's number of this thread; never 0.
#[cfg(not(loom))]
#[inline]
fn this_thread() -> u32 {
    use std::cell::Cell;
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(nix::unistd::gettid().as_raw().unsigned_abs());
        }
        number.get()
    })
}

#[cfg(loom)]
fn this_thread() -> u32 {
    1
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;

    struct Port {
        line: Line,
        gates: [Gate; 2],
        /// Stands for the memory of the device: freed after close and wait.
        alive: AtomicBool,
    }

    #[test]
    fn loom() {
        loom::model(|| {
            let port = Arc::new(Port {
                line: Line::new(),
                gates: [Gate::new(), Gate::new()],
                alive: AtomicBool::new(true),
            });
            port.line.open(7);
            let workers: Vec<_> = (0..2)
                .map(|index| {
                    let port = port.clone();
                    loom::thread::spawn(move || {
                        if let Some(inside) = port.gates[index].enter(&port.line, &mut Visits::default()) {
                            assert_eq!(inside.vid, 7);
                            assert!(port.alive.load(Ordering::Relaxed), "used after it was freed");
                        }
                    })
                })
                .collect();
            port.line.close();
            for gate in &port.gates {
                while gate.is_occupied() {
                    loom::thread::yield_now();
                }
            }
            port.alive.store(false, Ordering::Relaxed);
            for worker in workers {
                worker.join().unwrap();
            }
        });
    }
}
