//! Connections of a pod: established ones to services, held against the same conversations routed without any (what finding the
//! connection, counting and translating cost); such that a policy allows, and new ones to services, held against Open vSwitch's.

use std::fmt::Write as _;

use anyhow::Result;
use shunt_tests::testpmd;

use super::network::{self, FlowCache, STATIONS, stations_in};
use super::rates::{self, Row};
use super::tracked;
use crate::contest::{Field, Rival, hold_all};
use crate::figure::{Bar, Cell, Figure};
use crate::frames::{Answers, BACKEND_PORT, DESTINATION, SEGMENTS, pod_address};
use crate::oneway::{self, Settings, ours};
use crate::plan::Plan;
use crate::switch::device_port;

/// Measures `flows` connections.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let what =
        format!("to {STATIONS} services, {flows} established connections, both directions, against routed");
    let mut figure = Figure::new(format!("cluster-ip-{flows}"), what, "Mpps", bar);
    figure.cell = Some(Cell { scenario: "cluster-ip", flows });
    let inputs = (plan.conversations(flows, Answers::Backend)?, plan.conversations(flows, Answers::Plain)?);
    let _pages = oneway::pages(&inputs.0)?;
    let (served, routed) = (services("udp", 1), behind("right", 2, "", 1));
    let as_many = FlowCache { full_key: true, ..FlowCache::default() }.section();
    let as_many = Settings { sections: as_many + &routed.sections, ..behind("right", 2, "", 1) };
    let plain = || ours(&inputs.1, &routed, plan.window());
    let full_key = || ours(&inputs.1, &as_many, plan.window());
    let field = Field {
        peer: Some(Rival { name: "shunt, routed", run: &plain }),
        floor: Some(Rival { name: "shunt, routed, full key", run: &full_key }),
        variant: None,
    };
    hold_all(plan, &mut figure, &|| ours(&inputs.0, &served, plan.window()), &field)?;
    figure.notes.push(format!(
        "all: the same pairs of stations, two flows a connection; routed, {} of them share an entry of the cache, with a full key none do",
        flows.div_ceil(STATIONS)
    ));
    Ok(vec![figure])
}

/// Measures `flows` connections that a policy allows: tracked, not translated.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure_tracked(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let s = if flows == 1 { "" } else { "s" };
    let row = Row {
        cell: Cell { scenario: "ct", flows },
        what: format!("allowed by a policy, {flows} established connection{s}, both directions"),
        bar,
        input: plan.conversations(flows, Answers::Plain)?,
        settings: policed,
        cache: FlowCache::of_connections(flows),
        variant: false,
        rules: tracked::tracked(),
        peer: "OVS-DPDK, conntrack",
        note: None,
    };
    Ok(vec![rates::measure(plan, &row)?])
}

/// Measures how many connections to services are opened and closed, [`SEGMENTS`] frames each; none is known when it comes round again.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure_new(plan: &Plan, connections: u32, bar: Bar) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: "service-new", flows: connections },
        what: format!(
            "to {STATIONS} services, {connections} TCP connections opened and closed, {SEGMENTS} frames each"
        ),
        bar,
        input: plan.handshakes(connections, Answers::Backend)?,
        settings: |cache| {
            let settings = services("tcp", 1);
            Settings { sections: cache.section() + &settings.sections, ..settings }
        },
        cache: FlowCache::default(),
        variant: false,
        rules: tracked::destination_nat(),
        peer: "OVS-DPDK, conntrack and DNAT",
        note: Some("new connections a second are a sixth of the frames"),
    };
    Ok(vec![rates::measure(plan, &row)?])
}

/// A pod that may send anything, and nobody may open a connection to.
fn policed(cache: FlowCache) -> Settings {
    allowed(&cache.section(), 1)
}

/// The first `count` pods: each may send anything, and nobody may open a connection to them; and further sections.
pub(super) fn allowed(more: &str, count: u32) -> Settings {
    let mut policy = String::from(
        "[[namespace]]\nname = \"bench\"\n\
         [[policy]]\nnamespace = \"bench\"\nname = \"out\"\npod_selector = {}\n\
         policy_types = [\"ingress\", \"egress\"]\negress = [{}]\n",
    );
    for pod in 0..count as u8 {
        let address = std::net::Ipv4Addr::from(pod_address(pod));
        let _ = write!(
            policy,
            "[[pod]]\nnamespace = \"bench\"\nname = \"client{pod}\"\naddresses = [\"{address}\"]\n"
        );
    }
    let settings = behind("right", 2, &policy, count);
    Settings { sections: more.to_owned() + &settings.sections, ..settings }
}

/// The first `count` pods behind a router that knows a service for each of the addresses 10.0.2.N, whose backend is 10.0.3.N.
pub fn services(protocol: &str, count: u32) -> Settings {
    let mut text = String::new();
    for number in 1..=STATIONS {
        let _ = write!(
            text,
            "[[service]]\nname = \"bench/s{number}\"\ncluster_ips = [\"10.0.2.{number}\"]\n\
             ports = [{{ protocol = \"{protocol}\", port = 5000 }}]\n\
             endpoints = [{{ address = \"10.0.3.{number}\", port = {BACKEND_PORT} }}]\n"
        );
    }
    behind("backends", 3, &text, count)
}

/// Stations 10.0.`subnet`.N behind port `out` in a network of that name, and the `pods` first pods, that they answer, behind another.
fn behind(name: &str, subnet: u8, services: &str, pods: u32) -> Settings {
    let section = |name: &str, gateway: &str, mac: &str| {
        format!(
            "[[network]]\nname = \"{name}\"\nrouter = \"r\"\ngateways = [\"{gateway}/24\"]\ngateway_mac = \"{mac}\"\n"
        )
    };
    let sections = "[[router]]\nname = \"r\"\n".to_owned()
        + &section("left", "10.0.1.1", DESTINATION)
        + &section(name, &format!("10.0.{subnet}.254"), "02:00:00:00:00:fd")
        + services;
    let stations = format!("endpoints = {}\n", stations_in(subnet, 1..=STATIONS));
    let ports = device_port("out", name, &testpmd::null(0), &[])
        + &stations
        + &device_port("out-pod", "left", &testpmd::null(1), &[])
        + &network::pods(pods);
    Settings { network: "left", sections, ports, source_keys: "", learns: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_ones_that_the_daemon_takes() {
        for settings in [
            services("udp", 1),
            services("tcp", 100),
            behind("right", 2, "", 1),
            policed(FlowCache::default()),
            allowed("", 200),
        ] {
            let text = settings.sections + &settings.ports;
            if let Err(errors) = shunt_config::parse(&text, "bench") {
                panic!("{errors}");
            }
        }
    }
}
