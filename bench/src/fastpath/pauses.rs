//! The longest iteration of a worker while 1,000,000 connections are opened, listed, ended by hand and expire.
//!
//! A light load goes on all the time, so that every iteration is of one with frames and in the daemon's own histogram, whose steps
//! are powers of two: the value is the upper end of the highest step that was reached. What the machine takes by itself is
//! measured beside it: by the same worker while nothing happens to a million connections, and by a thread that only reads the clock.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shunt_switch::control::api::proto;
use shunt_tests::{Cmd, Netns, shuntd};

use super::live::{Through, wait_for};
use crate::cores;
use crate::figure::{Bar, Cell, Figure, Sample, Series};
use crate::frames::{self, PODS, conversations_of};
use crate::oneway::{self, Input, configured, sources};
use crate::plan::Plan;
use crate::stolen;
use crate::stop;
use crate::switch::{Switch, device_port};

/// Connections of the light load, and the pod that has them: none of the crowd's.
const LIGHT: u32 = 1_000;
const LIGHT_POD: u8 = PODS as u8 - 1;
const THROUGH: Through = Through::Policy;
/// The step of the histogram that ends at 2^20 ns, 1.05 ms: what is in a higher one is longer than the bar.
const MILLISECOND: usize = 20;
/// What is asked for the programs' ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// Silence after which a connection ends, where all are to.
const SOON: &str = "udp_timeout_stream = \"1s\"\nudp_timeout = \"1s\"\n";

/// What happens meanwhile, by name and in words.
const PHASES: [(&str, &str); 6] = [
    ("pause-quiet", "nothing, with the light load alone"),
    ("pause-create", "all are opened, eight ports added for it"),
    ("pause-live", "nothing, with packets of all of them"),
    ("pause-dump", "`shunt conntrack -L`, with packets of all of them"),
    ("pause-flush", "`shunt conntrack -F`, and all are opened again"),
    ("pause-expire", "all but the light load's are silent for a second and end"),
];

/// Measures with `flows` connections.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let mut figures = PHASES.map(|(name, text)| {
        let what = format!("{flows} connections, longest iteration of the worker: {text}");
        let mut figure = Figure::new(format!("{name}-{flows}"), what, "us", bar);
        figure.cell = Some(Cell { scenario: name, flows });
        figure
    });
    let input = plan.crowd(flows, THROUGH.answers())?;
    let light = plan.dir().join("light.pcap");
    frames::write(&light, conversations_of(LIGHT_POD, LIGHT, THROUGH.answers()))?;
    let _pages = oneway::pages(&input)?;
    let mut clock = Series::new("a thread that only reads the clock");
    for _ in 0..plan.runs {
        let began = Instant::now();
        let samples = run(&input, &light, flows, plan.window())?;
        for (figure, sample) in figures.iter_mut().zip(samples) {
            figure.ours.push(sample);
        }
        clock.push(stolen::gaps(cores::SWITCH, began.elapsed().min(plan.window() * 4))?);
    }
    for figure in &mut figures {
        figure.peer = Some(clock.clone());
        figure.notes.push("the histogram's steps are powers of two: 1,049 us is the end of the one that the bar of 1 ms is in".into());
    }
    Ok(figures.into())
}

/// One run: the phases in their order.
fn run(input: &Input, light: &Path, flows: u32, window: Duration) -> Result<Vec<Sample>> {
    let devargs = format!("net_pcap63,rx_pcap={},infinite_rx=1", light.display());
    let config = |all: bool, more: &str| {
        let settings = THROUGH.settings(flows, PODS, more);
        let light = device_port("light", settings.network, &devargs, &[]);
        let all = if all { sources(input, &settings) } else { String::new() };
        configured(input, &settings, &(light + &all))
    };
    let (few, many) = (u64::from(LIGHT), u64::from(LIGHT + flows));
    let node = Netns::new()?;
    let mut switch = Switch::start(&node, &config(false, ""))?;
    wait_for(&mut switch, |entries| entries == few)?;
    let mut samples = Vec::new();
    let mut phase = |switch: &mut Switch, act: &dyn Fn(&mut Switch) -> Result<()>| -> Result<()> {
        let before = switch.only_worker()?;
        act(switch)?;
        samples.push(longest(&before, &switch.only_worker()?)?);
        Ok(())
    };
    let nothing = |_: &mut Switch| Ok(stop::pause(window)?);
    phase(&mut switch, &nothing)?;
    phase(&mut switch, &|switch| {
        switch.apply(config(true, ""))?;
        wait_for(switch, |entries| entries == many)
    })?;
    phase(&mut switch, &nothing)?;
    phase(&mut switch, &|switch| {
        let said = conntrack(switch, "-L | wc -l")?;
        let lines: u64 = said.trim().parse().with_context(|| format!("no number of lines: {said}"))?;
        ensure!(lines >= many, "{lines} lines were listed, of {many} connections");
        Ok(())
    })?;
    let drops = switch.drops()?;
    ensure!(drops.is_empty(), "shuntd dropped frames: {drops}");
    // From here on answers come whose connection has just been ended: those are refused.
    phase(&mut switch, &|switch| {
        conntrack(switch, "-F")?;
        wait_for(switch, |entries| entries == many)
    })?;
    let deleted = switch.connections()?.deleted;
    ensure!(deleted >= many / 2, "{deleted} connections were ended by hand, of {many}");
    phase(&mut switch, &|switch| {
        switch.apply(config(false, SOON))?;
        wait_for(switch, |entries| entries <= few)
    })?;
    Ok(samples)
}

/// What `shunt conntrack` says, by a shell's words.
fn conntrack(switch: &Switch, words: &str) -> Result<String> {
    let (program, socket) = (shuntd::binary("shunt")?, switch.socket());
    let line = format!("{} --socket {} conntrack {words}", program.display(), socket.display());
    Ok(Cmd::new(["sh", "-ec", &line]).timeout(PATIENCE).check()?.stdout)
}

/// The longest iteration between two looks, and how many were longer than a millisecond.
fn longest(before: &proto::Worker, after: &proto::Worker) -> Result<Sample> {
    let (then, now) = (before.pace.clone().unwrap_or_default(), after.pace.clone().unwrap_or_default());
    let steps: Vec<u64> = now.latency.iter().zip(&then.latency).map(|(now, then)| now - then).collect();
    let highest = steps.iter().rposition(|count| *count > 0).context("the worker moved no frame")?;
    let long: u64 = steps.iter().skip(MILLISECOND + 1).sum();
    let cycles = |worker: &proto::Worker| worker.cycles.unwrap_or_default();
    let seconds = (cycles(after).total - cycles(before).total) as f64 / cycles(after).hz as f64;
    let beside = vec![
        ("above 1.05 ms", long as f64),
        ("above 1.05 ms a second", long as f64 / seconds),
        ("ms that others had its core", 1e3 * (after.waited_seconds - before.waited_seconds)),
        ("ms stolen", 1e3 * (after.steal_seconds - before.steal_seconds)),
        ("seconds", seconds),
        ("iterations", steps.iter().sum::<u64>() as f64),
    ];
    Ok(Sample::new((1_u64 << highest) as f64 / 1e3, beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_iteration_is_of_what_happened_between_the_looks() {
        let worker = |latency: &[u64], total| proto::Worker {
            pace: Some(proto::Iterations { latency: latency.to_vec(), ..Default::default() }),
            cycles: Some(proto::Cycles { total, hz: 1_000, ..Default::default() }),
            ..Default::default()
        };
        let mut steps = [0; 30];
        (steps[12], steps[25]) = (100, 1);
        let before = worker(&steps, 1_000);
        (steps[12], steps[20]) = (150, 2);
        let sample = longest(&before, &worker(&steps, 3_000)).unwrap();
        assert_eq!((sample.value, sample.beside[0].1, sample.beside[5].1), (1_048.576, 0.0, 52.0));
        steps[21] = 1;
        let sample = longest(&before, &worker(&steps, 3_000)).unwrap();
        assert_eq!((sample.value, sample.beside[0].1, sample.beside[1].1), (2_097.152, 1.0, 0.5));
        assert!(longest(&before, &before).is_err(), "nothing moved");
    }
}
