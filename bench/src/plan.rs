//! How long and how often to measure, and where the input files are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::frames::{self, Answers};
use crate::oneway::{Input, PER_FILE};

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
            frames::write(&path, frames::regular(flows))?;
        }
        Ok(path)
    }

    /// Frames of `flows` flows, in as many files as it takes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn input(&self, flows: u32) -> Result<Input> {
        if flows <= PER_FILE {
            return Ok(Input { captures: vec![self.capture(flows)?], frames: flows });
        }
        self.files("f", flows, || Box::new(frames::regular(flows)))
    }

    /// Frames of `flows` flows with random addresses and ports, in as many files as it takes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn random_input(&self, flows: u32) -> Result<Input> {
        self.files("r", flows, || Box::new(frames::random(flows)))
    }

    /// Frames of `flows` flows, each made another by `shape`, in one file whose name begins with `prefix`.
    ///
    /// # Errors
    /// They do not fit one file, or it cannot be written.
    pub fn shaped_input<F: AsRef<[u8]>>(
        &self,
        prefix: &str,
        flows: u32,
        shape: impl Fn(frames::Frame) -> F,
    ) -> Result<Input> {
        ensure!(flows <= PER_FILE, "{flows} flows are more than the {PER_FILE} of one file: ask for fewer");
        let path = self.dir().join(format!("{prefix}{flows}.pcap"));
        if !path.exists() {
            frames::write(&path, frames::regular(flows).map(shape))?;
        }
        Ok(Input { captures: vec![path], frames: flows })
    }

    /// Frames of `flows` connections, each followed by its answer ([`frames::conversations`]).
    ///
    /// # Errors
    /// They do not fit one file, or it cannot be written.
    pub fn conversations(&self, flows: u32, answers: Answers) -> Result<Input> {
        self.connections(&format!("c{answers:?}"), flows, 2, || frames::conversations(flows, answers))
    }

    /// Frames of `connections` short TCP connections ([`frames::handshakes`]).
    ///
    /// # Errors
    /// They do not fit one file, or it cannot be written.
    pub fn handshakes(&self, connections: u32) -> Result<Input> {
        self.connections("h", connections, frames::SEGMENTS, || frames::handshakes(connections))
    }

    fn connections<F: Iterator<Item = frames::Frame>>(
        &self,
        prefix: &str,
        connections: u32,
        each: u32,
        make: impl Fn() -> F,
    ) -> Result<Input> {
        let frames = connections.saturating_mul(each);
        ensure!(
            frames <= PER_FILE,
            "{connections} connections have more frames than the {PER_FILE} of one file: ask for fewer"
        );
        let path = self.dir().join(format!("{prefix}{connections}.pcap"));
        if !path.exists() {
            frames::write(&path, make())?;
        }
        Ok(Input { captures: vec![path], frames })
    }

    fn files(
        &self,
        prefix: &str,
        flows: u32,
        make: impl Fn() -> Box<dyn Iterator<Item = frames::Frame>>,
    ) -> Result<Input> {
        let count = flows.div_ceil(PER_FILE);
        let name = |index| self.dir().join(format!("{prefix}{flows}-{index}.pcap"));
        let captures: Vec<PathBuf> = (0..count).map(name).collect();
        if captures.iter().any(|file| !file.exists()) {
            let mut all = make();
            for (pod, capture) in captures.iter().enumerate() {
                let part = all.by_ref().take(PER_FILE as usize);
                frames::write(capture, part.map(|frame| frames::sent_by(pod as u8, frame)))?;
            }
        }
        Ok(Input { captures, frames: flows })
    }
}
