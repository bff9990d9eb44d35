//! Ten quiet pods: processor time of an idle daemon, and the first ping after the quiet.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::figure::{Bar, Figure, Sample};
use crate::plan::Plan;
use crate::pods::Pods;
use crate::switch::{Switch, one_worker};
use crate::{process, stop};

/// Ports of the daemon.
pub(super) const PORTS: usize = 10;
/// Quiet before the ping.
const QUIET: Duration = Duration::from_secs(10);
/// Everything that starting has set in motion has come to rest.
const SETTLE: Duration = Duration::from_secs(1);

/// Measures both.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let quiet = QUIET.min(plan.window() * 2);
    let seconds = quiet.as_secs();
    let what = format!("idle daemon, adaptive polling, {PORTS} veth ports: processor time over {seconds} s");
    let mut cpu = Figure::new("idle", what, "% of a core", Bar::Below(3.0));
    let mut ping =
        Figure::new("idle-ping", format!("first ping after {seconds} s idle"), "ms", Bar::Below(1.0));
    for _ in 0..plan.runs {
        let pods = Pods::veth(PORTS)?;
        let mut switch =
            Switch::start(&pods.node, &(one_worker("adaptive", "auto") + &pods.veth_ports("default")))?;
        pods.meet()?;
        stop::pause(SETTLE)?;
        let (worker, before, started) =
            (switch.only_worker()?, process::cpu_time(switch.pid())?, Instant::now());
        stop::pause(quiet)?;
        let (used, elapsed) = (process::cpu_time(switch.pid())? - before, started.elapsed());
        let first = pods.round_trip()?;
        let second = pods.round_trip()?;
        let now = switch.only_worker()?;
        let beside = vec![
            ("wake-ups/s", (now.sleeps - worker.sleeps) as f64 / elapsed.as_secs_f64()),
            ("frames meanwhile and of the pings", (now.packets - worker.packets) as f64),
        ];
        cpu.ours.push(Sample::new(used.as_secs_f64() / elapsed.as_secs_f64() * 100.0, beside));
        let beside = vec![("the next one ms", second.as_secs_f64() * 1e3)];
        ping.ours.push(Sample::new(first.as_secs_f64() * 1e3, beside));
    }
    cpu.notes.push("user and system time of all threads of shuntd; resolution 10 ms".into());
    ping.notes.push(
        "both pods share one core; IPv6 is off in the pods, so that nothing but the ping wakes the worker"
            .into(),
    );
    Ok(vec![cpu, ping])
}
