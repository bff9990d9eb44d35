//! Random services of the router `r`, none of which collides with another.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use shunt_config::{
    Affinity, RouterName, Service, ServiceEndpoint, ServiceName, ServicePort, ServiceProtocol, TrafficPolicy,
};

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    select(&[TrafficPolicy::Cluster, TrafficPolicy::Local][..])
}

fn endpoint(number: u8) -> impl Strategy<Value = ServiceEndpoint> {
    let ports = select(vec![None, Some(BTreeMap::from([("a".to_owned(), 8080)]))]);
    let labels = proptest::collection::vec("[a-z]{1,4}", 0..3);
    (0u16..=1_000, any::<bool>(), any::<bool>(), ports, labels, proptest::option::of("[a-z]{1,9}")).prop_map(
        move |(weight, ready, terminating, ports, zones, node)| ServiceEndpoint {
            weight,
            ready,
            serving: ready || terminating,
            terminating,
            ports: ports.unwrap_or_default(),
            zones,
            slice: node.clone(),
            node,
            ..ServiceEndpoint::new(IpAddr::from([10, 250, 0, number]))
        },
    )
}

/// The service of that number.
pub(crate) fn one(number: u8) -> impl Strategy<Value = Service> {
    let endpoints = (0u8..5).prop_flat_map(|count| (0..count).map(endpoint).collect::<Vec<_>>());
    let protocol = select(&[ServiceProtocol::Tcp, ServiceProtocol::Udp][..]);
    let affinity = select(&[Affinity::None, Affinity::ClientIp][..]);
    (endpoints, protocol, affinity, 1u64..=86_400, policy(), policy(), any::<[bool; 4]>()).prop_map(
        move |(endpoints, protocol, affinity, timeout, external, internal, has)| {
            let name = ServiceName::new(&format!("ns/s{number}")).unwrap();
            let some = |has: bool, text: String| -> Vec<IpAddr> {
                has.then(|| text.parse().unwrap()).into_iter().collect()
            };
            let port = ServicePort {
                name: "a".to_owned(),
                protocol,
                port: 80,
                node_port: has[3].then_some(30_000 + u16::from(number)),
            };
            Service {
                cluster_ips: some(has[0], format!("10.251.0.{number}")),
                load_balancer_ips: some(has[1], format!("10.252.0.{number}")),
                external_ips: some(has[2], format!("203.0.113.{number}")),
                affinity,
                affinity_timeout: Duration::from_secs(timeout),
                external_traffic_policy: external,
                internal_traffic_policy: internal,
                source_ranges: vec!["10.0.0.0/8".parse().unwrap()],
                ports: vec![port],
                endpoints,
                ..Service::new(name, RouterName::new("r").unwrap())
            }
        },
    )
}
