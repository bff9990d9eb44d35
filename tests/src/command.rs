//! Programs: run one to its end with a deadline, or keep one as a guard that kills it and its children.
//!
//! Every program starts in a process group of its own and is told to die with the thread that started it
//! (`setpriv --pdeathsig`), so that neither a panic nor a killed test leaves it behind. A [`Running`] must therefore
//! be started on the thread that keeps it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::{LabError, Netns, transcript::Transcript};

/// How long [`Cmd::run`] waits when nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

// After a program has ended, a child of its own may still hold its output open: do not wait for that.
const DRAIN: Duration = Duration::from_secs(1);

/// A command line, perhaps inside a namespace.
#[derive(Clone, Debug)]
pub struct Cmd {
    argv: Vec<String>,
    netns: Option<String>,
    env: Vec<(String, String)>,
    timeout: Duration,
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Cmd {
    /// A command line: program and arguments.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            netns: None,
            env: vec![],
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, more: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(more.into_iter().map(Into::into));
        self
    }

    /// Runs in the network namespace (and a mount namespace whose /sys shows it).
    pub fn within(mut self, netns: &Netns) -> Self {
        self.netns = Some(netns.name().to_owned());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Kills the program when it has not ended after this long. [`Cmd::spawn`] does not use it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs to the end, whatever the exit status is.
    pub fn run(&self) -> Result<Output, LabError> {
        let mut running = self.spawn()?;
        running.close_stdin();
        let status = running.wait(self.timeout)?;
        Ok(Output { status, stdout: running.stdout().text(0), stderr: running.stderr().text(0) })
    }

    /// Runs to the end; a status other than 0 is an error that carries the output.
    pub fn check(&self) -> Result<Output, LabError> {
        let output = self.run()?;
        if output.status.success() {
            return Ok(output);
        }
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        Err(LabError::Failed { command: self.line(), status: output.status, output: said.trim().to_owned() })
    }

    /// Starts the program and returns at once.
    pub fn spawn(&self) -> Result<Running, LabError> {
        let mut argv = vec!["setpriv", "--pdeathsig", "KILL"];
        if let Some(netns) = &self.netns {
            argv.extend(["ip", "netns", "exec", netns]);
        }
        argv.extend(self.argv.iter().map(String::as_str));
        let mut child = Command::new(argv[0])
            .args(&argv[1..])
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| LabError::Spawn { command: self.line(), source })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Running {
            line: self.line(),
            stdin: child.stdin.take(),
            stdout: stdout.map(Transcript::read).unwrap_or_default(),
            stderr: stderr.map(Transcript::read).unwrap_or_default(),
            child,
            ended: None,
        })
    }

    /// The command as one would type it, for messages.
    pub fn line(&self) -> String {
        let place = self.netns.as_ref().map(|n| format!("[{n}] ")).unwrap_or_default();
        place + &self.argv.join(" ")
    }
}

/// A program that runs. Dropped: it and its whole process group are killed and waited for.
pub struct Running {
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Transcript,
    stderr: Transcript,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Process id (also the id of its process group).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output until now.
    pub fn stdout(&self) -> &Transcript {
        &self.stdout
    }

    /// Its standard error until now.
    pub fn stderr(&self) -> &Transcript {
        &self.stderr
    }

    /// Writes one line to its standard input.
    pub fn send_line(&mut self, line: &str) -> Result<(), LabError> {
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| LabError::Missing(format!("`{}`: stdin is closed", self.line)))?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).map_err(LabError::io(format!(
            "`{}`: write {line:?} (it printed: {})",
            self.line,
            tail(&self.stderr)
        )))
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until `needle` stands in its standard output behind byte `from`; returns the position behind it.
    pub fn expect(&self, needle: &str, from: usize, timeout: Duration) -> Result<usize, LabError> {
        self.stdout
            .wait_for(needle, from, timeout)
            .ok_or_else(|| self.late(&format!("print {needle:?}"), timeout))
    }

    /// How it ended, if it has. Children that it left in its group are killed then.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, LabError> {
        if self.ended.is_none() {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let state = waitid(Id::Pid(self.group()), flags);
            if state.map_err(|errno| self.unwaitable(errno.into()))? != WaitStatus::StillAlive {
                self.kill();
            }
        }
        Ok(self.ended)
    }

    /// Waits for its end and for the rest of its output; kills the group and errs when `timeout` passes.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, LabError> {
        let deadline = Instant::now() + timeout;
        // The end of the output is nearly always the end of the program, and can be slept on.
        let _ = self.stdout.wait_closed(timeout);
        let mut pause = Duration::from_micros(100);
        loop {
            if let Some(status) = self.try_wait()? {
                let _ = self.stdout.wait_closed(DRAIN) && self.stderr.wait_closed(DRAIN);
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.kill();
                return Err(self.late("end", timeout));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Sends a signal to the whole group; one that has ended already is no error.
    pub fn signal(&self, signal: Signal) {
        // Not yet waited for, the leader holds the group's id, if only as a zombie; after that it may be another's.
        if self.ended.is_none() {
            let _ = killpg(self.group(), signal);
        }
    }

    /// Kills the whole group and waits for the leader.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn unwaitable(&self, source: std::io::Error) -> LabError {
        LabError::Io { what: format!("wait for `{}`", self.line), source }
    }

    fn late(&self, what: &str, after: Duration) -> LabError {
        let output = format!("{}\n{}", tail(&self.stdout), tail(&self.stderr));
        LabError::Timeout { command: self.line.clone(), what: what.to_owned(), after, output }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(transcript: &Transcript) -> String {
    let text = transcript.text(0);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_kept() {
        let out = Cmd::new(["sh", "-c", "echo out; echo err >&2; exit 3"]).run().unwrap();
        assert_eq!(
            (out.stdout.as_str(), out.stderr.as_str(), out.status.code()),
            ("out\n", "err\n", Some(3))
        );
        let err = Cmd::new(["sh", "-c", "echo why >&2; exit 3"]).check().unwrap_err().to_string();
        assert!(err.contains("why") && err.contains("exit 3"), "{err}");
    }

    #[test]
    fn a_late_program_is_killed_with_its_children() {
        let start = Instant::now();
        let mut running = Cmd::new(["sh", "-c", "sleep 300 & echo $!; wait"]).spawn().unwrap();
        let end = running.expect("\n", 0, DEFAULT_TIMEOUT).unwrap();
        let child = running.stdout().text(0)[..end].trim().to_owned();
        assert!(matches!(running.wait(Duration::from_millis(50)), Err(LabError::Timeout { .. })));
        // The killed child is reaped by init or by the nearest subreaper, a moment later.
        while std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|s| !s.contains(") Z ")) {
            assert!(start.elapsed() < DEFAULT_TIMEOUT, "child {child} lives on");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_program_dies_with_the_thread_that_started_it() {
        let mut running = thread::spawn(|| {
            let mut running = Cmd::new(["sh", "-c", "echo up; read never"]).spawn().unwrap();
            // setpriv has done its work once the program itself prints.
            running.expect("up", 0, DEFAULT_TIMEOUT).unwrap();
            assert!(running.try_wait().unwrap().is_none());
            running
        })
        .join()
        .unwrap();
        let status = running.wait(DEFAULT_TIMEOUT).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let err = Cmd::new(["no-such-program-here"]).check().unwrap_err().to_string();
        assert!(err.contains("no-such-program-here"), "{err}");
    }
}
