//! What traffic taught: MAC addresses per network, with age, moves and limits; neighbours where the switch has addresses.
//!
//! Workers send [`Lesson`]s; here they become rows, and the rows become the next [`Fdb`] and [`NeighborTable`]. A table is
//! rebuilt only when its own rows changed.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_config::{NetworkName, Overlay};

use super::Control;
use super::neighbors::{Neighbors, has_l3_port, learnable};
use crate::ids::PortId;
use crate::table::fdb::{Entry, Fdb, Place, Row};
use crate::table::neighbor::{Neighbor, NeighborTable};
use crate::wire::ethernet::Mac;
use crate::worker::Lesson;

/// What configuration puts into the tables of one network.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Where addresses are.
    pub(super) stations: Vec<(Mac, Place)>,
    /// Whose addresses are whose; of two rows for one address the first counts.
    pub(super) neighbors: Vec<(IpAddr, Neighbor)>,
}

/// A learned address.
#[derive(Clone, Copy, Debug)]
struct Station {
    place: Place,
    /// Seconds since start when traffic was last seen, as far as the control thread knows.
    last_seen: u32,
}

/// What is known of one network.
#[derive(Debug)]
pub(super) struct NetworkLessons {
    macs: HashMap<Mac, Station>,
    /// How many of `macs` are at each place: a limit must cost the same however many addresses a tenant invents.
    behind: HashMap<Place, usize>,
    neighbors: Neighbors,
    /// The MAC table must be built anew.
    dirty: bool,
    /// What configuration has put into it.
    given: Vec<(Mac, Place)>,
    fdb: Arc<Fdb>,
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
            neighbors: Neighbors::default(),
            dirty: true,
            given: Vec::new(),
            fdb: Arc::new(Fdb::build([].into_iter())),
            moves: 0,
            refused: 0,
        }
    }
}

/// What became of lessons, in all networks since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LessonCounts {
    /// Addresses that turned up behind another port.
    pub moves: u64,
    /// Addresses not learned because of a limit.
    pub refused: u64,
    /// Neighbours not learned because of a limit.
    pub neighbors_refused: u64,
}

impl LessonCounts {
    fn add(&mut self, network: &NetworkLessons) {
        self.moves += network.moves;
        self.refused += network.refused;
        self.neighbors_refused += network.neighbors_refused();
    }
}

/// All networks' lessons.
#[derive(Debug, Default)]
pub(super) struct Learned {
    networks: HashMap<NetworkName, NetworkLessons>,
    /// What networks have counted that are gone.
    departed: LessonCounts,
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
        for (_, network) in self.networks.extract_if(|name, _| !keep.contains(name)) {
            self.departed.add(&network);
        }
    }

    /// Forgets everything that was learned in a network.
    pub(super) fn forget_network(&mut self, name: &NetworkName) {
        if let Some(network) = self.networks.remove(name) {
            self.departed.add(&network);
        }
    }

    /// What became of all lessons.
    pub(super) fn counts(&self) -> LessonCounts {
        let mut counts = self.departed;
        self.networks.values().for_each(|network| counts.add(network));
        counts
    }

    /// Forgets everything behind `port`.
    pub(super) fn forget_port(&mut self, port: PortId) {
        for network in self.networks.values_mut() {
            network.forget(Place::Port(port));
        }
    }
}

impl NetworkLessons {
    /// Forgets everything at `place`.
    pub(super) fn forget(&mut self, place: Place) {
        let before = self.macs.len();
        let learned = self.macs.iter().filter(|(_, row)| row.place == place).map(|(mac, _)| *mac);
        // Given stations have learned addresses, too.
        let known = self.fdb.iter().filter(|entry| entry.place() == place).map(Entry::mac);
        let gone: HashSet<Mac> = learned.chain(known).collect();
        self.macs.retain(|_, row| row.place != place);
        self.behind.remove(&place);
        self.neighbors.forget_stations(&gone);
        self.dirty |= self.macs.len() != before;
    }

    /// The tables, each rebuilt if its rows changed: whoever changes what configuration gives need not know in which
    /// domain.
    pub(super) fn tables(&mut self, given: &Given) -> (Arc<Fdb>, Arc<NeighborTable>) {
        if self.dirty || self.given != given.stations {
            self.refresh();
            self.given.clone_from(&given.stations);
            let stations = given.stations.iter();
            let fixed =
                stations.map(|(mac, place)| Row { mac: *mac, place: *place, fixed: true, last_seen: 0 });
            let learned = self.macs.iter().map(|(mac, row)| Row {
                mac: *mac,
                place: row.place,
                fixed: false,
                last_seen: row.last_seen,
            });
            let rows: Vec<Row> = fixed.chain(learned).collect();
            self.fdb = Arc::new(Fdb::build(rows.into_iter()));
            self.dirty = false;
        }
        (self.fdb.clone(), self.neighbors.table(&given.neighbors))
    }

    /// Forgets stations silent for longer than `limit` seconds, and their neighbours; true when there was any.
    fn age(&mut self, now: u32, limit: u64) -> bool {
        self.refresh();
        let silent = |row: &Station| u64::from(now.saturating_sub(row.last_seen)) > limit;
        let gone: HashSet<Mac> =
            self.macs.iter().filter(|(_, row)| silent(row)).map(|(mac, _)| *mac).collect();
        if gone.is_empty() {
            return false;
        }
        self.macs.retain(|mac, _| !gone.contains(mac));
        self.count_behind();
        self.neighbors.forget_stations(&gone);
        self.dirty = true;
        true
    }

    fn count_behind(&mut self) {
        self.behind.clear();
        for row in self.macs.values() {
            *self.behind.entry(row.place).or_default() += 1;
        }
    }

    /// Takes over the ages that workers wrote into the running table.
    fn refresh(&mut self) {
        for entry in self.fdb.iter().filter(|entry| !entry.is_fixed()) {
            if let Some(row) = self.macs.get_mut(&entry.mac())
                && row.place == entry.place()
            {
                row.last_seen = row.last_seen.max(entry.last_seen());
            }
        }
    }

    /// Marks the tables for rebuilding (a given row changed).
    pub(super) fn invalidate(&mut self) {
        self.dirty = true;
        self.neighbors.invalidate();
    }

    /// The gateway of `network` came, went or changed: what it has no use for is forgotten, and its own address is no
    /// station's.
    pub(super) fn change_gateway(&mut self, network: &shunt_config::Network, has_l3_port: bool) {
        self.neighbors.invalidate();
        self.neighbors.keep_learnable(network, has_l3_port);
        if !network.gateways.is_empty() && self.macs.remove(&network.gateway_mac().into()).is_some() {
            self.count_behind();
            self.dirty = true;
        }
    }

    fn is_dirty(&self) -> bool {
        self.dirty || self.neighbors.is_dirty()
    }

    /// Neighbours not learned because of a limit.
    pub(super) fn neighbors_refused(&self) -> u64 {
        self.neighbors.refused()
    }

    /// Neighbours to be asked now, and whether one was forgotten: see [`Neighbors::probe`].
    pub(super) fn probe(
        &mut self,
        now: u32,
        due: impl Fn(IpAddr, Mac, u32) -> bool,
    ) -> (Vec<(IpAddr, Mac)>, bool) {
        let asked = self.neighbors.probe(now, due);
        (asked, self.neighbors.is_dirty())
    }

    /// Learned addresses: MAC, port, seconds since last seen.
    pub(super) fn rows(&self, now: u32) -> Vec<(Mac, Place, bool, u32)> {
        let age = |last: u32| now.saturating_sub(last);
        self.fdb
            .iter()
            .map(|entry| (entry.mac(), entry.place(), entry.is_fixed(), age(entry.last_seen())))
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
        let current = self.publisher.current();
        // Networks have other numbers by now: the next frame will teach it again.
        if lesson.numbering != current.numbering() {
            return;
        }
        let Some(name) = current.network(lesson.network).map(|network| network.name.clone()) else { return };
        let port_limit = match lesson.place {
            Place::Port(port) => match self.ports.get(port) {
                Some(port) if port.is_up() => port.config.mac_limit,
                _ => return,
            },
            Place::Peer(_) => None,
        };
        let Some((_, domain)) = self.domains.named(&name) else { return };
        let Some(network) = self.config.networks.get(domain.network) else { return };
        let limit = network.mac_limit as usize;
        let has_l3_port = || has_l3_port(&self.ports, &self.domains, &name);
        let neighbor =
            lesson.neighbor.filter(|&(address, mac)| learnable(network, has_l3_port, address, mac));
        let gateway = (!network.gateways.is_empty()).then(|| Mac::from(network.gateway_mac()));
        let own = [gateway, network.overlay().and_then(Overlay::node_mac).map(Mac::from)];
        let lessons = self.learned.network(&name);
        if let Some((address, mac)) = neighbor {
            lessons.neighbors.learn(address, mac, now);
        }
        if lesson.source.is_group() || lesson.source == Mac(0) || own.contains(&Some(lesson.source)) {
            return;
        }
        if lessons.fdb.get(lesson.source).is_some_and(Entry::is_fixed) {
            return;
        }
        match lessons.macs.get_mut(&lesson.source) {
            Some(row) if row.place == lesson.place => row.last_seen = now,
            Some(row) => {
                let from = std::mem::replace(row, Station { place: lesson.place, last_seen: now }).place;
                if let Some(count) = lessons.behind.get_mut(&from) {
                    *count -= 1;
                }
                *lessons.behind.entry(lesson.place).or_default() += 1;
                lessons.moves += 1;
                lessons.dirty = true;
            }
            None => {
                let behind = lessons.behind.entry(lesson.place).or_default();
                if lessons.macs.len() >= limit || port_limit.is_some_and(|limit| *behind >= limit as usize) {
                    lessons.refused += 1;
                    return;
                }
                *behind += 1;
                lessons.macs.insert(lesson.source, Station { place: lesson.place, last_seen: now });
                lessons.dirty = true;
            }
        }
    }

    /// Publishes what was learned since the last time, if anything.
    pub(super) fn publish_lessons(&mut self) {
        if self.learned.networks.values().any(NetworkLessons::is_dirty) {
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
        let mut aged = false;
        for (_, domain) in self.domains.iter() {
            let Some(config) = self.config.networks.get(domain.network) else { continue };
            let Some(network) = self.learned.networks.get_mut(&domain.name) else { continue };
            // Zero is never.
            let limit = |age: Duration| Some(age.as_secs()).filter(|_| !age.is_zero());
            if let Some(limit) = limit(config.mac_ageing) {
                aged |= network.age(now, limit);
            }
            if let Some(limit) = limit(config.neighbor_ageing) {
                aged |= network.neighbors.age(now, limit);
            }
        }
        aged |= self.probe_neighbors(now);
        if aged {
            self.publish_briefly("aged addresses");
        }
    }
}
