//! `shunt show topology`, the routing part: gateways and routes. Nothing where nothing is routed.

use super::table::Table;
use crate::control::api::proto;

/// The gateways of the networks, then the routes of each router, with an empty line before each table.
pub(super) fn routers(row: &proto::Topology) -> String {
    let mut text = String::new();
    let routed: Vec<_> = row.networks.iter().filter(|network| !network.router.is_empty()).collect();
    if !routed.is_empty() {
        let mut table = Table::new(&["NETWORK", "ROUTER", "GATEWAY-MAC", "GATEWAYS"]);
        for network in routed {
            let (name, router, mac) = (&network.name, &network.router, &network.gateway_mac);
            table.row([name.clone(), router.clone(), mac.clone(), network.gateways.join(" ")]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    if row.routers.iter().any(|router| !router.routes.is_empty()) {
        let mut table = Table::new(&["ROUTER", "TO", "VIA", "NETWORK"]);
        for router in &row.routers {
            for route in &router.routes {
                let [via, network] = hop(route);
                table.row([router.name.clone(), route.to.clone(), via.to_owned(), network.to_owned()]);
            }
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    for router in &row.routers {
        let shown = router.routes.len() as u64;
        if shown < router.route_count {
            text.push_str(&format!("{}: the first {shown} of {} routes\n", router.name, router.route_count));
        }
    }
    for network in &row.networks {
        let lines = network.peers_wrong.lines();
        text.extend(lines.map(|line| format!("{}: peers_file is not in force: {line}\n", network.name)));
    }
    text
}

/// How a route goes on, in two words.
fn hop(route: &proto::Route) -> [&str; 2] {
    match (route.via.as_str(), route.network.as_str()) {
        ("", "") if route.unreachable => ["unreachable", "-"],
        ("", "") => ["blackhole", "-"],
        ("", network) => ["connected", network],
        (via, network) => [via, network],
    }
}
