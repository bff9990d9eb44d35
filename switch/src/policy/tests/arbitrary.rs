//! Random clusters: pods a, b, c in namespaces x, y, z, as in the upstream tests, with labels that change, and policies over
//! them that often fit.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use shunt_config::{
    AdminAction, AdminPolicy, AdminRule, Cluster, Expression, IpBlock, Labels, NAMESPACE_NAME_LABEL,
    NamedPort, Namespace, Operator, Pod, Policy, PolicyPeer, PolicyPort, PortRef, Protocol, Refusal, Rule,
    Selector, Subject, Tier,
};

const NAMESPACES: [&str; 3] = ["x", "y", "z"];
const PODS: [&str; 3] = ["a", "b", "c"];

/// The addresses of the pods, and of two ends outside, in both families.
pub(crate) const ADDRESSES: [&str; 22] = [
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.3",
    "10.0.2.1",
    "10.0.2.2",
    "10.0.2.3",
    "10.0.3.1",
    "10.0.3.2",
    "10.0.3.3",
    "192.0.2.1",
    "198.51.100.1",
    "fd00::1:1",
    "fd00::1:2",
    "fd00::1:3",
    "fd00::2:1",
    "fd00::2:2",
    "fd00::2:3",
    "fd00::3:1",
    "fd00::3:2",
    "fd00::3:3",
    "2001:db8::1",
    "2001:db8:1::1",
];

/// All of a cluster.
pub(crate) fn cluster() -> impl Strategy<Value = Arc<Cluster>> {
    let namespaces = vec(labels(&[("team", "one"), ("team", "two"), ("env", "test")]), 0..=3);
    let policies = vec(policy(), 0..5);
    let admin = (vec(admin(), 0..3), option::weighted(0.3, admin()));
    (namespaces, pods(), policies, admin).prop_map(|(namespaces, pods, policies, (admin, baseline))| {
        let namespaces = namespaces.into_iter().zip(NAMESPACES);
        let named = |(number, policy)| Policy { name: format!("p{number}"), ..policy }.into();
        let baseline = baseline.map(|mut policy| {
            policy.tier = Tier::Baseline;
            for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
                if rule.action == AdminAction::Pass {
                    rule.action = AdminAction::Deny;
                }
            }
            policy
        });
        let admin = admin.into_iter().chain(baseline).enumerate();
        Arc::new(Cluster {
            namespaces: namespaces.map(|(labels, name)| Namespace { name: name.into(), labels }).collect(),
            pods,
            policies: policies.into_iter().enumerate().map(named).collect(),
            admin_policies: admin
                .map(|(number, it)| AdminPolicy { name: format!("a{number}"), ..it })
                .collect(),
        })
    })
}

/// The pods, most of them there.
pub(crate) fn pods() -> impl Strategy<Value = Vec<Arc<Pod>>> {
    let one = (
        prop::bool::weighted(0.9),
        labels(&[("app", "web"), ("app", "db"), ("tier", "front")]),
        vec((select(&["http", "dns"][..]), protocol(), select(&[80_u16, 81][..])), 0..3),
        prop::bool::weighted(0.1),
    );
    vec(one, 9).prop_map(|all| {
        let mut pods = Vec::new();
        for (number, (there, mut labels, ports, host_network)) in all.into_iter().enumerate() {
            let (namespace, pod) = (number / 3, number % 3);
            if !there {
                continue;
            }
            labels.insert("pod", PODS[pod]);
            let address = |text: String| text.parse::<IpAddr>().unwrap();
            let ports = ports.into_iter().map(|(name, protocol, port)| NamedPort {
                name: name.to_owned(),
                protocol,
                port,
            });
            pods.push(Arc::new(Pod {
                namespace: NAMESPACES[namespace].into(),
                name: PODS[pod].into(),
                labels,
                addresses: vec![
                    address(format!("10.0.{}.{}", namespace + 1, pod + 1)),
                    address(format!("fd00::{}:{}", namespace + 1, pod + 1)),
                ],
                ports: ports.collect(),
                node: None,
                host_network,
            }));
        }
        pods
    })
}

/// Some of these; of two with one key the last.
fn labels(all: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = Labels> {
    vec(select(all), 0..3).prop_map(|labels| labels.into_iter().collect())
}

fn selector(all: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = Selector> {
    let operators = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];
    let term = (select(all), select(all), select(operators.to_vec())).prop_map(|(one, other, operator)| {
        Expression {
            key: one.0.to_owned(),
            operator,
            values: match operator {
                Operator::In | Operator::NotIn => vec![one.1.to_owned(), other.1.to_owned()],
                Operator::Exists | Operator::DoesNotExist => Vec::new(),
            },
        }
    });
    let labels = vec(select(all), 0..2).prop_map(|labels| labels.into_iter().collect::<Labels>());
    (labels, option::weighted(0.4, term)).prop_map(|(match_labels, term)| Selector {
        match_labels,
        match_expressions: term.into_iter().collect(),
    })
}

fn of_pods() -> impl Strategy<Value = Selector> {
    selector(&[("app", "web"), ("app", "db"), ("tier", "front"), ("pod", "a"), ("pod", "b")])
}

fn of_namespaces() -> impl Strategy<Value = Selector> {
    selector(&[("team", "one"), ("team", "two"), ("env", "test"), (NAMESPACE_NAME_LABEL, "y")])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(&Protocol::ALL[..])
}

fn block() -> impl Strategy<Value = IpBlock> {
    let blocks = [
        ("10.0.0.0/8", &["10.0.1.0/24", "10.0.2.2/32", "10.0.2.0/25"][..]),
        ("0.0.0.0/0", &["10.0.0.0/8", "128.0.0.0/1"]),
        ("192.0.2.1/32", &[]),
        ("fd00::/16", &["fd00::1:0/112", "fd00::2:2/128"]),
        ("::/0", &["fd00::/16", "8000::/1"]),
    ];
    select(blocks.to_vec()).prop_flat_map(|(cidr, holes)| {
        let few = holes.len();
        prop::sample::subsequence(holes.to_vec(), 0..=few).prop_map(move |holes| IpBlock {
            cidr: cidr.parse().unwrap(),
            except: holes.into_iter().map(|hole| hole.parse().unwrap()).collect(),
        })
    })
}

/// `home`: pods of the policy's own namespace may be meant.
fn peer(home: bool) -> impl Strategy<Value = PolicyPeer> {
    let pods = (option::of(of_namespaces()), option::of(of_pods())).prop_map(move |(namespaces, pods)| {
        let needed = !home || pods.is_none();
        PolicyPeer::Pods {
            namespace_selector: namespaces.or_else(|| needed.then(Selector::default)),
            pod_selector: pods,
        }
    });
    prop_oneof![3 => pods, 1 => block().prop_map(|ip_block| PolicyPeer::Block { ip_block })]
}

fn port() -> impl Strategy<Value = PolicyPort> {
    let name = |name: &str| (Some(PortRef::Name(name.to_owned())), None);
    let port = select(vec![
        (Some(PortRef::Number(80)), None),
        (Some(PortRef::Number(81)), None),
        (Some(PortRef::Number(80)), Some(1_000)),
        (Some(PortRef::Number(1)), Some(80)),
        (None, None),
        name("http"),
        name("dns"),
    ]);
    (protocol(), port).prop_map(|(protocol, (port, end_port))| PolicyPort { protocol, port, end_port })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    select(&[Refusal::Drop, Refusal::Reject][..])
}

fn policy() -> impl Strategy<Value = Policy> {
    let rules = || vec((vec(peer(true), 0..3), vec(port(), 0..3)), 0..3);
    (select(&NAMESPACES[..]), of_pods(), rules(), rules(), (1_u8..4, refusal())).prop_map(
        |(namespace, pod_selector, ingress, egress, (types, action))| {
            let rules = |rules: Vec<(Vec<PolicyPeer>, Vec<PolicyPort>)>, isolates: bool| {
                let rules = rules.into_iter().filter(|_| isolates);
                rules.map(|(peers, ports)| Rule { peers, ports }).collect()
            };
            let (isolates_ingress, isolates_egress) = (types & 1 != 0, types & 2 != 0);
            Policy {
                namespace: namespace.into(),
                name: String::new(),
                pod_selector,
                isolates_ingress,
                isolates_egress,
                ingress: rules(ingress, isolates_ingress),
                egress: rules(egress, isolates_egress),
                action,
            }
        },
    )
}

fn admin() -> impl Strategy<Value = AdminPolicy> {
    let actions = || select(&[AdminAction::Allow, AdminAction::Deny, AdminAction::Pass][..]);
    let rules = || {
        vec((actions(), vec(peer(false), 0..3), vec(port(), 0..3)), 0..3).prop_map(|rules| {
            let rule = |(action, peers, ports)| AdminRule { name: String::new(), action, peers, ports };
            rules.into_iter().map(rule).collect::<Vec<_>>()
        })
    };
    (0_u16..3, of_namespaces(), option::of(of_pods()), rules(), rules(), refusal()).prop_map(
        |(priority, namespace_selector, pod_selector, ingress, egress, action)| AdminPolicy {
            name: String::new(),
            tier: Tier::Admin(priority),
            subject: Subject { namespace_selector, pod_selector },
            ingress,
            egress,
            action,
        },
    )
}
