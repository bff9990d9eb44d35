//! Mistakes between routers and networks: a router that is not there, subnets that overlap, routes that lead nowhere.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::claims::Claims;
use super::{IPV6_MTU_MIN, unknown};
use crate::error::Sink;
use crate::names::{NetworkName, RouterName};
use crate::network::mtu::effective;
use crate::value::is_station_of;
use crate::{Network, network, router};

/// The routers and networks of a document. `all_routers` and `all_networks` are false when some could not be read: then
/// nothing is said to be missing.
pub(crate) struct Joined<'a> {
    pub(crate) routers: &'a [router::Draft],
    pub(crate) networks: &'a [network::Draft],
    pub(crate) all_routers: bool,
    pub(crate) all_networks: bool,
}

/// A subnet of a router: prefix with our address, and the key it stands at.
struct Subnet {
    net: IpNet,
    network: String,
}

/// Reports every mistake. Of two that collide the later is reported.
pub(crate) fn all(joined: &Joined<'_>, sink: &mut Sink) {
    names(joined.routers, sink);
    let mut subnets: HashMap<&RouterName, Vec<Subnet>> = HashMap::new();
    let named = joined.networks.iter().filter_map(|draft| Some((draft.name.as_ref()?, &draft.network)));
    let by_name: HashMap<_, _> = named.collect();
    for draft in joined.networks {
        let mtu = effective(&draft.network, &|name| by_name.get(name).copied(), &|_| false);
        if draft.kind && mtu < IPV6_MTU_MIN {
            ipv6_mtu(draft, mtu, sink);
        }
        let Some(router) = &draft.network.router else { continue };
        if joined.all_routers {
            existence(draft, router, joined.routers, sink);
        }
        overlaps(draft, subnets.entry(router).or_default(), sink);
    }
    if joined.all_networks {
        joined.networks.iter().for_each(|draft| pairs(draft, &by_name, sink));
        joined.networks.iter().for_each(|draft| local(draft, &by_name, sink));
    }
    let judged = joined.all_networks && joined.networks.iter().all(|draft| draft.routing);
    for draft in joined.routers {
        let reached = draft.name.as_ref().and_then(|name| subnets.get(name)).map_or(&[][..], Vec::as_slice);
        routes(draft, judged.then_some(reached), sink);
        translations(draft, judged.then_some(reached), sink);
    }
}

fn names(routers: &[router::Draft], sink: &mut Sink) {
    let mut claims = Claims::new();
    for router in routers {
        let Some(name) = &router.name else { continue };
        if let Some(first) = claims.claim(name, || router.path.clone()) {
            let message =
                format!("{:?} is already the name of {first}; give each router its own", name.as_str());
            sink.report(&format!("{}.name", router.path), message);
        }
    }
}

fn existence(draft: &network::Draft, name: &RouterName, routers: &[router::Draft], sink: &mut Sink) {
    let mut known: Vec<_> = routers.iter().filter_map(|r| r.name.as_ref()).map(RouterName::as_str).collect();
    if !known.contains(&name.as_str()) {
        known.sort_unstable();
        sink.report(&format!("{}.router", draft.path), unknown("router", name.as_str(), &known));
    }
}

/// Subnets of one router must not overlap: an address would be in two networks.
fn overlaps(draft: &network::Draft, subnets: &mut Vec<Subnet>, sink: &mut Sink) {
    for (i, net) in draft.network.gateways.iter().enumerate() {
        let overlap =
            |known: &&Subnet| known.net.contains(&net.network()) || net.contains(&known.net.network());
        if let Some(first) = subnets.iter().find(overlap) {
            let message = format!(
                "{} overlaps {} of {}; give each network of a router subnets of its own",
                net.trunc(),
                first.net.trunc(),
                first.network
            );
            sink.report(&format!("{}.gateways[{i}]", draft.path), message);
        }
        let network = match &draft.name {
            Some(name) => format!("network {name}"),
            None => draft.path.clone(),
        };
        subnets.push(Subnet { net: *net, network });
    }
}

/// Packets are translated between networks of one router, and for each of them in one way.
fn pairs(draft: &network::Draft, networks: &HashMap<&NetworkName, &Network>, sink: &mut Sink) {
    let mut claims = Claims::new();
    for (i, pair) in draft.network.snat.iter().enumerate() {
        let key = draft.key(&format!("snat[{i}].to"));
        if let Some(first) = claims.claim(&pair.to, || format!("snat[{i}]")) {
            sink.report(&key, format!("network {} is in {first} already; remove one of the two", pair.to));
        }
        let router = |network: &Network| network.router.clone().filter(|_| draft.network.router.is_some());
        match networks.get(&pair.to) {
            None => {
                let mut known: Vec<_> = networks.keys().map(|name| name.as_str()).collect();
                known.sort_unstable();
                sink.report(&key, unknown("network", pair.to.as_str(), &known));
            }
            Some(_) if draft.name.as_ref() == Some(&pair.to) => {
                sink.report(&key, "nothing is translated within a network; name another");
            }
            Some(to) if router(to) != draft.network.router => {
                let message =
                    format!("network {} has another router, or none; name one of the same router", pair.to);
                sink.report(&key, message);
            }
            Some(_) => {}
        }
    }
}

/// What is routed from an underlay into a network must come back as it went: not from an address of the node.
fn local(draft: &network::Draft, networks: &HashMap<&NetworkName, &Network>, sink: &mut Sink) {
    let network = &draft.network;
    if !network.underlay().is_some_and(|underlay| underlay.local_route) || network.router.is_none() {
        return;
    }
    let (mut joined, router): (Vec<_>, _) = (networks.values().collect(), &network.router);
    joined.retain(|other| other.router == *router && other.overlay().is_some());
    joined.sort_by_key(|other| &other.name);
    for overlay in joined.into_iter().filter(|overlay| overlay.translates_into(network)) {
        let (name, own) = (&overlay.name, &network.name);
        let message = format!(
            "answers of network {name} would leave with the node's address; add snat = [{{ to = \"{own}\", source = \"none\" }}] to that"
        );
        sink.report(&draft.key("local_route"), message);
    }
}

fn ipv6_mtu(draft: &network::Draft, mtu: u16, sink: &mut Sink) {
    for (i, net) in draft.network.gateways.iter().enumerate().filter(|(_, net)| net.addr().is_ipv6()) {
        let message =
            format!("IPv6 does not work with an MTU of {mtu}; remove {net} or set mtu to 1280 or more");
        sink.report(&format!("{}.gateways[{i}]", draft.path), message);
    }
}

/// Routes given twice, to what is connected anyway, or via an address that no network has. `subnets` is `None` when they
/// are not all known.
fn routes(draft: &router::Draft, subnets: Option<&[Subnet]>, sink: &mut Sink) {
    let mut claims: Claims<IpNet> = Claims::new();
    for (i, route) in draft.routes.iter().flatten().enumerate() {
        let Some(route) = route else { continue };
        let key = |name: &str| format!("{}.routes[{i}].{name}", draft.path);
        if let Some(first) = claims.claim(route.to, || format!("routes[{i}]")) {
            let message = format!("{} has a route already, {first}; remove one of the two", route.to);
            sink.report(&key("to"), message);
        }
        let Some(subnets) = subnets else { continue };
        if let Some(subnet) = subnets.iter().find(|subnet| subnet.net.trunc() == route.to) {
            let message = format!(
                "{} is the subnet of {} and is routed there; remove the route",
                route.to, subnet.network
            );
            sink.report(&key("to"), message);
        }
        let Some(via) = route.via else { continue };
        if let Some(own) = subnets.iter().find(|subnet| subnet.net.addr() == via) {
            let message =
                format!("{via} is the router's own address in {}; name another router", own.network);
            sink.report(&key("via"), message);
        } else if !subnets.iter().any(|subnet| is_station_of(subnet.net, via)) {
            let message = match subnets.len() {
                0 => "no network names this router; add router and gateways to one".to_owned(),
                _ => format!("{via} is in no subnet of the router's networks; {}", instead(via, subnets)),
            };
            sink.report(&key("via"), message);
        }
    }
}

/// Floating addresses and pools: what stands twice, what the router or a whole subnet has itself, and pools out of reach.
fn translations(draft: &router::Draft, subnets: Option<&[Subnet]>, sink: &mut Sink) {
    let floating = draft.floating_ips.as_deref().unwrap_or_default();
    let pool = draft.snat_pool.as_deref().unwrap_or_default();
    for (key, message) in router::floating::repeated(floating, pool) {
        sink.report(&format!("{}.{key}", draft.path), message);
    }
    let forwards = draft.port_forwards.as_deref().unwrap_or_default();
    let snat = draft.static_snat.as_deref().unwrap_or_default();
    let floats: HashSet<IpAddr> = floating.iter().flatten().map(|one| one.external).collect();
    for (key, message) in router::forward::repeated(forwards, snat, &floats) {
        sink.report(&format!("{}.{key}", draft.path), message);
    }
    let Some(subnets) = subnets else { return };
    singles(draft, subnets, sink);
    let outside = floating.iter().enumerate().filter_map(|(at, one)| Some((at, (*one)?.external)));
    let outside = outside.map(|(at, address)| (format!("floating_ips[{at}].external"), address, false));
    let pooled = pool.iter().enumerate().map(|(at, address)| (format!("snat_pool[{at}]"), *address, true));
    for (key, address, must_be_near) in outside.chain(pooled) {
        let message = match subnets.iter().find(|subnet| subnet.net.contains(&address)) {
            Some(own) if own.net.addr() == address => {
                format!("{address} is the router's own address in {}; use another", own.network)
            }
            Some(near) if !is_station_of(near.net, address) => {
                format!("{address} stands for all of {}; use another", near.network)
            }
            None if must_be_near => {
                format!("{address} is in no subnet of the router's networks; {}", instead(address, subnets))
            }
            Some(_) | None => continue,
        };
        sink.report(&format!("{}.{key}", draft.path), message);
    }
}

/// Ports that lead inside, and addresses of prefixes: both may be the router's own, but not a whole subnet's.
fn singles(draft: &router::Draft, subnets: &[Subnet], sink: &mut Sink) {
    let forwards = draft.port_forwards.iter().flatten().enumerate();
    for (at, forward) in forwards.filter_map(|(at, one)| Some((at, (*one)?))) {
        let key = |name: &str| format!("{}.port_forwards[{at}].{name}", draft.path);
        let (external, internal) = (forward.external.ip(), forward.internal.ip());
        if let Some(message) = whole(external, subnets) {
            sink.report(&key("external"), message);
        }
        if let Some(own) = subnets.iter().find(|subnet| subnet.net.addr() == internal) {
            let message =
                format!("{internal} is the router's own address in {}; name a station", own.network);
            sink.report(&key("internal"), message);
        } else if let Some(message) = whole(internal, subnets) {
            sink.report(&key("internal"), message);
        }
    }
    let snat = draft.static_snat.iter().flatten().enumerate();
    for (at, rule) in snat.filter_map(|(at, one)| Some((at, (*one)?))) {
        let address = rule.address;
        let near = subnets.iter().any(|subnet| subnet.net.contains(&address));
        let far =
            || format!("{address} is in no subnet of the router's networks; {}", instead(address, subnets));
        if let Some(message) = whole(address, subnets).or_else(|| (!near).then(far)) {
            sink.report(&format!("{}.static_snat[{at}].address", draft.path), message);
        }
    }
}

/// What is wrong with an address that stands for all of a subnet.
fn whole(address: IpAddr, subnets: &[Subnet]) -> Option<String> {
    let near = subnets.iter().find(|subnet| subnet.net.contains(&address))?;
    let own = near.net.addr() == address;
    (!own && !is_station_of(near.net, address))
        .then(|| format!("{address} stands for all of {}; use another", near.network))
}

/// What to write for `via`.
fn instead(via: IpAddr, subnets: &[Subnet]) -> String {
    let family = |subnet: &&Subnet| subnet.net.addr().is_ipv4() == via.is_ipv4();
    let fit: Vec<_> = subnets.iter().filter(family).map(|subnet| subnet.net.trunc().to_string()).collect();
    match fit.len() {
        0 => "give one of them a gateway in its subnet".to_owned(),
        1..=8 => format!("use an address in {}", fit.join(" or ")),
        more => format!("use an address in {} or {} more", fit[..8].join(", "), more - 8),
    }
}
