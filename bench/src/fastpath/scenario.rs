//! The scenarios by name, with their flow counts and bars.

use anyhow::{Result, ensure};

use super::live::Through;
use super::network::{FlowCache, l2, l3};
use super::rates::{self, Row};
use super::{bursts, costs, guests, live, nat, opened, pauses, pods, rules, tunnels, updates, vlan};
use crate::figure::{Bar, Cell, Figure};
use crate::frames::SEGMENTS;
use crate::oneway::{ENTERED_PERCENT, HIT_PERCENT, TunnelSide};
use crate::plan::Plan;

/// Half a million connections a second; as many as are of one source, and more.
const UDP_NEW: &[(u32, Bar)] = &[
    (125_000, Bar::AtLeast(0.5 * opened::FRAMES as f64)),
    (500_000, Bar::AtLeast(0.5 * opened::FRAMES as f64)),
];
/// Percent of the frames that may hit the cache when all are to be new.
const MOST_HITS: f64 = 1.0;
/// Percent of the flows that are entered at least when every one is to be.
const LEAST_ENTERED: f64 = 95.0;

/// A scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Name for `--only`.
    pub name: &'static str,
    /// Flow counts and what is to be reached at each.
    pub cells: &'static [(u32, Bar)],
    /// Flow counts of a quick look.
    pub quick: &'static [u32],
    /// Measures one of them.
    pub measure: fn(&Plan, u32, Bar) -> Result<Vec<Figure>>,
}

/// All scenarios in the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "l2",
        cells: &[
            (1, Bar::Ratio(1.2)),
            (1_000, Bar::Ratio(1.4)),
            (10_000, Bar::Ratio(1.8)),
            (100_000, Bar::Ratio(2.0)),
            (1_000_000, Bar::Ratio(1.5)),
        ],
        quick: &[1, 10_000],
        measure: |plan, flows, bar| bridge(plan, flows, bar),
    },
    Scenario {
        name: "l3",
        cells: &[
            (1, Bar::Ratio(1.4)),
            (1_000, Bar::Ratio(2.0)),
            (10_000, Bar::Ratio(2.6)),
            (100_000, Bar::Ratio(2.8)),
            (1_000_000, Bar::Ratio(2.0)),
        ],
        quick: &[1_000, 100_000],
        measure: |plan, flows, bar| router(plan, flows, bar),
    },
    Scenario {
        name: "l3-nocache",
        cells: &[(1_000, Bar::Ratio(0.8)), (100_000, Bar::Ratio(0.8))],
        quick: &[1_000],
        measure: |plan, flows, bar| uncached(plan, flows, bar),
    },
    Scenario {
        name: "flow-setup",
        cells: &[(1_000_000, Bar::AtLeast(5.0))],
        quick: &[200_000],
        measure: |plan, flows, bar| set_up(plan, flows, bar),
    },
    Scenario {
        name: "updates",
        cells: &[(100_000, Bar::Ratio(0.9))],
        quick: &[100_000],
        measure: |plan, flows, _| updates::measure(plan, flows),
    },
    Scenario {
        name: "vxlan-encap",
        cells: &[(1, Bar::Ratio(1.3)), (10_000, Bar::Ratio(2.5)), (100_000, Bar::Ratio(2.8))],
        quick: &[10_000],
        measure: |plan, flows, bar| tunnels::vxlan(plan, flows, bar, TunnelSide::Out),
    },
    Scenario {
        name: "vxlan-decap",
        cells: &[(1, Bar::Ratio(2.2)), (10_000, Bar::Ratio(3.5)), (100_000, Bar::Ratio(4.0))],
        quick: &[10_000],
        measure: |plan, flows, bar| tunnels::vxlan(plan, flows, bar, TunnelSide::In),
    },
    Scenario {
        name: "geneve-encap",
        cells: &[(1, Bar::Ratio(0.9)), (10_000, Bar::Ratio(0.9)), (100_000, Bar::Ratio(0.9))],
        quick: &[10_000],
        measure: |plan, flows, bar| tunnels::geneve(plan, flows, bar, TunnelSide::Out),
    },
    Scenario {
        name: "geneve-decap",
        cells: &[(1, Bar::Ratio(0.9)), (10_000, Bar::Ratio(0.9)), (100_000, Bar::Ratio(0.9))],
        quick: &[10_000],
        measure: |plan, flows, bar| tunnels::geneve(plan, flows, bar, TunnelSide::In),
    },
    Scenario {
        name: "vlan",
        cells: &[(1, Bar::Ratio(0.9)), (10_000, Bar::Ratio(0.9)), (100_000, Bar::Ratio(0.9))],
        quick: &[10_000],
        measure: |plan, flows, bar| vlan::measure(plan, flows, bar),
    },
    Scenario {
        name: "snat",
        cells: &[(1, Bar::Ratio(3.0)), (10_000, Bar::Ratio(5.0)), (100_000, Bar::Ratio(6.0))],
        quick: &[10_000],
        measure: |plan, flows, bar| nat::measure(plan, flows, bar),
    },
    Scenario {
        name: "snat-new",
        // Half a million connections a second.
        cells: &[(40_000, Bar::AtLeast(0.5 * SEGMENTS as f64))],
        quick: &[10_000],
        measure: nat::measure_new,
    },
    Scenario {
        name: "ct",
        cells: &[(1, Bar::Ratio(3.0)), (10_000, Bar::Ratio(5.0)), (100_000, Bar::Ratio(5.0))],
        quick: &[10_000],
        measure: pods::measure_tracked,
    },
    Scenario {
        name: "cluster-ip",
        cells: &[(10_000, Bar::Ratio(0.75))],
        quick: &[10_000],
        measure: pods::measure,
    },
    Scenario {
        name: "service-new",
        // Half a million connections a second, as all that are new.
        cells: &[(40_000, Bar::AtLeast(0.5 * SEGMENTS as f64))],
        quick: &[10_000],
        measure: pods::measure_new,
    },
    Scenario { name: "udp-new", cells: UDP_NEW, quick: &[125_000], measure: opened::through_nat },
    Scenario { name: "udp-service-new", cells: UDP_NEW, quick: &[125_000], measure: opened::to_services },
    Scenario {
        name: "ct-live",
        cells: &[(1_000_000, Bar::Ratio(0.35))],
        quick: &[200_000],
        measure: |plan, flows, bar| live::measure(plan, flows, bar, Through::Policy),
    },
    Scenario {
        name: "snat-live",
        cells: &[(1_000_000, Bar::Ratio(0.35))],
        quick: &[200_000],
        measure: |plan, flows, bar| live::measure(plan, flows, bar, Through::Nat),
    },
    Scenario {
        name: "pauses",
        // A millisecond, to the end of the histogram's step that it is in.
        cells: &[(1_000_000, Bar::AllBelow(1_049.0))],
        quick: &[200_000],
        measure: pauses::measure,
    },
    Scenario {
        name: "updates-full",
        cells: &[(100_000, Bar::Ratio(0.9))],
        quick: &[100_000],
        measure: |plan, flows, _| updates::measure_cached(plan, flows),
    },
    Scenario {
        name: "updates-all",
        cells: &[(100_000, Bar::Stated)],
        quick: &[100_000],
        measure: |plan, flows, _| updates::measure_doubtful(plan, flows),
    },
    Scenario {
        name: "bursts",
        cells: &[(1_000, Bar::Stated), (100_000, Bar::Stated)],
        quick: &[1_000],
        measure: |plan, flows, _| bursts::measure(plan, flows),
    },
    Scenario { name: "policer", cells: &[(1_000, Bar::Stated)], quick: &[1_000], measure: costs::policer },
    Scenario { name: "bond", cells: &[(1_000, Bar::Stated)], quick: &[1_000], measure: costs::bond },
    Scenario { name: "vhost", cells: &[(1, Bar::Ratio(1.2))], quick: &[1], measure: guests::measure },
];

impl Scenario {
    /// What `flows` flows are to reach; only to be stated when the table has no such count.
    pub fn bar(&self, flows: u32) -> Bar {
        self.cells.iter().find(|cell| cell.0 == flows).map_or(Bar::Stated, |cell| cell.1)
    }
}

fn flows_text(flows: u32) -> String {
    format!("{flows} {}", if flows == 1 { "flow" } else { "flows" })
}

fn bridge(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "l2", flows },
        what: format!("L2 by MAC, {}", flows_text(flows)),
        bar,
        input: plan.input(flows)?,
        settings: l2,
        cache: FlowCache::default(),
        variant: true,
        rules: rules::one(),
        peer: "OVS-DPDK, one rule",
        note: None,
    };
    Ok(vec![rates::measure(plan, &row)?])
}

fn router(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "l3", flows },
        what: format!("L3 between two networks, {}", flows_text(flows)),
        bar,
        input: plan.input(flows)?,
        settings: l3,
        cache: FlowCache::default(),
        variant: true,
        rules: rules::sixteen_tables(true),
        peer: "OVS-DPDK, 16 tables",
        note: None,
    };
    Ok(vec![rates::measure(plan, &row)?])
}

fn uncached(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "l3-nocache", flows },
        what: format!("L3, no flow cache, {}", flows_text(flows)),
        bar,
        input: plan.input(flows)?,
        settings: l3,
        cache: FlowCache { entries: Some(0), ..FlowCache::default() },
        variant: false,
        rules: rules::sixteen_tables(false),
        peer: "OVS-DPDK, 16 tables, no exact-match cache",
        note: Some("every frame of ours walks the slow path; the peer has its megaflow tables still"),
    };
    Ok(vec![rates::measure(plan, &row)?])
}

fn set_up(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "flow-setup", flows },
        what: format!("every frame a new flow: {flows} random 5-tuples, L3"),
        bar,
        input: plan.random_input(flows)?,
        settings: l3,
        // Every 5-tuple is a flow of its own, and none is still known when it comes round again.
        cache: FlowCache { entries: Some(1024), full_key: true, enters_all: true },
        variant: false,
        rules: rules::sixteen_tables(true),
        peer: "OVS-DPDK, 16 tables",
        note: Some(
            "ours: full key, 1,024 entries and no backing off, so that every frame sets up a flow and enters it; the peer's megaflows cover many flows each",
        ),
    };
    let figure = rates::measure(plan, &row)?;
    let entered = figure.ours.of_beside(ENTERED_PERCENT).median().unwrap_or_default();
    ensure!(entered > LEAST_ENTERED, "{entered:.1} % of the flows were entered: all are to be");
    let hits = figure.ours.of_beside(HIT_PERCENT).median().unwrap_or_default();
    ensure!(hits < MOST_HITS, "{hits:.1} % of the frames were of known flows: they are to be new");
    Ok(vec![figure])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_count_without_a_bar_is_stated() {
        let l2 = SCENARIOS.iter().find(|scenario| scenario.name == "l2").unwrap();
        assert_eq!((l2.bar(1_000), l2.bar(7)), (Bar::Ratio(1.4), Bar::Stated));
        assert!(SCENARIOS.iter().all(|scenario| !scenario.cells.is_empty() && !scenario.quick.is_empty()));
    }
}
