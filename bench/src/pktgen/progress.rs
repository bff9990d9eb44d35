//! One line on standard error that says how far it is; only on a terminal.

use std::io::{IsTerminal, Write, stderr};

use super::trial::Sofar;

/// The line.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    terminal: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        Self { shown: false, terminal: stderr().is_terminal() }
    }

    /// Shows how far `what` is.
    pub fn show(&mut self, what: &str, sofar: Sofar) {
        if !self.terminal {
            return;
        }
        let seconds = sofar.elapsed.as_secs_f64().max(1e-9);
        let mega = |frames: u64| frames as f64 / seconds / 1e6;
        let (offered, received) = (mega(sofar.offered), mega(sofar.received));
        // A terminal that is gone is no reason to stop measuring.
        let _ =
            write!(stderr(), "\r\x1b[K{what}: {seconds:.1} s, {offered:.3} Mpps out, {received:.3} Mpps in");
        let _ = stderr().flush();
        self.shown = true;
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
