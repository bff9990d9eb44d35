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
//! | `subnet`, `vlan` | kinds, one file each: which fields it has and what becomes of each |
//!
//! A further kind is a file with a reader, and a line in [`read`].

mod object;
mod subnet;
mod vlan;
mod yaml;

use std::collections::HashMap;

use crate::error::{ConfigError, Place, Reported, Sink};
use crate::network::Network;
use crate::router::Router;
use crate::{Config, ConfigErrors, RouterName};
use object::Object;
use vlan::Vlan;

/// The configuration that objects lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// All of it.
    pub config: Config,
    /// Fields that ask for what somebody else does, or nobody yet; one line each.
    pub notes: Vec<String>,
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
    let Objects { networks, routers, notes } = sink.finish(read.ok())?;
    let mut config = running.clone();
    for router in routers {
        if config.router(router.name.as_str()).is_none() {
            config.routers.push(router);
        }
    }
    let mut places = HashMap::new();
    for Wanted { network, number, place } in networks {
        let known = config.networks.iter().position(|it| it.name == network.name);
        let at = known.unwrap_or(config.networks.len());
        places.insert(at, (number, place));
        match config.networks.get_mut(at) {
            Some(known) => *known = network,
            None => config.networks.push(network),
        }
    }
    let checked = crate::parse(&config.to_toml(), origin);
    checked.map(|config| Merged { config, notes }).map_err(|errors| told(errors, &places))
}

/// What the documents of a file ask for.
#[derive(Debug, Default)]
struct Objects {
    networks: Vec<Wanted>,
    routers: Vec<Router>,
    notes: Vec<String>,
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
        match (object.api.as_str(), object.kind.as_str()) {
            ("kubeovn.io/v1", "Subnet") => subnets.push(object),
            ("kubeovn.io/v1", "Vlan") => match vlan::read(&object, sink) {
                Ok(vlan) => drop(vlans.insert(object.name.clone(), vlan)),
                Err(Reported) => failed = true,
            },
            (api, kind) => {
                let message = format!("objects of {api} {kind} are not taken; remove it. Taken are: {TAKEN}");
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
    if failed { Err(Reported) } else { Ok(objects) }
}

/// The kinds, for messages.
const TAKEN: &str = "kubeovn.io/v1 Subnet, kubeovn.io/v1 Vlan";

fn router(name: RouterName) -> Router {
    Router { name, routes: Vec::new() }
}

/// Mistakes of the whole configuration, at the objects that they come from: its own lines are nobody's.
fn told(errors: ConfigErrors, places: &HashMap<usize, (usize, Place)>) -> ConfigErrors {
    let retold = |error: ConfigError| {
        let index = error.key.strip_prefix("network[").and_then(|rest| rest.split_once(']'));
        let object = index.and_then(|(index, field)| Some((places.get(&index.parse().ok()?)?, field)));
        match object {
            Some((&(number, Place { line, column }), field)) => ConfigError {
                line,
                column,
                key: format!("document {number}"),
                message: format!("as a network, {}: {}", field.trim_start_matches('.'), error.message),
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
