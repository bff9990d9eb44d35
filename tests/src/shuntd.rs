//! The switch under test, as a user starts it: the daemon with a config file, driven by its CLI.
//!
//! The binaries are those of this build's profile, beside the tests under `target/`. Cargo builds binaries of another package for no
//! test, so the nextest configuration builds them before the tests that need them (`.config/nextest.toml`, `build-shuntd`); by hand:
//! `cargo build -p shunt-switch --bins`.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Cmd, LabError, Netns, Running, paths};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 200;

/// A running daemon with a directory, a config and a socket of its own.
///
/// Dropped: it gets `SIGTERM` and must end with status 0 within 5 s, else the test fails. Its log goes to standard error then, which
/// the runner shows only for a test that failed.
pub struct Shuntd {
    running: Running,
    dir: TempDir,
    stopped: bool,
}

/// The path of a binary of the workspace.
///
/// # Errors
/// It is not built.
pub fn binary(name: &str) -> Result<PathBuf, LabError> {
    let path = paths::binaries()?.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(LabError::Missing(format!("{name} is not built: run cargo build -p shunt-switch --bins")))
}

impl Shuntd {
    /// Starts it in the namespace of the test and waits until its socket takes connections.
    ///
    /// # Errors
    /// It ends or does not listen within 20 s; the text carries its log.
    pub fn start(config: &str) -> Result<Self, LabError> {
        Self::launch(&binary("shuntd")?, config, None)
    }

    /// The same inside a namespace: a node of its own, where host ends of veth pairs collide with nobody's.
    ///
    /// # Errors
    /// As [`Shuntd::start`].
    pub fn start_in(node: &Netns, config: &str) -> Result<Self, LabError> {
        Self::launch(&binary("shuntd")?, config, Some(node))
    }

    fn launch(program: &Path, config: &str, node: Option<&Netns>) -> Result<Self, LabError> {
        let dir = tempfile::tempdir().map_err(LabError::io("make a directory for shuntd"))?;
        let file = dir.path().join("shunt.toml");
        fs::write(&file, config).map_err(LabError::io(format!("write {}", file.display())))?;
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let socket = dir.path().join("shunt.sock");
        let mut cmd =
            Cmd::new([path(program), "--config".into(), path(&file), "--socket".into(), path(&socket)]);
        if let Some(node) = node {
            cmd = cmd.within(node);
        }
        let running = cmd.spawn()?;
        let mut shuntd = Self { running, dir, stopped: false };
        shuntd.wait_socket(&cmd)?;
        Ok(shuntd)
    }

    fn wait_socket(&mut self, cmd: &Cmd) -> Result<(), LabError> {
        let deadline = Instant::now() + START;
        while UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = self.running.try_wait()? {
                self.stopped = true;
                return Err(LabError::Failed { command: cmd.line(), status, output: self.log() });
            }
            if Instant::now() >= deadline {
                let what = "listen on its socket".to_owned();
                let error = LabError::Timeout { command: cmd.line(), what, after: START, output: self.log() };
                self.kill();
                return Err(error);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("shunt.sock")
    }

    /// A directory for the test's own sockets and files, gone with the daemon.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// A CLI command against this daemon, for those that are to fail or print text.
    ///
    /// # Errors
    /// The CLI is not built.
    pub fn cli_cmd(&self, args: &[&str]) -> Result<Cmd, LabError> {
        let program = binary("shunt")?.to_string_lossy().into_owned();
        let socket = self.socket().to_string_lossy().into_owned();
        Ok(Cmd::new([program, "--socket".into(), socket]).args(args.iter().copied()))
    }

    /// Runs a CLI command that must succeed; returns what it printed.
    ///
    /// # Errors
    /// A status other than 0.
    pub fn cli_text(&self, args: &[&str]) -> Result<String, LabError> {
        Ok(self.cli_cmd(args)?.check()?.stdout)
    }

    /// Runs a CLI command that must succeed and print JSON (give it `--json`).
    ///
    /// # Errors
    /// A status other than 0, or not JSON.
    pub fn cli(&self, args: &[&str]) -> Result<Value, LabError> {
        let text = self.cli_text(args)?;
        serde_json::from_str(&text).map_err(|_| LabError::Parse { what: "JSON from the CLI", text })
    }

    /// Polls a JSON query until `holds` is true of it; returns that answer.
    ///
    /// # Errors
    /// `timeout` passes first: the text carries the last answer.
    pub fn cli_until(
        &self,
        args: &[&str],
        timeout: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value, LabError> {
        let deadline = Instant::now() + timeout;
        loop {
            let answer = self.cli(args)?;
            if holds(&answer) {
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                let what = "answer as the test waits for".to_owned();
                let command = format!("shunt {}", args.join(" "));
                return Err(LabError::Timeout { command, what, after: timeout, output: answer.to_string() });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes a new config and sends `SIGHUP`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn reload(&self, config: &str) -> Result<(), LabError> {
        let file = self.dir.path().join("shunt.toml");
        fs::write(&file, config).map_err(LabError::io(format!("write {}", file.display())))?;
        self.running.signal(Signal::SIGHUP);
        Ok(())
    }

    /// What it has logged, on both outputs.
    pub fn log(&self) -> String {
        self.running.stdout().text(0) + &self.running.stderr().text(0)
    }

    /// Sends `SIGTERM` and waits.
    ///
    /// # Errors
    /// It does not end within 5 s (it is killed then), or not with status 0.
    pub fn stop(&mut self) -> Result<(), LabError> {
        self.stop_within(STOP)
    }

    /// The same with another patience, for a daemon with so many devices that the kernel takes its time.
    ///
    /// # Errors
    /// As [`Shuntd::stop`].
    pub fn stop_within(&mut self, patience: Duration) -> Result<(), LabError> {
        self.stopped = true;
        self.running.signal(Signal::SIGTERM);
        let status = self.running.wait(patience)?;
        if status.success() {
            return Ok(());
        }
        Err(LabError::Failed { command: "shuntd (stopped by SIGTERM)".into(), status, output: self.log() })
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.stopped = true;
        self.running.kill();
    }
}

impl Drop for Shuntd {
    fn drop(&mut self) {
        let result = if self.stopped { Ok(()) } else { self.stop() };
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- log of shuntd, last {LOG_LINES} lines");
        lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).for_each(|line| eprintln!("{line}"));
        eprintln!("---");
        if let Err(error) = result {
            // A second panic would abort the test before the other guards have cleaned up.
            if thread::panicking() {
                eprintln!("lab: {error}");
            } else {
                panic!("{error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    // Stands in for the daemon: its config says how it ends.
    const FAKE: &str = r#"#!/usr/bin/perl
use strict; use IO::Socket::UNIX; $| = 1;
my %arg = @ARGV; open(my $f, "<", $arg{"--config"}) or die; my $how = <$f>; chomp $how;
if ($how eq "refuse") { print STDERR "line 1: no\n"; exit 2 }
$SIG{TERM} = $how eq "deaf" ? "IGNORE" : sub { exit $how };
$SIG{HUP} = sub { print "reloaded\n" };
my $s = IO::Socket::UNIX->new(Listen => 5, Local => $arg{"--socket"}) or die; print "listening\n";
while (1) { my $c = $s->accept }
"#;

    fn fake(how: &str) -> Result<Shuntd, LabError> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("fake");
        fs::write(&program, FAKE).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Shuntd::launch(&program, how, None)
    }

    #[test]
    fn a_daemon_that_ends_well_is_stopped_by_drop() {
        let shuntd = fake("0").unwrap();
        let dir = shuntd.dir().to_owned();
        shuntd.reload("0").unwrap();
        shuntd.running.expect("reloaded", 0, STOP).unwrap();
        assert!(shuntd.log().starts_with("listening"));
        drop(shuntd);
        assert!(!dir.exists());
    }

    #[test]
    fn a_status_other_than_0_is_an_error_and_fails_a_test_by_drop() {
        let error = fake("3").unwrap().stop().unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        let dropped = std::panic::catch_unwind(|| drop(fake("3").unwrap()));
        assert!(dropped.is_err());
    }

    #[test]
    fn a_daemon_that_refuses_its_config_is_an_error_with_its_log() {
        let error = fake("refuse").err().expect("it ends at once").to_string();
        assert!(error.contains("exit status: 2") && error.contains("line 1: no"), "{error}");
    }

    #[test]
    fn a_daemon_that_does_not_end_is_killed() {
        let mut shuntd = fake("deaf").unwrap();
        assert!(matches!(shuntd.stop(), Err(LabError::Timeout { .. })));
        assert!(shuntd.running.try_wait().unwrap().is_some());
    }
}
