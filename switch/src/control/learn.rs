//! What traffic taught: MAC addresses per network, with age, moves and limits; neighbours for L3 ports.
//!
//! Workers send [`Lesson`]s; here they become rows, and the rows become the next [`Fdb`] and [`NeighborTable`]. A table
//! is rebuilt only for a network whose rows changed.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_config::NetworkName;

use super::Control;
use crate::ids::PortId;
use crate::table::fdb::{Fdb, Row};
use crate::table::neighbor::{Neighbor, NeighborTable};
use crate::wire::ethernet::Mac;
use crate::worker::Lesson;

/// Neighbours learned per network at most.
const NEIGHBOR_LIMIT: usize = 8192;

/// A learned address.
#[derive(Clone, Copy, Debug)]
struct Station {
    port: PortId,
    /// Seconds since start when traffic was last seen, as far as the control thread knows.
    last_seen: u32,
}

/// What is known of one network.
#[derive(Debug)]
pub(super) struct NetworkLessons {
    macs: HashMap<Mac, Station>,
    /// How many of `macs` are behind each port: a limit must cost the same however many addresses a tenant invents.
    behind: HashMap<PortId, usize>,
    neighbors: HashMap<IpAddr, Mac>,
    dirty: bool,
    fdb: Arc<Fdb>,
    table: Arc<NeighborTable>,
    /// Addresses that turned up behind another port.
    pub(super) moves: u64,
    /// Addresses not learned because a limit was reached.
    pub(super) refused: u64,
}

impl Default for NetworkLessons {
    fn default() -> Self {
        Self {
            macs: HashMap::new(),
            behind: HashMap::new(),
            neighbors: HashMap::new(),
            dirty: true,
            fdb: Arc::new(Fdb::build([].into_iter())),
            table: Arc::default(),
            moves: 0,
            refused: 0,
        }
    }
}

/// All networks' lessons.
#[derive(Debug, Default)]
pub(super) struct Learned {
    networks: HashMap<NetworkName, NetworkLessons>,
    last_ageing: Option<Instant>,
}

impl Learned {
    pub(super) fn network(&mut self, name: &NetworkName) -> &mut NetworkLessons {
        self.networks.entry(name.clone()).or_default()
    }

    pub(super) fn get(&self, name: &NetworkName) -> Option<&NetworkLessons> {
        self.networks.get(name)
    }

    /// Forgets networks that are not in `keep`.
    pub(super) fn retain(&mut self, keep: &HashSet<NetworkName>) {
        self.networks.retain(|name, _| keep.contains(name));
    }

    /// Forgets everything behind `port`.
    pub(super) fn forget_port(&mut self, port: PortId) {
        for network in self.networks.values_mut() {
            let before = network.macs.len();
            let gone: HashSet<Mac> =
                network.macs.iter().filter(|(_, row)| row.port == port).map(|(mac, _)| *mac).collect();
            network.macs.retain(|mac, _| !gone.contains(mac));
            network.behind.remove(&port);
            network.neighbors.retain(|_, mac| !gone.contains(mac));
            network.dirty |= network.macs.len() != before;
        }
    }
}

impl NetworkLessons {
    /// The tables, rebuilt if anything changed. `fixed` are the rows that configuration gives (L3 ports).
    pub(super) fn tables(&mut self, fixed: &[(Mac, PortId, Vec<IpAddr>)]) -> (Arc<Fdb>, Arc<NeighborTable>) {
        if self.dirty {
            self.refresh();
            let given =
                fixed.iter().map(|(mac, port, _)| Row { mac: *mac, port: *port, fixed: true, last_seen: 0 });
            let learned = self.macs.iter().map(|(mac, row)| Row {
                mac: *mac,
                port: row.port,
                fixed: false,
                last_seen: row.last_seen,
            });
            let rows: Vec<Row> = given.chain(learned).collect();
            self.fdb = Arc::new(Fdb::build(rows.into_iter()));
            let own = fixed.iter().flat_map(|(mac, _, addresses)| {
                addresses.iter().map(|address| (*address, Neighbor { mac: *mac, own: true }))
            });
            let others =
                self.neighbors.iter().map(|(address, mac)| (*address, Neighbor { mac: *mac, own: false }));
            self.table = Arc::new(NeighborTable::build(own.chain(others)));
            self.dirty = false;
        }
        (self.fdb.clone(), self.table.clone())
    }

    fn count_behind(&mut self) {
        self.behind.clear();
        for row in self.macs.values() {
            *self.behind.entry(row.port).or_default() += 1;
        }
    }

    /// Takes over the ages that workers wrote into the running table.
    fn refresh(&mut self) {
        for entry in self.fdb.iter().filter(|entry| !entry.is_fixed()) {
            if let Some(row) = self.macs.get_mut(&entry.mac())
                && row.port == entry.port()
            {
                row.last_seen = row.last_seen.max(entry.last_seen());
            }
        }
    }

    /// Marks the tables for rebuilding (a fixed row changed).
    pub(super) fn invalidate(&mut self) {
        self.dirty = true;
    }

    /// Learned addresses: MAC, port, seconds since last seen.
    pub(super) fn rows(&self, now: u32) -> Vec<(Mac, PortId, bool, u32)> {
        let age = |last: u32| now.saturating_sub(last);
        self.fdb
            .iter()
            .map(|entry| (entry.mac(), entry.port(), entry.is_fixed(), age(entry.last_seen())))
            .collect()
    }
}

impl Control {
    /// Seconds on the workers' clock.
    pub(super) fn now(&self) -> u32 {
        self.started.elapsed().as_secs() as u32
    }

    /// Notes one lesson; publishing follows soon.
    pub(super) fn study(&mut self, lesson: Lesson) {
        let now = self.now();
        let Some(port) = self.ports.get(lesson.port) else { return };
        let (name, port_limit) = (port.config.network.clone(), port.config.mac_limit);
        let Some(network) = self.config.networks.iter().find(|network| network.name == name) else { return };
        let limit = network.mac_limit as usize;
        if !port.is_up() {
            return;
        }
        let lessons = self.learned.network(&name);
        if let Some((address, mac)) = lesson.neighbor
            && (lessons.neighbors.len() < NEIGHBOR_LIMIT || lessons.neighbors.contains_key(&address))
        {
            lessons.dirty |= lessons.neighbors.insert(address, mac) != Some(mac);
        }
        if lesson.source.is_group() || lesson.source == Mac(0) {
            return;
        }
        if lessons.fdb.get(lesson.source).is_some_and(crate::table::fdb::Entry::is_fixed) {
            return;
        }
        match lessons.macs.get_mut(&lesson.source) {
            Some(row) if row.port == lesson.port => row.last_seen = now,
            Some(row) => {
                let from = std::mem::replace(row, Station { port: lesson.port, last_seen: now }).port;
                if let Some(count) = lessons.behind.get_mut(&from) {
                    *count -= 1;
                }
                *lessons.behind.entry(lesson.port).or_default() += 1;
                lessons.moves += 1;
                lessons.dirty = true;
            }
            None => {
                let behind = lessons.behind.entry(lesson.port).or_default();
                if lessons.macs.len() >= limit || port_limit.is_some_and(|limit| *behind >= limit as usize) {
                    lessons.refused += 1;
                    return;
                }
                *behind += 1;
                lessons.macs.insert(lesson.source, Station { port: lesson.port, last_seen: now });
                lessons.dirty = true;
            }
        }
    }

    /// Publishes what was learned since the last time, if anything.
    pub(super) fn publish_lessons(&mut self) {
        if self.learned.networks.values().any(|network| network.dirty) {
            self.publish_briefly("learned addresses");
        }
    }

    /// Forgets addresses that have been silent for longer than their network's ageing time. Once a second.
    pub(super) fn age(&mut self) {
        if self.learned.last_ageing.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            return;
        }
        self.learned.last_ageing = Some(Instant::now());
        let now = self.now();
        let ageing: HashMap<&NetworkName, u64> = self
            .config
            .networks
            .iter()
            .map(|network| (&network.name, network.mac_ageing.as_secs()))
            .collect();
        let mut aged = false;
        for (name, network) in &mut self.learned.networks {
            let Some(&limit) = ageing.get(name).filter(|limit| **limit > 0) else { continue };
            network.refresh();
            let before = network.macs.len();
            network.macs.retain(|_, row| u64::from(now.saturating_sub(row.last_seen)) <= limit);
            network.count_behind();
            if network.macs.len() != before {
                let macs = &network.macs;
                network.neighbors.retain(|_, mac| macs.contains_key(mac));
                network.dirty = true;
                aged = true;
            }
        }
        if aged {
            self.publish_briefly("aged addresses");
        }
    }
}
