//! The rate by how many frames a worker takes from a queue at once (`burst` under `[workers]`), each held against the default.

use anyhow::Result;

use super::network::{FlowCache, l3};
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Figure};
use crate::oneway::{self, Settings, ours};
use crate::plan::Plan;

/// What is tried; the default is 32.
const BURSTS: [u16; 3] = [8, 16, 64];

/// Measures `flows` flows through the router, a figure for each size.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32) -> Result<Vec<Figure>> {
    let input = plan.input(flows)?;
    let _pages = oneway::pages(&input)?;
    let run = |settings: &Settings| ours(&input, settings, plan.window());
    let default = l3(FlowCache::default());
    let usual = || run(&default);
    let mut figures = Vec::new();
    for burst in BURSTS {
        let what = format!("{flows} flows, L3, bursts of {burst} frames, against 32");
        let mut figure = Figure::new(format!("bursts-{flows}-{burst}"), what, "Mpps", Bar::Stated);
        let settings = settings(burst);
        let peer = Rival { name: "shunt, bursts of 32", run: &usual };
        hold(plan, &mut figure, &|| run(&settings), Some(peer), None)?;
        figures.push(figure);
    }
    Ok(figures)
}

/// What comes first among the sections goes on where `[workers]` ends.
fn settings(burst: u16) -> Settings {
    let settings = l3(FlowCache::default());
    Settings { sections: format!("burst = {burst}\n") + &settings.sections, ..settings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oneway::configured;

    #[test]
    fn a_burst_gets_into_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let input = oneway::Input { captures: vec![dir.path().join("f1.pcap")], frames: 1 };
        for burst in BURSTS {
            let text = configured(&input, &settings(burst), "");
            let config = shunt_config::parse(&text, "bench").unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(config.workers.burst, burst);
        }
        let usual = configured(&input, &l3(FlowCache::default()), "");
        assert_eq!(shunt_config::parse(&usual, "bench").map(|config| config.workers.burst).ok(), Some(32));
    }
}
