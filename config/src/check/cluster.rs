//! Mistakes between pods and policies: two of one name, an address that two pods have.

use crate::cluster::Cluster;
use crate::cluster::admin::Tier;
use crate::error::Sink;

use super::claims::Claims;

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
