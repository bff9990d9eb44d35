//! `ports` of a service.

use std::fmt;

use serde::Serialize;

use crate::error::Reported;
use crate::raw::Raw;
use crate::section::Section;
use crate::value;

/// A protocol that services have (`spec.ports[].protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl ServiceProtocol {
    /// IANA protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// As configuration has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for ServiceProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The words of configuration.
pub(crate) const PROTOCOLS: &[(&str, ServiceProtocol)] =
    &[("tcp", ServiceProtocol::Tcp), ("udp", ServiceProtocol::Udp), ("sctp", ServiceProtocol::Sctp)];

/// A port of a service (`spec.ports[]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePort {
    /// By which endpoints refer to it; empty for the only one of its service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its protocol.
    pub protocol: ServiceProtocol,
    /// The port at the service's addresses.
    pub port: u16,
    /// The port at the node's own addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
}

/// What one looks like.
pub(crate) const EXAMPLE: &str = "{ port = 80 }";

/// Reads one from a table.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<ServicePort, Reported> {
    let name = section.or("name", String::new(), name);
    let protocol = section.or("protocol", ServiceProtocol::Tcp, value::one_of(PROTOCOLS));
    let port = section.required("port", "80", number);
    let node_port = section.optional("node_port", number);
    section.refuse_others(None);
    Ok(ServicePort { name: name?, protocol: protocol?, port: port?, node_port: node_port? })
}

/// A port number.
pub(crate) fn number(raw: Raw<'_>) -> Result<u16, String> {
    value::integer(1..=65_535)(raw)
}

/// The name of a port (RFC 6335 section 5.1 allows 15 characters, Kubernetes 63).
pub(crate) fn name(raw: Raw<'_>) -> Result<String, String> {
    let text = value::text(raw)?;
    match text.len() {
        1..=63 => Ok(text.to_owned()),
        long => Err(format!("a name of {long} bytes is too long; use at most 63")),
    }
}
