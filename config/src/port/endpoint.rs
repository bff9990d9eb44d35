//! `endpoints` of a port: a station behind it that is known beforehand, with its addresses.

use std::net::IpAddr;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::mac::MacAddr;
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// A station behind a port and its addresses: never learned, never aged, never moved by traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its IP addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<IpAddr>,
}

/// The keys of one endpoint.
pub(crate) const KEYS: &[Key] = &[
    Key { name: "mac", kinds: &[], takes: "MAC address", default: "required", meaning: "its address" },
    Key { name: "ip", kinds: &[], takes: "array of addresses", default: "[]", meaning: "its IP addresses" },
];

/// What one looks like.
pub(crate) const EXAMPLE: &str = "{ mac = \"02:00:00:02:00:01\", ip = [\"10.0.2.1\"] }";

/// Reads one from a table.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Endpoint, Reported> {
    let mac = section.required("mac", "\"02:00:00:02:00:01\"", value::station);
    let ip = section.list("ip", value::unicast);
    section.refuse_others(None);
    Ok(Endpoint { mac: mac?, ip: ip? })
}

/// Reads one from a word of a command line: `MAC/ADDRESS/ADDRESS`.
pub(crate) fn word(word: &str) -> Result<Endpoint, String> {
    let mut parts = word.split('/');
    let mac = value::station(Raw::Word(parts.next().unwrap_or_default()))?;
    let ip = parts.map(|part| value::unicast(Raw::Word(part))).collect::<Result<_, _>>();
    Ok(Endpoint { mac, ip: ip.map_err(|message| format!("{}: {message}", quote(word)))? })
}
