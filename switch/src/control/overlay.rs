//! Overlays on the control side: what the configuration of peers puts into the three tables that a packet to another node
//! is looked up in. Pure functions but for the numbers of peers, which must stay (see [`Numbers`]).
//!
//! | table | L3 overlay | L2 overlay |
//! |---|---|---|
//! | routes ([`mod@routes`]) | prefix -> peer's VTEP address; `cidr` -> unreachable | `cidr` -> unreachable |
//! | neighbours ([`give`]) | VTEP address -> VTEP's MAC address | address of an endpoint, or of the peer itself -> its MAC address |
//! | MAC table ([`give`]) | VTEP's MAC address -> peer | that MAC address -> peer |

mod numbers;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{Config, Network, Overlay, Return};

use super::learn::Given;
use crate::encap;
use crate::ids::NetworkId;
use crate::table::fdb::Place;
use crate::table::neighbor::Neighbor;
use crate::topology::tunnels::PlannedPeer;
use crate::topology::{OwnEnd, PlannedOverlay};
use crate::wire::ethernet::Mac;

pub(super) use numbers::{Gone, Numbers};
pub(super) use routes::routes;

/// Adds what the peers of `network` put into its MAC table and neighbours. A network that is no overlay has none.
pub(super) fn give(network: &Network, numbers: &Numbers, given: &mut Given) {
    let Some(overlay) = network.overlay() else { return };
    let l3 = network.is_l3_overlay();
    for peer in overlay.all_peers() {
        let Some(number) = numbers.get(&network.name, peer.address) else { continue };
        let place = Place::Peer(number);
        let mut add = |mac: Mac, addresses: &[IpAddr]| {
            given.stations.push((mac, place));
            let neighbor = Neighbor { mac, own: false, fixed: true };
            given.neighbors.extend(addresses.iter().map(|address| (*address, neighbor)));
        };
        if l3 {
            add(peer.mac().into(), &[peer.vtep()]);
        } else if let Some(mac) = peer.node_mac() {
            add(mac.into(), &peer.node_ips);
        }
        for endpoint in &peer.endpoints {
            add(endpoint.mac.into(), &endpoint.ip);
        }
    }
}

/// What this node alone has in overlays: `node_ips`, in L3 overlays its tunnel end besides. Networks are numbered in the order of
/// `config`.
pub(super) fn own_ends(config: &Config) -> Vec<OwnEnd> {
    let own = |(id, network): (NetworkId, &Network)| {
        let overlay = network.overlay()?;
        let (mac, addresses) = match network.is_l3_overlay() {
            true => (None, overlay.vtep.iter().chain(&overlay.node_ips).copied().collect()),
            false => (overlay.node_mac().map(Mac::from), overlay.node_ips.clone().into_boxed_slice()),
        };
        (!addresses.is_empty()).then_some(OwnEnd { network: id, mac, addresses })
    };
    (0..).map(NetworkId).zip(&config.networks).filter_map(own).collect()
}

/// The tunnels of `config`. Networks are numbered in its order.
pub(super) fn planned(config: &Config, numbers: &Numbers) -> Vec<Arc<PlannedOverlay>> {
    let numbered = || (0..).map(NetworkId).zip(&config.networks);
    let by_name: HashMap<_, _> = numbered().map(|(id, network)| (&network.name, id)).collect();
    let overlay = |(id, network): (NetworkId, &Network)| {
        let overlay = network.overlay()?;
        let peers = numbers.peers(&network.name).iter();
        Some(Arc::new(PlannedOverlay {
            network: id,
            // Validation has seen that there is one.
            transport: *by_name.get(&overlay.transport)?,
            locals: locals(config, overlay),
            encap: encap(overlay),
            port: overlay.port.unwrap_or_default(),
            dscp: dscp(overlay),
            udp_checksum: overlay.udp_checksum,
            peers: peers.map(|peer| peer.map(|address| PlannedPeer { address })).collect(),
            flood: overlay.flood && !network.is_l3_overlay(),
            learning: overlay.learning,
            admits_underlays: overlay.returns == Return::Gateway,
        }))
    };
    numbered().filter_map(overlay).collect()
}

/// The tunnel header of `overlay`.
fn encap(overlay: &Overlay) -> encap::Encap {
    // Validation has seen that VXLAN and Geneve have a number.
    let vni = overlay.vni.unwrap_or_default();
    match overlay.encap {
        shunt_config::Encap::Vxlan => encap::Encap::Vxlan { vni },
        shunt_config::Encap::Geneve => {
            let ovn = overlay.ovn_ports.map(|(ingress, egress)| encap::geneve::ovn(ingress, egress));
            encap::Encap::Geneve { vni, ovn }
        }
        shunt_config::Encap::Gre => encap::Encap::Gre {
            key: overlay.vni,
            payload: match overlay.payload {
                shunt_config::Payload::Ethernet => encap::Payload::Ethernet,
                shunt_config::Payload::Ip => encap::Payload::Ip,
            },
        },
        shunt_config::Encap::Ipip => encap::Encap::IpIp,
    }
}

/// The DSCP of the outer packets of `overlay`.
fn dscp(overlay: &Overlay) -> encap::Dscp {
    match overlay.dscp {
        shunt_config::Dscp::Inherit => encap::Dscp::Inherit,
        shunt_config::Dscp::Value(value) => encap::Dscp::Fixed(value),
    }
}

/// Our ends of the tunnels of `overlay`, addresses of the transport's gateway: `local`, and where peers are of the other
/// family the first address of that.
fn locals(config: &Config, overlay: &Overlay) -> Box<[IpAddr]> {
    let mut locals = vec![overlay.local];
    for peer in overlay.all_peers() {
        let local = config.tunnel_local(overlay, peer.address);
        locals.extend(local.filter(|local| !locals.contains(local)));
    }
    locals.into()
}
