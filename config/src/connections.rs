//! `[connections]`: how many connections the switch keeps, who may have how many, and how long each lives in silence.

pub(crate) mod timeouts;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::{Key, key};
use crate::section::Section;
use crate::value;
pub use timeouts::{OwnTimeouts, Timeouts};

/// Fewest and most connections.
const CAPACITY: (i64, i64) = (1_024, 16_777_216);
/// Fewest and most of a part of them.
const PART: (i64, i64) = (1, 16_777_216);

/// The connection table, shared by all workers. It takes memory only where some network tracks connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Connections that there is room for, 1,024 to 16,777,216. Fixed at start.
    pub capacity: u32,
    /// TCP connections are picked up in the middle (Linux `nf_conntrack_tcp_loose`), and so are SCTP associations.
    pub tcp_loose: bool,
    /// Connections that a source address may have in a zone; absent: half of `capacity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_source: Option<u32>,
    /// Handshakes of TCP and SCTP that a source address may have under way in a zone; absent: an eighth of `capacity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_source_half_open: Option<u32>,
    /// Connections that a source address may open in a second in a zone; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_source_rate: Option<u32>,
    /// Connections that a zone may have; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_zone: Option<u32>,
    /// Handshakes of TCP and SCTP that a zone may have under way; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_zone_half_open: Option<u32>,
    /// How long a connection lives without a packet.
    #[serde(flatten)]
    pub timeouts: Timeouts,
}

impl Default for Connections {
    fn default() -> Self {
        Connections {
            capacity: 262_144,
            tcp_loose: true,
            per_source: None,
            per_source_half_open: None,
            per_source_rate: None,
            per_zone: None,
            per_zone_half_open: None,
            timeouts: Timeouts::default(),
        }
    }
}

const COUNT: &str = "integer, 1 to 16777216 connections";

const ALL: usize = OWN.len() + timeouts::COUNT;

pub(crate) const KEYS: &[Key] = &timeouts::with::<ALL>(OWN);

const OWN: &[Key] = &[
    key(
        "capacity",
        &[],
        "integer, 1024 to 16777216 connections",
        "262144",
        "connections that there is room for, at some 220 bytes each, taken when a network first tracks connections; fixed at start; what would be one more is dropped as `connections_full`",
    ),
    key(
        "tcp_loose",
        &[],
        "boolean",
        "true",
        "TCP connections and SCTP associations that were opened before the switch knew of them are picked up in the middle; `false` drops their packets as `invalid_state`",
    ),
    key(
        "per_source",
        &[],
        COUNT,
        "half of `capacity`",
        "connections that one source address may have in a zone; one more is dropped as `connection_limit`. Source addresses are counted in places found by hash, never too low, and too high for one in thousands",
    ),
    key(
        "per_source_half_open",
        &[],
        COUNT,
        "an eighth of `capacity`",
        "handshakes of TCP and SCTP that one source address may have under way in a zone",
    ),
    key(
        "per_source_rate",
        &[],
        COUNT,
        "any number",
        "connections that one source address may open in a second in a zone; one more is dropped as `connection_rate`",
    ),
    key(
        "per_zone",
        &[],
        COUNT,
        "any number",
        "connections that a zone (a router with all its networks) may have",
    ),
    key(
        "per_zone_half_open",
        &[],
        COUNT,
        "any number",
        "handshakes of TCP and SCTP that a zone may have under way",
    ),
];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Connections, Reported> {
    let default = Connections::default();
    let capacity = section.or("capacity", default.capacity, value::integer(CAPACITY.0..=CAPACITY.1));
    let tcp_loose = section.or("tcp_loose", default.tcp_loose, value::boolean);
    let mut part = |key| section.optional(key, value::integer(PART.0..=PART.1));
    let per_source = part("per_source");
    let per_source_half_open = part("per_source_half_open");
    let per_source_rate = part("per_source_rate");
    let per_zone = part("per_zone");
    let per_zone_half_open = part("per_zone_half_open");
    let timeouts = Timeouts::read(section);
    if let (Ok(capacity), Ok(Some(limit))) = (&capacity, &per_source)
        && limit > capacity
    {
        let message =
            format!("{limit} connections are more than `capacity` has room for; choose at most {capacity}");
        section.report("per_source", message);
    }
    section.refuse_others(None);
    Ok(Connections {
        capacity: capacity?,
        tcp_loose: tcp_loose?,
        per_source: per_source?,
        per_source_half_open: per_source_half_open?,
        per_source_rate: per_source_rate?,
        per_zone: per_zone?,
        per_zone_half_open: per_zone_half_open?,
        timeouts: timeouts?,
    })
}
