//! Mistakes of overlays: a transport that is not there or rides on the overlay itself, a network number used twice, peers
//! that cannot be told apart.

mod peers;
mod routes;

use std::collections::HashMap;

use super::claims::Claims;
use super::unknown;
use crate::error::Sink;
use crate::names::NetworkName;
use crate::network::kind::NetworkKind;
use crate::network::overlay::{Encap, Overlay};
use crate::network::read::LEFT_OUT;
use crate::network::{Draft, Network};
use crate::router;

/// Networks by name, as far as they could be read.
type Drafts<'a> = HashMap<&'a str, &'a Draft>;

/// Gives each overlay whose text has no `local` the first gateway address of its transport that is of the family of its
/// first peer; of any family when it has no peer.
pub(crate) fn choose_sources(networks: &mut [Draft]) {
    let gateways: HashMap<NetworkName, _> = networks
        .iter()
        .filter_map(|draft| Some((draft.name.clone()?, draft.network.gateways.clone())))
        .collect();
    for draft in networks {
        let NetworkKind::Overlay(overlay) = &mut draft.network.kind else { continue };
        if overlay.local != LEFT_OUT {
            continue;
        }
        let family = overlay.peers.first().map(|peer| peer.address.is_ipv4());
        let own = gateways.get(&overlay.transport).into_iter().flatten().map(|net| net.addr());
        let mut fit = own.filter(|own| family.is_none_or(|ipv4| own.is_ipv4() == ipv4));
        overlay.local = fit.next().unwrap_or(LEFT_OUT);
    }
}

/// Reports every mistake. Of two that collide the later is reported. `all_networks` is false when some network could not be
/// read: then nothing is said to be missing.
pub(crate) fn all(networks: &[Draft], routers: &[router::Draft], all_networks: bool, sink: &mut Sink) {
    let by_name: Drafts<'_> =
        networks.iter().filter_map(|draft| Some((draft.name.as_ref()?.as_str(), draft))).collect();
    let mut numbers = Claims::new();
    let mut udp: HashMap<(&NetworkName, u16), (Encap, String)> = HashMap::new();
    for draft in networks.iter().filter(|draft| draft.kind) {
        let Some(overlay) = draft.network.overlay() else { continue };
        if by_name.contains_key(overlay.transport.as_str()) || all_networks {
            transport(draft, overlay, &by_name, sink);
        }
        let number = (&overlay.transport, overlay.encap, overlay.port, overlay.vni);
        if let Some(first) = numbers.claim(number, || label(draft)) {
            let (key, message) = number_twice(overlay, first);
            sink.report(&draft.key(key), message);
        }
        if let Some(port) = overlay.port {
            let known = udp.entry((&overlay.transport, port));
            let (encap, first) = known.or_insert_with(|| (overlay.encap, label(draft)));
            if *encap != overlay.encap {
                let message = format!(
                    "UDP port {port} of network {} is that of {} ({first}); choose another",
                    overlay.transport,
                    encap.name()
                );
                sink.report(&draft.key("port"), message);
            }
        }
        peers::all(draft, overlay, by_name.get(overlay.transport.as_str()).copied(), sink);
    }
    routes::all(networks, routers, sink);
}

/// What messages call a network.
fn label(draft: &Draft) -> String {
    draft.name.as_ref().map_or_else(|| draft.path.clone(), |name| format!("network {name}"))
}

fn number_twice(overlay: &Overlay, first: &str) -> (&'static str, String) {
    let transport = &overlay.transport;
    match (overlay.encap, overlay.vni) {
        (Encap::Ipip, _) => {
            let message =
                format!("IP-in-IP over network {transport} is {first} already; give that more peers instead");
            ("transport", message)
        }
        (Encap::Gre, None) => {
            let message = format!(
                "GRE without a key over network {transport} is {first} already; add vni, which is the key"
            );
            ("vni", message)
        }
        (encap, vni) => {
            let (encap, vni) = (encap.name(), vni.unwrap_or_default());
            let message = format!(
                "{vni} is already the {encap} number of {first} over network {transport}; choose another"
            );
            ("vni", message)
        }
    }
}

/// The transport must be there, have an address of ours, and not ride on this overlay.
fn transport(draft: &Draft, overlay: &Overlay, networks: &Drafts<'_>, sink: &mut Sink) {
    let name = &overlay.transport;
    let Some(transport) = networks.get(name.as_str()) else {
        let fit = |other: &&Draft| !other.network.gateways.is_empty() && other.path != draft.path;
        let mut known: Vec<_> =
            networks.iter().filter(|(_, other)| fit(other)).map(|(name, _)| *name).collect();
        known.sort_unstable();
        sink.report(&draft.key("transport"), unknown("network", name.as_str(), &known));
        return;
    };
    if let Some(round) = rides_on_itself(draft, networks) {
        let message = format!("a tunnel cannot be carried in itself ({round}); choose another transport");
        sink.report(&draft.key("transport"), message);
        return;
    }
    if !transport.routing {
        return;
    }
    let gateways = &transport.network.gateways;
    if gateways.is_empty() {
        let message = format!(
            "network {name} has no address to send from; add router and gateways to it, or choose another"
        );
        sink.report(&draft.key("transport"), message);
    } else if overlay.local != LEFT_OUT && !gateways.iter().any(|net| net.addr() == overlay.local) {
        let own: Vec<_> = gateways.iter().map(|net| net.addr().to_string()).collect();
        let (local, own) = (overlay.local, own.join(" or "));
        let message = format!("{local} is no gateway address of network {name}; use {own}, or remove it");
        sink.report(&draft.key("local"), message);
    }
}

/// The way from a network to itself by transports, when there is one.
fn rides_on_itself(draft: &Draft, networks: &Drafts<'_>) -> Option<String> {
    let start = draft.name.as_ref()?;
    let mut round = start.to_string();
    let mut at: &Network = &draft.network;
    // A circle that does not pass here is reported where it is.
    for _ in 0..networks.len() {
        let next = &at.overlay()?.transport;
        round.push_str(&format!(" over {next}"));
        if next == start {
            return Some(round);
        }
        at = &networks.get(next.as_str())?.network;
    }
    None
}
