//! One service as the data path has it.

use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{Affinity, IpNet, Service, ServiceEndpoint, ServicePort, TrafficPolicy};

use super::backends::{self, Backend, Backends};
use super::{Kind, Scope, Site};
use crate::flow::hash::fold;

/// A service.
#[derive(Debug)]
pub struct Row {
    service: Arc<Service>,
    /// Which endpoints are of this node, and near: what the site had to do with it.
    sited: Box<[(bool, Option<bool>)]>,
    /// Who may use load balancer addresses: prefixes that do not overlap, in order; empty is everybody.
    sources: Box<[IpNet]>,
    ports: Box<[PortRow]>,
}

/// A port of a service.
#[derive(Debug)]
pub struct PortRow {
    /// Of service and port, the same on every node and as long as the service has the port: by it clients stay with a backend.
    pub id: u64,
    v4: Backends,
    v6: Backends,
}

impl PortRow {
    /// The backends of the family of `address`.
    #[inline]
    pub fn backends(&self, address: IpAddr) -> &Backends {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    /// Those of both families.
    pub fn families(&self) -> [&Backends; 2] {
        [&self.v4, &self.v6]
    }
}

impl Row {
    pub(super) fn build(service: &Arc<Service>, site: &Site, before: Option<&Self>) -> Self {
        let sited = sited(service, site);
        let wants_local = service.external_traffic_policy == TrafficPolicy::Local
            || service.internal_traffic_policy == TrafficPolicy::Local;
        let old = |port: &ServicePort| {
            let before = before?;
            let same = |known: &&ServicePort| known.name == port.name && known.protocol == port.protocol;
            let at = before.service.ports.iter().position(|known| same(&known))?;
            before.ports.get(at)
        };
        let ports = service.ports.iter().map(|port| {
            let family = |v4: bool, before: Option<&Backends>| {
                let all = service.endpoints.iter().zip(&sited).filter(|(it, _)| it.address.is_ipv4() == v4);
                let all = all.filter_map(|(endpoint, sited)| backend(endpoint, port, *sited)).collect();
                Backends::build(all, wants_local, before)
            };
            let before = old(port);
            PortRow {
                id: id(service, port),
                v4: family(true, before.map(|before| &before.v4)),
                v6: family(false, before.map(|before| &before.v6)),
            }
        });
        let mut sources = IpNet::aggregate(&service.source_ranges);
        sources.sort_unstable();
        Self {
            ports: ports.collect(),
            sources: sources.into(),
            sited: sited.into(),
            service: service.clone(),
        }
    }

    /// True when it was made of this very service.
    pub(super) fn is_just(&self, service: &Arc<Service>) -> bool {
        Arc::ptr_eq(&self.service, service)
    }

    /// True when the row of `service` at `site` is this one.
    pub(super) fn is_of(&self, service: &Arc<Service>, site: &Site) -> bool {
        let same = Arc::ptr_eq(&self.service, service) || self.service == *service;
        same && service
            .endpoints
            .iter()
            .zip(&self.sited)
            .all(|(endpoint, held)| place(endpoint, site) == *held)
    }

    /// What configuration says of it.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Its ports in the order of the configuration.
    pub fn ports(&self) -> &[PortRow] {
        &self.ports
    }

    /// True when `source` may use an address of that kind.
    #[inline]
    pub fn admits(&self, kind: Kind, source: IpAddr) -> bool {
        if kind != Kind::LoadBalancer || self.sources.is_empty() {
            return true;
        }
        let behind = self.sources.partition_point(|prefix| prefix.network() <= source);
        behind
            .checked_sub(1)
            .and_then(|at| self.sources.get(at))
            .is_some_and(|prefix| prefix.contains(&source))
    }

    /// Which endpoints a client may reach by an address of that kind, from inside of the cluster or from outside.
    #[inline]
    pub fn scope(&self, kind: Kind, inside: bool) -> Scope {
        let policy = match kind {
            Kind::Cluster => self.service.internal_traffic_policy,
            // Who is inside takes the short way, whatever the policy for others (kube-proxy, pkg/proxy/nftables).
            _ if inside => TrafficPolicy::Cluster,
            _ => self.service.external_traffic_policy,
        };
        if policy == TrafficPolicy::Local { Scope::Local } else { Scope::Cluster }
    }

    /// Seconds for which a client stays with its backend; `None`: it does not.
    #[inline]
    pub fn affinity(&self) -> Option<u32> {
        match self.service.affinity {
            Affinity::None => None,
            Affinity::ClientIp => Some(self.service.affinity_timeout.as_secs() as u32),
        }
    }
}

/// Which endpoints are of this node, and near.
fn sited(service: &Service, site: &Site) -> Vec<(bool, Option<bool>)> {
    service.endpoints.iter().map(|endpoint| place(endpoint, site)).collect()
}

fn place(endpoint: &ServiceEndpoint, site: &Site) -> (bool, Option<bool>) {
    let local = match (&endpoint.node, &site.node) {
        (Some(node), Some(own)) => node == own,
        (Some(_), None) | (None, _) => site.stations.contains(&endpoint.address),
    };
    let zone = site.zone.as_ref().filter(|_| !endpoint.zones.is_empty());
    (local, zone.map(|zone| endpoint.zones.contains(zone)))
}

fn backend(endpoint: &ServiceEndpoint, port: &ServicePort, sited: (bool, Option<bool>)) -> Option<Backend> {
    let target = endpoint.target(port)?;
    Some(Backend {
        address: endpoint.address,
        port: target,
        id: backends::id(endpoint.address, target),
        weight: endpoint.weight,
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        local: sited.0,
        near: sited.1,
    })
}

/// FNV-1a of the names, then mixed.
fn id(service: &Service, port: &ServicePort) -> u64 {
    let text = [service.name.as_str(), port.protocol.as_str(), &port.name];
    let bytes = text.into_iter().flat_map(|part| part.bytes().chain([b'|']));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    fold(hash ^ u64::from(port.port), 0x9e37_79b9_7f4a_7c15)
}
