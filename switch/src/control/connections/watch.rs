//! Watching connections, and how the table is doing.

use std::sync::Arc;

use super::super::Control;
use super::ConnectionRow;
use crate::drop::DropReason;
use crate::state::events::WATCHERS;
use crate::state::{ByZone, Change, Event, Table};

/// A watch of connections. It goes on until [`Control::end_watch`].
#[derive(Debug)]
pub struct Watch {
    table: Arc<Table>,
    place: usize,
    timeouts: ByZone,
}

/// Why nothing is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// No network keeps connections.
    #[error("no network keeps connections, so there are none to watch; see docs/connections.md for which do")]
    NoTable,
    /// Enough others watch.
    #[error("{WATCHERS} others watch connections; end one of them first")]
    TooMany,
}

impl Watch {
    /// The oldest event that was not taken yet.
    pub fn next(&self) -> Option<(Change, ConnectionRow)> {
        let Event { change, connection } = self.table.events().next(self.place)?;
        let remaining = match change {
            Change::Destroy => 0,
            // It has just been seen.
            Change::New | Change::Update => self.timeouts.of(&connection.original, connection.state),
        };
        Some((change, ConnectionRow { connection, remaining }))
    }

    /// Events that were lost because they were taken too slowly.
    pub fn lost(&self) -> u64 {
        self.table.events().lost(self.place)
    }
}

/// How the connection table is doing. Counts are since the daemon started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionStatistics {
    /// Connections that there is room for; 0 while no network keeps any.
    pub capacity: u64,
    /// Connections.
    pub entries: u64,
    /// Handshakes under way among them.
    pub half_open: u64,
    /// Bytes of memory that the table takes.
    pub bytes: u64,
    /// Datagrams of which fragments are under way.
    pub fragments: u64,
    /// Packets that walked the stages and were of a known connection. Those of cached flows are not among them.
    pub found: u64,
    /// Connections that were entered.
    pub opened: u64,
    /// Connections that ended by silence.
    pub expired: u64,
    /// Connections that were ended by hand.
    pub deleted: u64,
    /// Packets that were dropped for a reason that has to do with connections, by its name; those that happened.
    pub refused: Vec<(DropReason, u64)>,
    /// Zones that have connections: number, name of the router or of the network that has none, connections, handshakes under way.
    pub zones: Vec<(u16, String, u32, u32)>,
}

/// Reasons for which a packet is refused for want of a connection or of a translation, in the order in which they are shown.
pub(crate) const REFUSED: [DropReason; 10] = [
    DropReason::InvalidState,
    DropReason::Untracked,
    DropReason::ConnectionsFull,
    DropReason::ConnectionLimit,
    DropReason::ConnectionRate,
    DropReason::ConnectionZone,
    DropReason::ConnectionBusy,
    DropReason::ConnectionGone,
    DropReason::MasqueradePorts,
    DropReason::NoMasqueradeAddress,
];
/// Shown behind these: a fragment has no connection before it is known whose it is.
const FRAGMENTS: [DropReason; 8] = [
    DropReason::FragmentOverlap,
    DropReason::FragmentDuplicate,
    DropReason::FragmentUnfit,
    DropReason::FragmentTiny,
    DropReason::FragmentTooMany,
    DropReason::FragmentNoFirst,
    DropReason::FragmentRoom,
    DropReason::FragmentBusy,
];

impl Control {
    /// Begins to watch connections.
    ///
    /// # Errors
    /// There are none, or enough others watch.
    pub fn watch_connections(&mut self) -> Result<Watch, WatchError> {
        let table = self.connections.table().ok_or(WatchError::NoTable)?;
        let place = table.events().watch().ok_or(WatchError::TooMany)?;
        Ok(Watch { table, place, timeouts: self.connections.timeouts.clone() })
    }

    /// Ends a watch.
    pub fn end_watch(&mut self, watch: &Watch) {
        watch.table.events().end(watch.place);
    }

    /// How the connection table is doing.
    pub fn connection_statistics(&self) -> ConnectionStatistics {
        let mut statistics = ConnectionStatistics {
            expired: self.connections.expired,
            deleted: self.connections.deleted,
            fragments: self.connections.fragments().map_or(0, |it| it.open(self.now()) as u64),
            ..ConnectionStatistics::default()
        };
        for worker in &self.workers {
            statistics.found += worker.counters.connections.found.get();
            statistics.opened += worker.counters.connections.opened.get();
        }
        let mut totals = self.departed.all().clone();
        self.ports.iter().for_each(|port| totals.add(&self.totals(port)));
        let counts = REFUSED.iter().chain(&FRAGMENTS).map(|reason| (*reason, totals.dropped(*reason)));
        statistics.refused = counts.filter(|(_, count)| *count > 0).collect();
        if let Some(table) = self.connections.table() {
            (statistics.entries, statistics.half_open) = table.count();
            statistics.capacity = table.capacity() as u64;
            statistics.bytes = table.bytes() as u64;
            for (name, zone) in self.zones.iter() {
                let count = table.zone_count(zone);
                if count.connections > 0 {
                    statistics.zones.push((zone, name, count.connections, count.half_open));
                }
            }
        }
        statistics
    }
}
