//! Changing the topology under load on other ports: frames lost, workers stalled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shunt_tests::{Interface, Veth, testpmd};

use super::loaded::Loaded;
use crate::cores;
use crate::figure::{Bar, Figure, Sample, Series, quantile};
use crate::machine::Ticks;
use crate::plan::Plan;
use crate::pods;
use crate::stolen;
use crate::stop;
use crate::switch::{Switch, device_port};

/// Time between two changes: 1,000 in 10 s.
const PACE: Duration = Duration::from_millis(10);
/// The run of 1,000 is as long as the issue says when the plan's length is not shorter than this.
const FULL: u64 = 5;
/// The daemon keeps 256 publications; lessons publish, too.
const COLLECT_EVERY: usize = 64;
/// Ports added and removed in one run.
const PLUGS: usize = 100;

/// 1,000 publications in 10 s.
pub(super) fn swaps(plan: &Plan) -> Result<Vec<Figure>> {
    let changes = if plan.seconds >= FULL { 1000 } else { 100 * plan.seconds as usize };
    let name = |what: &str| {
        format!("{changes} topology swaps in {} s under load on other ports: {what}", changes / 100)
    };
    let mut lost = Figure::new("swaps", name("frames lost"), "frames", Bar::Zero);
    let mut stall = Figure::new("swaps-stall", name("worst worker stall"), "us", Bar::AllBelow(50.0));
    let mut alone = Series::new("a thread that only reads the clock");
    for _ in 0..plan.runs {
        let before = Ticks::now()?;
        let spare = device_port("spare", "default", &testpmd::null(1), &[])
            + &device_port("spare2", "pods", &testpmd::null(2), &[]);
        let (swapped, outcome) = Loaded::start(plan, &spare)?.during(|switch| swap(switch, changes))?;
        let stolen = Ticks::now()?.stolen_since(before) * 100.0;
        lost.ours.push(Sample::new(outcome.lost(), outcome.beside()));
        lost.ours.beside.entry("swaps/s").or_default().push(changes as f64 / swapped.took.as_secs_f64());
        stall.ours.push(swapped.sample(stolen)?);
        alone.push(stolen::gaps(cores::SWITCH, swapped.took)?);
    }
    stall.peer = Some(alone);
    stall.notes.push("a stall is the whole loop iteration in which a worker took the new topology over, its burst included; beside it the iterations right before, as many, which took nothing over".into());
    stall.notes.push("beside ours: after each run, for as long, on the same core, a thread that does nothing but read the clock; what interrupts it is the machine".into());
    stall.notes.push(note_on_percentiles(&stall));
    Ok(vec![lost, stall])
}

/// What was learned of the stalls of one run.
struct Swapped {
    took: Duration,
    /// Microseconds by generation, of the iteration that took it over and of the one before; `None` while it is not known.
    stalls: BTreeMap<u64, Option<(f64, f64)>>,
}

impl Swapped {
    fn sample(&self, stolen: f64) -> Result<Sample> {
        let (stalls, before): (Vec<f64>, Vec<f64>) = self.stalls.values().copied().flatten().unzip();
        let of = |times: &[f64], q| quantile(times, q).context("no stall is known");
        let at = |q| of(&stalls, q);
        let beside = vec![
            ("p50 us", at(0.5)?),
            ("p99 us", at(0.99)?),
            ("p99.9 us", at(0.999)?),
            ("before: worst us", of(&before, 1.0)?),
            ("before: p99 us", of(&before, 0.99)?),
            ("swaps with a known stall", stalls.len() as f64),
            ("swaps without", (self.stalls.len() - stalls.len()) as f64),
            ("time stolen %", stolen),
        ];
        Ok(Sample::new(at(1.0)?, beside))
    }
}

fn swap(switch: &mut Switch, changes: usize) -> Result<Swapped> {
    let first = switch.generations()?.first().map_or(0, |newest| newest.generation);
    let mut stalls = BTreeMap::new();
    let mut collect = |switch: &mut Switch| -> Result<()> {
        let rows = switch.generations()?.into_iter().filter(|row| row.generation > first);
        stalls.extend(rows.map(|row| (row.generation, row.worst_stall_us.zip(row.worst_before_us))));
        Ok(())
    };
    let started = Instant::now();
    for change in 0..changes {
        let due = started + PACE * u32::try_from(change)?;
        stop::pause(due.saturating_duration_since(Instant::now()))?;
        let port = if change % 4 < 2 { "spare" } else { "spare2" };
        switch.set_port(port, change % 2 == 1)?;
        if change % COLLECT_EVERY == COLLECT_EVERY - 1 {
            collect(switch)?;
        }
    }
    let took = started.elapsed();
    collect(switch)?;
    ensure!(
        stalls.len() >= changes,
        "{} publications are on record, {changes} changes were made",
        stalls.len()
    );
    Ok(Swapped { took, stalls })
}

/// Which percentile meets the bar in every run, for a machine that steals time.
fn note_on_percentiles(stall: &Figure) -> String {
    let meets = |name: &str| {
        stall.ours.beside.get(name).is_some_and(|values| values.iter().all(|value| *value < 50.0))
    };
    match ["p99.9 us", "p99 us", "p50 us"].into_iter().find(|name| meets(name)) {
        _ if stall.met() == Some(true) => "the worst of every run is below the bar".into(),
        Some(name) => format!("below 50 us in every run: {}", name.trim_end_matches(" us")),
        None => "not even the median is below 50 us in every run".into(),
    }
}

/// A port added and removed 100 times.
pub(super) fn hotplug(plan: &Plan) -> Result<Vec<Figure>> {
    let plugs = if plan.seconds >= FULL { PLUGS } else { 20 * plan.seconds as usize };
    let what =
        format!("port added and removed {plugs} times under load on two others: frames lost on the others");
    let mut figure = Figure::new("hotplug", what, "frames", Bar::Zero);
    for _ in 0..plan.runs {
        let loaded = Loaded::start(plan, "")?;
        // A third pod whose port comes and goes.
        let pod = pods::quiet()?;
        let veth = Veth::pair("spare", Some(&loaded.pods.node), &pod, &Interface::default())?;
        let (took, outcome) = loaded.during(|switch| plug(switch, &veth, plugs))?;
        let mut sample = Sample::new(outcome.lost(), outcome.beside());
        sample.beside.push(("ms for adding and removing", took.as_secs_f64() * 1e3 / plugs as f64));
        figure.ours.push(sample);
    }
    figure
        .notes
        .push("every other time a veth in the pods' network, else a net_null in the other network".into());
    Ok(vec![figure])
}

fn plug(switch: &mut Switch, veth: &Veth, plugs: usize) -> Result<Duration> {
    let started = Instant::now();
    for turn in 0..plugs {
        stop::check()?;
        if turn % 2 == 0 {
            switch.add_port(&[
                ("name", "spare"),
                ("kind", "veth"),
                ("device", veth.host_name()),
                ("network", "pods"),
            ])?;
        } else {
            switch.add_port(&[
                ("name", "spare"),
                ("kind", "dpdk"),
                ("devargs", &testpmd::null(7)),
                ("network", "default"),
            ])?;
        }
        switch.delete_port("spare")?;
    }
    Ok(started.elapsed())
}
