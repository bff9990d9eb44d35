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
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[router]]
        name = "r"
        routes = [{ to = "10.9.0.0/16", via = "10.0.2.7" }, { to = "192.168.0.0/16", blackhole = true }]
        [[router]]
        name = "apart"
        [[network]]
        name = "alone"
        [[network]]
        name = "left"
        router = "r"
        gateways = ["10.0.1.1/24", "fd00:1::1/64"]
        [[network]]
        name = "right"
        router = "r"
        gateways = ["10.0.2.1/24"]
        [[network]]
        name = "elsewhere"
        router = "apart"
        gateways = ["10.0.1.1/24"]
    "#;

    fn config(text: &str) -> Config {
        shunt_config::parse(text, "test").unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn each_router_has_its_own_networks_and_routes() {
        let routers = routers(&config(TEXT), None);
        let get = |router: usize, to: &str| routers[router].fib.get(to.parse().unwrap());
        assert_eq!(get(0, "10.0.1.200"), Some(Route::Connected(NetworkId(1))));
        assert_eq!(get(0, "fd00:1::200"), Some(Route::Connected(NetworkId(1))));
        assert_eq!(get(0, "10.0.2.1"), Some(Route::Connected(NetworkId(2))));
        assert_eq!(get(0, "10.9.8.7"), Some(Route::Via(NetworkId(2), "10.0.2.7".parse().unwrap())));
        assert_eq!(get(0, "192.168.1.1"), Some(Route::Blackhole));
        assert_eq!(get(0, "10.0.3.1"), None);
        assert_eq!(get(1, "10.0.1.200"), Some(Route::Connected(NetworkId(3))));
        assert_eq!(get(1, "10.0.2.1"), None);
    }

    /// The routers of `new` after those of `old`, held against making them of nothing; which tables stayed.
    fn step(old: &str, new: &str) -> Vec<bool> {
        let (old, new) = (config(old), config(new));
        let before = routers(&old, None);
        let after = routers(&new, Some(&Before { config: &old, routers: &before }));
        for (made, fresh) in after.iter().zip(routers(&new, None)) {
            assert_eq!(made.fib.iter().collect::<Vec<_>>(), fresh.fib.iter().collect::<Vec<_>>());
        }
        after.iter().zip(&before).map(|(new, old)| Arc::ptr_eq(&new.fib, &old.fib)).collect()
    }

    #[test]
    fn only_tables_whose_rows_changed_are_made_anew() {
        assert_eq!(step(TEXT, TEXT), [true, true]);
        let more = TEXT.replace("routes = [", "routes = [{ to = \"::/0\", via = \"fd00:1::7\" }, ");
        assert_eq!(step(TEXT, &more), [false, true]);
        assert_eq!(step(&more, TEXT), [false, true]);
        // Without the first network the others have other numbers.
        let fewer = TEXT.replace("[[network]]\n        name = \"alone\"\n", "");
        assert_eq!(step(TEXT, &fewer), [false, false]);
        // Another key of a network is none that routes rest on.
        let key = TEXT.replace("name = \"alone\"", "name = \"alone\"\n        mac_limit = 7");
        assert_eq!(step(TEXT, &key), [true, true]);
        let subnet = TEXT.replace("10.0.2.1/24", "10.0.2.1/25");
        assert_eq!(step(TEXT, &subnet), [false, true]);
    }

    #[test]
    fn routes_that_come_go_move_and_change_are_found() {
        let route =
            |number: u32| format!("{{ to = \"10.9.{number}.0/24\", via = \"10.0.2.{}\" }}", number % 200 + 2);
        let text =
            |routes: &[String]| TEXT.replace("routes = [", &format!("routes = [{}, ", routes.join(", ")));
        let all: Vec<String> = (0..200).map(route).collect();
        let (mut moved, mut other) = (all.clone(), all.clone());
        moved.swap(3, 70);
        other[100] = "{ to = \"10.9.100.0/24\", blackhole = true }".into();
        let lists: [&[String]; 6] = [&all, &all[1..], &all[..150], &all[99..101], &moved, &other];
        for old in lists {
            for new in lists {
                let same =
                    routers(&config(&text(old)), None)[0]
                        .fib
                        .iter()
                        .eq(routers(&config(&text(new)), None)[0].fib.iter());
                let kept = step(&text(old), &text(new));
                // A route that only moved in the list changes nothing that counts; then a new table is no mistake.
                assert!(kept[1] && (kept[0] == same || same), "{} to {}", old.len(), new.len());
            }
        }
    }

    fn blackhole(number: u32) -> StaticRoute {
        let to = IpNet::new_assert(std::net::Ipv4Addr::from_bits(20 << 24 | number << 8).into(), 24);
        StaticRoute { to, via: None, blackhole: true }
    }

    fn via(number: u32, hop: u8) -> StaticRoute {
        StaticRoute { via: Some(IpAddr::from([10, 0, 2, hop])), blackhole: false, ..blackhole(number) }
    }

    #[test]
    fn routes_far_apart_are_found_without_those_between() {
        let old: Routes = (0..1000).map(blackhole).collect();
        let mut new = old.clone();
        assert_eq!(differing(&old, &new), Some(vec![]));
        new[7] = via(7, 7);
        new[900] = via(900, 7);
        new.remove(500);
        new.insert(100, blackhole(5000));
        let mut named = differing(&old, &new).unwrap();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named, [7, 500, 900, 5000].map(|number| blackhole(number).to));
        let others: Routes = (2000..3000).map(blackhole).collect();
        assert_eq!(differing(&old, &others), None, "all of them");
    }

    proptest::proptest! {
        /// Lists made of few prefixes, so that many are there twice: of a prefix that is not named, both have the same.
        #[test]
        fn of_prefixes_that_are_not_named_both_lists_have_the_same(
            old in proptest::collection::vec((0u32..12, 1u8..3), 0..40),
            edits in proptest::collection::vec((0usize..40, 0u32..12, 1u8..3, 0u8..3), 0..8),
        ) {
            let old: Vec<_> = old.into_iter().map(|(number, hop)| via(number, hop)).collect();
            let mut new = old.clone();
            for (at, number, hop, how) in edits {
                match how {
                    0 => new.insert(at.min(new.len()), via(number, hop)),
                    1 if at < new.len() => drop(new.remove(at)),
                    _ if at < new.len() => new[at] = via(number, hop),
                    _ => {}
                }
            }
            let named = differing(&old.iter().copied().collect(), &new.iter().copied().collect());
            let named = named.expect("few edits");
            for number in 0..12 {
                let to = blackhole(number).to;
                let of = |list: &[StaticRoute]| list.iter().filter(|it| it.to == to).copied().collect::<Vec<_>>();
                proptest::prop_assert!(named.contains(&to) || of(&old) == of(&new), "{to}");
            }
        }
    }

    #[test]
    fn one_route_among_many_is_no_reason_to_make_all_anew() {
        use std::time::{Duration, Instant};
        let mut old = config(TEXT);
        let route = |number: u32| StaticRoute {
            to: IpNet::new_assert(std::net::Ipv4Addr::from_bits(20 << 24 | number << 8).into(), 24),
            via: Some("10.0.2.7".parse().unwrap()),
            blackhole: false,
        };
        old.routers[0].routes = (0..50_000).map(route).collect();
        let mut new = old.clone();
        new.routers[0].routes.insert(20_000, route(60_000));
        let time = |work: &dyn Fn() -> Vec<PlannedRouter>| {
            let one = || {
                let started = Instant::now();
                // The new one and three subnets beside.
                assert_eq!(work()[0].fib.len(), 50_004);
                started.elapsed()
            };
            (0..5).map(|_| one()).min().unwrap_or(Duration::MAX)
        };
        let before = routers(&old, None);
        let before = Before { config: &old, routers: &before };
        let (some, all) = (time(&|| routers(&new, Some(&before))), time(&|| routers(&new, None)));
        assert!(some * 4 < all, "{some:?} for one route, {all:?} for all");
    }

    #[test]
    fn a_pod_is_routed_to_whether_its_port_names_the_underlay_or_the_vlan() {
        let text = |port: &str| {
            format!(
                "[[router]]\nname = \"r\"\nroutes = [{{ to = \"0.0.0.0/0\", via = \"10.0.1.254\" }}]\n\
                 [[network]]\nname = \"br\"\nvlans = [7, 8]\n\
                 [[network]]\nname = \"pods\"\nkind = \"underlay\"\nbridge = \"br\"\nvlan = 7\nmode = \"routed\"\n\
                 router = \"r\"\ngateways = [\"10.0.1.1/24\"]\n\
                 [[port]]\nname = \"p\"\nkind = \"tap\"\n{port}\n\
                 endpoints = [{{ mac = \"02:00:00:00:00:09\", ip = [\"10.0.1.9\"] }}]\n"
            )
        };
        let pod = "10.0.1.9".parse().unwrap();
        let route = |port: &str| routers(&config(&text(port)), None)[0].fib.get(pod);
        let direct = Some(Route::Connected(NetworkId(1)));
        for port in [
            "network = \"pods\"",
            "network = \"br\"\nvlan = 7",
            "network = \"br\"\ntrunk = [8]\nnative_vlan = 7",
        ] {
            assert_eq!(route(port), direct, "{port}");
        }
        let gateway = "10.0.1.254".parse().unwrap();
        assert_eq!(
            route("network = \"br\"\nvlan = 8"),
            Some(Route::Via(NetworkId(1), gateway)),
            "of another VLAN"
        );
        // A port that comes into the VLAN brings its route.
        let all = [text("network = \"br\"\nvlan = 8"), text("network = \"br\"\nvlan = 7")];
        assert_eq!(step(&all[0], &all[1]), [false]);
    }

    #[test]
    fn a_gateway_has_its_addresses_and_its_router() {
        let config = config(TEXT);
        let right = gateway(&config, &config.networks[2]).unwrap();
        assert_eq!(right.router, RouterId(0));
        assert_eq!(&*right.addresses, [("10.0.2.1".parse().unwrap(), 24)]);
        assert_eq!(gateway(&config, &config.networks[3]).unwrap().router, RouterId(1));
        assert_eq!(gateway(&config, &config.networks[0]), None);
    }
}
