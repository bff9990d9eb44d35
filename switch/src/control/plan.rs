//! What the next topology is built of: configuration, ports, and what was learned.

use std::sync::Arc;

use shunt_config::{GatewayMode, KeyFields, MirrorDirection, Network, PortName, Router};

use super::learn::Given;
use super::ports::PortState;
use super::{Control, host, overlay, routes};
use crate::flow::execute::Rewrites;
use crate::ids::PortId;
use crate::port::TAG;
use crate::table::fdb::Place;
use crate::table::nat::Nat;
use crate::table::neighbor::Neighbor;
use crate::topology::{
    Answers, Crossing, Demux, Gateway, Identity, Management, Meter, Mirror, Plan, PlannedNetwork, Port,
};
use crate::wire::ethernet::Mac;

impl Control {
    /// What the next topology is built of.
    pub(super) fn plan(&mut self) -> Plan {
        let full_key = self.config.flow_cache.key == KeyFields::Full;
        let overlays = overlay::planned(&self.config, &self.peers);
        let rewrites = Arc::new(Rewrites {
            connections: self.connections.table(),
            fragments: self.connections.fragments(),
            ..Rewrites::default()
        });
        let mut plan =
            Plan { full_key, routers: self.routers.clone(), overlays, rewrites, ..Plan::default() };
        plan.services = self.services.planned(&self.config);
        plan.nat = self.config.routers.iter().map(|router| Nat::build(router).map(Arc::new)).collect();
        plan.affinity = self.services.affinity();
        plan.ends = overlay::own_ends(&self.config);
        plan.management = self.config.routers.iter().map(|router| self.management(router)).collect();
        self.policies.set_ports(&self.config, &self.ports);
        let mut given: Vec<Given> = self.domains.iter().map(|_| Given::default()).collect();
        for port in self.ports.iter() {
            let Some((network, vlans)) = self.domains.attached(&port.config.name) else { continue };
            let Some(given) = given.get_mut(network.index()) else { continue };
            let shares_mac = self.config.network_of(&port.config).and_then(Network::parent_mac).is_some();
            give(port, shares_mac, given);
            let tag = if vlans.as_ref().is_some_and(|vlans| !vlans.tagged.is_empty()) { TAG } else { 0 };
            plan.ports.push(Port {
                id: port.id,
                name: port.config.name.clone(),
                network: *network,
                vlans: vlans.clone(),
                up: port.is_up() && !self.policies.is_awaited(&port.config.name),
                max_frame: port.max_frame() + tag,
                l3: port.l3(),
                identity: self.config.spoof_check(&port.config).then(|| Arc::new(identity(port))),
                guarded: !self.config.trusts(&port.config),
                mirror: self.mirror(&port.config),
                meter: Meter::of(port.config.police),
            });
        }
        for ((id, domain), mut given) in self.domains.iter().zip(given) {
            let Some(network) = self.config.networks.get(domain.network) else { continue };
            // The addresses of a bridge are in its untagged domain.
            let whole = domain.vlan.is_none();
            let gateway = whole.then(|| routes::gateway(&self.config, network)).flatten();
            if whole {
                overlay::give(network, &self.peers, &mut given);
            }
            if let Some(Gateway { mac, addresses, .. }) = &gateway {
                let own = Neighbor { mac: *mac, own: true, fixed: true };
                let end = plan.ends.iter().find(|end| end.network == id);
                given.neighbors.extend(addresses.iter().map(|(address, _)| {
                    let alone = end.filter(|end| end.addresses.contains(address)).and_then(|end| end.mac);
                    (*address, Neighbor { mac: alone.unwrap_or(*mac), ..own })
                }));
                given
                    .neighbors
                    .extend(self.services.answered(&network.name).iter().map(|address| (*address, own)));
            }
            // An endpoint may be the very station whose address the switch answers for.
            given.neighbors.sort_by_key(|(_, neighbor)| !neighbor.own);
            let (fdb, neighbors) = self.learned.network(&domain.name).tables(&given);
            let find = |name: &PortName| {
                self.ports.iter().find(|port| port.config.name == *name).map(|port| port.id)
            };
            let host = host::port(network).filter(|_| whole).and_then(find);
            let demux = network.parent_mac().filter(|_| whole).map(|mac| Demux { mac: mac.into(), host });
            let answers = match () {
                () if whole && network.proxy_arp() => Answers::Everybody,
                () if network.overlay().is_some() => Answers::Given,
                () => Answers::Own,
            };
            // A VLAN that no network is may have any pod, as its bridge.
            let policies = self.policies.of(&network.name);
            plan.networks.push(PlannedNetwork {
                name: domain.name.clone(),
                fdb,
                neighbors,
                gateway,
                answers,
                demux,
                host,
                mtu: self.network_mtu(network),
                mss_clamp: network.mss_clamp,
                masquerade: whole && network.masquerade,
                closed: whole && network.is_closed(),
                zone: match &network.router {
                    None if policies.is_none() => 0,
                    router => self.zones.of(router.as_ref(), &domain.name),
                },
                // By policies all is judged.
                tracks_bridged: policies.is_some() || self.has_backends(network),
                policies,
                storm_limit: self.config.storm_limit(network),
                forward_control: self.config.forwards_control(network),
                meter: Meter::of(network.police),
                crossing: if whole { routes::crossing(&self.config, network) } else { Crossing::default() },
            });
        }
        plan
    }

    /// Who gets copies of a port's frames.
    fn mirror(&self, port: &shunt_config::Port) -> Option<Mirror> {
        let to = port.mirror.as_ref()?;
        let to = self.ports.iter().find(|port| port.config.name == *to)?.id;
        let ingress = port.mirror_direction != MirrorDirection::Egress;
        let egress = port.mirror_direction != MirrorDirection::Ingress;
        Some(Mirror { to, ingress, egress })
    }

    /// The management port of `router`, while it is there.
    fn management(&self, router: &Router) -> Option<Management> {
        let name = router.management_port.as_ref()?;
        let port = self.ports.iter().find(|port| port.config.name == *name)?;
        let (network, _) = self.domains.attached(name)?;
        Some(Management {
            port: port.id,
            network: *network,
            addresses: {
                let own = port.config.kind.addresses().iter().map(|net| net.addr());
                let given = port.config.endpoints.iter().flat_map(|endpoint| endpoint.ip.iter().copied());
                own.chain(given).collect()
            },
            leads_out: router.gateway_mode == GatewayMode::Local,
        })
    }

    /// True when the router of `network` sends what comes to one address to another: answers may be sent straight to a client of
    /// the same subnet. Or when it translates what no network says.
    fn has_backends(&self, network: &Network) -> bool {
        network.router.as_ref().is_some_and(|name| {
            let router = self.config.router(name.as_str());
            self.services.of(name).is_some() || router.is_some_and(Router::translates)
        })
    }
}

/// Who may send behind `port`.
fn identity(port: &PortState) -> Identity {
    let endpoints = port.config.endpoints.iter();
    Identity::new(endpoints.map(|endpoint| (endpoint.mac.into(), endpoint.ip.iter().copied().collect())))
}

/// The name in the MAC table of a station that shares its MAC address with others: locally administered, of port and number.
fn name_of(port: PortId, number: usize) -> Mac {
    let [_, _, _, _, _, _, a, b] = (port.index() as u64).to_be_bytes();
    let [_, _, _, _, _, _, c, d] = (number as u64).to_be_bytes();
    Mac::from_bytes([0x06, 0x64, a, b, c, d])
}

/// Adds what the configuration of `port` says about the network it is in.
fn give(port: &PortState, shares_mac: bool, given: &mut Given) {
    if shares_mac {
        for (number, endpoint) in port.config.endpoints.iter().enumerate() {
            let mac = name_of(port.id, number);
            given.stations.push((mac, Place::Port(port.id)));
            let neighbor = Neighbor { mac, own: false, fixed: true };
            given.neighbors.extend(endpoint.ip.iter().map(|ip| (*ip, neighbor)));
        }
        return;
    }
    let stations = port.config.stations.iter().map(|station| Mac::from(*station));
    let endpoints = &port.config.endpoints;
    let macs = stations.chain(endpoints.iter().map(|endpoint| endpoint.mac.into()));
    given.stations.extend(macs.map(|mac| (mac, Place::Port(port.id))));
    for endpoint in endpoints {
        let neighbor = Neighbor { mac: endpoint.mac.into(), own: false, fixed: true };
        given.neighbors.extend(endpoint.ip.iter().map(|ip| (*ip, neighbor)));
    }
    if let Some(interface) = port.l3() {
        given.stations.push((interface.mac, Place::Port(port.id)));
        let own = Neighbor { mac: interface.mac, own: true, fixed: true };
        given.neighbors.extend(port.config.kind.addresses().iter().map(|net| (net.addr(), own)));
    }
}
