//! A guest that makes a worker wait.
//!
//! The library tells a guest of used buffers by writing to the guest's call eventfd. The guest shares that descriptor: it
//! can fill its counter and make the next write block, however often we set it to non-blocking. The kernel offers no
//! write that cannot block. So one thread looks every 10 ms whether a worker is still in the visit it was in before and
//! sleeps in it; that worker is interrupted by a signal (the write fails, the library does not mind), the guest is
//! disconnected and kept out for a while. A guest gets some 20 ms of a worker's time in 10 s that way.
//!
//! It looks only while guests are called. One that polls, as DPDK's do, asks not to be; then nobody can be made to wait, and
//! the thread sleeps until a worker is about to do what may call a guest ([`beware`]).
//!
//! Cost: 100 wake-ups a second of some 20 us while any guest is called, none otherwise; for a worker that may call one, a load,
//! and a wake-up after a second in which none was.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use super::state::{Harm, State};

const PERIOD: Duration = Duration::from_millis(10);
/// Ignored by default and used by nobody here; ours only has to interrupt.
const SIGNAL: c_int = libc::SIGURG;

static PORTS: Mutex<Vec<Weak<State>>> = Mutex::new(Vec::new());
/// Looks without a call before the thread sleeps: a second.
const PATIENCE: u32 = 100;

/// Whether somebody looks.
static EYE: CachePadded<AtomicU8> = CachePadded::new(AtomicU8::new(SHUT));
/// Nobody, until a worker says so.
const SHUT: u8 = 0;
/// Somebody, and no guest was called since it was said so.
const OPEN: u8 = 1;
/// Somebody, and a guest may have been called.
const CALLED: u8 = 2;
static WATCHER: OnceLock<Thread> = OnceLock::new();

/// Installs the signal and starts the thread, once per process.
pub(super) fn install() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: all zero is a valid empty action: no flags, so that system calls are interrupted.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as *const () as usize;
        // SAFETY: the handler does nothing.
        if unsafe { libc::sigaction(SIGNAL, &action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
        }
        let thread = thread::Builder::new().name("shunt-vhost-eye".into()).stack_size(64 << 10);
        let started = thread.spawn(watch).map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))?;
        WATCHER.get_or_init(|| started.thread().clone());
        Ok(())
    })
    .map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_signal(_: c_int) {}

/// Watches the workers in `state` as long as it lives.
pub(super) fn add(state: &Arc<State>) {
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    ports.retain(|port| port.strong_count() > 0);
    ports.push(Arc::downgrade(state));
}

/// To be said by a worker before whatever may call a guest.
#[inline]
pub(super) fn beware() {
    // Only this thread knows what it does next, and the watcher goes on for a second after it has changed this: a value that
    // is a moment old does no harm.
    if EYE.load(Ordering::Relaxed) != CALLED {
        open();
    }
}

#[cold]
fn open() {
    if EYE.swap(CALLED, Ordering::AcqRel) == SHUT
        && let Some(watcher) = WATCHER.get()
    {
        watcher.unpark();
    }
}

/// Shuts the eye when no guest was called since it was opened or asked the last time.
fn may_shut() {
    if EYE.compare_exchange(OPEN, SHUT, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        let _ = EYE.compare_exchange(CALLED, OPEN, Ordering::AcqRel, Ordering::Relaxed);
    }
}

fn watch() {
    // What was seen the last time; a visit is the same only when its number is.
    let mut before: Vec<(u64, i32)> = Vec::new();
    let mut looks = 0;
    loop {
        while EYE.load(Ordering::Acquire) == SHUT {
            thread::park();
        }
        let mut now = Vec::new();
        {
            let ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
            for port in ports.iter().filter_map(Weak::upgrade) {
                for visit in port.gates().filter_map(super::gate::Gate::visit) {
                    if before.contains(&visit) && sleeps(visit.1) {
                        port.end_guest(Harm::WorkerBlocked);
                        interrupt(visit.1);
                    }
                    now.push(visit);
                }
            }
        }
        before = now;
        thread::sleep(PERIOD);
        looks += 1;
        // A worker that is in its call does not say it again.
        if looks >= PATIENCE && before.is_empty() {
            looks = 0;
            may_shut();
        }
    }
}

/// True when the thread waits in a system call (proc(5), `/proc/pid/task/tid/stat`, field 3). A worker that is only
/// preempted is `R`.
fn sleeps(thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'))
}

fn interrupt(thread: i32) {
    // SAFETY: a bare system call; a thread that is gone is an error we need not see.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
}
