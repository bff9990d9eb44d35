//! The path of most rows: `net_pcap infinite_rx` -> what is measured -> `net_null`, 64 B frames, one core, hugepages.
//!
//! One file for each contestant: shuntd, Open vSwitch with DPDK, and testpmd on the same devices with nothing in between. `opening` is
//! for inputs that have each connection once: what counts is how fast there are more.
//! An input of more than [`PER_FILE`] frames comes from several sources, because a pool of Open vSwitch has 262,144 buffers at
//! most and `net_pcap infinite_rx` keeps the whole file in it; ours and the floor then have the same sources. Each is a pod of
//! its own, with its own addresses.

mod floor;
mod open_vswitch;
mod opening;
mod ours;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use shunt_tests::Hugepages;

pub use floor::testpmd_io;
pub use open_vswitch::{Rules, SINK, SOURCES, TUNNEL, TunnelSide, open_vswitch, open_vswitch_opening};
pub use opening::Opening;
pub use ours::{ENTERED_PERCENT, HIT_PERCENT, Settings, configured, ours, ours_opening, sources, start};

/// Frames in one file at most.
pub const PER_FILE: u32 = 250_000;
/// Packet buffers for what is under way; the frames of the input come on top. As many as shuntd's default.
const UNDER_WAY: u32 = 16_384;
/// Bytes of a buffer with everything around it, for estimates.
const BUFFER: u64 = 2_688;

/// Input files, one for each source.
#[derive(Clone, Debug)]
pub struct Input {
    /// The files.
    pub captures: Vec<PathBuf>,
    /// Frames in all of them.
    pub frames: u32,
}

impl Input {
    /// Packet buffers that a contestant with one pool needs.
    fn mbufs(&self) -> u32 {
        // What shuntd has by default is what small inputs are measured with.
        if self.frames <= 1_000 { UNDER_WAY } else { UNDER_WAY + self.frames }
    }

    /// 2 MiB pages that the hungriest contestant needs.
    pub fn pages(&self) -> u32 {
        if self.captures.len() > 1 {
            // Open vSwitch: a pool of 262,144 buffers for each source, of 1, 2, 3 and 4 KiB.
            return self.pool_pages().max(1_700);
        }
        crate::peer::ovs::PAGES
    }

    /// 2 MiB pages of one pool of all buffers. What does not cross the end of a page is lost, a twentieth of the whole.
    fn pool_pages(&self) -> u32 {
        self.megabytes() / 2 * 21 / 20
    }

    /// MiB of hugepages for one pool of all buffers.
    fn megabytes(&self) -> u32 {
        let pool = u64::from(self.mbufs()) * BUFFER;
        u32::try_from(pool >> 20).unwrap_or(u32::MAX) + 128
    }

    /// Caches and flow tables are warm after this: the larger the input, the longer a lap takes.
    fn warm_up(&self) -> Duration {
        Duration::from_secs(if self.frames < 100_000 { 2 } else { 4 })
    }
}

/// One set of pages for all contestants. Memory that is too scattered is put in order first: of long-running machines, most
/// is page cache in small pieces.
///
/// # Errors
/// Not root, or too little memory all the same.
pub fn pages(input: &Input) -> Result<Hugepages> {
    if let Ok(pages) = Hugepages::reserve(input.pages()) {
        return Ok(pages);
    }
    for (file, value) in [("drop_caches", "1"), ("compact_memory", "1")] {
        let path = format!("/proc/sys/vm/{file}");
        fs::write(&path, value).with_context(|| format!("write {path}"))?;
    }
    Ok(Hugepages::reserve(input.pages())?)
}

/// Device arguments of a source.
fn source(index: usize, capture: &Path) -> String {
    format!("net_pcap{index},rx_pcap={},infinite_rx=1", capture.display())
}
