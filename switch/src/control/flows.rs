//! What the workers' flow caches hold: collected piece by piece, so that no worker stops and the control thread goes on
//! with other work in between.
//!
//! A worker copies the flows of [`DUMP_PLACES`](crate::worker::mailbox::DUMP_PLACES) places for one command and goes back to its queues.
//! A [`FlowWalk`] keeps the busiest flows up to its limit and counts the others; its memory is bounded by the limit. Flows
//! that come, go or move during the walk may be missed.

pub mod words;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::Serialize;

pub use super::rules::Uses;
use super::{Control, why};
use crate::flow::Actions;
use crate::flow::cache::Entry;
use crate::ids::PortId;
use crate::topology::Topology;
use crate::worker::mailbox::{Command, FlowDump, NoAnswer, Reply};
use words::Names;

/// Flows that are returned when nobody says how many.
pub const LIMIT: usize = 10_000;
/// Flows that are returned at most: 150 MB.
pub const LIMIT_MAX: usize = 1_000_000;
/// Flows that one piece has room for.
const PIECE: usize = 256;
/// Pieces that are asked for before the control thread turns to other work.
const PIECES: usize = 32;

/// A flow in the cache of a worker.
#[derive(Clone, Debug, Serialize)]
pub struct FlowRow {
    /// Index of the worker.
    pub worker: usize,
    /// Port its frames come in by.
    pub port: String,
    /// The header fields in its key, as an expression that `shunt trace` takes.
    pub r#match: String,
    /// Frames so far.
    pub packets: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Seconds since its last frame.
    pub age: u32,
    /// Generation under which its actions were last found right.
    pub generation: u64,
    /// What they rest on has changed since: its next frame is decided anew.
    pub stale: bool,
    /// What is done, in order.
    pub actions: Vec<String>,
}

/// Why there are no flows.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// There is no such port.
    #[error("there is no port {0:?}; `shunt show ports` lists them")]
    NoPort(String),
    /// A worker hangs.
    #[error("worker {worker}: {source}")]
    NoAnswer {
        /// Its index.
        worker: usize,
        /// How long it was waited for.
        source: NoAnswer,
    },
}

/// A flow as the walk keeps it.
#[derive(Clone, Copy, Debug)]
struct Kept {
    worker: usize,
    now: u32,
    stale: bool,
    entry: Entry,
}

/// The order of flows: by frames, then by place. The heap's top is the one to give up first.
impl Kept {
    fn rank(&self) -> (u64, u64) {
        (self.entry.packets, self.entry.bytes)
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// A walk through all caches: [`Control::walk_flows`] until [`FlowWalk::is_done`], then [`FlowWalk::rows`].
#[derive(Debug)]
pub struct FlowWalk {
    limit: usize,
    port: Option<String>,
    worker: usize,
    workers: usize,
    /// The memory that travels to the workers and back.
    dump: Option<Box<FlowDump>>,
    kept: BinaryHeap<Reverse<Kept>>,
    found: u64,
    /// Flows are not kept but counted by the rules that they take.
    uses: Option<Uses>,
    /// Only flows whose actions are so are looked at.
    only: fn(&Actions) -> bool,
}

impl FlowWalk {
    /// A walk that keeps no flow and counts what they say of the rules' use.
    pub fn counting() -> Self {
        Self { uses: Some(Uses::default()), ..Self::new(0, None) }
    }

    /// What was counted.
    pub fn into_uses(self) -> Uses {
        self.uses.unwrap_or_default()
    }

    /// A walk that keeps the `limit` busiest flows (at most [`LIMIT_MAX`]), of one port or of all.
    pub fn new(limit: usize, port: Option<String>) -> Self {
        let dump = FlowDump { from: 0, now: 0, next: None, rows: Vec::with_capacity(PIECE) };
        Self {
            limit: limit.min(LIMIT_MAX),
            port,
            worker: 0,
            workers: usize::MAX,
            dump: Some(Box::new(dump)),
            kept: BinaryHeap::new(),
            found: 0,
            uses: None,
            only: |_| true,
        }
    }

    /// A walk that keeps the `limit` busiest of the flows that are refused.
    pub fn refused(limit: usize) -> Self {
        Self { only: why::is_refused, ..Self::new(limit, None) }
    }

    /// The flows that were kept, the busiest first, with the seconds since the last frame of each.
    pub(super) fn into_entries(self) -> Vec<(Entry, u32)> {
        let kept = self.kept.into_sorted_vec().into_iter();
        kept.map(|Reverse(kept)| (kept.entry, kept.now.saturating_sub(kept.entry.second))).collect()
    }

    /// True when all caches were walked.
    pub fn is_done(&self) -> bool {
        self.worker >= self.workers
    }

    /// Flows that were found and not kept.
    pub fn more(&self) -> u64 {
        self.found - self.kept.len() as u64
    }

    /// The flows, the busiest first.
    pub fn rows(self, names: &Names) -> Vec<FlowRow> {
        let kept = self.kept.into_sorted_vec();
        kept.into_iter().map(|Reverse(kept)| row(&kept, names)).collect()
    }

    fn keep(&mut self, kept: Kept) {
        self.found += 1;
        if self.kept.len() < self.limit {
            self.kept.push(Reverse(kept));
        } else if let Some(mut least) = self.kept.peek_mut()
            && least.0 < kept
        {
            *least = Reverse(kept);
        }
    }
}

fn row(kept: &Kept, names: &Names) -> FlowRow {
    let Kept { worker, now, stale, entry } = kept;
    FlowRow {
        worker: *worker,
        port: names.port(entry.key.port()),
        r#match: words::key(&entry.key),
        packets: entry.packets,
        bytes: entry.bytes,
        age: now.saturating_sub(entry.second),
        generation: names.generation & !u64::from(u32::MAX) | u64::from(entry.generation),
        stale: *stale,
        actions: words::actions(names, &entry.actions),
    }
}

impl Control {
    /// The `limit` busiest flows of all caches, or of one port's frames, and how many more there are. Blocks the control
    /// thread until all caches were walked; the API, which must not, goes by [`Control::walk_flows`].
    ///
    /// # Errors
    /// There is no such port, or a worker does not answer.
    pub fn flows(&self, limit: usize, port: Option<String>) -> Result<(Vec<FlowRow>, u64), FlowsError> {
        let mut walk = FlowWalk::new(limit, port);
        while !walk.is_done() {
            walk = self.walk_flows(walk)?;
        }
        let more = walk.more();
        Ok((walk.rows(&self.names()), more))
    }

    /// Goes on with a walk for some pieces.
    ///
    /// # Errors
    /// There is no such port (any more), or a worker does not answer.
    pub fn walk_flows(&self, mut walk: FlowWalk) -> Result<FlowWalk, FlowsError> {
        walk.workers = self.workers.len();
        let topology = self.publisher.current();
        let port = match &walk.port {
            None => None,
            Some(name) => Some(port_named(topology, name).ok_or_else(|| FlowsError::NoPort(name.clone()))?),
        };
        for _ in 0..PIECES {
            let (false, Some(mut dump)) = (walk.is_done(), walk.dump.take()) else { break };
            let worker = walk.worker;
            dump.rows.clear();
            (dump.now, dump.next) = (self.now(), None);
            let answer = self.ask(worker, Command::DumpFlows(dump));
            let answer = answer.map_err(|source| FlowsError::NoAnswer { worker, source })?;
            let Some(Reply::Flows(mut dump)) = answer else {
                // Any other reply would be to another command, and there is none under way: nothing more will come.
                walk.worker = walk.workers;
                break;
            };
            if let Some(uses) = &mut walk.uses
                && let Some(mut frame) = self.site.pool.frame(&[])
            {
                for entry in &dump.rows {
                    uses.add(topology, entry, &mut frame);
                }
                dump.rows.clear();
            }
            for entry in dump.rows.drain(..) {
                let ours = port.is_none_or(|port| port.index() == entry.key.port());
                if ours && (walk.only)(&entry.actions) {
                    let stale = is_stale(topology, &entry);
                    walk.keep(Kept { worker, now: dump.now, stale, entry });
                }
            }
            match dump.next {
                Some(next) => dump.from = next,
                None => (walk.worker, dump.from) = (worker + 1, 0),
            }
            walk.dump = Some(dump);
        }
        Ok(walk)
    }

    /// The names of the running topology, to put flows into words off the control thread.
    pub fn names(&self) -> Names {
        Names::of(self.publisher.current())
    }
}

/// The slot of the port with this name.
pub(super) fn port_named(topology: &Topology, name: &str) -> Option<PortId> {
    topology.ports().find(|port| port.name.as_str() == name).map(|port| port.id)
}

/// What a worker asks before it runs cached actions.
fn is_stale(topology: &Topology, entry: &Entry) -> bool {
    let ingress = PortId::new(entry.key.port()).and_then(|id| topology.port(id));
    let Some(port) = ingress else { return true };
    let stamps = topology.stamps();
    stamps.newest(&entry.rests_on).max(stamps.ingress(port.id)) > entry.generation
}

#[cfg(test)]
mod tests;
