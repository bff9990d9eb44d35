//! Mistakes between pods and policies: two of one name, an address that two pods have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::cluster::admin::Tier;
use crate::cluster::object::Pod;
use crate::error::Sink;

use super::claims::Claims;
use crate::read::SECTIONS_MAX;

/// True when a cluster in which nothing was there twice is still such a one, now that `new` are among its pods, each once, and
/// whatever else has a name has one of its own. Cost: a look at the addresses of all pods.
pub(crate) fn fits(cluster: &Cluster, new: &[Arc<Pod>]) -> bool {
    let mut owners: HashMap<IpAddr, &Pod> = HashMap::new();
    for pod in new.iter().filter(|pod| !pod.host_network) {
        for address in &pod.addresses {
            if owners.insert(*address, pod).is_some() {
                return false;
            }
        }
    }
    let is = |owner: &Pod, pod: &Pod| owner.namespace == pod.namespace && owner.name == pod.name;
    let takes = |pod: &Arc<Pod>| {
        let owned = |address: &IpAddr| owners.get(address).is_some_and(|owner| !is(owner, pod));
        !pod.host_network && pod.addresses.iter().any(owned)
    };
    let Cluster { namespaces, pods, policies, admin_policies } = cluster;
    let most = [namespaces.len(), pods.len(), policies.len(), admin_policies.len()].into_iter().max();
    let baselines = admin_policies.iter().filter(|policy| policy.tier == Tier::Baseline).count();
    most.is_none_or(|most| most <= SECTIONS_MAX)
        && baselines <= 1
        && (owners.is_empty() || !pods.iter().any(takes))
}

/// Reports everything that is there twice. Of two the later is reported. `paths` gives the place of an object by section
/// and index.
pub(crate) fn all(cluster: &Cluster, paths: &dyn Fn(&str, usize) -> String, sink: &mut Sink) {
    let mut names = Claims::new();
    for (i, namespace) in cluster.namespaces.iter().enumerate() {
        let path = paths("namespace", i);
        if let Some(first) = names.claim(namespace.name.as_str(), || path.clone()) {
            let message =
                format!("{:?} is already the name of {first}; give each namespace its own", namespace.name);
            sink.report(&format!("{path}.name"), message);
        }
    }
    let mut names = Claims::new();
    let mut addresses = Claims::new();
    for (i, pod) in cluster.pods.iter().enumerate() {
        let path = paths("pod", i);
        if let Some(first) = names.claim((&pod.namespace, &pod.name), || path.clone()) {
            let message = format!("{} is there already, as {first}; remove one of the two", pod.full_name());
            sink.report(&format!("{path}.name"), message);
        }
        // All pods of a node's own network have its addresses.
        for (j, address) in pod.addresses.iter().enumerate().filter(|_| !pod.host_network) {
            if let Some(first) = addresses.claim(address, || format!("pod {}", pod.full_name())) {
                let message = format!("{address} is an address of {first} already; give each pod its own");
                sink.report(&format!("{path}.addresses[{j}]"), message);
            }
        }
    }
    let mut names = Claims::new();
    for (i, policy) in cluster.policies.iter().enumerate() {
        let path = paths("policy", i);
        if let Some(first) = names.claim((&policy.namespace, &policy.name), || path.clone()) {
            let message =
                format!("{} is there already, as {first}; remove one of the two", policy.full_name());
            sink.report(&format!("{path}.name"), message);
        }
    }
    let mut names = Claims::new();
    let mut baseline = Claims::new();
    for (i, policy) in cluster.admin_policies.iter().enumerate() {
        let path = paths("admin_policy", i);
        if let Some(first) = names.claim(policy.name.as_str(), || path.clone()) {
            let message =
                format!("{:?} is already the name of {first}; give each admin policy its own", policy.name);
            sink.report(&format!("{path}.name"), message);
        }
        if policy.tier == Tier::Baseline
            && let Some(first) = baseline.claim((), || path.clone())
        {
            let message = format!("{first} is the baseline already; there is one, put the rules into it");
            sink.report(&format!("{path}.tier"), message);
        }
    }
}
