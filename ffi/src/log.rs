//! DPDK's log lines, taken off whatever thread writes them and given to `tracing` on a thread of our own.
//!
//! A driver may log from a worker (a hostile vhost guest can provoke that), and a worker must neither block nor make a
//! system call for it: the line is copied into a bounded queue, and a full queue counts the line as lost.

use std::ffi::{c_char, c_int};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;

use crate::error::DpdkError;
use crate::sys;

const LINE_BYTES: usize = 240;
const QUEUED_LINES: usize = 256;
const DRAIN_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone, Copy)]
struct Line {
    level: c_int,
    length: u8,
    text: [u8; LINE_BYTES],
}

static QUEUE: OnceLock<ArrayQueue<Line>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

/// Number of DPDK log lines dropped because they came faster than they were written.
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Called by the C shim for each line; may run on any thread.
#[unsafe(no_mangle)]
extern "C" fn shunt_log_line(level: c_int, text: *const c_char, length: usize) {
    let Some(queue) = QUEUE.get() else { return };
    let length = length.min(LINE_BYTES);
    let mut line = Line { level, length: length as u8, text: [0; LINE_BYTES] };
    // SAFETY: stdio's cookie write passes `length` readable bytes at `text`; we read at most that many.
    line.text[..length].copy_from_slice(unsafe { std::slice::from_raw_parts(text.cast(), length) });
    if queue.push(line).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Redirects DPDK's log stream. Called once, before `rte_eal_init`.
pub(crate) fn capture() -> Result<(), DpdkError> {
    QUEUE.get_or_init(|| ArrayQueue::new(QUEUED_LINES));
    // SAFETY: opens a stream whose only callback is `shunt_log_line` above, which lives as long as the process.
    DpdkError::check("rte_openlog_stream", unsafe { sys::shunt_log_to_rust() })?;
    std::thread::Builder::new()
        .name("shunt-dpdk-log".into())
        .spawn(|| {
            loop {
                drain();
                std::thread::sleep(DRAIN_EVERY);
            }
        })
        .map_err(|error| DpdkError {
            function: "pthread_create",
            errno: error.raw_os_error().unwrap_or(0),
            text: error.to_string(),
        })?;
    Ok(())
}

/// Gives all queued lines to `tracing` now.
pub fn drain() {
    let Some(queue) = QUEUE.get() else { return };
    while let Some(line) = queue.pop() {
        let text = String::from_utf8_lossy(&line.text[..line.length as usize]);
        let text = text.trim_end();
        // DPDK levels: 1 emergency .. 4 error, 5 warning, 6 notice, 7 info, 8 debug (rte_log.h).
        match line.level {
            _ if text.is_empty() => {}
            0..=4 => tracing::error!(target: "dpdk", "{text}"),
            5 => tracing::warn!(target: "dpdk", "{text}"),
            6 | 7 => tracing::info!(target: "dpdk", "{text}"),
            _ => tracing::debug!(target: "dpdk", "{text}"),
        }
    }
}
