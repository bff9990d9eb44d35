//! iperf3 between two pods: through shuntd, and through a Linux bridge between the same kind of namespaces.
//!
//! Client and server share the house core in all contestants; shuntd's worker has the other one. The bridge works in the
//! sender's context and needs none.

use anyhow::Result;
use shunt_tests::Iperf;
use shunt_tests::iperf::Tcp;

use crate::contest::{Rival, hold};
use crate::cores;
use crate::figure::{Bar, Figure, Sample};
use crate::plan::Plan;
use crate::pods::{Pods, address};
use crate::switch::{Switch, one_worker};

/// How the pods are attached to shuntd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Veth,
    Tap,
}

/// Measures `streams` connections at once.
pub(super) fn measure(plan: &Plan, kind: Kind, streams: u32) -> Result<Vec<Figure>> {
    let name = if kind == Kind::Veth { "veth" } else { "tap" };
    let (plural, bar) =
        if streams == 1 { ("stream", Bar::Ratio(0.85)) } else { ("streams", Bar::Ratio(0.4)) };
    let what = format!("TCP (iperf3), {streams} {plural}, between two `{name}` pods");
    let mut figure = Figure::new(format!("tcp-{name}-{streams}"), what, "Gbit/s", bar);
    let load = Tcp { seconds: u32::try_from(plan.seconds)?, streams, reverse: false };
    let peer = Rival { name: "Linux bridge + veth", run: &|| bridge(&load) };
    hold(plan, &mut figure, &|| ours(kind, &load), Some(peer), None)?;
    figure.notes.push(format!(
        "client and server on core {} in both; shuntd's worker, adaptive, on core {}",
        cores::HOUSE,
        cores::SWITCH
    ));
    Ok(vec![figure])
}

fn ours(kind: Kind, load: &Tcp) -> Result<Sample> {
    let pods = if kind == Kind::Veth { Pods::veth(2)? } else { Pods::bare(2)? };
    let ports = if kind == Kind::Veth { pods.veth_ports("default") } else { pods.tap_ports("default") };
    let mut switch = Switch::start(&pods.node, &(one_worker("adaptive", "auto") + &ports))?;
    if kind == Kind::Tap {
        pods.configure_taps()?;
    }
    let before = switch.only_worker()?;
    let mut sample = transfer(&pods, load)?;
    let after = switch.only_worker()?;
    sample.beside.push(("frames", (after.packets - before.packets) as f64));
    Ok(sample)
}

fn bridge(load: &Tcp) -> Result<Sample> {
    let pods = Pods::veth(2)?;
    pods.bridge()?;
    transfer(&pods, load)
}

fn transfer(pods: &Pods, load: &Tcp) -> Result<Sample> {
    pods.meet()?;
    let mut server = Iperf::serve(&pods.pods[1], &address(1))?;
    let result = server.tcp(&pods.pods[0], load)?;
    Ok(Sample::new(result.gbits, vec![("resent segments", result.retransmits as f64)]))
}
