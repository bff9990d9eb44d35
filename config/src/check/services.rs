//! Mistakes of services: in one (ports that cannot be told apart, endpoints of ports that are not there), between several
//! (an address with two owners), and with what is around them (routers, subnets, stations).

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::claims::Claims;
use super::routing::Joined;
use super::unknown;
use crate::error::Sink;
use crate::names::RouterName;
use crate::network::Network;
use crate::node::Node;
use crate::port;
use crate::router;
use crate::router::forward::PortForward;
use crate::service::endpoint::ServiceEndpoint;
use crate::service::port::ServiceProtocol;
use crate::service::{Draft, Service};

/// What services are checked against.
pub(crate) struct Around<'a> {
    pub(crate) node: &'a Node,
    pub(crate) joined: &'a Joined<'a>,
    pub(crate) ports: &'a [port::Draft],
}

/// A service with the key of its section.
struct Placed<'a> {
    path: &'a str,
    service: &'a Service,
}

impl Placed<'_> {
    fn report(&self, key: &str, message: String, sink: &mut Sink) {
        sink.report(&format!("{}.{key}", self.path), message);
    }

    /// Its addresses with the keys they stand at; those of the cluster first.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, usize, IpAddr)> + '_ {
        let list = |key: &'static str, list: &'_ [IpAddr]| {
            list.iter().copied().enumerate().map(move |(at, address)| (key, at, address)).collect::<Vec<_>>()
        };
        let service = self.service;
        let cluster = list("cluster_ips", &service.cluster_ips);
        let balancers = list("load_balancer_ips", &service.load_balancer_ips);
        cluster.into_iter().chain(balancers).chain(list("external_ips", &service.external_ips))
    }
}

/// Reports every mistake. Of two services that collide the later is reported.
pub(crate) fn all(drafts: &[Draft], around: &Around<'_>, sink: &mut Sink) {
    if drafts.is_empty() {
        return;
    }
    names(drafts, sink);
    let whole = drafts.iter().filter_map(|draft| Some((&draft.path, draft.service.as_ref()?)));
    let placed: Vec<_> = whole.map(|(path, service)| Placed { path, service }).collect();
    for service in &placed {
        alone(service, around.node, sink);
    }
    owners(&placed, sink);
    node_ports(&placed, sink);
    surroundings(&placed, around, sink);
}

/// The mistakes that show in one service.
pub(crate) fn one(path: &str, service: &Service, node: &Node, sink: &mut Sink) {
    alone(&Placed { path, service }, node, sink);
}

fn names(drafts: &[Draft], sink: &mut Sink) {
    let mut claims = Claims::new();
    for draft in drafts {
        let Some(name) = &draft.name else { continue };
        if let Some(first) = claims.claim(name, || draft.path.clone()) {
            let message =
                format!("{:?} is already the name of {first}; give each service its own", name.as_str());
            sink.report(&format!("{}.name", draft.path), message);
        }
    }
}

fn alone(placed: &Placed<'_>, node: &Node, sink: &mut Sink) {
    let service = placed.service;
    let mut addresses = HashSet::new();
    for (key, at, address) in placed.addresses() {
        if !addresses.insert(address) {
            placed.report(&format!("{key}[{at}]"), format!("{address} is given twice; give it once"), sink);
        }
    }
    ports(placed, node, sink);
    let mut known = HashSet::new();
    for (at, endpoint) in service.endpoints.iter().enumerate() {
        if !known.insert(endpoint.address) {
            let message = format!("{} is an endpoint already; give it once", endpoint.address);
            placed.report(&format!("endpoints[{at}].address"), message, sink);
        }
        targets(placed, at, endpoint, sink);
    }
    if service.load_balancer_network.is_some() && service.load_balancer_ips.is_empty() {
        let message = "there is no load balancer address to answer for; add load_balancer_ips, or remove it";
        placed.report("load_balancer_network", message.to_owned(), sink);
    }
}

fn ports(placed: &Placed<'_>, node: &Node, sink: &mut Sink) {
    let ports = &placed.service.ports;
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    for (at, port) in ports.iter().enumerate() {
        let key = |name: &str| format!("ports[{at}].{name}");
        if ports.len() > 1 && port.name.is_empty() {
            let message = "required, as the service has several ports; add it, as name = \"http\"";
            placed.report(&key("name"), message.to_owned(), sink);
        } else if !names.insert(&port.name) {
            placed.report(
                &key("name"),
                format!("{:?} is the name of another port; choose another", port.name),
                sink,
            );
        }
        if !numbers.insert((port.protocol, port.port)) {
            let message =
                format!("{} {} is a port of the service already; remove one", port.protocol, port.port);
            placed.report(&key("port"), message, sink);
        }
        let Some(number) = port.node_port else { continue };
        if !node.node_ports.contains(&number) {
            let (low, high) = (node.node_ports.start(), node.node_ports.end());
            let message = format!(
                "{number} is no node port; choose {low} to {high}, or change node_ports under [node]"
            );
            placed.report(&key("node_port"), message, sink);
        }
    }
}

/// The ports of an endpoint must be those of the service.
fn targets(placed: &Placed<'_>, at: usize, endpoint: &ServiceEndpoint, sink: &mut Sink) {
    let ports = &placed.service.ports;
    let key = |name: &str| format!("endpoints[{at}].{name}");
    if endpoint.port.is_some() && ports.len() > 1 {
        let message = "the service has several ports; name them, as ports = { http = 8080 }";
        placed.report(&key("port"), message.to_owned(), sink);
    }
    for name in endpoint.ports.keys() {
        if !ports.iter().any(|port| port.name == *name) {
            let mut known: Vec<_> =
                ports.iter().map(|port| port.name.as_str()).filter(|name| !name.is_empty()).collect();
            known.sort_unstable();
            let message = match known.is_empty() {
                true => format!("the service has no port {name:?}; name its port, or write port = NUMBER"),
                false => unknown("port", name, &known),
            };
            placed.report(&key("ports"), message, sink);
        }
    }
}

/// Each address and port has one service; addresses of the cluster have one altogether.
fn owners(services: &[Placed<'_>], sink: &mut Sink) {
    type Whole<'a> = (&'a RouterName, IpAddr);
    let mut cluster: Claims<Whole<'_>> = Claims::new();
    let mut whole: HashMap<Whole<'_>, &str> = HashMap::new();
    let mut ports: Claims<(Whole<'_>, ServiceProtocol, u16)> = Claims::new();
    for placed in services {
        let service = placed.service;
        for (key, at, address) in placed.addresses() {
            let (place, name) = ((&service.router, address), service.name.as_str());
            let key = format!("{key}[{at}]");
            let is_cluster = key.starts_with("cluster_ips");
            let other = whole.get(&place).filter(|other| **other != name).copied();
            let owner = match (is_cluster, other) {
                (true, Some(other)) => Some(other.to_owned()),
                (true, None) => {
                    cluster.claim(place, || name.to_owned()).filter(|first| *first != name).map(str::to_owned)
                }
                (false, _) => cluster.owner(&place).filter(|first| *first != name).map(str::to_owned),
            };
            whole.entry(place).or_insert(name);
            if let Some(owner) = owner {
                let message = format!("{address} is an address of service {owner}; choose another");
                placed.report(&key, message, sink);
                continue;
            }
            if is_cluster {
                continue;
            }
            for port in &service.ports {
                let claim = (place, port.protocol, port.port);
                if let Some(first) = ports.claim(claim, || name.to_owned()).filter(|first| *first != name) {
                    let message = format!(
                        "{} {} of {address} is service {first}'s; choose another address",
                        port.protocol, port.port
                    );
                    placed.report(&key, message, sink);
                }
            }
        }
    }
}

fn node_ports(services: &[Placed<'_>], sink: &mut Sink) {
    let mut claims = Claims::new();
    for placed in services {
        for (at, port) in placed.service.ports.iter().enumerate() {
            let Some(number) = port.node_port else { continue };
            let claim = (&placed.service.router, port.protocol, number);
            if let Some(first) = claims.claim(claim, || placed.service.name.to_string()) {
                let message = format!("{number} is a node port of service {first} already; choose another");
                placed.report(&format!("ports[{at}].node_port"), message, sink);
            }
        }
    }
}

/// What a router has around its services.
#[derive(Default)]
struct Reach<'a> {
    networks: Vec<&'a Network>,
    external: Option<&'a [IpNet]>,
    forwards: Vec<PortForward>,
}

fn surroundings(services: &[Placed<'_>], around: &Around<'_>, sink: &mut Sink) {
    let joined = around.joined;
    let mut routers: HashMap<&RouterName, Reach<'_>> = HashMap::new();
    for router::Draft { name, external_ips, port_forwards, .. } in joined.routers {
        let Some(name) = name else { continue };
        let forwards = port_forwards.iter().flatten().filter_map(|forward| *forward).collect();
        routers.insert(name, Reach { networks: Vec::new(), external: external_ips.as_deref(), forwards });
    }
    for network in joined.networks.iter().map(|draft| &draft.network) {
        if let Some(reach) = network.router.as_ref().and_then(|router| routers.get_mut(router)) {
            reach.networks.push(network);
        }
    }
    let judged = joined.all_networks && joined.networks.iter().all(|draft| draft.routing);
    let stations = stations(around.ports);
    for placed in services {
        let service = placed.service;
        let Some(reach) = routers.get(&service.router) else {
            if joined.all_routers {
                let mut known: Vec<_> = routers.keys().map(|router| router.as_str()).collect();
                known.sort_unstable();
                placed.report("router", unknown("router", service.router.as_str(), &known), sink);
            }
            continue;
        };
        external(placed, reach, sink);
        forwarded(placed, reach, sink);
        if judged {
            subnets(placed, reach, &stations, sink);
            balancers(placed, joined, sink);
        }
    }
}

/// External addresses are those that the router allows.
fn external(placed: &Placed<'_>, reach: &Reach<'_>, sink: &mut Sink) {
    let Some(allowed) = reach.external else { return };
    for (at, address) in placed.service.external_ips.iter().enumerate() {
        if !allowed.iter().any(|prefix| prefix.contains(address)) {
            let message = format!(
                "{address} is not allowed: a service could take over somebody's address by it (CVE-2020-8554); add a \
                 prefix with it to external_ips of router {}",
                placed.service.router
            );
            placed.report(&format!("external_ips[{at}]"), message, sink);
        }
    }
}

/// What leads to a station already is no service's.
fn forwarded(placed: &Placed<'_>, reach: &Reach<'_>, sink: &mut Sink) {
    let service = placed.service;
    let taken = |protocol: ServiceProtocol, end: SocketAddr| {
        reach.forwards.iter().any(|forward| forward.protocol == protocol && forward.external == end)
    };
    let message =
        |what: String| format!("{what} is in port_forwards of router {}; choose another", service.router);
    for (key, at, address) in placed.addresses() {
        // A cluster address has no ports but the service's.
        let whole =
            key == "cluster_ips" && reach.forwards.iter().any(|forward| forward.external.ip() == address);
        let clash = service.ports.iter().find(|port| taken(port.protocol, (address, port.port).into()));
        if whole || clash.is_some() {
            placed.report(&format!("{key}[{at}]"), message(address.to_string()), sink);
        }
    }
    let own = reach.networks.iter().flat_map(|network| &network.gateways).map(IpNet::addr);
    let own: Vec<_> = own.collect();
    for (at, port) in service.ports.iter().enumerate() {
        let Some(number) = port.node_port else { continue };
        if own.iter().any(|address| taken(port.protocol, (*address, number).into())) {
            placed.report(&format!("ports[{at}].node_port"), message(number.to_string()), sink);
        }
    }
}

/// An address of a service is nobody else's, and one of the cluster is where its clients look for no neighbour.
fn subnets(placed: &Placed<'_>, reach: &Reach<'_>, stations: &HashMap<IpAddr, String>, sink: &mut Sink) {
    for (key, at, address) in placed.addresses() {
        let gateway = |network: &&&Network| network.gateways.iter().any(|own| own.addr() == address);
        let subnet = |network: &&&Network| network.gateways.iter().any(|own| own.contains(&address));
        let message = if let Some(network) = reach.networks.iter().find(gateway) {
            format!(
                "{address} is the router's own address in network {}; choose another, or use a node_port",
                network.name
            )
        } else if let Some(station) = stations.get(&address) {
            format!("{address} is an address of {station}; choose another")
        } else if key == "cluster_ips"
            && let Some(network) = reach.networks.iter().find(subnet)
        {
            format!(
                "{address} is in the subnet of network {}, whose stations would look for it among themselves; choose one \
                 outside, or make it a load_balancer_ips",
                network.name
            )
        } else {
            continue;
        };
        placed.report(&format!("{key}[{at}]"), message, sink);
    }
}

/// The network that answers for load balancer addresses must be one in which the router has an address.
fn balancers(placed: &Placed<'_>, joined: &Joined<'_>, sink: &mut Sink) {
    let service = placed.service;
    let Some(name) = &service.load_balancer_network else { return };
    let found = joined.networks.iter().find(|draft| draft.name.as_ref() == Some(name));
    let message = match found.map(|draft| &draft.network) {
        None => {
            let mut known: Vec<_> =
                joined.networks.iter().filter_map(|draft| Some(draft.name.as_ref()?.as_str())).collect();
            known.sort_unstable();
            unknown("network", name.as_str(), &known)
        }
        Some(network) if network.router.as_ref() != Some(&service.router) => {
            format!(
                "router {} has no address in network {name}; name a network that it joins",
                service.router
            )
        }
        Some(_) => return,
    };
    placed.report("load_balancer_network", message, sink);
}

/// Addresses of the stations of this node, and whose they are.
fn stations(ports: &[port::Draft]) -> HashMap<IpAddr, String> {
    let mut stations = HashMap::new();
    for port in ports {
        let label = || port.name.as_ref().map_or_else(|| port.path.clone(), |name| format!("port {name}"));
        let endpoints =
            port.endpoints.iter().flatten().flatten().flat_map(|endpoint| endpoint.ip.iter().copied());
        let own = port.kind.as_ref().map(port::kind::PortKind::addresses).unwrap_or_default();
        for address in endpoints.chain(own.iter().map(IpNet::addr)) {
            stations.entry(address).or_insert_with(label);
        }
    }
    stations
}
