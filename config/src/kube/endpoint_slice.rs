//! `discovery.k8s.io/v1 EndpointSlice`: some of the endpoints of a service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::error::{Reported, Sink};
use crate::raw::Raw;
use crate::service::endpoint::{ServiceEndpoint, label};
use crate::service::name::ServiceName;
use crate::service::port::{self, ServicePort};
use crate::value;

use super::fields::Fields;
use super::object::Object;
use super::service;

/// What says whose a slice is.
const LABEL: &str = "kubernetes.io/service-name";

/// A slice: the endpoints that a service has by it, in place of those that it had by it before.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) service: ServiceName,
    pub(super) name: String,
    pub(super) endpoints: Vec<ServiceEndpoint>,
}

/// Fields of an endpoint that say something to somebody else.
const OTHERS: [&str; 4] = ["hostname", "targetRef", "zone", "deprecatedTopology"];

/// The service that a slice is of, when it says so.
pub(super) fn owner(object: &Object<'_>, sink: &mut Sink) -> Result<Option<String>, Reported> {
    object.label(LABEL, label, sink)
}

/// Reads a slice.
pub(super) fn read(object: &Object<'_>, sink: &mut Sink) -> Result<Slice, Reported> {
    let fields = object.fields();
    let Some(owner) = owner(object, sink)? else {
        let message = "not set; name the service that the endpoints are of";
        return Err(object.report(&format!("metadata.labels.{LABEL}"), message, sink));
    };
    let service = service::name(object, &owner, sink)?;
    let v4 = match fields.read("addressType", family, sink)? {
        Some(v4) => v4,
        None => return Err(fields.report("addressType", "not set; write IPv4 or IPv6", sink)),
    };
    let ports = ports(&fields, sink)?;
    let mut endpoints = Vec::new();
    let mut failed = false;
    for fields in fields.each("endpoints", sink)? {
        match endpoint(&fields, v4, &ports, &object.name, sink) {
            Ok(endpoint) => endpoints.extend(endpoint),
            Err(Reported) => failed = true,
        }
    }
    if failed { Err(Reported) } else { Ok(Slice { service, name: object.name.clone(), endpoints }) }
}

fn family(raw: Raw<'_>) -> Result<bool, String> {
    match raw.text() {
        Some("IPv4") => Ok(true),
        Some("IPv6") => Ok(false),
        _ => Err(format!(
            "{} cannot be honoured: packets are sent to addresses; write IPv4 or IPv6",
            raw.describe()
        )),
    }
}

fn ports(fields: &Fields<'_>, sink: &mut Sink) -> Result<Vec<ServicePort>, Reported> {
    let mut ports = Vec::new();
    for fields in fields.each("ports", sink)? {
        fields.refuse_others(&["name", "protocol", "port", "appProtocol"], sink)?;
        let name = fields.field("name").filter(|value| !super::object::is_off(value));
        let name = if name.is_some() { fields.read("name", port::name, sink)? } else { None };
        let protocol = fields.read("protocol", service::protocol, sink)?.unwrap_or_default();
        // Without a number it is all ports, which no service has.
        let Some(number) = fields.read("port", port::number, sink)? else { continue };
        ports.push(ServicePort { name: name.unwrap_or_default(), protocol, port: number, node_port: None });
    }
    Ok(ports)
}

fn endpoint(
    fields: &Fields<'_>,
    v4: bool,
    ports: &[ServicePort],
    slice: &str,
    sink: &mut Sink,
) -> Result<Option<ServiceEndpoint>, Reported> {
    let known = ["addresses", "conditions", "nodeName", "hints"];
    let known: Vec<_> = known.iter().chain(&OTHERS).copied().collect();
    fields.refuse_others(&known, sink)?;
    let addresses = fields.list("addresses", address(v4), sink)?;
    // They are all of one endpoint; as kube-proxy, by the first.
    let Some(address) = addresses.first() else {
        return Err(fields.report("addresses", "not set; an endpoint has an address", sink));
    };
    let conditions = fields.within("conditions", sink)?;
    conditions.refuse_others(&["ready", "serving", "terminating"], sink)?;
    let ready = conditions.read("ready", value::boolean, sink)?.unwrap_or(true);
    let serving = conditions.read("serving", value::boolean, sink)?.unwrap_or(ready);
    let terminating = conditions.read("terminating", value::boolean, sink)?.unwrap_or(false);
    let hints = fields.within("hints", sink)?;
    hints.refuse_others(&["forZones", "forNodes"], sink)?;
    let mut zones = Vec::new();
    for zone in hints.each("forZones", sink)? {
        zones.extend(zone.read("name", label, sink)?);
    }
    let named = || ports.iter().map(|port| (port.name.clone(), port.port));
    let alone = match ports {
        [port] if port.name.is_empty() => Some(port.port),
        _ => None,
    };
    // One that has no port answers for none.
    if ports.is_empty() {
        return Ok(None);
    }
    Ok(Some(ServiceEndpoint {
        port: alone,
        ports: if alone.is_some() { BTreeMap::new() } else { named().collect() },
        ready,
        serving: serving || ready,
        terminating,
        node: fields.read("nodeName", label, sink)?,
        zones,
        slice: Some(slice.to_owned()),
        ..ServiceEndpoint::new(*address)
    }))
}

fn address(v4: bool) -> impl Fn(Raw<'_>) -> Result<IpAddr, String> {
    move |raw| {
        let address = value::unicast(raw)?;
        let family = if v4 { "IPv4" } else { "IPv6" };
        match address.is_ipv4() == v4 {
            true => Ok(address),
            false => Err(format!("{address} is not of addressType {family}; correct one of the two")),
        }
    }
}
