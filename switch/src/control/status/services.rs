//! The services of the running topology as rows.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use shunt_config::{RouterName, Service, ServiceName};

use crate::control::Control;
use crate::control::api::proto;
use crate::table::service::{Backend, PortRow, Row, Scope, Services};

/// Services that are given at a time: what fits a message with many endpoints each.
const SHOWN: usize = 200;

impl Control {
    /// Some of the services in the order of the configuration, from number `from` on, or only the one called `name`; and where
    /// to go on, if not at the end.
    pub fn service_rows(&self, name: &str, from: usize) -> (Vec<proto::Service>, Option<usize>) {
        let all = &self.config().services;
        let meant = |service: &Arc<Service>| name.is_empty() || service.name.as_str() == name;
        let end = if name.is_empty() { all.len().min(from.saturating_add(SHOWN)) } else { all.len() };
        let some: Vec<_> = all.get(from..end).unwrap_or_default().iter().filter(|it| meant(it)).collect();
        let routers: BTreeSet<&RouterName> = some.iter().map(|service| &service.router).collect();
        let rows = routers.into_iter().filter_map(|router| self.services_of(router)).flat_map(Services::iter);
        let rows: HashMap<&ServiceName, &Row> = rows.map(|row| (&row.service().name, row)).collect();
        let known = some.into_iter().filter_map(|service| rows.get(&service.name));
        (known.map(|row| row_of(row)).collect(), (end < all.len()).then_some(end))
    }
}

fn row_of(row: &Row) -> proto::Service {
    let service = row.service();
    let lists = [
        ("cluster", &service.cluster_ips),
        ("load-balancer", &service.load_balancer_ips),
        ("external", &service.external_ips),
    ];
    let addresses = lists.into_iter().flat_map(|(kind, list)| {
        list.iter()
            .map(move |address| proto::ServiceAddress { address: address.to_string(), kind: kind.to_owned() })
    });
    let ports = service.ports.iter().zip(row.ports()).map(|(port, row)| proto::ServicePort {
        name: port.name.clone(),
        protocol: port.protocol.to_string(),
        port: u32::from(port.port),
        node_port: port.node_port.map_or(0, u32::from),
        taking: backends(row).filter(|(_, takes)| *takes).count() as u32,
    });
    let endpoints = service.endpoints.iter().map(|endpoint| {
        let same = |(backend, _): &(Backend, bool)| backend.address == endpoint.address;
        let known: Vec<_> = row.ports().iter().flat_map(backends).filter(same).collect();
        let port = |port: &shunt_config::ServicePort| {
            let target = endpoint.target(port)?;
            Some(if port.name.is_empty() { target.to_string() } else { format!("{}={target}", port.name) })
        };
        proto::ServiceEndpoint {
            address: endpoint.address.to_string(),
            ports: service.ports.iter().filter_map(port).collect(),
            state: match (endpoint.ready, endpoint.serving, endpoint.terminating) {
                (true, ..) => "ready",
                (false, _, true) => "terminating",
                (false, true, false) => "serving",
                (false, false, false) => "not-ready",
            }
            .to_owned(),
            local: known.iter().any(|(backend, _)| backend.local),
            node: endpoint.node.clone().unwrap_or_default(),
            weight: u32::from(endpoint.weight),
            takes: known.iter().any(|(_, takes)| *takes),
        }
    });
    let local = shunt_config::TrafficPolicy::Local;
    proto::Service {
        name: service.name.to_string(),
        router: service.router.to_string(),
        addresses: addresses.collect(),
        ports: ports.collect(),
        affinity: row.affinity(),
        external_local: service.external_traffic_policy == local,
        internal_local: service.internal_traffic_policy == local,
        endpoints: endpoints.collect(),
    }
}

/// The backends of a port, of both families, and whether each gets new connections from some clients.
fn backends(port: &PortRow) -> impl Iterator<Item = (Backend, bool)> + '_ {
    port.families().into_iter().flat_map(|family| {
        let local = family.iter(Scope::Local);
        family
            .iter(Scope::Cluster)
            .zip(local)
            .map(|((backend, cluster), (_, local))| (backend, cluster || local))
    })
}
