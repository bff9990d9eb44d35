//! Removal of what a killed test left behind: namespaces (and with them processes, veth pairs, TAPs) and hugepages.
//!
//! A test that ends, or panics, cleans up by its guards. Only a `SIGKILL` gets round them; the names carry the process id, so
//! the next test finds what belongs to nobody.

use std::path::Path;
use std::sync::Once;
use std::{fs, process};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Cmd, hugepages, netns::PREFIX};

static ONCE: Once = Once::new();

/// Sweeps, the first time it is called in a process.
pub fn once() {
    ONCE.call_once(|| {
        for name in leftovers(Path::new("/run/netns")) {
            remove(&name);
        }
        hugepages::sweep();
    });
}

/// Kills every process inside the namespace, then deletes it.
pub(crate) fn remove(name: &str) {
    if let Ok(pids) = Cmd::new(["ip", "netns", "pids", name]).check() {
        for pid in pids.stdout.lines().filter_map(|l| l.trim().parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    if let Err(error) = Cmd::new(["ip", "netns", "del", name]).check() {
        eprintln!("lab: {error}");
    }
}

/// Names under `dir` that carry the id of a process that does not run.
fn leftovers(dir: &Path) -> Vec<String> {
    let names =
        fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter(|n| owner(n).is_some_and(|pid| !alive(pid))).collect()
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

pub(crate) fn alive(pid: u32) -> bool {
    pid == process::id() || Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require;

    // Larger than any process id the kernel gives (PID_MAX_LIMIT is 4,194,304).
    const NOBODY: u32 = 4_200_000;

    #[test]
    fn only_names_of_dead_processes_are_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let dead = format!("sh-{NOBODY}-0");
        for name in [dead.as_str(), &format!("sh-{}-0", process::id()), "sh-1-7", "sh-x-0", "other", "sh-"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(leftovers(dir.path()), [dead]);
    }

    #[test]
    fn a_namespace_of_a_dead_process_is_removed() {
        require!(root());
        let name = format!("sh-{NOBODY}-1");
        Cmd::new(["ip", "netns", "add", &name]).check().unwrap();
        assert!(leftovers(Path::new("/run/netns")).contains(&name));
        remove(&name);
        assert!(!Path::new("/run/netns").join(name).exists());
    }
}
