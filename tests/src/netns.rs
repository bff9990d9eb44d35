//! Network namespaces: one is a pod, or the node the switch runs in.

use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Cmd, LabError, Output, Running, sweep};

/// First part of the name of every namespace of the lab; the process id follows, see [`sweep`].
pub const PREFIX: &str = "sh-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace with the loopback up, deleted with everything in it on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace with a name of its own. The first call of a process removes what dead ones left.
    ///
    /// # Errors
    /// When `ip netns add` fails: mostly not root.
    pub fn new() -> Result<Self, LabError> {
        Self::make(&NEXT.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// The same with a name that ends in `label`, for a person to find it by; one of a label in a process.
    ///
    /// # Errors
    /// As [`Netns::new`], and when this process has one of that label.
    pub fn named(label: &str) -> Result<Self, LabError> {
        Self::make(label)
    }

    fn make(label: &str) -> Result<Self, LabError> {
        sweep::once();
        let name = format!("{PREFIX}{}-{label}", process::id());
        Cmd::new(["ip", "netns", "add", &name]).check()?;
        let netns = Self { name };
        netns.exec(&["ip", "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// The name, for `ip netns` and for a config of shuntd.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command to run inside, for those that need a timeout, an environment or their exit status.
    pub fn cmd(&self, argv: &[&str]) -> Cmd {
        Cmd::new(argv.iter().copied()).within(self)
    }

    /// Runs a command inside to its end.
    ///
    /// # Errors
    /// A status other than 0, or no end within [`DEFAULT_TIMEOUT`](crate::command::DEFAULT_TIMEOUT).
    pub fn exec(&self, argv: &[&str]) -> Result<Output, LabError> {
        self.cmd(argv).check()
    }

    /// Starts a command inside and keeps it running until the guard is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, argv: &[&str]) -> Result<Running, LabError> {
        self.cmd(argv).spawn()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        sweep::remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require;

    #[test]
    fn has_a_loopback_that_answers_and_is_gone_after() {
        require!(root());
        let netns = Netns::new().unwrap();
        netns.exec(&["ping", "-c1", "-W1", "127.0.0.1"]).unwrap();
        let path = netns.path();
        assert!(path.exists());
        drop(netns);
        assert!(!path.exists());
    }

    #[test]
    fn what_runs_inside_dies_with_it() {
        require!(root());
        let netns = Netns::new().unwrap();
        let mut sleeper = netns.spawn(&["sh", "-c", "echo in; read never"]).unwrap();
        sleeper.expect("in", 0, crate::command::DEFAULT_TIMEOUT).unwrap();
        drop(netns);
        assert!(!sleeper.wait(crate::command::DEFAULT_TIMEOUT).unwrap().success());
    }
}
