//! How long a conversation stands still while something is done to its way.

use std::thread;
use std::time::Duration;

use crate::{LabError, Netns, Ping};

/// Between two echo requests.
const EVERY: Duration = Duration::from_millis(20);

/// `from` asks `to` for `time`; after a second `act` is done. The longest time without an answer, and how many answers came twice.
///
/// # Errors
/// `ping` does not run.
///
/// # Panics
/// Nothing but what `act` does.
pub fn outage(
    from: &Netns,
    to: &str,
    time: Duration,
    act: impl FnOnce(),
) -> Result<(Duration, u32), LabError> {
    let count = (time.as_millis() / EVERY.as_millis()) as u32;
    let series = Ping { count, interval_ms: EVERY.as_millis() as u32, ..Ping::to(to) };
    let answers = thread::scope(|scope| {
        let asks = scope.spawn(|| series.run(from));
        thread::sleep(Duration::from_secs(1));
        act();
        asks.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let seqs = answers.rtts.iter().map(|(seq, _)| *seq);
    let ends = [0].into_iter().chain(seqs).chain([answers.sent + 1]).collect::<Vec<_>>();
    let gap = ends.windows(2).map(|pair| pair[1] - pair[0] - 1).max().unwrap_or(0);
    Ok((EVERY * gap, answers.duplicates))
}
