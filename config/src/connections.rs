//! `[connections]`: how many connections the switch keeps for masquerading.

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::section::Section;
use crate::value;

/// Fewest and most connections.
const CAPACITY: (i64, i64) = (1_024, 16_777_216);

/// The connection table, shared by all workers. It takes memory only where a network is masqueraded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Connections that there is room for, 1,024 to 16,777,216.
    pub capacity: u32,
}

impl Default for Connections {
    fn default() -> Self {
        Connections { capacity: 262_144 }
    }
}

pub(crate) const KEYS: &[Key] = &[Key {
    name: "capacity",
    kinds: &[],
    takes: "integer, 1024 to 16777216 connections",
    default: "262144",
    meaning: "connections that there is room for, at some 220 bytes each, taken when a network is masqueraded; what would be one more is dropped as `connections_full`",
}];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Connections, Reported> {
    let default = Connections::default();
    let capacity = section.or("capacity", default.capacity, value::integer(CAPACITY.0..=CAPACITY.1));
    section.refuse_others(None);
    Ok(Connections { capacity: capacity? })
}
