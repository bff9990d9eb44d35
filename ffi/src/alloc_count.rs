//! A global allocator that counts what each thread allocates, for tests that say "this allocates nothing".
//!
//! Install it with `#[global_allocator]`; [`allocations`] is then the calling thread's count, and [`watched`] that of the
//! threads whose names begin as [`watch`] was told. Counting costs a thread-local increment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The system's allocator with a counter in front.
#[derive(Debug, Default)]
pub struct CountingAllocator;

static WATCHING: AtomicBool = AtomicBool::new(false);
static WATCHED: AtomicU64 = AtomicU64::new(0);
static PREFIX: Mutex<&'static str> = Mutex::new("");

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// 0 not looked at yet, 1 watched, 2 not.
    static ROLE: Cell<u8> = const { Cell::new(0) };
}

/// Allocations and reallocations of the calling thread so far.
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// From now on counts the allocations of all threads whose name begins with `prefix`, together.
pub fn watch(prefix: &'static str) {
    *PREFIX.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = prefix;
    WATCHING.store(true, Ordering::SeqCst);
}

/// Allocations of the watched threads since [`watch`].
pub fn watched() -> u64 {
    WATCHED.load(Ordering::SeqCst)
}

fn note() {
    // A thread that is ending has no thread-locals any more, and allocates nothing that matters.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    if WATCHING.load(Ordering::Relaxed) && is_watched() {
        WATCHED.fetch_add(1, Ordering::SeqCst);
    }
}

/// Looks at the thread's name once, by the system call: asking Rust for it could allocate.
fn is_watched() -> bool {
    ROLE.try_with(|role| {
        if role.get() == 0 {
            role.set(2);
            let mut name = [0_u8; 16];
            // SAFETY: PR_GET_NAME writes at most 16 bytes, NUL included.
            unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
            let prefix = *PREFIX.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            role.set(if name.starts_with(prefix.as_bytes()) { 1 } else { 2 });
        }
        role.get() == 1
    })
    .unwrap_or(false)
}

// SAFETY: every request goes to the system's allocator unchanged; counting touches only atomics and thread-locals that
// need no allocation.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
