//! `shunt resync`: everything that is made of the running configuration is made once more and published, and what was set in the
//! kernel for ports (state, MTU, addresses, routes) is set again where somebody has taken it away. Ports stay open, queues where
//! they are, connections and learned addresses live on; every cached decision is made anew once.

use std::collections::HashMap;

use serde::Serialize;

use super::domains::Domains;
use super::{Control, routes};
use crate::topology::{self, Change, Topology};

/// What a worker runs against what it should run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstalledRow {
    /// Index of the worker.
    pub worker: usize,
    /// The generation that is to be in force.
    pub desired: u64,
    /// The newest one that the worker has worked with.
    pub installed: u64,
    /// It sleeps: it takes the newest one when it wakes.
    pub asleep: bool,
    /// It cannot use an older one.
    pub in_force: bool,
}

impl InstalledRow {
    /// In words.
    pub fn describe(&self) -> String {
        let Self { desired, installed, asleep, in_force, .. } = self;
        match (in_force, asleep) {
            (true, true) => format!("generation {desired} is desired; asleep, takes it on waking"),
            (true, false) => format!("generation {desired} is desired and installed"),
            (false, _) => format!("generation {desired} is desired, {installed} is installed"),
        }
    }
}

/// What a resynchronisation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resynced {
    /// The generation now in force.
    pub generation: u64,
    /// What was not as it should be, and is again.
    pub repaired: Vec<String>,
    /// What could not be set right.
    pub refused: Vec<String>,
    /// The workers.
    pub workers: Vec<InstalledRow>,
}

impl Control {
    /// Makes everything anew of the running configuration; says what it repaired.
    pub fn resync(&mut self) -> Resynced {
        self.publish_lessons();
        let (mut repaired, mut refused) = (Vec::new(), Vec::new());
        for port in self.ports.iter() {
            let name = &port.config.name;
            match port.restore() {
                None => {}
                Some(Ok(lost)) => repaired.extend(lost.iter().map(|lost| format!("{name}: {lost}"))),
                Some(Err(error)) => refused.push(format!("{name}: {error}")),
            }
        }
        let stale = self.installed().into_iter().filter(|row| !row.in_force);
        repaired.extend(stale.map(|row| format!("worker {}: {}", row.worker, row.describe())));
        self.services.follow(&self.config);
        self.policies.follow(&self.config);
        self.peers.follow(&self.config);
        self.domains = Domains::of(&self.config);
        self.routers = routes::routers(&self.config, None);
        let names: Vec<_> = self.domains.iter().map(|(_, domain)| domain.name.clone()).collect();
        for name in &names {
            self.learned.network(name).invalidate();
        }
        repaired.extend(self.differences().into_iter().map(|change| format!("tables: {change}")));
        if !self.republish("resync") {
            refused.push("a worker has not taken over the new topology yet".to_owned());
        }
        // What hung and follows now has been repaired, what does not is said below.
        Resynced { generation: self.reports.generation(), repaired, refused, workers: self.installed() }
    }

    /// What a topology of the running configuration would change of the one that is in force: ports, networks, gateways, routes, MAC
    /// tables and neighbours.
    pub(super) fn differences(&mut self) -> Vec<String> {
        let plan = self.plan();
        let current = self.publisher.current();
        let wanted = Topology::build(current.generation(), &plan);
        let changes = topology::diff(current, &wanted).into_iter();
        changes
            .filter(|change| !is_rewording(change, current, &wanted))
            .map(|change| change.to_string())
            .collect()
    }

    /// What each worker runs.
    pub fn installed(&self) -> Vec<InstalledRow> {
        let (newest, desired) = (self.publisher.epoch(), self.reports.generation());
        let workers = self.workers.iter().enumerate().map(|(index, worker)| {
            let seen = self.publisher.seen(index);
            InstalledRow {
                worker: index,
                desired,
                installed: worker.counters.time.generation.get(),
                asleep: seen.is_none(),
                in_force: seen.is_none_or(|epoch| epoch >= newest),
            }
        });
        workers.collect()
    }
}

/// True when a table is another one with the same rows.
fn is_rewording(change: &Change, old: &Topology, new: &Topology) -> bool {
    match change {
        Change::TablesRebuilt(name) => {
            let rows = |topology: &Topology| {
                let network = topology.networks().iter().find(|network| network.name == *name)?;
                let stations =
                    network.fdb.iter().map(|entry| (entry.mac().0, (entry.place(), entry.is_fixed())));
                let neighbors = network.neighbors.iter().map(|row| (row.address, row.neighbor));
                Some((stations.collect::<HashMap<_, _>>(), neighbors.collect::<HashMap<_, _>>()))
            };
            rows(old) == rows(new)
        }
        Change::RoutesRebuilt(name) => {
            let rows = |topology: &'_ Topology| -> Option<Vec<_>> {
                let router = topology.routers().iter().find(|router| router.name == *name)?;
                Some(router.fib.iter().copied().collect())
            };
            rows(old) == rows(new)
        }
        _ => false,
    }
}
