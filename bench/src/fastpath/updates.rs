//! The rate while the topology changes 100 times a second, held against the same without changes; every frame is accounted for.
//!
//! A change moves a station of a port that has no traffic, in the network that the traffic goes to: what a pod's coming and
//! going does to the topology, without opening a device.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use shunt_switch::control::api::proto;

use super::network::{FlowCache, l3, spare};
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Cell, Figure, Sample};
use crate::oneway::{self, HIT_PERCENT, Input, Settings, start};
use crate::plan::Plan;
use crate::stop;
use crate::switch::Switch;

/// Time between two changes.
const PACE: Duration = Duration::from_millis(10);
/// Entries of the cache in which each flow has one, at least.
const LEAST_ENTRIES: u32 = 262_144;
/// Percent of the flows that are in it at least, and of the frames whose flow is.
const LEAST_CACHED: u64 = 99;
/// The spare port's station, by turns.
const STATIONS: [u32; 2] = [251, 252];

/// Measures `flows` flows with the daemon's own cache, whose key is only as wide as the tables read: a few hundred entries.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32) -> Result<Vec<Figure>> {
    held(plan, Cell { scenario: "updates", flows }, (FlowCache::default(), Update::Station))
}

/// Measures `flows` flows of which each has an entry of its own: every one of them is found right, or not, after each update.
///
/// # Errors
/// As [`measure`], or not every flow was in the cache.
pub fn measure_cached(plan: &Plan, flows: u32) -> Result<Vec<Figure>> {
    held(plan, Cell { scenario: "updates-full", flows }, (each_alone(flows), Update::Station))
}

/// The same when every update makes all flows doubtful: what one generation for all, or one for each network, would cost (ADR 6).
///
/// # Errors
/// As [`measure_cached`].
pub fn measure_doubtful(plan: &Plan, flows: u32) -> Result<Vec<Figure>> {
    held(plan, Cell { scenario: "updates-all", flows }, (each_alone(flows), Update::Network))
}

fn each_alone(flows: u32) -> FlowCache {
    let entries = (2 * flows).next_power_of_two().max(LEAST_ENTRIES);
    FlowCache { entries: Some(entries), full_key: true, enters_all: false }
}

/// What an update changes, of what has no traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Update {
    /// The station of a port: rows that no flow asks for.
    Station,
    /// A network comes or goes, and with it what all stamps are about.
    Network,
}

fn held(plan: &Plan, cell: Cell, (cache, update): (FlowCache, Update)) -> Result<Vec<Figure>> {
    let Cell { scenario, flows } = cell;
    let input = plan.input(flows)?;
    let bar = if update == Update::Station { Bar::Ratio(0.9) } else { Bar::Stated };
    let key = if cache.full_key { ", full key" } else { "" };
    let doubt = if update == Update::Network { " that make all doubtful" } else { "" };
    let what = format!("{flows} flows, L3{key}, 100 topology updates a second{doubt}, against none");
    let mut rate = Figure::new(format!("{scenario}-{flows}"), what, "Mpps", bar);
    rate.cell = Some(cell);
    let _pages = oneway::pages(&input)?;
    let quiet = || run(plan, &input, cache, None);
    let peer = Rival { name: "shunt without updates", run: &quiet };
    hold(plan, &mut rate, &|| run(plan, &input, cache, Some(update)), Some(peer), None)?;
    let mut lost =
        Figure::new(format!("{scenario}-lost-{flows}"), "the same: frames lost", "frames", Bar::Zero);
    for frames in rate.ours.beside.get("frames lost").into_iter().flatten() {
        lost.ours.push((*frames).into());
    }
    Ok(vec![rate, lost])
}

fn settings(cache: FlowCache) -> Settings {
    let mut settings = l3(cache);
    settings.ports += &spare(STATIONS[0]);
    settings
}

fn run(plan: &Plan, input: &Input, cache: FlowCache, update: Option<Update>) -> Result<Sample> {
    let (_node, mut switch) = start(input, &settings(cache))?;
    let texts = texts(&switch.config()?, update.unwrap_or(Update::Station))?;
    let before = switch.only_worker()?;
    let entered = before.cache.unwrap_or_default().entered;
    if cache.full_key {
        // There is room for twice as many, and none was silent: what was entered is there.
        let wanted = u64::from(input.frames) * LEAST_CACHED / 100;
        ensure!(entered >= wanted, "{entered} of {} flows were entered", input.frames);
    }
    let started = Instant::now();
    let mut changes = 0;
    if update.is_some() {
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
    let hits = hit_percent(&before, &after);
    if cache.full_key && update.is_none() {
        ensure!(hits >= LEAST_CACHED as f64, "{hits:.1} % of the frames were of cached flows");
    }
    let beside = vec![
        ("frames lost", lost),
        ("updates/s", changes as f64 / changed_in.as_secs_f64()),
        ("flows entered before", entered as f64),
        (HIT_PERCENT, hits),
    ];
    Ok(Sample::new(mpps, beside))
}

/// Frames whose flow was in the cache, of those that came between two looks.
fn hit_percent(before: &proto::Worker, after: &proto::Worker) -> f64 {
    let of = |worker: &proto::Worker| worker.cache.map_or((0, 0), |cache| (cache.hits, cache.misses));
    let ((hits, misses), (hits_before, misses_before)) = (of(after), of(before));
    let (hits, misses) = (hits - hits_before, misses - misses_before);
    hits as f64 * 100.0 / (hits + misses).max(1) as f64
}

/// The running configuration as it is, and with the change.
fn texts(running: &str, update: Update) -> Result<[String; 2]> {
    if update == Update::Network {
        return Ok([running.to_owned(), format!("{running}\n[[network]]\nname = \"late\"\n")]);
    }
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
