//! Services on the control side: their tables, one for each router, made anew as far as the configuration changed; and the
//! end of connections whose backend, service or address is gone.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{
    Affinity as Stays, Config, GatewayMode, IpNet, LOCAL_NODE_PORTS, Network, NetworkName, Router,
    RouterName, Service,
};

use super::Control;
use super::{routes, start};
use crate::pipeline::keep::{Standing, keeps};
use crate::state::{Affinity, Connection, affinity};
use crate::table::nat::Nat;
use crate::table::service::{Services, Site};

/// What the control thread has of services.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By router, of those that have services.
    tables: HashMap<RouterName, Arc<Services>>,
    /// Addresses that the switch answers ARP and ND for, by network.
    answered: HashMap<NetworkName, Vec<IpAddr>>,
    affinity: Option<Arc<Affinity>>,
    /// Where the walk that ends connections goes on, while there is one.
    cleaning: Option<usize>,
    /// There is to be another walk: a worker had not taken over the new tables when the last one began.
    once_more: bool,
}

impl Tables {
    /// Makes the tables of `config`.
    pub(super) fn follow(&mut self, config: &Config) {
        let site = site(config);
        let mut by_router: HashMap<&RouterName, Vec<&Arc<Service>>> = HashMap::new();
        for service in &config.services {
            by_router.entry(&service.router).or_default().push(service);
        }
        let before = std::mem::take(&mut self.tables);
        let build = |(router, services): (&RouterName, Vec<&Arc<Service>>)| {
            let own = own_addresses(config, router);
            let old = before.get(router).map(|table| &**table);
            let table = Services::build(services, &own, &site, old);
            (router.clone(), Arc::new(table))
        };
        self.tables = by_router.into_iter().map(build).collect();
        self.answered.clear();
        for service in config.services.iter().filter(|service| !service.load_balancer_ips.is_empty()) {
            for address in &service.load_balancer_ips {
                let Some(network) = config.answers_for(service, *address) else { continue };
                let known = self.answered.entry(network.name.clone()).or_default();
                // Two services may share an address.
                if !known.contains(address) {
                    known.push(*address);
                }
            }
        }
        for router in &config.routers {
            let floating = router.floating_ips.iter().map(|floating| floating.external);
            let forwards = router.port_forwards.iter().map(|forward| forward.external.ip());
            let sourced = router.static_snat.iter().map(|rule| rule.address);
            for address in floating.chain(router.snat_pool.iter().copied()).chain(forwards).chain(sourced) {
                let Some(network) = near(config, &router.name, address) else { continue };
                let known = self.answered.entry(network.name.clone()).or_default();
                // The gateway answers for its own.
                let own = network.gateways.iter().any(|net| net.addr() == address);
                if !own && !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        let stays = |service: &Arc<Service>| service.affinity == Stays::ClientIp;
        if self.affinity.is_none() && config.services.iter().any(stays) {
            self.affinity = Affinity::new(affinity::ROWS, start::seed()).map(Arc::new);
            if self.affinity.is_none() {
                tracing::warn!(
                    "no memory to remember which backend a client is to stay with: it goes by its address alone"
                );
            }
        }
    }

    /// The tables by the number of their router in `config`.
    pub(super) fn planned(&self, config: &Config) -> Vec<Option<Arc<Services>>> {
        config.routers.iter().map(|router| self.tables.get(&router.name).cloned()).collect()
    }

    /// Which backend clients are to stay with.
    pub(super) fn affinity(&self) -> Option<Arc<Affinity>> {
        self.affinity.clone()
    }

    /// Addresses of services, and floating ones, that the switch answers for in a network.
    pub(super) fn answered(&self, network: &NetworkName) -> &[IpAddr] {
        self.answered.get(network).map_or(&[], Vec::as_slice)
    }

    /// The services of a router.
    pub(super) fn of(&self, router: &RouterName) -> Option<&Arc<Services>> {
        self.tables.get(router)
    }

    /// True while connections are gone through.
    pub(super) fn is_cleaning(&self) -> bool {
        self.cleaning.is_some()
    }
}

/// The network of `router` outside of overlays in whose subnet `address` is.
fn near<'c>(config: &'c Config, router: &RouterName, address: IpAddr) -> Option<&'c Network> {
    let joined = config.networks.iter().filter(|network| network.router.as_ref() == Some(router));
    let mut outside = joined.filter(|network| network.overlay().is_none());
    outside.find(|network| network.gateways.iter().any(|net| net.contains(&address)))
}

/// Where this node is.
fn site(config: &Config) -> Site {
    let endpoints =
        config.ports.iter().flat_map(|port| &port.endpoints).flat_map(|endpoint| endpoint.ip.iter().copied());
    let own = config.ports.iter().flat_map(|port| port.kind.addresses()).map(IpNet::addr);
    let gateways = config.networks.iter().filter(|network| network.overlay().is_none());
    let gateways = gateways.flat_map(|network| &network.gateways).map(IpNet::addr);
    let stations: HashSet<IpAddr> = endpoints.chain(own).chain(gateways).collect();
    Site { node: config.node.name.clone(), zone: config.node.zone.clone(), stations }
}

/// The node's own addresses at `router`, at which node ports are: those of gateways, but in overlays, where every node has
/// the same; and those by which the node's own stack passes on what came to it for node ports.
fn own_addresses(config: &Config, router: &RouterName) -> Vec<IpAddr> {
    let joined = config.networks.iter().filter(|network| network.router.as_ref() == Some(router));
    let outside = joined.filter(|network| network.overlay().is_none());
    let own = outside.flat_map(|network| &network.gateways).map(IpNet::addr);
    let local = |router: &Router| router.gateway_mode == GatewayMode::Local;
    let passes_on = config.router(router.as_str()).is_some_and(local);
    own.chain(LOCAL_NODE_PORTS.into_iter().filter(|_| passes_on)).collect()
}

/// The addresses of routers in their networks.
pub(super) fn own(config: &Config) -> HashMap<RouterName, HashSet<IpAddr>> {
    let mut own: HashMap<RouterName, HashSet<IpAddr>> = HashMap::new();
    for network in &config.networks {
        if let (Some(router), Some(gateway)) = (&network.router, routes::gateway(config, network)) {
            let addresses = gateway.addresses.iter().map(|(address, _)| *address);
            own.entry(router.clone()).or_default().extend(addresses);
        }
    }
    own
}

impl Control {
    /// The services of a router.
    pub(super) fn services_of(&self, router: &RouterName) -> Option<&Services> {
        self.services.of(router).map(|table| &**table)
    }

    /// Begins to end the connections that rest on what is gone: their backend or service, or the address that they leave
    /// with; and those to what is a service only now. `in_force` says
    /// whether every worker has the new tables: otherwise one may open such a connection behind the walk, which is then walked
    /// once more.
    pub(super) fn clean_connections(&mut self, in_force: bool) {
        if self.connections.table().is_some() {
            self.services.cleaning = Some(0);
            self.services.once_more = !in_force;
        }
    }

    /// Walks once more, if that is due and every worker has passed.
    pub(super) fn clean_again(&mut self) {
        if self.services.once_more && self.reports.newest_is_in_force() {
            self.clean_connections(true);
        }
    }

    /// One slice of that walk.
    pub(super) fn clean_some(&mut self) {
        let Some(from) = self.services.cleaning.take() else { return };
        let (rows, next) = self.connections.list_some(from);
        // Once for all of the slice: what a router translates is a few tables.
        let nats: HashMap<_, _> =
            self.config.routers.iter().filter_map(|it| Some((it.name.clone(), Nat::build(it)?))).collect();
        let own = own(&self.config);
        let gone: Vec<_> =
            rows.iter().filter(|row| !self.is_kept(row, &nats, &own)).map(|row| row.conn).collect();
        let ended = gone.into_iter().filter(|conn| self.connections.remove(*conn)).count();
        if ended > 0 {
            tracing::debug!(ended, "connections ended: their backend, service or address is gone");
        }
        self.services.cleaning = next;
    }

    /// True when what a connection was made by still stands.
    fn is_kept(
        &self,
        connection: &Connection,
        nats: &HashMap<RouterName, Nat>,
        own: &HashMap<RouterName, HashSet<IpAddr>>,
    ) -> bool {
        let router = self.zones.router(connection.original.zone());
        let services = router.and_then(|router| self.services.of(router)).map(|services| &**services);
        let nat = router.and_then(|router| nats.get(router));
        let none = HashSet::new();
        let own = router.and_then(|router| own.get(router)).unwrap_or(&none);
        keeps(connection, &Standing { services, nat, own })
    }
}
