//! A global allocator that counts what each thread allocates, for tests that say "this allocates nothing", and for what something
//! takes in memory.
//!
//! Install it with `#[global_allocator]`; [`allocations`] is then the calling thread's count, [`balance`] the bytes that it has taken and
//! not given back, and [`watched`] the count of the threads whose names begin as [`watch`] was told. Counting costs two thread-local
//! additions.

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
    static BALANCE: Cell<i64> = const { Cell::new(0) };
    /// 0 not looked at yet, 1 watched, 2 not.
    static ROLE: Cell<u8> = const { Cell::new(0) };
}

/// Allocations and reallocations of the calling thread so far.
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// Bytes that the calling thread has allocated, less those that it has freed, be they its own or others': what is still there when
/// it alone allocates and frees.
pub fn balance() -> i64 {
    BALANCE.with(Cell::get)
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

fn weigh(bytes: i64) {
    let _ = BALANCE.try_with(|balance| balance.set(balance.get() + bytes));
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
        weigh(layout.size() as i64);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        weigh(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        weigh(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        weigh(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
