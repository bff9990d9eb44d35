//! How long and how often to measure, and where the input files are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::frames;

/// What the command line asked for.
#[derive(Debug)]
pub struct Plan {
    /// How often each row is measured.
    pub runs: usize,
    /// Length of one measurement, where the row does not say otherwise.
    pub seconds: u64,
    /// Length of the run that watches the memory.
    pub soak: Duration,
    dir: TempDir,
}

impl Plan {
    /// A plan with a directory for input files, gone with it.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(runs: usize, seconds: u64, soak: Duration) -> Result<Self> {
        let dir = tempfile::tempdir().context("make a directory for input files")?;
        Ok(Self { runs, seconds, soak, dir })
    }

    /// The directory for input files and sockets.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Length of one measurement.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// A capture of `flows` frames, made the first time it is asked for.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn capture(&self, flows: u32) -> Result<PathBuf> {
        let path = self.dir().join(format!("f{flows}.pcap"));
        if !path.exists() {
            frames::write(&path, flows)?;
        }
        Ok(path)
    }
}
