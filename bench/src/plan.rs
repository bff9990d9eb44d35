//! How long and how often to measure, and where the input files are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::frames::{self, Answers};
use crate::oneway::{Input, PER_FILE};

/// Pods whose connections are in one file of a crowd: none of them has so many that a table that is nearly full refuses more.
pub const CROWD: u32 = 25;

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
        self.files("f", flows, || frames::regular(flows))
    }

    /// Frames of `flows` flows with random addresses and ports, in as many files as it takes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn random_input(&self, flows: u32) -> Result<Input> {
        self.files("r", flows, || frames::random(flows))
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
    pub fn handshakes(&self, connections: u32, answers: Answers) -> Result<Input> {
        let make = || frames::handshakes(connections, answers);
        self.connections(&format!("h{answers:?}"), connections, frames::SEGMENTS, make)
    }

    /// Frames of `flows` connections of many pods, each followed by its answer ([`frames::crowd`]), in as many files as it takes.
    ///
    /// # Errors
    /// There are more files than pods, or they cannot be written.
    pub fn crowd(&self, flows: u32, answers: Answers) -> Result<Input> {
        let part = PER_FILE / 2;
        let files = flows.div_ceil(part);
        ensure!(files * CROWD <= frames::PODS, "{flows} connections are of more pods than there are");
        let make = || frames::crowd(flows, part, CROWD, answers);
        self.split(&format!("w{answers:?}"), 2 * flows, make)
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

    fn files<F: Iterator<Item = frames::Frame>>(
        &self,
        prefix: &str,
        flows: u32,
        make: impl Fn() -> F,
    ) -> Result<Input> {
        let pod = |number: u32| (number / PER_FILE) as u8;
        let sent = || (0..).zip(make()).map(|(number, frame)| frames::sent_by(pod(number), frame));
        self.split(prefix, flows, sent)
    }

    /// All of `count` frames, [`PER_FILE`] in a file.
    fn split<F: Iterator<Item = frames::Frame>>(
        &self,
        prefix: &str,
        count: u32,
        make: impl Fn() -> F,
    ) -> Result<Input> {
        let name = |index| self.dir().join(format!("{prefix}{count}-{index}.pcap"));
        let captures: Vec<PathBuf> = (0..count.div_ceil(PER_FILE)).map(name).collect();
        if captures.iter().any(|file| !file.exists()) {
            let mut all = make();
            for capture in &captures {
                frames::write(capture, all.by_ref().take(PER_FILE as usize))?;
            }
        }
        Ok(Input { captures, frames: count })
    }
}
