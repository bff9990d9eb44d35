//! All that is exported as metrics, at one moment: the rows that `shunt show` prints, and what only adds up.
//!
//! Cost: that of `shunt show ports`, `workers`, `topology`, `bonds` and `conntrack -S` together, on the control thread; workers notice
//! nothing of it but that their counters are read.

use shunt_config::Tier;

use super::bonds::BondRow;
use super::learn::LessonCounts;
use super::status::{NetworkRow, PortRow, WorkerRow};
use super::totals::Totals;
use super::{ConnectionStatistics, Control, Times};
use crate::ids::PortId;
use crate::state::Tally;

/// A moment of the switch.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The ports by name, each with what it and earlier ports of its name counted.
    pub ports: Vec<(PortRow, Totals)>,
    /// What all ports counted, also those that are gone.
    pub all_ports: Totals,
    /// The workers.
    pub workers: Vec<WorkerRow>,
    /// The bonds by name.
    pub bonds: Vec<BondRow>,
    /// The networks.
    pub networks: Vec<NetworkRow>,
    /// What became of lessons in all networks.
    pub lessons: LessonCounts,
    /// The routers and how many routes each has.
    pub routers: Vec<(String, usize)>,
    /// Those that say with which ports connections leave, and how many that are.
    pub snat_ports: Vec<(String, usize)>,
    /// Generation of the newest topology.
    pub generation: u64,
    /// It is in force on all workers, as far as the control thread saw.
    pub in_force: bool,
    /// How long publications took.
    pub times: Times,
    /// Buffers in the pool and how many are free.
    pub mbufs: (u32, u32),
    /// How the connection table is doing.
    pub connections: ConnectionStatistics,
    /// Connections by kind.
    pub tally: Tally,
    /// Services and their endpoints.
    pub services: (usize, usize),
    /// Policies of the administrator before others, of namespaces, and of the administrator after others.
    pub policies: [(&'static str, usize); 3],
    /// Pods that policies and services may be about.
    pub pods: usize,
}

/// Whether the switch may be given traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// A topology is in force on all workers.
    pub live: bool,
    /// Generation of the newest one.
    pub generation: u64,
    /// Workers.
    pub workers: usize,
    /// Ports that are to be up and whose device is not open, and why.
    pub down: Vec<(String, String)>,
}

impl Control {
    /// All that is exported as metrics, now.
    pub fn sample(&mut self) -> Sample {
        let rows = self.ports();
        let mut all_ports = self.departed.all().clone();
        let mut ports = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(port) = PortId::new(row.slot as usize).and_then(|id| self.ports.get(id)) else {
                continue;
            };
            // What the device of this moment has lost is in the row only.
            let mut totals = Totals { missed: row.missed, ..self.totals(port) };
            all_ports.add(&totals);
            if let Some(before) = self.departed.of(&port.config.name) {
                totals.add(before);
            }
            ports.push((row, totals));
        }
        let current = self.publisher.current();
        let routers = current.routers().iter().map(|router| (router.name.to_string(), router.fib.len()));
        let config = &self.config;
        let snat_ports = config.routers.iter().filter_map(|router| {
            let ports = router.snat_ports.as_ref()?;
            Some((router.name.to_string(), ports.len()))
        });
        let endpoints = config.services.iter().map(|service| service.endpoints.len()).sum();
        let baseline =
            config.cluster.admin_policies.iter().filter(|policy| policy.tier == Tier::Baseline).count();
        let admin = config.cluster.admin_policies.len() - baseline;
        Sample {
            ports,
            all_ports,
            workers: self.workers(),
            bonds: self.bonds(),
            networks: self.network_rows(current),
            lessons: self.learned.counts(),
            routers: routers.collect(),
            snat_ports: snat_ports.collect(),
            generation: self.reports.generation(),
            in_force: self.reports.newest_is_in_force(),
            times: self.reports.times().clone(),
            mbufs: (config.memory.mbufs, self.site.pool.available()),
            connections: self.connection_statistics(),
            tally: self.connections.tally().clone(),
            services: (config.services.len(), endpoints),
            policies: [("admin", admin), ("policy", config.cluster.policies.len()), ("baseline", baseline)],
            pods: config.cluster.pods.len(),
        }
    }

    /// Whether the switch may be given traffic, now.
    pub fn readiness(&mut self) -> Readiness {
        self.settle();
        let closed = self.ports.iter().filter(|port| port.config.admin_up);
        let closed = closed.filter_map(|port| {
            let why = port.why_closed()?;
            Some((port.config.name.to_string(), why.to_owned()))
        });
        let mut down: Vec<_> = closed.collect();
        down.sort();
        Readiness {
            live: self.reports.first_is_in_force(),
            generation: self.reports.generation(),
            workers: self.workers.len(),
            down,
        }
    }
}
