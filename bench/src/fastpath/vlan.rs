//! Routing between two VLANs of trunks, held against routing between two networks without tags: what taking a tag off and
//! putting one on costs.
//!
//! Both go to a next hop that is learned from one announcement, which the sink's own capture has: nobody is configured behind
//! a trunk.

use anyhow::Result;

use super::network::FlowCache;
use crate::contest::{Rival, hold};
use crate::figure::{Bar, Cell, Figure};
use crate::frames::{self, DESTINATION, announcement, tagged};
use crate::oneway::{self, Input, Settings, ours};
use crate::plan::Plan;
use crate::switch::device_port;

/// VLAN of the sources.
const LEFT: u16 = 100;
/// VLAN of the sink.
const RIGHT: u16 = 200;
/// The router behind the sink.
const HOP: [u8; 4] = [10, 0, 9, 2];
const HOP_MAC: [u8; 6] = [2, 0, 0, 0, 9, 2];

/// Measures `flows` flows.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let s = if flows == 1 { "" } else { "s" };
    let what = format!("routed from one VLAN to another, {flows} flow{s}, against routed without tags");
    let mut figure = Figure::new(format!("vlan-{flows}"), what, "Mpps", bar);
    figure.cell = Some(Cell { scenario: "vlan", flows });
    let inputs = (plan.shaped_input("vlan", flows, |frame| tagged(LEFT, frame))?, plan.input(flows)?);
    let _pages = oneway::pages(&inputs.1)?;
    let run = |input: &Input, tags: bool| {
        let settings = settings(plan, tags)?;
        ours(input, &settings, plan.window())
    };
    let plain = || run(&inputs.1, false);
    let plain = Rival { name: "shunt without tags", run: &plain };
    hold(plan, &mut figure, &|| run(&inputs.0, true), Some(plain), None)?;
    figure.notes.push("the sink is a net_pcap device in both: its capture announces the next hop".into());
    Ok(vec![figure])
}

/// What shuntd is told; makes the sink's capture.
fn settings(plan: &Plan, tags: bool) -> Result<Settings> {
    let plain = announcement(HOP_MAC, HOP);
    let frame = if tags { tagged(RIGHT, plain) } else { plain.to_vec() };
    let capture = plan.dir().join(if tags { "hop-tagged.pcap" } else { "hop.pcap" });
    frames::write(&capture, std::iter::once(frame))?;
    Ok(config(&format!("net_pcap9,rx_pcap={}", capture.display()), tags))
}

fn config(sink: &str, tags: bool) -> Settings {
    let network = |name: &str, vlan: u16, gateway: &str, mac: &str| {
        let kind = match tags {
            true => format!("kind = \"underlay\"\nbridge = \"br-phy\"\nvlan = {vlan}\n"),
            false => String::new(),
        };
        format!(
            "[[network]]\nname = \"{name}\"\nrouter = \"r\"\ngateways = [\"{gateway}/24\"]\ngateway_mac = \"{mac}\"\nneighbor_ageing = \"0\"\nmac_ageing = \"0\"\n{kind}"
        )
    };
    let hop = std::net::Ipv4Addr::from(HOP);
    let mut sections =
        format!("[[router]]\nname = \"r\"\nroutes = [{{ to = \"10.0.2.0/24\", via = \"{hop}\" }}]\n");
    if tags {
        sections += &format!("[[network]]\nname = \"br-phy\"\nvlans = [{LEFT}, {RIGHT}]\n");
    }
    sections += &network("left", LEFT, "10.0.1.1", DESTINATION);
    sections += &network("right", RIGHT, "10.0.9.1", "02:00:00:00:00:fd");
    let out = device_port("out", if tags { "br-phy" } else { "right" }, sink, &[]);
    let trunk = if tags { format!("trunk = [{RIGHT}]\n") } else { String::new() };
    Settings {
        network: if tags { "br-phy" } else { "left" },
        sections: FlowCache::default().section() + &sections,
        ports: out + &trunk,
        source_keys: if tags { "trunk = [100]\n" } else { "" },
        learns: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_configurations_are_ones_that_the_daemon_takes() {
        for tags in [true, false] {
            let settings = config("net_null0", tags);
            let source = device_port("in0", settings.network, "net_null1", &[]) + settings.source_keys;
            let text = settings.sections + &source + &settings.ports;
            if let Err(errors) = shunt_config::parse(&text, "bench") {
                panic!("{errors}");
            }
            assert!(!tags || source.contains(&LEFT.to_string()));
        }
    }
}
