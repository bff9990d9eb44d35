//! `[[service]]`: an address and ports that stand for backends, as the Service of Kubernetes (core/v1) does, together with
//! its EndpointSlices (discovery.k8s.io/v1).

pub(crate) mod endpoint;
pub(crate) mod keys;
pub(crate) mod name;
pub(crate) mod port;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::error::Reported;
use crate::names::{NetworkName, RouterName};
use crate::router::prefix;
use crate::section::Section;
use crate::value;
use endpoint::ServiceEndpoint;
use name::ServiceName;
use port::ServicePort;

/// Which connections of one client go to one backend (`spec.sessionAffinity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// Each connection is placed by itself.
    #[default]
    None,
    /// All connections of a client's address, as long as the last one is no older than the timeout.
    ClientIp,
}

/// Which backends a connection may go to (`spec.externalTrafficPolicy`, `spec.internalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficPolicy {
    /// Those of all nodes.
    #[default]
    Cluster,
    /// Those of this node; without one, what comes is dropped.
    Local,
}

/// A service: what it is called, where it is found, and who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name, unique.
    pub name: ServiceName,
    /// The router whose networks reach it.
    pub router: RouterName,
    /// Addresses inside of the cluster (`spec.clusterIPs`): of this service alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_ips: Vec<IpAddr>,
    /// Addresses that somebody routes to this node (`spec.externalIPs`), out of the router's `external_ips`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<IpAddr>,
    /// Addresses of a load balancer (`status.loadBalancer.ingress`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_ips: Vec<IpAddr>,
    /// The network in which the switch answers ARP and ND for `load_balancer_ips`, in place of the one whose subnet has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_network: Option<NetworkName>,
    /// Whether a client stays with its backend.
    pub affinity: Affinity,
    /// For how long, after the client's last new connection.
    #[serde(serialize_with = "crate::write::duration")]
    pub affinity_timeout: Duration,
    /// For what comes from outside to node ports, load balancer and external addresses.
    pub external_traffic_policy: TrafficPolicy,
    /// For what comes to the cluster addresses.
    pub internal_traffic_policy: TrafficPolicy,
    /// Who may use `load_balancer_ips` (`spec.loadBalancerSourceRanges`); empty is everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<IpNet>,
    /// Its ports, in the order of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Its backends, in the order of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ServiceEndpoint>,
}

/// What Kubernetes has by default (`spec.sessionAffinityConfig.clientIP.timeoutSeconds`): three hours.
const AFFINITY_TIMEOUT: Duration = Duration::from_secs(10_800);
/// Longest and shortest.
const AFFINITY_TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

impl Service {
    /// A service of that name without addresses, ports and backends.
    pub fn new(name: ServiceName, router: RouterName) -> Self {
        Service {
            name,
            router,
            cluster_ips: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            load_balancer_network: None,
            affinity: Affinity::None,
            affinity_timeout: AFFINITY_TIMEOUT,
            external_traffic_policy: TrafficPolicy::Cluster,
            internal_traffic_policy: TrafficPolicy::Cluster,
            source_ranges: Vec::new(),
            ports: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// All its addresses: those of the cluster, of load balancers, and external ones.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.cluster_ips.iter().chain(&self.load_balancer_ips).chain(&self.external_ips).copied()
    }
}

/// The router of services that name none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Only<'a> {
    /// The one there is.
    Is(&'a RouterName),
    /// There are so many.
    Of(usize),
    /// Not all could be read.
    Unknown,
}

/// A service as far as it could be read.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) path: String,
    pub(crate) name: Option<ServiceName>,
    /// `None` when it holds a mistake.
    pub(crate) service: Option<Service>,
}

/// Reads a section.
pub(crate) fn read(path: String, section: &mut Section<'_, '_>, only: Only<'_>) -> Draft {
    let name = section.required("name", "\"shop/web\"", value::parsed::<ServiceName>);
    let service = whole(section, name.clone(), only);
    Draft { path, name: name.ok(), service: service.ok() }
}

fn whole(
    section: &mut Section<'_, '_>,
    name: Result<ServiceName, Reported>,
    only: Only<'_>,
) -> Result<Service, Reported> {
    let router = section.optional("router", value::parsed::<RouterName>);
    let cluster_ips = section.list("cluster_ips", value::unicast);
    let external_ips = section.list("external_ips", value::unicast);
    let load_balancer_ips = section.list("load_balancer_ips", value::unicast);
    let load_balancer_network = section.optional("load_balancer_network", value::parsed::<NetworkName>);
    let affinity = section.or(
        "affinity",
        Affinity::None,
        value::one_of(&[("none", Affinity::None), ("client_ip", Affinity::ClientIp)]),
    );
    let (shortest, longest) = AFFINITY_TIMEOUTS;
    let affinity_timeout =
        section.or("affinity_timeout", AFFINITY_TIMEOUT, value::duration(shortest..=longest));
    const POLICIES: &[(&str, TrafficPolicy)] =
        &[("cluster", TrafficPolicy::Cluster), ("local", TrafficPolicy::Local)];
    let external = section.or("external_traffic_policy", TrafficPolicy::Cluster, value::one_of(POLICIES));
    let internal = section.or("internal_traffic_policy", TrafficPolicy::Cluster, value::one_of(POLICIES));
    let source_ranges = section.list("source_ranges", prefix);
    let ports = section.tables("ports", keys::PORT, port::EXAMPLE, port::read);
    let endpoints = section.tables("endpoints", keys::ENDPOINT, endpoint::EXAMPLE, endpoint::read);
    section.refuse_others(None);
    let router = router.and_then(|router| match (router, only) {
        (Some(router), _) => Ok(router),
        (None, Only::Is(router)) => Ok(router.clone()),
        (None, Only::Unknown) => Err(Reported),
        (None, Only::Of(0)) => {
            let message =
                "there is no router that could reach the service; add a [[router]], and name it in a network";
            Err(section.report("router", message))
        }
        (None, Only::Of(several)) => {
            Err(section.report("router", format!("there are {several} routers; name one, as router = \"r\"")))
        }
    });
    Ok(Service {
        name: name?,
        router: router?,
        cluster_ips: cluster_ips?,
        external_ips: external_ips?,
        load_balancer_ips: load_balancer_ips?,
        load_balancer_network: load_balancer_network?,
        affinity: affinity?,
        affinity_timeout: affinity_timeout?,
        external_traffic_policy: external?,
        internal_traffic_policy: internal?,
        source_ranges: source_ranges?,
        ports: ports?.into_iter().collect::<Option<Vec<_>>>().ok_or(Reported)?,
        endpoints: endpoints?.into_iter().collect::<Option<Vec<_>>>().ok_or(Reported)?,
    })
}
