//! Pods of two nodes over VXLAN: TCP throughput, and latency on one node and across two, each against the kernel's bridge and
//! VXLAN device between the same namespaces.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shunt_tests::iperf::Tcp;
use shunt_tests::{Iperf, Ping};

use crate::contest::{Rival, hold};
use crate::figure::{Bar, Figure, Sample, quantile};
use crate::pair::{Carrier, Pair, placement};
use crate::plan::Plan;
use crate::pods::address;

/// Echo requests a second, as an interval.
const INTERVAL_MS: u32 = 5;
/// Longer than sockperf takes to connect and to report.
const OVERHEAD: Duration = Duration::from_secs(15);

/// TCP between two nodes.
pub(super) fn tcp(plan: &Plan, streams: u32) -> Result<Vec<Figure>> {
    let plural = if streams == 1 { "stream" } else { "streams" };
    let what = format!("TCP (iperf3), {streams} {plural}, between `veth` pods of two nodes over VXLAN");
    let mut figure = Figure::new(format!("tcp-vxlan-{streams}"), what, "Gbit/s", Bar::Ratio(0.5));
    let load = Tcp { seconds: u32::try_from(plan.seconds)?, streams, reverse: false };
    let run = |carrier| {
        let mut pair = Pair::on_two_nodes(carrier)?;
        let before = pair.frames()?;
        let result = {
            let mut server = Iperf::serve(&pair.pods[1], &address(1))?;
            server.tcp(&pair.pods[0], &load)?
        };
        let mut beside = vec![("resent segments", result.retransmits as f64)];
        if carrier == Carrier::Shunt {
            beside.push(("frames", (pair.frames()? - before) as f64));
            eprintln!("bench: {}: drops: {}", streams, pair.drops()?);
        }
        Ok(Sample::new(result.gbits, beside))
    };
    let ours = || run(Carrier::Shunt);
    let peer = Rival { name: "Linux bridge + vxlan + veth", run: &|| run(Carrier::Kernel) };
    hold(plan, &mut figure, &ours, Some(peer), None)?;
    figure.notes.push(placement());
    Ok(vec![figure])
}

/// Round trips, where and of what.
pub(super) fn latency(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (place, words, on) in [
        ("same-node", "pods of one node", Pair::on_one_node as fn(Carrier) -> Result<Pair>),
        ("cross-node", "pods of two nodes over VXLAN", Pair::on_two_nodes),
    ] {
        for (kind, name, measure) in [
            ("ping", "ICMP echo, 200 a second", echoes as fn(&Plan, &Pair) -> Result<Sample>),
            ("tcp-rr", "TCP request and response of 64 bytes, one at a time (sockperf)", exchanges),
        ] {
            let what = format!("{name}, `veth` {words}: 99th percentile of the round trip");
            let mut figure = Figure::new(format!("{kind}-{place}"), what, "us", Bar::Below(1000.0));
            let run = |carrier| measure(plan, &on(carrier)?);
            let rival =
                if place == "same-node" { "Linux bridge + veth" } else { "Linux bridge + vxlan + veth" };
            let peer = Rival { name: rival, run: &|| run(Carrier::Kernel) };
            hold(plan, &mut figure, &|| run(Carrier::Shunt), Some(peer), None)?;
            figure.notes.push(placement());
            figures.push(figure);
        }
    }
    Ok(figures)
}

/// Percentile 99, with the median beside.
fn sample(mut times: Vec<f64>) -> Result<Sample> {
    times.sort_unstable_by(f64::total_cmp);
    let at = |q| quantile(&times, q).context("no answers");
    Ok(Sample::new(
        at(0.99)?,
        vec![("median us", at(0.5)?), ("longest us", at(1.0)?), ("answers", times.len() as f64)],
    ))
}

fn echoes(plan: &Plan, pair: &Pair) -> Result<Sample> {
    let to = address(1);
    let count = u32::try_from(plan.seconds)? * 1000 / INTERVAL_MS;
    let answers = Ping { count, interval_ms: INTERVAL_MS, ..Ping::to(&to) }.run(&pair.pods[0])?;
    ensure!(answers.received == count, "{} of {count} echo requests were answered", answers.received);
    sample(answers.rtts.iter().map(|(_, time)| time.as_secs_f64() * 1e6).collect())
}

fn exchanges(plan: &Plan, pair: &Pair) -> Result<Sample> {
    let to = address(1);
    let server = pair.pods[1].spawn(&["sockperf", "server", "--tcp", "-i", &to, "-p", "5001"])?;
    server.expect("Warmup stage", 0, OVERHEAD)?;
    let seconds = plan.seconds.to_string();
    let argv =
        ["sockperf", "ping-pong", "--tcp", "-i", &to, "-p", "5001", "-t", &seconds, "-m", "64", "--full-rtt"];
    let output = pair.pods[0].cmd(&argv).timeout(plan.window() + OVERHEAD).check()?;
    exchanged(&output.stdout).with_context(|| format!("sockperf said:\n{}", output.stdout))
}

/// Reads sockperf's summary: lines as `sockperf: ---> percentile 99.000 =   61.253`.
fn exchanged(text: &str) -> Result<Sample> {
    let number = |key: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.contains(key))?;
        line.rsplit_once('=')?.1.trim().parse().ok()
    };
    let count = text.lines().find_map(|line| {
        let (_, rest) = line.split_once("[Valid Duration]")?;
        rest.split_once("ReceivedMessages=")?.1.trim().parse::<f64>().ok()
    });
    let at = |key| number(key).with_context(|| format!("no {key:?} in it"));
    let beside = vec![
        ("median us", at("percentile 50.000")?),
        ("longest us", at("<MAX> observation")?),
        ("answers", count.context("no number of messages in it")?),
    ];
    Ok(Sample::new(at("percentile 99.000")?, beside))
}
