//! The routes that overlays give their router.

use shunt_config::{Config, Router};

use crate::ids::NetworkId;
use crate::table::fib::{Route, Row};

/// The rows of `router`: prefixes of peers, each via the peer's address within the overlay; and for each overlay its `cidr`,
/// so that an address that nobody has is not sent by a shorter prefix. Networks are numbered in the order of `config`.
pub(in crate::control) fn routes(config: &Config, router: &Router) -> impl Iterator<Item = Row> {
    let numbered = (0..).map(NetworkId).zip(&config.networks);
    let joined = numbered.filter(|(_, network)| network.router.as_ref() == Some(&router.name));
    let overlays = joined.filter_map(|(id, network)| Some((id, network.overlay()?)));
    overlays.flat_map(|(id, overlay)| {
        let prefixes = overlay.all_peers().flat_map(move |peer| {
            let route = Route::Via(id, peer.vtep());
            peer.prefixes.iter().map(move |prefix| Row { prefix: *prefix, route })
        });
        let nowhere = overlay.cidr.iter().map(|prefix| Row { prefix: *prefix, route: Route::Unreachable });
        prefixes.chain(nowhere)
    })
}
