//! The rate while the topology changes 100 times a second, held against the same without changes; every frame is accounted for.
//!
//! A change moves a station of a port that has no traffic, in the network that the traffic goes to: what a pod's coming and
//! going does to the topology, without opening a device.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::network::{FlowCache, l3, spare};
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Cell, Figure, Sample};
use crate::oneway::{self, Input, Settings, start};
use crate::plan::Plan;
use crate::stop;
use crate::switch::Switch;

/// Time between two changes.
const PACE: Duration = Duration::from_millis(10);
/// The spare port's station, by turns.
const STATIONS: [u32; 2] = [251, 252];

/// Measures `flows` flows.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32) -> Result<Vec<Figure>> {
    let input = plan.input(flows)?;
    let what = format!("{flows} flows, L3, 100 topology updates a second, against none");
    let mut rate = Figure::new(format!("updates-{flows}"), what, "Mpps", Bar::Ratio(0.9));
    rate.cell = Some(Cell { scenario: "updates", flows });
    let _pages = oneway::pages(&input)?;
    let quiet = || run(plan, &input, false);
    let peer = Rival { name: "shunt without updates", run: &quiet };
    hold(plan, &mut rate, &|| run(plan, &input, true), Some(peer), None)?;
    let mut lost = Figure::new(format!("updates-lost-{flows}"), "the same: frames lost", "frames", Bar::Zero);
    for frames in rate.ours.beside.get("frames lost").into_iter().flatten() {
        lost.ours.push((*frames).into());
    }
    Ok(vec![rate, lost])
}

fn settings() -> Settings {
    let mut settings = l3(FlowCache::default());
    settings.ports += &spare(STATIONS[0]);
    settings
}

fn run(plan: &Plan, input: &Input, change: bool) -> Result<Sample> {
    let (_node, mut switch) = start(input, &settings())?;
    let texts = texts(&switch.config()?)?;
    let before = switch.only_worker()?;
    let started = Instant::now();
    let mut changes = 0;
    if change {
        while started.elapsed() < plan.window() {
            let text = &texts[(changes + 1) % texts.len()];
            switch.apply(text.clone())?;
            changes += 1;
            let due = started + PACE * u32::try_from(changes)?;
            stop::pause(due.saturating_duration_since(Instant::now()))?;
        }
    } else {
        stop::pause(plan.window())?;
    }
    let after = switch.only_worker()?;
    let changed_in = started.elapsed();
    let cycles = after.cycles.unwrap_or_default();
    let seconds = (cycles.total - before.cycles.unwrap_or_default().total) as f64 / cycles.hz as f64;
    let mpps = (after.packets - before.packets) as f64 / seconds / 1e6;
    ensure!(mpps > 0.0, "shuntd received nothing");
    let drops = switch.drops()?;
    ensure!(drops.is_empty(), "shuntd dropped frames: {drops}");
    let lost = account(&mut switch, input)? as f64;
    let beside = vec![("frames lost", lost), ("updates/s", changes as f64 / changed_in.as_secs_f64())];
    Ok(Sample::new(mpps, beside))
}

/// The running configuration with either station at the spare port.
fn texts(running: &str) -> Result<[String; 2]> {
    let [first, second] =
        STATIONS.map(|station| (format!("02:00:00:02:00:{station:02x}"), format!("10.0.2.{station}")));
    ensure!(running.contains(&first.0), "the running configuration has no station {}: {running}", first.0);
    Ok([running.to_owned(), running.replace(&first.0, &second.0).replace(&first.1, &second.1)])
}

/// Ends the sources; frames that came in and did not go out.
fn account(switch: &mut Switch, input: &Input) -> Result<u64> {
    for index in 0..input.captures.len() {
        switch.delete_port(&format!("in{index}"))?;
    }
    for _ in 0..50 {
        let received = switch.only_worker()?.packets;
        let sent = switch.port("out")?.tx_packets;
        if received == switch.only_worker()?.packets {
            return received.checked_sub(sent).context("more was sent than received");
        }
    }
    Err(anyhow!("frames come in without a source"))
}
