//! How long a conversation stands still while something is done to it.

use std::thread;
use std::time::Duration;

use shunt_tests::Ping;

use super::far::{Bond, FAR};

/// Between two echo requests.
const EVERY: Duration = Duration::from_millis(20);

/// The pod asks the far pod for `time`; after a second `act` is done. The longest time without an answer, and how many answers came
/// twice.
#[track_caller]
pub(crate) fn outage(bond: &Bond, time: Duration, act: impl FnOnce()) -> (Duration, u32) {
    let count = u32::try_from(time.as_millis() / EVERY.as_millis()).unwrap();
    thread::scope(|scope| {
        let asks = scope.spawn(|| {
            Ping { count, interval_ms: EVERY.as_millis() as u32, ..Ping::to(FAR) }.run(&bond.pod).unwrap()
        });
        thread::sleep(Duration::from_secs(1));
        act();
        let answers = asks.join().unwrap();
        let seqs: Vec<u32> = answers.rtts.iter().map(|(seq, _)| *seq).collect();
        let ends = [0].into_iter().chain(seqs).chain([answers.sent + 1]).collect::<Vec<_>>();
        let gap = ends.windows(2).map(|pair| pair[1] - pair[0] - 1).max().unwrap_or(0);
        (EVERY * gap, answers.duplicates)
    })
}
