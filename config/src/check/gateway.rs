//! The management port of routers, and what gateway mode `local` needs besides: a way out of the node's own stack.

use super::routing::Joined;
use super::unknown;
use crate::error::Sink;
use crate::port;
use crate::port::kind::PortKind;
use crate::router::{self, GatewayMode};

/// Reports every mistake. `all_ports` is false when some port could not be read: then none is said to be missing.
pub(crate) fn all(joined: &Joined<'_>, ports: &[port::Draft], all_ports: bool, sink: &mut Sink) {
    for draft in joined.routers {
        management(draft, joined, (ports, all_ports), sink);
        if draft.gateway_mode == Some(GatewayMode::Local) {
            local(draft, joined, sink);
        }
    }
}

/// It is a TAP port with addresses, in a network of the router.
fn management(
    draft: &router::Draft,
    joined: &Joined<'_>,
    (ports, all_ports): (&[port::Draft], bool),
    sink: &mut Sink,
) {
    let Some(Some(name)) = &draft.management_port else { return };
    let key = format!("{}.management_port", draft.path);
    let Some(port) = ports.iter().find(|port| port.name.as_ref() == Some(name)) else {
        if all_ports {
            let taps =
                ports.iter().filter(|port| port.kind.as_ref().is_some_and(|kind| kind.name() == "tap"));
            let known: Vec<_> = taps.filter_map(|port| Some(port.name.as_ref()?.as_str())).collect();
            sink.report(&key, unknown("port", name.as_str(), &known));
        }
        return;
    };
    let (Some(kind), Some(network)) = (&port.kind, &port.network) else { return };
    let addresses = match kind {
        PortKind::Tap { addresses, .. } => addresses,
        kind => {
            let message = format!("port {name} is a {} port; the node's own has kind = \"tap\"", kind.name());
            sink.report(&key, message);
            return;
        }
    };
    if addresses.is_empty() {
        sink.report(&key, format!("port {name} has no addresses, to which pods could send; add them to it"));
    }
    let found = joined.networks.iter().find(|known| known.name.as_ref() == Some(network));
    let Some(found) = found.filter(|found| found.routing) else { return };
    if found.network.router.is_none() || found.network.router != draft.name {
        let message = format!(
            "port {name} is in network {network}, which is none of the router; name a port in one of its networks"
        );
        sink.report(&key, message);
    }
}

/// What leaves by the node's own stack leaves that by a host port, and comes to it by one.
fn local(draft: &router::Draft, joined: &Joined<'_>, sink: &mut Sink) {
    let key = format!("{}.gateway_mode", draft.path);
    if draft.management_port == Some(None) {
        let message = "what pods send goes to the node's own stack by a port that is not said; add management_port, as \"ovn-k8s-mp0\"";
        sink.report(&key, message);
    }
    let judged = joined.all_networks && joined.networks.iter().all(|network| network.routing && network.kind);
    let outside = |network: &crate::Network| {
        network.router == draft.name
            && network.underlay().is_some_and(|underlay| underlay.host_port.is_some())
    };
    if judged && draft.name.is_some() && !joined.networks.iter().any(|known| outside(&known.network)) {
        let message = "the node's own stack has no way out: none of the router's networks has a host_port; add one to an underlay";
        sink.report(&key, message);
    }
}
