//! What one thing more costs a frame, held against the same without it: a policer of the source that lets everything pass, and a bond of
//! two sinks in the place of one. Cycles a frame are beside the rates.

use anyhow::Result;
use shunt_tests::testpmd;

use super::network::{FlowCache, l2};
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Cell, Figure};
use crate::frames::DESTINATION;
use crate::oneway::{self, Settings, ours};
use crate::plan::Plan;

/// No frame is too many, but each is paid for, by number and by bits.
const POLICED: &str = "police_frames = 4294967295\npolice_bits = 1000000000000\n";

/// Measures a policed source with `flows` flows.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn policer(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let policed = Settings { source_keys: POLICED, ..l2(FlowCache::default()) };
    let what = "L2 by MAC out of a port with both policers, against one without";
    measure(plan, Cell { scenario: "policer", flows }, what, &policed, bar)
}

/// Measures a bond as sink with `flows` flows.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn bond(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let bonded = Settings { ports: two_sinks(), ..l2(FlowCache::default()) };
    let what = "L2 by MAC into a bond of two sinks (layer3+4), against one sink";
    measure(plan, Cell { scenario: "bond", flows }, what, &bonded, bar)
}

fn two_sinks() -> String {
    let member = |index| {
        format!("{{ name = \"link{index}\", kind = \"dpdk\", devargs = \"{}\" }}", testpmd::null(index))
    };
    format!(
        "[[port]]\nname = \"out\"\nnetwork = \"default\"\nkind = \"bond\"\nmode = \"static\"\nhash = \"layer3+4\"\n\
         members = [{}, {}]\nstations = [\"{DESTINATION}\"]\n",
        member(0),
        member(1)
    )
}

fn measure(plan: &Plan, cell: Cell, what: &str, with: &Settings, bar: Bar) -> Result<Vec<Figure>> {
    let mut figure = Figure::new(format!("{}-{}", cell.scenario, cell.flows), what, "Mpps", bar);
    let input = plan.input(cell.flows)?;
    figure.cell = Some(cell);
    let _pages = oneway::pages(&input)?;
    let without = l2(FlowCache::default());
    let run = |settings| ours(&input, settings, plan.window());
    let plain = || run(&without);
    let plain = Rival { name: "shunt without", run: &plain };
    hold(plan, &mut figure, &|| run(with), Some(plain), None)?;
    Ok(vec![figure])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_ones_that_the_daemon_takes() {
        let source = crate::switch::device_port("in0", "default", "net_null7", &[]) + POLICED;
        for ports in [two_sinks(), source] {
            let text = "[[network]]\nname = \"default\"\n".to_owned() + &ports;
            if let Err(errors) = shunt_config::parse(&text, "bench") {
                panic!("{errors}");
            }
        }
    }
}
