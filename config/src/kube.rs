//! Kubernetes objects: YAML as `kubectl` has it, applied to a running configuration.
//!
//! Objects say what the cluster wants of a network, not how this node carries it: bridges, transports, peers and ports are
//! the node's own and stay as they are. What comes out is a whole configuration, which has passed every check that a file
//! must pass.
//!
//! | file | holds |
//! |---|---|
//! | `yaml` | text to values with places; documents |
//! | `object` | one object: its kind, name and fields |
//! | `fields` | a mapping within an object, field by field |
//! | `applied` | what was applied, for whoever keeps it |
//! | `cluster` | pods and policies |
//! | `remove` | objects taken out again |
//! | `concerned` | what has to be checked of the configuration that results |
//! | `subnet`, `vlan`, `service`, `endpoint_slice` | kinds, one file each: which fields it has and what becomes of each |
//!
//! A further kind is a file with a reader, and a line in [`read`].

mod applied;
mod cluster;
mod concerned;
mod endpoint_slice;
mod fields;
mod object;
mod remove;
mod service;
mod subnet;
mod vlan;
pub(crate) mod yaml;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::check;
use crate::connections::OwnTimeouts;
use crate::error::{ConfigError, Place, Reported, Sink};
use crate::network::Network;
use crate::router::{GatewayMode, Router, Routes};
use crate::{Config, ConfigErrors, RouterName, Service, ServiceName};
pub use applied::{AppliedObject, ObjectChange, ObjectName};
use concerned::Concerned;
use endpoint_slice::Slice;
use object::Object;
pub use remove::remove;
use vlan::Vlan;

/// The configuration that objects lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// All of it.
    pub config: Config,
    /// Fields that ask for what somebody else does, or nobody yet; one line each.
    pub notes: Vec<String>,
    /// What became of each object, in the order of the text. Not the text itself: what is no field of ours is in there, too, comments
    /// are not.
    pub objects: Vec<ObjectChange>,
}

/// Applies the objects of `text`, one or more YAML documents, to `running`. A network of an object's name is changed where
/// the object says something about it; others stay. `origin` is the name that messages give the text.
///
/// # Errors
/// Every mistake of the text, with the number of its document (from 1) and the field; unknown kinds and fields among them. If
/// there is none, every mistake of the configuration that would result.
pub fn merge(running: &Config, text: &str, origin: &str) -> Result<Merged, ConfigErrors> {
    let mut sink = Sink::new(origin);
    let read = yaml::documents(text, &mut sink).and_then(|documents| read(running, &documents, &mut sink));
    let Objects { networks, routers, cluster, notes, services, slices, changes } = sink.finish(read.ok())?;
    let mut config = running.clone();
    let joins = !networks.is_empty() || !routers.is_empty();
    let pods = cluster::apply(cluster, &mut config);
    for router in routers {
        if config.router(router.name.as_str()).is_none() {
            config.routers.push(router);
        }
    }
    let mut places = Places::default();
    let touched = merge_services(&mut config, services, slices, &mut places, origin)?;
    let fits = Arc::ptr_eq(&config.cluster, &running.cluster) || check::cluster::fits(&config.cluster, &pods);
    if !joins && fits && touched.iter().all(|at| stands(running, &config, *at)) {
        // Nobody else notices another endpoint or pod: the rest need not be looked at again.
        let mut sink = Sink::new(origin);
        for at in touched {
            check::services::one(&format!("service[{at}]"), &config.services[at], &config.node, &mut sink);
        }
        let merged = sink.finish(Some(Merged { config, notes, objects: changes }));
        return merged.map_err(|errors| told(errors, &places));
    }
    for Wanted { network, number, place } in networks {
        let known = config.networks.iter().position(|it| it.name == network.name);
        let at = known.unwrap_or(config.networks.len());
        places.networks.insert(at, (number, place));
        match config.networks.get_mut(at) {
            Some(known) => *known = network,
            None => config.networks.push(network),
        }
    }
    let concerned = if joins { Concerned::all(&config) } else { Concerned::by(&config, &touched) };
    let config = concerned.checked(config, fits, origin).map_err(|errors| told(errors, &places))?;
    Ok(Merged { config, notes, objects: changes })
}

/// What the documents of a file ask for.
#[derive(Debug, Default)]
struct Objects {
    networks: Vec<Wanted>,
    routers: Vec<Router>,
    cluster: Vec<cluster::Cluster>,
    notes: Vec<String>,
    services: Vec<At<service::Wanted>>,
    slices: Vec<At<Slice>>,
    changes: Vec<ObjectChange>,
}

/// Something that an object asks for, and where that stands.
#[derive(Debug)]
struct At<T> {
    what: T,
    /// Of the document.
    number: usize,
    place: Place,
}

/// A network as an object wants it.
#[derive(Debug)]
struct Wanted {
    network: Network,
    /// Of the document.
    number: usize,
    place: Place,
}

fn read(running: &Config, documents: &[yaml::Document], sink: &mut Sink) -> Result<Objects, Reported> {
    let mut objects = Objects::default();
    let mut vlans: HashMap<String, Vlan> = HashMap::new();
    let mut subnets = Vec::new();
    let mut failed = false;
    for document in documents {
        let Ok(object) = Object::of(document, sink) else {
            failed = true;
            continue;
        };
        if let Some(read) = cluster::read(&object, sink) {
            match read {
                Ok(read) => {
                    objects.changes.push(match &read {
                        cluster::Cluster::Ended(..) => ObjectChange::Gone(applied::name_of(&object)),
                        _ => applied::applied(&object, &document.value, None),
                    });
                    objects.cluster.push(read);
                }
                Err(Reported) => failed = true,
            }
            continue;
        }
        match (object.api.as_str(), object.kind.as_str()) {
            ("kubeovn.io/v1", "Subnet") => {
                objects.changes.push(applied::applied(&object, &document.value, None));
                subnets.push(object);
            }
            ("v1", "Service") => match service::read(&object, running, sink) {
                Ok(what) => {
                    objects.notes.extend(what.notes.iter().cloned());
                    objects.changes.push(match &what.service {
                        Some(_) => applied::applied(&object, &document.value, None),
                        None => ObjectChange::Gone(applied::name_of(&object)),
                    });
                    objects.services.push(At { what, number: object.number, place: object.place });
                }
                Err(Reported) => failed = true,
            },
            ("discovery.k8s.io/v1", "EndpointSlice") => match endpoint_slice::read(&object, sink) {
                Ok(what) => {
                    let service = what.service.parts().1.to_owned();
                    objects.changes.push(applied::applied(&object, &document.value, Some(service)));
                    objects.slices.push(At { what, number: object.number, place: object.place });
                }
                Err(Reported) => failed = true,
            },
            ("kubeovn.io/v1", "Vlan") => match vlan::read(&object, sink) {
                Ok(vlan) => {
                    objects.changes.push(applied::applied(&object, &document.value, None));
                    vlans.insert(object.name.clone(), vlan);
                }
                Err(Reported) => failed = true,
            },
            (api, kind) => {
                let message = format!(
                    "objects of {api} {kind} are not taken; remove it. Taken are: {TAKEN}, {}",
                    cluster::TAKEN
                );
                object.report("kind", message, sink);
                failed = true;
            }
        }
    }
    // A Vlan may stand behind the Subnet that names it.
    for object in &subnets {
        match subnet::read(object, &vlans, running, sink) {
            Ok(subnet) => {
                objects.notes.extend(subnet.notes);
                objects.routers.extend(subnet.router.map(router));
                let (number, place) = (object.number, object.place);
                objects.networks.push(Wanted { network: subnet.network, number, place });
            }
            Err(Reported) => failed = true,
        }
    }
    applied::without_orphans(&mut objects.changes);
    if failed { Err(Reported) } else { Ok(objects) }
}

/// The kinds, for messages.
const TAKEN: &str = "v1 Service, discovery.k8s.io/v1 EndpointSlice, kubeovn.io/v1 Subnet, kubeovn.io/v1 Vlan";

/// Where the object stands from which a section of the configuration came, by the number of the section.
#[derive(Debug, Default)]
struct Places {
    networks: HashMap<usize, (usize, Place)>,
    services: HashMap<usize, (usize, Place)>,
}

/// Puts Services and EndpointSlices into `config`; gives the places of those that were touched.
fn merge_services(
    config: &mut Config,
    services: Vec<At<service::Wanted>>,
    slices: Vec<At<Slice>>,
    places: &mut Places,
    origin: &str,
) -> Result<Vec<usize>, ConfigErrors> {
    let mut sink = Sink::new(origin);
    let mut touched = Vec::new();
    // Of those that have no address the endpoints are nobody's affair.
    let bare = services.iter().filter(|it| it.what.service.is_none());
    let without: HashSet<ServiceName> = bare.map(|it| it.what.name.clone()).collect();
    if !without.is_empty() {
        config.services.retain(|known| !without.contains(&known.name));
    }
    let named = services.iter().map(|it| &it.what.name).chain(slices.iter().map(|it| &it.what.service));
    let named: HashSet<ServiceName> = named.cloned().collect();
    let known = config.services.iter().enumerate().filter(|(_, service)| named.contains(&service.name));
    let mut by_name: HashMap<ServiceName, usize> =
        known.map(|(at, service)| (service.name.clone(), at)).collect();
    for At { what, number, place } in services {
        let Some(service) = what.service else { continue };
        let at = *by_name.entry(what.name).or_insert(config.services.len());
        match config.services.get_mut(at) {
            Some(known) => *known = Arc::new(service),
            None => config.services.push(Arc::new(service)),
        }
        places.services.insert(at, (number, place));
        touched.push(at);
    }
    for At { what: Slice { service, name, endpoints }, number, place } in slices {
        let Some(&at) = by_name.get(&service) else {
            if !without.contains(&service) {
                let message = format!(
                    "of service {service}, which is not there; apply that first, or in the same file"
                );
                sink.report_at(place, &format!("document {number}: metadata.labels"), message);
            }
            continue;
        };
        let known = Arc::make_mut(&mut config.services[at]);
        known.endpoints.retain(|endpoint| endpoint.slice.as_ref() != Some(&name));
        for endpoint in endpoints {
            // While a pod moves from slice to slice it is in both.
            match known.endpoints.iter_mut().find(|other| other.address == endpoint.address) {
                Some(other) if endpoint.ready || !other.ready => *other = endpoint,
                Some(_) => {}
                None => known.endpoints.push(endpoint),
            }
        }
        places.services.insert(at, (number, place));
        touched.push(at);
    }
    // A slice may still have ports that the service no longer has.
    for at in &touched {
        let service = Arc::make_mut(&mut config.services[*at]);
        let ports: Vec<String> = service.ports.iter().map(|port| port.name.clone()).collect();
        for endpoint in &mut service.endpoints {
            let had = !endpoint.ports.is_empty();
            endpoint.ports.retain(|name, _| ports.contains(name));
            // Without any it would have the service's own.
            if had && endpoint.ports.is_empty() {
                (endpoint.ready, endpoint.serving, endpoint.weight) = (false, false, 0);
            }
        }
    }
    touched.sort_unstable();
    touched.dedup();
    sink.finish(Some(touched))
}

/// True when service number `at` has the same addresses and ports as before, by the same number.
fn stands(before: &Config, after: &Config, at: usize) -> bool {
    let bare = |service: &Arc<Service>| Service { endpoints: Vec::new(), ..Service::clone(service) };
    let pair = before.services.get(at).zip(after.services.get(at));
    before.services.len() == after.services.len() && pair.is_some_and(|(old, new)| bare(old) == bare(new))
}

fn router(name: RouterName) -> Router {
    Router {
        name,
        routes: Routes::default(),
        external_ips: Vec::new(),
        floating_ips: Vec::new(),
        port_forwards: Vec::new(),
        static_snat: Vec::new(),
        timeouts: OwnTimeouts::default(),
        gateway_mode: GatewayMode::default(),
        management_port: None,
        snat_pool: Vec::new(),
        snat_ports: None,
    }
}

/// Mistakes of the whole configuration, at the objects that they come from: its own lines are nobody's.
fn told(errors: ConfigErrors, places: &Places) -> ConfigErrors {
    let sections = [("network", &places.networks), ("service", &places.services)];
    let retold = |error: ConfigError| {
        let object = sections.iter().find_map(|(what, places)| {
            let rest = error.key.strip_prefix(what)?.strip_prefix('[')?;
            let (index, field) = rest.split_once(']')?;
            Some((places.get(&index.parse().ok()?)?, *what, field))
        });
        match object {
            Some((&(number, Place { line, column }), what, field)) => ConfigError {
                line,
                column,
                key: format!("document {number}"),
                message: format!("as a {what}, {}: {}", field.trim_start_matches('.'), error.message),
                ..error
            },
            None => ConfigError {
                line: 0,
                column: 0,
                message: format!("{} (with the running configuration)", error.message),
                ..error
            },
        }
    };
    ConfigErrors(errors.0.into_iter().map(retold).collect())
}
