//! Mistakes that show only between sections: names twice, a network that is not there, a device or socket claimed by two.
//! Runs on drafts, so that a port with one mistake is still checked for others. Cost: linear in the number of ports.

mod claims;
pub(crate) mod cluster;
pub(crate) mod gateway;
pub(crate) mod overlay;
pub(crate) mod routing;
pub(crate) mod services;
pub(crate) mod underlay;

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

/// Networks by name.
pub(crate) type Networks<'a> = HashMap<&'a str, &'a Network>;

/// A broadcast domain: a network that is no underlay with 0, or a bridge with a VLAN of it (0: untagged).
type Domain<'a> = (&'a str, u16);

/// What the ports are checked against.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    daemon: &'a Daemon,
    workers: Option<&'a Workers>,
    networks: Networks<'a>,
    /// The network that says who may be in a domain. A VLAN without an underlay has none.
    domains: HashMap<Domain<'a>, &'a Network>,
    all_networks: bool,
    /// Gateways are known: what refers to them can be judged.
    routing: bool,
    /// Kinds are known with all their keys.
    kinds: bool,
}

impl<'a> Around<'a> {
    /// The sections of a whole configuration.
    pub(crate) fn of(config: &'a Config) -> Self {
        let networks: Networks<'_> = config.networks.iter().map(|n| (n.name.as_str(), n)).collect();
        let (daemon, workers, domains) = (&config.daemon, Some(&config.workers), domains(&networks));
        Around { daemon, workers, networks, domains, all_networks: true, routing: true, kinds: true }
    }

    /// Sections as far as they could be read. `workers` is `None` when that section holds a mistake; `all_networks` is
    /// false when the name of some network is not known, so that "no such network" would be a guess.
    pub(crate) fn new(
        daemon: &'a Daemon,
        workers: Option<&'a Workers>,
        networks: &'a [network::Draft],
        all_networks: bool,
    ) -> Self {
        let routing = networks.iter().all(|draft| draft.routing);
        let kinds = networks.iter().all(|draft| draft.kind);
        let all_networks = all_networks && networks.iter().all(|draft| draft.name.is_some());
        let named = networks.iter().filter_map(|draft| Some((draft.name.as_ref()?.as_str(), &draft.network)));
        let networks: Networks<'_> = named.collect();
        let domains = domains(&networks);
        Around { daemon, workers, networks, domains, all_networks, routing, kinds }
    }

    /// Networks by name.
    pub(crate) fn networks(&self) -> &Networks<'a> {
        &self.networks
    }

    /// The domain that untagged frames of `port` belong to, when its network and VLANs are known.
    fn domain<'p>(&self, port: &'p Draft) -> Option<Domain<'p>>
    where
        'a: 'p,
    {
        let name = port.network.as_ref()?.as_str();
        let vlans = port.vlans.as_ref()?;
        let network = self.networks.get(name)?;
        Some(match network.underlay() {
            Some(_) => domain_of(network),
            None => (name, vlans.vlan.or(vlans.native).unwrap_or(0)),
        })
    }

    /// The network that says who may be in the domain of `port`.
    fn network_of(&self, port: &Draft) -> Option<&'a Network> {
        let name = port.network.as_ref()?.as_str();
        let vlans = port.vlans.as_ref()?;
        let network = self.networks.get(name)?;
        let domain = match network.underlay() {
            Some(_) => domain_of(network),
            None => (network.name.as_str(), vlans.vlan.or(vlans.native).unwrap_or(0)),
        };
        self.domains.get(&domain).copied()
    }

    /// The MTU of a network, see [`Config::network_mtu`].
    fn mtu(&self, network: &Network) -> u16 {
        network::mtu::effective(network, &|name| self.networks.get(name.as_str()).copied(), &|_| false)
    }
}

/// The domain that a network is, or has its gateways in.
fn domain_of(network: &Network) -> Domain<'_> {
    match network.underlay() {
        Some(underlay) => (underlay.bridge.as_str(), underlay.vlan.unwrap_or(0)),
        None => (network.name.as_str(), 0),
    }
}

/// The network of each domain; where a bridge and an underlay have the untagged domain, the underlay.
fn domains<'a>(networks: &Networks<'a>) -> HashMap<Domain<'a>, &'a Network> {
    let of_bridges = networks.values().filter(|network| network.underlay().is_none());
    let of_underlays = networks.values().filter(|network| network.underlay().is_some());
    of_bridges.chain(of_underlays).map(|network| (domain_of(network), *network)).collect()
}

/// Reports every conflict between `ports`, and of them with `around`. Of two that collide the later is reported.
pub(crate) fn ports(ports: &[Draft], around: &Around<'_>, sink: &mut Sink) {
    names(ports, sink);
    mirrors(ports, sink);
    for port in ports {
        network(port, around, sink);
        placement(port, around.workers, sink);
        ipv6_mtu(port, around, sink);
        if around.kinds {
            underlay::port_vlans(port, &around.networks, sink);
            underlay::children(port, &around.networks, sink);
        }
        if around.routing && around.kinds {
            endpoints(port, around, sink);
        }
    }
    claims::all(ports, around, sink);
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

/// A mirror must be there, and another port: a copy is never copied.
fn mirrors(ports: &[Draft], sink: &mut Sink) {
    // A name that holds a mistake may be the one that is meant.
    let Some(mut known) = ports.iter().map(|port| port.name.as_ref()).collect::<Option<Vec<_>>>() else {
        return;
    };
    known.sort_unstable();
    let known: Vec<&str> = known.into_iter().map(|name| name.as_str()).collect();
    for port in ports {
        let Some(mirror) = &port.mirror else { continue };
        if port.name.as_ref() == Some(mirror) {
            sink.report(&port.key("mirror"), "a port cannot be its own mirror; name another port");
        } else if !known.contains(&mirror.as_str()) {
            sink.report(&port.key("mirror"), unknown("port", mirror.as_str(), &known));
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

/// The addresses of endpoints must be where their network has addresses: nothing would be routed to them elsewhere.
fn endpoints(port: &Draft, around: &Around<'_>, sink: &mut Sink) {
    let Some(network) = around.network_of(port) else { return };
    for (i, endpoint) in port.endpoints.iter().flatten().enumerate() {
        for (j, ip) in endpoint.iter().flat_map(|endpoint| &endpoint.ip).enumerate() {
            if let Some(message) = misplaced(network, *ip) {
                sink.report(&port.key(&format!("endpoints[{i}].ip[{j}]")), message);
            }
        }
    }
}

/// What is wrong with an endpoint that has the address `ip` in `network`.
fn misplaced(network: &Network, ip: IpAddr) -> Option<String> {
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let (places, inside): (Vec<_>, _) = if network.has_host_routes() {
        let cidr = network.overlay().map(|overlay| overlay.cidr.clone()).unwrap_or_default();
        let inside = cidr.iter().any(|net| net.contains(&ip));
        (cidr, inside)
    } else {
        (network.gateways.iter().map(|net| net.trunc()).collect(), network.subnet_of(ip).is_some())
    };
    if link_local || places.is_empty() || inside {
        return None;
    }
    let within = if network.has_host_routes() { "outside the cidr" } else { "in no subnet" };
    let places: Vec<_> = places.iter().map(ToString::to_string).collect();
    Some(format!("{ip} is {within} of network {}; use an address in {}", network.name, places.join(" or ")))
}

fn placement(port: &Draft, workers: Option<&Workers>, sink: &mut Sink) {
    let Some(placement) = port.placement.as_deref().filter(|p| !p.is_empty()) else { return };
    let members = port.kind.as_ref().map_or(0, |kind| kind.members().len());
    if let Some(queues) = port.queues
        && placement.len() != usize::from(queues) * members.max(1)
    {
        let named = placement.len();
        let of = if members == 0 { String::new() } else { format!(" for each of {members} members") };
        let message = format!(
            "{named} entries, but queues is {queues}{of}; name one worker per queue, or remove placement"
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

fn ipv6_mtu(port: &Draft, around: &Around<'_>, sink: &mut Sink) {
    let network = port.network.as_ref().and_then(|name| around.networks.get(name.as_str()));
    let mtu = port.mtu.or_else(|| network.map(|network| around.mtu(network)));
    let Some(mtu) = mtu.filter(|mtu| *mtu < IPV6_MTU_MIN) else { return };
    let addresses = port.kind.as_ref().map(PortKind::addresses).unwrap_or_default();
    for (i, _) in addresses.iter().enumerate().filter(|(_, a)| a.addr().is_ipv6()) {
        let message =
            format!("IPv6 does not work with an MTU of {mtu}; remove the address or set mtu to 1280 or more");
        sink.report(&port.key(&format!("addresses[{i}]")), message);
    }
}
