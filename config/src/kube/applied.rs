//! What a text of objects leaves behind for whoever keeps it: each object by its name, and as a document of its own that says the
//! same again.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::object::Object;
use super::yaml::Value;

/// What an object is called among all: two with the same name are the same object, as it was and as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// Its kind, as `Service`.
    pub kind: String,
    /// Its namespace; empty for kinds that are in none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name in there.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        match namespace.as_str() {
            "" => write!(out, "{kind} {name}"),
            _ => write!(out, "{kind} {namespace}/{name}"),
        }
    }
}

/// An object that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedObject {
    /// What it is called.
    #[serde(flatten)]
    pub name: ObjectName,
    /// Of an EndpointSlice: the service of its namespace that it belongs to, and goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its document, on one line; [`merge`](super::merge) takes it.
    pub text: String,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectChange {
    /// It is there, as it says.
    Applied(AppliedObject),
    /// It is not there any more, and neither is what was in it (a Namespace) or belonged to it (the slices of a Service).
    Gone(ObjectName),
}

/// True for kinds whose objects are in a namespace.
pub(super) fn is_namespaced(kind: &str) -> bool {
    matches!(kind, "Pod" | "NetworkPolicy" | "Service" | "EndpointSlice")
}

/// What `object` is called.
pub(super) fn name_of(object: &Object<'_>) -> ObjectName {
    let namespace = if is_namespaced(&object.kind) { object.namespace.clone() } else { String::new() };
    ObjectName { kind: object.kind.clone(), namespace, name: object.name.clone() }
}

/// `object`, of which `value` is the document, as applied.
pub(super) fn applied(object: &Object<'_>, value: &Value, service: Option<String>) -> ObjectChange {
    let mut text = String::new();
    value.write(&mut text);
    ObjectChange::Applied(AppliedObject { name: name_of(object), service, text })
}

/// Takes out slices of services that are nobody's to send to, by the very same text: nothing came of them.
pub(super) fn without_orphans(changes: &mut Vec<ObjectChange>) {
    let gone: HashSet<(String, String)> = changes
        .iter()
        .filter_map(|change| match change {
            ObjectChange::Gone(ObjectName { kind, namespace, name }) if kind == "Service" => {
                Some((namespace.clone(), name.clone()))
            }
            _ => None,
        })
        .collect();
    changes.retain(|change| match change {
        ObjectChange::Applied(AppliedObject { name, service: Some(service), .. }) => {
            !gone.contains(&(name.namespace.clone(), service.clone()))
        }
        _ => true,
    });
}
