//! The control side of connections: the table, made when it is first needed; its zones; the walk that ends what has been
//! silent for too long.

mod settings;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use shunt_config::{Config, Network, NetworkName, Router, RouterName};

use super::Control;
use super::status::{ConnectionTableRow, percent};
use crate::state::{
    ByZone, ConnRef, Connection, Fragments, Removal, Size, Stock, Table, Tally, Tuple, table::NoTable,
};

pub(crate) use watch::REFUSED;
pub use watch::{ConnectionStatistics, Watch, WatchError};

/// Slots that are looked at in one turn, ten times a second: a table of 262,144 is gone through in about two seconds.
const TURN: usize = 16_384;
/// Of these at a time: what else the control thread has to do waits for so many, also when all of them end.
const SLICE: usize = 2_048;
/// The part of the table that is counted by kind in one turn, and how many slots that is at least and at most: a table of 262,144 is
/// gone through in three seconds, and a turn takes less than a millisecond of the control thread.
const COUNTED_PART: usize = 32;
const COUNTED: (usize, usize) = (1_024, 8_192);
/// Connections that are listed at a time, and slots that are looked at for them.
const LISTED: usize = 4_096;
const LOOKED_AT: usize = 16_384;
/// Connections that are ended by hand at a time, which takes longer than to list them.
const ENDED: usize = 1_024;

/// What the control thread has of connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    table: Option<Arc<Table>>,
    fragments: Option<Arc<Fragments>>,
    stock: Stock,
    timeouts: ByZone,
    /// Where the sweep goes on, and how many slots this turn still has.
    next: usize,
    due: usize,
    /// How many there are of which kind, as the last whole walk found; the walk under way and where it goes on.
    tally: Tally,
    counting: (Tally, usize),
    /// Connections that it has ended, and those that were ended by hand.
    expired: u64,
    deleted: u64,
}

/// The numbers of routers, and of networks without one, among connections: each keeps its own as long as the daemon runs,
/// wherever it is in the configuration, and none gets that of another.
#[derive(Debug, Default)]
pub(super) struct Zones(BTreeMap<Place, u16>);

/// Whose connections are apart from others'.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Router(RouterName),
    Network(NetworkName),
}

impl Zones {
    /// The number of `router`, or of `network` when it has none.
    pub(super) fn of(&mut self, router: Option<&RouterName>, network: &NetworkName) -> u16 {
        self.number(match router {
            Some(router) => Place::Router(router.clone()),
            None => Place::Network(network.clone()),
        })
    }

    /// The number of `router`, if no network has asked for it yet.
    fn of_router(&mut self, router: &RouterName) -> u16 {
        self.number(Place::Router(router.clone()))
    }

    fn number(&mut self, place: Place) -> u16 {
        let next = u16::try_from(self.0.len() + 1).unwrap_or(u16::MAX);
        *self.0.entry(place).or_insert(next)
    }

    /// The router of that number.
    pub(super) fn router(&self, zone: u16) -> Option<&RouterName> {
        self.0.iter().find(|(_, number)| **number == zone).and_then(|(place, _)| match place {
            Place::Router(router) => Some(router),
            Place::Network(_) => None,
        })
    }

    /// All of them, with the name of the router or network.
    fn iter(&self) -> impl Iterator<Item = (String, u16)> {
        self.0.iter().map(|(place, zone)| match place {
            Place::Router(router) => (router.to_string(), *zone),
            Place::Network(network) => (network.to_string(), *zone),
        })
    }
}

impl Connections {
    /// Makes the table, when `config` needs one and there is none. It stays until the daemon ends: connections outlive a
    /// configuration that is taken back.
    pub(super) fn provide(&mut self, config: &Config, workers: usize, seed: u64) -> Result<(), NoTable> {
        let needed = !config.services.is_empty()
            || config.cluster.has_policies()
            || config.routers.iter().any(Router::translates)
            || config.networks.iter().any(Network::translates);
        if !needed || self.table.is_some() {
            return Ok(());
        }
        let capacity = config.connections.capacity as usize;
        let size = Size { capacity, threads: workers + 1, limits: settings::limits(&config.connections) };
        let table = Table::new(size, seed)?;
        table.set_loose(config.connections.tcp_loose);
        tracing::info!(connections = capacity, mib = table.bytes() >> 20, "connection table made");
        self.table = Some(Arc::new(table));
        self.fragments = Some(Arc::new(Fragments::new(!seed)));
        Ok(())
    }

    /// Takes over other settings: for connections to come.
    pub(super) fn configure(&mut self, settings: &shunt_config::Connections) {
        if let Some(table) = &self.table {
            table.set_limits(&settings::limits(settings));
            table.set_loose(settings.tcp_loose);
        }
    }

    /// From now on connections live as long as `config` says, those that there are, too.
    pub(super) fn time(&mut self, config: &Config, zones: &mut Zones) {
        let all = &config.connections.timeouts;
        let own = config.routers.iter().filter(|router| !router.timeouts.are_none());
        let own =
            own.map(|router| (zones.of_router(&router.name), settings::timeouts(&router.timeouts.over(all))));
        self.timeouts = ByZone::new(settings::timeouts(all), own);
    }

    /// The table, for topologies.
    pub(super) fn table(&self) -> Option<Arc<Table>> {
        self.table.clone()
    }

    /// The datagrams of which fragments are under way, for topologies.
    pub(super) fn fragments(&self) -> Option<Arc<Fragments>> {
        self.fragments.clone()
    }

    /// How full the table is, where there is one.
    pub(super) fn row(&self) -> Option<ConnectionTableRow> {
        let table = self.table.as_ref()?;
        let (entries, half_open) = table.count();
        let capacity = table.capacity() as u64;
        let pressure_percent = percent(entries, capacity);
        Some(ConnectionTableRow { entries, capacity, half_open, pressure_percent })
    }

    /// Another turn of ending connections that have been silent for too long is due.
    pub(super) fn begin_turn(&mut self) {
        self.due = if self.table.is_some() { TURN } else { 0 };
    }

    /// True while a turn is not over.
    pub(super) fn is_sweeping(&self) -> bool {
        self.due > 0
    }

    /// Goes on with the turn.
    pub(super) fn sweep_some(&mut self, now: u32) {
        let Some(table) = &self.table else { return };
        let swept = table.sweep(&mut self.stock, self.next, SLICE.min(self.due), now, &self.timeouts, |_| {});
        self.due = self.due.saturating_sub(SLICE);
        self.next = swept.next.unwrap_or(0);
        self.expired += swept.ended as u64;
    }

    /// Goes on counting connections by kind.
    pub(super) fn count_kinds(&mut self) {
        let Some(table) = &self.table else { return };
        let budget = (table.capacity() / COUNTED_PART).clamp(COUNTED.0, COUNTED.1);
        let (counting, from) = &mut self.counting;
        match table.tally(*from, budget, counting) {
            Some(next) => *from = next,
            None => {
                self.tally = std::mem::take(counting);
                *from = 0;
            }
        }
    }

    /// How many there are of which kind: some seconds old.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Live connections from slot `from` on, and where to go on.
    pub(super) fn list_some(&self, from: usize) -> (Vec<Connection>, Option<usize>) {
        self.list(from, LISTED)
    }

    fn list(&self, from: usize, most: usize) -> (Vec<Connection>, Option<usize>) {
        let mut rows = Vec::with_capacity(most);
        let next = self.table.as_ref().and_then(|table| table.list(from, LOOKED_AT, &mut rows));
        (rows, next)
    }

    pub(super) fn remove(&mut self, conn: ConnRef) -> bool {
        let Some(table) = &self.table else { return false };
        // A bucket is held for less than a microsecond at a time.
        loop {
            match table.remove(&mut self.stock, conn) {
                Removal::Removed(_) => {
                    self.deleted += 1;
                    return true;
                }
                Removal::Gone => return false,
                Removal::Busy => std::thread::yield_now(),
            }
        }
    }
}

/// A connection as `shunt conntrack` shows it.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionRow {
    /// The connection.
    pub connection: Connection,
    /// Seconds until it is forgotten, if nothing more comes.
    pub remaining: u32,
}

/// Which connections are meant; what is `None` is anything.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// IANA protocol number.
    pub protocol: Option<u8>,
    /// Who opened it.
    pub source: Option<std::net::IpAddr>,
    /// Whom it was opened to.
    pub destination: Option<std::net::IpAddr>,
    /// The port that it was opened from: then it has ports, and no identifier in their place.
    pub source_port: Option<u16>,
    /// The port that it was opened to; likewise.
    pub destination_port: Option<u16>,
}

impl Which {
    pub(super) fn has(&self, original: &Tuple) -> bool {
        self.protocol.is_none_or(|protocol| protocol == original.protocol())
            && self.source.is_none_or(|source| source == original.source())
            && self.destination.is_none_or(|destination| destination == original.destination())
            && self.has_ports(original)
    }

    fn has_ports(&self, original: &Tuple) -> bool {
        let has = original.has_ports() && original.echo().is_none();
        self.source_port.is_none_or(|port| has && port == original.source_port())
            && self.destination_port.is_none_or(|port| has && port == original.destination_port())
    }
}

impl Control {
    /// Live connections in no order, some of them, from slot `from` on; and where to go on, if not at the end.
    pub fn connections(&self, which: &Which, from: usize) -> (Vec<ConnectionRow>, Option<usize>) {
        let now = self.now();
        let (rows, next) = self.connections.list_some(from);
        let rows = rows.into_iter().filter(|row| which.has(&row.original));
        let rows = rows.map(|connection| {
            let patience = self.connections.timeouts.of(&connection.original, connection.state);
            let silent = now.saturating_sub(connection.seen);
            ConnectionRow { connection, remaining: patience.saturating_sub(silent) }
        });
        (rows.collect(), next)
    }

    /// Ends some connections, from slot `from` on; returns how many, and where to go on, if not at the end: what else is to be done
    /// has its turn in between. Their next packets are first packets.
    pub fn end_connections(&mut self, which: &Which, from: usize) -> (usize, Option<usize>) {
        let (rows, next) = self.connections.list(from, ENDED);
        let meant = rows.iter().filter(|row| which.has(&row.original));
        let ended = meant.filter(|row| self.connections.remove(row.conn)).count();
        (ended, next)
    }
}
