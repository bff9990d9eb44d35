//! A worker: one pinned thread that polls its queues and carries every frame from receive to transmit.
//!
//! One iteration of the loop: take commands if there are any, announce quiescence, then for each receive queue: a burst,
//! the flow cache and, for what it does not have, the stages (`worker/forward.rs`, [`crate::pipeline::run`]), the transmit
//! buffers, and out. The worker owns its queues and
//! transmit buffers; it shares only the topology snapshot. It allocates nothing, takes no lock (but the counted one of
//! a transmit queue that workers share), logs nothing, and makes no system call beyond the ports' own, except to sleep
//! when polling is adaptive and nothing has come for a while.

mod asker;
pub mod capture;
pub(crate) mod forward;
mod fragments;
mod held;
pub mod mailbox;
pub(crate) mod output;
pub mod pace;
pub(crate) mod reporter;
mod sleep;
mod storm;
mod teacher;

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;
use shunt_ffi::clock;
use shunt_ffi::rcu::Reader;
use shunt_ffi::{Burst, Mempool};

use crate::counters::{PortCounters, WorkerCounters};
use crate::drop::DropReason;
use crate::flow::FlowCache;
use crate::ids::PortId;
use crate::port::bond::Sifted;
use crate::port::{Received, RxQueue};
use crate::topology::Topology;
#[cfg(any(test, fuzzing))]
pub use forward::hostile;
use forward::{Flows, Forwarder, Openings};
use mailbox::{Command, Inbox, Reply};
pub use output::TxPort;
use pace::Pace;
use storm::Bucket;
pub use teacher::Lesson;
use teacher::Teacher;

/// Receive queues a worker holds at most.
pub const MAX_QUEUES: usize = 4096;

/// How a worker polls.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Frames per receive burst, at most [`shunt_ffi::MAX_BURST`].
    pub burst: usize,
    /// Sleep when idle (adaptive polling); false polls for ever.
    pub adaptive: bool,
    /// How long nothing must have come before the worker sleeps.
    pub idle_after: Duration,
    /// Longest sleep while a queue has no wake-up descriptor.
    pub max_sleep: Duration,
    /// One cached hit in so many is decided anew and compared; 0 for none.
    pub verify: u32,
    /// Number of the worker, and of all.
    pub place: (usize, usize),
    /// A number that nobody outside knows.
    pub seed: u64,
}

/// A receive queue and whose it is.
#[derive(Debug)]
pub struct RxPort {
    /// The port.
    pub port: PortId,
    /// Number of the queue within the port.
    pub queue: u16,
    /// The queue.
    pub rx: RxQueue,
    /// The interface was down when the queue was last asked: its descriptor cannot be waited for.
    pub down: bool,
    storm: Bucket,
}

impl RxPort {
    /// The receive queues of `port`, all that it has, in the order of their numbers.
    pub fn all(port: PortId, queues: Vec<RxQueue>) -> impl Iterator<Item = Self> {
        let count = queues.len();
        let numbered = queues.into_iter().zip(0..);
        numbered.map(move |(rx, queue)| Self { port, queue, rx, down: false, storm: Bucket::of(count) })
    }
}

/// What a worker is made of. Build it on the control thread, then [`Worker::run`] it on its own.
#[derive(Debug)]
pub struct Worker {
    settings: Settings,
    topology: Reader<Topology>,
    rx: Vec<RxPort>,
    forwarder: Forwarder,
    inbox: Inbox,
    counters: Arc<WorkerCounters>,
}

/// What one look at all receive queues brought.
#[derive(Clone, Copy, Debug, Default)]
struct Polled {
    /// Frames.
    frames: usize,
    /// A queue gave as many as were asked for.
    full: bool,
}

impl Polled {
    /// Adds the `count` frames of a queue that was asked for `burst`.
    #[inline]
    fn add(&mut self, count: usize, burst: usize, ours: &PortCounters) {
        self.frames += count;
        if count >= burst {
            self.full = true;
            ours.full_bursts.add(1);
        }
    }
}

/// Counts what of a bond's frames was not traffic.
#[cold]
fn account(ours: &PortCounters, sifted: Sifted) {
    let Sifted { taken, refused, bytes, .. } = sifted;
    ours.rx_packets.add(u64::from(taken) + u64::from(refused));
    ours.rx_bytes.add(u64::from(bytes));
    ours.taken.add(u64::from(taken));
    ours.drop(DropReason::BondNotCollecting, u64::from(refused));
}

impl Worker {
    /// A worker without queues.
    pub fn new(
        settings: Settings,
        topology: Reader<Topology>,
        pool: Mempool,
        cache: FlowCache,
        inbox: Inbox,
        lessons: Sender<Lesson>,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let teacher = Teacher::new(lessons, counters.clone());
        let openings = Openings::new(settings.place.0, settings.place.1, settings.seed);
        let forwarder = Forwarder::new(pool, teacher, cache, settings.verify, openings, counters.clone());
        Self { settings, topology, rx: Vec::with_capacity(MAX_QUEUES), forwarder, inbox, counters }
    }

    /// Runs until told to stop. The queues go back to the control thread.
    pub fn run(mut self) {
        let started = clock::tsc();
        let idle_after = clock::cycles(self.settings.idle_after);
        let second = clock::tsc_hz();
        let (mut now, mut seconds, mut next_second) = (started, 0_u32, started + second);
        let mut last_frame = started;
        let mut epoch = u64::MAX;
        let mut burst = Burst::new();
        let mut flows = Flows::default();
        let time = self.counters.clone();
        let time = &time.time;
        let pace = Pace::new();
        let mut last = 0;

        loop {
            if self.inbox.pending() && self.obey() {
                break;
            }
            let newest = self.topology.quiescent();
            if self.forwarder.is_holding() {
                self.forwarder.retry(self.topology.get(), seconds, &self.counters);
            }
            let received = self.poll(&mut burst, &mut flows, seconds);

            let before = std::mem::replace(&mut now, clock::tsc());
            let mut spent = now.wrapping_sub(before);
            if newest != epoch {
                // The first iteration takes over nothing; it touches all memory for the first time.
                spent = if epoch == u64::MAX { 0 } else { spent };
                epoch = newest;
                time.swap_cycles.set(spent);
                time.cycles_before_swap.set(last);
                time.worst_swap_cycles.raise_to(spent);
                time.generation.set(self.topology.get().generation());
            }
            last = spent;
            time.iterations.add(1);
            time.total_cycles.set(now - started);
            pace.any(time, spent);
            while now >= next_second {
                next_second += second;
                seconds += 1;
            }
            if received.frames > 0 {
                time.packets.add(received.frames as u64);
                time.busy_cycles.add(spent);
                pace.busy(time, spent, received.full);
                last_frame = now;
            } else if self.settings.adaptive && now.wrapping_sub(last_frame) > idle_after {
                self.sleep(&mut burst, &mut flows, seconds);
                let woke = clock::tsc();
                time.slept_cycles.add(woke - now);
                now = woke;
            }
        }
        self.leave();
    }

    /// One burst from each queue.
    #[inline]
    fn poll(&mut self, burst: &mut Burst, flows: &mut Flows, now: u32) -> Polled {
        let Self { settings, topology, rx, forwarder, counters, .. } = self;
        let topology = topology.get();
        let mut polled = Polled::default();
        let mut gone = None;
        for (index, slot) in rx.iter_mut().enumerate() {
            match slot.rx.receive(burst, settings.burst) {
                Received::Frames(0) => slot.down = false,
                Received::Down => slot.down = true,
                Received::Frames(count) => {
                    slot.down = false;
                    polled.add(count, settings.burst, counters.port(slot.port));
                    forwarder.forward(topology, (slot.port, &slot.storm), burst, flows, now, counters);
                }
                Received::Sifted(sifted) => {
                    slot.down = false;
                    let count = [sifted.frames, sifted.taken, sifted.refused].map(usize::from);
                    polled.add(count.iter().sum(), settings.burst, counters.port(slot.port));
                    account(counters.port(slot.port), sifted);
                    if sifted.frames > 0 {
                        forwarder.forward(topology, (slot.port, &slot.storm), burst, flows, now, counters);
                    }
                }
                Received::Gone => gone = Some(index),
            }
        }
        if let Some(index) = gone {
            let slot = self.rx.swap_remove(index);
            self.inbox.reply(Reply::Gone(slot));
        }
        polled
    }

    /// Carries out all waiting commands; true when the worker is to stop.
    fn obey(&mut self) -> bool {
        while let Some(command) = self.inbox.next() {
            match command {
                Command::AttachRx(slot) => {
                    if self.rx.len() < MAX_QUEUES {
                        self.rx.push(slot);
                        self.inbox.reply(Reply::Done);
                    } else {
                        self.inbox.reply(Reply::Rx(slot));
                    }
                }
                Command::DetachRx(port, queue) => {
                    self.forwarder.forget_held(port);
                    self.forwarder.forget_lingering(self.topology.get(), port);
                    let place = self.rx.iter().position(|slot| slot.port == port && slot.queue == queue);
                    let reply = place.map_or(Reply::Done, |place| Reply::Rx(self.rx.swap_remove(place)));
                    self.inbox.reply(reply);
                }
                Command::AttachTx(port, tx) => {
                    let old = self.forwarder.output.attach(port, tx);
                    self.inbox.reply(old.map_or(Reply::Done, Reply::Tx));
                }
                Command::DetachTx(port) => {
                    let old = self.forwarder.output.detach(port);
                    self.inbox.reply(old.map_or(Reply::Done, Reply::Tx));
                }
                Command::DumpFlows(mut dump) => {
                    let cache = &self.forwarder.cache;
                    dump.next = cache.dump(dump.from, mailbox::DUMP_PLACES, dump.now, &mut dump.rows);
                    self.inbox.reply(Reply::Flows(dump));
                }
                Command::Say(message) => self.forwarder.say(self.topology.get(), &message),
                Command::Originate(mut origin) => {
                    origin.outcome = self.forwarder.originate(self.topology.get(), &origin, &self.counters);
                    self.inbox.reply(Reply::Originated(origin));
                }
                Command::Capture(tap) => {
                    let refused = self.forwarder.output.taps.add(tap);
                    self.inbox.reply(refused.map_or(Reply::Done, Reply::Tap));
                }
                Command::EndCapture(id) => {
                    let ended = self.forwarder.output.taps.remove(id);
                    self.inbox.reply(ended.map_or(Reply::Done, Reply::Tap));
                }
                Command::Stop => return true,
            }
        }
        false
    }

    /// Gives every queue back.
    fn leave(&mut self) {
        while let Some(slot) = self.rx.pop() {
            self.inbox.reply(Reply::Rx(slot));
        }
        for port in (0..crate::ids::MAX_PORTS).filter_map(PortId::new) {
            if let Some(tx) = self.forwarder.output.detach(port) {
                self.inbox.reply(Reply::Tx(tx));
            }
        }
    }
}
