//! The table against what Kubernetes says of it, and that what stays the same is shared.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use shunt_config::{
    RouterName, Service, ServiceEndpoint, ServiceName, ServicePort, ServiceProtocol, TrafficPolicy,
};

use super::*;
use crate::wire::protocol::{TCP, UDP};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(name: &str, protocol: ServiceProtocol, port: u16, node_port: Option<u16>) -> ServicePort {
    ServicePort { name: name.to_owned(), protocol, port, node_port }
}

fn service(name: &str, cluster: &str, endpoints: Vec<ServiceEndpoint>) -> Service {
    Service {
        cluster_ips: vec![ip(cluster)],
        ports: vec![port("", ServiceProtocol::Tcp, 80, None)],
        endpoints,
        ..Service::new(ServiceName::new(name).unwrap(), RouterName::new("r").unwrap())
    }
}

fn endpoint(last: u8) -> ServiceEndpoint {
    ServiceEndpoint { port: Some(8080), ..ServiceEndpoint::new(IpAddr::from([10, 16, 0, last])) }
}

fn table(services: &[Arc<Service>], before: Option<&Services>) -> Services {
    Services::build(services, &[ip("192.168.50.2")], &Site::default(), before)
}

fn front<'t>(table: &'t Services, address: &str, protocol: u8, port: u16) -> Option<(&'t str, Kind)> {
    match table.get(ip(address), protocol, port) {
        Found::Front(front) => Some((front.row.service().name.as_str(), front.kind)),
        _ => None,
    }
}

/// Everybody who is picked in a scope, by last byte.
fn picked(service: &Service, site: &Site, scope: Scope) -> Result<Vec<u8>, Pick> {
    let table = Services::build([&Arc::new(service.clone())], &[], site, None);
    let Found::Front(front) = table.get(service.cluster_ips[0], TCP, 80) else { panic!("no front") };
    let backends = front.port.backends(ip("10.0.0.1"));
    let mut last = Vec::new();
    for flow in 0..2_000_u64 {
        let [hash] = crate::flow::hash::spread(flow);
        match backends.pick(scope, hash, None) {
            Pick::Backend(backend) => {
                let IpAddr::V4(v4) = backend.address else { panic!() };
                last.push(v4.octets()[3]);
            }
            nobody => return Err(nobody),
        }
    }
    last.sort_unstable();
    last.dedup();
    Ok(last)
}

#[test]
fn a_service_is_found_by_each_of_its_addresses() {
    let web = Service {
        load_balancer_ips: vec![ip("192.168.50.100")],
        external_ips: vec![ip("203.0.113.7")],
        ports: vec![
            port("http", ServiceProtocol::Tcp, 80, Some(30080)),
            port("dns", ServiceProtocol::Udp, 53, None),
        ],
        ..service("shop/web", "10.96.0.10", vec![endpoint(1)])
    };
    let table = table(&[Arc::new(web), Arc::new(service("shop/db", "fd00:96::1", vec![]))], None);
    assert_eq!(front(&table, "10.96.0.10", TCP, 80), Some(("shop/web", Kind::Cluster)));
    assert_eq!(front(&table, "10.96.0.10", UDP, 53), Some(("shop/web", Kind::Cluster)));
    assert_eq!(front(&table, "192.168.50.100", TCP, 80), Some(("shop/web", Kind::LoadBalancer)));
    assert_eq!(front(&table, "203.0.113.7", TCP, 80), Some(("shop/web", Kind::External)));
    assert_eq!(front(&table, "192.168.50.2", TCP, 30080), Some(("shop/web", Kind::NodePort)));
    assert_eq!(front(&table, "fd00:96::1", TCP, 80), Some(("shop/db", Kind::Cluster)));
    // Node ports are the node's alone: not those of other hosts, nor of services.
    assert_eq!(front(&table, "192.168.50.3", TCP, 30080), None);
    assert_eq!(front(&table, "192.168.50.2", UDP, 30080), None);
    assert!(matches!(table.get(ip("10.96.0.10"), TCP, 30080), Found::Address(_)));
    assert!(matches!(table.get(ip("10.96.0.10"), UDP, 80), Found::Address(_)));
    assert!(
        matches!(table.get(ip("203.0.113.7"), TCP, 81), Found::Nothing),
        "it may be somebody else's, too"
    );
    assert!(matches!(table.get(ip("::ffff:10.96.0.11"), TCP, 80), Found::Nothing));
    assert!(
        table.concerns(ip("203.0.113.7"))
            && !table.has(ip("203.0.113.7"))
            && table.concerns(ip("192.168.50.2"))
    );
}

#[test]
fn those_on_their_way_out_serve_when_nobody_else_does() {
    let state = |last: u8, ready: bool, serving: bool, terminating: bool| ServiceEndpoint {
        ready,
        serving,
        terminating,
        ..endpoint(last)
    };
    let of = |endpoints: Vec<ServiceEndpoint>| {
        picked(&service("a/b", "10.96.0.1", endpoints), &Site::default(), Scope::Cluster)
    };
    let leaving =
        || vec![state(1, false, true, true), state(2, false, false, true), state(3, false, true, false)];
    assert_eq!(of(leaving()), Ok(vec![1]));
    assert_eq!(of([leaving(), vec![state(4, true, true, false)]].concat()), Ok(vec![4]));
    assert_eq!(of(vec![state(2, false, false, true), state(3, false, true, false)]), Err(Pick::Nobody));
    assert_eq!(of(vec![]), Err(Pick::Nobody));
    assert_eq!(of(vec![ServiceEndpoint { weight: 0, ..endpoint(1) }, endpoint(2)]), Ok(vec![2]));
}

#[test]
fn local_is_this_node_and_hints_are_heeded_when_all_have_them() {
    let on = |last: u8, node: &str, zones: &[&str]| ServiceEndpoint {
        node: Some(node.to_owned()),
        zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
        ..endpoint(last)
    };
    let site = Site { node: Some("a".into()), zone: Some("z1".into()), stations: [ip("10.16.0.9")].into() };
    let of = |endpoints: Vec<ServiceEndpoint>, scope: Scope| {
        let local = TrafficPolicy::Local;
        let service = Service { internal_traffic_policy: local, ..service("a/b", "10.96.0.1", endpoints) };
        picked(&service, &site, scope)
    };
    let spread = || vec![on(1, "a", &["z1"]), on(2, "b", &["z1", "z2"]), on(3, "b", &["z2"])];
    assert_eq!(of(spread(), Scope::Local), Ok(vec![1]));
    assert_eq!(of(spread(), Scope::Cluster), Ok(vec![1, 2]));
    assert_eq!(of([spread(), vec![on(4, "b", &[])]].concat(), Scope::Cluster), Ok(vec![1, 2, 3, 4]));
    assert_eq!(of(vec![on(3, "b", &["z2"])], Scope::Cluster), Ok(vec![3]), "none is for this zone: all are");
    assert_eq!(of(vec![on(3, "b", &[])], Scope::Local), Err(Pick::NoneHere));
    // Without a node's name, it is here when a station of ours has the address.
    assert_eq!(of(vec![endpoint(9), endpoint(8)], Scope::Local), Ok(vec![9]));
}

#[test]
fn all_nodes_pick_alike_and_a_client_stays() {
    let all: Vec<_> = (1..=10).map(endpoint).collect();
    let mut turned = all.clone();
    turned.reverse();
    let [one, other] =
        [all, turned].map(|endpoints| table(&[Arc::new(service("a/b", "10.96.0.1", endpoints))], None));
    let backends = |table: &Services| -> Backends {
        let Found::Front(front) = table.get(ip("10.96.0.1"), TCP, 80) else { panic!() };
        front.port.backends(ip("10.0.0.1")).clone()
    };
    let (one, other) = (backends(&one), backends(&other));
    for flow in 0..1_000_u64 {
        let [hash] = crate::flow::hash::spread(flow);
        assert_eq!(one.pick(Scope::Cluster, hash, None), other.pick(Scope::Cluster, hash, None));
    }
    let held = one.get(ip("10.16.0.7"), 8080).unwrap();
    assert_eq!(one.pick(Scope::Cluster, 5, Some(held.id as u32)), Pick::Backend(held));
    assert_ne!(
        one.pick(Scope::Cluster, 5, Some(1)),
        Pick::Nobody,
        "who is gone is nobody's backend any more"
    );
}

#[test]
fn what_is_the_same_is_shared() {
    let services: Vec<_> = (0..10_u8)
        .map(|number| {
            Arc::new(service(
                &format!("a/s{number}"),
                &format!("10.96.0.{number}"),
                vec![endpoint(1), endpoint(2)],
            ))
        })
        .collect();
    let first = table(&services, None);
    let mut changed = services.clone();
    Arc::make_mut(&mut changed[3]).endpoints.push(endpoint(3));
    let second = table(&changed, Some(&first));
    assert!(second.stands_like(&first));
    assert_eq!(first.differing(&second).collect::<Vec<_>>(), [3]);
    // An equal service that was read anew is the same one, too.
    let read: Vec<_> = changed.iter().map(|service| Arc::new(Service::clone(service))).collect();
    let third = table(&read, Some(&second));
    assert!(third.stands_like(&second) && second.differing(&third).next().is_none());
    // One in front moves the numbers of all, and keeps their rows.
    let mut more = vec![Arc::new(service("a/first", "10.96.1.1", vec![]))];
    more.extend(read);
    let fourth = table(&more, Some(&third));
    assert!(!fourth.stands_like(&third));
    assert!(Arc::ptr_eq(&fourth.rows[4], &third.rows[3]));
    // What an endpoint says of itself, but who gets connections is the same: the table of picks is shared.
    let mut marked = more.clone();
    Arc::make_mut(&mut marked[4]).endpoints[0].serving = true;
    Arc::make_mut(&mut marked[4]).endpoints[0].slice = Some("s".into());
    let fifth = table(&marked, Some(&fourth));
    assert!(!Arc::ptr_eq(&fifth.rows[4], &fourth.rows[4]));
    assert!(Arc::ptr_eq(
        fifth.rows[4].ports()[0].families()[0].maglev(),
        fourth.rows[4].ports()[0].families()[0].maglev()
    ));
}

#[test]
fn a_connection_is_kept_while_its_endpoint_is_there_in_whatever_state() {
    let leaving = ServiceEndpoint { ready: false, terminating: true, ..endpoint(2) };
    let table = table(&[Arc::new(service("a/b", "10.96.0.1", vec![endpoint(1), leaving]))], None);
    let keeps = |to: &str, port: u16, backend: (&str, u16)| {
        table.keeps(ip(to), TCP, port, (ip(backend.0), backend.1))
    };
    assert!(keeps("10.96.0.1", 80, ("10.16.0.1", 8080)) && keeps("10.96.0.1", 80, ("10.16.0.2", 8080)));
    assert!(!keeps("10.96.0.1", 80, ("10.16.0.3", 8080)) && !keeps("10.96.0.1", 80, ("10.16.0.1", 8081)));
    assert!(!keeps("10.96.0.1", 81, ("10.16.0.1", 8080)) && !keeps("10.96.0.2", 80, ("10.16.0.1", 8080)));
}

#[test]
fn source_ranges_are_for_load_balancers() {
    let ranges = ["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/30", "fd00::/16"];
    let web = Service {
        source_ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        ..service("a/b", "10.96.0.1", vec![])
    };
    let table = table(&[Arc::new(web)], None);
    let row = table.iter().next().unwrap();
    for (source, admitted) in [
        ("10.1.2.3", true),
        ("10.255.0.1", true),
        ("192.168.0.3", true),
        ("192.168.0.4", false),
        ("9.255.255.255", false),
        ("11.0.0.0", false),
        ("fd00:1::1", true),
        ("fe00::1", false),
    ] {
        assert_eq!(row.admits(Kind::LoadBalancer, ip(source)), admitted, "{source}");
        assert!(row.admits(Kind::Cluster, ip(source)) && row.admits(Kind::NodePort, ip(source)));
    }
}

proptest! {
    /// The incremental table is the one that is built anew, whatever changed.
    #[test]
    fn changed_tables_are_those_built_anew(
        steps in prop::collection::vec((0_u8..6, 0_u8..6, any::<bool>(), any::<bool>()), 1..30),
    ) {
        let mut services: Vec<Arc<Service>> = Vec::new();
        let mut before: Option<Services> = None;
        for (number, last, ready, whole) in steps {
            let name = format!("a/s{number}");
            let at = services.iter().position(|service| service.name.as_str() == name);
            match at {
                Some(at) if whole => drop(services.remove(at)),
                Some(at) => {
                    let service = Arc::make_mut(&mut services[at]);
                    match service.endpoints.iter().position(|it| it.address == endpoint(last).address) {
                        Some(known) if ready => service.endpoints[known].ready ^= true,
                        Some(known) => drop(service.endpoints.remove(known)),
                        None => service.endpoints.push(endpoint(last)),
                    }
                }
                None => services.push(Arc::new(service(&name, &format!("10.96.0.{number}"), vec![]))),
            }
            let next = table(&services, before.as_ref());
            let anew = table(&services, None);
            prop_assert_eq!(next.len(), anew.len());
            for number in 0..6_u8 {
                let address = IpAddr::from([10, 96, 0, number]);
                match (next.get(address, TCP, 80), anew.get(address, TCP, 80)) {
                    (Found::Front(one), Found::Front(other)) => {
                        prop_assert_eq!(one.row.service(), other.row.service());
                        for hash in (0..64_u64).map(|flow| flow << 58) {
                            let pick = |front: &Front<'_>| front.port.backends(address).pick(Scope::Cluster, hash, None);
                            prop_assert_eq!(pick(&one), pick(&other));
                        }
                    }
                    (Found::Nothing, Found::Nothing) => {}
                    (one, other) => prop_assert!(false, "{one:?} or {other:?}"),
                }
            }
            before = Some(next);
        }
    }
}
