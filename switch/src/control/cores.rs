//! Which core a worker has, and that nothing else of the daemon runs there: a thread that wakes up on a worker's core takes up
//! to some milliseconds from it.

use std::collections::BTreeSet;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use shunt_config::Config;

use super::StartError;

/// The core of each worker: as configured, else the last cores of the machine, so that core 0 stays with the system.
pub(super) fn pick(config: &Config) -> Result<Vec<Option<usize>>, StartError> {
    let available: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    if let Some(&core) = config.workers.cores.iter().find(|core| !available.contains(&usize::from(**core))) {
        return Err(StartError::Core { core, available });
    }
    if !config.workers.cores.is_empty() {
        return Ok(config.workers.cores.iter().map(|core| Some(usize::from(*core))).collect());
    }
    let wanted = usize::from(config.workers.count);
    let free: BTreeSet<usize> = available.into_iter().collect();
    let mut picked: Vec<Option<usize>> = free.into_iter().rev().take(wanted).map(Some).collect();
    // More workers than cores is a test set-up; the rest floats.
    picked.resize(wanted, None);
    Ok(picked)
}

/// The cores that are left to all other threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others(CpuSet);

impl Others {
    /// Those that the calling thread may use and no worker has; all that it may use when the workers have them all.
    ///
    /// # Errors
    /// `sched_getaffinity(2)` fails.
    pub(super) fn than(workers: &[Option<usize>]) -> nix::Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let mut others = all;
        for core in workers.iter().copied().flatten() {
            others.unset(core)?;
        }
        let left = (0..CpuSet::count()).any(|core| others.is_set(core) == Ok(true));
        Ok(Self(if left { others } else { all }))
    }

    /// Keeps the calling thread, and all that it starts from now on, on these cores. DPDK gives its own threads the cores that
    /// its caller has when it starts (`rte_ctrl_thread_create`), and its caller only the first of them (`rte_eal_init`).
    ///
    /// # Errors
    /// `sched_setaffinity(2)` fails.
    pub(super) fn keep_to(self) -> nix::Result<()> {
        sched_setaffinity(Pid::from_raw(0), &self.0)
    }
}
