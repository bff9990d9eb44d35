//! The routers of a configuration: their routes as tables. A table is built anew only when its rows changed, and its rows
//! name networks by their index, so adding or removing a network may change those of every router.

use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{Config, IpNet, Network, Router};

use super::overlay;
use crate::ids::NetworkId;
use crate::table::fib::{Fib, Route, Row};
use crate::topology::{Gateway, PlannedRouter, RouterId};

/// The routers of `config`, with the tables of `before` where they are the same.
pub(super) fn routers(config: &Config, before: &[PlannedRouter]) -> Vec<PlannedRouter> {
    let planned = |router: &Router| {
        let rows = rows(config, router);
        let same = before
            .iter()
            .find(|known| known.name == router.name)
            .filter(|known| known.fib.iter().eq(rows.iter()));
        let fib = same.map_or_else(|| Arc::new(Fib::build(rows.iter().copied())), |same| same.fib.clone());
        PlannedRouter { name: router.name.clone(), fib }
    };
    config.routers.iter().map(planned).collect()
}

/// The gateway of `network`, whose router has its index in `config`.
pub(super) fn gateway(config: &Config, network: &shunt_config::Network) -> Option<Gateway> {
    let name = network.router.as_ref()?;
    let router = config.routers.iter().position(|router| router.name == *name)?;
    Some(Gateway {
        mac: network.gateway_mac().into(),
        addresses: network.gateways.iter().map(|net| (net.addr(), net.prefix_len())).collect(),
        router: RouterId(router as u16),
    })
}

/// All routes of `router` in the order of [`Fib::iter`]: one to each subnet of its networks, and those given.
fn rows(config: &Config, router: &Router) -> Vec<Row> {
    let joined = || {
        let numbered = (0..).map(NetworkId).zip(&config.networks);
        numbered.filter(|(_, network)| network.router.as_ref() == Some(&router.name))
    };
    let connected = joined().flat_map(|(id, network)| {
        let prefixes = if network.has_host_routes() {
            host_routes(config, router, network)
        } else {
            network.gateways.iter().map(IpNet::trunc).collect()
        };
        prefixes.into_iter().map(move |prefix| Row { prefix, route: Route::Connected(id) })
    });
    let through = |hop: IpAddr| joined().find(|(_, network)| network.subnet_of(hop).is_some());
    let given = router.routes.iter().filter_map(|route| {
        let to = match route.via {
            // Validation has seen that there is a network.
            Some(hop) => Route::Via(through(hop)?.0, hop),
            None => Route::Blackhole,
        };
        Some(Row { prefix: route.to, route: to })
    });
    let mut rows: Vec<Row> = connected.chain(given).chain(overlay::routes(config, router)).collect();
    rows.sort_by_key(|row| row.prefix);
    // The same address may be a subnet of its own and an endpoint: the first row is the one that counts.
    rows.dedup_by_key(|row| row.prefix);
    rows
}

/// Who is reached directly in a network in which nobody else is: the stations of its ports and the routers in it. Whatever
/// else is in its subnets goes by a route (reference 000: the gateway's MAC address also within the subnet).
fn host_routes(config: &Config, router: &Router, network: &Network) -> Vec<IpNet> {
    let ports = config.ports.iter().filter(|port| port.network == network.name);
    let stations = ports.flat_map(|port| &port.endpoints).flat_map(|endpoint| endpoint.ip.iter().copied());
    let routers = router.routes.iter().filter_map(|route| route.via);
    let routers = routers.filter(|hop| network.subnet_of(*hop).is_some());
    let own = network.gateways.iter().map(IpNet::addr);
    let mut all: Vec<IpNet> = stations.chain(routers).chain(own).map(IpNet::from).collect();
    all.sort_unstable();
    all.dedup();
    all
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
        let routers = routers(&config(TEXT), &[]);
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

    #[test]
    fn only_tables_whose_rows_changed_are_built_anew() {
        let old = routers(&config(TEXT), &[]);
        let same = |new: &[PlannedRouter]| {
            new.iter().zip(&old).map(|(new, old)| Arc::ptr_eq(&new.fib, &old.fib)).collect::<Vec<_>>()
        };
        assert_eq!(same(&routers(&config(TEXT), &old)), [true, true]);
        let more = TEXT.replace("routes = [", "routes = [{ to = \"::/0\", via = \"fd00:1::7\" }, ");
        assert_eq!(same(&routers(&config(&more), &old)), [false, true]);
        // Without the first network the others have other numbers.
        let fewer = TEXT.replace("[[network]]\n        name = \"alone\"\n", "");
        assert_eq!(same(&routers(&config(&fewer), &old)), [false, false]);
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
