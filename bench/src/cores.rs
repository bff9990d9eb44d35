//! Where threads run. The switch under measurement has one core, everything else the other.
//!
//! A child inherits the affinity of the thread that starts it: programs start pinned without a wrapper.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Traffic sources, sinks, control threads, this program.
pub const HOUSE: usize = 0;
/// The switch: worker of shuntd, PMD of Open vSwitch, forwarding core of testpmd.
pub const SWITCH: usize = 1;

const SELF: Pid = Pid::from_raw(0);

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
