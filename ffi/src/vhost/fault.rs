//! A guest that takes its memory away.
//!
//! Guest memory is a file that the front end shares with us. Unless the file is sealed, it can be made shorter at any time,
//! and the next access is a `SIGBUS`: one hostile container would end the daemon. So the signal is caught: an access
//! inside a guarded region (or by the library's own thread, which reads guest memory too) gets a page of zeroes in
//! place of the missing one, the port's line is closed, and its relay disconnects the front end. Any other `SIGBUS` goes
//! where it went before. Costs nothing until it happens.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::state::{Harm, State};

/// Regions that can be guarded at a time: 8 of each guest and its dirty log.
const SLOTS: usize = 4096;

struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    page: AtomicUsize,
    owner: AtomicPtr<State>,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        page: AtomicUsize::new(0),
        owner: AtomicPtr::new(std::ptr::null_mut()),
    }
}; SLOTS];
/// Held to change the table; the signal handler only reads it.
static CHANGE: Mutex<()> = Mutex::new(());
/// Name of the library's thread, which reads rings while it sets them up, before their region is guarded.
const LIBRARY_THREAD: &[u8] = b"vhost-events\0";

/// What handled the signal before us; written once, before our handler is installed.
struct Previous(UnsafeCell<MaybeUninit<libc::sigaction>>);
// SAFETY: written once under `OnceLock` before the handler that reads it exists.
unsafe impl Sync for Previous {}
static PREVIOUS: Previous = Previous(UnsafeCell::new(MaybeUninit::zeroed()));

/// Keeps one region guarded. Drop it only while no worker is inside the device.
#[derive(Debug)]
pub(super) struct Guard {
    slot: usize,
    /// Keeps the pointer in the slot alive.
    _owner: Arc<State>,
}

impl Guard {
    /// Guards the mapping at `start`; its file has pages of `page` bytes. `None` when the table is full.
    pub(super) fn new(owner: &Arc<State>, start: usize, length: usize, page: usize) -> Option<Self> {
        let _lock = CHANGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (index, slot) =
            TABLE.iter().enumerate().find(|(_, slot)| slot.end.load(Ordering::Relaxed) == 0)?;
        slot.start.store(start, Ordering::Relaxed);
        slot.page.store(page, Ordering::Relaxed);
        slot.owner.store(Arc::as_ptr(owner).cast_mut(), Ordering::Relaxed);
        slot.end.store(start + length, Ordering::Release);
        Some(Self { slot: index, _owner: owner.clone() })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _lock = CHANGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        TABLE[self.slot].end.store(0, Ordering::Release);
    }
}

/// Installs the handler, once per process.
pub(super) fn install() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: all zero is a valid empty action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: the handler below does only what signal-safety(7) allows; `PREVIOUS` has no reader yet.
        if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), (*PREVIOUS.0.get()).as_mut_ptr()) } != 0
            // SAFETY: as above.
            || unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) } != 0
        {
            return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
        }
        Ok(())
    })
    .map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: `errno` is this thread's own; put back below so that the interrupted code does not see ours.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel passes a valid siginfo, with an address for SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    if !mend(address) {
        forward(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Puts zeroes where `address` points; false when it is none of ours.
fn mend(address: usize) -> bool {
    for slot in &TABLE {
        let end = slot.end.load(Ordering::Acquire);
        if address >= slot.start.load(Ordering::Relaxed) && address < end {
            // SAFETY: the guard that filled the slot holds an `Arc` of it, and outlives every access to its region.
            unsafe { &*slot.owner.load(Ordering::Relaxed) }.end_guest(Harm::MemoryLost);
            return zero_page(address, slot.page.load(Ordering::Relaxed));
        }
    }
    let mut name = [0_u8; 16];
    // SAFETY: a bare system call that writes at most 16 bytes.
    let named = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) } == 0;
    named
        && name.starts_with(LIBRARY_THREAD)
        && [1 << 12, 1 << 21, 1 << 30].into_iter().any(|page| zero_page(address, page))
}

fn zero_page(address: usize, page: usize) -> bool {
    let start = address & !(page - 1);
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: replaces a page that cannot be accessed, inside a mapping of guest memory that nobody refers to by
    // Rust references; `mmap` is a bare system call. For huge pages it fails unless `page` is their size.
    unsafe {
        libc::mmap(start as *mut libc::c_void, page, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
            != libc::MAP_FAILED
    }
}

/// What would have happened without us.
fn forward(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: written before this handler was installed, never again.
    let previous = unsafe { (*PREVIOUS.0.get()).assume_init_ref() };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: back to the default; the access repeats after return and ends the process.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: installed by somebody as a handler of this form (`SA_SIGINFO`).
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: installed by somebody as a handler of the plain form.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}
