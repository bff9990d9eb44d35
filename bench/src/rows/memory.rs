//! Resident size with ten ports, and whether it grows under traffic and 1,000 publications.
//!
//! Ordinary pages, so that packet buffers count, too: the kernel leaves hugepages out of the resident size.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use shunt_tests::Iperf;
use shunt_tests::iperf::{Tcp, Udp};

use super::idle::PORTS;
use crate::figure::{Bar, Figure, Sample};
use crate::plan::Plan;
use crate::pods::{Pods, address};
use crate::switch::{Switch, one_worker};
use crate::{process, stop};

const SWAPS: u32 = 1000;
/// Traffic and publications before the first look: every buffer was touched once, every list has its size.
const WARM_UP: Duration = Duration::from_secs(10);
/// Growth that is not called one: the allocator's own granularity.
const NOISE_KIB: f64 = 256.0;

/// Measures both, once: it is long.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let minutes = plan.soak.as_secs_f64() / 60.0;
    let mut size = Figure::new(
        "memory",
        format!("resident size with {PORTS} veth ports, no hugepages"),
        "MiB",
        Bar::Stated,
    );
    let what = format!("growth over {minutes} minutes of traffic and {SWAPS} swaps");
    let mut growth = Figure::new("memory-growth", what, "KiB", Bar::AllBelow(NOISE_KIB));
    let pods = Pods::veth(PORTS)?;
    let mut switch =
        Switch::start(&pods.node, &(one_worker("adaptive", "never") + &pods.veth_ports("default")))?;
    pods.meet()?;
    let started = resident(&switch)?;

    let done = AtomicBool::new(false);
    let (sizes, bytes) = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| traffic(&pods, &done));
        let sizes = soak(&mut switch, plan.soak);
        done.store(true, Ordering::Release);
        (sizes, traffic.join())
    });
    let sizes = sizes?;
    let bytes = bytes.map_err(|_| anyhow!("the traffic's thread panicked"))??;
    let (first, last) = (sizes[0], resident(&switch)?);
    let most = sizes.iter().copied().fold(last, f64::max);
    let beside =
        vec![("after warm-up", first / 1024.0), ("at the end", last / 1024.0), ("most", most / 1024.0)];
    size.ours.push(Sample::new(started / 1024.0, beside));
    growth.ours.push(Sample::new(last - first, vec![("GB of traffic", bytes as f64 / 1e9)]));
    let quarter = |part: usize| sizes[(sizes.len() - 1) * part / 4];
    growth.notes.push(format!(
        "resident KiB at each quarter: {:.0}, {:.0}, {:.0}, {:.0}, {:.0}; below {NOISE_KIB} KiB is called none",
        quarter(0), quarter(1), quarter(2), quarter(3), quarter(4)
    ));
    Ok(vec![size, growth])
}

/// KiB.
fn resident(switch: &Switch) -> Result<f64> {
    Ok(process::resident(switch.pid())?.0 as f64 / 1024.0)
}

/// Publications for `length`, after a warm-up with the same; the resident sizes meanwhile.
fn soak(switch: &mut Switch, length: Duration) -> Result<Vec<f64>> {
    let pace = length / SWAPS;
    let last_port = format!("pod{}", PORTS - 1);
    let warm = Instant::now();
    let mut change = 0;
    while warm.elapsed() < WARM_UP {
        switch.set_port(&last_port, change % 2 == 1)?;
        change += 1;
        stop::pause(Duration::from_millis(20))?;
    }
    let started = Instant::now();
    let mut sizes = vec![resident(switch)?];
    for step in 0..SWAPS {
        stop::pause((started + pace * step).saturating_duration_since(Instant::now()))?;
        switch.set_port(&last_port, (change + step) % 2 == 1)?;
        if step % 10 == 9 {
            sizes.push(resident(switch)?);
        }
    }
    Ok(sizes)
}

/// TCP and UDP in turn until `done`; bytes received.
fn traffic(pods: &Pods, done: &AtomicBool) -> Result<u64> {
    let mut server = Iperf::serve(&pods.pods[1], &address(1))?;
    let client = &pods.pods[0];
    let mut bytes = 0;
    while !done.load(Ordering::Acquire) && stop::check().is_ok() {
        bytes += server.tcp(client, &Tcp { seconds: 3, streams: 4, reverse: false })?.bytes;
        let udp = Udp { seconds: 2, mbits: 300, ..Udp::default() };
        let result = server.udp(client, &udp)?;
        bytes += (result.sent - result.lost) * u64::from(udp.length);
    }
    Ok(bytes)
}
