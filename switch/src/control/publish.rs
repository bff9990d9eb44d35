//! Publication: from the control thread's state to a topology that every worker runs, and the report of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use shunt_ffi::clock;

use super::Control;
use super::durations::Durations;
use crate::topology::{self, Topology};

/// Reports kept.
const KEPT: usize = 256;
/// How long a synchronous change waits for the slowest worker.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The same for what traffic taught.
const BRIEF: Duration = Duration::from_millis(5);

/// What one publication did.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// Number of the topology.
    pub generation: u64,
    /// What made it necessary.
    pub cause: String,
    /// The changes against the topology before, in words.
    pub changes: Vec<String>,
    /// When.
    pub at: SystemTime,
    /// Time to build it.
    pub build: Duration,
    /// Time from the pointer swap until no worker could use an older topology; `None` while one still can.
    pub in_force: Option<Duration>,
    /// The longest loop iteration in which a worker took it over.
    pub worst_stall: Option<Duration>,
    /// The longest loop iteration right before, for comparison.
    pub worst_before: Option<Duration>,
    epoch: u64,
    swapped: Instant,
}

/// The newest reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    kept: VecDeque<Report>,
    generation: u64,
    times: Times,
}

/// How long publications took since the daemon started.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// To build a topology.
    pub build: Durations,
    /// From the pointer swap until no worker could use an older one, as far as the control thread saw.
    pub in_force: Durations,
    /// The longest loop iteration in which a worker took one over, of those publications that were waited for.
    pub stall: Durations,
    /// From a change of pods or policies until it was in force on all workers.
    pub policies: Durations,
}

impl Reports {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Report> {
        self.kept.iter()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn times(&self) -> &Times {
        &self.times
    }

    /// Notes how long a change of pods or policies took until it was in force.
    pub(super) fn policies_applied(&mut self, took: Duration) {
        self.times.policies.note(took);
    }

    /// True when every worker has run a topology of ours.
    pub(super) fn first_is_in_force(&self) -> bool {
        self.times.in_force.count() > 0
    }

    /// True when every worker runs the newest topology, as far as is known.
    pub(super) fn newest_is_in_force(&self) -> bool {
        self.kept.back().is_none_or(|report| report.in_force.is_some())
    }
}

impl Control {
    /// Builds and publishes the topology of the present state; returns its epoch. Does not wait for the workers.
    pub(super) fn publish(&mut self, cause: &str) -> u64 {
        self.publish_with(cause, |topology| topology)
    }

    /// The same, after `finish`.
    fn publish_with(&mut self, cause: &str, finish: fn(Topology) -> Topology) -> u64 {
        let started = Instant::now();
        self.follow_room();
        let plan = self.plan();
        let generation = self.reports.generation + 1;
        let next = finish(Topology::build(generation, &plan).following(self.publisher.current()));
        let build = started.elapsed();
        let changes =
            topology::diff(self.publisher.current(), &next).iter().map(ToString::to_string).collect();
        self.settle();
        let swapped = Instant::now();
        let epoch = self.publisher.publish(Box::new(next));
        self.workers.iter().for_each(|worker| worker.mail.ring());
        self.reports.generation = generation;
        self.reports.times.build.note(build);
        let report = Report {
            generation,
            cause: cause.to_owned(),
            changes,
            at: SystemTime::now(),
            build,
            in_force: None,
            worst_stall: None,
            worst_before: None,
            epoch,
            swapped,
        };
        tracing::debug!(generation, cause, ?build, "published");
        if self.reports.kept.len() == KEPT {
            self.reports.kept.pop_front();
        }
        self.reports.kept.push_back(report);
        epoch
    }

    /// Publishes and waits until every worker runs the new topology. False when one did not in time; the old topology
    /// then lives on until that worker passes.
    pub(super) fn publish_and_wait(&mut self, cause: &str) -> bool {
        let epoch = self.publish(cause);
        self.see_through(epoch)
    }

    /// The same, and every cached decision is made anew, whatever it rests on.
    pub(super) fn republish(&mut self, cause: &str) -> bool {
        let epoch = self.publish_with(cause, Topology::anew);
        self.see_through(epoch)
    }

    /// Waits until every worker runs what was published; false when one did not in time.
    fn see_through(&mut self, epoch: u64) -> bool {
        self.note_owners();
        let passed = self.wait_for(epoch, PATIENCE);
        self.settle();
        self.measure_stall();
        passed
    }

    /// Publishes and waits only as long as a healthy worker may take: for changes that traffic asked for, which a hung
    /// worker must not hold up.
    pub(super) fn publish_briefly(&mut self, cause: &str) {
        let epoch = self.publish(cause);
        self.wait_for(epoch, BRIEF);
        self.settle();
        self.measure_stall();
    }

    fn wait_for(&self, epoch: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.publisher.passed(epoch) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        true
    }

    /// Completes the reports of publications that all workers have passed, and frees what they no longer use.
    pub(super) fn settle(&mut self) {
        self.publisher.reclaim();
        for report in self.reports.kept.iter_mut().rev().take_while(|report| report.in_force.is_none()) {
            if self.publisher.passed(report.epoch) {
                let took = report.swapped.elapsed();
                report.in_force = Some(took);
                self.reports.times.in_force.note(took);
            }
        }
    }

    /// Notes how long the workers took over the newest topology. They write that at the end of the iteration, a moment
    /// after they passed; a worker that slept through the publication took no time at all.
    fn measure_stall(&mut self) {
        let deadline = Instant::now() + BRIEF;
        let generation = self.reports.generation;
        let done = |control: &Self| {
            control.workers.iter().enumerate().all(|(index, worker)| {
                worker.counters.time.generation.get() >= generation || control.publisher.seen(index).is_none()
            })
        };
        while !done(self) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(20));
        }
        let times = self.workers.iter().map(|worker| &worker.counters.time);
        let took = times.filter(|time| time.generation.get() == generation);
        let taken = took.map(|time| (time.swap_cycles.get(), time.cycles_before_swap.get()));
        let worst = taken.reduce(|(stall, before), (other, earlier)| (stall.max(other), before.max(earlier)));
        if let Some(report) = self.reports.kept.back_mut() {
            report.worst_stall = worst.map(|(stall, _)| clock::duration(stall));
            report.worst_before = worst.map(|(_, before)| clock::duration(before));
        }
        if let Some((stall, _)) = worst {
            self.reports.times.stall.note(clock::duration(stall));
        }
    }
}
