//! The output of a running program as it comes, with waiting for a text in it.
//!
//! Waiting sleeps on a condition variable: it wakes with the output, not by polling.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    closed: bool,
}

/// All that one output stream of a program has printed until now.
#[derive(Clone, Default)]
pub struct Transcript(Arc<(Mutex<Text>, Condvar)>);

impl Transcript {
    /// Starts a thread that reads `source` to its end.
    pub fn read(mut source: impl Read + Send + 'static) -> Self {
        let transcript = Self::default();
        let sink = transcript.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = source.read(&mut chunk) {
                sink.lock().bytes.extend_from_slice(&chunk[..n]);
                sink.0.1.notify_all();
            }
            sink.lock().closed = true;
            sink.0.1.notify_all();
        });
        transcript
    }

    // A panic elsewhere leaves the bytes whole: go on with them.
    fn lock(&self) -> MutexGuard<'_, Text> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes there are: the `from` of a later wait.
    pub fn position(&self) -> usize {
        self.lock().bytes.len()
    }

    /// The text from byte `from` on; what is not UTF-8 is replaced.
    pub fn text(&self, from: usize) -> String {
        String::from_utf8_lossy(&self.lock().bytes[from..]).into_owned()
    }

    /// Waits until `needle` stands at or after byte `from` and returns the position behind it; `None` when the
    /// program closes its output first or `timeout` passes.
    pub fn wait_for(&self, needle: &str, from: usize, timeout: Duration) -> Option<usize> {
        self.wait(timeout, |text| {
            text.bytes[from..]
                .windows(needle.len())
                .position(|w| w == needle.as_bytes())
                .map(|at| from + at + needle.len())
        })
    }

    /// Waits until the stream is closed; `false` when `timeout` passes first.
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        self.wait(timeout, |text| text.closed.then_some(())).is_some()
    }

    fn wait<T>(&self, timeout: Duration, mut found: impl FnMut(&Text) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut text = self.lock();
        loop {
            if let Some(value) = found(&text) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|_| !text.closed)?;
            text = self.0.1.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_text_behind_a_position_only() {
        let t = Transcript::read("one two one".as_bytes());
        let second = Duration::from_secs(1);
        assert_eq!(t.wait_for("one", 0, second), Some(3));
        assert_eq!(t.wait_for("one", 3, second), Some(11));
        assert_eq!(t.wait_for("one", 11, second), None, "closed: returns at once");
        assert!(t.wait_closed(second));
        assert_eq!(t.text(4), "two one");
    }

    #[test]
    fn gives_up_at_the_deadline() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let t = Transcript::read(reader);
        let start = Instant::now();
        assert_eq!(t.wait_for("never", 0, Duration::from_millis(50)), None);
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
}
