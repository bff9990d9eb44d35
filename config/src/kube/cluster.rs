//! `v1` Namespace and Pod, `networking.k8s.io/v1` NetworkPolicy, `policy.networking.k8s.io/v1alpha1` AdminNetworkPolicy and
//! BaselineAdminNetworkPolicy: what becomes of them in [`crate::Cluster`].
//!
//! NetworkPolicies and selectors are read by the readers of the configuration, whose keys are the API's in another
//! spelling. Of a pod only what tells who it is is looked at: labels, addresses, named ports, node, `hostNetwork`; the rest
//! is no business of a switch. A pod that has ended (`status.phase`) has no address any more, and goes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::Config;
use crate::cluster::admin::{AdminPolicy, AdminRule, Subject, Tier, action};
use crate::cluster::object::{NamedPort, Namespace, Pod, namespace_name, object_name, port_name};
use crate::cluster::peer::{IpBlock, Peer, PolicyPort, PortRef};
use crate::cluster::policy::{self, Policy, Refusal, refusal};
use crate::cluster::selector::{self, Selector};
use crate::error::{Reported, Sink};
use crate::keys::{Key, key};
use crate::protocol::{self, Protocol};
use crate::router::prefix;
use crate::section::Section;
use crate::value;

use super::object::Object;

/// An object of the cluster.
#[derive(Debug)]
pub(super) enum Cluster {
    Namespace(Namespace),
    Pod(Pod),
    /// A pod that has ended.
    Ended(String, String),
    Policy(Policy),
    Admin(AdminPolicy),
}

/// What has a name.
trait Named: Clone + PartialEq {
    /// Namespace and name; of what is in none, an empty one.
    fn key(&self) -> (&str, &str);
}

impl Named for Namespace {
    fn key(&self) -> (&str, &str) {
        ("", &self.name)
    }
}

impl Named for Arc<Pod> {
    fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl Named for Arc<Policy> {
    fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl Named for AdminPolicy {
    fn key(&self) -> (&str, &str) {
        ("", &self.name)
    }
}

/// Puts objects in place of those of their names, or beside the others, in their order: of two with one name the later counts.
/// Gives the pods that are new or changed.
pub(super) fn apply(objects: Vec<Cluster>, config: &mut Config) -> Vec<Arc<Pod>> {
    if objects.is_empty() {
        return Vec::new();
    }
    let (mut namespaces, mut pods, mut policies, mut admin) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ended: HashSet<(String, String)> = HashSet::new();
    for object in objects {
        match object {
            Cluster::Namespace(new) => namespaces.push(new),
            Cluster::Pod(new) => {
                ended.remove(&(new.namespace.clone(), new.name.clone()));
                pods.push(Arc::new(new));
            }
            Cluster::Ended(namespace, name) => {
                pods.retain(|pod: &Arc<Pod>| pod.key() != (&namespace, &name));
                ended.insert((namespace, name));
            }
            Cluster::Policy(new) => policies.push(Arc::new(new)),
            Cluster::Admin(new) => admin.push(new),
        }
    }
    let cluster = Arc::make_mut(&mut config.cluster);
    if !ended.is_empty() {
        cluster.pods.retain(|pod| !ended.contains(&(pod.namespace.clone(), pod.name.clone())));
    }
    put(&mut cluster.namespaces, &namespaces);
    put(&mut cluster.policies, &policies);
    put(&mut cluster.admin_policies, &admin);
    put(&mut cluster.pods, &pods)
}

/// Gives those that were not there, or otherwise.
fn put<T: Named>(all: &mut Vec<T>, new: &[T]) -> Vec<T> {
    if new.is_empty() {
        return Vec::new();
    }
    let mut waiting: HashMap<(&str, &str), (usize, &T)> =
        new.iter().enumerate().map(|(order, it)| (it.key(), (order, it))).collect();
    let mut found = Vec::new();
    for (at, known) in all.iter().enumerate() {
        let Some((_, it)) = waiting.remove(&known.key()) else { continue };
        if it != known {
            found.push((at, it.clone()));
        }
    }
    let mut rest: Vec<(usize, &T)> = waiting.into_values().collect();
    rest.sort_unstable_by_key(|(order, _)| *order);
    let rest: Vec<T> = rest.into_iter().map(|(_, it)| it.clone()).collect();
    for (at, it) in &found {
        all[*at] = it.clone();
    }
    all.extend(rest.iter().cloned());
    found.into_iter().map(|(_, it)| it).chain(rest).collect()
}

/// The object, when it is one of the cluster.
pub(super) fn read(object: &Object<'_>, sink: &mut Sink) -> Option<Result<Cluster, Reported>> {
    let read = match (object.api.as_str(), object.kind.as_str()) {
        ("v1", "Namespace") => namespace(object, sink).map(Cluster::Namespace),
        ("v1", "Pod") => pod(object, sink),
        ("networking.k8s.io/v1", "NetworkPolicy") => network_policy(object, sink).map(Cluster::Policy),
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy") => {
            admin(object, false, sink).map(Cluster::Admin)
        }
        ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy") => {
            admin(object, true, sink).map(Cluster::Admin)
        }
        _ => return None,
    };
    Some(read)
}

/// The kinds, for messages.
pub(super) const TAKEN: &str = "v1 Namespace, v1 Pod, networking.k8s.io/v1 NetworkPolicy, policy.networking.k8s.io/v1alpha1 \
                                AdminNetworkPolicy and BaselineAdminNetworkPolicy";

fn namespace(object: &Object<'_>, sink: &mut Sink) -> Result<Namespace, Reported> {
    let mut metadata = object.section("metadata", METADATA_KEYS, sink);
    let name = metadata.required("name", "\"shop\"", namespace_name);
    let labels = metadata.labels("labels");
    let name = name?;
    let labels = labels?.iter().filter(|(key, _)| *key != super::super::NAMESPACE_NAME_LABEL).collect();
    Ok(Namespace { name, labels })
}

const METADATA_KEYS: &[Key] = &[
    key("name", &[], "string", "required", ""),
    key("namespace", &[], "string", "\"default\"", ""),
    key("labels", &[], "labels", "none", ""),
];

/// Namespace, as given or `default`, and name.
fn names(object: &Object<'_>, sink: &mut Sink) -> Result<(String, String), Reported> {
    let mut metadata = object.section("metadata", METADATA_KEYS, sink);
    let namespace = metadata.or("namespace", "default".to_owned(), namespace_name);
    let name = metadata.required("name", "\"web-0\"", object_name);
    Ok((namespace?, name?))
}

const POD_SPEC_KEYS: &[Key] = &[
    key("containers", &[], "", "", ""),
    key("init_containers", &[], "", "", ""),
    key("host_network", &[], "", "", ""),
    key("node_name", &[], "", "", ""),
];
const CONTAINER_KEYS: &[Key] = &[key("ports", &[], "", "", "")];
const CONTAINER_PORT_KEYS: &[Key] =
    &[key("name", &[], "", "", ""), key("container_port", &[], "", "", ""), key("protocol", &[], "", "", "")];
// In the API's spelling, podIPs and podIP.
const POD_STATUS_KEYS: &[Key] =
    &[key("phase", &[], "", "", ""), key("pod_i_ps", &[], "", "", ""), key("pod_i_p", &[], "", "", "")];
const POD_IP_KEYS: &[Key] = &[key("ip", &[], "", "", "")];

fn pod(object: &Object<'_>, sink: &mut Sink) -> Result<Cluster, Reported> {
    let (namespace, name) = names(object, sink)?;
    let labels = object.section("metadata", METADATA_KEYS, sink).labels("labels");
    let mut spec = object.section("spec", POD_SPEC_KEYS, sink);
    let host_network = spec.or("host_network", false, value::boolean);
    let node = spec.optional("node_name", |raw| value::text(raw).map(str::to_owned));
    let container = |section: &mut Section<'_, '_>| {
        section.tables("ports", CONTAINER_PORT_KEYS, "- name: http", container_port)
    };
    let mut ports = Vec::new();
    for key in ["init_containers", "containers"] {
        for container in spec.tables(key, CONTAINER_KEYS, "- name: web", container)? {
            for port in container.ok_or(Reported)? {
                ports.extend(port.ok_or(Reported)?);
            }
        }
    }
    let mut status = object.section("status", POD_STATUS_KEYS, sink);
    let phase = status.optional("phase", |raw| value::text(raw).map(str::to_owned))?;
    if matches!(phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Ok(Cluster::Ended(namespace, name));
    }
    let one = status.optional("pod_i_p", value::unicast)?;
    let address = |section: &mut Section<'_, '_>| section.required("ip", "10.16.0.2", value::unicast);
    let several = status.tables("pod_i_ps", POD_IP_KEYS, "- ip: 10.16.0.2", address)?;
    let mut addresses = several.into_iter().collect::<Option<Vec<_>>>().ok_or(Reported)?;
    if addresses.is_empty() {
        addresses.extend(one);
    }
    Ok(Cluster::Pod(Pod {
        namespace,
        name,
        labels: labels?,
        addresses,
        ports,
        node: node?,
        host_network: host_network?,
    }))
}

/// A port of a container, when it has a name.
fn container_port(section: &mut Section<'_, '_>) -> Result<Option<NamedPort>, Reported> {
    let name = section.optional("name", port_name)?;
    let port = section.required("container_port", "80", value::integer(1..=65_535))?;
    let protocol = section.or("protocol", Protocol::Tcp, protocol::read)?;
    Ok(name.map(|name| NamedPort { name, port, protocol }))
}

fn network_policy(object: &Object<'_>, sink: &mut Sink) -> Result<Policy, Reported> {
    let names = names(object, sink);
    let action = object.annotation("shunt/action", refusal, sink);
    let mut section = object.section("spec", policy::SPEC_KEYS, sink);
    let spec = policy::spec(&mut section);
    section.refuse_others(None);
    let (namespace, name) = names?;
    Ok(spec?.into_policy(namespace, name, action?.unwrap_or_default()))
}

const ADMIN_KEYS: &[Key] = &[
    key("priority", &[], "", "", ""),
    key("subject", &[], "", "", ""),
    key("ingress", &[], "", "", ""),
    key("egress", &[], "", "", ""),
];
const SUBJECT_KEYS: &[Key] = &[key("namespaces", &[], "", "", ""), key("pods", &[], "", "", "")];
const PODS_KEYS: &[Key] = &[key("namespace_selector", &[], "", "", ""), key("pod_selector", &[], "", "", "")];
const INGRESS_KEYS: &[Key] = &[
    key("name", &[], "", "", ""),
    key("action", &[], "", "", ""),
    key("from", &[], "", "", ""),
    key("ports", &[], "", "", ""),
];
const EGRESS_KEYS: &[Key] = &[
    key("name", &[], "", "", ""),
    key("action", &[], "", "", ""),
    key("to", &[], "", "", ""),
    key("ports", &[], "", "", ""),
];
const PEER_KEYS: &[Key] = &[
    key("namespaces", &[], "", "", ""),
    key("pods", &[], "", "", ""),
    key("networks", &[], "", "", ""),
    key("nodes", &[], "", "", ""),
    key("domain_names", &[], "", "", ""),
];
const PORT_KEYS: &[Key] = &[
    key("port_number", &[], "", "", ""),
    key("port_range", &[], "", "", ""),
    key("named_port", &[], "", "", ""),
];
const NUMBER_KEYS: &[Key] = &[key("protocol", &[], "", "", ""), key("port", &[], "", "", "")];
const RANGE_KEYS: &[Key] =
    &[key("protocol", &[], "", "", ""), key("start", &[], "", "", ""), key("end", &[], "", "", "")];

const SUBJECT: &str = "{ namespaces: {} }";
const RULE: &str = "- action: Deny";

fn admin(object: &Object<'_>, baseline: bool, sink: &mut Sink) -> Result<AdminPolicy, Reported> {
    let name =
        object.section("metadata", METADATA_KEYS, sink).required("name", "\"default\"", object_name)?;
    let refusal = object.annotation("shunt/action", refusal, sink)?.unwrap_or(Refusal::Drop);
    let mut spec = object.section("spec", ADMIN_KEYS, sink);
    let priority = match baseline {
        true => None,
        false => Some(spec.required("priority", "100", value::integer::<u16>(0..=1_000))),
    };
    let subject = spec.table("subject", SUBJECT_KEYS, SUBJECT, pods);
    let ingress = spec.tables("ingress", INGRESS_KEYS, RULE, |rule| admin_rule(rule, "from", baseline));
    let egress = spec.tables("egress", EGRESS_KEYS, RULE, |rule| admin_rule(rule, "to", baseline));
    spec.refuse_others(None);
    let subject = match subject? {
        Some(Some((namespace_selector, pod_selector))) => Subject { namespace_selector, pod_selector },
        Some(None) | None => {
            return Err(spec.report("subject", format!("no pods are named; give it, as subject: {SUBJECT}")));
        }
    };
    Ok(AdminPolicy {
        name,
        tier: priority.transpose()?.map_or(Tier::Baseline, Tier::Admin),
        subject,
        ingress: ingress?.into_iter().collect::<Option<_>>().ok_or(Reported)?,
        egress: egress?.into_iter().collect::<Option<_>>().ok_or(Reported)?,
        action: refusal,
    })
}

/// Pods by `namespaces`, or by `pods`; `None` when neither is there.
fn pods(section: &mut Section<'_, '_>) -> Result<Option<(Selector, Option<Selector>)>, Reported> {
    let namespaces = selector::under(section, "namespaces")?;
    let both = section.table("pods", PODS_KEYS, "{ namespaceSelector: {}, podSelector: {} }", |pods| {
        let namespaces = selector::under(pods, "namespace_selector")?.unwrap_or_default();
        let selected = selector::under(pods, "pod_selector")?.unwrap_or_default();
        pods.refuse_others(None);
        Ok((namespaces, Some(selected)))
    })?;
    match (namespaces, both) {
        (Some(_), Some(_)) => Err(section.report("pods", "namespaces or pods, not both; remove one")),
        (Some(namespaces), None) => Ok(Some((namespaces, None))),
        (None, both) => Ok(both),
    }
}

fn admin_rule(section: &mut Section<'_, '_>, peers: &str, baseline: bool) -> Result<AdminRule, Reported> {
    let name = section.optional("name", |raw| value::text(raw).map(str::to_owned))?;
    let action = section.required("action", "Deny", move |raw| match action(raw)? {
        crate::AdminAction::Pass if baseline => {
            Err("below the baseline there is nothing to pass to; use Allow or Deny".to_owned())
        }
        action => Ok(action),
    })?;
    let found = section.tables(peers, PEER_KEYS, "- namespaces: {}", admin_peer)?;
    let ports = section.tables("ports", PORT_KEYS, "- portNumber: { port: 80 }", admin_ports)?;
    section.refuse_others(None);
    let peers: Vec<Vec<Peer>> = found.into_iter().collect::<Option<_>>().ok_or(Reported)?;
    let ports: Vec<Vec<PolicyPort>> = ports.into_iter().collect::<Option<_>>().ok_or(Reported)?;
    Ok(AdminRule {
        name: name.unwrap_or_default(),
        action,
        peers: peers.into_iter().flatten().collect(),
        ports: ports.into_iter().flatten().collect(),
    })
}

fn admin_peer(section: &mut Section<'_, '_>) -> Result<Vec<Peer>, Reported> {
    for key in ["nodes", "domain_names"] {
        if section.has(key) {
            let message = "cannot be honoured: only namespaces, pods and networks are known; give addresses in networks";
            return Err(section.report(key, message));
        }
    }
    let networks = section.list("networks", prefix)?;
    let pods = pods(section)?;
    section.refuse_others(None);
    match pods {
        Some((namespaces, pod_selector)) => {
            Ok(vec![Peer::Pods { namespace_selector: Some(namespaces), pod_selector }])
        }
        None if networks.is_empty() => {
            Err(section.report("namespaces", "a peer without any; give namespaces, pods or networks"))
        }
        None => {
            let block = |cidr| Peer::Block { ip_block: IpBlock { cidr, except: Vec::new() } };
            Ok(networks.into_iter().map(block).collect())
        }
    }
}

fn admin_ports(section: &mut Section<'_, '_>) -> Result<Vec<PolicyPort>, Reported> {
    let number = section.table("port_number", NUMBER_KEYS, "{ port: 80 }", |port| {
        let protocol = port.or("protocol", Protocol::Tcp, protocol::read)?;
        let number = port.required("port", "80", value::integer::<u16>(1..=65_535))?;
        port.refuse_others(None);
        Ok(PolicyPort { protocol, port: Some(PortRef::Number(number)), end_port: None })
    })?;
    let range = section.table("port_range", RANGE_KEYS, "{ start: 80, end: 90 }", |range| {
        let protocol = range.or("protocol", Protocol::Tcp, protocol::read)?;
        let first = range.required("start", "80", value::integer::<u16>(1..=65_535))?;
        let last = range.required("end", "90", value::integer::<u16>(1..=65_535))?;
        range.refuse_others(None);
        if last < first {
            return Err(
                range.report("end", format!("{last} is below start, which is {first}; give one that is not"))
            );
        }
        Ok(PolicyPort { protocol, port: Some(PortRef::Number(first)), end_port: Some(last) })
    })?;
    // A name has no protocol here: it is that of the port that is called so.
    let name = section.optional("named_port", port_name)?;
    let named = name.into_iter().flat_map(|name| {
        let port =
            move |protocol| PolicyPort { protocol, port: Some(PortRef::Name(name.clone())), end_port: None };
        Protocol::ALL.map(port)
    });
    section.refuse_others(None);
    Ok(number.into_iter().chain(range).chain(named).collect())
}
