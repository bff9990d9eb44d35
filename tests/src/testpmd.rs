//! `dpdk-testpmd` as the other side of a `vhost-user` or `memif` port, driven by its own command line.
//!
//! It runs without hugepages unless told otherwise: one busy core while forwarding. Of DPDK 22.11: `--no-huge` excludes
//! `--in-memory`; its memory is a memfd, which vhost-user can share; with hugepages virtio-user needs
//! `--single-file-segments`, or it has more memory regions than the protocol can carry.

mod stats;
mod vdev;

use std::thread;
use std::time::Duration;

use crate::{Cmd, LabError, Running};

pub use stats::{ForwardStats, PortStats};
pub use vdev::{memif, null, vhost, virtio_user};

const PROMPT: &str = "testpmd> ";
const START: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(15);

/// Where testpmd takes its memory.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    /// Ordinary pages, this many MiB.
    Ordinary(u32),
    /// 2 MiB pages, which the test has reserved by [`Hugepages`](crate::Hugepages), this many MiB.
    Huge(u32),
}

/// What testpmd does with what it receives.
#[derive(Clone, Copy, Debug)]
pub enum Forward {
    /// From one port to its pair, unchanged.
    Io,
    /// The same with source and destination MAC swapped: back to the sender when there is one port.
    MacSwap,
    /// Answers ARP and ICMP echo for any address: a pod can ping it.
    IcmpEcho,
    /// Counts and drops.
    RxOnly,
    /// Sends generated UDP frames, and receives nothing.
    TxOnly,
}

impl Forward {
    fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::MacSwap => "macswap",
            Self::IcmpEcho => "icmpecho",
            Self::RxOnly => "rxonly",
            Self::TxOnly => "txonly",
        }
    }
}

/// How to start testpmd.
#[derive(Clone, Debug)]
pub struct Options {
    /// Device arguments, see [`virtio_user`], [`vhost`], [`memif`].
    pub vdevs: Vec<String>,
    /// Where its memory is.
    pub memory: Memory,
    /// Receive and transmit queues of each port.
    pub queues: u16,
    /// Mbufs in its pool.
    pub mbufs: u32,
    /// More arguments, after `--`.
    pub args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { vdevs: vec![], memory: Memory::Ordinary(256), queues: 1, mbufs: 8192, args: vec![] }
    }
}

/// A running testpmd.
pub struct Testpmd {
    running: Running,
    // Behind the last prompt: where the answer to the next command begins.
    read: usize,
}

impl Testpmd {
    /// Starts it and waits for its first prompt. Its ports are up; it does not forward before [`Testpmd::start`].
    ///
    /// # Errors
    /// It is missing, or refuses its arguments: the text carries what EAL said.
    pub fn launch(options: &Options) -> Result<Self, LabError> {
        let running = command(options).spawn()?;
        let read = running.expect(PROMPT, 0, START)?;
        Ok(Self { running, read })
    }

    /// Gives a command and returns what it printed.
    ///
    /// # Errors
    /// It is dead, does not answer, or does not know the command.
    pub fn command(&mut self, command: &str) -> Result<String, LabError> {
        let from = self.read;
        self.running.send_line(command)?;
        self.read = self.running.expect(PROMPT, from, ANSWER)?;
        let text = self.running.stdout().text(from);
        let text = text[..self.read - from].trim_end_matches(PROMPT).to_owned();
        if ["Command not found", "Bad arguments", "Ambiguous command"].iter().any(|bad| text.contains(bad)) {
            return Err(LabError::Parse {
                what: "the answer to a testpmd command",
                text: format!("{command}: {text}"),
            });
        }
        Ok(text)
    }

    /// Sets what it does and starts it.
    ///
    /// # Errors
    /// As [`Testpmd::command`].
    pub fn start(&mut self, forward: Forward) -> Result<(), LabError> {
        self.command(&format!("set fwd {}", forward.name()))?;
        self.command("start").map(drop)
    }

    /// The same, and one burst of 32 frames for each queue to begin with: between two that forward, they go round for ever.
    ///
    /// # Errors
    /// As [`Testpmd::command`].
    pub fn start_with_burst(&mut self, forward: Forward) -> Result<(), LabError> {
        self.command(&format!("set fwd {}", forward.name()))?;
        self.command("start tx_first").map(drop)
    }

    /// Stops forwarding; what all ports did since the start.
    ///
    /// # Errors
    /// As [`Testpmd::command`], or it was not forwarding.
    pub fn stop(&mut self) -> Result<ForwardStats, LabError> {
        stats::forward(&self.command("stop")?)
    }

    /// The counters of a port since its start.
    ///
    /// # Errors
    /// As [`Testpmd::command`], or there is no such port.
    pub fn port_stats(&mut self, port: u16) -> Result<PortStats, LabError> {
        stats::port(&self.command(&format!("show port stats {port}"))?)
    }

    /// Sets every counter to 0.
    ///
    /// # Errors
    /// As [`Testpmd::command`].
    pub fn clear_stats(&mut self) -> Result<(), LabError> {
        self.command("clear port stats all").map(drop)
    }

    /// The process, to kill it as a test.
    pub fn running(&mut self) -> &mut Running {
        &mut self.running
    }
}

fn command(options: &Options) -> Cmd {
    // One core is for the prompt, one forwards; both float, so that the scheduler shares a small machine out.
    let cpus = thread::available_parallelism().map_or(1, |n| n.get());
    let any = format!("@(0-{})", cpus - 1);
    // Its standard output goes to a pipe here: line by line, or answers would come at its end.
    let mut argv: Vec<String> =
        ["stdbuf", "-oL", "dpdk-testpmd", "--no-pci", "--no-shconf", "--no-telemetry"].map(Into::into).into();
    argv.extend(["--lcores".into(), format!("0{any},1{any}")]);
    match options.memory {
        Memory::Ordinary(mib) => argv.extend(["--no-huge".into(), "-m".into(), mib.to_string()]),
        Memory::Huge(mib) => {
            argv.extend([
                "--in-memory".into(),
                "--single-file-segments".into(),
                "-m".into(),
                mib.to_string(),
            ]);
        }
    }
    argv.extend(options.vdevs.iter().map(|v| format!("--vdev={v}")));
    let (queues, mbufs) = (options.queues, options.mbufs);
    argv.extend(["--".into(), "-i".into(), format!("--rxq={queues}"), format!("--txq={queues}")]);
    argv.push(format!("--total-num-mbufs={mbufs}"));
    argv.extend(options.args.iter().cloned());
    Cmd::new(argv)
}
