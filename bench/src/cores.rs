//! Where threads run. The switch under measurement has one core, everything else the other.
//!
//! A child inherits the affinity of the thread that starts it: programs start pinned without a wrapper.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Traffic sources, sinks, control threads, this program.
pub const HOUSE: usize = 0;
/// The switch: worker of shuntd, PMD of Open vSwitch, forwarding core of testpmd.
pub const SWITCH: usize = 1;

const SELF: Pid = Pid::from_raw(0);

/// Name of what [`round_trip`] says, beside a figure.
pub const ROUND_TRIP: &str = "core to core and back ns";

/// Turns of a batch, and batches, of [`round_trip`].
const TURNS: u32 = 1000;
const BATCHES: u32 = 21;

/// A cache line of its own, and the one that the processor fetches beside it.
#[repr(align(128))]
struct Line(AtomicU32);

/// How long a cache line takes from [`HOUSE`] to [`SWITCH`] and back: nanoseconds, median of batches, so that one in which
/// a thread was interrupted does not count. Two runs in which guest and switch exchange frames are comparable when it is
/// alike in both: here it was seen to change fivefold within a minute. Takes some 10 ms on cores that are idle.
///
/// # Errors
/// One of the cores may not be used.
pub fn round_trip() -> Result<f64> {
    let line = Line(AtomicU32::new(0));
    // Odd numbers come from one side, even ones from the other. Who cannot be pinned plays all the same, or the other would
    // wait for ever.
    let wait = |number: u32| {
        while line.0.load(Ordering::Acquire) != number {
            std::hint::spin_loop();
        }
    };
    let answer = || {
        let pinned = pin_self(SWITCH);
        for turn in 0..TURNS * BATCHES {
            wait(2 * turn + 1);
            line.0.store(2 * turn + 2, Ordering::Release);
        }
        pinned
    };
    let ask = || {
        let pinned = pin_self(HOUSE);
        let mut batches = [0.0; BATCHES as usize];
        for (batch, time) in (0_u32..).zip(&mut batches) {
            let started = Instant::now();
            for turn in batch * TURNS..(batch + 1) * TURNS {
                line.0.store(2 * turn + 1, Ordering::Release);
                wait(2 * turn + 2);
            }
            *time = started.elapsed().as_secs_f64() * 1e9 / f64::from(TURNS);
        }
        pinned.map(|()| batches)
    };
    let (batches, answered) = thread::scope(|scope| {
        let (ask, answer) = (scope.spawn(ask), scope.spawn(answer));
        (ask.join(), answer.join())
    });
    let died = |_| anyhow::anyhow!("a thread that measures the cores panicked");
    answered.map_err(died)??;
    let mut batches = batches.map_err(died)??;
    batches.sort_unstable_by(f64::total_cmp);
    Ok(batches[batches.len() / 2])
}

/// Pins the calling thread, and whatever it starts, to [`HOUSE`].
///
/// # Errors
/// The machine has fewer than two cores, or this process may not use them.
pub fn settle() -> Result<()> {
    let allowed = sched_getaffinity(SELF)?;
    for core in [HOUSE, SWITCH] {
        ensure!(allowed.is_set(core)?, "core {core} is not available to this process: two cores are needed");
    }
    pin(SELF, HOUSE)
}

/// Runs `start` with both cores allowed, for programs that place their own threads.
///
/// # Errors
/// As `start`, or the system refuses the affinity.
pub fn on_both<R>(start: impl FnOnce() -> Result<R>) -> Result<R> {
    let before = sched_getaffinity(SELF)?;
    let mut both = CpuSet::new();
    both.set(HOUSE)?;
    both.set(SWITCH)?;
    sched_setaffinity(SELF, &both)?;
    let result = start();
    sched_setaffinity(SELF, &before)?;
    result
}

/// Pins the threads of a process: those whose name begins with `prefix` to `core`, the others to [`HOUSE`].
///
/// # Errors
/// No thread has such a name, or the process is gone.
pub fn place_threads(pid: u32, prefix: &str, core: usize) -> Result<()> {
    let tasks = format!("/proc/{pid}/task");
    let mut placed = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))? {
        let task = task?.path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        let ours = name.starts_with(prefix);
        let id =
            task.file_name().and_then(|id| id.to_str()?.parse().ok()).context("a thread without number")?;
        pin(Pid::from_raw(id), if ours { core } else { HOUSE })?;
        placed += usize::from(ours);
    }
    ensure!(placed > 0, "process {pid} has no thread named {prefix}*");
    Ok(())
}

/// Pins the calling thread.
///
/// # Errors
/// There is no such core.
pub fn pin_self(core: usize) -> Result<()> {
    pin(SELF, core)
}

fn pin(thread: Pid, core: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(core)?;
    sched_setaffinity(thread, &one).with_context(|| format!("pin thread {thread} to core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_more_than_nothing_and_less_than_a_second() {
        let allowed = sched_getaffinity(SELF).unwrap();
        if !allowed.is_set(SWITCH).unwrap() {
            eprintln!("SKIP: one core only");
            return;
        }
        let time = round_trip().unwrap();
        assert!((1.0..1e9).contains(&time), "{time} ns");
        assert_eq!(sched_getaffinity(SELF).unwrap(), allowed, "the caller stays where it was");
    }
}
