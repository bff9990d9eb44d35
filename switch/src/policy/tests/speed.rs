//! How long it takes to resolve a large cluster, and one pod, policy and namespace of it. The bars of the issue are for an optimised build; here,
//! without optimisation, the bounds say that nothing walks all pods or all policies for one pod.

use std::sync::Arc;
use std::time::Instant;

use shunt_config::{
    Cluster, Labels, Namespace, Pod, Policy, PolicyPeer, PolicyPort, PortRef, Protocol, Refusal, Rule,
    Selector,
};

use super::super::Resolver;

/// `policies` policies over `pods` pods in 50 namespaces: each isolates an application from all but two others.
pub(crate) fn large(pods: usize, policies: usize) -> Arc<Cluster> {
    let app = |number: usize| format!("app-{}", number % 200);
    let labelled = |key: &str, value: &str| [(key, value)].into_iter().collect::<Labels>();
    let selector = |value: &str| Selector { match_labels: labelled("app", value), ..Selector::default() };
    let namespace = |number: usize| format!("ns-{}", number % 50);
    Arc::new(Cluster {
        namespaces: (0..50)
            .map(|n| Namespace { name: namespace(n), labels: labelled("team", &app(n)) })
            .collect(),
        pods: (0..pods)
            .map(|n| {
                let mut labels = labelled("app", &app(n / 50));
                labels.insert("pod-template-hash", &format!("{n:x}"));
                labels.insert("version", "v1");
                Arc::new(Pod {
                    namespace: namespace(n),
                    name: format!("pod-{n}"),
                    labels,
                    addresses: vec![std::net::Ipv4Addr::from_bits(0x0a10_0000 + n as u32).into()],
                    ports: Vec::new(),
                    node: None,
                    host_network: false,
                })
            })
            .collect(),
        policies: (0..policies)
            .map(|n| {
                let near =
                    PolicyPeer::Pods { namespace_selector: None, pod_selector: Some(selector(&app(n + 1))) };
                let far = PolicyPeer::Pods {
                    namespace_selector: Some(Selector {
                        match_labels: labelled("team", &app(n)),
                        ..Selector::default()
                    }),
                    pod_selector: Some(selector(&app(n + 2))),
                };
                let port =
                    PolicyPort { protocol: Protocol::Tcp, port: Some(PortRef::Number(80)), end_port: None };
                Arc::new(Policy {
                    namespace: namespace(n),
                    name: format!("policy-{n}"),
                    pod_selector: selector(&app(n / 50)),
                    isolates_ingress: true,
                    isolates_egress: false,
                    ingress: vec![Rule { peers: vec![near, far], ports: vec![port] }],
                    egress: Vec::new(),
                    action: Refusal::Drop,
                })
            })
            .collect(),
        admin_policies: Vec::new(),
    })
}

#[test]
fn one_pod_of_ten_thousand_is_resolved_alone() {
    let cluster = large(10_000, 1_000);
    let mut resolver = Resolver::default();
    let start = Instant::now();
    resolver.follow(&cluster);
    let table = resolver.table().unwrap();
    let whole = start.elapsed();
    let mut moved = Pod::clone(&cluster.pods[5_000]);
    moved.labels.insert("app", "app-7");
    let mut changed = cluster.clone();
    Arc::make_mut(&mut changed).pods[5_000] = Arc::new(moved.clone());
    let start = Instant::now();
    resolver.follow(&changed);
    let next = resolver.table().unwrap();
    let one = start.elapsed();
    println!("10,000 pods, 1,000 policies: whole {whole:?}, one pod {one:?}, {} rows", next.len());
    let address = moved.addresses[0];
    assert_ne!(table.get(address), next.get(address), "it has other labels now");
    assert_eq!(table.get(cluster.pods[1].addresses[0]), next.get(cluster.pods[1].addresses[0]));
    assert!(one * 8 < whole, "one pod took {one:?}, all of them {whole:?}");

    let mut other = Policy::clone(&changed.policies[500]);
    other.ingress.clear();
    let mut with_policy = changed.clone();
    Arc::make_mut(&mut with_policy).policies[500] = Arc::new(other);
    let mut with_label = with_policy.clone();
    Arc::make_mut(&mut with_label).namespaces[7].labels.insert("team", "app-9");
    for (what, next) in [("policy", &with_policy), ("namespace", &with_label)] {
        let before = resolver.table().unwrap();
        let start = Instant::now();
        resolver.follow(next);
        let after = resolver.table().unwrap();
        let one = start.elapsed();
        let mut differing = 0;
        before.compare(&after, |_| differing += 1);
        println!("one {what}: {one:?}, {differing} pods are something else");
        assert!((1..=300).contains(&differing), "{what}: {differing}");
        assert!(one * 4 < whole, "one {what} took {one:?}, all of them {whole:?}");
    }
}
