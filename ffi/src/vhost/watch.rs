//! A guest that makes a worker wait.
//!
//! The library tells a guest of used buffers by writing to the guest's call eventfd. The guest shares that descriptor: it
//! can fill its counter and make the next write block, however often we set it to non-blocking. The kernel offers no
//! write that cannot block. So one thread looks every 10 ms whether a worker is still in the visit it was in before and
//! sleeps in it; that worker is interrupted by a signal (the write fails, the library does not mind), the guest is
//! disconnected and kept out for a while. A guest gets some 20 ms of a worker's time in 10 s that way.
//!
//! Cost: 100 wake-ups a second while any guest is attached, none otherwise.

use std::ffi::c_int;
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::state::{Harm, State};

const PERIOD: Duration = Duration::from_millis(10);
/// Ignored by default and used by nobody here; ours only has to interrupt.
const SIGNAL: c_int = libc::SIGURG;

static PORTS: Mutex<Vec<Weak<State>>> = Mutex::new(Vec::new());
static WAKE: Condvar = Condvar::new();

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
        let thread = std::thread::Builder::new().name("shunt-vhost-eye".into()).stack_size(64 << 10);
        thread.spawn(watch).map(drop).map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))
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

/// A guest is attached: there is something to watch.
pub(super) fn begin() {
    WAKE.notify_one();
}

fn watch() {
    // What was seen the last time; a visit is the same only when its number is.
    let mut before: Vec<(u64, i32)> = Vec::new();
    loop {
        let mut now = Vec::new();
        {
            let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
            // Ports without a guest have nobody inside for longer than a moment.
            while !ports.iter().filter_map(Weak::upgrade).any(|port| port.is_in_use()) {
                ports = WAKE.wait(ports).unwrap_or_else(PoisonError::into_inner);
            }
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
        std::thread::sleep(PERIOD);
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
