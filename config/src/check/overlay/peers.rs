//! The peers of one overlay: each reached and told apart, with what its kind of overlay has.

use std::net::IpAddr;

use crate::check::claims::Claims;
use crate::check::misplaced;
use crate::error::Sink;
use crate::mac::MacAddr;
use crate::network::Draft;
use crate::network::overlay::{Overlay, Payload};
use crate::network::peer::Peer;

/// An address within the overlay: no two are the same.
#[derive(PartialEq, Eq, Hash)]
enum Inner {
    Ip(IpAddr),
    Mac(MacAddr),
}

/// One peer with its place.
#[derive(Clone, Copy)]
struct At<'a> {
    draft: &'a Draft,
    overlay: &'a Overlay,
    peer: &'a Peer,
    index: usize,
}

impl At<'_> {
    fn key(&self, name: &str) -> String {
        self.draft.key(&format!("peers[{}].{name}", self.index))
    }

    fn label(&self) -> String {
        format!("peers[{}]", self.index)
    }
}

/// Reports the mistakes of the peers, and of what belongs to all of them. `transport` is `None` when it is not there.
pub(crate) fn all(draft: &Draft, overlay: &Overlay, transport: Option<&Draft>, sink: &mut Sink) {
    let l3 = draft.network.is_l3_overlay();
    if draft.routing {
        whole(draft, overlay, l3, sink);
    }
    let (mut outer, mut inner) = (Claims::new(), Claims::new());
    if draft.routing {
        own(draft, overlay, l3, &mut inner, sink);
    }
    for (index, peer) in overlay.peers.iter().enumerate() {
        let at = At { draft, overlay, peer, index };
        let mut twice = false;
        if let Some(first) = outer.claim(peer.address, || at.label()) {
            twice = true;
            let message =
                format!("{} is already the address of {first}; make one peer of the two", peer.address);
            sink.report(&at.key("address"), message);
        }
        if let Some(transport) = transport.filter(|transport| transport.routing) {
            reached(at, transport, sink);
        }
        match (draft.routing, l3) {
            (true, true) => routed(at, twice, &mut inner, sink),
            (true, false) => switched(at, &mut inner, sink),
            (false, _) => {}
        }
    }
}

/// Keys of the overlay that only one sort of it has.
fn whole(draft: &Draft, overlay: &Overlay, l3: bool, sink: &mut Sink) {
    if l3 && draft.network.router.is_none() {
        let message = "an L3 overlay is routed; add router and gateways, as gateways = [\"169.254.1.1/32\"]";
        sink.report(&draft.key("router"), message);
    } else if !overlay.cidr.is_empty() && draft.network.router.is_none() {
        let message = "nothing is routed here; add router and gateways, or remove cidr";
        sink.report(&draft.key("cidr"), message);
    }
    if overlay.learning && overlay.payload == Payload::Ip {
        let message =
            "IP packets have no Ethernet addresses to learn; remove it, or set payload = \"ethernet\"";
        sink.report(&draft.key("learning"), message);
    }
}

/// What this node alone has in an L2 overlay, or in an L3 one beside its vtep.
fn own(draft: &Draft, overlay: &Overlay, l3: bool, inner: &mut Claims<Inner>, sink: &mut Sink) {
    if overlay.node_ips.is_empty() {
        return;
    }
    if draft.network.router.is_none() {
        let message = "nothing is routed here; add router and gateways, or remove it";
        sink.report(&draft.key("node_ips"), message);
    } else {
        let place = Place { draft, label: "this node".to_owned() };
        let key = |at| draft.key(&format!("node_ips[{at}]"));
        node(&place, &overlay.node_ips, key, inner, sink);
        let like = |vtep: IpAddr| overlay.node_ips.iter().position(|ip| ip.is_ipv4() == vtep.is_ipv4());
        if l3 && let Some((at, vtep)) = overlay.vtep.and_then(|vtep| Some((like(vtep)?, vtep))) {
            let message =
                format!("{vtep}, the vtep, is this node's own address of that family already; remove it");
            sink.report(&key(at), message);
        }
    }
}

/// Whose addresses are looked at.
struct Place<'a> {
    draft: &'a Draft,
    label: String,
}

/// The addresses of a node in an overlay: one of a family, in a subnet of the gateways or in the cidr, nobody else's.
fn node(
    place: &Place<'_>,
    addresses: &[IpAddr],
    key: impl Fn(usize) -> String,
    inner: &mut Claims<Inner>,
    sink: &mut Sink,
) {
    let network = &place.draft.network;
    for (at, ip) in addresses.iter().enumerate() {
        let before = addresses[..at].iter().find(|other| other.is_ipv4() == ip.is_ipv4());
        let message = if let Some(first) = before {
            Some(format!("{ip} and {first} are of one family; give one of the two"))
        } else if let Some(message) = misplaced(network, *ip) {
            Some(message)
        } else if network.gateways.iter().any(|net| net.addr() == *ip) {
            Some(format!("{ip} is the address of the gateway, which every node has; choose another"))
        } else {
            let first = inner.claim(Inner::Ip(*ip), || place.label.clone());
            first.map(|first| format!("{ip} is already an address of {first}; choose another"))
        };
        if let Some(message) = message {
            sink.report(&key(at), message);
        }
    }
}

/// The outer address: another node's, and of a family that the transport has an address of.
fn reached(at: At<'_>, transport: &Draft, sink: &mut Sink) {
    let (own, address) = (&transport.network.gateways, at.peer.address);
    if own.iter().any(|net| net.addr() == address) {
        sink.report(&at.key("address"), format!("{address} is this node's own address; remove the peer"));
    } else if !own.is_empty() && !own.iter().any(|net| net.addr().is_ipv4() == address.is_ipv4()) {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let message = format!(
            "network {} has no {family} address to send from; add one to its gateways, or use another address of the peer",
            at.overlay.transport
        );
        sink.report(&at.key("address"), message);
    }
}

/// A peer of an L3 overlay: a router with prefixes behind it. `twice` when its outer address is another's, which was said.
fn routed(at: At<'_>, twice: bool, inner: &mut Claims<Inner>, sink: &mut Sink) {
    let At { draft, overlay, peer, .. } = at;
    if !peer.endpoints.is_empty() {
        let message = "this overlay routes to its peers (L3); write prefixes instead, or for L2 remove vtep and give it \
                       gateways with subnets";
        sink.report(&at.key("endpoints"), message);
    }
    if !peer.node_ips.is_empty() {
        let message = "this overlay routes to its peers (L3); write prefixes instead, in which they are";
        sink.report(&at.key("node_ips"), message);
    }
    // Without vtep it is the outer address, which may be the vtep of another.
    let (vtep, key) = (peer.vtep(), if peer.vtep.is_some() { "vtep" } else { "address" });
    if vtep == overlay.vtep() && peer.address != overlay.local {
        let message = format!("{vtep} is this node's own vtep; give each node its own");
        sink.report(&at.key(key), message);
    } else if let Some(first) = inner.claim(Inner::Ip(vtep), || at.label())
        && (key == "vtep" || !twice)
    {
        let message = format!("{vtep} is already the vtep of {first}; give each node its own");
        sink.report(&at.key(key), message);
    }
    let Some(mac) = peer.mac else { return };
    if overlay.payload == Payload::Ip {
        let message = "the tunnel carries IP packets, which have no Ethernet address; remove it";
        sink.report(&at.key("mac"), message);
    } else if mac == draft.network.gateway_mac() {
        let message = format!("{mac} is this node's own address (gateway_mac); give each node its own");
        sink.report(&at.key("mac"), message);
    } else if let Some(first) = inner.claim(Inner::Mac(mac), || at.label()) {
        let message = format!("{mac} is already the address of {first}; give each node its own");
        sink.report(&at.key("mac"), message);
    }
}

/// A peer of an L2 overlay: a switch with stations behind it.
fn switched(at: At<'_>, inner: &mut Claims<Inner>, sink: &mut Sink) {
    let At { draft, peer, .. } = at;
    let l3_only =
        [("vtep", peer.vtep.is_some()), ("mac", peer.mac.is_some()), ("prefixes", !peer.prefixes.is_empty())];
    for (key, _) in l3_only.iter().filter(|(_, set)| *set) {
        let message = "this overlay switches to its peers by Ethernet address (L2); write endpoints, or for L3 add vtep or \
                       gateways = [\"169.254.1.1/32\"] to the network";
        sink.report(&at.key(key), message);
    }
    let place = Place { draft, label: at.label() };
    node(&place, &peer.node_ips, |which| at.key(&format!("node_ips[{which}]")), inner, sink);
    let gateways = &draft.network.gateways;
    for (j, endpoint) in peer.endpoints.iter().enumerate() {
        let key = |name: &str| at.key(&format!("endpoints[{j}].{name}"));
        let mac = endpoint.mac;
        if !gateways.is_empty() && mac == draft.network.gateway_mac() {
            sink.report(&key("mac"), format!("{mac} is the address of the gateway; choose another"));
        } else if let Some(first) = inner.claim(Inner::Mac(mac), || at.label()) {
            sink.report(&key("mac"), format!("{mac} is already an address of {first}; choose another"));
        }
        for (k, ip) in endpoint.ip.iter().enumerate() {
            let key = key(&format!("ip[{k}]"));
            if let Some(message) = misplaced(&draft.network, *ip) {
                sink.report(&key, message);
            } else if gateways.iter().any(|net| net.addr() == *ip) {
                sink.report(&key, format!("{ip} is the address of the gateway; choose another"));
            } else if let Some(first) = inner.claim(Inner::Ip(*ip), || at.label()) {
                sink.report(&key, format!("{ip} is already an address of {first}; choose another"));
            }
        }
    }
}
