//! Connections through source NAT, established ones and new ones: packets and answers in turn, both translated.
//!
//! One source sends both directions, as the input that the peers' figures were measured with: each frame of a pod is followed
//! by the answer to the address that the pod is masqueraded with, so the connection is there when its answer comes.

use anyhow::Result;
use shunt_tests::testpmd;

use super::network::{FlowCache, STATIONS, endpoints, pods};
use super::rates::{self, Row};
use super::tracked;
use crate::figure::{Bar, Cell, Figure};
use crate::frames::{Answers, DESTINATION, MASQUERADED, SEGMENTS};
use crate::oneway::Settings;
use crate::plan::Plan;
use crate::switch::device_port;

/// Measures `flows` connections.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let s = if flows == 1 { "" } else { "s" };
    let row = Row {
        cell: Cell { scenario: "snat", flows },
        what: format!("through source NAT, {flows} established connection{s}, both directions"),
        bar,
        input: plan.conversations(flows, Answers::Masqueraded)?,
        settings: through_nat,
        cache: FlowCache::of_connections(flows),
        variant: false,
        rules: tracked::source_nat(),
        peer: "OVS-DPDK, conntrack and SNAT",
        note: None,
    };
    Ok(vec![rates::measure(plan, &row)?])
}

/// Measures how many connections are opened and closed: each takes [`SEGMENTS`] frames, and none is known when it comes round
/// again, because it has been closed.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure_new(plan: &Plan, connections: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "snat-new", flows: connections },
        what: format!(
            "through source NAT, {connections} TCP connections opened and closed, {SEGMENTS} frames each"
        ),
        bar,
        input: plan.handshakes(connections, Answers::Masqueraded)?,
        settings: through_nat,
        cache: FlowCache::default(),
        variant: false,
        rules: tracked::source_nat(),
        peer: "OVS-DPDK, conntrack and SNAT",
        note: Some("new connections a second are a sixth of the frames"),
    };
    Ok(vec![rates::measure(plan, &row)?])
}

/// A pod behind a router that masquerades it.
pub fn through_nat(cache: FlowCache) -> Settings {
    masqueraded(&cache.section(), 1)
}

/// The first `count` pods behind a router that masquerades them, and further sections.
pub(super) fn masqueraded(more: &str, count: u32) -> Settings {
    let address = std::net::Ipv4Addr::from(MASQUERADED);
    let network = |name: &str, gateway: &str, mac: &str, more: &str| {
        format!(
            "[[network]]\nname = \"{name}\"\nrouter = \"r\"\ngateways = [\"{gateway}/24\"]\ngateway_mac = \"{mac}\"\n{more}"
        )
    };
    let sections = more.to_owned()
        + "[[router]]\nname = \"r\"\n"
        + &network("left", "10.0.1.1", DESTINATION, "masquerade = true\n")
        + &network("right", &address.to_string(), "02:00:00:00:00:fd", "");
    let ports = device_port("out", "right", &testpmd::null(0), &[])
        + &endpoints(1..=STATIONS)
        + &device_port("out-pod", "left", &testpmd::null(1), &[])
        + &pods(count);
    Settings { network: "left", sections, ports, source_keys: "", learns: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_the_daemon_takes() {
        for settings in [through_nat(FlowCache::default()), masqueraded("", 200)] {
            let text = settings.sections + &settings.ports;
            if let Err(errors) = shunt_config::parse(&text, "bench") {
                panic!("{errors}");
            }
        }
    }
}
