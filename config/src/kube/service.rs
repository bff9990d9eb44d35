//! `v1 Service`: its addresses and ports. Who answers for it, its EndpointSlices say.

use std::net::IpAddr;
use std::time::Duration;

use crate::Config;
use crate::error::{Reported, Sink};
use crate::names::{NetworkName, RouterName};
use crate::raw::{Raw, quote};
use crate::router::prefix;
use crate::service::name::ServiceName;
use crate::service::port::{self, ServicePort, ServiceProtocol};
use crate::service::{Affinity, Service, TrafficPolicy};
use crate::value;

use super::fields::Fields;
use super::object::Object;

/// Fields that say something to somebody else: to the API server, which has filled in others by them, or to whoever makes
/// EndpointSlices or hands out addresses.
const OTHERS: [&str; 9] = [
    "selector",
    "ipFamilies",
    "ipFamilyPolicy",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
    "loadBalancerIP",
    "publishNotReadyAddresses",
    "trafficDistribution",
    "externalName",
];

const OURS: [&str; 11] = [
    "type",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "ports",
    "sessionAffinity",
    "sessionAffinityConfig",
    "externalTrafficPolicy",
    "internalTrafficPolicy",
    "loadBalancerSourceRanges",
    "healthCheckNodePort",
];

/// What a Service becomes; `None` for one that has no address, with a note that says why.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) service: Option<Service>,
    pub(super) name: ServiceName,
    pub(super) notes: Vec<String>,
}

/// Why nothing is sent to a Service, by what it says of itself; `None` when there is something.
pub(super) fn nobodys(object: &Object<'_>, sink: &mut Sink) -> Result<Option<&'static str>, Reported> {
    let spec = object.spec();
    let headless = spec.read("clusterIP", word, sink)?.as_deref() == Some("None");
    let external = spec.read("type", kind, sink)? == Some("ExternalName");
    Ok(match () {
        () if external => Some(EXTERNAL),
        () if headless => Some(HEADLESS),
        () => None,
    })
}

const EXTERNAL: &str = "is DNS's affair: nothing is sent to such a service";
const HEADLESS: &str = "headless: clients find the endpoints by DNS";

/// Reads a Service. One that is there keeps its endpoints.
pub(super) fn read(object: &Object<'_>, running: &Config, sink: &mut Sink) -> Result<Wanted, Reported> {
    let spec = object.spec();
    let known: Vec<_> = OURS.iter().chain(&OTHERS).copied().collect();
    let outcome = spec.refuse_others(&known, sink);
    let name = name(object, &object.name, sink);
    let kind = spec.read("type", kind, sink);
    let headless = spec.read("clusterIP", word, sink).map(|text| text.as_deref() == Some("None"));
    let none = |key: &str, why: &str| -> Result<Wanted, Reported> {
        Ok(Wanted { service: None, name: name.clone()?, notes: vec![object.note(key, why)] })
    };
    if kind == Ok(Some("ExternalName")) {
        outcome?;
        return none("type", EXTERNAL);
    }
    if headless == Ok(true) {
        outcome?;
        return none("clusterIP", HEADLESS);
    }
    let kind = kind.map(|kind| kind.unwrap_or("ClusterIP"));
    let mut notes = Vec::new();
    if spec.field("healthCheckNodePort").is_some() {
        notes.push(
            object
                .note("healthCheckNodePort", "nobody answers there; let the load balancer ask the backends"),
        );
    }
    let router = router(object, running, name.as_ref().ok(), sink);
    let cluster_ips = cluster_ips(&spec, sink);
    let external_ips = spec.list("externalIPs", value::unicast, sink);
    let source_ranges = spec.list("loadBalancerSourceRanges", prefix, sink);
    let balancers = if kind == Ok("LoadBalancer") { balancers(object, sink) } else { Ok(Vec::new()) };
    let network = object.annotation("shunt/load-balancer-network", value::parsed::<NetworkName>, sink);
    let affinity = spec.read("sessionAffinity", affinity, sink);
    let timeout = timeout(&spec, sink);
    let external = spec.read("externalTrafficPolicy", policy, sink);
    let internal = spec.read("internalTrafficPolicy", policy, sink);
    let ports = ports(&spec, kind == Ok("ClusterIP"), sink);
    outcome?;
    let (name, balancers, _) = (name?, balancers?, kind?);
    let before = running.service(name.as_str());
    let fresh = Service::new(name.clone(), router?);
    let service = Service {
        cluster_ips: cluster_ips?,
        external_ips: external_ips?,
        load_balancer_network: network?.filter(|_| !balancers.is_empty()),
        load_balancer_ips: balancers,
        affinity: affinity?.unwrap_or_default(),
        affinity_timeout: timeout?.unwrap_or(fresh.affinity_timeout),
        external_traffic_policy: external?.unwrap_or_default(),
        internal_traffic_policy: internal?.unwrap_or_default(),
        source_ranges: source_ranges?,
        ports: ports?,
        endpoints: before.map(|before| before.endpoints.clone()).unwrap_or_default(),
        ..fresh
    };
    Ok(Wanted { service: Some(service), name, notes })
}

/// `clusterIPs`, and `clusterIP`, which is the first of them.
fn cluster_ips(spec: &Fields<'_>, sink: &mut Sink) -> Result<Vec<IpAddr>, Reported> {
    let (all, first) =
        (spec.list("clusterIPs", value::unicast, sink), spec.read("clusterIP", value::unicast, sink));
    let (mut all, first) = (all?, first?);
    if let Some(first) = first.filter(|first| !all.contains(first)) {
        all.insert(0, first);
    }
    Ok(all)
}

/// The name of a service in the namespace of `object`.
pub(super) fn name(object: &Object<'_>, name: &str, sink: &mut Sink) -> Result<ServiceName, Reported> {
    let full = format!("{}/{name}", object.namespace);
    ServiceName::new(&full)
        .map_err(|error| object.report("metadata.name", format!("{}: {error}", quote(&full)), sink))
}

/// The router that reaches the service: as the annotation says, as it was, or the only one.
fn router(
    object: &Object<'_>,
    running: &Config,
    name: Option<&ServiceName>,
    sink: &mut Sink,
) -> Result<RouterName, Reported> {
    let given = object.annotation("shunt/router", value::parsed::<RouterName>, sink)?;
    let before = || running.service(name?.as_str()).map(|service| service.router.clone());
    let only = || match running.routers.as_slice() {
        [router] => Some(router.name.clone()),
        _ => None,
    };
    given.or_else(before).or_else(only).ok_or_else(|| {
        let count = running.routers.len();
        let message =
            format!("not set, and this node has {count} routers; name the one that reaches the service");
        object.report("metadata.annotations.shunt/router", message, sink)
    })
}

fn word(raw: Raw<'_>) -> Result<String, String> {
    Ok(raw.text().unwrap_or_default().to_owned())
}

fn kind(raw: Raw<'_>) -> Result<&'static str, String> {
    const KINDS: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
    let found = KINDS.into_iter().find(|kind| raw.text() == Some(kind));
    found.ok_or_else(|| format!("{} is no type of service; use one of: {}", raw.describe(), KINDS.join(", ")))
}

fn affinity(raw: Raw<'_>) -> Result<Affinity, String> {
    value::one_of(&[("None", Affinity::None), ("ClientIP", Affinity::ClientIp)])(raw)
}

fn policy(raw: Raw<'_>) -> Result<TrafficPolicy, String> {
    value::one_of(&[("Cluster", TrafficPolicy::Cluster), ("Local", TrafficPolicy::Local)])(raw)
}

/// A protocol as Kubernetes writes it.
pub(super) fn protocol(raw: Raw<'_>) -> Result<ServiceProtocol, String> {
    value::one_of(&[
        ("TCP", ServiceProtocol::Tcp),
        ("UDP", ServiceProtocol::Udp),
        ("SCTP", ServiceProtocol::Sctp),
    ])(raw)
}

fn timeout(spec: &Fields<'_>, sink: &mut Sink) -> Result<Option<Duration>, Reported> {
    let config = spec.within("sessionAffinityConfig", sink)?;
    config.refuse_others(&["clientIP"], sink)?;
    let client = config.within("clientIP", sink)?;
    client.refuse_others(&["timeoutSeconds"], sink)?;
    let seconds = client.read("timeoutSeconds", value::integer::<u32>(1..=86_400), sink)?;
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
}

fn ports(spec: &Fields<'_>, inside: bool, sink: &mut Sink) -> Result<Vec<ServicePort>, Reported> {
    let mut ports = Vec::new();
    for fields in spec.each("ports", sink)? {
        let known = ["name", "protocol", "port", "targetPort", "nodePort", "appProtocol"];
        fields.refuse_others(&known, sink)?;
        let name = fields.read("name", port::name, sink)?.unwrap_or_default();
        let protocol = fields.read("protocol", protocol, sink)?.unwrap_or_default();
        let Some(number) = fields.read("port", port::number, sink)? else {
            return Err(fields.report("port", "not set; give the port, as 80", sink));
        };
        // 0 is an API server's way to say that there is none yet.
        let node_port = fields.read("nodePort", value::integer::<u16>(0..=65_535), sink)?;
        let node_port = node_port.filter(|port| *port != 0 && !inside);
        ports.push(ServicePort { name, protocol, port: number, node_port });
    }
    Ok(ports)
}

/// The addresses that a load balancer has given, but those whose packets it wants to see itself.
fn balancers(object: &Object<'_>, sink: &mut Sink) -> Result<Vec<IpAddr>, Reported> {
    let balancer = object.status().within("loadBalancer", sink)?;
    let mut addresses = Vec::new();
    for ingress in balancer.each("ingress", sink)? {
        ingress.refuse_others(&["ip", "hostname", "ipMode", "ports"], sink)?;
        let proxy = ingress.read("ipMode", word, sink)?.is_some_and(|mode| mode == "Proxy");
        addresses.extend(ingress.read("ip", value::unicast, sink)?.filter(|_| !proxy));
    }
    Ok(addresses)
}
