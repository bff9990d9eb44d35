//! 64 B frames on the one-way path, L2 by MAC: held against Open vSwitch with one rule, and against testpmd on the same
//! devices with nothing in between.

use anyhow::Result;

use crate::contest::{Rival, hold};
use crate::cores;
use crate::fastpath::{network, rules};
use crate::figure::{Bar, Figure};
use crate::oneway::{self, open_vswitch, ours, testpmd_io};
use crate::plan::Plan;

/// Measures `flows` flows.
pub(super) fn measure(plan: &Plan, flows: u32) -> Result<Vec<Figure>> {
    let (input, window) = (plan.input(flows)?, plan.window());
    let plural = if flows == 1 { "flow" } else { "flows" };
    let what = format!("`net_pcap infinite_rx` to `net_null`, 64 B, {flows} {plural}, L2 by MAC");
    let mut figure = Figure::new(format!("l2-{flows}"), what, "Mpps", Bar::Ratio(1.0));
    // One set of pages for all contestants: the pool is not remade between the turns.
    let _pages = oneway::pages(&input)?;
    let (settings, rules) = (network::l2(network::FlowCache::default()), rules::one());
    let peer = Rival { name: "OVS-DPDK, one rule", run: &|| open_vswitch(&input, &rules, window) };
    let floor = Rival { name: "testpmd io", run: &|| testpmd_io(&input, window) };
    hold(plan, &mut figure, &|| ours(&input, &settings, window), Some(peer), Some(floor))?;
    figure.notes.push(format!(
        "switch on core {}, everything else on core {}; busy polling; OVS rule: ip,nw_dst=10.0.2.0/24 to the port",
        cores::SWITCH, cores::HOUSE
    ));
    Ok(vec![figure])
}
