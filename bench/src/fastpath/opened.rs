//! New UDP connections: a question and its answer each, through source NAT and to services.
//!
//! What ends a UDP connection is silence, so an input that goes round does not open it again, as that of `snat-new` does: these rows
//! measure the first round, while the table fills. Connections a second are counted, frames are two for each.

use anyhow::Result;
use shunt_ffi::clock;

use super::nat::masqueraded;
use super::pods::services;
use super::tracked;
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Cell, Figure, Sample};
use crate::frames::Answers;
use crate::oneway::{self, Opening, Rules, Settings, open_vswitch_opening, ours_opening};
use crate::plan::{CROWD, Plan};

/// Frames of one connection.
pub const FRAMES: u32 = 2;

/// Measures `connections` through source NAT.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn through_nat(plan: &Plan, connections: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "udp-new", flows: connections },
        way: "through source NAT",
        bar,
        answers: Answers::Masqueraded,
        settings: |more, pods| masqueraded(more, pods),
        rules: tracked::source_nat(),
        peer: "OVS-DPDK, conntrack and SNAT",
    };
    measure(plan, row)
}

/// Measures `connections` to services.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn to_services(plan: &Plan, connections: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "udp-service-new", flows: connections },
        way: "to services",
        bar,
        answers: Answers::Backend,
        settings: |more, pods| {
            let settings = services("udp", pods);
            Settings { sections: more.to_owned() + &settings.sections, ..settings }
        },
        rules: tracked::destination_nat(),
        peer: "OVS-DPDK, conntrack and DNAT",
    };
    measure(plan, row)
}

struct Row {
    cell: Cell,
    way: &'static str,
    bar: Bar,
    answers: Answers,
    /// Ours, with further sections and so many pods.
    settings: fn(&str, u32) -> Settings,
    rules: Rules,
    peer: &'static str,
}

fn measure(plan: &Plan, row: Row) -> Result<Vec<Figure>> {
    let connections = row.cell.flows;
    let what = format!("{}, {connections} UDP connections opened, {FRAMES} frames each", row.way);
    let mut figure = Figure::new(format!("{}-{connections}", row.cell.scenario), what, "Mpps", row.bar);
    figure.cell = Some(row.cell);
    let input = plan.crowd(connections, row.answers)?;
    let _pages = oneway::pages(&input)?;
    let pods = CROWD * input.captures.len() as u32;
    // As if there were no end: what a nearly full table costs is another question.
    let room = format!("[connections]\ncapacity = {}\n", 2 * connections);
    let settings = (row.settings)(&room, pods);
    let ours = || sample(&ours_opening(&input, &settings, connections.into())?);
    let peer = || sample(&open_vswitch_opening(&input, &row.rules, connections.into())?);
    let peer = Rival { name: row.peer, run: &peer };
    // Of several sources Open vSwitch opened the connections of all but one (seen with two, three and four; not why).
    let peer = (input.captures.len() == 1).then_some(peer);
    hold(plan, &mut figure, &ours, peer, None)?;
    figure.notes.push(format!(
        "new connections a second are half of the frames; {pods} pods, none is known before; while the table fills, from an empty one"
    ));
    Ok(vec![figure])
}

fn sample(opening: &Opening) -> Result<Sample> {
    let rate = opening.rate()?;
    let cycles = clock::tsc_hz() as f64 / rate;
    Ok(Sample::new(
        f64::from(FRAMES) * rate / 1e6,
        vec![("connections/s", rate), ("cycles/connection", cycles)],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_ones_that_the_daemon_takes() {
        let room = "[connections]\ncapacity = 1000000\n";
        let to_services = services("udp", 100);
        for settings in [
            masqueraded(room, 100),
            Settings { sections: room.to_owned() + &to_services.sections, ..to_services },
        ] {
            if let Err(errors) = shunt_config::parse(&(settings.sections + &settings.ports), "bench") {
                panic!("{errors}");
            }
        }
    }
}
