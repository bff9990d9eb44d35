//! Kubernetes objects taken out of a running configuration again: by what they are called, whatever else they say.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cluster::admin::Tier;
use crate::error::{Reported, Sink};
use crate::{Config, ConfigErrors};

use super::applied::{self, ObjectChange, ObjectName};
use super::concerned::Concerned;
use super::endpoint_slice;
use super::object::Object;
use super::{Merged, TAKEN, cluster, service, told, yaml};

/// What goes, by namespace and name.
#[derive(Debug, Default)]
struct Gone {
    namespaces: HashSet<String>,
    pods: HashSet<(String, String)>,
    policies: HashSet<(String, String)>,
    admin_policies: HashSet<String>,
    services: HashSet<(String, String)>,
    slices: HashSet<(String, String)>,
    networks: HashSet<String>,
}

/// Takes the objects of `text`, one or more YAML documents, out of `running`: by `apiVersion`, `kind`, `metadata.name` and
/// `metadata.namespace`; other fields are not read. With a Namespace all that is in it goes. Of objects that are not there
/// nothing is said when `missing_is_fine`, or of those that are `elsewhere`.
///
/// # Errors
/// Every object that is not there or of no kind that is taken, with the number of its document (from 1); and a Subnet in which
/// there still are ports.
pub fn remove(
    running: &Config,
    text: &str,
    origin: &str,
    missing_is_fine: bool,
    elsewhere: impl Fn(&ObjectName) -> bool,
) -> Result<Merged, ConfigErrors> {
    let mut sink = Sink::new(origin);
    let (mut notes, mut objects) = (Vec::new(), Vec::new());
    let read = yaml::documents(text, &mut sink).and_then(|documents| {
        let mut gone = Gone::default();
        let mut failed = false;
        for document in &documents {
            let named = Object::of(document, &mut sink).and_then(|object| {
                let name = applied::name_of(&object);
                let fine = missing_is_fine || elsewhere(&name);
                // A Vlan is kept with the Subnets that name it.
                if name.kind != "Vlan" {
                    objects.push(ObjectChange::Gone(name));
                }
                gone.add(&object, running, fine, &mut notes, &mut sink)
            });
            failed |= named.is_err();
        }
        if failed { Err(Reported) } else { Ok(gone) }
    });
    let gone = sink.finish(read.ok())?;
    let mut config = running.clone();
    gone.take_from(&mut config);
    if !gone.networks.is_empty() {
        // Ports and peers may still name them; what else goes is named by nobody.
        let concerned = Concerned::all(&config);
        config =
            concerned.checked(config, true, origin).map_err(|errors| told(errors, &Default::default()))?;
    }
    Ok(Merged { config, notes, objects })
}

impl Gone {
    fn add(
        &mut self,
        object: &Object<'_>,
        running: &Config,
        missing_is_fine: bool,
        notes: &mut Vec<String>,
        sink: &mut Sink,
    ) -> Result<(), Reported> {
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        let full = || (namespace.to_owned(), name.to_owned());
        let cluster = &running.cluster;
        let (found, listed) = match (object.api.as_str(), object.kind.as_str()) {
            ("v1", "Namespace") => {
                self.namespaces.insert(name.to_owned());
                let within = |its: &str| its == name;
                let found = cluster.namespaces.iter().any(|it| it.name == name)
                    || cluster.pods.iter().any(|pod| within(&pod.namespace))
                    || cluster.policies.iter().any(|policy| within(&policy.namespace))
                    || running.services.iter().any(|service| service.name.is_in(name));
                (found, "config")
            }
            ("v1", "Pod") => {
                self.pods.insert(full());
                let is = |pod: &Arc<crate::Pod>| (&*pod.namespace, &*pod.name) == (namespace, name);
                (cluster.pods.iter().any(is), "config")
            }
            ("networking.k8s.io/v1", "NetworkPolicy") => {
                self.policies.insert(full());
                let is =
                    |policy: &Arc<crate::Policy>| (&*policy.namespace, &*policy.name) == (namespace, name);
                (cluster.policies.iter().any(is), "policies")
            }
            (
                "policy.networking.k8s.io/v1alpha1",
                kind @ ("AdminNetworkPolicy" | "BaselineAdminNetworkPolicy"),
            ) => {
                self.admin_policies.insert(name.to_owned());
                let baseline = kind == "BaselineAdminNetworkPolicy";
                let is = |policy: &crate::AdminPolicy| {
                    policy.name == name && (policy.tier == Tier::Baseline) == baseline
                };
                (cluster.admin_policies.iter().any(is), "policies")
            }
            ("v1", "Service") => {
                self.services.insert(full());
                if let Some(why) = service::nobodys(object, sink)? {
                    notes.push(object.note("clusterIP", why));
                    return Ok(());
                }
                let is = |service: &Arc<crate::Service>| service.name.is(namespace, name);
                (running.services.iter().any(is), "services")
            }
            ("discovery.k8s.io/v1", "EndpointSlice") => {
                self.slices.insert(full());
                let of = |service: &Arc<crate::Service>| {
                    service.name.is_in(namespace)
                        && service.endpoints.iter().any(|endpoint| endpoint.slice.as_deref() == Some(name))
                };
                // One without endpoints leaves no trace.
                let owner = endpoint_slice::owner(object, sink)?;
                let known = |owner: &String| running.services.iter().any(|it| it.name.is(namespace, owner));
                (owner.as_ref().is_some_and(known) || running.services.iter().any(of), "services")
            }
            ("kubeovn.io/v1", "Subnet") => {
                self.networks.insert(name.to_owned());
                (running.network(name).is_some(), "topology")
            }
            ("kubeovn.io/v1", "Vlan") => {
                notes.push(
                    object.note("id", "a Vlan is kept with the Subnets that name it, and goes with them"),
                );
                return Ok(());
            }
            (api, kind) => {
                let message = format!(
                    "there are no objects of {api} {kind}; remove it. Taken are: {TAKEN}, {}",
                    cluster::TAKEN
                );
                return Err(object.report("kind", message, sink));
            }
        };
        if found || missing_is_fine {
            return Ok(());
        }
        let kind = object.kind.as_str();
        let whole =
            if applied::is_namespaced(kind) { format!("{namespace}/{name}") } else { name.to_owned() };
        let message = format!("there is no {kind} {whole}; `shunt show {listed}` lists what there is");
        Err(object.report("metadata.name", message, sink))
    }

    fn take_from(&self, config: &mut Config) {
        let has = |set: &HashSet<(String, String)>, namespace: &str, name: &str| {
            self.namespaces.contains(namespace)
                || !set.is_empty() && set.contains(&(namespace.to_owned(), name.to_owned()))
        };
        let cluster = &config.cluster;
        let any = !self.namespaces.is_empty()
            || !self.pods.is_empty()
            || !self.policies.is_empty()
            || !self.admin_policies.is_empty();
        if any {
            let mut cluster = crate::Cluster::clone(cluster);
            cluster.namespaces.retain(|it| !self.namespaces.contains(&it.name));
            cluster.pods.retain(|it| !has(&self.pods, &it.namespace, &it.name));
            cluster.policies.retain(|it| !has(&self.policies, &it.namespace, &it.name));
            cluster.admin_policies.retain(|it| !self.admin_policies.contains(&it.name));
            config.cluster = Arc::new(cluster);
        }
        if !self.services.is_empty() || !self.namespaces.is_empty() {
            config.services.retain(|it| {
                let (namespace, name) = it.name.parts();
                !has(&self.services, namespace, name)
            });
        }
        if !self.slices.is_empty() {
            for service in &mut config.services {
                let goes = |namespace: &str, slice: &Option<String>| {
                    let slice = slice.as_ref().map(|slice| (namespace.to_owned(), slice.clone()));
                    slice.is_some_and(|slice| self.slices.contains(&slice))
                };
                let (namespace, _) = service.name.parts();
                if service.endpoints.iter().any(|endpoint| goes(namespace, &endpoint.slice)) {
                    let namespace = namespace.to_owned();
                    let own = Arc::make_mut(service);
                    own.endpoints.retain(|endpoint| !goes(&namespace, &endpoint.slice));
                }
            }
        }
        config.networks.retain(|network| !self.networks.contains(network.name.as_str()));
    }
}
