//! `endpoints` of a port: a station behind it that is known beforehand, with its addresses.

use std::net::IpAddr;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::{Key, key};
use crate::mac::MacAddr;
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// A station behind a port and its addresses: never learned, never aged, never moved by traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Its Ethernet address; in a `demux` network, where it may be left out, the `parent_mac` of that network.
    pub mac: MacAddr,
    /// Its IP addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<IpAddr>,
}

/// The keys of one endpoint.
pub(crate) const KEYS: &[Key] = &[
    key("mac", &[], "MAC address", "required, but for a `demux` network", "its address"),
    key("ip", &[], "array of addresses", "[]", "its IP addresses"),
];

/// What one looks like.
pub(crate) const EXAMPLE: &str = "{ mac = \"02:00:00:02:00:01\", ip = [\"10.0.2.1\"] }";

/// The address of an endpoint whose MAC address was left out, until it is known whether its network has one for it: no
/// endpoint can be given this one.
pub(crate) const LEFT_OUT: MacAddr = MacAddr::ZERO;

/// The message about a MAC address that must not be left out.
pub(crate) const MISSING: &str = "required but missing; add it, as mac = \"02:00:00:02:00:01\"";

/// Reads one from a table.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Endpoint, Reported> {
    let mac = section.or("mac", LEFT_OUT, value::station);
    let ip = section.list("ip", value::unicast);
    section.refuse_others(None);
    Ok(Endpoint { mac: mac?, ip: ip? })
}

/// Reads one from a word of a command line: `MAC/ADDRESS/ADDRESS`, or without MAC address.
pub(crate) fn word(word: &str) -> Result<Endpoint, String> {
    let mut parts = word.split('/').peekable();
    let bare = parts.peek().is_some_and(|first| first.parse::<IpAddr>().is_ok());
    let mac = match bare {
        true => LEFT_OUT,
        false => value::station(Raw::Word(parts.next().unwrap_or_default()))?,
    };
    let ip = parts.map(|part| value::unicast(Raw::Word(part))).collect::<Result<_, _>>();
    Ok(Endpoint { mac, ip: ip.map_err(|message| format!("{}: {message}", quote(word)))? })
}
