//! Captures: from the workers' copies to whoever asked for them.

pub mod filter;
pub mod headers;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shunt_ffi::clock;

use super::Control;
use super::flows::port_named;
use crate::ids::PortId;
use crate::worker::capture::{MAX_CAPTURES, Ring, Tap};
use crate::worker::mailbox::{Command, NoAnswer, Reply};

/// Longest copy, bytes: the longest frame there is.
pub const SNAPLEN: usize = 65_535;
/// Answers to echo requests that may wait, and how long they may be, bytes: one for each request of a second at the highest rate.
const ANSWERS: usize = 128;
const ANSWER: usize = 2048;
/// Shortest: the headers that a filter reads.
const SNAPLEN_MIN: usize = 64;

/// A capture under way. It goes on until [`Control::end_capture`].
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: u64,
    /// Where the copies are.
    pub ring: Arc<Ring>,
    /// A moment on both clocks.
    epoch: (Duration, u64),
}

impl Session {
    /// Nanoseconds since 1970 of a moment on the time-stamp counter.
    pub fn time(&self, tsc: u64) -> u64 {
        let (wall, then) = self.epoch;
        let since = clock::duration(tsc.saturating_sub(then));
        u64::try_from((wall + since).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Why nothing is captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is no such port.
    #[error("there is no port {0:?}; `shunt show ports` lists them")]
    NoPort(String),
    /// Enough others watch.
    #[error("{MAX_CAPTURES} captures and pings are under way; end one of them first")]
    TooMany,
    /// A worker hangs.
    #[error("worker {0}: {1}")]
    NoAnswer(usize, NoAnswer),
}

impl Control {
    /// Begins to copy frames, at one port or (by the empty name) at all.
    ///
    /// # Errors
    /// There is no such port, there are too many captures, or a worker does not answer.
    pub fn start_capture(&mut self, port: &str, snaplen: usize) -> Result<Session, CaptureError> {
        let only = match port {
            "" => None,
            name => {
                let found = port_named(self.publisher.current(), name);
                Some(found.ok_or_else(|| CaptureError::NoPort(name.to_owned()))?)
            }
        };
        self.tap(only, None, Ring::new(snaplen.clamp(SNAPLEN_MIN, SNAPLEN)))
    }

    /// Begins to copy what comes back to echo requests with the identifier `ident`.
    pub(super) fn listen_for_echo(&mut self, ident: u16) -> Result<Session, CaptureError> {
        self.tap(None, Some(ident), Ring::with_slots(ANSWERS, ANSWER))
    }

    fn tap(&mut self, port: Option<PortId>, echo: Option<u16>, ring: Ring) -> Result<Session, CaptureError> {
        self.captures += 1;
        let id = self.captures;
        let ring = Arc::new(ring);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let session = Session { id, ring: ring.clone(), epoch: (wall, clock::tsc()) };
        for worker in 0..self.workers.len() {
            let tap = Tap { id, port, echo, ring: ring.clone() };
            let refused = match self.ask(worker, Command::Capture(tap)) {
                Ok(Some(Reply::Tap(_))) => CaptureError::TooMany,
                Ok(_) => continue,
                Err(error) => CaptureError::NoAnswer(worker, error),
            };
            self.end_capture(id);
            return Err(refused);
        }
        Ok(session)
    }

    /// Ends a capture. A worker that hangs gives its part back when it is asked for the next time.
    pub fn end_capture(&self, id: u64) {
        for worker in 0..self.workers.len() {
            if let Err(error) = self.ask(worker, Command::EndCapture(id)) {
                tracing::warn!(worker, %error, "a capture could not be ended");
            }
        }
    }
}
