//! The control thread: configuration, ports, learning, publication, reports. It may allocate, lock and sleep.
//!
//! [`Control`] is the whole state, driven by one thread. Everybody else (API, signals, tests) holds a [`Handle`] and
//! sends a closure to run on it; there is no lock around the state and no message type per question.
//!
//! | file | holds |
//! |---|---|
//! | `start` | DPDK, pool, workers |
//! | `apply` | from one configuration to the next, all or nothing |
//! | [`bonds`] | how bonds and their members are |
//! | `connections` | the table of connections: made, swept, listed |
//! | `services` | the tables of services; the end of connections whose backend is gone |
//! | `domains` | networks and VLANs as broadcast domains, and the ports in them |
//! | `ports` | opening, placing, closing ports; ports that die and come back |
//! | `sockets` | ports whose socket file somebody has removed |
//! | `learn`, `neighbors` | MAC addresses and neighbours that traffic taught |
//! | `routes` | routers and gateways of the configuration, as tables |
//! | `overlay` | what peers of overlays put into the tables; their numbers |
//! | [`kept`] | what was applied beyond the file, over restarts |
//! | `peer_files` | peers that files say, and what becomes of a file that changes |
//! | `plan` | what the next topology is built of |
//! | `publish` | generations, reclamation, reports |
//! | `room` | which VLANs have no room for their tag on a device, and so a smaller MTU |
//! | `host` | what a host port shares with its network's gateway |
//! | `announce` | who has which address: said when it appears or moves |
//! | `voice` | what the switch says of its own accord: probes of neighbours, announcements |
//! | `policies`, `why` | who may talk to whom, resolved for the workers; what policies refuse now |
//! | `reset` | closing one port and opening it again |
//! | [`resync`] | from the running configuration once more, and what was set in the kernel with it |
//! | [`doctor`] | what is wrong, by the references' tables of symptoms |
//! | [`status`] | what `shunt show` prints |
//! | [`sample`] | all that is exported as metrics, at one moment |
//! | `durations` | how long publications took |
//! | [`totals`] | what was counted at ports, also at those that are gone |
//! | [`flows`] | what the flow caches hold |
//! | [`picture`], [`rules`] | the tables as rows, as the rules of ovs-ofctl |
//! | [`trace`](mod@trace) | where a frame would go |
//! | [`capture`] | copies of frames for whoever watches |
//! | [`ping`] | echo requests of the switch's own |
//! | [`api`] | the gRPC interface, on a thread of its own |

mod announce;
pub mod api;
mod apply;
pub mod bonds;
pub mod capture;
mod connections;
mod cores;
pub mod doctor;
mod domains;
mod durations;
pub mod flows;
mod host;
pub mod kept;
mod learn;
mod neighbors;
mod overlay;
mod peer_files;
pub mod picture;
pub mod ping;
mod plan;
mod policies;
mod ports;
mod publish;
mod reset;
pub mod resync;
mod room;
mod routes;
pub mod rules;
pub mod sample;
mod services;
mod sockets;
mod start;
pub mod status;
#[cfg(test)]
mod tests;
pub mod totals;
pub mod trace;
mod voice;
mod why;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};
use shunt_config::{Config, NetworkName};
use shunt_ffi::rcu::Publisher;
use tokio::sync::oneshot;

use crate::counters::WorkerCounters;
use crate::port::Site;
use crate::topology::{PlannedRouter, Topology};
use crate::worker::Lesson;
use crate::worker::mailbox::Outbox;

pub use apply::{Applied, ApplyError};
pub(crate) use connections::REFUSED;
pub use connections::{ConnectionRow, ConnectionStatistics, Watch, WatchError, Which};
pub use durations::Durations;
pub use learn::LessonCounts;
pub use policies::PolicyRow;
pub use publish::Times;
pub use start::StartError;
pub use why::RefusalRow;

/// How often time-driven work is done: dead ports, ageing, reclamation.
const TICK: Duration = Duration::from_millis(100);
/// Lessons are collected for this long before they are published together.
const LEARN_EVERY: Duration = Duration::from_millis(1);

/// A worker as the control thread sees it.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    core: Option<usize>,
    mail: Outbox,
    counters: Arc<WorkerCounters>,
    /// Places in its flow cache.
    cache_capacity: usize,
    thread: Option<JoinHandle<()>>,
}

/// Everything the control thread knows. Made by [`Control::start`].
#[derive(Debug)]
pub struct Control {
    config: Arc<Config>,
    site: Site,
    hugepages: bool,
    workers: Vec<WorkerLink>,
    publisher: Publisher<Topology>,
    /// Those of `config`.
    routers: Vec<PlannedRouter>,
    /// Those of `config`.
    domains: domains::Domains,
    ports: ports::Ports,
    /// Underlay networks whose tag has no room on a device.
    cramped: BTreeSet<NetworkName>,
    departed: totals::Departed,
    /// The peers of its overlays by number.
    peers: overlay::Numbers,
    peer_files: peer_files::PeerFiles,
    learned: learn::Learned,
    lessons: Receiver<Lesson>,
    voice: voice::Voice,
    connections: connections::Connections,
    zones: connections::Zones,
    services: services::Tables,
    policies: policies::Policies,
    announcer: announce::Announcer,
    pulse: doctor::Pulse,
    reports: publish::Reports,
    /// Where what is applied is kept; `None`: nowhere.
    kept: Option<kept::Kept>,
    /// Number of the last capture.
    captures: u64,
    started: Instant,
}

type Job = Box<dyn FnOnce(&mut Control) + Send>;

/// A way to run something on the control thread.
#[derive(Clone, Debug)]
pub struct Handle {
    jobs: Sender<Job>,
}

/// The control thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopped;

impl Handle {
    /// Has `job` run on the control thread; its result comes by the channel that is returned. Does not wait.
    ///
    /// # Errors
    /// The control thread has ended.
    pub fn later<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<oneshot::Receiver<R>, Stopped> {
        let (send, receive) = oneshot::channel();
        let job: Job = Box::new(move |control| {
            // Nobody may be waiting any more; then nobody minds.
            let _ = send.send(job(control));
        });
        self.jobs.send(job).map_err(|_| Stopped)?;
        Ok(receive)
    }

    /// Runs `job` on the control thread and waits for its result.
    pub fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (send, receive) = channel::bounded(1);
        let job: Job = Box::new(move |control| {
            // Nobody may be waiting any more; then nobody minds.
            let _ = send.send(job(control));
        });
        self.jobs.send(job).map_err(|_| Stopped)?;
        receive.recv().map_err(|_| Stopped)
    }
}

/// The running control thread; stops when [`Running::stop`] is called.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// For asking and telling the control thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops workers, closes ports, and waits for all of it.
    pub fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

impl Control {
    /// Moves `self` to a thread of its own that serves jobs, lessons and time.
    pub fn spawn(self) -> std::io::Result<Running> {
        let (jobs, queue) = channel::unbounded::<Job>();
        let (stop, stopped) = channel::bounded(1);
        let thread = std::thread::Builder::new()
            .name("shunt-control".into())
            .spawn(move || self.serve(&queue, &stopped))?;
        Ok(Running { handle: Handle { jobs }, stop, thread })
    }

    fn serve(mut self, jobs: &Receiver<Job>, stopped: &Receiver<()>) {
        let tick = channel::tick(TICK);
        let lessons = self.lessons.clone();
        let mut learn_at = None::<Instant>;
        loop {
            let learn = learn_at.map_or_else(channel::never, channel::at);
            // Slice by slice, and everybody else's turn in between.
            let clean =
                if self.services.is_cleaning() { channel::after(Duration::ZERO) } else { channel::never() };
            let sweep = if self.connections.is_sweeping() {
                channel::after(Duration::ZERO)
            } else {
                channel::never()
            };
            channel::select! {
                recv(jobs) -> job => if let Ok(job) = job { job(&mut self) },
                recv(lessons) -> lesson => if let Ok(lesson) = lesson {
                    self.study(lesson);
                    learn_at.get_or_insert_with(|| Instant::now() + LEARN_EVERY);
                },
                recv(learn) -> _ => {
                    learn_at = None;
                    self.publish_lessons();
                },
                recv(clean) -> _ => self.clean_some(),
                recv(sweep) -> _ => self.connections.sweep_some(self.now()),
                recv(tick) -> _ => self.tick(),
                recv(stopped) -> _ => break,
            }
        }
        self.shut_down();
    }

    /// Time-driven work.
    fn tick(&mut self) {
        self.collect_dead_ports();
        self.bury_unreachable_ports();
        self.retry_closed_ports();
        self.follow_peer_files();
        self.age();
        self.connections.begin_turn();
        if self.config.metrics.listen.is_some() {
            self.connections.count_kinds();
        }
        self.announce();
        self.speak();
        self.settle();
        self.follow_pulse();
        self.clean_again();
    }

    /// The topology in force and the pool of frames, for who feeds it hostile frames.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn in_force(&self) -> (&Topology, shunt_ffi::Mempool) {
        (self.publisher.current(), self.site.pool)
    }
}
