//! `[flow_cache]`: what each worker remembers of the flows it forwards. Fixed when the daemon starts.

use std::time::Duration;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::section::Section;
use crate::value;

/// Most flows that a worker may be given memory for.
pub const FLOWS_MAX: u32 = 4_194_304;
/// Rarest re-check: one hit in so many.
const VERIFY_MAX: i64 = 1_000_000_000;

/// Which fields of a frame tell flows apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyFields {
    /// Those that the stages of the frame's network read.
    #[default]
    Needed,
    /// Every field that the parser knows.
    Full,
}

/// What each worker remembers of the flows it forwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowCache {
    /// Flows per worker as configured, 0 to [`FLOWS_MAX`]; 0 is no cache. See [`FlowCache::capacity`].
    pub entries: u32,
    /// Which fields tell flows apart.
    pub key: KeyFields,
    /// One cached decision in so many is made anew and compared; 0 is none.
    pub verify: u32,
    /// While new flows seldom come again, only a few are remembered: entering the others costs more than it saves.
    pub back_off: bool,
    /// Time without traffic after which a flow is forgotten.
    #[serde(serialize_with = "crate::write::duration")]
    pub idle_timeout: Duration,
}

impl Default for FlowCache {
    fn default() -> Self {
        FlowCache {
            entries: 262_144,
            key: KeyFields::Needed,
            verify: 65_536,
            back_off: true,
            idle_timeout: Duration::from_secs(10),
        }
    }
}

impl FlowCache {
    /// Flows there is room for: `entries` rounded up to a power of two, 0 when the cache is off.
    pub fn capacity(&self) -> usize {
        if self.entries == 0 { 0 } else { (self.entries as usize).next_power_of_two() }
    }
}

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "entries",
        kinds: &[],
        takes: "integer, 0 to 4194304 flows",
        default: "262144",
        meaning: "flows that each worker remembers, rounded up to a power of two; 0 turns the cache off",
    },
    Key {
        name: "key",
        kinds: &[],
        takes: "`\"needed\"` or `\"full\"`",
        default: "\"needed\"",
        meaning: "what tells flows apart: `needed`, the fields that the network's stages read; `full`, every field (for measuring)",
    },
    Key {
        name: "verify",
        kinds: &[],
        takes: "integer, 0 to 1000000000",
        default: "65536",
        meaning: "one remembered decision in so many is made anew and compared; 0 is never",
    },
    Key {
        name: "back_off",
        kinds: &[],
        takes: "boolean",
        default: "true",
        meaning: "remembers few of the new flows while they seldom come again; `false`, every one, whatever it displaces (for measuring)",
    },
    Key {
        name: "idle_timeout",
        kinds: &[],
        takes: "duration, 1s to 1day",
        default: "\"10s\"",
        meaning: "time without traffic after which a flow is forgotten",
    },
];

const FIELDS: &[(&str, KeyFields)] = &[("needed", KeyFields::Needed), ("full", KeyFields::Full)];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<FlowCache, Reported> {
    let default = FlowCache::default();
    let entries = section.or("entries", default.entries, value::integer(0..=i64::from(FLOWS_MAX)));
    let key = section.or("key", default.key, value::one_of(FIELDS));
    let verify = section.or("verify", default.verify, value::integer(0..=VERIFY_MAX));
    let back_off = section.or("back_off", default.back_off, value::boolean);
    let day = Duration::from_secs(24 * 60 * 60);
    let idle_timeout =
        section.or("idle_timeout", default.idle_timeout, value::duration(Duration::from_secs(1)..=day));
    section.refuse_others(None);
    Ok(FlowCache {
        entries: entries?,
        key: key?,
        verify: verify?,
        back_off: back_off?,
        idle_timeout: idle_timeout?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_a_power_of_two_or_none() {
        let room = |entries| FlowCache { entries, ..FlowCache::default() }.capacity();
        assert_eq!([0, 1, 3, 65_536, FLOWS_MAX].map(room), [0, 1, 4, 65_536, 4_194_304]);
    }
}
