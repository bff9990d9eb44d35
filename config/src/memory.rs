//! `[memory]`: packet buffers and hugepages. Fixed when the daemon starts.

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::section::Section;
use crate::value;

/// Where packet memory comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// Hugepages when enough are free, ordinary pages otherwise.
    #[default]
    Auto,
    /// Ordinary pages always.
    Never,
    /// Hugepages, or the daemon does not start.
    Require,
}

/// Packet memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Use of hugepages.
    pub hugepages: Hugepages,
    /// Number of packet buffers, shared by all ports; 1,024 to 4,194,304.
    pub mbufs: u32,
    /// Bytes of packet that one buffer holds, without headroom; 1,024 to 9,600. Longer frames take several.
    pub mbuf_size: u16,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { hugepages: Hugepages::Auto, mbufs: 16_384, mbuf_size: 2_048 }
    }
}

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "hugepages",
        kinds: &[],
        takes: "`\"auto\"`, `\"never\"` or `\"require\"`",
        default: "\"auto\"",
        meaning: "`auto` uses hugepages when enough are free; `require` does not start without",
    },
    Key {
        name: "mbufs",
        kinds: &[],
        takes: "integer, 1024 to 4194304 buffers",
        default: "16384",
        meaning: "packet buffers, shared by all ports; each takes about `mbuf_size` + 320 bytes",
    },
    Key {
        name: "mbuf_size",
        kinds: &[],
        takes: "integer, 1024 to 9600 bytes",
        default: "2048",
        meaning: "bytes of packet per buffer, without headroom; a longer frame takes several buffers",
    },
];

const HUGEPAGES: &[(&str, Hugepages)] =
    &[("auto", Hugepages::Auto), ("never", Hugepages::Never), ("require", Hugepages::Require)];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Memory, Reported> {
    let default = Memory::default();
    let hugepages = section.or("hugepages", default.hugepages, value::one_of(HUGEPAGES));
    let mbufs = section.or("mbufs", default.mbufs, value::integer(1_024..=4_194_304));
    let mbuf_size = section.or("mbuf_size", default.mbuf_size, value::integer(1_024..=9_600));
    section.refuse_others(None);
    Ok(Memory { hugepages: hugepages?, mbufs: mbufs?, mbuf_size: mbuf_size? })
}
