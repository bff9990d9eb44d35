//! Mistakes that show only between sections: names twice, a network that is not there, a device or socket claimed by two.
//! Runs on drafts, so that a port with one mistake is still checked for others. Cost: linear in the number of ports.

mod claims;
pub(crate) mod routing;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::Config;
use crate::daemon::Daemon;
use crate::error::Sink;
use crate::keys::nearest;
use crate::network::{self, Network};
use crate::port::Draft;
use crate::port::kind::PortKind;
use crate::workers::Workers;
use claims::Claims;

/// Smallest MTU that IPv6 allows (RFC 8200 section 5); below it the kernel drops a device's IPv6 addresses.
const IPV6_MTU_MIN: u16 = 1_280;

/// What the ports are checked against.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    daemon: &'a Daemon,
    workers: Option<&'a Workers>,
    networks: HashMap<&'a str, &'a Network>,
    all_networks: bool,
    /// Gateways are known: what refers to them can be judged.
    routing: bool,
}

impl<'a> Around<'a> {
    /// The sections of a whole configuration.
    pub(crate) fn of(config: &'a Config) -> Self {
        let networks = config.networks.iter().map(|n| (n.name.as_str(), n)).collect();
        let (daemon, workers) = (&config.daemon, Some(&config.workers));
        Around { daemon, workers, networks, all_networks: true, routing: true }
    }

    /// Sections as far as they could be read. `workers` is `None` when that section holds a mistake; `all_networks` is
    /// false when the name of some network is not known, so that "no such network" would be a guess.
    pub(crate) fn new(
        daemon: &'a Daemon,
        workers: Option<&'a Workers>,
        networks: &'a [network::Draft],
        all_networks: bool,
    ) -> Self {
        let named = networks.iter().filter_map(|draft| Some((draft.name.as_ref()?.as_str(), &draft.network)));
        let routing = networks.iter().all(|draft| draft.routing);
        let all_networks = all_networks && networks.iter().all(|draft| draft.name.is_some());
        Around { daemon, workers, networks: named.collect(), all_networks, routing }
    }
}

/// Reports every conflict between `ports`, and of them with `around`. Of two that collide the later is reported.
pub(crate) fn ports(ports: &[Draft], around: &Around<'_>, sink: &mut Sink) {
    names(ports, sink);
    for port in ports {
        network(port, around, sink);
        placement(port, around.workers, sink);
        ipv6_mtu(port, &around.networks, sink);
        if around.routing {
            endpoints(port, &around.networks, sink);
        }
    }
    claims::all(ports, around.daemon, &around.networks, sink);
}

/// Reports networks of the same name.
pub(crate) fn networks(networks: &[network::Draft], sink: &mut Sink) {
    let mut claims = Claims::new();
    for network::Draft { path, name, .. } in networks {
        let Some(name) = name else { continue };
        if let Some(first) = claims.claim(name, || path.clone()) {
            let message =
                format!("{:?} is already the name of {first}; give each network its own", name.as_str());
            sink.report(&format!("{path}.name"), message);
        }
    }
}

fn names(ports: &[Draft], sink: &mut Sink) {
    let mut claims = Claims::new();
    for port in ports {
        let Some(name) = &port.name else { continue };
        let owner = || if port.path.is_empty() { "a port".to_owned() } else { port.path.clone() };
        if let Some(first) = claims.claim(name, owner) {
            let message =
                format!("{:?} is already the name of {first}; give each port its own", name.as_str());
            sink.report(&port.key("name"), message);
        }
    }
}

fn network(port: &Draft, around: &Around<'_>, sink: &mut Sink) {
    let Some(name) = &port.network else { return };
    if !around.all_networks || around.networks.contains_key(name.as_str()) {
        return;
    }
    let mut known: Vec<_> = around.networks.keys().copied().collect();
    known.sort_unstable();
    let message = if port.network_given {
        unknown("network", name.as_str(), &known)
    } else {
        format!("not set, and no network is named {:?}; {}", name.as_str(), one_of("network", &known))
    };
    sink.report(&port.key("network"), message);
}

/// The message about the name of a `what` that is not among `known`.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown {what} {name:?}; did you mean {near:?}?"),
        None => format!("unknown {what} {name:?}; {}", one_of(what, known)),
    }
}

fn one_of(what: &str, known: &[&str]) -> String {
    match known.len() {
        0 => format!("there is none: add a [[{what}]]"),
        1..=20 => format!("use one of: {}", known.join(", ")),
        more => format!("use one of: {} and {} more", known[..20].join(", "), more - 20),
    }
}

/// The addresses of endpoints must be in a subnet of their network, when it has any: nothing would be routed to them.
fn endpoints(port: &Draft, networks: &HashMap<&str, &Network>, sink: &mut Sink) {
    let network = port.network.as_ref().and_then(|name| networks.get(name.as_str()));
    let Some(network) = network.filter(|network| !network.gateways.is_empty()) else { return };
    for (i, endpoint) in port.endpoints.iter().flatten().enumerate() {
        for (j, ip) in endpoint.iter().flat_map(|endpoint| &endpoint.ip).enumerate() {
            let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            if link_local || network.subnet_of(*ip).is_some() {
                continue;
            }
            let subnets: Vec<_> =
                network.gateways.iter().map(|gateway| gateway.trunc().to_string()).collect();
            let message = format!(
                "{ip} is in no subnet of network {}; use an address in {}",
                network.name,
                subnets.join(" or ")
            );
            sink.report(&port.key(&format!("endpoints[{i}].ip[{j}]")), message);
        }
    }
}

fn placement(port: &Draft, workers: Option<&Workers>, sink: &mut Sink) {
    let Some(placement) = port.placement.as_deref().filter(|p| !p.is_empty()) else { return };
    if let Some(queues) = port.queues
        && placement.len() != usize::from(queues)
    {
        let named = placement.len();
        let message = format!(
            "{named} entries, but queues is {queues}; name one worker per queue, or remove placement"
        );
        sink.report(&port.key("placement"), message);
    }
    let Some(workers) = workers else { return };
    for (i, worker) in placement.iter().enumerate() {
        if *worker >= workers.count {
            let last = workers.count - 1;
            let message = format!("there is no worker {worker}; choose 0 to {last}, or raise workers.count");
            sink.report(&port.key(&format!("placement[{i}]")), message);
        }
    }
}

fn ipv6_mtu(port: &Draft, networks: &HashMap<&str, &Network>, sink: &mut Sink) {
    let network = port.network.as_ref().and_then(|name| networks.get(name.as_str()));
    let Some(mtu) = port.mtu.or(network.map(|n| n.mtu)).filter(|mtu| *mtu < IPV6_MTU_MIN) else { return };
    let addresses = port.kind.as_ref().map(PortKind::addresses).unwrap_or_default();
    for (i, _) in addresses.iter().enumerate().filter(|(_, a)| a.addr().is_ipv6()) {
        let message =
            format!("IPv6 does not work with an MTU of {mtu}; remove the address or set mtu to 1280 or more");
        sink.report(&port.key(&format!("addresses[{i}]")), message);
    }
}
