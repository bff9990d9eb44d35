//! What services make of packets.

use shunt_config::{Service, ServiceEndpoint, TrafficPolicy};

use super::frames::Talk;
use super::model::{Backend, Draft, End, Model, Sent, Way};
use super::places::{self, OUTSIDE, network_of};
use super::switch::own_addresses;
use super::way::{hairpin, is_inside, lost, onward};
use super::world::{AREA, NODE, World};
use crate::drop::DropReason;
use crate::wire::protocol::ICMP;

/// By which address of a service a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cluster,
    LoadBalancer,
    External,
    Node,
}

impl Model {
    /// What services make of a packet; `None` when it is for none.
    pub(super) fn by_service(
        &self,
        world: &World,
        looks: bool,
        sent: &Sent,
        draft: Draft,
        now: u32,
    ) -> Option<Vec<Way>> {
        let talk = &sent.talk;
        let refused = |reason| Some(vec![Way { end: End::Refused(reason), opens: None, backend: None }]);
        let Some((number, at, kind)) = front(world, talk) else {
            let mut all = world.services.iter().flatten();
            let own =
                all.any(|it| it.cluster_ips.contains(&talk.to) || it.load_balancer_ips.contains(&talk.to));
            return match own {
                true if talk.protocol == ICMP => {
                    Some(vec![Way { end: End::Echoed, opens: None, backend: None }])
                }
                true => refused(DropReason::ServiceNoPort),
                false => None,
            };
        };
        let service = world.services[number].as_deref()?;
        let ranges = &service.source_ranges;
        if kind == Kind::LoadBalancer
            && !ranges.is_empty()
            && !ranges.iter().any(|net| net.contains(&talk.from))
        {
            return Some(vec![lost(DropReason::ServiceSourceRefused)]);
        }
        let inside = is_inside(world, network_of(sent.station));
        let policy = match kind {
            Kind::Cluster => service.internal_traffic_policy,
            _ if inside => TrafficPolicy::Cluster,
            _ => service.external_traffic_policy,
        };
        let everywhere = candidates(service, talk.is_v6(), false);
        let mut backends = match policy {
            TrafficPolicy::Cluster => everywhere.clone(),
            TrafficPolicy::Local => candidates(service, talk.is_v6(), true),
        };
        match (backends.is_empty(), everywhere.is_empty()) {
            (true, true) => return refused(DropReason::ServiceNoEndpoints),
            (true, false) => return Some(vec![lost(DropReason::ServiceNoneHere)]),
            _ => {}
        }
        let client = (number, at, talk.from);
        let sticky = service.affinity == shunt_config::Affinity::ClientIp;
        if sticky
            && let Some((held, until)) = self.stays.get(&client)
            && *until >= now
            && backends.contains(held)
        {
            backends = vec![*held];
        }
        let way = |backend: Backend| {
            let mut draft = Draft { sent_on: true, stays: sticky.then_some((client, backend)), ..draft };
            (draft.talk.to, draft.talk.ports.1) = backend;
            draft.rests.service = true;
            draft.masked = kind != Kind::Cluster && !inside && policy == TrafficPolicy::Cluster;
            let draft = hairpin(sent, draft);
            Way { backend: Some(backend), ..onward(world, looks, sent, draft, None) }
        };
        Some(backends.into_iter().map(way).collect())
    }
}

/// The service whose port a packet is for, the port, and by which address.
pub(super) fn front(world: &World, talk: &Talk) -> Option<(usize, usize, Kind)> {
    world.services.iter().enumerate().find_map(|(number, service)| {
        let service = service.as_ref()?;
        let lists = [
            (&service.cluster_ips, Kind::Cluster),
            (&service.load_balancer_ips, Kind::LoadBalancer),
            (&service.external_ips, Kind::External),
        ];
        let at = |port: &dyn Fn(&shunt_config::ServicePort) -> Option<u16>| {
            let fits = |it: &shunt_config::ServicePort| {
                it.protocol.number() == talk.protocol && port(it) == Some(talk.ports.1)
            };
            service.ports.iter().position(fits)
        };
        if let Some((_, kind)) = lists.into_iter().find(|(list, _)| list.contains(&talk.to)) {
            return Some((number, at(&|it| Some(it.port))?, kind));
        }
        let own = own_addresses().any(|own| own == talk.to);
        own.then(|| at(&|it| it.node_port)).flatten().map(|at| (number, at, Kind::Node))
    })
}

/// Who answers: those that are ready, or when none is those that serve though they are on their way out.
fn candidates(service: &Service, v6: bool, local: bool) -> Vec<Backend> {
    let all = service.endpoints.iter().filter(|it| it.address.is_ipv6() == v6 && it.weight > 0);
    let all: Vec<&ServiceEndpoint> = all.collect();
    let ready: Vec<_> = all.iter().copied().filter(|it| it.ready).collect();
    let here = |it: &ServiceEndpoint| match &it.node {
        Some(node) => node == NODE,
        None => places::subnet_of(it.address).is_some_and(|network| network != OUTSIDE),
    };
    let near = |it: &ServiceEndpoint| it.zones.iter().any(|zone| zone == AREA);
    let hinted = ready.iter().all(|it| !it.zones.is_empty()) && ready.iter().any(|it| near(it));
    let fits = |it: &&ServiceEndpoint| match (local, hinted) {
        (true, _) => here(it),
        (false, true) => near(it),
        (false, false) => true,
    };
    let chosen: Vec<_> = ready.into_iter().filter(fits).collect();
    let leaving = || all.iter().copied().filter(|it| it.serving && it.terminating && fits(it)).collect();
    let chosen: Vec<&ServiceEndpoint> = if chosen.is_empty() { leaving() } else { chosen };
    chosen.into_iter().map(|it| (it.address, it.port.unwrap())).collect()
}
