//! shuntd on the one-way path.

use std::time::Duration;

use anyhow::{Result, ensure};
use shunt_tests::Netns;

use super::{Input, Opening};
use crate::figure::Sample;
use crate::stop;
use crate::switch::{Switch, Work, device_port, one_worker};

/// Frames in one iteration of a worker, at most.
const MAX_BURST: u64 = 64;

/// Time between two looks at how many connections there are.
const LOOK: Duration = Duration::from_millis(2);

/// What is counted beside: frames whose flow was in the flow cache.
pub const HIT_PERCENT: &str = "cache hits %";
/// The same: frames whose flow was entered into it.
pub const ENTERED_PERCENT: &str = "entered %";

/// What stands in the configuration beside worker, memory and sources.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Network of the sources.
    pub network: &'static str,
    /// Sections before the ports: flow cache, routers, networks.
    pub sections: String,
    /// The ports behind the sources; one is named `out`.
    pub ports: String,
    /// Further keys of the sources, one a line.
    pub source_keys: &'static str,
    /// The first frames teach it where the others go: what is dropped before it is warm does not count.
    pub learns: bool,
}

/// The sources as sections: `in0`, `in1` and so on.
pub fn sources(input: &Input, settings: &Settings) -> String {
    let port = |(index, capture): (usize, &std::path::PathBuf)| {
        let device = super::source(index, capture);
        device_port(&format!("in{index}"), settings.network, &device, &[]) + settings.source_keys
    };
    input.captures.iter().enumerate().map(port).collect()
}

/// Starts it and waits until it is warm.
///
/// # Errors
/// It does not start, or a signal came.
pub fn start(input: &Input, settings: &Settings) -> Result<(Netns, Switch)> {
    let node = Netns::new()?;
    let switch = Switch::start(&node, &configured(input, settings, &sources(input, settings)))?;
    stop::pause(input.warm_up())?;
    Ok((node, switch))
}

/// The whole configuration with these sources, and buffers for all of `input`.
pub fn configured(input: &Input, settings: &Settings, sources: &str) -> String {
    let mbufs = input.mbufs();
    let worker =
        one_worker("busy", "require").replacen("[memory]\n", &format!("[memory]\nmbufs = {mbufs}\n"), 1);
    worker + &settings.sections + sources + &settings.ports
}

/// How fast it opens the connections of an input that has each once, `all` of them.
///
/// # Errors
/// It does not start, dropped frames, opens fewer, or a signal came.
pub fn ours_opening(input: &Input, settings: &Settings, all: u64) -> Result<Opening> {
    let node = Netns::new()?;
    let mut switch = Switch::start(&node, &configured(input, settings, ""))?;
    let mut opening = Opening::new(all);
    switch.apply(configured(input, settings, &sources(input, settings)))?;
    while !opening.is_over()? {
        opening.note(switch.connections()?.opened);
        stop::pause(LOOK)?;
    }
    let drops = switch.drops()?;
    ensure!(drops.is_empty(), "shuntd dropped frames: {drops}");
    Ok(opening)
}

/// One run: every frame that came in must have gone out.
///
/// # Errors
/// It does not start, dropped frames, or a signal came.
pub fn ours(input: &Input, settings: &Settings, window: Duration) -> Result<Sample> {
    let (_node, mut switch) = start(input, settings)?;
    let before = if settings.learns { Passed::before(&mut switch)? } else { Passed::default() };
    let work = switch.watch(window)?;
    let after = Passed::after(&mut switch)?;
    ensure!(after.drops == before.drops, "shuntd dropped frames: {}; before: {}", after.drops, before.drops);
    let (received, sent) = (after.received - before.received, after.sent - before.sent);
    ensure!(sent + MAX_BURST >= received, "shuntd received {received} frames and sent {sent}");
    Ok(sample(work))
}

/// What went through since the start.
#[derive(Default)]
struct Passed {
    drops: String,
    received: u64,
    sent: u64,
}

/// Frames go on while the counters are read one after another: each side is read in the order in which they can only make
/// more frames sent than received, but for a burst that is under way.
impl Passed {
    fn before(switch: &mut Switch) -> Result<Self> {
        let sent = sent(switch)?;
        Ok(Self { drops: switch.drops()?, received: received(switch)?, sent })
    }

    fn after(switch: &mut Switch) -> Result<Self> {
        let received = received(switch)?;
        Ok(Self { drops: switch.drops()?, received, sent: sent(switch)? })
    }
}

fn received(switch: &mut Switch) -> Result<u64> {
    let ports = switch.ports()?;
    Ok(ports.iter().filter(|port| port.name.starts_with("in")).map(|port| port.rx_packets).sum())
}

fn sent(switch: &mut Switch) -> Result<u64> {
    let ports = switch.ports()?;
    Ok(ports.iter().filter(|port| port.name.starts_with("out")).map(|port| port.tx_packets).sum())
}

fn sample(work: Work) -> Sample {
    let mut beside = vec![("cycles/packet", work.cycles_per_packet)];
    beside.extend(work.hit_percent.map(|percent| (HIT_PERCENT, percent)));
    beside.extend(work.entered_percent.map(|percent| (ENTERED_PERCENT, percent)));
    Sample::new(work.mpps, beside)
}
