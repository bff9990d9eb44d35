//! 1,000,000 live connections: the rate through them against the rate through 1,000, and what one takes in memory.
//!
//! The input is of [`CROWD`] pods a file, each connection a frame and its answer, round and round: no two packets of one connection come
//! near each other, so its entry, its record and the frame itself come from memory each time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::nat::masqueraded;
use super::network::FlowCache;
use super::pods::allowed;
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Cell, Figure, Sample};
use crate::frames::Answers;
use crate::oneway::{self, Input, Settings, configured, sources};
use crate::plan::{CROWD, Plan};
use crate::stop;
use crate::switch::Switch;

/// What the rate is held against.
const FEW: u32 = 1_000;
/// Room for all connections, and not much more.
const ROOM: (u32, u32) = (21, 20);
/// Until a UDP connection is two seconds old every packet of it is looked at.
const CALM: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);
/// The cache has the flows of live connections when so many of its searches in a [`LOOK`] find one, %. While all are opened at once few
/// do, and for a while it takes in one in sixteen only.
const SETTLED: f64 = 99.0;
const LOOK: Duration = Duration::from_millis(250);

/// What the connections go through.
#[derive(Clone, Copy, Debug)]
pub enum Through {
    /// A policy allows them; nothing is translated.
    Policy,
    /// Source NAT.
    Nat,
}

impl Through {
    pub(super) fn answers(self) -> Answers {
        match self {
            Self::Policy => Answers::Plain,
            Self::Nat => Answers::Masqueraded,
        }
    }

    /// What shuntd is told for so many connections of so many pods.
    pub(super) fn settings(self, connections: u32, pods: u32, more: &str) -> Settings {
        let capacity = connections / ROOM.1 * ROOM.0;
        let cache = FlowCache::of_connections(connections).section();
        let more = format!("{cache}[connections]\ncapacity = {capacity}\n{more}");
        match self {
            Self::Policy => allowed(&more, pods),
            Self::Nat => masqueraded(&more, pods),
        }
    }
}

/// Measures `flows` live connections.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32, bar: Bar, through: Through) -> Result<Vec<Figure>> {
    let (scenario, way) = match through {
        Through::Policy => ("ct-live", "allowed by a policy"),
        Through::Nat => ("snat-live", "through source NAT"),
    };
    let what = format!("{way}, {flows} live connections, both directions, against {FEW}");
    let mut figure = Figure::new(format!("{scenario}-{flows}"), what, "Mpps", bar);
    figure.cell = Some(Cell { scenario, flows });
    let inputs = (plan.crowd(flows, through.answers())?, plan.crowd(FEW, through.answers())?);
    let _pages = oneway::pages(&inputs.0)?;
    let settings = through.settings(flows, pods(&inputs.0), "");
    let few = || rate(&inputs.1, &settings, FEW, plan.window());
    let few = Rival { name: "shunt, 1,000 connections", run: &few };
    hold(plan, &mut figure, &|| rate(&inputs.0, &settings, flows, plan.window()), Some(few), None)?;
    figure.notes.push(
        "both have the same configuration: table and cache have room for all of the connections".into(),
    );
    Ok(vec![figure])
}

pub(super) fn pods(input: &Input) -> u32 {
    CROWD * input.captures.len() as u32
}

/// One run with `count` live connections.
fn rate(input: &Input, settings: &Settings, count: u32, window: Duration) -> Result<Sample> {
    let node = shunt_tests::Netns::new()?;
    let mut switch = Switch::start(&node, &configured(input, settings, &sources(input, settings)))?;
    wait_for(&mut switch, |entries| entries >= count.into())?;
    stop::pause(CALM)?;
    settle(&mut switch)?;
    let work = switch.watch(window)?;
    let table = switch.connections()?;
    ensure!(table.entries == u64::from(count), "there are {} connections, not {count}", table.entries);
    let drops = switch.drops()?;
    ensure!(drops.is_empty(), "shuntd dropped frames: {drops}");
    let beside = vec![
        ("cycles/packet", work.cycles_per_packet),
        ("cache hits %", work.hit_percent.unwrap_or_default()),
        ("bytes of the table", table.bytes as f64),
        ("bytes a live connection", table.bytes as f64 / f64::from(count)),
    ];
    Ok(Sample::new(work.mpps, beside))
}

/// Waits until the cache has the flows.
fn settle(switch: &mut Switch) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let hits = switch.watch(LOOK)?.hit_percent.unwrap_or_default();
        if hits >= SETTLED {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "only {hits:.1} % of the packets are of cached flows; is the cache too small?"
        );
    }
}

/// Waits until there are as many connections as `wanted` says.
pub(super) fn wait_for(switch: &mut Switch, wanted: impl Fn(u64) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let table = switch.connections()?;
        if wanted(table.entries) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "there are {} connections; {}", table.entries, switch.drops()?);
        stop::pause(Duration::from_millis(5))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_ones_that_the_daemon_takes() {
        for through in [Through::Policy, Through::Nat] {
            let settings = through.settings(1_000_000, 200, "udp_timeout_stream = \"1s\"\n");
            if let Err(errors) = shunt_config::parse(&(settings.sections + &settings.ports), "bench") {
                panic!("{errors}");
            }
        }
    }
}
