//! The routers of a configuration: their routes as tables.
//!
//! A table of 100,000 routes takes some 10 ms to build, and most changes are one route or none. So the next table is made of
//! the one before and what differs between the two configurations; only when networks come, go or change, whose indices
//! and subnets the rows rest on, all rows are made anew.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{Config, IpNet, Network, NetworkName, Port, Router, Routes, SnatSource, StaticRoute};

use super::overlay;
use crate::ids::NetworkId;
use crate::table::fib::{Change, Fib, Route, Row};
use crate::topology::{Crossing, Gateway, PlannedRouter, RouterId};

/// Prefixes that differ at most, for finding the routes of each to be cheaper than making all rows.
const FEW: usize = 64;

/// What the running tables were made of.
pub(super) struct Before<'b> {
    pub(super) config: &'b Config,
    pub(super) routers: &'b [PlannedRouter],
}

/// The routers of `config`, with the tables of `before` where they are the same.
pub(super) fn routers(config: &Config, before: Option<&Before<'_>>) -> Vec<PlannedRouter> {
    let same_networks = before.is_some_and(|before| join_alike(before.config, config));
    let planned = |router: &Router| {
        let old = before.and_then(|before| {
            let table = before.routers.iter().find(|known| known.name == router.name)?;
            let text = before.config.routers.iter().find(|known| known.name == router.name)?;
            Some((&table.fib, before.config, text))
        });
        let changes =
            old.filter(|_| same_networks).and_then(|(_, was, text)| changes((was, text), (config, router)));
        let fib = match (old, changes) {
            (Some((fib, ..)), Some(changes)) if changes.is_empty() => fib.clone(),
            (Some((fib, ..)), Some(changes)) => Arc::new(fib.changed(&changes)),
            (old, _) => {
                let rows = rows(config, router);
                let same = old.filter(|(fib, ..)| fib.iter().eq(rows.iter()));
                same.map_or_else(|| Arc::new(Fib::build(rows)), |(fib, ..)| fib.clone())
            }
        };
        PlannedRouter { name: router.name.clone(), fib }
    };
    config.routers.iter().map(planned).collect()
}

/// True when routes to the same addresses lead to the same networks by the same numbers.
fn join_alike(old: &Config, new: &Config) -> bool {
    fn view(network: &Network) -> impl PartialEq {
        (&network.name, &network.router, &network.gateways)
    }
    old.networks.len() == new.networks.len()
        && old.networks.iter().zip(&new.networks).all(|(old, new)| view(old) == view(new))
}

/// What is to be changed in the table of a router whose networks are the same; `None` when that is so much that all rows
/// had better be made anew.
fn changes(old: (&Config, &Router), new: (&Config, &Router)) -> Option<Vec<Change>> {
    let mut touched = differing(&old.1.routes, &new.1.routes)?;
    let (near_old, near) = (sorted(near(old.0, old.1).collect()), sorted(near(new.0, new.1).collect()));
    let far = |(config, router): (&Config, &Router)| sorted(overlay::routes(config, router).collect());
    let (far_old, far) = (far(old), far(new));
    let only = |list: &'_ [Row], other: &'_ [Row]| -> Vec<IpNet> {
        let known = |row: &&Row| {
            other.binary_search_by_key(&row.prefix, |row| row.prefix).is_ok_and(|at| other[at] == **row)
        };
        list.iter().filter(|row| !known(row)).map(|row| row.prefix).collect()
    };
    for (one, other) in [(&near_old, &near), (&far_old, &far)] {
        touched.extend(only(one, other));
        touched.extend(only(other, one));
    }
    touched.sort_unstable();
    touched.dedup();
    if touched.len() > FEW {
        return None;
    }
    // Of equal prefixes the first row counts, as in `rows`.
    let of = |list: &[Row], prefix: &IpNet| {
        let at = list.binary_search_by_key(prefix, |row| row.prefix).ok()?;
        Some(list[at].route)
    };
    if touched.is_empty() {
        return Some(Vec::new());
    }
    // One walk for all of them.
    let mut given: Vec<Option<Route>> = vec![None; touched.len()];
    for route in new.1.routes.iter() {
        let Ok(at) = touched.binary_search(&route.to) else { continue };
        if given[at].is_none() {
            given[at] = given_row(new.0, new.1, route).map(|row| row.route);
        }
    }
    let now = |(prefix, given): (&IpNet, Option<Route>)| {
        let route = of(&near, prefix).or(given).or_else(|| of(&far, prefix));
        Change { prefix: *prefix, route }
    };
    Some(touched.iter().zip(given).map(now).collect())
}

/// Prefixes of the routes that one of two lists has and the other has not, or elsewhere among its equals; `None` when they are more than
/// [`FEW`]. Of a prefix that is not named both lists have the same routes in the same order.
///
/// One walk: where the two differ, the nearest place at which they agree again. Routes in between are named whether they differ or not.
fn differing(old: &Routes, new: &Routes) -> Option<Vec<IpNet>> {
    let mut touched = Vec::new();
    if old.are_shared_with(new) {
        return Some(touched);
    }
    let (mut old, mut new) = (old.as_slice(), new.as_slice());
    loop {
        let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        (old, new) = (&old[same..], &new[same..]);
        if old.is_empty() && new.is_empty() {
            return Some(touched);
        }
        let (gone, come) = next_agreement(old, new)?;
        touched.extend(old[..gone].iter().chain(&new[..come]).map(|route| route.to));
        if touched.len() > 2 * FEW {
            return None;
        }
        (old, new) = (&old[gone..], &new[come..]);
    }
}

/// How many routes to pass over in each of two lists, together the fewest, for both to go on alike, or to be at their ends; `None` when
/// that is more than [`FEW`] in one of them.
fn next_agreement(old: &[StaticRoute], new: &[StaticRoute]) -> Option<(usize, usize)> {
    let agree = |(gone, come): &(usize, usize)| old.get(*gone) == new.get(*come);
    let pairs = (1..=2 * FEW).flat_map(|both| (0..=both).map(move |gone| (gone, both - gone)));
    let within = |(gone, come): &(usize, usize)| *gone <= old.len().min(FEW) && *come <= new.len().min(FEW);
    pairs.filter(within).find(agree)
}

/// The gateway of `network`, whose router has its index in `config`.
pub(super) fn gateway(config: &Config, network: &Network) -> Option<Gateway> {
    let name = network.router.as_ref()?;
    let router = config.routers.iter().position(|router| router.name == *name)?;
    // What this node alone has in an overlay is ours, too; the last, so that whoever takes the first of a family takes the gateway's.
    let vtep = network.overlay().filter(|_| network.is_l3_overlay()).and_then(|overlay| overlay.vtep);
    let vtep = vtep.filter(|vtep| !network.gateways.iter().any(|own| own.addr() == *vtep));
    let node = network.overlay().map(|overlay| overlay.node_ips.as_slice()).unwrap_or_default();
    let alone: Vec<_> = vtep.iter().chain(node).copied().map(IpNet::from).collect();
    Some(Gateway {
        mac: network.gateway_mac().into(),
        addresses: network.gateways.iter().chain(&alone).map(|net| (net.addr(), net.prefix_len())).collect(),
        router: RouterId(router as u16),
    })
}

/// The rules of `network` for traffic with the other networks of its router.
pub(super) fn crossing(config: &Config, network: &Network) -> Crossing {
    let number = |name: &NetworkName| config.networks.iter().position(|other| other.name == *name);
    let pairs = network.snat.iter();
    Crossing {
        snat: pairs
            .filter_map(|pair| Some((NetworkId::new(number(&pair.to)?), pair.source == SnatSource::Node)))
            .collect(),
        local_route: network.underlay().is_some_and(|underlay| underlay.local_route),
    }
}

/// All routes of `router` in the order of [`Fib::iter`]: those to its networks, those given, and those to peers of overlays.
fn rows(config: &Config, router: &Router) -> Vec<Row> {
    let given = router.routes.iter().filter_map(|route| given_row(config, router, route));
    sorted(near(config, router).chain(given).chain(overlay::routes(config, router)).collect())
}

/// In the order of [`Fib::iter`]. The same address may be a subnet of its own and an endpoint: of rows with the same prefix
/// the first is left.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.prefix);
    rows.dedup_by_key(|row| row.prefix);
    rows
}

/// The networks that `router` joins.
fn joined<'c>(config: &'c Config, router: &'c Router) -> impl Iterator<Item = (NetworkId, &'c Network)> {
    let numbered = (0..).map(NetworkId).zip(&config.networks);
    numbered.filter(|(_, network)| network.router.as_ref() == Some(&router.name))
}

/// The routes that come of the networks of `router`, before those given: whatever they are, a change finds those that
/// differ.
fn near<'c>(config: &'c Config, router: &'c Router) -> impl Iterator<Item = Row> {
    joined(config, router).flat_map(move |(id, network)| {
        let prefixes = if network.has_host_routes() {
            host_routes(config, router, network)
        } else {
            network.gateways.iter().map(IpNet::trunc).collect()
        };
        prefixes.into_iter().map(move |prefix| Row { prefix, route: Route::Connected(id) })
    })
}

/// Who is reached directly in a network in which nobody else is: the stations of its ports and the routers in it. Whatever
/// else is in its subnets goes by a route (reference 000: the gateway's MAC address also within the subnet).
fn host_routes(config: &Config, router: &Router, network: &Network) -> Vec<IpNet> {
    let here = |port: &&Port| config.network_of(port).is_some_and(|it| it.name == network.name);
    let ports = config.ports.iter().filter(here);
    let stations = ports.flat_map(|port| &port.endpoints).flat_map(|endpoint| endpoint.ip.iter().copied());
    // Many routes go by few routers.
    let routers: HashSet<IpAddr> = router.routes.iter().filter_map(|route| route.via).collect();
    let routers = routers.into_iter().filter(|hop| network.subnet_of(*hop).is_some());
    let own = network.gateways.iter().map(IpNet::addr);
    stations.chain(routers).chain(own).map(IpNet::from).collect()
}

/// The row of a given route; validation has seen that there is a network.
fn given_row(config: &Config, router: &Router, route: &StaticRoute) -> Option<Row> {
    let through = |hop: IpAddr| joined(config, router).find(|(_, network)| network.subnet_of(hop).is_some());
    let to = match route.via {
        Some(hop) => Route::Via(through(hop)?.0, hop),
        None => Route::Blackhole,
    };
    Some(Row { prefix: route.to, route: to })
}

#[cfg(test)]
mod tests;
