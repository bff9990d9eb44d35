//! Established connections of a pod: to services, held against the same conversations routed without any (what finding the
//! connection, counting and translating cost); and such that a policy allows, held against Open vSwitch's.

use std::fmt::Write as _;

use anyhow::Result;
use shunt_tests::testpmd;

use super::network::{FlowCache, STATIONS, stations_in};
use super::rates::{self, Row};
use super::rules;
use crate::contest::{Field, Rival, hold_all};
use crate::figure::{Bar, Cell, Figure};
use crate::frames::{Answers, BACKEND_PORT, DESTINATION};
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
    let (served, routed) = (services(), behind("right", 2, ""));
    let as_many = FlowCache { full_key: true, ..FlowCache::default() }.section();
    let as_many = Settings { sections: as_many + &routed.sections, ..behind("right", 2, "") };
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
        rules: rules::tracked(),
        peer: "OVS-DPDK, conntrack",
        note: None,
    };
    Ok(vec![rates::measure(plan, &row)?])
}

/// A pod that may send anything, and nobody may open a connection to.
fn policed(cache: FlowCache) -> Settings {
    let policy = "[[namespace]]\nname = \"bench\"\n\
                  [[pod]]\nnamespace = \"bench\"\nname = \"client\"\naddresses = [\"10.0.1.10\"]\n\
                  [[policy]]\nnamespace = \"bench\"\nname = \"out\"\npod_selector = {}\n\
                  policy_types = [\"ingress\", \"egress\"]\negress = [{}]\n";
    let settings = behind("right", 2, policy);
    Settings { sections: cache.section() + &settings.sections, ..settings }
}

/// Pods behind a router that knows a service for each of the addresses 10.0.2.N, whose backend is 10.0.3.N.
pub fn services() -> Settings {
    let mut text = String::new();
    for number in 1..=STATIONS {
        let _ = write!(
            text,
            "[[service]]\nname = \"bench/s{number}\"\ncluster_ips = [\"10.0.2.{number}\"]\n\
             ports = [{{ protocol = \"udp\", port = 5000 }}]\n\
             endpoints = [{{ address = \"10.0.3.{number}\", port = {BACKEND_PORT} }}]\n"
        );
    }
    behind("backends", 3, &text)
}

/// Stations 10.0.`subnet`.N behind port `out` in a network of that name, and the pod that they answer behind another.
fn behind(name: &str, subnet: u8, services: &str) -> Settings {
    let network = |name: &str, gateway: &str, mac: &str| {
        format!(
            "[[network]]\nname = \"{name}\"\nrouter = \"r\"\ngateways = [\"{gateway}/24\"]\ngateway_mac = \"{mac}\"\n"
        )
    };
    let sections = "[[router]]\nname = \"r\"\n".to_owned()
        + &network("left", "10.0.1.1", DESTINATION)
        + &network(name, &format!("10.0.{subnet}.254"), "02:00:00:00:00:fd")
        + services;
    let stations = format!("endpoints = {}\n", stations_in(subnet, 1..=STATIONS));
    let pod = "endpoints = [{ mac = \"02:00:00:00:01:0a\", ip = [\"10.0.1.10\"] }]\n";
    let ports = device_port("out", name, &testpmd::null(0), &[])
        + &stations
        + &device_port("out-pod", "left", &testpmd::null(1), &[])
        + pod;
    Settings { network: "left", sections, ports, source_keys: "", learns: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_ones_that_the_daemon_takes() {
        for settings in [services(), behind("right", 2, ""), policed(FlowCache::default())] {
            let text = settings.sections + &settings.ports;
            if let Err(errors) = shunt_config::parse(&text, "bench") {
                panic!("{errors}");
            }
        }
    }
}
