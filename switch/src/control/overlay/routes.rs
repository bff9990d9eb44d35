//! The routes that overlays and routed underlays give their router.

use std::collections::HashMap;

use shunt_config::{Config, IpNet, Network, NetworkName, Port, Router};

use crate::ids::NetworkId;
use crate::table::fib::{Route, Row};

/// The rows of `router`: prefixes of peers, each via the peer's address within the overlay; local endpoints, where they are
/// routed to one by one; and for each overlay its `cidr`, so that an address that nobody has is not sent by a shorter
/// prefix. Networks are numbered in the order of `config`.
pub(in crate::control) fn routes(config: &Config, router: &Router) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut hosts: HashMap<&NetworkName, NetworkId> = HashMap::new();
    for (id, network) in (0..).map(NetworkId).zip(&config.networks) {
        if network.router.as_ref() != Some(&router.name) {
            continue;
        }
        if network.has_host_routes() {
            hosts.insert(&network.name, id);
        }
        let Some(overlay) = network.overlay() else { continue };
        for peer in &overlay.peers {
            let route = Route::Via(id, peer.vtep());
            rows.extend(peer.prefixes.iter().map(|prefix| Row { prefix: *prefix, route }));
        }
        rows.extend(overlay.cidr.iter().map(|prefix| Row { prefix: *prefix, route: Route::Blackhole }));
    }
    if hosts.is_empty() {
        return rows;
    }
    for port in &config.ports {
        let Some(id) = domain(config, port).and_then(|network| hosts.get(&network.name)) else { continue };
        let addresses = port.endpoints.iter().flat_map(|endpoint| &endpoint.ip);
        rows.extend(
            addresses.map(|address| Row { prefix: IpNet::from(*address), route: Route::Connected(*id) }),
        );
    }
    rows
}

/// The network that untagged frames of `port` are in: its own, or the one that is its VLAN.
fn domain<'c>(config: &'c Config, port: &Port) -> Option<&'c Network> {
    match port.vlan.or(port.native_vlan) {
        Some(vlan) => config.underlay_of(&port.network, Some(vlan)),
        None => config.network(port.network.as_str()),
    }
}
