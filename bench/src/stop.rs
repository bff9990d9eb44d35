//! Ctrl-C and SIGTERM: every wait ends with an error, the guards on the stack clean up on the way out.
//!
//! Programs that the lab started are in process groups of their own, so the terminal's signal reaches this process alone.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

static STOPPED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// The measurement was told to end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// From now on SIGINT, SIGTERM and SIGHUP end [`pause`] instead of the process. Call it before the first thread starts:
/// threads inherit the signal mask.
///
/// # Errors
/// When the system refuses the mask or a thread.
pub fn on_signals() -> std::io::Result<()> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    set.thread_block()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Ok(signal) = set.wait() {
            eprintln!("bench: {signal}: cleaning up");
        }
        *STOPPED.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        STOPPED.1.notify_all();
    })?;
    Ok(())
}

/// Sleeps.
///
/// # Errors
/// A signal came, before or meanwhile.
pub fn pause(length: Duration) -> Result<(), Interrupted> {
    let until = Instant::now() + length;
    let mut stopped = STOPPED.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*stopped {
        let Some(left) = until.checked_duration_since(Instant::now()) else { return Ok(()) };
        stopped = STOPPED.1.wait_timeout(stopped, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    Err(Interrupted)
}

/// Goes on unless a signal came.
///
/// # Errors
/// It did.
pub fn check() -> Result<(), Interrupted> {
    pause(Duration::ZERO)
}
