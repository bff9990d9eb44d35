//! Into a tunnel and out of one: what shuntd is told, and how the rows are measured.
//!
//! The overlay network has the number 100 and one peer; frames are routed into it, to 250 stations behind the peer, or out of
//! it, to 250 stations behind the sink: what the peer's 16 tables do with a VXLAN port in the place of sink or source.

use std::net::Ipv4Addr;

use anyhow::Result;
use shunt_tests::testpmd;

use super::network::{FlowCache, STATIONS, endpoints, stations_list};
use super::rates::{self, Row};
use super::rules;
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Cell, Figure};
use crate::frames::{DESTINATION, PEER, PEER_MAC, Tunnel, VNI, VTEP, VTEP_MAC, text};
use crate::oneway::{self, Input, Settings, TunnelSide, ours};
use crate::plan::Plan;
use crate::switch::device_port;

/// The sender of all inner frames.
const SENDER: &str = "{ mac = \"02:00:00:00:00:01\", ip = [\"10.0.1.10\"] }";

/// Measures VXLAN against Open vSwitch.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn vxlan(plan: &Plan, flows: u32, bar: Bar, side: TunnelSide) -> Result<Vec<Figure>> {
    let row = Row {
        cell: Cell { scenario: name(Tunnel::Vxlan, side), flows },
        what: what(Tunnel::Vxlan, side, flows),
        bar,
        input: input(plan, flows, Tunnel::Vxlan, side)?,
        settings: match side {
            TunnelSide::Out => |cache| settings(cache, Tunnel::Vxlan, TunnelSide::Out),
            TunnelSide::In => |cache| settings(cache, Tunnel::Vxlan, TunnelSide::In),
        },
        cache: FlowCache::default(),
        variant: true,
        rules: rules::sixteen_tables_and_tunnel(side),
        peer: "OVS-DPDK, 16 tables and VXLAN",
        note: None,
    };
    Ok(vec![rates::measure(plan, &row)?])
}

/// Measures Geneve against VXLAN, both ours.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn geneve(plan: &Plan, flows: u32, bar: Bar, side: TunnelSide) -> Result<Vec<Figure>> {
    let scenario = name(Tunnel::Geneve, side);
    let what = what(Tunnel::Geneve, side, flows);
    let mut figure = Figure::new(format!("{scenario}-{flows}"), what, "Mpps", bar);
    figure.cell = Some(Cell { scenario, flows });
    let [geneve, vxlan] = [Tunnel::Geneve, Tunnel::Vxlan].map(|tunnel| {
        let input = input(plan, flows, tunnel, side)?;
        anyhow::Ok((input, settings(FlowCache::default(), tunnel, side)))
    });
    let (geneve, vxlan) = (geneve?, vxlan?);
    let _pages = oneway::pages(&geneve.0)?;
    let run = |(input, settings): &(Input, Settings)| ours(input, settings, plan.window());
    let rival = || run(&vxlan);
    let rival = Rival { name: "shunt, VXLAN", run: &rival };
    hold(plan, &mut figure, &|| run(&geneve), Some(rival), None)?;
    Ok(vec![figure])
}

const fn name(tunnel: Tunnel, side: TunnelSide) -> &'static str {
    match (tunnel, side) {
        (Tunnel::Vxlan, TunnelSide::Out) => "vxlan-encap",
        (Tunnel::Vxlan, TunnelSide::In) => "vxlan-decap",
        (Tunnel::Geneve, TunnelSide::Out) => "geneve-encap",
        (Tunnel::Geneve, TunnelSide::In) => "geneve-decap",
    }
}

fn what(tunnel: Tunnel, side: TunnelSide, flows: u32) -> String {
    let way = match side {
        TunnelSide::Out => "routed into",
        TunnelSide::In => "routed out of",
    };
    let s = if flows == 1 { "" } else { "s" };
    format!("{way} a {} tunnel, {flows} flow{s}, 64 B inside", tunnel.name())
}

fn input(plan: &Plan, flows: u32, tunnel: Tunnel, side: TunnelSide) -> Result<Input> {
    match side {
        TunnelSide::Out => plan.input(flows),
        TunnelSide::In => plan.shaped_input(tunnel.name(), flows, |frame| tunnel.around(frame)),
    }
}

fn settings(cache: FlowCache, tunnel: Tunnel, side: TunnelSide) -> Settings {
    let [vtep, peer] = [VTEP, PEER].map(Ipv4Addr::from);
    let [vtep_mac, peer_mac] = [VTEP_MAC, PEER_MAC].map(text);
    let network = |name: &str, gateway: &str, mac: &str, more: &str| {
        format!(
            "[[network]]\nname = \"{name}\"\nrouter = \"r\"\ngateways = [\"{gateway}/24\"]\ngateway_mac = \"{mac}\"\n{more}"
        )
    };
    let overlay = |stations: &str| {
        format!(
            "kind = \"overlay\"\nencap = \"{}\"\nvni = {VNI}\ntransport = \"ctl\"\npeers = [{{ address = \"{peer}\", endpoints = {stations} }}]\n",
            tunnel.name()
        )
    };
    let transport = network("ctl", &vtep.to_string(), &vtep_mac, "");
    let known = format!("endpoints = [{{ mac = \"{peer_mac}\", ip = [\"{peer}\"] }}]\n");
    let head = cache.section() + "[[router]]\nname = \"r\"\n" + &transport;
    let sink = |network: &str| device_port("out", network, &testpmd::null(0), &[]);
    let right = "02:00:00:00:00:fd";
    match side {
        TunnelSide::Out => Settings {
            network: "left",
            sections: head
                + &network("left", "10.0.1.1", DESTINATION, "")
                + &network("overlay", "10.0.2.254", right, &overlay(&stations_list(1..=STATIONS))),
            ports: sink("ctl") + &known,
            source_keys: "",
            learns: false,
        },
        TunnelSide::In => Settings {
            network: "ctl",
            sections: head
                + &network("overlay", "10.0.1.1", DESTINATION, &overlay(&format!("[{SENDER}]")))
                + &network("right", "10.0.2.254", right, ""),
            ports: sink("right") + &endpoints(1..=STATIONS),
            source_keys: "",
            learns: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_configurations_are_ones_that_the_daemon_takes() {
        for tunnel in [Tunnel::Vxlan, Tunnel::Geneve] {
            for side in [TunnelSide::In, TunnelSide::Out] {
                let settings = settings(FlowCache::default(), tunnel, side);
                let text = settings.sections + &settings.ports;
                if let Err(errors) = shunt_config::parse(&text, "bench") {
                    panic!("{errors}");
                }
            }
        }
    }
}
