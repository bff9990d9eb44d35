//! Random namespaces, pods and policies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use shunt_config::{
    AdminAction, AdminPolicy, AdminRule, Cluster, Expression, IpBlock, Labels, NamedPort, Namespace,
    Operator, Pod, Policy, PolicyPeer, PolicyPort, PortRef, Protocol, Refusal, Rule, Selector, Subject, Tier,
};

const NAMES: [&str; 3] = ["x", "y", "z"];
const KEYS: [&str; 3] = ["app", "example.com/tier", "a.b_c-d"];
const VALUES: [&str; 3] = ["web", "", "1.0"];

/// Any valid set of objects: the n-th of a sort has a name and an address that no other has.
pub(crate) fn cluster() -> impl Strategy<Value = Cluster> {
    let namespaces = vec(labels(), 0..3);
    let pods = vec((select(&NAMES[..]), labels(), any::<(bool, bool, bool)>(), vec(protocol(), 0..3)), 0..5);
    let policies = vec(policy(), 0..4);
    let admin = vec(admin(), 0..3);
    (namespaces, pods, policies, admin).prop_map(|(namespaces, pods, policies, admin)| Cluster {
        namespaces: namespaces
            .into_iter()
            .zip(NAMES)
            .map(|(labels, name)| Namespace { name: name.to_owned(), labels })
            .collect(),
        pods: pods.into_iter().enumerate().map(|(number, parts)| pod(number, parts).into()).collect(),
        policies: policies
            .into_iter()
            .enumerate()
            .map(|(number, policy)| Policy { name: format!("p{number}"), ..policy }.into())
            .collect(),
        admin_policies: admin
            .into_iter()
            .enumerate()
            .map(|(number, policy)| AdminPolicy { name: format!("a{number}"), ..policy })
            .collect(),
    })
}

type PodParts = (&'static str, Labels, (bool, bool, bool), Vec<Protocol>);

fn pod(number: usize, (namespace, labels, (v4, v6, host), ports): PodParts) -> Pod {
    let number16 = number as u16;
    let addresses = [
        v4.then_some(IpAddr::V4(Ipv4Addr::new(10, 0, 1, number as u8))),
        v6.then_some(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, number16))),
    ];
    let ports = ports.into_iter().enumerate().map(|(i, protocol)| NamedPort {
        name: format!("port-{i}"),
        port: 1 + i as u16 * 1_000,
        protocol,
    });
    Pod {
        namespace: namespace.to_owned(),
        name: format!("pod-{number}"),
        labels,
        addresses: addresses.into_iter().flatten().collect(),
        ports: ports.collect(),
        node: host.then(|| format!("node-{number}")),
        host_network: host,
    }
}

fn labels() -> impl Strategy<Value = Labels> {
    vec((select(&KEYS[..]), select(&VALUES[..])), 0..3).prop_map(|labels| labels.into_iter().collect())
}

fn selector() -> impl Strategy<Value = Selector> {
    let operators = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];
    let expression = (select(&KEYS[..]), select(operators.to_vec()), vec(select(&VALUES[..]), 1..3));
    let expression = expression.prop_map(|(key, operator, values)| Expression {
        key: key.to_owned(),
        operator,
        values: match operator {
            Operator::In | Operator::NotIn => values.into_iter().map(str::to_owned).collect(),
            Operator::Exists | Operator::DoesNotExist => Vec::new(),
        },
    });
    (labels(), vec(expression, 0..2))
        .prop_map(|(match_labels, match_expressions)| Selector { match_labels, match_expressions })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(Protocol::ALL.to_vec())
}

/// `home` tells whether pods of the policy's own namespace may be meant.
fn peer(home: bool) -> impl Strategy<Value = PolicyPeer> {
    let pods = (option::of(selector()), option::of(selector())).prop_map(move |(namespaces, pods)| {
        let needed = !home || pods.is_none();
        PolicyPeer::Pods {
            namespace_selector: namespaces.or_else(|| needed.then(Selector::default)),
            pod_selector: pods,
        }
    });
    let block =
        select(vec![("10.0.0.0/8", "10.1.0.0/16"), ("fd00::/16", "fd00:1::/32"), ("0.0.0.0/0", "1.0.0.0/8")]);
    let block = (block, any::<bool>()).prop_map(|((cidr, hole), holed)| PolicyPeer::Block {
        ip_block: IpBlock {
            cidr: cidr.parse().unwrap(),
            except: holed.then(|| hole.parse().unwrap()).into_iter().collect(),
        },
    });
    prop_oneof![pods, block]
}

fn port() -> impl Strategy<Value = PolicyPort> {
    let number = (1u16..=65_535).prop_flat_map(|first| (Just(first), option::of(first..=65_535)));
    let number = number.prop_map(|(first, last)| (Some(PortRef::Number(first)), last));
    let name = Just((Some(PortRef::Name("port-1".to_owned())), None));
    (protocol(), prop_oneof![number, name, Just((None, None))])
        .prop_map(|(protocol, (port, end_port))| PolicyPort { protocol, port, end_port })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    select(vec![Refusal::Drop, Refusal::Reject])
}

fn policy() -> impl Strategy<Value = Policy> {
    let rule = || (vec(peer(true), 0..3), vec(port(), 0..3)).prop_map(|(peers, ports)| Rule { peers, ports });
    let rules = (vec(rule(), 0..3), vec(rule(), 0..3));
    (select(&NAMES[..]), selector(), rules, 1u8..4, refusal()).prop_map(
        |(namespace, pod_selector, (ingress, egress), types, action)| {
            let (isolates_ingress, isolates_egress) = (types & 1 != 0, types & 2 != 0);
            Policy {
                namespace: namespace.to_owned(),
                name: String::new(),
                pod_selector,
                isolates_ingress,
                isolates_egress,
                // Rules in a direction that is not isolated are a mistake.
                ingress: if isolates_ingress { ingress } else { Vec::new() },
                egress: if isolates_egress { egress } else { Vec::new() },
                action,
            }
        },
    )
}

fn admin() -> impl Strategy<Value = AdminPolicy> {
    let rule = || {
        let actions = select(vec![AdminAction::Allow, AdminAction::Deny, AdminAction::Pass]);
        ("[a-z ]{0,3}", actions, vec(peer(false), 0..3), vec(port(), 0..3))
            .prop_map(|(name, action, peers, ports)| AdminRule { name, action, peers, ports })
    };
    let subject = (selector(), option::of(selector()))
        .prop_map(|(namespace_selector, pod_selector)| Subject { namespace_selector, pod_selector });
    // One baseline at most, so here none: tests by hand have one.
    (0u16..=1_000, subject, vec(rule(), 0..3), vec(rule(), 0..3), refusal()).prop_map(
        |(priority, subject, ingress, egress, action)| AdminPolicy {
            name: String::new(),
            tier: Tier::Admin(priority),
            subject,
            ingress,
            egress,
            action,
        },
    )
}
