//! Mistakes between underlays, bridges and ports: a bridge that is not there, a VLAN that it has not or that is used
//! twice, endpoints that cannot be told apart.

use std::collections::HashMap;

use super::claims::Claims;
use super::{Networks, unknown};
use crate::error::Sink;
use crate::names::NETWORK_NAME_MAX;
use crate::network::Draft;
use crate::network::kind::Underlay;
use crate::port;
use crate::port::endpoint::{LEFT_OUT, MISSING};
use crate::vlan::VlanSet;

/// Most broadcast domains: the switch numbers them with 16 bits, and needs one number for none.
const DOMAINS_MAX: usize = 65_535;

/// Reports every mistake between networks. Of two that collide the later is reported. `all_networks` is false when some
/// network could not be read: then nothing is said to be missing.
pub(crate) fn all(networks: &[Draft], all_networks: bool, sink: &mut Sink) {
    let mut claims = Claims::new();
    for draft in networks.iter().filter(|draft| draft.kind) {
        let Some(underlay) = draft.network.underlay() else { continue };
        let bridge = networks.iter().find(|other| other.name.as_ref() == Some(&underlay.bridge));
        match bridge {
            Some(bridge) => part_of(draft, underlay, bridge, sink),
            None if all_networks => {
                let message = unknown("network", underlay.bridge.as_str(), &bridges(networks));
                sink.report(&draft.key("bridge"), message);
            }
            None => {}
        }
        let owner =
            || draft.name.as_ref().map_or_else(|| draft.path.clone(), |name| format!("network {name}"));
        if let Some(first) = claims.claim((&underlay.bridge, underlay.vlan), owner) {
            let what = match underlay.vlan {
                Some(vlan) => format!("VLAN {vlan} of {}", underlay.bridge),
                None => format!("the untagged domain of {}", underlay.bridge),
            };
            let key = if underlay.vlan.is_some() { "vlan" } else { "bridge" };
            let message =
                format!("{what} is {first} already; choose another VLAN, or make one network of the two");
            sink.report(&draft.key(key), message);
        }
    }
}

/// Reports networks and bridges whose names collide: a VLAN that no underlay is has the name of its bridge, a dot and its
/// number. And more broadcast domains than there are numbers.
pub(crate) fn vlan_names(networks: &[Draft], sink: &mut Sink) {
    let bridges: HashMap<&str, &VlanSet> = networks
        .iter()
        .filter(|draft| draft.kind)
        .filter_map(|draft| Some((draft.name.as_ref()?.as_str(), &draft.network.bridge()?.vlans)))
        .collect();
    let mut domains = 0;
    for draft in networks {
        let Some(name) = &draft.name else { continue };
        let own = draft.network.underlay().map(|underlay| (underlay.bridge.as_str(), underlay.vlan));
        domains += 1;
        if let Some(vlans) = bridges.get(name.as_str()).filter(|vlans| !vlans.is_empty()) {
            domains += vlans.len();
            // A dot and four digits.
            let longest = NETWORK_NAME_MAX - 5;
            if name.as_str().len() > longest {
                let message = format!(
                    "a bridge with vlans has at most {longest} characters, so that each VLAN has a name; shorten it"
                );
                sink.report(&draft.key("name"), message);
            }
        }
        let Some((bridge, vid)) = name.as_str().rsplit_once('.') else { continue };
        let Ok(vid) = vid.parse::<u16>() else { continue };
        let taken = bridges.get(bridge).is_some_and(|vlans| vlans.contains(vid));
        if taken && own != Some((bridge, Some(vid))) && name.as_str() == format!("{bridge}.{vid}") {
            let message = format!("this is the name of VLAN {vid} of bridge {bridge}; choose another");
            sink.report(&draft.key("name"), message);
        }
    }
    if domains > DOMAINS_MAX {
        let message = format!(
            "{domains} networks and VLANs of bridges; there are numbers for {DOMAINS_MAX}, so give bridges fewer vlans"
        );
        sink.report("network", message);
    }
}

fn bridges(networks: &[Draft]) -> Vec<&str> {
    let bridges = networks.iter().filter(|draft| draft.kind && draft.network.bridge().is_some());
    let mut names: Vec<_> = bridges.filter_map(|draft| Some(draft.name.as_ref()?.as_str())).collect();
    names.sort_unstable();
    names
}

/// What must be true of the bridge of `draft`.
fn part_of(draft: &Draft, underlay: &Underlay, bridge: &Draft, sink: &mut Sink) {
    if !bridge.kind {
        return;
    }
    let name = &underlay.bridge;
    let Some(kind) = bridge.network.bridge() else {
        let found = bridge.network.kind.name();
        let message = format!("network {name} is an {found}; name one with kind = \"bridge\"");
        sink.report(&draft.key("bridge"), message);
        return;
    };
    match underlay.vlan {
        Some(vlan) if kind.vlans.is_empty() => {
            let message =
                format!("bridge {name} takes no notice of tags; add vlans = [{vlan}] to it, or remove vlan");
            sink.report(&draft.key("vlan"), message);
        }
        Some(vlan) if !kind.vlans.contains(vlan) => {
            sink.report(&draft.key("vlan"), foreign(vlan, name.as_str(), &kind.vlans));
        }
        None if !bridge.network.gateways.is_empty() => {
            let message = format!(
                "bridge {name} has gateways in this untagged domain; give all gateways to one of the two networks"
            );
            sink.report(&draft.key("bridge"), message);
        }
        _ => {}
    }
}

fn foreign(vid: u16, bridge: &str, known: &VlanSet) -> String {
    format!("VLAN {vid} is none of bridge {bridge}, which has {known}; choose one, or add it there")
}

/// Reports host ports that are no TAP in their network. `all_ports` is false when some port could not be read.
pub(crate) fn host_ports(networks: &[Draft], ports: &[port::Draft], all_ports: bool, sink: &mut Sink) {
    for draft in networks.iter().filter(|draft| draft.kind) {
        let Some(underlay) = draft.network.underlay() else { continue };
        let Some(name) = &underlay.host_port else { continue };
        let key = draft.key("host_port");
        let Some(port) = ports.iter().find(|port| port.name.as_ref() == Some(name)) else {
            if all_ports {
                let is_tap =
                    |port: &&port::Draft| port.kind.as_ref().is_some_and(|kind| kind.name() == "tap");
                let taps = ports.iter().filter(is_tap);
                let known: Vec<_> = taps.filter_map(|port| Some(port.name.as_ref()?.as_str())).collect();
                sink.report(&key, unknown("port", name.as_str(), &known));
            }
            continue;
        };
        let (Some(kind), Some(network), Some(vlans)) = (&port.kind, &port.network, &port.vlans) else {
            continue;
        };
        if kind.name() != "tap" {
            let message = format!("port {name} is a {} port; a host port has kind = \"tap\"", kind.name());
            sink.report(&key, message);
        }
        let member = draft.name.as_ref() == Some(network)
            || *network == underlay.bridge && vlans.trunk.is_empty() && vlans.vlan == underlay.vlan;
        if let (false, Some(own)) = (member, &draft.name) {
            let message = format!(
                "port {name} is in network {network}; set network = \"{own}\" there, or name a port of this network"
            );
            sink.report(&key, message);
        }
    }
}

/// Reports VLANs of a port that its network has not.
pub(crate) fn port_vlans(port: &port::Draft, networks: &Networks<'_>, sink: &mut Sink) {
    let (Some(vlans), Some(name)) = (&port.vlans, &port.network) else { return };
    let Some(network) = networks.get(name.as_str()) else { return };
    let wanted = match (vlans.vlan, vlans.trunk.is_empty()) {
        (Some(_), _) => "vlan",
        (None, false) => "trunk",
        (None, true) => return,
    };
    let none = match (network.underlay(), network.bridge()) {
        (Some(underlay), _) => format!(
            "the port has the VLAN of network {name} by itself; remove it, or set network = \"{}\"",
            underlay.bridge
        ),
        (_, None) => format!("network {name} is an overlay and has no VLANs; remove it"),
        (_, Some(bridge)) if bridge.vlans.is_empty() => {
            format!("bridge {name} takes no notice of tags; add vlans to network {name}, or remove {wanted}")
        }
        (_, Some(bridge)) => {
            let known = &bridge.vlans;
            for (key, vid) in [
                ("vlan", vlans.vlan.filter(|vid| !known.contains(*vid))),
                ("trunk", vlans.trunk.outside(known)),
                ("native_vlan", vlans.native.filter(|vid| !known.contains(*vid))),
            ] {
                if let Some(vid) = vid {
                    sink.report(&port.key(key), foreign(vid, name.as_str(), known));
                }
            }
            let behind = |key: &str| match key {
                "stations" => port.stations.as_ref().is_some_and(|list| !list.is_empty()),
                _ => port.endpoints.as_ref().is_some_and(|list| !list.is_empty()),
            };
            let nowhere = wanted == "trunk" && vlans.native.is_none() && !vlans.untagged;
            for key in ["stations", "endpoints"].into_iter().filter(|key| nowhere && behind(key)) {
                let message = "they are in no VLAN, as this trunk refuses untagged frames; add native_vlan or untagged = true";
                sink.report(&port.key(key), message);
            }
            if wanted == "vlan" || port.kind.as_ref().is_none_or(|kind| kind.name() != "tun") {
                return;
            }
            "a tun port has no Ethernet header and so no tags; use a tap port, or vlan for one VLAN"
                .to_owned()
        }
    };
    sink.report(&port.key(wanted), none);
}

/// Reports endpoints of a `demux` network that are not told apart by their addresses.
pub(crate) fn children(port: &port::Draft, networks: &Networks<'_>, sink: &mut Sink) {
    let Some(network) = port.network.as_ref().and_then(|name| networks.get(name.as_str())) else { return };
    let (Some(parent), Some(underlay)) = (network.parent_mac(), network.underlay()) else { return };
    if port.name.is_some() && underlay.host_port == port.name {
        return;
    }
    let Some(endpoints) = &port.endpoints else { return };
    let name = &network.name;
    if endpoints.is_empty() {
        let message = format!(
            "network {name} tells its endpoints apart by address; add endpoints = [{{ ip = [\"10.0.2.1\"] }}]"
        );
        sink.report(&port.key("endpoints"), message);
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let Some(endpoint) = endpoint else { continue };
        if endpoint.ip.is_empty() {
            let message = format!("network {name} tells its endpoints apart by address; add ip");
            sink.report(&port.key(&format!("endpoints[{i}].ip")), message);
        }
        if endpoint.mac != parent {
            let message = format!("all endpoints of network {name} have {parent}; remove mac");
            sink.report(&port.key(&format!("endpoints[{i}].mac")), message);
        }
    }
}

/// Gives endpoints without a MAC address that of their network's parent, and reports those whose network has none. Where
/// the network is not known, that is the mistake.
pub(crate) fn give_parent_macs(ports: &mut [port::Draft], networks: &Networks<'_>, sink: &mut Sink) {
    for port in ports {
        let network = port.network.as_ref().and_then(|name| networks.get(name.as_str()));
        let Some(network) = network else { continue };
        let parent = network.parent_mac();
        let mut missing = Vec::new();
        for (i, slot) in port.endpoints.iter_mut().flatten().enumerate() {
            match (slot.as_mut().filter(|endpoint| endpoint.mac == LEFT_OUT), parent) {
                (Some(endpoint), Some(parent)) => endpoint.mac = parent,
                (Some(_), None) => {
                    missing.push(i);
                    *slot = None;
                }
                (None, _) => {}
            }
        }
        for i in missing {
            sink.report(&port.key(&format!("endpoints[{i}].mac")), MISSING);
        }
    }
}
