//! `endpoints` of a service: who answers (discovery.k8s.io/v1 EndpointSlice, `endpoints[]`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::port::{self, ServicePort};
use crate::error::Reported;
use crate::raw::Raw;
use crate::section::Section;
use crate::value;

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceEndpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port, when the service has one port without a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its ports by the name of the service's: it does not answer for those that are not among them. None at all: the
    /// service's own numbers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
    /// Its share of new connections beside those of others; 0 gets none.
    pub weight: u16,
    /// It takes new connections (`conditions.ready`).
    pub ready: bool,
    /// It answers (`conditions.serving`), though it may be on its way out.
    pub serving: bool,
    /// It is on its way out (`conditions.terminating`): what is established goes on.
    pub terminating: bool,
    /// The node it is on (`nodeName`). Without one it is here when a port of this node has its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Zones whose nodes are to use it (`hints.forZones`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// The EndpointSlice it came with, when Kubernetes objects were applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
}

/// Largest weight.
pub(crate) const WEIGHT_MAX: i64 = 1_000;

/// What one looks like.
pub(crate) const EXAMPLE: &str = "{ address = \"10.0.1.2\", ports = { http = 8080 } }";

impl ServiceEndpoint {
    /// One that is ready, with the service's own port numbers.
    pub fn new(address: IpAddr) -> Self {
        ServiceEndpoint {
            address,
            port: None,
            ports: BTreeMap::new(),
            weight: 1,
            ready: true,
            serving: true,
            terminating: false,
            node: None,
            zones: Vec::new(),
            slice: None,
        }
    }

    /// Where it answers for `port` of its service; `None` when it does not.
    pub fn target(&self, port: &ServicePort) -> Option<u16> {
        match (self.port, self.ports.is_empty()) {
            (Some(own), _) => Some(own),
            (None, true) => Some(port.port),
            (None, false) => self.ports.get(&port.name).copied(),
        }
    }
}

/// Reads one from a table.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<ServiceEndpoint, Reported> {
    let address = section.required("address", "\"10.0.1.2\"", value::unicast);
    let own = section.optional("port", port::number);
    let ports = section.or("ports", BTreeMap::new(), ports);
    let weight = section.or("weight", 1, value::integer(0..=WEIGHT_MAX));
    let ready = section.optional("ready", value::boolean);
    let serving = section.optional("serving", value::boolean);
    let terminating = section.or("terminating", false, value::boolean);
    let node = section.optional("node", label);
    let zones = section.list("zones", label);
    let slice = section.optional("slice", label);
    section.refuse_others(None);
    let (ready, serving, terminating) = (ready?, serving?, terminating?);
    let endpoint = ServiceEndpoint {
        address: address?,
        port: own?,
        ports: ports?,
        weight: weight?,
        ready: ready.unwrap_or(!terminating),
        serving: serving.unwrap_or(ready.unwrap_or(true)),
        terminating,
        node: node?,
        zones: zones?,
        slice: slice?,
    };
    if endpoint.port.is_some() && !endpoint.ports.is_empty() {
        return Err(section.report("port", "stands beside ports; give one of the two"));
    }
    if endpoint.ready && !endpoint.serving {
        return Err(section.report("serving", "false, but the endpoint is ready; set ready = false, too"));
    }
    Ok(endpoint)
}

/// A table of port numbers by name.
fn ports(raw: Raw<'_>) -> Result<BTreeMap<String, u16>, String> {
    let Some(table) = raw.table() else {
        return Err(format!("expected a table, found {}; write {{ http = 8080 }}", raw.describe()));
    };
    let one = |name: &str| {
        let number = table.get(name).map(port::number).transpose();
        number
            .map(|number| (name.to_owned(), number.unwrap_or_default()))
            .map_err(|why| format!("{name}: {why}"))
    };
    table.keys().into_iter().map(one).collect()
}

/// A name of somebody else's: of a node, a zone, an object.
pub(crate) fn label(raw: Raw<'_>) -> Result<String, String> {
    let text = value::text(raw)?;
    match text.len() {
        1..=253 => Ok(text.to_owned()),
        long => Err(format!("a name of {long} bytes is too long; use at most 253")),
    }
}
