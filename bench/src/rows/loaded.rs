//! A switch under load on two pairs of ports, for rows that change others meanwhile: every frame is accounted for.
//!
//! - `in` -> `out`: `net_pcap` to `net_null` as fast as the worker goes. At the end `in` is removed, and all that the worker
//!   received must have been sent.
//! - `pod0` -> `pod1`: a UDP stream at a rate that the quiet machine sustains; iperf3 numbers the datagrams.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use shunt_tests::iperf::Udp;
use shunt_tests::{Iperf, testpmd};

use crate::frames::DESTINATION;
use crate::plan::Plan;
use crate::pods::{Pods, address};
use crate::stop;
use crate::switch::{Switch, device_port, one_worker};

const STREAM: Udp = Udp { seconds: 3, mbits: 100, length: 1400, reverse: false };
const PODS: &str = "pods";

/// The switch, its pods and the load on them.
pub(super) struct Loaded {
    /// The daemon.
    pub(super) switch: Switch,
    /// `pod0` and `pod1`, and spare ones.
    pub(super) pods: Pods,
}

/// What became of the load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Frames from `in` to `out`.
    pub(super) frames: u64,
    /// Those that went missing.
    pub(super) frames_lost: u64,
    /// Datagrams from `pod0` to `pod1`.
    pub(super) datagrams: u64,
    /// Those that did not reach the second pod.
    pub(super) datagrams_lost: u64,
}

impl Outcome {
    /// All that was lost.
    pub(super) fn lost(&self) -> f64 {
        (self.frames_lost + self.datagrams_lost) as f64
    }

    /// For the details of a row.
    pub(super) fn beside(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("frames", self.frames as f64),
            ("frames lost", self.frames_lost as f64),
            ("datagrams", self.datagrams as f64),
            ("datagrams lost", self.datagrams_lost as f64),
        ]
    }
}

impl Loaded {
    /// Starts the switch with `more` ports in its configuration; `default` and `pods` are the networks.
    ///
    /// # Errors
    /// Not root, or the daemon does not start.
    pub(super) fn start(plan: &Plan, more: &str) -> Result<Self> {
        let pods = Pods::veth(2)?;
        let source = format!("net_pcap0,rx_pcap={},infinite_rx=1", plan.capture(1000)?.display());
        let config = one_worker("adaptive", "auto")
            + &format!("[[network]]\nname = \"default\"\n[[network]]\nname = \"{PODS}\"\n")
            + &device_port("in", "default", &source, &[])
            + &device_port("out", "default", &testpmd::null(0), &[DESTINATION])
            + &pods.veth_ports(PODS)
            + more;
        let switch = Switch::start(&pods.node, &config)?;
        pods.meet()?;
        Ok(Self { switch, pods })
    }

    /// Runs `change` while the load runs, and accounts for the load.
    ///
    /// # Errors
    /// `change` failed, the load did not run, or a signal came.
    pub(super) fn during<R>(mut self, change: impl FnOnce(&mut Switch) -> Result<R>) -> Result<(R, Outcome)> {
        let done = AtomicBool::new(false);
        let (pods, switch) = (&self.pods, &mut self.switch);
        let (changed, streamed) = std::thread::scope(|scope| {
            let stream = scope.spawn(|| stream(pods, &done));
            let changed = change(switch);
            done.store(true, Ordering::Release);
            (changed, stream.join())
        });
        let changed = changed?;
        let (datagrams, datagrams_lost) = streamed.map_err(|_| anyhow!("the stream's thread panicked"))??;
        let (frames, frames_lost) = self.account()?;
        ensure!(frames > 0 && datagrams > 0, "there was no load: {frames} frames, {datagrams} datagrams");
        Ok((changed, Outcome { frames, frames_lost, datagrams, datagrams_lost }))
    }

    /// Ends the source and compares what came in with what went out.
    fn account(&mut self) -> Result<(u64, u64)> {
        self.switch.delete_port("in")?;
        // The worker counts all ports together: take off what the pods sent. Nothing may come in while this is read.
        for _ in 0..50 {
            let before = self.sent_by_pods()?;
            let received = self.switch.only_worker()?.packets;
            let sent = self.switch.port("out")?.tx_packets;
            if before == self.sent_by_pods()? {
                let frames = received - before;
                return Ok((frames, frames.checked_sub(sent).context("more was sent than received")?));
            }
        }
        Err(anyhow!("the pods do not fall silent"))
    }

    fn sent_by_pods(&mut self) -> Result<u64> {
        let ports = self.switch.ports()?;
        Ok(ports.iter().filter(|port| port.name.starts_with("pod")).map(|port| port.rx_packets).sum())
    }
}

/// Streams until `done`: datagrams sent, and those lost on the way.
fn stream(pods: &Pods, done: &AtomicBool) -> Result<(u64, u64)> {
    let mut server = Iperf::serve(&pods.pods[1], &address(1))?;
    let (mut sent, mut lost) = (0, 0);
    while !done.load(Ordering::Acquire) && stop::check().is_ok() {
        let result = server.udp(&pods.pods[0], &STREAM)?;
        sent += result.sent;
        lost += result.lost_on_the_way();
    }
    Ok((sent, lost))
}
