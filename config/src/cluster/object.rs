//! `[[namespace]]` and `[[pod]]`.

use std::net::IpAddr;

use serde::Serialize;

use super::labels::{Labels, is_dns_label, is_subdomain};
use crate::error::Reported;
use crate::keys::{Key, key};
use crate::protocol::{self, Protocol};
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// The label that every namespace has, with its name as value.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Most addresses of a pod: one of each family, and some for further networks.
const ADDRESSES_MAX: usize = 16;

/// A namespace with labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Namespace {
    /// Its name, a DNS label, unique.
    pub name: String,
    /// Its labels, without [`NAMESPACE_NAME_LABEL`].
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// A pod, on this node or another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name, unique in the namespace.
    pub name: String,
    /// Its labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Its addresses (`status.podIPs`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Ports that policies may name (`spec.containers[].ports[]`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NamedPort>,
    /// The node it runs on (`spec.nodeName`), for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// It has the node's own addresses (`spec.hostNetwork`): then no selector selects it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,
}

/// A port with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NamedPort {
    /// Its name, of at most 15 characters (RFC 6335 section 5.1).
    pub name: String,
    /// Its number, from 1.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl Pod {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

pub(crate) const NAMESPACE_KEYS: &[Key] = &[
    key("name", &[], "string, a DNS label", "required", "its name; unique"),
    key(
        "labels",
        &[],
        "table of labels",
        "{}",
        "what selectors choose by; besides these every namespace has `kubernetes.io/metadata.name`",
    ),
];

pub(crate) const POD_KEYS: &[Key] = &[
    key("namespace", &[], "string, a DNS label", "required", "its namespace, which need not have a section"),
    key("name", &[], "string, DNS labels with dots between", "required", "its name; unique in the namespace"),
    key("labels", &[], "table of labels", "{}", "what selectors choose by"),
    key("addresses", &[], "array of addresses, at most 16", "[]", "its addresses, which no other pod has"),
    key(
        "ports",
        &[],
        "array of `{ name = NAME, port = NUMBER, protocol = \"tcp\" }`",
        "[]",
        "ports that policies may name",
    ),
    key("node", &[], "string", "none", "the node it runs on, for people"),
    key(
        "host_network",
        &[],
        "boolean",
        "false",
        "it has the node's own addresses: no policy is about it, and no selector finds it",
    ),
];

const PORT_KEYS: &[Key] = &[
    key("name", &[], "string", "required", "the port's name"),
    key("port", &[], "integer", "required", "its number"),
    key("protocol", &[], "`tcp`, `udp`, `sctp`", "tcp", "its protocol"),
];

pub(crate) fn read_namespace(section: &mut Section<'_, '_>) -> Result<Namespace, Reported> {
    let name = section.required("name", "\"shop\"", namespace_name);
    let labels = section.labels("labels");
    section.refuse_others(None);
    let (name, labels) = (name?, labels?);
    match labels.get(NAMESPACE_NAME_LABEL) {
        Some(given) if given != name => {
            let message = format!("{NAMESPACE_NAME_LABEL} is {name:?} for this namespace; remove the label");
            Err(section.report("labels", message))
        }
        _ => Ok(Namespace {
            labels: labels.iter().filter(|(key, _)| *key != NAMESPACE_NAME_LABEL).collect(),
            name,
        }),
    }
}

pub(crate) fn read_pod(section: &mut Section<'_, '_>) -> Result<Pod, Reported> {
    let namespace = section.required("namespace", "\"default\"", namespace_name);
    let name = section.required("name", "\"web-0\"", object_name);
    let labels = section.labels("labels");
    let addresses = section.list("addresses", value::unicast);
    let example = "{ name = \"http\", port = 80 }";
    let ports = section.tables("ports", PORT_KEYS, example, named_port);
    let node = section.optional("node", |raw| value::text(raw).map(str::to_owned));
    let host_network = section.or("host_network", false, value::boolean);
    section.refuse_others(None);
    let addresses = addresses?;
    if addresses.len() > ADDRESSES_MAX {
        return Err(section.report("addresses", format!("more than {ADDRESSES_MAX} addresses; remove some")));
    }
    Ok(Pod {
        namespace: namespace?,
        name: name?,
        labels: labels?,
        addresses,
        ports: ports?.into_iter().collect::<Option<_>>().ok_or(Reported)?,
        node: node?,
        host_network: host_network?,
    })
}

fn named_port(section: &mut Section<'_, '_>) -> Result<NamedPort, Reported> {
    let name = section.required("name", "\"http\"", port_name);
    let port = section.required("port", "80", value::integer(1..=65_535));
    let protocol = section.or("protocol", Protocol::Tcp, protocol::read);
    section.refuse_others(None);
    Ok(NamedPort { name: name?, port: port?, protocol: protocol? })
}

/// The name of a namespace.
pub(crate) fn namespace_name(raw: Raw<'_>) -> Result<String, String> {
    let text = value::text(raw)?;
    if !is_dns_label(text) {
        return Err(format!(
            "{} is no name of a namespace; use at most 63 lower-case letters, digits and '-', the first and last no '-'",
            quote(text)
        ));
    }
    Ok(text.to_owned())
}

/// The name of an object in a namespace.
pub(crate) fn object_name(raw: Raw<'_>) -> Result<String, String> {
    let text = value::text(raw)?;
    if !is_subdomain(text) {
        return Err(format!(
            "{} is no name of an object; use at most 253 lower-case letters, digits, '-' and '.'",
            quote(text)
        ));
    }
    Ok(text.to_owned())
}

/// The name of a port (`IANA_SVC_NAME`, RFC 6335 section 5.1).
pub(crate) fn port_name(raw: Raw<'_>) -> Result<String, String> {
    let text = value::text(raw)?;
    let good = text.len() <= 15
        && is_dns_label(text)
        && !text.contains("--")
        && text.chars().any(|c| c.is_ascii_lowercase());
    if !good {
        return Err(format!(
            "{} is no name of a port; use at most 15 lower-case letters, digits and '-', with a letter among them",
            quote(text)
        ));
    }
    Ok(text.to_owned())
}
