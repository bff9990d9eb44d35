//! IP and Ethernet addresses: one owner each in a broadcast domain, be it a port, a peer of an overlay or the gateway.

use std::net::IpAddr;

use super::{Claims, label};
use crate::check::{Around, Domain, domain_of};
use crate::error::Sink;
use crate::mac::MacAddr;
use crate::names::RouterName;
use crate::network::Network;
use crate::network::overlay::Overlay;
use crate::network::peer::Peer;
use crate::port::Draft;
use crate::port::kind::PortKind;

/// True for the port that has the switch's own addresses in common with the gateway of its network.
fn is_host_port(port: &Draft, network: Option<&Network>) -> bool {
    let host_port = network.and_then(Network::underlay).and_then(|underlay| underlay.host_port.as_ref());
    host_port.is_some() && host_port == port.name.as_ref()
}

fn peers(network: &Network) -> &[Peer] {
    network.overlay().map_or(&[], |overlay| &overlay.peers)
}

/// Two stations of one broadcast domain must not have the same IP address, nor two that a router reaches one by one.
pub(super) fn addresses(ports: &[Draft], around: &Around<'_>, sink: &mut Sink) {
    let mut claims: Claims<(Domain<'_>, IpAddr)> = Claims::new();
    let mut routed: Claims<(&RouterName, IpAddr)> = Claims::new();
    for (name, network) in &around.networks {
        for net in &network.gateways {
            claims.claim((domain_of(network), net.addr()), || format!("the gateway of network {name}"));
        }
        for ip in network.overlay().iter().flat_map(|overlay| &overlay.node_ips) {
            claims.claim((domain_of(network), *ip), || format!("this node (node_ips of network {name})"));
        }
        for peer in peers(network) {
            for ip in peer.endpoints.iter().flat_map(|endpoint| &endpoint.ip).chain(&peer.node_ips) {
                claims.claim((domain_of(network), *ip), || format!("peer {}", peer.address));
            }
        }
    }
    for port in ports {
        let Some(domain) = around.domain(port) else { continue };
        let network = around.network_of(port);
        let router = network.filter(|network| network.has_host_routes()).and_then(|n| n.router.as_ref());
        let shared = |address: IpAddr| {
            let gateway = |network: &Network| network.gateways.iter().any(|net| net.addr() == address);
            network.is_some_and(gateway) && is_host_port(port, network)
        };
        let own = port.kind.as_ref().map(PortKind::addresses).unwrap_or_default();
        let mut claim = |address: IpAddr, key: &str| {
            if shared(address) {
                return;
            }
            let mut first = claims.claim((domain, address), || label(port));
            if let (None, Some(router)) = (first, router) {
                first = routed.claim((router, address), || label(port));
            }
            if let Some(first) = first {
                let message = format!("{address} is already an address of {first}; choose another");
                sink.report(&port.key(key), message);
            }
        };
        for (i, net) in own.iter().enumerate() {
            claim(net.addr(), &format!("addresses[{i}]"));
        }
        for (i, endpoint) in port.endpoints.iter().flatten().enumerate() {
            for (j, ip) in endpoint.iter().flat_map(|endpoint| &endpoint.ip).enumerate() {
                // An endpoint may be the kernel's side of the port itself.
                if !own.iter().any(|net| net.addr() == *ip) {
                    claim(*ip, &format!("endpoints[{i}].ip[{j}]"));
                }
            }
        }
    }
}

/// The Ethernet addresses that configuration puts behind ports and peers: the kernel's side of TAP and TUN, and given
/// stations.
pub(super) fn macs(ports: &[Draft], around: &Around<'_>, sink: &mut Sink) {
    let mut claims: Claims<(Domain<'_>, MacAddr)> = Claims::new();
    for (name, network) in &around.networks {
        // In a demux network the switch itself may be one more child.
        let mac = network.gateway_mac();
        if !network.gateways.is_empty() && network.parent_mac() != Some(mac) {
            claims.claim((domain_of(network), mac), || format!("the gateway of network {name}"));
        }
        if let Some(mac) = network.overlay().and_then(Overlay::node_mac) {
            claims.claim((domain_of(network), mac), || format!("this node (node_ips of network {name})"));
        }
        for peer in peers(network) {
            for endpoint in &peer.endpoints {
                claims.claim((domain_of(network), endpoint.mac), || format!("peer {}", peer.address));
            }
        }
    }
    for port in ports {
        let Some(domain) = around.domain(port) else { continue };
        let network = around.network_of(port);
        let shared = |mac: MacAddr| {
            let gateway = |network: &Network| network.gateway_mac() == mac;
            network.and_then(Network::parent_mac) == Some(mac)
                || is_host_port(port, network) && network.is_some_and(gateway)
        };
        let mut claim = |mac: MacAddr, key: &str| {
            if shared(mac) {
                return;
            }
            if let Some(first) = claims.claim((domain, mac), || label(port)) {
                let message = format!("{mac} is already the address of {first}; choose another");
                sink.report(&port.key(key), message);
            }
        };
        for (i, mac) in port.stations.iter().flatten().enumerate() {
            claim(*mac, &format!("stations[{i}]"));
        }
        let endpoints = || port.endpoints.iter().flatten().enumerate();
        for (i, endpoint) in endpoints().filter_map(|(i, endpoint)| Some((i, endpoint.as_ref()?))) {
            claim(endpoint.mac, &format!("endpoints[{i}].mac"));
        }
        if let Some(PortKind::Tap { peer_mac: Some(mac), .. } | PortKind::Tun { peer_mac: Some(mac), .. }) =
            &port.kind
            // An endpoint may be the kernel's side of the port itself.
            && !endpoints().any(|(_, endpoint)| endpoint.as_ref().is_some_and(|endpoint| endpoint.mac == *mac))
        {
            claim(*mac, "peer_mac");
        }
    }
}
