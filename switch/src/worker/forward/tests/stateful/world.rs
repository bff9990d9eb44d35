//! What the switch is told, and what may become of it.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use shunt_config::{
    Affinity, Cluster, RouterName, Service, ServiceEndpoint, ServiceName, ServicePort, ServiceProtocol,
    TrafficPolicy,
};

use super::places::{self, STATIONS, address};
use crate::policy::tests::arbitrary;

pub(super) const SERVICES: usize = 3;
/// Seconds for which clients stay, of services where they do.
pub(super) const STAYS: u64 = 20;
/// What this node is called, and where it is.
pub(super) const NODE: &str = "here";
pub(super) const AREA: &str = "near";

/// All that the tables are made of.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) services: [Option<Arc<Service>>; SERVICES],
    pub(super) masquerade: [bool; 2],
    /// The first network is closed.
    pub(super) closed: bool,
    /// The station that the floating addresses stand for.
    pub(super) floating: Option<usize>,
    /// The station that the single ports lead to.
    pub(super) forward: Option<usize>,
    /// Which addresses the pool has, and which prefixes have an address to leave with.
    pub(super) pool: [bool; 2],
    pub(super) sourced: [bool; 2],
    /// What leaves with another address has one of few ports.
    pub(super) ports: bool,
    /// What goes from one network into another does so with the router's address, or its own, whatever is masqueraded.
    pub(super) pair: Option<(usize, usize, bool)>,
    /// What is nowhere else is beyond a station outside.
    pub(super) default_route: bool,
    /// Stations have other MAC addresses than before.
    pub(super) macs: u8,
    pub(super) cluster: Arc<Cluster>,
}

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Service(usize, Option<Arc<Service>>),
    /// An endpoint of a service, of those that it has: another state, or none.
    Endpoint(usize, usize, State),
    /// One more.
    Endpoints(usize, ServiceEndpoint),
    Masquerade(usize, bool),
    Closed(bool),
    Floating(Option<usize>),
    Forward(Option<usize>),
    Pool([bool; 2]),
    Sourced([bool; 2]),
    Ports(bool),
    Pair(Option<(usize, usize, bool)>),
    DefaultRoute(bool),
    Macs(u8),
    Cluster(Arc<Cluster>),
    NoPolicies,
}

/// What becomes of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    NotReady,
    Terminating,
    TerminatingAndSilent,
    Weight(u16),
    Gone,
}

impl World {
    /// True when the change concerns services or static translations: then connections are gone through.
    pub(super) fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Service(number, service) => {
                self.services[*number].clone_from(service);
                return true;
            }
            Change::Endpoint(number, which, state) => {
                let Some(service) = &mut self.services[*number] else { return false };
                if service.endpoints.is_empty() {
                    return false;
                }
                let service = Arc::make_mut(service);
                let which = which % service.endpoints.len();
                match state.of(&service.endpoints[which]) {
                    Some(endpoint) => service.endpoints[which] = endpoint,
                    None => drop(service.endpoints.remove(which)),
                }
                return true;
            }
            Change::Endpoints(number, endpoint) => {
                let Some(service) = &mut self.services[*number] else { return false };
                let service = Arc::make_mut(service);
                let same = |it: &ServiceEndpoint| (it.address, it.port) == (endpoint.address, endpoint.port);
                if service.endpoints.iter().any(same) {
                    return false;
                }
                service.endpoints.push(endpoint.clone());
                return true;
            }
            Change::Floating(floating) => {
                self.floating = *floating;
                return true;
            }
            Change::Forward(forward) => {
                self.forward = *forward;
                return true;
            }
            Change::Pool(pool) => {
                self.pool = *pool;
                return true;
            }
            Change::Sourced(sourced) => {
                self.sourced = *sourced;
                return true;
            }
            Change::Ports(on) => self.ports = *on,
            Change::Pair(pair) => self.pair = *pair,
            Change::Masquerade(network, on) => self.masquerade[*network] = *on,
            Change::Closed(closed) => self.closed = *closed,
            Change::DefaultRoute(on) => self.default_route = *on,
            Change::Macs(macs) => self.macs = *macs,
            Change::Cluster(cluster) => self.cluster.clone_from(cluster),
            Change::NoPolicies => self.cluster = Arc::default(),
        }
        false
    }

    /// True when the router answers for an address that is not its own.
    pub(super) fn lends(&self, address: IpAddr) -> bool {
        let v6 = address.is_ipv6();
        (0..2).any(|number| {
            self.pool[number] && places::pool(number, v6) == address
                || self.sourced[number] && places::sourced(number, v6) == address
        }) || self.floating.is_some() && places::floating(v6) == address
            || self.forward.is_some() && places::lent(v6) == address
    }

    /// True when the router translates whatever services and masquerading say.
    pub(super) fn translates(&self) -> bool {
        self.floating.is_some() || self.forward.is_some() || self.sourced != [false; 2]
    }

    /// True when an address is one of the pool.
    pub(super) fn pools(&self, address: IpAddr) -> bool {
        (0..2).any(|number| self.pool[number] && places::pool(number, address.is_ipv6()) == address)
    }

    /// The addresses that connections of `source` may leave with by its prefixes: that of the longest first.
    pub(super) fn sources(&self, source: IpAddr) -> Vec<IpAddr> {
        let v6 = source.is_ipv6();
        let rules = (0..2).rev().filter(|number| self.sourced[*number]);
        let own = rules.filter(|number| places::sources(*number, v6).contains(&source));
        own.map(|number| places::sourced(number, v6)).collect()
    }

    /// True when what goes from one network into another gets the router's address there.
    pub(super) fn masks(&self, from: usize, to: usize) -> bool {
        let masqueraded = |network: usize| self.masquerade.get(network).is_some_and(|on| *on);
        match self.pair {
            Some((one, other, node)) if (one, other) == (from, to) => node,
            _ => masqueraded(from) && !masqueraded(to),
        }
    }

    /// True when connections are looked for; `looks`: there are policies about somebody, `routed`: for what is sent to the router.
    pub(super) fn tracks(&self, looks: bool, routed: bool) -> bool {
        let bridged = looks || self.services.iter().any(Option::is_some) || self.translates();
        let pair = self.pair.is_some_and(|(_, _, node)| node);
        bridged || routed && (self.masquerade != [false; 2] || pair)
    }

    /// The station that sends for an address, and gets what is sent to it.
    pub(super) fn home(&self, address: IpAddr) -> Option<usize> {
        let v6 = address.is_ipv6();
        if address == places::far(v6) {
            return Some(places::UPLINK);
        }
        if places::lendable(v6).contains(&address) {
            return (!self.lends(address)).then_some(places::OTHER);
        }
        (0..STATIONS).find(|station| self::address(*station, v6) == address)
    }
}

impl State {
    fn of(self, before: &ServiceEndpoint) -> Option<ServiceEndpoint> {
        let (ready, serving, terminating) = match self {
            Self::Gone => return None,
            Self::Weight(weight) => return Some(ServiceEndpoint { weight, ..before.clone() }),
            Self::Ready => (true, true, false),
            Self::NotReady => (false, false, false),
            Self::Terminating => (false, true, true),
            Self::TerminatingAndSilent => (false, false, true),
        };
        Some(ServiceEndpoint { ready, serving, terminating, ..before.clone() })
    }
}

impl Default for World {
    /// Nothing but stations.
    fn default() -> Self {
        Self {
            services: Default::default(),
            masquerade: [false; 2],
            closed: false,
            floating: None,
            forward: None,
            pool: [false; 2],
            sourced: [false; 2],
            ports: false,
            pair: None,
            default_route: false,
            macs: 0,
            cluster: Arc::default(),
        }
    }
}

/// A service for everybody, at its cluster address, with these backends.
pub(super) fn plain(number: usize, backends: &[IpAddr]) -> Arc<Service> {
    let ports = ports(number).map(|(protocol, port, _)| ServicePort {
        name: protocol.as_str().to_owned(),
        protocol,
        port,
        node_port: None,
    });
    let endpoint = |address: &IpAddr| ServiceEndpoint { port: Some(80), ..ServiceEndpoint::new(*address) };
    let name = ServiceName::new(&format!("shop/s{number}")).unwrap();
    Arc::new(Service {
        cluster_ips: [false, true].map(|v6| addresses(number, v6)[0]).into(),
        ports: ports.into(),
        endpoints: backends.iter().map(endpoint).collect(),
        ..Service::new(name, RouterName::new("r").unwrap())
    })
}

/// A world to begin with.
pub(super) fn world() -> impl Strategy<Value = World> {
    let services = [service(0), service(1), service(2)].map(|service| option::weighted(0.8, service));
    let switches = (any::<[bool; 2]>(), prop::bool::weighted(0.2), any::<bool>(), any::<bool>());
    let statics = (floating(), forward(), any::<[bool; 2]>(), sourced(), pair());
    (services, switches, statics, cluster()).prop_map(|(services, switches, statics, cluster)| {
        let (masquerade, closed, default_route, ports) = switches;
        let (floating, forward, pool, sourced, pair) = statics;
        let first = World { services, masquerade, closed, default_route, ports, cluster, ..World::default() };
        World { floating, forward, pool, sourced, pair, ..first }
    })
}

/// Any change; two in three are about services.
pub(super) fn change() -> impl Strategy<Value = Change> {
    let whole = (0..SERVICES).prop_flat_map(|number| {
        option::weighted(0.7, service(number)).prop_map(move |service| Change::Service(number, service))
    });
    prop_oneof![
        2 => whole,
        4 => (0..SERVICES, any::<usize>(), state())
            .prop_map(|(number, which, state)| Change::Endpoint(number, which, state)),
        2 => (0..SERVICES, endpoint()).prop_map(|(number, endpoint)| Change::Endpoints(number, endpoint)),
        1 => (0..2_usize, any::<bool>()).prop_map(|(network, on)| Change::Masquerade(network, on)),
        1 => prop::bool::weighted(0.2).prop_map(Change::Closed),
        1 => floating().prop_map(Change::Floating),
        1 => forward().prop_map(Change::Forward),
        1 => any::<[bool; 2]>().prop_map(Change::Pool),
        1 => sourced().prop_map(Change::Sourced),
        1 => any::<bool>().prop_map(Change::Ports),
        1 => pair().prop_map(Change::Pair),
        1 => any::<bool>().prop_map(Change::DefaultRoute),
        1 => (0_u8..3).prop_map(Change::Macs),
        1 => cluster().prop_map(Change::Cluster),
        1 => Just(Change::NoPolicies),
    ]
}

/// What may happen around a connection without its backend going.
pub(super) fn harmless() -> impl Strategy<Value = Change> {
    let states = [State::Ready, State::NotReady, State::Terminating, State::TerminatingAndSilent];
    let states = states.into_iter().chain([0, 3].map(State::Weight)).collect::<Vec<_>>();
    prop_oneof![
        4 => (0..SERVICES, any::<usize>(), select(states))
            .prop_map(|(number, which, state)| Change::Endpoint(number, which, state)),
        2 => (0..SERVICES, endpoint()).prop_map(|(number, endpoint)| Change::Endpoints(number, endpoint)),
        2 => option::of(service(2)).prop_map(|service| Change::Service(2, service)),
        1 => (0..2_usize, any::<bool>()).prop_map(|(network, on)| Change::Masquerade(network, on)),
        1 => pair().prop_map(Change::Pair),
        1 => any::<bool>().prop_map(Change::Closed),
        1 => any::<bool>().prop_map(Change::Ports),
        1 => (0_u8..3).prop_map(Change::Macs),
    ]
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        2 => Just(State::Ready),
        1 => Just(State::NotReady),
        2 => Just(State::Terminating),
        1 => Just(State::TerminatingAndSilent),
        1 => select(vec![0, 1, 5]).prop_map(State::Weight),
        2 => Just(State::Gone),
    ]
}

fn floating() -> impl Strategy<Value = Option<usize>> {
    option::weighted(0.7, select(vec![0_usize, 1, 3]))
}

fn forward() -> impl Strategy<Value = Option<usize>> {
    option::of(select(vec![0_usize, 2, 4, 7]))
}

fn sourced() -> impl Strategy<Value = [bool; 2]> {
    [prop::bool::weighted(0.3), prop::bool::weighted(0.3)]
}

fn pair() -> impl Strategy<Value = Option<(usize, usize, bool)>> {
    let networks = select(vec![(0_usize, 1_usize), (0, 2), (1, 0), (1, 2), (2, 0)]);
    option::weighted(0.4, (networks, any::<bool>()).prop_map(|((from, to), node)| (from, to, node)))
}

/// Half of the worlds have no policies.
fn cluster() -> impl Strategy<Value = Arc<Cluster>> {
    option::of(arbitrary::cluster()).prop_map(Option::unwrap_or_default)
}

fn endpoint() -> impl Strategy<Value = ServiceEndpoint> {
    let node = option::weighted(0.3, select(&[NODE, "there"][..]));
    let zones = select(vec![vec![AREA], vec!["afar"], vec![], vec![AREA, "afar"]]);
    (0..=STATIONS, any::<bool>(), select(&[80_u16, 81][..]), state(), node, zones).prop_map(
        |(station, v6, port, state, node, zones)| {
            // One more than there are stations: somebody far away, to whom there may be no route.
            let address = if station < STATIONS { address(station, v6) } else { places::far(v6) };
            let new = ServiceEndpoint {
                port: Some(port),
                node: node.map(str::to_owned),
                zones: zones.into_iter().map(str::to_owned).collect(),
                ..ServiceEndpoint::new(address)
            };
            state.of(&new).unwrap_or(new)
        },
    )
}

/// The addresses of a service: of the cluster, of a load balancer, external.
pub(super) fn addresses(number: usize, v6: bool) -> [IpAddr; 3] {
    let last = number as u8 + 1;
    let six = |group| [0xfd00, 0x96, group, 0, 0, 0, 0, u16::from(last)].into();
    match v6 {
        false => [[10, 96, 0, last].into(), [203, 0, 113, last].into(), [198, 18, 0, last].into()],
        true => [six(0), six(1), six(2)],
    }
}

/// The ports of a service: at its addresses, and at the node's.
pub(super) fn ports(number: usize) -> [(ServiceProtocol, u16, u16); 3] {
    let number = number as u16;
    [
        (ServiceProtocol::Tcp, 80, 30_080 + number),
        (ServiceProtocol::Udp, 53, 30_053 + number),
        (ServiceProtocol::Sctp, 2905, 32_905 + number),
    ]
}

pub(super) fn service(number: usize) -> impl Strategy<Value = Arc<Service>> {
    let local = || select(&[TrafficPolicy::Cluster, TrafficPolicy::Cluster, TrafficPolicy::Local][..]);
    let ranges =
        select(vec![vec![], vec!["192.0.2.1/32", "2001:db8::1/128"], vec!["0.0.0.0/0", "10.0.0.0/8"]]);
    let has = any::<(bool, bool)>();
    (
        prop::collection::vec(endpoint(), 0..5),
        local(),
        local(),
        ranges,
        has,
        prop::bool::weighted(0.3),
        any::<bool>(),
    )
        .prop_map(
            move |(all, external_traffic_policy, internal_traffic_policy, ranges, has, stays, hinted)| {
                let list = |at: usize, there: bool| -> Vec<IpAddr> {
                    [false, true].into_iter().filter(|_| there).map(|v6| addresses(number, v6)[at]).collect()
                };
                let ports = ports(number).map(|(protocol, port, node_port)| ServicePort {
                    name: protocol.as_str().to_owned(),
                    protocol,
                    port,
                    node_port: has.0.then_some(node_port),
                });
                let mut endpoints: Vec<ServiceEndpoint> = Vec::new();
                for mut endpoint in all {
                    if !hinted {
                        endpoint.zones.clear();
                    }
                    if endpoints.iter().all(|it| (it.address, it.port) != (endpoint.address, endpoint.port)) {
                        endpoints.push(endpoint);
                    }
                }
                let name = ServiceName::new(&format!("shop/s{number}")).unwrap();
                Arc::new(Service {
                    cluster_ips: list(0, true),
                    load_balancer_ips: list(1, has.1),
                    external_ips: list(2, has.0 != has.1),
                    affinity: if stays { Affinity::ClientIp } else { Affinity::None },
                    affinity_timeout: std::time::Duration::from_secs(STAYS),
                    external_traffic_policy,
                    internal_traffic_policy,
                    source_ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
                    ports: ports.into(),
                    endpoints,
                    ..Service::new(name, RouterName::new("r").unwrap())
                })
            },
        )
}
