//! The specification, naively: for each packet all policies are gone through, in the words of the API
//! (networking.k8s.io/v1 NetworkPolicySpec; KEP-2091 for admin policies). No table, no sets, no numbers.

use std::net::IpAddr;

use shunt_config::{
    AdminAction, AdminPolicy, Cluster, IpNet, Labels, NAMESPACE_NAME_LABEL, Pod, PolicyPeer, PolicyPort,
    PortRef, Selector, Tier,
};

/// The first packet of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// IANA protocol number.
    pub(crate) protocol: u8,
    pub(crate) port: Option<u16>,
}

/// The pod that has an address of its own.
fn pod_at(cluster: &Cluster, address: IpAddr) -> Option<&Pod> {
    let mut pods = cluster.pods.iter().map(|pod| &**pod);
    pods.find(|pod| !pod.host_network && pod.addresses.contains(&address))
}

fn namespace_labels(cluster: &Cluster, name: &str) -> Labels {
    let known = cluster.namespaces.iter().find(|namespace| namespace.name == name);
    let mut labels = known.map(|namespace| namespace.labels.clone()).unwrap_or_default();
    labels.insert(NAMESPACE_NAME_LABEL, name);
    labels
}

/// Whether the source may send the packet, and the destination receive it.
pub(crate) fn judged(cluster: &Cluster, packet: &Packet) -> (bool, bool) {
    let sends = pod_at(cluster, packet.source).is_none_or(|pod| may(cluster, pod, false, packet));
    let receives = pod_at(cluster, packet.destination).is_none_or(|pod| may(cluster, pod, true, packet));
    (sends, receives)
}

/// True when some policy is about what the pod at `address` sends or receives.
pub(crate) fn is_subject(cluster: &Cluster, address: IpAddr) -> bool {
    pod_at(cluster, address).is_some_and(|pod| {
        let isolated = |policy: &&std::sync::Arc<shunt_config::Policy>| {
            policy.namespace == pod.namespace
                && policy.pod_selector.matches(&pod.labels)
                && (policy.isolates_ingress || policy.isolates_egress)
        };
        let has_rules = |policy: &&AdminPolicy| !(policy.ingress.is_empty() && policy.egress.is_empty());
        cluster.policies.iter().any(|policy| isolated(&policy))
            || cluster
                .admin_policies
                .iter()
                .any(|policy| is_about(cluster, policy, pod) && has_rules(&policy))
    })
}

fn is_about(cluster: &Cluster, policy: &AdminPolicy, pod: &Pod) -> bool {
    selects(cluster, Some(&policy.subject.namespace_selector), policy.subject.pod_selector.as_ref(), "", pod)
}

fn may(cluster: &Cluster, pod: &Pod, ingress: bool, packet: &Packet) -> bool {
    let peer = if ingress { packet.source } else { packet.destination };
    let mut admin: Vec<_> = cluster.admin_policies.iter().filter(|it| is_about(cluster, it, pod)).collect();
    admin.sort_by_key(|policy| (policy.tier, policy.name.clone()));
    let (above, below): (Vec<_>, Vec<_>) =
        admin.into_iter().partition(|policy| policy.tier != Tier::Baseline);
    let first = |policies: &[&AdminPolicy]| {
        for policy in policies {
            for rule in if ingress { &policy.ingress } else { &policy.egress } {
                if fits(cluster, &rule.peers, &rule.ports, "", peer, packet) {
                    return Some(rule.action);
                }
            }
        }
        None
    };
    match first(&above) {
        Some(AdminAction::Allow) => return true,
        Some(AdminAction::Deny) => return false,
        Some(AdminAction::Pass) | None => {}
    }
    let mut isolated = false;
    for policy in cluster.policies.iter().filter(|policy| policy.namespace == pod.namespace) {
        let isolates = if ingress { policy.isolates_ingress } else { policy.isolates_egress };
        if !isolates || !policy.pod_selector.matches(&pod.labels) {
            continue;
        }
        isolated = true;
        for rule in if ingress { &policy.ingress } else { &policy.egress } {
            if fits(cluster, &rule.peers, &rule.ports, &policy.namespace, peer, packet) {
                return true;
            }
        }
    }
    if isolated {
        return false;
    }
    first(&below) != Some(AdminAction::Deny)
}

fn fits(
    cluster: &Cluster,
    peers: &[PolicyPeer],
    ports: &[PolicyPort],
    home: &str,
    peer: IpAddr,
    packet: &Packet,
) -> bool {
    let with = peers.is_empty() || peers.iter().any(|it| is_peer(cluster, it, home, peer));
    let at = ports.is_empty() || ports.iter().any(|it| is_port(cluster, it, packet));
    with && at
}

fn is_peer(cluster: &Cluster, peer: &PolicyPeer, home: &str, address: IpAddr) -> bool {
    match peer {
        PolicyPeer::Block { ip_block } => {
            let inside = |net: &IpNet| net.contains(&address);
            inside(&ip_block.cidr) && !ip_block.except.iter().any(inside)
        }
        PolicyPeer::Pods { namespace_selector, pod_selector } => {
            pod_at(cluster, address).is_some_and(|pod| {
                selects(cluster, namespace_selector.as_ref(), pod_selector.as_ref(), home, pod)
            })
        }
    }
}

fn selects(
    cluster: &Cluster,
    namespaces: Option<&Selector>,
    pods: Option<&Selector>,
    home: &str,
    pod: &Pod,
) -> bool {
    let there = match namespaces {
        Some(selector) => selector.matches(&namespace_labels(cluster, &pod.namespace)),
        None => pod.namespace == home,
    };
    there && pods.is_none_or(|selector| selector.matches(&pod.labels))
}

fn is_port(cluster: &Cluster, port: &PolicyPort, packet: &Packet) -> bool {
    if port.protocol.number() != packet.protocol {
        return false;
    }
    match (&port.port, packet.port) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(PortRef::Number(first)), Some(asked)) => {
            (*first..=port.end_port.unwrap_or(*first)).contains(&asked)
        }
        (Some(PortRef::Name(name)), Some(asked)) => pod_at(cluster, packet.destination).is_some_and(|pod| {
            pod.ports.iter().any(|it| it.name == *name && it.protocol == port.protocol && it.port == asked)
        }),
    }
}
